//===- ElementwiseActivations.cpp - Sigmoid, Gelu, Softplus and the like --===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The formulas are those that do not cancel, and where exp overflows the result is
// its limit; exp(x)-1 is expm1.
//
//===----------------------------------------------------------------------===//

#include "lib/Import/Operators/Elementwise.h"

#include "mlir/Dialect/Math/IR/Math.h"

using namespace mlir;
using namespace ssm;
using namespace ssm::onnx;

//===----------------------------------------------------------------------===//
// Scalar code
//===----------------------------------------------------------------------===//

static Value add(ImplicitLocOpBuilder &b, Value x, Value y) {
  return arith::AddFOp::create(b, x, y);
}
static Value mul(ImplicitLocOpBuilder &b, Value x, Value y) {
  return arith::MulFOp::create(b, x, y);
}
static Value div(ImplicitLocOpBuilder &b, Value x, Value y) {
  return arith::DivFOp::create(b, x, y);
}
static Value scale(ImplicitLocOpBuilder &b, Value x, double factor) {
  return factor == 1 ? x : mul(b, x, realConstant(b, x.getType(), factor));
}
static Value isLess(ImplicitLocOpBuilder &b, Value x, Value y) {
  return arith::CmpFOp::create(b, arith::CmpFPredicate::OLT, x, y);
}
static Value select(ImplicitLocOpBuilder &b, Value condition, Value x, Value y) {
  return arith::SelectOp::create(b, condition, x, y);
}
/// x in [low, high]; NaN stays NaN.
static Value clamp(ImplicitLocOpBuilder &b, Value x, double low, double high) {
  Value bounded = arith::MinimumFOp::create(b, x, realConstant(b, x.getType(), high));
  return arith::MaximumFOp::create(b, bounded, realConstant(b, x.getType(), low));
}

/// 1 + exp(-x). Where it is infinite, 1 / (1 + exp(-x)) is below 2^-128.
static Value onePlusExp(ImplicitLocOpBuilder &b, Value x) {
  Value exp = math::ExpOp::create(b, arith::NegFOp::create(b, x));
  return add(b, realConstant(b, x.getType(), 1), exp);
}

static Value sigmoid(ImplicitLocOpBuilder &b, Value x) {
  return div(b, realConstant(b, x.getType(), 1), onePlusExp(b, x));
}

static Value softplus(ImplicitLocOpBuilder &b, Value x) {
  Value decay = math::ExpOp::create(b, arith::NegFOp::create(b, math::AbsFOp::create(b, x)));
  Value zero = zeroConstant(b, x.getType());
  Value positive = select(b, isLess(b, x, zero), zero, x);
  return add(b, positive, math::Log1pOp::create(b, decay));
}

static Value softsign(ImplicitLocOpBuilder &b, Value x) {
  return div(b, x, add(b, realConstant(b, x.getType(), 1), math::AbsFOp::create(b, x)));
}

static Value hardSwish(ImplicitLocOpBuilder &b, Value x) {
  Value gate = add(b, scale(b, x, 1.0 / 6.0), realConstant(b, x.getType(), 0.5));
  return mul(b, x, clamp(b, gate, 0, 1));
}

static Value mish(ImplicitLocOpBuilder &b, Value x) {
  return mul(b, x, math::TanhOp::create(b, softplus(b, x)));
}

Value ssm::onnx::swish(ImplicitLocOpBuilder &b, Value x, double alpha) {
  return div(b, x, onePlusExp(b, scale(b, x, alpha)));
}

/// x * Phi(x).
static Value gelu(ImplicitLocOpBuilder &b, Value x) {
  Value erf = math::ErfOp::create(b, scale(b, x, 0.70710678118654752440));
  Value gate = add(b, realConstant(b, x.getType(), 1), erf);
  return mul(b, scale(b, x, 0.5), gate);
}

/// The same with Phi approximated by tanh.
static Value tanhGelu(ImplicitLocOpBuilder &b, Value x) {
  Value cube = mul(b, mul(b, x, x), x);
  Value inner = scale(b, add(b, x, scale(b, cube, 0.044715)), 0.79788456080286535588);
  Value gate = add(b, realConstant(b, x.getType(), 1), math::TanhOp::create(b, inner));
  return mul(b, scale(b, x, 0.5), gate);
}

//===----------------------------------------------------------------------===//
// Operators with attributes
//===----------------------------------------------------------------------===//

/// Maps input 0, a real tensor, to the result.
static LogicalResult lowerWith(LoweringContext &ctx,
                               llvm::function_ref<Value(ImplicitLocOpBuilder &, Value)> body) {
  Dims dims(ctx.resultDims(0));
  TensorValue result =
      ctx.map({ctx.get(0)}, dims, ctx.resultElementType(0),
              [&](ImplicitLocOpBuilder &b, ValueRange args) { return body(b, args[0]); });
  ctx.set(0, result.value);
  return success();
}

