//===- Cumulative.cpp - CumSum, CumProd -----------------------------------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Both are recurrences: ssm.scan with the running value as its carry, in f32 for
// f16 and bf16.
//
//===----------------------------------------------------------------------===//

#include "dialects/SSM/SSMOps.h"
#include "lib/Import/Operators/Elementwise.h"
#include "lib/Import/Operators/Layout.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/SCF/IR/SCF.h"

using namespace mlir;
using namespace ssm;
using namespace ssm::onnx;

static LogicalResult inferCumulative(InferContext &ctx) {
  if (!isNumberType(ctx.elementType(0)))
    return ctx.error("input 0 must be numbers");
  if (failed(ctx.requireInteger(1)) || failed(requireScalar(ctx, 1, "axis")))
    return failure();
  auto axis = ctx.constantInts(1);
  if (axis && failed(ctx.normalizeAxis((*axis)[0], ctx.rank(0))))
    return failure();
  ctx.setResult(0, ctx.elementType(0), Dims(ctx.dims(0)));
  return success();
}

/// The running sums or products along one axis.
static Value cumulate(LoweringContext &ctx, int64_t axis, bool isSum) {
  auto &b = ctx.b;
  TensorValue input = ctx.get(0);
  bool exclusive = ctx.getInt("exclusive", 0) != 0, reverse = ctx.getInt("reverse", 0) != 0;
  Type type = input.type, compute = computeType(type);
  bool isFloat = isa<FloatType>(compute);
  Type carryType = isFloat ? compute : type;
  Dims slice = input.dims;
  slice.erase(slice.begin() + axis);

  Value first =
      isFloat ? realConstant(b, compute, isSum ? 0 : 1) : intConstant(b, compute, isSum ? 0 : 1);
  Value carry = ctx.filled(slice, carryType, first), out = ctx.empty(input.dims, type);
  auto scan =
      ScanOp::create(b, TypeRange{carry.getType(), out.getType()}, ctx.size(input.dims[axis]),
                     carry, input.value, out, ArrayRef<int64_t>{axis}, ArrayRef<int64_t>{axis},
                     ArrayRef<bool>{reverse}, ArrayRef<bool>{reverse});
  auto sliceType = RankedTensorType::get(staticShape(slice), storageType(type));
  OpBuilder::InsertionGuard guard(b);
  Block *body =
      b.createBlock(&scan.getBody(), {}, {carry.getType(), sliceType}, {b.getLoc(), b.getLoc()});
  Value inits[] = {body->getArgument(0), ctx.empty(slice, type)};
  int64_t rank = slice.size();
  SmallVector<AffineMap> maps(3, b.getMultiDimIdentityMap(rank));
  SmallVector<utils::IteratorType> iterators(rank, utils::IteratorType::parallel);
  auto step = linalg::GenericOp::create(
      b, TypeRange(ValueRange(inits)), body->getArgument(1), inits, maps, iterators,
      [&](OpBuilder &builder, Location loc, ValueRange args) {
        ImplicitLocOpBuilder nested(loc, builder);
        Value value = LoweringContext::load(nested, args[0], type), before = args[1], after;
        if (isFloat)
          after = isSum ? Value(arith::AddFOp::create(nested, before, value))
                        : Value(arith::MulFOp::create(nested, before, value));
        else
          after = isSum ? Value(arith::AddIOp::create(nested, before, value))
                        : Value(arith::MulIOp::create(nested, before, value));
        Value given = LoweringContext::store(nested, exclusive ? before : after, type);
        linalg::YieldOp::create(nested, ValueRange{after, given});
      });
  ssm::YieldOp::create(b, step.getResults());
  return scan.getResult(1);
}

/// Chooses among the axes from `first` on at run time.
static Value cumulateAlong(LoweringContext &ctx, Value axis, int64_t first, bool isSum) {
  auto &b = ctx.b;
  if (first + 1 == ctx.rank(0))
    return cumulate(ctx, first, isSum);
  Value here = arith::CmpIOp::create(b, arith::CmpIPredicate::eq, axis, ctx.index(first));
  auto branch = scf::IfOp::create(b, ctx.lowered(0).getType(), here, /*withElseRegion=*/true);
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToStart(branch.thenBlock());
  scf::YieldOp::create(b, cumulate(ctx, first, isSum));
  b.setInsertionPointToStart(branch.elseBlock());
  scf::YieldOp::create(b, cumulateAlong(ctx, axis, first + 1, isSum));
  return branch.getResult(0);
}

template <bool isSum> static LogicalResult lowerCumulative(LoweringContext &ctx) {
  int64_t rank = ctx.rank(0);
  InferContext infer(ctx.getNode(), ctx.facts);
  if (auto axis = infer.constantInts(1)) {
    ctx.set(0, cumulate(ctx, (*axis)[0] < 0 ? (*axis)[0] + rank : (*axis)[0], isSum));
    return success();
  }
  if (rank == 0)
    return ctx.error("input 0 has rank 0, expected an axis to go along");
  // No axis is known to be constant: one branch for each.
  auto &b = ctx.b;
  Value axis = arith::IndexCastOp::create(b, b.getIndexType(), scalarInt(ctx, 1));
  Value shifted = arith::AddIOp::create(b, axis, ctx.index(rank));
  ctx.check(arith::CmpIOp::create(b, arith::CmpIPredicate::ult, shifted, ctx.index(2 * rank)),
            "axis {0} is out of range for rank " + Twine(rank), axis);
  Value negative = arith::CmpIOp::create(b, arith::CmpIPredicate::slt, axis, ctx.index(0));
  axis = arith::SelectOp::create(b, negative, shifted, axis);
  ctx.set(0, cumulateAlong(ctx, axis, 0, isSum));
  return success();
}

void ssm::onnx::registerCumulativeOperators(OperatorTable &table) {
  static constexpr AttrSpec kAttrs[] = {{"exclusive", 'i'}, {"reverse", 'i'}};
  table.add({"", "CumSum", 11, 2, 2, 1, 1, kAttrs, inferCumulative, lowerCumulative<true>});
  table.add({"", "CumProd", 26, 2, 2, 1, 1, kAttrs, inferCumulative, lowerCumulative<false>});
}
