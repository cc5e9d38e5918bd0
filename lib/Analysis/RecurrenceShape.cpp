//===- RecurrenceShape.cpp - How a recurrence's state lies ----------------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "lib/Analysis/RecurrenceShape.h"

#include "lib/Analysis/MatmulShape.h"

using namespace mlir;
using namespace ssm;

/// Vectors of state that a channel must have: of a single one, the sum over lanes costs a
/// fifth of a long sequence's steps.
static constexpr int64_t kMinVectors = 2;

bool ssm::waitsForSums(KernelOp kernel) {
  LoopSet summed = 0;
  for (auto reduce : kernel.getStep().getOps<ReduceOp>())
    summed |= loopsOf(reduce.getLoops());
  SmallVector<Value> needed;
  for (auto reduce : kernel.getStep().getOps<ReduceOp>())
    needed.push_back(reduce.getValue());
  for (auto [i, value] : llvm::enumerate(kernel.getYield().getValues()))
    if (i < kernel.getNumCarries() || loopsOf(kernel.getOutMap(i)) & summed)
      needed.push_back(value);
  auto parts = findParts(kernel, needed, [](Value) { return false; });
  return llvm::any_of(parts, [](Value value) { return value.getDefiningOp<ReduceOp>(); });
}

std::optional<unsigned> ssm::findStateLoop(KernelOp kernel, int64_t lanes) {
  if (!kernel.getTime() || kernel.getNumCarries() == 0 || lanes % 4 != 0)
    return std::nullopt;
  LoopSet summed = 0;
  for (auto reduce : kernel.getStep().getOps<ReduceOp>())
    summed |= loopsOf(reduce.getLoops());
  SmallVector<unsigned> loops = listLoops(summed);
  if (loops.size() != 1)
    return std::nullopt;
  unsigned state = loops.front();
  int64_t size = fixedSize(kernel, state);
  if (size < kMinVectors * lanes || size % lanes != 0 ||
      !canBeLaneLoop(kernel, state, lanes) || !findLaneLoop(kernel, lanes))
    return std::nullopt;
  for (unsigned i = 0; i < kernel.getOuts().size(); ++i) {
    AffineMap map = kernel.getOutMap(i);
    bool isCarry = i < kernel.getNumCarries();
    if (isCarry || map.isFunctionOfDim(state))
      if (!isDenseAlong(map, state) ||
          (isCarry && isa<MemRefType, TensorType>(kernel.getInits()[i].getType()) &&
           !isDenseAlong(kernel.getInitMap(i), state)))
        return std::nullopt;
  }
  return waitsForSums(kernel) ? std::nullopt : std::optional(state);
}
