//===- ExpandMathF64.cpp - Elementary functions in double precision ------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "passes/Vector/Passes.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/Dialect/Utils/IndexingUtils.h"
#include "mlir/IR/IRMapping.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"
#include "mlir/IR/TypeUtilities.h"
#include "llvm/ADT/TypeSwitch.h"

namespace ssm {
#define GEN_PASS_DEF_EXPANDMATHF64
#include "passes/Vector/Passes.h.inc"
} // namespace ssm

using namespace mlir;

namespace {

using P = arith::CmpFPredicate;

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
constexpr double kLog2E = 1.44269504088896341;
// Few bits, so that small integers times it are exact; and the rest.
constexpr double kLn2Hi = 0.6931471803691238, kLn2Lo = 1.9082149292705877e-10;
constexpr double kHalfPi = 1.5707963267948966, kHalfPiLo = 6.123233995736766e-17;
constexpr double kRounder = 6755399441055744.0; // 1.5 * 2^52: x + it rounds x to an integer

/// 2 / pi behind 64 bits of zero.
constexpr uint64_t kTwoOverPi[] = {
    0x0000000000000000, 0xa2f9836e4e441529, 0xfc2757d1f534ddc0, 0xdb6295993c439041,
    0xfe5163abdebbc561, 0xb7246e3a424dd2e0, 0x06492eea09d1921c, 0xfe1deb1cb129a73e,
    0xe88235f52ebb4484, 0xe99c7026b45f7e41, 0x3991d639835339f4, 0x9c845f8bbdf9283b,
    0x1ff897ffde05980f, 0xef2f118b5a0a6d1f, 0x6d367ecf27cb09b7, 0x4f463f669e5fea2d,
    0x7527bac7ebe5f17b, 0x3d0739f78a5292ea, 0x6bfb5fb11f8d5d08, 0x56033046fc7b6bab,
    0xf0cfbc209af4361d};

/// A number as a sum of two, the second below half a unit of the first.
struct Pair {
  Value hi, lo;
};

/// Arithmetic on f64 or vectors of it. Nothing may be contracted but the steps of polynomials.
/// `isRounded`: results become f32 or shorter.
class F64 {
public:
  F64(ImplicitLocOpBuilder &b, Type type, bool isRounded)
      : b(b), type(type), isRounded(isRounded) {}

  Value constant(double value) { return constantOf(b.getF64FloatAttr(value), type); }
  Value integer(int64_t value) { return constantOf(b.getI64IntegerAttr(value), intType()); }
  Type intType() {
    auto vector = dyn_cast<VectorType>(type);
    return vector ? Type(vector.clone(b.getI64Type())) : b.getI64Type();
  }
  Value add(Value x, Value y) { return arith::AddFOp::create(b, x, y); }
  Value sub(Value x, Value y) { return arith::SubFOp::create(b, x, y); }
  Value mul(Value x, Value y) { return arith::MulFOp::create(b, x, y); }
  Value div(Value x, Value y) { return arith::DivFOp::create(b, x, y); }
  Value add(Value x, double y) { return add(x, constant(y)); }
  Value mul(Value x, double y) { return mul(x, constant(y)); }
  Value fma(Value x, Value y, Value z) { return math::FmaOp::create(b, x, y, z); }
  Value neg(Value x) { return arith::NegFOp::create(b, x); }
  Value abs(Value x) { return math::AbsFOp::create(b, x); }
  Value sqrt(Value x) { return math::SqrtOp::create(b, x); }
  Value copySign(Value x, Value sign) { return math::CopySignOp::create(b, x, sign); }
  Value select(Value c, Value x, Value y) { return arith::SelectOp::create(b, c, x, y); }
  Value compare(P predicate, Value x, Value y) {
    return arith::CmpFOp::create(b, predicate, x, y);
  }
  Value compare(P predicate, Value x, double y) { return compare(predicate, x, constant(y)); }
  Value both(Value x, Value y) { return arith::AndIOp::create(b, x, y); }
  /// Within the bounds; NaN stays NaN.
  Value clamp(Value x, double low, double high) {
    x = select(compare(P::OLT, x, low), constant(low), x);
    return select(compare(P::OGT, x, high), constant(high), x);
  }
  Value bits(Value x) { return arith::BitcastOp::create(b, intType(), x); }
  Value fromBits(Value x) { return arith::BitcastOp::create(b, type, x); }

  Value polynomial(Value x, ArrayRef<double> coefficients) {
    auto contract = arith::FastMathFlagsAttr::get(b.getContext(), arith::FastMathFlags::contract);
    Value result = constant(coefficients.back());
    for (double coefficient : llvm::reverse(coefficients.drop_back())) {
      Value product = arith::MulFOp::create(b, result, x, contract);
      result = arith::AddFOp::create(b, product, constant(coefficient), contract);
    }
    return result;
  }

  /// The nearest integer, below 2^51, and as an integer; whatever for NaN.
  std::pair<Value, Value> round(Value x) {
    Value shifted = add(x, kRounder);
    Value n = arith::SubIOp::create(b, bits(shifted), integer(llvm::bit_cast<int64_t>(kRounder)));
    return {sub(shifted, constant(kRounder)), n};
  }

