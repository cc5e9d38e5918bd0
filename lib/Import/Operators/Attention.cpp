//===- Attention.cpp - Attention ------------------------------------------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Scores, masks and softmax are computed in f32 (f64 for f64), the scale is applied
// to the scores. A key that is masked out counts as -inf whatever its score is; a
// row without any key gives zeros.
//
//===----------------------------------------------------------------------===//

#include "lib/Import/OperatorTable.h"
#include "lib/Import/Operators/Reductions.h"
#include "lib/Import/Operators/SequenceModels.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

using namespace mlir;
using namespace ssm;
using namespace ssm::onnx;

enum Operand { kQuery, kKey, kValue, kMask, kPastKey, kPastValue, kKeyCounts };
enum Result { kOutput, kPresentKey, kPresentValue, kScores };
/// What the fourth output holds.
enum ScoresMode { kRaw, kCapped, kMasked, kProbabilities };

namespace {
struct AttentionForm {
  bool packed; // 3-D inputs: heads in the last axis
  AffineExpr batch, queryHeads, keyHeads, queries, keys, past, total, size, valueSize;
  double softcap;
  bool causal;
  int64_t left, right; // windows; -1 is open
  int64_t scoresMode;
};
} // namespace

/// Sizes [batch, heads, length, size] of an input with heads split.
static FailureOr<Dims> splitSizes(InferContext &ctx, unsigned i, StringRef headsAttr) {
  Dims dims(ctx.dims(i));
  if (dims.size() == 4)
    return dims;
  int64_t heads = ctx.getInt(headsAttr, 0);
  if (heads < 1) {
    (void)ctx.error("attribute '" + headsAttr + "' is " + Twine(heads) +
                    ", expected 1 or more for 3-D inputs");
    return failure();
  }
  auto size = inferQuotient(ctx, dims[2], heads, "last size of input " + Twine(i));
  if (failed(size))
    return failure();
  return Dims{dims[0], ctx.facts.constant(heads), dims[1], *size};
}

