//===- RecurrenceStates.h - Recurrences with lanes along the state -*- C++ -*-===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef SSM_PASSES_VECTOR_RECURRENCESTATES_H
#define SSM_PASSES_VECTOR_RECURRENCESTATES_H

#include "lib/Emit/PointEmitter.h"
#include "llvm/ADT/SetVector.h"

namespace ssm {

/// The operations of a recurrence's region by when they run, and where values are that
/// one phase leaves to the next: buffers of [step, channel].
struct Phases {
  /// Before the recurrence, for a whole block of time; what the steps need of them.
  llvm::SetVector<mlir::Value> before;
  /// After it; what they need of the steps.
  llvm::SetVector<mlir::Value> fromSteps;
  /// Outs that are computed after the steps.
  llvm::SmallVector<unsigned> late;
  llvm::DenseMap<mlir::Value, mlir::Value> buffers;
  /// Of sums that no step needs, vectors of lanes along the state that are not yet added up:
  /// buffers of [step, channel, lane].
  llvm::DenseMap<mlir::Value, mlir::Value> partialSums;
};

/// Carry i where the emitter is, as it is before a block of time: at the very first from
/// its init, else where the last block left it.
mlir::Value loadCarry(PointEmitter &e, unsigned i, mlir::Value isFirst);
mlir::Value loadInit(PointEmitter &e, unsigned i);
mlir::Value loadOut(PointEmitter &e, unsigned i);

/// The steps of a block of time, one channel after the other, with lanes along `inner`, the
/// loop that is summed over. What is no sum is a number of the channel.
class RecurrenceStates {
public:
  RecurrenceStates(KernelOp kernel, mlir::ImplicitLocOpBuilder &b, unsigned lane, unsigned inner,
                   int64_t lanes, const Phases &phases);

  /// Whether the state is of whole vectors, which lanes can lie along.
  static bool canRun(KernelOp kernel, unsigned inner, int64_t size, int64_t lanes);

  /// Steps [first, first + count) of `steps`. `fixed`: the loops that neither time nor the
  /// state is.
  struct Block {
    mlir::Value first, count, steps;
    LoopSet fixed;
  };
  /// For `count` channels from where `around` is.
  void run(const PointEmitter &around, mlir::Value count, const Block &block);

private:
  bool isInner(mlir::Value value) const { return contains(e.loops.of(value), inner); }
  bool isInnerOut(unsigned out) { return kernel.getOutMap(out).isFunctionOfDim(inner); }
  /// Runs the body at each vector of the part, or once for an out that has none.
  void overVectors(unsigned out, llvm::function_ref<void(int64_t)> body);
  /// A channel, as a number from `begin`, and what is known of it in all steps of a block,
  /// also at each vector of the state.
  struct Channel {
    mlir::Value index;
    llvm::DenseMap<mlir::Value, mlir::Value> fixed;
    llvm::SmallVector<llvm::DenseMap<mlir::Value, mlir::Value>> always;
  };
  /// Runs the body with the emitter at the channel.
  void atChannel(const Channel &channel, llvm::function_ref<void()> body);
  /// All steps of `size` channels from channel `first` on, one part of the state after the other.
  void runGroup(mlir::Value first, int64_t size, const Block &block);
  void runPart(llvm::MutableArrayRef<Channel> channels, const Block &block);
  /// Keeps what the lanes of this part of the state sum up to, with that of the parts before.
  void addPartialSum(ReduceOp reduce, mlir::Value sum, mlir::Value buffer,
                     llvm::ArrayRef<mlir::Value> place);
  /// All carries at all vectors of the state, as loadCarry has them.
  llvm::SmallVector<mlir::Value> loadCarries(mlir::Value isFirst);
  llvm::SmallVector<mlir::Value> step(const Channel &channel, mlir::Value number,
                                      mlir::ValueRange now);
  /// The value at a vector of the state.
  mlir::Value at(int64_t vector, mlir::Value value);

  KernelOp kernel;
  mlir::ImplicitLocOpBuilder &b;
  unsigned lane, inner;
  const Phases &phases;
  PointEmitter e;
  /// Vectors of a part of the state, and parts.
  int64_t vectors, parts;
  /// The first channel, and where the part begins.
  mlir::Value begin, part;
  /// What is known at each vector of the state in this step.
  llvm::SmallVector<llvm::DenseMap<mlir::Value, mlir::Value>> known;
};

} // namespace ssm

#endif // SSM_PASSES_VECTOR_RECURRENCESTATES_H
