//===- RecurrencePlan.cpp - When a recurrence computes what ---------------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "passes/Vector/RecurrencePlan.h"

#include "lib/Analysis/RecurrenceShape.h"

using namespace mlir;
using namespace ssm;

/// Carries of at most that many vectors stay in registers over a block of time.
static constexpr int64_t kRegisterCarries = 24;
/// Bytes of stack that carries of one tile may take otherwise; larger ones, and those of
/// a size that only the run knows, stay where the last ones belong, in the outs.
static constexpr int64_t kMaxStack = 32 << 10; // if the configuration does not say

/// The loop across lanes in the configuration, or, where that is the state, the one that
/// lies best across them beside it.
static unsigned channelLoopOf(KernelOp kernel) {
  unsigned lane = kernel.getConfig()->getLaneLoop();
  int64_t lanes = kernel.getConfig()->getLanes();
  return findStateLoop(kernel, lanes) == lane ? *findLaneLoop(kernel, lanes) : lane;
}

static int64_t blockOf(KernelOp kernel) {
  ArrayRef<int64_t> tiles = kernel.getConfig()->getTiles();
  return tiles.empty() ? 8 : std::max<int64_t>(tiles.front(), 1);
}

RecurrencePlan::RecurrencePlan(KernelOp kernel, ImplicitLocOpBuilder &b)
    : kernel(kernel), b(b), time(*kernel.getTime()), lane(channelLoopOf(kernel)),
      lanes(kernel.getConfig()->getLanes()), block(blockOf(kernel)),
      isAlongState(lane != kernel.getConfig()->getLaneLoop()), e(kernel, b, lane, lanes) {
  ArrayRef<int64_t> tiles = kernel.getConfig()->getTiles();
  maxStack = tiles.size() < 2 ? kMaxStack : tiles[1];
}

StringRef RecurrencePlan::analyze() {
  for (auto reduce : kernel.getStep().getOps<ReduceOp>()) {
    reduces.push_back(reduce);
    innerSet |= loopsOf(reduce.getLoops());
  }
  if (contains(innerSet, lane) || contains(innerSet, time))
    return "a recurrence sums over its lanes";
  SmallVector<unsigned> innerLoops = listLoops(innerSet);
  if (innerLoops.size() > 1)
    return "a recurrence sums over several loops";
  outerSet = 0;
  for (unsigned i = 0; i < kernel.getOuts().size(); ++i)
    outerSet |= loopsOf(kernel.getOutMap(i));
  outerSet &= ~(innerSet | loopBit(time));
  LoopSet all = outerSet | innerSet | loopBit(time);
  for (unsigned loop = 0; loop < kernel.getNumLoops(); ++loop)
    if (!contains(all, loop))
      return "a loop of the recurrence belongs to no result";
  // A carry that lacks a loop would be advanced once for each of its indices.
  for (unsigned i = 0; i < kernel.getNumCarries(); ++i)
    if (!isSubset(outerSet, loopsOf(kernel.getOutMap(i))))
      return "a carry lacks a loop that results have";
  if (!innerLoops.empty()) {
    inner = innerLoops.front();
    innerSize = e.fixedSize(*inner);
  }
  home = findHome();
  findPhases();
  return "";
}

bool RecurrencePlan::isReadTwice() {
  if (e.fixedSize(time) != 1 || home == Home::Registers || isAlongState)
    return false;
  findAhead();
  return !ahead.empty();
}

Home RecurrencePlan::findHome() {
  if (innerSize < 0)
    return Home::Outs;
  int64_t vectors = 0, bytes = 0;
  for (unsigned i = 0; i < kernel.getNumCarries(); ++i) {
    int64_t points = isInnerCarry(i) ? innerSize : 1;
    vectors += points;
    bytes += points * lanes * llvm::divideCeil(carryType(i).getIntOrFloatBitWidth(), 8);
  }
  if (vectors <= kRegisterCarries && innerSize <= kRegisterCarries)
    return Home::Registers;
  return bytes <= maxStack ? Home::Stack : Home::Outs;
}