static LogicalResult lowerHardSigmoid(LoweringContext &ctx) {
  // The attributes are f32 numbers, also their defaults.
  double alpha = ctx.getFloat("alpha", 0.2f), beta = ctx.getFloat("beta", 0.5);
  return lowerWith(ctx, [&](ImplicitLocOpBuilder &b, Value x) {
    return clamp(b, add(b, scale(b, x, alpha), realConstant(b, x.getType(), beta)), 0, 1);
  });
}

static LogicalResult lowerLeakyRelu(LoweringContext &ctx) {
  double alpha = ctx.getFloat("alpha", 0.01f);
  return lowerWith(ctx, [&](ImplicitLocOpBuilder &b, Value x) {
    return select(b, isLess(b, x, zeroConstant(b, x.getType())), scale(b, x, alpha), x);
  });
}

/// x for x >= 0, else alpha * expm1(x).
static Value elu(ImplicitLocOpBuilder &b, Value x, double alpha) {
  Value bent = scale(b, math::ExpM1Op::create(b, x), alpha);
  return select(b, isLess(b, x, zeroConstant(b, x.getType())), bent, x);
}

static LogicalResult lowerElu(LoweringContext &ctx) {
  double alpha = ctx.getFloat("alpha", 1);
  return lowerWith(ctx, [&](ImplicitLocOpBuilder &b, Value x) { return elu(b, x, alpha); });
}

static LogicalResult lowerSelu(LoweringContext &ctx) {
  double alpha = ctx.getFloat("alpha", 1.67326319217681884765625);
  double gamma = ctx.getFloat("gamma", 1.05070102214813232421875);
  return lowerWith(
      ctx, [&](ImplicitLocOpBuilder &b, Value x) { return scale(b, elu(b, x, alpha), gamma); });
}

static LogicalResult inferCelu(InferContext &ctx) {
  if (ctx.getFloat("alpha", 1) == 0)
    return ctx.error("attribute 'alpha' is 0, expected another number: x is divided by it");
  return inferRealUnary(ctx);
}

static LogicalResult lowerCelu(LoweringContext &ctx) {
  double alpha = ctx.getFloat("alpha", 1);
  return lowerWith(ctx, [&](ImplicitLocOpBuilder &b, Value x) {
    Value zero = zeroConstant(b, x.getType());
    Value ratio = div(b, x, realConstant(b, x.getType(), alpha));
    Value bent = scale(b, math::ExpM1Op::create(b, ratio), alpha);
    return add(b, arith::MaximumFOp::create(b, x, zero), arith::MinimumFOp::create(b, bent, zero));
  });
}

static LogicalResult lowerThresholdedRelu(LoweringContext &ctx) {
  double alpha = ctx.getFloat("alpha", 1);
  return lowerWith(ctx, [&](ImplicitLocOpBuilder &b, Value x) {
    Value above = isLess(b, realConstant(b, x.getType(), alpha), x);
    return select(b, above, x, zeroConstant(b, x.getType()));
  });
}

static LogicalResult inferGelu(InferContext &ctx) {
  StringRef approximate = ctx.getString("approximate", "none");
  if (approximate != "none" && approximate != "tanh")
    return ctx.error("attribute 'approximate' is '" + approximate + "', expected 'none' or 'tanh'");
  return inferRealUnary(ctx);
}

static LogicalResult lowerGelu(LoweringContext &ctx) {
  return ctx.getString("approximate", "none") == "tanh" ? lowerUnary<tanhGelu>(ctx)
                                                        : lowerUnary<gelu>(ctx);
}

static LogicalResult lowerSwish(LoweringContext &ctx) {
  double alpha = ctx.getFloat("alpha", 1);
  return lowerWith(ctx, [&](ImplicitLocOpBuilder &b, Value x) { return swish(b, x, alpha); });
}

static LogicalResult lowerQuickGelu(LoweringContext &ctx) {
  double alpha = ctx.getFloat("alpha", 1.702f);
  return lowerWith(ctx, [&](ImplicitLocOpBuilder &b, Value x) { return swish(b, x, alpha); });
}

//===----------------------------------------------------------------------===//
// Relu, PRelu, Shrink: integers too
//===----------------------------------------------------------------------===//

static LogicalResult inferRelu(InferContext &ctx) {
  if (failed(inferNumberUnary(ctx)))
    return failure();
  inferElements(ctx, [&](ArrayRef<AffineExpr> args) {
    return ctx.facts.max(args[0], ctx.facts.constant(0));
  });
  return success();
}

