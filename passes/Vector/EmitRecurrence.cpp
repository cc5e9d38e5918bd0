//===- EmitRecurrence.cpp - Loops over time with carries in registers -----===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "passes/Vector/EmitKernels.h"

#include "lib/Analysis/RecurrenceShape.h"
#include "lib/Emit/LaneSums.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "passes/Vector/RecurrencePlan.h"
#include "passes/Vector/SumFactors.h"
#include "passes/Vector/TurnedSequences.h"

using namespace mlir;
using namespace ssm;

namespace {

/// Points of the inner loop that are taken at once, each with sums of its own.
constexpr int64_t kUnroll = 4;
/// Of so many lanes, one is a channel that is faster alone than all with the lanes across.
constexpr int64_t kLanesOfChannel = 3;
/// Nanoseconds that a piece of a parallel loop should be worth.
constexpr int64_t kPieceNs = 30000;

class Recurrence : RecurrencePlan {
public:
  Recurrence(KernelOp kernel, ImplicitLocOpBuilder &b)
      : RecurrencePlan(kernel, b), sequences(e, block) {}

  StringRef run() {
    StringRef why = analyze();
    if (why.empty() && !(isReadTwice() && emitStepAsRows(kernel, b, lane, lanes)))
      emit();
    return why;
  }

private:
  //===--------------------------------------------------------------------===//
  // Loops
  //===--------------------------------------------------------------------===//

  void emit() {
    SmallVector<unsigned> outer;
    Value tiles = e.ceilDiv(e.size(lane), lanes);
    Value total = tiles;
    for (unsigned loop : listLoops(outerSet))
      if (loop != lane) {
        outer.push_back(loop);
        total = e.mul(total, e.size(loop));
      }
    Value steps = e.size(time);
    // A step takes about 3 ns for each inner point and 10 beside them.
    Value points = inner ? e.size(*inner) : e.index(1);
    Value cost = e.add(e.mul(steps, e.add(e.mul(points, e.index(3)), 10)), 1);
    Value grain = e.add(b.createOrFold<arith::DivUIOp>(e.index(kPieceNs), cost), 1);
    auto parallel = ParallelForOp::create(b, total, grain);
    Block *body = b.createBlock(&parallel.getBody(), {}, {b.getIndexType(), b.getIndexType()},
                                {b.getLoc(), b.getLoc()});
    {
      PointEmitter::Scope scope(e);
      makeBuffers();
      // Once even if there are no steps: the carries are written.
      Value one = e.index(1);
      Value blocks = b.createOrFold<arith::MaxUIOp>(e.ceilDiv(steps, block), one);
      auto overBlocks = [&](llvm::function_ref<void(Value)> inside) {
        e.loop(e.index(0), blocks, 1, inside);
      };
      auto overTiles = [&](llvm::function_ref<void(Value)> inside) {
        e.loop(body->getArgument(0), body->getArgument(1), 1, inside);
      };
      auto run = [&](Value blockIndex, Value item) {
        PointEmitter::Scope scope(e);
        Value first = e.mul(blockIndex, e.index(block));
        Value count = e.min(e.sub(steps, first), e.index(block));
        place(item, outer, tiles);
        runTile(first, count, steps);
      };
      if (sequences.areAll())
        overTiles([&](Value item) { overBlocks([&](Value i) { run(i, item); }); });
      else
        overBlocks([&](Value i) { overTiles([&](Value item) { run(i, item); }); });
      ssm::YieldOp::create(b);
    }
    b.setInsertionPointAfter(parallel);
  }

  /// Space for what passes between phases of a block, and for large carries.
  void makeBuffers() {
    auto make = [&](ArrayRef<int64_t> shape, Type element) -> Value {
      auto type = MemRefType::get(shape, element);
      return memref::AllocaOp::create(b, type, b.getI64IntegerAttr(64));
    };
    for (Value value : phases.before)
      phases.buffers[value] = make({block, lanes}, value.getType());
    for (Value value : phases.fromSteps)
      if (isAlongState)
        phases.partialSums[value] = make({block, lanes, lanes}, value.getType());
      else
        phases.buffers[value] = make({block, lanes}, value.getType());
    sequences.makeBuffers();
    if (home == Home::Stack && !isAlongState)
      for (unsigned i = 0; i < kernel.getNumCarries(); ++i)
        carryBuffers.push_back(make({isInnerCarry(i) ? innerSize : 1, lanes}, carryType(i)));
  }

