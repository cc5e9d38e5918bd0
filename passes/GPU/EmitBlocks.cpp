//===- EmitBlocks.cpp - Kernels whose steps a block shares out ------------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "passes/GPU/DeviceKernel.h"
#include "passes/GPU/TeamReduce.h"

#include "lib/Analysis/KernelShape.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Arith/Utils/Utils.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "llvm/ADT/MapVector.h"
#include "llvm/Support/SaveAndRestore.h"

using namespace mlir;
using namespace ssm;

namespace {

/// Carries stay in their outs. A step is: sums that are one number for the block, by all threads;
/// outs, from the carries as they are; then the carries, in an order in which none is overwritten
/// that is still to be read. Barriers between. Without time there is one step.
class BlockKernel {
public:
  explicit BlockKernel(DeviceKernel &k)
      : k(k), kernel(k.kernel), b(k.device), e(kernel, b, std::nullopt, 1) {
    if (kernel.getTime())
      timeSet = loopBit(*kernel.getTime());
  }

  /// With `isWhole` one block computes all; else blocks share out independent recurrences.
  bool analyze(bool isWhole);
  LaunchShape launch();
  void emit();

private:
  /// Outs or carries that are written together: threads share out `across`, each runs through
  /// `within`.
  struct Group {
    SmallVector<unsigned> outs, across, within;
  };

  bool isInside(Value value) { return value.getParentBlock() == &kernel.getStep(); }
  /// The sums that values take, themselves or through others.
  llvm::DenseSet<Operation *> sumsOf(ArrayRef<Value> values);
  SmallVector<unsigned> order(LoopSet set);
  Group divide(ArrayRef<unsigned> outs, ArrayRef<unsigned> loops);
  Value product(ArrayRef<unsigned> loops);
  void setIndices(ArrayRef<unsigned> loops, Value number);
  SmallVector<Value> strided(ArrayRef<unsigned> loops, ValueRange carried,
                             llvm::function_ref<SmallVector<Value>(ValueRange)> body);
  void forPoints(ArrayRef<unsigned> loops, llvm::function_ref<void()> body);
  void prepareSums(ArrayRef<Value> values);
  void provideCarries(ArrayRef<Value> values);
  Value reduceAlone(ReduceOp reduce, ArrayRef<int64_t> left, Value sum);
  void reduceTogether(ReduceOp reduce);
  void startCarries();
  void runStep();
  void write(const Group &group, ArrayRef<unsigned> within);

  DeviceKernel &k;
  KernelOp kernel;
  ImplicitLocOpBuilder &b;
  PointEmitter e;
  LoopSet timeSet = 0;
  /// The loops that blocks share out, and those that have an index here.
  LoopSet points = 0, open = 0;
  SmallVector<unsigned> pointLoops;
  SmallVector<Group> outs, updates;
  SmallVector<ReduceOp> together;
  Value thread, threads;
};

} // namespace

llvm::DenseSet<Operation *> BlockKernel::sumsOf(ArrayRef<Value> values) {
  llvm::DenseSet<Operation *> sums;
  llvm::DenseSet<Value> seen;
  SmallVector<Value> left(values);
  while (!left.empty()) {
    Value part = left.pop_back_val();
    Operation *op = part.getDefiningOp();
    if (!op || !isInside(part) || e.isProvided(part) || !seen.insert(part).second)
      continue;
    if (isa<ReduceOp>(op))
      sums.insert(op);
    llvm::append_range(left, op->getOperands());
  }
  return sums;
}

SmallVector<unsigned> BlockKernel::order(LoopSet set) {
  SmallVector<unsigned> loops = listLoops(set);
  if (loops.empty())
    return loops;
  auto best = std::max_element(loops.begin(), loops.end(), [&](unsigned x, unsigned y) {
    return scoreLaneLoop(kernel, x) < scoreLaneLoop(kernel, y);
  });
  std::rotate(best, best + 1, loops.end());
  return loops;
}

/// What a thread writes, no other may read meanwhile: the loops of sums of its own are its own.
BlockKernel::Group BlockKernel::divide(ArrayRef<unsigned> outs, ArrayRef<unsigned> loops) {
  LoopSet all = loopsOf(kernel.getOutMap(outs.front())) & ~points & ~timeSet, across = all;
  SmallVector<Value> values = llvm::map_to_vector(
      outs, [&](unsigned out) -> Value { return kernel.getYield().getValues()[out]; });
  for (Operation *sum : sumsOf(values))
    if (!llvm::is_contained(together, sum))
      across &= e.loops.of(sum->getResult(0));
  Group group;
  group.outs = llvm::to_vector(outs);
  group.across = order(across);
  for (unsigned loop : loops)
    if (contains(all & ~across, loop))
      group.within.push_back(loop);
  return group;
}

