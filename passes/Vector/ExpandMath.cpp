//===- ExpandMath.cpp - Elementary functions as arithmetic ---------------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "passes/Vector/Passes.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"
#include "mlir/IR/Matchers.h"
#include "mlir/IR/TypeUtilities.h"
#include "mlir/Transforms/WalkPatternRewriteDriver.h"

namespace ssm {
#define GEN_PASS_DEF_EXPANDMATH
#include "passes/Vector/Passes.h.inc"
} // namespace ssm

using namespace mlir;

namespace {

enum class Target { Any, Avx512, Gpu };

/// Arithmetic on f32 or vectors of it, with constants in the same shape.
/// Multiply-and-add may be contracted: every use of it here gains accuracy.
class F32 {
public:
  F32(ImplicitLocOpBuilder &b, Type type, Target target) : b(b), type(type) {
    contract = arith::FastMathFlagsAttr::get(b.getContext(), arith::FastMathFlags::contract);
    auto vector = dyn_cast<VectorType>(type);
    gpu = target == Target::Gpu && (!vector || (vector.getRank() == 1 && !vector.isScalable()));
    if (target == Target::Avx512 && vector && vector.getRank() == 1 && !vector.isScalable() &&
        vector.getDimSize(0) % kLanes == 0)
      numParts = vector.getDimSize(0) / kLanes;
  }

  Value constant(double value) {
    return constantOf(b.getF32FloatAttr(static_cast<float>(value)), type);
  }
  Value integer(int32_t value) { return constantOf(b.getI32IntegerAttr(value), intType()); }
  Value add(Value x, Value y) { return arith::AddFOp::create(b, x, y, contract); }
  Value sub(Value x, Value y) { return arith::SubFOp::create(b, x, y, contract); }
  Value mul(Value x, Value y) { return arith::MulFOp::create(b, x, y, contract); }
  Value div(Value x, Value y) { return arith::DivFOp::create(b, x, y); }
  /// x * y + z, contracted where the target can.
  Value fma(Value x, Value y, Value z) { return add(mul(x, y), z); }
  Value abs(Value x) { return math::AbsFOp::create(b, x); }
  Value copySign(Value magnitude, Value sign) {
    return math::CopySignOp::create(b, magnitude, sign);
  }
  Value select(Value condition, Value x, Value y) {
    return arith::SelectOp::create(b, condition, x, y);
  }
  Value compare(arith::CmpFPredicate predicate, Value x, Value y) {
    return arith::CmpFOp::create(b, predicate, x, y);
  }
  /// At most, at least the bound; NaN stays NaN. One instruction each.
  Value atMost(Value x, Value bound) {
    return select(compare(arith::CmpFPredicate::OLT, bound, x), bound, x);
  }
  Value atLeast(Value x, Value bound) {
    return select(compare(arith::CmpFPredicate::OGT, bound, x), bound, x);
  }
  Value bits(Value x) { return arith::BitcastOp::create(b, intType(), x); }
  Value fromBits(Value x) { return arith::BitcastOp::create(b, type, x); }
  Value toFloat(Value x) { return arith::SIToFPOp::create(b, type, x); }
  Value addInt(Value x, Value y) { return arith::AddIOp::create(b, x, y); }
  Value subInt(Value x, Value y) { return arith::SubIOp::create(b, x, y); }
  Value shiftLeft(Value x, int count) { return arith::ShLIOp::create(b, x, integer(count)); }
  Value shiftRight(Value x, int count) { return arith::ShRSIOp::create(b, x, integer(count)); }

  /// c0 + c1 x + c2 x^2 + ... by Horner's rule.
  Value polynomial(Value x, ArrayRef<double> coefficients) {
    Value result = constant(coefficients.back());
    for (double coefficient : llvm::reverse(coefficients.drop_back()))
      result = fma(result, x, constant(coefficient));
    return result;
  }

  /// Whether the approximations of GPUs may be used: 2^x to 2 ulp, and 1 / x to 1 ulp, both without
  /// denormals; the full one gives them.
  bool isGpu() const { return gpu; }
  Value gpuExp2(Value x) { return gpuIntrinsic("ex2.approx.ftz.f32", x); }
  Value gpuFullExp2(Value x) { return gpuIntrinsic("ex2.approx.f32", x); }
  /// x * y + z rounded once.
  Value fused(Value x, Value y, Value z) { return math::FmaOp::create(b, x, y, z); }
  Value gpuReciprocal(Value x) { return gpuIntrinsic("rcp.approx.ftz.f", x); }

