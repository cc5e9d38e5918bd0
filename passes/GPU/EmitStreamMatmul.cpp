//===- EmitStreamMatmul.cpp - Products of some rows by warpgroups ---------- ===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Up to 128 rows, past which weights stream from memory: these are the rows of what tensor cores
// multiply, as theirs are 64 at least, and the product's rows its columns. The blocks of a cluster
// share out the depth, and add up their sums in each other's shared memory, in their order.
//
//===----------------------------------------------------------------------===//

#include "passes/GPU/DeviceModule.h"
#include "passes/GPU/TraceBlock.h"
#include "passes/GPU/WarpgroupMatmul.h"

#include "mlir/Dialect/Arith/Utils/Utils.h"
#include "mlir/Dialect/LLVMIR/NVVMDialect.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;
using namespace ssm;

namespace {

/// Parts of a sum that are asked for together.
constexpr int64_t kTogether = 4;
/// Stages whose weights are asked for before the wait: the first rows come behind all of these.
constexpr int64_t kStagesAhead = 4;
/// What all blocks together ask for before the wait, those among them.
constexpr int64_t kAheadBytes = 8 << 20;

class StreamEmitter : public WarpgroupEmitter {
public:
  StreamEmitter(DeviceKernel &kernel, const Matmul &what, MatmulSide left, MatmulSide right,
                MatmulTile tile)
      : WarpgroupEmitter(kernel, what, left, right, tile, MmaKind::Half,
                         (tile.n / kRows + 1) * kWarpgroup) {}

  LaunchShape emit();

private:
  int64_t consumers() const { return tile.n / kRows; }
  int64_t stagesAhead() const { return std::min(stages, kStagesAhead); }
  Value consume();
  void produceAhead();
  void prefetch();
  void produce(bool isAhead);
  void storeSums(Value sums);
  void addParts();

  Staging weights, few;
  Value depthOf(Value step) { return d.mul(d.add(first, step), tile.k); }

  /// Steps of the depth that are this block's, and the block's number in its cluster.
  Value first, count, part, group, threadOfGroup, isProducer;
};

} // namespace

/// Before the wait for other kernels, weights of the first stages.
void StreamEmitter::produceAhead() {
  for (int64_t i = 0; i < stagesAhead(); ++i) {
    Value stage = d.constant(i);
    d.branch(d.isLess(stage, count), [&] {
      expect(stage);
      copy(weights, stage, depthOf(stage));
    });
  }
}

/// More weights come to the second-level cache, a line of them by one thread.
void StreamEmitter::prefetch() {
  if (!right.isDenseAlongDepth)
    return;
  Value blocks = d.mul(d.toInt(gpu::GridDimOp::create(b, gpu::Dimension::x)), d.toInt(k.numParts));
  Value ahead = d.div(d.constant(kAheadBytes / (tile.n * tile.k * bytes)), blocks);
  Value from = d.min(count, stagesAhead()), to = d.min(count, ahead);
  Value isOne = d.make<arith::AndIOp>(d.isLess(thread, tile.n), d.isLess(from, to));
  d.branch(isOne, [&] {
    Value begin = depthOf(from), end = d.min(depthOf(to), d.toInt(depth));
    Value line = d.min(d.add(n0, d.toIndex(thread)), d.sub(width, 1));
    // Whole pieces of 16 bytes.
    Value size = d.bitAnd(d.mul(d.sub(end, begin), bytes), -16);
    NVVM::CpAsyncBulkPrefetchOp::create(b, address(right, line, d.toIndex(begin)), size, Value());
  });
}

void StreamEmitter::produce(bool isAhead) {
  d.loop(zero, count, one, {zero, zero}, [&](Value step, ValueRange carried) {
    Stage now{carried[0], carried[1]};
    auto begin = [&] {
      wait(empty(now.number), d.bitXor(now.phase, 1));
      expect(now.number);
      copy(weights, now.number, depthOf(step));
    };
    if (isAhead)
      d.branch(d.compare(arith::CmpIPredicate::uge, step, stagesAhead()), begin);
    else
      begin();
    copy(few, now.number, depthOf(step));
    Stage after = next(now);
    return Values{after.number, after.phase};
  });
}

