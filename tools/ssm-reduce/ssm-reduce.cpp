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
#include "llvm/ADT/STLExtras.h"
#include "llvm/Support/raw_ostream.h"

int main(int argc, char **argv) {
  // Without a test there is nothing that shows whether a smaller file still has the fault.
  bool reduces = llvm::any_of(llvm::ArrayRef(argv, argc), [](llvm::StringRef argument) {
    return argument.contains("reduction") || argument.contains("help") ||
           argument.contains("version");
  });
  if (!reduces) {
    llvm::errs() << "ssm-reduce: no test given, expected --reduction-tree=\"test=SCRIPT\"\n";
    return 1;
  }
  mlir::DialectRegistry registry;
  ssm::registerForTools(registry);
  ssm::registerReductionPatterns(registry);
  mlir::MLIRContext context(registry);
  return mlir::failed(mlir::mlirReduceMain(argc, argv, context));
}
