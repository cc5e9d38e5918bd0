//===- EmitTeams.cpp - Kernels without time, by teams of threads ----------- ===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "passes/GPU/DeviceKernel.h"
#include "passes/GPU/TeamReduce.h"

#include "lib/Analysis/KernelShape.h"
#include "lib/Emit/PointEmitter.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Arith/Utils/Utils.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"

using namespace mlir;
using namespace ssm;

namespace {

constexpr int64_t kBlock = 256;
/// Sums of so few are taken by one thread.
constexpr int64_t kShortSum = 16;
/// Elements of a sum that a thread of a team should have.
constexpr int64_t kPerThread = 8;

class TeamEmitter {
public:
  explicit TeamEmitter(DeviceKernel &k)
      : k(k), kernel(k.kernel), b(k.device), e(kernel, b, std::nullopt, 1) {}

  LaunchShape emit();

private:
  void choosePoints();
  SmallVector<unsigned> order(LoopSet set, bool byScore);
  LaunchShape launch();
  void emitPoint();
  void emitTeamReduce(ReduceOp reduce);
  void emitOuts();
  /// Sets the loops' indices from one number, the last loop fastest.
  void setIndices(ArrayRef<unsigned> loops, Value number);
  Value product(ArrayRef<unsigned> loops);
  /// Reductions that a value takes, itself or through others, and that are not known yet are
  /// computed by this thread.
  void need(Value value);
  void reduceAlone(ReduceOp reduce, ArrayRef<int64_t> left, Value &sum);
  SmallVector<Value> strided(Value count, ValueRange carried,
                             llvm::function_ref<SmallVector<Value>(Value, ValueRange)> body);
  Value constant(int64_t value) { return e.index(value); }

  DeviceKernel &k;
  KernelOp kernel;
  ImplicitLocOpBuilder &b;
  PointEmitter e;
  /// The loops that teams share out, slowest first; and the reductions that a team
  /// takes together.
  LoopSet points = 0;
  SmallVector<unsigned> pointLoops;
  llvm::SetVector<Operation *> teamReduces;
  /// Whether a team is one thread.
  bool alone = true;
  Value thread, team, threads, zero;
};

} // namespace

/// Loops in the order of their numbers, or the one along which memory lies densest last.
SmallVector<unsigned> TeamEmitter::order(LoopSet set, bool byScore) {
  SmallVector<unsigned> loops = listLoops(set);
  if (byScore && !loops.empty()) {
    auto best = std::max_element(loops.begin(), loops.end(), [&](unsigned x, unsigned y) {
      return scoreLaneLoop(kernel, x) < scoreLaneLoop(kernel, y);
    });
    std::rotate(best, best + 1, loops.end());
  }
  return loops;
}

void TeamEmitter::choosePoints() {
  points = ~LoopSet(0);
  LoopSet all = 0;
  for (unsigned out = 0; out < kernel.getOuts().size(); ++out) {
    points &= loopsOf(kernel.getOutMap(out));
    all |= loopsOf(kernel.getOutMap(out));
  }
  bool isShort = true, isAcross = false;
  LoopSet shared = points;
  for (auto reduce : kernel.getStep().getOps<ReduceOp>()) {
    LoopSet over = loopsOf(reduce.getLoops());
    shared &= e.loops.of(reduce) | ~all;
    int64_t number = 1;
    for (int64_t loop : reduce.getLoops()) {
      int64_t size = e.fixedSize(loop);
      number = size < 0 || number < 0 ? -1 : number * size;
    }
    isShort &= number >= 0 && number <= kShortSum;
    // Neighbours of another loop than the ones summed over lie together.
    for (unsigned i = 0; i < kernel.getInputs().size(); ++i) {
      AffineMap map = kernel.getInputMap(i);
      if (map.getNumResults() == 0 || (loopsOf(map) & over) == 0)
        continue;
      auto last = dyn_cast<AffineDimExpr>(map.getResults().back());
      isAcross |= last && contains(points, last.getPosition());
    }
  }
  // A column's sum is one thread's, the columns are neighbours.
  bool sumsAtPoints = llvm::all_of(kernel.getStep().getOps<ReduceOp>(), [&](ReduceOp reduce) {
    return isSubset(points, e.loops.of(reduce));
  });
  alone = isShort || (isAcross && sumsAtPoints);
  if (!sumsAtPoints)
    points = shared;
  for (unsigned out = 0; out < kernel.getOuts().size(); ++out)
    alone &= isSubset(loopsOf(kernel.getOutMap(out)), points) || isShort;
  if (!alone)
    for (auto reduce : kernel.getStep().getOps<ReduceOp>())
      if (isSubset(e.loops.of(reduce), points))
        teamReduces.insert(reduce);
  pointLoops = order(points, /*byScore=*/true);
}

