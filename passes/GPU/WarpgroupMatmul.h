//===- WarpgroupMatmul.h - What products by warpgroups share -----*- C++ -*- ===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef SSM_PASSES_GPU_WARPGROUPMATMUL_H
#define SSM_PASSES_GPU_WARPGROUPMATMUL_H

#include "passes/GPU/MatmulTiles.h"

namespace ssm {

/// Stages in shared memory, which boxes of tensor maps fill and warpgroups multiply (wgmma):
/// mbarriers tell that one is full, or empty again.
class WarpgroupEmitter : public TileEmitter {
public:
  static constexpr int64_t kWarpgroup = 128;
  /// Rows, and bytes of the depth, of one wgmma.
  static constexpr int64_t kRows = 64, kStepBytes = 32;

  WarpgroupEmitter(DeviceKernel &kernel, const Matmul &what, MatmulSide left, MatmulSide right,
                   MatmulTile tile, MmaKind kind, int64_t threads)
      : TileEmitter(kernel, what, left, right, tile, threads), kind(kind),
        bytes(left.type().getIntOrFloatBitWidth() / 8) {}

protected:
  /// A side's stages in shared memory. Lines of 128 bytes are rows, a deeper tile has several boxes;
  /// where rows lie dense, lines are places of the depth, and a box has the rows of a line.
  struct Staging {
    MatmulSide *side;
    int64_t base, rows, depth, size; // size: bytes of an element
    mlir::Value map;
    bool alongDepth() const { return side->isDenseAlongDepth; }
    int64_t lineBytes() const { return alongDepth() || rows % 64 == 0 ? 128 : 64; }
    int64_t boxRows() const { return alongDepth() ? rows : lineBytes() / size; }
    int64_t boxDepth() const { return alongDepth() ? lineBytes() / size : depth; }
    int64_t boxBytes() const { return boxRows() * boxDepth() * size; }
    int64_t boxes() const { return bytes() / boxBytes(); }
    int64_t bytes() const { return rows * depth * size; }
    /// What the descriptor's address grows by for each step of the depth.
    int64_t after(int64_t steps) const {
      int64_t line = steps * kStepBytes;
      return alongDepth() ? line / lineBytes() * boxBytes() + line % lineBytes()
                          : line / size * lineBytes();
    }
  };
  struct Stage {
    mlir::Value number, phase;
  };

  Staging stage(MatmulSide &side, int64_t rows, int64_t base);
  /// Makes them, each empty one for so many arrivals.
  void initBarriers(int64_t arrivals);
  mlir::Value barrier(int64_t base, mlir::Value stage) {
    return d.after(shared, d.add(d.mul(stage, 8), base));
  }
  mlir::Value full(mlir::Value stage) { return barrier(barriers, stage); }
  mlir::Value empty(mlir::Value stage) { return barrier(barriers + 8 * stages, stage); }
  void wait(mlir::Value barrier, mlir::Value phase);
  Stage next(Stage now);
  void expect(mlir::Value stage);
  void copy(const Staging &s, mlir::Value stage, mlir::Value k);
  /// wgmma's view of a side, the first stage; another stage's, so many steps of the depth on.
  mlir::Value describe(const Staging &s, mlir::Value offset);
  mlir::Value atStage(const Staging &s, mlir::Value first, mlir::Value stage, int64_t step);
  /// `x` has the product's rows, `y` its columns; `isFirst`: what `sums` are does not count.
  mlir::Value multiply(const Staging &x, mlir::Value atX, const Staging &y, mlir::Value atY,
                       mlir::Value sums, bool isFirst);
  int64_t steps() const { return tile.k * bytes / kStepBytes; }

  MmaKind kind;
  int64_t bytes;
  int64_t stages = 0, stageBytes = 0, barriers = 0;
  mlir::Value zero, one, depthTiles;
};

} // namespace ssm

#endif // SSM_PASSES_GPU_WARPGROUPMATMUL_H
