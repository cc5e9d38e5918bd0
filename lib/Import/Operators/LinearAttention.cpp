//===- LinearAttention.cpp - LinearAttention ------------------------------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// One ssm.scan over time with the state in f32. Heads stay split in all tensors so
// that sharing is broadcasting: keys have N heads, each for R of the key/value
// heads; queries are G heads by each key/value head, or (in com.microsoft) each
// query head serves several key/value heads.
//
//===----------------------------------------------------------------------===//

#include "dialects/SSM/SSMOps.h"
#include "lib/Import/OperatorTable.h"
#include "lib/Import/Operators/Reductions.h"
#include "lib/Import/Operators/SequenceModels.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

using namespace mlir;
using namespace ssm;
using namespace ssm::onnx;

enum Operand { kQuery, kKey, kValue, kPastState, kDecay, kBeta };

namespace {
struct LinearAttentionForm {
  AffineExpr batch, length, keySize, valueSize;
  int64_t queryHeads, stateHeads, keyHeads;
  bool gated, delta;       // what the rule uses
  AffineExpr decaySize;    // decays of one head: the key size or 1
  bool sharedBeta = false; // one beta for all heads; if unknown, made one for each
};
} // namespace

static FailureOr<LinearAttentionForm> readForm(InferContext &ctx) {
  LinearAttentionForm form;
  bool standard = ctx.getNode().getDomain().value_or("").empty();
  StringRef rule = ctx.getString("update_rule", "gated_delta");
  if (rule != "linear" && rule != "gated" && rule != "delta" && rule != "gated_delta") {
    (void)ctx.error("attribute 'update_rule' is '" + rule +
                    "', expected linear, gated, delta or gated_delta");
    return failure();
  }
  form.gated = rule == "gated" || rule == "gated_delta";
  form.delta = rule == "delta" || rule == "gated_delta";
  for (auto [needed, operand, name] :
       {std::tuple(form.gated, kDecay, "decay"), std::tuple(form.delta, kBeta, "beta")}) {
    if (needed && !ctx.hasInput(operand)) {
      (void)ctx.error("update rule '" + rule + "' needs the input '" + name + "'");
      return failure();
    }
    if (standard && !needed && ctx.hasInput(operand)) {
      (void)ctx.error("update rule '" + rule + "' takes no input '" + name + "'");
      return failure();
    }
  }
  if (int64_t window = ctx.getInt("state_window", 0)) {
    (void)ctx.error("attribute 'state_window' is " + Twine(window) +
                    ": windows of states are not supported");
    return failure();
  }
  if (failed(requireFloats(ctx, {kQuery, kKey, kValue, kPastState, kDecay, kBeta})) ||
      failed(requireRanks(ctx, {kQuery, kKey, kValue, kDecay, kBeta}, 3, 3)) ||
      failed(requireRanks(ctx, {kPastState}, 4, 4)))
    return failure();

  form.queryHeads = ctx.getInt("q_num_heads", 0);
  form.stateHeads = ctx.getInt("kv_num_heads", 0);
  int64_t query = form.queryHeads, state = form.stateHeads;
  bool fits = query > 0 && state > 0 && (query % state == 0 || (!standard && state % query == 0));
  if (!fits) {
    (void)ctx.error("attribute 'q_num_heads' is " + Twine(query) +
                    ", expected a positive multiple of 'kv_num_heads', which is " + Twine(state));
    return failure();
  }

  form.batch = ctx.dim(kQuery, 0);
  form.length = ctx.dim(kQuery, 1);
  for (unsigned i : {kKey, kValue, kDecay, kBeta}) {
    if (!ctx.hasInput(i))
      continue;
    auto batch = mergeSizes(ctx, form.batch, ctx.dim(i, 0), "batch size of input " + Twine(i));
    if (failed(batch))
      return failure();
    auto length = mergeSizes(ctx, form.length, ctx.dim(i, 1), "length of input " + Twine(i));
    if (failed(length))
      return failure();
    form.batch = *batch;
    form.length = *length;
  }
  auto keySize = inferQuotient(ctx, ctx.dim(kQuery, 2), query, "last size of the query");
  auto valueSize = inferQuotient(ctx, ctx.dim(kValue, 2), state, "last size of the value");
  if (failed(keySize) || failed(valueSize))
    return failure();
  form.keySize = *keySize;
  form.valueSize = *valueSize;

  // Keys may be shared by several heads of the state, too.
  form.keyHeads = state;
  auto keyWidth = constantValue(ctx.dim(kKey, 2)), size = constantValue(form.keySize);
  if (keyWidth && size) {
    int64_t heads = *size > 0 ? *keyWidth / *size : state;
    bool whole = heads * *size == *keyWidth && heads > 0 && state % heads == 0;
    if (!whole || (standard && heads != state)) {
      (void)ctx.error("last size of the key is " + Twine(*keyWidth) + ", expected " +
                      Twine(state * *size) + ", 'kv_num_heads' times the key size");
      return failure();
    }
    form.keyHeads = heads;
  } else if (keyWidth && *keyWidth % state == 0) {
    form.keySize = ctx.facts.constant(*keyWidth / state);
  }
  if (form.gated) {
    auto decays = inferQuotient(ctx, ctx.dim(kDecay, 2), state, "last size of the decay");
    if (failed(decays))
      return failure();
    form.decaySize = *decays;
    if (constantValue(*decays) != 1 &&
        failed(ctx.requireEqual(
            *decays, form.keySize,
            "last size of the decay, neither 'kv_num_heads' nor that times the key size")))
      return failure();
    if (constantValue(*decays) && constantValue(*decays) != 1)
      form.decaySize = form.keySize;
  }
  if (form.delta) {
    AffineExpr width = ctx.dim(kBeta, 2);
    form.sharedBeta = constantValue(width) == 1 && state != 1;
    if (!form.sharedBeta && constantValue(width) &&
        failed(ctx.requireEqual(width, ctx.facts.constant(state),
                                "last size of beta, neither "
                                "'kv_num_heads' nor 1")))
      return failure();
  }
  if (ctx.hasInput(kPastState)) {
    AffineExpr want[] = {form.batch, ctx.facts.constant(state), form.keySize, form.valueSize};
    for (auto [axis, have, size] : llvm::enumerate(ctx.dims(kPastState), want))
      if (failed(
              ctx.requireEqual(have, size, "size of axis " + Twine(axis) + " of the past state")))
        return failure();
  }
  return form;
}