Value StreamEmitter::consume() {
  Value x = describe(weights, d.mul(group, kRows * weights.boxDepth() * bytes)), y = describe(few, zero);
  SmallVector<Type> numbers(tile.m / 2, what.sum.getType());
  auto sumsType = LLVM::LLVMStructType::getLiteral(b.getContext(), numbers);
  Value none = LLVM::ZeroOp::create(b, sumsType);
  return d.loop(zero, count, one, {zero, zero, none}, [&](Value, ValueRange carried) {
    Stage now{carried[0], carried[1]};
    Value sums = carried[2];
    wait(full(now.number), now.phase);
    NVVM::WgmmaFenceAlignedOp::create(b);
    for (int64_t i = 0; i < steps(); ++i)
      sums = multiply(weights, atStage(weights, x, now.number, i), few,
                      atStage(few, y, now.number, i), sums, /*isFirst=*/false);
    NVVM::WgmmaGroupSyncAlignedOp::create(b);
    // Products take less time than what the stage is free for again: copies.
    NVVM::WgmmaWaitGroupSyncOp::create(b, 0);
    d.branch(d.isEqual(threadOfGroup, 0), [&] {
      NVVM::MBarrierArriveOp::create(b, Type(), empty(now.number), Value());
    });
    Stage after = next(now);
    return Values{after.number, after.phase, sums};
  })[2];
}

/// As the product has them: a thread has places of two of its columns, and of pairs of rows.
void StreamEmitter::storeSums(Value sums) {
  Value lane = d.rem(threadOfGroup, 32), warp = d.div(threadOfGroup, 32);
  Value column = d.add(d.add(d.mul(group, kRows), d.mul(warp, 16)), d.div(lane, 4));
  Value row = d.mul(d.rem(lane, 4), 2);
  Value to = d.after(shared, d.add(d.mul(row, sumsPitch()), d.mul(column, 4)));
  for (int64_t i = 0; i < tile.m / 2; ++i)
    d.store(LLVM::ExtractValueOp::create(b, sums, i),
            d.after(to, (i / 4 * 8 + i % 2) * sumsPitch() + i / 2 % 2 * 8 * 4), 4);
}

/// The sums of all blocks of the cluster, in their order; each has some rows.
void StreamEmitter::addParts() {
  auto barrier = [&] {
    NVVM::ClusterArriveOp::create(b, b.getUnitAttr());
    NVVM::ClusterWaitOp::create(b, b.getUnitAttr());
  };
  auto four = VectorType::get({4}, what.sum.getType());
  auto remote = LLVM::LLVMPointerType::get(b.getContext(), /*shared memory of a cluster*/ 7);
  int64_t perRow = tile.n / 4;
  Value numParts = d.toInt(k.numParts), most = d.constant(tile.m);
  Value ofBlock = d.div(d.add(d.sub(numParts, 1), tile.m), numParts);
  Value firstRow = d.min(d.mul(part, ofBlock), most);
  Value numRows = d.sub(d.min(d.add(firstRow, ofBlock), most), firstRow);
  Value own = d.after(shared, d.mul(firstRow, sumsPitch()));
  auto at = [&](Value row, Value column) {
    Value place = d.after(own, d.add(d.mul(row, sumsPitch()), d.mul(column, 4)));
    place.getDefiningOp()->setAttr(kOwnPart, b.getUnitAttr());
    return place;
  };
  barrier();
  d.loop(thread, d.mul(numRows, perRow), d.constant(threads), {}, [&](Value number, ValueRange) {
    Value place = at(d.div(number, perRow), d.mul(d.rem(number, perRow), 4));
    Value none = arith::ConstantOp::create(b, b.getZeroAttr(four));
    Value sum = d.loop(zero, numParts, d.constant(kTogether), none, [&](Value base, ValueRange now) {
      Values parts, sums = {now[0]};
      for (int64_t i = 0; i < kTogether; ++i) {
        Value which = d.min(d.add(base, i), d.sub(numParts, 1));
        parts.push_back(d.load(four, NVVM::MapaOp::create(b, remote, place, which), 16));
      }
      for (int64_t i = 0; i < kTogether; ++i)
        sums[0] = d.select(d.isLess(d.add(base, i), numParts),
                           arith::AddFOp::create(b, sums[0], parts[i]), sums[0]);
      return sums;
    })[0];
    d.store(sum, place, 16);
    return Values();
  });
  // No block ends before others have read what it has.
  barrier();
  finish({firstRow, zero, numRows, tile.n, thread, threads, [&](Value row, Value column) {
            Value first = at(row, column);
            return SumPointers(first, d.after(first, 16));
          }});
}