  /// The indices of the outer loops and the lanes of one tile.
  void place(Value item, ArrayRef<unsigned> outer, Value tiles) {
    Value rest = item;
    Value tile = b.createOrFold<arith::RemUIOp>(rest, tiles);
    rest = b.createOrFold<arith::DivUIOp>(rest, tiles);
    for (unsigned loop : llvm::reverse(outer)) {
      if (loop == outer.front()) {
        e.at[loop] = rest;
        break;
      }
      Value size = e.size(loop);
      e.at[loop] = b.createOrFold<arith::RemUIOp>(rest, size);
      rest = b.createOrFold<arith::DivUIOp>(rest, size);
    }
    e.at[lane] = e.mul(tile, e.index(lanes));
    int64_t width = e.fixedSize(lane);
    if (width < 0 || width % lanes != 0)
      e.mask = e.firstLanes(e.sub(e.size(lane), e.at[lane]));
  }

  void at(Value first, Value step, Value steps) {
    e.at[time] = e.add(first, step);
    e.mirroredTime = e.sub(e.sub(steps, e.index(1)), e.at[time]);
  }

  /// The rows of the next block: a piece of few channels reads so little of each row
  /// that the processor does not see them coming.
  void prefetchNext(Value first, Value step, Value steps) {
    PointEmitter::Scope scope(e);
    at(e.add(first, block), step, steps);
    for (auto [i, input] : llvm::enumerate(kernel.getInputs())) {
      AffineMap map = kernel.getInputMap(i);
      if (map.isFunctionOfDim(time) && map.isFunctionOfDim(lane) && !isInner(kernel.getInputArg(i)))
        e.prefetch(input, map, kernel.isInputMirrored(i));
    }
  }

  void runTile(Value first, Value count, Value steps) {
    e.hoist(outerSet);
    auto place = [&](Value begin, Value step) { at(begin, step, steps); };
    sequences.read(first, count, steps, place);
    if (!phases.before.empty())
      e.loop(e.index(0), count, 1, [&](Value step) {
        PointEmitter::Scope scope(e);
        at(first, step, steps);
        sequences.provide(step);
        for (Value value : phases.before)
          saveRow(value, step);
      });
    SmallVector<unsigned> early;
    for (unsigned i = kernel.getNumCarries(); i < kernel.getOuts().size(); ++i)
      if (!llvm::is_contained(phases.late, i))
        early.push_back(i);
    auto runSteps = [&] {
      if (home == Home::Registers)
        runInRegisters(first, count, steps);
      else
        runInMemory(first, count, steps);
      sequences.write(early, first, count, steps, place);
    };
    if (isAlongState)
      RecurrenceStates(kernel, b, lane, *inner, lanes, phases)
          .run(e, e.min(e.sub(e.size(lane), e.at[lane]), e.index(lanes)),
               {first, count, steps, outerSet});
    else if (home == Home::Registers)
      runFew(first, count, steps, runSteps);
    else
      runSteps();
    if (!phases.late.empty())
      e.loop(e.index(0), count, 1, [&](Value step) {
        PointEmitter::Scope scope(e);
        at(first, step, steps);
        sequences.provide(step);
        if (isAlongState)
          addPartialSums(step);
        else
          restoreRows(phases.fromSteps, step);
        restoreRows(phases.before, step);
        for (unsigned out : phases.late)
          finishOut(out, step);
      });
    sequences.write(phases.late, first, count, steps, place);
  }

  /// The steps of a ragged tile of few channels with lanes along the state, else `tile`.
  void runFew(Value first, Value count, Value steps, llvm::function_ref<void()> tile) {
    int64_t most = lanes / kLanesOfChannel, width = e.fixedSize(lane);
    bool maybe = width < 0 || (width % lanes > 0 && width % lanes <= most);
    if (!maybe || !inner || !RecurrenceStates::canRun(kernel, *inner, innerSize, lanes))
      return tile();
    Value channels = e.sub(e.size(lane), e.at[lane]);
    Value isFew = arith::CmpIOp::create(b, arith::CmpIPredicate::ule, channels, e.index(most));
    auto branch = scf::IfOp::create(b, isFew, /*withElseRegion=*/true);
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointToStart(branch.thenBlock());
    RecurrenceStates(kernel, b, lane, *inner, lanes, phases)
        .run(e, channels, {first, count, steps, outerSet});
    b.setInsertionPointToStart(branch.elseBlock());
    PointEmitter::Scope scope(e);
    tile();
  }

