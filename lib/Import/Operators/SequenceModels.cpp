//===- SequenceModels.cpp - What operators of sequence models share -------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "lib/Import/Operators/SequenceModels.h"

#include "lib/Import/Operators/Families.h"
#include "lib/Import/Operators/Reductions.h"
#include "mlir/Dialect/Arith/IR/Arith.h"

using namespace mlir;
using namespace ssm;
using namespace ssm::onnx;

AffineExpr ssm::onnx::betterSize(AffineExpr a, AffineExpr b) { return constantValue(b) ? b : a; }

FailureOr<AffineExpr> ssm::onnx::mergeSizes(InferContext &ctx, AffineExpr a, AffineExpr b,
                                            const Twine &what) {
  if (failed(ctx.requireEqual(a, b, what)))
    return failure();
  return betterSize(a, b);
}

LogicalResult ssm::onnx::requireRanks(InferContext &ctx, std::initializer_list<unsigned> indices,
                                      int64_t min, int64_t max) {
  for (unsigned i : indices)
    if (ctx.hasInput(i) && failed(ctx.requireRank(i, min, max)))
      return failure();
  return success();
}

LogicalResult ssm::onnx::requireFloats(InferContext &ctx, std::initializer_list<unsigned> indices) {
  for (unsigned i : indices)
    if (ctx.hasInput(i) && failed(ctx.requireFloat(i)))
      return failure();
  return success();
}

FailureOr<AffineExpr> ssm::onnx::inferQuotient(InferContext &ctx, AffineExpr size, int64_t divisor,
                                               const Twine &what) {
  if (auto constant = constantValue(size); constant && *constant % divisor != 0) {
    (void)ctx.error(what + " is " + Twine(*constant) + ", expected a multiple of " +
                    Twine(divisor));
    return failure();
  }
  return ctx.facts.div(size, ctx.facts.constant(divisor));
}

AffineExpr ssm::onnx::exactQuotient(LoweringContext &ctx, AffineExpr size, AffineExpr divisor,
                                    const Twine &what) {
  ImplicitLocOpBuilder &b = ctx.b;
  AffineExpr quotient = size == divisor ? ctx.facts.constant(1) : ctx.facts.div(size, divisor);
  if (quotient && ctx.facts.mul(quotient, divisor) == size)
    return quotient;
  Value whole = ctx.size(size), part = ctx.size(divisor);
  // A divisor of 0 goes with a size of 0.
  Value safe = arith::MaxUIOp::create(b, part, ctx.index(1));
  Value rest = arith::RemUIOp::create(b, whole, safe);
  ctx.check(arith::CmpIOp::create(b, arith::CmpIPredicate::eq, rest, ctx.index(0)),
            what + " is {0}, expected a multiple of {1}", {whole, part});
  if (quotient)
    return quotient;
  AffineExpr symbol = ctx.facts.fresh();
  ctx.bind(symbol, arith::DivUIOp::create(b, whole, safe));
  return symbol;
}

TensorValue ssm::onnx::withSizes(LoweringContext &ctx, unsigned i, ArrayRef<AffineExpr> dims) {
  TensorValue input = ctx.get(i);
  for (auto [axis, have, want] : llvm::enumerate(input.dims, dims))
    ctx.checkEqual(have, want, "size of axis " + Twine(axis) + " of input " + Twine(i));
  return ctx.reshape(input, dims);
}

void ssm::onnx::registerSequenceModelOperators(OperatorTable &table) {
  registerLinearAttentionOperators(table);
  registerCausalConvOperators(table);
  registerAttentionOperators(table);
  registerRotaryOperators(table);
}
