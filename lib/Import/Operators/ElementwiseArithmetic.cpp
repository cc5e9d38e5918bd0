//===- ElementwiseArithmetic.cpp - Add, Mul, Pow, Max and the like --------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Integers wrap. Integer division by zero ends the run with a status; the scalar
// code itself never traps, so that it may run ahead of the check.
//
//===----------------------------------------------------------------------===//

#include "lib/Import/Operators/Elementwise.h"

#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/SCF/IR/SCF.h"

using namespace mlir;
using namespace ssm;
using namespace ssm::onnx;

//===----------------------------------------------------------------------===//
// Inference
//===----------------------------------------------------------------------===//

/// Inputs of one number type, broadcast; the result has that type.
static LogicalResult inferArithmetic(InferContext &ctx) {
  if (failed(requireNumber(ctx, 0)))
    return failure();
  for (unsigned i = 1; i < ctx.numInputs(); ++i)
    if (ctx.hasInput(i) && failed(ctx.requireSameElementType(0, i)))
      return failure();
  FailureOr<Dims> dims = broadcastInputs(ctx);
  if (failed(dims))
    return failure();
  ctx.setResult(0, ctx.elementType(0), *dims);
  return success();
}

using Symbolic = AffineExpr (*)(ShapeFacts &, AffineExpr, AffineExpr);

static AffineExpr symbolicAdd(ShapeFacts &facts, AffineExpr a, AffineExpr b) {
  return facts.add(a, b);
}
static AffineExpr symbolicSub(ShapeFacts &facts, AffineExpr a, AffineExpr b) {
  return facts.sub(a, b);
}
static AffineExpr symbolicMul(ShapeFacts &facts, AffineExpr a, AffineExpr b) {
  return facts.mul(a, b);
}
static AffineExpr symbolicMax(ShapeFacts &facts, AffineExpr a, AffineExpr b) {
  return facts.max(a, b);
}
static AffineExpr symbolicMin(ShapeFacts &facts, AffineExpr a, AffineExpr b) {
  return facts.min(a, b);
}
static AffineExpr symbolicDiv(ShapeFacts &facts, AffineExpr a, AffineExpr b) {
  if (AffineExpr result = facts.div(a, b))
    return result;
  // A divisor that may be 0 is left to the run, which checks it.
  bool isPlain = facts.isNonNegative(a) && knownLess(facts, facts.constant(0), b) == true;
  return isPlain ? facts.quotient(a, b) : AffineExpr();
}

/// Folds the inputs' elements from left to right.
template <Symbolic Combine> static LogicalResult inferFolded(InferContext &ctx) {
  if (failed(inferArithmetic(ctx)))
    return failure();
  inferElements(ctx, [&](ArrayRef<AffineExpr> args) {
    AffineExpr result = args[0];
    for (AffineExpr arg : args.drop_front())
      result = result ? fitElement(ctx.facts, Combine(ctx.facts, result, arg), ctx.elementType(0))
                      : AffineExpr();
    return result;
  });
  return success();
}

//===----------------------------------------------------------------------===//
// Scalar code
//===----------------------------------------------------------------------===//

using Binary = Value (*)(ImplicitLocOpBuilder &, Value, Value, bool isUnsigned);

static Value add(ImplicitLocOpBuilder &b, Value x, Value y, bool) {
  if (isa<FloatType>(x.getType()))
    return arith::AddFOp::create(b, x, y);
  return arith::AddIOp::create(b, x, y);
}

static Value subtract(ImplicitLocOpBuilder &b, Value x, Value y, bool) {
  if (isa<FloatType>(x.getType()))
    return arith::SubFOp::create(b, x, y);
  return arith::SubIOp::create(b, x, y);
}

static Value multiply(ImplicitLocOpBuilder &b, Value x, Value y, bool) {
  if (isa<FloatType>(x.getType()))
    return arith::MulFOp::create(b, x, y);
  return arith::MulIOp::create(b, x, y);
}

/// The larger one; NaN if either is NaN.
static Value larger(ImplicitLocOpBuilder &b, Value x, Value y, bool isUnsigned) {
  if (isa<FloatType>(x.getType()))
    return arith::MaximumFOp::create(b, x, y);
  if (isUnsigned)
    return arith::MaxUIOp::create(b, x, y);
  return arith::MaxSIOp::create(b, x, y);
}

