//===- TurnedSequences.h - Sequences that are dense along time --*- C++ -*-===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef SSM_PASSES_VECTOR_TURNEDSEQUENCES_H
#define SSM_PASSES_VECTOR_TURNEDSEQUENCES_H

#include "lib/Emit/PointEmitter.h"

namespace ssm {

/// The inputs and outs of a recurrence that are dense along time, and not along the lanes
/// (`isTurnedInSquares`). For a tile of channels and a block of time they are in buffers of
/// [step, lane] on the stack, and are turned in registers on the way there and back.
class TurnedSequences {
public:
  /// `at`: places the emitter at a step of a block that begins at a step of all.
  using At = llvm::function_ref<void(mlir::Value first, mlir::Value step)>;

  TurnedSequences(PointEmitter &e, int64_t block);

  bool hasOut(unsigned out) const { return outs.contains(out); }
  /// Whether no other sequence lies across the lanes: then a tile is best done from its first
  /// step to its last, in the order in which the memory lies.
  bool areAll() const { return !inputs.empty() && isAll; }

  void makeBuffers();
  /// Steps [first, first + count) of `steps`, at most a block.
  void read(mlir::Value first, mlir::Value count, mlir::Value steps, At at);
  void write(llvm::ArrayRef<unsigned> which, mlir::Value first, mlir::Value count,
             mlir::Value steps, At at);
  /// What the inputs are at a step of the block.
  void provide(mlir::Value step);
  /// Asks for a channel's part of the next block, with each step for another channel.
  void prefetchNext(mlir::Value first, mlir::Value step, mlir::Value steps);
  /// What an out is there.
  void keep(unsigned out, mlir::Value value, mlir::Value step);

private:
  /// `squares` where the block is whole, else `step` for each step that it has.
  void split(mlir::Value count, llvm::function_ref<void()> squares,
             llvm::function_ref<void(mlir::Value)> step);
  /// Runs the body with the emitter where a square's steps begin in memory, for each.
  void overSquares(mlir::Value first, mlir::Value steps, bool mirrored,
                   llvm::function_ref<void(int64_t)> body);
  mlir::Value loadRow(mlir::Value buffer, int64_t row);
  void storeRow(mlir::Value value, mlir::Value buffer, mlir::Value row);

  PointEmitter &e;
  KernelOp kernel;
  mlir::ImplicitLocOpBuilder &b;
  unsigned time, lane;
  int64_t lanes, block;
  bool isAll = true;
  llvm::MapVector<unsigned, mlir::Value> inputs, outs; // and their buffers
};

} // namespace ssm

#endif // SSM_PASSES_VECTOR_TURNEDSEQUENCES_H
