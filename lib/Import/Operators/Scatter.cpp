//===- Scatter.cpp - ScatterElements, ScatterND, TensorScatter ------------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Scatters are loops that carry the data and write one element a step, in the order
// of the updates: of two that meet, the later one counts. Bufferization writes in
// place, after at most one copy of the data.
//
//===----------------------------------------------------------------------===//

#include "lib/Import/Operators/Indexing.h"
#include "lib/Import/Operators/Layout.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

using namespace mlir;
using namespace ssm;
using namespace ssm::onnx;

static LogicalResult requireReduction(InferContext &ctx) {
  StringRef reduction = ctx.getString("reduction", "none");
  if (!llvm::is_contained({"none", "add", "mul", "max", "min"}, reduction))
    return ctx.error("'reduction' is '" + reduction + "', expected none, add, mul, max or min");
  return success();
}

/// What becomes of an element that has `current` and gets `update`, compute-typed.
static Value combine(ImplicitLocOpBuilder &b, StringRef reduction, Value current, Value update,
                     Type type) {
  bool isFloat = isa<FloatType>(type);
  // Of bools, add and max are or; mul and min are and.
  bool ordersUnsigned = isUnsigned(type) || isBool(type);
  if (reduction == "add") {
    if (isBool(type))
      return arith::OrIOp::create(b, current, update);
    return isFloat ? Value(arith::AddFOp::create(b, current, update))
                   : Value(arith::AddIOp::create(b, current, update));
  }
  if (reduction == "mul")
    return isFloat ? Value(arith::MulFOp::create(b, current, update))
                   : Value(arith::MulIOp::create(b, current, update));
  if (reduction == "max") {
    if (isFloat)
      return arith::MaximumFOp::create(b, current, update);
    return ordersUnsigned ? Value(arith::MaxUIOp::create(b, current, update))
                          : Value(arith::MaxSIOp::create(b, current, update));
  }
  if (isFloat)
    return arith::MinimumFOp::create(b, current, update);
  return ordersUnsigned ? Value(arith::MinUIOp::create(b, current, update))
                        : Value(arith::MinSIOp::create(b, current, update));
}

/// Writes every element of input 2 where `target` sends its index.
static void
scatter(LoweringContext &ctx, StringRef reduction,
        llvm::function_ref<SmallVector<Value>(ImplicitLocOpBuilder &, ValueRange)> target) {
  TensorValue data = ctx.get(0), updates = ctx.get(2);
  SmallVector<Value> sizes = sizeValues(ctx, updates.dims);
  SmallVector<Value> result = loopNest(
      ctx.b, sizes, data.value,
      [&](ImplicitLocOpBuilder &b, ValueRange at, ValueRange carried) -> SmallVector<Value> {
        SmallVector<Value> place = target(b, at);
        Value update = extractStored(b, updates, at);
        if (reduction != "none") {
          Value current = tensor::ExtractOp::create(b, carried[0], place);
          Value value = combine(b, reduction, LoweringContext::load(b, current, data.type),
                                LoweringContext::load(b, update, data.type), data.type);
          update = LoweringContext::store(b, value, data.type);
        }
        return {tensor::InsertOp::create(b, update, carried[0], place)};
      });
  ctx.set(0, result[0]);
}

//===----------------------------------------------------------------------===//
// ScatterElements
//===----------------------------------------------------------------------===//

static LogicalResult inferScatterElements(InferContext &ctx) {
  auto axis = ctx.normalizeAxis(ctx.getInt("axis", 0), ctx.rank(0));
  if (failed(axis) || failed(requireReduction(ctx)) || failed(requireElementIndices(ctx, *axis)) ||
      failed(ctx.requireSameElementType(0, 2)) ||
      failed(ctx.requireRank(2, ctx.rank(0), ctx.rank(0))))
    return failure();
  for (int64_t d = 0; d < ctx.rank(0); ++d)
    if (failed(ctx.requireEqual(ctx.dim(1, d), ctx.dim(2, d),
                                "axis " + Twine(d) + " of indices and updates")))
      return failure();
  ctx.setResult(0, ctx.elementType(0), Dims(ctx.dims(0)));
  return success();
}

