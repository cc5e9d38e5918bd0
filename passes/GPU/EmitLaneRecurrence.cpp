//===- EmitLaneRecurrence.cpp - Carries in registers of lanes -------------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "passes/GPU/LaneRecurrence.h"

#include "lib/Analysis/RecurrenceShape.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Arith/Utils/Utils.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace ssm;

/// Threads of a block, and of one where a single step has lanes for very many.
static constexpr int64_t kBlock = 64, kManyBlock = 256, kMany = 1 << 17;
/// Points of the summed loop that a lane should have; those and the registers for carries that it
/// may have at most.
static constexpr int64_t kPerLane = 4, kMaxPerLane = 32, kMaxCarries = 64;
/// Registers that a lane has under way from memory, and the steps that they may be for.
static constexpr int64_t kLoads = 48, kMaxUnroll = 8;
/// The same of the work that lanes share, and how many blocks of steps ahead.
static constexpr int64_t kOwnLoads = 24, kMaxDepth = 4;
/// Where time can be cut: steps of a piece at least, and how many pieces at most.
static constexpr int64_t kPiece = 64, kMaxPieces = 32768;

bool LaneRecurrence::analyze() {
  LoopSet innerSet = 0;
  for (auto reduce : kernel.getStep().getOps<ReduceOp>())
    innerSet |= loopsOf(reduce.getLoops());
  if (llvm::popcount(innerSet) > 1 || contains(innerSet, time))
    return false;
  for (unsigned i = 0; i < kernel.getOuts().size(); ++i)
    outerSet |= loopsOf(kernel.getOutMap(i));
  outerSet &= ~(innerSet | loopBit(time));
  for (unsigned loop = 0; loop < kernel.getNumLoops(); ++loop)
    if (!contains(outerSet | innerSet | loopBit(time), loop))
      return false;
  if (innerSet) {
    inner = listLoops(innerSet).front();
    innerSize = e.fixedSize(*inner);
    if (innerSize < 0)
      return false;
    lanes = std::min<int64_t>(llvm::PowerOf2Ceil(llvm::divideCeil(innerSize, kPerLane)), kWarp);
    lanes = std::max<int64_t>(lanes, 1);
    perLane = llvm::divideCeil(innerSize, lanes);
  }
  int64_t carries = 0;
  for (unsigned i = 0; i < kernel.getNumCarries(); ++i) {
    carries += pointsOf(isInnerOut(i));
    // Lanes that compute the same carry would read starts that one of them has overwritten.
    if (!isSubset(outerSet, loopsOf(kernel.getOutMap(i))) && !startsApart(kernel, i))
      return false;
  }
  if (perLane > kMaxPerLane || carries > kMaxCarries)
    return false;
  for (unsigned i = 0; i < kernel.getInputs().size(); ++i)
    if (isa<MemRefType>(kernel.getInputs()[i].getType()) && !kernel.getInputArg(i).use_empty() &&
        kernel.getInputMap(i).isFunctionOfDim(time))
      timed.push_back(i);
  // Time can then be cut into pieces, each of which begins a few steps early with any carries.
  memory = findMemory(kernel).value_or(0);
  if (memory > kMaxMemory)
    memory = 0;
  findPhases();
  auto registersOf = [&](unsigned i) {
    return llvm::divideCeil(kernel.getInputArg(i).getType().getIntOrFloatBitWidth(), 32);
  };
  int64_t stepRegisters = 0, ownRegisters = 0;
  for (unsigned i : stepInputs) {
    int64_t points = pointsOf(isInner(kernel.getInputArg(i)));
    stepLoads += points;
    stepRegisters += points * registersOf(i);
  }
  for (unsigned i : ownInputs)
    ownRegisters += registersOf(i);
  while (unroll < kMaxUnroll && 2 * unroll * stepRegisters <= kLoads)
    unroll *= 2;
  sharers = std::min(unroll, lanes);
  rounds = unroll / sharers;
  while (depth < kMaxDepth && 2 * depth * rounds * ownRegisters <= kOwnLoads)
    depth *= 2;
  return true;
}

