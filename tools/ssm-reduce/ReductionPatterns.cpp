//===- ReductionPatterns.cpp - How one operation is made smaller ----------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "tools/ssm-reduce/ReductionPatterns.h"

#include "mlir/IR/BuiltinDialect.h"
#include "mlir/IR/IRMapping.h"
#include "mlir/IR/PatternMatch.h"
#include "mlir/IR/SymbolTable.h"
#include "mlir/Reducer/ReductionPatternInterface.h"

using namespace mlir;

/// Failure, and nothing is changed, where it cannot go.
static LogicalResult drop(Operation *op, RewriterBase &rewriter) {
  if (op->hasTrait<OpTrait::IsTerminator>() || isa<SymbolOpInterface>(op))
    return failure();
  if (op->use_empty()) {
    rewriter.eraseOp(op);
    return success();
  }
  SmallVector<Value> replacements;
  for (OpResult result : op->getResults()) {
    auto operand = llvm::find_if(
        op->getOperands(), [&](Value value) { return value.getType() == result.getType(); });
    if (operand == op->operand_end())
      return failure();
    replacements.push_back(*operand);
  }
  rewriter.replaceOp(op, replacements);
  return success();
}

namespace {
/// Asks before each change: upstream applies patterns to all operations at once and
/// goes no further where that is one too many.
struct DropOperation : RewritePattern {
  DropOperation(MLIRContext *context, Tester &tester)
      : RewritePattern(MatchAnyOpTypeTag(), /*benefit=*/1, context), tester(tester) {}

  LogicalResult matchAndRewrite(Operation *op, PatternRewriter &rewriter) const override {
    IRMapping mapping;
    OwningOpRef<ModuleOp> copy(cast<ModuleOp>(getModule(op)->clone(mapping)));
    IRRewriter copyRewriter(op->getContext());
    if (failed(drop(mapping.lookup(op), copyRewriter)) ||
        tester.isInteresting(*copy).first != Tester::Interestingness::True)
      return failure();
    return drop(op, rewriter);
  }

  static Operation *getModule(Operation *op) {
    while (Operation *parent = op->getParentOp())
      op = parent;
    return op;
  }

  Tester &tester;
};

struct ReductionPatterns : DialectReductionPatternInterface {
  explicit ReductionPatterns(Dialect *dialect) : DialectReductionPatternInterface(dialect) {}
  void populateReductionPatterns(RewritePatternSet &) const override {}
  void populateReductionPatternsWithTester(RewritePatternSet &patterns,
                                           Tester &tester) const override {
    patterns.add<DropOperation>(patterns.getContext(), tester);
  }
};
} // namespace

void ssm::registerReductionPatterns(DialectRegistry &registry) {
  // The one dialect that is loaded whatever the file holds.
  registry.addExtension(+[](MLIRContext *, BuiltinDialect *dialect) {
    dialect->addInterfaces<ReductionPatterns>();
  });
}
