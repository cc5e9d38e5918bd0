//===- Slice.cpp - Slice, Split -------------------------------------------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "lib/Import/Operators/Layout.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

#include <limits>

using namespace mlir;
using namespace ssm;
using namespace ssm::onnx;

//===----------------------------------------------------------------------===//
// Slice
//===----------------------------------------------------------------------===//

/// Starts, ends and steps beyond this mean the end of an axis: no axis is longer.
static constexpr int64_t kFarAway = int64_t(1) << 39;
/// The standard's INT_MAX and INT_MIN, as the end of an axis whose size is unknown.
static constexpr int64_t kLastEnd = std::numeric_limits<int32_t>::max();
static constexpr int64_t kFirstEnd = std::numeric_limits<int32_t>::min();

namespace {
/// What a slice takes of one axis: elements offset, offset + step, ...
struct AxisSlice {
  AffineExpr offset, size;
  int64_t step = 1;
};
} // namespace

/// `value`, an index that may count from the end, clamped to [low, high].
static AffineExpr clampIndex(ShapeFacts &facts, AffineExpr value, AffineExpr dim, AffineExpr low,
                             AffineExpr high) {
  if (auto constant = constantValue(value)) {
    if (*constant >= kFarAway)
      return high;
    if (*constant <= -kFarAway)
      return low;
  }
  AffineExpr index = facts.wrapIndex(value, dim);
  // Where the axis is empty, high lies below low and counts.
  if (index == high)
    return high;
  return facts.min(facts.max(index, low), high);
}

static AxisSlice sliceAxis(ShapeFacts &facts, AffineExpr dim, AffineExpr start, AffineExpr end,
                           int64_t step) {
  AxisSlice result;
  result.step = std::clamp(step, -kFarAway, kFarAway);
  AffineExpr zero = facts.constant(0), last, distance;
  if (auto constant = constantValue(end);
      constant && *constant == (step > 0 ? kLastEnd : kFirstEnd))
    end = facts.constant(step > 0 ? kFarAway : -kFarAway);
  if (step > 0) {
    result.offset = clampIndex(facts, start, dim, zero, dim);
    last = clampIndex(facts, end, dim, zero, dim);
    distance = facts.sub(last, result.offset);
  } else {
    AffineExpr top = facts.sub(dim, facts.constant(1));
    result.offset = clampIndex(facts, start, dim, zero, top);
    last = clampIndex(facts, end, dim, facts.constant(-1), top);
    distance = facts.sub(result.offset, last);
  }
  distance = facts.max(distance, zero);
  int64_t stride = std::abs(result.step);
  result.size = stride == 1 ? distance
                            : facts.quotient(facts.add(distance, facts.constant(stride - 1)),
                                             facts.constant(stride));
  return result;
}

/// The elements of a slice's input: starts, ends, axes or steps.
static FailureOr<Dims> sliceInput(InferContext &ctx, unsigned i, StringRef attr, StringRef what) {
  if (auto values = ctx.getInts(attr))
    return Dims(llvm::map_range(*values, [&](int64_t v) { return ctx.facts.constant(v); }));
  return requireElements(ctx, i, what);
}

static FailureOr<SmallVector<AxisSlice>> planSlice(InferContext &ctx) {
  int64_t rank = ctx.rank(0);
  FailureOr<Dims> starts = sliceInput(ctx, 1, "starts", "starts");
  FailureOr<Dims> ends = sliceInput(ctx, 2, "ends", "ends");
  if (failed(starts) || failed(ends))
    return failure();
  auto mismatch = [&](StringRef what, size_t count) -> LogicalResult {
    return ctx.error(what + " has " + Twine(count) + " elements, expected " +
                     Twine(starts->size()) + " as starts has");
  };
  if (starts->size() != ends->size())
    return mismatch("ends", ends->size());
  SmallVector<int64_t> axes = llvm::to_vector(llvm::seq<int64_t>(0, starts->size()));
  SmallVector<int64_t> steps(starts->size(), 1);
  if (auto attr = ctx.getInts("axes")) {
    axes = *attr;
  } else if (ctx.hasInput(3)) {
    auto constants = requireConstants(ctx, 3, "axes");
    if (failed(constants))
      return failure();
    axes = *constants;
  }
  if (ctx.hasInput(4)) {
    auto constants = requireConstants(ctx, 4, "steps");
    if (failed(constants))
      return failure();
    steps = *constants;
  }
  if (axes.size() != starts->size())
    return mismatch("axes", axes.size());
  if (steps.size() != starts->size())
    return mismatch("steps", steps.size());
  auto normal = requireAxes(ctx, axes, rank);
  if (failed(normal))
    return failure();

  SmallVector<AxisSlice> plan;
  for (AffineExpr dim : Dims(ctx.dims(0)))
    plan.push_back({ctx.facts.constant(0), dim, 1});
  for (auto [i, axis] : llvm::enumerate(*normal)) {
    if (steps[i] == 0)
      return ctx.error("step " + Twine(i) + " is 0, expected another one");
    plan[axis] = sliceAxis(ctx.facts, ctx.dim(0, axis), (*starts)[i], (*ends)[i], steps[i]);
  }
  return plan;
}

