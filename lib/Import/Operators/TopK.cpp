//===- TopK.cpp - TopK ----------------------------------------------------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "dialects/SSM/TopKOp.h"
#include "lib/Import/Operators/Elementwise.h"
#include "lib/Import/Operators/Layout.h"

using namespace mlir;
using namespace ssm;
using namespace ssm::onnx;

static LogicalResult inferTopK(InferContext &ctx) {
  if (!isNumberType(ctx.elementType(0)))
    return ctx.error("input 0 must be numbers");
  auto axis = ctx.normalizeAxis(ctx.getInt("axis", -1), ctx.rank(0));
  if (failed(axis))
    return failure();
  AffineExpr k;
  if (ctx.hasAttr("k")) {
    k = ctx.facts.constant(ctx.getInt("k", 0));
  } else {
    if (failed(ctx.requireInteger(1)) || failed(requireScalar(ctx, 1, "k")))
      return failure();
    // Of a tensor of unknown size the run tells whether it is one element.
    auto elements = ctx.elements(1);
    k = elements && elements->size() == 1 ? (*elements)[0] : ctx.facts.fresh();
  }
  auto count = requireSize(ctx, k, "k");
  if (failed(count))
    return failure();
  auto have = constantValue(ctx.dim(0, *axis)), want = constantValue(*count);
  if (have && want && *want > *have)
    return ctx.error("k is " + Twine(*want) + ", expected at most the size " + Twine(*have) +
                     " of axis " + Twine(*axis));
  Dims dims(ctx.dims(0));
  dims[*axis] = *count;
  ctx.setResult(0, ctx.elementType(0), dims);
  ctx.setResult(1, IntegerType::get(ctx.facts.getContext(), 64), dims);
  return success();
}

static LogicalResult lowerTopK(LoweringContext &ctx) {
  auto &b = ctx.b;
  Type i64 = b.getI64Type();
  TensorValue input = ctx.get(0);
  int64_t axis = ctx.getInt("axis", -1);
  axis = axis < 0 ? axis + ctx.rank(0) : axis;
  Dims dims(ctx.facts.dims(ctx.hasOutput(0) ? ctx.output(0) : ctx.output(1)));
  if (!ctx.hasAttr("k")) {
    Value given = scalarInt(ctx, 1);
    ctx.check(arith::CmpIOp::create(b, arith::CmpIPredicate::sge, given, intConstant(b, i64, 0)),
              "k is {0}, expected a size", given);
    if (isa<AffineSymbolExpr>(dims[axis]) && !ctx.isBound(dims[axis]))
      ctx.bind(dims[axis], arith::IndexCastOp::create(b, b.getIndexType(), given));
  }
  Value k = ctx.size(dims[axis]), size = ctx.size(input.dims[axis]);
  AffineExpr room = ctx.facts.sub(input.dims[axis], dims[axis]);
  if (!room || !ctx.facts.isNonNegative(room))
    ctx.check(arith::CmpIOp::create(b, arith::CmpIPredicate::sle, k, size),
              "k is {0}, expected at most the size {1} of axis " + Twine(axis), {k, size});

  TensorValue indices{ctx.empty(dims, i64), i64, dims};
  bool isLeast = ctx.getInt("largest", 1) == 0;
  indices.value = TopKOp::create(b, indices.value.getType(), b.getI64IntegerAttr(axis),
                                 isLeast ? b.getUnitAttr() : UnitAttr(),
                                 isUnsigned(input.type) ? b.getUnitAttr() : UnitAttr(), input.value,
                                 indices.value)
                      .getResult();
  if (ctx.hasOutput(0)) {
    TensorValue values =
        generateStored(ctx, dims, input.type, [&](ImplicitLocOpBuilder &b, ValueRange at) -> Value {
          SmallVector<Value> place(at);
          place[axis] = extractIndex(b, indices, at);
          return extractStored(b, input, place);
        });
    ctx.set(0, values.value);
  }
  ctx.set(1, indices.value);
  return success();
}

void ssm::onnx::registerTopKOperators(OperatorTable &table) {
  static constexpr AttrSpec kTopK1[] = {{"axis", 'i'}, {"k", 'i', true}};
  static constexpr AttrSpec kTopK10[] = {{"axis", 'i'}};
  static constexpr AttrSpec kTopK11[] = {{"axis", 'i'}, {"largest", 'i'}, {"sorted", 'i'}};
  table.add({"", "TopK", 1, 1, 1, 2, 2, kTopK1, inferTopK, lowerTopK});
  table.add({"", "TopK", 10, 2, 2, 2, 2, kTopK10, inferTopK, lowerTopK});
  table.add({"", "TopK", 11, 2, 2, 2, 2, kTopK11, inferTopK, lowerTopK});
}
