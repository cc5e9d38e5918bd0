//===- RecurrenceStates.cpp - Recurrences with lanes along the state ------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "passes/Vector/RecurrenceStates.h"

#include "lib/Analysis/KernelShape.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;
using namespace ssm;

/// Vectors of state that are worked on at a time where steps wait for no sum, of one channel or
/// of several: enough to hide the latency of a step, and half of the fewest registers.
static constexpr int64_t kVectors = 8;

Value ssm::loadInit(PointEmitter &e, unsigned i) {
  Value init = e.kernel.getInits()[i];
  return isa<MemRefType>(init.getType()) ? e.load(init, e.kernel.getInitMap(i), false) : init;
}

Value ssm::loadOut(PointEmitter &e, unsigned i) {
  return e.load(e.kernel.getOuts()[i], e.kernel.getOutMap(i), false);
}

Value ssm::loadCarry(PointEmitter &e, unsigned i, Value isFirst) {
  Type type = e.kernel.getCarryArg(i).getType();
  if (contains(loopsOf(e.kernel.getOutMap(i)), *e.laneLoop))
    type = e.vectorOf(type);
  auto spread = [&](Value value) { return isa<VectorType>(type) ? e.spread(value) : value; };
  auto branch = scf::IfOp::create(e.b, TypeRange(type), isFirst, true);
  OpBuilder::InsertionGuard guard(e.b);
  e.b.setInsertionPointToStart(branch.thenBlock());
  scf::YieldOp::create(e.b, spread(loadInit(e, i)));
  e.b.setInsertionPointToStart(branch.elseBlock());
  scf::YieldOp::create(e.b, spread(loadOut(e, i)));
  return branch.getResult(0);
}

RecurrenceStates::RecurrenceStates(KernelOp kernel, ImplicitLocOpBuilder &b, unsigned lane,
                                   unsigned inner, int64_t lanes, const Phases &phases)
    : kernel(kernel), b(b), lane(lane), inner(inner), phases(phases), e(kernel, b, inner, lanes) {
  vectors = e.fixedSize(inner) / lanes;
  int64_t all = vectors;
  if (!phases.partialSums.empty())
    for (vectors = std::min(all, kVectors); all % vectors != 0;)
      --vectors;
  parts = all / vectors;
}

bool RecurrenceStates::canRun(KernelOp kernel, unsigned inner, int64_t size, int64_t lanes) {
  return size > 0 && size % lanes == 0 && canBeLaneLoop(kernel, inner, lanes);
}

void RecurrenceStates::overVectors(unsigned out, llvm::function_ref<void(int64_t)> body) {
  for (int64_t vector = 0; vector < (isInnerOut(out) ? vectors : 1); ++vector) {
    PointEmitter::Scope scope(e);
    if (isInnerOut(out))
      e.at[inner] = e.add(part, vector * e.lanes);
    body(vector);
  }
}

void RecurrenceStates::run(const PointEmitter &around, Value count, const Block &block) {
  PointEmitter::Scope scope(e);
  e.at = around.at;
  begin = e.at[lane];
  // Where lanes are added up later, steps of a channel wait for nothing but the step before:
  // several channels take turns.
  int64_t group = phases.partialSums.empty() ? 1 : std::max<int64_t>(kVectors / vectors, 1);
  Value whole = e.sub(count, b.createOrFold<arith::RemUIOp>(count, e.index(group)));
  auto runGroups = [&](Value low, Value high, int64_t size) {
    e.loop(low, high, size, [&](Value channel) {
      PointEmitter::Scope scope(e);
      runGroup(channel, size, block);
    });
  };
  runGroups(e.index(0), whole, group);
  if (group > 1)
    runGroups(whole, count, 1);
}

SmallVector<Value> RecurrenceStates::loadCarries(Value isFirst) {
  auto loadAll = [&](llvm::function_ref<Value(PointEmitter &, unsigned)> load) {
    SmallVector<Value> carried;
    for (unsigned i = 0; i < kernel.getNumCarries(); ++i)
      overVectors(i, [&](int64_t) {
        Value value = load(e, i);
        carried.push_back(isInnerOut(i) ? e.spread(value) : value);
      });
    scf::YieldOp::create(b, carried);
  };
  SmallVector<Type> types;
  for (unsigned i = 0; i < kernel.getNumCarries(); ++i) {
    Type type = kernel.getCarryArg(i).getType();
    types.append(isInnerOut(i) ? vectors : 1, isInnerOut(i) ? e.vectorOf(type) : type);
  }
  auto branch = scf::IfOp::create(b, types, isFirst, /*withElseRegion=*/true);
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToStart(branch.thenBlock());
  loadAll(loadInit);
  b.setInsertionPointToStart(branch.elseBlock());
  loadAll(loadOut);
  return llvm::to_vector_of<Value>(branch.getResults());
}

void RecurrenceStates::atChannel(const Channel &channel, llvm::function_ref<void()> body) {
  PointEmitter::Scope scope(e);
  e.at[lane] = e.add(begin, channel.index);
  for (auto [value, emitted] : channel.fixed)
    e.provide(value, emitted);
  body();
}

void RecurrenceStates::runGroup(Value first, int64_t size, const Block &block) {
  SmallVector<Channel> channels(size);
  for (int64_t i = 0; i < size; ++i) {
    Channel &channel = channels[i];
    channel.index = e.add(first, i);
    atChannel(channel, [&] {
      e.hoist(block.fixed);
      e.forEachKnown([&](Value value, Value emitted) { channel.fixed[value] = emitted; });
    });
  }
  e.loop(e.index(0), e.index(parts * vectors * e.lanes), vectors * e.lanes, [&](Value begin) {
    part = begin;
    runPart(channels, block);
  });
}

