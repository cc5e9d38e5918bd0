//===- BitonicNetwork.h - A block sorts what its threads have ---*- C++ -*-===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef SSM_PASSES_GPU_BITONICNETWORK_H
#define SSM_PASSES_GPU_BITONICNETWORK_H

#include "passes/GPU/DeviceBuilder.h"
#include "passes/GPU/DeviceKernel.h"

namespace ssm {

/// Entries that threads have in registers, a power of two each, neighbours in one thread: pairs of
/// a thread change places in its registers, of a warp by shuffles, others through shared memory.
class BitonicNetwork {
public:
  using Value = mlir::Value;
  using Values = llvm::SmallVector<Value>;
  /// Words, the one that counts most first, as unsigned numbers; the greatest entry comes first.
  using Entry = llvm::SmallVector<Value, 2>;

  BitonicNetwork(mlir::ImplicitLocOpBuilder &b, DeviceKernel &kernel, Value thread,
                 int64_t maxThreads, int64_t perThread, mlir::TypeRange words);

  /// Sorts the first 2^stages places; thread t has those from `perThread` t on. Nobody's entries
  /// are behind. All threads must take part, as many as have places, and whole warps.
  void sort(llvm::SmallVectorImpl<Entry> &entries, Value stages);

private:
  Value comesBefore(const Entry &x, const Entry &y);
  void orderInThread(llvm::MutableArrayRef<Entry> entries, int64_t distance,
                     llvm::function_ref<Value(int64_t)> isUp);
  void orderAcross(llvm::MutableArrayRef<Entry> entries, Value distance, Value isUp);
  Values flat(llvm::ArrayRef<Entry> entries);
  void unflatten(mlir::ValueRange values, llvm::MutableArrayRef<Entry> entries);

  mlir::ImplicitLocOpBuilder &b;
  DeviceBuilder d;
  Value thread;
  int64_t maxThreads, perThread;
  llvm::SmallVector<mlir::Type> words;
  /// Of each word, what threads exchange.
  Values places;
};

} // namespace ssm

#endif // SSM_PASSES_GPU_BITONICNETWORK_H
