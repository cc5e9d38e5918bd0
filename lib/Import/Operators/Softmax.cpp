//===- Softmax.cpp - Softmax, LogSoftmax, Hardmax -------------------------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Before version 13 these work on the matrix that flattening at `axis` gives, that
// is over all axes from `axis` on.
//
//===----------------------------------------------------------------------===//

#include "lib/Import/OperatorTable.h"
#include "lib/Import/Operators/Reductions.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"

using namespace mlir;
using namespace ssm;
using namespace ssm::onnx;

static FailureOr<SmallVector<int64_t>> softmaxAxes(InferContext &ctx) {
  int64_t rank = ctx.rank(0);
  bool flattens = ctx.version() < 13;
  int64_t axis = ctx.getInt("axis", flattens ? 1 : -1);
  // Flattening at the rank leaves columns of one element; a scalar has one.
  if ((flattens && axis == rank) || (rank == 0 && (axis == 0 || axis == -1)))
    return SmallVector<int64_t>();
  FailureOr<int64_t> normal = ctx.normalizeAxis(axis, rank);
  if (failed(normal))
    return failure();
  if (!flattens)
    return SmallVector<int64_t>{*normal};
  return llvm::to_vector(llvm::seq<int64_t>(*normal, rank));
}

static LogicalResult inferSoftmax(InferContext &ctx) {
  if (failed(ctx.requireFloat(0)) || failed(softmaxAxes(ctx)))
    return failure();
  ctx.setResult(0, ctx.elementType(0), ctx.dims(0));
  return success();
}

static SmallVector<int64_t> axesOf(LoweringContext &ctx) {
  InferContext reader(ctx.getNode(), ctx.facts);
  FailureOr<SmallVector<int64_t>> axes = softmaxAxes(reader);
  return succeeded(axes) ? *axes : SmallVector<int64_t>();
}

TensorValue ssm::onnx::softmaxOver(LoweringContext &ctx, const TensorValue &input,
                                   ArrayRef<int64_t> axes, bool emptyIsZero) {
  Type type = accumulatorType(input.type);
  TensorValue most = keepAxes(ctx, maxOver(ctx, input, axes), input.dims, axes);
  TensorValue terms =
      ctx.map({input, most}, input.dims, type, [&](ImplicitLocOpBuilder &b, ValueRange args) {
        Value term = math::ExpOp::create(b, arith::SubFOp::create(b, args[0], args[1]));
        if (!emptyIsZero)
          return term;
        Value none =
            arith::CmpFOp::create(b, arith::CmpFPredicate::OEQ, args[1],
                                  floatConstant(b, type, -std::numeric_limits<double>::infinity()));
        return Value(arith::SelectOp::create(b, none, floatConstant(b, type, 0.0), term));
      });
  TensorValue sum = keepAxes(ctx, sumOver(ctx, terms, axes), input.dims, axes);
  return ctx.map({terms, sum}, input.dims, type, [&](ImplicitLocOpBuilder &b, ValueRange args) {
    Value quotient = arith::DivFOp::create(b, args[0], args[1]);
    if (!emptyIsZero)
      return quotient;
    Value zero = floatConstant(b, type, 0.0);
    Value none = arith::CmpFOp::create(b, arith::CmpFPredicate::OEQ, args[1], zero);
    return Value(arith::SelectOp::create(b, none, zero, quotient));
  });
}

static LogicalResult lowerSoftmax(LoweringContext &ctx) {
  TensorValue result = softmaxOver(ctx, ctx.get(0), axesOf(ctx));
  ctx.set(0, ctx.cast(result, ctx.resultElementType(0)).value);
  return success();
}

