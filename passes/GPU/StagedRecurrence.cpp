//===- StagedRecurrence.cpp - Who computes what of a recurrence ----------- ===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "passes/GPU/StagedRecurrence.h"

#include "lib/Analysis/KernelShape.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Arith/Utils/Utils.h"
#include "passes/GPU/DeviceBuilder.h"
#include "llvm/ADT/DenseSet.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace ssm;

/// More states than these leave no room for a channel's neighbours in a block.
static constexpr int64_t kMaxStates = 256;
/// Bytes of an access to shared or global memory.
static constexpr int64_t kAccessBytes = 16;
/// Fewer steps are not worth the roles.
static constexpr int64_t kLeastSteps = 16;
/// Channels from which on blocks that have two for each lane are enough for all multiprocessors.
static constexpr int64_t kEnoughBlocks = 240;

static int64_t bytesOf(Type type) { return llvm::divideCeil(type.getIntOrFloatBitWidth(), 8); }

namespace {
class Matcher {
public:
  explicit Matcher(KernelOp kernel) : kernel(kernel), loops(kernel) {}
  std::optional<StagedRecurrence> match();
  /// What kept it from matching, if that is all.
  SmallVector<Value> flags;

private:
  bool findLoops();
  bool findParts();
  bool findStrips();
  void findChunks();
  bool has(Value value, unsigned loop) { return contains(loops.of(value), loop); }
  llvm::DenseSet<Value> collect(SmallVector<Value> values);
  bool isDense(Value buffer, AffineMap map, unsigned loop);
  SmallVector<unsigned> chunkInputs(ArrayRef<Value> values);

  KernelOp kernel;
  KernelLoops loops;
  StagedRecurrence r;
  llvm::DenseSet<Value> varying, steps;
};
} // namespace

/// What values are made of, sums left aside.
llvm::DenseSet<Value> Matcher::collect(SmallVector<Value> values) {
  return ssm::findParts(kernel, std::move(values),
                        [](Value value) {
                          return isa_and_nonnull<ReduceOp>(value.getDefiningOp());
                        });
}

/// Time, the one loop that is summed over, and that carries have all loops.
bool Matcher::findLoops() {
  LoopSet summed = 0, all = 0;
  for (auto reduce : kernel.getStep().getOps<ReduceOp>()) {
    summed |= loopsOf(reduce.getLoops());
    r.sums.push_back(reduce);
  }
  r.time = *kernel.getTime();
  if (llvm::popcount(summed) != 1 || contains(summed, r.time) || kernel.getNumCarries() == 0)
    return false;
  r.state = listLoops(summed).front();
  for (unsigned loop = 0; loop < kernel.getNumLoops(); ++loop)
    all |= loopBit(loop);
  for (unsigned i = 0; i < kernel.getNumCarries(); ++i)
    if (loopsOf(kernel.getOutMap(i)) != (all & ~loopBit(r.time)) ||
        !kernel.getCarryArg(i).getType().isF32())
      return false;
  auto [operand, axis] = kernel.getSizeSource(r.state);
  r.numStates = cast<ShapedType>(operand.getType()).getDimSize(axis);
  return r.numStates > 0 && r.numStates <= kMaxStates;
}

