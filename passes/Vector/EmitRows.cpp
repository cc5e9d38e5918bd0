//===- EmitRows.cpp - Elementwise loops and reductions --------------------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A nest of loops computes what is asked of it: outs, or reductions of the same
// loops. Its loops open in levels; on each level the reductions whose results live
// there are computed first, each group by a nest of its own inside. So the levels of
// a softmax are {} and {row} and {row, column}, and the nest of its outs holds, on
// level {row}, one nest over the columns for the maximum and one for the sum.
//
//===----------------------------------------------------------------------===//

#include "passes/Vector/EmitKernels.h"

#include "lib/Analysis/KernelShape.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/IR/TypeUtilities.h"
#include "mlir/Interfaces/ViewLikeInterface.h"
#include "lib/Emit/CollapseLoops.h"
#include "lib/Emit/PointEmitter.h"
#include "lib/Emit/RowDivision.h"
#include "llvm/ADT/SetVector.h"

using namespace mlir;
using namespace ssm;

namespace {

/// Points that are computed side by side: neighbouring vectors along the lane loop.
/// Before that loop is open there is one.
using Points = std::vector<PointEmitter>;
using ReduceSet = llvm::SetVector<ReduceOp>;

/// What a nest is to compute, and the levels in which its loops open.
struct Nest {
  SmallVector<ReduceOp> reduces; // of the same loops
  SmallVector<unsigned> outs;    // or these
  SmallVector<LoopSet> levels;   // each has those before; the first may be open already
  ReduceSet placed;              // reductions whose results live on a level
  /// A loop that inputs are dense along while the outs are along the lane loop: both
  /// open in square blocks, which turns those inputs in registers.
  std::optional<unsigned> turned;
  SmallVector<unsigned> turnedInputs;

