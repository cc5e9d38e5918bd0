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

/// One of the kernels that an operation on buffers becomes.
struct TopKForm {
  llvm::StringRef suffix;
  /// Rows of at most so many elements, each a thread's; 0: rows of any length.
  int64_t maxRow;
};
/// The first that fits is to run; the last takes all rows.
llvm::ArrayRef<TopKForm> getTopKForms();
/// Null: always.
mlir::Value fitsTopK(mlir::ImplicitLocOpBuilder &host, TopKOp op, const TopKForm &form);

/// A block for each row. Puts the code in front of the device's operation.
LaunchShape emitTopK(TopKOp hostOp, TopKOp op, mlir::gpu::GPUFuncOp function,
                     mlir::ImplicitLocOpBuilder &host, llvm::StringRef suffix);

/// All rows by the one block that runs, of so many threads; ends with a barrier.
void emitTopKInBlock(TopKOp op, mlir::gpu::GPUFuncOp function, int64_t threads);

} // namespace ssm

#endif // SSM_PASSES_GPU_EMITTOPK_H
