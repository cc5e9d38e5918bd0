//===- Gather.cpp - Gather, GatherElements, GatherND ----------------------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "lib/Import/Operators/Indexing.h"
#include "lib/Import/Operators/Layout.h"

using namespace mlir;
using namespace ssm;
using namespace ssm::onnx;

//===----------------------------------------------------------------------===//
// What gathers and scatters share
//===----------------------------------------------------------------------===//

LogicalResult ssm::onnx::requireElementIndices(InferContext &ctx, int64_t axis) {
  if (failed(ctx.requireInteger(1)) || failed(ctx.requireRank(1, ctx.rank(0), ctx.rank(0))))
    return failure();
  for (int64_t d = 0; d < ctx.rank(0); ++d) {
    auto have = constantValue(ctx.dim(0, d)), want = constantValue(ctx.dim(1, d));
    if (d != axis && have && want && *want > *have)
      return ctx.error("axis " + Twine(d) + " of the indices has size " + Twine(*want) +
                       ", expected at most the data's " + Twine(*have));
  }
  return success();
}

void ssm::onnx::checkElementIndices(LoweringContext &ctx, int64_t axis) {
  for (int64_t d = 0; d < ctx.rank(0); ++d) {
    AffineExpr have = ctx.dims(0)[d], want = ctx.dims(1)[d];
    AffineExpr room = ctx.facts.sub(have, want);
    if (d == axis || (room && ctx.facts.isNonNegative(room)))
      continue;
    Value limit = ctx.size(have), size = ctx.size(want);
    ctx.check(arith::CmpIOp::create(ctx.b, arith::CmpIPredicate::sle, size, limit),
              "axis " + Twine(d) + " of the indices has size {0}, expected at most the data's {1}",
              {size, limit});
  }
}

FailureOr<int64_t> ssm::onnx::requireIndexTuples(InferContext &ctx, int64_t batchDims) {
  int64_t rank = ctx.rank(0), indexRank = ctx.rank(1);
  if (failed(ctx.requireInteger(1)))
    return failure();
  if (rank < 1 || indexRank < 1)
    return ctx.error("data has rank " + Twine(rank) + " and indices " + Twine(indexRank) +
                     ", expected 1 or more");
  if (batchDims < 0 || batchDims >= std::min(rank, indexRank))
    return ctx.error("'batch_dims' is " + Twine(batchDims) + ", expected 0 to " +
                     Twine(std::min(rank, indexRank) - 1));
  auto length = constantValue(ctx.dims(1).back());
  // The rank of a scatter's updates tells it too.
  if (!length && ctx.hasInput(2))
    length = rank + indexRank - 1 - ctx.rank(2);
  if (!length)
    return ctx.error("the last axis of the indices has an unknown size, which the result's rank "
                     "depends on");
  if (*length < 1 || *length > rank - batchDims)
    return ctx.error("the last axis of the indices has size " + Twine(*length) +
                     ", expected 1 to " + Twine(rank - batchDims));
  for (int64_t d = 0; d < batchDims; ++d)
    if (failed(ctx.requireEqual(ctx.dim(0, d), ctx.dim(1, d),
                                "axis " + Twine(d) + " of data and indices")))
      return failure();
  return *length;
}

SmallVector<TensorValue> ssm::onnx::checkedTuples(LoweringContext &ctx, int64_t batchDims,
                                                  int64_t length) {
  TensorValue indices = ctx.get(1);
  ctx.checkEqual(indices.dims.back(), ctx.facts.constant(length), "the last axis of the indices");
  Dims column(indices.dims);
  column.back() = ctx.facts.constant(1);
  SmallVector<TensorValue> components;
  for (int64_t j = 0; j < length; ++j) {
    SmallVector<OpFoldResult> offsets(column.size(), ctx.b.getIndexAttr(0));
    offsets.back() = ctx.b.getIndexAttr(j);
    TensorValue one = indices.dims == column ? indices : ctx.slice(indices, offsets, column);
    components.push_back(
        ctx.checkedIndices(one, ctx.dims(0)[batchDims + j], "index component " + Twine(j)));
  }
  return components;
}

//===----------------------------------------------------------------------===//
// Gather
//===----------------------------------------------------------------------===//