static Value smaller(ImplicitLocOpBuilder &b, Value x, Value y, bool isUnsigned) {
  if (isa<FloatType>(x.getType()))
    return arith::MinimumFOp::create(b, x, y);
  if (isUnsigned)
    return arith::MinUIOp::create(b, x, y);
  return arith::MinSIOp::create(b, x, y);
}

static Value equals(ImplicitLocOpBuilder &b, Value x, int64_t constant) {
  return arith::CmpIOp::create(b, arith::CmpIPredicate::eq, x,
                               intConstant(b, x.getType(), constant));
}

/// A divisor that cannot trap: 1 for 0, and for -1 where signed, since the
/// smallest integer divided by -1 traps.
static Value safeDivisor(ImplicitLocOpBuilder &b, Value y, bool isUnsigned) {
  Value unsafe = equals(b, y, 0);
  if (!isUnsigned)
    unsafe = arith::OrIOp::create(b, unsafe, equals(b, y, -1));
  return arith::SelectOp::create(b, unsafe, intConstant(b, y.getType(), 1), y);
}

/// Truncates towards zero.
static Value divide(ImplicitLocOpBuilder &b, Value x, Value y, bool isUnsigned) {
  if (isa<FloatType>(x.getType()))
    return arith::DivFOp::create(b, x, y);
  Value divisor = safeDivisor(b, y, isUnsigned);
  if (isUnsigned)
    return arith::DivUIOp::create(b, x, divisor);
  Value quotient = arith::DivSIOp::create(b, x, divisor);
  Value negated = arith::SubIOp::create(b, zeroConstant(b, x.getType()), x);
  return arith::SelectOp::create(b, equals(b, y, -1), negated, quotient);
}

/// The remainder of truncating division: the sign of x.
static Value truncatedRemainder(ImplicitLocOpBuilder &b, Value x, Value y, bool isUnsigned) {
  if (isa<FloatType>(x.getType()))
    return arith::RemFOp::create(b, x, y);
  // The remainder of a division by 1 and by -1 is the same: 0.
  Value divisor = safeDivisor(b, y, isUnsigned);
  if (isUnsigned)
    return arith::RemUIOp::create(b, x, divisor);
  return arith::RemSIOp::create(b, x, divisor);
}

/// The remainder of flooring division: the sign of y.
static Value flooredRemainder(ImplicitLocOpBuilder &b, Value x, Value y, bool isUnsigned) {
  Value rest = truncatedRemainder(b, x, y, isUnsigned);
  if (isUnsigned)
    return rest;
  Value zero = zeroConstant(b, x.getType());
  if (isa<FloatType>(x.getType())) {
    auto less = [&](Value value) -> Value {
      return arith::CmpFOp::create(b, arith::CmpFPredicate::OLT, value, zero);
    };
    Value isZero = arith::CmpFOp::create(b, arith::CmpFPredicate::OEQ, rest, zero);
    Value differ = arith::XOrIOp::create(b, less(rest), less(y));
    Value moved = arith::AddFOp::create(b, rest, y);
    Value result = arith::SelectOp::create(b, differ, moved, rest);
    return arith::SelectOp::create(b, isZero, math::CopySignOp::create(b, zero, y), result);
  }
  auto compare = [&](arith::CmpIPredicate predicate, Value value) -> Value {
    return arith::CmpIOp::create(b, predicate, value, zero);
  };
  Value differ = compare(arith::CmpIPredicate::slt, arith::XOrIOp::create(b, rest, y));
  Value moves = arith::AndIOp::create(b, differ, compare(arith::CmpIPredicate::ne, rest));
  return arith::SelectOp::create(b, moves, arith::AddIOp::create(b, rest, y), rest);
}

//===----------------------------------------------------------------------===//
// Add, Sub, Mul, Max, Min, Sum, Mean
//===----------------------------------------------------------------------===//

static SmallVector<TensorValue> allInputs(LoweringContext &ctx) {
  SmallVector<TensorValue> inputs;
  for (unsigned i = 0; i < ctx.numInputs(); ++i)
    inputs.push_back(ctx.get(i));
  return inputs;
}

/// Folds all inputs from left to right, in the compute type.
template <Binary Body> static LogicalResult lowerFolded(LoweringContext &ctx) {
  Type type = ctx.resultElementType(0);
  bool unsignedType = isUnsigned(type);
  Dims dims(ctx.resultDims(0));
  TensorValue result =
      ctx.map(allInputs(ctx), dims, type, [&](ImplicitLocOpBuilder &b, ValueRange args) {
        Value folded = args[0];
        for (Value arg : args.drop_front())
          folded = Body(b, folded, arg, unsignedType);
        return folded;
      });
  ctx.set(0, result.value);
  return success();
}

