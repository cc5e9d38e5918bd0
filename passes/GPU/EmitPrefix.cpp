//===- EmitPrefix.cpp - Running sums by many threads ----------------------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A recurrence that combines its one carry with something else at each step, as running sums,
// products and maxima do, takes its steps in any grouping. A block has a part of a row, each
// thread some steps that follow each other: what these come to is combined first, then over the
// threads in front. Of rows of several parts a first kernel leaves what each part comes to, a
// second what is in front of it. No atomics: the same input gives the same bits.
//
// Threads read and write memory side by side, and turn what they have in shared memory.
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
/// Parts of a row that a lane takes together.
constexpr int64_t kParts = 8;
/// Rows from which on a thread for each is enough, unless a row's steps lie dense; steps that are
/// worth a block.
constexpr int64_t kManyRows = 8192, kFewSteps = 256;
constexpr int64_t kWarps = kThreads / kWarp, kWordBytes = 8;

/// What is combined with the carry, and how.
struct Prefix {
  arith::AtomicRMWKind kind;
  Value term;
};

class PrefixEmitter {
public:
  PrefixEmitter(DeviceKernel &k, const Prefix &what)
      : k(k), kernel(k.kernel), what(what), b(k.device), d{b}, e(kernel, b, std::nullopt, 1),
        time(*kernel.getTime()), type(kernel.getCarryArg(0).getType()) {
    for (unsigned loop = 0; loop < kernel.getNumLoops(); ++loop)
      if (loop != time)
        rowLoops.push_back(loop);
  }

  void combineParts(Value memory);
  void addParts(Value memory);
  /// Null: a row is one part.
  void runSteps(Value memory);

private:
  using Values = SmallVector<Value>;

  Value neutral() { return e.neutral(what.kind, type); }
  Value combine(Value x, Value y) { return e.combine(what.kind, x, y); }
  void setRow(Value row);
  void setStep(Value step);
  Value init();
  /// The block's row and part of it.
  void begin();
  /// Steps that follow each other in a thread, and those of neighbours.
  Value ownStep(int64_t i) { return e.add(first, i); }
  Value sharedStep(int64_t i) { return e.add(aside, i * kThreads); }
  /// Of the steps of neighbours.
  Values terms();
  void shareTerms(ArrayRef<Value> terms);
  Values ownTerms();
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
  Value placeIn(Value memory, Value row, Value part);
  Value numParts() { return e.ceilDiv(steps, kPart); }

