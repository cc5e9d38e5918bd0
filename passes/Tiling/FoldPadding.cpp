//===- FoldPadding.cpp - Windows hang over the edge of what they read -----===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "passes/Tiling/Passes.h"

#include "dialects/SSM/KernelViews.h"
#include "lib/Analysis/WindowShape.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/Dialect/Utils/StaticValueUtils.h"
#include "mlir/IR/Matchers.h"

namespace ssm {
#define GEN_PASS_DEF_FOLDPADDING
#include "passes/Tiling/Passes.h.inc"
} // namespace ssm

using namespace mlir;
using namespace ssm;

/// Whether a sum does not change where the argument is zero.
static bool addsNothing(ReduceOp reduce, BlockArgument arg) {
  if (reduce.getKind() != arith::AtomicRMWKind::addf)
    return false;
  auto isArg = [&](Value value) {
    while (Operation *op = value.getDefiningOp()) {
      if (!isa<arith::ExtFOp, arith::TruncFOp>(op))
        return false;
      value = op->getOperand(0);
    }
    return value == arg;
  };
  SmallVector<Value> factors = {reduce.getValue()};
  while (!factors.empty()) {
    Value factor = factors.pop_back_val();
    if (isArg(factor))
      return true;
    if (isa_and_nonnull<arith::MulFOp, arith::ExtFOp, arith::TruncFOp>(factor.getDefiningOp()))
      llvm::append_range(factors, factor.getDefiningOp()->getOperands());
  }
  return false;
}

static bool isZero(Value value) {
  return value && (matchPattern(value, m_AnyZeroFloat()) || matchPattern(value, m_Zero()));
}

namespace {
struct FoldPadding : ssm::impl::FoldPaddingBase<FoldPadding> {
  void runOnOperation() override {
    SmallVector<KernelOp> kernels;
    getOperation()->walk([&](KernelOp kernel) {
      if (!kernel.hasBuffers() && !kernel.getPadded() && kernel.getConfig() &&
          kernel.getConfig()->getForm() == Form::Window)
        kernels.push_back(kernel);
    });
    for (KernelOp kernel : kernels)
      fold(kernel);
  }

  static void fold(KernelOp kernel) {
    int64_t lanes = kernel.getConfig()->getLanes();
    std::optional<Window> window = matchWindow(kernel, lanes);
    if (!window || !addsNothing(window->reduce, kernel.getInputArg(window->input)))
      return;
    auto insert = kernel.getInputs()[window->input].getDefiningOp<tensor::InsertSliceOp>();
    if (!insert || !insert.hasUnitStride() ||
        insert.getSourceType().getRank() != insert.getDestType().getRank())
      return;
    OpBuilder b(kernel);
    if (!isZero(getFilledWith(b, insert.getDest())))
      return;
    SmallVector<OpFoldResult> padded =
        tensor::getMixedSizes(b, kernel.getLoc(), insert.getDest());
    if (auto filled = insert.getDest().getDefiningOp<KernelOp>())
      if (auto empty = filled.getOuts()[0].getDefiningOp<tensor::EmptyOp>())
        padded = empty.getMixedSizes();
    AffineMap map = kernel.getInputMap(window->input);
    SmallVector<AffineExpr> results(map.getResults());
    for (unsigned axis = 0; axis < results.size(); ++axis) {
      std::optional<int64_t> begin = getConstantIntValue(insert.getMixedOffsets()[axis]);
      if (!begin)
        return;
      if (*begin == 0 && isEqualConstantIntOrValue(insert.getMixedSizes()[axis], padded[axis]))
        continue;
      results[axis] = results[axis] - *begin;
      // A loop by itself would have the image's size.
      bool isWindow = llvm::any_of(window->axes, [&](const WindowAxis &found) {
        return found.axis == axis;
      });
      if (!isWindow || isa<AffineDimExpr>(results[axis]))
        return;
    }
    // All loops must still have their sizes: positions are the outs', taps the weights'.
    SmallVector<Attribute> maps(kernel.getMaps().begin(), kernel.getMaps().end());
    maps[window->input] = AffineMapAttr::get(
        AffineMap::get(map.getNumDims(), 0, results, map.getContext()));
    kernel.setMapsAttr(b.getArrayAttr(maps));
    kernel.getInputsMutable()[window->input].set(insert.getSource());
    kernel.setPadded(true);
    if (matchWindow(kernel, lanes))
      return;
    maps[window->input] = AffineMapAttr::get(map);
    kernel.setMapsAttr(b.getArrayAttr(maps));
    kernel.getInputsMutable()[window->input].set(insert.getResult());
    kernel.setPadded(false);
  }
};
} // namespace
