//===- ssm-reduce.cpp - Shrinks an MLIR file that shows a fault -----------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "mlir/IR/DialectRegistry.h"
#include "mlir/IR/MLIRContext.h"
#include "mlir/Tools/mlir-reduce/MlirReduceMain.h"
#include "tools/ssm-opt/Registration.h"
#include "tools/ssm-reduce/ReductionPatterns.h"

int main(int argc, char **argv) {
  mlir::DialectRegistry registry;
  ssm::registerForTools(registry);
  ssm::registerReductionPatterns(registry);
  mlir::MLIRContext context(registry);
  return mlir::failed(mlir::mlirReduceMain(argc, argv, context));
}