  DeviceKernel &k;
  KernelOp kernel;
  Prefix what;
  ImplicitLocOpBuilder &b;
  DeviceBuilder d;
  PointEmitter e;
  unsigned time;
  Type type;
  SmallVector<unsigned> rowLoops;
  Value thread, lane, steps, row, part, first, aside, turned;
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
  thread = gpu::ThreadIdOp::create(b, gpu::Dimension::x);
  lane = d.bitAnd(thread, kWarp - 1);
  steps = e.size(time);
  Value block = gpu::BlockIdOp::create(b, gpu::Dimension::x), parts = numParts();
  row = d.div(block, parts);
  part = d.rem(block, parts);
  setRow(row);
  Value base = d.mul(part, kPart);
  first = e.add(base, d.mul(thread, kPerThread));
  aside = e.add(base, thread);
  turned = k.addShared({kThreads, kPerThread + 1}, type);
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

void PrefixEmitter::shareTerms(ArrayRef<Value> terms) {
  for (auto [i, term] : llvm::enumerate(terms))
    memref::StoreOp::create(b, term, turned, sharedPlace(i));
  gpu::BarrierOp::create(b);
}

SmallVector<Value> PrefixEmitter::ownTerms() {
  Values own;
  for (int64_t i = 0; i < kPerThread; ++i) {
    Value term = memref::LoadOp::create(b, turned, ownPlace(i));
    own.push_back(d.select(d.isLess(ownStep(i), steps), term, neutral()));
  }
  return own;
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

/// A part's words, [row][part].
Value PrefixEmitter::placeIn(Value memory, Value row, Value part) {
  Value place = e.add(e.mul(row, numParts()), part);
  return d.after(memory, d.toWide(d.mul(place, kWordBytes)));
}

void PrefixEmitter::combineParts(Value memory) {
  begin();
  shareTerms(terms());
  Value all = reduceOverBlock(k, e, what.kind, total(ownTerms()));
  d.branch(d.isEqual(thread, 0),
           [&] { d.store(all, placeIn(memory, row, part), kWordBytes); });
}

/// A warp for each row.
void PrefixEmitter::addParts(Value memory) {
  thread = gpu::ThreadIdOp::create(b, gpu::Dimension::x);
  lane = thread;
  steps = e.size(time);
  row = gpu::BlockIdOp::create(b, gpu::Dimension::x);
  setRow(row);
  Value parts = numParts(), last = e.sub(parts, e.index(1));
  e.loop(e.index(0), parts, kWarp * kParts, init(), [&](Value begin, ValueRange now) {
    Value own = e.add(begin, d.mul(lane, kParts));
    Values values;
    for (int64_t i = 0; i < kParts; ++i) {
      Value part = e.add(own, i);
      Value value = d.load(type, placeIn(memory, row, e.min(part, last)), kWordBytes);
      values.push_back(d.select(d.isLess(part, parts), value, neutral()));
    }
    Value sum = total(values);
    Value next = combine(now[0], overLanesBelow(sum));
    for (int64_t i = 0; i < kParts; ++i) {
      Value part = e.add(own, i);
      d.branch(d.isLess(part, parts),
               [&] { d.store(next, placeIn(memory, row, part), kWordBytes); });
      next = combine(next, values[i]);
    }
    // What the last lane has come to.
    return Values{shuffleFrom(b, next, kWarp, kWarp - 1)};
  });
}

void PrefixEmitter::runSteps(Value memory) {
  begin();
  Values terms = this->terms();
  shareTerms(terms);
  Values ownTerms = this->ownTerms();
  Value start = memory ? d.load(type, placeIn(memory, row, part), kWordBytes) : init();
  Value own = total(ownTerms), below = overLanesBelow(own);
  // The last lane of a warp tells what all of it comes to.
  Value sums = k.addShared({kWarps}, type), warp = d.div(thread, kWarp);
  d.branch(d.isEqual(lane, kWarp - 1),
           [&] { memref::StoreOp::create(b, combine(below, own), sums, warp); });
  gpu::BarrierOp::create(b);
  for (int64_t other = 0; other + 1 < kWarps; ++other) {
    Value sum = memref::LoadOp::create(b, sums, e.index(other));
    start = d.select(d.compare(Predicate::ugt, warp, other), combine(start, sum), start);
  }
  // In place of the terms, what is in front of each step.
  Value now = combine(start, below);
  for (int64_t i = 0; i < kPerThread; ++i) {
    memref::StoreOp::create(b, now, turned, ownPlace(i));
    now = d.select(d.isLess(ownStep(i), steps), combine(now, ownTerms[i]), now);
  }
  Value hasLast = d.make<arith::AndIOp>(
      d.isLess(first, steps), d.compare(Predicate::uge, e.add(first, kPerThread), steps));
  gpu::BarrierOp::create(b);
  for (int64_t i = 0; i < kPerThread; ++i) {
    Value step = sharedStep(i);
    d.branch(d.isLess(step, steps), [&] {
      PointEmitter::Scope scope(e);
      setStep(step);
      Value before = memref::LoadOp::create(b, turned, sharedPlace(i));
      e.provide(what.term, terms[i]);
      e.provide(kernel.getCarryArg(0), before);
      e.provide(kernel.getYield().getValues()[0], combine(before, terms[i]));
      for (unsigned out = 1; out < kernel.getOuts().size(); ++out)
        e.storeOut(out, e.get(kernel.getYield().getValues()[out]));
    });
  }
  d.branch(hasLast, [&] { e.storeOut(0, now); });
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
  auto isLong = [=](ImplicitLocOpBuilder &h) -> Value {
    DeviceBuilder d{h};
    Value fits = d.compare(Predicate::uge, sizeOf(h, time), kFewSteps);
    if (isDense)
      return fits;
    return d.make<arith::AndIOp>(fits, d.isLess(rowsOf(h), kManyRows));
  };
  using Emit = void (PrefixEmitter::*)(Value);
  auto launch = [=](KernelLaunches &launches, StringRef suffix, Value memory, Emit emit,
                    Value blocks, int64_t threads) {
    SmallVector<Value> more;
    if (memory)
      more.push_back(memory);
    launches.launch(suffix, more,
                    [&](Operation *copy, gpu::GPUFuncOp function, ValueRange given) -> LaunchShape {
                      ImplicitLocOpBuilder b(copy->getLoc(), copy);
                      DeviceKernel both{kernel, cast<KernelOp>(copy), launches.host, b, function};
                      PrefixEmitter emitter(both, *matchPrefix(both.kernel));
                      (emitter.*emit)(given.empty() ? Value() : given[0]);
                      copy->erase();
                      ImplicitLocOpBuilder &host = launches.host;
                      Value one = arith::ConstantIndexOp::create(host, 1);
                      return {{blocks, one, one},
                              arith::ConstantIndexOp::create(host, threads),
                              threads};
                    });
  };
  KernelForm whole{"_prefix", nullptr, nullptr}, parts{"_prefixes", nullptr, nullptr};
  whole.isFit = [=](ImplicitLocOpBuilder &h) -> Value {
    DeviceBuilder d{h};
    Value isPart = d.compare(Predicate::ule, sizeOf(h, time), kPart);
    return d.make<arith::AndIOp>(isLong(h), isPart);
  };
  whole.emitAll = [=](KernelLaunches &launches) {
    launch(launches, "_prefix", Value(), &PrefixEmitter::runSteps, rowsOf(launches.host), kThreads);
  };
  parts.isFit = isLong;
  parts.emitAll = [=](KernelLaunches &launches) {
    ImplicitLocOpBuilder &h = launches.host;
    DeviceBuilder d{h};
    Value rows = rowsOf(h), all = d.mul(rows, d.ceilDiv(sizeOf(h, time), kPart));
    launches.withMemory(all, [&](Value memory) {
      launch(launches, "_parts", memory, &PrefixEmitter::combineParts, all, kThreads);
      launch(launches, "_parts_sums", memory, &PrefixEmitter::addParts, rows, kWarp);
      launch(launches, "_prefixes", memory, &PrefixEmitter::runSteps, all, kThreads);
    });
  };
  forms.append({whole, parts});
}
