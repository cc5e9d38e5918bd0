//===- ContractionConv.cpp - Conv, ConvInteger ----------------------------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Any number of spatial axes. The input is padded with zeros where there are pads;
// the rest is one contraction whose input is read at output * stride + tap * dilation.
//
//===----------------------------------------------------------------------===//

#include "lib/Import/Operators/Contraction.h"
#include "lib/Import/Operators/Elementwise.h"

#include "mlir/Dialect/Tensor/IR/Tensor.h"

using namespace mlir;
using namespace ssm;
using namespace ssm::onnx;

namespace {
enum class AutoPad { NotSet, Valid, SameUpper, SameLower };

/// The attributes of a node, complete.
struct ConvForm {
  int64_t numSpatial;
  int64_t group;
  AutoPad autoPad;
  SmallVector<int64_t> strides, dilations, begins, ends;
};
} // namespace

static bool isSame(AutoPad autoPad) {
  return autoPad == AutoPad::SameUpper || autoPad == AutoPad::SameLower;
}

static std::optional<AutoPad> parseAutoPad(StringRef text) {
  if (text == "NOTSET" || text.empty())
    return AutoPad::NotSet;
  if (text == "VALID")
    return AutoPad::Valid;
  if (text == "SAME_UPPER")
    return AutoPad::SameUpper;
  if (text == "SAME_LOWER")
    return AutoPad::SameLower;
  return std::nullopt;
}

/// Reads the attributes of a node that inferConv accepted or is about to judge.
static ConvForm readForm(NodeReader &node) {
  ConvForm form;
  form.numSpatial = node.rank(0) - 2;
  form.group = node.getInt("group", 1);
  form.autoPad = parseAutoPad(node.getString("auto_pad", "NOTSET")).value_or(AutoPad::NotSet);
  SmallVector<int64_t> ones(form.numSpatial, 1), zeros(2 * form.numSpatial, 0);
  form.strides = node.getInts("strides").value_or(ones);
  form.dilations = node.getInts("dilations").value_or(ones);
  SmallVector<int64_t> pads = node.getInts("pads").value_or(zeros);
  if (form.autoPad != AutoPad::NotSet)
    pads = zeros;
  size_t half = pads.size() / 2;
  form.begins.assign(pads.begin(), pads.begin() + half);
  form.ends.assign(pads.begin() + half, pads.end());
  return form;
}

/// Sizes and attributes above this are nonsense; below it, sums of products of a few
/// of them with sizes stay far from 64 bits.
static constexpr int64_t kMaxAttribute = int64_t(1) << 31;

static LogicalResult checkForm(InferContext &ctx) {
  int64_t numSpatial = ctx.rank(0) - 2;
  auto checkInts = [&](StringRef name, int64_t count, int64_t least) -> LogicalResult {
    auto values = ctx.getInts(name);
    if (!values)
      return success();
    if (static_cast<int64_t>(values->size()) != count)
      return ctx.error("attribute '" + name + "' has " + Twine(values->size()) +
                       " numbers, expected " + Twine(count));
    for (int64_t value : *values)
      if (value < least || value > kMaxAttribute)
        return ctx.error("attribute '" + name + "' has " + Twine(value) + ", expected " +
                         Twine(least) + " to " + Twine(kMaxAttribute));
    return success();
  };
  if (failed(checkInts("strides", numSpatial, 1)) ||
      failed(checkInts("dilations", numSpatial, 1)) ||
      failed(checkInts("kernel_shape", numSpatial, 1)) ||
      failed(checkInts("pads", 2 * numSpatial, 0)))
    return failure();
  int64_t group = ctx.getInt("group", 1);
  if (group < 1 || group > kMaxAttribute)
    return ctx.error("attribute 'group' is " + Twine(group) + ", expected 1 or more");
  StringRef autoPad = ctx.getString("auto_pad", "NOTSET");
  std::optional<AutoPad> kind = parseAutoPad(autoPad);
  if (!kind)
    return ctx.error("attribute 'auto_pad' is '" + autoPad +
                     "', expected NOTSET, SAME_UPPER, SAME_LOWER or VALID");
  auto pads = ctx.getInts("pads");
  if (*kind != AutoPad::NotSet && pads && llvm::any_of(*pads, [](int64_t pad) { return pad != 0; }))
    return ctx.error("has attribute 'pads' and 'auto_pad' " + autoPad + ", expected one of them");
  return success();
}

