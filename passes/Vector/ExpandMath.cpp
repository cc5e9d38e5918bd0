//===- ExpandMath.cpp - Elementary functions as arithmetic ---------------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "passes/Vector/Passes.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"
#include "mlir/IR/TypeUtilities.h"
#include "mlir/Transforms/WalkPatternRewriteDriver.h"

namespace ssm {
#define GEN_PASS_DEF_EXPANDMATH
#include "passes/Vector/Passes.h.inc"
} // namespace ssm

using namespace mlir;

namespace {

/// Arithmetic on f32 or vectors of it, with constants in the same shape.
/// Multiply-and-add may be contracted: every use of it here gains accuracy.
class F32 {
public:
  F32(ImplicitLocOpBuilder &b, Type type) : b(b), type(type) {
    contract = arith::FastMathFlagsAttr::get(b.getContext(), arith::FastMathFlags::contract);
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
  Value bits(Value x) { return arith::BitcastOp::create(b, intType(), x); }
  Value fromBits(Value x) { return arith::BitcastOp::create(b, type, x); }
  Value toFloat(Value x) { return arith::SIToFPOp::create(b, type, x); }
  Value toInt(Value x) { return arith::FPToSIOp::create(b, intType(), x); }

  /// c0 + c1 x + c2 x^2 + ... by Horner's rule.
  Value polynomial(Value x, ArrayRef<double> coefficients) {
    Value result = constant(coefficients.back());
    for (double coefficient : llvm::reverse(coefficients.drop_back()))
      result = fma(result, x, constant(coefficient));
    return result;
  }

  ImplicitLocOpBuilder &b;

private:
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

  Type type;
  arith::FastMathFlagsAttr contract;
};

constexpr double kLn2Hi = 0.693359375; // few bits: n * it is exact
constexpr double kLn2Lo = -2.12194440054690583e-4;

/// exp(x) = 2^n (1 + r + r^2 q(r)), n = round(x / ln 2), r = x - n ln 2.
/// q: minimax on |r| <= ln(2)/2, relative error of the whole below 2^-28.
Value expandExp(F32 &f, Value x) {
  using P = arith::CmpFPredicate;
  // Beyond these the result is 0 or infinity; NaN passes both comparisons by.
  Value low = f.constant(-104.5), high = f.constant(89.0);
  Value clamped = f.select(f.compare(P::OLT, x, low), low, x);
  clamped = f.select(f.compare(P::OGT, clamped, high), high, clamped);
  Value n = math::RoundEvenOp::create(f.b, f.mul(clamped, f.constant(1.44269504088896341)));
  Value r = f.fma(n, f.constant(-kLn2Hi), clamped);
  r = f.fma(n, f.constant(-kLn2Lo), r);
  Value q = f.polynomial(r, {0.49999994039535522, 0.16666519641876221, 0.041668392717838287,
                             0.0083687808364629745, 0.0013814467238262296});
  Value p = f.add(f.fma(f.mul(r, r), q, r), f.constant(1.0));
  // 2^n in two factors: n reaches from denormal results to the edge of overflow.
  // NaN has no integer; whatever it becomes, p is NaN.
  Value isNumber = f.compare(P::ORD, x, x);
  Value whole = f.toInt(f.select(isNumber, n, f.constant(0.0)));
  Value half = arith::ShRSIOp::create(f.b, whole, f.integer(1));
  Value rest = arith::SubIOp::create(f.b, whole, half);
  auto power = [&](Value exponent) {
    Value biased = arith::AddIOp::create(f.b, exponent, f.integer(127));
    return f.fromBits(arith::ShLIOp::create(f.b, biased, f.integer(23)));
  };
  return f.mul(f.mul(p, power(half)), power(rest));
}

/// log(x) = e ln 2 + log(1 + m), 1 + m in [sqrt(1/2), sqrt(2)),
/// log(1 + m) = m - m^2/2 + m^3 p(m), p minimax with relative error below 2^-30.
Value expandLog(F32 &f, Value x) {
  using P = arith::CmpFPredicate;
  Value isTiny = f.compare(P::OLT, x, f.constant(1.17549435e-38));
  Value scaled = f.select(isTiny, f.mul(x, f.constant(8388608.0)), x);
  Value bits = f.bits(scaled);
  Value exponent = arith::ShRSIOp::create(
      f.b, arith::SubIOp::create(f.b, bits, f.integer(0x3f3504f3)), f.integer(23));
  Value mantissa = f.fromBits(
      arith::SubIOp::create(f.b, bits, arith::ShLIOp::create(f.b, exponent, f.integer(23))));
  Value e = f.sub(f.toFloat(exponent), f.select(isTiny, f.constant(23.0), f.constant(0.0)));
  Value m = f.sub(mantissa, f.constant(1.0));
  Value p = f.polynomial(m, {0.33333313465118408, -0.25000008940696716, 0.20002119243144989,
                             -0.1666799634695053, 0.14219552278518677, -0.1240558847784996,
                             0.11888159066438675, -0.11675654351711273, 0.067466512322425842});
  Value square = f.mul(m, m);
  Value y = f.fma(f.mul(m, square), p, f.mul(e, f.constant(kLn2Lo)));
  y = f.fma(square, f.constant(-0.5), y);
  Value result = f.add(f.add(m, y), f.mul(e, f.constant(kLn2Hi)));
  // 0 gives -inf, negative numbers NaN; infinity and NaN give themselves.
  Value infinity = f.constant(std::numeric_limits<double>::infinity());
  result = f.select(f.compare(P::OLT, x, infinity), result, x);
  result = f.select(f.compare(P::OLT, x, f.constant(0.0)),
                    f.constant(std::numeric_limits<double>::quiet_NaN()), result);
  return f.select(f.compare(P::OEQ, x, f.constant(0.0)),
                  f.constant(-std::numeric_limits<double>::infinity()), result);
}

/// log(1 + x) = log(u) + (x - (u - 1)) / u with u = 1 + x rounded.
Value expandLog1p(F32 &f, Value x) {
  using P = arith::CmpFPredicate;
  Value one = f.constant(1.0);
  // Without contraction: the rounding of u is what the second term makes good.
  Value u = arith::AddFOp::create(f.b, x, one);
  Value lost = arith::SubFOp::create(f.b, x, arith::SubFOp::create(f.b, u, one));
  Value result = f.add(expandLog(f, u), f.div(lost, u));
  // For x = -1 and infinity the second term is not a number.
  Value finite = f.compare(P::OLT, u, f.constant(std::numeric_limits<double>::infinity()));
  Value positive = f.compare(P::OGT, u, f.constant(0.0));
  Value regular = arith::AndIOp::create(f.b, finite, positive);
  Value edge = f.select(f.compare(P::OEQ, u, f.constant(0.0)),
                        f.constant(-std::numeric_limits<double>::infinity()),
                        f.select(f.compare(P::OLT, u, f.constant(0.0)),
                                 f.constant(std::numeric_limits<double>::quiet_NaN()), u));
  // Keeps the sign of zero and all digits of the smallest numbers.
  Value tiny = f.compare(P::OLT, f.abs(x), f.constant(1e-8));
  return f.select(tiny, x, f.select(regular, result, edge));
}

/// tanh(x) = x + x^3 p(x^2) near 0, else 1 - 2 / (exp(2|x|) + 1) with x's sign.
Value expandTanh(F32 &f, Value x) {
  using P = arith::CmpFPredicate;
  Value magnitude = f.abs(x), square = f.mul(x, x);
  Value p = f.polynomial(square, {-0.33333280682563782, 0.13331441581249237, -0.053739715367555618,
                                  0.020639088004827499, -0.0057049868628382683});
  Value near = f.fma(f.mul(x, square), p, x);
  Value e = expandExp(f, f.add(magnitude, magnitude));
  Value far = f.sub(f.constant(1.0), f.div(f.constant(2.0), f.add(e, f.constant(1.0))));
  return f.select(f.compare(P::OLT, magnitude, f.constant(0.625)), near, f.copySign(far, x));
}

/// erf(x) = x p(x^2) near 0, else 1 - exp(g(|x|)) with x's sign, where g
/// approximates log(erfc). Above 4 the result is 1 in f32.
Value expandErf(F32 &f, Value x) {
  using P = arith::CmpFPredicate;
  Value magnitude = f.abs(x);
  Value near = f.mul(
      x, f.polynomial(f.mul(x, x), {1.128379225730896, -0.37612634897232056, 0.11283695697784424,
                                    -0.026859398931264877, 0.005201032385230064,
                                    -0.00081427040277048945, 8.370100113097578e-05}));
  Value four = f.constant(4.0);
  Value bounded = f.select(f.compare(P::OGT, magnitude, four), four, magnitude);
  Value g =
      f.polynomial(bounded, {0.0001751846430124715, -1.1295173168182373, -0.63334202766418457,
                             -0.10828544199466705, 0.025122886523604393, -0.0041723768226802349,
                             0.00043473378173075616, -2.111850153596606e-05});
  Value far = f.sub(f.constant(1.0), expandExp(f, g));
  return f.select(f.compare(P::OLT, magnitude, f.constant(0.921875)), near, f.copySign(far, x));
}

template <typename Op, Value (*expand)(F32 &, Value)> struct Expand : OpRewritePattern<Op> {
  using OpRewritePattern<Op>::OpRewritePattern;

  LogicalResult matchAndRewrite(Op op, PatternRewriter &rewriter) const override {
    Type type = op.getType();
    if (!getElementTypeOrSelf(type).isF32())
      return rewriter.notifyMatchFailure(op, "not f32");
    ImplicitLocOpBuilder b(op.getLoc(), rewriter);
    F32 f(b, type);
    rewriter.replaceOp(op, expand(f, op.getOperand()));
    return success();
  }
};

struct ExpandMath : ssm::impl::ExpandMathBase<ExpandMath> {
  void runOnOperation() override {
    RewritePatternSet patterns(&getContext());
    patterns.add<Expand<math::ExpOp, expandExp>, Expand<math::LogOp, expandLog>,
                 Expand<math::Log1pOp, expandLog1p>, Expand<math::TanhOp, expandTanh>,
                 Expand<math::ErfOp, expandErf>>(&getContext());
    walkAndApplyPatterns(getOperation(), std::move(patterns));
  }
};
} // namespace
