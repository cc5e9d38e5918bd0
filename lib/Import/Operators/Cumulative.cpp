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

using namespace mlir;
using namespace ssm;
using namespace ssm::onnx;

static FailureOr<int64_t> cumulativeAxis(InferContext &ctx) {
  if (failed(requireScalar(ctx, 1, "axis")))
    return failure();
  auto axis = requireConstants(ctx, 1, "axis");
  if (failed(axis))
    return failure();
  return ctx.normalizeAxis((*axis)[0], ctx.rank(0));
}

static LogicalResult inferCumulative(InferContext &ctx) {
  if (!isNumberType(ctx.elementType(0)))
    return ctx.error("input 0 must be numbers");
  auto axis = cumulativeAxis(ctx);
  if (failed(axis))
    return failure();
  ctx.setResult(0, ctx.elementType(0), Dims(ctx.dims(0)));
  return success();
}

template <bool isSum> static LogicalResult lowerCumulative(LoweringContext &ctx) {
  auto &b = ctx.b;
  InferContext infer(ctx.getNode(), ctx.facts);
  auto axis = cumulativeAxis(infer);
  if (failed(axis))
    return failure();
  TensorValue input = ctx.get(0);
  bool exclusive = ctx.getInt("exclusive", 0) != 0, reverse = ctx.getInt("reverse", 0) != 0;
  Type type = input.type, compute = computeType(type);
  bool isFloat = isa<FloatType>(compute);
  Type carryType = isFloat ? compute : type;
  Dims slice = input.dims;
  slice.erase(slice.begin() + *axis);

  Value first = isFloat ? realConstant(b, compute, isSum ? 0 : 1)
                        : intConstant(b, compute, isSum ? 0 : 1);
  Value carry = ctx.filled(slice, carryType, first), out = ctx.empty(input.dims, type);
  auto scan = ScanOp::create(b, TypeRange{carry.getType(), out.getType()},
                             ctx.size(input.dims[*axis]), carry, input.value, out,
                             ArrayRef<int64_t>{*axis}, ArrayRef<int64_t>{*axis},
                             ArrayRef<bool>{reverse}, ArrayRef<bool>{reverse});
  ctx.set(0, scan.getResult(1));

  auto sliceType = RankedTensorType::get(staticShape(slice), storageType(type));
  OpBuilder::InsertionGuard guard(b);
  Block *body = b.createBlock(&scan.getBody(), {}, {carry.getType(), sliceType},
                              {b.getLoc(), b.getLoc()});
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
  return success();
}

void ssm::onnx::registerCumulativeOperators(OperatorTable &table) {
  static constexpr AttrSpec kAttrs[] = {{"exclusive", 'i'}, {"reverse", 'i'}};
  table.add({"", "CumSum", 11, 2, 2, 1, 1, kAttrs, inferCumulative, lowerCumulative<true>});
  table.add({"", "CumProd", 26, 2, 2, 1, 1, kAttrs, inferCumulative, lowerCumulative<false>});
}