static LogicalResult inferMean(InferContext &ctx) {
  return failed(requireReal(ctx, 0)) ? failure() : inferArithmetic(ctx);
}

static LogicalResult lowerMean(LoweringContext &ctx) {
  Dims dims(ctx.resultDims(0));
  TensorValue result =
      ctx.map(allInputs(ctx), dims, ctx.resultElementType(0),
              [&](ImplicitLocOpBuilder &b, ValueRange args) -> Value {
                Value sum = args[0];
                for (Value arg : args.drop_front())
                  sum = arith::AddFOp::create(b, sum, arg);
                return arith::DivFOp::create(b, sum, realConstant(b, sum.getType(), args.size()));
              });
  ctx.set(0, result.value);
  return success();
}

//===----------------------------------------------------------------------===//
// Div, Mod
//===----------------------------------------------------------------------===//

/// Whether no element of a constant or tracked integer input is 0.
static bool isKnownNonZero(LoweringContext &ctx, unsigned i) {
  if (DenseElementsAttr constant = ctx.constantInput(i))
    return llvm::none_of(constant.getValues<APInt>(),
                         [](const APInt &value) { return value.isZero(); });
  auto elements = ctx.elements(i);
  return elements && llvm::all_of(*elements, [](AffineExpr expr) {
           return constantValue(expr).value_or(0) != 0;
         });
}

/// Ends the run if an integer divisor is 0, unless the result is empty. Called
/// after the division, which gave the sizes of the result their values.
static void checkDivisor(LoweringContext &ctx, const TensorValue &divisor,
                         ArrayRef<AffineExpr> resultDims) {
  if (isa<FloatType>(divisor.type) || isKnownNonZero(ctx, 1))
    return;
  Value isEmpty = arith::ConstantOp::create(ctx.b, ctx.b.getBoolAttr(false));
  for (AffineExpr dim : resultDims) {
    Value none =
        arith::CmpIOp::create(ctx.b, arith::CmpIPredicate::eq, ctx.size(dim), ctx.index(0));
    isEmpty = arith::OrIOp::create(ctx.b, isEmpty, none);
  }
  auto isNonZero = [](ImplicitLocOpBuilder &b, Value value) -> Value {
    return arith::CmpIOp::create(b, arith::CmpIPredicate::ne, value,
                                 zeroConstant(b, value.getType()));
  };
  Value allNonZero;
  if (divisor.dims.empty()) {
    allNonZero = isNonZero(ctx.b, ctx.extract(divisor, {}));
  } else {
    Value yes = arith::ConstantOp::create(ctx.b, ctx.b.getBoolAttr(true));
    TensorValue reduced = ctx.reduce(
        divisor, llvm::to_vector(llvm::seq<int64_t>(0, divisor.dims.size())), ctx.b.getI1Type(),
        yes, [&](ImplicitLocOpBuilder &b, Value acc, Value element) -> Value {
          return arith::AndIOp::create(b, acc, isNonZero(b, element));
        });
    allNonZero = ctx.extract(reduced, {});
  }
  ctx.check(arith::OrIOp::create(ctx.b, allNonZero, isEmpty),
            "integer division by zero, expected divisors that are not 0");
}

template <Binary Body> static LogicalResult lowerDivision(LoweringContext &ctx) {
  Type type = ctx.resultElementType(0);
  Dims dims(ctx.resultDims(0));
  TensorValue divisor = ctx.get(1);
  TensorValue result =
      ctx.map({ctx.get(0), divisor}, dims, type, [&](ImplicitLocOpBuilder &b, ValueRange args) {
        return Body(b, args[0], args[1], isUnsigned(type));
      });
  checkDivisor(ctx, divisor, dims);
  ctx.set(0, result.value);
  return success();
}

static LogicalResult inferMod(InferContext &ctx) {
  int64_t fmod = ctx.getInt("fmod", 0);
  if (fmod != 0 && fmod != 1)
    return ctx.error("attribute 'fmod' is " + Twine(fmod) + ", expected 0 or 1");
  if (failed(inferArithmetic(ctx)))
    return failure();
  inferElements(ctx, [&](ArrayRef<AffineExpr> args) {
    const ShapeFacts &facts = ctx.facts;
    // Both kinds agree where nothing is negative.
    if (fmod == 0 || facts.isNonNegative(args[0]))
      return facts.mod(args[0], args[1]);
    return facts.sub(args[0], facts.mul(facts.div(args[0], args[1]), args[1]));
  });
  return success();
}