static LogicalResult inferLinearAttention(InferContext &ctx) {
  FailureOr<LinearAttentionForm> form = readForm(ctx);
  if (failed(form))
    return failure();
  int64_t heads = std::max(form->queryHeads, form->stateHeads);
  ctx.setResult(
      0, ctx.elementType(kQuery),
      {form->batch, form->length, ctx.facts.mul(form->valueSize, ctx.facts.constant(heads))});
  ctx.setResult(
      1, ctx.elementType(ctx.hasInput(kPastState) ? kPastState : kQuery),
      {form->batch, ctx.facts.constant(form->stateHeads), form->keySize, form->valueSize});
  return success();
}

namespace {
/// Builds the step of the recurrence. Sizes inside a step, heads split:
/// query [B, A, Gq, K]; key [B, N, 1, K, 1]; value [B, N, R, 1, V];
/// decay [B, N, R, K or 1, 1]; beta [B, N, R or 1, 1, 1]; state [B, N, R, K, V].
struct StepBuilder {
  LoweringContext &ctx;
  const LinearAttentionForm &form;
  Type compute;
  Dims stateDims, readDims; // the latter [B, A, Gs, K, V]
  AffineExpr queriesPerState;
  Value scale;

  AffineExpr one() const { return ctx.facts.constant(1); }

  /// The sum over the key dimension of state and vector: [B, N, R, 1, V].
  TensorValue retrieve(const TensorValue &state, const TensorValue &key) {
    ImplicitLocOpBuilder &b = ctx.b;
    AffineExpr d[5], zero = b.getAffineConstantExpr(0);
    for (auto [i, expr] : llvm::enumerate(d))
      expr = b.getAffineDimExpr(i); // batch, N, R, V, K
    auto map = [&](ArrayRef<AffineExpr> results) {
      return AffineMap::get(5, 0, results, b.getContext());
    };
    AffineExpr keyR = constantValue(key.dims[2]) == 1 ? zero : d[2];
    Dims loops = {stateDims[0], stateDims[1], stateDims[2], stateDims[4], stateDims[3]};
    TensorValue sum = ctx.contract(state, key, map({d[0], d[1], d[2], d[4], d[3]}),
                                   map({d[0], d[1], keyR, d[4], zero}),
                                   map({d[0], d[1], d[2], d[3]}), loops, compute);
    return ctx.reshape(sum, {stateDims[0], stateDims[1], stateDims[2], one(), stateDims[4]});
  }

