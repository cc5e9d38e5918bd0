//===- ExtremeIndex.cpp - ArgMax, ArgMin ----------------------------------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "lib/Import/Operators/Elementwise.h"
#include "lib/Import/Operators/Layout.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"

using namespace mlir;
using namespace ssm;
using namespace ssm::onnx;

static LogicalResult inferExtremeIndex(InferContext &ctx) {
  if (!isNumberType(ctx.elementType(0)))
    return ctx.error("input 0 must be numbers");
  auto axis = ctx.normalizeAxis(ctx.getInt("axis", 0), ctx.rank(0));
  if (failed(axis))
    return failure();
  if (constantValue(ctx.dim(0, *axis)) == 0)
    return ctx.error("axis " + Twine(*axis) + " is empty");
  Dims dims(ctx.dims(0));
  if (ctx.getInt("keepdims", 1) != 0)
    dims[*axis] = ctx.facts.constant(1);
  else
    dims.erase(dims.begin() + *axis);
  ctx.setResult(0, IntegerType::get(ctx.facts.getContext(), 64), dims);
  return success();
}

/// Whether `value` takes the place of `best`, which came before it. The first NaN
/// stays, as NumPy has it.
static Value replaces(ImplicitLocOpBuilder &b, Value value, Value best, Type type, bool greatest,
                      bool selectLast) {
  if (!isa<FloatType>(type)) {
    Value before = comesBefore(b, value, best, type, greatest);
    if (!selectLast)
      return before;
    Value same = arith::CmpIOp::create(b, arith::CmpIPredicate::eq, value, best);
    return arith::OrIOp::create(b, before, same);
  }
  arith::CmpFPredicate predicate =
      greatest ? (selectLast ? arith::CmpFPredicate::OGE : arith::CmpFPredicate::OGT)
               : (selectLast ? arith::CmpFPredicate::OLE : arith::CmpFPredicate::OLT);
  Value better = arith::CmpFOp::create(b, predicate, value, best);
  Value isNaN = arith::CmpFOp::create(b, arith::CmpFPredicate::UNO, value, value);
  if (!selectLast)
    isNaN = arith::AndIOp::create(b, isNaN,
                                  arith::CmpFOp::create(b, arith::CmpFPredicate::ORD, best, best));
  return arith::OrIOp::create(b, better, isNaN);
}

template <bool greatest> static LogicalResult lowerExtremeIndex(LoweringContext &ctx) {
  auto &b = ctx.b;
  Type i64 = b.getI64Type();
  TensorValue input = ctx.get(0);
  Type type = input.type;
  int64_t rank = input.dims.size(), axis = ctx.getInt("axis", 0);
  axis = axis < 0 ? axis + rank : axis;
  bool selectLast = ctx.getInt("select_last_index", 0) != 0;
  if (!constantValue(input.dims[axis])) {
    Value size = ctx.size(input.dims[axis]);
    ctx.check(arith::CmpIOp::create(b, arith::CmpIPredicate::ne, size, ctx.index(0)),
              "axis " + Twine(axis) + " is empty");
  }
  Dims kept = input.dims;
  kept.erase(kept.begin() + axis);
  SmallVector<AffineExpr> results;
  SmallVector<utils::IteratorType> iterators(rank, utils::IteratorType::parallel);
  iterators[axis] = utils::IteratorType::reduction;
  for (int64_t d = 0; d < rank; ++d)
    if (d != axis)
      results.push_back(b.getAffineDimExpr(d));
  AffineMap resultMap = AffineMap::get(rank, 0, results, b.getContext());
  SmallVector<AffineMap> maps = {b.getMultiDimIdentityMap(rank), resultMap, resultMap};
  // Index -1 says that there is no best value yet.
  Value minusOne = intConstant(b, i64, -1);
  Value inits[] = {ctx.filled(kept, type, zeroConstant(b, computeType(type))),
                   ctx.filled(kept, i64, minusOne)};
  auto generic = linalg::GenericOp::create(
      b, TypeRange(ValueRange(inits)), input.value, inits, maps, iterators,
      [&](OpBuilder &builder, Location loc, ValueRange args) {
        ImplicitLocOpBuilder nested(loc, builder);
        Value value = LoweringContext::load(nested, args[0], type);
        Value best = LoweringContext::load(nested, args[1], type);
        Value none = arith::CmpIOp::create(nested, arith::CmpIPredicate::eq, args[2], minusOne);
        Value take = arith::OrIOp::create(
            nested, none, replaces(nested, value, best, type, greatest, selectLast));
        Value index =
            arith::IndexCastOp::create(nested, i64, linalg::IndexOp::create(nested, axis));
        Value next[] = {arith::SelectOp::create(nested, take, args[0], args[1]),
                        arith::SelectOp::create(nested, take, index, args[2])};
        linalg::YieldOp::create(nested, next);
      });
  TensorValue found = ctx.make(generic.getResult(1), i64, kept);
  ctx.set(0, ctx.reshape(found, Dims(ctx.resultDims(0))).value);
  return success();
}

void ssm::onnx::registerExtremeIndexOperators(OperatorTable &table) {
  static constexpr AttrSpec kOld[] = {{"axis", 'i'}, {"keepdims", 'i'}};
  static constexpr AttrSpec kNew[] = {{"axis", 'i'}, {"keepdims", 'i'}, {"select_last_index", 'i'}};
  table.add({"", "ArgMax", 1, 1, 1, 1, 1, kOld, inferExtremeIndex, lowerExtremeIndex<true>});
  table.add({"", "ArgMax", 12, 1, 1, 1, 1, kNew, inferExtremeIndex, lowerExtremeIndex<true>});
  table.add({"", "ArgMin", 1, 1, 1, 1, 1, kOld, inferExtremeIndex, lowerExtremeIndex<false>});
  table.add({"", "ArgMin", 12, 1, 1, 1, 1, kNew, inferExtremeIndex, lowerExtremeIndex<false>});
}