static LogicalResult lowerMod(LoweringContext &ctx) {
  return ctx.getInt("fmod", 0) ? lowerDivision<truncatedRemainder>(ctx)
                               : lowerDivision<flooredRemainder>(ctx);
}

//===----------------------------------------------------------------------===//
// Pow
//===----------------------------------------------------------------------===//

/// The base has its type, the exponent may have another one.
static LogicalResult inferPow(InferContext &ctx) {
  if (failed(requireNumber(ctx, 0)) || failed(requireNumber(ctx, 1)))
    return failure();
  FailureOr<Dims> dims = broadcastInputs(ctx);
  if (failed(dims))
    return failure();
  ctx.setResult(0, ctx.elementType(0), *dims);
  if (!isa<IntegerType>(ctx.elementType(1)))
    return success();
  inferElements(ctx, [&](ArrayRef<AffineExpr> args) {
    // Exponents of shape arithmetic are small; the rest is left to the run.
    std::optional<int64_t> exponent = constantValue(args[1]);
    AffineExpr result = ctx.facts.constant(1);
    if (!exponent || *exponent < 0 || *exponent > 64)
      return AffineExpr();
    for (int64_t n = 0; n < *exponent; ++n)
      result = ctx.facts.mul(result, args[0]);
    return result;
  });
  return success();
}

/// The exponent if it is one constant number.
static std::optional<double> constantExponent(LoweringContext &ctx) {
  DenseElementsAttr constant = ctx.constantInput(1);
  if (!constant || constant.getNumElements() == 0 || !constant.isSplat())
    return std::nullopt;
  Type type = constant.getElementType();
  if (isa<FloatType>(type)) {
    APFloat value = constant.getSplatValue<APFloat>();
    bool lost;
    value.convert(APFloat::IEEEdouble(), APFloat::rmNearestTiesToEven, &lost);
    return value.convertToDouble();
  }
  APInt value = constant.getSplatValue<APInt>();
  return isUnsigned(type) ? value.roundToDouble() : value.signedRoundToDouble();
}

/// x^n for a small whole n, or null.
static Value smallPower(ImplicitLocOpBuilder &b, Value x, double exponent) {
  if (exponent == 1)
    return x;
  if (exponent == 2)
    return multiply(b, x, x, false);
  if (exponent == 3)
    return multiply(b, multiply(b, x, x, false), x, false);
  return {};
}

/// An integer scalar as a real one, or a real one widened.
static Value toReal(ImplicitLocOpBuilder &b, Value x, Type real, bool isUnsigned) {
  if (x.getType() == real)
    return x;
  if (isa<FloatType>(x.getType()))
    return arith::ExtFOp::create(b, real, x);
  if (isUnsigned)
    return arith::UIToFPOp::create(b, real, x);
  return arith::SIToFPOp::create(b, real, x);
}

