//===- RelaxSums.cpp - Sums may be taken in any order --------------------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "passes/Vector/Passes.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"

namespace ssm {
#define GEN_PASS_DEF_RELAXSUMS
#include "passes/Vector/Passes.h.inc"
} // namespace ssm

using namespace mlir;

namespace {
struct RelaxSums : ssm::impl::RelaxSumsBase<RelaxSums> {
  void runOnOperation() override {
    getOperation()->walk([&](linalg::GenericOp op) {
      if (op.getNumReductionLoops() > 0)
        relax(op);
    });
  }

  /// Marks each yielded acc + term; a product that is the term may be contracted.
  void relax(linalg::GenericOp op) {
    Block *body = op.getBody();
    auto sumFlags = arith::FastMathFlagsAttr::get(
        &getContext(), arith::FastMathFlags::reassoc | arith::FastMathFlags::contract);
    auto productFlags =
        arith::FastMathFlagsAttr::get(&getContext(), arith::FastMathFlags::contract);
    for (auto [acc, yielded] :
         llvm::zip_equal(op.getRegionOutputArgs(), body->getTerminator()->getOperands())) {
      auto sum = yielded.getDefiningOp<arith::AddFOp>();
      // The running sum must have no other reader: its order would show.
      if (!sum || !acc.hasOneUse() || (sum.getLhs() != acc && sum.getRhs() != acc))
        continue;
      sum.setFastmathAttr(sumFlags);
      Value term = sum.getLhs() == acc ? sum.getRhs() : sum.getLhs();
      if (auto product = term.getDefiningOp<arith::MulFOp>())
        product.setFastmathAttr(productFlags);
    }
  }
};
} // namespace
