//===- Rotary.cpp - RotaryEmbedding ---------------------------------------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Caches of batch 1 broadcast: PyTorch's exporter writes them so, though ONNX
// Runtime refuses them.
//
//===----------------------------------------------------------------------===//

#include "lib/Import/OperatorTable.h"
#include "lib/Import/Operators/Reductions.h"
#include "lib/Import/Operators/SequenceModels.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

using namespace mlir;
using namespace ssm;
using namespace ssm::onnx;

namespace {
struct RotaryForm {
  unsigned cosCache, sinCache, positions;
  bool hasPositions;
  /// Sizes of the input with heads split: [batch, heads, length, size] of a 4-D
  /// input, [batch, length, heads, size] of a 3-D one.
  Dims dims;
  int64_t lengthAxis, headAxis;
  AffineExpr rotated, half; // rotated part of a head, half of it
};
} // namespace

static FailureOr<RotaryForm> readForm(InferContext &ctx) {
  RotaryForm form;
  bool contrib = !ctx.getNode().getDomain().value_or("").empty();
  form.cosCache = contrib ? 2 : 1;
  form.sinCache = contrib ? 3 : 2;
  form.positions = contrib ? 1 : 3;
  form.hasPositions = ctx.hasInput(form.positions);
  if (ctx.getInt("is_packed_batching", 0) != 0 || ctx.getFloat("scale", 1.0) != 1.0) {
    (void)ctx.error("packed batches and scales are not supported: expected "
                    "is_packed_batching 0 and scale 1");
    return failure();
  }
  int64_t cacheRank = form.hasPositions ? 2 : 3;
  if (failed(requireFloats(ctx, {0, form.cosCache, form.sinCache})) ||
      failed(requireRanks(ctx, {0}, 3, 4)) ||
      failed(requireRanks(ctx, {form.cosCache, form.sinCache}, cacheRank, cacheRank)) ||
      failed(ctx.requireSameElementType(0, form.cosCache)) ||
      failed(ctx.requireSameElementType(0, form.sinCache)))
    return failure();
  ShapeFacts &facts = ctx.facts;
  AffineExpr two = facts.constant(2);
  AffineExpr width = betterSize(ctx.dims(form.cosCache).back(), ctx.dims(form.sinCache).back());
  int64_t heads = ctx.getInt("num_heads", 0), rotated = ctx.getInt("rotary_embedding_dim", 0);
  if (heads < 0 || rotated < 0 || rotated % 2 != 0) {
    (void)ctx.error("attributes are num_heads " + Twine(heads) + " and rotary_embedding_dim " +
                    Twine(rotated) + ", expected none negative and the latter even");
    return failure();
  }
  form.dims = Dims(ctx.dims(0));
  form.headAxis = 1;
  form.lengthAxis = 2;
  if (form.dims.size() == 3) {
    form.headAxis = 2;
    form.lengthAxis = 1;
    AffineExpr hidden = form.dims.back();
    if (heads > 0) {
      auto size = inferQuotient(ctx, hidden, heads, "last size of the input");
      if (failed(size))
        return failure();
      form.dims[2] = facts.constant(heads);
      form.dims.push_back(*size);
    } else {
      // com.microsoft tells the size of a head by the caches.
      AffineExpr size = facts.mul(width, two);
      auto constant = constantValue(size);
      if (!contrib || rotated != 0 || !constant || *constant == 0) {
        (void)ctx.error("attribute 'num_heads' is needed for a 3-D input");
        return failure();
      }
      auto count = inferQuotient(ctx, hidden, *constant, "last size of the input");
      if (failed(count))
        return failure();
      form.dims[2] = *count;
      form.dims.push_back(size);
    }
  }
  AffineExpr size = form.dims.back();
  form.rotated = rotated ? facts.constant(rotated) : size;
  if (auto whole = constantValue(size); whole && (rotated > *whole || (!rotated && *whole % 2))) {
    (void)ctx.error(
        "heads have size " + Twine(*whole) + ", expected " +
        (rotated ? "at least rotary_embedding_dim, " + Twine(rotated) : Twine("an even size")));
    return failure();
  }
  form.half = facts.div(form.rotated, two);
  if (!constantValue(form.half) && constantValue(width))
    form.half = width;
  for (unsigned i : {form.cosCache, form.sinCache}) {
    if (failed(ctx.requireEqual(ctx.dims(i).back(), form.half,
                                "last size of input " + Twine(i) + ", half of what is rotated")))
      return failure();
    if (form.hasPositions)
      continue;
    if (constantValue(ctx.dim(i, 0)) != 1 &&
        failed(ctx.requireEqual(ctx.dim(i, 0), form.dims[0], "batch size of input " + Twine(i))))
      return failure();
    if (failed(ctx.requireEqual(ctx.dim(i, 1), form.dims[form.lengthAxis],
                                "length of input " + Twine(i))))
      return failure();
  }
  if (form.hasPositions) {
    if (failed(ctx.requireInteger(form.positions)) ||
        failed(ctx.requireRank(form.positions, contrib ? 1 : 2, 2)))
      return failure();
    bool offset = ctx.rank(form.positions) == 1;
    AffineExpr batch = ctx.dim(form.positions, 0);
    if (offset ? failed(ctx.requireEqual(batch, facts.constant(1), "number of offsets"))
               : (constantValue(batch) != 1 &&
                  failed(ctx.requireEqual(batch, form.dims[0], "batch size of the positions"))))
      return failure();
    if (!offset && failed(ctx.requireEqual(ctx.dim(form.positions, 1), form.dims[form.lengthAxis],
                                           "length of the positions")))
      return failure();
  }
  return form;
}

