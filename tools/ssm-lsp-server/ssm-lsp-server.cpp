//===- ssm-lsp-server.cpp - MLIR files with our dialects in an editor -----===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "mlir/IR/DialectRegistry.h"
#include "mlir/Tools/mlir-lsp-server/MlirLspServerMain.h"
#include "tools/ssm-opt/Registration.h"

int main(int argc, char **argv) {
  mlir::DialectRegistry registry;
  ssm::registerForTools(registry);
  return mlir::failed(mlir::MlirLspServerMain(argc, argv, registry));
}
