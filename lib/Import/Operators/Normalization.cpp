//===- Normalization.cpp - LayerNormalization and its kin -----------------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Statistics are computed in f32 (f64 for f64) from centred values: the mean
// first, then the mean of squared distances to it. Everything up to the result
// stays in that precision.
//
//===----------------------------------------------------------------------===//

#include "lib/Import/OperatorTable.h"
#include "lib/Import/Operators/Families.h"
#include "lib/Import/Operators/Reductions.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"

using namespace mlir;
using namespace ssm;
using namespace ssm::onnx;

//===----------------------------------------------------------------------===//
// Building blocks
//===----------------------------------------------------------------------===//

/// The tensor with `type` as compute type, for bodies that mix inputs.
static TensorValue computedIn(LoweringContext &ctx, const TensorValue &value, Type type) {
  return computeType(value.type) == type ? value : ctx.cast(value, type);
}

/// The mean over axes, kept with size 1. `term` as in sumOver.
static TensorValue
meanOver(LoweringContext &ctx, const TensorValue &input, ArrayRef<int64_t> axes,
         llvm::function_ref<Value(ImplicitLocOpBuilder &, Value)> term = nullptr) {
  TensorValue sum = sumOver(ctx, input, axes, term);
  Value count = floatSize(ctx, countOver(ctx, input.dims, axes), sum.type);
  TensorValue mean =
      ctx.map({sum}, sum.dims, sum.type, [&](ImplicitLocOpBuilder &b, ValueRange args) -> Value {
        return arith::DivFOp::create(b, args[0], count);
      });
  return keepAxes(ctx, mean, input.dims, axes);
}

static Value square(ImplicitLocOpBuilder &b, Value x) { return arith::MulFOp::create(b, x, x); }

/// 1 / sqrt(x + epsilon).
static TensorValue inverseRoot(LoweringContext &ctx, const TensorValue &input, double epsilon) {
  return ctx.map(
      {input}, input.dims, input.type, [&](ImplicitLocOpBuilder &b, ValueRange args) -> Value {
        Value sum = arith::AddFOp::create(b, args[0], floatConstant(b, input.type, epsilon));
        return arith::DivFOp::create(b, floatConstant(b, input.type, 1.0),
                                     math::SqrtOp::create(b, sum));
      });
}

static TensorValue subtract(LoweringContext &ctx, const TensorValue &input,
                            const TensorValue &mean) {
  return ctx.map({input, mean}, input.dims, mean.type,
                 [](ImplicitLocOpBuilder &b, ValueRange args) -> Value {
                   return arith::SubFOp::create(b, args[0], args[1]);
                 });
}

namespace {
/// What normalisation gives: `centred` * `inverse` is the normalised tensor.
struct Normalized {
  TensorValue centred, mean, inverse;
};
} // namespace

/// Statistics over `axes`; without a mean the values are taken as they are.
static Normalized normalize(LoweringContext &ctx, const TensorValue &input, ArrayRef<int64_t> axes,
                            double epsilon, bool subtractMean) {
  Normalized result;
  result.centred = input;
  if (subtractMean) {
    result.mean = meanOver(ctx, input, axes);
    result.centred = subtract(ctx, input, result.mean);
  }
  result.inverse = inverseRoot(ctx, meanOver(ctx, result.centred, axes, square), epsilon);
  return result;
}

/// centred * inverse * scale + bias, scale and bias broadcast; either may be null.
static TensorValue scaleAndShift(LoweringContext &ctx, const Normalized &parts,
                                 const TensorValue &scale, const TensorValue &bias, Type type) {
  Type compute = parts.inverse.type;
  SmallVector<TensorValue> inputs = {parts.centred, parts.inverse};
  if (scale.value)
    inputs.push_back(computedIn(ctx, scale, compute));
  if (bias.value)
    inputs.push_back(computedIn(ctx, bias, compute));
  // The result may be of another width than the computation.
  Type stored = computeType(type) == compute ? type : compute;
  TensorValue result = ctx.map(inputs, parts.centred.dims, stored,
                               [&](ImplicitLocOpBuilder &b, ValueRange args) -> Value {
                                 Value value = arith::MulFOp::create(b, args[0], args[1]);
                                 unsigned next = 2;
                                 if (scale.value)
                                   value = arith::MulFOp::create(b, value, args[next++]);
                                 if (bias.value)
                                   value = arith::AddFOp::create(b, value, args[next]);
                                 return value;
                               });
  return ctx.cast(result, type);
}