static FailureOr<AttentionForm> readForm(InferContext &ctx) {
  AttentionForm form;
  form.softcap = ctx.getFloat("softcap", 0.0);
  form.causal = ctx.getInt("is_causal", 0) != 0;
  form.left = ctx.getInt("left_window_size", -1);
  form.right = ctx.getInt("right_window_size", -1);
  form.scoresMode = ctx.getInt("qk_matmul_output_mode", 0);
  if (form.softcap < 0) {
    (void)ctx.error("attribute 'softcap' is negative");
    return failure();
  }
  for (auto [name, window] :
       {std::pair("left_window_size", form.left), std::pair("right_window_size", form.right)})
    if (window < -1) {
      (void)ctx.error("attribute '" + Twine(name) + "' is " + Twine(window) +
                      ", expected -1 or more");
      return failure();
    }
  if (form.scoresMode < kRaw || form.scoresMode > kProbabilities) {
    (void)ctx.error("attribute 'qk_matmul_output_mode' is " + Twine(form.scoresMode) +
                    ", expected 0 to 3");
    return failure();
  }
  if (int64_t type = ctx.getInt("softmax_precision", 1);
      type != 1 && type != 10 && type != 11 && type != 16) {
    (void)ctx.error("attribute 'softmax_precision' is " + Twine(type) +
                    ", expected a float type: 1, 10, 11 or 16");
    return failure();
  }
  if (ctx.hasInput(kPastKey) != ctx.hasInput(kPastValue)) {
    (void)ctx.error("past_key and past_value must be given together");
    return failure();
  }
  if (ctx.hasInput(kKeyCounts) && ctx.hasInput(kPastKey)) {
    (void)ctx.error("nonpad_kv_seqlen cannot be given with past_key");
    return failure();
  }
  if (failed(requireFloats(ctx, {kQuery, kKey, kValue, kPastKey, kPastValue})) ||
      failed(requireRanks(ctx, {kQuery}, 3, 4)) ||
      failed(requireRanks(ctx, {kKey, kValue}, ctx.rank(kQuery), ctx.rank(kQuery))) ||
      failed(requireRanks(ctx, {kPastKey, kPastValue}, 4, 4)) ||
      failed(requireRanks(ctx, {kMask}, 0, 4)) || failed(requireRanks(ctx, {kKeyCounts}, 1, 1)) ||
      failed(ctx.requireSameElementType(kQuery, kKey)) ||
      (ctx.hasInput(kPastKey) && (failed(ctx.requireSameElementType(kKey, kPastKey)) ||
                                  failed(ctx.requireSameElementType(kValue, kPastValue)))) ||
      (ctx.hasInput(kKeyCounts) && failed(ctx.requireInteger(kKeyCounts))))
    return failure();

  form.packed = ctx.rank(kQuery) == 3;
  FailureOr<Dims> query = splitSizes(ctx, kQuery, "q_num_heads");
  FailureOr<Dims> key = splitSizes(ctx, kKey, "kv_num_heads");
  FailureOr<Dims> value = splitSizes(ctx, kValue, "kv_num_heads");
  if (failed(query) || failed(key) || failed(value))
    return failure();
  LogicalResult ok = success();
  auto merge = [&](AffineExpr &size, AffineExpr other, const Twine &what) {
    auto merged = mergeSizes(ctx, size, other, what);
    ok = success(succeeded(ok) && succeeded(merged));
    if (succeeded(merged))
      size = *merged;
  };
  form.batch = (*query)[0];
  form.queryHeads = (*query)[1];
  form.queries = (*query)[2];
  form.size = (*query)[3];
  form.keyHeads = (*key)[1];
  form.keys = (*key)[2];
  form.valueSize = (*value)[3];
  merge(form.batch, (*key)[0], "batch sizes of query and key");
  merge(form.batch, (*value)[0], "batch sizes of query and value");
  merge(form.keyHeads, (*value)[1], "heads of key and value");
  merge(form.keys, (*value)[2], "lengths of key and value");
  merge(form.size, (*key)[3], "sizes of heads of query and key");
  form.past = ctx.facts.constant(0);
  if (ctx.hasInput(kPastKey) && succeeded(ok)) {
    form.past = ctx.dim(kPastKey, 2);
    merge(form.past, ctx.dim(kPastValue, 2), "lengths of past key and past value");
    for (unsigned i : {kPastKey, kPastValue}) {
      merge(form.batch, ctx.dim(i, 0), "batch size of input " + Twine(i));
      merge(form.keyHeads, ctx.dim(i, 1), "heads of input " + Twine(i));
    }
    merge(form.size, ctx.dim(kPastKey, 3), "sizes of heads of key and past key");
    merge(form.valueSize, ctx.dim(kPastValue, 3), "sizes of heads of value and past value");
  }
  if (ctx.hasInput(kKeyCounts))
    merge(form.batch, ctx.dim(kKeyCounts, 0), "size of nonpad_kv_seqlen and the batch size");
  if (failed(ok))
    return failure();
  form.total = ctx.facts.add(form.past, form.keys);
  auto queryHeads = constantValue(form.queryHeads), keyHeads = constantValue(form.keyHeads);
  if (queryHeads && keyHeads &&
      (*keyHeads == 0 ? *queryHeads != 0 : *queryHeads % *keyHeads != 0)) {
    (void)ctx.error("query has " + Twine(*queryHeads) + " heads, expected a multiple of " +
                    Twine(*keyHeads) + ", the heads of the key");
    return failure();
  }
  if (ctx.hasInput(kMask)) {
    // The last axis of a mask may be short; it is not broadcast.
    Dims want = {form.batch, form.queryHeads, form.queries};
    int64_t rank = ctx.rank(kMask);
    for (int64_t axis = 0; axis + 1 < rank; ++axis) {
      AffineExpr have = ctx.dim(kMask, axis), size = want[4 - rank + axis];
      if (constantValue(have) != 1 &&
          failed(ctx.requireEqual(have, size, "size of axis " + Twine(axis) + " of the mask")))
        return failure();
    }
    auto have = rank ? constantValue(ctx.dims(kMask).back()) : std::nullopt;
    auto total = constantValue(form.total);
    if (have && total && *have > *total) {
      (void)ctx.error("the mask has " + Twine(*have) + " keys, expected at most " + Twine(*total));
      return failure();
    }
  }
  return form;
}

