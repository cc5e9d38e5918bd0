//===- FlatRow.h - A row times a matrix whose rows are ragged -----*- C++ -*-===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
///
/// \file
/// One row times a matrix that is read once, in memory's order. Rows of a matrix whose
/// width is no multiple of the lanes begin anywhere in a cache line: each vector of a
/// row is read from two lines, and the last one is not whole. But as many rows as there
/// are lanes are whole vectors together, and the next as many again. So the matrix is
/// seen as rows of lanes * width elements, which are summed up as they are,
///
///     flat[q * width + n] = sum over p of left[p * lanes + q] * right[p * lanes + q, n]
///
/// and the `lanes` parts of each column are added in the end.
///
//===----------------------------------------------------------------------===//

#ifndef SSM_PASSES_VECTOR_FLATROW_H
#define SSM_PASSES_VECTOR_FLATROW_H

#include "lib/Analysis/MatmulShape.h"
#include "lib/Emit/PointEmitter.h"

namespace ssm {

class FlatRow {
public:
  /// Whether the right side is one input, as it is, with its columns last.
  static bool canEmit(KernelOp kernel, Matmul what);

  FlatRow(PointEmitter &e, const Matmul &what) : e(e), b(e.b), what(what) {}

  /// Whether this form is the faster one for a product of these sizes, of
  /// `mostElements` of the right side at most.
  mlir::Value isFaster(mlir::Value height, mlir::Value width, mlir::Value depth,
                       int64_t mostElements);
  /// Room for the parts. To be called in the parallel loop.
  void allocate();
  /// Calls `finish` for the sum at each vector of columns, with its mask set.
  void emit(mlir::Value width, mlir::Value depth,
            llvm::function_ref<void(mlir::Value sum)> finish);

private:
  /// Sums up all parts, in tiles of `vectors`, over the depths below `wholeDepth`, a
  /// multiple of the lanes.
  void sumParts(int64_t vectors, mlir::Value width, mlir::Value wholeDepth);
  /// The tile from `place`, which is the part of that row and column.
  void sumTile(int64_t vectors, mlir::Value place, mlir::Value row, mlir::Value column,
               mlir::Value width, mlir::Value wholeDepth);
  mlir::Value multiplyAdd(mlir::Value x, mlir::Value y, mlir::Value sum);

  PointEmitter &e;
  mlir::ImplicitLocOpBuilder &b;
  Matmul what;
  mlir::Value parts;
};

} // namespace ssm

#endif // SSM_PASSES_VECTOR_FLATROW_H