LaunchShape StreamEmitter::emit() {
  LaunchShape shape = launch();
  stages = tile.stages;
  stageBytes = (tile.m + tile.n) * tile.k * bytes;
  barriers = std::max(stageBytes * stages, tile.m * sumsPitch());
  shape.dynamicShared = barriers + 16 * stages;
  shape.grid[1] = k.hostNumParts;
  shape.flags |= kClusters;
  bool isEarly = canReadEarly(k, kernel.getInputs()[*right.input], shape);
  prepare();
  place(d.block(), kRaster);
  weights = stage(right, tile.n, 0);
  few = stage(left, tile.m, weights.bytes() * stages);
  zero = d.constant(0);
  one = d.constant(1);
  depthTiles = d.toInt(d.ceilDiv(depth, tile.k));
  part = d.toInt(gpu::BlockIdOp::create(b, gpu::Dimension::y));
  Value numParts = d.toInt(k.numParts);
  Value ofPart = d.div(d.add(depthTiles, d.sub(numParts, 1)), numParts);
  first = d.min(d.mul(part, ofPart), depthTiles);
  count = d.sub(d.min(d.add(first, ofPart), depthTiles), first);
  threadOfGroup = d.rem(thread, kWarpgroup);
  // A warp's threads have it alike, which ptxas sees only so.
  group = NVVM::ShflOp::create(b, b.getI32Type(), d.constant(-1), d.div(thread, kWarpgroup), zero,
                               d.constant(31), NVVM::ShflKind::idx, nullptr);
  isProducer = d.isEqual(thread, threads - kWarpgroup);
  initBarriers(consumers());
  if (isEarly) {
    d.branch(isProducer, [&] { produceAhead(); });
    prefetch();
  }
  waitForOthers(k, shape);
  d.branch(
      d.isEqual(group, consumers()),
      [&] {
        d.branch(isProducer, [&] { produce(isEarly); });
        gpu::BarrierOp::create(b);
      },
      [&] {
        Value sums = consume();
        // Tensor cores of all warps have read the stages that sums go to.
        gpu::BarrierOp::create(b);
        storeSums(sums);
      });
  gpu::BarrierOp::create(b);
  d.branch(d.isEqual(k.numParts, 1), [&] { finishTile(); }, [&] { addParts(); });
  return shape;
}

bool ssm::canStream(KernelOp kernel, const Matmul &what, MmaKind kind,
                    ArrayRef<MatmulSide> sides) {
  return kind == MmaKind::Half && canUseWgmma(kernel, what, sides) && sides[0].isDenseAlongDepth;
}

LaunchShape ssm::emitStreamMatmul(DeviceKernel &kernel, const Matmul &what, MatmulTile tile) {
  SmallVector<MatmulSide> sides = getMmaSides(kernel.kernel, what, MmaKind::Half);
  return StreamEmitter(kernel, what, sides[0], sides[1], tile).emit();
}