static LogicalResult inferAttention(InferContext &ctx) {
  FailureOr<AttentionForm> form = readForm(ctx);
  if (failed(form))
    return failure();
  Type type = ctx.elementType(kQuery), valueType = ctx.elementType(kValue);
  if (form->packed)
    ctx.setResult(kOutput, type,
                  {form->batch, form->queries, ctx.facts.mul(form->queryHeads, form->valueSize)});
  else
    ctx.setResult(kOutput, type, {form->batch, form->queryHeads, form->queries, form->valueSize});
  ctx.setResult(kPresentKey, type, {form->batch, form->keyHeads, form->total, form->size});
  ctx.setResult(kPresentValue, valueType,
                {form->batch, form->keyHeads, form->total, form->valueSize});
  ctx.setResult(kScores, type, {form->batch, form->queryHeads, form->queries, form->total});
  return success();
}

namespace {
class AttentionLowering {
public:
  AttentionLowering(LoweringContext &ctx, const AttentionForm &form)
      : ctx(ctx), b(ctx.b), facts(ctx.facts), form(form) {}

  void run();

private:
  /// A tensor and the loops its axes run over. Loops: batch, key head, query head
  /// in its group, query, key, size of the contraction or of the value.
  struct Operand {
    TensorValue tensor;
    SmallVector<unsigned> loops;
  };
  enum Loop { kBatch, kHead, kGroup, kRow, kColumn, kInner };

  void checkSizes();
  Operand query();
  Operand keysOrValues(unsigned input, unsigned pastInput, unsigned result, AffineExpr size);
  TensorValue contract(const Operand &lhs, const Operand &rhs, ArrayRef<unsigned> resultLoops,
                       AffineExpr inner, Type type);
  TensorValue paddedMask();
  Value scale();
  Value allowed(ImplicitLocOpBuilder &b, ValueRange indices, Value offset, Value count);
  TensorValue transform(const TensorValue &scores, ScoresMode upTo, Type type);

  LoweringContext &ctx;
  ImplicitLocOpBuilder &b;
  ShapeFacts &facts;
  AttentionForm form;
  AffineExpr group; // query heads for each key head
  Type compute;
  Value scaleFactor;
  TensorValue mask, counts;
};
} // namespace

void AttentionLowering::checkSizes() {
  auto check = [&](unsigned i, ArrayRef<AffineExpr> dims) {
    if (!ctx.hasInput(i))
      return;
    Dims want(dims);
    if (form.packed && i <= kValue)
      want = {dims[0], dims[2], facts.mul(dims[1], dims[3])};
    for (auto [axis, have, size] : llvm::enumerate(ctx.dims(i), want))
      ctx.checkEqual(have, size, "size of axis " + Twine(axis) + " of input " + Twine(i));
  };
  check(kQuery, {form.batch, form.queryHeads, form.queries, form.size});
  check(kKey, {form.batch, form.keyHeads, form.keys, form.size});
  check(kValue, {form.batch, form.keyHeads, form.keys, form.valueSize});
  check(kPastKey, {form.batch, form.keyHeads, form.past, form.size});
  check(kPastValue, {form.batch, form.keyHeads, form.past, form.valueSize});
  check(kKeyCounts, {form.batch});
}

AttentionLowering::Operand AttentionLowering::query() {
  if (form.packed)
    return {
        ctx.reshape(ctx.get(kQuery), {form.batch, form.queries, form.keyHeads, group, form.size}),
        {kBatch, kRow, kHead, kGroup, kInner}};
  return {ctx.reshape(ctx.get(kQuery), {form.batch, form.keyHeads, group, form.queries, form.size}),
          {kBatch, kHead, kGroup, kRow, kInner}};
}