/// Input positions that one output position spans: (kernel - 1) * dilation + 1.
static AffineExpr spanOf(const ShapeFacts &facts, AffineExpr kernel, int64_t dilation) {
  AffineExpr one = facts.constant(1);
  return facts.add(facts.mul(facts.sub(kernel, one), facts.constant(dilation)), one);
}

/// What the output size is the floor of, times the stride: for explicit pads
/// size + pads - span + stride, for SAME size + stride - 1. Null if it overflows.
static AffineExpr stridedSize(const ShapeFacts &facts, const ConvForm &form, int64_t axis,
                              AffineExpr size, AffineExpr kernel) {
  AffineExpr stride = facts.constant(form.strides[axis]);
  if (isSame(form.autoPad))
    return facts.sub(facts.add(size, stride), facts.constant(1));
  AffineExpr padded = facts.add(size, facts.constant(form.begins[axis] + form.ends[axis]));
  AffineExpr span = spanOf(facts, kernel, form.dilations[axis]);
  return facts.add(facts.sub(padded, span), stride);
}

/// Sizes of the convolution of inputs 0 and 1.
static LogicalResult inferSizes(InferContext &ctx, Type type) {
  // Loops and indices of more spatial axes than this are no model's.
  constexpr int64_t kMaxRank = 8;
  if (failed(ctx.requireRank(0, 3, kMaxRank)) ||
      failed(ctx.requireRank(1, ctx.rank(0), ctx.rank(0))) || failed(checkForm(ctx)))
    return failure();
  ConvForm form = readForm(ctx);
  ShapeFacts &facts = ctx.facts;
  Dims data(ctx.dims(0)), weight(ctx.dims(1));
  AffineExpr group = facts.constant(form.group);
  AffineExpr channels = facts.mul(weight[1], group);
  if (!channels)
    return ctx.error("the weight's channels times group are too many");
  if (failed(
          ctx.requireEqual(data[1], channels, "channels of input 0 and of the weight times group")))
    return failure();
  if (auto features = constantValue(weight[0]); features && *features % form.group != 0)
    return ctx.error("the weight has " + Twine(*features) +
                     " output channels, expected a multiple of group " + Twine(form.group));
  auto kernelShape = ctx.getInts("kernel_shape");
  Dims result = {data[0], weight[0]};
  for (int64_t axis = 0; axis < form.numSpatial; ++axis) {
    AffineExpr kernel = weight[2 + axis];
    if (kernelShape &&
        failed(ctx.requireEqual(facts.constant((*kernelShape)[axis]), kernel,
                                "attribute 'kernel_shape' and the weight's size of spatial axis " +
                                    Twine(axis))))
      return failure();
    if (constantValue(kernel) == 0)
      return ctx.error("the weight has size 0 on spatial axis " + Twine(axis) +
                       ", expected 1 or more");
    AffineExpr strided = stridedSize(facts, form, axis, data[2 + axis], kernel);
    if (!strided || !spanOf(facts, kernel, form.dilations[axis]))
      return ctx.error("sizes of spatial axis " + Twine(axis) + " are too large");
    if (auto known = constantValue(strided); known && *known < 0)
      return ctx.error(
          "spatial axis " + Twine(axis) + " has padded size " +
          Twine(*known - form.strides[axis] +
                constantValue(spanOf(facts, kernel, form.dilations[axis])).value_or(0)) +
          ", expected at least the kernel's span");
    AffineExpr size =
        form.strides[axis] == 1 ? strided : facts.div(strided, facts.constant(form.strides[axis]));
    // An input shorter than the kernel ends the run, with the node's name; until
    // then, while the arena is planned, its output is empty.
    if (size && !facts.isNonNegative(size))
      size = facts.max(size, facts.constant(0));
    // Null where only the run can tell; setResult makes a symbol of it.
    result.push_back(size);
  }
  ctx.setResult(0, type, result);
  return success();
}

static LogicalResult inferConv(InferContext &ctx) {
  if (failed(requireReal(ctx, 0)) || failed(ctx.requireSameElementType(0, 1)) ||
      failed(inferSizes(ctx, ctx.elementType(0))))
    return failure();
  if (!ctx.hasInput(2))
    return success();
  if (failed(ctx.requireSameElementType(0, 2)) || failed(ctx.requireRank(2, 1, 1)))
    return failure();
  return ctx.requireEqual(ctx.dim(2, 0), ctx.dim(1, 0),
                          "sizes of the bias and of the weight's output channels");
}