static TensorValue optionalInput(LoweringContext &ctx, unsigned i) {
  return ctx.hasInput(i) ? ctx.get(i) : TensorValue();
}

static SmallVector<int64_t> axesFrom(int64_t first, int64_t rank) {
  return llvm::to_vector(llvm::seq<int64_t>(std::min(first, rank), rank));
}

/// Inputs `indices` must be floats where they are there.
static LogicalResult requireFloats(InferContext &ctx, std::initializer_list<unsigned> indices) {
  for (unsigned i : indices)
    if (ctx.hasInput(i) && failed(ctx.requireFloat(i)))
      return failure();
  return success();
}

/// Error unless input i broadcasts to the sizes, as far as they are known.
static LogicalResult requireBroadcastTo(InferContext &ctx, unsigned i,
                                        ArrayRef<AffineExpr> target) {
  if (!ctx.hasInput(i))
    return success();
  int64_t shift = static_cast<int64_t>(target.size()) - ctx.rank(i);
  if (shift < 0)
    return ctx.error("input " + Twine(i) + " has rank " + Twine(ctx.rank(i)) +
                     ", expected at most " + Twine(target.size()));
  for (auto [axis, dim] : llvm::enumerate(ctx.dims(i)))
    if (constantValue(dim) != 1 &&
        failed(ctx.requireEqual(dim, target[shift + axis],
                                "size of axis " + Twine(axis) + " of input " + Twine(i))))
      return failure();
  return success();
}

/// Error unless input i is a vector of that size.
static LogicalResult requireVector(InferContext &ctx, unsigned i, AffineExpr size) {
  if (!ctx.hasInput(i))
    return success();
  if (failed(ctx.requireRank(i, 1, 1)))
    return failure();
  return ctx.requireEqual(ctx.dim(i, 0), size, "size of input " + Twine(i));
}

//===----------------------------------------------------------------------===//
// LayerNormalization, RMSNormalization
//===----------------------------------------------------------------------===//

/// The type that `stash_type` names.
static FailureOr<Type> stashType(InferContext &ctx) {
  MLIRContext *context = ctx.facts.getContext();
  switch (ctx.getInt("stash_type", 1)) {
  case 1:
    return Type(Float32Type::get(context));
  case 10:
    return Type(Float16Type::get(context));
  case 11:
    return Type(Float64Type::get(context));
  case 16:
    return Type(BFloat16Type::get(context));
  }
  (void)ctx.error("attribute 'stash_type' is " + Twine(ctx.getInt("stash_type", 1)) +
                  ", expected a float type: 1, 10, 11 or 16");
  return failure();
}

/// The first normalised axis.
static FailureOr<int64_t> firstAxis(InferContext &ctx) {
  return ctx.normalizeAxis(ctx.getInt("axis", -1), ctx.rank(0));
}

static Dims statisticDims(const ShapeFacts &facts, ArrayRef<AffineExpr> dims, int64_t axis) {
  Dims result(dims);
  for (size_t i = axis; i < result.size(); ++i)
    result[i] = facts.constant(1);
  return result;
}

template <bool hasMean> static LogicalResult inferNormalization(InferContext &ctx) {
  if (failed(requireFloats(ctx, {0, 1, 2})))
    return failure();
  FailureOr<Type> stash = stashType(ctx);
  FailureOr<int64_t> axis = firstAxis(ctx);
  if (failed(stash) || failed(axis))
    return failure();
  Dims dims(ctx.dims(0));
  if (failed(requireBroadcastTo(ctx, 1, dims)) || failed(requireBroadcastTo(ctx, 2, dims)))
    return failure();
  ctx.setResult(0, hasMean ? ctx.elementType(0) : ctx.elementType(1), dims);
  Dims statistics = statisticDims(ctx.facts, dims, *axis);
  for (unsigned i = 1; i < ctx.numOutputs(); ++i)
    ctx.setResult(i, *stash, statistics);
  return success();
}

