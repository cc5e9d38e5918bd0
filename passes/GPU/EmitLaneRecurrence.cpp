//===- EmitLaneRecurrence.cpp - Carries in registers of lanes -------------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "passes/GPU/DeviceKernel.h"
#include "passes/GPU/TeamReduce.h"

#include "lib/Analysis/KernelShape.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Arith/Utils/Utils.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Interfaces/ViewLikeInterface.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace ssm;

namespace {

constexpr int64_t kBlock = 64;
/// Points of the summed loop that a lane should have; those and the registers for carries that it
/// may have at most.
constexpr int64_t kPerLane = 4, kMaxPerLane = 32, kMaxCarries = 64;
/// Elements that a lane has under way from memory, and the steps that they may be for.
constexpr int64_t kLoads = 48, kMaxUnroll = 8;

class LaneRecurrence {
public:
  explicit LaneRecurrence(DeviceKernel &k)
      : k(k), kernel(k.kernel), b(k.device), e(kernel, b, std::nullopt, 1),
        time(*kernel.getTime()) {}

  /// Whether the kernel has this form.
  bool analyze();
  LaunchShape emit();

private:
  using Points = SmallVector<llvm::DenseMap<Value, Value>>;

  bool isInner(Value value) { return inner && contains(e.loops.of(value), *inner); }
  bool isInnerOut(unsigned i) { return inner && kernel.getOutMap(i).isFunctionOfDim(*inner); }
  int64_t pointsOf(bool isInner) { return isInner ? perLane : 1; }
  bool startsApart(unsigned carry);

  LaunchShape launch();
  void placePoint();
  void run();
  void setTime(Value step);
  void setInner(int64_t point);
  Value isValid(int64_t point);
  Value both(Value x, Value y);
  void storeOut(unsigned out, Value value, Value condition);
  Value atPoint(Points &points, int64_t point, Value value);
  void loadStep(Value step, SmallVectorImpl<Value> &loaded);
  SmallVector<Value> loadBlock(Value first);
  SmallVector<Value> runStep(Value step, ValueRange now, ArrayRef<Value> loaded);
  void emitReady();

  DeviceKernel &k;
  KernelOp kernel;
  ImplicitLocOpBuilder &b;
  PointEmitter e;
  unsigned time;
  LoopSet outerSet = 0;
  SmallVector<unsigned> outer;
  /// The loop that is summed over. Point i of lane l has index l + i * lanes.
  std::optional<unsigned> inner;
  int64_t innerSize = 0, lanes = 1, perLane = 0, unroll = 1;
  /// Inputs that change with time, and how many elements of them a step takes.
  SmallVector<unsigned> timed;
  int64_t loadsPerStep = 0;
  /// Null where all lanes have a point.
  Value exists;
  Value lane, steps;
  /// Who writes an out; null: all.
  SmallVector<Value> owners;
  Points fixed;
  SmallVector<unsigned> begin;
};

} // namespace

/// Lanes that compute the same carry would read starts that one of them has overwritten.
bool LaneRecurrence::startsApart(unsigned carry) {
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
    if (!isSubset(outerSet, loopsOf(kernel.getOutMap(i))) && !startsApart(i))
      return false;
  }
  if (perLane > kMaxPerLane || carries > kMaxCarries)
    return false;
  for (unsigned i = 0; i < kernel.getInputs().size(); ++i)
    if (isa<MemRefType>(kernel.getInputs()[i].getType()) && !kernel.getInputArg(i).use_empty() &&
        kernel.getInputMap(i).isFunctionOfDim(time)) {
      timed.push_back(i);
      loadsPerStep += pointsOf(isInner(kernel.getInputArg(i)));
    }
  while (unroll < kMaxUnroll && 2 * unroll * loadsPerStep <= kLoads)
    unroll *= 2;
  return true;
}