static LogicalResult inferRotary(InferContext &ctx) {
  if (failed(readForm(ctx)))
    return failure();
  ctx.setResult(0, ctx.elementType(0), ctx.dims(0));
  return success();
}

/// Cosine and sine for each position: [batch or 1, length, half], gathered from
/// caches by position; the positions are checked once.
static SmallVector<TensorValue, 2> gatherCaches(LoweringContext &ctx, const RotaryForm &form) {
  ImplicitLocOpBuilder &b = ctx.b;
  TensorValue cosCache = ctx.get(form.cosCache), sinCache = ctx.get(form.sinCache);
  TensorValue positions = ctx.get(form.positions);
  AffineExpr length = form.dims[form.lengthAxis], count = cosCache.dims[0];
  ctx.checkEqual(sinCache.dims[0], count, "number of positions of the two caches");
  AffineExpr batch = ctx.facts.constant(1);
  Type i64 = b.getI64Type();
  if (positions.dims.size() == 1) {
    // An offset: positions follow it.
    ctx.checkEqual(positions.dims[0], batch, "number of offsets");
    Value first = ctx.extract(ctx.cast(positions, i64), ctx.index(0));
    TensorValue counted =
        ctx.generate({batch, length}, i64, [&](ImplicitLocOpBuilder &b, ValueRange at) -> Value {
          return arith::AddIOp::create(b, first, arith::IndexCastOp::create(b, i64, at[1]));
        });
    positions = counted;
  } else {
    ctx.checkEqual(positions.dims[1], length, "length of the positions");
    batch = positions.dims[0];
  }
  TensorValue checked = ctx.checkedIndices(positions, count, "position");
  Dims dims = {batch, length, form.half};
  TensorValue column = ctx.reshape(checked, {batch, length, ctx.facts.constant(1)});
  SmallVector<TensorValue> values = ctx.elementwise(
      {column}, dims, {cosCache.type, sinCache.type},
      [&](ImplicitLocOpBuilder &b, ValueRange at, ValueRange args) {
        Value row = arith::IndexCastOp::create(b, b.getIndexType(), args[0]);
        SmallVector<Value> results;
        for (const TensorValue &cache : {cosCache, sinCache})
          results.push_back(LoweringContext::load(
              b, tensor::ExtractOp::create(b, cache.value, ValueRange{row, at[2]}), cache.type));
        return results;
      });
  return {values[0], values[1]};
}

