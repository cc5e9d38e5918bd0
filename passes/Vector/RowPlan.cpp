//===- RowPlan.cpp - In which order a kernel's loops open -----------------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "passes/Vector/RowPlan.h"

#include "lib/Analysis/InPlace.h"
#include "lib/Analysis/KernelShape.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/IR/TypeUtilities.h"
#include "mlir/Interfaces/ViewLikeInterface.h"

using namespace mlir;
using namespace ssm;

int64_t ssm::costOf(Operation *op) {
  if (isa<arith::ConstantOp, ReduceOp>(op))
    return 0;
  if (isa<arith::DivFOp, math::SqrtOp, math::RsqrtOp>(op))
    return 8;
  if (isa<math::AbsFOp, math::FmaOp, math::FloorOp, math::CeilOp, math::RoundEvenOp,
          math::CopySignOp>(op) ||
      !isa<math::MathDialect>(op->getDialect()))
    return 1;
  return 10;
}

RowPlan::RowPlan(KernelOp kernel)
    : kernel(kernel), loops(kernel), lane(kernel.getConfig()->getLaneLoop()) {}

void RowPlan::walkCone(Value value, DenseSet<Value> &seen, llvm::function_ref<void(Value)> visit) {
  if (value.getParentBlock() != &kernel.getStep() || !seen.insert(value).second)
    return;
  visit(value);
  if (Operation *op = value.getDefiningOp(); op && !isa<ReduceOp>(op))
    for (Value operand : op->getOperands())
      walkCone(operand, seen, visit);
}

void RowPlan::place(Value value, LoopSet bound, const ReduceSet &given, ReduceSet &placed) {
  DenseSet<Value> seen;
  walkCone(value, seen, [&](Value part) {
    auto reduce = part.getDefiningOp<ReduceOp>();
    if (!reduce || given.contains(reduce) || placed.contains(reduce))
      return;
    bool here = isSubset(loops.of(reduce), bound);
    if (here)
      placed.insert(reduce);
    place(reduce.getValue(), here ? loops.of(reduce) : bound, given, placed);
  });
}

int64_t RowPlan::costOf(const Nest &nest) {
  int64_t cost = 0;
  DenseSet<Value> seen;
  auto add = [&](Value part) {
    Operation *op = part.getDefiningOp();
    if (loops.of(part) == nest.all())
      cost += op ? ssm::costOf(op) : 1;
  };
  for (ReduceOp reduce : nest.reduces)
    walkCone(reduce.getValue(), seen, add);
  for (unsigned out : nest.outs)
    walkCone(yielded(out), seen, add);
  return cost;
}

bool RowPlan::hasColumns(const Nest &nest) {
  return llvm::any_of(nest.levels,
                      [&](LoopSet set) { return contains(set, lane) && set != nest.all(); }) ||
         llvm::any_of(nest.placed,
                      [&](ReduceOp reduce) { return contains(loops.of(reduce), lane); });
}

LogicalResult RowPlan::finish(Nest &nest, LoopSet around, const ReduceSet &given) {
  LoopSet full = around;
  SmallVector<LoopSet> sets = {around};
  for (ReduceOp reduce : nest.reduces)
    sets.push_back(around | loopsOf(reduce.getLoops()));
  for (unsigned out : nest.outs)
    sets.push_back(loopsOf(kernel.getOutMap(out)));
  for (LoopSet set : sets)
    full |= set;
  for (ReduceOp reduce : nest.reduces)
    place(reduce.getValue(), full, given, nest.placed);
  for (unsigned out : nest.outs)
    place(yielded(out), full, given, nest.placed);
  for (ReduceOp reduce : nest.placed) {
    // It would be computed again and again in loops that it does not depend on.
    if (!isSubset(around, loops.of(reduce)) || (loops.of(reduce) & loopsOf(reduce.getLoops())))
      return failure();
    sets.push_back(loops.of(reduce));
  }
  llvm::sort(sets, [](LoopSet a, LoopSet b) {
    return std::make_pair(llvm::popcount(a), a) < std::make_pair(llvm::popcount(b), b);
  });
  sets.erase(llvm::unique(sets), sets.end());
  for (unsigned i = 1; i < sets.size(); ++i)
    if (!isSubset(sets[i - 1], sets[i]))
      return failure();
  nest.levels = std::move(sets);
  return success();
}