/// The keys (or values) of the past and the input. Sets the present output.
AttentionLowering::Operand AttentionLowering::keysOrValues(unsigned input, unsigned pastInput,
                                                           unsigned result, AffineExpr size) {
  Dims split = {form.batch, form.keyHeads, form.keys, size};
  if (form.packed)
    std::swap(split[1], split[2]);
  TensorValue tensor = ctx.reshape(ctx.get(input), split);
  bool hasPast = ctx.hasInput(pastInput);
  if (form.packed && !hasPast && !ctx.hasOutput(result))
    return {tensor, {kBatch, kColumn, kHead, kInner}};
  if (form.packed)
    tensor = ctx.transpose(tensor, {0, 2, 1, 3});
  if (hasPast) {
    TensorValue past =
        ctx.reshape(ctx.get(pastInput), {form.batch, form.keyHeads, form.past, size});
    tensor = ctx.concat({past, tensor}, 2);
    tensor.dims[2] = form.total;
  }
  ctx.set(result, tensor.value);
  return {tensor, {kBatch, kHead, kColumn, kInner}};
}

TensorValue AttentionLowering::contract(const Operand &lhs, const Operand &rhs,
                                        ArrayRef<unsigned> resultLoops, AffineExpr inner,
                                        Type type) {
  auto map = [&](ArrayRef<unsigned> loops) {
    SmallVector<AffineExpr> results;
    for (unsigned loop : loops)
      results.push_back(b.getAffineDimExpr(loop));
    return AffineMap::get(6, 0, results, b.getContext());
  };
  Dims loops = {form.batch, form.keyHeads, group, form.queries, form.total, inner};
  return ctx.contract(lhs.tensor, rhs.tensor, map(lhs.loops), map(rhs.loops), map(resultLoops),
                      loops, type);
}

/// The mask with all keys: what it lacks is masked out.
TensorValue AttentionLowering::paddedMask() {
  TensorValue given = ctx.get(kMask);
  if (given.dims.empty())
    given = ctx.reshape(given, {facts.constant(1)});
  AffineExpr keys = given.dims.back();
  if (keys == form.total)
    return given;
  Value have = ctx.size(keys), want = ctx.size(form.total);
  ctx.check(arith::CmpIOp::create(b, arith::CmpIPredicate::ule, have, want),
            "the mask has {0} keys, expected at most {1}", {have, want});
  Dims dims(given.dims);
  dims.back() = form.total;
  Type type = computeType(given.type);
  Value out;
  if (isBool(given.type))
    out = arith::ConstantIntOp::create(b, type, 0);
  else if (isa<FloatType>(type))
    out = floatConstant(b, type, -std::numeric_limits<double>::infinity());
  else
    out = arith::ConstantOp::create(
        b, b.getIntegerAttr(type, isUnsigned(given.type)
                                      ? APInt::getZero(type.getIntOrFloatBitWidth())
                                      : APInt::getSignedMinValue(type.getIntOrFloatBitWidth())));
  SmallVector<OpFoldResult> zeros(dims.size(), b.getIndexAttr(0)),
      ones(dims.size(), b.getIndexAttr(1));
  Value padded = tensor::InsertSliceOp::create(b, given.value, ctx.filled(dims, given.type, out),
                                               zeros, ctx.sizes(given.dims), ones);
  return ctx.make(padded, given.type, dims);
}

Value AttentionLowering::scale() {
  if (ctx.hasAttr("scale"))
    return floatConstant(b, compute, ctx.getFloat("scale", 1.0));
  return arith::DivFOp::create(b, floatConstant(b, compute, 1.0),
                               math::SqrtOp::create(b, floatSize(ctx, form.size, compute)));
}

