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
// Memory is read once: blocks of rows of several tiles tell each other what these come to
// (LookBack.h). Where neighbours are many, a block goes through all tiles of 32 instead.
//
// Threads of one row read and write memory side by side, and turn what they have in shared memory.
//
//===----------------------------------------------------------------------===//

#include "passes/GPU/DeviceBuilder.h"
#include "passes/GPU/LookBack.h"
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

constexpr int64_t kThreads = LookBack::kThreads, kPerThread = 16, kPart = kThreads * kPerThread;
constexpr int64_t kWarps = kThreads / kWarp;
/// Steps of a row that are worth a block, and so few that sharing them out is not worth a second
/// kernel; neighbours that are worth a warp, so many that a thread for each is enough, and how many
/// groups of 32 keep a GPU busy without being shared out.
constexpr int64_t kFewSteps = 256, kShortColumn = 512, kFewNeighbours = 8, kManyRows = 1 << 17,
                  kManyGroups = 264;

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
        columns(isWide ? kWarp : 1), lookBack(b, type, columns) {
    for (unsigned loop = 0; loop < kernel.getNumLoops(); ++loop)
      if (loop != time)
        rowLoops.push_back(loop);
    // Neighbours are those of the loop that lies best.
    llvm::sort(rowLoops, [&](unsigned x, unsigned y) {
      return std::pair(scoreLaneLoop(kernel, x), x) < std::pair(scoreLaneLoop(kernel, y), y);
    });
  }

  /// A block for each row, of one tile.
  void runRow(Value memory);
  /// A block for each tile; what blocks tell each other goes to `memory`.
  void runTiles(Value memory);
  /// A block for each 32 rows.
  void runColumns(Value memory);
  void clear(Value memory);
  /// On the host: how many tiles, and words of memory for them.
  Value numTiles();
  Value numWords() { return lookBack.numWords(numGroups(), numParts()); }
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
  Value inFront(Value total);
  void write(Value now, ArrayRef<Value> terms);

  DeviceKernel &k;
  KernelOp kernel;
  Prefix what;
  ImplicitLocOpBuilder &b;
  DeviceBuilder d;
  PointEmitter e;
  unsigned time;
  Type type;
  int64_t columns;
  LookBack lookBack;
  SmallVector<unsigned> rowLoops;
  Value thread, lane, warp, column, steps, exists, part, first, aside, turned, sums;
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
  k.function->setAttr("nvvm.minctasm",
                      b.getI32IntegerAttr(type.getIntOrFloatBitWidth() > 32 ? 2 : 4));
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
  lookBack.setRow(number);
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

/// What is in front of the block's tile.
Value PrefixEmitter::inFront(Value total) {
  auto overThreads = [&](Value value) -> Value {
    if (isTurned())
      return reduceOverBlock(k, e, what.kind, value);
    Value others = k.addShared({kWarps, columns}, type);
    memref::StoreOp::create(b, value, others, ValueRange{warp, column});
    gpu::BarrierOp::create(b);
    Values all;
    for (int64_t i = 0; i < kWarps; ++i)
      all.push_back(memref::LoadOp::create(b, others, ValueRange{e.index(i), column}));
    return this->total(all);
  };
  auto two = [&](Value x, Value y) { return combine(x, y); };
  return lookBack.before(total, part, init(), {two, overThreads, neutral()});
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

void PrefixEmitter::runRow(Value) {
  begin();
  setGroup(gpu::BlockIdOp::create(b, gpu::Dimension::x));
  setPart(e.index(0));
  Values terms = this->terms();
  Sums sums = sumUp(terms);
  write(combine(init(), sums.below), terms);
}

void PrefixEmitter::runTiles(Value memory) {
  begin();
  Value drawn = k.addShared({2}, b.getI32Type());
  lookBack.begin(memory, numGroups(), numParts());
  Value number = lookBack.draw();
  // Tiles of a row are far apart: those in front have begun long before.
  d.branch(d.isEqual(thread, 0), [&] {
    Value groups = d.toInt(numGroups());
    memref::StoreOp::create(b, d.rem(number, groups), drawn, e.index(0));
    memref::StoreOp::create(b, d.div(number, groups), drawn, e.index(1));
  });
  gpu::BarrierOp::create(b);
  auto load = [&](int64_t i) {
    return d.toIndex(memref::LoadOp::create(b, drawn, e.index(i)));
  };
  setGroup(load(0));
  setPart(load(1));
  Values terms = this->terms();
  Sums sums = sumUp(terms);
  lookBack.tell(sums.total, part);
  write(combine(inFront(sums.total), sums.below), terms);
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

void PrefixEmitter::clear(Value memory) { lookBack.clear(memory, numWords()); }

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
        return LookBack::clearBlocks(DeviceBuilder{h}, words);
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
    launch(launches, "_prefix", false, Value(), &PrefixEmitter::runRow,
           [](PrefixEmitter &host) { return host.numGroups(); });
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
    Value areShort = d.compare(Predicate::ule, sizeOf(h, time), kShortColumn);
    return d.make<arith::AndIOp>(areColumns(h), d.make<arith::OrIOp>(areMany, areShort));
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