/// Which values the steps take, and from whom.
bool Matcher::findParts() {
  varying = findVarying(kernel);
  SmallVector<Value> roots, outs;
  for (auto [i, value] : llvm::enumerate(kernel.getYield().getValues())) {
    if (i < kernel.getNumCarries()) {
      roots.push_back(value);
      continue;
    }
    LoopSet set = loopsOf(kernel.getOutMap(i));
    if (contains(set, r.state) || !contains(set, r.time))
      return false;
    outs.push_back(value);
    r.outs.push_back(i);
  }
  for (ReduceOp reduce : r.sums) {
    if (!reduce.getType().isF32())
      return false;
    roots.push_back(reduce.getValue());
  }
  steps = collect(roots);
  for (Value value : collect(outs))
    if (has(value, r.state) || (isa<BlockArgument>(value) && varying.contains(value)))
      return false;
  auto isIn = [&](Value value) { return steps.contains(value); };
  if (llvm::any_of(r.sums, isIn))
    return false;

  // Loops that nothing with a state but the carries depends on can be the channel.
  auto isScanned = [&](Value value) {
    return varying.contains(value) || (has(value, r.time) && has(value, r.state) &&
                                       has(value, r.channel));
  };
  // A comparison that these take is made again, of what it compares.
  auto isRepeated = [&](Value value) {
    auto compare = value.getDefiningOp<arith::CmpFOp>();
    return compare && compare.getLhs().getType().isF32() &&
           llvm::any_of(compare->getUsers(), [&](Operation *user) {
             return user->getNumResults() == 1 && isIn(user->getResult(0)) &&
                    isScanned(user->getResult(0));
           });
  };
  LoopSet taken = loopBit(r.time) | loopBit(r.state);
  for (Value value : steps)
    if (isa<BlockArgument>(value) && !varying.contains(value) && has(value, r.time) &&
        has(value, r.state))
      taken |= loops.of(value);
  std::optional<unsigned> best;
  for (unsigned loop = 0; loop < kernel.getNumLoops(); ++loop)
    if (!contains(taken, loop) &&
        (!best || scoreLaneLoop(kernel, loop) >= scoreLaneLoop(kernel, *best)))
      best = loop;
  if (!best)
    return false;
  r.channel = *best;
  for (unsigned loop = 0; loop < kernel.getNumLoops(); ++loop)
    if (loop != r.time && loop != r.state && loop != r.channel)
      r.outer.push_back(loop);
  for (unsigned out : r.outs)
    if (!kernel.getOutMap(out).isFunctionOfDim(r.channel))
      return false;

  auto consider = [&](Value value) {
    if (!isIn(value) || varying.contains(value) || !has(value, r.time))
      return true;
    if (isScanned(value) || isRepeated(value)) {
      // From memory it would be loaded by elements, within the chain.
      Operation *op = value.getDefiningOp();
      if (!op || getIndexedRead(op))
        return false;
      if (isSlow(op) && value.getType().isF32())
        r.early.push_back(value);
      return true;
    }
    bool isTaken = llvm::is_contained(roots, value) ||
                   llvm::any_of(value.getUsers(), [&](Operation *user) {
                     if (user->getNumResults() != 1 || !isIn(user->getResult(0)))
                       return false;
                     return isScanned(user->getResult(0)) || isRepeated(user->getResult(0));
                   });
    if (isTaken) {
      if (value.getType().isInteger(1)) {
        flags.push_back(value);
        return true;
      }
      if (!value.getType().isF32())
        return false;
      (has(value, r.state) ? r.strips : r.planes).push_back(value);
    }
    return true;
  };
  for (Value arg : kernel.getStep().getArguments())
    if (!consider(arg))
      return false;
  for (Operation &op : kernel.getStep().without_terminator())
    if (!isa<ReduceOp>(op) && !consider(op.getResult(0)))
      return false;
  return !r.outs.empty() && flags.empty();
}

/// Whether a chunk along the loop is one access, given alignment.
bool Matcher::isDense(Value buffer, AffineMap map, unsigned loop) {
  auto type = dyn_cast<MemRefType>(buffer.getType());
  if (!type || !type.getElementType().isFloat() || type.getElementTypeBitWidth() > 32 ||
      type.getElementTypeBitWidth() < 16 || map.getNumResults() == 0 || !type.isLastDimUnitStride())
    return false;
  auto last = dyn_cast<AffineDimExpr>(map.getResults().back());
  return last && last.getPosition() == loop &&
         llvm::all_of(map.getResults().drop_back(), [&](AffineExpr expr) {
           return isa<AffineDimExpr, AffineConstantExpr>(expr) && !expr.isFunctionOfDim(loop);
         });
}

SmallVector<unsigned> Matcher::chunkInputs(ArrayRef<Value> values) {
  llvm::DenseSet<Value> parts = collect(llvm::to_vector(values));
  SmallVector<unsigned> inputs;
  for (unsigned i = 0; i < kernel.getInputs().size(); ++i)
    if (parts.contains(kernel.getInputArg(i)) && has(kernel.getInputArg(i), r.time) &&
        isDense(kernel.getInputs()[i], kernel.getInputMap(i), r.wide))
      inputs.push_back(i);
  return inputs;
}

void Matcher::findChunks() {
  auto yielded = kernel.getYield().getValues();
  SmallVector<Value> outs =
      llvm::map_to_vector(r.outs, [&](unsigned out) -> Value { return yielded[out]; });
  auto find = [&](unsigned loop) {
    r.wide = loop;
    r.planeInputs = chunkInputs(r.planes);
    r.outInputs = chunkInputs(outs);
    r.wideOuts.clear();
    for (unsigned out : r.outs)
      if (isDense(kernel.getOuts()[out], kernel.getOutMap(out), r.wide))
        r.wideOuts.push_back(out);
    return r.planeInputs.size() + r.outInputs.size() + r.wideOuts.size();
  };
  size_t alongTime = find(r.time);
  if (find(r.channel) < alongTime)
    find(r.time);
}

