//===- EmitPrefix.cpp - Running sums by many threads ----------------------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A recurrence that combines its one carry with something else at each step, as running sums,
// products and maxima do, takes its steps in any grouping. A block has a tile of a row, or of 32
// rows that are neighbours in memory; each thread some steps that follow each other: what these
// come to is combined first, then over the threads in front.
//
// Memory is read once. Of rows of several tiles each block tells what its tile comes to, and takes
// what those in front have told: all tiles of its group, then the groups in front, of which the
// last tile of a group tells. What is combined, and in which order, does not depend on who comes
// first: the same input gives the same bits. A block draws its tile's number when it begins, so all
// that it waits for have begun. Where neighbours are many, a block goes through all tiles instead.
//
// Threads of one row read and write memory side by side, and turn what they have in shared memory.
//
//===----------------------------------------------------------------------===//

#include "passes/GPU/DeviceBuilder.h"
#include "passes/GPU/TeamReduce.h"

#include "lib/Analysis/KernelShape.h"
#include "mlir/Dialect/Arith/Utils/Utils.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "llvm/ADT/SetVector.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace ssm;
using Predicate = arith::CmpIPredicate;

namespace {

constexpr int64_t kThreads = 256, kPerThread = 16, kPart = kThreads * kPerThread;
constexpr int64_t kWarps = kThreads / kWarp;
/// Steps of a row that are worth a block; neighbours that are worth a warp, so many that a thread for
/// each is enough, and how many groups of 32 keep a GPU busy without being shared out.
constexpr int64_t kFewSteps = 256, kFewNeighbours = 8, kManyRows = 1 << 17, kManyGroups = 264;
/// Tiles of a group: a word or eight of each thread.
constexpr int64_t kRowGroup = kThreads, kNeighbourGroup = 64;
/// Of a word that blocks tell each other, the upper half says that it is there.
constexpr int64_t kWordBytes = 8, kHalfWord = 32;
/// Words that a thread waits for at once, more of which would not stay in registers.
constexpr int64_t kTogether = 4;
/// Words that a thread clears.
constexpr int64_t kCleared = 8;

/// What is combined with the carry, and how.
struct Prefix {
  arith::AtomicRMWKind kind;
  Value term;
};

class PrefixEmitter {
public:
  /// `isWide`: a warp has neighbouring rows.
  PrefixEmitter(DeviceKernel &k, const Prefix &what, bool isWide)
      : k(k), kernel(k.kernel), what(what), b(k.device), d{b}, e(kernel, b, std::nullopt, 1),
        time(*kernel.getTime()), type(kernel.getCarryArg(0).getType()),
        columns(isWide ? kWarp : 1), group(isWide ? kNeighbourGroup : kRowGroup) {
    for (unsigned loop = 0; loop < kernel.getNumLoops(); ++loop)
      if (loop != time)
        rowLoops.push_back(loop);
    // Neighbours are those of the loop that lies best.
    llvm::sort(rowLoops, [&](unsigned x, unsigned y) {
      return std::pair(scoreLaneLoop(kernel, x), x) < std::pair(scoreLaneLoop(kernel, y), y);
    });
  }

  /// A block for each row that is one tile, or for each tile; what blocks tell goes to `memory`.
  void runTiles(Value memory);
  /// A block for each 32 rows.
  void runColumns(Value memory);
  void clear(Value memory);
  /// On the host: how many tiles, and words of memory for them.
  Value numTiles();
  Value numWords();
  Value numGroups() { return d.ceilDiv(numRows(), columns); }

private:
  using Values = SmallVector<Value>;
  /// Of all threads of a row: what those below have, and all.
  struct Sums {
    Value below, total;
  };