static LogicalResult inferGather(InferContext &ctx) {
  auto axis = ctx.normalizeAxis(ctx.getInt("axis", 0), ctx.rank(0));
  if (failed(axis) || failed(ctx.requireInteger(1)))
    return failure();
  Dims data(ctx.dims(0)), indices(ctx.dims(1)), dims(data.begin(), data.begin() + *axis);
  dims.append(indices);
  dims.append(data.begin() + *axis + 1, data.end());
  auto constants = ctx.constantInts(1);
  auto size = constantValue(data[*axis]);
  if (constants && size)
    for (int64_t index : *constants)
      if (index < -*size || index >= *size)
        return ctx.error("index " + Twine(index) + " is out of range for size " + Twine(*size) +
                         " of axis " + Twine(*axis));
  std::optional<Dims> known;
  if (auto elements = ctx.elements(0))
    known = Dims(*elements);
  ctx.setResult(0, ctx.elementType(0), dims);
  if (known && constants && size && data.size() == 1) {
    Dims elements;
    for (int64_t index : *constants)
      elements.push_back((*known)[index < 0 ? index + *size : index]);
    ctx.setElements(0, elements);
  }
  return success();
}

/// Gather by one index: a slice, which copies nothing.
static void lowerGatherOne(LoweringContext &ctx, int64_t axis, AffineExpr index) {
  TensorValue data = ctx.get(0);
  AffineExpr size = data.dims[axis];
  auto constant = constantValue(index);
  auto bound = constantValue(size);
  if (!constant || !bound) {
    // Inference checked constants.
    Value value = ctx.size(index), limit = ctx.size(size);
    Value shifted = ctx.b.createOrFold<arith::AddIOp>(value, limit);
    Value twice = ctx.b.createOrFold<arith::AddIOp>(limit, limit);
    ctx.check(ctx.b.createOrFold<arith::CmpIOp>(arith::CmpIPredicate::ult, shifted, twice),
              "index {0} is out of range for size {1}", {value, limit});
  }
  SmallVector<OpFoldResult> offsets(data.dims.size(), ctx.b.getIndexAttr(0));
  offsets[axis] = ctx.foldedSize(ctx.facts.wrapIndex(index, size));
  Dims dims = data.dims;
  dims[axis] = ctx.facts.constant(1);
  TensorValue row = ctx.slice(data, offsets, dims);
  ctx.set(0, ctx.reshape(row, Dims(ctx.resultDims(0))).value);
}

namespace {
/// Indices first, first + step, ..., of which each comes `repeats` times, and all of them
/// `rounds` times.
struct EvenIndices {
  int64_t first, step, count, repeats, rounds;
};
} // namespace

static std::optional<EvenIndices> matchEven(ArrayRef<int64_t> indices) {
  int64_t size = indices.size(), first = indices[0];
  auto at = [&](int64_t i) { return i < size ? indices[i] : first; };
  int64_t repeats = 1, count = 1;
  while (repeats < size && at(repeats) == first)
    ++repeats;
  int64_t step = at(repeats) - first;
  while (at(count * repeats) == first + count * step && step > 0)
    ++count;
  EvenIndices even = {first, count > 1 ? step : 1, count, repeats, size / (count * repeats)};
  if (even.rounds * count * repeats != size)
    return std::nullopt;
  for (int64_t i = 0; i < size; ++i)
    if (indices[i] != first + i / repeats % count * even.step)
      return std::nullopt;
  return even;
}

/// Gather by known indices at even distances: a slice, whose elements may be repeated, as
/// groups are to heads. Nothing reads by index then.
static LogicalResult lowerGatherEven(LoweringContext &ctx, int64_t axis) {
  TensorValue data = ctx.get(0);
  auto size = constantValue(data.dims[axis]);
  auto known = ctx.elements(1);
  if (!size || !known || known->empty() || ctx.rank(1) != 1)
    return failure();
  SmallVector<int64_t> indices;
  for (AffineExpr element : *known) {
    auto index = constantValue(element);
    // Of what is computed from sizes inference has checked nothing.
    if (!index || *index < -*size || *index >= *size)
      return failure();
    indices.push_back(*index < 0 ? *index + *size : *index);
  }
  auto even = matchEven(indices);
  if (!even)
    return failure();
  SmallVector<OpFoldResult> offsets(data.dims.size(), ctx.b.getIndexAttr(0));
  SmallVector<OpFoldResult> steps(data.dims.size(), ctx.b.getIndexAttr(1));
  offsets[axis] = ctx.b.getIndexAttr(even->first);
  steps[axis] = ctx.b.getIndexAttr(even->step);
  Dims dims = data.dims;
  dims[axis] = ctx.facts.constant(even->count);
  TensorValue part = ctx.slice(data, offsets, dims, steps);
  if (even->repeats * even->rounds > 1) {
    auto around = [&](int64_t before, int64_t behind) {
      Dims wide(dims);
      wide.insert(wide.begin() + axis + 1, ctx.facts.constant(behind));
      wide.insert(wide.begin() + axis, ctx.facts.constant(before));
      return wide;
    };
    part = ctx.expand(ctx.reshape(part, around(1, 1)), around(even->rounds, even->repeats));
  }
  ctx.set(0, ctx.reshape(part, Dims(ctx.resultDims(0))).value);
  return success();
}

