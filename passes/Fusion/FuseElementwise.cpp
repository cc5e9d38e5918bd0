//===- FuseElementwise.cpp - Chains become one loop ----------------------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "passes/Fusion/Passes.h"

#include "mlir/Dialect/Affine/IR/AffineOps.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Linalg/Transforms/Transforms.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/Transforms/GreedyPatternRewriteDriver.h"

namespace ssm {
#define GEN_PASS_DEF_FUSEELEMENTWISE
#include "passes/Fusion/Passes.h.inc"
} // namespace ssm

using namespace mlir;

namespace {

/// Operations of a body that cost about a cycle each.
constexpr unsigned kCheapOps = 4;

bool isCheap(linalg::GenericOp op) {
  unsigned count = 0;
  for (Operation &inner : op.getBody()->without_terminator()) {
    if (!isa<arith::ArithDialect>(inner.getDialect()) || isa<arith::DivFOp>(inner))
      return false;
    ++count;
  }
  return count <= kCheapOps;
}

/// A body of more operations is not made: its values no longer fit registers, and
/// each fusion copies it.
constexpr size_t kMaxBodyOps = 64;

/// Whether fusing the operand's producer is a gain.
bool isWorthFusing(OpOperand *operand) {
  auto producer = operand->get().getDefiningOp<linalg::GenericOp>();
  auto consumer = dyn_cast<linalg::GenericOp>(operand->getOwner());
  if (!producer || !consumer || !producer.isAllParallelLoops() ||
      producer.getBody()->getOperations().size() + consumer.getBody()->getOperations().size() >
          kMaxBodyOps)
    return false;
  bool visitsOnce = consumer.getMatchingIndexingMap(operand).isPermutation();
  if (producer->hasOneUse() && visitsOnce)
    return true;
  return isCheap(producer) && consumer.isAllParallelLoops();
}

struct FuseElementwise : ssm::impl::FuseElementwiseBase<FuseElementwise> {
  void runOnOperation() override {
    RewritePatternSet patterns(&getContext());
    linalg::populateElementwiseOpsFusionPatterns(patterns, isWorthFusing);
    linalg::GenericOp::getCanonicalizationPatterns(patterns, &getContext());
    tensor::EmptyOp::getCanonicalizationPatterns(patterns, &getContext());
    if (failed(applyPatternsGreedily(getOperation(), std::move(patterns))))
      signalPassFailure();
  }
};
} // namespace
