//===- InferShapes.cpp - Types and sizes of every node -------------------===//
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
#define GEN_PASS_DEF_INFERSHAPES
#include "passes/Graph/Passes.h.inc"
} // namespace ssm

using namespace mlir;
using namespace ssm;

namespace {
struct InferShapes : ssm::impl::InferShapesBase<InferShapes> {
  void runOnOperation() override {
    for (auto function : getOperation().getOps<func::FuncOp>())
      if (failed(run(function)))
        return signalPassFailure();
  }

  LogicalResult run(func::FuncOp function) {
    SmallVector<Type> declared(function.getResultTypes());
    ShapeFacts facts(&getContext());
    if (failed(onnx::inferFunction(function, facts)))
      return failure();
    for (auto [i, type] : llvm::enumerate(declared)) {
      auto want = dyn_cast<RankedTensorType>(type);
      auto have = dyn_cast<RankedTensorType>(function.getResultTypes()[i]);
      if (!want || !have)
        continue;
      if (want.getElementType() != have.getElementType() ||
          failed(verifyCompatibleShape(want, have)))
        return function.emitError() << "output " << nameOf(function, i) << " is declared as "
                                    << want << " but computed as " << have;
    }
    return success();
  }

  static StringRef nameOf(func::FuncOp function, unsigned i) {
    auto name = function.getResultAttrOfType<StringAttr>(i, "onnx.name");
    return name ? name.getValue() : "";
  }
};
} // namespace
