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

#include "lib/Analysis/ConvolutionShape.h"
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
  /// Of integers.
  bool isSigned = true;
  /// Of a convolution: what the value is instead, rows being columns of the out.
  std::optional<ReadWindow> window = std::nullopt;

  /// What it is converted to when it is staged, if to anything.
  mlir::Type converted = nullptr;

  mlir::Type type() const { return converted ? converted : value.getType(); }
};

/// `value` is the left or right factor, or what it is converted from.
MatmulSide describeSide(KernelOp kernel, const Matmul &what, mlir::Value value, bool isLeft);

/// The same of a convolution: a matrix of weights that lies as the loops of the depth come, and
/// windows.
llvm::SmallVector<MatmulSide> describeSides(KernelOp kernel, const Convolution &what,
                                            mlir::Value left, mlir::Value right);

/// Where a buffer begins, and its strides in elements (indices).
struct BufferLayout {
  mlir::Value pointer;
  llvm::SmallVector<mlir::Value> strides;
};
BufferLayout layoutOf(DeviceBuilder d, mlir::Value memref);
/// Whether elements of the innermost axis lie side by side.
bool isDenseInside(mlir::MemRefType type);

/// Whether rows of an input's innermost axis begin at multiples of 16 bytes.
mlir::Value hasAlignedRows(DeviceBuilder d, mlir::Value memref);

/// Tiles of the out and their parts: of a block, and of a warp within it.
struct MatmulTile {
  int64_t m, n, k, stages, warpM, warpN;
  int64_t threads() const { return m / warpM * (n / warpN) * 32; }
};

class TileEmitter {
public:
  /// Enough tiles of rows for neighbours to share.
  static constexpr int64_t kRaster = 8;
  /// Elements of a row of the out that a thread computes together.
  static constexpr int64_t kWide = 8;

  TileEmitter(DeviceKernel &kernel, const Matmul &what, MatmulSide left, MatmulSide right,
              MatmulTile tile, int64_t threads);

protected:
  using Values = llvm::SmallVector<mlir::Value>;
  /// To four sums, and the next four.
  using SumPointers = std::pair<mlir::Value, mlir::Value>;

  /// One block for each tile, without dynamic shared memory.
  LaunchShape launch();
  /// Sizes, this thread and shared memory.
  void prepare();
  /// Of the out, all batches together (i32).
  mlir::Value countTiles();
  /// Sets the loops of a column (index).
  void setColumn(mlir::Value column);
  /// Finds the tile of a number, `raster` tiles of rows taking turns with tiles of columns.
  void place(mlir::Value number, int64_t raster);
  /// The staged value at a row of a side and a place of the depth (indices); 0 outside.
  mlir::Value element(const MatmulSide &side, mlir::Value row, mlir::Value depth);
  /// Where an input's element is, as a pointer to global memory.
  mlir::Value address(const MatmulSide &side, mlir::Value row, mlir::Value depth);
  /// Bytes from one row, or place of the depth, to the next (i64), of a side that is an input.
  mlir::Value stride(const MatmulSide &side, unsigned loop);
  mlir::Value rows(const MatmulSide &side) { return side.row == what.n ? width : height; }
  mlir::Value firstRow(const MatmulSide &side) { return side.row == what.n ? n0 : m0; }

  /// A part of the tile whose sums (f32 or i32) are in shared memory, and the threads that run
  /// the rest of the region on it.
  struct Part {
    /// Where it begins in the tile (i32).
    mlir::Value row, column;
    mlir::Value rows;
    int64_t columns;
    mlir::Value thread;
    int64_t threads;
    /// From a row and column of the part.
    llvm::function_ref<SumPointers(mlir::Value, mlir::Value)> sums;
  };
  void finish(const Part &part);
  /// The same for kWide columns from (m, n), where `aligned` holds and all of them exist: with what
  /// was loaded before.
  llvm::SmallVector<mlir::Type> wideTypes();
  /// Whether they differ from row to row.
  llvm::SmallVector<bool> wideByRow();
  Values loadWide(mlir::Value m, mlir::Value n);
  void finishWide(mlir::Value m, mlir::Value n, SumPointers sums, mlir::ValueRange loaded);
  /// All of the tile by all threads, sums row by row.
  int64_t sumsPitch() const { return 4 * (tile.n + 8); }
  void finishTile();
  /// Of a form that splits the depth: the sums of a part of it, tile by tile as they come.
  mlir::Value partOf(mlir::Value number, mlir::Value part);
  /// Moves all sums of the tile there.
  void storePart();

