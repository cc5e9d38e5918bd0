//===- EmitCompact.cpp - Loops that keep some of their points -------------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A nest of loops that counts the points for which something holds and writes at the count, as
// NonZero does. Blocks have parts of the points: a first kernel counts each part's, a second sums
// these up, a third writes, all points in their order.
//
//===----------------------------------------------------------------------===//

#include "passes/GPU/DeviceBuilder.h"
#include "passes/GPU/TeamReduce.h"

#include "mlir/Dialect/LLVMIR/NVVMDialect.h"
#include "mlir/IR/IRMapping.h"
#include "mlir/IR/Matchers.h"
#include "mlir/Interfaces/FunctionInterfaces.h"
#include "mlir/Interfaces/ViewLikeInterface.h"
#include "llvm/ADT/DenseSet.h"

using namespace mlir;
using namespace ssm;
using Predicate = arith::CmpIPredicate;

namespace {

constexpr int64_t kThreads = 256, kPerThread = 16, kPart = kThreads * kPerThread;
constexpr int64_t kWarps = kThreads / kWarp;
/// Parts that a lane takes together.
constexpr int64_t kParts = 8;

struct CompactNest {
  SmallVector<scf::ForOp> loops;
  scf::IfOp choice;

  bool match(Operation *nest);
  /// The count in front of the innermost point.
  Value count() const { return scf::ForOp(loops.back()).getRegionIterArg(0); }
};

class CompactEmitter {
public:
  CompactEmitter(DeviceKernel &k, const CompactNest &nest) : k(k), n(nest), b(k.device), d{b} {}

  Value points() {
    Value result = index(1);
    for (scf::ForOp loop : n.loops)
      result = d.mul(result, loop.getUpperBound());
    return result;
  }
  Value numParts() { return d.ceilDiv(points(), kPart); }
  void countParts(Value memory);
  void addParts(Value memory);
  void writePoints(Value memory);

private:
  using Values = SmallVector<Value>;

  Value index(int64_t value) { return arith::ConstantIndexOp::create(b, value); }
  Value wordAt(Value memory, Value part) { return d.after(memory, d.toWide(d.mul(part, 8))); }
  void begin();
  Value pointOf(int64_t i) { return d.add(first, i * kWarp); }
  void setPoint(Value point);
  /// Whether the point is kept.
  Value isKept(Value point);
  Value votes(Value condition) {
    return NVVM::VoteSyncOp::create(b, b.getI32Type(), d.constant(-1), condition,
                                    NVVM::VoteSyncKind::ballot);
  }

  DeviceKernel &k;
  const CompactNest &n;
  ImplicitLocOpBuilder &b;
  DeviceBuilder d;
  IRMapping mapping;
  /// The thread's first point; the next ones are a warp behind.
  Value thread, lane, warp, part, first, all;
};

} // namespace

/// Whether nothing is read from the memory of what is written, which nobody else has.
static bool isApart(Operation *nest) {
  llvm::SmallDenseSet<Value> read, written;
  auto add = [](llvm::SmallDenseSet<Value> &set, Value buffer) {
    while (auto view = buffer.getDefiningOp<ViewLikeOpInterface>())
      buffer = view.getViewSource();
    if (auto view = buffer.getDefiningOp<ArenaViewOp>())
      buffer = view.getArena();
    set.insert(buffer);
  };
  nest->walk([&](Operation *op) {
    if (auto load = dyn_cast<memref::LoadOp>(op))
      add(read, load.getMemRef());
    else if (auto store = dyn_cast<memref::StoreOp>(op))
      add(written, store.getMemRef());
  });
  return llvm::all_of(written, [&](Value buffer) {
    auto memory = dyn_cast<BlockArgument>(buffer);
    auto function =
        memory ? dyn_cast<FunctionOpInterface>(memory.getOwner()->getParentOp()) : nullptr;
    return function && !read.contains(buffer) &&
           function.getArgAttr(memory.getArgNumber(), kNoAlias);
  });
}

