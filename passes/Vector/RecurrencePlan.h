//===- RecurrencePlan.h - When a recurrence computes what -------*- C++ -*-===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef SSM_PASSES_VECTOR_RECURRENCEPLAN_H
#define SSM_PASSES_VECTOR_RECURRENCEPLAN_H

#include "passes/Vector/RecurrenceStates.h"

namespace ssm {

/// Where carries are from step to step.
enum class Home { Registers, Stack, Outs };

/// What runs across lanes, where carries lie, and what is computed before, in and after the
/// steps, before anything is emitted.
class RecurrencePlan {
protected:
  RecurrencePlan(KernelOp kernel, mlir::ImplicitLocOpBuilder &b);

  /// Why it cannot be done, or "".
  llvm::StringRef analyze();
  /// Whether there is a single step, and it must read its whole state before it can change it.
  bool isReadTwice();
  Home findHome();
  mlir::Type carryType(unsigned i) { return kernel.getCarryArg(i).getType(); }
  bool isInnerCarry(unsigned i) { return inner && kernel.getOutMap(i).isFunctionOfDim(*inner); }
  bool isInner(mlir::Value value) { return inner && contains(e.loops.of(value), *inner); }
  bool isInside(mlir::Value value) { return value.getParentBlock() == &kernel.getStep(); }
  void findPhases();
  /// Bits are bytes one by one, and packed in vectors.
  static bool canBeKept(mlir::Value value) { return !value.getType().isInteger(1); }
  /// Whether computing the value anew, from what `stops` has, takes more than a
  /// few additions and multiplications.
  bool isSlowToCompute(mlir::Value value, const llvm::DenseSet<mlir::Value> &stops);
  /// What a late value takes from the steps: values that vary and are needed there.
  void collect(mlir::Value value, const llvm::DenseSet<mlir::Value> &needed,
               const llvm::DenseSet<mlir::Value> &varying, llvm::DenseSet<mlir::Value> &seen);
  /// Whether a value can be computed at inner points with the reductions so far.
  bool isReady(mlir::Value value, const llvm::DenseSet<mlir::Value> &done);
  bool isInnerOut(unsigned i);
  /// Where a step must read its whole state before it can change it, as in the delta rule, the
  /// step before reads it for it, element by element as it makes it: `ahead` are the sums that
  /// need nothing but the state and inputs.
  void findAhead();

  KernelOp kernel;
  mlir::ImplicitLocOpBuilder &b;
  unsigned time, lane;
  int64_t lanes, block, maxStack;
  /// Whether lanes of the steps lie along the state; those of what comes before and after
  /// them always lie across channels.
  bool isAlongState;
  PointEmitter e;
  llvm::SmallVector<ReduceOp> reduces;
  LoopSet innerSet = 0, outerSet = 0;
  std::optional<unsigned> inner;
  int64_t innerSize = 0;
  Home home = Home::Registers;
  Phases phases;
  llvm::SmallVector<ReduceOp> ahead;
};

} // namespace ssm

#endif // SSM_PASSES_VECTOR_RECURRENCEPLAN_H
