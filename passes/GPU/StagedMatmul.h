//===- StagedMatmul.h - Products whose threads copy ahead ---------*- C++ -*-===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef SSM_PASSES_GPU_STAGEDMATMUL_H
#define SSM_PASSES_GPU_STAGEDMATMUL_H

#include "passes/GPU/MatmulTiles.h"

#include "mlir/Dialect/LLVMIR/NVVMDialect.h"

namespace ssm {

/// The loop over the depth of forms whose threads fill the next stages of shared memory while
/// they multiply. `Staging`: a side's part of a stage as a form has it, with `side`, `isDirect`
/// (copied, not computed) and `tileBytes` (from one tile of the depth to the next).
template <class Staging> class AheadEmitter : public TileEmitter {
public:
  using TileEmitter::TileEmitter;
  virtual ~AheadEmitter() = default;

protected:
  /// Sides, and what threads need to know, once the tile is known.
  virtual std::array<Staging, 2> begin() = 0;
  /// Where the thread's first element of a side that is copied is.
  virtual mlir::Value start(const Staging &s) = 0;
  /// Starts copies of the tile of the depth at `k`, from `pointer`.
  virtual void copyAsync(const Staging &s, mlir::Value k, mlir::Value pointer,
                         mlir::Value slot) = 0;
  /// The same of a side that is not copied, in two steps.
  virtual Values readTile(const Staging &s, mlir::Value k) = 0;
  virtual void writeTile(const Staging &s, mlir::ValueRange tile, mlir::Value slot) = 0;
  /// Adds a stage's products to the thread's sums.
  virtual void multiply(llvm::ArrayRef<Staging> sides, mlir::Value slot,
                        llvm::MutableArrayRef<mlir::Value> sums) = 0;
  virtual void storeSums(mlir::ValueRange sums) = 0;

  /// `count` sums of a thread; without `isAsync` copies are over when they are made.
  LaunchShape run(int64_t bytesOfStage, int64_t count, bool isAsync, bool overlaps);

  /// What this block sums up of the depth (indices).
  mlir::Value firstDepth, lastDepth;

private:
  void placePart();
  mlir::Value next(mlir::Value slot) {
    mlir::Value more = d.add(slot, stageBytes);
    return d.select(d.isEqual(more, stageBytes * tile.stages), d.constant(0), more);
  }

  int64_t stageBytes = 0;
};

template <class Staging> void AheadEmitter<Staging>::placePart() {
  firstDepth = e.index(0);
  lastDepth = depth;
  if (!k.parts)
    return;
  mlir::Value part = mlir::gpu::BlockIdOp::create(b, mlir::gpu::Dimension::y);
  mlir::Value steps = d.ceilDiv(depth, tile.k);
  mlir::Value ofPart = d.div(d.add(steps, d.sub(k.numParts, 1)), k.numParts);
  firstDepth = d.mul(d.mul(part, ofPart), tile.k);
  lastDepth = d.min(d.add(firstDepth, d.mul(ofPart, tile.k)), depth);
}

template <class Staging>
LaunchShape AheadEmitter<Staging>::run(int64_t bytesOfStage, int64_t count, bool isAsync,
                                       bool overlaps) {
  using namespace mlir;
  stageBytes = bytesOfStage;
  LaunchShape shape = launch();
  shape.dynamicShared = std::max(stageBytes * tile.stages, tile.m * sumsPitch());
  if (k.parts)
    shape.grid[1] = k.hostNumParts;
  bool isEarly = overlaps && isAsync && right.input &&
                 canReadEarly(k, kernel.getInputs()[*right.input], shape);
  if (overlaps && !isEarly)
    waitForOthers(k, shape);
  prepare();
  place(d.block(), kRaster);
  placePart();
  std::array<Staging, 2> sides = begin();
  isAsync &= sides[0].isDirect || sides[1].isDirect;
  // Pointers to what comes next, of sides that are copied.
  Values pointers;
  for (Staging &s : sides)
    if (s.isDirect)
      pointers.push_back(start(s));
  auto copy = [&](Value k, ValueRange pointers, Value slot, bool copiesRight = true) {
    Values advanced;
    auto pointer = pointers.begin();
    for (Staging &s : sides)
      if (s.isDirect) {
        if (copiesRight || &s == &sides[0])
          copyAsync(s, k, *pointer, slot);
        advanced.push_back(d.after(*pointer++, s.tileBytes));
      }
    if (isAsync)
      NVVM::CpAsyncCommitGroupOp::create(b);
    return advanced;
  };
  auto wait = [&](int64_t left) {
    if (isAsync)
      NVVM::CpAsyncWaitGroupOp::create(b, left);
    gpu::BarrierOp::create(b);
  };
  auto read = [&](Value k) {
    return llvm::map_to_vector<2>(
        sides, [&](Staging &s) { return s.isDirect ? Values() : readTile(s, k); });
  };
  auto write = [&](ArrayRef<Values> tiles, Value slot) {
    for (auto [s, tile] : llvm::zip_equal(sides, tiles))
      if (!s.isDirect)
        writeTile(s, tile, slot);
  };

  Value first = d.constant(0);
  if (isEarly) {
    // Part of the first group; the left side's copies wait.
    Value at = firstDepth, pointer = pointers.back(), slot = first;
    for (int64_t i = 0; i + 1 < tile.stages; ++i) {
      copyAsync(sides[1], at, pointer, slot);
      at = d.add(at, tile.k);
      pointer = d.after(pointer, sides[1].tileBytes);
      slot = next(slot);
    }
    waitForOthers(k, shape);
  }
  Values ahead = {firstDepth, first};
  llvm::append_range(ahead, pointers);
  for (int64_t i = 0; i + 1 < tile.stages; ++i) {
    Values advanced = copy(ahead[0], ArrayRef(ahead).drop_front(2), ahead[1], !isEarly);
    if (!sides[0].isDirect || !sides[1].isDirect)
      d.branch(d.isLess(ahead[0], lastDepth), [&] { write(read(ahead[0]), ahead[1]); });
    ahead[0] = d.add(ahead[0], tile.k);
    ahead[1] = next(ahead[1]);
    llvm::copy(advanced, ahead.begin() + 2);
  }
  Value noSum = arith::ConstantOp::create(b, b.getZeroAttr(what.sum.getType()));
  Values carried(count, noSum);
  carried.push_back(first);
  llvm::append_range(carried, ahead);
  Values sums = d.loop(firstDepth, lastDepth, e.index(tile.k), carried, [&](Value, ValueRange now) {
    Values next(now.take_front(count));
    Value slot = now[count], aheadK = now[count + 1], aheadSlot = now[count + 2];
    wait(tile.stages - 2);
    Values advanced = copy(aheadK, now.drop_front(count + 3), aheadSlot);
    SmallVector<Values> tiles = read(aheadK);
    multiply(sides, slot, next);
    write(tiles, aheadSlot);
    next.push_back(this->next(slot));
    next.push_back(d.add(aheadK, tile.k));
    next.push_back(this->next(aheadSlot));
    llvm::append_range(next, advanced);
    return next;
  });
  // Copies past the depth write zeros.
  wait(0);
  storeSums(ArrayRef(sums).take_front(count));
  gpu::BarrierOp::create(b);
  if (k.parts)
    d.branch(d.isEqual(k.numParts, 1), [&] { finishTile(); }, [&] { storePart(); });
  else
    finishTile();
  return shape;
}

} // namespace ssm

#endif // SSM_PASSES_GPU_STAGEDMATMUL_H
