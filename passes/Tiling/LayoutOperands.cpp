//===- LayoutOperands.cpp - Lanes as the last axis ------------------------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "passes/Tiling/Passes.h"

#include "dialects/SSM/KernelBuilders.h"
#include "dialects/SSM/KernelMerge.h"
#include "dialects/SSM/SSMOps.h"
#include "lib/Analysis/KernelShape.h"
#include "lib/Analysis/WeightValues.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

namespace ssm {
#define GEN_PASS_DEF_LAYOUTOPERANDS
#include "passes/Tiling/Passes.h.inc"
} // namespace ssm

using namespace mlir;
using namespace ssm;

namespace {

/// The axis that the lane loop indexes alone, if it is not the last one that is
/// longer than 1.
std::optional<unsigned> misplacedAxis(Type operand, AffineMap map, unsigned lane) {
  auto type = dyn_cast<RankedTensorType>(operand);
  if (!type)
    return std::nullopt;
  std::optional<unsigned> found;
  bool isLast = true;
  for (int axis = map.getNumResults() - 1; axis >= 0; --axis) {
    AffineExpr expr = map.getResult(axis);
    if (type.getDimSize(axis) == 1)
      continue;
    auto dim = dyn_cast<AffineDimExpr>(expr);
    if (dim && dim.getPosition() == lane) {
      if (isLast || found)
        return std::nullopt;
      found = axis;
    } else if (expr.isFunctionOfDim(lane)) {
      return std::nullopt;
    }
    isLast = false;
  }
  return found;
}

/// `list` with element `axis` moved to the end.
template <typename T> SmallVector<T> moveLast(ArrayRef<T> list, unsigned axis) {
  SmallVector<T> moved(list);
  T element = moved[axis];
  moved.erase(moved.begin() + axis);
  moved.push_back(element);
  return moved;
}

AffineMap moveLast(AffineMap map, unsigned axis) {
  return AffineMap::get(map.getNumDims(), 0, moveLast(map.getResults(), axis), map.getContext());
}

struct LayoutOperands : ssm::impl::LayoutOperandsBase<LayoutOperands> {
  void runOnOperation() override {
    SmallVector<KernelOp> kernels;
    getOperation()->walk([&](KernelOp kernel) {
      if (!kernel.hasBuffers() && kernel.getConfig() &&
          (kernel.getConfig()->getForm() == Form::Recurrence ||
           kernel.getConfig()->getForm() == Form::Rows))
        kernels.push_back(kernel);
    });
    for (KernelOp kernel : kernels)
      layout(kernel);
    for (KernelOp turn : turns)
      takeConversions(turn);
  }

  /// Whether the kernel does no more than to convert each element to another type.
  static bool isConversion(KernelOp kernel) {
    return !kernel.getTime() && kernel.getNumResults() == 1 && kernel.getInputs().size() == 1 &&
           llvm::hasNItems(kernel.getStep().getOperations(), 2) &&
           isa<arith::ExtFOp, arith::TruncFOp>(kernel.getStep().front());
  }

  /// A tensor that is converted before, or behind, its axes are turned goes through memory
  /// once: a state in f16, say.
  static void takeConversions(KernelOp turn) {
    IRRewriter rewriter(turn.getContext());
    auto before = turn.getInputs()[0].getDefiningOp<KernelOp>();
    if (before && isConversion(before))
      for (Operation *user : llvm::make_early_inc_range(before->getUsers()))
        if (auto dim = dyn_cast<tensor::DimOp>(user))
          dim.getSourceMutable().set(before.getOuts()[0]);
    if (before && isConversion(before) && before->hasOneUse())
      if (auto merged = mergeKernels(rewriter, before, turn, KeepResults::InMerged);
          succeeded(merged))
        turn = *merged;
    auto behind = turn->hasOneUse() ? dyn_cast<KernelOp>(*turn->user_begin()) : KernelOp();
    if (behind && isConversion(behind))
      (void)mergeKernels(rewriter, turn, behind, KeepResults::InMerged);
  }

  /// source with its axes in another order: result axis i is axis order[i].
  Value transpose(OpBuilder &b, Location loc, Value source, ArrayRef<int64_t> order, Value out) {
    auto type = cast<RankedTensorType>(source.getType());
    SmallVector<AffineExpr> exprs(type.getRank());
    for (auto [i, axis] : llvm::enumerate(order))
      exprs[axis] = b.getAffineDimExpr(i);
    AffineMap read = AffineMap::get(type.getRank(), 0, exprs, b.getContext());
    turns.push_back(buildElementwise(b, loc, source, read, out));
    return turns.back().getResult(0);
  }

