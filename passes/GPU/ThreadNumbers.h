//===- ThreadNumbers.h - What a value is in each thread -----------*- C++ -*-===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Indices as numbers of the threads of a block, so that it can be tried out whether two threads
// reach the same element. Upstream's ranges and affine maps keep no relation between q / 10 and
// q % 10.
//
//===----------------------------------------------------------------------===//

#ifndef SSM_PASSES_GPU_THREADNUMBERS_H
#define SSM_PASSES_GPU_THREADNUMBERS_H

#include "mlir/IR/Value.h"
#include "llvm/ADT/BitVector.h"
#include "llvm/ADT/DenseMap.h"

namespace ssm {

/// A number of each thread, plus what all threads have alike, plus any multiple of a period.
struct ThreadNumber {
  bool isKnown = false;
  llvm::SmallVector<int64_t, 0> each;
  /// Values that all threads have alike, and their factors.
  llvm::SmallVector<std::pair<mlir::Value, int64_t>> alike;
  int64_t period = 0;

  bool isPlain() const { return isKnown && alike.empty() && period == 0; }
};

/// Elements that a thread reaches: `width` along the last axis.
struct Reach {
  mlir::Operation *op;
  llvm::ArrayRef<mlir::Value> indices;
  int64_t width;
};

class ThreadNumbers {
public:
  ThreadNumbers(int64_t threads, const llvm::DenseSet<mlir::Value> &divergent)
      : threads(threads), divergent(divergent) {}

  /// Whether two threads may reach the same element. A step of a loop that all threads take is
  /// the same one on both sides.
  bool canMeet(const Reach &one, const Reach &other);

  /// The innermost arm around the op of a branch of which data tells the threads that take it.
  mlir::Region *armChosenByData(mlir::Operation *op);

private:
  const ThreadNumber &get(mlir::Value value);
  ThreadNumber evaluate(mlir::Value value);
  ThreadNumber evaluateLoop(mlir::BlockArgument argument);
  ThreadNumber combine(mlir::Operation *op);
  ThreadNumber all(int64_t number) const;
  /// Those that may run the op.
  llvm::BitVector threadsAt(mlir::Operation *op);
  void restrict(mlir::Value condition, bool holds, llvm::BitVector &running);

  int64_t threads;
  const llvm::DenseSet<mlir::Value> &divergent;
  llvm::DenseMap<mlir::Value, std::unique_ptr<ThreadNumber>> known;
};

} // namespace ssm

#endif // SSM_PASSES_GPU_THREADNUMBERS_H
