//===- MergeChecks.cpp - What was checked is not checked again ------------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "passes/Lowering/Passes.h"

#include "dialects/SSM/SSMOps.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "llvm/ADT/ScopedHashTable.h"

namespace ssm {
#define GEN_PASS_DEF_MERGECHECKS
#include "passes/Lowering/Passes.h.inc"
} // namespace ssm

using namespace mlir;
using namespace ssm;

namespace {
using Checked = llvm::ScopedHashTable<Value, bool>;

struct MergeChecks : ssm::impl::MergeChecksBase<MergeChecks> {
  void runOnOperation() override {
    Checked checked;
    for (Block &block : getOperation().getBody())
      visit(block, checked);
  }

  /// A failed check ends the run, so that one holds for all that comes after it in its
  /// block, and inside.
  static void visit(Block &block, Checked &checked) {
    Checked::ScopeTy scope(checked);
    for (Operation &op : llvm::make_early_inc_range(block)) {
      if (auto check = dyn_cast<CheckOp>(op)) {
        if (checked.lookup(check.getCondition()))
          check.erase();
        else
          checked.insert(check.getCondition(), true);
        continue;
      }
      for (Region &region : op.getRegions())
        for (Block &inner : region)
          visit(inner, checked);
    }
  }
};
} // namespace
