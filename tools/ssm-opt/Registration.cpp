//===- Registration.cpp - Dialects and passes shared by the tools --------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "tools/ssm-opt/Registration.h"

#include "passes/Pipelines/Pipelines.h"

void ssm::registerForTools(mlir::DialectRegistry &registry) {
  registerPipelineDialects(registry);
  registerPassesAndStages();
  registerTestPasses();
}