template <bool hasMean> static LogicalResult lowerNormalization(LoweringContext &ctx) {
  int64_t rank = ctx.rank(0), axis = ctx.getInt("axis", -1);
  double epsilon = ctx.getFloat("epsilon", 1e-5f);
  TensorValue input = ctx.get(0);
  if (ctx.getInt("stash_type", 1) == 11)
    input = ctx.cast(input, ctx.b.getF64Type());
  Normalized parts =
      normalize(ctx, input, axesFrom(axis < 0 ? axis + rank : axis, rank), epsilon, hasMean);
  TensorValue bias = hasMean ? optionalInput(ctx, 2) : TensorValue();
  ctx.set(0, scaleAndShift(ctx, parts, ctx.get(1), bias, ctx.resultElementType(0)).value);
  unsigned next = 1;
  if (hasMean && ctx.hasOutput(next))
    ctx.set(next, ctx.cast(parts.mean, ctx.resultElementType(next)).value);
  next += hasMean;
  if (ctx.hasOutput(next))
    ctx.set(next, ctx.cast(parts.inverse, ctx.resultElementType(next)).value);
  return success();
}

//===----------------------------------------------------------------------===//
// com.microsoft Skip...LayerNormalization
//===----------------------------------------------------------------------===//

namespace {
/// Inputs: input, skip, gamma, then beta if there is a mean, then bias.
constexpr unsigned biasInput(bool hasMean) { return hasMean ? 4 : 3; }
} // namespace

template <bool hasMean> static LogicalResult inferSkipNormalization(InferContext &ctx) {
  if (failed(requireFloats(ctx, {0, 1, 2, 3, 4})) ||
      failed(ctx.requireRank(0, 1, std::numeric_limits<int64_t>::max())))
    return failure();
  Dims dims(ctx.dims(0));
  AffineExpr hidden = dims.back();
  if (failed(requireBroadcastTo(ctx, 1, dims)) || failed(requireVector(ctx, 2, hidden)) ||
      failed(requireVector(ctx, 3, hidden)) || failed(requireVector(ctx, 4, hidden)))
    return failure();
  Type f32 = Float32Type::get(ctx.facts.getContext());
  Dims statistics = statisticDims(ctx.facts, dims, dims.size() - 1);
  ctx.setResult(0, ctx.elementType(0), dims);
  ctx.setResult(1, f32, statistics);
  ctx.setResult(2, f32, statistics);
  ctx.setResult(3, ctx.elementType(0), dims);
  return success();
}

template <bool hasMean> static LogicalResult lowerSkipNormalization(LoweringContext &ctx) {
  int64_t rank = ctx.rank(0);
  TensorValue input = ctx.get(0);
  Type compute = accumulatorType(input.type);
  SmallVector<TensorValue> terms = {computedIn(ctx, input, compute),
                                    computedIn(ctx, ctx.get(1), compute)};
  if (ctx.hasInput(biasInput(hasMean)))
    terms.push_back(computedIn(ctx, ctx.get(biasInput(hasMean)), compute));
  TensorValue sum =
      ctx.map(terms, input.dims, compute, [](ImplicitLocOpBuilder &b, ValueRange args) {
        Value total = args[0];
        for (Value term : args.drop_front())
          total = arith::AddFOp::create(b, total, term);
        return total;
      });
  Normalized parts =
      normalize(ctx, sum, axesFrom(rank - 1, rank), ctx.getFloat("epsilon", 1e-12f), hasMean);
  TensorValue beta = hasMean ? optionalInput(ctx, 3) : TensorValue();
  ctx.set(0, scaleAndShift(ctx, parts, ctx.get(2), beta, ctx.resultElementType(0)).value);
  if (ctx.hasOutput(1)) {
    TensorValue mean = hasMean ? parts.mean : meanOver(ctx, sum, axesFrom(rank - 1, rank));
    ctx.set(1, ctx.cast(mean, ctx.resultElementType(1)).value);
  }
  if (ctx.hasOutput(2))
    ctx.set(2, ctx.cast(parts.inverse, ctx.resultElementType(2)).value);
  if (ctx.hasOutput(3))
    ctx.set(3, ctx.cast(sum, ctx.resultElementType(3)).value);
  return success();
}

//===----------------------------------------------------------------------===//
// Normalisations with a channel axis
//===----------------------------------------------------------------------===//

/// A vector over axis 1 of a tensor of that rank, ready to broadcast.
static TensorValue alongChannels(LoweringContext &ctx, const TensorValue &vector, int64_t rank) {
  Dims dims(rank - 1, ctx.facts.constant(1));
  dims[0] = vector.dims[0];
  return ctx.reshape(vector, dims);
}