bool LaneRecurrence::isSlowToCompute(Value value) {
  Operation *op = value.getDefiningOp();
  if (!op || op->getBlock() != &kernel.getStep())
    return false;
  return isSlow(op) ||
         llvm::any_of(op->getOperands(), [&](Value operand) { return isSlowToCompute(operand); });
}

void LaneRecurrence::findPhases() {
  if (lanes == 1) {
    stepInputs = timed;
    return;
  }
  auto yielded = kernel.getYield().getValues();
  llvm::DenseSet<Value> varying = findVarying(kernel);
  auto collect = [&](SmallVector<Value> values, llvm::function_ref<bool(Value)> stops) {
    return findParts(kernel, std::move(values), stops);
  };
  SmallVector<Value> roots;
  for (unsigned i = 0; i < yielded.size(); ++i)
    if (i < kernel.getNumCarries() || isInnerOut(i))
      roots.push_back(yielded[i]);
    else
      late.push_back(i);
  for (auto reduce : kernel.getStep().getOps<ReduceOp>())
    roots.push_back(reduce.getValue());
  llvm::DenseSet<Value> steps = collect(roots, [](Value) { return false; });
  for (auto reduce : kernel.getStep().getOps<ReduceOp>())
    if (!steps.contains(reduce))
      lateReduces.insert(reduce);
  for (Operation &op : kernel.getStep().without_terminator()) {
    Value value = op.getResult(0);
    if (!steps.contains(value) || varying.contains(value) || isInner(value) ||
        !contains(e.loops.of(value), time) || !isSlowToCompute(value))
      continue;
    bool isTaken = llvm::any_of(value.getUsers(), [&](Operation *user) {
      if (isa<ssm::YieldOp>(user))
        return true;
      Value result = user->getResult(0);
      return steps.contains(result) && (varying.contains(result) || isInner(result));
    });
    if (isTaken)
      before.insert(value);
  }
  steps = collect(roots, [&](Value value) { return before.contains(value); });
  // Inputs of a channel too: one lane loads each, and long before.
  for (unsigned i : timed)
    if (Value arg = kernel.getInputArg(i); steps.contains(arg) && !isInner(arg))
      before.insert(arg);
  SmallVector<Value> own;
  for (Value value : before)
    if (Operation *op = value.getDefiningOp())
      llvm::append_range(own, op->getOperands());
    else
      own.push_back(value);
  SmallVector<Value> outs =
      llvm::map_to_vector(late, [&](unsigned out) -> Value { return yielded[out]; });
  auto isSaved = [&](Value value) {
    auto arg = dyn_cast<BlockArgument>(value);
    return arg ? arg.getArgNumber() >= kernel.getInputs().size()
               : isa<ReduceOp>(value.getDefiningOp()) ||
                     (varying.contains(value) && steps.contains(value));
  };
  llvm::DenseSet<Value> after = collect(outs, isSaved);
  for (Value arg : kernel.getStep().getArguments())
    if (after.contains(arg) && isSaved(arg))
      fromSteps.insert(arg);
  for (Operation &op : kernel.getStep().without_terminator())
    if (after.contains(op.getResult(0)) && isSaved(op.getResult(0)))
      fromSteps.insert(op.getResult(0));
  llvm::DenseSet<Value> first = collect(own, [](Value) { return false; });
  for (unsigned i : timed) {
    Value arg = kernel.getInputArg(i);
    if (steps.contains(arg) && isInner(arg))
      stepInputs.push_back(i);
    if (after.contains(arg) || first.contains(arg))
      ownInputs.push_back(i);
  }
}

/// The steps of a piece.
static Value pieceOf(ImplicitLocOpBuilder &b, Value steps) {
  auto constant = [&](int64_t value) { return arith::ConstantIndexOp::create(b, value); };
  return b.createOrFold<arith::MaxUIOp>(
      b.createOrFold<arith::CeilDivUIOp>(steps, constant(kMaxPieces)), constant(kPiece));
}

