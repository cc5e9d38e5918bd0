//===- EmitStagedElements.cpp - Warps before and after the scan ----------- ===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "passes/GPU/StagedEmitter.h"

#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;
using namespace ssm;

StagedEmitter::Chunk StagedEmitter::chunkOf(int64_t pass, Value tileIndex) {
  Chunk chunk;
  Value across = isAlongTime() ? row : e.add(row, pass * perPass);
  Value along = e.mul(isAlongTime() ? e.add(column, pass * perPass) : column, e.index(kChunk));
  chunk.blockChannel = isAlongTime() ? across : along;
  chunk.blockTime = isAlongTime() ? along : across;
  chunk.channel = e.add(firstChannel, chunk.blockChannel);
  chunk.time = e.add(e.mul(tileIndex, e.index(tile.steps)), chunk.blockTime);
  chunk.exists = d.make<arith::AndIOp>(d.isLess(chunk.channel, channels),
                                       d.isLess(chunk.time, steps));
  if (hasChunk)
    chunk.exists = d.make<arith::AndIOp>(chunk.exists, hasChunk);
  auto clamp = [&](Value at, Value size, bool isWide) {
    return e.min(at, e.sub(size, e.index(isWide ? kChunk : 1)));
  };
  chunk.channel = clamp(chunk.channel, channels, !isAlongTime());
  chunk.time = clamp(chunk.time, steps, isAlongTime());
  return chunk;
}

void StagedEmitter::setLane(const Chunk &chunk, int64_t at) {
  e.at[r.channel] = e.add(chunk.channel, isAlongTime() ? 0 : at);
  e.at[r.time] = e.add(chunk.time, isAlongTime() ? at : 0);
  e.mirroredTime = e.sub(e.sub(steps, e.index(1)), e.at[r.time]);
}

/// Of the chunk's first element in memory, its first lane's indices being set.
SmallVector<Value> StagedEmitter::wideIndices(AffineMap map, bool isMirrored) {
  return llvm::map_to_vector(map.getResults(), [&](AffineExpr expr) -> Value {
    if (auto constant = dyn_cast<AffineConstantExpr>(expr))
      return e.index(constant.getValue());
    unsigned loop = cast<AffineDimExpr>(expr).getPosition();
    if (loop != r.time || !isMirrored)
      return e.at[loop];
    return isAlongTime() ? e.sub(e.mirroredTime, e.index(kChunk - 1)) : e.mirroredTime;
  });
}

static int64_t alignmentOf(VectorType type) {
  return std::min<int64_t>(16, type.getNumElements() * type.getElementTypeBitWidth() / 8);
}

/// For each pass and input.
SmallVector<Value> StagedEmitter::loadChunks(ArrayRef<unsigned> inputs, Value tileIndex) {
  Values loaded;
  for (int64_t pass = 0; pass < passes; ++pass) {
    PointEmitter::Scope scope(e);
    setLane(chunkOf(pass, tileIndex), 0);
    for (unsigned i : inputs) {
      Value buffer = kernel.getInputs()[i];
      auto type = VectorType::get({kChunk}, cast<MemRefType>(buffer.getType()).getElementType());
      Values indices = wideIndices(kernel.getInputMap(i), kernel.isInputMirrored(i));
      loaded.push_back(vector::LoadOp::create(b, type, buffer, indices, /*nontemporal=*/false,
                                              llvm::MaybeAlign(alignmentOf(type))));
    }
  }
  return loaded;
}

SmallVector<SmallVector<Value>> StagedEmitter::takeChunks(ArrayRef<unsigned> inputs,
                                                          ValueRange loaded) {
  SmallVector<Values> result;
  for (auto [i, vector] : llvm::zip_equal(inputs, loaded)) {
    Values lanes = unpack(vector);
    if (isAlongTime() && kernel.isInputMirrored(i))
      std::reverse(lanes.begin(), lanes.end());
    result.push_back(lanes);
  }
  return result;
}

void StagedEmitter::giveInputs(ArrayRef<unsigned> inputs, ArrayRef<Values> chunks, int64_t at) {
  for (auto [i, lanes] : llvm::zip_equal(inputs, chunks)) {
    BlockArgument arg = kernel.getInputArg(i);
    Value value = lanes[at];
    if (arg.getType().isF32()) {
      e.provide(arg, value);
      continue;
    }
    for (Operation *user : arg.getUsers())
      if (isa<arith::ExtFOp>(user) && user->getResult(0).getType().isF32())
        e.provide(user->getResult(0), value);
    // Exact, and gone if nothing takes it.
    e.provide(arg, arith::TruncFOp::create(b, arg.getType(), value));
  }
}

