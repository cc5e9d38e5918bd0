//===- EmitCompact.cpp - Loops that keep some of their points -------------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A nest of loops that counts the points for which something holds and writes at the count, as
// NonZero does. Blocks have parts of the points, and tell each other how many they keep of them
// (LookBack.h). What a part keeps is put side by side in shared memory first, then written by
// neighbours, all points in their order.
//
//===----------------------------------------------------------------------===//

#include "passes/GPU/DeviceBuilder.h"
#include "passes/GPU/LookBack.h"
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

constexpr int64_t kThreads = LookBack::kThreads, kPerThread = 16, kPart = kThreads * kPerThread;
constexpr int64_t kWarps = kThreads / kWarp;
/// Of a point within a part.
constexpr int64_t kNumberBytes = 2;

struct CompactNest {
  SmallVector<scf::ForOp> loops;
  scf::IfOp choice;

  bool match(Operation *nest);
  /// The count in front of the innermost point.
  Value count() const { return scf::ForOp(loops.back()).getRegionIterArg(0); }
};

class CompactEmitter {
public:
  CompactEmitter(DeviceKernel &k, const CompactNest &nest)
      : k(k), n(nest), b(k.device), d{b}, lookBack(b, b.getI64Type(), /*columns=*/1) {}

  Value points() {
    Value result = index(1);
    for (scf::ForOp loop : n.loops)
      result = d.mul(result, loop.getUpperBound());
    return result;
  }
  Value numParts() { return d.ceilDiv(points(), kPart); }
  Value numWords() { return lookBack.numWords(index(1), numParts()); }
  void clear(Value memory) { lookBack.clear(memory, numWords()); }
  void writePoints(Value memory);

private:
  using Values = SmallVector<Value>;

  Value index(int64_t value) { return arith::ConstantIndexOp::create(b, value); }
  void begin(Value memory);
  /// Indices of loops, of a point by its number.
  Values digitsOf(Value point);
  /// Those so many points further.
  Values addDigits(ArrayRef<Value> digits, ArrayRef<Value> more);
  /// The body at the point, but for what is done with it.
  void emitBody(ArrayRef<Value> digits);
  Value sumOverThreads(Value value);
  Value votes(Value condition) {
    return NVVM::VoteSyncOp::create(b, b.getI32Type(), d.constant(-1), condition,
                                    NVVM::VoteSyncKind::ballot);
  }

