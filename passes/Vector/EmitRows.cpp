//===- EmitRows.cpp - Elementwise loops and reductions --------------------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "passes/Vector/EmitKernels.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/UB/IR/UBOps.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "lib/Emit/CollapseLoops.h"
#include "lib/Emit/PointEmitter.h"
#include "lib/Emit/RowDivision.h"
#include "lib/Emit/TransposeSquare.h"
#include "passes/Vector/PackedRows.h"
#include "passes/Vector/RowPlan.h"
#include "mlir/Interfaces/FunctionInterfaces.h"
#include "llvm/Support/SaveAndRestore.h"

using namespace mlir;
using namespace ssm;

namespace {

void setAll(Points &points, unsigned loop, Value index) {
  for (PointEmitter &point : points)
    point.at[loop] = index;
}

/// What a piece of a parallel loop should take at least, in cycles a vector, roughly.
constexpr int64_t kPieceCost = 75000;
/// So many partial results a sum in pieces has at most; their number depends on sizes
/// alone, so that the sum is the same with any number of threads.
constexpr int64_t kMaxPieces = 64;
/// What a piece of a sum takes at least: all of it waits for memory.
constexpr int64_t kSumCost = 20000;
/// From so many rows on, rows keep all threads busy.
constexpr int64_t kManyRows = 16;
/// Squares along the lane loop that are turned before the next along the other: so
/// that rows of the outs are written, and pages of them used, by some cache lines.
constexpr int64_t kSquares = 4;
/// Sums of at most that many terms are written out.
constexpr int64_t kMaxUnrolled = 8;

class RowEmitter : public RowPlan {
public:
  RowEmitter(KernelOp kernel, ImplicitLocOpBuilder &b, bool isStep)
      : RowPlan(kernel), b(b), lanes(kernel.getConfig()->getLanes()), isStep(isStep) {}

  /// Several nests, of one out after the other, would read carries that are written.
  LogicalResult plan() {
    return success(succeeded(RowPlan::plan()) && (!isStep || nests.size() == 1));
  }

  void emit();

private:
  using Body = PointsBody;

  int64_t unrollOf(const Nest &nest);
  SmallVector<Value> level(const Nest &nest, unsigned number, LoopSet open, Points &points,
                           ValueRange carried);
  SmallVector<Value> openLoops(const Nest &nest, ArrayRef<unsigned> toOpen, Points &points,
                               ValueRange carried, Body body);
  SmallVector<Value> openLanes(const Nest &nest, PointEmitter &point, Value low, Value high,
                               int64_t unroll, ValueRange carried, Body body);
  SmallVector<Value> openRest(PointEmitter &point, Value low, Value high, int64_t most,
                              ValueRange carried, Body body);
  SmallVector<Value> openTail(PointEmitter &point, Value low, Value high, ValueRange carried,
                              Body body);
  void choose(Value condition, llvm::function_ref<void()> first,
              llvm::function_ref<void()> second);
  void openOuts(const Nest &nest, ArrayRef<unsigned> toOpen, Points &points, Body body);
  void openParallel(const Nest &nest, ArrayRef<unsigned> toOpen, Points &points, Body body);
  Value hasLongSums(const Nest &nest, ArrayRef<unsigned> toOpen, PointEmitter &point);
  void openBlocks(const Nest &nest, PointEmitter &point, Body body);
  void reduce(ArrayRef<ReduceOp> group, LoopSet open, Points &points);
  bool canBeInPieces(const Nest &nest);
  void reduceInPieces(const Nest &nest, Points &points);
  SmallVector<Value> startOf(const Nest &nest, int64_t slots, PointEmitter &point);
  SmallVector<Value> combineLanes(ArrayRef<ReduceOp> group, PointEmitter &point,
                                  ValueRange carried);
  void provide(ArrayRef<ReduceOp> group, Points &points, ValueRange sums);
  SmallVector<Value> accumulate(const Nest &nest, Points &points, ValueRange carried);
  void hoist(PointEmitter &point, Value value, LoopSet open, DenseSet<Value> &seen);
  void hoist(const Nest &nest, LoopSet open, Points &points);
  void takeFromStashes(PointEmitter &point, LoopSet open);