  /// scale * query^T state: [B, A, Gq, Gs, V] of element type `type`.
  TensorValue read(const TensorValue &query, const TensorValue &state, Type type) {
    ImplicitLocOpBuilder &b = ctx.b;
    TensorValue split = ctx.reshape(state, readDims);
    AffineExpr d[6];
    for (auto [i, expr] : llvm::enumerate(d))
      expr = b.getAffineDimExpr(i); // batch, A, Gq, Gs, V, K
    auto map = [&](ArrayRef<AffineExpr> results) {
      return AffineMap::get(6, 0, results, b.getContext());
    };
    Dims loops = {readDims[0], readDims[1], queriesPerState, readDims[2], readDims[4], readDims[3]};
    TensorValue sum = ctx.contract(query, split, map({d[0], d[1], d[2], d[5]}),
                                   map({d[0], d[1], d[3], d[5], d[4]}),
                                   map({d[0], d[1], d[2], d[3], d[4]}), loops, compute);
    return ctx.map({sum}, sum.dims, type, [&](ImplicitLocOpBuilder &b, ValueRange args) {
      return Value(arith::MulFOp::create(b, args[0], scale));
    });
  }

  /// The state after the step.
  TensorValue update(const TensorValue &state, TensorValue key, TensorValue value,
                     const TensorValue &decay, const TensorValue &beta) {
    auto multiply = [](ImplicitLocOpBuilder &b, ValueRange args) -> Value {
      return arith::MulFOp::create(b, args[0], args[1]);
    };
    TensorValue factor;
    if (form.gated)
      factor = ctx.map({decay}, decay.dims, compute, [](ImplicitLocOpBuilder &b, ValueRange args) {
        return Value(math::ExpOp::create(b, args[0]));
      });
    if (form.delta) {
      TensorValue seen = key;
      if (form.gated)
        seen =
            ctx.map({key, factor}, {stateDims[0], stateDims[1], stateDims[2], stateDims[3], one()},
                    compute, multiply);
      TensorValue old = retrieve(state, seen);
      value = ctx.map({value, old, beta}, old.dims, compute,
                      [](ImplicitLocOpBuilder &b, ValueRange args) -> Value {
                        Value error = arith::SubFOp::create(b, args[0], args[1]);
                        return arith::MulFOp::create(b, args[2], error);
                      });
    }
    SmallVector<TensorValue> inputs = {state, key, value};
    if (form.gated)
      inputs.push_back(factor);
    return ctx.map(
        inputs, stateDims, compute, [&](ImplicitLocOpBuilder &b, ValueRange args) -> Value {
          Value kept = form.gated ? Value(arith::MulFOp::create(b, args[0], args[3])) : args[0];
          return arith::AddFOp::create(b, kept, arith::MulFOp::create(b, args[1], args[2]));
        });
  }
};
} // namespace

