//===- ElementwiseMath.cpp - Neg, Exp, Sin and other functions of one value ===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "lib/Import/Operators/Elementwise.h"

#include "mlir/Dialect/Math/IR/Math.h"

using namespace mlir;
using namespace ssm;
using namespace ssm::onnx;

/// The scalar code of an operator that is one operation of the math dialect.
template <typename Op> static Value apply(ImplicitLocOpBuilder &b, Value x) {
  return Op::create(b, x);
}

static Value reciprocal(ImplicitLocOpBuilder &b, Value x) {
  return arith::DivFOp::create(b, realConstant(b, x.getType(), 1), x);
}

//===----------------------------------------------------------------------===//
// Neg, Abs, Sign: integers too
//===----------------------------------------------------------------------===//

static LogicalResult inferNeg(InferContext &ctx) {
  if (failed(inferNumberUnary(ctx)))
    return failure();
  inferElements(ctx, [&](ArrayRef<AffineExpr> args) {
    return ctx.facts.sub(ctx.facts.constant(0), args[0]);
  });
  return success();
}

static LogicalResult inferAbs(InferContext &ctx) {
  if (failed(inferNumberUnary(ctx)))
    return failure();
  inferElements(ctx, [&](ArrayRef<AffineExpr> args) {
    if (ctx.facts.isNonNegative(args[0]))
      return args[0];
    AffineExpr negated = ctx.facts.sub(ctx.facts.constant(0), args[0]);
    return negated && ctx.facts.isNonNegative(negated) ? negated : AffineExpr();
  });
  return success();
}

static LogicalResult inferSign(InferContext &ctx) {
  if (failed(inferNumberUnary(ctx)))
    return failure();
  inferElements(ctx, [&](ArrayRef<AffineExpr> args) {
    AffineExpr zero = ctx.facts.constant(0);
    if (knownLess(ctx.facts, args[0], zero) == true)
      return ctx.facts.constant(-1);
    if (knownLess(ctx.facts, zero, args[0]) == true)
      return ctx.facts.constant(1);
    return args[0] == zero ? zero : AffineExpr();
  });
  return success();
}

static Value negate(ImplicitLocOpBuilder &b, Value x) {
  if (isa<FloatType>(x.getType()))
    return arith::NegFOp::create(b, x);
  return arith::SubIOp::create(b, zeroConstant(b, x.getType()), x);
}

/// The smallest integer stays itself.
static Value absolute(ImplicitLocOpBuilder &b, Value x) {
  if (isa<FloatType>(x.getType()))
    return math::AbsFOp::create(b, x);
  return arith::MaxSIOp::create(b, x, negate(b, x));
}

/// -1, 0 or 1; NaN stays NaN, as in NumPy.
static Value sign(ImplicitLocOpBuilder &b, Value x) {
  Type type = x.getType();
  Value zero = zeroConstant(b, type);
  if (isa<FloatType>(type)) {
    Value magnitude = math::CopySignOp::create(b, realConstant(b, type, 1), x);
    Value ordered = arith::CmpFOp::create(b, arith::CmpFPredicate::ONE, x, zero);
    return arith::SelectOp::create(b, ordered, magnitude, x);
  }
  Value one = intConstant(b, type, 1), minusOne = intConstant(b, type, -1);
  return arith::MaxSIOp::create(b, minusOne, arith::MinSIOp::create(b, one, x));
}

static Value unsignedSign(ImplicitLocOpBuilder &b, Value x) {
  return arith::MinUIOp::create(b, x, intConstant(b, x.getType(), 1));
}

static LogicalResult lowerAbs(LoweringContext &ctx) {
  if (!isUnsigned(ctx.elementType(0)))
    return lowerUnary<absolute>(ctx);
  ctx.set(0, ctx.lowered(0));
  return success();
}

static LogicalResult lowerSign(LoweringContext &ctx) {
  return isUnsigned(ctx.elementType(0)) ? lowerUnary<unsignedSign>(ctx) : lowerUnary<sign>(ctx);
}

//===----------------------------------------------------------------------===//
// Registration
//===----------------------------------------------------------------------===//

void ssm::onnx::registerMathOperators(OperatorTable &table) {
  auto number = [&](StringRef name, int since, auto infer, auto lower) {
    table.add({"", name, since, 1, 1, 1, 1, {}, infer, lower});
  };
  number("Neg", 6, inferNeg, lowerUnary<negate>);
  number("Abs", 6, inferAbs, lowerAbs);
  number("Sign", 9, inferSign, lowerSign);

  auto real = [&](StringRef name, int since, auto lower) {
    table.add({"", name, since, 1, 1, 1, 1, {}, inferRealUnary, lower});
  };
  real("Ceil", 6, lowerUnary<apply<math::CeilOp>>);
  real("Floor", 6, lowerUnary<apply<math::FloorOp>>);
  real("Round", 11, lowerUnary<apply<math::RoundEvenOp>>);
  real("Sqrt", 6, lowerUnary<apply<math::SqrtOp>>);
  real("Reciprocal", 6, lowerUnary<reciprocal>);
  real("Exp", 6, lowerUnary<apply<math::ExpOp>>);
  real("Log", 6, lowerUnary<apply<math::LogOp>>);
  real("Sin", 7, lowerUnary<apply<math::SinOp>>);
  real("Cos", 7, lowerUnary<apply<math::CosOp>>);
  real("Tan", 7, lowerUnary<apply<math::TanOp>>);
  real("Asin", 7, lowerUnary<apply<math::AsinOp>>);
  real("Acos", 7, lowerUnary<apply<math::AcosOp>>);
  real("Atan", 7, lowerUnary<apply<math::AtanOp>>);
  real("Sinh", 9, lowerUnary<apply<math::SinhOp>>);
  real("Cosh", 9, lowerUnary<apply<math::CoshOp>>);
  real("Tanh", 6, lowerUnary<apply<math::TanhOp>>);
  real("Asinh", 9, lowerUnary<apply<math::AsinhOp>>);
  real("Acosh", 9, lowerUnary<apply<math::AcoshOp>>);
  real("Atanh", 9, lowerUnary<apply<math::AtanhOp>>);
  real("Erf", 9, lowerUnary<apply<math::ErfOp>>);
}