  /// Whether the instructions of AVX-512 below may be used.
  bool hasAvx512() const { return numParts != 0; }
  /// x - round(x); 0 for infinities.
  Value fraction(Value x) { return intrinsic("mask.reduce.ps.512", {x, imm(8), x, all(), round()}); }
  /// x * 2^floor(n), infinite n included.
  Value scale(Value x, Value n) {
    return intrinsic("mask.scalef.ps.512", {x, n, x, all(), round()});
  }
  /// The value of smaller magnitude with the sign of x; bound where x is NaN.
  Value bounded(Value x, Value bound) {
    return intrinsic("mask.range.ps.512", {x, bound, imm(2), x, all(), round()});
  }
  /// floor(log2(|x|)), of denormals too; -infinity for 0.
  Value exponent(Value x) { return intrinsic("mask.getexp.ps.512", {x, x, all(), round()}); }
  /// x / 2^n in [3/4, 3/2); 1 for 0 and infinity, NaN for negative numbers.
  Value mantissa(Value x) {
    return intrinsic("mask.getmant.ps.512", {x, imm(15), x, all(), round()});
  }
  /// `result` where no class of numbers that `table` names has `x`. Four bits for each
  /// class: quiet NaN, signalling NaN, 0, 1, -infinity, infinity, negative, positive.
  Value fixUp(Value result, Value x, int32_t table) {
    return intrinsic("mask.fixupimm.ps.512", {result, x, integer(table), imm(0), all(), round()});
  }
  /// 1 / x by one Newton step on the estimate of 14 bits.
  Value reciprocal(Value x) {
    Value estimate = intrinsic("rcp14.ps.512", {x, x, all()});
    Value error = sub(constant(1.0), mul(x, estimate));
    Value result = fma(estimate, error, estimate);
    // 0 and infinity are final: the step would make them NaN.
    return fixUp(result, estimate, 0x00110100);
  }

  ImplicitLocOpBuilder &b;

private:
  static constexpr int64_t kLanes = 16;
  bool gpu = false;

  Type intType() {
    if (auto vector = dyn_cast<VectorType>(type))
      return vector.clone(b.getI32Type());
    return b.getI32Type();
  }
  Value constantOf(TypedAttr attr, Type wanted) {
    if (auto vector = dyn_cast<VectorType>(wanted))
      return arith::ConstantOp::create(b, DenseElementsAttr::get(vector, attr));
    return arith::ConstantOp::create(b, attr);
  }

  /// GPUs have these for one number; of a vector each lane is one.
  Value gpuIntrinsic(StringRef name, Value x) {
    auto apply = [&](Value number) -> Value {
      return LLVM::CallIntrinsicOp::create(b, number.getType(),
                                           b.getStringAttr("llvm.nvvm." + name), number)
          .getResults();
    };
    auto vector = dyn_cast<VectorType>(type);
    if (!vector)
      return apply(x);
    SmallVector<Value> lanes;
    for (int64_t lane = 0; lane < vector.getDimSize(0); ++lane)
      lanes.push_back(apply(vector::ExtractOp::create(b, x, lane)));
    return vector::FromElementsOp::create(b, vector, lanes);
  }
  Value imm(int32_t value) { return arith::ConstantOp::create(b, b.getI32IntegerAttr(value)); }
  /// The mask of all lanes.
  Value all() { return arith::ConstantOp::create(b, b.getI16IntegerAttr(-1)); }
  /// The current rounding mode.
  Value round() { return imm(4); }