static LogicalResult inferInstanceNormalization(InferContext &ctx) {
  if (failed(requireFloats(ctx, {0, 1, 2})) ||
      failed(ctx.requireRank(0, 2, std::numeric_limits<int64_t>::max())) ||
      failed(requireVector(ctx, 1, ctx.dim(0, 1))) || failed(requireVector(ctx, 2, ctx.dim(0, 1))))
    return failure();
  ctx.setResult(0, ctx.elementType(0), ctx.dims(0));
  return success();
}

static LogicalResult lowerInstanceNormalization(LoweringContext &ctx) {
  int64_t rank = ctx.rank(0);
  Normalized parts = normalize(ctx, ctx.get(0), axesFrom(2, rank), ctx.getFloat("epsilon", 1e-5f),
                               /*subtractMean=*/true);
  ctx.set(0, scaleAndShift(ctx, parts, alongChannels(ctx, ctx.get(1), rank),
                           alongChannels(ctx, ctx.get(2), rank), ctx.resultElementType(0))
                 .value);
  return success();
}

static LogicalResult inferGroupNormalization(InferContext &ctx) {
  if (failed(requireFloats(ctx, {0, 1, 2})) ||
      failed(ctx.requireRank(0, 2, std::numeric_limits<int64_t>::max())))
    return failure();
  int64_t groups = ctx.getInt("num_groups", 0);
  AffineExpr channels = ctx.dim(0, 1);
  if (groups < 1)
    return ctx.error("attribute 'num_groups' is " + Twine(groups) + ", expected 1 or more");
  if (auto size = constantValue(channels); size && *size % groups != 0)
    return ctx.error("input 0 has " + Twine(*size) + " channels, expected a multiple of " +
                     Twine(groups) + ", the number of groups");
  AffineExpr expected = ctx.version() < 21 ? ctx.facts.constant(groups) : channels;
  if (failed(requireVector(ctx, 1, expected)) || failed(requireVector(ctx, 2, expected)))
    return failure();
  ctx.setResult(0, ctx.elementType(0), ctx.dims(0));
  return success();
}

static LogicalResult lowerGroupNormalization(LoweringContext &ctx) {
  ImplicitLocOpBuilder &b = ctx.b;
  TensorValue input = ctx.get(0);
  int64_t groups = ctx.getInt("num_groups", 1);
  AffineExpr numGroups = ctx.facts.constant(groups);
  AffineExpr channels = input.dims[1], inGroup = ctx.facts.div(channels, numGroups);
  if (!constantValue(channels)) {
    Value size = ctx.size(channels);
    Value rest = arith::RemUIOp::create(b, size, ctx.index(groups));
    ctx.check(arith::CmpIOp::create(b, arith::CmpIPredicate::eq, rest, ctx.index(0)),
              "input 0 has {0} channels, expected a multiple of " + Twine(groups) +
                  ", the number of groups",
              {size});
    if (!inGroup) {
      inGroup = ctx.facts.fresh();
      ctx.bind(inGroup, arith::DivUIOp::create(b, size, ctx.index(groups)));
    }
  }
  Dims grouped = {input.dims[0], numGroups, inGroup};
  grouped.append(input.dims.begin() + 2, input.dims.end());
  int64_t rank = grouped.size();
  Normalized parts = normalize(ctx, ctx.reshape(input, grouped), axesFrom(2, rank),
                               ctx.getFloat("epsilon", 1e-5f), /*subtractMean=*/true);
  auto arrange = [&](unsigned i) {
    ctx.checkEqual(ctx.dims(i)[0], ctx.version() < 21 ? numGroups : channels,
                   "size of input " + Twine(i));
    Dims dims(rank - 1, ctx.facts.constant(1));
    dims[0] = numGroups;
    if (ctx.version() >= 21)
      dims[1] = inGroup;
    return ctx.reshape(ctx.get(i), dims);
  };
  TensorValue result = scaleAndShift(ctx, parts, arrange(1), arrange(2), ctx.resultElementType(0));
  ctx.set(0, ctx.reshape(result, input.dims).value);
  return success();
}

