//===- FoldFlips.cpp - Reversed sequences become reversed scans -----------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "passes/Raising/Passes.h"

#include "dialects/SSM/KernelLoops.h"
#include "dialects/SSM/KernelViews.h"
#include "dialects/SSM/SSMOps.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Arith/Utils/Utils.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/Matchers.h"
#include "mlir/IR/PatternMatch.h"

namespace ssm {
#define GEN_PASS_DEF_FOLDFLIPS
#include "passes/Raising/Passes.h.inc"
} // namespace ssm

using namespace mlir;
using namespace ssm;

namespace {
/// A tensor whose elements are those of another along one axis from the end.
struct Flip {
  Value source;
  int64_t axis;
};
} // namespace

/// Whether `last` is the size less one.
static bool isLastOf(Value last, OpFoldResult size) {
  APInt constant;
  if (matchPattern(last, m_ConstantInt(&constant))) {
    auto known = getConstantIntValue(size);
    return known && constant.getSExtValue() == *known - 1;
  }
  auto value = dyn_cast<Value>(size);
  if (!value)
    return false;
  if (auto add = last.getDefiningOp<arith::AddIOp>())
    return add.getLhs() == value && matchPattern(add.getRhs(), m_ConstantInt(&constant)) &&
           constant.isAllOnes();
  if (auto sub = last.getDefiningOp<arith::SubIOp>())
    return sub.getLhs() == value && matchPattern(sub.getRhs(), m_One());
  return false;
}

static std::optional<Flip> matchFlip(Value value) {
  auto op = value.getDefiningOp<KernelOp>();
  if (!op || op.getTime() || !op.getInputs().empty() || op.getNumResults() != 1 ||
      !op.getOutMap(0).isIdentity())
    return std::nullopt;
  auto extract = op.getYield().getValues()[0].getDefiningOp<tensor::ExtractOp>();
  if (!extract || extract->getBlock() != &op.getStep() ||
      extract.getTensor().getType() != value.getType())
    return std::nullopt;
  Flip flip = {extract.getTensor(), -1};
  for (auto [axis, index] : llvm::enumerate(extract.getIndices())) {
    if (auto plain = index.getDefiningOp<ssm::IndexOp>(); plain && plain.getLoop() == axis)
      continue;
    auto sub = index.getDefiningOp<arith::SubIOp>();
    auto own = sub ? sub.getRhs().getDefiningOp<ssm::IndexOp>() : ssm::IndexOp();
    if (!own || own.getLoop() != axis || flip.axis >= 0)
      return std::nullopt;
    OpFoldResult size = getKnownSize(value, axis);
    if (!size || !isLastOf(sub.getLhs(), size) || !isSizeOf(size, flip.source, axis))
      return std::nullopt;
    flip.axis = axis;
  }
  return flip.axis < 0 ? std::nullopt : std::optional(flip);
}

/// Reverses a tensor along an axis, behind what made it; its users read that.
static void flipForUsers(IRRewriter &rewriter, Value tensor, int64_t axis) {
  rewriter.setInsertionPointAfterValue(tensor);
  Location loc = tensor.getLoc();
  auto type = cast<RankedTensorType>(tensor.getType());
  SmallVector<OpFoldResult> sizes;
  for (int64_t i = 0; i < type.getRank(); ++i) {
    OpFoldResult known = getKnownSize(tensor, i);
    sizes.push_back(known ? known : tensor::getMixedSize(rewriter, loc, tensor, i));
  }
  Value size = getValueOrCreateConstantIndexOp(rewriter, loc, sizes[axis]);
  Value minusOne = arith::ConstantIndexOp::create(rewriter, loc, -1);
  Value last = rewriter.createOrFold<arith::AddIOp>(loc, size, minusOne);
  Value empty = tensor::EmptyOp::create(rewriter, loc, sizes, type.getElementType());
  AffineMap identity = rewriter.getMultiDimIdentityMap(type.getRank());
  auto flip = KernelOp::create(rewriter, loc, TypeRange(type),
                               rewriter.getI64IntegerAttr(type.getRank()), IntegerAttr(),
                               ValueRange(), ValueRange(), empty,
                               rewriter.getAffineMapArrayAttr(identity), DenseBoolArrayAttr(),
                               TransitionAttr(), ConfigAttr());
  rewriter.createBlock(&flip.getBody());
  SmallVector<Value> indices;
  for (int64_t i = 0; i < type.getRank(); ++i)
    indices.push_back(ssm::IndexOp::create(rewriter, loc, rewriter.getIndexType(), i));
  indices[axis] = arith::SubIOp::create(rewriter, loc, last, indices[axis]);
  Value element = tensor::ExtractOp::create(rewriter, loc, tensor, indices);
  YieldOp::create(rewriter, loc, element);
  rewriter.replaceUsesWithIf(tensor, flip.getResult(0), [&](OpOperand &use) {
    return !isa<tensor::DimOp>(use.getOwner()) && !flip->isAncestor(use.getOwner());
  });
}

