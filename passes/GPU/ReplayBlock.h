//===- ReplayBlock.h - Whether threads of a block race -----------*- C++ -*-===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef SSM_PASSES_GPU_REPLAYBLOCK_H
#define SSM_PASSES_GPU_REPLAYBLOCK_H

#include "mlir/Dialect/GPU/IR/GPUDialect.h"

namespace ssm {

/// Follows all threads of a block at once through what they do to dynamic shared memory, reached
/// by LLVM pointers, and its mbarriers. Tells of each access that nothing orders behind another
/// thread's, of waiting that never ends, and of bytes outside.
mlir::LogicalResult replayBlock(mlir::gpu::GPUFuncOp function, int64_t threads,
                                int64_t sharedBytes,
                                llvm::function_ref<int64_t(mlir::Value)> boxBytes);

} // namespace ssm

#endif // SSM_PASSES_GPU_REPLAYBLOCK_H