  LoopSet all() const { return levels.back(); }
};

/// What a piece of a parallel loop should take at least, and what operations take,
/// in cycles a vector, roughly.
constexpr int64_t kPieceCost = 75000;
/// Squares along the lane loop that are turned before the next along the other: so
/// that rows of the outs are written, and pages of them used, by some cache lines.
constexpr int64_t kSquares = 4;
/// Sums of at most that many terms are written out.
constexpr int64_t kMaxUnrolled = 8;
int64_t costOf(Operation *op) {
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

/// A value that a reduction computes and the outs need again, kept in an out's buffer
/// until the out itself is written there.
struct Stash {
  Value value;
  unsigned out;
  bool wasUsed = false;  // by the nest being emitted
  bool isStored = false; // nests from now on find it there
};

class RowEmitter {
public:
  RowEmitter(KernelOp kernel, ImplicitLocOpBuilder &b)
      : kernel(kernel), b(b), loops(kernel), lane(kernel.getConfig()->getLaneLoop()),
        lanes(kernel.getConfig()->getLanes()) {}

  LogicalResult plan();
  void emit();

private:
  Value yielded(unsigned out) { return kernel.getYield().getValues()[out]; }

  //===--------------------------------------------------------------------===//
  // Analysis
  //===--------------------------------------------------------------------===//

  /// Visits what a value is made of, without looking into reductions.
  void walkCone(Value value, DenseSet<Value> &seen, llvm::function_ref<void(Value)> visit) {
    if (value.getParentBlock() != &kernel.getStep() || !seen.insert(value).second)
      return;
    visit(value);
    if (Operation *op = value.getDefiningOp(); op && !isa<ReduceOp>(op))
      for (Value operand : op->getOperands())
        walkCone(operand, seen, visit);
  }

  /// The reductions that `value` needs, that are not given, and whose results live
  /// on loops of `bound`.
  void place(Value value, LoopSet bound, const ReduceSet &given, ReduceSet &placed) {
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

  /// Cost of a vector of everything the nest computes at its innermost level.
  int64_t costOf(const Nest &nest) {
    int64_t cost = 0;
    DenseSet<Value> seen;
    auto add = [&](Value part) {
      Operation *op = part.getDefiningOp();
      if (loops.of(part) == nest.all())
        cost += op ? ::costOf(op) : 1;
    };
    for (ReduceOp reduce : nest.reduces)
      walkCone(reduce.getValue(), seen, add);
    for (unsigned out : nest.outs)
      walkCone(yielded(out), seen, add);
    return cost;
  }

  /// Fails if the levels are not nested in each other.
  LogicalResult finish(Nest &nest, LoopSet around, const ReduceSet &given);
  LogicalResult check(const Nest &nest, ReduceSet given);
  SmallVector<SmallVector<ReduceOp>> groupsAt(const Nest &nest, LoopSet level);
  /// Whether there are sums, or more loops, inside the lane loop.
  bool hasColumns(const Nest &nest) {
    return llvm::any_of(nest.levels, [&](LoopSet set) {
             return contains(set, lane) && set != nest.all();
           }) ||
           llvm::any_of(nest.placed,
                        [&](ReduceOp reduce) { return contains(loops.of(reduce), lane); });
  }
  void findStashes(const Nest &nest);
  void findTurned(Nest &nest);
  bool mayReadAfter(Value value, Value buffer);

  //===--------------------------------------------------------------------===//
  // Emission
  //===--------------------------------------------------------------------===//

  using Body = llvm::function_ref<SmallVector<Value>(Points &, ValueRange)>;

  SmallVector<unsigned> orderOf(LoopSet set);
  int64_t unrollOf(const Nest &nest);
  SmallVector<Value> level(const Nest &nest, unsigned number, LoopSet open, Points &points,
                           ValueRange carried);
  SmallVector<Value> openLoops(const Nest &nest, ArrayRef<unsigned> toOpen, Points &points,
                               ValueRange carried, Body body);
  SmallVector<Value> openLanes(PointEmitter &point, Value low, Value high, int64_t unroll,
                               ValueRange carried, Body body);
  void openParallel(const Nest &nest, ArrayRef<unsigned> toOpen, Points &points, Body body);
  void openBlocks(const Nest &nest, PointEmitter &point, Body body);
  void reduce(ArrayRef<ReduceOp> group, LoopSet open, Points &points);
  SmallVector<Value> accumulate(const Nest &nest, Points &points, ValueRange carried);
  void hoist(PointEmitter &point, Value value, LoopSet open, DenseSet<Value> &seen);
  void hoist(const Nest &nest, LoopSet open, Points &points);
  void takeFromStashes(PointEmitter &point, LoopSet open);

  KernelOp kernel;
  ImplicitLocOpBuilder &b;
  KernelLoops loops;
  unsigned lane;
  int64_t lanes;
  std::vector<Nest> nests; // of the outs
  SmallVector<Stash> stashes; // of the nest that is being emitted
};

//===----------------------------------------------------------------------===//
// Analysis
//===----------------------------------------------------------------------===//

LogicalResult RowEmitter::finish(Nest &nest, LoopSet around, const ReduceSet &given) {
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

/// Whether the nests inside have their levels too.
LogicalResult RowEmitter::check(const Nest &nest, ReduceSet given) {
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

SmallVector<SmallVector<ReduceOp>> RowEmitter::groupsAt(const Nest &nest, LoopSet level) {
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

LogicalResult RowEmitter::plan() {
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
  return success();
}

/// Where `value` is known, whether the kernel reads an input that may lie in `buffer`
/// to compute the outs and the reductions that do not come before it.
bool RowEmitter::mayReadAfter(Value value, Value buffer) {
  auto rootOf = [](Value v) {
    while (auto view = v.getDefiningOp<ViewLikeOpInterface>())
      v = view.getViewSource();
    return v;
  };
  ReduceSet before;
  place(value, ~LoopSet(0), {}, before);
  bool reads = false;
  DenseSet<Value> seen = {value};
  auto visit = [&](Value part) {
    Value source;
    if (auto arg = dyn_cast<BlockArgument>(part))
      source = kernel.getInputs()[arg.getArgNumber()];
    else if (auto read = getIndexedRead(part.getDefiningOp()))
      source = read->source;
    reads |= source && rootOf(source) == rootOf(buffer);
  };
  for (Value result : kernel.getYield().getValues())
    walkCone(result, seen, visit);
  for (ReduceOp reduce : kernel.getStep().getOps<ReduceOp>())
    if (!before.contains(reduce))
      walkCone(reduce.getValue(), seen, visit);
  return reads;
}

void RowEmitter::findStashes(const Nest &nest) {
  stashes.clear();
  DenseSet<Value> summed;
  for (ReduceOp reduce : nest.placed)
    if ((loops.of(reduce) | loopsOf(reduce.getLoops())) == nest.all())
      walkCone(reduce.getValue(), summed, [](Value) {});
  for (unsigned out : nest.outs) {
    Value buffer = kernel.getOuts()[out], best;
    if (loopsOf(kernel.getOutMap(out)) != nest.all())
      continue;
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
          cost += ::costOf(op);
      });
      if (cost > bestCost && !mayReadAfter(part, buffer)) {
        best = part;
        bestCost = cost;
      }
    });
    if (best && llvm::none_of(stashes, [&](const Stash &other) { return other.value == best; }))
      stashes.push_back({best, out});
  }
}

void RowEmitter::findTurned(Nest &nest) {
  LoopSet last = nest.all();
  if (nest.levels.size() > 1)
    last &= ~nest.levels[nest.levels.size() - 2];
  if (!contains(last, lane) || llvm::any_of(nest.placed, [&](ReduceOp reduce) {
        return loops.of(reduce) == nest.all();
      }))
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

//===----------------------------------------------------------------------===//
// Emission
//===----------------------------------------------------------------------===//

void RowEmitter::takeFromStashes(PointEmitter &point, LoopSet open) {
  for (const Stash &stash : stashes)
    if (stash.isStored && loops.of(stash.value) == open && !point.isProvided(stash.value))
      point.provide(stash.value,
                    point.load(kernel.getOuts()[stash.out], kernel.getOutMap(stash.out), false));
}

/// Loops by where they lie in memory: last axes innermost, the lane loop last.
SmallVector<unsigned> RowEmitter::orderOf(LoopSet set) {
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

/// How many vectors side by side: a sum needs several to hide the latency of its
/// additions; columns are read by whole cache lines; an expensive body has enough to
/// do with one.
int64_t RowEmitter::unrollOf(const Nest &nest) {
  if (nest.turned)
    return 1;
  int64_t cost = costOf(nest);
  bool hasSums = !nest.reduces.empty() || hasColumns(nest);
  // Sums of columns alone: the more of a row is read at once, the better.
  bool plain = nest.placed.size() == 1 && hasColumns(nest) && cost == 0;
  int64_t unroll = plain ? 8 : hasSums ? (cost <= 16 ? 4 : cost <= 40 ? 2 : 1) : cost <= 6 ? 2 : 1;
  int64_t size = PointEmitter(kernel, b, lane, lanes).fixedSize(lane);
  while (unroll > 1 && size >= 0 && size < unroll * lanes)
    unroll /= 2;
  return unroll;
}

void RowEmitter::hoist(PointEmitter &point, Value value, LoopSet open, DenseSet<Value> &seen) {
  if (value.getParentBlock() != &kernel.getStep() || !seen.insert(value).second ||
      point.isProvided(value))
    return;
  if (point.canEmit(value, open)) {
    if (!value.getDefiningOp<arith::ConstantOp>())
      (void)point.get(value);
    return;
  }
  if (Operation *op = value.getDefiningOp())
    for (Value operand : op->getOperands())
      hoist(point, operand, open, seen);
}

/// Computes what the nest needs and can be known on this level.
void RowEmitter::hoist(const Nest &nest, LoopSet open, Points &points) {
  for (PointEmitter &point : points) {
    DenseSet<Value> seen;
    for (ReduceOp reduce : nest.reduces)
      hoist(point, reduce.getValue(), open, seen);
    for (unsigned out : nest.outs)
      hoist(point, yielded(out), open, seen);
  }
}

SmallVector<Value> RowEmitter::level(const Nest &nest, unsigned number, LoopSet open,
                                     Points &points, ValueRange carried) {
  LoopSet set = nest.levels[number];
  if (set != nest.all())
    hoist(nest, set, points);
  for (ArrayRef<ReduceOp> group : groupsAt(nest, set))
    reduce(group, set, points);
  if (set != nest.all())
    hoist(nest, set, points);
  for (PointEmitter &point : points) {
    takeFromStashes(point, set);
    // An out may be the buffer of an input: all is read before anything is written.
    SmallVector<std::pair<unsigned, Value>> values;
    for (unsigned out : nest.outs)
      if (loopsOf(kernel.getOutMap(out)) == set)
        values.push_back({out, point.get(yielded(out))});
    for (auto [out, value] : values)
      point.storeOut(out, value);
  }
  if (set == nest.all())
    return nest.reduces.empty() ? SmallVector<Value>() : accumulate(nest, points, carried);

  LoopSet next = nest.levels[number + 1];
  SmallVector<unsigned> toOpen = orderOf(next & ~set);
  if (nest.turned && next == nest.all())
    llvm::erase(toOpen, *nest.turned);
  auto body = [&](Points &inner, ValueRange args) {
    if (nest.turned && next == nest.all() && nest.reduces.empty() && inner.size() == 1) {
      hoist(nest, next & ~loopBit(*nest.turned), inner);
      openBlocks(nest, inner[0], [&](Points &block, ValueRange) {
        return level(nest, number + 1, next, block, {});
      });
      return SmallVector<Value>();
    }
    // Each copy of the body fills its own part of the stashes.
    SmallVector<Stash> before(stashes);
    SmallVector<Value> results = level(nest, number + 1, next, inner, args);
    if (nest.reduces.empty())
      stashes = std::move(before);
    return results;
  };
  if (set != 0 || !nest.reduces.empty())
    return openLoops(nest, toOpen, points, carried, body);
  openParallel(nest, toOpen, points, body);
  return {};
}

SmallVector<Value> RowEmitter::openLoops(const Nest &nest, ArrayRef<unsigned> toOpen,
                                         Points &points, ValueRange carried, Body body) {
  if (toOpen.empty())
    return body(points, carried);
  unsigned loop = toOpen.front();
  PointEmitter &first = points.front();
  auto inside = [&](Points &inner, ValueRange args) {
    return openLoops(nest, toOpen.drop_front(), inner, args, body);
  };
  if (loop == lane)
    return openLanes(first, first.index(0), first.size(lane), unrollOf(nest), carried,
                     inside);
  // The taps of a window: a loop of few steps costs more than what it does.
  if (int64_t size = first.fixedSize(loop);
      toOpen.size() == 1 && !nest.reduces.empty() && size >= 0 && size <= kMaxUnrolled) {
    SmallVector<Value> results(carried);
    for (int64_t i = 0; i < size; ++i) {
      Points inner(points);
      for (PointEmitter &point : inner)
        point.at[loop] = point.index(i);
      results = inside(inner, results);
    }
    return results;
  }
  return first.loop(first.index(0), first.size(loop), 1, carried, [&](Value i, ValueRange args) {
    Points inner(points);
    for (PointEmitter &point : inner)
      point.at[loop] = i;
    return inside(inner, args);
  });
}

/// Whole steps of `unroll` vectors, then one vector at a time, masked where needed.
/// `low` is a multiple of the step.
SmallVector<Value> RowEmitter::openLanes(PointEmitter &point, Value low, Value high,
                                         int64_t unroll, ValueRange carried, Body body) {
  int64_t step = unroll * lanes, fixed = point.fixedSize(lane);
  Value rest = b.createOrFold<arith::RemUIOp>(high, point.index(step));
  Value whole = fixed >= 0 && fixed % step == 0 ? high : point.sub(high, rest);
  SmallVector<Value> results =
      point.loop(low, whole, step, carried, [&](Value i, ValueRange args) {
        Points inner;
        for (int64_t u = 0; u < unroll; ++u) {
          inner.push_back(point);
          inner.back().at[lane] = point.add(i, u * lanes);
        }
        return body(inner, args);
      });
  if (fixed >= 0 && fixed % step == 0)
    return results;
  return point.loop(whole, high, lanes, results, [&](Value i, ValueRange args) {
    Points inner = {point};
    inner[0].at[lane] = i;
    if (fixed < 0 || fixed % lanes != 0)
      inner[0].mask = inner[0].firstLanes(point.min(point.sub(high, i), point.index(lanes)));
    return body(inner, args);
  });
}

/// The outermost loops of outs: pieces of them may run at the same time.
void RowEmitter::openParallel(const Nest &nest, ArrayRef<unsigned> toOpen, Points &points,
                              Body body) {
  PointEmitter &first = points.front();
  // All loops but that of the lanes are one. The lane loop, by whole steps, belongs to
  // it where there is no other, or where a step has loops inside.
  SmallVector<unsigned> spread;
  for (unsigned loop : toOpen)
    if (loop != lane)
      spread.push_back(loop);
  bool hasLanes = spread.size() < toOpen.size();
  bool splitsLanes = hasLanes && (spread.empty() || nest.turned || hasColumns(nest));
  int64_t step = splitsLanes ? (nest.turned ? kSquares : unrollOf(nest)) * lanes : 1;
  Value count = first.index(1), steps;
  for (unsigned loop : spread)
    count = first.mul(count, first.size(loop));
  if (splitsLanes) {
    steps = first.ceilDiv(first.size(lane), step);
    count = first.mul(count, steps);
  }

  int64_t cost = kernel.getInputs().size() + 2 * kernel.getOuts().size();
  for (Operation &op : kernel.getStep().without_terminator())
    cost += ::costOf(&op);
  Value work = first.index(splitsLanes ? cost * step / lanes : cost);
  for (unsigned loop = 0; loop < kernel.getNumLoops(); ++loop)
    if (!llvm::is_contained(spread, loop) && !(splitsLanes && loop == lane))
      work = first.mul(work, loop == lane ? first.ceilDiv(first.size(loop), lanes)
                                          : first.size(loop));
  work = first.add(work, 1);
  Value grain = b.createOrFold<arith::DivUIOp>(first.add(work, kPieceCost), work);

  auto parallel = ParallelForOp::create(b, count, grain);
  OpBuilder::InsertionGuard guard(b);
  Block *block = b.createBlock(&parallel.getBody(), {}, {b.getIndexType(), b.getIndexType()},
                               {b.getLoc(), b.getLoc()});
  Value low = block->getArgument(0), high = block->getArgument(1);
  auto runSteps = [&](Points &made, Value from, Value to) {
    Value width = first.index(step), start = first.mul(from, width);
    Value end = first.min(first.mul(to, width), first.size(lane));
    if (!nest.turned) {
      (void)openLanes(made.front(), start, end, step / lanes, {}, body);
      return;
    }
    first.loop(first.index(0), first.size(*nest.turned), lanes, [&](Value block) {
      PointEmitter point = made.front();
      point.at[*nest.turned] = block;
      (void)openLanes(point, start, end, 1, {}, body);
    });
  };
  if (spread.empty()) {
    runSteps(points, low, high);
  } else {
    first.loop(low, high, 1, [&](Value i) {
      Points made(points);
      Value left = i, at;
      auto takeOff = [&](Value size) {
        Value rest = b.createOrFold<arith::RemUIOp>(left, size);
        left = b.createOrFold<arith::DivUIOp>(left, size);
        return rest;
      };
      if (splitsLanes)
        at = takeOff(steps);
      for (unsigned loop : llvm::reverse(spread))
        made.front().at[loop] = loop == spread.front() ? left : takeOff(first.size(loop));
      if (splitsLanes)
        runSteps(made, at, first.add(at, 1));
      else
        (void)openLoops(nest, hasLanes ? ArrayRef(lane) : ArrayRef<unsigned>(), made, {}, body);
    });
  }
  b.setInsertionPointToEnd(block);
  ssm::YieldOp::create(b, ValueRange());
}

/// The transpose of a square of vectors: in each step every second row is woven into
/// one of the first half.
static SmallVector<Value> transpose(ImplicitLocOpBuilder &b, SmallVector<Value> rows) {
  int64_t count = rows.size();
  SmallVector<int64_t> low, high;
  for (int64_t i = 0; i < count / 2; ++i) {
    low.append({i, count + i});
    high.append({count / 2 + i, count + count / 2 + i});
  }
  for (int64_t step = 1; step < count; step *= 2) {
    SmallVector<Value> next;
    for (int64_t i = 0; i < count / 2; ++i)
      for (ArrayRef<int64_t> half : {ArrayRef(low), ArrayRef(high)})
        next.push_back(vector::ShuffleOp::create(b, rows[i], rows[i + count / 2], half));
    rows = std::move(next);
  }
  return rows;
}

/// Runs over the turned loop by `lanes` indices, or those from where the point is: the
/// body gets a point for each.
void RowEmitter::openBlocks(const Nest &nest, PointEmitter &point, Body body) {
  unsigned turned = *nest.turned;
  Value size = point.size(turned), width = point.index(lanes), zero = point.index(0);
  auto block = [&](Value start, bool ragged) {
    PointEmitter across(kernel, b, turned, lanes);
    across.at = point.at;
    across.at[turned] = start;
    Value rest = width;
    if (ragged) {
      rest = point.min(point.sub(size, start), width);
      across.mask = across.firstLanes(rest);
    }
    Value existing = width;
    if (point.mask)
      existing = point.min(point.sub(point.size(lane), point.at[lane]), width);
    Points inner(lanes, point);
    for (int64_t i = 0; i < lanes; ++i) {
      inner[i].at[turned] = point.add(start, i);
      if (!ragged)
        continue;
      // What does not exist reads the last that does, and is not written.
      Value exists = arith::CmpIOp::create(b, arith::CmpIPredicate::ult, point.index(i), rest);
      inner[i].at[turned] = point.min(inner[i].at[turned], point.sub(size, point.index(1)));
      inner[i].mask =
          inner[i].firstLanes(arith::SelectOp::create(b, exists, existing, zero));
    }
    for (unsigned input : nest.turnedInputs) {
      SmallVector<Value> rows;
      for (int64_t i = 0; i < lanes; ++i) {
        across.at[lane] = point.add(point.at[lane], i);
        if (point.mask)
          across.at[lane] =
              point.min(across.at[lane], point.sub(point.size(lane), point.index(1)));
        rows.push_back(across.load(kernel.getInputs()[input], kernel.getInputMap(input), false));
      }
      rows = transpose(b, std::move(rows));
      for (int64_t i = 0; i < lanes; ++i)
        inner[i].provide(kernel.getInputArg(input), rows[i]);
    }
    (void)body(inner, {});
  };
  int64_t fixed = point.fixedSize(turned);
  bool isEven = fixed >= 0 && fixed % lanes == 0 && !point.mask;
  if (Value start = point.at[turned]) {
    if (isEven || point.mask) {
      block(start, !isEven);
      return;
    }
    Value isWhole = arith::CmpIOp::create(b, arith::CmpIPredicate::ule, point.add(start, width),
                                          size);
    auto branch = scf::IfOp::create(b, isWhole, /*withElseRegion=*/true);
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointToStart(branch.thenBlock());
    block(start, false);
    b.setInsertionPointToStart(branch.elseBlock());
    block(start, true);
    return;
  }
  Value whole = zero;
  if (!point.mask) {
    whole = point.sub(size, b.createOrFold<arith::RemUIOp>(size, width));
    point.loop(zero, whole, lanes, [&](Value start) { block(start, false); });
    if (isEven)
      return;
  }
  point.loop(whole, size, lanes, [&](Value start) { block(start, true); });
}

/// Computes reductions of the same loops in a nest inside, for each point.
void RowEmitter::reduce(ArrayRef<ReduceOp> group, LoopSet open, Points &points) {
  Nest nest;
  nest.reduces = llvm::to_vector(group);
  ReduceSet given;
  for (ReduceOp reduce : kernel.getStep().getOps<ReduceOp>())
    if (points.front().isProvided(reduce))
      given.insert(reduce);
  (void)finish(nest, open, given); // plan() has seen that it succeeds
  bool across = contains(nest.all() & ~open, lane);
  int64_t slots = across ? unrollOf(nest) : points.size();
  SmallVector<Value> carried;
  for (int64_t slot = 0; slot < slots; ++slot)
    for (ReduceOp reduce : group) {
      PointEmitter &point = points.front();
      bool wide = across || point.isLaneDependent(reduce.getValue());
      Type type = reduce.getType();
      carried.push_back(point.neutral(reduce.getKind(), wide ? point.vectorOf(type) : type));
    }
  carried = level(nest, 0, open, points, carried);
  for (Stash &stash : stashes)
    stash.isStored |= stash.wasUsed;
  for (unsigned r = 0; r < group.size(); ++r) {
    ReduceOp reduce = group[r];
    if (!across) {
      for (auto [p, point] : llvm::enumerate(points))
        point.provide(reduce, carried[p * group.size() + r]);
      continue;
    }
    PointEmitter &point = points.front();
    SmallVector<Value> parts;
    for (int64_t slot = 0; slot < slots; ++slot)
      parts.push_back(carried[slot * group.size() + r]);
    for (; parts.size() > 1; parts.resize(parts.size() / 2))
      for (unsigned i = 0; i < parts.size() / 2; ++i)
        parts[i] = point.combine(reduce.getKind(), parts[i], parts[i + parts.size() / 2]);
    point.provide(reduce, point.reduceLanes(reduce.getKind(), parts[0]));
  }
}

SmallVector<Value> RowEmitter::accumulate(const Nest &nest, Points &points, ValueRange carried) {
  SmallVector<Value> next(carried);
  unsigned count = nest.reduces.size();
  for (PointEmitter &point : points)
    takeFromStashes(point, nest.all());
  for (auto [p, point] : llvm::enumerate(points))
    for (unsigned r = 0; r < count; ++r) {
      ReduceOp reduce = nest.reduces[r];
      Value &sum = next[p * count + r];
      bool wide = isa<VectorType>(sum.getType());
      Value value = wide ? point.getVector(reduce.getValue()) : point.get(reduce.getValue());
      // Lanes that do not exist must not count where lanes are put together.
      if (point.mask && contains(loopsOf(reduce.getLoops()), lane))
        value = arith::SelectOp::create(b, point.mask, value,
                                        point.neutral(reduce.getKind(), value.getType()));
      sum = point.combine(reduce.getKind(), sum, value);
    }
  for (Stash &stash : stashes)
    if (!stash.isStored)
      for (PointEmitter &point : points)
        if (point.isProvided(stash.value)) {
          point.storeOut(stash.out, point.get(stash.value));
          stash.wasUsed = true;
        }
  return next;
}

void RowEmitter::emit() {
  for (const Nest &nest : nests) {
    findStashes(nest);
    Points points;
    points.emplace_back(kernel, b, lane, lanes);
    (void)level(nest, 0, 0, points, {});
  }
}

} // namespace

StringRef ssm::emitRows(KernelOp kernel, ImplicitLocOpBuilder &b) {
  StringRef why = "its sums and results have loops that do not nest";
  if (failed(RowEmitter(kernel, b).plan()))
    return why;
  invertRowDivisors(kernel);
  collapseLoops(kernel, b);
  RowEmitter emitter(kernel, b);
  if (failed(emitter.plan()))
    return why;
  emitter.emit();
  return "";
}
