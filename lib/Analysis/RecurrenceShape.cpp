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
/// A row of so many elements, as one of a vector of rows side by side, takes as long as alone.
static constexpr int64_t kRowElements = 8;
/// What a batch is taken for whose size only the run knows.
static constexpr int64_t kOpenBatch = 4;

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
  if (size < kMinVectors * lanes || size % lanes != 0 || !canBeLaneLoop(kernel, state, lanes) ||
      !findLaneLoop(kernel, lanes))
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

LoopSet ssm::findSharedLoops(KernelOp kernel) {
  LoopSet shared = ~LoopSet(0);
  for (unsigned i = 0; i < kernel.getOuts().size(); ++i)
    shared &= loopsOf(kernel.getOutMap(i));
  for (auto reduce : kernel.getStep().getOps<ReduceOp>())
    shared &= ~loopsOf(reduce.getLoops());
  return shared & ~loopBit(*kernel.getTime());
}

/// Whether a carry lacks a loop that outs have and no step sums over: along that loop it would be
/// advanced again and again.
static bool lacksLoop(KernelOp kernel) {
  LoopSet all = 0, summed = loopBit(*kernel.getTime());
  for (auto reduce : kernel.getStep().getOps<ReduceOp>())
    summed |= loopsOf(reduce.getLoops());
  for (unsigned i = 0; i < kernel.getOuts().size(); ++i)
    all |= loopsOf(kernel.getOutMap(i));
  return llvm::any_of(llvm::seq(kernel.getNumCarries()), [&](unsigned i) {
    return !isSubset(all & ~summed, loopsOf(kernel.getOutMap(i)));
  });
}

bool ssm::canBeRowLoop(KernelOp kernel, unsigned loop, int64_t lanes) {
  if (!kernel.getTime() || kernel.getNumCarries() == 0 ||
      !(waitsForSums(kernel) || lacksLoop(kernel)))
    return false;
  // Steps are cut out of their operands at these loops, which the region must not know.
  LoopSet fixed = findSharedLoops(kernel) | loopBit(*kernel.getTime());
  if (contains(fixed, loop) || !canBeLaneLoop(kernel, loop, lanes))
    return false;
  for (auto index : kernel.getStep().getOps<ssm::IndexOp>())
    if (contains(fixed, index.getLoop()))
      return false;
  // What has other loops than the row is no part of it.
  for (unsigned i = 0; i < kernel.getOuts().size(); ++i)
    if (LoopSet loops = loopsOf(kernel.getOutMap(i));
        !contains(loops, loop) && !isSubset(loops, fixed))
      return false;
  for (unsigned i = 0; i < kernel.getMaps().size(); ++i)
    for (AffineExpr expr : kernel.getMap(i).getResults())
      if (!isa<AffineDimExpr>(expr))
        for (unsigned other : listLoops(fixed))
          if (expr.isFunctionOfDim(other))
            return false;
  for (unsigned i = 0; i < kernel.getNumCarries(); ++i)
    for (auto [operand, map] : {std::pair(kernel.getInits()[i], kernel.getInitMap(i)),
                                std::pair(kernel.getOuts()[i], kernel.getOutMap(i))})
      if (isa<ShapedType>(operand.getType()) && map.isFunctionOfDim(loop) &&
          !isDenseAlong(map, loop))
        return false;
  return true;
}

std::optional<unsigned> ssm::findRowLoop(KernelOp kernel, int64_t lanes) {
  std::optional<unsigned> row;
  for (unsigned loop = 0; loop < kernel.getNumLoops(); ++loop)
    if (canBeRowLoop(kernel, loop, lanes) &&
        (!row || scoreLaneLoop(kernel, loop) > scoreLaneLoop(kernel, *row)))
      row = loop;
  std::optional<unsigned> other = findLaneLoop(kernel, lanes);
  if (!row || !other)
    return row;
  for (unsigned i = 0; i < kernel.getNumCarries(); ++i)
    if (AffineMap map = kernel.getOutMap(i); map.isFunctionOfDim(*row) && isDenseAlong(map, *other))
      return std::nullopt;
  int64_t batch = fixedSize(kernel, *other), length = 1;
  LoopSet fixed = findSharedLoops(kernel) | loopBit(*kernel.getTime());
  for (unsigned loop = 0; loop < kernel.getNumLoops(); ++loop)
    if (int64_t size = fixedSize(kernel, loop); !contains(fixed, loop))
      length = ShapedType::isDynamic(size) || ShapedType::isDynamic(length) ? ShapedType::kDynamic
                                                                            : length * size;
  bool isOpen = ShapedType::isDynamic(batch);
  // Steps of a batch have all inputs for each of it. What is else, as values beside the keys of a
  // delta rule, is channels.
  bool isBatch = llvm::any_of(llvm::seq<unsigned>(0, kernel.getInputs().size()), [&](unsigned i) {
    AffineMap map = kernel.getInputMap(i);
    return map.isFunctionOfDim(*row) && map.isFunctionOfDim(*other) && !isDenseAlong(map, *other);
  });
  if (!isBatch && (isOpen || batch >= lanes / 2))
    return std::nullopt;
  batch = std::min(isOpen ? kOpenBatch : batch, lanes);
  if (ShapedType::isDynamic(length) ? batch >= lanes / 2 : length <= batch * kRowElements)
    return std::nullopt;
  return row;
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
      return llvm::is_contained(
                 kernel.getStep().getArguments().drop_front(kernel.getInputs().size()), value)
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
