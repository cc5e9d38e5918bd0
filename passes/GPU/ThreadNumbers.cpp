//===- ThreadNumbers.cpp - What a value is in each thread ----------------- ===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "passes/GPU/ThreadNumbers.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/GPU/IR/GPUDialect.h"
#include "mlir/Dialect/LLVMIR/NVVMDialect.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/IR/Matchers.h"
#include "passes/GPU/Integers.h"
#include "llvm/ADT/DenseSet.h"
#include <numeric>

using namespace mlir;
using namespace ssm;

ThreadNumber ThreadNumbers::all(int64_t number) const {
  ThreadNumber result;
  result.isKnown = true;
  result.each.assign(threads, number);
  return result;
}

const ThreadNumber &ThreadNumbers::get(Value value) {
  auto found = known.find(value);
  if (found != known.end())
    return *found->second;
  auto made = std::make_unique<ThreadNumber>(evaluate(value));
  if (!made->isKnown && !divergent.contains(value)) {
    *made = all(0);
    made->alike.push_back({value, 1});
  }
  return *(known[value] = std::move(made));
}

ThreadNumber ThreadNumbers::evaluate(Value value) {
  if (!value.getType().isIntOrIndex())
    return {};
  APInt constant;
  if (matchPattern(value, m_ConstantInt(&constant)))
    return constant.getBitWidth() > 64 ? ThreadNumber() : all(constant.getZExtValue());
  if (auto argument = dyn_cast<BlockArgument>(value))
    return evaluateLoop(argument);
  return combine(value.getDefiningOp());
}

ThreadNumber ThreadNumbers::evaluateLoop(BlockArgument argument) {
  auto loop = dyn_cast<scf::ForOp>(argument.getOwner()->getParentOp());
  APInt step;
  if (!loop || argument != loop.getInductionVar() || !divergent.contains(argument) ||
      !matchPattern(loop.getStep(), m_ConstantInt(&step)))
    return {};
  ThreadNumber result = get(loop.getLowerBound());
  const ThreadNumber &end = get(loop.getUpperBound());
  bool isOnce = result.isPlain() && end.isPlain();
  for (int64_t i = 0; i < threads && isOnce; ++i)
    isOnce = end.each[i] - result.each[i] <= step.getSExtValue();
  if (!isOnce)
    result.period = std::gcd(result.period, step.getSExtValue());
  return result;
}

ThreadNumber ThreadNumbers::combine(Operation *op) {
  auto each = [&](llvm::function_ref<int64_t(int64_t)> compute) {
    ThreadNumber result = all(0);
    for (int64_t i = 0; i < threads; ++i)
      result.each[i] = compute(i);
    return result;
  };
  auto id = dyn_cast<gpu::ThreadIdOp>(op);
  if (isa<NVVM::ThreadIdXOp>(op) || (id && id.getDimension() == gpu::Dimension::x))
    return each([](int64_t i) { return i; });
  if (isa<NVVM::ThreadIdYOp, NVVM::ThreadIdZOp>(op) || id)
    return all(0);
  if (isa<gpu::LaneIdOp, NVVM::LaneIdOp>(op))
    return each([](int64_t i) { return i % 32; });
  if (isa<gpu::SubgroupIdOp>(op))
    return each([](int64_t i) { return i / 32; });
  if (isa<arith::IndexCastOp, arith::IndexCastUIOp, arith::ExtUIOp, arith::ExtSIOp>(op)) {
    unsigned from = widthOf(op->getOperand(0).getType());
    ThreadNumber result = get(op->getOperand(0));
    if (isa<arith::IndexCastOp, arith::ExtSIOp>(op) && result.isPlain())
      for (int64_t &number : result.each)
        number = extended(number, from);
    return result;
  }
  if (auto select = dyn_cast<arith::SelectOp>(op)) {
    const ThreadNumber &which = get(select.getCondition()), &x = get(select.getTrueValue()),
                       &y = get(select.getFalseValue());
    if (!which.isPlain() || !x.isPlain() || !y.isPlain())
      return {};
    return each([&](int64_t i) { return which.each[i] ? x.each[i] : y.each[i]; });
  }
  if (op->getNumOperands() != 2 || op->getNumResults() != 1 || !isa<arith::ArithDialect>(op->getDialect()))
    return {};
  const ThreadNumber &x = get(op->getOperand(0)), &y = get(op->getOperand(1));
  if (!x.isKnown || !y.isKnown)
    return {};
  unsigned width = widthOf(op->getResult(0).getType());
  APInt constant;
  std::optional<int64_t> factor;
  if (matchPattern(op->getOperand(1), m_ConstantInt(&constant)))
    factor = constant.getSExtValue();
  // What is alike, and periods, go through sums and products only.
  if (!x.isPlain() || !y.isPlain()) {
    ThreadNumber result;
    if (isa<arith::AddIOp, arith::SubIOp>(op)) {
      int64_t sign = isa<arith::AddIOp>(op) ? 1 : -1;
      result = each([&](int64_t i) { return x.each[i] + sign * y.each[i]; });
      result.alike = x.alike;
      for (auto [value, by] : y.alike) {
        auto *found = llvm::find_if(result.alike, [&, v = value](auto &a) { return a.first == v; });
        if (found == result.alike.end())
          result.alike.push_back({value, sign * by});
        else if ((found->second += sign * by) == 0)
          result.alike.erase(found);
      }
      result.period = std::gcd(x.period, y.period);
    } else if (factor && (isa<arith::MulIOp>(op) || (isa<arith::ShLIOp>(op) && *factor < 32))) {
      int64_t by = isa<arith::MulIOp>(op) ? *factor : int64_t(1) << *factor;
      if (by == 0)
        return all(0);
      result = each([&](int64_t i) { return x.each[i] * by; });
      for (auto [value, times] : x.alike)
        result.alike.push_back({value, times * by});
      result.period = std::abs(x.period * by);
    } else if (factor && *factor > 0 && x.alike.empty() &&
               (isa<arith::RemUIOp>(op) ||
                (isa<arith::AndIOp>(op) && llvm::isPowerOf2_64(*factor + 1)))) {
      int64_t by = isa<arith::RemUIOp>(op) ? *factor : *factor + 1;
      if (x.period % by == 0)
        result = each([&](int64_t i) { return uint64_t(x.each[i]) % by; });
    }
    return result;
  }
  if (isIntegerOp(op))
    return each([&](int64_t i) -> int64_t {
      return truncated(*computeInteger(op, uint64_t(x.each[i]), uint64_t(y.each[i])), width);
    });
  return {};
}

