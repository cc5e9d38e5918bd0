//===- EmitSort.h - Sorted rows by digits -----------------------*- C++ -*-===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef SSM_PASSES_GPU_EMITSORT_H
#define SSM_PASSES_GPU_EMITSORT_H

#include "dialects/SSM/TopKOp.h"
#include "passes/GPU/DeviceKernel.h"

namespace ssm {

/// Rows that a block sorts, and longer ones of which much is asked, which many blocks sort.
void addSortForms(TopKOp op, llvm::SmallVectorImpl<KernelForm> &forms);

/// Queues a kernel that sorts the indices in the out, a block for each row: of at most as many as
/// the forms above leave.
void emitSortOfOut(TopKOp op, KernelLaunches &launches);

/// Queues the sort of a row of integers below `bound` that lies in memory: `sort` on the host, erased
/// by the caller, and what makes the same in front of the device's copy of the nest.
void emitSortOf(TopKOp sort, KernelLaunches &launches, mlir::Value memory, mlir::Value bound,
                llvm::function_ref<TopKOp(mlir::Operation *copy, mlir::ImplicitLocOpBuilder &b,
                                          mlir::Value memory)>
                    make);

} // namespace ssm

#endif // SSM_PASSES_GPU_EMITSORT_H