  Value neutral() { return e.neutral(what.kind, type); }
  Value combine(Value x, Value y) { return e.combine(what.kind, x, y); }
  Value numRows();
  Value numParts() { return d.ceilDiv(e.size(time), tileSteps()); }
  int64_t tileSteps() const { return kPart / columns; }
  int64_t wordsOfValue() const { return type.getIntOrFloatBitWidth() > kHalfWord ? 2 : 1; }
  void begin();
  void setGroup(Value number);
  void setPart(Value number);
  void setRow(Value row);
  void setStep(Value step);
  Value init();
  /// Steps that follow each other in a thread, and those of neighbours.
  Value ownStep(int64_t i) { return e.add(first, i); }
  Value sharedStep(int64_t i) { return isTurned() ? e.add(aside, i * kThreads) : ownStep(i); }
  bool isTurned() const { return columns == 1; }
  /// Of the steps of neighbours.
  Values terms();
  void share(ArrayRef<Value> terms);
  /// Of the thread's own steps.
  Value ownTerm(ArrayRef<Value> terms, int64_t i);
  Sums sumUp(ArrayRef<Value> terms);
  /// Where a step is in shared memory, [thread][its steps]. With one more element in a row neither
  /// neighbours nor a thread's own steps meet in a bank.
  Values ownPlace(int64_t i) { return {thread, e.index(i)}; }
  Values sharedPlace(int64_t i) {
    return {e.add(d.div(thread, kPerThread), i * (kThreads / kPerThread)),
            d.bitAnd(thread, kPerThread - 1)};
  }
  Value total(ArrayRef<Value> terms);
  /// Of what threads have, that of all lanes below.
  Value overLanesBelow(Value value);
  Sums overThreads(Value own);
  Value lookBack(Value total);
  void tell(Value value, Value number);
  /// Waits for those that are needed; neutral ones else.
  Values waitFor(ArrayRef<Value> numbers, ArrayRef<Value> areNeeded);
  /// The number of what a tile, or a group of them, tells of the thread's row.
  Value ofTile(Value tile);
  Value ofGroup(Value number);
  void write(Value now, ArrayRef<Value> terms);

  DeviceKernel &k;
  KernelOp kernel;
  Prefix what;
  ImplicitLocOpBuilder &b;
  DeviceBuilder d;
  PointEmitter e;
  unsigned time;
  Type type;
  int64_t columns, group;
  SmallVector<unsigned> rowLoops;
  Value thread, lane, warp, column, steps, rowGroup, exists, part, first, aside, turned, sums;
  Value told;
};

} // namespace

/// Whether the value needs the carry.
static bool takesCarry(KernelOp kernel, Value value) {
  llvm::SetVector<Value> parts;
  parts.insert(value);
  for (size_t i = 0; i < parts.size(); ++i) {
    if (parts[i] == kernel.getCarryArg(0))
      return true;
    if (Operation *op = parts[i].getDefiningOp(); op && op->getBlock() == &kernel.getStep())
      parts.insert(op->operand_begin(), op->operand_end());
  }
  return false;
}

static std::optional<arith::AtomicRMWKind> kindOf(Operation *op) {
  using Kind = arith::AtomicRMWKind;
  return llvm::TypeSwitch<Operation *, std::optional<Kind>>(op)
      .Case<arith::AddFOp>([](auto) { return Kind::addf; })
      .Case<arith::AddIOp>([](auto) { return Kind::addi; })
      .Case<arith::MulFOp>([](auto) { return Kind::mulf; })
      .Case<arith::MulIOp>([](auto) { return Kind::muli; })
      .Case<arith::MaximumFOp>([](auto) { return Kind::maximumf; })
      .Case<arith::MinimumFOp>([](auto) { return Kind::minimumf; })
      .Case<arith::MaxSIOp>([](auto) { return Kind::maxs; })
      .Case<arith::MinSIOp>([](auto) { return Kind::mins; })
      .Case<arith::MaxUIOp>([](auto) { return Kind::maxu; })
      .Case<arith::MinUIOp>([](auto) { return Kind::minu; })
      .Default([](auto) { return std::nullopt; });
}

static std::optional<Prefix> matchPrefix(KernelOp kernel) {
  if (!kernel.getTime() || kernel.getNumCarries() != 1 ||
      !kernel.getStep().getOps<ReduceOp>().empty())
    return std::nullopt;
  // A row for each point of the other loops, which all outs have.
  for (unsigned out = 0; out < kernel.getOuts().size(); ++out)
    for (unsigned loop = 0; loop < kernel.getNumLoops(); ++loop)
      if ((loop != *kernel.getTime() || out > 0) && !contains(loopsOf(kernel.getOutMap(out)), loop))
        return std::nullopt;
  Operation *op = kernel.getYield().getValues()[0].getDefiningOp();
  if (!op || op->getBlock() != &kernel.getStep() || op->getNumOperands() != 2)
    return std::nullopt;
  Value carry = kernel.getCarryArg(0), x = op->getOperand(0), y = op->getOperand(1);
  auto kind = kindOf(op);
  unsigned bits = carry.getType().getIntOrFloatBitWidth();
  if (!kind || (x == carry) == (y == carry) || bits < 8 || bits > 64)
    return std::nullopt;
  Prefix what{*kind, x == carry ? y : x};
  return takesCarry(kernel, what.term) ? std::nullopt : std::optional(what);
}

