//===- EmitStagedScan.cpp - Warps that step through time ------------------ ===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "passes/GPU/StagedEmitter.h"

#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "llvm/ADT/STLExtras.h"

using namespace mlir;
using namespace ssm;

/// The channel and state of one of the lane's points; the last ones stand in for those outside.
void StagedEmitter::setPoint(int64_t point) {
  Value channel = e.add(firstChannel, e.mul(within, e.index(tile.channels)));
  channel = e.add(channel, point / tile.perLane);
  e.at[r.channel] = e.min(channel, e.sub(channels, e.index(1)));
  Value state = e.add(e.mul(lane, e.index(tile.perLane)), point % tile.perLane);
  e.at[r.state] = isValidState(point) ? e.min(state, e.index(r.numStates - 1)) : state;
}

/// Null: it exists in every lane.
Value StagedEmitter::isValidState(int64_t point) {
  if (tile.lanes * tile.perLane == r.numStates)
    return {};
  return d.isLess(e.add(e.mul(lane, e.index(tile.perLane)), point % tile.perLane),
                  e.index(r.numStates));
}

Value StagedEmitter::isWritten(int64_t point) {
  Value channel = e.add(firstChannel, e.mul(within, e.index(tile.channels)));
  Value exists = d.isLess(e.add(channel, point / tile.perLane), channels);
  if (Value valid = isValidState(point))
    exists = d.make<arith::AndIOp>(exists, valid);
  return exists;
}

SmallVector<Value> StagedEmitter::loadPlanes(Value at) {
  // For each plane, for each channel.
  Values loaded(r.planes.size() * tile.channels);
  int64_t width = memory.planeValues * tile.channels;
  auto type = VectorType::get({width}, b.getF32Type());
  for (unsigned first = 0; first < r.planes.size(); first += memory.planeValues) {
    Value indices[] = {turn, e.index(first), at, planeChunk, planePlace};
    Value all = width == 1 ? Value(memref::LoadOp::create(b, planes, indices))
                           : vector::LoadOp::create(b, type, planes, indices, /*nontemporal=*/false,
                                                    llvm::MaybeAlign(std::min<int64_t>(
                                                        4 * width, 16)));
    for (int64_t i = 0; i < width; ++i) {
      unsigned plane = first + i % memory.planeValues;
      if (plane < r.planes.size())
        loaded[plane * tile.channels + i / memory.planeValues] =
            width == 1 ? all : vector::ExtractOp::create(b, all, i);
    }
  }
  return loaded;
}

SmallVector<Value> StagedEmitter::loadStrips(Value at) {
  if (r.strips.empty())
    return {};
  auto type = VectorType::get({memory.stripWidth}, r.stripType);
  Value indices[] = {turn, at, lane, e.index(0)};
  int64_t bytes = memory.stripWidth * r.stripType.getIntOrFloatBitWidth() / 8;
  return {vector::LoadOp::create(b, type, strips, indices, /*nontemporal=*/false,
                                 llvm::MaybeAlign(std::min<int64_t>(bytes, 16)))};
}

void StagedEmitter::givePoint(int64_t point, const Step &step, ArrayRef<Value> unpacked) {
  setPoint(point);
  give(fixed[point]);
  for (auto [i, plane] : llvm::enumerate(r.planes))
    e.provide(plane, step.planes[i * tile.channels + point / tile.perLane]);
  for (auto [i, strip] : llvm::enumerate(r.strips))
    e.provide(strip, unpacked[i * tile.perLane + point % tile.perLane]);
}

SmallVector<Value> StagedEmitter::computeEarly(const Step &step) {
  Values result, unpacked = step.strips.empty() ? Values() : unpack(step.strips.front());
  for (int64_t point = 0; point < numPoints(); ++point) {
    PointEmitter::Scope scope(e);
    givePoint(point, step, unpacked);
    for (Value value : r.early) {
      Value scaled = scaledFactors[point].lookup(value);
      if (scaled) {
        auto [factor, other] = *splitExp(value);
        Value power = arith::MulFOp::create(b, e.get(other), scaled);
        e.provide(value, math::Exp2Op::create(b, power, arith::FastMathFlags::afn));
      }
      result.push_back(e.get(value));
    }
  }
  return result;
}

/// The factors of a product of which exp is taken, the first one the same in all steps: in it the
/// change to base 2 costs nothing. Where approximations are allowed.
std::optional<std::pair<Value, Value>> StagedEmitter::splitExp(Value value) {
  auto exp = value.getDefiningOp<math::ExpOp>();
  auto product = exp ? exp.getOperand().getDefiningOp<arith::MulFOp>() : arith::MulFOp();
  if (!product || product->getBlock() != &kernel.getStep() ||
      !arith::bitEnumContainsAll(exp.getFastmath(), arith::FastMathFlags::afn))
    return std::nullopt;
  for (auto [x, y] : {std::pair(product.getLhs(), product.getRhs()),
                      std::pair(product.getRhs(), product.getLhs())})
    if (!contains(e.loops.of(x), r.time))
      return std::pair(x, y);
  return std::nullopt;
}

