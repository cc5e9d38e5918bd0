//===- Order.cpp - Transpose, Concat, DepthToSpace, ReverseSequence -------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "lib/Import/Operators/Layout.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

using namespace mlir;
using namespace ssm;
using namespace ssm::onnx;

//===----------------------------------------------------------------------===//
// Transpose
//===----------------------------------------------------------------------===//

/// The permutation: reversed axes if none is given.
static SmallVector<int64_t> permutation(NodeReader &ctx) {
  if (auto perm = ctx.getInts("perm"))
    return *perm;
  SmallVector<int64_t> perm = llvm::to_vector(llvm::seq<int64_t>(0, ctx.rank(0)));
  std::reverse(perm.begin(), perm.end());
  return perm;
}

static LogicalResult inferTranspose(InferContext &ctx) {
  SmallVector<int64_t> perm = permutation(ctx);
  int64_t rank = ctx.rank(0);
  SmallVector<bool> seen(rank, false);
  bool valid = static_cast<int64_t>(perm.size()) == rank;
  for (int64_t axis : perm) {
    valid = valid && axis >= 0 && axis < rank && !seen[axis];
    if (valid)
      seen[axis] = true;
  }
  if (!valid)
    return ctx.error("'perm' is not a permutation of the " + Twine(rank) + " axes");
  Dims dims;
  for (int64_t axis : perm)
    dims.push_back(ctx.dim(0, axis));
  ctx.setResult(0, ctx.elementType(0), dims);
  if (rank <= 1)
    passElements(ctx);
  return success();
}

static LogicalResult lowerTranspose(LoweringContext &ctx) {
  ctx.set(0, ctx.transpose(ctx.get(0), permutation(ctx)).value);
  return success();
}

//===----------------------------------------------------------------------===//
// Concat
//===----------------------------------------------------------------------===//

static LogicalResult inferConcat(InferContext &ctx) {
  for (unsigned i = 0; i < ctx.numInputs(); ++i) {
    if (!ctx.hasInput(i))
      return ctx.error("input " + Twine(i) + " is left out");
    if (failed(ctx.requireSameElementType(0, i)) ||
        failed(ctx.requireRank(i, ctx.rank(0), ctx.rank(0))))
      return failure();
  }
  auto axis = ctx.normalizeAxis(ctx.getInt("axis", 0), ctx.rank(0));
  if (failed(axis))
    return failure();
  Dims dims(ctx.dims(0));
  std::optional<Dims> elements = Dims();
  for (unsigned i = 0; i < ctx.numInputs(); ++i) {
    Dims own(ctx.dims(i));
    for (auto [d, size] : llvm::enumerate(own)) {
      if (static_cast<int64_t>(d) == *axis) {
        if (i > 0)
          dims[d] = ctx.facts.add(dims[d], size);
        continue;
      }
      if (failed(
              ctx.requireEqual(dims[d], size, "axis " + Twine(d) + " of inputs 0 and " + Twine(i))))
        return failure();
      if (constantValue(size))
        dims[d] = size;
    }
    auto known = ctx.elements(i);
    if (known && elements)
      llvm::append_range(*elements, *known);
    else
      elements.reset();
  }
  ctx.setResult(0, ctx.elementType(0), dims);
  if (elements && dims.size() == 1)
    ctx.setElements(0, *elements);
  return success();
}

static LogicalResult lowerConcat(LoweringContext &ctx) {
  int64_t axis = ctx.getInt("axis", 0);
  axis = axis < 0 ? axis + ctx.rank(0) : axis;
  Dims dims(ctx.resultDims(0));
  SmallVector<TensorValue> parts;
  for (unsigned i = 0; i < ctx.numInputs(); ++i) {
    TensorValue part = ctx.get(i);
    for (auto [d, size] : llvm::enumerate(part.dims)) {
      if (static_cast<int64_t>(d) == axis)
        continue;
      ctx.checkEqual(dims[d], size,
                     "axis " + Twine(d) + " of input " + Twine(i) + " and of the result");
      part.dims[d] = dims[d];
    }
    auto shape = staticShape(part.dims);
    auto type = RankedTensorType::get(shape, storageType(part.type));
    if (part.value.getType() != type)
      part.value = tensor::CastOp::create(ctx.b, type, part.value);
    // Nothing lies in an empty part, nor is there room for it at the end.
    if (constantValue(part.dims[axis]) != 0)
      parts.push_back(part);
  }
  if (parts.empty())
    ctx.set(0, ctx.empty(dims, ctx.elementType(0)));
  else
    ctx.set(0, parts.size() == 1 ? parts[0].value : ctx.concat(parts, axis).value);
  return success();
}