LaunchShape LaneRecurrence::launch() {
  ImplicitLocOpBuilder &h = k.host;
  SmallVector<OpFoldResult> sizes = k.hostKernel.getLoopSizes(h);
  auto constant = [&](int64_t value) { return arith::ConstantIndexOp::create(h, value); };
  Value total = constant(lanes);
  for (unsigned loop : outer)
    total = h.createOrFold<arith::MulIOp>(
        total, getValueOrCreateConstantIndexOp(h, h.getLoc(), sizes[loop]));
  Value blocks = h.createOrFold<arith::CeilDivUIOp>(total, constant(kBlock));
  return {{blocks, constant(1), constant(1)}, constant(kBlock), kBlock};
}

LaunchShape LaneRecurrence::emit() {
  outer = listLoops(outerSet);
  if (!outer.empty()) {
    auto best = std::max_element(outer.begin(), outer.end(), [&](unsigned x, unsigned y) {
      return scoreLaneLoop(kernel, x) < scoreLaneLoop(kernel, y);
    });
    std::rotate(best, best + 1, outer.end());
  }
  LaunchShape shape = launch();
  placePoint();
  return shape;
}

/// Sets the indices of the outer loops. Lanes share sums, so that all must run: those without a
/// point of their own do the last one's work and write nothing.
void LaneRecurrence::placePoint() {
  Value thread = gpu::ThreadIdOp::create(b, gpu::Dimension::x);
  Value block = gpu::BlockIdOp::create(b, gpu::Dimension::x);
  Value point = e.add(e.mul(block, e.index(kBlock)), thread);
  lane = e.index(0);
  if (lanes > 1) {
    lane = b.createOrFold<arith::RemUIOp>(point, e.index(lanes));
    point = b.createOrFold<arith::DivUIOp>(point, e.index(lanes));
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
  run();
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
  if ((point + 1) * lanes <= innerSize)
    return {};
  return arith::CmpIOp::create(b, arith::CmpIPredicate::ult, lane,
                               e.index(innerSize - point * lanes));
}

/// The last index stands in for those outside.
void LaneRecurrence::setInner(int64_t point) {
  Value at = e.add(lane, point * lanes);
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

void LaneRecurrence::loadStep(Value step, SmallVectorImpl<Value> &loaded) {
  PointEmitter::Scope scope(e);
  setTime(step);
  for (unsigned i : timed) {
    bool isWide = isInner(kernel.getInputArg(i));
    for (int64_t point = 0; point < pointsOf(isWide); ++point) {
      if (isWide)
        setInner(point);
      loaded.push_back(
          e.load(kernel.getInputs()[i], kernel.getInputMap(i), kernel.isInputMirrored(i)));
    }
  }
}

SmallVector<Value> LaneRecurrence::loadBlock(Value first) {
  SmallVector<Value> loaded;
  for (int64_t step = 0; step < unroll; ++step)
    loadStep(e.add(first, step), loaded);
  return loaded;
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

SmallVector<Value> LaneRecurrence::runStep(Value step, ValueRange now, ArrayRef<Value> loaded) {
  PointEmitter::Scope scope(e);
  setTime(step);
  Points points = fixed;
  auto give = [&](Value arg, ArrayRef<Value> values) {
    if (!isInner(arg))
      return e.provide(arg, values.front());
    for (auto [point, value] : llvm::enumerate(values))
      points[point][arg] = value;
  };
  for (unsigned i : timed) {
    int64_t count = pointsOf(isInner(kernel.getInputArg(i)));
    give(kernel.getInputArg(i), loaded.take_front(count));
    loaded = loaded.drop_front(count);
  }
  SmallVector<Value> carried(now);
  for (unsigned i = 0; i < kernel.getNumCarries(); ++i) {
    give(kernel.getCarryArg(i), ArrayRef(carried).slice(begin[i], pointsOf(isInnerOut(i))));
  }
  for (auto reduce : kernel.getStep().getOps<ReduceOp>()) {
    emitReady();
    Value sum;
    for (int64_t point = 0; point < perLane; ++point) {
      Value term = atPoint(points, point, reduce.getValue());
      if (Value valid = isValid(point))
        term = arith::SelectOp::create(b, valid, term,
                                       e.neutral(reduce.getKind(), reduce.getType()));
      sum = sum ? e.combine(reduce.getKind(), sum, term) : term;
    }
    if (!sum)
      sum = e.neutral(reduce.getKind(), reduce.getType());
    e.provide(reduce, reduceOverLanes(e, reduce.getKind(), sum, lanes));
  }
  emitReady();
  SmallVector<SmallVector<Value>> results;
  for (auto [i, value] : llvm::enumerate(kernel.getYield().getValues())) {
    SmallVector<Value> &all = results.emplace_back();
    for (int64_t point = 0; point < pointsOf(isInnerOut(i)); ++point)
      all.push_back(isInnerOut(i) ? atPoint(points, point, value) : e.get(value));
  }
  SmallVector<Value> next;
  for (unsigned i = 0; i < results.size(); ++i) {
    if (i < kernel.getNumCarries()) {
      llvm::append_range(next, results[i]);
      continue;
    }
    for (auto [point, value] : llvm::enumerate(results[i])) {
      PointEmitter::Scope inside(e);
      Value condition = owners[i];
      if (isInnerOut(i)) {
        setInner(point);
        condition = both(condition, isValid(point));
      }
      storeOut(i, value, condition);
    }
  }
  return next;
}

void LaneRecurrence::run() {
  steps = e.size(time);
  for (unsigned i = 0; i < kernel.getOuts().size(); ++i) {
    Value owner = exists;
    LoopSet missing = outerSet & ~loopsOf(kernel.getOutMap(i));
    auto isZero = [&](Value index) {
      return arith::CmpIOp::create(b, arith::CmpIPredicate::eq, index, e.index(0));
    };
    if (lanes > 1 && !isInnerOut(i))
      owner = both(owner, isZero(lane));
    for (unsigned loop : listLoops(missing))
      owner = both(owner, isZero(e.at[loop]));
    owners.push_back(owner);
  }

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

  // Blocks of steps, the next one's elements on their way while one is computed.
  Value zero = e.index(0), block = e.index(unroll);
  Value whole = e.sub(steps, b.createOrFold<arith::RemUIOp>(steps, block));
  Value isAny = arith::CmpIOp::create(b, arith::CmpIPredicate::ne, whole, zero);
  auto branch = scf::IfOp::create(b, TypeRange(ValueRange(now)), isAny, /*withElseRegion=*/true);
  {
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointToStart(branch.elseBlock());
    scf::YieldOp::create(b, now);
    b.setInsertionPointToStart(branch.thenBlock());
    SmallVector<Value> carried = now;
    llvm::append_range(carried, loadBlock(zero));
    Value lastBlock = e.sub(whole, block);
    carried = e.loop(zero, whole, unroll, carried, [&](Value first, ValueRange given) {
      SmallVector<Value> ahead = loadBlock(e.min(e.add(first, block), lastBlock));
      SmallVector<Value> next(given.take_front(now.size())),
          loaded(given.drop_front(now.size()));
      for (int64_t step = 0; step < unroll; ++step)
        next = runStep(e.add(first, step), next,
                       ArrayRef(loaded).slice(step * loadsPerStep, loadsPerStep));
      llvm::append_range(next, ahead);
      return next;
    });
    carried.truncate(now.size());
    scf::YieldOp::create(b, carried);
  }
  now = llvm::to_vector_of<Value>(branch.getResults());
  now = e.loop(whole, steps, 1, now, [&](Value step, ValueRange given) {
    SmallVector<Value> loaded;
    loadStep(step, loaded);
    return runStep(step, given, loaded);
  });
  for (unsigned i = 0; i < kernel.getNumCarries(); ++i)
    for (int64_t point = 0; point < pointsOf(isInnerOut(i)); ++point) {
      PointEmitter::Scope scope(e);
      Value condition = owners[i];
      if (isInnerOut(i)) {
        setInner(point);
        condition = both(condition, isValid(point));
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