Value TeamEmitter::product(ArrayRef<unsigned> loops) {
  Value result = constant(1);
  for (unsigned loop : loops)
    result = e.mul(result, e.size(loop));
  return result;
}

LaunchShape TeamEmitter::launch() {
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
  auto divide = [&](Value value, int64_t by) {
    return h.createOrFold<arith::CeilDivUIOp>(value, constant(by));
  };
  Value one = constant(1), total = multiply(pointLoops);
  if (alone)
    return {{divide(total, kBlock), one, one}, constant(kBlock), kBlock};
  Value longest = one;
  auto lengthen = [&](Value length) { longest = h.createOrFold<arith::MaxUIOp>(longest, length); };
  for (Operation *reduce : teamReduces)
    lengthen(multiply(llvm::to_vector_of<unsigned>(cast<ReduceOp>(reduce).getLoops())));
  for (unsigned out = 0; out < kernel.getOuts().size(); ++out)
    lengthen(multiply(listLoops(loopsOf(kernel.getOutMap(out)) & ~points)));
  Value warps = divide(longest, kPerThread * kWarp);
  warps = h.createOrFold<arith::MaxUIOp>(warps, one);
  warps = h.createOrFold<arith::MinUIOp>(warps, constant(kMaxBlock / kWarp));
  return {{total, one, one}, h.createOrFold<arith::MulIOp>(warps, constant(kWarp)), kMaxBlock};
}

LaunchShape TeamEmitter::emit() {
  choosePoints();
  LaunchShape shape = launch();
  zero = constant(0);
  thread = gpu::ThreadIdOp::create(b, gpu::Dimension::x);
  Value block = gpu::BlockIdOp::create(b, gpu::Dimension::x);
  threads = gpu::BlockDimOp::create(b, gpu::Dimension::x);
  if (!alone) {
    team = block;
    setIndices(pointLoops, team);
    emitPoint();
    return shape;
  }
  Value number = e.add(e.mul(block, threads), thread);
  Value exists = arith::CmpIOp::create(b, arith::CmpIPredicate::ult, number, product(pointLoops));
  auto branch = scf::IfOp::create(b, exists);
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToStart(branch.thenBlock());
  setIndices(pointLoops, number);
  emitPoint();
  return shape;
}

