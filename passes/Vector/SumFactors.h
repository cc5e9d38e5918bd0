//===- SumFactors.h - Factors of sums that need not be summed ---*- C++ -*-===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef SSM_PASSES_VECTOR_SUMFACTORS_H
#define SSM_PASSES_VECTOR_SUMFACTORS_H

#include "dialects/SSM/SSMOps.h"

namespace ssm {

/// Factors that are the same for all that a sum adds up, such as the decay of what a delta
/// rule reads of its state, are multiplied to the sum.
void takeFactorsOutOfSums(KernelOp kernel);

} // namespace ssm

#endif // SSM_PASSES_VECTOR_SUMFACTORS_H