LaunchShape LaneRecurrence::launch() {
  ImplicitLocOpBuilder &h = k.host;
  SmallVector<OpFoldResult> sizes = k.hostKernel.getLoopSizes(h);
  auto constant = [&](int64_t value) { return arith::ConstantIndexOp::create(h, value); };
  Value total = constant(1);
  for (unsigned loop : outer)
    total = h.createOrFold<arith::MulIOp>(
        total, getValueOrCreateConstantIndexOp(h, h.getLoc(), sizes[loop]));
  total = h.createOrFold<arith::CeilDivUIOp>(total, constant(stride));
  total = h.createOrFold<arith::MulIOp>(total, constant(stride * lanes));
  Value threads = constant(kBlock), pieces = constant(1);
  if (hasAnyBlock()) {
    Value isMany = h.createOrFold<arith::CmpIOp>(arith::CmpIPredicate::uge, total, constant(kMany));
    threads = h.createOrFold<arith::SelectOp>(isMany, constant(kManyBlock), threads);
  }
  Value blocks = h.createOrFold<arith::CeilDivUIOp>(total, threads);
  if (memory > 0) {
    Value steps = getValueOrCreateConstantIndexOp(h, h.getLoc(), sizes[time]);
    // Without a step carries still come out.
    pieces = h.createOrFold<arith::MaxUIOp>(
        h.createOrFold<arith::CeilDivUIOp>(steps, pieceOf(h, steps)), pieces);
  }
  return {{blocks, pieces, constant(1)}, threads, hasAnyBlock() ? kManyBlock : kBlock};
}

/// Sets this block's steps.
void LaneRecurrence::placePiece() {
  steps = e.size(time);
  firstStep = e.index(0);
  lastStep = steps;
  if (memory == 0)
    return;
  Value piece = pieceOf(b, steps);
  firstStep = e.mul(gpu::BlockIdOp::create(b, gpu::Dimension::y), piece);
  lastStep = e.min(e.add(firstStep, piece), steps);
}

LaunchShape LaneRecurrence::emit() {
  outer = listLoops(outerSet);
  if (!outer.empty()) {
    auto best = std::max_element(outer.begin(), outer.end(), [&](unsigned x, unsigned y) {
      return scoreLaneLoop(kernel, x) < scoreLaneLoop(kernel, y);
    });
    std::rotate(best, best + 1, outer.end());
  }
  shape = launch();
  if (overlaps && !isOnce())
    waitForOthers(k, shape);
  placePoint();
  return shape;
}

/// Sets the indices of the outer loops. Lanes share sums, so that all must run: those without a
/// point of their own do the last one's work and write nothing.
void LaneRecurrence::placePoint() {
  Value thread = gpu::ThreadIdOp::create(b, gpu::Dimension::x);
  Value block = gpu::BlockIdOp::create(b, gpu::Dimension::x);
  Value threads = hasAnyBlock() ? Value(gpu::BlockDimOp::create(b, gpu::Dimension::x))
                                : e.index(kBlock);
  Value point = e.add(e.mul(block, threads), thread);
  lane = e.index(0);
  if (lanes > 1) {
    Value neighbour = b.createOrFold<arith::RemUIOp>(point, e.index(stride));
    point = b.createOrFold<arith::DivUIOp>(point, e.index(stride));
    lane = b.createOrFold<arith::RemUIOp>(point, e.index(lanes));
    point = b.createOrFold<arith::DivUIOp>(point, e.index(lanes));
    point = e.add(e.mul(point, e.index(stride)), neighbour);
  }
  Value total = e.index(1);
  for (unsigned loop : outer)
    total = e.mul(total, e.size(loop));
  exists = arith::CmpIOp::create(b, arith::CmpIPredicate::ult, point, total);
  OpBuilder::InsertionGuard guard(b);
  if (lanes > 1) {
    point = e.min(point, e.sub(total, e.index(1)));
  } else {
    auto branch = scf::IfOp::create(b, exists);
    b.setInsertionPointToStart(branch.thenBlock());
    exists = Value();
  }
  for (size_t i = outer.size(); i-- > 0;) {
    if (i == 0) {
      e.at[outer[i]] = point;
      break;
    }
    Value size = e.size(outer[i]);
    e.at[outer[i]] = b.createOrFold<arith::RemUIOp>(point, size);
    point = b.createOrFold<arith::DivUIOp>(point, size);
  }
  isOnce() ? runOnce() : run();
}