StagedEmitter::StripPart StagedEmitter::stripPart(int64_t pass) {
  Value place = e.add(number, pass * kElementThreads);
  StripPart part{d.div(place, stripsPerStep()), d.rem(place, stripsPerStep()), Value()};
  int64_t count = tile.lanes * tile.perLane / r.stripRun;
  if (count < stripsPerStep()) {
    part.exists = d.isLess(part.number, count);
    part.number = e.min(part.number, e.index(count - 1));
  }
  if ((pass + 1) * kElementThreads > tile.steps * stripsPerStep()) {
    Value isInside = d.isLess(part.time, tile.steps);
    part.exists = part.exists ? d.make<arith::AndIOp>(part.exists, isInside) : isInside;
    part.time = e.min(part.time, e.index(tile.steps - 1));
  }
  return part;
}

/// For each pass and strip.
SmallVector<Value> StagedEmitter::loadStripParts(Value tileIndex) {
  Values loaded;
  for (int64_t pass = 0; pass < stripPasses() && !r.strips.empty(); ++pass) {
    PointEmitter::Scope scope(e);
    StripPart part = stripPart(pass);
    Value state = e.mul(part.number, e.index(r.stripRun));
    Value time = e.add(e.mul(tileIndex, e.index(tile.steps)), part.time);
    Value last = e.sub(steps, e.index(1));
    e.at[r.time] = e.min(time, last);
    e.mirroredTime = e.sub(last, e.at[r.time]);
    e.at[r.state] = tile.lanes * tile.perLane == r.numStates
                        ? state
                        : e.min(state, e.index(r.numStates - 1));
    for (Value source : r.stripSources) {
      if (r.stripRun == 1) {
        loaded.push_back(e.get(source));
        continue;
      }
      unsigned i = cast<BlockArgument>(source).getArgNumber();
      auto type = VectorType::get({r.stripRun}, r.stripType);
      Values indices = wideIndices(kernel.getInputMap(i), kernel.isInputMirrored(i));
      loaded.push_back(vector::LoadOp::create(b, type, kernel.getInputs()[i], indices,
                                              /*nontemporal=*/false,
                                              llvm::MaybeAlign(alignmentOf(type))));
    }
  }
  return loaded;
}

void StagedEmitter::storeStripParts(ValueRange loaded, Value where) {
  for (int64_t pass = 0; pass < stripPasses() && !r.strips.empty(); ++pass) {
    StripPart part = stripPart(pass);
    int64_t perLane = tile.perLane / r.stripRun;
    auto store = [&] {
      for (auto [i, value] : llvm::enumerate(loaded.take_front(r.strips.size()))) {
        Value place = perLane == 1 ? e.index(0)
                                   : e.mul(d.rem(part.number, perLane), e.index(r.stripRun));
        Value indices[] = {where, part.time, d.div(part.number, perLane),
                           e.add(place, i * tile.perLane)};
        if (r.stripRun == 1)
          memref::StoreOp::create(b, value, strips, indices);
        else
          vector::StoreOp::create(b, value, strips, indices, /*nontemporal=*/false,
                                  llvm::MaybeAlign(alignmentOf(cast<VectorType>(value.getType()))));
      }
    };
    if (part.exists)
      d.branch(part.exists, store);
    else
      store();
    loaded = loaded.drop_front(r.strips.size());
  }
}

void StagedEmitter::computePlanes(ValueRange loaded, Value tileIndex, Value where) {
  for (int64_t pass = 0; pass < passes && !r.planes.empty(); ++pass) {
    Chunk chunk = chunkOf(pass, tileIndex);
    SmallVector<Values> inputs = takeChunks(r.planeInputs, loaded.take_front(r.planeInputs.size()));
    loaded = loaded.drop_front(r.planeInputs.size());
    SmallVector<Values> results(r.planes.size());
    for (int64_t at = 0; at < kChunk; ++at) {
      PointEmitter::Scope scope(e);
      setLane(chunk, at);
      giveFixed(at);
      giveInputs(r.planeInputs, inputs, at);
      for (auto [i, plane] : llvm::enumerate(r.planes))
        results[i].push_back(e.get(plane));
    }
    auto store = [&] {
      auto place = [&](unsigned plane, Value time, Value inChunk) {
        unsigned apart = memory.planeValues == 1 ? plane : 0;
        return Values{where, e.index(apart), time, d.div(chunk.blockChannel, kChunk), inChunk};
      };
      if (isAlongTime()) {
        Value channel = e.mul(d.rem(chunk.blockChannel, kChunk), e.index(memory.planeValues));
        auto type = VectorType::get({memory.planeValues}, b.getF32Type());
        for (unsigned first = 0; first < r.planes.size(); first += memory.planeValues)
          for (int64_t at = 0; at < kChunk; ++at) {
            Values together;
            for (int64_t i = 0; i < memory.planeValues; ++i)
              together.push_back(results[std::min<int64_t>(first + i, r.planes.size() - 1)][at]);
            vector::StoreOp::create(
                b, vector::FromElementsOp::create(b, type, together), planes,
                place(first, e.add(chunk.blockTime, at), channel), /*nontemporal=*/false,
                llvm::MaybeAlign(std::min<int64_t>(memory.planeValues * 4, 16)));
          }
        return;
      }
      auto type = VectorType::get({4}, b.getF32Type());
      for (unsigned first = 0; first < r.planes.size(); first += memory.planeValues) {
        Values row;
        for (int64_t i = 0; i < kChunk * memory.planeValues; ++i) {
          size_t plane = first + i % memory.planeValues;
          row.push_back(results[std::min(plane, results.size() - 1)][i / memory.planeValues]);
        }
        for (size_t at = 0; at < row.size(); at += 4)
          vector::StoreOp::create(
              b, vector::FromElementsOp::create(b, type, ArrayRef(row).slice(at, 4)), planes,
              place(first, chunk.blockTime, e.index(at)), /*nontemporal=*/false,
              llvm::MaybeAlign(16));
      }
    };
    if (hasChunk)
      d.branch(hasChunk, store);
    else
      store();
  }
}

