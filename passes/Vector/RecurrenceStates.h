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
};

/// Carry i where the emitter is, as it is before a block of time: at the very first from
/// its init, else where the last block left it.
mlir::Value loadCarry(PointEmitter &e, unsigned i, mlir::Value isFirst);
mlir::Value loadInit(PointEmitter &e, unsigned i);
mlir::Value loadOut(PointEmitter &e, unsigned i);

/// The steps of a block of time for few channels, one channel after the other, with lanes
/// along `inner`, the loop that is summed over. What is no sum is a number of the channel.
class RecurrenceStates {
public:
  RecurrenceStates(KernelOp kernel, mlir::ImplicitLocOpBuilder &b, unsigned lane, unsigned inner,
                   int64_t lanes, const Phases &phases)
      : kernel(kernel), b(b), lane(lane), inner(inner), phases(phases), e(kernel, b, inner, lanes),
        vectors(e.fixedSize(inner) / lanes) {}

  /// Whether the state is of whole vectors, which lanes can lie along.
  static bool canRun(KernelOp kernel, unsigned inner, int64_t size, int64_t lanes);

  /// For `channels` channels from where `around` is, steps [first, first + count) of
  /// `steps`. `fixed`: the loops that neither time nor the state is.
  void run(const PointEmitter &around, mlir::Value channels, mlir::Value first, mlir::Value count,
           mlir::Value steps, LoopSet fixed);

private:
  bool isInner(mlir::Value value) const { return contains(e.loops.of(value), inner); }
  bool isInnerOut(unsigned out) { return kernel.getOutMap(out).isFunctionOfDim(inner); }
  /// Runs the body at each vector of the state, or once for an out that has none.
  void overVectors(unsigned out, llvm::function_ref<void(int64_t)> body);
  void runChannel(mlir::Value channel, mlir::Value first, mlir::Value count, mlir::Value steps,
                  LoopSet fixed);
  llvm::SmallVector<mlir::Value> step(mlir::Value channel, mlir::Value number,
                                      mlir::ValueRange now);
  /// The value at a vector of the state.
  mlir::Value at(int64_t vector, mlir::Value value);

  KernelOp kernel;
  mlir::ImplicitLocOpBuilder &b;
  unsigned lane, inner;
  const Phases &phases;
  PointEmitter e;
  int64_t vectors;
  /// What is known at each vector of the state: in all steps, in this one.
  llvm::SmallVector<llvm::DenseMap<mlir::Value, mlir::Value>> always, known;
};

} // namespace ssm

#endif // SSM_PASSES_VECTOR_RECURRENCESTATES_H
