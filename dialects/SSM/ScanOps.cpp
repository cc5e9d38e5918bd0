//===- ScanOps.cpp - Recurrences ------------------------------------------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "dialects/SSM/SSMOps.h"

#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/PatternMatch.h"

using namespace mlir;
using namespace ssm;

/// The type of one slice: `type` without dimension `axis`.
static RankedTensorType sliceType(RankedTensorType type, int64_t axis) {
  SmallVector<int64_t> shape(type.getShape());
  shape.erase(shape.begin() + axis);
  return RankedTensorType::get(shape, type.getElementType());
}

LogicalResult ScanOp::verify() {
  size_t numCarries = getCarries().size(), numInputs = getInputs().size(),
         numOuts = getOuts().size();
  if (getInputAxes().size() != numInputs || getInputReversed().size() != numInputs)
    return emitOpError("has ") << numInputs << " inputs, expected as many axes and directions";
  if (getOutputAxes().size() != numOuts || getOutputReversed().size() != numOuts)
    return emitOpError("has ") << numOuts << " outs, expected as many axes and directions";
  if (getNumResults() != numCarries + numOuts)
    return emitOpError("has ") << getNumResults() << " results, expected " << numCarries + numOuts
                               << ", one for each carry and out";

  SmallVector<Type> argTypes(getCarries().getTypes()), yieldTypes(argTypes);
  SmallVector<Type> resultTypes(argTypes);
  auto addSlices = [&](ValueRange values, ArrayRef<int64_t> axes, StringRef what,
                       SmallVectorImpl<Type> &types) -> LogicalResult {
    for (auto [value, axis] : llvm::zip_equal(values, axes)) {
      auto type = cast<RankedTensorType>(value.getType());
      if (axis < 0 || axis >= type.getRank())
        return emitOpError(what) << " axis " << axis << " is out of range for " << type;
      types.push_back(sliceType(type, axis));
    }
    return success();
  };
  if (failed(addSlices(getInputs(), getInputAxes(), "input", argTypes)) ||
      failed(addSlices(getOuts(), getOutputAxes(), "output", yieldTypes)))
    return failure();
  llvm::append_range(resultTypes, getOuts().getTypes());

  Block &block = getBody().front();
  if (SmallVector<Type>(block.getArgumentTypes()) != argTypes)
    return emitOpError("body arguments must be the carries, then the input slices: expected ")
           << argTypes << ", got " << block.getArgumentTypes();
  if (SmallVector<Type>(getResultTypes()) != resultTypes)
    return emitOpError("results must have the types of the carries, then of the outs");
  if (SmallVector<Type>(block.getTerminator()->getOperandTypes()) != yieldTypes)
    return emitOpError("body must yield the carries, then the output slices: expected ")
           << yieldTypes << ", got " << block.getTerminator()->getOperandTypes();
  return success();
}

LogicalResult ScanOp::reifyResultShapes(OpBuilder &builder, ReifiedRankedShapedTypeDims &shapes) {
  for (Value source :
       llvm::concat<Value>(SmallVector<Value>(getCarries()), SmallVector<Value>(getOuts())))
    shapes.push_back(tensor::getMixedSizes(builder, getLoc(), source));
  return success();
}

namespace {
/// Inputs whose slice the body does not read need no slicing.
struct DropUnusedInputs : OpRewritePattern<ScanOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(ScanOp op, PatternRewriter &rewriter) const override {
    Block &block = op.getBody().front();
    unsigned numCarries = op.getCarries().size();
    SmallVector<Value> inputs;
    SmallVector<int64_t> axes;
    SmallVector<bool> reversed;
    llvm::BitVector drop(block.getNumArguments());
    for (auto [i, input] : llvm::enumerate(op.getInputs())) {
      if (block.getArgument(numCarries + i).use_empty()) {
        drop.set(numCarries + i);
        continue;
      }
      inputs.push_back(input);
      axes.push_back(op.getInputAxes()[i]);
      reversed.push_back(op.getInputReversed()[i]);
    }
    if (drop.none())
      return rewriter.notifyMatchFailure(op, "all inputs are read");
    rewriter.modifyOpInPlace(op, [&] {
      op.getInputsMutable().assign(inputs);
      op.setInputAxes(axes);
      op.setInputReversed(reversed);
      block.eraseArguments(drop);
    });
    return success();
  }
};

/// A carry that every step passes on as it is, is a value from outside.
struct DropInvariantCarries : OpRewritePattern<ScanOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(ScanOp op, PatternRewriter &rewriter) const override {
    Block &block = op.getBody().front();
    auto yield = cast<ssm::YieldOp>(block.getTerminator());
    unsigned numCarries = op.getCarries().size();
    llvm::BitVector drop(block.getNumArguments());
    SmallVector<Value> carries, yields, results(op.getNumResults());
    SmallVector<Type> types;
    for (unsigned i = 0; i < numCarries; ++i) {
      Value carry = op.getCarries()[i];
      if (yield.getValues()[i] == block.getArgument(i)) {
        drop.set(i);
        results[i] = carry;
        continue;
      }
      carries.push_back(carry);
      yields.push_back(yield.getValues()[i]);
      types.push_back(carry.getType());
    }
    if (drop.none())
      return rewriter.notifyMatchFailure(op, "every carry changes");
    llvm::append_range(yields, yield.getValues().drop_front(numCarries));
    llvm::append_range(types, op.getOuts().getTypes());

    auto scan = ScanOp::create(rewriter, op.getLoc(), types, op.getLength(), carries,
                               op.getInputs(), op.getOuts(), op.getInputAxes(), op.getOutputAxes(),
                               op.getInputReversed(), op.getOutputReversed());
    rewriter.modifyOpInPlace(yield, [&] { yield.getValuesMutable().assign(yields); });
    for (unsigned i = 0; i < numCarries; ++i)
      if (drop.test(i))
        rewriter.replaceAllUsesWith(block.getArgument(i), results[i]);
    block.eraseArguments(drop);
    rewriter.inlineRegionBefore(op.getBody(), scan.getBody(), scan.getBody().end());
    unsigned next = 0;
    for (Value &result : results)
      if (!result)
        result = scan.getResult(next++);
    rewriter.replaceOp(op, results);
    return success();
  }
};
} // namespace

void ScanOp::getCanonicalizationPatterns(RewritePatternSet &patterns, MLIRContext *context) {
  patterns.add<DropUnusedInputs, DropInvariantCarries>(context);
}