void RecurrenceStates::runPart(MutableArrayRef<Channel> channels, const Block &block) {
  // What lanes read far apart is read once a block.
  for (Channel &channel : channels)
    atChannel(channel, [&] {
      channel.always.assign(vectors, llvm::DenseMap<Value, Value>());
      for (int64_t vector = 0; vector < vectors; ++vector) {
        PointEmitter::Scope scope(e);
        e.at[inner] = e.add(part, vector * e.lanes);
        e.hoist(block.fixed | loopBit(inner));
        e.forEachKnown([&](Value value, Value emitted) {
          if (isInner(value))
            channel.always[vector][value] = emitted;
        });
      }
    });
  Value isFirst = arith::CmpIOp::create(b, arith::CmpIPredicate::eq, block.first, e.index(0));
  SmallVector<Value> carried;
  for (const Channel &channel : channels)
    atChannel(channel, [&] { llvm::append_range(carried, loadCarries(isFirst)); });
  size_t numCarried = carried.size() / channels.size();
  SmallVector<Value> last =
      e.loop(e.index(0), block.count, 1, carried, [&](Value number, ValueRange now) {
        PointEmitter::Scope scope(e);
        unsigned time = *kernel.getTime();
        e.at[time] = e.add(block.first, number);
        e.mirroredTime = e.sub(e.sub(block.steps, e.index(1)), e.at[time]);
        SmallVector<Value> next;
        for (const Channel &channel : channels)
          atChannel(channel, [&] {
            llvm::append_range(next, step(channel, number, now.take_front(numCarried)));
            now = now.drop_front(numCarried);
          });
        return next;
      });
  auto next = last.begin();
  for (const Channel &channel : channels)
    atChannel(channel, [&] {
      for (unsigned i = 0; i < kernel.getNumCarries(); ++i)
        overVectors(i, [&](int64_t) { e.storeOut(i, *next++); });
    });
}

Value RecurrenceStates::at(int64_t vector, Value value) {
  PointEmitter::Scope scope(e);
  e.at[inner] = e.add(part, vector * e.lanes);
  for (auto [part, emitted] : known[vector])
    e.provide(part, emitted);
  Value result = e.getVector(value);
  e.forEachKnown([&](Value part, Value emitted) {
    if (isInner(part))
      known[vector][part] = emitted;
  });
  return result;
}

void RecurrenceStates::addPartialSum(ReduceOp reduce, Value sum, Value buffer,
                                     ArrayRef<Value> place) {
  if (parts > 1) {
    Value before = vector::LoadOp::create(b, cast<VectorType>(sum.getType()), buffer, place);
    Value isFirst = arith::CmpIOp::create(b, arith::CmpIPredicate::eq, part, e.index(0));
    sum = arith::SelectOp::create(b, isFirst, sum, e.combine(reduce.getKind(), before, sum));
  }
  vector::StoreOp::create(b, sum, buffer, place);
}

SmallVector<Value> RecurrenceStates::step(const Channel &channel, Value number, ValueRange now) {
  known = channel.always;
  SmallVector<Value> place = {number, channel.index};
  for (Value value : phases.before)
    e.provide(value, memref::LoadOp::create(b, phases.buffers.lookup(value), place));
  for (unsigned i = 0, next = 0; i < kernel.getNumCarries(); ++i)
    overVectors(i, [&](int64_t vector) {
      if (isInnerOut(i))
        known[vector][kernel.getCarryArg(i)] = now[next];
      ++next;
    });
  for (unsigned i = 0, next = 0; i < kernel.getNumCarries(); ++i) {
    if (!isInnerOut(i))
      e.provide(kernel.getCarryArg(i), now[next]);
    next += isInnerOut(i) ? vectors : 1;
  }
  for (auto reduce : kernel.getStep().getOps<ReduceOp>()) {
    Value sum;
    for (int64_t vector = 0; vector < vectors; ++vector) {
      Value term = at(vector, reduce.getValue());
      sum = sum ? e.combine(reduce.getKind(), sum, term) : term;
    }
    if (Value later = phases.partialSums.lookup(reduce)) {
      addPartialSum(reduce, sum, later, {number, channel.index, e.index(0)});
      continue;
    }
    e.provide(reduce, e.reduceLanes(reduce.getKind(), sum));
  }
  // An out may be the buffer of an input: all is read before anything is written.
  SmallVector<Value> next, results;
  for (unsigned i = 0; i < kernel.getOuts().size(); ++i) {
    Value value = kernel.getYield().getValues()[i];
    bool isCarry = i < kernel.getNumCarries();
    if (isCarry || !llvm::is_contained(phases.late, i))
      for (int64_t vector = 0; vector < (isInnerOut(i) ? vectors : 1); ++vector)
        (isCarry ? next : results).push_back(isInnerOut(i) ? at(vector, value) : e.get(value));
  }
  auto result = results.begin();
  for (unsigned i = kernel.getNumCarries(); i < kernel.getOuts().size(); ++i)
    if (!llvm::is_contained(phases.late, i))
      overVectors(i, [&](int64_t) { e.storeOut(i, *result++); });
  for (Value value : phases.fromSteps)
    if (Value buffer = phases.buffers.lookup(value))
      memref::StoreOp::create(b, e.get(value), buffer, place);
  return next;
}