/// Whether only the run knows axes or steps: then any axis may be sliced.
static bool hasOpenAxes(InferContext &ctx) { return !isKnown(ctx, 3) || !isKnown(ctx, 4); }

static LogicalResult inferOpenSlice(InferContext &ctx) {
  static constexpr StringRef names[] = {"", "starts", "ends", "axes", "steps"};
  auto count = requireCount(ctx, 1, names[1]);
  if (failed(count))
    return failure();
  for (unsigned i = 2; i < 5; ++i) {
    if (!ctx.hasInput(i))
      continue;
    auto own = requireCount(ctx, i, names[i]);
    if (failed(own))
      return failure();
    if (*own != *count)
      return ctx.error(names[i] + " has " + Twine(*own) + " elements, expected " + Twine(*count) +
                       " as starts has");
  }
  if (*count > ctx.rank(0))
    return ctx.error("starts has " + Twine(*count) + " elements for rank " + Twine(ctx.rank(0)));
  ctx.setResult(0, ctx.elementType(0), Dims(ctx.rank(0)));
  return success();
}

static LogicalResult inferSlice(InferContext &ctx) {
  if (hasOpenAxes(ctx))
    return inferOpenSlice(ctx);
  auto plan = planSlice(ctx);
  if (failed(plan))
    return failure();
  Dims dims;
  for (const AxisSlice &axis : *plan)
    dims.push_back(axis.size);
  ctx.setResult(0, ctx.elementType(0), dims);
  auto known = ctx.elements(0);
  if (!known || dims.size() != 1)
    return success();
  auto offset = constantValue((*plan)[0].offset), size = constantValue(dims[0]);
  if (!offset || !size)
    return success();
  Dims elements;
  for (int64_t i = 0; i < *size; ++i)
    elements.push_back((*known)[*offset + i * (*plan)[0].step]);
  ctx.setElements(0, elements);
  return success();
}

/// Takes elements `offset`, `offset + step`, ... of every axis.
static TensorValue takeSlice(LoweringContext &ctx, const TensorValue &input,
                             ArrayRef<AxisSlice> plan, ArrayRef<AffineExpr> dims) {
  bool whole = true, forward = true;
  for (auto [axis, dim] : llvm::zip_equal(plan, input.dims)) {
    whole &= axis.size == dim && axis.step == 1;
    forward &= axis.step > 0;
  }
  if (whole)
    return input;
  if (forward) {
    SmallVector<OpFoldResult> offsets, steps;
    for (const AxisSlice &axis : plan) {
      offsets.push_back(ctx.foldedSize(axis.offset));
      // A step beyond the axis is never taken; a small one keeps the type valid.
      bool single = constantValue(axis.size) == 1;
      steps.push_back(ctx.b.getIndexAttr(single ? 1 : axis.step));
    }
    return ctx.slice(input, offsets, dims, steps);
  }
  SmallVector<Value> offsets;
  for (const AxisSlice &axis : plan)
    offsets.push_back(ctx.size(axis.offset));
  return generateStored(
      ctx, dims, input.type, [&](ImplicitLocOpBuilder &b, ValueRange indices) -> Value {
        SmallVector<Value> source;
        for (auto [axis, index, offset] : llvm::zip_equal(plan, indices, offsets)) {
          Value step = arith::ConstantIndexOp::create(b, axis.step);
          source.push_back(
              b.createOrFold<arith::AddIOp>(offset, b.createOrFold<arith::MulIOp>(index, step)));
        }
        return extractStored(b, input, source);
      });
}

