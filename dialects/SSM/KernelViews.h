//===- KernelViews.h - Views of tensors as affine maps ----------*- C++ -*-===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef SSM_DIALECTS_SSM_KERNELVIEWS_H
#define SSM_DIALECTS_SSM_KERNELVIEWS_H

#include "mlir/IR/AffineMap.h"
#include "dialects/SSM/SSMOps.h"

namespace ssm {

/// Looks through transposes, broadcasts, and axes of size 1 that are added or
/// dropped: changes `tensor` to what it is a view of, and `map`, whose results are
/// indices of the tensor, to go with it. False if the tensor is no such view.
bool foldView(mlir::Value &tensor, mlir::AffineMap &map);

/// Looks through a reshape behind which axes are read as one that were two, or the other
/// way round: indices become sums with factors, or quotients and remainders. Only where the
/// remainders, or the quotients, are not needed: what was joined repeats something
/// (Expand or Tile, then Reshape).
bool foldReshape(mlir::Value &tensor, mlir::AffineMap &map);

/// The one value of all elements, made at the builder's place if it is a constant.
/// Null if they may differ.
mlir::Value getFilledWith(mlir::OpBuilder &builder, mlir::Value tensor);

/// The size of an axis, from what made the tensor. Null if that does not tell.
mlir::OpFoldResult getKnownSize(mlir::Value tensor, int64_t axis);

/// Whether two sizes are known to be equal.
bool areEqualSizes(mlir::OpFoldResult a, mlir::OpFoldResult b);

/// Whether the size is that of the tensor's axis: as what made the tensor tells, or
/// as it was asked for.
bool isSizeOf(mlir::OpFoldResult size, mlir::Value tensor, int64_t axis);

/// Whether each loop is an index by itself of an operand that is a tensor: then its
/// size is known.
bool haveSizes(unsigned numLoops, llvm::ArrayRef<mlir::AffineMap> maps);

/// Whether operand `i` of the kernel stays right with `loops` in place of its loops: an
/// index that becomes one loop alone gives that loop its size, so its axis must have the
/// size of the loop that it was. The only window of a strided convolution, say, may end
/// before its sequence does.
bool keepsSizes(KernelOp kernel, unsigned i, llvm::ArrayRef<mlir::AffineExpr> loops);

} // namespace ssm

#endif // SSM_DIALECTS_SSM_KERNELVIEWS_H
