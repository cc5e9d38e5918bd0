//===- CausalConv.cpp - CausalConvWithState -------------------------------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "lib/Import/OperatorTable.h"
#include "lib/Import/Operators/Elementwise.h"
#include "lib/Import/Operators/Reductions.h"
#include "lib/Import/Operators/SequenceModels.h"
#include "mlir/Dialect/Arith/IR/Arith.h"

using namespace mlir;
using namespace ssm;
using namespace ssm::onnx;

enum Operand { kInput, kWeight, kBias, kPastState };

namespace {
struct CausalConvForm {
  AffineExpr batch, channels, length, kernel, history;
  Dims channelDims; // as the input has them: one axis unless channels come last
  bool channelsLast;
  int64_t dilation;
};
} // namespace

static FailureOr<CausalConvForm> readForm(InferContext &ctx) {
  CausalConvForm form;
  StringRef activation = ctx.getString("activation", "none");
  if (activation != "none" && activation != "silu" && activation != "swish") {
    (void)ctx.error("attribute 'activation' is '" + activation + "', expected none, silu or swish");
    return failure();
  }
  // What com.microsoft has beyond the standard and is not served, by its neutral
  // value.
  for (auto [name, neutral] :
       {std::pair("ndim", 1), std::pair("state_window", 0), std::pair("state_update_capacity", 0),
        std::pair("state_channels_last", -1), std::pair("state_length", 0),
        std::pair("input_channels", 0), std::pair("input_channel_offset", 0)})
    if (int64_t value = ctx.getInt(name, neutral); value != neutral) {
      (void)ctx.error("attribute '" + Twine(name) + "' is " + Twine(value) + ", only " +
                      Twine(neutral) + " is supported");
      return failure();
    }
  form.channelsLast = ctx.getInt("channels_last", 0) != 0;
  form.dilation = ctx.getInt("dilation", 1);
  if (form.dilation < 1 || form.dilation > (int64_t(1) << 32)) {
    (void)ctx.error("attribute 'dilation' is " + Twine(form.dilation) + ", expected 1 or more");
    return failure();
  }
  int64_t maxRank = form.channelsLast ? std::numeric_limits<int64_t>::max() : 3;
  if (failed(requireFloats(ctx, {kInput, kWeight, kBias, kPastState})) ||
      failed(requireRanks(ctx, {kInput}, 3, maxRank)) ||
      failed(requireRanks(ctx, {kWeight}, 3, 3)) || failed(requireRanks(ctx, {kBias}, 1, 1)) ||
      failed(requireRanks(ctx, {kPastState}, ctx.rank(kInput), ctx.rank(kInput))))
    return failure();
  Dims input(ctx.dims(kInput));
  form.batch = input[0];
  form.length = input[form.channelsLast ? 1 : 2];
  if (form.channelsLast)
    form.channelDims.append(input.begin() + 2, input.end());
  else
    form.channelDims.push_back(input[1]);
  form.channels = ctx.facts.product(form.channelDims);
  if (!form.channels) {
    (void)ctx.error("the number of channels is too large to tell");
    return failure();
  }
  form.kernel = ctx.dim(kWeight, 2);
  if (constantValue(form.kernel) == 0) {
    (void)ctx.error("input 1 has a kernel of size 0, expected 1 or more");
    return failure();
  }
  form.history = ctx.facts.mul(ctx.facts.sub(form.kernel, ctx.facts.constant(1)),
                               ctx.facts.constant(form.dilation));
  if (!form.history) {
    (void)ctx.error("the kernel's reach is too large");
    return failure();
  }
  if (failed(ctx.requireEqual(ctx.dim(kWeight, 0), form.channels, "channels of the weight")) ||
      failed(ctx.requireEqual(ctx.dim(kWeight, 1), ctx.facts.constant(1),
                              "size of axis 1 of the weight")))
    return failure();
  if (ctx.hasInput(kBias) &&
      failed(ctx.requireEqual(ctx.dim(kBias, 0), form.channels, "channels of the bias")))
    return failure();
  if (ctx.hasInput(kPastState)) {
    Dims want(input);
    want[form.channelsLast ? 1 : 2] = form.history;
    for (auto [axis, have, size] : llvm::enumerate(ctx.dims(kPastState), want))
      if (failed(
              ctx.requireEqual(have, size, "size of axis " + Twine(axis) + " of the past state")))
        return failure();
  }
  return form;
}