  /// Calls an intrinsic on 16 lanes at a time.
  Value intrinsic(StringRef name, ArrayRef<Value> operands) {
    auto part = VectorType::get({kLanes}, b.getF32Type());
    StringAttr callee = b.getStringAttr("llvm.x86.avx512." + name);
    if (numParts == 1)
      return LLVM::CallIntrinsicOp::create(b, part, callee, operands).getResult(0);
    Value result = constant(0.0);
    for (int64_t offset = 0; offset < numParts * kLanes; offset += kLanes) {
      SmallVector<Value> slices(operands);
      for (Value &slice : slices)
        if (isa<VectorType>(slice.getType()))
          slice = vector::ExtractStridedSliceOp::create(b, slice, offset, kLanes, 1);
      Value called = LLVM::CallIntrinsicOp::create(b, part, callee, slices).getResult(0);
      result = vector::InsertStridedSliceOp::create(b, called, result, offset, 1);
    }
    return result;
  }

  Type type;
  int64_t numParts = 0;
  arith::FastMathFlagsAttr contract;
};

constexpr double kLog2E = 1.44269504088896341;
constexpr double kLn2Hi = 0.693145751953125; // few bits: n * it is exact
constexpr double kLn2Lo = 1.42860682030941723e-6;
constexpr double kExponents = 128.0; // 2 to the power of it overflows, and less its negative is 0
constexpr double kRounder = 12582912.0; // 1.5 * 2^23: x + it rounds x to an integer
constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

/// exp(factor x) = 2^round(t) p(fraction(t)) with t = factor x / ln 2. What t loses by
/// rounding is lost: a relative error of |factor x| 2^-24. p is 2^fraction but for the
/// rounding of its operations, where `isRepeated`: factors that are taken thousands of
/// times add up no error of one sign. Else its relative error is below 2^-23.3.
Value expandExp2(F32 &f, Value x, double factor, bool isRepeated) {
  constexpr double rough[] = {1.0,
                              0.6931470036506653,
                              0.24022242426872253,
                              0.05550733581185341,
                              0.009671512991189957,
                              0.001326472731307149};
  // Relative error below 2^-28.3.
  constexpr double fine[] = {1.0,
                             0.6931471824645996,
                             0.24022647738456726,
                             0.05550359934568405,
                             0.009618505835533142,
                             0.0013390807434916496,
                             0.00015326455468311906};
  Value t = f.mul(x, f.constant(factor * kLog2E));
  Value fraction = f.fraction(t);
  Value p = f.polynomial(fraction, isRepeated ? ArrayRef(fine) : ArrayRef(rough));
  return f.scale(p, f.sub(t, fraction));
}

/// n = round(x / ln 2) as the low bits of n + kRounder, and x - n ln 2.
std::pair<Value, Value> reduceExp(F32 &f, Value x) {
  Value shifted = f.fma(x, f.constant(kLog2E), f.constant(kRounder));
  Value n = f.sub(shifted, f.constant(kRounder));
  Value r = f.fma(n, f.constant(-kLn2Hi), x);
  return {f.bits(shifted), f.fma(n, f.constant(-kLn2Lo), r)};
}

/// exp(factor x) for |factor x| < 80, with relative error below 2^-22.
Value expandBoundedExp(F32 &f, Value x, double factor) {
  if (f.hasAvx512())
    return expandExp2(f, x, factor, /*isRepeated=*/false);
  auto [n, r] = reduceExp(f, factor == 1.0 ? x : f.mul(x, f.constant(factor)));
  Value p = f.polynomial(r, {1.0, 0.9999997019767761, 0.4999915063381195, 0.16667647659778595,
                             0.041897840797901154, 0.008289716206490993});
  return f.mul(p, f.fromBits(f.addInt(f.shiftLeft(n, 23), f.integer(0x3f800000))));
}

/// exp(x) = 2^t (1 + r), r = x - t ln 2 being what t = x / ln 2 loses by rounding: 2.5 ulp.
/// `isFlushed`: results below 2^-126 may be 0.
Value expandGpuExp(F32 &f, Value x, bool isFlushed) {
  constexpr double hi = 0.693147182464599609375, lo = -1.9046542999577680e-9;
  Value t = f.mul(x, f.constant(kLog2E));
  Value r = f.fused(t, f.constant(-hi), x);
  r = f.fused(t, f.constant(-lo), r);
  Value power = isFlushed ? f.gpuExp2(t) : f.gpuFullExp2(t);
  // Beyond it is 0, infinity or NaN, of which r would make NaN.
  Value isFinite = f.compare(arith::CmpFPredicate::OLT, f.abs(t), f.constant(kExponents));
  return f.select(isFinite, f.fused(power, r, power), power);
}

/// exp(x) = 2^n p(r), n = round(x / ln 2), r = x - n ln 2.
/// p: minimax on |r| <= ln(2)/2, relative error below 2^-28.
Value expandExp(F32 &f, Value x) {
  constexpr double p[] = {1.0,
                          1.0,
                          0.4999999403953552,
                          0.1666652113199234,
                          0.041668254882097244,
                          0.008368662558495998,
                          0.0013821468455716968};
  if (f.hasAvx512()) {
    Value n = f.sub(f.fma(x, f.constant(kLog2E), f.constant(kRounder)), f.constant(kRounder));
    Value r = f.fma(n, f.constant(-kLn2Hi), x);
    r = f.fma(n, f.constant(-kLn2Lo), r);
    // Where x is so large that r means nothing, n decides: p only must be positive.
    return f.scale(f.polynomial(f.bounded(r, f.constant(0.5)), p), n);
  }
  if (f.isGpu())
    return expandGpuExp(f, x, /*isFlushed=*/false);
  // Beyond these the result is 0 or infinity.
  Value clamped = f.atMost(f.atLeast(x, f.constant(-104.5)), f.constant(89.0));
  auto [n, r] = reduceExp(f, clamped);
  Value fraction = f.polynomial(r, p);
  // 2^n in two factors: n reaches from denormal results to the edge of overflow.
  // The bits of NaN give some factors; p is NaN.
  Value whole = f.shiftLeft(n, 23);
  Value half =
      arith::AndIOp::create(f.b, f.shiftRight(whole, 1), f.integer(static_cast<int>(0xff800000)));
  Value one = f.integer(0x3f800000);
  Value first = f.fromBits(f.addInt(half, one));
  Value second = f.fromBits(f.addInt(f.subInt(whole, half), one));
  return f.mul(f.mul(fraction, first), second);
}

/// exp(x) - 1 = 2 (2^(n-1) e + (2^(n-1) - 1/2)), e = exp(r) - 1 = r + r^2 q(r): n as in exp, less
/// one, so that 2^128 is not asked for. The sign is that of x, of 0 too.
Value expandExpM1(F32 &f, Value x) {
  // Beyond these the result is -1 or infinity.
  Value clamped = f.atMost(f.atLeast(x, f.constant(-18.0)), f.constant(89.0));
  auto [n, r] = reduceExp(f, clamped);
  Value q = f.polynomial(r, {0.4999999403953552, 0.1666652113199234, 0.041668254882097244,
                             0.008368662558495998, 0.0013821468455716968});
  Value e = f.fma(f.mul(r, r), q, r);
  Value half = f.fromBits(f.addInt(f.shiftLeft(n, 23), f.integer(0x3f000000)));
  Value result = f.fma(half, e, f.sub(half, f.constant(0.5)));
  return f.copySign(f.add(result, result), x);
}

/// log(1 + m) - m for 1 + m in [3/4, 3/2): -m^2/2 + m^3 p(m).
/// p: minimax, relative error of log(1 + m) below 2^-27.
Value expandLogTail(F32 &f, Value m) {
  Value p = f.polynomial(m, {0.3333345055580139, -0.25000110268592834, 0.19990848004817963,
                             -0.1664687842130661, 0.1447763293981552, -0.13163946568965912,
                             0.10472550988197327, -0.04515208676457405});
  return f.mul(f.mul(m, m), f.fma(m, p, f.constant(-0.5)));
}

/// log(x) = e ln 2 + log(1 + m).
Value expandLog(F32 &f, Value x) {
  using P = arith::CmpFPredicate;
  if (f.hasAvx512()) {
    // Infinity, 0 and denormals need no care: m = 0 and e = +-infinity, or as usual.
    Value mantissa = f.mantissa(x);
    Value e = f.sub(f.exponent(x), f.exponent(mantissa));
    Value m = f.sub(mantissa, f.constant(1.0));
    Value tail = f.fma(e, f.constant(kLn2Lo), expandLogTail(f, m));
    return f.fma(e, f.constant(kLn2Hi), f.add(m, tail));
  }
  Value isTiny = f.compare(P::OLT, x, f.constant(1.17549435e-38));
  Value scaled = f.select(isTiny, f.mul(x, f.constant(8388608.0)), x);
  Value bits = f.bits(scaled);
  Value exponent = f.shiftRight(f.subInt(bits, f.integer(0x3f400000)), 23);
  Value mantissa = f.fromBits(f.subInt(bits, f.shiftLeft(exponent, 23)));
  Value e = f.sub(f.toFloat(exponent), f.select(isTiny, f.constant(23.0), f.constant(0.0)));
  Value m = f.sub(mantissa, f.constant(1.0));
  Value tail = f.fma(e, f.constant(kLn2Lo), expandLogTail(f, m));
  Value result = f.fma(e, f.constant(kLn2Hi), f.add(m, tail));
  // 0 gives -inf, negative numbers NaN; infinity and NaN give themselves.
  result = f.select(f.compare(P::OLT, x, f.constant(kInfinity)), result, x);
  result = f.select(f.compare(P::OLT, x, f.constant(0.0)), f.constant(kNaN), result);
  return f.select(f.compare(P::OEQ, x, f.constant(0.0)), f.constant(-kInfinity), result);
}

/// log(1 + x) = n ln 2 + log(1 + m) with m = x 2^-n + (2^-n - 1), exact but for its
/// last rounding; without AVX-512 log(u) + (x - (u - 1)) / u with u = 1 + x rounded.
Value expandLog1p(F32 &f, Value x) {
  using P = arith::CmpFPredicate;
  Value one = f.constant(1.0);
  // Without contraction: the second term makes good what u loses by rounding.
  Value u = arith::AddFOp::create(f.b, x, one);
  if (f.hasAvx512()) {
    // u 2^n is in [3/4, 3/2).
    Value n = f.sub(f.constant(-1.0), f.exponent(f.mul(u, f.constant(2.0 / 3.0))));
    Value power = f.scale(one, n);
    Value m = f.fma(x, power, f.sub(power, one));
    Value tail = f.fma(n, f.constant(-kLn2Lo), expandLogTail(f, m));
    Value result = f.fma(n, f.constant(-kLn2Hi), f.add(m, tail));
    // Of u: 0 gives -infinity, infinity itself, what is negative NaN.
    return f.fixUp(f.copySign(result, x), u, 0x03530400);
  }
  Value lost = arith::SubFOp::create(f.b, x, arith::SubFOp::create(f.b, u, one));
  Value result = f.add(expandLog(f, u), f.div(lost, u));
  // For x = -1 and infinity the second term is not a number.
  Value finite = f.compare(P::OLT, u, f.constant(kInfinity));
  Value positive = f.compare(P::OGT, u, f.constant(0.0));
  Value regular = arith::AndIOp::create(f.b, finite, positive);
  Value edge =
      f.select(f.compare(P::OEQ, u, f.constant(0.0)), f.constant(-kInfinity),
               f.select(f.compare(P::OLT, u, f.constant(0.0)), f.constant(kNaN), u));
  // Keeps the sign of zero and all digits of the smallest numbers.
  Value tiny = f.compare(P::OLT, f.abs(x), f.constant(1e-8));
  return f.select(tiny, x, f.select(regular, result, edge));
}

/// log(1 + t) = t p(t) for t in [0, 1], relative error of p below 2^-27.
Value expandUnitLog1p(F32 &f, Value t) {
  return f.mul(t, f.polynomial(t, {1.0, -0.4999993145465851, 0.33330464363098145,
                                   -0.24958020448684692, 0.1969212144613266, -0.15344977378845215,
                                   0.10661371052265167, -0.0574604831635952, 0.02008846029639244,
                                   -0.003291074186563492}));
}

/// tanh(x) = x + x^3 p(x^2) near 0, else 1 - 2 / (exp(2|x|) + 1) with x's sign.
/// Above 10 the result is 1 in f32.
Value expandTanh(F32 &f, Value x) {
  Value square = f.mul(x, x);
  Value p = f.polynomial(square, {-0.33333280682563782, 0.13331441581249237, -0.053739715367555618,
                                  0.020639088004827499, -0.0057049868628382683});
  Value near = f.fma(f.mul(x, square), p, x);
  Value magnitude = f.atMost(f.abs(x), f.constant(10.0));
  Value sum = f.add(expandBoundedExp(f, magnitude, 2.0), f.constant(1.0));
  Value two = f.constant(2.0), one = f.constant(1.0);
  Value far = f.hasAvx512() ? f.sub(one, f.mul(two, f.reciprocal(sum)))
                            : f.sub(one, f.div(two, sum));
  Value isNear = f.compare(arith::CmpFPredicate::OLT, magnitude, f.constant(0.625));
  // The sign of zero too: near adds zeros of both signs.
  return f.copySign(f.select(isNear, near, far), x);
}

/// erf(x) = x p(x^2) near 0, else 1 - exp(g(|x|)) with x's sign, where g
/// approximates log(erfc). Above 4 the result is 1 in f32.
Value expandErf(F32 &f, Value x) {
  Value near = f.mul(
      x, f.polynomial(f.mul(x, x), {1.128379225730896, -0.37612634897232056, 0.11283695697784424,
                                    -0.026859398931264877, 0.005201032385230064,
                                    -0.00081427040277048945, 8.370100113097578e-05}));
  Value magnitude = f.atMost(f.abs(x), f.constant(4.0));
  Value g =
      f.polynomial(magnitude, {0.0001751846430124715, -1.1295173168182373, -0.63334202766418457,
                               -0.10828544199466705, 0.025122886523604393, -0.0041723768226802349,
                               0.00043473378173075616, -2.111850153596606e-05});
  Value far = f.sub(f.constant(1.0), expandBoundedExp(f, g, 1.0));
  Value isNear = f.compare(arith::CmpFPredicate::OLT, magnitude, f.constant(0.921875));
  return f.select(isNear, near, f.copySign(far, x));
}

/// What all patterns need: the type is f32, the target is known.
template <typename Op> struct F32Pattern : OpRewritePattern<Op> {
  F32Pattern(MLIRContext *context, Target target) : OpRewritePattern<Op>(context), target(target) {}

  LogicalResult requireF32(Op op, PatternRewriter &rewriter) const {
    if (getElementTypeOrSelf(op.getType()).isF32())
      return success();
    return rewriter.notifyMatchFailure(op, "not f32");
  }

  Target target;
};

template <typename Op, Value (*expand)(F32 &, Value)> struct Expand : F32Pattern<Op> {
  using F32Pattern<Op>::F32Pattern;

  LogicalResult matchAndRewrite(Op op, PatternRewriter &rewriter) const override {
    if (failed(this->requireF32(op, rewriter)))
      return failure();
    ImplicitLocOpBuilder b(op.getLoc(), rewriter);
    F32 f(b, op.getType(), this->target);
    bool approximate = arith::bitEnumContainsAll(op.getFastmath(), arith::FastMathFlags::afn);
    if (std::is_same_v<Op, math::ExpOp> && approximate && f.hasAvx512())
      rewriter.replaceOp(op, expandExp2(f, op.getOperand(), 1.0, /*isRepeated=*/true));
    else if (std::is_same_v<Op, math::ExpOp> && approximate && f.isGpu())
      rewriter.replaceOp(op, f.gpuExp2(f.mul(op.getOperand(), f.constant(kLog2E))));
    else
      rewriter.replaceOp(op, expand(f, op.getOperand()));
    return success();
  }
};

/// 2^x on GPUs, where afn allows its instruction.
struct ExpandExp2 : F32Pattern<math::Exp2Op> {
  using F32Pattern::F32Pattern;