static LogicalResult lowerRotary(LoweringContext &ctx) {
  ImplicitLocOpBuilder &b = ctx.b;
  InferContext reader(ctx.getNode(), ctx.facts);
  FailureOr<RotaryForm> read = readForm(reader);
  if (failed(read))
    return failure();
  const RotaryForm &form = *read;
  AffineExpr two = ctx.facts.constant(2), one = ctx.facts.constant(1);
  if (ctx.rank(0) == 3)
    exactQuotient(ctx, ctx.dims(0)[2], form.dims[form.headAxis], "last size of the input");
  ctx.checkEqual(ctx.facts.mul(form.half, two), form.rotated, "twice the size of the caches");
  for (unsigned i : {form.cosCache, form.sinCache})
    ctx.checkEqual(ctx.dims(i).back(), form.half, "last size of input " + Twine(i));
  AffineExpr rest = ctx.facts.sub(form.dims.back(), form.rotated);
  if (!ctx.facts.isNonNegative(rest)) {
    Value size = ctx.size(form.dims.back()), rotated = ctx.size(form.rotated);
    ctx.check(arith::CmpIOp::create(b, arith::CmpIPredicate::uge, size, rotated),
              "heads have size {0}, expected at least rotary_embedding_dim, {1}", {size, rotated});
  }

  TensorValue input = ctx.reshape(ctx.get(0), form.dims);
  SmallVector<TensorValue, 2> caches;
  if (form.hasPositions)
    caches = gatherCaches(ctx, form);
  else
    caches = {ctx.get(form.cosCache), ctx.get(form.sinCache)};
  for (TensorValue &cache : caches) {
    ctx.checkEqual(cache.dims[1], form.dims[form.lengthAxis], "length of the caches");
    Dims dims = {cache.dims[0], one, one, form.half};
    dims[form.lengthAxis] = form.dims[form.lengthAxis];
    cache = ctx.reshape(cache, dims);
  }

  // The two halves, side by side or interleaved.
  bool interleaved = ctx.getInt("interleaved", 0) != 0;
  Dims halfDims(form.dims);
  halfDims[3] = form.half;
  SmallVector<OpFoldResult> strides(4, b.getIndexAttr(1));
  if (interleaved)
    strides[3] = b.getIndexAttr(2);
  auto offsets = [&](bool second) {
    SmallVector<OpFoldResult> result(4, b.getIndexAttr(0));
    if (second)
      result[3] = interleaved ? OpFoldResult(b.getIndexAttr(1)) : ctx.foldedSize(form.half);
    return result;
  };
  TensorValue real = ctx.slice(input, offsets(false), halfDims, strides);
  TensorValue imaginary = ctx.slice(input, offsets(true), halfDims, strides);
  Value result = ctx.empty(form.dims, input.type);
  for (bool second : {false, true}) {
    TensorValue part = ctx.map({real, imaginary, caches[0], caches[1]}, halfDims, input.type,
                               [&](ImplicitLocOpBuilder &b, ValueRange args) -> Value {
                                 Value x = arith::MulFOp::create(b, args[second ? 3 : 2], args[0]);
                                 Value y = arith::MulFOp::create(b, args[second ? 2 : 3], args[1]);
                                 return second ? Value(arith::AddFOp::create(b, x, y))
                                               : Value(arith::SubFOp::create(b, x, y));
                               });
    result = tensor::InsertSliceOp::create(b, part.value, result, offsets(second),
                                           ctx.sizes(halfDims), strides);
  }
  if (constantValue(rest) != 0) {
    Dims restDims(form.dims);
    restDims[3] = rest;
    SmallVector<OpFoldResult> behind(4, b.getIndexAttr(0)), steps(4, b.getIndexAttr(1));
    behind[3] = ctx.foldedSize(form.rotated);
    TensorValue untouched = ctx.slice(input, behind, restDims);
    result = tensor::InsertSliceOp::create(b, untouched.value, result, behind, ctx.sizes(restDims),
                                           steps);
  }
  ctx.set(0, ctx.reshape(ctx.make(result, input.type, form.dims), ctx.resultDims(0)).value);
  return success();
}

static constexpr AttrSpec kAttrs[] = {
    {"interleaved", 'i'}, {"num_heads", 'i'}, {"rotary_embedding_dim", 'i'}};
static constexpr AttrSpec kContribAttrs[] = {{"interleaved", 'i'},
                                             {"is_packed_batching", 'i'},
                                             {"num_heads", 'i'},
                                             {"rotary_embedding_dim", 'i'},
                                             {"scale", 'f'}};

void ssm::onnx::registerRotaryOperators(OperatorTable &table) {
  table.add({"", "RotaryEmbedding", 23, 3, 4, 1, 1, kAttrs, inferRotary, lowerRotary});
  table.add(
      {"com.microsoft", "RotaryEmbedding", 1, 4, 4, 1, 1, kContribAttrs, inferRotary, lowerRotary});
}
