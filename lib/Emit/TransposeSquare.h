//===- TransposeSquare.h - A square of vectors is turned ------ -*- C++ -*-===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef SSM_LIB_EMIT_TRANSPOSESQUARE_H
#define SSM_LIB_EMIT_TRANSPOSESQUARE_H

#include "mlir/IR/ImplicitLocOpBuilder.h"

namespace ssm {

/// The transpose of as many vectors as each has lanes, a power of two, in registers.
llvm::SmallVector<mlir::Value> transposeSquare(mlir::ImplicitLocOpBuilder &b,
                                               llvm::SmallVector<mlir::Value> rows);

} // namespace ssm

#endif // SSM_LIB_EMIT_TRANSPOSESQUARE_H
