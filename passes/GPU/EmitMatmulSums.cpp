//===- EmitMatmulSums.cpp - Products whose depth many blocks share --------- ===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The second kernel of a product with too few tiles for all multiprocessors: the first one's
// blocks left sums of parts of the depth in memory. They are added in their order.
//
//===----------------------------------------------------------------------===//

#include "passes/GPU/MatmulTiles.h"
#include "passes/GPU/TeamReduce.h"

#include "mlir/Dialect/Arith/Utils/Utils.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;
using namespace ssm;

namespace {

/// Rows of a tile that a block has, sums of a thread, and parts that it asks for together.
constexpr int64_t kRows = 8, kSums = 4, kTogether = 8, kBytes = 16;

class SumsEmitter : public TileEmitter {
public:
  SumsEmitter(DeviceKernel &kernel, const Matmul &what, MatmulTile tile)
      : TileEmitter(kernel, what, {}, {}, tile, kRows * tile.n / kSums) {}

  LaunchShape emit(bool overlaps);

private:
  Value add(Value x, Value y) {
    return isa<FloatType>(what.sum.getType()) ? d.make<arith::AddFOp>(x, y)
                                              : d.make<arith::AddIOp>(x, y);
  }
};

} // namespace

LaunchShape SumsEmitter::emit(bool overlaps) {
  LaunchShape shape = launch();
  DeviceBuilder host{k.host};
  Value isSplit = host.compare(arith::CmpIPredicate::ugt, k.hostNumParts, 1);
  shape.grid[0] = host.select(isSplit, shape.grid[0], host.constant(shape.grid[0], 0));
  shape.grid[1] = arith::ConstantIndexOp::create(k.host, tile.m / kRows);
  shape.dynamicShared = kRows * sumsPitch();
  if (overlaps)
    waitForOthers(k, shape);
  prepare();
  place(d.block(), kRaster);
  Value slice = d.toInt(gpu::BlockIdOp::create(b, gpu::Dimension::y));
  Value firstRow = d.mul(slice, kRows);
  d.branch(d.isLess(d.add(m0, d.toIndex(firstRow)), height), [&] {
    int64_t perRow = tile.n / kSums;
    Value row = d.div(thread, perRow), column = d.rem(thread, perRow);
    // A row past the last has no part.
    Value last = d.toInt(d.sub(d.sub(height, m0), 1));
    Value place = d.add(d.mul(d.min(d.add(row, firstRow), last), perRow), column);
    auto four = VectorType::get({kSums}, what.sum.getType());
    Value none = arith::ConstantOp::create(b, b.getZeroAttr(four));
    Value sum = d.loop(
        e.index(0), k.numParts, e.index(kTogether), none, [&](Value first, ValueRange now) {
          Values parts, sums = {now[0]};
          for (int64_t i = 0; i < kTogether; ++i) {
            Value part = d.min(d.add(first, i), d.sub(k.numParts, 1));
            Value from = d.after(partOf(d.block(), part), d.mul(place, kBytes));
            parts.push_back(d.load(four, from, kBytes));
          }
          Value isThere = areLoaded(b, parts);
          for (int64_t i = 0; i < kTogether; ++i) {
            Value exists = d.make<arith::AndIOp>(isThere, d.isLess(d.add(first, i), k.numParts));
            sums[0] = d.select(exists, add(sums[0], parts[i]), sums[0]);
          }
          return sums;
        })[0];
    Value to = d.after(shared, d.add(d.mul(row, sumsPitch()), d.mul(column, kBytes)));
    d.store(sum, to, kBytes);
    gpu::BarrierOp::create(b);
    finish({firstRow, d.constant(0), d.constant(kRows), tile.n, thread, threads,
            [&](Value row, Value column) {
              Value first = d.after(shared, d.add(d.mul(row, sumsPitch()), d.mul(column, 4)));
              return SumPointers(first, d.after(first, 16));
            }});
  });
  return shape;
}

LaunchShape ssm::emitMatmulSums(DeviceKernel &kernel, const Matmul &what, MatmulTile tile,
                                bool overlaps) {
  return SumsEmitter(kernel, what, tile).emit(overlaps);
}
