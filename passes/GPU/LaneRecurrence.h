//===- LaneRecurrence.h - Carries in registers of lanes -----------*- C++ -*-===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef SSM_PASSES_GPU_LANERECURRENCE_H
#define SSM_PASSES_GPU_LANERECURRENCE_H

#include "passes/GPU/DeviceBuilder.h"
#include "passes/GPU/DeviceKernel.h"
#include "passes/GPU/TeamReduce.h"

#include "llvm/ADT/SetVector.h"

namespace ssm {

/// Time inside of a lane, or of `lanes` neighbours that share the points of the summed loop.
class LaneRecurrence {
public:
  /// `overlaps`: the kernel may begin before those in front of it are done.
  explicit LaneRecurrence(DeviceKernel &k, bool overlaps = false)
      : k(k), kernel(k.kernel), b(k.device), e(kernel, b, std::nullopt, 1), time(*kernel.getTime()),
        overlaps(overlaps) {}

  /// Whether the kernel has this form.
  bool analyze();
  /// The same of the form for a single step, whose lanes have vectors of the summed loop, or
  /// neighbouring lanes other points where the state lies dense along them.
  bool analyzeStep();
  mlir::Value isSingle();
  /// Whether there is one step, and all these vectors are single accesses.
  mlir::Value isStep();
  LaunchShape emit();

private:
  using Values = llvm::SmallVector<mlir::Value>;
  using Points = llvm::SmallVector<llvm::DenseMap<mlir::Value, mlir::Value>>;

  bool isInner(mlir::Value value) { return inner && contains(e.loops.of(value), *inner); }
  bool isInnerOut(unsigned i) { return inner && kernel.getOutMap(i).isFunctionOfDim(*inner); }
  /// Of a single step: whether there is no loop, and all that it needs is asked for at once.
  bool isOnce() const { return isAtOnce || (overlaps && !inner); }
  bool hasAnyBlock() const { return overlaps || isAtOnce; }
  int64_t pointsOf(bool isInner) { return isInner ? perLane : 1; }

  LaunchShape launch();
  void placePiece();
  void placePoint();
  void run();
  void setTime(mlir::Value step);
  void setInner(int64_t point);
  mlir::Value isValid(int64_t point);
  mlir::Value both(mlir::Value x, mlir::Value y);
  mlir::Value isZero(mlir::Value index);
  void findOwners();
  void runOnce();
  bool analyzeWide();
  bool analyzeAcross();
  bool isWide(mlir::Value buffer, mlir::AffineMap map);
  Values loadGroups(mlir::Value buffer, mlir::AffineMap map, bool mirrored);
  void storeGroups(unsigned out, mlir::ValueRange values);
  void storeOut(unsigned out, mlir::Value value, mlir::Value condition);
  void storePoint(unsigned out, int64_t point, mlir::Value value);
  mlir::Value atPoint(Points &points, int64_t point, mlir::Value value);
  void findPhases();
  bool isSlowToCompute(mlir::Value value);
  void loadInputs(llvm::ArrayRef<unsigned> inputs, mlir::Value step,
                  llvm::SmallVectorImpl<mlir::Value> &loaded);
  void loadSteps(mlir::Value first, llvm::SmallVectorImpl<mlir::Value> &loaded);
  void loadOwn(mlir::Value first, llvm::SmallVectorImpl<mlir::Value> &loaded);
  void give(Points &points, llvm::ArrayRef<unsigned> inputs, llvm::ArrayRef<mlir::Value> &loaded);
  mlir::Value reducePoints(Points &points, ReduceOp reduce);
  Values runStep(Points &points, mlir::ValueRange now, bool isBlock, bool isQuiet = false);
  Values runSingly(mlir::Value first, mlir::Value last, mlir::ValueRange now, bool isQuiet);
  Values runBlock(mlir::Value first, mlir::ValueRange now, llvm::ArrayRef<mlir::Value> stepsLoaded,
                  llvm::ArrayRef<mlir::Value> ownLoaded);
  mlir::Value ownStep(mlir::Value first, int64_t round);
  mlir::Value pickOwn(llvm::ArrayRef<mlir::Value> values);
  mlir::Value reduceOwn(mlir::arith::AtomicRMWKind kind, Values values);
  void emitReady();

  DeviceKernel &k;
  KernelOp kernel;
  mlir::ImplicitLocOpBuilder &b;
  PointEmitter e;
  unsigned time;
  bool overlaps;
  LaunchShape shape = {};
  LoopSet outerSet = 0;
  llvm::SmallVector<unsigned> outer;
  /// The loop that is summed over. A lane has every `lanes`-th group of `width` indices, which lie
  /// side by side; each index is a point.
  std::optional<unsigned> inner;
  int64_t innerSize = 0, lanes = 1, perLane = 0, width = 1, unroll = 1;
  /// Threads from one lane of a point to the next; those between have neighbouring points.
  int64_t stride = 1;
  /// Of a single step with an inner loop.
  bool isAtOnce = false;
  /// Inputs that change with time.
  llvm::SmallVector<unsigned> timed;

  /// What lanes of a channel share out, step i of a block to lane i: slow values that the steps
  /// take and that do not depend on them, and all outs that no step takes.
  llvm::SetVector<mlir::Value> before;
  llvm::DenseSet<mlir::Operation *> lateReduces;
  llvm::SmallVector<unsigned> late;
  /// Values of the steps that late outs take.
  llvm::SetVector<mlir::Value> fromSteps;
  /// Timed inputs that steps take, and those that the shared work takes.
  llvm::SmallVector<unsigned> stepInputs, ownInputs;
  int64_t stepLoads = 0;
  /// Lanes that have a step of a block each, and the steps that each has.
  int64_t sharers = 1, rounds = 1;
  /// Blocks that elements of the shared work are loaded ahead: others share theirs, and find
  /// them in a cache.
  int64_t depth = 2;
  /// For the block at hand, for each of its steps.
  llvm::DenseMap<mlir::Value, Values> saved;
  /// After how many steps nothing is left of where the carries began; 0: something always is.
  int64_t memory = 0;
  /// Null where all lanes have a point.
  mlir::Value exists;
  mlir::Value lane, steps;
  /// The steps that this thread writes.
  mlir::Value firstStep, lastStep;
  /// Who of the threads of a point's lanes writes an out; null: all.
  Values owners;
  Points fixed;
  llvm::SmallVector<unsigned> begin;
};

} // namespace ssm

#endif // SSM_PASSES_GPU_LANERECURRENCE_H