Value PrefixEmitter::numRows() {
  Value rows = e.index(1);
  for (unsigned loop : rowLoops)
    rows = d.mul(rows, e.size(loop));
  return rows;
}

Value PrefixEmitter::numTiles() { return d.mul(numGroups(), numParts()); }

/// A number to draw, all tiles, all groups of tiles.
Value PrefixEmitter::numWords() {
  Value parts = numParts(), all = d.add(parts, d.ceilDiv(parts, group));
  return d.add(d.mul(d.mul(numGroups(), all), columns * wordsOfValue()), 1);
}

void PrefixEmitter::setRow(Value number) {
  for (unsigned loop : llvm::reverse(rowLoops)) {
    bool isLast = loop == rowLoops.front();
    e.at[loop] = isLast ? number : d.rem(number, e.size(loop));
    if (!isLast)
      number = d.div(number, e.size(loop));
  }
}

/// The last step stands for those behind it.
void PrefixEmitter::setStep(Value step) {
  Value last = e.sub(steps, e.index(1));
  e.at[time] = e.min(step, last);
  e.mirroredTime = e.sub(last, e.at[time]);
}

Value PrefixEmitter::init() {
  Value given = kernel.getInits()[0];
  return isa<MemRefType>(given.getType()) ? e.load(given, kernel.getInitMap(0), false) : given;
}

void PrefixEmitter::begin() {
  // Registers for as many blocks as keep enough on its way.
  k.function->setAttr("nvvm.minctasm", b.getI32IntegerAttr(4 / wordsOfValue()));
  thread = gpu::ThreadIdOp::create(b, gpu::Dimension::x);
  lane = d.bitAnd(thread, kWarp - 1);
  warp = d.div(thread, kWarp);
  column = isTurned() ? e.index(0) : lane;
  steps = e.size(time);
  if (isTurned())
    turned = k.addShared({kThreads, kPerThread + 1}, type);
  sums = k.addShared({kWarps, columns}, type);
}

void PrefixEmitter::setGroup(Value number) {
  rowGroup = number;
  if (isTurned())
    return setRow(number);
  Value row = e.add(d.mul(number, columns), lane), rows = numRows();
  exists = d.isLess(row, rows);
  setRow(d.min(row, d.sub(rows, 1)));
}

void PrefixEmitter::setPart(Value number) {
  part = number;
  Value base = d.mul(part, tileSteps());
  first = e.add(base, d.mul(isTurned() ? thread : warp, kPerThread));
  aside = e.add(base, thread);
}

SmallVector<Value> PrefixEmitter::terms() {
  Values all;
  for (int64_t i = 0; i < kPerThread; ++i) {
    PointEmitter::Scope scope(e);
    setStep(sharedStep(i));
    all.push_back(e.get(what.term));
  }
  return all;
}

void PrefixEmitter::share(ArrayRef<Value> terms) {
  if (!isTurned())
    return;
  for (auto [i, term] : llvm::enumerate(terms))
    memref::StoreOp::create(b, term, turned, sharedPlace(i));
  gpu::BarrierOp::create(b);
}

Value PrefixEmitter::ownTerm(ArrayRef<Value> terms, int64_t i) {
  Value term = isTurned() ? memref::LoadOp::create(b, turned, ownPlace(i)) : terms[i];
  return d.select(d.isLess(ownStep(i), steps), term, neutral());
}

PrefixEmitter::Sums PrefixEmitter::sumUp(ArrayRef<Value> terms) {
  share(terms);
  Values own;
  for (int64_t i = 0; i < kPerThread; ++i)
    own.push_back(ownTerm(terms, i));
  return overThreads(total(own));
}

Value PrefixEmitter::total(ArrayRef<Value> terms) {
  Value sum = terms.front();
  for (Value term : terms.drop_front())
    sum = combine(sum, term);
  return sum;
}

Value PrefixEmitter::overLanesBelow(Value value) {
  Value upTo = value;
  for (int64_t distance = 1; distance < kWarp; distance *= 2) {
    Value below = shuffleUp(b, upTo, distance);
    upTo = d.select(d.compare(Predicate::uge, lane, distance), combine(below, upTo), upTo);
  }
  return d.select(d.isEqual(lane, 0), neutral(), shuffleUp(b, upTo, 1));
}

