//===- StepViews.h - Views in a step of a recurrence ------------*- C++ -*-===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef SSM_PASSES_RAISING_STEPVIEWS_H
#define SSM_PASSES_RAISING_STEPVIEWS_H

#include "dialects/SSM/SSMOps.h"
#include "mlir/IR/PatternMatch.h"

namespace ssm {

/// Takes views out of the step of a recurrence, where it can:
///
/// - what is sliced is computed for that slice alone, and a slice of an input becomes an
///   input of its own, of a slice of the sequence;
/// - a reshape of an input becomes one of the sequence;
/// - what a kernel reads through a view it reads through its map.
void foldStepViews(mlir::RewriterBase &rewriter, ScanOp scan);

/// Erases what nobody uses in the step.
void eraseDeadInStep(mlir::RewriterBase &rewriter, ScanOp scan);

} // namespace ssm

#endif // SSM_PASSES_RAISING_STEPVIEWS_H