static LogicalResult inferConvInteger(InferContext &ctx) {
  for (unsigned i : {0u, 1u}) {
    if (failed(requireByte(ctx, i)))
      return failure();
    if (ctx.hasInput(i + 2) && failed(ctx.requireSameElementType(i, i + 2)))
      return failure();
  }
  if (failed(inferSizes(ctx, IntegerType::get(ctx.getNode().getContext(), 32))))
    return failure();
  AffineExpr one = ctx.facts.constant(1);
  for (unsigned i : {2u, 3u})
    if (ctx.hasInput(i) &&
        (failed(ctx.requireRank(i, 0, 1)) ||
         (ctx.rank(i) == 1 && constantValue(ctx.dim(i, 0)) != 1 &&
          failed(ctx.requireEqual(ctx.dim(i, 0), i == 2 ? one : ctx.dim(1, 0),
                                  "sizes of input " + Twine(i) + " and of what it is for")))))
      return failure();
  return success();
}

/// Checks the output size of one spatial axis and gives it its value.
static void bindOutputSize(LoweringContext &ctx, const ConvForm &form, int64_t axis,
                           AffineExpr size, AffineExpr kernel, AffineExpr result) {
  AffineExpr strided = stridedSize(ctx.facts, form, axis, size, kernel);
  if (ctx.facts.isNonNegative(strided) && ctx.isBound(result))
    return;
  Value value = ctx.size(strided);
  if (!ctx.facts.isNonNegative(strided)) {
    Value enough = arith::CmpIOp::create(ctx.b, arith::CmpIPredicate::sge, value, ctx.index(0));
    ctx.check(enough,
              "size {0} of spatial axis " + Twine(axis) +
                  " with its pads is smaller than the kernel's span",
              {ctx.size(size)});
  }
  if (!ctx.isBound(result)) {
    Value least = ctx.b.createOrFold<arith::MaxSIOp>(value, ctx.index(0));
    ctx.bind(result, ctx.b.createOrFold<arith::DivSIOp>(least, ctx.index(form.strides[axis])));
  }
}

namespace {
/// Where the input starts in its padded form, and how long that is.
struct AxisPadding {
  OpFoldResult begin;
  AffineExpr padded;
};
} // namespace

/// SAME: just enough that every output position has its span; SAME_UPPER puts the odd
/// one at the end.
static AxisPadding samePadding(LoweringContext &ctx, const ConvForm &form, int64_t axis,
                               AffineExpr size, AffineExpr kernel, AffineExpr result) {
  ShapeFacts &facts = ctx.facts;
  bool upper = form.autoPad == AutoPad::SameUpper;
  AffineExpr span = spanOf(facts, kernel, form.dilations[axis]);
  AffineExpr stride = facts.constant(form.strides[axis]);
  AffineExpr needed =
      facts.sub(facts.add(facts.mul(facts.sub(result, facts.constant(1)), stride), span), size);
  if (auto known = needed ? constantValue(needed) : std::nullopt) {
    int64_t total = std::max<int64_t>(*known, 0);
    return {ctx.b.getIndexAttr(upper ? total / 2 : total - total / 2),
            facts.add(size, facts.constant(total))};
  }
  ImplicitLocOpBuilder &b = ctx.b;
  Value own = ctx.size(size);
  Value last = b.createOrFold<arith::SubIOp>(ctx.size(result), ctx.index(1));
  Value reach = b.createOrFold<arith::AddIOp>(
      b.createOrFold<arith::MulIOp>(last, ctx.index(form.strides[axis])), ctx.size(span));
  Value total =
      b.createOrFold<arith::MaxSIOp>(b.createOrFold<arith::SubIOp>(reach, own), ctx.index(0));
  Value half = b.createOrFold<arith::DivSIOp>(total, ctx.index(2));
  AffineExpr padded = facts.fresh();
  ctx.bind(padded, b.createOrFold<arith::AddIOp>(own, total));
  return {upper ? half : b.createOrFold<arith::SubIOp>(total, half), padded};
}

