//===- WeightValues.h - What follows from weights alone --------*- C++ -*-===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef SSM_LIB_ANALYSIS_WEIGHTVALUES_H
#define SSM_LIB_ANALYSIS_WEIGHTVALUES_H

#include "mlir/IR/Value.h"

namespace ssm {

/// Whether a value is a weight or of fixed size and computed from weights and
/// constants alone, at least one weight among them: what is made of it costs nothing
/// at run time.
bool isFromWeights(mlir::Value value);

} // namespace ssm

#endif // SSM_LIB_ANALYSIS_WEIGHTVALUES_H
