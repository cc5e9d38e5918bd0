//===- RecurrenceShape.cpp - How a recurrence's state lies ----------------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "lib/Analysis/RecurrenceShape.h"

#include "lib/Analysis/MatmulShape.h"
#include "mlir/Interfaces/ViewLikeInterface.h"

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

bool ssm::startsApart(KernelOp kernel, unsigned carry) {
  auto rootOf = [](Value buffer) {
    while (auto view = buffer.getDefiningOp<ViewLikeOpInterface>()) {
      if (isa<ArenaViewOp>(view))
        break;
      buffer = view.getViewSource();
    }
    return buffer;
  };
  Value init = kernel.getInits()[carry];
  return !isa<MemRefType>(init.getType()) || rootOf(init) != rootOf(kernel.getOuts()[carry]);
}

std::optional<int64_t> ssm::findMemory(KernelOp kernel) {
  if (kernel.getNumCarries() == 0)
    return std::nullopt;
  auto yielded = kernel.getYield().getValues();
  for (unsigned i = 0; i < yielded.size(); ++i)
    if (i < kernel.getNumCarries() ? !startsApart(kernel, i)
                                   : !kernel.getOutMap(i).isFunctionOfDim(*kernel.getTime()))
      return std::nullopt;
  // Steps that each carry reaches back; the carries are gone through until all are known.
  llvm::DenseMap<Value, int64_t> reach;
  auto reachOf = [&](auto &&self, Value value) -> std::optional<int64_t> {
    if (auto known = reach.find(value); known != reach.end())
      return known->second;
    Operation *op = value.getDefiningOp();
    if (!op)
      return llvm::is_contained(kernel.getStep().getArguments().drop_front(
                                    kernel.getInputs().size()), value)
                 ? std::nullopt
                 : std::optional<int64_t>(0);
    if (op->getBlock() != &kernel.getStep())
      return 0;
    int64_t most = 0;
    for (Value operand : op->getOperands()) {
      std::optional<int64_t> of = self(self, operand);
      if (!of)
        return std::nullopt;
      most = std::max(most, *of);
    }
    return reach[value] = most;
  };
  int64_t most = 0;
  for (unsigned round = 0; round < kernel.getNumCarries(); ++round)
    for (unsigned i = 0; i < kernel.getNumCarries(); ++i)
      if (Value carry = kernel.getCarryArg(i); !reach.contains(carry))
        if (std::optional<int64_t> of = reachOf(reachOf, yielded[i])) {
          reach[carry] = *of + 1;
          most = std::max(most, *of + 1);
        }
  bool isAll = llvm::all_of(llvm::seq(kernel.getNumCarries()),
                            [&](unsigned i) { return reach.contains(kernel.getCarryArg(i)); });
  return isAll ? std::optional(most) : std::nullopt;
}
