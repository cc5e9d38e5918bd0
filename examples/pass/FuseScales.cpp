//===- FuseScales.cpp - A pass of your own --------------------------------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Two factors that are constants become one: (x * a) * b is x * (a * b). README.md
// beside this file goes through it.
//
//===----------------------------------------------------------------------===//

#include "dialects/SSM/SSMOps.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/Matchers.h"
#include "mlir/Pass/Pass.h"
#include "mlir/Tools/Plugins/PassPlugin.h"
#include "mlir/Transforms/GreedyPatternRewriteDriver.h"

using namespace mlir;

namespace {
struct FuseTwo : OpRewritePattern<arith::MulFOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(arith::MulFOp outer, PatternRewriter &rewriter) const override {
    // Only inside of kernels, and where nothing else needs the product between.
    auto inner = outer.getLhs().getDefiningOp<arith::MulFOp>();
    if (!isa<ssm::KernelOp>(outer->getParentOp()) || !inner || !inner->hasOneUse())
      return failure();
    FloatAttr first, second;
    if (!matchPattern(inner.getRhs(), m_Constant(&first)) ||
        !matchPattern(outer.getRhs(), m_Constant(&second)))
      return failure();
    APFloat product = first.getValue();
    product.multiply(second.getValue(), APFloat::rmNearestTiesToEven);
    Value factor = arith::ConstantOp::create(rewriter, outer.getLoc(),
                                             FloatAttr::get(outer.getType(), product));
    rewriter.replaceOpWithNewOp<arith::MulFOp>(outer, inner.getLhs(), factor);
    return success();
  }
};

struct FuseScales : PassWrapper<FuseScales, OperationPass<func::FuncOp>> {
  MLIR_DEFINE_EXPLICIT_INTERNAL_INLINE_TYPE_ID(FuseScales)

  StringRef getArgument() const override { return "my-fuse-scales"; }
  StringRef getDescription() const override { return "(x * a) * b becomes x * (a * b)"; }

  void runOnOperation() override {
    RewritePatternSet patterns(&getContext());
    patterns.add<FuseTwo>(&getContext());
    if (failed(applyPatternsGreedily(getOperation(), std::move(patterns))))
      signalPassFailure();
  }
};
} // namespace

extern "C" LLVM_ATTRIBUTE_WEAK PassPluginLibraryInfo mlirGetPassPluginInfo() {
  return {MLIR_PLUGIN_API_VERSION, "FuseScales", "1", [] { PassRegistration<FuseScales>(); }};
}
