//===- Pad.cpp - Pad, CenterCropPad ---------------------------------------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "lib/Import/Operators/Elementwise.h"
#include "lib/Import/Operators/Layout.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

using namespace mlir;
using namespace ssm;
using namespace ssm::onnx;

/// No pad that memory could hold is larger.
static constexpr int64_t kMaxPad = int64_t(1) << 38;

namespace {
/// What is added to one axis at its ends; negative amounts are taken away.
struct AxisPad {
  AffineExpr begin, end;
};
} // namespace

//===----------------------------------------------------------------------===//
// Both operators
//===----------------------------------------------------------------------===//

static LogicalResult setPadResult(InferContext &ctx, ArrayRef<AxisPad> pads) {
  ShapeFacts &facts = ctx.facts;
  Dims dims;
  for (auto [axis, pad] : llvm::enumerate(pads)) {
    AffineExpr total = facts.add(facts.add(ctx.dim(0, axis), pad.begin), pad.end);
    if (auto size = constantValue(total); size && *size < 0)
      return ctx.error("the pads of axis " + Twine(axis) + " leave a size of " + Twine(*size));
    dims.push_back(facts.max(total, facts.constant(0)));
  }
  ctx.setResult(0, ctx.elementType(0), dims);
  return success();
}

/// The index into an axis of `size` elements that lies `at` places from its start,
/// by the rule of `mode`.
static Value foldIndex(ImplicitLocOpBuilder &b, StringRef mode, Value at, Value size) {
  Value zero = arith::ConstantIndexOp::create(b, 0), one = arith::ConstantIndexOp::create(b, 1);
  Value last = arith::SubIOp::create(b, size, one);
  if (mode == "edge")
    return arith::MaxSIOp::create(b, arith::MinSIOp::create(b, at, last), zero);
  auto floorMod = [&](Value value, Value period) -> Value {
    Value rest = arith::RemSIOp::create(b, value, period);
    Value negative = arith::CmpIOp::create(b, arith::CmpIPredicate::slt, rest, zero);
    return arith::SelectOp::create(b, negative, arith::AddIOp::create(b, rest, period), rest);
  };
  if (mode == "wrap")
    return floorMod(at, size);
  // Reflected again and again, the axis has period 2 * (size - 1).
  Value period = arith::AddIOp::create(b, last, last);
  Value place = floorMod(at, arith::MaxSIOp::create(b, period, one));
  Value forward = arith::CmpIOp::create(b, arith::CmpIPredicate::slt, place, size);
  return arith::SelectOp::create(b, forward, place, arith::SubIOp::create(b, period, place));
}