  void saveRow(Value value, Value step) {
    vector::StoreOp::create(b, e.getVector(value), phases.buffers[value],
                            ValueRange{step, e.index(0)});
  }
  void restoreRows(const llvm::SetVector<Value> &values, Value step) {
    for (Value value : values)
      e.provide(value, vector::LoadOp::create(b, e.vectorOf(value.getType()), phases.buffers[value],
                                              ValueRange{step, e.index(0)}));
  }

  /// Of lanes along the state, which the steps left of each channel.
  void addPartialSums(Value step) {
    for (Value value : phases.fromSteps) {
      SmallVector<Value> channels;
      for (int64_t channel = 0; channel < lanes; ++channel)
        channels.push_back(vector::LoadOp::create(b, e.vectorOf(value.getType()),
                                                  phases.partialSums[value],
                                                  ValueRange{step, e.index(channel), e.index(0)}));
      e.provide(value, reduceLanesOf(e, value.getDefiningOp<ReduceOp>().getKind(), channels));
    }
  }

  //===--------------------------------------------------------------------===//
  // Carries
  //===--------------------------------------------------------------------===//

  /// Runs `body` with each inner point of carry i set.
  void overPoints(unsigned i, llvm::function_ref<void(int64_t)> body) {
    for (int64_t point = 0; point < (isInnerCarry(i) ? innerSize : 1); ++point) {
      PointEmitter::Scope scope(e);
      if (isInnerCarry(i))
        e.at[*inner] = e.index(point);
      body(point);
    }
  }

  void runInRegisters(Value first, Value count, Value steps) {
    Value isFirst = arith::CmpIOp::create(b, arith::CmpIPredicate::eq, first, e.index(0));
    SmallVector<Value> carried;
    SmallVector<unsigned> begin;
    for (unsigned i = 0; i < kernel.getNumCarries(); ++i) {
      begin.push_back(carried.size());
      overPoints(i, [&](int64_t) { carried.push_back(loadCarry(e, i, isFirst)); });
    }
    SmallVector<Value> last =
        e.loop(e.index(0), count, 1, carried, [&](Value step, ValueRange now) {
          PointEmitter::Scope scope(e);
          at(first, step, steps);
          prefetchNext(first, step, steps);
          sequences.prefetchNext(first, step, steps);
          sequences.provide(step);
          restoreRows(phases.before, step);
          for (unsigned i = 0; i < kernel.getNumCarries(); ++i)
            if (!isInnerCarry(i))
              e.provide(kernel.getCarryArg(i), now[begin[i]]);
          SmallVector<Value> next;
          stepInRegisters(now, begin, next);
          finishStep(step);
          return next;
        });
    for (unsigned i = 0; i < kernel.getNumCarries(); ++i)
      overPoints(i, [&](int64_t point) { e.storeOut(i, last[begin[i] + point]); });
  }

  /// One step with all inner points unrolled. Each point has what is known of it in
  /// `points`.
  void stepInRegisters(ValueRange now, ArrayRef<unsigned> begin, SmallVectorImpl<Value> &next) {
    points.assign(std::max<int64_t>(innerSize, 0), llvm::DenseMap<Value, Value>());
    auto atPoint = [&](int64_t point, Value value) {
      PointEmitter::Scope scope(e);
      e.at[*inner] = e.index(point);
      for (unsigned i = 0; i < kernel.getNumCarries(); ++i)
        if (isInnerCarry(i))
          e.provide(kernel.getCarryArg(i), now[begin[i] + point]);
      for (auto [known, emitted] : points[point])
        e.provide(known, emitted);
      Value result = e.getVector(value);
      // Kept for the reductions and carries to come.
      e.forEachKnown([&](Value known, Value emitted) {
        if (isInner(known))
          points[point][known] = emitted;
      });
      return result;
    };
    for (ReduceOp reduce : reduces) {
      emitReady();
      SmallVector<Value> sums(std::min(kUnroll, innerSize));
      for (int64_t point = 0; point < innerSize; ++point) {
        Value term = atPoint(point, reduce.getValue());
        Value &sum = sums[point % kUnroll];
        sum = sum ? e.combine(reduce.getKind(), sum, term) : term;
      }
      e.provide(reduce, combineAll(reduce, sums));
    }
    emitReady();
    for (unsigned i = 0; i < kernel.getNumCarries(); ++i) {
      Value value = kernel.getYield().getValues()[i];
      for (int64_t point = 0; point < (isInnerCarry(i) ? innerSize : 1); ++point)
        next.push_back(isInnerCarry(i) ? atPoint(point, value) : e.getVector(value));
    }
    for (unsigned i = kernel.getNumCarries(); i < kernel.getOuts().size(); ++i) {
      Value value = kernel.getYield().getValues()[i];
      if (!inner || !kernel.getOutMap(i).isFunctionOfDim(*inner))
        continue;
      for (int64_t point = 0; point < innerSize; ++point) {
        Value emitted = atPoint(point, value);
        PointEmitter::Scope scope(e);
        e.at[*inner] = e.index(point);
        e.storeOut(i, emitted);
      }
    }
  }

