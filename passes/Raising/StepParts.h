//===- StepParts.h - Steps that put tensors together ------------*- C++ -*-===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef SSM_PASSES_RAISING_STEPPARTS_H
#define SSM_PASSES_RAISING_STEPPARTS_H

#include "dialects/SSM/SSMOps.h"
#include "mlir/IR/PatternMatch.h"

namespace ssm {

/// A recurrence whose step computes parts, and its results put together.
struct SplitScan {
  ScanOp scan;
  llvm::SmallVector<mlir::Value> results;
};

/// Where a step puts a tensor together (Concat, a window that moves on) or takes a part of
/// a carry: the same recurrence with each part a value of its own, carries and outs
/// among them, in front of `scan`. Nothing if there are none, or they are not known or too
/// many.
std::optional<SplitScan> splitStep(mlir::RewriterBase &rewriter, ScanOp scan);

/// Erases an operation and all that depends on it.
void eraseWithUsers(mlir::RewriterBase &rewriter, mlir::Operation *op);

} // namespace ssm

#endif // SSM_PASSES_RAISING_STEPPARTS_H