  ImplicitLocOpBuilder &b;
  int64_t lanes;
  bool isStep;
  bool isSerial = !isStep; // no loop around runs in pieces
  bool inPieces = false;   // what is being emitted is a sum's piece
  bool packs = false;      // the lane loop opens as packed rows
  std::optional<unsigned> packedRows;
};

void RowEmitter::takeFromStashes(PointEmitter &point, LoopSet open) {
  for (const Stash &stash : stashes)
    if (stash.isStored && loops.of(stash.value) == open && !point.isProvided(stash.value))
      point.provide(stash.value, point.mask && stash.tail
                                     ? stash.tail
                                     : point.load(kernel.getOuts()[stash.out],
                                                  kernel.getOutMap(stash.out), false));
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
      if (loopsOf(kernel.getOutMap(out)) == set && !isWritten(out))
        values.push_back({out, point.get(yielded(out))});
    for (auto [out, value] : values)
      point.storeOut(out, value);
  }
  if (set == nest.all())
    return nest.reduces.empty() ? SmallVector<Value>() : accumulate(nest, points, carried);

  bool isDone = nest.reduces.empty() && llvm::all_of(nest.outs, [&](unsigned out) {
    return isSubset(loopsOf(kernel.getOutMap(out)), set) || isWritten(out);
  });
  if (isDone)
    return {};
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
  if (!nest.reduces.empty() || !isSerial)
    return openLoops(nest, toOpen, points, carried, body);
  if (set != 0) {
    openParallel(nest, toOpen, points, body);
    return {};
  }
  bool canPack = packedRows && !nest.turned && contains(next, lane) && !contains(next, *packedRows);
  llvm::SaveAndRestore packing(packs, canPack);
  Value isWorth = canPack ? isWorthPacking(points.front(), *packedRows) : Value();
  SmallVector<Stash> before(stashes);
  choose(
      isWorth,
      [&] {
        // What was stored under a mask keeps the next block's loads waiting, about 6 ns.
        if (canPack && !fillVectors(points.front()))
          llvm::erase_if(stashes, [](const Stash &stash) { return !stash.isOut; });
        openOuts(nest, toOpen, points, body);
        stashes = std::move(before);
      },
      [&] {
        packs = false;
        openOuts(nest, toOpen, points, body);
      });
  return {};
}

/// The first where the condition holds or there is none, else the second.
void RowEmitter::choose(Value condition, llvm::function_ref<void()> first,
                        llvm::function_ref<void()> second) {
  if (!condition)
    return first();
  auto branch = scf::IfOp::create(b, condition, /*withElseRegion=*/true);
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToStart(branch.thenBlock());
  first();
  b.setInsertionPointToStart(branch.elseBlock());
  second();
}

/// The outermost loops of outs: at once, or in turn where each has much to do by itself.
void RowEmitter::openOuts(const Nest &nest, ArrayRef<unsigned> toOpen, Points &points, Body body) {
  Value isLong = hasLongSums(nest, toOpen, points.front());
  if (!isLong)
    return openParallel(nest, toOpen, points, body);
  choose(isLong, [&] { (void)openLoops(nest, toOpen, points, {}, body); },
         [&] { openParallel(nest, toOpen, points, body); });
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
  if (loop == lane && packs) {
    Points packed = packRows(first, *packedRows);
    return inside(packed, carried);
  }
  if (first.packed && loop == *packedRows)
    return loopBlocks(points, first.index(0), countBlocks(first), carried, inside);
  if (loop == lane)
    return openLanes(nest, first, first.index(0), first.size(lane), unrollOf(nest), carried,
                     inside);
  // The taps of a window: a loop of few steps costs more than what it does.
  if (int64_t size = first.fixedSize(loop);
      toOpen.size() == 1 && !nest.reduces.empty() && size >= 0 && size <= kMaxUnrolled) {
    SmallVector<Value> results(carried);
    for (int64_t i = 0; i < size; ++i) {
      Points inner(points);
      setAll(inner, loop, first.index(i));
      results = inside(inner, results);
    }
    return results;
  }
  return first.loop(first.index(0), first.size(loop), 1, carried, [&](Value i, ValueRange args) {
    Points inner(points);
    setAll(inner, loop, i);
    return inside(inner, args);
  });
}