/// One axis of a slice whose step only the run knows: its offset and size.
static std::pair<Value, Value> openAxis(ImplicitLocOpBuilder &b, Value dim, Value start, Value end,
                                        Value step) {
  Value zero = arith::ConstantIndexOp::create(b, 0), one = arith::ConstantIndexOp::create(b, 1);
  Value minusOne = arith::ConstantIndexOp::create(b, -1);
  auto wrap = [&](Value at) -> Value {
    Value negative = arith::CmpIOp::create(b, arith::CmpIPredicate::slt, at, zero);
    return arith::SelectOp::create(b, negative, arith::AddIOp::create(b, at, dim), at);
  };
  auto clamp = [&](Value at, Value low, Value high) -> Value {
    return arith::MinSIOp::create(b, arith::MaxSIOp::create(b, wrap(at), low), high);
  };
  Value up = arith::CmpIOp::create(b, arith::CmpIPredicate::sgt, step, zero);
  Value top = arith::SelectOp::create(b, up, dim, arith::SubIOp::create(b, dim, one));
  Value offset = clamp(start, zero, top);
  Value last = clamp(end, arith::SelectOp::create(b, up, zero, minusOne), top);
  Value distance = arith::SelectOp::create(b, up, arith::SubIOp::create(b, last, offset),
                                           arith::SubIOp::create(b, offset, last));
  distance = arith::MaxSIOp::create(b, distance, zero);
  Value stride = arith::SelectOp::create(b, up, step, arith::SubIOp::create(b, zero, step));
  stride = arith::MaxUIOp::create(b, stride, one);
  // ceil(distance / stride) without a sum that could overflow.
  Value whole = arith::DivUIOp::create(b, distance, stride);
  Value rest = arith::RemUIOp::create(b, distance, stride);
  Value uneven = arith::CmpIOp::create(b, arith::CmpIPredicate::ne, rest, zero);
  Value more = arith::AddIOp::create(b, whole, one);
  return {offset, arith::SelectOp::create(b, uneven, more, whole)};
}

static void lowerOpenSlice(LoweringContext &ctx) {
  auto &b = ctx.b;
  TensorValue input = ctx.get(0);
  int64_t rank = input.dims.size();
  Dims starts(*ctx.elements(1)), ends(*ctx.elements(2)), dims(ctx.resultDims(0));
  int64_t count = starts.size();
  SmallVector<Value> axes, steps(count, ctx.index(1));
  if (ctx.hasInput(3))
    axes = axesInput(ctx, 3, rank);
  else
    for (int64_t axis = 0; axis < count; ++axis)
      axes.push_back(ctx.index(axis));
  if (ctx.hasInput(4))
    for (auto [i, element] : llvm::enumerate(Dims(*ctx.elements(4)))) {
      steps[i] = ctx.size(element);
      ctx.check(arith::CmpIOp::create(b, arith::CmpIPredicate::ne, steps[i], ctx.index(0)),
                "step " + Twine(i) + " is 0, expected another one");
    }
  SmallVector<Value> offsets(rank, ctx.index(0)), strides(rank, ctx.index(1));
  for (int64_t axis = 0; axis < rank; ++axis) {
    Value dim = ctx.size(input.dims[axis]), size = dim;
    for (int64_t i = 0; i < count; ++i) {
      Value here = isOneOf(b, axes[i], axis);
      auto [offset, length] = openAxis(b, dim, ctx.size(starts[i]), ctx.size(ends[i]), steps[i]);
      offsets[axis] = arith::SelectOp::create(b, here, offset, offsets[axis]);
      strides[axis] = arith::SelectOp::create(b, here, steps[i], strides[axis]);
      size = arith::SelectOp::create(b, here, length, size);
    }
    ctx.bind(dims[axis], size);
  }
  TensorValue result = generateStored(
      ctx, dims, input.type, [&](ImplicitLocOpBuilder &b, ValueRange indices) -> Value {
        SmallVector<Value> source;
        for (auto [index, offset, stride] : llvm::zip_equal(indices, offsets, strides))
          source.push_back(
              arith::AddIOp::create(b, offset, arith::MulIOp::create(b, index, stride)));
        return extractStored(b, input, source);
      });
  ctx.set(0, result.value);
}