/// Whether causality, windows and the count of keys let a query see a key; null if
/// nothing forbids. `offset` is the position of the first query.
Value AttentionLowering::allowed(ImplicitLocOpBuilder &b, ValueRange indices, Value offset,
                                 Value count) {
  Type i64 = b.getI64Type();
  Value key = arith::IndexCastOp::create(b, i64, indices[3]);
  Value query = arith::IndexCastOp::create(b, i64, indices[2]);
  Value position = arith::AddIOp::create(b, query, offset), result;
  auto demand = [&](arith::CmpIPredicate predicate, Value left, Value right) {
    Value holds = arith::CmpIOp::create(b, predicate, left, right);
    result = result ? Value(arith::AndIOp::create(b, result, holds)) : holds;
  };
  auto moved = [&](int64_t by) -> Value {
    // Windows wider than any tensor must not overflow.
    by = std::clamp<int64_t>(by, -(int64_t(1) << 48), int64_t(1) << 48);
    return arith::AddIOp::create(b, position, arith::ConstantIntOp::create(b, i64, by));
  };
  if (form.causal)
    demand(arith::CmpIPredicate::sle, key, position);
  if (form.left >= 0)
    demand(arith::CmpIPredicate::sge, key, moved(-form.left));
  if (form.right >= 0)
    demand(arith::CmpIPredicate::sle, key, moved(form.right));
  if (count)
    demand(arith::CmpIPredicate::slt, key, count);
  return result;
}

/// Scores [batch, query heads, queries, keys] after the steps of `upTo`.
TensorValue AttentionLowering::transform(const TensorValue &scores, ScoresMode upTo, Type type) {
  SmallVector<TensorValue> inputs = {scores};
  bool masks = upTo >= kMasked;
  if (masks && mask.value)
    inputs.push_back(mask);
  Type i64 = b.getI64Type();
  Value past = arith::IndexCastOp::create(b, i64, ctx.size(form.past));
  Value queries = arith::IndexCastOp::create(b, i64, ctx.size(form.queries));
  return ctx.elementwise(
      inputs, scores.dims, {type},
      [&](ImplicitLocOpBuilder &b, ValueRange indices, ValueRange args) {
        Value value = arith::MulFOp::create(b, args[0], scaleFactor);
        if (upTo >= kCapped && form.softcap > 0) {
          Value cap = floatConstant(b, compute, form.softcap);
          value = arith::MulFOp::create(
              b, math::TanhOp::create(b, arith::DivFOp::create(b, value, cap)), cap);
        }
        if (!masks)
          return SmallVector<Value>{value};
        Value never = floatConstant(b, compute, -std::numeric_limits<double>::infinity());
        if (mask.value && isBool(mask.type)) {
          value = arith::SelectOp::create(b, args[1], value, never);
        } else if (mask.value) {
          Value out = arith::CmpFOp::create(b, arith::CmpFPredicate::OEQ, args[1], never);
          value = arith::SelectOp::create(b, out, never, arith::AddFOp::create(b, value, args[1]));
        }
        Value count, offset = past;
        if (counts.value) {
          count = tensor::ExtractOp::create(b, counts.value, ValueRange{indices[0]});
          offset = arith::SubIOp::create(b, count, queries);
        }
        if (Value seen = allowed(b, indices, offset, count))
          value = arith::SelectOp::create(b, seen, value, never);
        return SmallVector<Value>{value};
      })[0];
}

