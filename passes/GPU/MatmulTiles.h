//===- MatmulTiles.h - Products of matrices by tiles on a GPU -----*- C++ -*-===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What the forms of products have in common: a block of threads per tile of the out, factors
// that go through shared memory, and the rest of the kernel's region on the sums.
//
//===----------------------------------------------------------------------===//

#ifndef SSM_PASSES_GPU_MATMULTILES_H
#define SSM_PASSES_GPU_MATMULTILES_H

#include "lib/Analysis/MatmulShape.h"
#include "lib/Emit/PointEmitter.h"
#include "passes/GPU/DeviceBuilder.h"
#include "passes/GPU/DeviceKernel.h"

namespace ssm {

/// A side of the product: values of the region at [outer, row, k], row being m or n.
struct MatmulSide {
  /// What is staged: the factor, without its conversion to the type of the sum if it is
  /// staged as it lies in memory.
  mlir::Value value;
  std::optional<unsigned> row;
  /// The input that it is an element of, whose map has each loop by itself, and whether its
  /// innermost axis is the depth or the row; nothing for all else.
  std::optional<unsigned> input;
  bool isDenseAlongDepth = false;

  mlir::Type type() const { return value.getType(); }
};

/// `value` is the left or right factor, or what it is converted from.
MatmulSide describeSide(KernelOp kernel, const Matmul &what, mlir::Value value, bool isLeft);

/// Whether rows of an input's innermost axis begin at multiples of 16 bytes.
mlir::Value hasAlignedRows(DeviceBuilder d, mlir::Value memref);

/// Tiles of the out and their parts: of a block, and of a warp within it.
struct MatmulTile {
  int64_t m, n, k, stages, warpM, warpN;
  int64_t threads() const { return m / warpM * (n / warpN) * 32; }
};

class TileEmitter {
public:
  TileEmitter(DeviceKernel &kernel, const Matmul &what, MatmulSide left, MatmulSide right,
              MatmulTile tile, int64_t threads);

protected:
  using Values = llvm::SmallVector<mlir::Value>;

  /// One block for each tile.
  LaunchShape launch(int64_t stageBytes);
  /// Finds this block's tile.
  void place();
  /// The staged value at a row of a side and a place of the depth (indices); 0 outside.
  mlir::Value element(const MatmulSide &side, mlir::Value row, mlir::Value depth);
  /// Where an input's element is, as a pointer to global memory.
  mlir::Value address(const MatmulSide &side, mlir::Value row, mlir::Value depth);
  /// Bytes from one row, or place of the depth, to the next (i64).
  mlir::Value stride(const MatmulSide &side, unsigned loop);
  mlir::Value rows(const MatmulSide &side) { return side.row == what.n ? width : height; }
  mlir::Value firstRow(const MatmulSide &side) { return side.row == what.n ? n0 : m0; }

  /// Sums on their way to the epilogue: f32 or i32 in shared memory, row by row.
  int64_t sumsPitch() const { return 4 * (tile.n + 8); }
  /// Runs the rest of the region for the tile once all sums are in shared memory.
  void finish();

  DeviceKernel &k;
  KernelOp kernel;
  Matmul what;
  MatmulSide left, right;
  MatmulTile tile;
  int64_t threads;
  mlir::ImplicitLocOpBuilder &b;
  DeviceBuilder d;
  PointEmitter e;
  /// Sizes (indices), the tile's first row and column, and this thread (i32).
  mlir::Value height, width, depth, m0, n0, thread, shared;

private:
  void finishWhole(mlir::Value n, mlir::Value sums);
  void finishEach(mlir::Value n, mlir::Value sums);
  /// Inputs of the epilogue, and outs, that vectors along n lie dense in.
  llvm::SmallVector<unsigned> wideInputs, wideOuts;
  void findWide();
};

/// Products of 16-bit numbers on tensor cores (mma.sync): sm_80 on. `isDirect`: sides that are
/// inputs have aligned rows.
bool canUseTensorCores(Matmul what);
llvm::SmallVector<MatmulSide> getMmaSides(KernelOp kernel, const Matmul &what);
LaunchShape emitMmaMatmul(DeviceKernel &kernel, const Matmul &what, MatmulTile tile,
                          bool isDirect);

/// Products of 32-bit numbers. `isAsync`: the chip has cp.async.
bool canUseFma(Matmul what);
LaunchShape emitFmaMatmul(DeviceKernel &kernel, const Matmul &what, MatmulTile tile,
                          bool isAsync);

/// Products of few rows, before the forms that take all sizes.
void addGemvForms(KernelOp kernel, Matmul what, int chip,
                  llvm::SmallVectorImpl<KernelForm> &forms);

} // namespace ssm

#endif // SSM_PASSES_GPU_MATMULTILES_H