  /// x 2^n in two steps, for n from -2044 to 2046.
  Value scale(Value x, Value n) {
    Value half = arith::ShRSIOp::create(b, n, integer(1));
    return mul(mul(x, power(half)), power(arith::SubIOp::create(b, n, half)));
  }

  /// 2^n.
  Value power(Value n) {
    Value biased = arith::AddIOp::create(b, n, integer(1023));
    return fromBits(arith::ShLIOp::create(b, biased, integer(52)));
  }

  ImplicitLocOpBuilder &b;
  Type type;
  bool isRounded;

private:
  Value constantOf(TypedAttr attr, Type wanted) {
    if (auto vector = dyn_cast<VectorType>(wanted))
      return arith::ConstantOp::create(b, DenseElementsAttr::get(vector, attr));
    return arith::ConstantOp::create(b, attr);
  }
};

/// 1 / k! from k = first to last.
SmallVector<double> inverseFactorials(int first, int last, int step = 1) {
  SmallVector<double> result;
  for (int k = first; k <= last; k += step) {
    double value = 1;
    for (int i = 2; i <= k; ++i)
      value *= i;
    result.push_back(1 / value);
  }
  return result;
}

//===----------------------------------------------------------------------===//
// exp and log
//===----------------------------------------------------------------------===//

/// n = round(x / ln 2) and r = x - n ln 2.
std::pair<Value, Value> reduceExp(F64 &f, Value x) {
  auto [whole, n] = f.round(f.mul(x, kLog2E));
  Value r = f.sub(f.sub(x, f.mul(whole, kLn2Hi)), f.mul(whole, kLn2Lo));
  return {n, r};
}

/// exp(x + low) for a small low.
Value exp(F64 &f, Value x, Value low = {}) {
  auto [n, r] = reduceExp(f, f.clamp(x, -746, 710));
  if (low)
    r = f.add(r, low);
  return f.scale(f.polynomial(r, inverseFactorials(0, 13)), n);
}

Value exp2(F64 &f, Value x) {
  auto [whole, n] = f.round(f.clamp(x, -1076, 1025));
  Value r = f.mul(f.sub(f.clamp(x, -1076, 1025), whole), M_LN2);
  return f.scale(f.polynomial(r, inverseFactorials(0, 13)), n);
}

/// 2^n (p + (1 - 2^-n)) with p = exp(r) - 1.
Value expm1(F64 &f, Value x) {
  auto [n, r] = reduceExp(f, f.clamp(x, -50, 710));
  Value p = f.polynomial(r, inverseFactorials(2, 14));
  p = f.add(f.mul(f.mul(r, r), p), r);
  // Nothing of 1 is seen beside 2^1000.
  Value least = arith::MinSIOp::create(f.b, n, f.integer(1000));
  Value rest = f.sub(f.constant(1.0), f.power(arith::SubIOp::create(f.b, f.integer(0), least)));
  Value result = f.scale(f.add(p, rest), n);
  return f.select(f.compare(P::OLT, f.abs(x), 1e-300), x, result);
}

struct LogParts {
  /// x = 2^e (1 + m), m from sqrt(1/2) - 1 to sqrt(2) - 1.
  Value e, m;
};

/// Of a positive finite number.
LogParts splitLog(F64 &f, Value x) {
  Value isTiny = f.compare(P::OLT, x, 2.2250738585072014e-308);
  Value bits = f.bits(f.select(isTiny, f.mul(x, 18014398509481984.0), x)); // 2^54
  // From the bits of sqrt(1/2) on the next exponent begins.
  Value e = arith::ShRSIOp::create(
      f.b, arith::SubIOp::create(f.b, bits, f.integer(0x3fe6a09e667f3bcd)), f.integer(52));
  Value mantissa = f.fromBits(
      arith::SubIOp::create(f.b, bits, arith::ShLIOp::create(f.b, e, f.integer(52))));
  e = arith::SIToFPOp::create(f.b, f.type, e);
  e = f.sub(e, f.select(isTiny, f.constant(54), f.constant(0)));
  return {e, f.sub(mantissa, f.constant(1))};
}

/// log(1 + m) = 2 atanh(s) with s = m / (2 + m): this is m - (m^2/2 - s (m^2/2 + r)).
Value logTail(F64 &f, Value m) {
  Value s = f.div(m, f.add(m, 2));
  Value z = f.mul(s, s);
  SmallVector<double> series;
  for (int k = 3; k <= 25; k += 2)
    series.push_back(2.0 / k);
  Value r = f.mul(z, f.polynomial(z, series));
  Value half = f.mul(f.mul(m, m), 0.5);
  return f.sub(half, f.mul(s, f.add(half, r)));
}

/// What log gives where the number is none, 0, infinite or negative.
Value logEdges(F64 &f, Value x, Value result) {
  result = f.select(f.compare(P::OLT, x, kInfinity), result, x);
  result = f.select(f.compare(P::OLT, x, 0.0), f.constant(kNaN), result);
  return f.select(f.compare(P::OEQ, x, 0.0), f.constant(-kInfinity), result);
}

/// log(x) + low for a small low.
Value log(F64 &f, Value x, Value low = {}) {
  auto [e, m] = splitLog(f, x);
  Value small = f.mul(e, kLn2Lo);
  if (low)
    small = f.add(small, low);
  Value result = f.sub(f.mul(e, kLn2Hi), f.sub(f.sub(logTail(f, m), small), m));
  return logEdges(f, x, result);
}

/// e + log(1 + m) / ln(base) in units of log_base(2).
Value logOfBase(F64 &f, Value x, double ofTwo, double perLn) {
  auto [e, m] = splitLog(f, x);
  Value part = f.mul(f.sub(m, logTail(f, m)), perLn);
  return logEdges(f, x, f.add(f.mul(e, ofTwo), part));
}

Value log2(F64 &f, Value x) { return logOfBase(f, x, 1, kLog2E); }
Value log10(F64 &f, Value x) { return logOfBase(f, x, 0.30102999566398120, 0.43429448190325183); }

Value log1p(F64 &f, Value x) {
  Value u = f.add(x, 1);
  Value lost = f.sub(x, f.sub(u, f.constant(1)));
  // Of -1 and infinity nothing is lost.
  Value regular = f.both(f.compare(P::OLT, u, kInfinity), f.compare(P::OGT, u, 0.0));
  lost = f.select(regular, f.div(lost, u), f.constant(0));
  return f.select(f.compare(P::OLT, f.abs(x), 1e-17), x, log(f, u, lost));
}

//===----------------------------------------------------------------------===//
// Powers
//===----------------------------------------------------------------------===//

Pair fastSum(F64 &f, Value x, Value y) {
  Value sum = f.add(x, y);
  return {sum, f.sub(y, f.sub(sum, x))};
}

Pair product(F64 &f, Value x, Value y) {
  Value hi = f.mul(x, y);
  return {hi, f.fma(x, y, f.neg(hi))};
}

Pair product(F64 &f, Pair x, Pair y) {
  Pair result = product(f, x.hi, y.hi);
  Value rest = f.add(f.mul(x.hi, y.lo), f.mul(x.lo, y.hi));
  return fastSum(f, result.hi, f.add(result.lo, rest));
}

/// log of a positive finite number to some 2^-68: e ln 2 + 2 s + 2/3 s^3 in pairs.
Pair logPair(F64 &f, Value x) {
  auto [e, m] = splitLog(f, x);
  Pair d = fastSum(f, f.constant(2), m);
  Pair s = {f.div(m, d.hi), {}};
  Value rest = f.fma(f.neg(s.hi), d.hi, m);
  s.lo = f.div(f.sub(rest, f.mul(s.hi, d.lo)), d.hi);
  Pair z = product(f, s, s);
  Pair cube = product(f, product(f, z, s), {f.constant(2.0 / 3), f.constant(3.700743415417188e-17)});
  SmallVector<double> series;
  for (int k = 5; k <= 27; k += 2)
    series.push_back(2.0 / k);
  Value tail = f.mul(f.mul(f.mul(z.hi, z.hi), s.hi), f.polynomial(z.hi, series));
  Pair sum = fastSum(f, f.mul(s.hi, 2), cube.hi);
  Value low = f.add(f.add(f.add(sum.lo, f.mul(s.lo, 2)), cube.lo), tail);
  // e ln 2: its first part is exact, and 0 or more than what is added.
  Pair all = fastSum(f, f.mul(e, kLn2Hi), sum.hi);
  Pair ln2Lo = product(f, e, f.constant(kLn2Lo));
  Pair with = fastSum(f, all.hi, ln2Lo.hi);
  return fastSum(f, with.hi, f.add(f.add(f.add(with.lo, all.lo), ln2Lo.lo), low));
}

Value powf(F64 &f, Value x, Value y) {
  Value a = f.abs(x), zero = f.constant(0), one = f.constant(1), result;
  if (f.isRounded) {
    // As a result of f32 counts, |y log a| is below 104: errors of log do not show.
    result = exp(f, f.mul(y, log(f, a)));
  } else {
    Value isZero = f.compare(P::OEQ, a, 0.0);
    Value regular = f.both(f.compare(P::OLT, a, kInfinity), f.compare(P::OGT, a, 0.0));
    Pair l = logPair(f, f.select(regular, a, one));
    l.hi = f.select(regular, l.hi, f.select(isZero, f.constant(-kInfinity), a));
    l.lo = f.select(regular, l.lo, zero);
    Value p = f.mul(y, l.hi);
    Value low = f.add(f.fma(y, l.hi, f.neg(p)), f.mul(y, l.lo));
    result = exp(f, p, f.select(f.compare(P::OLT, f.abs(p), 800), low, zero));
  }
  result = f.select(f.both(f.compare(P::OEQ, a, 1.0), f.compare(P::ORD, y, y)), one, result);
  // Of negative numbers: odd powers are negative, powers that are no integers none.
  Value floor = math::FloorOp::create(f.b, y);
  Value half = f.mul(y, 0.5);
  Value isWhole = f.compare(P::OEQ, floor, y);
  Value isOdd = f.both(isWhole, f.compare(P::ONE, math::FloorOp::create(f.b, half), half));
  Value isNegative = arith::CmpIOp::create(f.b, arith::CmpIPredicate::slt, f.bits(x), f.integer(0));
  result = f.select(f.both(isNegative, isOdd), f.neg(result), result);
  Value isNone = f.both(f.both(f.compare(P::OLT, x, 0.0), f.compare(P::OGT, x, -kInfinity)),
                        f.compare(P::ONE, floor, y));
  result = f.select(isNone, f.constant(kNaN), result);
  result = f.select(f.compare(P::OEQ, x, 1.0), one, result);
  return f.select(f.compare(P::OEQ, y, 0.0), one, result);
}

Value cbrt(F64 &f, Value x) {
  Value a = f.abs(x);
  Value root = exp(f, f.div(log(f, a), f.constant(3)));
  // A step of Newton's.
  Value error = f.sub(root, f.div(f.div(a, root), root));
  root = f.sub(root, f.div(error, f.constant(3)));
  Value regular = f.both(f.compare(P::OGT, a, 0.0), f.compare(P::OLT, a, kInfinity));
  return f.copySign(f.select(regular, root, a), x);
}

//===----------------------------------------------------------------------===//
// sin, cos, tan
//===----------------------------------------------------------------------===//

/// x = quadrant pi / 2 + r, |r| up to pi / 4 and a bit.
struct Angle {
  Value quadrant, r;
};

/// Up to 2^20: pi / 2 in parts so short that their products with integers are exact.
Angle reduceSmall(F64 &f, Value x) {
  auto [whole, n] = f.round(f.mul(x, 2 / M_PI));
  Value r = x;
  for (double part : {1.5707963267341256, 6.077100506303966e-11, 2.0222662487111665e-21,
                      8.4784276603689e-32})
    r = f.sub(r, f.mul(whole, part));
  return {n, r};
}

/// From 2^20 on: x = M 2^e; of 2 / pi those 192 bits are taken whose product with M
/// matters modulo 4.
Angle reduceLarge(F64 &f, Value x) {
  ImplicitLocOpBuilder &b = f.b;
  auto shiftLeft = [&](Value v, Value by) { return arith::ShLIOp::create(b, v, by).getResult(); };
  auto shiftRight = [&](Value v, Value by) { return arith::ShRUIOp::create(b, v, by).getResult(); };
  auto add = [&](Value v, Value w) { return arith::AddIOp::create(b, v, w).getResult(); };
  auto orI = [&](Value v, Value w) { return arith::OrIOp::create(b, v, w).getResult(); };
  auto andI = [&](Value v, int64_t w) {
    return arith::AndIOp::create(b, v, f.integer(w)).getResult();
  };
  Value bits = f.bits(f.abs(x));
  Value m = orI(andI(bits, (1LL << 52) - 1), f.integer(1LL << 52));
  // e + 62, where bits of the table begin.
  Value start = add(shiftRight(bits, f.integer(52)), f.integer(62 - 1075));
  Value word = shiftRight(start, f.integer(6)), offset = andI(start, 63);
  Value words[4];
  constexpr int last = std::size(kTwoOverPi) - 1;
  for (int i = 0; i < 4; ++i) {
    words[i] = f.integer(kTwoOverPi[last]);
    for (int k = last - 1; k >= i; --k) {
      Value is = arith::CmpIOp::create(b, arith::CmpIPredicate::eq, word, f.integer(k - i));
      words[i] = f.select(is, f.integer(kTwoOverPi[k]), words[i]);
    }
  }
  Value rest = arith::SubIOp::create(b, f.integer(63), offset);
  Value window[3];
  for (int i = 0; i < 3; ++i)
    window[i] = orI(shiftLeft(words[i], offset),
                    shiftRight(shiftRight(words[i + 1], f.integer(1)), rest));
  auto low = arith::MulUIExtendedOp::create(b, m, window[2]);
  auto middle = arith::MulUIExtendedOp::create(b, m, window[1]);
  auto sum = arith::AddUIExtendedOp::create(b, low.getHigh(), middle.getLow());
  Value carry = arith::ExtUIOp::create(b, b.getI64Type(), sum.getOverflow());
  Value top = add(add(middle.getHigh(), carry), arith::MulIOp::create(b, m, window[0]));
  Value two = f.integer(2), sixtyTwo = f.integer(62);
  Value hi = orI(shiftLeft(top, two), shiftRight(sum.getSum(), sixtyTwo));
  Value lo = orI(shiftLeft(sum.getSum(), two), shiftRight(low.getLow(), sixtyTwo));
  // A fraction of one half or more belongs to the next quadrant: as a signed number.
  Value quadrant = add(shiftRight(top, sixtyTwo), shiftRight(hi, f.integer(63)));
  Value first = arith::ShRSIOp::create(b, hi, f.integer(11));
  Value second = orI(shiftLeft(andI(hi, 2047), f.integer(42)), shiftRight(lo, f.integer(22)));
  Type f64 = b.getF64Type();
  Value fraction = f.add(f.mul(arith::SIToFPOp::create(b, f64, first), 0x1p-53),
                         f.mul(arith::SIToFPOp::create(b, f64, second), 0x1p-106));
  Value r = f.mul(fraction, kHalfPi);
  Value isNegative = f.compare(P::OLT, x, 0.0);
  quadrant = f.select(isNegative, arith::SubIOp::create(b, f.integer(0), quadrant), quadrant);
  return {quadrant, f.select(isNegative, f.neg(r), r)};
}

Angle reduceAngle(F64 &f, Value x);

/// Lane by lane.
Angle reduceLanes(F64 &f, Value x) {
  ImplicitLocOpBuilder &b = f.b;
  int64_t numLanes = cast<VectorType>(f.type).getDimSize(0);
  Value zero = arith::ConstantIndexOp::create(b, 0), one = arith::ConstantIndexOp::create(b, 1);
  Value end = arith::ConstantIndexOp::create(b, numLanes);
  auto loop = scf::ForOp::create(b, zero, end, one, ValueRange{f.integer(0), f.constant(0)});
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToStart(loop.getBody());
  Value lane = loop.getInductionVar(), each = vector::ExtractOp::create(b, x, lane);
  F64 scalar(b, b.getF64Type(), f.isRounded);
  Angle angle = reduceAngle(scalar, each);
  Value quadrant = vector::InsertOp::create(b, angle.quadrant, loop.getRegionIterArg(0), lane);
  Value r = vector::InsertOp::create(b, angle.r, loop.getRegionIterArg(1), lane);
  scf::YieldOp::create(b, ValueRange{quadrant, r});
  return {loop.getResult(0), loop.getResult(1)};
}

Angle reduceAngle(F64 &f, Value x) {
  bool isVector = isa<VectorType>(f.type);
  Value isSmall = f.compare(P::OLT, f.abs(x), 1048576.0);
  if (isVector)
    isSmall = vector::ReductionOp::create(f.b, vector::CombiningKind::AND, isSmall);
  Type types[] = {f.intType(), f.type};
  auto branch = scf::IfOp::create(f.b, types, isSmall, /*withElseRegion=*/true);
  OpBuilder::InsertionGuard guard(f.b);
  for (bool small : {true, false}) {
    f.b.setInsertionPointToEnd(small ? branch.thenBlock() : branch.elseBlock());
    Angle angle = small ? reduceSmall(f, x) : isVector ? reduceLanes(f, x) : reduceLarge(f, x);
    scf::YieldOp::create(f.b, ValueRange{angle.quadrant, angle.r});
  }
  // Infinity and NaN have no angle.
  f.b.setInsertionPointAfter(branch);
  Value isFinite = f.compare(P::OLT, f.abs(x), kInfinity);
  return {branch.getResult(0), f.select(isFinite, branch.getResult(1), f.constant(kNaN))};
}

SmallVector<double> alternating(int first, int last) {
  SmallVector<double> result = inverseFactorials(first, last, 2);
  for (size_t i = 0; i < result.size(); ++i)
    if ((first / 2 + i) % 2 == 1)
      result[i] = -result[i];
  return result;
}

Value sinNear(F64 &f, Value r) {
  Value z = f.mul(r, r);
  Value tail = f.mul(f.mul(r, z), f.polynomial(z, alternating(3, 17)));
  // Keeps the sign of zero.
  return f.select(f.compare(P::OEQ, r, 0.0), r, f.add(r, tail));
}

Value cosNear(F64 &f, Value r) {
  Value z = f.mul(r, r), half = f.mul(z, 0.5), one = f.constant(1);
  Value first = f.sub(one, half);
  Value lost = f.sub(f.sub(one, first), half);
  Value tail = f.mul(f.mul(z, z), f.polynomial(z, alternating(4, 18)));
  return f.add(first, f.add(lost, tail));
}

Value bit(F64 &f, Value x, int64_t which) {
  Value part = arith::AndIOp::create(f.b, x, f.integer(which));
  return arith::CmpIOp::create(f.b, arith::CmpIPredicate::ne, part, f.integer(0));
}

Value sinFrom(F64 &f, Value x, int64_t quarters) {
  Angle angle = reduceAngle(f, x);
  Value n = arith::AddIOp::create(f.b, angle.quadrant, f.integer(quarters));
  Value value = f.select(bit(f, n, 1), cosNear(f, angle.r), sinNear(f, angle.r));
  return f.select(bit(f, n, 2), f.neg(value), value);
}

Value sin(F64 &f, Value x) {
  // Below, the reduction could lose the sign of zero.
  return f.select(f.compare(P::OLT, f.abs(x), 1e-10), x, sinFrom(f, x, 0));
}
Value cos(F64 &f, Value x) { return sinFrom(f, x, 1); }

Value tan(F64 &f, Value x) {
  Angle angle = reduceAngle(f, x);
  Value sine = sinNear(f, angle.r), cosine = cosNear(f, angle.r);
  Value turned = bit(f, angle.quadrant, 1);
  Value result = f.div(f.select(turned, f.neg(cosine), sine), f.select(turned, sine, cosine));
  return f.select(f.compare(P::OLT, f.abs(x), 1e-10), x, result);
}

//===----------------------------------------------------------------------===//
// Inverse functions of angles
//===----------------------------------------------------------------------===//

/// atan(t) for t from 0 to 1.
Value atanUnit(F64 &f, Value t) {
  Value isFar = f.compare(P::OGT, t, 0.41421356237309503);
  Value near = f.select(isFar, f.div(f.sub(t, f.constant(1)), f.add(t, 1)), t);
  Value z = f.mul(near, near);
  SmallVector<double> series;
  for (int k = 3; k <= 43; k += 2)
    series.push_back((k / 2 % 2 ? -1.0 : 1.0) / k);
  Value tail = f.mul(f.mul(near, z), f.polynomial(z, series));
  Value far = f.add(f.constant(kHalfPi / 2), f.add(near, f.add(tail, kHalfPiLo / 2)));
  return f.select(isFar, far, f.add(near, tail));
}

Value atan2(F64 &f, Value y, Value x) {
  Value ay = f.abs(y), ax = f.abs(x);
  Value isSteep = f.compare(P::OGT, ay, ax);
  Value large = f.select(isSteep, ay, ax), small = f.select(isSteep, ax, ay);
  Value quotient = f.div(small, large);
  // 0 / 0 is 0, infinity / infinity 1.
  quotient = f.select(f.compare(P::OEQ, large, 0.0), small, quotient);
  Value areInfinite = f.compare(P::OEQ, small, kInfinity);
  quotient = f.select(areInfinite, f.constant(1), quotient);
  Value angle = atanUnit(f, quotient);
  Value steep = f.sub(f.constant(kHalfPi), f.sub(angle, f.constant(kHalfPiLo)));
  angle = f.select(isSteep, steep, angle);
  Value isNegative = arith::CmpIOp::create(f.b, arith::CmpIPredicate::slt, f.bits(x), f.integer(0));
  Value turned = f.sub(f.constant(2 * kHalfPi), f.sub(angle, f.constant(2 * kHalfPiLo)));
  angle = f.select(isNegative, turned, angle);
  angle = f.copySign(angle, y);
  // The signs of NaN have moved it nowhere.
  return f.select(f.compare(P::UNO, y, x), f.constant(kNaN), angle);
}

Value atan(F64 &f, Value x) { return atan2(f, x, f.constant(1)); }
/// sqrt(1 - x^2).
Value cathetus(F64 &f, Value x) {
  return f.sqrt(f.mul(f.sub(f.constant(1), x), f.add(x, 1)));
}
Value asin(F64 &f, Value x) { return atan2(f, x, cathetus(f, x)); }
Value acos(F64 &f, Value x) { return atan2(f, cathetus(f, x), x); }

//===----------------------------------------------------------------------===//
// Hyperbolic functions
//===----------------------------------------------------------------------===//

Value sinh(F64 &f, Value x) {
  Value a = f.abs(x);
  Value e = expm1(f, f.clamp(a, 0, 100));
  Value near = f.mul(f.add(e, f.div(e, f.add(e, 1))), 0.5);
  Value root = exp(f, f.mul(a, 0.5));
  Value far = f.mul(f.mul(root, 0.5), root);
  return f.copySign(f.select(f.compare(P::OGT, a, 100), far, near), x);
}

Value cosh(F64 &f, Value x) {
  Value root = exp(f, f.mul(f.abs(x), 0.5));
  Value far = f.mul(f.mul(root, 0.5), root);
  return f.add(far, f.div(f.constant(0.25), far));
}

Value tanh(F64 &f, Value x) {
  Value e = expm1(f, f.mul(f.clamp(f.abs(x), 0, 22), 2));
  return f.copySign(f.div(e, f.add(e, 2)), x);
}

/// log(2 a) for a large a.
Value logTwice(F64 &f, Value a) { return f.add(log(f, a), M_LN2); }

Value asinh(F64 &f, Value x) {
  Value a = f.abs(x), square = f.mul(a, a);
  Value root = f.sqrt(f.add(square, 1));
  Value near = log1p(f, f.add(a, f.div(square, f.add(root, 1))));
  return f.copySign(f.select(f.compare(P::OGT, a, 0x1p28), logTwice(f, a), near), x);
}

Value acosh(F64 &f, Value x) {
  Value t = f.sub(x, f.constant(1));
  Value near = log1p(f, f.add(t, f.sqrt(f.mul(t, f.add(t, 2)))));
  Value result = f.select(f.compare(P::OGT, x, 0x1p28), logTwice(f, x), near);
  return f.select(f.compare(P::OLT, x, 1.0), f.constant(kNaN), result);
}

Value atanh(F64 &f, Value x) {
  Value a = f.abs(x);
  Value quotient = f.div(f.mul(a, 2), f.sub(f.constant(1), a));
  return f.copySign(f.mul(log1p(f, quotient), 0.5), x);
}

//===----------------------------------------------------------------------===//
// Error functions
//===----------------------------------------------------------------------===//

constexpr double kErfSplit = 0.625;

/// Up to kErfSplit.
Value erfNear(F64 &f, Value x) {
  SmallVector<double> series;
  double factorial = 1;
  for (int k = 0; k < 15; ++k) {
    factorial *= k == 0 ? 1 : -k;
    series.push_back(M_2_SQRTPI / (factorial * (2 * k + 1)));
  }
  return f.mul(x, f.polynomial(f.mul(x, x), series));
}

/// exp(-a^2) g(t) / (1 + 2 a) from kErfSplit on, t = (a - 3) / (a + 3), g fitted.
Value erfcFar(F64 &f, Value a) {
  a = f.clamp(a, 0.6, 28);
  Value t = f.div(f.sub(a, f.constant(3)), f.add(a, 3));
  Value g = f.polynomial(
      t, {1.2530080582697296,     -0.1356211061245812,    -0.04756229435345091,
          0.12964515870276483,    -0.1192736634152964,    0.06830802734381676,
          -0.023770514918947112,  0.002529391819037973,   0.0018886903617740633,
          -0.0007798323032217906, -0.00010515979828270735, 0.00012509955303613248,
          4.949319249373597e-06,  -2.0101385864792724e-05, -7.303094000973165e-07,
          3.4744854960222383e-06, 3.525344310956841e-07,  -6.196501826867304e-07,
          -1.328473961662759e-07, 1.0369608717170785e-07, 3.1856602070024496e-08,
          -1.2734101630627884e-08, -3.011077750404807e-09});
  // a^2 = h^2 + (a - h) (a + h), the first exact.
  Value h = f.fromBits(arith::AndIOp::create(f.b, f.bits(a), f.integer(~((1LL << 27) - 1))));
  Value low = f.neg(f.mul(f.sub(a, h), f.add(a, h)));
  Value decay = exp(f, f.neg(f.mul(h, h)), low);
  return f.div(f.mul(decay, g), f.add(f.mul(a, 2), 1));
}

Value erf(F64 &f, Value x) {
  Value a = f.abs(x);
  Value far = f.copySign(f.sub(f.constant(1), erfcFar(f, a)), x);
  return f.select(f.compare(P::OLT, a, kErfSplit), erfNear(f, x), far);
}

Value erfc(F64 &f, Value x) {
  Value a = f.abs(x), far = erfcFar(f, a);
  far = f.select(f.compare(P::OLT, x, 0.0), f.sub(f.constant(2), far), far);
  return f.select(f.compare(P::OLT, a, kErfSplit), f.sub(f.constant(1), erfNear(f, x)), far);
}

//===----------------------------------------------------------------------===//
// Remainders and rounding
//===----------------------------------------------------------------------===//

/// The remainder of truncated division, exact: the mantissa of x takes on its exponent's
/// distance to that of y in steps of 11 bits, each modulo the mantissa of y.
Value remainder(F64 &f, Value x, Value y) {
  ImplicitLocOpBuilder &b = f.b;
  Type i64 = b.getI64Type();
  Value zero = f.integer(0), one = f.integer(1);
  auto split = [&](Value v) -> std::pair<Value, Value> {
    Value bits = f.bits(f.abs(v));
    Value e = arith::ShRUIOp::create(b, bits, f.integer(52));
    Value m = arith::AndIOp::create(b, bits, f.integer((1LL << 52) - 1));
    Value isNormal = arith::CmpIOp::create(b, arith::CmpIPredicate::ne, e, zero);
    Value whole = arith::OrIOp::create(b, m, f.integer(1LL << 52));
    return {f.select(isNormal, e, one), f.select(isNormal, whole, m)};
  };
  auto [ex, mx] = split(x);
  auto [ey, divisor] = split(y);
  // Division by 0 gives NaN below, but must not trap.
  Value my = arith::MaxUIOp::create(b, divisor, one);
  Value r = arith::RemUIOp::create(b, mx, my);
  Value left = arith::SubIOp::create(b, ex, ey);
  auto loop = scf::WhileOp::create(
      b, TypeRange{i64, i64}, ValueRange{r, left},
      [&](OpBuilder &inner, Location loc, ValueRange args) {
        Value more =
            arith::CmpIOp::create(inner, loc, arith::CmpIPredicate::sgt, args[1], zero);
        scf::ConditionOp::create(inner, loc, more, args);
      },
      [&](OpBuilder &inner, Location loc, ValueRange args) {
        Value step = arith::MinSIOp::create(inner, loc, args[1],
                                            arith::ConstantIntOp::create(inner, loc, 11, 64));
        Value shifted = arith::ShLIOp::create(inner, loc, args[0], step);
        Value next = arith::RemUIOp::create(inner, loc, shifted, my);
        scf::YieldOp::create(inner, loc,
                             ValueRange{next, arith::SubIOp::create(inner, loc, args[1], step)});
      });
  Value value = arith::SIToFPOp::create(b, b.getF64Type(), loop.getResult(0));
  value = f.scale(value, arith::SubIOp::create(b, ey, f.integer(1075)));
  Value isLess = f.compare(P::OLT, f.abs(x), f.abs(y));
  value = f.copySign(f.select(isLess, f.abs(x), value), x);
  Value isFinite = f.compare(P::OLT, f.abs(x), kInfinity);
  Value isSome = f.both(f.compare(P::ORD, y, y), f.compare(P::ONE, y, 0.0));
  return f.select(f.both(isFinite, isSome), value, f.constant(kNaN));
}

/// Halves away from zero.
Value roundAway(F64 &f, Value x) {
  Value moved = f.add(x, f.copySign(f.constant(0.49999999999999994), x));
  return f.copySign(math::TruncOp::create(f.b, moved), x);
}

//===----------------------------------------------------------------------===//
// The pass
//===----------------------------------------------------------------------===//

using Unary = Value (*)(F64 &, Value);

Unary unaryOf(Operation *op) {
  return llvm::TypeSwitch<Operation *, Unary>(op)
      .Case([](math::ExpOp) { return [](F64 &f, Value x) { return exp(f, x); }; })
      .Case([](math::LogOp) { return [](F64 &f, Value x) { return log(f, x); }; })
      .Case([](math::Exp2Op) { return exp2; })
      .Case([](math::ExpM1Op) { return expm1; })
      .Case([](math::Log2Op) { return log2; })
      .Case([](math::Log10Op) { return log10; })
      .Case([](math::Log1pOp) { return log1p; })
      .Case([](math::CbrtOp) { return cbrt; })
      .Case([](math::SinOp) { return sin; })
      .Case([](math::CosOp) { return cos; })
      .Case([](math::TanOp) { return tan; })
      .Case([](math::AtanOp) { return atan; })
      .Case([](math::AsinOp) { return asin; })
      .Case([](math::AcosOp) { return acos; })
      .Case([](math::SinhOp) { return sinh; })
      .Case([](math::CoshOp) { return cosh; })
      .Case([](math::TanhOp) { return tanh; })
      .Case([](math::AsinhOp) { return asinh; })
      .Case([](math::AcoshOp) { return acosh; })
      .Case([](math::AtanhOp) { return atanh; })
      .Case([](math::ErfOp) { return erf; })
      .Case([](math::ErfcOp) { return erfc; })
      .Case([](math::RoundOp) { return roundAway; })
      .Default([](Operation *) { return Unary(); });
}

using Binary = Value (*)(F64 &, Value, Value);

Binary binaryOf(Operation *op) {
  return llvm::TypeSwitch<Operation *, Binary>(op)
      .Case([](math::PowFOp) { return powf; })
      .Case([](math::FPowIOp) { return powf; })
      .Case([](math::Atan2Op) { return atan2; })
      .Case([](arith::RemFOp) { return remainder; })
      .Default([](Operation *) { return Binary(); });
}

/// Those that ssm-expand-math has for f32.
bool hasSingle(Operation *op) {
  if (auto exp2 = dyn_cast<math::Exp2Op>(op))
    return arith::bitEnumContainsAll(exp2.getFastmath(), arith::FastMathFlags::afn);
  return isa<math::ExpOp, math::ExpM1Op, math::LogOp, math::Log1pOp, math::TanhOp, math::ErfOp>(op);
}

struct ExpandMathF64 : ssm::impl::ExpandMathF64Base<ExpandMathF64> {
  using ExpandMathF64Base::ExpandMathF64Base;