Value LaneRecurrence::both(Value x, Value y) {
  return !x ? y : !y ? x : b.createOrFold<arith::AndIOp>(x, y);
}

void LaneRecurrence::setTime(Value step) {
  e.at[time] = step;
  e.mirroredTime = e.sub(e.sub(steps, e.index(1)), step);
}

/// Null: the point exists in every lane.
Value LaneRecurrence::isValid(int64_t point) {
  if ((point / width + 1) * lanes * width <= innerSize)
    return {};
  return arith::CmpIOp::create(b, arith::CmpIPredicate::ult, lane,
                               e.index(innerSize - point * lanes));
}

/// The last index stands in for those outside.
void LaneRecurrence::setInner(int64_t point) {
  Value at = e.add(e.mul(e.add(lane, point / width * lanes), e.index(width)), point % width);
  e.at[*inner] = isValid(point) ? e.min(at, e.index(innerSize - 1)) : at;
}

void LaneRecurrence::storeOut(unsigned out, Value value, Value condition) {
  if (!condition)
    return e.storeOut(out, value);
  auto branch = scf::IfOp::create(b, condition);
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToStart(branch.thenBlock());
  e.storeOut(out, value);
}

/// By who owns the point.
void LaneRecurrence::storePoint(unsigned out, int64_t point, Value value) {
  PointEmitter::Scope scope(e);
  Value condition = owners[out];
  if (isInnerOut(out)) {
    setInner(point);
    condition = both(condition, isValid(point));
  } else if (lanes > 1) {
    condition = both(condition, isZero(lane));
  }
  storeOut(out, value, condition);
}

/// The value at one point of the inner loop; what was computed on the way is kept.
Value LaneRecurrence::atPoint(Points &points, int64_t point, Value value) {
  PointEmitter::Scope scope(e);
  setInner(point);
  for (auto [known, emitted] : points[point])
    e.provide(known, emitted);
  Value result = e.get(value);
  e.forEachKnown([&](Value known, Value emitted) {
    if (isInner(known))
      points[point][known] = emitted;
  });
  return result;
}

void LaneRecurrence::loadInputs(ArrayRef<unsigned> inputs, Value step,
                                SmallVectorImpl<Value> &loaded) {
  PointEmitter::Scope scope(e);
  setTime(step);
  for (unsigned i : inputs) {
    bool isWide = isInner(kernel.getInputArg(i));
    for (int64_t point = 0; point < pointsOf(isWide); ++point) {
      if (isWide)
        setInner(point);
      loaded.push_back(
          e.load(kernel.getInputs()[i], kernel.getInputMap(i), kernel.isInputMirrored(i)));
    }
  }
}

/// The step of a block that this lane has in a round of the shared work.
Value LaneRecurrence::ownStep(Value first, int64_t round) {
  Value step = b.createOrFold<arith::RemUIOp>(lane, e.index(sharers));
  return e.add(e.add(first, round * sharers), step);
}

void LaneRecurrence::loadSteps(Value first, SmallVectorImpl<Value> &loaded) {
  for (int64_t step = 0; step < unroll; ++step)
    loadInputs(stepInputs, e.add(first, step), loaded);
}

void LaneRecurrence::loadOwn(Value first, SmallVectorImpl<Value> &loaded) {
  for (int64_t round = 0; round < rounds; ++round)
    loadInputs(ownInputs, ownStep(first, round), loaded);
}

/// States what was loaded, and takes it off the list.
void LaneRecurrence::give(Points &points, ArrayRef<unsigned> inputs, ArrayRef<Value> &loaded) {
  for (unsigned i : inputs) {
    Value arg = kernel.getInputArg(i);
    int64_t count = pointsOf(isInner(arg));
    if (!isInner(arg))
      e.provide(arg, loaded.front());
    else
      for (int64_t point = 0; point < count; ++point)
        points[point][arg] = loaded[point];
    loaded = loaded.drop_front(count);
  }
}

/// Values outside of the inner loop that can be computed by now, so that its points share them.
void LaneRecurrence::emitReady() {
  LoopSet available = outerSet | loopBit(time);
  for (Operation &op : kernel.getStep().without_terminator()) {
    Value value = op.getResult(0);
    bool isShared = llvm::any_of(value.getUsers(), [&](Operation *user) {
      return !isa<ssm::YieldOp>(user) && (isa<ReduceOp>(user) || isInner(user->getResult(0)));
    });
    if (isShared && !isInner(value) && e.canEmit(value, available))
      (void)e.get(value);
  }
}

