//===- RecurrenceShape.h - How a recurrence's state lies --------*- C++ -*-===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef SSM_LIB_ANALYSIS_RECURRENCESHAPE_H
#define SSM_LIB_ANALYSIS_RECURRENCESHAPE_H

#include "lib/Analysis/KernelShape.h"

namespace ssm {

/// Whether carries, other sums, or outs with the loops of a sum need a sum of the same step.
bool waitsForSums(KernelOp kernel);

/// The loop that a recurrence sums over, if lanes can lie along it: it is the last axis of
/// every carry, of some whole vectors, and no step waits for a sum, for a sum of lanes takes
/// long. Such a state needs no other layout than the file's.
std::optional<unsigned> findStateLoop(KernelOp kernel, int64_t lanes);

/// The loops that all outs of a recurrence have and no step sums over.
LoopSet findSharedLoops(KernelOp kernel);

/// Whether steps of a recurrence can be rows, one after the other, with lanes along a loop that not
/// all outs have: they wait for sums over it, or some carries lack it; the others are dense along
/// it.
bool canBeRowLoop(KernelOp kernel, unsigned loop, int64_t lanes);

/// The best of such loops, if nothing lies better: what no step sums over, a batch, is absent or
/// small beside it, and no carry with the loop is dense along that.
std::optional<unsigned> findRowLoop(KernelOp kernel, int64_t lanes);

/// Whether a carry, on buffers, begins in other memory than it ends in.
bool startsApart(KernelOp kernel, unsigned carry);

/// After how many steps nothing is left of where the carries began, if ever, as in convolutions,
/// where a carry is what an input was a few steps ago. Carries begin in memory of their own, and
/// all other outs have a time.
std::optional<int64_t> findMemory(KernelOp kernel);

} // namespace ssm

#endif // SSM_LIB_ANALYSIS_RECURRENCESHAPE_H