static LogicalResult lowerScatterElements(LoweringContext &ctx) {
  int64_t axis = ctx.getInt("axis", 0);
  axis = axis < 0 ? axis + ctx.rank(0) : axis;
  for (int64_t d = 0; d < ctx.rank(0); ++d)
    ctx.checkEqual(ctx.dims(1)[d], ctx.dims(2)[d], "axis " + Twine(d) + " of indices and updates");
  checkElementIndices(ctx, axis);
  TensorValue indices = ctx.checkedIndices(ctx.get(1), ctx.dims(0)[axis], "index");
  scatter(ctx, ctx.getString("reduction", "none"), [&](ImplicitLocOpBuilder &b, ValueRange at) {
    SmallVector<Value> place(at);
    place[axis] = extractIndex(b, indices, at);
    return place;
  });
  return success();
}

//===----------------------------------------------------------------------===//
// ScatterND
//===----------------------------------------------------------------------===//

/// The sizes that updates must have.
static Dims updateDims(ArrayRef<AffineExpr> data, ArrayRef<AffineExpr> indices, int64_t length) {
  Dims dims(indices.drop_back());
  llvm::append_range(dims, data.drop_front(length));
  return dims;
}

static LogicalResult inferScatterND(InferContext &ctx) {
  auto length = requireIndexTuples(ctx, 0);
  if (failed(length) || failed(requireReduction(ctx)) || failed(ctx.requireSameElementType(0, 2)))
    return failure();
  Dims data(ctx.dims(0)), indices(ctx.dims(1)), want = updateDims(data, indices, *length);
  if (failed(ctx.requireRank(2, want.size(), want.size())))
    return failure();
  for (auto [d, size] : llvm::enumerate(want))
    if (failed(ctx.requireEqual(ctx.dim(2, d), size,
                                "axis " + Twine(d) +
                                    " of updates, given and as indices and "
                                    "data ask")))
      return failure();
  ctx.setResult(0, ctx.elementType(0), data);
  return success();
}

static LogicalResult lowerScatterND(LoweringContext &ctx) {
  Dims data(ctx.dims(0)), indices(ctx.dims(1));
  // The ranks tell how long the tuples are, whether or not the type does.
  int64_t outer = indices.size() - 1, length = data.size() + outer - ctx.rank(2);
  for (auto [d, size] : llvm::enumerate(updateDims(data, indices, length)))
    ctx.checkEqual(ctx.dims(2)[d], size,
                   "axis " + Twine(d) + " of updates, given and as indices and data ask");
  SmallVector<TensorValue> tuples = checkedTuples(ctx, 0, length);
  scatter(ctx, ctx.getString("reduction", "none"), [&](ImplicitLocOpBuilder &b, ValueRange at) {
    SmallVector<Value> tupleAt(at.take_front(outer)), place;
    tupleAt.push_back(arith::ConstantIndexOp::create(b, 0));
    for (const TensorValue &component : tuples)
      place.push_back(extractIndex(b, component, tupleAt));
    llvm::append_range(place, at.drop_front(outer));
    return place;
  });
  return success();
}

//===----------------------------------------------------------------------===//
// TensorScatter
//===----------------------------------------------------------------------===//

static LogicalResult inferTensorScatter(InferContext &ctx) {
  int64_t rank = ctx.rank(0);
  auto axis = ctx.normalizeAxis(ctx.getInt("axis", -2), rank);
  StringRef mode = ctx.getString("mode", "linear");
  if (failed(axis) || failed(ctx.requireSameElementType(0, 1)) ||
      failed(ctx.requireRank(1, rank, rank)))
    return failure();
  if (*axis == 0)
    return ctx.error("axis is 0, the batch, expected another one");
  if (mode != "linear" && mode != "circular")
    return ctx.error("mode is '" + mode + "', expected linear or circular");
  for (int64_t d = 0; d < rank; ++d) {
    auto have = constantValue(ctx.dim(0, d)), want = constantValue(ctx.dim(1, d));
    if (d != *axis) {
      if (failed(ctx.requireEqual(ctx.dim(0, d), ctx.dim(1, d),
                                  "axis " + Twine(d) + " of cache and update")))
        return failure();
    } else if (have && want && *want > *have) {
      return ctx.error("the update has " + Twine(*want) + " steps, expected at most the cache's " +
                       Twine(*have));
    }
  }
  if (ctx.hasInput(2) && (failed(ctx.requireInteger(2)) || failed(ctx.requireRank(2, 1, 1)) ||
                          failed(ctx.requireEqual(ctx.dim(0, 0), ctx.dim(2, 0),
                                                  "the batch and the number of write indices"))))
    return failure();
  ctx.setResult(0, ctx.elementType(0), Dims(ctx.dims(0)));
  return success();
}