/// The input with zeros around its spatial axes.
static TensorValue padInput(LoweringContext &ctx, const ConvForm &form, const TensorValue &input,
                            ArrayRef<AffineExpr> weight, ArrayRef<AffineExpr> result) {
  Dims padded = input.dims;
  SmallVector<OpFoldResult> offsets(padded.size(), ctx.b.getIndexAttr(0));
  for (int64_t axis = 0; axis < form.numSpatial; ++axis) {
    AffineExpr &size = padded[2 + axis];
    if (isSame(form.autoPad)) {
      AxisPadding padding = samePadding(ctx, form, axis, size, weight[2 + axis], result[2 + axis]);
      offsets[2 + axis] = padding.begin;
      size = padding.padded;
      continue;
    }
    offsets[2 + axis] = ctx.b.getIndexAttr(form.begins[axis]);
    size = ctx.facts.add(size, ctx.facts.constant(form.begins[axis] + form.ends[axis]));
  }
  if (padded == input.dims)
    return input;
  Value zeros = ctx.filled(padded, input.type, zeroConstant(ctx.b, computeType(input.type)));
  // An empty slice may not start at the end, which is where it would start.
  if (llvm::any_of(input.dims, [](AffineExpr size) { return constantValue(size) == 0; }))
    return ctx.make(zeros, input.type, padded);
  SmallVector<OpFoldResult> strides(padded.size(), ctx.b.getIndexAttr(1));
  Value value = tensor::InsertSliceOp::create(ctx.b, input.value, zeros, offsets,
                                              ctx.sizes(input.dims), strides);
  return ctx.make(value, input.type, padded);
}

/// size / group, which must divide it.
static AffineExpr perGroup(LoweringContext &ctx, AffineExpr size, int64_t group) {
  AffineExpr divisor = ctx.facts.constant(group);
  AffineExpr part = ctx.facts.div(size, divisor);
  if (!part) {
    part = ctx.facts.fresh();
    ctx.bind(part, ctx.b.createOrFold<arith::DivSIOp>(ctx.size(size), ctx.index(group)));
  }
  ctx.checkEqual(ctx.facts.mul(part, divisor), size,
                 "groups times output channels of a group, and output channels");
  return part;
}

/// The sum over channels and taps, without the bias.
static TensorValue convolve(LoweringContext &ctx, const ConvForm &form, TensorValue data,
                            TensorValue weight, ArrayRef<AffineExpr> result, Type type) {
  // Loops: batch, group, feature of the group, spatial axes, then channel of the
  // group and taps. A depthwise convolution has neither features nor channels of a
  // group, a plain one has no group.
  AffineExpr features = perGroup(ctx, weight.dims[0], form.group);
  AffineExpr channels = weight.dims[1];
  bool isGrouped = form.group > 1;
  bool isDepthwise = isGrouped && constantValue(features) == 1 && constantValue(channels) == 1;
  AffineExpr group = ctx.facts.constant(form.group);
  ArrayRef<AffineExpr> spatial = ArrayRef(data.dims).drop_front(2);
  ArrayRef<AffineExpr> taps = ArrayRef(weight.dims).drop_front(2);

  auto joined = [](ArrayRef<AffineExpr> first, ArrayRef<AffineExpr> second) {
    Dims all(first);
    llvm::append_range(all, second);
    return all;
  };
  Dims loops = {result[0]};
  auto addLoop = [&](AffineExpr size) {
    loops.push_back(size);
    return ctx.b.getAffineDimExpr(loops.size() - 1);
  };
  SmallVector<AffineExpr> resultAxes = {ctx.b.getAffineDimExpr(0)};
  SmallVector<AffineExpr> dataAxes = resultAxes, weightAxes;
  if (isGrouped) {
    AffineExpr loop = addLoop(isDepthwise ? weight.dims[0] : group);
    for (auto *axes : {&resultAxes, &dataAxes, &weightAxes})
      axes->push_back(loop);
  }
  if (!isDepthwise) {
    AffineExpr loop = addLoop(features);
    resultAxes.push_back(loop);
    weightAxes.push_back(loop);
  }
  SmallVector<AffineExpr> positions;
  for (AffineExpr size : result.drop_front(2))
    positions.push_back(addLoop(size));
  llvm::append_range(resultAxes, positions);
  if (isDepthwise) {
    weightAxes.push_back(ctx.b.getAffineConstantExpr(0));
  } else {
    AffineExpr loop = addLoop(channels);
    dataAxes.push_back(loop);
    weightAxes.push_back(loop);
  }
  for (auto [axis, size] : llvm::enumerate(taps)) {
    AffineExpr tap = addLoop(size);
    weightAxes.push_back(tap);
    dataAxes.push_back(positions[axis] * form.strides[axis] + tap * form.dilations[axis]);
  }
  if (isGrouped && !isDepthwise) {
    data = ctx.reshape(data, joined({data.dims[0], group, channels}, Dims(spatial)));
    weight = ctx.reshape(weight, joined({group, features, channels}, Dims(taps)));
  }
  auto mapOf = [&](ArrayRef<AffineExpr> axes) {
    return AffineMap::get(loops.size(), 0, axes, ctx.b.getContext());
  };
  TensorValue sum = ctx.contract(data, weight, mapOf(dataAxes), mapOf(weightAxes),
                                 mapOf(resultAxes), loops, type);
  return ctx.reshape(sum, result);
}

