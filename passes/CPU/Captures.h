//===- Captures.h - What code that becomes a function needs -----*- C++ -*-===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef SSM_PASSES_CPU_CAPTURES_H
#define SSM_PASSES_CPU_CAPTURES_H

#include "mlir/IR/Operation.h"
#include "llvm/ADT/SetVector.h"

namespace ssm {

/// What code needs from outside: values that are handed over, in this order, and
/// operations that are made again inside.
struct Captures {
  llvm::SetVector<mlir::Value> params;
  llvm::SetVector<mlir::Operation *> cloned;

  /// Takes a value, or what makes it again if `isClonable` says so.
  void add(mlir::Value value, llvm::function_ref<bool(mlir::Operation *)> isClonable) {
    mlir::Operation *op = value.getDefiningOp();
    if (!op || !isClonable(op)) {
      params.insert(value);
      return;
    }
    if (cloned.contains(op))
      return;
    for (mlir::Value operand : op->getOperands())
      add(operand, isClonable);
    cloned.insert(op);
  }
};

} // namespace ssm

#endif // SSM_PASSES_CPU_CAPTURES_H
