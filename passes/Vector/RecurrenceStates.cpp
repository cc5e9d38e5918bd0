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

using namespace mlir;
using namespace ssm;

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

bool RecurrenceStates::canRun(KernelOp kernel, unsigned inner, int64_t size, int64_t lanes) {
  return size > 0 && size % lanes == 0 && canBeLaneLoop(kernel, inner, lanes);
}

void RecurrenceStates::overVectors(unsigned out, llvm::function_ref<void(int64_t)> body) {
  for (int64_t vector = 0; vector < (isInnerOut(out) ? vectors : 1); ++vector) {
    PointEmitter::Scope scope(e);
    if (isInnerOut(out))
      e.at[inner] = e.index(vector * e.lanes);
    body(vector);
  }
}

void RecurrenceStates::run(const PointEmitter &around, Value channels, Value first, Value count,
                           Value steps, LoopSet fixed) {
  PointEmitter::Scope scope(e);
  e.at = around.at;
  Value begin = e.at[lane];
  e.loop(e.index(0), channels, 1, [&](Value channel) {
    PointEmitter::Scope scope(e);
    e.at[lane] = e.add(begin, channel);
    runChannel(channel, first, count, steps, fixed);
  });
}

void RecurrenceStates::runChannel(Value channel, Value first, Value count, Value steps,
                                  LoopSet fixed) {
  e.hoist(fixed);
  // What lanes read far apart is read once a block.
  always.assign(vectors, llvm::DenseMap<Value, Value>());
  for (int64_t vector = 0; vector < vectors; ++vector) {
    PointEmitter::Scope scope(e);
    e.at[inner] = e.index(vector * e.lanes);
    e.hoist(fixed | loopBit(inner));
    e.forEachKnown([&](Value value, Value emitted) {
      if (isInner(value))
        always[vector][value] = emitted;
    });
  }
  Value isFirst = arith::CmpIOp::create(b, arith::CmpIPredicate::eq, first, e.index(0));
  SmallVector<Value> carried;
  for (unsigned i = 0; i < kernel.getNumCarries(); ++i)
    overVectors(i, [&](int64_t) { carried.push_back(loadCarry(e, i, isFirst)); });
  SmallVector<Value> last =
      e.loop(e.index(0), count, 1, carried, [&](Value number, ValueRange now) {
        PointEmitter::Scope scope(e);
        unsigned time = *kernel.getTime();
        e.at[time] = e.add(first, number);
        e.mirroredTime = e.sub(e.sub(steps, e.index(1)), e.at[time]);
        return step(channel, number, now);
      });
  auto next = last.begin();
  for (unsigned i = 0; i < kernel.getNumCarries(); ++i)
    overVectors(i, [&](int64_t) { e.storeOut(i, *next++); });
}

Value RecurrenceStates::at(int64_t vector, Value value) {
  PointEmitter::Scope scope(e);
  e.at[inner] = e.index(vector * e.lanes);
  for (auto [part, emitted] : known[vector])
    e.provide(part, emitted);
  Value result = e.getVector(value);
  e.forEachKnown([&](Value part, Value emitted) {
    if (isInner(part))
      known[vector][part] = emitted;
  });
  return result;
}

SmallVector<Value> RecurrenceStates::step(Value channel, Value number, ValueRange now) {
  known = always;
  SmallVector<Value> place = {number, channel};
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
    memref::StoreOp::create(b, e.get(value), phases.buffers.lookup(value), place);
  return next;
}