void TeamEmitter::setIndices(ArrayRef<unsigned> loops, Value number) {
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

void TeamEmitter::emitPoint() {
  e.hoist(points);
  for (Operation *reduce : teamReduces)
    emitTeamReduce(cast<ReduceOp>(reduce));
  emitOuts();
}

SmallVector<Value>
TeamEmitter::strided(Value count, ValueRange carried,
                     llvm::function_ref<SmallVector<Value>(Value, ValueRange)> body) {
  Value low = alone ? zero : thread, step = alone ? constant(1) : threads;
  auto loop = scf::ForOp::create(b, low, count, step, carried);
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToStart(loop.getBody());
  SmallVector<Value> next = body(loop.getInductionVar(), loop.getRegionIterArgs());
  if (!carried.empty()) {
    b.setInsertionPointToEnd(loop.getBody());
    scf::YieldOp::create(b, next);
  }
  return llvm::to_vector_of<Value>(loop.getResults());
}

void TeamEmitter::emitTeamReduce(ReduceOp reduce) {
  SmallVector<unsigned> loops = order(loopsOf(reduce.getLoops()), /*byScore=*/true);
  Value start = e.neutral(reduce.getKind(), reduce.getType());
  Value part = strided(product(loops), start, [&](Value number, ValueRange sums) {
    PointEmitter::Scope scope(e);
    setIndices(loops, number);
    need(reduce.getValue());
    Value value = e.get(reduce.getValue());
    return SmallVector<Value>{e.combine(reduce.getKind(), sums[0], value)};
  })[0];
  e.provide(reduce, reduceOverBlock(k, e, reduce.getKind(), part));
}

void TeamEmitter::emitOuts() {
  auto yielded = kernel.getYield().getValues();
  SmallVector<bool> done(kernel.getOuts().size());
  for (unsigned first = 0; first < done.size(); ++first) {
    if (done[first])
      continue;
    LoopSet set = loopsOf(kernel.getOutMap(first));
    SmallVector<unsigned> outs;
    for (unsigned out = first; out < done.size(); ++out)
      if (loopsOf(kernel.getOutMap(out)) == set) {
        outs.push_back(out);
        done[out] = true;
      }
    auto store = [&] {
      for (unsigned out : outs)
        need(yielded[out]);
      for (unsigned out : outs)
        e.get(yielded[out]);
      for (unsigned out : outs)
        e.storeOut(out, e.get(yielded[out]));
    };
    SmallVector<unsigned> rest = order(set & ~points, /*byScore=*/true);
    if (!rest.empty()) {
      strided(product(rest), {}, [&](Value number, ValueRange) {
        PointEmitter::Scope scope(e);
        setIndices(rest, number);
        store();
        return SmallVector<Value>();
      });
      continue;
    }
    if (alone) {
      PointEmitter::Scope scope(e);
      store();
      continue;
    }
    Value isFirst = arith::CmpIOp::create(b, arith::CmpIPredicate::eq, thread, zero);
    auto branch = scf::IfOp::create(b, isFirst);
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointToStart(branch.thenBlock());
    PointEmitter::Scope scope(e);
    store();
  }
}

void TeamEmitter::need(Value value) {
  SmallVector<Value> left = {value};
  llvm::DenseSet<Value> seen;
  llvm::DenseSet<Operation *> found;
  while (!left.empty()) {
    Value part = left.pop_back_val();
    Operation *op = part.getDefiningOp();
    if (!op || op->getBlock() != &kernel.getStep() || e.isProvided(part) ||
        !seen.insert(part).second)
      continue;
    if (isa<ReduceOp>(op))
      found.insert(op);
    else
      llvm::append_range(left, op->getOperands());
  }
  for (auto reduce : kernel.getStep().getOps<ReduceOp>())
    if (found.contains(reduce)) {
      Value sum = e.neutral(reduce.getKind(), reduce.getType());
      reduceAlone(reduce, reduce.getLoops(), sum);
      e.provide(reduce, sum);
    }
}

void TeamEmitter::reduceAlone(ReduceOp reduce, ArrayRef<int64_t> left, Value &sum) {
  if (left.empty()) {
    need(reduce.getValue());
    sum = e.combine(reduce.getKind(), sum, e.get(reduce.getValue()));
    return;
  }
  sum = e.loop(zero, e.size(left.front()), 1, sum, [&](Value i, ValueRange sums) {
    PointEmitter::Scope scope(e);
    e.at[left.front()] = i;
    Value next = sums[0];
    reduceAlone(reduce, left.drop_front(), next);
    return SmallVector<Value>{next};
  })[0];
}

LaunchShape ssm::emitTeams(DeviceKernel &kernel) { return TeamEmitter(kernel).emit(); }