/// NaN stays NaN.
static Value relu(ImplicitLocOpBuilder &b, Value x) {
  Value zero = zeroConstant(b, x.getType());
  if (isa<FloatType>(x.getType()))
    return arith::MaximumFOp::create(b, x, zero);
  return arith::MaxSIOp::create(b, x, zero);
}

static LogicalResult lowerRelu(LoweringContext &ctx) {
  if (!isUnsigned(ctx.elementType(0)))
    return lowerUnary<relu>(ctx);
  ctx.set(0, ctx.lowered(0));
  return success();
}

/// The slope broadcasts to the sizes of input 0, which are the result's.
static LogicalResult inferPRelu(InferContext &ctx) {
  if (failed(requireNumber(ctx, 0)) || failed(ctx.requireSameElementType(0, 1)))
    return failure();
  Dims data(ctx.dims(0)), slope(ctx.dims(1));
  if (slope.size() > data.size())
    return ctx.error("the slope has rank " + Twine(slope.size()) + ", expected at most " +
                     Twine(data.size()) + ", the rank of input 0");
  for (auto [size, wanted] : llvm::zip(llvm::reverse(slope), llvm::reverse(data)))
    if (constantValue(size) != 1 &&
        failed(ctx.requireEqual(size, wanted, "sizes of the slope and of input 0")))
      return failure();
  ctx.setResult(0, ctx.elementType(0), data);
  return success();
}

static LogicalResult lowerPRelu(LoweringContext &ctx) {
  Type type = ctx.elementType(0);
  Dims dims(ctx.resultDims(0));
  TensorValue result = ctx.map(
      {ctx.get(0), ctx.get(1)}, dims, type, [&](ImplicitLocOpBuilder &b, ValueRange args) -> Value {
        Value x = args[0], slope = args[1];
        if (isa<FloatType>(x.getType()))
          return select(b, isLess(b, x, zeroConstant(b, x.getType())), mul(b, slope, x), x);
        if (isUnsigned(type))
          return x;
        Value negative =
            arith::CmpIOp::create(b, arith::CmpIPredicate::slt, x, zeroConstant(b, x.getType()));
        return select(b, negative, arith::MulIOp::create(b, slope, x), x);
      });
  ctx.set(0, result.value);
  return success();
}

/// Integers are computed in f64 and truncated: bias and lambd are real numbers.
static LogicalResult lowerShrink(LoweringContext &ctx) {
  double bias = ctx.getFloat("bias", 0), lambd = ctx.getFloat("lambd", 0.5);
  Type type = ctx.elementType(0);
  TensorValue data = ctx.get(0);
  Type real = isa<FloatType>(type) ? type : Type(ctx.b.getF64Type());
  if (real != type)
    data = ctx.cast(data, real);
  Dims dims(ctx.resultDims(0));
  TensorValue result = ctx.map({data}, dims, real, [&](ImplicitLocOpBuilder &b, ValueRange args) {
    Value x = args[0];
    auto constant = [&](double value) { return realConstant(b, x.getType(), value); };
    Value high = select(b, isLess(b, constant(lambd), x), add(b, x, constant(-bias)), constant(0));
    return select(b, isLess(b, x, constant(-lambd)), add(b, x, constant(bias)), high);
  });
  if (real != type)
    result = ctx.cast(result, type);
  ctx.set(0, result.value);
  return success();
}

//===----------------------------------------------------------------------===//
// Operators of two tensors
//===----------------------------------------------------------------------===//

/// No broadcasting.
static LogicalResult inferSwiGLU(InferContext &ctx) {
  if (failed(requireReal(ctx, 0)) || failed(ctx.requireSameElementType(0, 1)))
    return failure();
  Dims gate(ctx.dims(0)), data(ctx.dims(1));
  if (gate.size() != data.size())
    return ctx.error("the inputs have ranks " + Twine(gate.size()) + " and " + Twine(data.size()) +
                     ", expected the same");
  for (auto [axis, sizes] : llvm::enumerate(llvm::zip_equal(gate, data))) {
    auto &[mine, theirs] = sizes;
    if (failed(ctx.requireEqual(mine, theirs, "sizes of axis " + Twine(axis))))
      return failure();
    if (constantValue(theirs))
      mine = theirs;
  }
  ctx.setResult(0, ctx.elementType(0), gate);
  return success();
}

static LogicalResult lowerSwiGLU(LoweringContext &ctx) {
  double alpha = ctx.getFloat("alpha", 1);
  TensorValue gate = ctx.get(0), data = ctx.get(1);
  for (auto [axis, sizes] : llvm::enumerate(llvm::zip_equal(gate.dims, data.dims)))
    ctx.checkEqual(std::get<0>(sizes), std::get<1>(sizes), "sizes of axis " + Twine(axis));
  Dims dims(ctx.resultDims(0));
  TensorValue result = ctx.map({gate, data}, dims, ctx.resultElementType(0),
                               [&](ImplicitLocOpBuilder &b, ValueRange args) {
                                 return mul(b, swish(b, args[0], alpha), args[1]);
                               });
  ctx.set(0, result.value);
  return success();
}