/// A loop along which a kernel reads only reversed inputs may run the other way: then
/// its results are reversed.
static void sinkThrough(IRRewriter &rewriter, KernelOp kernel) {
  if (kernel.getTime() || kernel.hasBuffers())
    return;
  for (unsigned loop = 0; loop < kernel.getNumLoops(); ++loop) {
    SmallVector<std::pair<unsigned, Value>> sources;
    bool all = true;
    for (unsigned i = 0; all && i < kernel.getInputs().size(); ++i) {
      AffineMap map = kernel.getInputMap(i);
      if (!map.isFunctionOfDim(loop))
        continue;
      auto flip = matchFlip(kernel.getInputs()[i]);
      all = flip && map.getResult(flip->axis) == rewriter.getAffineDimExpr(loop) &&
            llvm::count_if(map.getResults(),
                           [&](AffineExpr expr) { return expr.isFunctionOfDim(loop); }) == 1;
      if (all)
        sources.push_back({i, flip->source});
    }
    for (auto index : kernel.getStep().getOps<IndexOp>())
      all &= index.getLoop() != loop;
    if (!all || sources.empty())
      continue;
    rewriter.modifyOpInPlace(kernel, [&] {
      for (auto [i, source] : sources)
        kernel.getInputsMutable()[i].set(source);
    });
    for (unsigned i = 0; i < kernel.getNumResults(); ++i)
      for (auto [axis, expr] : llvm::enumerate(kernel.getOutMap(i).getResults()))
        if (expr == rewriter.getAffineDimExpr(loop))
          flipForUsers(rewriter, kernel.getResult(i), axis);
  }
}

/// A slice that takes all of the reversed axis is one of what was reversed.
static void sinkThrough(IRRewriter &rewriter, tensor::ExtractSliceOp slice) {
  auto flip = matchFlip(slice.getSource());
  if (!flip || slice.getDroppedDims().any() ||
      getConstantIntValue(slice.getMixedOffsets()[flip->axis]) != 0 ||
      getConstantIntValue(slice.getMixedStrides()[flip->axis]) != 1 ||
      !isSizeOf(slice.getMixedSizes()[flip->axis], flip->source, flip->axis))
    return;
  rewriter.modifyOpInPlace(slice, [&] { slice.getSourceMutable().set(flip->source); });
  flipForUsers(rewriter, slice.getResult(), flip->axis);
}

/// Reversed inputs are read from the end. Where all are, the outputs are written so
/// too and reversed for their users, who may undo it.
static void absorb(IRRewriter &rewriter, ScanOp scan) {
  SmallVector<bool> inputs(scan.getInputReversed()), outs(scan.getOutputReversed());
  bool all = !inputs.empty();
  for (auto [i, axis] : llvm::enumerate(scan.getInputAxes())) {
    auto flip = matchFlip(scan.getInputs()[i]);
    if (!flip || flip->axis != axis) {
      all = false;
      continue;
    }
    inputs[i] = !inputs[i];
    OpOperand &operand = scan.getInputsMutable()[i];
    rewriter.modifyOpInPlace(scan, [&] { operand.set(flip->source); });
  }
  unsigned numCarries = scan.getCarries().size();
  for (unsigned i = 0; i < scan.getOutputAxes().size(); ++i) {
    int64_t axis = scan.getOutputAxes()[i];
    Value result = scan.getResult(numCarries + i);
    bool undone = !result.use_empty() && llvm::all_of(result.getUsers(), [&](Operation *user) {
      auto reader = user->getParentOfType<KernelOp>();
      auto flip = reader && reader.getNumResults() == 1 ? matchFlip(reader.getResult(0))
                                                        : std::nullopt;
      return isa<tensor::DimOp>(user) || (flip && flip->source == result && flip->axis == axis);
    });
    if (!all && !undone)
      continue;
    outs[i] = !outs[i];
    flipForUsers(rewriter, result, axis);
  }
  rewriter.modifyOpInPlace(scan, [&] {
    scan.setInputReversed(inputs);
    scan.setOutputReversed(outs);
  });
}

namespace {
struct FoldFlips : ssm::impl::FoldFlipsBase<FoldFlips> {
  void runOnOperation() override {
    IRRewriter rewriter(&getContext());
    // In order: what is reversed anew is met by the users behind.
    SmallVector<Operation *> ops;
    getOperation().walk<WalkOrder::PreOrder>([&](Operation *op) {
      if (isa<KernelOp, tensor::ExtractSliceOp, ScanOp>(op))
        ops.push_back(op);
    });
    for (Operation *op : ops) {
      if (auto slice = dyn_cast<tensor::ExtractSliceOp>(op))
        sinkThrough(rewriter, slice);
      else if (auto scan = dyn_cast<ScanOp>(op))
        absorb(rewriter, scan);
      else if (auto flip = matchFlip(op->getResult(0)); !flip)
        sinkThrough(rewriter, cast<KernelOp>(op));
      else if (auto inner = matchFlip(flip->source); inner && inner->axis == flip->axis)
        rewriter.replaceAllUsesWith(op->getResult(0), inner->source);
    }
  }
};
} // namespace