/// The sum at each element of the chunk, from the lanes' parts.
SmallVector<Value> StagedEmitter::sumParts(ReduceOp sum, unsigned index, const Chunk &chunk,
                                           Value where) {
  auto four = VectorType::get({4}, b.getF32Type());
  auto load = [&](Value time, Value place, int64_t count) {
    Values values;
    for (int64_t at = 0; at < count; at += 4) {
      Value indices[] = {where, e.index(index), time, e.add(place, at)};
      if (count % 4 == 0) {
        Value vector = vector::LoadOp::create(b, four, parts, indices, /*nontemporal=*/false,
                                              llvm::MaybeAlign(16));
        for (int64_t i = 0; i < 4; ++i)
          values.push_back(vector::ExtractOp::create(b, vector, i));
        continue;
      }
      for (int64_t i = at; i < count; ++i) {
        indices[3] = e.add(place, i);
        values.push_back(memref::LoadOp::create(b, parts, indices));
      }
    }
    return values;
  };
  auto total = [&](Values values) {
    while (values.size() > 1) {
      Values half;
      for (size_t i = 0; i + 1 < values.size(); i += 2)
        half.push_back(e.combine(sum.getKind(), values[i], values[i + 1]));
      values = half;
    }
    return values.front();
  };
  Values sums;
  Value begin = e.mul(d.div(chunk.blockChannel, kChunk), e.index(memory.partsOfChunk));
  if (isAlongTime()) {
    Value place = e.add(begin, e.mul(d.rem(chunk.blockChannel, kChunk), e.index(tile.lanes)));
    for (int64_t at = 0; at < kChunk; ++at)
      sums.push_back(total(load(e.add(chunk.blockTime, at), place, tile.lanes)));
    return sums;
  }
  Values all = load(chunk.blockTime, begin, kChunk * tile.lanes);
  for (int64_t at = 0; at < kChunk; ++at) {
    Values own;
    for (int64_t i = 0; i < tile.lanes; ++i)
      own.push_back(all[(at / tile.channels * tile.lanes + i) * tile.channels + at % tile.channels]);
    sums.push_back(total(own));
  }
  return sums;
}