PrefixEmitter::Sums PrefixEmitter::overThreads(Value own) {
  Value below = isTurned() ? overLanesBelow(own) : Value();
  // The last lane of a warp tells what all of it comes to.
  if (isTurned())
    d.branch(d.isEqual(lane, kWarp - 1), [&] {
      memref::StoreOp::create(b, combine(below, own), sums, ValueRange{warp, column});
    });
  else
    memref::StoreOp::create(b, own, sums, ValueRange{warp, column});
  gpu::BarrierOp::create(b);
  Value inFront = neutral(), all;
  for (int64_t other = 0; other < kWarps; ++other) {
    Value sum = memref::LoadOp::create(b, sums, ValueRange{e.index(other), column});
    all = all ? combine(all, sum) : sum;
    if (other + 1 < kWarps)
      inFront = d.select(d.compare(Predicate::ugt, warp, other), all, inFront);
  }
  return {below ? combine(inFront, below) : inFront, all};
}

Value PrefixEmitter::ofTile(Value tile) {
  return e.add(d.mul(e.add(d.mul(rowGroup, numParts()), tile), columns), column);
}

/// Behind those of all tiles.
Value PrefixEmitter::ofGroup(Value number) {
  Value groups = d.ceilDiv(numParts(), group);
  Value place = e.add(numTiles(), e.add(d.mul(rowGroup, groups), number));
  return e.add(d.mul(place, columns), column);
}

void PrefixEmitter::tell(Value value, Value number) {
  unsigned bits = type.getIntOrFloatBitWidth();
  Type word = b.getI64Type(), same = b.getIntegerType(bits);
  Value raw = type.isInteger() ? value : b.createOrFold<arith::BitcastOp>(same, value);
  if (bits < 64)
    raw = arith::ExtUIOp::create(b, word, raw);
  Value isThere = arith::ConstantIntOp::create(b, word, int64_t(1) << kHalfWord);
  Value low = arith::ConstantIntOp::create(b, word, (int64_t(1) << kHalfWord) - 1);
  for (int64_t i = 0; i < wordsOfValue(); ++i) {
    Value half = i == 0 ? d.bitAnd(raw, low) : d.make<arith::ShRUIOp>(raw, kHalfWord);
    Value place = e.add(d.mul(number, wordsOfValue()), i);
    LLVM::StoreOp::create(b, d.make<arith::OrIOp>(half, isThere),
                          d.after(told, d.toWide(d.mul(place, kWordBytes))), kWordBytes,
                          /*isVolatile=*/false, /*isNonTemporal=*/false,
                          /*isInvariantGroup=*/false, LLVM::AtomicOrdering::monotonic, "device");
  }
}

SmallVector<Value> PrefixEmitter::waitFor(ArrayRef<Value> numbers, ArrayRef<Value> areNeeded) {
  Type word = b.getI64Type();
  int64_t perValue = wordsOfValue();
  SmallVector<Type> types(numbers.size() * perValue, word);
  auto wait = scf::WhileOp::create(b, types, ValueRange());
  {
    OpBuilder::InsertionGuard guard(b);
    b.createBlock(&wait.getBefore());
    Values words;
    Value isMissing;
    for (auto [number, isNeeded] : llvm::zip_equal(numbers, areNeeded))
      for (int64_t i = 0; i < perValue; ++i) {
        Value place = e.add(d.mul(number, perValue), i);
        words.push_back(LLVM::LoadOp::create(
            b, word, d.after(told, d.toWide(d.mul(place, kWordBytes))), kWordBytes,
            /*isVolatile=*/false, /*isNonTemporal=*/false, /*isInvariant=*/false,
            /*isInvariantGroup=*/false, LLVM::AtomicOrdering::monotonic, "device"));
        Value isThere = d.make<arith::ShRUIOp>(words.back(), kHalfWord);
        Value lacks = d.make<arith::AndIOp>(isNeeded, d.isEqual(isThere, 0));
        isMissing = isMissing ? d.make<arith::OrIOp>(isMissing, lacks) : lacks;
      }
    scf::ConditionOp::create(b, isMissing, words);
    b.createBlock(&wait.getAfter(), {}, types, SmallVector<Location>(types.size(), b.getLoc()));
    scf::YieldOp::create(b);
  }
  unsigned bits = type.getIntOrFloatBitWidth();
  Type same = b.getIntegerType(bits);
  Values values;
  for (size_t i = 0; i < numbers.size(); ++i) {
    Value raw = wait.getResult(i * perValue);
    if (perValue == 2) {
      Value low = arith::ConstantIntOp::create(b, word, (int64_t(1) << kHalfWord) - 1);
      raw = d.make<arith::OrIOp>(
          d.bitAnd(raw, low), d.make<arith::ShLIOp>(wait.getResult(2 * i + 1), kHalfWord));
    }
    if (bits < 64)
      raw = arith::TruncIOp::create(b, same, raw);
    Value value = type.isInteger() ? raw : b.createOrFold<arith::BitcastOp>(type, raw);
    values.push_back(d.select(areNeeded[i], value, neutral()));
  }
  return values;
}