LogicalResult RowPlan::check(const Nest &nest, ReduceSet given) {
  for (LoopSet set : nest.levels)
    for (ArrayRef<ReduceOp> group : groupsAt(nest, set)) {
      Nest inner;
      inner.reduces = llvm::to_vector(group);
      if (failed(finish(inner, set, given)) || failed(check(inner, given)))
        return failure();
      given.insert(group.begin(), group.end());
    }
  return success();
}

SmallVector<SmallVector<ReduceOp>> RowPlan::groupsAt(const Nest &nest, LoopSet level) {
  ReduceSet left;
  for (ReduceOp reduce : kernel.getStep().getOps<ReduceOp>())
    if (nest.placed.contains(reduce) && loops.of(reduce) == level)
      left.insert(reduce);
  auto needsLeft = [&](ReduceOp reduce) {
    ReduceSet needed;
    place(reduce.getValue(), level, {}, needed);
    return llvm::any_of(needed, [&](ReduceOp other) { return left.contains(other); });
  };
  SmallVector<SmallVector<ReduceOp>> groups;
  while (!left.empty()) {
    SmallVector<ReduceOp> group;
    for (ReduceOp reduce : left)
      if ((group.empty() || loopsOf(group[0].getLoops()) == loopsOf(reduce.getLoops())) &&
          !needsLeft(reduce))
        group.push_back(reduce);
    for (ReduceOp reduce : group)
      left.remove(reduce);
    groups.push_back(std::move(group));
  }
  return groups;
}

LogicalResult RowPlan::plan() {
  // Outs share a nest if their levels nest; else each group has its own.
  SmallVector<unsigned> left = llvm::to_vector(llvm::seq<unsigned>(0, kernel.getOuts().size()));
  while (!left.empty()) {
    Nest nest;
    SmallVector<unsigned> next;
    for (unsigned out : left) {
      Nest larger;
      larger.outs = nest.outs;
      larger.outs.push_back(out);
      if (succeeded(finish(larger, 0, {})) && succeeded(check(larger, {})))
        nest = std::move(larger);
      else
        next.push_back(out);
    }
    if (nest.outs.empty())
      return failure();
    findTurned(nest);
    nests.push_back(std::move(nest));
    left = std::move(next);
  }
  // An out of all loops may lie where an input does (ssm-find-states-in-place).
  LoopSet all = 0;
  for (unsigned loop = 0; loop < kernel.getNumLoops(); ++loop)
    all |= loopBit(loop);
  std::stable_partition(nests.begin(), nests.end(), [&](const Nest &nest) {
    return llvm::none_of(nest.outs,
                         [&](unsigned out) { return loopsOf(kernel.getOutMap(out)) == all; });
  });
  return success();
}

bool RowPlan::mayReadAfter(Value value, Value buffer) {
  auto rootOf = [](Value v) {
    while (auto view = v.getDefiningOp<ViewLikeOpInterface>())
      v = view.getViewSource();
    return v;
  };
  ReduceSet before;
  place(value, ~LoopSet(0), {}, before);
  auto mayBeOne = [&](Value x, Value y) {
    return x == y || (getInPlace(x) && getInPlace(x) == getInPlace(y));
  };
  bool reads = false;
  DenseSet<Value> seen = {value};
  auto visit = [&](Value part) {
    Value source;
    if (auto arg = dyn_cast<BlockArgument>(part))
      source = kernel.getInputs()[arg.getArgNumber()];
    else if (auto read = getIndexedRead(part.getDefiningOp()))
      source = read->source;
    reads |= source && mayBeOne(rootOf(source), rootOf(buffer));
  };
  for (Value result : kernel.getYield().getValues())
    walkCone(result, seen, visit);
  for (ReduceOp reduce : kernel.getStep().getOps<ReduceOp>())
    if (!before.contains(reduce))
      walkCone(reduce.getValue(), seen, visit);
  return reads;
}