bool BlockKernel::analyze(bool isWhole) {
  auto carryOrder = orderCarryUpdates(kernel);
  if (!carryOrder)
    return false;
  if (!isWhole) {
    points = ~timeSet;
    for (unsigned i = 0; i < kernel.getNumCarries(); ++i)
      points &= loopsOf(kernel.getOutMap(i));
    for (auto reduce : kernel.getStep().getOps<ReduceOp>())
      points &= ~loopsOf(reduce.getLoops());
  }
  pointLoops = order(points);
  for (auto reduce : kernel.getStep().getOps<ReduceOp>())
    if (isSubset(e.loops.of(reduce), points | timeSet))
      together.push_back(reduce);
  llvm::MapVector<LoopSet, SmallVector<unsigned>> groups;
  for (unsigned out = kernel.getNumCarries(); out < kernel.getOuts().size(); ++out)
    groups[loopsOf(kernel.getOutMap(out))].push_back(out);
  for (const auto &[loops, members] : groups)
    outs.push_back(divide(members, listLoops(loops)));
  for (const CarryUpdate &update : *carryOrder)
    updates.push_back(divide(update.carries, update.loops));
  return true;
}

LaunchShape BlockKernel::launch() {
  ImplicitLocOpBuilder &h = k.host;
  SmallVector<OpFoldResult> sizes = k.hostKernel.getLoopSizes(h);
  auto constant = [&](int64_t value) { return arith::ConstantIndexOp::create(h, value); };
  auto multiply = [&](ArrayRef<unsigned> loops) {
    Value result = constant(1);
    for (unsigned loop : loops)
      result = h.createOrFold<arith::MulIOp>(
          result, getValueOrCreateConstantIndexOp(h, h.getLoc(), sizes[loop]));
    return result;
  };
  Value longest = constant(1);
  auto lengthen = [&](Value length) { longest = h.createOrFold<arith::MaxUIOp>(longest, length); };
  for (const auto *groups : {&outs, &updates})
    for (const Group &group : *groups)
      lengthen(multiply(group.across));
  for (ReduceOp reduce : together)
    lengthen(multiply(llvm::to_vector_of<unsigned>(reduce.getLoops())));
  Value warps = h.createOrFold<arith::CeilDivUIOp>(longest, constant(kWarp));
  warps = h.createOrFold<arith::MinUIOp>(warps, constant(kMaxBlock / kWarp));
  Value one = constant(1);
  return {{multiply(pointLoops), one, one},
          h.createOrFold<arith::MulIOp>(warps, constant(kWarp)),
          kMaxBlock};
}

Value BlockKernel::product(ArrayRef<unsigned> loops) {
  Value result = e.index(1);
  for (unsigned loop : loops)
    result = e.mul(result, e.size(loop));
  return result;
}

/// From one number, the last loop fastest.
void BlockKernel::setIndices(ArrayRef<unsigned> loops, Value number) {
  open |= loopsOf(llvm::to_vector_of<int64_t>(loops));
  for (size_t i = loops.size(); i-- > 0;) {
    if (i == 0) {
      e.at[loops[i]] = number;
      break;
    }
    Value size = e.size(loops[i]);
    e.at[loops[i]] = b.createOrFold<arith::RemUIOp>(number, size);
    number = b.createOrFold<arith::DivUIOp>(number, size);
  }
}

/// The threads share out the loops' points.
SmallVector<Value>
BlockKernel::strided(ArrayRef<unsigned> loops, ValueRange carried,
                         llvm::function_ref<SmallVector<Value>(ValueRange)> body) {
  auto loop = scf::ForOp::create(b, thread, product(loops), threads, carried);
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToStart(loop.getBody());
  PointEmitter::Scope scope(e);
  llvm::SaveAndRestore<LoopSet> saved(open);
  setIndices(loops, loop.getInductionVar());
  SmallVector<Value> next = body(loop.getRegionIterArgs());
  if (!carried.empty()) {
    b.setInsertionPointToEnd(loop.getBody());
    scf::YieldOp::create(b, next);
  }
  return llvm::to_vector_of<Value>(loop.getResults());
}

void BlockKernel::forPoints(ArrayRef<unsigned> loops, llvm::function_ref<void()> body) {
  strided(loops, {}, [&](ValueRange) {
    body();
    return SmallVector<Value>();
  });
}

/// Computes the sums that the values take and that are one number at this point.
void BlockKernel::prepareSums(ArrayRef<Value> values) {
  llvm::DenseSet<Operation *> sums = sumsOf(values);
  for (auto reduce : kernel.getStep().getOps<ReduceOp>())
    if (sums.contains(reduce) && isSubset(e.loops.of(reduce), open)) {
      Value start = e.neutral(reduce.getKind(), reduce.getType());
      e.provide(reduce, reduceAlone(reduce, reduce.getLoops(), start));
    }
}