/// What is in front of the block's tile.
Value PrefixEmitter::lookBack(Value total) {
  Value tells = d.isLess(thread, columns);
  d.branch(tells, [&] { tell(total, ofTile(part)); });
  Value number = d.div(part, group), own = d.rem(part, group), base = d.mul(number, group);
  Value inGroup = neutral();
  for (int64_t i = 0; i < group * columns; i += kThreads * kTogether) {
    Values numbers, areNeeded;
    for (int64_t at = i; at < std::min(i + kThreads * kTogether, group * columns); at += kThreads) {
      Value tile = d.div(e.add(thread, at), columns);
      areNeeded.push_back(d.isLess(tile, own));
      numbers.push_back(ofTile(e.add(base, d.min(tile, own))));
    }
    inGroup = combine(inGroup, this->total(waitFor(numbers, areNeeded)));
  }
  if (isTurned()) {
    inGroup = reduceOverBlock(k, e, what.kind, inGroup);
  } else {
    Value others = k.addShared({kWarps, columns}, type);
    memref::StoreOp::create(b, inGroup, others, ValueRange{warp, column});
    gpu::BarrierOp::create(b);
    Values all;
    for (int64_t i = 0; i < kWarps; ++i)
      all.push_back(memref::LoadOp::create(b, others, ValueRange{e.index(i), column}));
    inGroup = this->total(all);
  }
  Value isFirst = d.isEqual(number, 0), last = e.sub(d.select(isFirst, e.index(1), number), e.index(1));
  Value hasGroups = d.compare(Predicate::ne, number, 0);
  Value before = d.select(isFirst, init(), waitFor(ofGroup(last), hasGroups)[0]);
  before = combine(before, inGroup);
  Value isLast = d.isEqual(own, group - 1);
  d.branch(d.make<arith::AndIOp>(tells, isLast),
           [&] { tell(combine(before, total), ofGroup(number)); });
  return before;
}

/// `now`: what is in front of the thread's first step.
void PrefixEmitter::write(Value now, ArrayRef<Value> terms) {
  // Where elements are is told anew, for registers to hold nothing but values.
  setPart(d.select(areLoaded(b, now), part, e.index(0)));
  auto write = [&](int64_t i, Value before) {
    Value step = sharedStep(i), isInside = d.isLess(step, steps);
    d.branch(exists ? d.make<arith::AndIOp>(exists, isInside) : isInside, [&] {
      PointEmitter::Scope scope(e);
      setStep(step);
      if (!before)
        before = memref::LoadOp::create(b, turned, sharedPlace(i));
      e.provide(what.term, terms[i]);
      e.provide(kernel.getCarryArg(0), before);
      e.provide(kernel.getYield().getValues()[0], combine(before, terms[i]));
      for (unsigned out = 1; out < kernel.getOuts().size(); ++out)
        e.storeOut(out, e.get(kernel.getYield().getValues()[out]));
    });
  };
  for (int64_t i = 0; i < kPerThread; ++i) {
    Value next = combine(now, ownTerm(terms, i));
    // In place of the terms, what is in front of each step.
    if (isTurned())
      memref::StoreOp::create(b, now, turned, ownPlace(i));
    else
      write(i, now);
    now = d.select(d.isLess(ownStep(i), steps), next, now);
  }
  Value hasLast = d.make<arith::AndIOp>(
      d.isLess(first, steps), d.compare(Predicate::uge, e.add(first, kPerThread), steps));
  if (isTurned()) {
    gpu::BarrierOp::create(b);
    for (int64_t i = 0; i < kPerThread; ++i)
      write(i, Value());
  }
  d.branch(exists ? d.make<arith::AndIOp>(exists, hasLast) : hasLast, [&] { e.storeOut(0, now); });
}

