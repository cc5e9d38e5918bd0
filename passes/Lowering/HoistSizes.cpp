//===- HoistSizes.cpp - Arithmetic on sizes comes first -------------------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "passes/Lowering/Passes.h"

#include "dialects/SSM/SSMOps.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"

namespace ssm {
#define GEN_PASS_DEF_HOISTSIZES
#include "passes/Lowering/Passes.h.inc"
} // namespace ssm

using namespace mlir;
using namespace ssm;

namespace {
struct HoistSizes : ssm::impl::HoistSizesBase<HoistSizes> {
  void runOnOperation() override {
    if (getOperation().isDeclaration())
      return;
    Block &block = getOperation().getBody().front();
    llvm::DenseSet<Value> sizes;
    Operation *last = nullptr;
    for (Operation &op : llvm::make_early_inc_range(block.without_terminator())) {
      if (!isOfSizes(&op, block, sizes))
        continue;
      sizes.insert(op.result_begin(), op.result_end());
      // In the order that they had: a check stands before what relies on it.
      if (last)
        op.moveAfter(last);
      else
        op.moveBefore(&block, block.begin());
      last = &op;
    }
  }

  /// Whether the operation takes nothing but sizes of the function's arguments, and
  /// what follows from them.
  static bool isOfSizes(Operation *op, Block &block, const llvm::DenseSet<Value> &sizes) {
    if (!isa<CheckOp>(op) && !isMemoryEffectFree(op))
      return false;
    if (auto dim = dyn_cast<tensor::DimOp>(op)) {
      auto arg = dyn_cast<BlockArgument>(dim.getSource());
      return arg && arg.getOwner() == &block && sizes.contains(dim.getIndex());
    }
    bool only = true;
    op->walk([&](Operation *inner) {
      for (Value operand : inner->getOperands())
        only &= sizes.contains(operand) || op->isAncestor(operand.getParentBlock()->getParentOp());
      only &= !isa<LoadWeightOp>(inner);
    });
    return only;
  }
};
} // namespace