bool CompactNest::match(Operation *nest) {
  for (Operation *op = nest;;) {
    auto loop = dyn_cast<scf::ForOp>(op);
    if (!loop || loop.getNumRegionIterArgs() != 1 || !loop.getRegionIterArg(0).getType().isIndex() ||
        !matchPattern(loop.getLowerBound(), m_Zero()) || !matchPattern(loop.getStep(), m_One()) ||
        nest->isAncestor(loop.getUpperBound().getParentBlock()->getParentOp()))
      return false;
    Value from = loop.getInitArgs()[0];
    if (loops.empty() ? !matchPattern(from, m_Zero()) || !loop.use_empty()
                      : from != scf::ForOp(loops.back()).getRegionIterArg(0))
      return false;
    loops.push_back(loop);
    Block &body = *loop.getBody();
    auto next = dyn_cast<scf::ForOp>(body.front());
    if (!next)
      break;
    if (!llvm::hasNItems(body, 2) || body.getTerminator()->getOperand(0) != next.getResult(0))
      return false;
    op = next;
  }
  Block &body = *loops.back().getBody();
  Value before = count();
  for (Operation &op : body.without_terminator()) {
    if (auto branch = dyn_cast<scf::IfOp>(op)) {
      if (choice || &op != body.getTerminator()->getPrevNode())
        return false;
      choice = branch;
    } else if (op.getNumRegions() > 0 || (!isa<memref::LoadOp>(op) && !isMemoryEffectFree(&op)) ||
               llvm::is_contained(op.getOperands(), before)) {
      return false;
    }
  }
  if (!choice || choice.getNumResults() != 1 ||
      body.getTerminator()->getOperand(0) != choice.getResult(0) ||
      choice.elseYield().getOperand(0) != before)
    return false;
  auto counted = choice.thenYield().getOperand(0).getDefiningOp<arith::AddIOp>();
  if (!counted || counted.getLhs() != before || !matchPattern(counted.getRhs(), m_One()))
    return false;
  // What is kept is written, each in a place of its own.
  for (Operation &op : choice.thenBlock()->without_terminator()) {
    auto store = dyn_cast<memref::StoreOp>(op);
    if (store ? !llvm::is_contained(store.getIndices(), before)
              : op.getNumRegions() > 0 || !isMemoryEffectFree(&op))
      return false;
  }
  return llvm::hasSingleElement(*choice.elseBlock()) && isApart(nest);
}

void CompactEmitter::begin() {
  thread = gpu::ThreadIdOp::create(b, gpu::Dimension::x);
  lane = d.bitAnd(thread, kWarp - 1);
  warp = d.div(thread, kWarp);
  part = gpu::BlockIdOp::create(b, gpu::Dimension::x);
  all = points();
  first = d.add(d.add(d.mul(part, kPart), d.mul(warp, kWarp * kPerThread)), lane);
}

void CompactEmitter::setPoint(Value point) {
  for (scf::ForOp loop : llvm::reverse(n.loops)) {
    bool isLast = loop == n.loops.front();
    mapping.map(loop.getInductionVar(), isLast ? point : d.rem(point, loop.getUpperBound()));
    if (!isLast)
      point = d.div(point, loop.getUpperBound());
  }
}

Value CompactEmitter::isKept(Value point) {
  setPoint(d.min(point, d.sub(all, 1)));
  scf::IfOp choice = n.choice;
  for (Operation &op : scf::ForOp(n.loops.back()).getBody()->without_terminator())
    if (&op != choice.getOperation())
      b.clone(op, mapping);
  return d.make<arith::AndIOp>(d.isLess(point, all), mapping.lookupOrDefault(choice.getCondition()));
}

void CompactEmitter::countParts(Value memory) {
  begin();
  Values kept;
  for (int64_t i = 0; i < kPerThread; ++i)
    kept.push_back(isKept(pointOf(i)));
  Value sum = d.constant(0);
  for (Value condition : kept)
    sum = d.add(sum, LLVM::CtPopOp::create(b, votes(condition)));
  Value sums = k.addShared({kWarps}, b.getI32Type());
  d.branch(d.isEqual(lane, 0), [&] { memref::StoreOp::create(b, sum, sums, warp); });
  gpu::BarrierOp::create(b);
  d.branch(d.isEqual(thread, 0), [&] {
    Value total = d.constant(0);
    for (int64_t other = 0; other < kWarps; ++other)
      total = d.add(total, memref::LoadOp::create(b, sums, index(other)));
    d.store(arith::ExtUIOp::create(b, b.getI64Type(), total), wordAt(memory, part), 8);
  });
}