void PrefixEmitter::runTiles(Value memory) {
  begin();
  // Those in front of a tile have begun long before.
  Value groups = numGroups(), number, part;
  if (memory) {
    told = d.after(memory, kWordBytes);
    Value drawn = k.addShared({2}, b.getI32Type());
    d.branch(d.isEqual(thread, 0), [&] {
      Value tile = LLVM::AtomicRMWOp::create(b, LLVM::AtomicBinOp::add, memory, d.constant(1),
                                             LLVM::AtomicOrdering::monotonic, "device");
      Value divisor = d.toInt(groups);
      memref::StoreOp::create(b, d.rem(tile, divisor), drawn, e.index(0));
      memref::StoreOp::create(b, d.div(tile, divisor), drawn, e.index(1));
    });
    gpu::BarrierOp::create(b);
    number = d.toIndex(memref::LoadOp::create(b, drawn, e.index(0)));
    part = d.toIndex(memref::LoadOp::create(b, drawn, e.index(1)));
  } else {
    Value tile = gpu::BlockIdOp::create(b, gpu::Dimension::x);
    number = d.rem(tile, groups);
    part = d.div(tile, groups);
  }
  setGroup(number);
  setPart(part);
  Values terms = this->terms();
  Sums sums = sumUp(terms);
  write(combine(memory ? lookBack(sums.total) : init(), sums.below), terms);
}

void PrefixEmitter::runColumns(Value) {
  begin();
  setGroup(gpu::BlockIdOp::create(b, gpu::Dimension::x));
  Value zero = e.index(0), parts = numParts();
  setPart(zero);
  // The next tile is asked for before this one is written.
  Values carried = terms();
  carried.push_back(init());
  d.loop(zero, parts, e.index(1), carried, [&](Value number, ValueRange now) {
    setPart(number);
    Values terms(now.drop_back());
    Sums sums = sumUp(terms);
    gpu::BarrierOp::create(b);
    setPart(e.add(number, 1));
    Values next = this->terms();
    setPart(number);
    write(combine(now.back(), sums.below), terms);
    next.push_back(combine(now.back(), sums.total));
    return next;
  });
}

void PrefixEmitter::clear(Value memory) {
  thread = gpu::ThreadIdOp::create(b, gpu::Dimension::x);
  Value block = gpu::BlockIdOp::create(b, gpu::Dimension::x);
  Value none = arith::ConstantIntOp::create(b, b.getI64Type(), 0), words = numWords();
  Value first = e.add(d.mul(block, kThreads * kCleared), thread);
  for (int64_t i = 0; i < kCleared; ++i) {
    Value word = e.add(first, i * kThreads);
    d.branch(d.isLess(word, words), [&] {
      d.store(none, d.after(memory, d.toWide(d.mul(word, kWordBytes))), kWordBytes);
    });
  }
}

//===----------------------------------------------------------------------===//
// Kernels
//===----------------------------------------------------------------------===//

