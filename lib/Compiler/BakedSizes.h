//===- BakedSizes.h - Sizes a model was exported with -----------*- C++ -*-===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef SSM_LIB_COMPILER_BAKEDSIZES_H
#define SSM_LIB_COMPILER_BAKEDSIZES_H

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include <string>
#include <vector>

namespace ssm {

/// One line for each fixed size of the inputs of a graph function that may be one
/// of batch or sequence, with the way to export it open. What a model fixes by its
/// nature is left out: the last axis of floating-point inputs (features) and all
/// axes but the first (batch) of states.
std::vector<std::string> describeBakedSizes(mlir::func::FuncOp function);

} // namespace ssm

#endif // SSM_LIB_COMPILER_BAKEDSIZES_H
