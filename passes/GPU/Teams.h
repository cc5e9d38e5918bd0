//===- Teams.h - Kernels without time, by teams of threads -------*- C++ -*-===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What the forms of kernels without time have in common: which loops teams of threads share
// out, which one vectors lie along, and whether memory allows it.
//
//===----------------------------------------------------------------------===//

#ifndef SSM_PASSES_GPU_TEAMS_H
#define SSM_PASSES_GPU_TEAMS_H

#include "lib/Analysis/KernelShape.h"
#include "lib/Emit/PointEmitter.h"
#include "passes/GPU/DeviceKernel.h"
#include "llvm/ADT/SetVector.h"

namespace ssm {

/// Threads of a block where nothing asks for another number.
constexpr int64_t kBlock = 256;
/// What one access of memory takes at most.
constexpr int64_t kAccessBytes = 16;

/// The general form: loops over what is summed and written, as often as it is read.
class TeamEmitter {
public:
  explicit TeamEmitter(DeviceKernel &k, bool overlaps = false)
      : k(k), kernel(k.kernel), b(k.device), e(kernel, b, std::nullopt, 1), overlaps(overlaps) {}

  LaunchShape emit();

  /// Finds teams and vectors; emits nothing.
  void analyze(bool vectorsOfOwnSums = false) {
    choosePoints();
    chooseWideLoop(vectorsOfOwnSums);
  }

protected:
  void choosePoints();
  llvm::SmallVector<unsigned> order(LoopSet set, bool byScore);
  LaunchShape launch();
  /// Of a block, if a team is one.
  int64_t maxThreads();
  /// The loop whose elements may be taken as vectors, and how many at once.
  /// `ownSums`: vectors of sums too, if each is taken by one thread.
  void chooseWideLoop(bool ownSums);
  /// Makes the loop the wide one, if it can be.
  void widen(unsigned loop);
  mlir::Value stepAlong(const IndexedRead &read, unsigned loop);
  std::optional<int64_t> bytesAlong(mlir::Value buffer, bool isDense);
  /// Whether all vectors begin where memory can be accessed as a whole.
  mlir::Value isAligned();
  /// Accesses of vectors in the region are of whole ones, of all buffers or some.
  static void alignAccesses(mlir::Region &region,
                            llvm::function_ref<bool(mlir::Value)> isAligned = nullptr);
  /// Sizes of loops multiplied, on the host.
  mlir::Value hostProduct(llvm::ArrayRef<unsigned> loops);
  void emitBody();
  /// Each thread finds its points by their numbers.
  void emitPoints();
  void emitPoint();
  /// Takes note of the thread and its place.
  void begin();
  void emitTeamReduce(ReduceOp reduce);
  void emitOuts();
  /// Sets the loops' indices from one number, the last loop fastest.
  void setIndices(llvm::ArrayRef<unsigned> loops, mlir::Value number);
  /// How many points there are, each vector one.
  mlir::Value product(llvm::ArrayRef<unsigned> loops);
  mlir::Value count(unsigned loop);
  /// While it lives, values along the wide loop are vectors, if it is among the loops.
  struct Lanes {
    Lanes(TeamEmitter &t, llvm::ArrayRef<unsigned> loops) : e(t.e) {
      if (t.isWide && llvm::is_contained(loops, *t.wideLoop)) {
        e.laneLoop = t.wideLoop;
        e.lanes = t.lanes;
      }
    }
    ~Lanes() {
      e.laneLoop = std::nullopt;
      e.lanes = 1;
    }
    PointEmitter &e;
  };
  /// Reductions that a value takes, itself or through others, and that are not known yet are
  /// computed by this thread.
  void need(mlir::Value value);
  void reduceAlone(ReduceOp reduce, llvm::ArrayRef<int64_t> left, mlir::Value &sum);
  llvm::SmallVector<mlir::Value>
  strided(mlir::Value count, mlir::ValueRange carried,
          llvm::function_ref<llvm::SmallVector<mlir::Value>(mlir::Value, mlir::ValueRange)> body);
  mlir::Value constant(int64_t value) { return e.index(value); }

  DeviceKernel &k;
  KernelOp kernel;
  mlir::ImplicitLocOpBuilder &b;
  PointEmitter e;
  bool overlaps;
  /// The loops that teams share out, slowest first; and the reductions that a team
  /// takes together.
  LoopSet points = 0;
  llvm::SmallVector<unsigned> pointLoops;
  llvm::SetVector<mlir::Operation *> teamReduces;
  /// Whether a team is one thread.
  bool alone = true;
  std::optional<unsigned> wideLoop;
  int64_t lanes = 1;
  /// Of the body that is being emitted.
  bool isWide = false;
  /// Whether reads at multiples of an index count as dense, and the factors, which then have to be
  /// one: an axis of another operand's size, or of size one.
  bool takesSteps = false;
  llvm::SetVector<mlir::Value> steps;
  /// Whether the wide loop may be of any size, whatever vectors leave of it.
  bool takesRests = false;
  /// Whether vectors are of one element, wherever memory begins.
  bool takesSingles = false;
  /// Buffers that vectors are taken of.
  llvm::SetVector<mlir::Value> wideBuffers;
  mlir::Value thread, team, threads, zero;
};

/// Whether vectors of so many lanes begin where memory can be accessed as a whole, of a buffer
/// whose rows follow each other.
mlir::Value beginsAligned(mlir::ImplicitLocOpBuilder &b, mlir::Value buffer, int64_t lanes);

/// A row is read once and kept in registers.
void addRowForms(KernelOp kernel, bool overlaps, llvm::SmallVectorImpl<KernelForm> &forms);
/// Sums down columns that are neighbours, and what is computed of them again. Takes all sizes.
void addColumnForms(KernelOp kernel, bool overlaps, llvm::SmallVectorImpl<KernelForm> &forms);
/// Few long sums, or sums along columns, in two kernels: parts by many blocks, then their sums.
void addSplitForms(KernelOp kernel, llvm::SmallVectorImpl<KernelForm> &forms);
/// Rows of many vectors, without sums: several of a thread's are on their way at once.
void addVectorRowForms(KernelOp kernel, bool overlaps, llvm::SmallVectorImpl<KernelForm> &forms);
/// Many points that are no vectors.
void addPieceForms(KernelOp kernel, bool overlaps, llvm::SmallVectorImpl<KernelForm> &forms);
/// Elements of rows by index, the rows in shared memory.
void addPickForms(KernelOp kernel, bool overlaps, llvm::SmallVectorImpl<KernelForm> &forms);
/// Sums of few products with a window whose factors no rows share; together these take all sizes.
void addTapForms(KernelOp kernel, llvm::SmallVectorImpl<KernelForm> &forms);
/// What is read along one axis and written along another goes through shared memory.
void addTurnForms(KernelOp kernel, llvm::SmallVectorImpl<KernelForm> &forms);

} // namespace ssm

#endif // SSM_PASSES_GPU_TEAMS_H
