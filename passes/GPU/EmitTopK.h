//===- EmitTopK.h - The first of sorted rows by blocks ----------*- C++ -*-===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef SSM_PASSES_GPU_EMITTOPK_H
#define SSM_PASSES_GPU_EMITTOPK_H

#include "dialects/SSM/TopKOp.h"
#include "passes/GPU/DeviceKernel.h"

namespace ssm {

/// The first that fits is to run; the last takes all rows.
llvm::SmallVector<KernelForm> getTopKForms(TopKOp op);

/// Ends the run with a status if rows have more elements than indices of 32 bits reach.
void checkTopKRows(TopKOp op, mlir::ImplicitLocOpBuilder &host);

/// All rows by the one block that runs, of so many threads; ends with a barrier.
void emitTopKInBlock(TopKOp op, mlir::gpu::GPUFuncOp function, int64_t threads);

} // namespace ssm

#endif // SSM_PASSES_GPU_EMITTOPK_H