/// What both operators do: checks sizes, pads the input with zeros.
static TensorValue checkAndPad(LoweringContext &ctx, const ConvForm &form, const TensorValue &data,
                               const TensorValue &weight, ArrayRef<AffineExpr> dims) {
  ctx.checkEqual(data.dims[1], ctx.facts.mul(weight.dims[1], ctx.facts.constant(form.group)),
                 "channels of input 0 and of the weight times group");
  auto kernelShape = ctx.getInts("kernel_shape");
  for (int64_t axis = 0; axis < form.numSpatial; ++axis) {
    AffineExpr kernel = weight.dims[2 + axis];
    if (kernelShape)
      ctx.checkEqual(ctx.facts.constant((*kernelShape)[axis]), kernel,
                     "attribute 'kernel_shape' and the weight's size");
    bindOutputSize(ctx, form, axis, data.dims[2 + axis], kernel, dims[2 + axis]);
  }
  return padInput(ctx, form, data, weight.dims, dims);
}

static LogicalResult lowerConv(LoweringContext &ctx) {
  ConvForm form = readForm(ctx);
  TensorValue weight = ctx.get(1);
  Dims dims(ctx.resultDims(0));
  TensorValue data = checkAndPad(ctx, form, ctx.get(0), weight, dims);
  Type type = ctx.resultElementType(0);
  if (!ctx.hasInput(2)) {
    ctx.set(0, convolve(ctx, form, data, weight, dims, type).value);
    return success();
  }
  TensorValue sum = convolve(ctx, form, data, weight, dims, accumulatorType(type));
  TensorValue bias = ctx.get(2);
  ctx.checkEqual(bias.dims[0], weight.dims[0],
                 "sizes of the bias and of the weight's output channels");
  Dims column(1 + form.numSpatial, ctx.facts.constant(1));
  column[0] = bias.dims[0];
  bias = ctx.reshape(bias, column);
  TensorValue result =
      ctx.map({sum, bias}, dims, type, [](ImplicitLocOpBuilder &b, ValueRange args) -> Value {
        return arith::AddFOp::create(b, args[0], args[1]);
      });
  ctx.set(0, result.value);
  return success();
}

/// Input i less its zero point in i32: pads are zeros of that.
static TensorValue centred(LoweringContext &ctx, unsigned i) {
  Type i32 = ctx.b.getI32Type();
  TensorValue input = ctx.get(i);
  if (isZeroPointOfZero(ctx, i + 2))
    return ctx.cast(input, i32);
  TensorValue zero = ctx.get(i + 2);
  // Of the weight it may be one for each output channel, the first axis.
  if (i == 1 && !zero.dims.empty()) {
    Dims column(input.dims.size(), ctx.facts.constant(1));
    column[0] = zero.dims[0];
    zero = ctx.reshape(zero, column);
  }
  return ctx.map({input, zero}, input.dims, i32,
                 [&](ImplicitLocOpBuilder &b, ValueRange args) -> Value {
                   return arith::SubIOp::create(b, widenByte(b, args[0], input.type),
                                                widenByte(b, args[1], input.type));
                 });
}

static LogicalResult lowerConvInteger(LoweringContext &ctx) {
  ConvForm form = readForm(ctx);
  Dims dims(ctx.resultDims(0));
  TensorValue weight = centred(ctx, 1);
  TensorValue data = checkAndPad(ctx, form, centred(ctx, 0), weight, dims);
  ctx.set(0, convolve(ctx, form, data, weight, dims, ctx.resultElementType(0)).value);
  return success();
}

void ssm::onnx::registerConvOperators(OperatorTable &table) {
  static constexpr AttrSpec attrs[] = {{"auto_pad", 's'},     {"dilations", 'I'}, {"group", 'i'},
                                       {"kernel_shape", 'I'}, {"pads", 'I'},      {"strides", 'I'}};
  table.add({"", "Conv", 1, 2, 3, 1, 1, attrs, inferConv, lowerConv});
  table.add({"", "ConvInteger", 10, 2, 4, 1, 1, attrs, inferConvInteger, lowerConvInteger});
}
