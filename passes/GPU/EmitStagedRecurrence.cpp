//===- EmitStagedRecurrence.cpp - Selective scans by warps with roles ----- ===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A block of threads has some channels. Time goes by tiles: while warps of one role step through
// a tile with the carries in registers, those of the other compute what the next tile's steps
// take and what comes after the sums of the tile before. They meet at one barrier for each tile.
//
//===----------------------------------------------------------------------===//

#include "passes/GPU/StagedRecurrence.h"

#include "lib/Emit/PointEmitter.h"
#include "passes/GPU/DeviceBuilder.h"
#include "passes/GPU/DeviceModule.h"

#include "mlir/Dialect/Arith/Utils/Utils.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace ssm;

namespace {

/// Steps whose slow values are computed together, ahead of the chain, and how many of these
/// lots the loop's body has: values that move on to the next lot then need no copies.
constexpr int64_t kLots = 2;

class StagedEmitter {
public:
  StagedEmitter(DeviceKernel &k, const StagedRecurrence &r, StagedTile tile)
      : k(k), kernel(k.kernel), r(r), tile(tile), memory(layoutStagedMemory(r, tile)), b(k.device),
        d{b}, e(kernel, b, std::nullopt, 1) {}

  LaunchShape emit();

private:
  using Values = SmallVector<Value>;
  using Known = llvm::DenseMap<Value, Value>;

  LaunchShape launch();
  Value viewMemory(int64_t offset, ArrayRef<int64_t> shape, Type type);
  void setGroup(Value group);
  void runBlock();
  /// The flag that tells a block that the one before it has left its carries.
  Value flagOf(Value block);
  void waitForCarries();
  /// The values that no step changes, at this point of the loops.
  Known fixedHere();
  void give(const Known &known);
  /// Elements of a vector in f32.
  Values unpack(Value vector);
  Value inTurn(Value tileIndex) { return d.bitAnd(tileIndex, 1); }

  //===--------------------------------------------------------------------===//
  // Scan
  //===--------------------------------------------------------------------===//

  /// What a step takes: each plane for each of the lane's channels, all strips in a vector; slow
  /// values of each point.
  struct Step {
    Values planes, strips, early;
  };
  int64_t numPoints() const { return tile.channels * tile.perLane; }
  void scan();
  Values loadCarries();
  void setPoint(int64_t point);
  Value isValidState(int64_t point);
  Value isWritten(int64_t point);
  Values loadPlanes(Value at);
  Values loadStrips(Value at);
  void givePoint(int64_t point, const Step &step, ArrayRef<Value> strips);
  std::optional<std::pair<Value, Value>> splitExp(Value value);
  Values computeEarly(const Step &step);
  Values advance(ValueRange now, const Step &step, Values &parts);
  void storeParts(Value at, ArrayRef<Value> parts);
  Values scanTile(ValueRange now, Value count);
  Values scanWhole(ValueRange now);

  //===--------------------------------------------------------------------===//
  // Elements
  //===--------------------------------------------------------------------===//

  /// Where a thread's chunk lies: in the block, and in the operands, where what does not exist
  /// is replaced by what does.
  struct Chunk {
    Value blockChannel, blockTime, channel, time, exists;
  };
  void elements();
  Chunk chunkOf(int64_t pass, Value tileIndex);
  void setLane(const Chunk &chunk, int64_t lane);
  void giveFixed(int64_t pass, int64_t lane) { give(fixed[isAlongTime() ? pass : lane]); }
  bool isAlongTime() const { return r.wide == r.time; }
  Values wideIndices(AffineMap map, bool isMirrored);
  Values loadChunks(ArrayRef<unsigned> inputs, Value tileIndex);
  /// The elements of a pass in f32 or as they are, [input][lane].
  SmallVector<Values> takeChunks(ArrayRef<unsigned> inputs, ValueRange loaded);
  void giveInputs(ArrayRef<unsigned> inputs, ArrayRef<Values> chunks, int64_t lane);
  Values loadStripParts(Value tileIndex);
  void storeStripParts(ValueRange loaded, Value turn);
  void computePlanes(ValueRange loaded, Value tileIndex, Value turn);
  void computeOuts(ValueRange loaded, Value tileIndex, Value turn);
  Values sumParts(ReduceOp sum, unsigned index, const Chunk &chunk, Value turn);
  int64_t stripPasses() const {
    return llvm::divideCeil(tile.steps * stripsPerStep(), kElementThreads);
  }
  int64_t stripsPerStep() const {
    return llvm::PowerOf2Ceil(tile.lanes * tile.perLane / r.stripRun);
  }
  /// Of a strip's part: its step, its number among those of the step, and whether it exists
  /// (null: it does).
  struct StripPart {
    Value time, number, exists;
  };
  StripPart stripPart(int64_t pass);