/// Whole steps of `unroll` vectors, whole vectors, and under a mask the lanes that are
/// left. `low` is a multiple of the step.
SmallVector<Value> RowEmitter::openLanes(const Nest &nest, PointEmitter &point, Value low,
                                         Value high, int64_t unroll, ValueRange carried,
                                         Body body) {
  int64_t fixed = point.fixedSize(lane);
  auto wholeOf = [&](int64_t width) {
    return fixed >= 0 && fixed % width == 0
               ? high
               : point.sub(high, b.createOrFold<arith::RemUIOp>(high, point.index(width)));
  };
  auto steps = [&](Value from, Value to, int64_t count, ValueRange args) {
    return point.loop(from, to, count * lanes, args, [&](Value i, ValueRange args) {
      Points inner(count, point);
      for (int64_t u = 0; u < count; ++u)
        inner[u].at[lane] = point.add(i, u * lanes);
      return body(inner, args);
    });
  };
  Value at = wholeOf(unroll * lanes);
  SmallVector<Value> results = steps(low, at, unroll, carried);
  if (unroll > 1 && !carried.empty()) {
    Value end = wholeOf(lanes);
    results = openRest(point, at, end, unroll - 1, results, body);
    at = end;
  } else if (hasColumns(nest)) {
    // Columns side by side hide the latency of each other's sums.
    while ((unroll /= 2) > 0) {
      Value end = wholeOf(unroll * lanes);
      (void)steps(at, end, unroll, {});
      at = end;
    }
  } else if (unroll > 1) {
    // A loop less is worth more to short rows than stores without masks.
    return point.loop(at, high, lanes, {}, [&](Value i, ValueRange) {
      Points inner = {point};
      inner[0].at[lane] = i;
      if (fixed < 0 || fixed % lanes != 0)
        inner[0].mask = point.firstLanes(point.min(point.sub(high, i), point.index(lanes)));
      return body(inner, {});
    });
  }
  return fixed >= 0 && fixed % lanes == 0 ? results
                                          : openTail(point, at, high, results, body);
}

/// Whole vectors, at most `most`, each to another of the sums that are carried: in one
/// sum each would wait for the one before.
SmallVector<Value> RowEmitter::openRest(PointEmitter &point, Value low, Value high, int64_t most,
                                        ValueRange carried, Body body) {
  unsigned count = carried.size() / (most + 1);
  auto from = [&](int64_t number, ValueRange carried, auto &&from) -> SmallVector<Value> {
    if (number == most)
      return carried;
    Value i = point.add(low, number * lanes);
    auto exists = arith::CmpIOp::create(b, arith::CmpIPredicate::ult, i, high);
    auto choice = scf::IfOp::create(b, carried.getTypes(), exists, /*withElseRegion=*/true);
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointToStart(choice.elseBlock());
    scf::YieldOp::create(b, carried);
    b.setInsertionPointToStart(choice.thenBlock());
    // The body takes the first of the sums that it is given.
    SmallVector<Value> own(carried);
    auto swap = [&] {
      std::swap_ranges(own.begin(), own.begin() + count, own.begin() + number * count);
    };
    if (number > 0)
      swap();
    Points inner = {point};
    inner[0].at[lane] = i;
    own = body(inner, own);
    if (number > 0)
      swap();
    scf::YieldOp::create(b, from(number + 1, own, from));
    return llvm::to_vector_of<Value>(choice.getResults());
  };
  return from(0, carried, from);
}