//===----------------------------------------------------------------------===//
// DepthToSpace, SpaceToDepth
//===----------------------------------------------------------------------===//

/// The exact quotient, checked by lowering where only the run knows.
static FailureOr<AffineExpr> divideSize(InferContext &ctx, AffineExpr size, int64_t by,
                                        const Twine &what) {
  if (auto constant = constantValue(size); constant && *constant % by != 0)
    return ctx.error(what + " is " + Twine(*constant) + ", expected a multiple of " + Twine(by));
  return ctx.facts.quotient(size, ctx.facts.constant(by));
}

/// Checks `blocksize` and `mode` of a 4-D input; gives the block size.
static FailureOr<int64_t> blockSize(InferContext &ctx) {
  int64_t block = ctx.getInt("blocksize", 1);
  StringRef mode = ctx.getString("mode", "DCR");
  if (failed(ctx.requireRank(0, 4, 4)))
    return failure();
  if (block < 1 || block > (1 << 20))
    return ctx.error("'blocksize' is " + Twine(block) + ", expected 1 to 2^20");
  if (mode != "DCR" && mode != "CRD")
    return ctx.error("mode is '" + mode + "', expected DCR or CRD");
  return block;
}

static LogicalResult inferDepthToSpace(InferContext &ctx) {
  auto block = blockSize(ctx);
  if (failed(block))
    return failure();
  Dims dims(ctx.dims(0));
  auto depth = divideSize(ctx, dims[1], *block * *block, "the depth");
  if (failed(depth))
    return failure();
  AffineExpr by = ctx.facts.constant(*block);
  ctx.setResult(0, ctx.elementType(0),
                {dims[0], *depth, ctx.facts.mul(dims[2], by), ctx.facts.mul(dims[3], by)});
  return success();
}

static LogicalResult lowerDepthToSpace(LoweringContext &ctx) {
  AffineExpr block = ctx.facts.constant(ctx.getInt("blocksize", 1));
  TensorValue input = ctx.get(0);
  Dims in = input.dims, out(ctx.resultDims(0));
  ctx.checkEqual(ctx.facts.mul(out[1], ctx.facts.mul(block, block)), in[1],
                 "the depth rounded to whole blocks, and the depth");
  TensorValue moved;
  if (ctx.getString("mode", "DCR") == "DCR")
    moved = ctx.transpose(ctx.reshape(input, {in[0], block, block, out[1], in[2], in[3]}),
                          {0, 3, 4, 1, 5, 2});
  else
    moved = ctx.transpose(ctx.reshape(input, {in[0], out[1], block, block, in[2], in[3]}),
                          {0, 1, 4, 2, 5, 3});
  ctx.set(0, ctx.reshape(moved, out).value);
  return success();
}

static LogicalResult inferSpaceToDepth(InferContext &ctx) {
  auto block = blockSize(ctx);
  if (failed(block))
    return failure();
  Dims dims(ctx.dims(0));
  auto height = divideSize(ctx, dims[2], *block, "the height");
  auto width = divideSize(ctx, dims[3], *block, "the width");
  if (failed(height) || failed(width))
    return failure();
  ctx.setResult(
      0, ctx.elementType(0),
      {dims[0], ctx.facts.mul(dims[1], ctx.facts.constant(*block * *block)), *height, *width});
  return success();
}

static LogicalResult lowerSpaceToDepth(LoweringContext &ctx) {
  AffineExpr block = ctx.facts.constant(ctx.getInt("blocksize", 1));
  TensorValue input = ctx.get(0);
  Dims in = input.dims, out(ctx.resultDims(0));
  for (int64_t axis : {2, 3})
    ctx.checkEqual(ctx.facts.mul(out[axis], block), in[axis],
                   "axis " + Twine(axis) + " rounded to whole blocks, and the axis");
  TensorValue apart = ctx.reshape(input, {in[0], in[1], out[2], block, out[3], block});
  // Blocks before channels (DCR), or channels before blocks.
  TensorValue moved = ctx.getString("mode", "DCR") == "DCR"
                          ? ctx.transpose(apart, {0, 3, 5, 1, 2, 4})
                          : ctx.transpose(apart, {0, 1, 3, 5, 2, 4});
  ctx.set(0, ctx.reshape(moved, out).value);
  return success();
}