/// Pads input 0. `fill` is the compute-typed element of mode "constant".
static void lowerPads(LoweringContext &ctx, ArrayRef<AxisPad> pads, StringRef mode, Value fill) {
  ShapeFacts &facts = ctx.facts;
  auto &b = ctx.b;
  TensorValue input = ctx.get(0);
  Dims dims, core, low;
  AffineExpr zero = facts.constant(0);
  for (auto [axis, pad] : llvm::enumerate(pads)) {
    AffineExpr total = facts.add(facts.add(input.dims[axis], pad.begin), pad.end);
    dims.push_back(ctx.resultDims(0)[axis]);
    if (isa<AffineSymbolExpr>(dims.back()) && !ctx.isBound(dims.back()))
      ctx.bind(dims.back(), ctx.size(facts.max(total, zero)));
  }
  SmallVector<OpFoldResult> crop;
  bool crops = false, isEmpty = false;
  for (auto [axis, pad] : llvm::enumerate(pads)) {
    AffineExpr dim = input.dims[axis];
    AffineExpr total = facts.add(facts.add(dim, pad.begin), pad.end);
    for (AffineExpr amount : {pad.begin, pad.end}) {
      if (facts.isNonNegative(amount) || constantValue(amount))
        continue;
      Value value = ctx.size(amount);
      Value shifted = arith::AddIOp::create(b, value, ctx.index(kMaxPad));
      ctx.check(
          arith::CmpIOp::create(b, arith::CmpIPredicate::ule, shifted, ctx.index(2 * kMaxPad)),
          "a pad of axis " + Twine(axis) + " is {0}, beyond any size", value);
    }
    if (!facts.isNonNegative(total)) {
      Value size = ctx.size(total);
      ctx.check(arith::CmpIOp::create(b, arith::CmpIPredicate::sge, size, ctx.index(0)),
                "the pads of axis " + Twine(axis) + " leave a size of {0}", size);
    }
    AffineExpr cropLow = facts.max(facts.sub(zero, pad.begin), zero);
    AffineExpr cropHigh = facts.max(facts.sub(zero, pad.end), zero);
    core.push_back(facts.max(facts.sub(facts.sub(dim, cropLow), cropHigh), zero));
    low.push_back(facts.max(pad.begin, zero));
    crops |= core.back() != dim;
    isEmpty |= constantValue(core.back()) == 0;
    // Where nothing is left of the axis, any start will do.
    crop.push_back(ctx.foldedSize(facts.min(cropLow, dim)));
    if (mode != "constant" && !(constantValue(pad.begin) == 0 && constantValue(pad.end) == 0)) {
      Value size = ctx.size(core.back()), result = ctx.size(dims[axis]);
      Value some = b.createOrFold<arith::CmpIOp>(arith::CmpIPredicate::ne, size, ctx.index(0));
      Value none = b.createOrFold<arith::CmpIOp>(arith::CmpIPredicate::eq, result, ctx.index(0));
      ctx.check(b.createOrFold<arith::OrIOp>(some, none),
                "axis " + Twine(axis) + " is empty, which mode '" + mode + "' cannot pad");
    }
  }
  if (isEmpty)
    input = ctx.make(ctx.empty(core, input.type), input.type, core);
  else if (crops)
    input = ctx.slice(input, crop, core);
  if (core == dims) {
    ctx.set(0, input.value);
    return;
  }
  if (mode == "constant") {
    Value result = ctx.filled(dims, input.type, fill);
    if (!isEmpty) {
      SmallVector<OpFoldResult> offsets = ctx.sizes(low);
      SmallVector<OpFoldResult> strides(dims.size(), b.getIndexAttr(1));
      result =
          tensor::InsertSliceOp::create(b, input.value, result, offsets, ctx.sizes(core), strides);
    }
    ctx.set(0, result);
    return;
  }
  SmallVector<Value> starts = sizeValues(ctx, low), sizes = sizeValues(ctx, core);
  size_t last = dims.size() - 1;
  // The part from `first` on along the last axis, of `size` elements.
  auto part = [&](AffineExpr first, AffineExpr size, bool isCore) {
    Dims partDims(dims);
    partDims[last] = size;
    Value start = ctx.size(first);
    return generateStored(
        ctx, partDims, input.type, [&](ImplicitLocOpBuilder &b, ValueRange indices) -> Value {
          SmallVector<Value> source;
          for (size_t axis = 0; axis < dims.size(); ++axis) {
            if (core[axis] == dims[axis] || (axis == last && isCore)) {
              source.push_back(indices[axis]);
              continue;
            }
            Value at = arith::SubIOp::create(b, indices[axis], starts[axis]);
            if (axis == last)
              at = arith::AddIOp::create(b, at, start);
            source.push_back(foldIndex(b, mode, at, sizes[axis]));
          }
          return extractStored(b, input, source);
        });
  };
  if (core[last] == dims[last]) {
    ctx.set(0, part(zero, dims[last], /*isCore=*/true).value);
    return;
  }
  // What lies between the pads of the last axis is read as it lies: rows, and no gathers.
  AffineExpr high = facts.max(pads[last].end, zero);
  Value result = ctx.empty(dims, input.type);
  SmallVector<OpFoldResult> strides(dims.size(), b.getIndexAttr(1));
  auto put = [&](AffineExpr first, AffineExpr size, bool isCore) {
    if (constantValue(size) == 0)
      return;
    Dims offsets(dims.size(), zero), partDims(dims);
    offsets[last] = first;
    partDims[last] = size;
    result = tensor::InsertSliceOp::create(b, part(first, size, isCore).value, result,
                                           ctx.sizes(offsets), ctx.sizes(partDims), strides);
  };
  put(low[last], core[last], /*isCore=*/true);
  put(zero, low[last], /*isCore=*/false);
  put(facts.add(low[last], core[last]), high, /*isCore=*/false);
  ctx.set(0, result);
}