/// The lanes behind the last whole vector, if there are any.
SmallVector<Value> RowEmitter::openTail(PointEmitter &point, Value low, Value high,
                                        ValueRange carried, Body body) {
  auto exists = arith::CmpIOp::create(b, arith::CmpIPredicate::ult, low, high);
  SmallVector<unsigned> kept;
  auto choice = scf::IfOp::create(
      b, exists,
      [&](OpBuilder &, Location) {
        Points inner = {point};
        inner[0].at[lane] = low;
        inner[0].mask = inner[0].firstLanes(point.sub(high, low));
        SmallVector<Value> results = body(inner, carried);
        for (auto [s, stash] : llvm::enumerate(stashes))
          if (!stash.isStored && stash.tail) {
            kept.push_back(s);
            results.push_back(stash.tail);
          }
        scf::YieldOp::create(b, results);
      },
      [&](OpBuilder &, Location) {
        SmallVector<Value> results(carried);
        for (unsigned s : kept)
          results.push_back(ub::PoisonOp::create(b, stashes[s].tail.getType()));
        scf::YieldOp::create(b, results);
      });
  for (auto [i, s] : llvm::enumerate(kept))
    stashes[s].tail = choice.getResult(carried.size() + i);
  return llvm::to_vector_of<Value>(choice.getResults().take_front(carried.size()));
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
  bool splitsLanes = hasLanes && !packs && (spread.empty() || nest.turned || hasColumns(nest));
  int64_t step = splitsLanes ? (nest.turned ? kSquares : unrollOf(nest)) * lanes : 1;
  auto countOf = [&](unsigned loop) {
    return first.packed && loop == *packedRows ? countBlocks(first) : first.size(loop);
  };
  Value count = first.index(1), steps;
  for (unsigned loop : spread)
    count = first.mul(count, countOf(loop));
  if (splitsLanes) {
    steps = first.ceilDiv(first.size(lane), step);
    count = first.mul(count, steps);
  }

  int64_t cost = kernel.getInputs().size() + 2 * kernel.getOuts().size();
  for (Operation &op : kernel.getStep().without_terminator())
    cost += ssm::costOf(&op);
  Value work = first.index(splitsLanes ? cost * step / lanes : cost);
  for (unsigned loop = 0; loop < kernel.getNumLoops(); ++loop)
    if (!llvm::is_contained(spread, loop) && !(splitsLanes && loop == lane) && !first.at[loop])
      work = first.mul(work, loop == lane ? first.ceilDiv(first.size(loop), lanes)
                                          : first.size(loop));
  work = first.add(work, 1);
  Value grain = b.createOrFold<arith::DivUIOp>(first.add(work, kPieceCost), work);

  auto parallel = ParallelForOp::create(b, count, grain);
  OpBuilder::InsertionGuard guard(b);
  llvm::SaveAndRestore inside(isSerial, false);
  Block *block = b.createBlock(&parallel.getBody(), {}, {b.getIndexType(), b.getIndexType()},
                               {b.getLoc(), b.getLoc()});
  Value low = block->getArgument(0), high = block->getArgument(1);
  auto runSteps = [&](Points &made, Value from, Value to) {
    Value width = first.index(step), start = first.mul(from, width);
    Value end = first.min(first.mul(to, width), first.size(lane));
    if (!nest.turned) {
      (void)openLanes(nest, made.front(), start, end, step / lanes, {}, body);
      return;
    }
    first.loop(first.index(0), first.size(*nest.turned), lanes, [&](Value block) {
      PointEmitter point = made.front();
      point.at[*nest.turned] = block;
      (void)openLanes(nest, point, start, end, 1, {}, body);
    });
  };
  if (spread.empty() && packs) {
    (void)openLoops(nest, toOpen, points, {}, body);
  } else if (spread.empty()) {
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
      Value block;
      for (unsigned loop : llvm::reverse(spread)) {
        Value index = loop == spread.front() ? left : takeOff(countOf(loop));
        if (first.packed && loop == *packedRows)
          block = index;
        else
          setAll(made, loop, index);
      }
      if (block)
        (void)loopBlocks(made, block, first.add(block, 1), {}, body);
      else if (splitsLanes)
        runSteps(made, at, first.add(at, 1));
      else
        (void)openLoops(nest, hasLanes ? ArrayRef(lane) : ArrayRef<unsigned>(), made, {}, body);
    });
  }
  b.setInsertionPointToEnd(block);
  ssm::YieldOp::create(b, ValueRange());
}

