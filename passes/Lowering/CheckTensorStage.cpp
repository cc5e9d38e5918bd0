//===- CheckTensorStage.cpp - The tensor stage's vocabulary --------------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "passes/Lowering/Passes.h"

#include "dialects/SSM/SSMOps.h"
#include "mlir/IR/BuiltinOps.h"

namespace ssm {
#define GEN_PASS_DEF_CHECKTENSORSTAGE
#include "passes/Lowering/Passes.h.inc"
} // namespace ssm

using namespace mlir;
using namespace ssm;

namespace {
struct CheckTensorStage : ssm::impl::CheckTensorStageBase<CheckTensorStage> {
  void runOnOperation() override {
    static constexpr StringLiteral vocabulary[] = {
        "arith", "bufferization", "builtin", "func", "linalg", "math", "scf", "ssm", "tensor"};
    bool ok = true;
    getOperation().walk([&](Operation *op) {
      StringRef dialect = op->getName().getDialectNamespace();
      if (llvm::is_contained(vocabulary, dialect))
        return;
      op->emitError("is left after the tensor stage");
      ok = false;
    });
    if (!ok)
      signalPassFailure();
  }
};
} // namespace