  LogicalResult matchAndRewrite(math::Exp2Op op, PatternRewriter &rewriter) const override {
    if (failed(requireF32(op, rewriter)))
      return failure();
    ImplicitLocOpBuilder b(op.getLoc(), rewriter);
    F32 f(b, op.getType(), target);
    if (!f.isGpu() || !arith::bitEnumContainsAll(op.getFastmath(), arith::FastMathFlags::afn))
      return rewriter.notifyMatchFailure(op, "there is no instruction for it");
    rewriter.replaceOp(op, f.gpuExp2(op.getOperand()));
    return success();
  }
};

/// log1p(exp(-|x|)), the hot part of softplus.
struct ExpandUnitLog1p : F32Pattern<math::Log1pOp> {
  using F32Pattern::F32Pattern;

  LogicalResult matchAndRewrite(math::Log1pOp op, PatternRewriter &rewriter) const override {
    if (failed(requireF32(op, rewriter)))
      return failure();
    auto exp = op.getOperand().getDefiningOp<math::ExpOp>();
    auto negation = exp ? exp.getOperand().getDefiningOp<arith::NegFOp>() : arith::NegFOp();
    if (!negation || !negation.getOperand().getDefiningOp<math::AbsFOp>())
      return rewriter.notifyMatchFailure(op, "the operand is not exp(-|x|)");
    ImplicitLocOpBuilder b(op.getLoc(), rewriter);
    F32 f(b, op.getType(), target);
    Value power = op.getOperand();
    if (f.isGpu())
      power = expandGpuExp(f, exp.getOperand(), /*isFlushed=*/true);
    rewriter.replaceOp(op, expandUnitLog1p(f, power));
    return success();
  }
};

/// x / (1 + exp(y)), as in sigmoid, and divisions that allow reciprocals. No division
/// keeps that flag: LLVM's own reciprocals make NaN of 1 / infinity.
struct ExpandDivision : F32Pattern<arith::DivFOp> {
  using F32Pattern::F32Pattern;