/// Whether what is reduced to is so little and of so much that each part is worth all
/// threads: known when the kernel runs. Null: never.
Value RowEmitter::hasLongSums(const Nest &nest, ArrayRef<unsigned> toOpen, PointEmitter &point) {
  bool hasSums = llvm::any_of(nest.placed, [&](ReduceOp reduce) {
    return loops.of(reduce) == nest.levels[1] &&
           contains(loops.of(reduce) | loopsOf(reduce.getLoops()), lane);
  });
  if (!hasSums || nest.turned)
    return nullptr;
  Value rows = point.index(1), length = point.index(1);
  int64_t fixedRows = 1, fixedLength = 1;
  for (unsigned loop = 0; loop < kernel.getNumLoops(); ++loop) {
    int64_t vector = loop == lane ? lanes : 1, fixed = point.fixedSize(loop);
    bool isOpen = llvm::is_contained(toOpen, loop);
    Value &size = isOpen ? rows : length;
    int64_t &product = isOpen ? fixedRows : fixedLength;
    size = point.mul(size, point.ceilDiv(point.size(loop), vector));
    if (fixed >= 0)
      product *= llvm::divideCeil(fixed, vector);
    else if (!isOpen)
      product = std::max(product, kSumCost); // may be anything
  }
  // Each loop over a row then has two pieces or more.
  int64_t least = 4 * kSumCost / std::max<int64_t>(costOf(nest), 4);
  if (fixedRows >= kManyRows || fixedLength < least)
    return nullptr;
  auto isFew = arith::CmpIOp::create(b, arith::CmpIPredicate::ult, rows, point.index(kManyRows));
  auto isLong = arith::CmpIOp::create(b, arith::CmpIPredicate::uge, length, point.index(least));
  return arith::AndIOp::create(b, isFew, isLong);
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
      rows = transposeSquare(b, std::move(rows));
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
  if (isSerial && canBeInPieces(nest)) {
    reduceInPieces(nest, points);
    return;
  }
  bool across = contains(nest.all() & ~open, lane);
  int64_t slots = across ? unrollOf(nest) : points.size();
  SmallVector<Value> carried = level(nest, 0, open, points, startOf(nest, slots, points.front()));
  for (Stash &stash : stashes)
    stash.isStored |= stash.wasUsed;
  if (across)
    carried = combineLanes(group, points.front(), carried);
  provide(group, points, carried);
}

void RowEmitter::provide(ArrayRef<ReduceOp> group, Points &points, ValueRange sums) {
  SmallVector<Value> columns(sums);
  if (points.front().packed)
    for (size_t r = 0; r < group.size(); ++r) {
      SmallVector<Value> parts;
      for (size_t at = r; at < columns.size(); at += group.size())
        parts.push_back(columns[at]);
      parts = combineColumns(points, ReduceOp(group[r]).getKind(), parts);
      for (auto [p, part] : llvm::enumerate(parts))
        columns[p * group.size() + r] = part;
    }
  for (auto [p, point] : llvm::enumerate(points))
    for (auto [r, reduce] : llvm::enumerate(group))
      point.provide(ReduceOp(reduce), columns[p * group.size() + r]);
}