  void runOnOperation() override {
    SmallVector<Operation *> ops;
    getOperation()->walk([&](Operation *op) {
      if (unaryOf(op) || binaryOf(op))
        ops.push_back(op);
    });
    for (Operation *op : ops) {
      ImplicitLocOpBuilder b(op->getLoc(), op);
      Type type = op->getResult(0).getType();
      if (hasSingle(op) && getElementTypeOrSelf(type).isF32())
        continue;
      auto vector = dyn_cast<VectorType>(type);
      bool hasLanes = vector && vector.getRank() == 1 && !isa<arith::RemFOp>(op);
      if (onlyVectors && (!hasLanes || vector.isScalable() || vector.getElementType().isF64() ||
                          isa<math::RoundOp>(op)))
        continue;
      if (vector && vector.isScalable()) {
        op->emitError("has no arithmetic for vectors of open length");
        return signalPassFailure();
      }
      Value result = vector && !hasLanes ? unroll(b, op, vector) : expand(b, op);
      op->replaceAllUsesWith(ValueRange{result});
      op->erase();
    }
  }

  static Value unroll(ImplicitLocOpBuilder &b, Operation *op, VectorType type) {
    Value result = arith::ConstantOp::create(b, b.getZeroAttr(type));
    SmallVector<int64_t> strides = computeStrides(type.getShape());
    for (int64_t i = 0; i < type.getNumElements(); ++i) {
      SmallVector<int64_t> position = delinearize(i, strides);
      IRMapping mapping;
      for (Value operand : op->getOperands())
        mapping.map(operand, vector::ExtractOp::create(b, operand, position).getResult());
      Operation *scalar = b.clone(*op, mapping);
      scalar->getResult(0).setType(type.getElementType());
      ImplicitLocOpBuilder inside(op->getLoc(), scalar);
      Value value = hasSingle(scalar) && type.getElementType().isF32() ? scalar->getResult(0)
                                                                       : expand(inside, scalar);
      result = vector::InsertOp::create(b, value, result, position);
      scalar->erase();
    }
    return result;
  }