/// Over the points of this lane.
Value LaneRecurrence::reducePoints(Points &points, ReduceOp reduce) {
  Value sum;
  for (int64_t point = 0; point < perLane; ++point) {
    Value term = atPoint(points, point, reduce.getValue());
    if (Value valid = isValid(point))
      term = arith::SelectOp::create(b, valid, term,
                                     e.neutral(reduce.getKind(), reduce.getType()));
    sum = sum ? e.combine(reduce.getKind(), sum, term) : term;
  }
  return sum ? sum : e.neutral(reduce.getKind(), reduce.getType());
}

/// One step, its time set and its inputs given. In a block, late outs and their sums are left to
/// the work that lanes share. A quiet one writes nothing.
SmallVector<Value> LaneRecurrence::runStep(Points &points, ValueRange now, bool isBlock,
                                           bool isQuiet) {
  for (unsigned i = 0; i < kernel.getNumCarries(); ++i)
    for (int64_t point = 0; point < pointsOf(isInnerOut(i)); ++point) {
      if (isInnerOut(i))
        points[point][kernel.getCarryArg(i)] = now[begin[i] + point];
      else
        e.provide(kernel.getCarryArg(i), now[begin[i]]);
    }
  for (auto reduce : kernel.getStep().getOps<ReduceOp>()) {
    emitReady();
    Value part = reducePoints(points, reduce);
    if (isBlock && lateReduces.contains(reduce))
      saved[reduce].push_back(part);
    else
      e.provide(reduce, reduceOverLanes(e, reduce.getKind(), part, lanes, stride));
  }
  emitReady();
  SmallVector<SmallVector<Value>> results(kernel.getOuts().size());
  for (auto [i, value] : llvm::enumerate(kernel.getYield().getValues()))
    if (isQuiet ? i < kernel.getNumCarries() : !isBlock || !llvm::is_contained(late, i))
      for (int64_t point = 0; point < pointsOf(isInnerOut(i)); ++point)
        results[i].push_back(isInnerOut(i) ? atPoint(points, point, value) : e.get(value));
  if (isBlock)
    for (Value value : fromSteps)
      if (!lateReduces.contains(value.getDefiningOp()))
        saved[value].push_back(e.get(value));
  SmallVector<Value> next;
  for (unsigned i = 0; i < results.size(); ++i) {
    if (i < kernel.getNumCarries()) {
      llvm::append_range(next, results[i]);
      continue;
    }
    for (auto [point, value] : llvm::enumerate(results[i]))
      storePoint(i, point, value);
  }
  return next;
}

/// Of values of the steps of a round, that of this lane's step.
Value LaneRecurrence::pickOwn(ArrayRef<Value> values) {
  SmallVector<Value> left(values);
  for (int64_t bit = 1; left.size() > 1; bit *= 2) {
    Value isOdd = arith::CmpIOp::create(
        b, arith::CmpIPredicate::ne, arith::AndIOp::create(b, lane, e.index(bit)), e.index(0));
    for (size_t i = 0; i < left.size() / 2; ++i)
      left[i] = arith::SelectOp::create(b, isOdd, left[2 * i + 1], left[2 * i]);
    left.truncate(left.size() / 2);
  }
  return left.front();
}

/// The same of their sums over the lanes: lanes hand over what the other goes on with, so that
/// as many shuffles as there are steps do for all.
Value LaneRecurrence::reduceOwn(arith::AtomicRMWKind kind, SmallVector<Value> left) {
  int64_t distance = 1;
  for (; left.size() > 1; distance *= 2) {
    Value isOdd = arith::CmpIOp::create(
        b, arith::CmpIPredicate::ne, arith::AndIOp::create(b, lane, e.index(distance)), e.index(0));
    for (size_t i = 0; i < left.size() / 2; ++i) {
      Value even = left[2 * i], odd = left[2 * i + 1];
      Value keep = arith::SelectOp::create(b, isOdd, odd, even);
      Value give = arith::SelectOp::create(b, isOdd, even, odd);
      left[i] = e.combine(kind, keep, shuffleXor(b, give, distance));
    }
    left.truncate(left.size() / 2);
  }
  for (; distance < lanes; distance *= 2)
    left[0] = e.combine(kind, left[0], shuffleXor(b, left[0], distance));
  return left[0];
}