static LogicalResult lowerSlice(LoweringContext &ctx) {
  // The same expressions as inference made: facts remember derived sizes.
  InferContext infer(ctx.getNode(), ctx.facts);
  if (hasOpenAxes(infer)) {
    lowerOpenSlice(ctx);
    return success();
  }
  auto plan = planSlice(infer);
  if (failed(plan))
    return failure();
  Dims dims(ctx.resultDims(0));
  ctx.set(0, takeSlice(ctx, ctx.get(0), *plan, dims).value);
  return success();
}

//===----------------------------------------------------------------------===//
// Split
//===----------------------------------------------------------------------===//

/// Whether the number of sizes in the split input is unknown: it must be that of
/// the outputs.
static bool hasOpenSplit(InferContext &ctx) {
  return ctx.hasInput(1) && ctx.rank(1) == 1 && !constantValue(ctx.dim(1, 0));
}

/// The sizes of the parts, as given or computed.
static FailureOr<Dims> splitSizes(InferContext &ctx, int64_t axis) {
  ShapeFacts &facts = ctx.facts;
  AffineExpr dim = ctx.dim(0, axis);
  int64_t count = ctx.numOutputs();
  Dims sizes;
  if (hasOpenSplit(ctx)) {
    if (failed(ctx.requireInteger(1)))
      return failure();
    return Dims(count);
  }
  if (ctx.hasInput(1) || ctx.getInts("split")) {
    FailureOr<Dims> given = sliceInput(ctx, 1, "split", "split");
    if (failed(given))
      return failure();
    if (ctx.hasAttr("num_outputs"))
      return ctx.error("has both 'split' and 'num_outputs', expected one of them");
    if (static_cast<int64_t>(given->size()) != count)
      return ctx.error("split has " + Twine(given->size()) + " sizes for " + Twine(count) +
                       " outputs");
    AffineExpr sum = facts.constant(0);
    for (auto [i, element] : llvm::enumerate(*given)) {
      auto size = requireSize(ctx, element, "size " + Twine(i) + " of split");
      if (failed(size))
        return failure();
      sizes.push_back(*size);
      sum = facts.add(sum, *size);
    }
    if (sum &&
        failed(ctx.requireEqual(sum, dim, "the sum of split and the size of axis " + Twine(axis))))
      return failure();
    return sizes;
  }
  if (ctx.hasAttr("num_outputs")) {
    if (ctx.getInt("num_outputs", 0) != count)
      return ctx.error("'num_outputs' is " + Twine(ctx.getInt("num_outputs", 0)) +
                       ", but the node has " + Twine(count) + " outputs");
  } else if (auto size = constantValue(dim); size && *size % count != 0) {
    return ctx.error("axis " + Twine(axis) + " of size " + Twine(*size) + " does not split into " +
                     Twine(count) + " equal parts");
  }
  AffineExpr parts = facts.constant(count);
  bool mayBeUneven = ctx.hasAttr("num_outputs");
  // If the size divides, sums and quotients cancel and no part is derived.
  AffineExpr chunk = facts.div(dim, parts);
  if (mayBeUneven && (!chunk || facts.mul(chunk, parts) != dim)) {
    chunk = facts.quotient(facts.add(dim, facts.constant(count - 1)), parts);
    AffineExpr rest = dim, zero = facts.constant(0);
    for (int64_t i = 0; i < count; ++i) {
      sizes.push_back(facts.max(facts.min(rest, chunk), zero));
      rest = facts.sub(rest, chunk);
    }
    return sizes;
  }
  return Dims(count, chunk);
}

static LogicalResult inferSplit(InferContext &ctx) {
  auto axis = ctx.normalizeAxis(ctx.getInt("axis", 0), ctx.rank(0));
  if (failed(axis))
    return failure();
  FailureOr<Dims> sizes = splitSizes(ctx, *axis);
  if (failed(sizes))
    return failure();
  Dims input(ctx.dims(0));
  std::optional<Dims> known;
  if (auto elements = ctx.elements(0))
    known = Dims(*elements);
  auto constants = constantValues(*sizes);
  int64_t offset = 0;
  for (auto [i, size] : llvm::enumerate(*sizes)) {
    Dims dims = input;
    dims[*axis] = size;
    ctx.setResult(i, ctx.elementType(0), dims);
    if (known && constants && dims.size() == 1) {
      ctx.setElements(i, ArrayRef<AffineExpr>(*known).slice(offset, (*constants)[i]));
      offset += (*constants)[i];
    }
  }
  return success();
}