void RecurrencePlan::findPhases() {
  // What carries and sums reach, and what carries are made of.
  llvm::DenseSet<Value> varying = findVarying(kernel);
  llvm::DenseSet<Value> needed;
  SmallVector<Value> work;
  auto need = [&](Value value) {
    if (isInside(value) && needed.insert(value).second)
      work.push_back(value);
  };
  auto drain = [&] {
    while (!work.empty())
      if (Operation *op = work.pop_back_val().getDefiningOp())
        llvm::for_each(op->getOperands(), need);
  };
  for (unsigned i = 0; i < kernel.getNumCarries(); ++i)
    need(kernel.getYield().getValues()[i]);
  for (ReduceOp reduce : reduces)
    need(reduce.getValue());
  for (unsigned i = kernel.getNumCarries(); i < kernel.getOuts().size(); ++i)
    if (isInner(kernel.getYield().getValues()[i]))
      need(kernel.getYield().getValues()[i]);
  drain();

  // An out is late if something slow lies between the steps and it, or a sum of lanes.
  for (unsigned i = kernel.getNumCarries(); i < kernel.getOuts().size(); ++i) {
    Value value = kernel.getYield().getValues()[i];
    bool isInSteps = needed.contains(value) || isInner(value);
    if (isInside(value) && !isInSteps && (isAlongState || isSlowToCompute(value, needed)))
      phases.late.push_back(i);
    else
      need(value);
  }
  drain();
  llvm::DenseSet<Value> seen;
  for (unsigned i : phases.late)
    collect(kernel.getYield().getValues()[i], needed, varying, seen);

  // What steps use of values that do not depend on them and are slow to compute. Along
  // the state, steps have one channel: what channels can compute side by side, or share.
  for (Operation &op : kernel.getStep().without_terminator()) {
    Value value = op.getResult(0);
    if (!needed.contains(value) || varying.contains(value) || isInner(value))
      continue;
    bool isOfChannels = e.isLaneDependent(value), isCostly = isSlowToCompute(value, {});
    if (isAlongState ? !isOfChannels && !isCostly : !isOfChannels || !isCostly)
      continue;
    if (!canBeKept(value))
      continue;
    bool usedBySteps = llvm::any_of(value.getUsers(), [&](Operation *user) {
      if (isa<ssm::YieldOp>(user))
        return true;
      Value result = user->getResult(0);
      return needed.contains(result) &&
             (varying.contains(result) || isInner(result) || !canBeKept(result));
    });
    if (usedBySteps)
      phases.before.insert(value);
  }
}

bool RecurrencePlan::isSlowToCompute(Value value, const llvm::DenseSet<Value> &stops) {
  Operation *op = value.getDefiningOp();
  if (!op || !isInside(value) || stops.contains(value))
    return false;
  if (isSlow(op))
    return true;
  return llvm::any_of(op->getOperands(),
                      [&](Value operand) { return isSlowToCompute(operand, stops); });
}

void RecurrencePlan::collect(Value value, const llvm::DenseSet<Value> &needed,
                             const llvm::DenseSet<Value> &varying, llvm::DenseSet<Value> &seen) {
  if (!isInside(value) || !seen.insert(value).second)
    return;
  bool isCarry = isa<BlockArgument>(value) && varying.contains(value);
  if (isCarry || (needed.contains(value) && varying.contains(value)) ||
      value.getDefiningOp<ReduceOp>()) {
    phases.fromSteps.insert(value);
    return;
  }
  if (Operation *op = value.getDefiningOp())
    for (Value operand : op->getOperands())
      collect(operand, needed, varying, seen);
}

bool RecurrencePlan::isReady(Value value, const llvm::DenseSet<Value> &done) {
  if (!isInside(value) || isa<BlockArgument>(value) || done.contains(value))
    return true;
  Operation *op = value.getDefiningOp();
  return !isa<ReduceOp>(op) &&
         llvm::all_of(op->getOperands(), [&](Value operand) { return isReady(operand, done); });
}

bool RecurrencePlan::isInnerOut(unsigned i) {
  return isInner(kernel.getYield().getValues()[i]) ||
         (i < kernel.getNumCarries() && isInnerCarry(i));
}

void RecurrencePlan::findAhead() {
  ahead.clear();
  llvm::DenseSet<Value> none;
  bool needsSums = false;
  for (unsigned i = 0; i < kernel.getOuts().size(); ++i)
    needsSums |= isInnerOut(i) && !isReady(kernel.getYield().getValues()[i], none);
  if (!needsSums)
    return;
  for (ReduceOp reduce : reduces) {
    auto parts = findParts(kernel, {reduce.getValue()}, [](Value) { return false; });
    bool canBeAhead = isReady(reduce.getValue(), none);
    for (unsigned i = 0; i < kernel.getNumCarries(); ++i)
      canBeAhead &= isInnerCarry(i) || !parts.contains(kernel.getCarryArg(i));
    if (canBeAhead)
      ahead.push_back(reduce);
  }
}