  /// exp(y) of 1 + exp(y).
  static math::ExpOp findExpPlusOne(Value value) {
    auto sum = value.getDefiningOp<arith::AddFOp>();
    if (!sum)
      return {};
    for (auto [one, exp] : {std::pair(sum.getLhs(), sum.getRhs()), {sum.getRhs(), sum.getLhs()}})
      if (matchPattern(one, m_OneFloat()) && exp.getDefiningOp<math::ExpOp>())
        return exp.getDefiningOp<math::ExpOp>();
    return {};
  }

  LogicalResult matchAndRewrite(arith::DivFOp op, PatternRewriter &rewriter) const override {
    if (failed(requireF32(op, rewriter)))
      return failure();
    auto flags = op.getFastmath();
    bool allowed = arith::bitEnumContainsAll(flags, arith::FastMathFlags::arcp);
    ImplicitLocOpBuilder b(op.getLoc(), rewriter);
    F32 f(b, op.getType(), target);
    math::ExpOp exp = findExpPlusOne(op.getRhs());
    if ((f.hasAvx512() || f.isGpu()) && (allowed || exp)) {
      Value divisor = op.getRhs();
      if (f.isGpu() && exp)
        divisor = f.add(expandGpuExp(f, exp.getOperand(), /*isFlushed=*/true), f.constant(1.0));
      Value reciprocal = f.isGpu() ? f.gpuReciprocal(divisor) : f.reciprocal(divisor);
      rewriter.replaceOpWithNewOp<arith::MulFOp>(op, op.getLhs(), reciprocal);
      return success();
    }
    if (!allowed)
      return rewriter.notifyMatchFailure(op, "must be rounded correctly");
    rewriter.modifyOpInPlace(
        op, [&] { op.setFastmath(arith::bitEnumClear(flags, arith::FastMathFlags::arcp)); });
    return success();
  }
};

struct ExpandMath : ssm::impl::ExpandMathBase<ExpandMath> {
  using Base::Base;

  void runOnOperation() override {
    Target target = gpu ? Target::Gpu : avx512 ? Target::Avx512 : Target::Any;
    // First what is told by an exp that is still there.
    RewritePatternSet composed(&getContext());
    composed.add<ExpandUnitLog1p, ExpandDivision>(&getContext(), target);
    walkAndApplyPatterns(getOperation(), std::move(composed));
    RewritePatternSet patterns(&getContext());
    patterns.add<Expand<math::ExpOp, expandExp>, Expand<math::ExpM1Op, expandExpM1>,
                 Expand<math::LogOp, expandLog>,
                 Expand<math::Log1pOp, expandLog1p>, Expand<math::TanhOp, expandTanh>,
                 Expand<math::ErfOp, expandErf>, ExpandExp2>(&getContext(), target);
    walkAndApplyPatterns(getOperation(), std::move(patterns));
  }
};
} // namespace