  DeviceKernel &k;
  KernelOp kernel;
  StagedRecurrence r;
  StagedTile tile;
  StagedMemory memory;
  ImplicitLocOpBuilder &b;
  DeviceBuilder d;
  PointEmitter e;

  Value thread, planes, strips, parts;
  /// Sizes, the block's first channel, and its part of the tiles.
  Value steps, channels, firstChannel, firstTile, numTiles, rounds;
  /// All flags, this block's, and whether its carries come from the block before.
  Value flags, ownFlag, isContinued;

  // Scan: the lane, its channels and where its parts of sums go; what no step changes for each
  // point; the buffers' turn.
  Value lane, within, partsPlace, turn;
  SmallVector<Known> fixed, scaledFactors;
  // Elements: the thread's chunk in a row, its row and whether there is one (null: yes), and the
  // rows of all.
  Value number, column, row, hasRow;
  int64_t rows = 0, passes = 0;
};

} // namespace

//===----------------------------------------------------------------------===//
// Both roles
//===----------------------------------------------------------------------===//

LaunchShape StagedEmitter::launch() {
  DeviceBuilder host{k.host};
  SmallVector<OpFoldResult> sizes = k.hostKernel.getLoopSizes(k.host);
  auto size = [&](unsigned loop) {
    return getValueOrCreateConstantIndexOp(k.host, k.host.getLoc(), sizes[loop]);
  };
  Value blocks = host.ceilDiv(size(r.channel), tile.allChannels());
  for (unsigned loop : r.outer)
    blocks = host.mul(blocks, size(loop));
  Value one = arith::ConstantIndexOp::create(k.host, 1);
  constexpr int64_t threads = kScanThreads + kElementThreads;
  Value all = arith::ConstantIndexOp::create(k.host, threads);
  // As many blocks as run at once share all tiles; each has a flag.
  blocks = host.min(blocks, arith::ConstantIndexOp::create(k.host, kFlagWords).getResult());
  auto function = k.hostKernel->getParentOfType<func::FuncOp>();
  auto pointer = LLVM::LLVMPointerType::get(b.getContext());
  Value fault = FaultOp::create(k.host, pointer, function.getArgument(0), function.getArgument(1));
  unsigned index = k.function.getNumArguments();
  (void)k.function.insertArgument(index, pointer, {}, k.function.getLoc());
  flags = k.function.getArgument(index);
  return {{blocks, one, one}, all, threads, memory.bytes, kKernelPersistent, {fault}};
}

Value StagedEmitter::viewMemory(int64_t offset, ArrayRef<int64_t> shape, Type type) {
  auto space = IntegerAttr::get(b.getI64Type(), 3);
  auto memref = MemRefType::get(shape, type, MemRefLayoutAttrInterface(), space);
  return ArenaViewOp::create(b, memref, k.addDynamicShared(), e.index(offset), ValueRange());
}

