//===- SeparateTemporaries.cpp - A temporary for each writer --------------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "passes/Memory/Passes.h"

#include "dialects/SSM/SSMOps.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

namespace ssm {
#define GEN_PASS_DEF_SEPARATETEMPORARIES
#include "passes/Memory/Passes.h.inc"
} // namespace ssm

using namespace mlir;
using namespace ssm;

/// Whether the operation writes all of what it gets there, and reads nothing of it.
static bool isWriter(OpOperand &use) {
  Operation *user = use.getOwner();
  auto structured = dyn_cast<DestinationStyleOpInterface>(user);
  return isa<KernelOp, linalg::LinalgOp>(user) && structured.isDpsInit(&use);
}

namespace {
struct SeparateTemporaries : ssm::impl::SeparateTemporariesBase<SeparateTemporaries> {
  void runOnOperation() override {
    SmallVector<tensor::EmptyOp> empties;
    getOperation().walk([&](tensor::EmptyOp empty) { empties.push_back(empty); });
    for (tensor::EmptyOp empty : empties) {
      for (OpOperand &use : llvm::make_early_inc_range(empty->getUses())) {
        if (!isWriter(use) || use.getOwner()->getBlock() != empty->getBlock())
          continue;
        OpBuilder builder(use.getOwner());
        use.set(builder.clone(*empty)->getResult(0));
      }
      if (empty.use_empty())
        empty.erase();
    }
  }
};
} // namespace