bool Matcher::findStrips() {
  Type f32 = Float32Type::get(kernel.getContext());
  for (Value strip : r.strips) {
    auto extend = strip.getDefiningOp<arith::ExtFOp>();
    r.stripSources.push_back(extend ? extend.getIn() : strip);
  }
  r.stripType = r.strips.empty() ? f32 : r.stripSources.front().getType();
  bool isHalf = r.stripType.isBF16() || r.stripType.isF16();
  if (!isHalf || llvm::any_of(r.stripSources, [&](Value source) {
        return source.getType() != r.stripType;
      })) {
    r.stripType = f32;
    llvm::copy(r.strips, r.stripSources.begin());
  }
  return true;
}

std::optional<StagedRecurrence> Matcher::match() {
  if (!findLoops() || !findParts() || !findStrips())
    return std::nullopt;
  findChunks();
  StagedTile tile = chooseStagedTile(r, 1);
  int64_t run = std::min(tile.perLane, kAccessBytes / bytesOf(r.stripType));
  bool areWide = tile.lanes * tile.perLane == r.numStates && llvm::isPowerOf2_64(run) && run > 1 &&
                 tile.perLane % run == 0 && !r.strips.empty();
  for (Value source : r.stripSources) {
    auto arg = dyn_cast<BlockArgument>(source);
    areWide = areWide && arg &&
              isDense(kernel.getInputs()[arg.getArgNumber()],
                      kernel.getInputMap(arg.getArgNumber()), r.state);
  }
  if (areWide)
    r.stripRun = run;
  return r;
}

/// What passes through shared memory is f32: a flag, where a sequence begins for example, becomes
/// a number and a comparison of it.
static void passAsNumber(Value flag) {
  ImplicitLocOpBuilder b(flag.getLoc(), flag.getContext());
  b.setInsertionPointAfterValue(flag);
  auto number = [&](float value) {
    return arith::ConstantOp::create(b, b.getF32FloatAttr(value)).getResult();
  };
  Value zero = number(0);
  auto passed = arith::SelectOp::create(b, flag, number(1), zero);
  Value again = arith::CmpFOp::create(b, arith::CmpFPredicate::UNE, passed, zero);
  flag.replaceUsesWithIf(again, [&](OpOperand &use) { return use.getOwner() != passed; });
}

std::optional<StagedRecurrence> ssm::matchStagedRecurrence(KernelOp kernel) {
  Matcher matcher(kernel);
  std::optional<StagedRecurrence> found = matcher.match();
  if (found || matcher.flags.empty())
    return found;
  llvm::for_each(matcher.flags, passAsNumber);
  return Matcher(kernel).match();
}

StagedTile ssm::chooseStagedTile(const StagedRecurrence &what, int64_t channels) {
  StagedTile tile;
  int64_t wanted = llvm::PowerOf2Ceil(llvm::divideCeil(what.numStates, 4));
  tile.lanes = std::min<int64_t>(wanted, what.numStates <= 64 ? 8 : 16);
  tile.perLane = llvm::divideCeil(what.numStates, tile.lanes);
  tile.channels = channels;
  tile.blocks = channels;
  bool isHalf = what.stripType.getIntOrFloatBitWidth() == 16;
  tile.steps = channels == 1 ? 64 : isHalf ? 32 : 16;
  // As measured on an H100: what hides most of the latency of exp and of shared memory.
  tile.lot = channels == 1 && isHalf ? 2 : 1;
  tile.lots = channels == 2 ? 8 : isHalf ? 4 : 2;
  // Elements that a thread has loaded ahead take registers.
  int64_t strips = tile.lanes * tile.perLane / what.stripRun;
  int64_t maxStrips = (what.stripRun == 1 ? 8 : 4) * kElementThreads;
  while (tile.steps > kChunk && (tile.steps * tile.allChannels() > 2 * kChunk * kElementThreads ||
                                 tile.steps * strips > maxStrips))
    tile.steps /= 2;
  return tile;
}

StagedMemory ssm::layoutStagedMemory(const StagedRecurrence &what, const StagedTile &tile) {
  StagedMemory m;
  int64_t channels = tile.allChannels();
  // With odd multiples of 16 bytes between chunks, those of a row and the next are in different
  // banks. Two channels of a lane leave no room for that.
  bool areTogether = tile.channels == 1;
  m.planeValues = areTogether ? llvm::PowerOf2Ceil(std::max<size_t>(what.planes.size(), 1)) : 1;
  m.planeChunk = kChunk * m.planeValues + (areTogether ? 4 : 0);
  m.planeChunks = channels / kChunk + (areTogether ? 0 : 1);
  // Along time a warp stores one step in eight of some: these are in different banks if there is
  // an odd number of chunks with a value's elements between them.
  if (what.wide == what.time && m.planeValues <= 2) {
    m.planeChunk = (kChunk + 1) * m.planeValues;
    m.planeChunks = channels / kChunk | 1;
  }
  int64_t bytes = bytesOf(what.stripType);
  m.stripWidth = what.strips.size() * tile.perLane;
  m.stripWidth = std::max<int64_t>(llvm::PowerOf2Ceil(m.stripWidth * bytes), bytes) / bytes;
  if (m.stripWidth * bytes > kAccessBytes)
    m.stripWidth = llvm::alignTo(what.strips.size() * tile.perLane, kAccessBytes / bytes);
  m.partsOfChunk = kChunk * tile.lanes + 4;
  m.partsPitch = channels / kChunk * m.partsOfChunk;
  auto take = [&](int64_t size) {
    int64_t begin = m.bytes;
    m.bytes = llvm::alignTo(begin + size, 128);
    return begin;
  };
  m.bytes = 0;
  int64_t numPlanes = areTogether ? 1 : what.planes.size();
  m.planes = take(2 * numPlanes * tile.steps * m.planeChunks * m.planeChunk * 4);
  m.strips = take(2 * tile.steps * (tile.lanes + 1) * m.stripWidth * bytes);
  m.parts = take(2 * what.sums.size() * tile.steps * m.partsPitch * 4);
  return m;
}

