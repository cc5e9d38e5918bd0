//===- StagedEmitter.h - Selective scans by warps with roles -----*- C++ -*-===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef SSM_PASSES_GPU_STAGEDEMITTER_H
#define SSM_PASSES_GPU_STAGEDEMITTER_H

#include "lib/Emit/PointEmitter.h"
#include "passes/GPU/DeviceBuilder.h"
#include "passes/GPU/StagedRecurrence.h"

namespace ssm {

class StagedEmitter {
public:
  StagedEmitter(DeviceKernel &k, const StagedRecurrence &r, StagedTile tile)
      : k(k), kernel(k.kernel), r(r), tile(tile), memory(layoutStagedMemory(r, tile)), b(k.device),
        d{b}, e(kernel, b, std::nullopt, 1) {}

  LaunchShape emit();

private:
  using Values = llvm::SmallVector<mlir::Value>;
  using Known = llvm::DenseMap<mlir::Value, mlir::Value>;

  LaunchShape launch();
  mlir::Value viewMemory(int64_t offset, llvm::ArrayRef<int64_t> shape, mlir::Type type);
  void setGroup(mlir::Value group);
  void runBlock();
  /// The flag that tells a block that the one before it has left its carries.
  mlir::Value flagOf(mlir::Value block);
  void waitForCarries();
  /// The values that no step changes, at this point of the loops.
  Known fixedHere();
  void give(const Known &known);
  /// Elements of a vector in f32.
  Values unpack(mlir::Value vector);
  mlir::Value inTurn(mlir::Value tileIndex) { return d.bitAnd(tileIndex, 1); }

  //===--------------------------------------------------------------------===//
  // Scan
  //===--------------------------------------------------------------------===//

  /// What a step takes: each plane for each of the lane's channels, all strips in a vector; slow
  /// values of each point.
  struct Step {
    Values planes, strips, early;
  };
  int64_t numPoints() const { return tile.channels * tile.perLane; }
  void scan();
  Values loadCarries();
  void setPoint(int64_t point);
  mlir::Value isValidState(int64_t point);
  mlir::Value isWritten(int64_t point);
  Values loadPlanes(mlir::Value at);
  Values loadStrips(mlir::Value at);
  void givePoint(int64_t point, const Step &step, llvm::ArrayRef<mlir::Value> strips);
  std::optional<std::pair<mlir::Value, mlir::Value>> splitExp(mlir::Value value);
  Values computeEarly(const Step &step);
  Values advance(mlir::ValueRange now, const Step &step, Values &parts);
  void storeParts(mlir::Value at, llvm::ArrayRef<mlir::Value> parts);
  Values scanTile(mlir::ValueRange now, mlir::Value count);
  Values scanWhole(mlir::ValueRange now);

  //===--------------------------------------------------------------------===//
  // Elements
  //===--------------------------------------------------------------------===//

  /// Where a thread's chunk lies: in the block, and in the operands, where what does not exist
  /// is replaced by what does.
  struct Chunk {
    mlir::Value blockChannel, blockTime, channel, time, exists;
  };
  void elements();
  Chunk chunkOf(int64_t pass, mlir::Value tileIndex);
  void setLane(const Chunk &chunk, int64_t lane);
  void giveFixed(int64_t lane) { give(fixed[isAlongTime() ? 0 : lane]); }
  bool isAlongTime() const { return r.wide == r.time; }
  Values wideIndices(mlir::AffineMap map, bool isMirrored);
  Values loadChunks(llvm::ArrayRef<unsigned> inputs, mlir::Value tileIndex);
  /// The elements of a pass in f32 or as they are, [input][lane].
  llvm::SmallVector<Values> takeChunks(llvm::ArrayRef<unsigned> inputs, mlir::ValueRange loaded);
  void giveInputs(llvm::ArrayRef<unsigned> inputs, llvm::ArrayRef<Values> chunks, int64_t lane);
  Values loadStripParts(mlir::Value tileIndex);
  void storeStripParts(mlir::ValueRange loaded, mlir::Value turn);
  void computePlanes(mlir::ValueRange loaded, mlir::Value tileIndex, mlir::Value turn);
  void computeOuts(mlir::ValueRange loaded, mlir::Value tileIndex, mlir::Value turn);
  Values sumParts(ReduceOp sum, unsigned index, const Chunk &chunk, mlir::Value turn);
  int64_t stripPasses() const {
    return llvm::divideCeil(tile.steps * stripsPerStep(), kElementThreads);
  }
  int64_t stripsPerStep() const {
    return llvm::PowerOf2Ceil(tile.lanes * tile.perLane / r.stripRun);
  }
  /// Of a strip's part: its step, its number among those of the step, and whether it exists
  /// (null: it does).
  struct StripPart {
    mlir::Value time, number, exists;
  };
  StripPart stripPart(int64_t pass);

  DeviceKernel &k;
  KernelOp kernel;
  StagedRecurrence r;
  StagedTile tile;
  StagedMemory memory;
  mlir::ImplicitLocOpBuilder &b;
  DeviceBuilder d;
  PointEmitter e;

  mlir::Value thread, planes, strips, parts;
  /// Sizes, the block's first channel, and its part of the tiles.
  mlir::Value steps, channels, firstChannel, firstTile, numTiles, rounds;
  /// All flags, this block's, and whether its carries come from the block before.
  mlir::Value flags, ownFlag, isContinued;

  // Scan: the lane, its channels, where their planes are and its parts of sums go; what no step
  // changes for each point; the buffers' turn.
  mlir::Value lane, within, planeChunk, planePlace, partsPlace, turn;
  llvm::SmallVector<Known> fixed, scaledFactors;
  // Elements: the thread's first chunk and whether there is one (null: yes); how many rows or
  // columns of chunks all threads have at a time, and how many times.
  mlir::Value number, column, row, hasChunk;
  int64_t perPass = 0, passes = 0;
};

} // namespace ssm

#endif // SSM_PASSES_GPU_STAGEDEMITTER_H