LaunchShape StagedEmitter::emit() {
  LaunchShape shape = launch();
  k.function->setAttr("nvvm.minctasm", b.getI32IntegerAttr(static_cast<int32_t>(tile.blocks)));
  thread = gpu::ThreadIdOp::create(b, gpu::Dimension::x);
  Type f32 = b.getF32Type();
  auto count = [](auto &list) { return std::max<int64_t>(list.size(), 1); };
  planes = viewMemory(memory.planes, {2, count(r.planes), tile.steps, memory.planePitch}, f32);
  strips = viewMemory(memory.strips, {2, tile.steps, tile.lanes + 1, memory.stripWidth},
                      r.stripType);
  parts = viewMemory(memory.parts, {2, count(r.sums), tile.steps, memory.partsPitch}, f32);
  steps = e.size(r.time);
  channels = e.size(r.channel);
  for (unsigned i = 0; i < kernel.getNumCarries(); ++i)
    shareBetweenThreads(k.function, kernel.getOuts()[i]);
  runBlock();
  return shape;
}

/// A block has some tiles of time that follow each other, of all groups of channels. Where
/// there are more groups than blocks, a group may begin in one block and end in the next: the
/// carries then go through the buffer that is to hold the last ones. A block's last group comes
/// first, so that none waits for what has not begun; blocks begin in their order.
void StagedEmitter::runBlock() {
  Value zero = e.index(0), one = e.index(1);
  Value block = gpu::BlockIdOp::create(b, gpu::Dimension::x);
  Value blocks = gpu::GridDimOp::create(b, gpu::Dimension::x);
  Value tiles = d.ceilDiv(steps, tile.steps), groups = d.ceilDiv(channels, tile.allChannels());
  for (unsigned loop : r.outer)
    groups = e.mul(groups, e.size(loop));
  Value all = e.mul(groups, tiles);
  Value share = d.div(e.sub(e.add(all, blocks), one), blocks);
  share = d.select(d.compare(DeviceBuilder::Predicate::ule, groups, blocks), tiles, share);
  Value begin = e.min(e.mul(block, share), all), end = e.min(e.add(begin, share), all);
  Value first = d.div(begin, tiles), last = d.div(e.sub(e.add(end, tiles), one), tiles);
  Value isFirstThread = d.isEqual(thread, 0);
  d.loop(zero, e.sub(last, first), one, {}, [&](Value number, ValueRange) {
    PointEmitter::Scope scope(e);
    Value group = e.sub(e.sub(last, one), number);
    Value base = e.mul(group, tiles);
    firstTile = e.sub(b.createOrFold<arith::MaxUIOp>(begin, base), base);
    Value endTile = e.sub(e.min(end, e.add(base, tiles)), base);
    numTiles = e.sub(endTile, firstTile);
    isContinued = d.compare(DeviceBuilder::Predicate::ne, firstTile, zero);
    // The scan is one tile behind what it takes, and one before what takes its sums.
    rounds = e.add(numTiles, 2);
    setGroup(group);
    ownFlag = flagOf(block);
    d.branch(
        d.isLess(thread, kScanThreads), [&] { scan(); }, [&] { elements(); });
    // Carries are in memory, and all have seen the flag.
    gpu::BarrierOp::create(b);
    auto set = [&](Value flag, int64_t value) {
      LLVM::StoreOp::create(b, d.constant(value), flag, /*alignment=*/4, /*isVolatile=*/false,
                            /*isNonTemporal=*/false, /*isInvariantGroup=*/false,
                            LLVM::AtomicOrdering::release, "device");
    };
    Value isUnfinished = d.isLess(endTile, tiles);
    d.branch(d.make<arith::AndIOp>(isFirstThread, isUnfinished),
             [&] { set(flagOf(e.add(block, 1)), 1); });
    d.branch(d.make<arith::AndIOp>(isFirstThread, isContinued), [&] { set(ownFlag, 0); });
    return Values();
  });
}

Value StagedEmitter::flagOf(Value block) {
  return d.after(d.after(flags, kFlagsOffset), d.toWide(e.mul(block, e.index(4))));
}