static Value isFit(ImplicitLocOpBuilder &h, KernelOp kernel, const StagedRecurrence &what) {
  DeviceBuilder d{h};
  SmallVector<OpFoldResult> sizes = kernel.getLoopSizes(h);
  auto size = [&](unsigned loop) {
    return getValueOrCreateConstantIndexOp(h, h.getLoc(), sizes[loop]);
  };
  Value fits = d.compare(arith::CmpIPredicate::uge, size(what.time), kLeastSteps);
  auto require = [&](Value condition) { fits = d.make<arith::AndIOp>(fits, condition); };
  require(d.isEqual(d.rem(size(what.wide), kChunk), 0));
  llvm::DenseSet<Value> seen;
  auto align = [&](Value buffer, int64_t bytes) {
    if (seen.insert(buffer).second)
      require(d.isAligned(buffer, bytes));
  };
  for (ArrayRef<unsigned> inputs : {ArrayRef(what.planeInputs), ArrayRef(what.outInputs)})
    for (unsigned i : inputs)
      align(kernel.getInputs()[i], kAccessBytes);
  for (unsigned out : what.wideOuts)
    align(kernel.getOuts()[out], kAccessBytes);
  if (what.stripRun > 1)
    for (Value source : what.stripSources)
      align(kernel.getInputs()[cast<BlockArgument>(source).getArgNumber()],
            what.stripRun * bytesOf(what.stripType));
  return fits;
}

/// Blocks of a tile's channels.
static Value countBlocks(DeviceBuilder d, KernelOp kernel, const StagedRecurrence &what,
                         const StagedTile &tile) {
  SmallVector<OpFoldResult> sizes = kernel.getLoopSizes(d.b);
  auto size = [&](unsigned loop) {
    return getValueOrCreateConstantIndexOp(d.b, d.b.getLoc(), sizes[loop]);
  };
  Value count = d.ceilDiv(size(what.channel), tile.allChannels());
  for (unsigned loop : what.outer)
    count = d.mul(count, size(loop));
  return count;
}

SmallVector<KernelForm> ssm::getStagedForms(KernelOp kernel, const GpuTarget &target) {
  SmallVector<KernelForm> forms;
  std::optional<StagedRecurrence> found = matchStagedRecurrence(kernel);
  if (target.version < 80 || !found)
    return forms;
  StagedRecurrence what = *found;
  auto add = [&](StringRef name, StagedTile tile, bool isMany) {
    if (tile.allChannels() < kChunk ||
        tile.blocks * layoutStagedMemory(what, tile).bytes > target.maxShared)
      return;
    auto fits = [=](ImplicitLocOpBuilder &h) {
      Value result = isFit(h, kernel, what);
      if (!isMany)
        return result;
      DeviceBuilder d{h};
      Value enough = d.compare(arith::CmpIPredicate::uge, countBlocks(d, kernel, what, tile),
                               kEnoughBlocks);
      return d.make<arith::AndIOp>(result, enough);
    };
    forms.push_back({name, fits, [=](DeviceKernel &k) {
                       return emitStagedRecurrence(k, *matchStagedRecurrence(k.kernel), tile);
                     }});
  };
  // Two blocks on a multiprocessor have half the registers.
  StagedTile pairs = chooseStagedTile(what, 2);
  // For chips before sm_90 ptxas spills where a thread loads many strips of f32.
  bool isCrowded = target.version < 90 && what.stripType.isF32() && pairs.lanes <= 2;
  if (what.wide == what.channel && !isCrowded &&
      pairs.perLane * kernel.getNumCarries() <= (what.early.empty() ? 8 : 4))
    add("_pairs", pairs, true);
  add("_staged", chooseStagedTile(what, 1), false);
  return forms;
}