static LogicalResult lowerLogSoftmax(LoweringContext &ctx) {
  TensorValue input = ctx.get(0);
  SmallVector<int64_t> axes = axesOf(ctx);
  Type type = accumulatorType(input.type);
  TensorValue most = keepAxes(ctx, maxOver(ctx, input, axes), input.dims, axes);
  TensorValue shifted = ctx.map({input, most}, input.dims, type,
                                [](ImplicitLocOpBuilder &b, ValueRange args) -> Value {
                                  return arith::SubFOp::create(b, args[0], args[1]);
                                });
  TensorValue sum = sumOver(ctx, shifted, axes, [](ImplicitLocOpBuilder &b, Value x) -> Value {
    return math::ExpOp::create(b, x);
  });
  TensorValue logSum =
      ctx.map({sum}, sum.dims, type, [](ImplicitLocOpBuilder &b, ValueRange args) -> Value {
        return math::LogOp::create(b, args[0]);
      });
  TensorValue result = ctx.map({shifted, keepAxes(ctx, logSum, input.dims, axes)}, input.dims,
                               input.type, [](ImplicitLocOpBuilder &b, ValueRange args) -> Value {
                                 return arith::SubFOp::create(b, args[0], args[1]);
                               });
  ctx.set(0, result.value);
  return success();
}

/// 1 at the first maximum, 0 elsewhere.
static LogicalResult lowerHardmax(LoweringContext &ctx) {
  TensorValue input = ctx.get(0);
  SmallVector<int64_t> axes = axesOf(ctx);
  Type i64 = ctx.b.getI64Type();
  TensorValue most = keepAxes(ctx, maxOver(ctx, input, axes), input.dims, axes);
  SmallVector<Value> sizes;
  for (int64_t axis : axes)
    sizes.push_back(ctx.size(input.dims[axis]));
  auto place = [&](ImplicitLocOpBuilder &b, ValueRange indices) {
    Value linear = arith::ConstantIndexOp::create(b, 0);
    for (auto [axis, size] : llvm::zip_equal(axes, sizes))
      linear = arith::AddIOp::create(b, arith::MulIOp::create(b, linear, size), indices[axis]);
    return Value(arith::IndexCastOp::create(b, i64, linear));
  };
  Value last = arith::ConstantIntOp::create(ctx.b, i64, std::numeric_limits<int64_t>::max());
  TensorValue places = ctx.elementwise(
      {input, most}, input.dims, {i64},
      [&](ImplicitLocOpBuilder &b, ValueRange indices, ValueRange args) {
        Value hit = arith::CmpFOp::create(b, arith::CmpFPredicate::OEQ, args[0], args[1]);
        return SmallVector<Value>{arith::SelectOp::create(b, hit, place(b, indices), last)};
      })[0];
  TensorValue first =
      keepAxes(ctx,
               ctx.reduce(places, axes, i64, last,
                          [](ImplicitLocOpBuilder &b, Value acc, Value element) -> Value {
                            return arith::MinSIOp::create(b, acc, element);
                          }),
               input.dims, axes);
  TensorValue result = ctx.elementwise(
      {first}, input.dims, {input.type},
      [&](ImplicitLocOpBuilder &b, ValueRange indices, ValueRange args) {
        Value hit = arith::CmpIOp::create(b, arith::CmpIPredicate::eq, place(b, indices), args[0]);
        Type type = computeType(input.type);
        return SmallVector<Value>{arith::SelectOp::create(b, hit, floatConstant(b, type, 1.0),
                                                          floatConstant(b, type, 0.0))};
      })[0];
  ctx.set(0, result.value);
  return success();
}

static constexpr AttrSpec kAttrs[] = {{"axis", 'i'}};

void ssm::onnx::registerSoftmaxOperators(OperatorTable &table) {
  table.add({"", "Softmax", 1, 1, 1, 1, 1, kAttrs, inferSoftmax, lowerSoftmax});
  table.add({"", "LogSoftmax", 1, 1, 1, 1, 1, kAttrs, inferSoftmax, lowerLogSoftmax});
  table.add({"", "Hardmax", 1, 1, 1, 1, 1, kAttrs, inferSoftmax, lowerHardmax});
}