//===----------------------------------------------------------------------===//
// ReverseSequence
//===----------------------------------------------------------------------===//

static LogicalResult inferReverseSequence(InferContext &ctx) {
  int64_t rank = ctx.rank(0);
  if (rank < 2)
    return ctx.error("input 0 has rank " + Twine(rank) + ", expected 2 or more");
  auto time = ctx.normalizeAxis(ctx.getInt("time_axis", 0), rank);
  auto batch = ctx.normalizeAxis(ctx.getInt("batch_axis", 1), rank);
  if (failed(time) || failed(batch) || failed(ctx.requireRank(1, 1, 1)) ||
      failed(ctx.requireInteger(1)))
    return failure();
  if (*time == *batch)
    return ctx.error("time_axis and batch_axis are both " + Twine(*time));
  if (failed(ctx.requireEqual(ctx.dim(0, *batch), ctx.dim(1, 0),
                              "the batch and the number of sequence lengths")))
    return failure();
  ctx.setResult(0, ctx.elementType(0), Dims(ctx.dims(0)));
  return success();
}

static LogicalResult lowerReverseSequence(LoweringContext &ctx) {
  int64_t rank = ctx.rank(0);
  int64_t time = ctx.getInt("time_axis", 0), batch = ctx.getInt("batch_axis", 1);
  time = time < 0 ? time + rank : time;
  batch = batch < 0 ? batch + rank : batch;
  TensorValue input = ctx.get(0);
  ctx.checkEqual(input.dims[batch], ctx.dims(1)[0], "the batch and the number of sequence lengths");
  TensorValue lengths =
      checkedCounts(ctx, ctx.get(1), ctx.size(input.dims[time]), "a sequence length");
  TensorValue result = generateStored(
      ctx, input.dims, input.type, [&](ImplicitLocOpBuilder &b, ValueRange indices) -> Value {
        Value length = extractIndex(b, lengths, indices[batch]);
        Value inside = arith::CmpIOp::create(b, arith::CmpIPredicate::slt, indices[time], length);
        Value last = arith::SubIOp::create(b, length, arith::ConstantIndexOp::create(b, 1));
        Value mirrored = arith::SubIOp::create(b, last, indices[time]);
        SmallVector<Value> source(indices);
        source[time] = arith::SelectOp::create(b, inside, mirrored, indices[time]);
        return extractStored(b, input, source);
      });
  ctx.set(0, result.value);
  return success();
}

void ssm::onnx::registerOrderOperators(OperatorTable &table) {
  static constexpr AttrSpec kPerm[] = {{"perm", 'I'}};
  static constexpr AttrSpec kAxis[] = {{"axis", 'i', true}};
  static constexpr AttrSpec kBlock[] = {{"blocksize", 'i', true}};
  static constexpr AttrSpec kBlockMode[] = {{"blocksize", 'i', true}, {"mode", 's'}};
  static constexpr AttrSpec kReverse[] = {{"batch_axis", 'i'}, {"time_axis", 'i'}};
  table.add({"", "Transpose", 1, 1, 1, 1, 1, kPerm, inferTranspose, lowerTranspose});
  table.add({"", "Concat", 4, 1, kAnyNumber, 1, 1, kAxis, inferConcat, lowerConcat});
  table.add({"", "DepthToSpace", 1, 1, 1, 1, 1, kBlock, inferDepthToSpace, lowerDepthToSpace});
  table.add({"", "DepthToSpace", 11, 1, 1, 1, 1, kBlockMode, inferDepthToSpace, lowerDepthToSpace});
  table.add({"", "SpaceToDepth", 1, 1, 1, 1, 1, kBlock, inferSpaceToDepth, lowerSpaceToDepth});
  table.add({"", "SpaceToDepth", 28, 1, 1, 1, 1, kBlockMode, inferSpaceToDepth, lowerSpaceToDepth});
  table.add({"", "ReverseSequence", 10, 2, 2, 1, 1, kReverse, inferReverseSequence,
             lowerReverseSequence});
}