static LogicalResult lowerTensorScatter(LoweringContext &ctx) {
  auto &b = ctx.b;
  TensorValue cache = ctx.get(0), update = ctx.get(1);
  int64_t rank = cache.dims.size(), axis = ctx.getInt("axis", -2);
  axis = axis < 0 ? axis + rank : axis;
  bool circular = ctx.getString("mode", "linear") == "circular";
  for (int64_t d = 0; d < rank; ++d)
    if (d != axis)
      ctx.checkEqual(cache.dims[d], update.dims[d], "axis " + Twine(d) + " of cache and update");
  Value capacity = ctx.size(cache.dims[axis]), steps = ctx.size(update.dims[axis]);
  ctx.check(b.createOrFold<arith::CmpIOp>(arith::CmpIPredicate::sle, steps, capacity),
            "the update has {0} steps, expected at most the cache's {1}", {steps, capacity});

  // Whole slices are moved: of `count` steps from `from` to `to`, of one sample or,
  // without write indices, of all.
  auto move = [&](ImplicitLocOpBuilder &b, Value result, Value sample, OpFoldResult from,
                  OpFoldResult to, OpFoldResult count) -> Value {
    SmallVector<OpFoldResult> offsets(rank, b.getIndexAttr(0)), sizes = ctx.sizes(update.dims);
    SmallVector<OpFoldResult> strides(rank, b.getIndexAttr(1));
    if (sample) {
      offsets[0] = sample;
      sizes[0] = b.getIndexAttr(1);
    }
    sizes[axis] = count;
    offsets[axis] = from;
    Value part = tensor::ExtractSliceOp::create(b, update.value, offsets, sizes, strides);
    offsets[axis] = to;
    return tensor::InsertSliceOp::create(b, part, result, offsets, sizes, strides);
  };
  OpFoldResult zero = b.getIndexAttr(0), one = b.getIndexAttr(1);
  OpFoldResult all = ctx.foldedSize(update.dims[axis]);
  auto staticSizes = constantValues(update.dims);
  if (staticSizes && llvm::is_contained(*staticSizes, 0)) {
    ctx.set(0, cache.value);
    return success();
  }
  if (!ctx.hasInput(2)) {
    ctx.set(0, move(b, cache.value, Value(), zero, zero, all));
    return success();
  }
  ctx.checkEqual(cache.dims[0], ctx.dims(2)[0], "the batch and the number of write indices");
  // A write index of a circular cache may have gone round many times.
  Value bound = circular ? ctx.index(std::numeric_limits<int64_t>::max())
                         : b.createOrFold<arith::SubIOp>(capacity, steps);
  TensorValue starts = checkedCounts(ctx, ctx.get(2), bound, "a write index");
  SmallVector<Value> loops = {ctx.size(cache.dims[0])};
  if (circular)
    loops.push_back(steps);
  SmallVector<Value> result = loopNest(
      b, loops, cache.value,
      [&](ImplicitLocOpBuilder &b, ValueRange at, ValueRange carried) -> SmallVector<Value> {
        Value start = extractIndex(b, starts, at[0]);
        if (!circular)
          return {move(b, carried[0], at[0], zero, start, all)};
        // start % capacity first: the sum must not overflow.
        Value place = arith::AddIOp::create(b, arith::RemUIOp::create(b, start, capacity), at[1]);
        place = arith::RemUIOp::create(b, place, capacity);
        return {move(b, carried[0], at[0], at[1], place, one)};
      });
  ctx.set(0, result[0]);
  return success();
}

void ssm::onnx::registerScatterOperators(OperatorTable &table) {
  static constexpr AttrSpec kAxis[] = {{"axis", 'i'}};
  static constexpr AttrSpec kAxisReduction[] = {{"axis", 'i'}, {"reduction", 's'}};
  static constexpr AttrSpec kReduction[] = {{"reduction", 's'}};
  static constexpr AttrSpec kTensor[] = {{"axis", 'i'}, {"mode", 's'}};
  table.add({"", "Scatter", 9, 3, 3, 1, 1, kAxis, inferScatterElements, lowerScatterElements});
  table.add(
      {"", "ScatterElements", 11, 3, 3, 1, 1, kAxis, inferScatterElements, lowerScatterElements});
  table.add({"", "ScatterElements", 16, 3, 3, 1, 1, kAxisReduction, inferScatterElements,
             lowerScatterElements});
  table.add({"", "ScatterND", 11, 3, 3, 1, 1, {}, inferScatterND, lowerScatterND});
  table.add({"", "ScatterND", 16, 3, 3, 1, 1, kReduction, inferScatterND, lowerScatterND});
  table.add({"", "TensorScatter", 24, 2, 3, 1, 1, kTensor, inferTensorScatter, lowerTensorScatter});
}