static LogicalResult inferBatchNormalization(InferContext &ctx) {
  if (failed(requireFloats(ctx, {0, 1, 2, 3, 4})) ||
      failed(ctx.requireRank(0, 2, std::numeric_limits<int64_t>::max())))
    return failure();
  if (ctx.getInt("training_mode", 0) != 0)
    return ctx.error("attribute 'training_mode' is 1: training is not supported");
  for (unsigned i = 1; i < ctx.numOutputs(); ++i)
    if (ctx.hasOutput(i))
      return ctx.error("output " + Twine(i) + " exists in training only");
  bool spatial = ctx.getInt("spatial", 1) != 0;
  Dims dims(ctx.dims(0));
  for (unsigned i = 1; i < 5; ++i) {
    if (spatial ? failed(requireVector(ctx, i, dims[1]))
                : (failed(ctx.requireRank(i, dims.size() - 1, dims.size() - 1)) ||
                   failed(requireBroadcastTo(ctx, i, dims))))
      return failure();
  }
  ctx.setResult(0, ctx.elementType(0), dims);
  return success();
}

static LogicalResult lowerBatchNormalization(LoweringContext &ctx) {
  TensorValue input = ctx.get(0);
  Type compute = accumulatorType(input.type);
  bool spatial = ctx.getInt("spatial", 1) != 0;
  auto parameter = [&](unsigned i) {
    TensorValue value = computedIn(ctx, ctx.get(i), compute);
    return spatial ? alongChannels(ctx, value, input.dims.size()) : value;
  };
  TensorValue variance = ctx.cast(parameter(4), compute);
  Normalized parts;
  parts.centred = subtract(ctx, input, ctx.cast(parameter(3), compute));
  parts.inverse = inverseRoot(ctx, variance, ctx.getFloat("epsilon", 1e-5f));
  ctx.set(0, scaleAndShift(ctx, parts, parameter(1), parameter(2), ctx.resultElementType(0)).value);
  return success();
}

//===----------------------------------------------------------------------===//
// MeanVarianceNormalization, LpNormalization
//===----------------------------------------------------------------------===//

static FailureOr<SmallVector<int64_t>> meanVarianceAxes(InferContext &ctx) {
  SmallVector<int64_t> axes;
  for (int64_t axis : ctx.getInts("axes").value_or(SmallVector<int64_t>{0, 2, 3})) {
    FailureOr<int64_t> normal = ctx.normalizeAxis(axis, ctx.rank(0));
    if (failed(normal))
      return failure();
    if (!llvm::is_contained(axes, *normal))
      axes.push_back(*normal);
  }
  llvm::sort(axes);
  return axes;
}

static LogicalResult inferMeanVariance(InferContext &ctx) {
  if (failed(ctx.requireFloat(0)) || failed(meanVarianceAxes(ctx)))
    return failure();
  ctx.setResult(0, ctx.elementType(0), ctx.dims(0));
  return success();
}

static LogicalResult lowerMeanVariance(LoweringContext &ctx) {
  InferContext reader(ctx.getNode(), ctx.facts);
  FailureOr<SmallVector<int64_t>> axes = meanVarianceAxes(reader);
  if (failed(axes))
    return failure();
  TensorValue input = ctx.get(0);
  TensorValue centred = subtract(ctx, input, meanOver(ctx, input, *axes));
  TensorValue variance = meanOver(ctx, centred, *axes, square);
  TensorValue result = ctx.map({centred, variance}, input.dims, input.type,
                               [&](ImplicitLocOpBuilder &b, ValueRange args) -> Value {
                                 Value deviation = math::SqrtOp::create(b, args[1]);
                                 Value divisor = arith::AddFOp::create(
                                     b, deviation, floatConstant(b, variance.type, 1e-9));
                                 return arith::DivFOp::create(b, args[0], divisor);
                               });
  ctx.set(0, result.value);
  return success();
}

static LogicalResult inferLpNormalization(InferContext &ctx) {
  int64_t p = ctx.getInt("p", 2);
  if (p != 1 && p != 2)
    return ctx.error("attribute 'p' is " + Twine(p) + ", expected 1 or 2");
  if (failed(ctx.requireFloat(0)) || failed(firstAxis(ctx)))
    return failure();
  ctx.setResult(0, ctx.elementType(0), ctx.dims(0));
  return success();
}

