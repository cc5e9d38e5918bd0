//===- KernelCarries.cpp - Carries updated in their buffers ---------------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "dialects/SSM/KernelLoops.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/SmallSet.h"

using namespace mlir;
using namespace ssm;

namespace {

/// What the next values of some carries, which live on the same loops, read.
class CarryReads {
public:
  CarryReads(KernelOp kernel, const KernelLoops &loops, ArrayRef<unsigned> carries)
      : kernel(kernel), loops(loops), carries(carries) {
    for (unsigned carry : carries)
      visit(kernel.getYield().getValues()[carry], 0, 0);
  }

  /// Other carries that are read.
  llvm::SmallSet<unsigned, 4> others;
  /// The loops that reductions over these carries leave.
  SmallVector<LoopSet> left;
  bool inPlace = true;

private:
  /// Whether the value reads one of these carries, and notes the others. `over` are
  /// the loops of the reductions around it, `fixed` those that they leave.
  bool visit(Value value, LoopSet over, LoopSet fixed) {
    auto known = seen.try_emplace(std::make_tuple(value, over, fixed), false);
    if (!known.second)
      return known.first->second;
    bool reads = false;
    if (auto arg = dyn_cast<BlockArgument>(value)) {
      unsigned numInputs = kernel.getInputs().size();
      if (arg.getOwner() == &kernel.getStep() && arg.getArgNumber() >= numInputs) {
        unsigned carry = arg.getArgNumber() - numInputs;
        reads = llvm::is_contained(carries, carry);
        if (!reads)
          others.insert(carry);
      }
    } else if (Operation *op = value.getDefiningOp(); op->getBlock() == &kernel.getStep()) {
      LoopSet innerOver = over, innerFixed = fixed;
      if (auto reduce = dyn_cast<ReduceOp>(op)) {
        innerOver |= loopsOf(reduce.getLoops());
        if ((loops.of(value) & over) == 0)
          innerFixed = loops.of(value);
      }
      for (Value operand : op->getOperands())
        reads |= visit(operand, innerOver, innerFixed);
      if (auto reduce = dyn_cast<ReduceOp>(op); reduce && reads) {
        LoopSet result = loops.of(value) & ~(kernel.getTime() ? loopBit(*kernel.getTime()) : 0);
        // Done once in front of the loops that it is over, or inside another one,
        // where it must not leave the elements that belong to that one.
        if ((result & over) == 0)
          left.push_back(result);
        else if (loopsOf(reduce.getLoops()) & fixed)
          inPlace = false;
      }
    }
    return seen[std::make_tuple(value, over, fixed)] = reads;
  }

  KernelOp kernel;
  const KernelLoops &loops;
  ArrayRef<unsigned> carries;
  llvm::DenseMap<std::tuple<Value, LoopSet, LoopSet>, bool> seen;
};

} // namespace

std::optional<SmallVector<CarryUpdate>> ssm::orderCarryUpdates(KernelOp kernel) {
  KernelLoops loops(kernel);
  SmallVector<CarryUpdate> groups;
  SmallVector<LoopSet> sets;
  SmallVector<unsigned> groupOf;
  for (unsigned carry = 0; carry < kernel.getNumCarries(); ++carry) {
    LoopSet set = loopsOf(kernel.getOutMap(carry));
    auto same = llvm::find(sets, set);
    groupOf.push_back(same - sets.begin());
    if (same == sets.end()) {
      sets.push_back(set);
      groups.emplace_back();
    }
    groups[groupOf.back()].carries.push_back(carry);
  }
  // Who is read by whom must be updated later.
  SmallVector<llvm::SmallSet<unsigned, 4>> after(groups.size());
  for (auto [i, group] : llvm::enumerate(groups)) {
    CarryReads reads(kernel, loops, group.carries);
    if (!reads.inPlace)
      return std::nullopt;
    for (unsigned other : reads.others)
      after[groupOf[other]].insert(i);
    llvm::sort(reads.left, [](LoopSet a, LoopSet b) { return llvm::popcount(a) < llvm::popcount(b); });
    LoopSet open = 0;
    for (LoopSet left : reads.left) {
      if (!isSubset(open, left) || !isSubset(left, sets[i]))
        return std::nullopt;
      llvm::append_range(group.loops, listLoops(left & ~open));
      open = left;
    }
    llvm::append_range(group.loops, listLoops(sets[i] & ~open));
  }
  SmallVector<CarryUpdate> order;
  llvm::SmallSet<unsigned, 4> done;
  while (order.size() < groups.size()) {
    size_t before = order.size();
    for (unsigned i = 0; i < groups.size(); ++i) {
      bool ready = llvm::all_of(after[i], [&](unsigned first) { return done.contains(first); });
      if (done.contains(i) || !ready)
        continue;
      done.insert(i);
      order.push_back(groups[i]);
    }
    if (order.size() == before)
      return std::nullopt;
  }
  return order;
}
