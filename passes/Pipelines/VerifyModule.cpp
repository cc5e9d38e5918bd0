//===- VerifyModule.cpp - The end of a stage ------------------------------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "passes/Pipelines/Pipelines.h"

#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/Verifier.h"
#include "mlir/Pass/Pass.h"

using namespace mlir;

namespace {
/// A pass and not a call behind the stage, so that a reproducer holds it.
struct VerifyModule : PassWrapper<VerifyModule, OperationPass<ModuleOp>> {
  MLIR_DEFINE_EXPLICIT_INTERNAL_INLINE_TYPE_ID(VerifyModule)

  StringRef getArgument() const override { return "ssm-verify"; }
  StringRef getDescription() const override { return "fails if the module is invalid"; }

  void runOnOperation() override {
    if (failed(verify(getOperation())))
      signalPassFailure();
    markAllAnalysesPreserved();
  }
};
} // namespace

std::unique_ptr<Pass> ssm::createVerifyModule() { return std::make_unique<VerifyModule>(); }

void ssm::registerVerifyModule() { PassRegistration<VerifyModule>(); }