void ThreadNumbers::restrict(Value condition, bool holds, llvm::BitVector &running) {
  const ThreadNumber &number = get(condition);
  if (number.isPlain()) {
    for (int64_t thread = 0; thread < threads; ++thread)
      if ((number.each[thread] != 0) != holds)
        running.reset(thread);
    return;
  }
  Operation *op = condition.getDefiningOp();
  if (holds ? isa_and_nonnull<arith::AndIOp>(op) : isa_and_nonnull<arith::OrIOp>(op))
    for (Value part : op->getOperands())
      restrict(part, holds, running);
}

llvm::BitVector ThreadNumbers::threadsAt(Operation *op) {
  llvm::BitVector running(threads, true);
  for (; op && !isa<gpu::GPUFuncOp>(op); op = op->getParentOp()) {
    Operation *parent = op->getParentOp();
    if (auto branch = dyn_cast<scf::IfOp>(parent))
      restrict(branch.getCondition(), op->getParentRegion() == &branch.getThenRegion(), running);
    auto loop = dyn_cast<scf::ForOp>(parent);
    if (!loop)
      continue;
    const ThreadNumber &low = get(loop.getLowerBound()), &high = get(loop.getUpperBound());
    for (int64_t thread = 0; thread < threads && low.isPlain() && high.isPlain(); ++thread)
      if (low.each[thread] >= high.each[thread])
        running.reset(thread);
  }
  return running;
}

Region *ThreadNumbers::armChosenByData(Operation *op) {
  for (; op && !isa<gpu::GPUFuncOp>(op); op = op->getParentOp()) {
    auto branch = dyn_cast<scf::IfOp>(op->getParentOp());
    if (branch && divergent.contains(branch.getCondition()) &&
        !get(branch.getCondition()).isKnown)
      return op->getParentRegion();
  }
  return nullptr;
}

bool ThreadNumbers::canMeet(const Reach &one, const Reach &other) {
  size_t axes = one.indices.size();
  if (axes != other.indices.size())
    return true;
  // Axes that tell elements apart.
  struct Axis {
    const ThreadNumber *one, *other;
    int64_t period;
    bool isLast;
  };
  SmallVector<Axis> told;
  auto byValue = [](const auto &x, const auto &y) {
    return x.first.getAsOpaquePointer() < y.first.getAsOpaquePointer();
  };
  for (size_t axis = 0; axis < axes; ++axis) {
    const ThreadNumber *x = &get(one.indices[axis]), *y = &get(other.indices[axis]);
    auto xAlike = x->alike, yAlike = y->alike;
    llvm::sort(xAlike, byValue);
    llvm::sort(yAlike, byValue);
    if (x->isKnown && y->isKnown && xAlike == yAlike)
      told.push_back({x, y, std::gcd(x->period, y->period), axis + 1 == axes});
  }
  auto visit = [&](const Reach &reach, bool isOne,
                   llvm::function_ref<bool(const SmallVector<int64_t> &, int64_t)> take) {
    int64_t width = !told.empty() && told.back().isLast ? reach.width : 1;
    llvm::BitVector running = threadsAt(reach.op);
    for (unsigned thread : running.set_bits())
      for (int64_t i = 0; i < width; ++i) {
        SmallVector<int64_t> key;
        for (const Axis &axis : told) {
          int64_t number = (isOne ? axis.one : axis.other)->each[thread] + (axis.isLast ? i : 0);
          key.push_back(axis.period ? (number % axis.period + axis.period) % axis.period : number);
        }
        if (take(key, thread))
          return true;
      }
    return false;
  };
  // Of each element, two threads that reach it.
  llvm::DenseMap<llvm::SmallVector<int64_t>, std::pair<int64_t, int64_t>> reached;
  visit(one, true, [&](const SmallVector<int64_t> &key, int64_t thread) {
    auto [at, isNew] = reached.try_emplace(key, std::pair(thread, thread));
    if (!isNew)
      at->second.second = thread;
    return false;
  });
  return visit(other, false, [&](const SmallVector<int64_t> &key, int64_t thread) {
    auto found = reached.find(key);
    return found != reached.end() &&
           (found->second.first != thread || found->second.second != thread);
  });
}
