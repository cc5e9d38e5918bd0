//===- OneHot.cpp - OneHot ------------------------------------------------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "lib/Import/Operators/Elementwise.h"
#include "lib/Import/Operators/Layout.h"

using namespace mlir;
using namespace ssm;
using namespace ssm::onnx;

static LogicalResult inferOneHot(InferContext &ctx) {
  if (!isNumberType(ctx.elementType(0)) || !isNumberType(ctx.elementType(1)))
    return ctx.error("indices and depth must be numbers");
  if (failed(requireScalar(ctx, 1, "depth")) || failed(ctx.requireRank(2, 1, 1)) ||
      failed(ctx.requireEqual(ctx.dim(2, 0), ctx.facts.constant(2), "the number of values")))
    return failure();
  auto axis = ctx.normalizeAxis(ctx.getInt("axis", -1), ctx.rank(0) + 1);
  if (failed(axis))
    return failure();
  AffineExpr depth;
  if (auto known = ctx.elements(1)) {
    auto size = requireSize(ctx, (*known)[0], "depth");
    if (failed(size))
      return failure();
    depth = *size;
  }
  Dims dims(ctx.dims(0));
  dims.insert(dims.begin() + *axis, depth);
  ctx.setResult(0, ctx.elementType(2), dims);
  return success();
}

static LogicalResult lowerOneHot(LoweringContext &ctx) {
  auto &b = ctx.b;
  Type i64 = b.getI64Type();
  int64_t axis = ctx.getInt("axis", -1);
  axis = axis < 0 ? axis + ctx.rank(0) + 1 : axis;
  Dims dims(ctx.resultDims(0));
  Value depth = scalarInt(ctx, 1);
  ctx.check(arith::CmpIOp::create(b, arith::CmpIPredicate::sge, depth, intConstant(b, i64, 0)),
            "depth is {0}, expected a size", depth);
  if (isa<AffineSymbolExpr>(dims[axis]) && !ctx.isBound(dims[axis]))
    ctx.bind(dims[axis], arith::IndexCastOp::create(b, b.getIndexType(), depth));
  ctx.checkEqual(ctx.dims(2)[0], ctx.facts.constant(2), "the number of values");
  Value off = ctx.extract(ctx.get(2), ctx.index(0)), on = ctx.extract(ctx.get(2), ctx.index(1));

  bool wraps = !isUnsigned(ctx.elementType(0)) && ctx.version() >= 11;
  TensorValue indices = ctx.cast(ctx.get(0), i64);
  Dims apart = indices.dims;
  apart.insert(apart.begin() + axis, ctx.facts.constant(1));
  // An index that is out of range is no error: nothing is hot.
  auto result = ctx.elementwise(
      ctx.reshape(indices, apart), dims, ctx.elementType(2),
      [&](ImplicitLocOpBuilder &b, ValueRange at, ValueRange args) -> SmallVector<Value> {
        Value index = args[0];
        if (wraps) {
          Value negative =
              arith::CmpIOp::create(b, arith::CmpIPredicate::slt, index, intConstant(b, i64, 0));
          index =
              arith::SelectOp::create(b, negative, arith::AddIOp::create(b, index, depth), index);
        }
        Value place = arith::IndexCastOp::create(b, i64, at[axis]);
        Value hot = arith::CmpIOp::create(b, arith::CmpIPredicate::eq, place, index);
        return {arith::SelectOp::create(b, hot, on, off)};
      });
  ctx.set(0, result[0].value);
  return success();
}

void ssm::onnx::registerOneHotOperators(OperatorTable &table) {
  static constexpr AttrSpec kAxis[] = {{"axis", 'i'}};
  table.add({"", "OneHot", 9, 3, 3, 1, 1, kAxis, inferOneHot, lowerOneHot});
}