static LogicalResult inferCausalConv(InferContext &ctx) {
  FailureOr<CausalConvForm> form = readForm(ctx);
  if (failed(form))
    return failure();
  if (ctx.hasOutput(2))
    return ctx.error("output 2, captured state updates, is not supported");
  Dims dims(ctx.dims(kInput));
  ctx.setResult(0, ctx.elementType(kInput), dims);
  dims[form->channelsLast ? 1 : 2] = form->history;
  ctx.setResult(1, ctx.elementType(kInput), dims);
  return success();
}

static LogicalResult lowerCausalConv(LoweringContext &ctx) {
  ImplicitLocOpBuilder &b = ctx.b;
  InferContext reader(ctx.getNode(), ctx.facts);
  FailureOr<CausalConvForm> read = readForm(reader);
  if (failed(read))
    return failure();
  const CausalConvForm &form = *read;
  int64_t time = form.channelsLast ? 1 : 2, channel = form.channelsLast ? 2 : 1;
  auto arranged = [&](AffineExpr length) {
    Dims dims(3);
    dims[0] = form.batch;
    dims[time] = length;
    dims[channel] = form.channels;
    return dims;
  };
  TensorValue input = ctx.reshape(ctx.get(kInput), arranged(form.length));
  TensorValue weight = withSizes(ctx, kWeight, {form.channels, ctx.facts.constant(1), form.kernel});
  TensorValue past;
  if (ctx.hasInput(kPastState)) {
    Dims dims(ctx.dims(kInput));
    dims[time] = form.history;
    past = ctx.reshape(withSizes(ctx, kPastState, dims), arranged(form.history));
  } else {
    Type compute = computeType(input.type);
    past = ctx.make(ctx.filled(arranged(form.history), input.type, floatConstant(b, compute, 0.0)),
                    input.type, arranged(form.history));
  }
  TensorValue padded = ctx.concat({past, input}, time);

  // Loops: batch, the two axes of the result, the kernel's taps.
  AffineExpr d0 = b.getAffineDimExpr(0), tap = b.getAffineDimExpr(3);
  SmallVector<AffineExpr> result = {d0, b.getAffineDimExpr(1), b.getAffineDimExpr(2)};
  SmallVector<AffineExpr> source(result);
  source[time] = source[time] + tap * form.dilation;
  auto map = [&](ArrayRef<AffineExpr> results) {
    return AffineMap::get(4, 0, results, b.getContext());
  };
  Dims loops = arranged(form.length);
  loops.push_back(form.kernel);
  Type compute = accumulatorType(input.type);
  TensorValue sum = ctx.contract(padded, weight, map(source),
                                 map({result[channel], b.getAffineConstantExpr(0), tap}),
                                 map(result), loops, compute);
  SmallVector<TensorValue> parts = {sum};
  if (ctx.hasInput(kBias)) {
    Dims dims(3, ctx.facts.constant(1));
    dims[channel] = form.channels;
    parts.push_back(ctx.reshape(withSizes(ctx, kBias, {form.channels}), dims));
  }
  bool activates = ctx.getString("activation", "none") != "none";
  TensorValue output =
      ctx.map(parts, sum.dims, input.type, [&](ImplicitLocOpBuilder &b, ValueRange args) {
        Value value = args[0];
        if (args.size() > 1)
          value = arith::AddFOp::create(b, value, args[1]);
        return activates ? swish(b, value) : value;
      });
  ctx.set(0, ctx.reshape(output, ctx.resultDims(0)).value);
  if (ctx.hasOutput(1)) {
    // A slice of nothing at the end would count as out of bounds.
    TensorValue present = past;
    if (constantValue(form.history) != 0) {
      SmallVector<OpFoldResult> offsets(3, b.getIndexAttr(0));
      offsets[time] = ctx.foldedSize(form.length);
      present = ctx.slice(padded, offsets, arranged(form.history));
    }
    ctx.set(1, ctx.reshape(present, ctx.resultDims(1)).value);
  }
  return success();
}

static constexpr AttrSpec kAttrs[] = {{"activation", 's'}};
static constexpr AttrSpec kContribAttrs[] = {
    {"activation", 's'},           {"channels_last", 'i'},  {"dilation", 'i'},
    {"input_channel_offset", 'i'}, {"input_channels", 'i'}, {"ndim", 'i'},
    {"state_channels_last", 'i'},  {"state_length", 'i'},   {"state_update_capacity", 'i'},
    {"state_window", 'i'}};

void ssm::onnx::registerCausalConvOperators(OperatorTable &table) {
  table.add({"", "CausalConvWithState", 27, 2, 4, 1, 2, kAttrs, inferCausalConv, lowerCausalConv});
  table.add({"com.microsoft", "CausalConvWithState", 1, 2, 4, 1, 3, kContribAttrs, inferCausalConv,
             lowerCausalConv});
}