  /// On scalars and vectors of one axis: halves by way of f32 where there is one, all else by way
  /// of f64.
  static Value expand(ImplicitLocOpBuilder &b, Operation *op) {
    Type type = op->getResult(0).getType();
    unsigned width = getElementTypeOrSelf(type).getIntOrFloatBitWidth();
    bool isSingle = hasSingle(op) && width < 32;
    Type wide = isSingle ? Type(b.getF32Type()) : b.getF64Type();
    if (auto vector = dyn_cast<VectorType>(type))
      wide = vector.clone(wide);
    SmallVector<Value> operands;
    for (Value operand : op->getOperands()) {
      if (getElementTypeOrSelf(operand).isInteger())
        operand = arith::SIToFPOp::create(b, wide, operand);
      else if (operand.getType() != wide)
        operand = arith::ExtFOp::create(b, wide, operand);
      operands.push_back(operand);
    }
    Value result;
    if (isSingle) {
      IRMapping mapping;
      mapping.map(op->getOperand(0), operands[0]);
      Operation *single = b.clone(*op, mapping);
      single->getResult(0).setType(wide);
      result = single->getResult(0);
    } else {
      F64 f(b, wide, width <= 32);
      Unary unary = unaryOf(op);
      result = unary ? unary(f, operands[0]) : binaryOf(op)(f, operands[0], operands[1]);
    }
    return type == wide ? result : arith::TruncFOp::create(b, type, result).getResult();
  }
};
} // namespace