//===----------------------------------------------------------------------===//
// Pad
//===----------------------------------------------------------------------===//

static FailureOr<SmallVector<AxisPad>> planPad(InferContext &ctx) {
  int64_t rank = ctx.rank(0);
  Dims amounts;
  if (auto attr = ctx.getInts("pads")) {
    for (int64_t amount : *attr)
      amounts.push_back(ctx.facts.constant(amount));
  } else {
    auto elements = requireElements(ctx, 1, "pads");
    if (failed(elements))
      return failure();
    amounts = *elements;
  }
  SmallVector<int64_t> axes = llvm::to_vector(llvm::seq<int64_t>(0, rank));
  if (ctx.hasInput(3)) {
    auto constants = requireConstants(ctx, 3, "axes");
    if (failed(constants))
      return failure();
    auto normal = requireAxes(ctx, *constants, rank);
    if (failed(normal))
      return failure();
    axes = *normal;
  }
  if (amounts.size() != 2 * axes.size())
    return ctx.error("pads has " + Twine(amounts.size()) + " elements, expected two for each of " +
                     Twine(axes.size()) + " axes");
  for (AffineExpr amount : amounts)
    if (auto value = constantValue(amount); value && (*value > kMaxPad || *value < -kMaxPad))
      return ctx.error("a pad is " + Twine(*value) + ", beyond any size");
  AffineExpr zero = ctx.facts.constant(0);
  SmallVector<AxisPad> pads(rank, AxisPad{zero, zero});
  for (auto [i, axis] : llvm::enumerate(axes))
    pads[axis] = {amounts[i], amounts[axes.size() + i]};
  return pads;
}

static LogicalResult inferPad(InferContext &ctx) {
  StringRef mode = ctx.getString("mode", "constant");
  if (mode != "constant" && mode != "reflect" && mode != "edge" && mode != "wrap")
    return ctx.error("mode is '" + mode + "', expected constant, reflect, edge or wrap");
  if (ctx.hasInput(2) &&
      (failed(requireScalar(ctx, 2, "constant_value")) || failed(ctx.requireSameElementType(0, 2))))
    return failure();
  if (!isKnown(ctx, 3)) {
    // Any axis may be padded.
    auto amounts = requireCount(ctx, 1, "pads"), axes = requireCount(ctx, 3, "axes");
    if (failed(amounts) || failed(axes))
      return failure();
    if (*amounts != 2 * *axes)
      return ctx.error("pads has " + Twine(*amounts) + " elements, expected two for each of " +
                       Twine(*axes) + " axes");
    ctx.setResult(0, ctx.elementType(0), Dims(ctx.rank(0)));
    return success();
  }
  auto pads = planPad(ctx);
  if (failed(pads))
    return failure();
  return setPadResult(ctx, *pads);
}

/// The pads of every axis where only the run knows the axes.
static SmallVector<AxisPad> openPads(LoweringContext &ctx) {
  auto &b = ctx.b;
  Dims amounts(*ctx.elements(1));
  int64_t rank = ctx.rank(0), count = amounts.size() / 2;
  SmallVector<Value> axes = axesInput(ctx, 3, rank);
  SmallVector<AxisPad> pads;
  for (int64_t axis = 0; axis < rank; ++axis) {
    Value begin = ctx.index(0), end = ctx.index(0);
    for (int64_t i = 0; i < count; ++i) {
      Value here = isOneOf(b, axes[i], axis);
      begin = arith::SelectOp::create(b, here, ctx.size(amounts[i]), begin);
      end = arith::SelectOp::create(b, here, ctx.size(amounts[count + i]), end);
    }
    AxisPad pad = {ctx.facts.fresh(/*isSize=*/false), ctx.facts.fresh(/*isSize=*/false)};
    ctx.bind(pad.begin, begin);
    ctx.bind(pad.end, end);
    pads.push_back(pad);
  }
  return pads;
}

