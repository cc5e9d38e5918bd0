//===- UnitLoops.h - Loops of kernels that run once -------------*- C++ -*-===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef SSM_DIALECTS_SSM_UNITLOOPS_H
#define SSM_DIALECTS_SSM_UNITLOOPS_H

#include "dialects/SSM/SSMOps.h"
#include "mlir/IR/PatternMatch.h"

namespace ssm {

/// Takes loops that run once, none of them time, out of a kernel.
void dropUnitLoops(mlir::RewriterBase &rewriter, KernelOp kernel, llvm::ArrayRef<bool> units);

} // namespace ssm

#endif // SSM_DIALECTS_SSM_UNITLOOPS_H
