//===- KernelTransition.cpp - How a recurrence acts on its state ----------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "dialects/SSM/KernelTransition.h"

#include "dialects/SSM/KernelLoops.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "llvm/ADT/BitVector.h"
#include "llvm/ADT/SetVector.h"

using namespace mlir;
using namespace ssm;

namespace {

/// A value of the region as a linear function of the carries.
struct Linear {
  bool isLinear = true;
  /// Whether it depends on carries at all.
  bool reads = false;
  /// The loops that the factor of the own element depends on.
  LoopSet factor = 0;
  /// Whether another element of the carry comes in through a sum.
  bool summed = false;

  static Linear none() { return {false, true, 0, false}; }
};

/// The carries that hold what came in a known number of steps ago, as the window of a
/// convolution does: none of them comes back to itself.
class DelayedCarries {
public:
  explicit DelayedCarries(KernelOp kernel) : kernel(kernel), delayed(kernel.getNumCarries()) {
    bool changed = true;
    while (changed) {
      changed = false;
      for (unsigned carry = 0; carry < kernel.getNumCarries(); ++carry) {
        if (delayed.test(carry) || readsOthers(kernel.getYield().getValues()[carry]))
          continue;
        delayed.set(carry);
        changed = true;
      }
    }
  }

  bool contains(unsigned carry) const { return delayed.test(carry); }
  bool areAll() const { return delayed.all(); }

private:
  /// Whether the value depends on a carry that is none of these.
  bool readsOthers(Value value) {
    llvm::SetVector<Value> work;
    work.insert(value);
    for (size_t i = 0; i < work.size(); ++i) {
      auto arg = dyn_cast<BlockArgument>(work[i]);
      unsigned numInputs = kernel.getInputs().size();
      if (arg && arg.getOwner() == &kernel.getStep() && arg.getArgNumber() >= numInputs &&
          !delayed.test(arg.getArgNumber() - numInputs))
        return true;
      if (Operation *op = work[i].getDefiningOp(); op && op->getBlock() == &kernel.getStep())
        work.insert(op->operand_begin(), op->operand_end());
    }
    return false;
  }

  KernelOp kernel;
  llvm::BitVector delayed;
};

/// The algebra for the next value of one carry.
class LinearForm {
public:
  LinearForm(KernelOp kernel, const KernelLoops &loops, const DelayedCarries &delayed,
             unsigned carry)
      : kernel(kernel), loops(loops), delayed(delayed), carry(carry) {}

  Linear of(Value value) {
    auto it = known.find(value);
    if (it != known.end())
      return it->second;
    Linear form = compute(value);
    known[value] = form;
    return form;
  }
  /// Factors of the carry, the carry's own side left out.
  SmallVector<Value> factors;

private:
  Linear scaled(Linear form, Value by) {
    factors.push_back(by);
    form.factor |= loops.of(by);
    return form;
  }
  static Linear add(Linear a, Linear b) {
    return {a.isLinear && b.isLinear, a.reads || b.reads, a.factor | b.factor,
            a.summed || b.summed};
  }
  Linear multiply(Value a, Value b) {
    Linear left = of(a), right = of(b);
    if (left.reads && right.reads)
      return Linear::none();
    if (!left.reads && !right.reads)
      return {};
    return left.reads ? scaled(left, b) : scaled(right, a);
  }
  Linear compute(Value value);

  KernelOp kernel;
  const KernelLoops &loops;
  const DelayedCarries &delayed;
  unsigned carry;
  llvm::DenseMap<Value, Linear> known;
};

} // namespace

Linear LinearForm::compute(Value value) {
  if (auto arg = dyn_cast<BlockArgument>(value)) {
    unsigned numInputs = kernel.getInputs().size();
    if (arg.getOwner() != &kernel.getStep() || arg.getArgNumber() < numInputs ||
        delayed.contains(arg.getArgNumber() - numInputs))
      return {};
    // What feeds on another carry is no transition of its own.
    return arg.getArgNumber() == numInputs + carry ? Linear{true, true, 0, false} : Linear::none();
  }
  Operation *op = value.getDefiningOp();
  if (op->getBlock() != &kernel.getStep())
    return {};
  if (isa<arith::AddFOp, arith::SubFOp>(op))
    return add(of(op->getOperand(0)), of(op->getOperand(1)));
  if (isa<arith::MulFOp>(op))
    return multiply(op->getOperand(0), op->getOperand(1));
  if (isa<math::FmaOp>(op))
    return add(multiply(op->getOperand(0), op->getOperand(1)), of(op->getOperand(2)));
  if (isa<arith::NegFOp, arith::ExtFOp, arith::TruncFOp>(op))
    return of(op->getOperand(0));
  if (isa<arith::DivFOp>(op) && !of(op->getOperand(1)).reads) {
    Linear form = of(op->getOperand(0));
    return form.reads ? scaled(form, op->getOperand(1)) : form;
  }
  if (auto select = dyn_cast<arith::SelectOp>(op); select && !of(select.getCondition()).reads) {
    Linear form = add(of(select.getTrueValue()), of(select.getFalseValue()));
    return form.reads ? scaled(form, select.getCondition()) : form;
  }
  if (auto reduce = dyn_cast<ReduceOp>(op); reduce && reduce.getKind() == arith::AtomicRMWKind::addf) {
    Linear form = of(reduce.getValue());
    if (form.reads)
      form = {form.isLinear, true, 0, true};
    return form;
  }
  for (Value operand : op->getOperands())
    if (of(operand).reads)
      return Linear::none();
  return {};
}

std::optional<Transition> ssm::findTransition(KernelOp kernel) {
  DelayedCarries delayed(kernel);
  if (delayed.areAll())
    return std::nullopt;
  KernelLoops loops(kernel);
  Transition found = Transition::Scalar;
  for (unsigned carry = 0; carry < kernel.getNumCarries(); ++carry) {
    if (delayed.contains(carry))
      continue;
    Linear form = LinearForm(kernel, loops, delayed, carry).of(kernel.getYield().getValues()[carry]);
    if (!form.isLinear)
      return std::nullopt;
    if (form.summed)
      found = Transition::LowRank;
    else if (found != Transition::LowRank && isSubset(loopsOf(kernel.getOutMap(carry)), form.factor))
      found = Transition::Diagonal;
  }
  return found;
}

void ssm::annotateTransition(KernelOp kernel) {
  std::optional<Transition> transition = findTransition(kernel);
  kernel.setTransitionAttr(
      transition ? TransitionAttr::get(kernel.getContext(), *transition) : TransitionAttr());
  if (!transition)
    return;
  KernelLoops loops(kernel);
  DelayedCarries delayed(kernel);
  for (unsigned carry = 0; carry < kernel.getNumCarries(); ++carry) {
    if (delayed.contains(carry))
      continue;
    LinearForm form(kernel, loops, delayed, carry);
    form.of(kernel.getYield().getValues()[carry]);
    SmallVector<Value> work(form.factors);
    while (!work.empty()) {
      Operation *op = work.pop_back_val().getDefiningOp();
      if (!op || op->getBlock() != &kernel.getStep())
        continue;
      if (auto exp = dyn_cast<math::ExpOp>(op))
        exp.setFastmath(exp.getFastmath() | arith::FastMathFlags::afn);
      else if (isa<arith::MulFOp, arith::ExtFOp, arith::TruncFOp, arith::SelectOp>(op))
        llvm::append_range(work, op->getOperands());
    }
  }
}