  DeviceKernel &k;
  KernelOp kernel;
  Matmul what;
  MatmulSide left, right;
  MatmulTile tile;
  int64_t threads;
  mlir::ImplicitLocOpBuilder &b;
  DeviceBuilder d;
  PointEmitter e;
  /// Sizes and the tile's first row and column (indices), tiles along both, and this thread (i32).
  mlir::Value height, width, depth, m0, n0, tilesM, tilesN, thread, shared;
  /// Whether vectors along n of inputs of the epilogue and outs begin at multiples of 16 bytes.
  mlir::Value aligned;

private:
  /// Values that depend on outer loops and the row are computed at once.
  void setRow(mlir::Value m);
  llvm::SmallVector<mlir::Value> indices(mlir::AffineMap map) const;
  void finishEach(mlir::Value m, mlir::Value n, SumPointers sums);
  /// Inputs of the epilogue, and outs, that vectors along columns lie dense in.
  llvm::SmallVector<unsigned> wideInputs, wideOuts;
  void findWide();
  bool isWide(mlir::Value buffer, mlir::AffineMap map);
  mlir::Value isAligned(mlir::Value buffer, mlir::AffineMap map);
};

/// What tensor cores multiply: f16 or bf16, bytes, 8-bit floats (by warpgroups; as f16 else), f32
/// cut off to tf32's 11 bits, f32 as sums of two such numbers.
enum class MmaKind { Half, Byte, Float8, TF32, TF32x3 };
std::optional<MmaKind> getMmaKind(Matmul what, F32Products precision);
llvm::SmallVector<MatmulSide> getMmaSides(KernelOp kernel, const Matmul &what, MmaKind kind);
/// By mma.sync: sm_80 on. `isDirect`: sides that are inputs have aligned rows. `overlaps`: the chip
/// lets a kernel begin before the last one is done.
LaunchShape emitMmaMatmul(DeviceKernel &kernel, const Matmul &what, MatmulTile tile, MmaKind kind,
                          bool isDirect, bool overlaps = false);
LaunchShape emitMmaConvolution(DeviceKernel &kernel, const Convolution &what, MatmulTile tile,
                               bool isDirect);

/// The same by warpgroups and tensor maps: sm_90a alone. Sides are inputs with aligned rows.
bool canUseWgmma(KernelOp kernel, const Matmul &what, llvm::ArrayRef<MatmulSide> sides);
LaunchShape emitWgmmaMatmul(DeviceKernel &kernel, const Matmul &what, MatmulTile tile,
                            MmaKind kind);

/// The same of up to tile.m rows, to which weights stream; rows of the left side along the depth.
bool canStream(KernelOp kernel, const Matmul &what, MmaKind kind,
               llvm::ArrayRef<MatmulSide> sides);
LaunchShape emitStreamMatmul(DeviceKernel &kernel, const Matmul &what, MatmulTile tile);

/// Products of 32-bit numbers. `isAsync`: the chip has cp.async.
bool canUseFma(Matmul what);
LaunchShape emitFmaMatmul(DeviceKernel &kernel, const Matmul &what, MatmulTile tile,
                          bool isAsync, bool overlaps = false);
LaunchShape emitFmaConvolution(DeviceKernel &kernel, const Convolution &what, MatmulTile tile,
                               bool isDirect);

/// The forms above for a convolution.
llvm::SmallVector<KernelForm> getConvolutionForms(KernelOp kernel, const Convolution &what,
                                                  const GpuTarget &target);

/// Sums up the parts of a form that splits the depth, and runs the rest of the region on them.
LaunchShape emitMatmulSums(DeviceKernel &kernel, const Matmul &what, MatmulTile tile,
                           bool overlaps);

/// Products of up to eight rows, before the forms that take all sizes.
void addGemvForms(KernelOp kernel, Matmul what, int chip,
                  llvm::SmallVectorImpl<KernelForm> &forms);

} // namespace ssm

#endif // SSM_PASSES_GPU_MATMULTILES_H