/// What so many sums side by side begin with.
SmallVector<Value> RowEmitter::startOf(const Nest &nest, int64_t slots, PointEmitter &point) {
  bool across = contains(nest.all() & ~nest.levels.front(), lane);
  SmallVector<Value> carried;
  for (int64_t slot = 0; slot < slots; ++slot)
    for (ReduceOp reduce : nest.reduces) {
      bool wide = across || point.isLaneDependent(reduce.getValue());
      Type type = reduce.getType();
      carried.push_back(point.neutral(reduce.getKind(), wide ? point.vectorOf(type) : type));
    }
  return carried;
}

/// Of a group's sums side by side, what each reduction comes to.
SmallVector<Value> RowEmitter::combineLanes(ArrayRef<ReduceOp> group, PointEmitter &point,
                                            ValueRange carried) {
  SmallVector<Value> results;
  for (auto [r, each] : llvm::enumerate(group)) {
    ReduceOp reduce = each;
    SmallVector<Value> parts;
    for (size_t slot = r; slot < carried.size(); slot += group.size())
      parts.push_back(carried[slot]);
    Value all = point.combineAll(reduce.getKind(), std::move(parts));
    results.push_back(point.reduceLanes(reduce.getKind(), all));
  }
  return results;
}

/// Whether all loops of the sums are open at once, and may be long: pieces of the first
/// one may then run at the same time.
bool RowEmitter::canBeInPieces(const Nest &nest) {
  if (nest.levels.size() != 2 || !nest.placed.empty())
    return false;
  PointEmitter point(kernel, b, lane, lanes);
  int64_t length = 1;
  for (unsigned loop : listLoops(nest.all() & ~nest.levels.front())) {
    int64_t size = point.fixedSize(loop);
    if (size < 0)
      return true;
    length *= loop == lane ? llvm::divideCeil(size, lanes) : size;
  }
  return length * (costOf(nest) + 1) >= 2 * kSumCost;
}

