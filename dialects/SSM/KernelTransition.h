//===- KernelTransition.h - How a recurrence acts on its state --*- C++ -*-===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef SSM_DIALECTS_SSM_KERNELTRANSITION_H
#define SSM_DIALECTS_SSM_KERNELTRANSITION_H

#include "dialects/SSM/SSMOps.h"

namespace ssm {

/// How a step acts on its carries, by algebra on the region; those that only delay what
/// comes in, as the window of a convolution does, are like inputs. None if there are no
/// others, or the step is not linear in them, or they feed each other.
std::optional<Transition> findTransition(KernelOp kernel);

/// Sets the kernel's transition, and lets exponentials that end as factors of a
/// carry be approximate (fastmath<afn>): there is one for each step and element, and
/// those that are far from 1 are taken few times before the carry is 0 or infinite.
void annotateTransition(KernelOp kernel);

} // namespace ssm

#endif // SSM_DIALECTS_SSM_KERNELTRANSITION_H
