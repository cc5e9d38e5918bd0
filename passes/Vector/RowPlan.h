//===- RowPlan.h - In which order a kernel's loops open ---------*- C++ -*-===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A nest of loops computes what is asked of it: outs, or reductions of the same
// loops. Its loops open in levels; on each level the reductions whose results live
// there are computed first, each group by a nest of its own inside. So the levels of
// a softmax are {} and {row} and {row, column}, and the nest of its outs holds, on
// level {row}, one nest over the columns for the maximum and one for the sum.
//
//===----------------------------------------------------------------------===//

#ifndef SSM_PASSES_VECTOR_ROWPLAN_H
#define SSM_PASSES_VECTOR_ROWPLAN_H

#include "dialects/SSM/KernelLoops.h"
#include "llvm/ADT/SetVector.h"
#include <optional>

namespace ssm {

using ReduceSet = llvm::SetVector<ReduceOp>;

/// What a nest is to compute, and the levels in which its loops open.
struct Nest {
  llvm::SmallVector<ReduceOp> reduces; // of the same loops
  llvm::SmallVector<unsigned> outs;    // or these
  llvm::SmallVector<LoopSet> levels;   // each has those before; the first may be open already
  ReduceSet placed;                    // reductions whose results live on a level
  /// A loop that inputs are dense along while the outs are along the lane loop: both
  /// open in square blocks, which turns those inputs in registers.
  std::optional<unsigned> turned;
  llvm::SmallVector<unsigned> turnedInputs;

  LoopSet all() const { return levels.back(); }
};

/// What an operation takes, in cycles a vector, roughly.
int64_t costOf(mlir::Operation *op);

/// A value that a reduction computes and the outs need again, kept in an out's buffer
/// until the out itself is written there.
struct Stash {
  mlir::Value value;
  unsigned out;
  bool isOut;            // it is the out itself
  mlir::Value tail;      // of the last lanes of a row, which are not stored
  bool wasUsed = false;  // by the nest being emitted
  bool isStored = false; // nests from now on find it there
};

/// The nests of a kernel's outs, before and while they are emitted.
class RowPlan {
public:
  explicit RowPlan(KernelOp kernel);

  /// Finds nests for all outs; fails if their levels do not nest.
  llvm::LogicalResult plan();

protected:
  mlir::Value yielded(unsigned out) { return kernel.getYield().getValues()[out]; }
  /// Visits what a value is made of, without looking into reductions.
  void walkCone(mlir::Value value, llvm::DenseSet<mlir::Value> &seen,
                llvm::function_ref<void(mlir::Value)> visit);
  /// The reductions that `value` needs, that are not given, and whose results live
  /// on loops of `bound`.
  void place(mlir::Value value, LoopSet bound, const ReduceSet &given, ReduceSet &placed);
  /// Cost of a vector of everything the nest computes at its innermost level.
  int64_t costOf(const Nest &nest);
  /// Fails if the levels are not nested in each other.
  llvm::LogicalResult finish(Nest &nest, LoopSet around, const ReduceSet &given);
  /// Whether the nests inside have their levels too.
  llvm::LogicalResult check(const Nest &nest, ReduceSet given);
  /// The reductions whose results live on a level, those of the same loops together.
  llvm::SmallVector<llvm::SmallVector<ReduceOp>> groupsAt(const Nest &nest, LoopSet level);
  /// Whether there are sums, or more loops, inside the lane loop.
  bool hasColumns(const Nest &nest);
  void findStashes(const Nest &nest);
  /// Whether a reduction has written the out along with its own value.
  bool isWritten(unsigned out);
  void findTurned(Nest &nest);
  /// Where `value` is known, whether the kernel reads an input that may lie in `buffer`
  /// to compute the outs and the reductions that do not come before it.
  bool mayReadAfter(mlir::Value value, mlir::Value buffer);
  /// Loops by where they lie in memory: last axes innermost, the lane loop last.
  llvm::SmallVector<unsigned> orderOf(LoopSet set);

  KernelOp kernel;
  KernelLoops loops;
  unsigned lane;
  std::vector<Nest> nests;          // of the outs
  llvm::SmallVector<Stash> stashes; // of the nest that is being emitted
};

} // namespace ssm

#endif // SSM_PASSES_VECTOR_ROWPLAN_H