/// Each piece leaves what it comes to in a buffer; these are then put together in order.
void RowEmitter::reduceInPieces(const Nest &nest, Points &points) {
  PointEmitter &point = points.front();
  SmallVector<ReduceOp> reduces(nest.reduces);
  LoopSet summed = nest.all() & ~nest.levels.front();
  SmallVector<unsigned> toOpen = orderOf(summed);
  unsigned split = toOpen.front();
  bool across = contains(summed, lane);
  int64_t unroll = unrollOf(nest), step = split == lane ? unroll * lanes : 1;
  bool inBlocks = point.packed && split == *packedRows;
  Value end = inBlocks ? countBlocks(point) : point.size(split);
  Value count = point.ceilDiv(end, step);
  int64_t vectors = split == lane ? unroll : across ? 1 : points.size();
  Value work = point.index((costOf(nest) + 1) * vectors);
  for (unsigned loop : ArrayRef(toOpen).drop_front())
    work = point.mul(work, point.ceilDiv(point.size(loop), loop == lane ? lanes : 1));
  Value pieces = b.createOrFold<arith::DivUIOp>(point.mul(count, work), point.index(kSumCost));
  pieces = point.min(point.min(pieces, count), point.index(kMaxPieces));
  pieces = b.createOrFold<arith::MaxUIOp>(pieces, point.index(1));

  SmallVector<Value> start = startOf(nest, across ? unroll : points.size(), point), buffers;
  SmallVector<Value> neutral(start);
  if (across) {
    neutral.clear();
    for (ReduceOp reduce : reduces)
      neutral.push_back(point.neutral(reduce.getKind(), reduce.getType()));
  }
  {
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointToStart(&kernel->getParentOfType<FunctionOpInterface>().front());
    for (Value part : neutral)
      buffers.push_back(memref::AllocaOp::create(b, MemRefType::get({kMaxPieces}, part.getType()),
                                                 b.getI64IntegerAttr(64)));
  }
  auto parallel = ParallelForOp::create(b, pieces, point.index(1));
  {
    OpBuilder::InsertionGuard guard(b);
    llvm::SaveAndRestore inside(isSerial, false), piece(inPieces, true);
    Block *block = b.createBlock(&parallel.getBody(), {}, {b.getIndexType(), b.getIndexType()},
                                 {b.getLoc(), b.getLoc()});
    point.loop(block->getArgument(0), block->getArgument(1), 1, [&](Value number) {
      auto boundOf = [&](Value number) {
        Value at = b.createOrFold<arith::DivUIOp>(point.mul(count, number), pieces);
        return point.mul(at, point.index(step));
      };
      Value low = boundOf(number);
      Value high = point.min(boundOf(point.add(number, 1)), end);
      auto body = [&](Points &inner, ValueRange args) {
        return level(nest, 1, nest.all(), inner, args);
      };
      Points made(points);
      hoist(nest, nest.levels.front(), made);
      SmallVector<Value> sums;
      if (split == lane)
        sums = openLanes(nest, made.front(), low, high, unroll, start, body);
      else if (inBlocks)
        sums = loopBlocks(made, low, high, start, [&](Points &inner, ValueRange args) {
          return openLoops(nest, ArrayRef(toOpen).drop_front(), inner, args, body);
        });
      else
        sums = point.loop(low, high, 1, start, [&](Value i, ValueRange args) {
          Points inner(made);
          setAll(inner, split, i);
          return openLoops(nest, ArrayRef(toOpen).drop_front(), inner, args, body);
        });
      if (across)
        sums = combineLanes(reduces, point, sums);
      for (auto [sum, buffer] : llvm::zip_equal(sums, buffers))
        memref::StoreOp::create(b, sum, buffer, number);
    });
    b.setInsertionPointToEnd(block);
    ssm::YieldOp::create(b, ValueRange());
  }
  for (Stash &stash : stashes)
    stash.isStored |= stash.wasUsed;
  provide(reduces, points,
          point.loop(point.index(0), pieces, 1, neutral, [&](Value number, ValueRange sums) {
            SmallVector<Value> next;
            for (auto [i, sum] : llvm::enumerate(sums)) {
              Value part = memref::LoadOp::create(b, buffers[i], number);
              next.push_back(point.combine(reduces[i % reduces.size()].getKind(), sum, part));
            }
            return next;
          }));
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
      if (point.mask && (contains(loopsOf(reduce.getLoops()), lane) ||
                         (point.packed && point.packed->isRagged)))
        value = arith::SelectOp::create(b, point.mask, value,
                                        point.neutral(reduce.getKind(), value.getType()));
      sum = point.combine(reduce.getKind(), sum, value);
    }
  // The last lanes of a row stay in a register: what was stored under a mask cannot be
  // loaded before it has reached the cache.
  ReduceOp reduce = nest.reduces[0];
  bool keepsTail = !inPieces && loops.of(reduce) != 0 && loopsOf(reduce.getLoops()) == loopBit(lane);
  for (Stash &stash : stashes)
    if (!stash.isStored)
      for (PointEmitter &point : points)
        if (point.isProvided(stash.value)) {
          if (keepsTail && point.mask && !stash.isOut)
            stash.tail = point.getVector(stash.value);
          else
            point.storeOut(stash.out, point.get(stash.value));
          stash.wasUsed = true;
        }
  return next;
}

void RowEmitter::emit() {
  if (!isStep)
    packedRows = findPackedRows(kernel, lane, lanes);
  for (const Nest &nest : nests) {
    findStashes(nest);
    Points points;
    points.emplace_back(kernel, b, lane, lanes);
    (void)level(nest, 0, 0, points, {});
  }
}

} // namespace

StringRef ssm::emitRows(KernelOp kernel, ImplicitLocOpBuilder &b, bool isStep) {
  StringRef why = "its sums and results have loops that do not nest";
  if (failed(RowEmitter(kernel, b, isStep).plan()))
    return why;
  invertRowDivisors(kernel);
  collapseLoops(kernel, b);
  RowEmitter emitter(kernel, b, isStep);
  if (failed(emitter.plan()))
    return why;
  emitter.emit();
  return "";
}