void RowPlan::findStashes(const Nest &nest) {
  stashes.clear();
  DenseSet<Value> summed;
  for (ReduceOp reduce : nest.placed)
    if ((loops.of(reduce) | loopsOf(reduce.getLoops())) == nest.all())
      walkCone(reduce.getValue(), summed, [](Value) {});
  for (unsigned out : nest.outs) {
    Value buffer = kernel.getOuts()[out], best;
    if (loopsOf(kernel.getOutMap(out)) != nest.all())
      continue;
    if (Value value = yielded(out); summed.contains(value) && value.getDefiningOp() &&
                                    loops.of(value) == nest.all() && !mayReadAfter(value, buffer)) {
      stashes.push_back({value, out, true, {}});
      continue;
    }
    int64_t bestCost = 8; // of a load, a store and some more
    DenseSet<Value> seen;
    walkCone(yielded(out), seen, [&](Value part) {
      if (!summed.contains(part) || loops.of(part) != nest.all() || !part.getDefiningOp() ||
          part.getType() != getElementTypeOrSelf(buffer.getType()))
        return;
      int64_t cost = 0;
      DenseSet<Value> inner;
      walkCone(part, inner, [&](Value v) {
        if (Operation *op = v.getDefiningOp(); op && loops.of(v) == nest.all())
          cost += ssm::costOf(op);
      });
      if (cost > bestCost && !mayReadAfter(part, buffer)) {
        best = part;
        bestCost = cost;
      }
    });
    if (best && llvm::none_of(stashes, [&](const Stash &other) { return other.value == best; }))
      stashes.push_back({best, out, false, {}});
  }
}

bool RowPlan::isWritten(unsigned out) {
  return llvm::any_of(stashes, [&](const Stash &stash) {
    return stash.isOut && stash.isStored && stash.out == out;
  });
}

void RowPlan::findTurned(Nest &nest) {
  LoopSet last = nest.all();
  if (nest.levels.size() > 1)
    last &= ~nest.levels[nest.levels.size() - 2];
  if (!contains(last, lane) ||
      llvm::any_of(nest.placed, [&](ReduceOp reduce) { return loops.of(reduce) == nest.all(); }))
    return;
  auto isLoop = [](AffineExpr expr, unsigned loop) {
    auto dim = dyn_cast<AffineDimExpr>(expr);
    return dim && dim.getPosition() == loop;
  };
  for (unsigned out : nest.outs)
    if (AffineMap map = kernel.getOutMap(out);
        map.getNumResults() == 0 || !isLoop(map.getResults().back(), lane))
      return;
  for (unsigned i = 0; i < kernel.getInputs().size(); ++i) {
    AffineMap map = kernel.getInputMap(i);
    auto type = dyn_cast<MemRefType>(kernel.getInputs()[i].getType());
    if (!type || map.getNumResults() < 2 || !type.isLastDimUnitStride())
      continue;
    auto dense = dyn_cast<AffineDimExpr>(map.getResults().back());
    if (!dense || dense.getPosition() == lane || !contains(last, dense.getPosition()) ||
        (nest.turned && *nest.turned != dense.getPosition()))
      continue;
    unsigned lanesSeen = 0, others = 0;
    for (AffineExpr expr : map.getResults().drop_back()) {
      lanesSeen += isLoop(expr, lane);
      others += expr.isFunctionOfDim(dense.getPosition()) ||
                (expr.isFunctionOfDim(lane) && !isLoop(expr, lane));
    }
    if (lanesSeen != 1 || others != 0)
      continue;
    nest.turned = dense.getPosition();
    nest.turnedInputs.push_back(i);
  }
}

SmallVector<unsigned> RowPlan::orderOf(LoopSet set) {
  SmallVector<unsigned> order = listLoops(set);
  auto depthOf = [&](unsigned loop) {
    // Outs first, then inputs; the sum over all that have the loop.
    for (bool ofOuts : {true, false}) {
      int64_t depth = 0, count = 0;
      unsigned first = ofOuts ? kernel.getInputs().size() : 0;
      unsigned number = ofOuts ? kernel.getOuts().size() : kernel.getInputs().size();
      for (unsigned i = first; i < first + number; ++i)
        for (auto [axis, expr] : llvm::enumerate(kernel.getMap(i).getResults()))
          if (expr.isFunctionOfDim(loop)) {
            depth += 64 * (kernel.getMap(i).getNumResults() - axis);
            ++count;
          }
      if (count > 0)
        return depth / count;
    }
    return int64_t(0);
  };
  llvm::sort(order, [&](unsigned x, unsigned y) {
    auto keyOf = [&](unsigned loop) { return std::make_tuple(loop == lane, -depthOf(loop), loop); };
    return keyOf(x) < keyOf(y);
  });
  return order;
}
