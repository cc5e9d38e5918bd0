//===- PackedRows.h - Whole rows of few columns in a vector -----*- C++ -*-===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Where sums run down columns of which there are few, vectors along the columns would
// be mostly empty. Rows lie one behind the other, so that a vector takes several:
// lane i is column i mod C of row i / C. Each lane sums what it sees of its column;
// behind the loop over the rows the lanes of a column are put together, and each gets
// what they come to.
//
//===----------------------------------------------------------------------===//

#ifndef SSM_PASSES_VECTOR_PACKEDROWS_H
#define SSM_PASSES_VECTOR_PACKEDROWS_H

#include "lib/Emit/PointEmitter.h"
#include <vector>

namespace ssm {

/// Points that are computed side by side: neighbouring vectors along the lane loop.
/// Before that loop is open there is one.
using Points = std::vector<PointEmitter>;

/// What a loop's body makes of points and of values that are carried.
using PointsBody =
    llvm::function_ref<llvm::SmallVector<mlir::Value>(Points &, mlir::ValueRange)>;

/// The loop that all reductions of the kernel run over, if rows of it may be packed:
/// the lane loop is the columns, and what has rows and columns lies in memory row by row.
/// None where it is known not to pay.
std::optional<unsigned> findPackedRows(KernelOp kernel, unsigned lane, int64_t lanes);

/// Whether there are so few columns, and so many rows, that packing pays: a condition, or null
/// where that is known.
mlir::Value isWorthPacking(PointEmitter &point, unsigned rows);

/// Whether blocks of rows are whole vectors. Else the last one of a block has a mask, as where
/// the number of columns is open.
bool fillVectors(PointEmitter &point);

/// The points of a block of rows.
Points packRows(const PointEmitter &point, unsigned rows);

/// How many blocks of packed rows there are.
mlir::Value countBlocks(PointEmitter &point);

/// Runs over blocks of packed rows from `low` to `high`; the last one may be ragged.
llvm::SmallVector<mlir::Value> loopBlocks(Points &points, mlir::Value low, mlir::Value high,
                                          mlir::ValueRange carried, PointsBody body);

/// Of the lanes' parts of a reduction, one vector a point, what each column comes to.
llvm::SmallVector<mlir::Value> combineColumns(Points &points, mlir::arith::AtomicRMWKind kind,
                                              mlir::ValueRange parts);

} // namespace ssm

#endif // SSM_PASSES_VECTOR_PACKEDROWS_H
