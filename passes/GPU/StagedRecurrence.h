//===- StagedRecurrence.h - Who computes what of a recurrence -----*- C++ -*-===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A recurrence whose carries have a state loop, which sums run over, and a channel loop, as the
// selective scan of Mamba: its region is divided by the loops that values depend on.
//
//===----------------------------------------------------------------------===//

#ifndef SSM_PASSES_GPU_STAGEDRECURRENCE_H
#define SSM_PASSES_GPU_STAGEDRECURRENCE_H

#include "dialects/SSM/KernelLoops.h"
#include "passes/GPU/DeviceKernel.h"

namespace ssm {

/// Threads of the two roles: four warps each, one of each for every scheduler.
constexpr int64_t kScanThreads = 128, kElementThreads = 128;
/// Elements that a thread of the element role has side by side.
constexpr int64_t kChunk = 8;

struct StagedRecurrence {
  unsigned time, state, channel;
  int64_t numStates;
  /// All other loops.
  llvm::SmallVector<unsigned> outer;
  /// Channel or time: the loop that chunks lie along.
  unsigned wide;

  /// Values of the steps that have a channel and a time but no state (f32), and those with a state
  /// and a time but no channel: computed once and passed on through shared memory.
  llvm::SmallVector<mlir::Value> planes, strips;
  /// Slow values of the steps that no carry goes into: computed ahead of the chain.
  llvm::SmallVector<mlir::Value> early;
  /// All sums; outs but carries are computed from them and from values like `planes`.
  llvm::SmallVector<ReduceOp> sums;
  llvm::SmallVector<unsigned> outs;
  /// Inputs that are loaded by chunks, for the planes and for the outs, and outs stored so.
  llvm::SmallVector<unsigned> planeInputs, outInputs, wideOuts;

  /// What a strip keeps in shared memory, before it is extended; the type is that of all strips.
  llvm::SmallVector<mlir::Value> stripSources;
  mlir::Type stripType;
  /// Strips that are inputs whose states lie dense: what is loaded at a time; 1: by elements.
  int64_t stripRun = 1;
};

/// How threads share out the channels and states of a block, and its steps.
struct StagedTile {
  /// Lanes that share a channel's states, states and channels that each has, steps, and blocks
  /// that a multiprocessor runs at once.
  int64_t lanes, perLane, channels, steps, blocks;
  /// Steps whose slow values are computed together.
  int64_t lot = 2;

  int64_t allChannels() const { return kScanThreads / lanes * channels; }
};

/// Whether the kernel is one.
std::optional<StagedRecurrence> matchStagedRecurrence(KernelOp kernel);

/// `channels` that a lane has, 1 or 2.
StagedTile chooseStagedTile(const StagedRecurrence &what, int64_t channels);

/// Bytes of shared memory, and where its parts begin.
struct StagedMemory {
  /// Elements from one step to the next: planes, strips, and lanes' parts of sums, of which
  /// those of kChunk channels follow each other.
  int64_t planePitch, stripPitch, stripWidth, partsPitch, partsOfChunk;
  int64_t planes, strips, parts, bytes;
};
StagedMemory layoutStagedMemory(const StagedRecurrence &what, const StagedTile &tile);

LaunchShape emitStagedRecurrence(DeviceKernel &kernel, const StagedRecurrence &what,
                                 StagedTile tile);

} // namespace ssm

#endif // SSM_PASSES_GPU_STAGEDRECURRENCE_H
