//===- RowDivision.h - Divisions by what a row reduces to -------*- C++ -*-===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef SSM_LIB_EMIT_ROWDIVISION_H
#define SSM_LIB_EMIT_ROWDIVISION_H

#include "dialects/SSM/SSMOps.h"

namespace ssm {

/// Elements of f32 that are divided by a number of their row, such as a softmax's by
/// its sum, are multiplied by its reciprocal, which is computed once for the row. A
/// vector of divisions takes as long as the exponential before it. The error is
/// below 1.5 units in the last place for all inputs. Quotients that are rounded or
/// compared stay exact.
void invertRowDivisors(KernelOp kernel);

} // namespace ssm

#endif // SSM_LIB_EMIT_ROWDIVISION_H
