//===- InPlace.h - States that are written where they are read --*- C++ -*-===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef SSM_LIB_ANALYSIS_INPLACE_H
#define SSM_LIB_ANALYSIS_INPLACE_H

#include "dialects/SSM/SSMOps.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"

namespace ssm {

/// On an input and an output of an entry, on arguments of functions that get them, and on
/// their views in kernels: two with the same number may be one buffer.
inline constexpr llvm::StringLiteral kInPlaceAttr = "ssm.in_place";

/// The number, or null.
inline mlir::Attribute getInPlace(mlir::Value buffer) {
  if (mlir::Operation *op = buffer.getDefiningOp())
    return op->getAttr(kInPlaceAttr);
  auto arg = mlir::cast<mlir::BlockArgument>(buffer);
  auto function = mlir::dyn_cast<mlir::func::FuncOp>(arg.getOwner()->getParentOp());
  return function ? function.getArgAttr(arg.getArgNumber(), kInPlaceAttr) : mlir::Attribute();
}

} // namespace ssm

#endif // SSM_LIB_ANALYSIS_INPLACE_H