static LogicalResult lowerLpNormalization(LoweringContext &ctx) {
  TensorValue input = ctx.get(0);
  int64_t axis = ctx.getInt("axis", -1);
  if (axis < 0)
    axis += input.dims.size();
  bool isSquare = ctx.getInt("p", 2) == 2;
  TensorValue sum = sumOver(ctx, input, {axis}, [&](ImplicitLocOpBuilder &b, Value x) {
    return isSquare ? square(b, x) : Value(math::AbsFOp::create(b, x));
  });
  TensorValue kept = keepAxes(ctx, sum, input.dims, {axis});
  TensorValue result =
      ctx.map({input, kept}, input.dims, input.type, [&](ImplicitLocOpBuilder &b, ValueRange args) {
        Value norm = isSquare ? Value(math::SqrtOp::create(b, args[1])) : args[1];
        Value zero = floatConstant(b, sum.type, 0.0);
        Value none = arith::CmpFOp::create(b, arith::CmpFPredicate::OEQ, norm, zero);
        Value quotient = arith::DivFOp::create(b, args[0], norm);
        return Value(arith::SelectOp::create(b, none, zero, quotient));
      });
  ctx.set(0, result.value);
  return success();
}

//===----------------------------------------------------------------------===//
// Registration
//===----------------------------------------------------------------------===//

static constexpr AttrSpec kLayerAttrs[] = {{"axis", 'i'}, {"epsilon", 'f'}, {"stash_type", 'i'}};
static constexpr AttrSpec kEpsilonAttrs[] = {{"epsilon", 'f'}};
static constexpr AttrSpec kGroupAttrs[] = {{"epsilon", 'f'}, {"num_groups", 'i', true}};
static constexpr AttrSpec kGroup21Attrs[] = {
    {"epsilon", 'f'}, {"num_groups", 'i', true}, {"stash_type", 'i'}};
static constexpr AttrSpec kBatch7Attrs[] = {{"epsilon", 'f'}, {"momentum", 'f'}, {"spatial", 'i'}};
static constexpr AttrSpec kBatch9Attrs[] = {{"epsilon", 'f'}, {"momentum", 'f'}};
static constexpr AttrSpec kBatch14Attrs[] = {
    {"epsilon", 'f'}, {"momentum", 'f'}, {"training_mode", 'i'}};
static constexpr AttrSpec kMeanVarianceAttrs[] = {{"axes", 'I'}};
static constexpr AttrSpec kLpAttrs[] = {{"axis", 'i'}, {"p", 'i'}};

void ssm::onnx::registerNormalizationOperators(OperatorTable &table) {
  table.add({"", "LayerNormalization", 17, 2, 3, 1, 3, kLayerAttrs, inferNormalization<true>,
             lowerNormalization<true>});
  table.add({"", "RMSNormalization", 23, 2, 2, 1, 1, kLayerAttrs, inferNormalization<false>,
             lowerNormalization<false>});
  // Files of ONNX Runtime's exporters have it in either domain, in no standard.
  for (StringRef domain : {"", "com.microsoft"})
    table.add({domain, "SimplifiedLayerNormalization", 1, 2, 2, 1, 2, kLayerAttrs,
               inferNormalization<false>, lowerNormalization<false>});
  table.add({"com.microsoft", "SkipLayerNormalization", 1, 3, 5, 1, 4, kEpsilonAttrs,
             inferSkipNormalization<true>, lowerSkipNormalization<true>});
  table.add({"com.microsoft", "SkipSimplifiedLayerNormalization", 1, 3, 4, 1, 4, kEpsilonAttrs,
             inferSkipNormalization<false>, lowerSkipNormalization<false>});
  table.add({"", "InstanceNormalization", 1, 3, 3, 1, 1, kEpsilonAttrs, inferInstanceNormalization,
             lowerInstanceNormalization});
  table.add({"", "GroupNormalization", 18, 3, 3, 1, 1, kGroupAttrs, inferGroupNormalization,
             lowerGroupNormalization});
  table.add({"", "GroupNormalization", 21, 3, 3, 1, 1, kGroup21Attrs, inferGroupNormalization,
             lowerGroupNormalization});
  table.add({"", "BatchNormalization", 7, 5, 5, 1, 5, kBatch7Attrs, inferBatchNormalization,
             lowerBatchNormalization});
  table.add({"", "BatchNormalization", 9, 5, 5, 1, 5, kBatch9Attrs, inferBatchNormalization,
             lowerBatchNormalization});
  table.add({"", "BatchNormalization", 14, 5, 5, 1, 3, kBatch14Attrs, inferBatchNormalization,
             lowerBatchNormalization});
  table.add({"", "MeanVarianceNormalization", 9, 1, 1, 1, 1, kMeanVarianceAttrs, inferMeanVariance,
             lowerMeanVariance});
  table.add(
      {"", "LpNormalization", 1, 1, 1, 1, 1, kLpAttrs, inferLpNormalization, lowerLpNormalization});
}
