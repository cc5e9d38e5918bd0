//===- TeamReduce.h - Sums over threads -------------------------*- C++ -*-===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef SSM_PASSES_GPU_TEAMREDUCE_H
#define SSM_PASSES_GPU_TEAMREDUCE_H

#include "lib/Emit/PointEmitter.h"
#include "passes/GPU/DeviceKernel.h"

namespace ssm {

constexpr int64_t kWarp = 32;
/// Threads that a block has at most.
constexpr int64_t kMaxBlock = 1024;

/// The value of the lane whose number differs in the bits of `distance`. All lanes of the
/// warp must take part.
mlir::Value shuffleXor(mlir::ImplicitLocOpBuilder &b, mlir::Value value, int64_t distance);

/// The value of the lane so many below; of those that have none, their own.
mlir::Value shuffleUp(mlir::ImplicitLocOpBuilder &b, mlir::Value value, int64_t distance);

/// True, as no compiler can tell, once all of `loaded` is there: what needs it waits for all of
/// them. Else ptxas saves registers and asks memory for one after the other is used.
mlir::Value areLoaded(mlir::ImplicitLocOpBuilder &b, mlir::ValueRange loaded);

/// The value of neighbour `from` of `lanes`, a power of two.
mlir::Value shuffleFrom(mlir::ImplicitLocOpBuilder &b, mlir::Value value, int64_t lanes,
                        int64_t from);

/// The value of a lane of the warp.
mlir::Value shuffleFrom(mlir::ImplicitLocOpBuilder &b, mlir::Value value, mlir::Value lane);

/// Reduces over `lanes` neighbours of a warp, a power of two: the same in all of them.
mlir::Value reduceOverLanes(PointEmitter &e, mlir::arith::AtomicRMWKind kind, mlir::Value value,
                            int64_t lanes, int64_t stride = 1);

/// Reduces over the block's threads, whole warps: the same in all of them. A barrier must
/// follow before the same place in the program is reached again.
mlir::Value reduceOverBlock(DeviceKernel &kernel, PointEmitter &e,
                            mlir::arith::AtomicRMWKind kind, mlir::Value value);

} // namespace ssm

#endif // SSM_PASSES_GPU_TEAMREDUCE_H
