//===- KernelBuilders.h - Kernels that copy, convert, fill ------*- C++ -*-===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef SSM_DIALECTS_SSM_KERNELBUILDERS_H
#define SSM_DIALECTS_SSM_KERNELBUILDERS_H

#include "dialects/SSM/SSMOps.h"

namespace ssm {

/// Of arith.truncf: a Cast of the model asks for it, which no operator's own rounding of its result
/// does.
inline constexpr llvm::StringLiteral kCastAttr = "ssm.cast";

/// A kernel that writes each element of `out` from the element of `source` at
/// `read` (of out's indices): as it is, or as `compute` makes it.
KernelOp buildElementwise(mlir::OpBuilder &builder, mlir::Location loc, mlir::Value source,
                          mlir::AffineMap read, mlir::Value out,
                          llvm::function_ref<mlir::Value(mlir::Value)> compute = {});

/// A kernel that writes one value to all elements of `out`.
KernelOp buildFill(mlir::OpBuilder &builder, mlir::Location loc, mlir::Value value,
                   mlir::Value out);

} // namespace ssm

#endif // SSM_DIALECTS_SSM_KERNELBUILDERS_H