  DeviceKernel &k;
  const CompactNest &n;
  ImplicitLocOpBuilder &b;
  DeviceBuilder d;
  LookBack lookBack;
  IRMapping mapping;
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
           function.getArgAttr(memory.getArgNumber(), "llvm.noalias");
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

void CompactEmitter::begin(Value memory) {
  thread = gpu::ThreadIdOp::create(b, gpu::Dimension::x);
  lane = d.bitAnd(thread, kWarp - 1);
  warp = d.div(thread, kWarp);
  all = points();
  lookBack.begin(memory, index(1), numParts());
  lookBack.setRow(index(0));
  Value drawn = k.addShared({1}, b.getI32Type()), number = lookBack.draw();
  d.branch(d.isEqual(thread, 0), [&] { memref::StoreOp::create(b, number, drawn, index(0)); });
  gpu::BarrierOp::create(b);
  part = d.toIndex(memref::LoadOp::create(b, drawn, index(0)));
  first = d.mul(part, kPart);
}

SmallVector<Value> CompactEmitter::digitsOf(Value point) {
  Values digits;
  for (scf::ForOp loop : llvm::reverse(n.loops)) {
    bool isLast = loop == n.loops.front();
    digits.push_back(isLast ? point : d.rem(point, loop.getUpperBound()));
    if (!isLast)
      point = d.div(point, loop.getUpperBound());
  }
  return digits;
}

SmallVector<Value> CompactEmitter::addDigits(ArrayRef<Value> digits, ArrayRef<Value> more) {
  Values sums;
  Value carry;
  for (auto [digit, step, at] : llvm::zip_equal(digits, more, llvm::reverse(n.loops))) {
    scf::ForOp loop = at;
    Value sum = d.add(digit, step);
    if (carry)
      sum = d.add(sum, d.select(carry, index(1), index(0)));
    if (loop != n.loops.front()) {
      carry = d.compare(Predicate::uge, sum, loop.getUpperBound());
      sum = d.select(carry, d.sub(sum, loop.getUpperBound()), sum);
    }
    sums.push_back(sum);
  }
  return sums;
}

void CompactEmitter::emitBody(ArrayRef<Value> digits) {
  for (auto [digit, loop] : llvm::zip_equal(digits, llvm::reverse(n.loops)))
    mapping.map(scf::ForOp(loop).getInductionVar(), digit);
  scf::IfOp choice = n.choice;
  for (Operation &op : scf::ForOp(n.loops.back()).getBody()->without_terminator())
    if (&op != choice.getOperation())
      b.clone(op, mapping);
}

Value CompactEmitter::sumOverThreads(Value value) {
  for (int64_t distance = kWarp / 2; distance > 0; distance /= 2)
    value = d.add(value, shuffleXor(b, value, distance));
  Value sums = k.addShared({kWarps}, value.getType());
  d.branch(d.isEqual(lane, 0), [&] { memref::StoreOp::create(b, value, sums, warp); });
  gpu::BarrierOp::create(b);
  Value total = d.constant(value, 0);
  for (int64_t other = 0; other < kWarps; ++other)
    total = d.add(total, memref::LoadOp::create(b, sums, index(other)));
  return total;
}

void CompactEmitter::writePoints(Value memory) {
  begin(memory);
  Type i32 = b.getI32Type(), i64 = b.getI64Type();
  // A thread's points are a warp apart.
  Value within = d.add(d.mul(warp, kWarp * kPerThread), lane), own = d.add(first, within);
  Values digits = digitsOf(own), step = digitsOf(index(kWarp)), kept;
  for (int64_t i = 0; i < kPerThread; ++i) {
    IRMapping outside = mapping;
    Value isInside = d.isLess(d.add(own, i * kWarp), all);
    emitBody(llvm::map_to_vector(
        digits, [&](Value digit) { return d.select(isInside, digit, index(0)); }));
    kept.push_back(d.make<arith::AndIOp>(
        isInside, mapping.lookupOrDefault(scf::IfOp(n.choice).getCondition())));
    mapping = outside;
    digits = addDigits(digits, step);
  }
  Values ballots;
  Value sum = d.constant(0);
  for (Value condition : kept) {
    ballots.push_back(votes(condition));
    sum = d.add(sum, LLVM::CtPopOp::create(b, ballots.back()));
  }
  Value sums = k.addShared({kWarps}, i32);
  d.branch(d.isEqual(lane, 0), [&] { memref::StoreOp::create(b, sum, sums, warp); });
  gpu::BarrierOp::create(b);
  Value total = d.constant(0), next = total;
  for (int64_t other = 0; other < kWarps; ++other) {
    next = d.select(d.isEqual(warp, other), total, next);
    total = d.add(total, memref::LoadOp::create(b, sums, index(other)));
  }
  Value wide = arith::ExtUIOp::create(b, i64, total);
  lookBack.tell(wide, part);
  // What is kept, by its number among the part's points.
  Value numbers = k.addDynamicShared();
  auto numberAt = [&](Value at) { return d.after(numbers, d.mul(at, kNumberBytes)); };
  Value below = d.sub(d.make<arith::ShLIOp>(d.constant(1), d.toInt(lane)), 1);
  for (int64_t i = 0; i < kPerThread; ++i) {
    Value rank = d.add(next, LLVM::CtPopOp::create(b, d.bitAnd(ballots[i], below)));
    d.branch(kept[i], [&] {
      Value number = d.add(d.toInt(within), i * kWarp);
      d.store(arith::TruncIOp::create(b, b.getI16Type(), number), numberAt(rank), kNumberBytes);
    });
    next = d.add(next, LLVM::CtPopOp::create(b, ballots[i]));
  }
  auto two = [&](Value x, Value y) { return d.add(x, y); };
  auto threads = [&](Value value) { return sumOverThreads(value); };
  Value none = d.constant(wide, 0);
  Value inFront = d.toIndex(lookBack.before(wide, part, none, {two, threads, none}));
  d.loop(thread, d.toIndex(total), index(kThreads), {}, [&](Value at, ValueRange) {
    IRMapping outside = mapping;
    Value number = d.load(b.getI16Type(), numberAt(d.toInt(at)), kNumberBytes);
    number = d.toIndex(arith::ExtUIOp::create(b, i32, number));
    emitBody(digitsOf(d.add(first, number)));
    mapping.map(n.count(), d.add(inFront, at));
    for (Operation &op : scf::IfOp(n.choice).thenBlock()->without_terminator())
      b.clone(op, mapping);
    mapping = outside;
    return Values();
  });
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
    CompactEmitter onHost(outside, found);
    Value parts = onHost.numParts(), words = onHost.numWords();
    Value one = arith::ConstantIndexOp::create(host, 1);
    launches.withMemory(words, [&](Value memory) {
      auto queue = [&](StringRef suffix, Value blocks, int64_t shared,
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
              Value count = arith::ConstantIndexOp::create(host, kThreads);
              return {{blocks, one, one}, count, kThreads, shared};
            });
      };
      queue("_clear", LookBack::clearBlocks(DeviceBuilder{host}, words), 0, &CompactEmitter::clear);
      queue("", parts, kPart * kNumberBytes, &CompactEmitter::writePoints);
    });
  };
  forms.push_back(form);
  return forms;
}
