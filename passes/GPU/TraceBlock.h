//===- TraceBlock.h - What threads of a block do to shared memory -*- C++ -*-===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A kernel on numbers that threads and constants make known: which bytes of shared memory,
// reached by LLVM pointers, each thread reads and writes, and what it waits for.
//
//===----------------------------------------------------------------------===//

#ifndef SSM_PASSES_GPU_TRACEBLOCK_H
#define SSM_PASSES_GPU_TRACEBLOCK_H

#include "mlir/Dialect/GPU/IR/GPUDialect.h"
#include "llvm/ADT/BitVector.h"

namespace ssm {

/// Threads that are followed together: a warpgroup.
inline constexpr int64_t kTraced = 128;

/// A number of each thread of a group, or one for all, or none: not known.
class Known {
public:
  Known() = default;
  Known(uint64_t all) : values(1, all) {}
  explicit Known(llvm::SmallVector<uint64_t> each) : values(std::move(each)) {}

  explicit operator bool() const { return !values.empty(); }
  bool isUniform() const { return values.size() == 1; }
  uint64_t of(unsigned thread) const { return isUniform() ? values[0] : values[thread]; }

private:
  llvm::SmallVector<uint64_t> values;
};

struct TraceEvent {
  enum Kind {
    read,         // `bytes` at `at`
    write,
    copy,         // cp.async
    commitCopies,
    waitCopies,   // all but the last `number` groups
    barrier,      // `number` of it, `bytes` threads
    init,         // of a mbarrier at `at`, `number` arrivals
    fenceInit,
    expect,       // an arrival and `number` bytes
    arrive,
    wait,         // for the phase of parity `number`
    bulkCopy,     // by a tensor map: `bytes` at `at`, told to the mbarrier at `to`
    multiply,     // wgmma reads `bytes` at `at`
    commitProducts,
    waitProducts, // all but the last `number` groups
    fenceProxy,
    atomic,       // reads and writes at once
    strayed,      // a place of shared memory of which nothing is known
    readRemote,   // of another block of the cluster, where this one has the same
    arriveCluster,
    waitCluster,
    fenceProducts,
    useProduct,   // reads the sums of the `number`th product
    waitOthers,   // for the kernels in front
    global,       // reads or writes memory that kernels in front may write or read
  } kind;
  mlir::Operation *op;
  llvm::BitVector threads;
  Known at, to;
  int64_t bytes = 0, number = 0;
  /// Data tells the place: somewhere from `at` to in front of this.
  Known end = {};
  bool isOwnPart = false;
};

/// Of a pointer to shared memory at a place that data tells: an emitter's word for the bytes
/// between which it lies, [begin, end).
inline constexpr llvm::StringLiteral kWithin = "ssm.within";
/// Of a pointer to shared memory, an emitter's word: it lies where no other block of the cluster
/// reaches by such a pointer, in its own memory or another's.
inline constexpr llvm::StringLiteral kOwnPart = "ssm.own_part";

/// Of a kernel: the numbers of its arguments that no kernel of the run writes.
inline constexpr llvm::StringLiteral kConstants = "ssm.constants";

/// Everything that threads [first, first + kTraced) do, in order. Loops whose ends are not known
/// take a few steps, both arms of a branch that is not known are taken. `boxBytes`: what a copy
/// by the tensor map of an argument moves.
std::vector<TraceEvent> traceThreads(mlir::gpu::GPUFuncOp function, int64_t first, int64_t count,
                                     llvm::function_ref<int64_t(mlir::Value)> boxBytes);

} // namespace ssm

#endif // SSM_PASSES_GPU_TRACEBLOCK_H