/// Until the block before has left the carries.
void StagedEmitter::waitForCarries() {
  auto wait = scf::WhileOp::create(b, TypeRange(), ValueRange());
  OpBuilder::InsertionGuard guard(b);
  b.createBlock(&wait.getBefore());
  Value seen = LLVM::LoadOp::create(b, b.getI32Type(), ownFlag, /*alignment=*/4,
                                    /*isVolatile=*/false, /*isNonTemporal=*/false,
                                    /*isInvariant=*/false, /*isInvariantGroup=*/false,
                                    LLVM::AtomicOrdering::acquire, "device");
  scf::ConditionOp::create(b, d.isEqual(seen, 0), ValueRange());
  b.createBlock(&wait.getAfter());
  scf::YieldOp::create(b);
}

/// The channels of one block.
void StagedEmitter::setGroup(Value group) {
  Value perOuter = d.ceilDiv(channels, tile.allChannels());
  Value rest = r.outer.empty() ? Value() : d.div(group, perOuter);
  firstChannel = e.mul(rest ? d.rem(group, perOuter) : group, e.index(tile.allChannels()));
  for (auto [i, loop] : llvm::enumerate(llvm::reverse(r.outer))) {
    bool isLast = i + 1 == r.outer.size();
    e.at[loop] = isLast ? rest : d.rem(rest, e.size(loop));
    if (!isLast)
      rest = d.div(rest, e.size(loop));
  }
}

StagedEmitter::Known StagedEmitter::fixedHere() {
  PointEmitter::Scope scope(e);
  LoopSet available = 0;
  for (unsigned loop = 0; loop < kernel.getNumLoops(); ++loop)
    if (loop != r.time && e.at[loop])
      available |= loopBit(loop);
  e.hoist(available);
  Known known;
  e.forEachKnown([&](Value value, Value emitted) { known[value] = emitted; });
  return known;
}

void StagedEmitter::give(const Known &known) {
  for (auto [value, emitted] : known)
    e.provide(value, emitted);
}

SmallVector<Value> StagedEmitter::unpack(Value vector) {
  auto type = cast<VectorType>(vector.getType());
  Type element = type.getElementType(), f32 = b.getF32Type();
  int64_t count = type.getNumElements();
  Values result;
  if (element.isBF16() && count % 2 == 0) {
    // An instruction each; extf of the odd ones takes two.
    auto words = VectorType::get({count / 2}, b.getI32Type());
    Value pairs = vector::BitCastOp::create(b, words, vector);
    Value half = d.constant(16), high = d.constant(-65536);
    for (int64_t i = 0; i < count; ++i) {
      Value word = vector::ExtractOp::create(b, pairs, i / 2);
      word = i % 2 == 0 ? arith::ShLIOp::create(b, word, half).getResult()
                        : arith::AndIOp::create(b, word, high).getResult();
      result.push_back(arith::BitcastOp::create(b, f32, word));
    }
    return result;
  }
  for (int64_t i = 0; i < count; ++i) {
    Value value = vector::ExtractOp::create(b, vector, i);
    result.push_back(element.isF32() ? value : arith::ExtFOp::create(b, f32, value).getResult());
  }
  return result;
}