  static Value transposedEmpty(OpBuilder &b, Location loc, Value like, ArrayRef<int64_t> order) {
    SmallVector<OpFoldResult> sizes;
    SmallVector<OpFoldResult> all = tensor::getMixedSizes(b, loc, like);
    for (int64_t axis : order)
      sizes.push_back(all[axis]);
    return tensor::EmptyOp::create(b, loc, sizes,
                                   cast<RankedTensorType>(like.getType()).getElementType());
  }

  void layout(KernelOp kernel) {
    unsigned lane = kernel.getConfig()->getLaneLoop();
    unsigned numInputs = kernel.getInputs().size(), numCarries = kernel.getNumCarries();
    OpBuilder b(kernel);
    Location loc = kernel.getLoc();
    SmallVector<AffineMap> maps;
    for (unsigned i = 0; i < kernel.getMaps().size(); ++i)
      maps.push_back(kernel.getMap(i));
    SmallVector<Value> operands(kernel->getOperands());
    bool changed = false;
    auto orderOf = [](unsigned rank, unsigned axis) {
      return moveLast(ArrayRef<int64_t>(llvm::to_vector(llvm::seq<int64_t>(0, rank))), axis);
    };
    // Inputs and inits. What is dense along time is turned in registers. Rows are run over
    // once: only what is turned before pays there.
    bool isRows = kernel.getConfig()->getForm() == Form::Rows;
    for (unsigned i = 0; i < numInputs + numCarries; ++i) {
      if (isRows ? !isFromWeights(operands[i]) : isTurnedInSquares(kernel, i))
        continue;
      std::optional<unsigned> axis = misplacedAxis(operands[i].getType(), maps[i], lane);
      if (!axis)
        continue;
      SmallVector<int64_t> order = orderOf(maps[i].getNumResults(), *axis);
      operands[i] =
          transpose(b, loc, operands[i], order, transposedEmpty(b, loc, operands[i], order));
      maps[i] = moveLast(maps[i], *axis);
      changed = true;
    }
    SmallVector<std::optional<unsigned>> turned;
    for (unsigned i = 0; i < kernel.getNumResults(); ++i) {
      unsigned at = numInputs + numCarries + i;
      std::optional<unsigned> axis = isRows || isTurnedInSquares(kernel, at)
                                         ? std::nullopt
                                         : misplacedAxis(operands[at].getType(), maps[at], lane);
      turned.push_back(axis);
      if (!axis)
        continue;
      operands[at] =
          transposedEmpty(b, loc, operands[at], orderOf(maps[at].getNumResults(), *axis));
      maps[at] = moveLast(maps[at], *axis);
      changed = true;
    }
    if (!changed)
      return;

    ValueRange all(operands);
    SmallVector<Type> types;
    for (Value out : all.drop_front(numInputs + numCarries))
      types.push_back(out.getType());
    auto made = KernelOp::create(b, loc, types, kernel.getLoopsAttr(), kernel.getTimeAttr(),
                                 all.take_front(numInputs), all.slice(numInputs, numCarries),
                                 all.drop_front(numInputs + numCarries),
                                 b.getAffineMapArrayAttr(maps), kernel.getMirroredAttr(),
                                 kernel.getTransitionAttr(), kernel.getConfigAttr());
    made->setDiscardableAttrs(llvm::to_vector(kernel->getDiscardableAttrs()));
    made.getBody().takeBody(kernel.getBody());
    for (unsigned i = 0; i < made.getNumResults(); ++i) {
      Value result = made.getResult(i);
      if (turned[i]) {
        // The inverse: the last axis goes back to its place.
        auto rank = cast<RankedTensorType>(result.getType()).getRank();
        SmallVector<int64_t> back;
        for (int64_t axis = 0; axis < rank - 1; ++axis)
          back.push_back(axis);
        back.insert(back.begin() + *turned[i], rank - 1);
        result = transpose(b, loc, result, back, kernel.getOuts()[i]);
      }
      kernel.getResult(i).replaceAllUsesWith(result);
    }
    kernel.erase();
  }

  SmallVector<KernelOp> turns;
};
} // namespace