/// One warp.
void CompactEmitter::addParts(Value memory) {
  lane = gpu::ThreadIdOp::create(b, gpu::Dimension::x);
  Value parts = numParts(), last = d.sub(parts, 1);
  Value none = arith::ConstantIntOp::create(b, b.getI64Type(), 0);
  d.loop(index(0), parts, index(kWarp * kParts), none, [&](Value begin, ValueRange now) {
    Value own = d.add(begin, d.mul(lane, kParts));
    Values counts;
    Value sum = none;
    for (int64_t i = 0; i < kParts; ++i) {
      Value part = d.add(own, i);
      Value count = d.load(b.getI64Type(), wordAt(memory, d.min(part, last)), 8);
      counts.push_back(d.select(d.isLess(part, parts), count, none));
      sum = d.add(sum, counts.back());
    }
    Value upTo = sum;
    for (int64_t distance = 1; distance < kWarp; distance *= 2) {
      Value below = shuffleUp(b, upTo, distance);
      upTo = d.add(upTo, d.select(d.compare(Predicate::uge, lane, distance), below, none));
    }
    Value next = d.add(now[0], d.sub(upTo, sum));
    for (int64_t i = 0; i < kParts; ++i) {
      Value part = d.add(own, i);
      d.branch(d.isLess(part, parts), [&] { d.store(next, wordAt(memory, part), 8); });
      next = d.add(next, counts[i]);
    }
    return Values{shuffleFrom(b, next, kWarp, kWarp - 1)};
  });
}

void CompactEmitter::writePoints(Value memory) {
  begin();
  Values kept, ballots;
  for (int64_t i = 0; i < kPerThread; ++i)
    kept.push_back(isKept(pointOf(i)));
  Value sum = d.constant(0);
  for (Value condition : kept) {
    ballots.push_back(votes(condition));
    sum = d.add(sum, LLVM::CtPopOp::create(b, ballots.back()));
  }
  Value sums = k.addShared({kWarps}, b.getI32Type());
  d.branch(d.isEqual(lane, 0), [&] { memref::StoreOp::create(b, sum, sums, warp); });
  gpu::BarrierOp::create(b);
  Value next = d.toIndex(d.load(b.getI64Type(), wordAt(memory, part), 8));
  for (int64_t other = 0; other + 1 < kWarps; ++other) {
    Value count = d.toIndex(memref::LoadOp::create(b, sums, index(other)));
    next = d.add(next, d.select(d.compare(Predicate::ugt, warp, other), count, index(0)));
  }
  Value below = d.sub(d.make<arith::ShLIOp>(d.constant(1), d.toInt(lane)), 1);
  scf::IfOp choice = n.choice;
  for (auto [i, condition] : llvm::enumerate(kept)) {
    Value rank = LLVM::CtPopOp::create(b, d.bitAnd(ballots[i], below));
    d.branch(condition, [&] {
      IRMapping outside = mapping;
      setPoint(pointOf(i));
      for (Operation &op : scf::ForOp(n.loops.back()).getBody()->without_terminator())
        if (&op != choice.getOperation())
          b.clone(op, mapping);
      mapping.map(n.count(), d.add(next, d.toIndex(rank)));
      for (Operation &op : choice.thenBlock()->without_terminator())
        b.clone(op, mapping);
      mapping = outside;
    });
    next = d.add(next, d.toIndex(LLVM::CtPopOp::create(b, ballots[i])));
  }
}

SmallVector<KernelForm> ssm::getCompactForms(Operation *nest) {
  SmallVector<KernelForm> forms;
  if (!CompactNest().match(nest))
    return forms;
  KernelForm form;
  form.emitAll = [nest](KernelLaunches &launches) {
    ImplicitLocOpBuilder &host = launches.host;
    CompactNest found;
    found.match(nest);
    DeviceKernel outside{KernelOp(), KernelOp(), host, host, nullptr};
    Value parts = CompactEmitter(outside, found).numParts();
    Value one = arith::ConstantIndexOp::create(host, 1);
    launches.withMemory(parts, [&](Value memory) {
      auto queue = [&](StringRef suffix, Value blocks, int64_t threads,
                       void (CompactEmitter::*emit)(Value)) {
        launches.launch(
            suffix, memory,
            [&](Operation *copy, gpu::GPUFuncOp function, ValueRange given) -> LaunchShape {
              ImplicitLocOpBuilder b(copy->getLoc(), copy);
              DeviceKernel both{KernelOp(), KernelOp(), host, b, function};
              CompactNest inside;
              inside.match(copy);
              CompactEmitter emitter(both, inside);
              (emitter.*emit)(given[0]);
              copy->erase();
              Value count = arith::ConstantIndexOp::create(host, threads);
              return {{blocks, one, one}, count, threads};
            });
      };
      queue("_count", parts, kThreads, &CompactEmitter::countParts);
      queue("_count_sums", one, kWarp, &CompactEmitter::addParts);
      queue("", parts, kThreads, &CompactEmitter::writePoints);
    });
  };
  forms.push_back(form);
  return forms;
}