static LogicalResult lowerLinearAttention(LoweringContext &ctx) {
  ImplicitLocOpBuilder &b = ctx.b;
  ShapeFacts &facts = ctx.facts;
  InferContext reader(ctx.getNode(), facts);
  FailureOr<LinearAttentionForm> read = readForm(reader);
  if (failed(read))
    return failure();
  LinearAttentionForm form = *read;
  auto number = [&](int64_t value) { return facts.constant(value); };
  AffineExpr one = number(1), B = form.batch, T = form.length;
  exactQuotient(ctx, ctx.dims(kQuery)[2], number(form.queryHeads), "last size of the query");
  exactQuotient(ctx, ctx.dims(kValue)[2], number(form.stateHeads), "last size of the value");

  int64_t shared = std::min(form.queryHeads, form.stateHeads);
  AffineExpr K = form.keySize, V = form.valueSize, N = number(form.keyHeads),
             R = number(form.stateHeads / form.keyHeads), A = number(shared);
  AffineExpr Gq = number(form.queryHeads / shared), Gs = number(form.stateHeads / shared);
  // Checked against the packed sizes, then split.
  auto split = [&](unsigned i, AffineExpr packed, ArrayRef<AffineExpr> heads) {
    TensorValue input = withSizes(ctx, i, {B, T, packed});
    Dims dims = {B, T};
    dims.append(heads.begin(), heads.end());
    return ctx.reshape(input, dims);
  };
  SmallVector<TensorValue> inputs = {
      split(kQuery, facts.mul(K, number(form.queryHeads)), {A, Gq, K}),
      split(kKey, facts.mul(K, N), {N, one, K, one}),
      split(kValue, facts.mul(V, number(form.stateHeads)), {N, R, one, V})};
  if (form.gated) {
    AffineExpr heads = number(form.stateHeads);
    exactQuotient(ctx, ctx.dims(kDecay)[2], heads, "last size of the decay");
    bool known = constantValue(form.decaySize) || form.decaySize == K;
    inputs.push_back(split(kDecay, known ? facts.mul(form.decaySize, heads) : ctx.dims(kDecay)[2],
                           {N, R, form.decaySize, one}));
  }
  if (form.delta && form.sharedBeta) {
    inputs.push_back(split(kBeta, one, {one, one, one, one}));
  } else if (form.delta) {
    Dims packed = {B, T, number(form.stateHeads)};
    TensorValue beta = ctx.expand(withSizes(ctx, kBeta, {B, T, ctx.dims(kBeta)[2]}), packed);
    inputs.push_back(ctx.reshape(beta, {B, T, N, R, one, one}));
  }

  Type type = ctx.elementType(kQuery), compute = accumulatorType(type);
  StepBuilder step{ctx, form, compute, {B, N, R, K, V}, {B, A, Gs, K, V}, Gq, Value()};
  double scale = ctx.getFloat("scale", 0.0);
  if (scale != 0.0)
    step.scale = floatConstant(b, compute, scale);
  else
    step.scale = arith::DivFOp::create(b, floatConstant(b, compute, 1.0),
                                       math::SqrtOp::create(b, floatSize(ctx, K, compute)));

  TensorValue state;
  if (ctx.hasInput(kPastState))
    state = ctx.reshape(
        ctx.cast(withSizes(ctx, kPastState, {B, number(form.stateHeads), K, V}), compute),
        step.stateDims);
  else
    state = ctx.make(ctx.filled(step.stateDims, compute, floatConstant(b, compute, 0.0)), compute,
                     step.stateDims);
  Dims outDims = {B, T, A, Gq, Gs, V};
  Value out = ctx.empty(outDims, type);

  SmallVector<Value> sources;
  SmallVector<Type> argTypes = {state.value.getType()};
  for (const TensorValue &input : inputs) {
    sources.push_back(input.value);
    auto inputType = cast<RankedTensorType>(input.value.getType());
    SmallVector<int64_t> shape(inputType.getShape());
    shape.erase(shape.begin() + 1);
    argTypes.push_back(RankedTensorType::get(shape, inputType.getElementType()));
  }
  SmallVector<int64_t> inputAxes(inputs.size(), 1);
  SmallVector<bool> inputReversed(inputs.size(), false);
  auto scan = ScanOp::create(b, TypeRange{state.value.getType(), out.getType()}, ctx.size(T),
                             state.value, sources, out, inputAxes, ArrayRef<int64_t>{1},
                             inputReversed, ArrayRef<bool>{false});
  {
    OpBuilder::InsertionGuard guard(b);
    SmallVector<Location> locs(argTypes.size(), b.getLoc());
    Block *block = b.createBlock(&scan.getBody(), {}, argTypes, locs);
    TensorValue now = ctx.make(block->getArgument(0), compute, step.stateDims);
    SmallVector<TensorValue> slices;
    for (auto [i, input] : llvm::enumerate(inputs)) {
      Dims dims(input.dims);
      dims.erase(dims.begin() + 1);
      slices.push_back(ctx.make(block->getArgument(i + 1), input.type, dims));
    }
    TensorValue decay = form.gated ? slices[3] : TensorValue();
    TensorValue beta = form.delta ? slices.back() : TensorValue();
    TensorValue next = step.update(now, slices[1], slices[2], decay, beta);
    TensorValue result = step.read(slices[0], next, type);
    ssm::YieldOp::create(b, ValueRange{next.value, result.value});
  }
  TensorValue output = ctx.make(scan.getResult(1), type, outDims);
  ctx.set(0, ctx.reshape(output, ctx.resultDims(0)).value);
  if (ctx.hasOutput(1)) {
    TensorValue last = ctx.make(scan.getResult(0), compute, step.stateDims);
    ctx.set(1, ctx.reshape(ctx.cast(last, ctx.resultElementType(1)), ctx.resultDims(1)).value);
  }
  return success();
}

static constexpr AttrSpec kAttrs[] = {{"chunk_size", 'i'},
                                      {"kv_num_heads", 'i', true},
                                      {"q_num_heads", 'i', true},
                                      {"scale", 'f'},
                                      {"update_rule", 's'}};
static constexpr AttrSpec kContribAttrs[] = {
    {"chunk_size", 'i'}, {"kv_num_heads", 'i', true}, {"q_num_heads", 'i', true},
    {"scale", 'f'},      {"state_window", 'i'},       {"update_rule", 's'}};

void ssm::onnx::registerLinearAttentionOperators(OperatorTable &table) {
  table.add(
      {"", "LinearAttention", 27, 3, 6, 1, 2, kAttrs, inferLinearAttention, lowerLinearAttention});
  table.add({"com.microsoft", "LinearAttention", 1, 3, 6, 1, 2, kContribAttrs, inferLinearAttention,
             lowerLinearAttention});
}
