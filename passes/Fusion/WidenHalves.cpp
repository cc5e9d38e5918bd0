//===- WidenHalves.cpp - Kernels compute f16 and bf16 in f32 --------------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "passes/Fusion/Passes.h"

#include "dialects/SSM/KernelBuilders.h"
#include "dialects/SSM/KernelViews.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/PatternMatch.h"

namespace ssm {
#define GEN_PASS_DEF_WIDENHALVES
#include "passes/Fusion/Passes.h.inc"
} // namespace ssm

using namespace mlir;
using namespace ssm;

static bool isHalf(Type type) { return type.isF16() || type.isBF16(); }

/// What users extend again is used as it was before it was rounded, unless a Cast asks for that.
static void dropRoundings(KernelOp kernel) {
  for (Operation &op : llvm::make_early_inc_range(kernel.getStep())) {
    auto extend = dyn_cast<arith::ExtFOp>(op);
    auto round = extend ? extend.getIn().getDefiningOp<arith::TruncFOp>() : arith::TruncFOp();
    if (!round || !isHalf(round.getType()) || round.getIn().getType() != extend.getType() ||
        round->hasAttr(kCastAttr))
      continue;
    extend.replaceAllUsesWith(round.getIn());
    extend.erase();
    if (round.use_empty())
      round.erase();
  }
}

/// Whether carry i is computed in f32 and rounded to be kept.
static bool isRounded(KernelOp kernel, unsigned i) {
  auto round = kernel.getYield().getValues()[i].getDefiningOp<arith::TruncFOp>();
  return round && round->getBlock() == &kernel.getStep() && isHalf(round.getType()) &&
         round.getIn().getType().isF32() && !round->hasAttr(kCastAttr);
}

/// A tensor in another floating-point type.
static Value convert(IRRewriter &rewriter, Location loc, Value tensor, Type element) {
  SmallVector<OpFoldResult> sizes;
  unsigned rank = cast<RankedTensorType>(tensor.getType()).getRank();
  for (unsigned axis = 0; axis < rank; ++axis) {
    OpFoldResult known = getKnownSize(tensor, axis);
    sizes.push_back(known ? known : tensor::getMixedSize(rewriter, loc, tensor, axis));
  }
  Value out = tensor::EmptyOp::create(rewriter, loc, sizes, element);
  auto compute = [&](Value x) -> Value {
    if (element.isF32())
      return arith::ExtFOp::create(rewriter, loc, element, x);
    return arith::TruncFOp::create(rewriter, loc, element, x);
  };
  return buildElementwise(rewriter, loc, tensor, rewriter.getMultiDimIdentityMap(rank), out,
                          compute)
      .getResult(0);
}

static void widenCarries(IRRewriter &rewriter, KernelOp kernel) {
  SmallVector<unsigned> widened;
  for (unsigned i = 0; i < kernel.getNumCarries(); ++i)
    if (isRounded(kernel, i))
      widened.push_back(i);
  if (widened.empty())
    return;
  rewriter.setInsertionPoint(kernel);
  Location loc = kernel.getLoc();
  Type f32 = rewriter.getF32Type();
  SmallVector<Value> inits(kernel.getInits()), outs(kernel.getOuts());
  for (unsigned i : widened) {
    if (isa<RankedTensorType>(inits[i].getType()))
      inits[i] = convert(rewriter, loc, inits[i], f32);
    else
      inits[i] = arith::ExtFOp::create(rewriter, loc, f32, inits[i]);
    SmallVector<OpFoldResult> sizes;
    for (int64_t axis = 0; axis < cast<RankedTensorType>(outs[i].getType()).getRank(); ++axis)
      sizes.push_back(tensor::getMixedSize(rewriter, loc, outs[i], axis));
    outs[i] = tensor::EmptyOp::create(rewriter, loc, sizes, f32);
  }
  auto made = KernelOp::create(rewriter, loc, ValueRange(outs).getTypes(), kernel.getLoopsAttr(),
                               kernel.getTimeAttr(), kernel.getInputs(), inits, outs,
                               kernel.getMapsAttr(), kernel.getMirroredAttr(),
                               kernel.getTransitionAttr(), kernel.getConfigAttr());
  made->setDiscardableAttrs(llvm::to_vector(kernel->getDiscardableAttrs()));
  made.getBody().takeBody(kernel.getBody());
  for (unsigned i : widened) {
    BlockArgument carry = made.getCarryArg(i);
    Type half = carry.getType();
    carry.setType(f32);
    rewriter.setInsertionPointToStart(&made.getStep());
    auto rounded = arith::TruncFOp::create(rewriter, loc, half, carry);
    rewriter.replaceUsesWithIf(carry, rounded, [&](OpOperand &use) {
      return use.getOwner() != rounded;
    });
    OpOperand &next = made.getYield()->getOpOperand(i);
    next.set(next.get().getDefiningOp<arith::TruncFOp>().getIn());
  }
  dropRoundings(made);
  rewriter.setInsertionPointAfter(made);
  for (auto [i, result] : llvm::enumerate(kernel.getResults())) {
    Value value = made.getResult(i);
    if (value.getType() != result.getType() && !result.use_empty())
      value = convert(rewriter, loc, value,
                      cast<RankedTensorType>(result.getType()).getElementType());
    if (value.getType() == result.getType())
      rewriter.replaceAllUsesWith(result, value);
  }
  rewriter.eraseOp(kernel);
}

namespace {
struct WidenHalves : ssm::impl::WidenHalvesBase<WidenHalves> {
  void runOnOperation() override {
    IRRewriter rewriter(&getContext());
    SmallVector<KernelOp> kernels;
    getOperation().walk([&](KernelOp kernel) { kernels.push_back(kernel); });
    for (KernelOp kernel : kernels) {
      dropRoundings(kernel);
      widenCarries(rewriter, kernel);
    }
    getOperation().walk([](Operation *op) { op->removeDiscardableAttr(kCastAttr); });
  }
};
} // namespace