static LogicalResult lowerSplit(LoweringContext &ctx) {
  InferContext infer(ctx.getNode(), ctx.facts);
  auto axis = infer.normalizeAxis(ctx.getInt("axis", 0), ctx.rank(0));
  if (failed(axis))
    return failure();
  FailureOr<Dims> sizes = splitSizes(infer, *axis);
  if (failed(sizes))
    return failure();
  TensorValue input = ctx.get(0);
  AffineExpr dim = input.dims[*axis];
  if (hasOpenSplit(infer)) {
    TensorValue given = ctx.cast(ctx.get(1), ctx.b.getI64Type());
    ctx.checkEqual(given.dims[0], ctx.facts.constant(sizes->size()),
                   "the number of sizes in split and of outputs");
    for (auto [i, size] : llvm::enumerate(*sizes)) {
      Value value = extractIndex(ctx.b, given, ctx.index(i));
      ctx.check(arith::CmpIOp::create(ctx.b, arith::CmpIPredicate::sge, value, ctx.index(0)),
                "size " + Twine(i) + " of split is {0}, expected a size", value);
      size = ctx.hasOutput(i) ? ctx.resultDims(i)[*axis] : ctx.facts.fresh();
      ctx.bind(size, value);
    }
  } else if (ctx.hasInput(1) && ctx.elements(1))
    for (auto [i, element] : llvm::enumerate(Dims(*ctx.elements(1))))
      checkSize(ctx, element, "size " + Twine(i) + " of split");
  // Offsets are checked one by one: a sum of arbitrary sizes could overflow.
  AffineExpr offset = ctx.facts.constant(0);
  for (auto [i, size] : llvm::enumerate(*sizes)) {
    AffineExpr end = ctx.facts.add(offset, size);
    AffineExpr room = end ? ctx.facts.sub(dim, end) : AffineExpr();
    if (!room || !ctx.facts.isNonNegative(room)) {
      Value left = ctx.b.createOrFold<arith::SubIOp>(ctx.size(dim), ctx.size(offset));
      Value want = ctx.size(size);
      ctx.check(arith::CmpIOp::create(ctx.b, arith::CmpIPredicate::sle, want, left),
                "part " + Twine(i) + " has size {0} where {1} is left of axis " + Twine(*axis),
                {want, left});
      if (!end) {
        end = ctx.facts.fresh();
        ctx.bind(end, ctx.b.createOrFold<arith::AddIOp>(ctx.size(offset), want));
      }
    }
    if (ctx.hasOutput(i)) {
      SmallVector<AxisSlice> plan;
      for (AffineExpr whole : input.dims)
        plan.push_back({ctx.facts.constant(0), whole, 1});
      plan[*axis] = {offset, size, 1};
      ctx.set(i, takeSlice(ctx, input, plan, Dims(ctx.resultDims(i))).value);
    }
    offset = end;
  }
  ctx.checkEqual(offset, dim, "the sum of the parts and axis " + Twine(*axis));
  return success();
}

void ssm::onnx::registerSliceOperators(OperatorTable &table) {
  static constexpr AttrSpec kSlice1[] = {{"starts", 'I', true}, {"ends", 'I', true}, {"axes", 'I'}};
  static constexpr AttrSpec kSplit2[] = {{"axis", 'i'}, {"split", 'I'}};
  static constexpr AttrSpec kSplit13[] = {{"axis", 'i'}};
  static constexpr AttrSpec kSplit18[] = {{"axis", 'i'}, {"num_outputs", 'i'}};
  table.add({"", "Slice", 1, 1, 1, 1, 1, kSlice1, inferSlice, lowerSlice});
  table.add({"", "Slice", 10, 3, 5, 1, 1, {}, inferSlice, lowerSlice});
  table.add({"", "Split", 2, 1, 1, 1, kAnyNumber, kSplit2, inferSplit, lowerSplit});
  table.add({"", "Split", 13, 1, 2, 1, kAnyNumber, kSplit13, inferSplit, lowerSplit});
  table.add({"", "Split", 18, 1, 2, 1, kAnyNumber, kSplit18, inferSplit, lowerSplit});
}