/// `unroll` steps, with what lanes share before and after them.
SmallVector<Value> LaneRecurrence::runBlock(Value first, ValueRange now,
                                            ArrayRef<Value> stepsLoaded,
                                            ArrayRef<Value> ownLoaded) {
  SmallVector<ArrayRef<Value>> own;
  for (int64_t round = 0; round < rounds; ++round)
    own.push_back(ownLoaded.slice(round * ownInputs.size(), ownInputs.size()));
  saved.clear();
  llvm::DenseMap<Value, SmallVector<Value>> ready;
  Points none(perLane);
  for (int64_t round = 0; round < rounds; ++round) {
    PointEmitter::Scope scope(e);
    setTime(ownStep(first, round));
    ArrayRef<Value> inputs = own[round];
    give(none, ownInputs, inputs);
    for (Value value : before) {
      Value emitted = e.get(value);
      for (int64_t step = 0; step < sharers; ++step)
        ready[value].push_back(shuffleFrom(b, emitted, lanes, step));
    }
  }
  SmallVector<Value> next(now);
  for (int64_t step = 0; step < unroll; ++step) {
    PointEmitter::Scope scope(e);
    setTime(e.add(first, step));
    Points points = fixed;
    give(points, stepInputs, stepsLoaded);
    for (Value value : before)
      e.provide(value, ready[value][step]);
    next = runStep(points, next, /*isBlock=*/true);
  }
  for (int64_t round = 0; round < rounds && !late.empty(); ++round) {
    PointEmitter::Scope scope(e);
    Value step = ownStep(first, round);
    setTime(step);
    ArrayRef<Value> inputs = own[round];
    give(none, ownInputs, inputs);
    for (Value value : fromSteps) {
      ArrayRef<Value> values = ArrayRef(saved[value]).slice(round * sharers, sharers);
      auto reduce = value.getDefiningOp<ReduceOp>();
      e.provide(value, reduce && lateReduces.contains(reduce)
                           ? reduceOwn(reduce.getKind(), llvm::to_vector(values))
                           : pickOwn(values));
    }
    for (unsigned out : late)
      e.get(kernel.getYield().getValues()[out]);
    for (unsigned out : late) {
      Value condition = owners[out];
      if (sharers < lanes)
        condition = both(condition, arith::CmpIOp::create(b, arith::CmpIPredicate::ult, lane,
                                                          e.index(sharers)));
      storeOut(out, e.get(kernel.getYield().getValues()[out]), condition);
    }
  }
  return next;
}

Value LaneRecurrence::isZero(Value index) {
  return arith::CmpIOp::create(b, arith::CmpIPredicate::eq, index, e.index(0));
}

/// Steps one by one.
SmallVector<Value> LaneRecurrence::runSingly(Value first, Value last, ValueRange now,
                                             bool isQuiet) {
  return e.loop(first, last, 1, now, [&](Value step, ValueRange given) {
    PointEmitter::Scope scope(e);
    SmallVector<Value> loaded;
    loadInputs(timed, step, loaded);
    setTime(step);
    Points points = fixed;
    ArrayRef<Value> left = loaded;
    give(points, timed, left);
    return runStep(points, given, /*isBlock=*/false, isQuiet);
  });
}

/// Who writes which out.
void LaneRecurrence::findOwners() {
  for (unsigned i = 0; i < kernel.getOuts().size(); ++i) {
    Value owner = exists;
    LoopSet missing = outerSet & ~loopsOf(kernel.getOutMap(i));
    for (unsigned loop : listLoops(missing))
      owner = both(owner, isZero(e.at[loop]));
    owners.push_back(owner);
  }
}