  Value combineAll(ReduceOp reduce, ArrayRef<Value> sums) {
    if (sums.empty())
      return e.neutral(reduce.getKind(), e.vectorOf(reduce.getType()));
    Value sum = sums.front();
    for (Value other : sums.drop_front())
      sum = e.combine(reduce.getKind(), sum, other);
    return sum;
  }

  /// Values of the step outside of the inner loop that can be computed by now, so
  /// that inner points share them.
  void emitReady() {
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

  /// Outs of one step, and what the late ones need.
  void finishStep(Value step) {
    for (unsigned i = kernel.getNumCarries(); i < kernel.getOuts().size(); ++i)
      if (!llvm::is_contained(phases.late, i) &&
          !(inner && kernel.getOutMap(i).isFunctionOfDim(*inner)))
        finishOut(i, step);
    for (Value value : phases.fromSteps)
      saveRow(value, step);
  }
  void finishOut(unsigned out, Value step) {
    Value value = e.get(kernel.getYield().getValues()[out]);
    if (sequences.hasOut(out))
      sequences.keep(out, value, step);
    else
      e.storeOut(out, value);
  }

  //===--------------------------------------------------------------------===//
  // Carries in memory, the inner loop a loop
  //===--------------------------------------------------------------------===//

  void runInMemory(Value first, Value count, Value steps) {
    Value isFirst = arith::CmpIOp::create(b, arith::CmpIPredicate::eq, first, e.index(0));
    if (home == Home::Outs) {
      auto start = scf::IfOp::create(b, isFirst);
      OpBuilder::InsertionGuard guard(b);
      b.setInsertionPointToStart(start.thenBlock());
      for (unsigned i = 0; i < kernel.getNumCarries(); ++i)
        overRows(i, [&] { e.storeOut(i, e.spread(loadInit(e, i))); });
    } else {
      for (unsigned i = 0; i < kernel.getNumCarries(); ++i)
        overRows(i, [&] { keepCarry(i, loadCarry(e, i, isFirst)); });
    }
    findAhead();
    SmallVector<Value> sums;
    if (!ahead.empty())
      sums = sumFirstStep(first, count, steps);
    e.loop(e.index(0), count, 1, sums, [&](Value step, ValueRange now) {
      PointEmitter::Scope scope(e);
      at(first, step, steps);
      sequences.provide(step);
      restoreRows(phases.before, step);
      for (unsigned i = 0; i < kernel.getNumCarries(); ++i)
        if (!isInnerCarry(i))
          e.provide(kernel.getCarryArg(i), keptCarry(i));
      for (auto [reduce, sum] : llvm::zip_equal(ahead, now))
        e.provide(reduce, sum);
      // The last step of the block has none behind it; what it sums up is not used.
      Value next = e.min(e.add(step, 1), e.sub(count, e.index(1)));
      SmallVector<Value> nextSums = stepInMemory([&] {
        e.forget(time);
        at(first, next, steps);
        sequences.provide(next);
        restoreRows(phases.before, next);
      });
      finishStep(step);
      return nextSums;
    });
    if (home == Home::Stack)
      for (unsigned i = 0; i < kernel.getNumCarries(); ++i)
        overRows(i, [&] { e.storeOut(i, keptCarry(i)); });
  }

  void overRows(unsigned i, llvm::function_ref<void()> body) {
    if (!isInnerCarry(i))
      return body();
    e.loop(e.index(0), e.size(*inner), 1, [&](Value row) {
      PointEmitter::Scope scope(e);
      e.at[*inner] = row;
      body();
    });
  }
  /// Carry i at the present inner point, if it has one.
  Value keptCarry(unsigned i) {
    if (home == Home::Outs)
      return e.spread(loadOut(e, i));
    return vector::LoadOp::create(b, e.vectorOf(carryType(i)), carryBuffers[i], rowOf(i));
  }
  void keepCarry(unsigned i, Value value) {
    if (home == Home::Outs)
      e.storeOut(i, value);
    else
      vector::StoreOp::create(b, value, carryBuffers[i], rowOf(i));
  }
  SmallVector<Value> rowOf(unsigned i) {
    return {isInnerCarry(i) ? e.at[*inner] : e.index(0), e.index(0)};
  }

  /// The sums ahead of a block's first step.
  SmallVector<Value> sumFirstStep(Value first, Value count, Value steps) {
    SmallVector<Type> types;
    for (ReduceOp reduce : ahead)
      types.push_back(e.vectorOf(reduce.getType()));
    Value any = arith::CmpIOp::create(b, arith::CmpIPredicate::ne, count, e.index(0));
    auto branch = scf::IfOp::create(b, types, any, /*withElseRegion=*/true);
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointToStart(branch.thenBlock());
    PointEmitter::Scope scope(e);
    at(first, e.index(0), steps);
    sequences.provide(e.index(0));
    restoreRows(phases.before, e.index(0));
    emitReady();
    (void)innerRound(ahead, {});
    SmallVector<Value> sums;
    for (ReduceOp reduce : ahead)
      sums.push_back(e.get(reduce));
    scf::YieldOp::create(b, sums);
    b.setInsertionPointToStart(branch.elseBlock());
    for (auto [sum, reduce] : llvm::zip_equal(sums, ahead))
      sum = e.neutral(reduce.getKind(), e.vectorOf(reduce.getType()));
    scf::YieldOp::create(b, sums);
    return llvm::to_vector_of<Value>(branch.getResults());
  }

  /// Rounds of loops over the inner points: reductions that are ready share one.
  /// The last round also makes the next carries: nothing reads the old ones after it.
  /// Returns the sums ahead of the next step, to which `enterNext` takes the emitter.
  SmallVector<Value> stepInMemory(llvm::function_ref<void()> enterNext) {
    SmallVector<ReduceOp> left(reduces);
    llvm::DenseSet<Value> done;
    for (ReduceOp reduce : ahead) {
      llvm::erase(left, reduce);
      done.insert(reduce);
    }
    SmallVector<Value> nextOuter(kernel.getNumCarries()), nextSums;
    bool isLast = false;
    while (!isLast) {
      SmallVector<ReduceOp> round;
      for (ReduceOp reduce : left)
        if (isReady(reduce.getValue(), done))
          round.push_back(reduce);
      llvm::erase_if(left, [&](ReduceOp reduce) { return llvm::is_contained(round, reduce); });
      // Carries that need no further reduction are made along with the last ones.
      isLast = left.empty();
      for (unsigned i = 0; i < kernel.getOuts().size() && isLast; ++i)
        if (isInnerOut(i))
          isLast = isReady(kernel.getYield().getValues()[i], done);
      emitReady();
      if (isLast)
        nextSums = innerRound(round, enterNext);
      else
        (void)innerRound(round, {});
      for (ReduceOp reduce : round)
        done.insert(reduce);
    }
    emitReady();
    for (unsigned i = 0; i < kernel.getNumCarries(); ++i)
      if (!isInnerCarry(i))
        nextOuter[i] = e.getVector(kernel.getYield().getValues()[i]);
    for (unsigned i = 0; i < kernel.getNumCarries(); ++i)
      if (nextOuter[i])
        keepCarry(i, nextOuter[i]);
    return nextSums;
  }

  /// With `enterNext` also makes the next carries and outs, and returns the sums ahead.
  SmallVector<Value> innerRound(ArrayRef<ReduceOp> round, llvm::function_ref<void()> enterNext) {
    SmallVector<ReduceOp> all(round);
    if (enterNext)
      llvm::append_range(all, ahead);
    SmallVector<Value> results;
    if (!inner || innerSize == 0) {
      for (ReduceOp reduce : all)
        results.push_back(e.neutral(reduce.getKind(), e.vectorOf(reduce.getType())));
    } else {
      // Many sums hide the latency of their additions by themselves.
      int64_t unroll = all.size() > 4 ? 1 : all.size() > 2 ? 2 : kUnroll;
      SmallVector<Value> sums;
      for (ReduceOp reduce : all)
        sums.append(unroll, e.neutral(reduce.getKind(), e.vectorOf(reduce.getType())));
      if (enterNext)
        prepareNext(enterNext);
      Value size = e.size(*inner);
      Value whole = e.sub(size, b.createOrFold<arith::RemUIOp>(size, e.index(unroll)));
      sums = innerLoop(e.index(0), whole, unroll, round, enterNext, sums);
      if (innerSize < 0 || innerSize % unroll != 0)
        sums = innerLoop(whole, size, 1, round, enterNext, sums);
      for (auto [k, reduce] : llvm::enumerate(all))
        results.push_back(combineAll(reduce, ArrayRef(sums).slice(k * unroll, unroll)));
    }
    for (size_t k = 0; k < round.size(); ++k)
      e.provide(all[k], results[k]);
    return SmallVector<Value>(ArrayRef(results).drop_front(round.size()));
  }

  /// What inner points share of the next step.
  void prepareNext(llvm::function_ref<void()> enterNext) {
    sharedByNext.clear();
    if (ahead.empty())
      return;
    PointEmitter::Scope scope(e);
    enterNext();
    emitReady();
    e.forEachKnown([&](Value value, Value emitted) { sharedByNext.push_back({value, emitted}); });
  }

  /// Inner points [low, high), `unroll` at once.
  SmallVector<Value> innerLoop(Value low, Value high, int64_t unroll, ArrayRef<ReduceOp> round,
                               llvm::function_ref<void()> enterNext, ValueRange sums) {
    return e.loop(low, high, unroll, sums, [&](Value row, ValueRange now) {
      SmallVector<Value> next(now);
      size_t each =
          sums.size() / std::max<size_t>(round.size() + (enterNext ? ahead.size() : 0), 1);
      auto addUp = [&](size_t k, ReduceOp reduce, int64_t u) {
        Value &sum = next[k * each + u];
        sum = e.combine(reduce.getKind(), sum, e.getVector(reduce.getValue()));
      };
      for (int64_t u = 0; u < unroll; ++u) {
        PointEmitter::Scope scope(e);
        e.at[*inner] = e.add(row, u);
        for (unsigned i = 0; i < kernel.getNumCarries(); ++i)
          if (isInnerCarry(i))
            e.provide(kernel.getCarryArg(i), keptCarry(i));
        for (auto [k, reduce] : llvm::enumerate(round))
          addUp(k, reduce, u);
        if (!enterNext)
          continue;
        finishPoint();
        if (ahead.empty())
          continue;
        SmallVector<Value> carries;
        for (unsigned i = 0; i < kernel.getNumCarries(); ++i)
          carries.push_back(isInnerCarry(i) ? e.getVector(kernel.getYield().getValues()[i])
                                            : Value());
        enterNext();
        for (auto [value, emitted] : sharedByNext)
          e.provide(value, emitted);
        for (auto [i, carry] : llvm::enumerate(carries))
          if (carry)
            e.provide(kernel.getCarryArg(i), carry);
        for (auto [k, reduce] : llvm::enumerate(ahead))
          addUp(round.size() + k, reduce, u);
      }
      return next;
    });
  }

  /// The next carries and the outs of one inner point.
  void finishPoint() {
    SmallVector<std::pair<unsigned, Value>> next;
    for (unsigned i = 0; i < kernel.getOuts().size(); ++i)
      if (kernel.getOutMap(i).isFunctionOfDim(*inner))
        next.push_back({i, e.getVector(kernel.getYield().getValues()[i])});
    for (auto [i, value] : next) {
      if (i < kernel.getNumCarries())
        keepCarry(i, value);
      else
        e.storeOut(i, value);
    }
  }

  TurnedSequences sequences;
  SmallVector<Value> carryBuffers;
  SmallVector<llvm::DenseMap<Value, Value>> points;
  SmallVector<std::pair<Value, Value>> sharedByNext;
};
} // namespace

StringRef ssm::emitRecurrence(KernelOp kernel, ImplicitLocOpBuilder &b) {
  ConfigAttr config = *kernel.getConfig();
  if (canBeRowLoop(kernel, config.getLaneLoop(), config.getLanes()))
    return emitStepsAsRows(kernel, b);
  takeFactorsOutOfSums(kernel);
  return Recurrence(kernel, b).run();
}