void ssm::addPrefixForms(KernelOp kernel, SmallVectorImpl<KernelForm> &forms) {
  if (!matchPrefix(kernel))
    return;
  unsigned time = *kernel.getTime();
  auto sizeOf = [kernel](ImplicitLocOpBuilder &h, unsigned loop) -> Value {
    return getValueOrCreateConstantIndexOp(h, h.getLoc(), KernelOp(kernel).getLoopSizes(h)[loop]);
  };
  auto rowsOf = [=](ImplicitLocOpBuilder &h) {
    Value rows = arith::ConstantIndexOp::create(h, 1);
    for (unsigned loop = 0; loop < KernelOp(kernel).getNumLoops(); ++loop)
      if (loop != time)
        rows = DeviceBuilder{h}.mul(rows, sizeOf(h, loop));
    return rows;
  };
  bool isDense = true;
  for (unsigned loop = 0; loop < kernel.getNumLoops(); ++loop)
    isDense &= loop == time || scoreLaneLoop(kernel, loop) < scoreLaneLoop(kernel, time);
  auto isLong = [=](ImplicitLocOpBuilder &h) {
    return DeviceBuilder{h}.compare(Predicate::uge, sizeOf(h, time), kFewSteps);
  };
  // Rows whose steps lie dense, or that are too few to be taken side by side.
  auto areRows = [=](ImplicitLocOpBuilder &h) -> Value {
    DeviceBuilder d{h};
    if (isDense)
      return isLong(h);
    return d.make<arith::AndIOp>(isLong(h), d.isLess(rowsOf(h), kFewNeighbours));
  };
  auto areColumns = [=](ImplicitLocOpBuilder &h) -> Value {
    DeviceBuilder d{h};
    return d.make<arith::AndIOp>(isLong(h), d.isLess(rowsOf(h), kManyRows));
  };
  using Emit = void (PrefixEmitter::*)(Value);
  auto launch = [=](KernelLaunches &launches, StringRef suffix, bool isWide, Value memory, Emit emit,
                    llvm::function_ref<Value(PrefixEmitter &)> blocksOf) {
    SmallVector<Value> more;
    if (memory)
      more.push_back(memory);
    launches.launch(suffix, more,
                    [&](Operation *copy, gpu::GPUFuncOp function, ValueRange given) -> LaunchShape {
                      ImplicitLocOpBuilder b(copy->getLoc(), copy);
                      ImplicitLocOpBuilder &h = launches.host;
                      DeviceKernel both{kernel, cast<KernelOp>(copy), h, b, function};
                      PrefixEmitter emitter(both, *matchPrefix(both.kernel), isWide);
                      (emitter.*emit)(given.empty() ? Value() : given[0]);
                      copy->erase();
                      DeviceKernel onHost{kernel, kernel, h, h, nullptr};
                      PrefixEmitter host(onHost, *matchPrefix(kernel), isWide);
                      Value one = arith::ConstantIndexOp::create(h, 1);
                      return {{blocksOf(host), one, one},
                              arith::ConstantIndexOp::create(h, kThreads),
                              kThreads};
                    });
  };
  auto emitTold = [=](KernelLaunches &launches, bool isWide, StringRef suffix, StringRef clear) {
    ImplicitLocOpBuilder &h = launches.host;
    DeviceKernel onHost{kernel, kernel, h, h, nullptr};
    Value words = PrefixEmitter(onHost, *matchPrefix(kernel), isWide).numWords();
    launches.withMemory(words, [&](Value memory) {
      launch(launches, clear, isWide, memory, &PrefixEmitter::clear, [&](PrefixEmitter &) {
        return DeviceBuilder{h}.ceilDiv(words, kThreads * kCleared);
      });
      launch(launches, suffix, isWide, memory, &PrefixEmitter::runTiles,
             [](PrefixEmitter &host) { return host.numTiles(); });
    });
  };
  KernelForm whole{"_prefix", nullptr, nullptr}, tiles{"_prefixes", nullptr, nullptr};
  whole.isFit = [=](ImplicitLocOpBuilder &h) -> Value {
    DeviceBuilder d{h};
    Value isPart = d.compare(Predicate::ule, sizeOf(h, time), kPart);
    return d.make<arith::AndIOp>(areRows(h), isPart);
  };
  whole.emitAll = [=](KernelLaunches &launches) {
    launch(launches, "_prefix", false, Value(), &PrefixEmitter::runTiles,
           [](PrefixEmitter &host) { return host.numTiles(); });
  };
  tiles.isFit = areRows;
  tiles.emitAll = [=](KernelLaunches &launches) {
    emitTold(launches, false, "_prefixes", "_prefixes_clear");
  };
  forms.append({whole, tiles});
  if (isDense)
    return;
  KernelForm columns{"_columns", nullptr, nullptr}, few{"_few_columns", nullptr, nullptr};
  columns.isFit = [=](ImplicitLocOpBuilder &h) -> Value {
    DeviceBuilder d{h};
    Value areMany = d.compare(Predicate::ugt, rowsOf(h), (kManyGroups - 1) * kWarp);
    return d.make<arith::AndIOp>(areColumns(h), areMany);
  };
  columns.emitAll = [=](KernelLaunches &launches) {
    launch(launches, "_columns", true, Value(), &PrefixEmitter::runColumns,
           [](PrefixEmitter &host) { return host.numGroups(); });
  };
  few.isFit = areColumns;
  few.emitAll = [=](KernelLaunches &launches) {
    emitTold(launches, true, "_few_columns", "_few_columns_clear");
  };
  forms.append({columns, few});
}