void AttentionLowering::run() {
  compute = accumulatorType(ctx.elementType(kQuery));
  checkSizes();
  group = exactQuotient(ctx, form.queryHeads, form.keyHeads, "number of query heads");
  scaleFactor = scale();
  if (ctx.hasInput(kMask)) {
    mask = paddedMask();
    if (!isBool(mask.type) && computeType(mask.type) != compute)
      mask = ctx.cast(mask, compute);
  }
  if (ctx.hasInput(kKeyCounts)) {
    Type i64 = b.getI64Type();
    counts = ctx.cast(ctx.get(kKeyCounts), i64);
    Value zero = arith::ConstantIntOp::create(b, i64, 0);
    Value total = arith::IndexCastOp::create(b, i64, ctx.size(form.total));
    for (bool least : {true, false}) {
      Value extreme =
          ctx.extract(ctx.reduce(counts, {0}, i64, least ? total : zero,
                                 [&](ImplicitLocOpBuilder &b, Value acc, Value count) -> Value {
                                   return least ? Value(arith::MinSIOp::create(b, acc, count))
                                                : Value(arith::MaxSIOp::create(b, acc, count));
                                 }),
                      {});
      auto predicate = least ? arith::CmpIPredicate::sge : arith::CmpIPredicate::sle;
      ctx.check(arith::CmpIOp::create(b, predicate, extreme, least ? zero : total),
                "nonpad_kv_seqlen has {0}, expected 0 to {1}, the number of keys",
                {extreme, total});
    }
  }

  Operand keys = keysOrValues(kKey, kPastKey, kPresentKey, form.size);
  Operand values = keysOrValues(kValue, kPastValue, kPresentValue, form.valueSize);
  Dims heads = {form.batch, form.queryHeads, form.queries, form.total};
  TensorValue raw = ctx.reshape(
      contract(query(), keys, {kBatch, kHead, kGroup, kRow, kColumn}, form.size, compute), heads);
  TensorValue logits = transform(raw, kMasked, compute);
  if (ctx.getInt("softmax_precision", 1) == 11)
    logits = ctx.cast(logits, b.getF64Type());
  TensorValue weights = softmaxOver(ctx, logits, {3}, /*emptyIsZero=*/true);
  weights = ctx.cast(weights, compute);
  if (ctx.hasOutput(kScores)) {
    Type type = ctx.resultElementType(kScores);
    TensorValue shown = weights;
    if (form.scoresMode == kMasked)
      shown = logits;
    else if (form.scoresMode != kProbabilities)
      shown = transform(raw, static_cast<ScoresMode>(form.scoresMode), compute);
    ctx.set(kScores, ctx.cast(shown, type).value);
  }
  Operand probabilities = {
      ctx.reshape(weights, {form.batch, form.keyHeads, group, form.queries, form.total}),
      {kBatch, kHead, kGroup, kRow, kColumn}};
  SmallVector<unsigned> order = {kBatch, kHead, kGroup, kRow, kInner};
  if (form.packed)
    order = {kBatch, kRow, kHead, kGroup, kInner};
  TensorValue result =
      contract(probabilities, values, order, form.valueSize, ctx.resultElementType(kOutput));
  ctx.set(kOutput, ctx.reshape(result, ctx.resultDims(kOutput)).value);
}

static LogicalResult lowerAttention(LoweringContext &ctx) {
  InferContext reader(ctx.getNode(), ctx.facts);
  FailureOr<AttentionForm> form = readForm(reader);
  if (failed(form))
    return failure();
  AttentionLowering(ctx, *form).run();
  return success();
}

static constexpr AttrSpec kAttrs[] = {{"is_causal", 'i'},
                                      {"kv_num_heads", 'i'},
                                      {"q_num_heads", 'i'},
                                      {"qk_matmul_output_mode", 'i'},
                                      {"scale", 'f'},
                                      {"softcap", 'f'},
                                      {"softmax_precision", 'i'}};
static constexpr AttrSpec kWindowAttrs[] = {{"is_causal", 'i'},
                                            {"kv_num_heads", 'i'},
                                            {"left_window_size", 'i'},
                                            {"q_num_heads", 'i'},
                                            {"qk_matmul_output_mode", 'i'},
                                            {"right_window_size", 'i'},
                                            {"scale", 'f'},
                                            {"softcap", 'f'},
                                            {"softmax_precision", 'i'}};

void ssm::onnx::registerAttentionOperators(OperatorTable &table) {
  table.add({"", "Attention", 23, 3, 6, 1, 4, kAttrs, inferAttention, lowerAttention});
  table.add({"", "Attention", 24, 3, 7, 1, 4, kAttrs, inferAttention, lowerAttention});
  table.add({"", "Attention", 25, 3, 7, 1, 4, kWindowAttrs, inferAttention, lowerAttention});
}
