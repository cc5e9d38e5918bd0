//===- FoldConstants.cpp - Known integers become constants ---------------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "passes/Graph/Passes.h"

#include "dialects/ONNX/ONNXOps.h"
#include "lib/Import/InferContext.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"

namespace ssm {
#define GEN_PASS_DEF_FOLDCONSTANTS
#include "passes/Graph/Passes.h.inc"
} // namespace ssm

using namespace mlir;
using namespace ssm;

namespace {
struct FoldConstants : ssm::impl::FoldConstantsBase<FoldConstants> {
  void runOnOperation() override {
    for (auto function : getOperation().getOps<func::FuncOp>()) {
      ShapeFacts facts(&getContext());
      if (failed(onnx::inferFunction(function, facts)))
        return signalPassFailure();
      function.walk([&](onnx::NodeOp node) {
        for (Value output : node.getOutputs())
          if (!output.use_empty())
            fold(node, output, facts);
      });
      eraseUnused(function);
    }
  }

  void fold(onnx::NodeOp node, Value output, ShapeFacts &facts) {
    auto elements = facts.elements(output);
    auto type = dyn_cast<RankedTensorType>(output.getType());
    if (!elements || !type || !type.hasStaticShape())
      return;
    auto constants = constantValues(*elements);
    if (!constants)
      return;
    SmallVector<Attribute> attrs;
    for (int64_t value : *constants)
      attrs.push_back(IntegerAttr::get(type.getElementType(), value));
    OpBuilder builder(node);
    output.replaceAllUsesWith(onnx::ConstantOp::create(builder, node.getLoc(), type,
                                                       DenseElementsAttr::get(type, attrs)));
  }

  static void eraseUnused(func::FuncOp function) {
    // Users come after what they use, so one walk backwards is enough.
    SmallVector<Operation *> ops;
    function.walk<WalkOrder::PreOrder>([&](Operation *op) { ops.push_back(op); });
    for (Operation *op : llvm::reverse(ops))
      if (isa<onnx::NodeOp, onnx::ConstantOp, onnx::AbsentOp>(op) && op->use_empty())
        op->erase();
  }
};
} // namespace