//===----------------------------------------------------------------------===//
// Scan
//===----------------------------------------------------------------------===//

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
  Values loaded;
  Value place = e.mul(within, e.index(tile.channels));
  auto type = VectorType::get({tile.channels}, b.getF32Type());
  for (unsigned plane = 0; plane < r.planes.size(); ++plane) {
    Value indices[] = {turn, e.index(plane), at, place};
    if (tile.channels == 1) {
      loaded.push_back(memref::LoadOp::create(b, planes, indices));
      continue;
    }
    Value all = vector::LoadOp::create(b, type, planes, indices, /*nontemporal=*/false,
                                       llvm::MaybeAlign(4 * tile.channels));
    for (int64_t i = 0; i < tile.channels; ++i)
      loaded.push_back(vector::ExtractOp::create(b, all, i));
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
  int64_t last = tile.steps - kLots * tile.lot;
  Values flat = d.loop(zero, e.index(last), e.index(kLots * tile.lot), flatten(lot, now),
                       [&](Value first, ValueRange carried) {
                         Values inside(carried.take_front(now.size()));
                         Lot current = refill(lot, carried.drop_front(now.size()));
                         for (int64_t i = 0; i < kLots; ++i)
                           current = run(current, inside, e.add(first, i * tile.lot), 2);
                         return flatten(current, inside);
                       });
  now.assign(flat.begin(), flat.begin() + now.size());
  lot = refill(lot, ValueRange(flat).drop_front(now.size()));
  for (int64_t i = 0; i < kLots; ++i)
    lot = run(lot, now, e.index(last + i * tile.lot), kLots - 1 - i);
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

//===----------------------------------------------------------------------===//
// Elements
//===----------------------------------------------------------------------===//

StagedEmitter::Chunk StagedEmitter::chunkOf(int64_t pass, Value tileIndex) {
  Chunk chunk;
  Value across = e.add(row, pass * rows), along = e.mul(column, e.index(kChunk));
  chunk.blockChannel = isAlongTime() ? across : along;
  chunk.blockTime = isAlongTime() ? along : across;
  chunk.channel = e.add(firstChannel, chunk.blockChannel);
  chunk.time = e.add(e.mul(tileIndex, e.index(tile.steps)), chunk.blockTime);
  chunk.exists = d.make<arith::AndIOp>(d.isLess(chunk.channel, channels),
                                       d.isLess(chunk.time, steps));
  if (hasRow)
    chunk.exists = d.make<arith::AndIOp>(chunk.exists, hasRow);
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
      giveFixed(pass, at);
      giveInputs(r.planeInputs, inputs, at);
      for (auto [i, plane] : llvm::enumerate(r.planes))
        results[i].push_back(e.get(plane));
    }
    auto store = [&] {
      for (auto [i, values] : llvm::enumerate(results)) {
        if (isAlongTime()) {
          for (int64_t at = 0; at < kChunk; ++at) {
            Value indices[] = {where, e.index(i), e.add(chunk.blockTime, at), chunk.blockChannel};
            memref::StoreOp::create(b, values[at], planes, indices);
          }
          continue;
        }
        for (int64_t at = 0; at < kChunk; at += 4) {
          Value indices[] = {where, e.index(i), chunk.blockTime, e.add(chunk.blockChannel, at)};
          auto type = VectorType::get({4}, b.getF32Type());
          Value vector = vector::FromElementsOp::create(b, type, ArrayRef(values).slice(at, 4));
          vector::StoreOp::create(b, vector, planes, indices, /*nontemporal=*/false,
                                  llvm::MaybeAlign(16));
        }
      }
    };
    if (hasRow)
      d.branch(hasRow, store);
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
        giveFixed(pass, at);
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
  int64_t perRow = (isAlongTime() ? tile.steps : tile.allChannels()) / kChunk;
  int64_t most = isAlongTime() ? tile.allChannels() : tile.steps;
  column = d.rem(number, perRow);
  row = d.div(number, perRow);
  rows = kElementThreads / perRow;
  passes = std::max<int64_t>(most / rows, 1);
  hasRow = Value();
  if (rows > most) {
    hasRow = d.isLess(row, most);
    row = e.min(row, e.index(most - 1));
  }
  fixed.clear();
  Value zero = e.index(0);
  for (int64_t i = 0; i < (isAlongTime() ? passes : kChunk); ++i) {
    PointEmitter::Scope scope(e);
    setLane(chunkOf(isAlongTime() ? i : 0, zero), isAlongTime() ? 0 : i);
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

LaunchShape ssm::emitStagedRecurrence(DeviceKernel &kernel, const StagedRecurrence &what,
                                      StagedTile tile) {
  return StagedEmitter(kernel, what, tile).emit();
}