/// The carries after a step; adds what the lane has of the sums, for each of its channels.
SmallVector<Value> StagedEmitter::advance(ValueRange now, const Step &step, Values &sums) {
  Values unpacked = step.strips.empty() ? Values() : unpack(step.strips.front());
  Values next(now.size()), part(r.sums.size() * tile.channels);
  for (int64_t point = 0; point < numPoints(); ++point) {
    PointEmitter::Scope scope(e);
    givePoint(point, step, unpacked);
    for (auto [i, value] : llvm::enumerate(r.early))
      e.provide(value, step.early[point * r.early.size() + i]);
    for (unsigned i = 0; i < kernel.getNumCarries(); ++i)
      e.provide(kernel.getCarryArg(i), now[i * numPoints() + point]);
    for (unsigned i = 0; i < kernel.getNumCarries(); ++i)
      next[i * numPoints() + point] = e.get(kernel.getYield().getValues()[i]);
    for (auto [i, sum] : llvm::enumerate(r.sums)) {
      Value term = e.get(sum.getValue());
      if (Value valid = isValidState(point))
        term = d.select(valid, term, e.neutral(sum.getKind(), sum.getType()));
      Value &all = part[i * tile.channels + point / tile.perLane];
      all = all ? e.combine(sum.getKind(), all, term) : term;
    }
  }
  llvm::append_range(sums, part);
  return next;
}

void StagedEmitter::storeParts(Value at, ArrayRef<Value> given) {
  for (unsigned i = 0; i < r.sums.size(); ++i) {
    Value indices[] = {turn, e.index(i), at, partsPlace};
    ArrayRef<Value> own = given.slice(i * tile.channels, tile.channels);
    if (tile.channels == 1) {
      memref::StoreOp::create(b, own.front(), parts, indices);
      continue;
    }
    auto type = VectorType::get({tile.channels}, b.getF32Type());
    Value vector = vector::FromElementsOp::create(b, type, own);
    vector::StoreOp::create(b, vector, parts, indices, /*nontemporal=*/false,
                            llvm::MaybeAlign(4 * tile.channels));
  }
}

/// A tile with all its steps: slow values of a lot are computed while the chain goes through the
/// lot before.
SmallVector<Value> StagedEmitter::scanWhole(ValueRange given) {
  struct Lot {
    SmallVector<Step> steps;
    SmallVector<Values> nextPlanes;
  };
  auto loadPlanesOf = [&](Value first) {
    SmallVector<Values> loaded;
    for (int64_t i = 0; i < tile.lot; ++i)
      loaded.push_back(loadPlanes(e.add(first, i)));
    return loaded;
  };
  auto begin = [&](ArrayRef<Values> planesOfLot, Value first) {
    SmallVector<Step> lot;
    for (int64_t i = 0; i < tile.lot; ++i)
      lot.push_back({planesOfLot[i], loadStrips(e.add(first, i)), {}});
    for (Step &step : lot)
      step.early = computeEarly(step);
    return lot;
  };
  // `ahead`: lots of the tile that follow this one, as far as it matters.
  auto run = [&](Lot lot, Values &now, Value first, int64_t ahead) {
    Lot next;
    if (ahead > 1)
      next.nextPlanes = loadPlanesOf(e.add(first, 2 * tile.lot));
    if (ahead > 0)
      next.steps = begin(lot.nextPlanes, e.add(first, tile.lot));
    SmallVector<Values> sums(tile.lot);
    for (int64_t i = 0; i < tile.lot; ++i)
      now = advance(now, lot.steps[i], sums[i]);
    for (int64_t i = 0; i < tile.lot; ++i)
      storeParts(e.add(first, i), sums[i]);
    return next;
  };
  auto flatten = [](const Lot &lot, Values now) {
    for (const Step &step : lot.steps)
      for (const Values &values : {step.planes, step.strips, step.early})
        llvm::append_range(now, values);
    for (const Values &values : lot.nextPlanes)
      llvm::append_range(now, values);
    return now;
  };
  auto refill = [](Lot shape, ValueRange from) {
    for (Step &step : shape.steps)
      for (Values *values : {&step.planes, &step.strips, &step.early})
        for (Value &value : *values) {
          value = from.front();
          from = from.drop_front();
        }
    for (Values &values : shape.nextPlanes)
      for (Value &value : values) {
        value = from.front();
        from = from.drop_front();
      }
    return shape;
  };

  Values now(given);
  Value zero = e.index(0);
  Lot lot{begin(loadPlanesOf(zero), zero), loadPlanesOf(e.index(tile.lot))};
  int64_t last = tile.steps - tile.lots * tile.lot;
  Values flat = d.loop(zero, e.index(last), e.index(tile.lots * tile.lot), flatten(lot, now),
                       [&](Value first, ValueRange carried) {
                         Values inside(carried.take_front(now.size()));
                         Lot current = refill(lot, carried.drop_front(now.size()));
                         for (int64_t i = 0; i < tile.lots; ++i)
                           current = run(current, inside, e.add(first, i * tile.lot), 2);
                         return flatten(current, inside);
                       });
  now.assign(flat.begin(), flat.begin() + now.size());
  lot = refill(lot, ValueRange(flat).drop_front(now.size()));
  for (int64_t i = 0; i < tile.lots; ++i)
    lot = run(lot, now, e.index(last + i * tile.lot), tile.lots - 1 - i);
  return now;
}