/// base^exponent for integers, wrapping. A negative exponent gives what truncating
/// the fraction gives, and the largest integer for base 0.
static Value integerPower(ImplicitLocOpBuilder &b, Value base, Value exponent, bool unsignedBase,
                          bool unsignedExponent) {
  Type type = base.getType();
  Type wide = b.getI64Type();
  unsigned width = type.getIntOrFloatBitWidth();
  Value power = exponent;
  if (exponent.getType() != wide)
    power = unsignedExponent ? arith::ExtUIOp::create(b, wide, exponent).getResult()
                             : arith::ExtSIOp::create(b, wide, exponent).getResult();
  Value first = arith::ConstantIndexOp::create(b, 0), step = arith::ConstantIndexOp::create(b, 1);
  Value last = arith::ConstantIndexOp::create(b, 64);
  // Square and multiply, one bit of the exponent a step.
  auto loop = scf::ForOp::create(
      b, first, last, step, ValueRange{intConstant(b, type, 1), base, power},
      [&](OpBuilder &inner, Location loc, Value, ValueRange args) {
        ImplicitLocOpBuilder ib(loc, inner);
        Value one = intConstant(ib, wide, 1);
        Value bit = equals(ib, arith::AndIOp::create(ib, args[2], one), 1);
        Value next = arith::MulIOp::create(ib, args[0], args[1]);
        scf::YieldOp::create(ib, ValueRange{arith::SelectOp::create(ib, bit, next, args[0]),
                                            arith::MulIOp::create(ib, args[1], args[1]),
                                            arith::ShRUIOp::create(ib, args[2], one)});
      });
  Value result = loop.getResult(0);
  if (unsignedExponent)
    return result;
  // 1 / base^n is 1 or -1 for base 1 and -1 (which squaring gave), else 0.
  Value zero = zeroConstant(b, type);
  Value isUnit = equals(b, base, 1);
  if (!unsignedBase)
    isUnit = arith::OrIOp::create(b, isUnit, equals(b, base, -1));
  APInt largest = unsignedBase ? APInt::getMaxValue(width) : APInt::getSignedMaxValue(width);
  Value infinite = arith::ConstantOp::create(b, b.getIntegerAttr(type, largest));
  Value fraction = arith::SelectOp::create(b, equals(b, base, 0), infinite, zero);
  fraction = arith::SelectOp::create(b, isUnit, result, fraction);
  Value isNegative =
      arith::CmpIOp::create(b, arith::CmpIPredicate::slt, power, intConstant(b, wide, 0));
  return arith::SelectOp::create(b, isNegative, fraction, result);
}

static LogicalResult lowerPow(LoweringContext &ctx) {
  Type type = ctx.resultElementType(0), exponentType = ctx.elementType(1);
  bool realBase = isa<FloatType>(type), realExponent = isa<FloatType>(exponentType);
  std::optional<double> constant = constantExponent(ctx);
  Dims dims(ctx.resultDims(0));

  // An integer base with a real exponent: computed in f64, then cast.
  Type resultType = realBase || !realExponent ? type : Type(ctx.b.getF64Type());
  TensorValue result = ctx.map(
      {ctx.get(0), ctx.get(1)}, dims, resultType,
      [&](ImplicitLocOpBuilder &b, ValueRange args) -> Value {
        if (!realBase && !realExponent)
          return integerPower(b, args[0], args[1], isUnsigned(type), isUnsigned(exponentType));
        if (constant && realBase)
          if (Value power = smallPower(b, args[0], *constant))
            return power;
        // f32 holds small integers only: wide exponents are computed in f64.
        Type real = args[0].getType();
        bool exact = isa<FloatType>(args[1].getType())
                         ? args[1].getType() == real
                         : realBase && args[1].getType().getIntOrFloatBitWidth() <= 16;
        if (!exact)
          real = b.getF64Type();
        Value power = math::PowFOp::create(b, toReal(b, args[0], real, isUnsigned(type)),
                                           toReal(b, args[1], real, isUnsigned(exponentType)));
        Type wanted = computeType(resultType);
        if (real == wanted)
          return power;
        return arith::TruncFOp::create(b, wanted, power);
      });
  if (resultType != type)
    result = ctx.cast(result, type);
  ctx.set(0, result.value);
  return success();
}

//===----------------------------------------------------------------------===//
// Registration
//===----------------------------------------------------------------------===//

void ssm::onnx::registerArithmeticOperators(OperatorTable &table) {
  static constexpr AttrSpec modAttrs[] = {{"fmod", 'i'}};
  auto binary = [&](StringRef name, auto infer, auto lower) {
    table.add({"", name, 7, 2, 2, 1, 1, {}, infer, lower});
  };
  auto variadic = [&](StringRef name, auto infer, auto lower) {
    table.add({"", name, 6, 1, kAnyNumber, 1, 1, {}, infer, lower});
  };
  binary("Add", inferFolded<symbolicAdd>, lowerFolded<add>);
  binary("Sub", inferFolded<symbolicSub>, lowerFolded<subtract>);
  binary("Mul", inferFolded<symbolicMul>, lowerFolded<multiply>);
  binary("Div", inferFolded<symbolicDiv>, lowerDivision<divide>);
  binary("Pow", inferPow, lowerPow);
  table.add({"", "Mod", 10, 2, 2, 1, 1, modAttrs, inferMod, lowerMod});
  variadic("Max", inferFolded<symbolicMax>, lowerFolded<larger>);
  variadic("Min", inferFolded<symbolicMin>, lowerFolded<smaller>);
  variadic("Sum", inferFolded<symbolicAdd>, lowerFolded<add>);
  variadic("Mean", inferMean, lowerMean);
}