/// As they are before the step.
void BlockKernel::provideCarries(ArrayRef<Value> values) {
  llvm::DenseSet<Value> seen;
  SmallVector<Value> left(values);
  while (!left.empty()) {
    Value part = left.pop_back_val();
    if (!isInside(part) || e.isProvided(part) || !seen.insert(part).second)
      continue;
    if (Operation *op = part.getDefiningOp()) {
      llvm::append_range(left, op->getOperands());
      continue;
    }
    unsigned number = cast<BlockArgument>(part).getArgNumber(), inputs = kernel.getInputs().size();
    if (number >= inputs)
      e.provide(part, e.load(kernel.getOuts()[number - inputs], kernel.getOutMap(number - inputs),
                             false));
  }
}

Value BlockKernel::reduceAlone(ReduceOp reduce, ArrayRef<int64_t> left, Value sum) {
  if (left.empty()) {
    prepareSums(reduce.getValue());
    provideCarries(reduce.getValue());
    return e.combine(reduce.getKind(), sum, e.get(reduce.getValue()));
  }
  return e.loop(e.index(0), e.size(left.front()), 1, sum, [&](Value i, ValueRange sums) {
    PointEmitter::Scope scope(e);
    llvm::SaveAndRestore<LoopSet> saved(open, open | loopBit(left.front()));
    e.at[left.front()] = i;
    return SmallVector<Value>{reduceAlone(reduce, left.drop_front(), sums[0])};
  })[0];
}

void BlockKernel::reduceTogether(ReduceOp reduce) {
  Value start = e.neutral(reduce.getKind(), reduce.getType());
  SmallVector<unsigned> loops = order(loopsOf(reduce.getLoops()));
  Value part = strided(loops, start, [&](ValueRange sums) {
    return SmallVector<Value>{reduceAlone(reduce, {}, sums[0])};
  })[0];
  e.provide(reduce, reduceOverBlock(k, e, reduce.getKind(), part));
}

void BlockKernel::startCarries() {
  for (unsigned i = 0; i < kernel.getNumCarries(); ++i) {
    LoopSet rest = loopsOf(kernel.getOutMap(i)) & ~points;
    forPoints(order(rest), [&] {
      Value init = kernel.getInits()[i];
      e.storeOut(i, isa<MemRefType>(init.getType()) ? e.load(init, kernel.getInitMap(i), false)
                                                    : init);
    });
  }
}

void BlockKernel::write(const Group &group, ArrayRef<unsigned> within) {
  SmallVector<Value> values = llvm::map_to_vector(
      group.outs, [&](unsigned out) -> Value { return kernel.getYield().getValues()[out]; });
  prepareSums(values);
  if (!within.empty())
    return e.loop(e.index(0), e.size(within.front()), 1, [&](Value i) {
      PointEmitter::Scope scope(e);
      llvm::SaveAndRestore<LoopSet> saved(open, open | loopBit(within.front()));
      e.at[within.front()] = i;
      write(group, within.drop_front());
    });
  provideCarries(values);
  for (Value value : values)
    e.get(value);
  for (auto [out, value] : llvm::zip_equal(group.outs, values))
    e.storeOut(out, e.get(value));
}

void BlockKernel::runStep() {
  e.hoist(open);
  for (ReduceOp reduce : together)
    reduceTogether(reduce);
  for (const Group &group : outs)
    forPoints(group.across, [&] { write(group, group.within); });
  gpu::BarrierOp::create(b);
  for (const Group &group : updates) {
    forPoints(group.across, [&] { write(group, group.within); });
    gpu::BarrierOp::create(b);
  }
}

void BlockKernel::emit() {
  thread = gpu::ThreadIdOp::create(b, gpu::Dimension::x);
  threads = gpu::BlockDimOp::create(b, gpu::Dimension::x);
  if (!pointLoops.empty())
    setIndices(pointLoops, gpu::BlockIdOp::create(b, gpu::Dimension::x));
  if (!timeSet)
    return runStep();
  startCarries();
  gpu::BarrierOp::create(b);
  e.hoist(points);
  unsigned time = *kernel.getTime();
  Value steps = e.size(time);
  open |= timeSet;
  e.loop(e.index(0), steps, 1, [&](Value step) {
    PointEmitter::Scope scope(e);
    e.at[time] = step;
    e.mirroredTime = e.sub(e.sub(steps, e.index(1)), step);
    runStep();
  });
}

std::optional<LaunchShape> ssm::emitBlockRecurrence(DeviceKernel &kernel) {
  BlockKernel emitter(kernel);
  if (!emitter.analyze(/*isWhole=*/false))
    return std::nullopt;
  for (Value out : kernel.kernel.getOuts())
    shareBetweenThreads(kernel.function, out);
  LaunchShape shape = emitter.launch();
  emitter.emit();
  return shape;
}

bool ssm::emitInBlock(DeviceKernel &kernel) {
  BlockKernel emitter(kernel);
  if (!emitter.analyze(/*isWhole=*/true))
    return false;
  emitter.emit();
  return true;
}