SmallVector<Value> StagedEmitter::scanTile(ValueRange now, Value count) {
  Value isWhole = d.isEqual(count, tile.steps);
  auto branch = scf::IfOp::create(b, now.getTypes(), isWhole, /*withElseRegion=*/true);
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToStart(branch.thenBlock());
  scf::YieldOp::create(b, scanWhole(now));
  b.setInsertionPointToStart(branch.elseBlock());
  Values rest = e.loop(e.index(0), count, 1, now, [&](Value at, ValueRange given) {
    Step step{loadPlanes(at), loadStrips(at), {}};
    step.early = computeEarly(step);
    Values sums;
    Values next = advance(given, step, sums);
    storeParts(at, sums);
    return next;
  });
  scf::YieldOp::create(b, rest);
  return llvm::to_vector_of<Value>(branch.getResults());
}

SmallVector<Value> StagedEmitter::loadCarries() {
  auto load = [&](bool isContinued) {
    Values loaded;
    for (unsigned i = 0; i < kernel.getNumCarries(); ++i)
      for (int64_t point = 0; point < numPoints(); ++point) {
        PointEmitter::Scope scope(e);
        setPoint(point);
        Value init = kernel.getInits()[i];
        if (isContinued)
          loaded.push_back(e.load(kernel.getOuts()[i], kernel.getOutMap(i), false));
        else if (isa<MemRefType>(init.getType()))
          loaded.push_back(e.load(init, kernel.getInitMap(i), false));
        else
          loaded.push_back(init);
      }
    return loaded;
  };
  SmallVector<Type> types(kernel.getNumCarries() * numPoints(), b.getF32Type());
  auto branch = scf::IfOp::create(b, types, isContinued, /*withElseRegion=*/true);
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToStart(branch.thenBlock());
  waitForCarries();
  scf::YieldOp::create(b, load(true));
  b.setInsertionPointToStart(branch.elseBlock());
  scf::YieldOp::create(b, load(false));
  return llvm::to_vector_of<Value>(branch.getResults());
}

void StagedEmitter::scan() {
  lane = d.rem(thread, tile.lanes);
  within = d.div(thread, tile.lanes);
  int64_t inChunk = kChunk / tile.channels;
  planeChunk = d.div(within, inChunk);
  planePlace = e.mul(d.rem(within, inChunk), e.index(tile.channels * memory.planeValues));
  // Parts of the kChunk channels of an element thread follow each other.
  int64_t perChunk = kChunk * tile.lanes;
  partsPlace = e.add(e.mul(thread, e.index(tile.channels)),
                     e.mul(d.div(thread, perChunk / tile.channels),
                           e.index(memory.partsOfChunk - perChunk)));
  fixed.clear();
  scaledFactors.clear();
  for (int64_t point = 0; point < numPoints(); ++point) {
    PointEmitter::Scope scope(e);
    setPoint(point);
    fixed.push_back(fixedHere());
    give(fixed.back());
    Known &scaled = scaledFactors.emplace_back();
    for (Value value : r.early)
      if (auto factors = splitExp(value)) {
        Value base = arith::ConstantOp::create(b, b.getF32FloatAttr(llvm::numbers::log2e));
        scaled[value] = arith::MulFOp::create(b, e.get(factors->first), base);
      }
  }
  Values now = loadCarries();
  now = e.loop(e.index(0), rounds, 1, now, [&](Value round, ValueRange given) {
    // Round 0 wraps.
    Value at = e.sub(round, e.index(1));
    turn = inTurn(at);
    auto branch = scf::IfOp::create(b, given.getTypes(), d.isLess(at, numTiles), true);
    {
      OpBuilder::InsertionGuard guard(b);
      b.setInsertionPointToStart(branch.elseBlock());
      scf::YieldOp::create(b, given);
      b.setInsertionPointToStart(branch.thenBlock());
      Value begin = e.mul(e.add(firstTile, at), e.index(tile.steps));
      Value count = e.min(e.sub(steps, begin), e.index(tile.steps));
      scf::YieldOp::create(b, scanTile(given, count));
    }
    gpu::BarrierOp::create(b);
    return llvm::to_vector_of<Value>(branch.getResults());
  });
  for (unsigned i = 0; i < kernel.getNumCarries(); ++i)
    for (int64_t point = 0; point < numPoints(); ++point)
      d.branch(isWritten(point), [&] {
        PointEmitter::Scope scope(e);
        setPoint(point);
        e.storeOut(i, now[i * numPoints() + point]);
      });
}