void StagedEmitter::computeOuts(ValueRange loaded, Value tileIndex, Value where) {
  auto yielded = kernel.getYield().getValues();
  for (int64_t pass = 0; pass < passes; ++pass) {
    Chunk chunk = chunkOf(pass, tileIndex);
    SmallVector<Values> inputs = takeChunks(r.outInputs, loaded.take_front(r.outInputs.size()));
    loaded = loaded.drop_front(r.outInputs.size());
    d.branch(chunk.exists, [&] {
      SmallVector<Values> sums, results(kernel.getOuts().size());
      for (auto [i, sum] : llvm::enumerate(r.sums))
        sums.push_back(sumParts(sum, i, chunk, where));
      // Rounded two at a time, as a vector.
      auto wideOf = [&](unsigned out) -> Value {
        auto round = yielded[out].getDefiningOp<arith::TruncFOp>();
        return round && round->getBlock() == &kernel.getStep() &&
                       llvm::is_contained(r.wideOuts, out)
                   ? round.getIn()
                   : yielded[out];
      };
      for (int64_t at = 0; at < kChunk; ++at) {
        PointEmitter::Scope scope(e);
        setLane(chunk, at);
        giveFixed(at);
        giveInputs(r.outInputs, inputs, at);
        for (auto [sum, values] : llvm::zip_equal(r.sums, sums))
          e.provide(sum, values[at]);
        for (unsigned out : r.outs)
          results[out].push_back(e.get(wideOf(out)));
      }
      for (unsigned out : r.outs) {
        PointEmitter::Scope scope(e);
        if (!llvm::is_contained(r.wideOuts, out)) {
          for (int64_t at = 0; at < kChunk; ++at) {
            setLane(chunk, at);
            e.storeOut(out, results[out][at]);
          }
          continue;
        }
        setLane(chunk, 0);
        if (isAlongTime() && kernel.isOutMirrored(out))
          std::reverse(results[out].begin(), results[out].end());
        auto type = VectorType::get({kChunk}, results[out].front().getType());
        Value vector = vector::FromElementsOp::create(b, type, results[out]);
        auto stored = VectorType::get({kChunk}, yielded[out].getType());
        if (stored != type)
          vector = arith::TruncFOp::create(b, stored, vector);
        vector::StoreOp::create(b, vector, kernel.getOuts()[out],
                                wideIndices(kernel.getOutMap(out), kernel.isOutMirrored(out)),
                                /*nontemporal=*/false, llvm::MaybeAlign(alignmentOf(stored)));
      }
    });
  }
}

void StagedEmitter::elements() {
  number = d.bitAnd(thread, kElementThreads - 1);
  int64_t width = isAlongTime() ? tile.allChannels() : tile.allChannels() / kChunk;
  int64_t height = isAlongTime() ? tile.steps / kChunk : tile.steps;
  perPass = kElementThreads / width;
  passes = std::max<int64_t>(height / perPass, 1);
  // Neighbours have chunks of one step. Along time two chunks that follow each other are side by
  // side, four of eight channels in a warp: whole sectors of memory, and of eight threads, which
  // memory serves at once, two have a line. More would take one bank of shared memory more often.
  int64_t pairs = isAlongTime() ? std::min({int64_t(2), height / 2, perPass / 2}) : 0;
  Value across, down;
  if (pairs == 0) {
    across = d.rem(number, width);
    down = d.div(number, width);
  } else {
    Value patch = d.div(number, 2 * kChunk * pairs);
    int64_t patches = width / kChunk;
    auto join = [&](Value low, Value high, int64_t size) {
      return e.add(low, e.mul(high, e.index(size)));
    };
    across = join(d.rem(d.div(number, 2), kChunk), d.rem(patch, patches), kChunk);
    Value pair = join(d.rem(d.div(number, 2 * kChunk), pairs), d.div(patch, patches), pairs);
    down = join(d.rem(number, 2), pair, 2);
  }
  hasChunk = Value();
  if (perPass > height) {
    hasChunk = d.isLess(down, height);
    down = e.min(down, e.index(height - 1));
  }
  row = isAlongTime() ? across : down;
  column = isAlongTime() ? down : across;
  fixed.clear();
  Value zero = e.index(0);
  for (int64_t i = 0; i < (isAlongTime() ? 1 : kChunk); ++i) {
    PointEmitter::Scope scope(e);
    setLane(chunkOf(0, zero), i);
    fixed.push_back(fixedHere());
  }
  // Elements are on their way for a round: those of the next planes, and of the outs.
  auto loadAhead = [&](Value tileIndex) {
    Values loaded = loadChunks(r.planeInputs, tileIndex);
    llvm::append_range(loaded, loadStripParts(tileIndex));
    return loaded;
  };
  Values ahead = loadAhead(firstTile);
  size_t numPlanes = passes * r.planeInputs.size(), numAhead = ahead.size();
  llvm::append_range(ahead, loadChunks(r.outInputs, firstTile));
  e.loop(zero, rounds, 1, ahead, [&](Value round, ValueRange loaded) {
    Value at = e.add(firstTile, round), where = inTurn(round);
    d.branch(d.isLess(round, numTiles), [&] {
      computePlanes(loaded.take_front(numPlanes), at, where);
      storeStripParts(loaded.slice(numPlanes, numAhead - numPlanes), where);
    });
    Values next = loadAhead(e.add(at, 1));
    // Two rounds after its planes a tile's sums are there.
    d.branch(d.compare(arith::CmpIPredicate::uge, round, e.index(2)), [&] {
      computeOuts(loaded.drop_front(numAhead), e.sub(at, e.index(2)), where);
    });
    Value last = e.sub(b.createOrFold<arith::MaxUIOp>(round, e.index(1)), e.index(1));
    llvm::append_range(next, loadChunks(r.outInputs, e.add(firstTile, last)));
    gpu::BarrierOp::create(b);
    return next;
  });
}
