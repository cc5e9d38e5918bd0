//===- ExpandLoops.h - A kernel on both sides of a reshape ------*- C++ -*-===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef SSM_PASSES_FUSION_EXPANDLOOPS_H
#define SSM_PASSES_FUSION_EXPANDLOOPS_H

#include "dialects/SSM/SSMOps.h"
#include "mlir/Dialect/Utils/ReshapeOpsUtils.h"
#include "mlir/IR/PatternMatch.h"

namespace ssm {

/// A kernel that was rewritten, and which of its results' axes make up each axis that they had.
struct ExpandedKernel {
  KernelOp kernel;
  llvm::SmallVector<llvm::SmallVector<mlir::ReassociationIndices>> groups;

  /// A result with the axes that it had.
  mlir::Value collapse(mlir::OpBuilder &builder, unsigned result);
};

/// The kernel on the axes of the expanded side of a reshape: `operand` (counted over inputs and
/// outs) has an axis for each of `groups`; the loop along an axis whose group has several axes, of
/// `sizes`, becomes that many. All operands along such a loop are expanded, which is a view
/// whatever their strides are. The new kernel stands at the rewriter's place; nobody uses its
/// results yet. Fails, with nothing changed, where there is time, where a loop is no axis by
/// itself, or where its index is needed.
mlir::FailureOr<ExpandedKernel> expandLoops(mlir::RewriterBase &rewriter, KernelOp kernel,
                                            unsigned operand,
                                            llvm::ArrayRef<mlir::ReassociationIndices> groups,
                                            llvm::ArrayRef<mlir::OpFoldResult> sizes);

} // namespace ssm

#endif // SSM_PASSES_FUSION_EXPANDLOOPS_H
