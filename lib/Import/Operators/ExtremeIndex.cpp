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

/// The greatest or least along the axis, NaN if there is one.
static TensorValue extreme(LoweringContext &ctx, const TensorValue &input, int64_t axis,
                           bool greatest) {
  Type type = computeType(input.type);
  if (isa<FloatType>(type)) {
    double worst = std::numeric_limits<double>::infinity();
    return ctx.reduce(input, axis, type, realConstant(ctx.b, type, greatest ? -worst : worst),
                      [&](ImplicitLocOpBuilder &b, Value acc, Value element) -> Value {
                        if (greatest)
                          return arith::MaximumFOp::create(b, acc, element);
                        return arith::MinimumFOp::create(b, acc, element);
                      });
  }
  unsigned bits = type.getIntOrFloatBitWidth();
  bool isOrdered = !isUnsigned(input.type);
  APInt worst = greatest ? (isOrdered ? APInt::getSignedMinValue(bits) : APInt::getZero(bits))
                         : (isOrdered ? APInt::getSignedMaxValue(bits) : APInt::getAllOnes(bits));
  Value init = arith::ConstantOp::create(ctx.b, ctx.b.getIntegerAttr(type, worst));
  return ctx.reduce(input, axis, type, init,
                    [&](ImplicitLocOpBuilder &b, Value acc, Value element) -> Value {
                      if (greatest)
                        return isOrdered ? Value(arith::MaxSIOp::create(b, acc, element))
                                         : Value(arith::MaxUIOp::create(b, acc, element));
                      return isOrdered ? Value(arith::MinSIOp::create(b, acc, element))
                                       : Value(arith::MinUIOp::create(b, acc, element));
                    });
}

/// Whether two of a kind are the same; NaN is.
static Value areSame(ImplicitLocOpBuilder &b, Value x, Value y) {
  if (!isa<FloatType>(x.getType()))
    return arith::CmpIOp::create(b, arith::CmpIPredicate::eq, x, y);
  Value areNaN = arith::AndIOp::create(b, arith::CmpFOp::create(b, arith::CmpFPredicate::UNO, x, x),
                                       arith::CmpFOp::create(b, arith::CmpFPredicate::UNO, y, y));
  Value areEqual = arith::CmpFOp::create(b, arith::CmpFPredicate::OEQ, x, y);
  return arith::OrIOp::create(b, areEqual, areNaN);
}

/// Two reductions: the extreme, then the first or last index of what equals it. The first NaN
/// counts, as NumPy has it.
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
  TensorValue best = extreme(ctx, input, axis, greatest);
  SmallVector<AffineMap> maps = {b.getMultiDimIdentityMap(rank), resultMap, resultMap};
  Value nowhere = intConstant(b, i64, selectLast ? -1 : std::numeric_limits<int64_t>::max());
  Value inputs[] = {input.value, best.value};
  auto generic = linalg::GenericOp::create(
      b, ctx.empty(kept, i64).getType(), inputs, ctx.filled(kept, i64, nowhere), maps, iterators,
      [&](OpBuilder &builder, Location loc, ValueRange args) {
        ImplicitLocOpBuilder nested(loc, builder);
        Value hit = areSame(nested, LoweringContext::load(nested, args[0], type), args[1]);
        Value index =
            arith::IndexCastOp::create(nested, i64, linalg::IndexOp::create(nested, axis));
        index = arith::SelectOp::create(nested, hit, index, nowhere);
        Value next = selectLast ? Value(arith::MaxSIOp::create(nested, args[2], index))
                                : Value(arith::MinSIOp::create(nested, args[2], index));
        linalg::YieldOp::create(nested, next);
      });
  TensorValue found = ctx.make(generic.getResult(0), i64, kept);
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