static LogicalResult lowerGather(LoweringContext &ctx) {
  int64_t axis = ctx.getInt("axis", 0);
  axis = axis < 0 ? axis + ctx.rank(0) : axis;
  int64_t indexRank = ctx.rank(1);
  TensorValue data = ctx.get(0);
  Dims dims(ctx.resultDims(0));
  auto known = ctx.elements(1);
  if (known && known->size() == 1) {
    lowerGatherOne(ctx, axis, (*known)[0]);
    return success();
  }
  if (succeeded(lowerGatherEven(ctx, axis)))
    return success();
  TensorValue indices = ctx.checkedIndices(ctx.get(1), data.dims[axis], "index");
  TensorValue result =
      generateStored(ctx, dims, data.type, [&](ImplicitLocOpBuilder &b, ValueRange at) -> Value {
        SmallVector<Value> source(at.take_front(axis));
        source.push_back(extractIndex(b, indices, at.slice(axis, indexRank)));
        llvm::append_range(source, at.drop_front(axis + indexRank));
        return extractStored(b, data, source);
      });
  ctx.set(0, result.value);
  return success();
}

//===----------------------------------------------------------------------===//
// GatherElements, GatherND
//===----------------------------------------------------------------------===//

static LogicalResult inferGatherElements(InferContext &ctx) {
  auto axis = ctx.normalizeAxis(ctx.getInt("axis", 0), ctx.rank(0));
  if (failed(axis) || failed(requireElementIndices(ctx, *axis)))
    return failure();
  ctx.setResult(0, ctx.elementType(0), Dims(ctx.dims(1)));
  return success();
}

static LogicalResult lowerGatherElements(LoweringContext &ctx) {
  int64_t axis = ctx.getInt("axis", 0);
  axis = axis < 0 ? axis + ctx.rank(0) : axis;
  TensorValue data = ctx.get(0);
  Dims dims(ctx.resultDims(0));
  checkElementIndices(ctx, axis);
  TensorValue indices = ctx.checkedIndices(ctx.get(1), data.dims[axis], "index");
  TensorValue result =
      generateStored(ctx, dims, data.type, [&](ImplicitLocOpBuilder &b, ValueRange at) -> Value {
        SmallVector<Value> source(at);
        source[axis] = extractIndex(b, indices, at);
        return extractStored(b, data, source);
      });
  ctx.set(0, result.value);
  return success();
}

static LogicalResult inferGatherND(InferContext &ctx) {
  int64_t batchDims = ctx.getInt("batch_dims", 0);
  auto length = requireIndexTuples(ctx, batchDims);
  if (failed(length))
    return failure();
  Dims data(ctx.dims(0)), dims(ctx.dims(1));
  dims.pop_back();
  dims.append(data.begin() + batchDims + *length, data.end());
  ctx.setResult(0, ctx.elementType(0), dims);
  return success();
}

static LogicalResult lowerGatherND(LoweringContext &ctx) {
  int64_t batchDims = ctx.getInt("batch_dims", 0);
  TensorValue data = ctx.get(0);
  Dims dims(ctx.resultDims(0));
  for (int64_t d = 0; d < batchDims; ++d)
    ctx.checkEqual(data.dims[d], ctx.dims(1)[d], "axis " + Twine(d) + " of data and indices");
  SmallVector<TensorValue> tuples =
      checkedTuples(ctx, batchDims, *constantValue(ctx.dims(1).back()));
  int64_t outer = ctx.rank(1) - 1;
  TensorValue result =
      generateStored(ctx, dims, data.type, [&](ImplicitLocOpBuilder &b, ValueRange at) -> Value {
        SmallVector<Value> source(at.take_front(batchDims)), place(at.take_front(outer));
        place.push_back(arith::ConstantIndexOp::create(b, 0));
        for (const TensorValue &component : tuples)
          source.push_back(extractIndex(b, component, place));
        llvm::append_range(source, at.drop_front(outer));
        return extractStored(b, data, source);
      });
  ctx.set(0, result.value);
  return success();
}

void ssm::onnx::registerGatherOperators(OperatorTable &table) {
  static constexpr AttrSpec kAxis[] = {{"axis", 'i'}};
  static constexpr AttrSpec kBatch[] = {{"batch_dims", 'i'}};
  table.add({"", "Gather", 1, 2, 2, 1, 1, kAxis, inferGather, lowerGather});
  table.add(
      {"", "GatherElements", 11, 2, 2, 1, 1, kAxis, inferGatherElements, lowerGatherElements});
  table.add({"", "GatherND", 11, 2, 2, 1, 1, {}, inferGatherND, lowerGatherND});
  table.add({"", "GatherND", 12, 2, 2, 1, 1, kBatch, inferGatherND, lowerGatherND});
}
