//===- MatmulShape.h - Products of matrices among kernels ------*- C++ -*-===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef SSM_LIB_ANALYSIS_MATMULSHAPE_H
#define SSM_LIB_ANALYSIS_MATMULSHAPE_H

#include "dialects/SSM/KernelLoops.h"
#include <optional>

namespace ssm {

/// outs[outer, m, n] = epilogue(sum over k of left[outer, m, k] * right[outer, k, n])
struct Matmul {
  ReduceOp sum;
  /// The factors, values of the kernel's region.
  mlir::Value left, right;
  /// The innermost loop of the outs that only the left factor has; none for a
  /// vector times a matrix.
  std::optional<unsigned> m;
  /// The innermost loop of the outs. The left factor does not have it.
  unsigned n;
  /// The loops whose places tiles count as columns, `n` the innermost and last; others than `n`
  /// in convolutions alone.
  llvm::SmallVector<unsigned> columns;
  /// The loops of the sum, innermost last.
  llvm::SmallVector<unsigned> k;
  /// All other loops, in the order of the first out.
  llvm::SmallVector<unsigned> outer;
};

/// Nothing if the kernel is no such product: another reduction in its region, an out
/// that lacks a loop, no time.
std::optional<Matmul> matchMatmul(KernelOp kernel);

/// The inputs of the kernel that a value of its region is computed from.
llvm::SmallVector<unsigned> inputsOf(KernelOp kernel, mlir::Value value);

/// The argument of the region that a factor is, as it is or extended; null if it is computed.
mlir::BlockArgument getFactorArg(mlir::Value factor);

/// Whether lanes over `loop` read neighbours: the last index is the loop, no other
/// has it.
bool isDenseAlong(mlir::AffineMap map, unsigned loop);

/// Whether lanes can lie along the depth of the product, whose sums are sums of lanes in
/// the end: it has one loop for it, reached evenly, and lanes in groups of four.
bool canSumAlongDepth(KernelOp kernel, const Matmul &what, int64_t lanes);

/// Whether vectors of the depth are neighbours in memory in all that a side of the
/// product is computed from.
bool isDenseAlongDepth(KernelOp kernel, const Matmul &what, mlir::Value side);

/// Whether vdpbf16ps can sum the product up: products of bf16 as they were read, two
/// neighbours along the depth at a time, in 16 lanes of f32.
bool canSumPairs(KernelOp kernel, const Matmul &what, int64_t lanes);

/// The index along the last axis of a right side in strips that are `width` wide, where
/// two neighbours along the depth lie beside each other.
mlir::AffineExpr indexInPairs(mlir::AffineExpr n, mlir::AffineExpr k, int64_t width);

/// Whether the input is the right side in such strips, all of them complete.
bool isPackedInPairs(KernelOp kernel, const Matmul &what, unsigned input, int64_t lanes);

/// Whether the input is cut into strips of `loop` that one vector lies in, all of
/// them complete: then lanes past the loop's end read padding.
bool isPackedAlong(KernelOp kernel, unsigned input, unsigned loop, int64_t lanes);

} // namespace ssm

#endif // SSM_LIB_ANALYSIS_MATMULSHAPE_H
