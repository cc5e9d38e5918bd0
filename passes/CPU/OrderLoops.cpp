//===- OrderLoops.cpp - Which loop runs innermost ------------------------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "passes/CPU/Passes.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Linalg/Transforms/Transforms.h"
#include "mlir/IR/PatternMatch.h"

namespace ssm {
#define GEN_PASS_DEF_ORDERLOOPS
#include "passes/CPU/Passes.h.inc"
} // namespace ssm

using namespace mlir;

namespace {
struct OrderLoops : ssm::impl::OrderLoopsBase<OrderLoops> {
  void runOnOperation() override {
    SmallVector<linalg::GenericOp> generics;
    getOperation().walk([&](linalg::GenericOp op) { generics.push_back(op); });
    IRRewriter rewriter(&getContext());
    for (linalg::GenericOp op : generics) {
      unsigned best = choose(op);
      unsigned last = op.getNumLoops() - 1;
      if (op.getNumLoops() == 0 || best == last)
        continue;
      SmallVector<unsigned> order;
      for (unsigned loop = 0; loop <= last; ++loop)
        if (loop != best)
          order.push_back(loop);
      order.push_back(best);
      rewriter.setInsertionPoint(op);
      if (failed(linalg::interchangeGenericOp(rewriter, op, order)))
        return signalPassFailure();
    }
  }

  /// The parallel loop along which the operands lie densest: each operand that
  /// it walks with stride 1, or not at all, counts for it, each strided one
  /// against it. The last loop wins ties, and stays if none beats it.
  static unsigned choose(linalg::GenericOp op) {
    if (op.getNumLoops() == 0)
      return 0;
    unsigned best = op.getNumLoops() - 1;
    int bestScore = score(op, best);
    for (unsigned loop = 0; loop + 1 < op.getNumLoops(); ++loop) {
      if (op.getIteratorTypesArray()[loop] != utils::IteratorType::parallel)
        continue;
      int own = score(op, loop);
      if (own > bestScore) {
        best = loop;
        bestScore = own;
      }
    }
    return best;
  }

  static int score(linalg::GenericOp op, unsigned loop) {
    int total = 0;
    for (AffineMap map : op.getIndexingMapsArray()) {
      bool used = false, dense = false;
      for (auto [i, expr] : llvm::enumerate(map.getResults())) {
        if (!expr.isFunctionOfDim(loop))
          continue;
        used = true;
        dense = i + 1 == map.getNumResults() && expr == getAffineDimExpr(loop, op.getContext());
      }
      total += !used || dense ? 1 : -1;
    }
    // Sums in order cannot be vectorised: a loop that carries one is last choice.
    if (op.getIteratorTypesArray()[loop] == utils::IteratorType::reduction)
      total -= 2;
    return total;
  }
};
} // namespace
