//===- CollapseLoops.h - Loops of a kernel that are one in memory -*- C++ -*-===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef SSM_LIB_EMIT_COLLAPSELOOPS_H
#define SSM_LIB_EMIT_COLLAPSELOOPS_H

#include "dialects/SSM/SSMOps.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"

namespace ssm {

/// Makes one loop of every two that are adjacent axes, in the same order and without
/// a gap in memory, of each buffer that has either of them: so that short last axes
/// do not waste lanes, and rows of rows are rows. Changes the kernel, which has
/// buffers, no time and a configuration, in place.
void collapseLoops(KernelOp kernel, mlir::ImplicitLocOpBuilder &b);

} // namespace ssm

#endif // SSM_LIB_EMIT_COLLAPSELOOPS_H