void LaneRecurrence::run() {
  placePiece();
  findOwners();

  // What no step changes.
  e.hoist(outerSet);
  fixed.resize(perLane);
  for (int64_t point = 0; point < perLane; ++point) {
    PointEmitter::Scope scope(e);
    setInner(point);
    e.hoist(outerSet | loopBit(*inner));
    e.forEachKnown([&](Value known, Value emitted) {
      if (isInner(known))
        fixed[point][known] = emitted;
    });
  }
  SmallVector<Value> now;
  for (unsigned i = 0; i < kernel.getNumCarries(); ++i) {
    begin.push_back(now.size());
    for (int64_t point = 0; point < pointsOf(isInnerOut(i)); ++point) {
      PointEmitter::Scope scope(e);
      if (isInnerOut(i))
        setInner(point);
      Value init = kernel.getInits()[i];
      now.push_back(isa<MemRefType>(init.getType()) ? e.load(init, kernel.getInitMap(i), false)
                                                    : init);
    }
  }

  // Blocks of steps, their elements on the way while others are computed: of the steps for the
  // next block, of the shared work for `depth` blocks ahead. An element never moves to another
  // register, for which it would have to have come: the loop's body has `depth` blocks.
  if (memory > 0) {
    Value early = e.sub(firstStep, e.min(firstStep, e.index(memory)));
    now = runSingly(early, firstStep, now, /*isQuiet=*/true);
  }
  Value body = e.index(depth * unroll);
  Value whole = e.sub(lastStep, b.createOrFold<arith::RemUIOp>(e.sub(lastStep, firstStep), body));
  Value isAny = arith::CmpIOp::create(b, arith::CmpIPredicate::ne, whole, firstStep);
  auto branch = scf::IfOp::create(b, TypeRange(ValueRange(now)), isAny, /*withElseRegion=*/true);
  {
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointToStart(branch.elseBlock());
    scf::YieldOp::create(b, now);
    b.setInsertionPointToStart(branch.thenBlock());
    SmallVector<Value> carried = now;
    Value lastBlock = e.sub(whole, e.index(unroll));
    size_t numSteps = unroll * stepLoads, numOwn = rounds * ownInputs.size();
    loadSteps(firstStep, carried);
    for (int64_t at = 0; at < depth; ++at)
      loadOwn(e.add(firstStep, at * unroll), carried);
    carried = e.loop(firstStep, whole, depth * unroll, carried, [&](Value first, ValueRange given) {
      SmallVector<Value> next(given.take_front(now.size()));
      SmallVector<Value> ofSteps(given.slice(now.size(), numSteps)), ahead;
      given = given.drop_front(now.size() + numSteps);
      for (int64_t at = 0; at < depth; ++at) {
        Value block = e.add(first, at * unroll);
        SmallVector<Value> own(given.slice(at * numOwn, numOwn)), following;
        loadSteps(e.min(e.add(block, unroll), lastBlock), following);
        next = runBlock(block, next, ofSteps, own);
        loadOwn(e.min(e.add(block, depth * unroll), lastBlock), ahead);
        ofSteps = following;
      }
      llvm::append_range(next, ofSteps);
      llvm::append_range(next, ahead);
      return next;
    });
    carried.truncate(now.size());
    scf::YieldOp::create(b, carried);
  }
  now = llvm::to_vector_of<Value>(branch.getResults());
  now = runSingly(whole, lastStep, now, /*isQuiet=*/false);
  Value isLast;
  if (memory > 0)
    isLast = arith::CmpIOp::create(b, arith::CmpIPredicate::uge, lastStep, steps);
  for (unsigned i = 0; i < kernel.getNumCarries(); ++i)
    for (int64_t point = 0; point < pointsOf(isInnerOut(i)); ++point) {
      PointEmitter::Scope scope(e);
      Value condition = both(owners[i], isLast);
      if (isInnerOut(i)) {
        setInner(point);
        condition = both(condition, isValid(point));
      } else if (lanes > 1) {
        condition = both(condition, isZero(lane));
      }
      storeOut(i, now[begin[i] + point], condition);
    }
}

std::optional<LaunchShape> ssm::emitLaneRecurrence(DeviceKernel &kernel) {
  LaneRecurrence recurrence(kernel);
  if (!recurrence.analyze())
    return std::nullopt;
  return recurrence.emit();
}
