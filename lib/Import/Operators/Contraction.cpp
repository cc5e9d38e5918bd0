//===- Contraction.cpp - What MatMul, Gemm, Einsum and Conv share ---------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "lib/Import/Operators/Contraction.h"

#include "lib/Import/Operators/Families.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

using namespace mlir;
using namespace ssm;
using namespace ssm::onnx;

void ssm::onnx::registerContractionOperators(OperatorTable &table) {
  registerMatMulOperators(table);
  registerEinsumOperators(table);
  registerConvOperators(table);
}

LogicalResult ssm::onnx::requireByte(InferContext &ctx, unsigned i) {
  auto type = dyn_cast<IntegerType>(ctx.elementType(i));
  if (type && type.getWidth() == 8)
    return success();
  return ctx.error("input " + Twine(i) + " has another element type than int8 or uint8");
}

Value ssm::onnx::widenByte(ImplicitLocOpBuilder &b, Value byte, Type type) {
  if (isUnsigned(type))
    return arith::ExtUIOp::create(b, b.getI32Type(), byte);
  return arith::ExtSIOp::create(b, b.getI32Type(), byte);
}

bool ssm::onnx::isZeroPointOfZero(LoweringContext &ctx, unsigned i) {
  if (!ctx.hasInput(i))
    return true;
  DenseElementsAttr known = ctx.constantInput(i);
  return known && llvm::all_of(known.getValues<APInt>(), [](const APInt &x) { return x.isZero(); });
}

void ssm::onnx::bindBroadcastSize(LoweringContext &ctx, AffineExpr size,
                                  ArrayRef<AffineExpr> operands) {
  if (!isa<AffineSymbolExpr>(size) || ctx.isBound(size))
    return;
  ImplicitLocOpBuilder &b = ctx.b;
  auto equal = [&](Value x, Value y) {
    return b.createOrFold<arith::CmpIOp>(arith::CmpIPredicate::eq, x, y);
  };
  Value one = ctx.index(1), result = one;
  for (AffineExpr operand : operands) {
    Value own = ctx.size(operand);
    Value isOne = equal(own, one);
    Value fits = arith::OrIOp::create(
        b, isOne, arith::OrIOp::create(b, equal(result, one), equal(own, result)));
    ctx.check(fits, "sizes {0} and {1} of a broadcast axis, expected the same size or 1",
              {result, own});
    result = b.createOrFold<arith::SelectOp>(isOne, result, own);
  }
  ctx.bind(size, result);
}

/// Whether the tensor is a part of another: its rows need not lie one behind the other, and
/// one layout for both branches would be one of which nothing is known.
static bool isPart(Value tensor) {
  while (Operation *op = tensor.getDefiningOp()) {
    if (!isa<tensor::CastOp, tensor::ExpandShapeOp, tensor::CollapseShapeOp>(op))
      return isa<tensor::ExtractSliceOp>(op);
    tensor = op->getOperand(0);
  }
  return false;
}

/// The tensor as it is where its sizes turn out to be those, else expanded to them.
static TensorValue expandIfShorter(LoweringContext &ctx, const TensorValue &tensor,
                                   ArrayRef<AffineExpr> dims) {
  ImplicitLocOpBuilder &b = ctx.b;
  Value areEqual;
  for (auto [own, wanted] : llvm::zip_equal(tensor.dims, dims)) {
    if (own == wanted)
      continue;
    Value equal = b.createOrFold<arith::CmpIOp>(arith::CmpIPredicate::eq, ctx.size(own),
                                                ctx.size(wanted));
    areEqual = areEqual ? b.createOrFold<arith::AndIOp>(areEqual, equal) : equal;
  }
  if (!areEqual || isPart(tensor.value))
    return ctx.expand(tensor, dims);
  // Out here, where sizes that are first asked for are known to what follows too.
  auto type = cast<RankedTensorType>(ctx.empty(dims, tensor.type).getType());
  auto choice = scf::IfOp::create(b, type, areEqual, /*withElseRegion=*/true);
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToStart(choice.thenBlock());
  Value same = tensor.value;
  if (same.getType() != type)
    same = tensor::CastOp::create(b, type, same);
  scf::YieldOp::create(b, same);
  b.setInsertionPointToStart(choice.elseBlock());
  scf::YieldOp::create(b, ctx.expand(tensor, dims).value);
  return ctx.make(choice.getResult(0), tensor.type, dims);
}

void ssm::onnx::fitToLabels(LoweringContext &ctx, LabelledTensor &operand, const LabelSizes &sizes,
                            llvm::function_ref<bool(int)> mayBroadcast) {
  Dims target = operand.tensor.dims;
  for (auto [axis, label] : llvm::enumerate(operand.labels)) {
    AffineExpr &own = target[axis];
    AffineExpr size = sizes.lookup(label);
    if (own == size)
      continue;
    if (constantValue(own) == 1)
      label = kBroadcastAxis;
    else if (mayBroadcast(label))
      own = size;
    else
      ctx.checkEqual(own, size, "sizes of a common axis");
  }
  operand.tensor = expandIfShorter(ctx, operand.tensor, target);
}

LabelledTensor ssm::onnx::contractLabels(LoweringContext &ctx, const LabelledTensor &lhs,
                                         const LabelledTensor &rhs, ArrayRef<int> result,
                                         const LabelSizes &sizes, Type type) {
  Labels loops(result);
  for (const LabelledTensor *operand : {&lhs, &rhs})
    for (int label : operand->labels)
      if (label != kBroadcastAxis && !llvm::is_contained(loops, label))
        loops.push_back(label);
  auto mapOf = [&](ArrayRef<int> labels) {
    SmallVector<AffineExpr> axes;
    for (int label : labels)
      axes.push_back(label == kBroadcastAxis
                         ? ctx.b.getAffineConstantExpr(0)
                         : ctx.b.getAffineDimExpr(llvm::find(loops, label) - loops.begin()));
    return AffineMap::get(loops.size(), 0, axes, ctx.b.getContext());
  };
  Dims loopDims = llvm::map_to_vector<4>(loops, [&](int label) { return sizes.lookup(label); });
  TensorValue product = ctx.contract(lhs.tensor, rhs.tensor, mapOf(lhs.labels), mapOf(rhs.labels),
                                     mapOf(result), loopDims, type);
  return {product, Labels(result)};
}