static LogicalResult lowerPad(LoweringContext &ctx) {
  InferContext infer(ctx.getNode(), ctx.facts);
  FailureOr<SmallVector<AxisPad>> pads;
  if (isKnown(infer, 3))
    pads = planPad(infer);
  else
    pads = openPads(ctx);
  if (failed(pads))
    return failure();
  Type compute = computeType(ctx.elementType(0));
  double value = ctx.getFloat("value", 0);
  Value fill = ctx.hasInput(2)           ? scalarInput(ctx, 2)
               : isa<FloatType>(compute) ? realConstant(ctx.b, compute, value)
                                         : intConstant(ctx.b, compute, value);
  lowerPads(ctx, *pads, ctx.getString("mode", "constant"), fill);
  return success();
}

//===----------------------------------------------------------------------===//
// CenterCropPad
//===----------------------------------------------------------------------===//

/// The sizes that the result shall have on each axis: the input's on others.
static FailureOr<Dims> planCenterCropPad(InferContext &ctx) {
  auto shape = requireElements(ctx, 1, "the shape");
  if (failed(shape))
    return failure();
  SmallVector<int64_t> axes = llvm::to_vector(llvm::seq<int64_t>(0, ctx.rank(0)));
  if (auto attr = ctx.getInts("axes")) {
    auto normal = requireAxes(ctx, *attr, ctx.rank(0));
    if (failed(normal))
      return failure();
    axes = *normal;
  }
  if (shape->size() != axes.size())
    return ctx.error("the shape has " + Twine(shape->size()) + " elements, expected one for " +
                     "each of " + Twine(axes.size()) + " axes");
  Dims dims(ctx.dims(0));
  for (auto [element, axis] : llvm::zip_equal(*shape, axes)) {
    auto size = requireSize(ctx, element, "the size of axis " + Twine(axis));
    if (failed(size))
      return failure();
    dims[axis] = *size;
  }
  return dims;
}

static LogicalResult inferCenterCropPad(InferContext &ctx) {
  auto dims = planCenterCropPad(ctx);
  if (failed(dims))
    return failure();
  ctx.setResult(0, ctx.elementType(0), *dims);
  return success();
}

static LogicalResult lowerCenterCropPad(LoweringContext &ctx) {
  InferContext infer(ctx.getNode(), ctx.facts);
  auto dims = planCenterCropPad(infer);
  if (failed(dims))
    return failure();
  auto &b = ctx.b;
  for (auto [i, element] : llvm::enumerate(Dims(*ctx.elements(1))))
    checkSize(ctx, element, "element " + Twine(i) + " of the shape");
  SmallVector<AxisPad> pads;
  for (auto [have, want] : llvm::zip_equal(Dims(ctx.dims(0)), *dims)) {
    AffineExpr difference = ctx.facts.sub(want, have);
    if (auto constant = constantValue(difference)) {
      AffineExpr begin = ctx.facts.constant(*constant / 2);
      pads.push_back({begin, ctx.facts.constant(*constant - *constant / 2)});
      continue;
    }
    // Division towards zero rounds a window's start down and a pad's start too.
    Value all = arith::SubIOp::create(b, ctx.size(want), ctx.size(have));
    Value half = arith::DivSIOp::create(b, all, ctx.index(2));
    AxisPad pad = {ctx.facts.fresh(/*isSize=*/false), ctx.facts.fresh(/*isSize=*/false)};
    ctx.bind(pad.begin, half);
    ctx.bind(pad.end, arith::SubIOp::create(b, all, half));
    pads.push_back(pad);
  }
  lowerPads(ctx, pads, "constant", zeroConstant(b, computeType(ctx.elementType(0))));
  return success();
}

void ssm::onnx::registerPadOperators(OperatorTable &table) {
  static constexpr AttrSpec kPad2[] = {{"mode", 's'}, {"pads", 'I', true}, {"value", 'f'}};
  static constexpr AttrSpec kPad11[] = {{"mode", 's'}};
  static constexpr AttrSpec kCenter[] = {{"axes", 'I'}};
  table.add({"", "Pad", 2, 1, 1, 1, 1, kPad2, inferPad, lowerPad});
  table.add({"", "Pad", 11, 2, 3, 1, 1, kPad11, inferPad, lowerPad});
  table.add({"", "Pad", 18, 2, 4, 1, 1, kPad11, inferPad, lowerPad});
  table.add({"", "CenterCropPad", 18, 2, 2, 1, 1, kCenter, inferCenterCropPad, lowerCenterCropPad});
}
