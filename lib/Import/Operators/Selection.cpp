//===- Selection.cpp - NonZero, Compress ----------------------------------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Results whose size the elements tell: counted first, then filled.
//
//===----------------------------------------------------------------------===//

#include "lib/Import/Operators/Elementwise.h"
#include "lib/Import/Operators/Layout.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

using namespace mlir;
using namespace ssm;
using namespace ssm::onnx;

/// Whether a compute-typed scalar is not zero; NaN is not.
static Value isNonZero(ImplicitLocOpBuilder &b, Value value) {
  Value zero = zeroConstant(b, value.getType());
  if (isa<FloatType>(value.getType()))
    return arith::CmpFOp::create(b, arith::CmpFPredicate::UNE, value, zero);
  return arith::CmpIOp::create(b, arith::CmpIPredicate::ne, value, zero);
}

/// The number of elements that are not zero, as index.
static Value countNonZero(LoweringContext &ctx, const TensorValue &input) {
  auto &b = ctx.b;
  SmallVector<int64_t> axes = llvm::to_vector(llvm::seq<int64_t>(0, input.dims.size()));
  TensorValue count =
      ctx.reduce(input, axes, b.getI64Type(), intConstant(b, b.getI64Type(), 0),
                 [](ImplicitLocOpBuilder &b, Value acc, Value element) -> Value {
                   Value step = arith::ExtUIOp::create(b, acc.getType(), isNonZero(b, element));
                   return arith::AddIOp::create(b, acc, step);
                 });
  return arith::IndexCastOp::create(b, b.getIndexType(), ctx.extract(count, {}));
}

/// Writes the indices of the elements that are not zero, in order, one column for
/// each, into the i64 tensor `result` [rank, count].
static Value fillNonZero(LoweringContext &ctx, const TensorValue &input, Value result) {
  SmallVector<Value> carried = {result, ctx.index(0)};
  SmallVector<Value> last = loopNest(
      ctx.b, sizeValues(ctx, input.dims), carried,
      [&](ImplicitLocOpBuilder &b, ValueRange at, ValueRange carried) -> SmallVector<Value> {
        Value stored = extractStored(b, input, at);
        Value hit = isNonZero(b, LoweringContext::load(b, stored, input.type));
        auto branch = scf::IfOp::create(
            b, hit,
            [&](OpBuilder &builder, Location loc) {
              ImplicitLocOpBuilder then(loc, builder);
              Value next = carried[0], column = carried[1];
              for (auto [row, index] : llvm::enumerate(at)) {
                Value place[] = {arith::ConstantIndexOp::create(then, row), column};
                Value number = arith::IndexCastOp::create(then, then.getI64Type(), index);
                next = tensor::InsertOp::create(then, number, next, place);
              }
              Value one = arith::ConstantIndexOp::create(then, 1);
              Value moved = arith::AddIOp::create(then, column, one);
              scf::YieldOp::create(then, ValueRange{next, moved});
            },
            [&](OpBuilder &builder, Location loc) { scf::YieldOp::create(builder, loc, carried); });
        return SmallVector<Value>(branch.getResults());
      });
  return last[0];
}

//===----------------------------------------------------------------------===//
// NonZero
//===----------------------------------------------------------------------===//

static LogicalResult inferNonZero(InferContext &ctx) {
  if (!isNumberType(ctx.elementType(0)) && !ctx.elementType(0).isInteger(1))
    return ctx.error("input 0 must be numbers or bools");
  // A scalar counts as a tensor of one element.
  int64_t rows = std::max<int64_t>(ctx.rank(0), 1);
  ctx.setResult(0, IntegerType::get(ctx.facts.getContext(), 64),
                {ctx.facts.constant(rows), ctx.facts.fresh()});
  return success();
}

static LogicalResult lowerNonZero(LoweringContext &ctx) {
  TensorValue input = ctx.get(0);
  if (input.dims.empty())
    input = ctx.reshape(input, ctx.facts.constant(1));
  Dims dims(ctx.resultDims(0));
  ctx.bind(dims[1], countNonZero(ctx, input));
  ctx.set(0, fillNonZero(ctx, input, ctx.empty(dims, ctx.b.getI64Type())));
  return success();
}

//===----------------------------------------------------------------------===//
// Compress
//===----------------------------------------------------------------------===//

static LogicalResult inferCompress(InferContext &ctx) {
  if (failed(ctx.requireBool(1)) || failed(ctx.requireRank(1, 1, 1)))
    return failure();
  Dims dims;
  if (ctx.hasAttr("axis")) {
    auto axis = ctx.normalizeAxis(ctx.getInt("axis", 0), ctx.rank(0));
    if (failed(axis))
      return failure();
    dims = Dims(ctx.dims(0));
    dims[*axis] = ctx.facts.fresh();
  } else {
    dims.push_back(ctx.facts.fresh());
  }
  ctx.setResult(0, ctx.elementType(0), dims);
  return success();
}

static LogicalResult lowerCompress(LoweringContext &ctx) {
  ShapeFacts &facts = ctx.facts;
  TensorValue input = ctx.get(0), condition = ctx.get(1);
  int64_t axis = ctx.getInt("axis", 0);
  if (!ctx.hasAttr("axis")) {
    AffineExpr count = facts.product(input.dims);
    if (!count) {
      count = facts.fresh();
      ctx.bind(count, product(ctx, input.dims));
    }
    input = ctx.reshape(input, count);
  } else if (axis < 0) {
    axis += ctx.rank(0);
  }
  Dims dims(ctx.resultDims(0));
  AffineExpr size = input.dims[axis], length = condition.dims[0];
  AffineExpr room = facts.sub(size, length);
  if (!room || !facts.isNonNegative(room)) {
    // What lies beyond the input must not be chosen.
    AffineExpr inside = facts.min(length, size);
    condition = ctx.slice(condition, OpFoldResult(ctx.b.getIndexAttr(0)), inside);
  }
  ctx.bind(dims[axis], countNonZero(ctx, condition));
  Dims placesDims = {facts.constant(1), dims[axis]};
  TensorValue places =
      ctx.make(fillNonZero(ctx, condition, ctx.empty(placesDims, ctx.b.getI64Type())),
               ctx.b.getI64Type(), placesDims);
  TensorValue result =
      generateStored(ctx, dims, input.type, [&](ImplicitLocOpBuilder &b, ValueRange at) -> Value {
        SmallVector<Value> source(at);
        Value place[] = {arith::ConstantIndexOp::create(b, 0), at[axis]};
        source[axis] = extractIndex(b, places, place);
        return extractStored(b, input, source);
      });
  ctx.set(0, result.value);
  return success();
}

void ssm::onnx::registerSelectionOperators(OperatorTable &table) {
  static constexpr AttrSpec kAxis[] = {{"axis", 'i'}};
  table.add({"", "NonZero", 9, 1, 1, 1, 1, {}, inferNonZero, lowerNonZero});
  table.add({"", "Compress", 9, 2, 2, 1, 1, kAxis, inferCompress, lowerCompress});
}