/// A bias of rank 1 along the last axis, or none.
static LogicalResult inferBiasedGelu(InferContext &ctx) {
  if (failed(requireReal(ctx, 0)))
    return failure();
  Dims dims(ctx.dims(0));
  if (ctx.hasInput(1)) {
    if (failed(ctx.requireSameElementType(0, 1)) || failed(ctx.requireRank(1, 1, 1)))
      return failure();
    if (dims.empty())
      return ctx.error("input 0 has rank 0, expected at least the axis of the bias");
    AffineExpr bias = ctx.dim(1, 0);
    if (failed(ctx.requireEqual(bias, dims.back(), "sizes of the bias and of the last axis")))
      return failure();
    if (constantValue(bias))
      dims.back() = bias;
  }
  ctx.setResult(0, ctx.elementType(0), dims);
  return success();
}

template <Value (*Body)(ImplicitLocOpBuilder &, Value)>
static LogicalResult lowerBiasedGelu(LoweringContext &ctx) {
  if (!ctx.hasInput(1))
    return lowerUnary<Body>(ctx);
  TensorValue data = ctx.get(0), bias = ctx.get(1);
  ctx.checkEqual(bias.dims[0], data.dims.back(), "sizes of the bias and of the last axis");
  Dims dims(ctx.resultDims(0));
  TensorValue result = ctx.map(
      {data, bias}, dims, ctx.resultElementType(0),
      [&](ImplicitLocOpBuilder &b, ValueRange args) { return Body(b, add(b, args[0], args[1])); });
  ctx.set(0, result.value);
  return success();
}

//===----------------------------------------------------------------------===//
// Registration
//===----------------------------------------------------------------------===//

void ssm::onnx::registerActivationOperators(OperatorTable &table) {
  static constexpr AttrSpec alpha[] = {{"alpha", 'f'}};
  static constexpr AttrSpec alphaBeta[] = {{"alpha", 'f'}, {"beta", 'f'}};
  static constexpr AttrSpec alphaGamma[] = {{"alpha", 'f'}, {"gamma", 'f'}};
  static constexpr AttrSpec shrink[] = {{"bias", 'f'}, {"lambd", 'f'}};
  static constexpr AttrSpec approximate[] = {{"approximate", 's'}};

  auto real = [&](StringRef name, int since, ArrayRef<AttrSpec> attrs, auto lower) {
    table.add({"", name, since, 1, 1, 1, 1, attrs, inferRealUnary, lower});
  };
  real("Sigmoid", 6, {}, lowerUnary<sigmoid>);
  real("HardSigmoid", 6, alphaBeta, lowerHardSigmoid);
  real("HardSwish", 14, {}, lowerUnary<hardSwish>);
  real("LeakyRelu", 6, alpha, lowerLeakyRelu);
  real("Elu", 6, alpha, lowerElu);
  real("Selu", 6, alphaGamma, lowerSelu);
  real("ThresholdedRelu", 10, alpha, lowerThresholdedRelu);
  real("Softplus", 1, {}, lowerUnary<softplus>);
  real("Softsign", 1, {}, lowerUnary<softsign>);
  real("Mish", 18, {}, lowerUnary<mish>);
  real("Swish", 24, alpha, lowerSwish);
  table.add({"", "Celu", 12, 1, 1, 1, 1, alpha, inferCelu, lowerCelu});
  table.add({"", "Gelu", 20, 1, 1, 1, 1, approximate, inferGelu, lowerGelu});
  table.add({"", "Relu", 6, 1, 1, 1, 1, {}, inferRelu, lowerRelu});
  table.add({"", "PRelu", 7, 2, 2, 1, 1, {}, inferPRelu, lowerPRelu});
  table.add({"", "Shrink", 9, 1, 1, 1, 1, shrink, inferNumberUnary, lowerShrink});
  table.add({"", "SwiGLU", 28, 2, 2, 1, 1, alpha, inferSwiGLU, lowerSwiGLU});

  constexpr StringRef contrib = "com.microsoft";
  table.add({contrib, "Gelu", 1, 1, 1, 1, 1, {}, inferRealUnary, lowerUnary<gelu>});
  table.add({contrib, "QuickGelu", 1, 1, 1, 1, 1, alpha, inferRealUnary, lowerQuickGelu});
  table.add({contrib, "FastGelu", 1, 1, 2, 1, 1, {}, inferBiasedGelu, lowerBiasedGelu<tanhGelu>});
  table.add({contrib, "BiasGelu", 1, 2, 2, 1, 1, {}, inferBiasedGelu, lowerBiasedGelu<gelu>});
}
