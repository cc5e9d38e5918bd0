//===- ConvolutionShape.cpp - Windows that kernels read of a tensor -----------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "lib/Analysis/ConvolutionShape.h"

#include "lib/Analysis/KernelShape.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Utils/StaticValueUtils.h"
#include "mlir/IR/Matchers.h"

using namespace mlir;
using namespace ssm;

int64_t ReadWindowAxis::factorOf(unsigned loop) const {
  for (const Term &term : terms)
    if (term.loop == loop)
      return term.factor;
  return 0;
}

static void addTerm(ReadWindowAxis &axis, unsigned loop, int64_t factor) {
  for (ReadWindowAxis::Term &term : axis.terms)
    if (term.loop == loop) {
      term.factor += factor;
      return;
    }
  axis.terms.push_back({loop, factor});
}

/// Adds an index of a map, `factor` times.
static bool addExpr(ReadWindowAxis &axis, AffineExpr expr, int64_t factor) {
  if (auto dim = dyn_cast<AffineDimExpr>(expr)) {
    addTerm(axis, dim.getPosition(), factor);
    return true;
  }
  if (auto constant = dyn_cast<AffineConstantExpr>(expr)) {
    axis.constant += constant.getValue() * factor;
    return true;
  }
  auto binary = dyn_cast<AffineBinaryOpExpr>(expr);
  if (!binary)
    return false;
  if (binary.getKind() == AffineExprKind::Add)
    return addExpr(axis, binary.getLHS(), factor) && addExpr(axis, binary.getRHS(), factor);
  auto by = dyn_cast<AffineConstantExpr>(binary.getRHS());
  return binary.getKind() == AffineExprKind::Mul && by &&
         addExpr(axis, binary.getLHS(), factor * by.getValue());
}

/// Adds an index that the region computes, `factor` times.
static bool addValue(KernelOp kernel, ReadWindowAxis &axis, Value value, int64_t factor) {
  if (std::optional<int64_t> constant = getConstantIntValue(value)) {
    axis.constant += *constant * factor;
    return true;
  }
  if (value.getParentBlock() != &kernel.getStep()) {
    if (axis.shift || factor != -1)
      return false;
    axis.shift = value;
    return true;
  }
  Operation *op = value.getDefiningOp();
  if (auto index = dyn_cast_or_null<ssm::IndexOp>(op)) {
    addTerm(axis, index.getLoop(), factor);
    return true;
  }
  if (isa_and_nonnull<arith::AddIOp, arith::SubIOp>(op))
    return addValue(kernel, axis, op->getOperand(0), factor) &&
           addValue(kernel, axis, op->getOperand(1), isa<arith::SubIOp>(op) ? -factor : factor);
  if (!isa_and_nonnull<arith::MulIOp>(op))
    return false;
  std::optional<int64_t> by = getConstantIntValue(op->getOperand(1));
  return by && addValue(kernel, axis, op->getOperand(0), factor * *by);
}

bool ReadWindow::isMoving() const {
  return llvm::any_of(axes, [](const ReadWindowAxis &axis) {
    return axis.terms.size() > 1 || axis.bound || axis.shift ||
           (axis.terms.size() == 1 && (axis.terms[0].factor != 1 || axis.constant != 0));
  });
}

std::optional<unsigned> ReadWindow::axisOf(unsigned loop) const {
  std::optional<unsigned> found;
  for (auto [i, axis] : llvm::enumerate(axes)) {
    if (axis.factorOf(loop) == 0)
      continue;
    if (found || !axis.isLoop(loop))
      return std::nullopt;
    found = i;
  }
  return found;
}

/// The parts of a condition that all must hold.
static void listConditions(Value condition, SmallVectorImpl<Value> &parts) {
  if (auto both = condition.getDefiningOp<arith::AndIOp>()) {
    listConditions(both.getLhs(), parts);
    listConditions(both.getRhs(), parts);
    return;
  }
  parts.push_back(condition);
}

static bool isZero(Value value) {
  return matchPattern(value, m_PosZeroFloat()) || matchPattern(value, m_Zero());
}

std::optional<ReadWindow> ssm::matchReadWindow(KernelOp kernel, Value value) {
  ReadWindow window;
  if (auto argument = dyn_cast<BlockArgument>(value)) {
    unsigned i = argument.getArgNumber();
    if (argument.getOwner() != &kernel.getStep() || i >= kernel.getInputs().size() ||
        !isa<ShapedType>(kernel.getInputs()[i].getType()) || kernel.isInputMirrored(i))
      return std::nullopt;
    window.source = kernel.getInputs()[i];
    window.input = i;
    for (AffineExpr expr : kernel.getInputMap(i).getResults())
      if (!addExpr(window.axes.emplace_back(), expr, 1))
        return std::nullopt;
    return window;
  }
  if (value.getParentBlock() != &kernel.getStep())
    return std::nullopt;
  SmallVector<Value> conditions;
  if (auto choice = value.getDefiningOp<arith::SelectOp>()) {
    if (!isZero(choice.getFalseValue()))
      return std::nullopt;
    listConditions(choice.getCondition(), conditions);
    value = choice.getTrueValue();
  }
  Operation *op = value.getDefiningOp();
  std::optional<IndexedRead> read = op ? getIndexedRead(op) : std::nullopt;
  if (!read || op->getBlock() != &kernel.getStep())
    return std::nullopt;
  window.source = read->source;
  window.read = op;
  llvm::SmallDenseSet<Value> met;
  for (Value index : read->indices) {
    ReadWindowAxis &axis = window.axes.emplace_back();
    auto choice = index.getDefiningOp<arith::SelectOp>();
    if (!choice) {
      if (!addValue(kernel, axis, index, 1))
        return std::nullopt;
      continue;
    }
    auto isInside = choice.getCondition().getDefiningOp<arith::CmpIOp>();
    if (!llvm::is_contained(conditions, choice.getCondition()) || !isInside ||
        isInside.getPredicate() != arith::CmpIPredicate::ult ||
        isInside.getLhs() != choice.getTrueValue() ||
        (isInside.getRhs().getParentBlock() == &kernel.getStep() &&
         !getConstantIntValue(isInside.getRhs())) ||
        !addValue(kernel, axis, choice.getTrueValue(), 1))
      return std::nullopt;
    axis.bound = isInside.getRhs();
    met.insert(choice.getCondition());
  }
  // All that the condition asks for.
  if (llvm::any_of(conditions, [&](Value condition) { return !met.contains(condition); }))
    return std::nullopt;
  return window;
}

std::optional<Convolution> ssm::matchConvolution(KernelOp kernel) {
  constexpr int64_t kLeastRows = 8;
  std::optional<Matmul> product = matchMatmul(kernel);
  if (!product || !product->m)
    return std::nullopt;
  int64_t rows = fixedSize(kernel, *product->m);
  if (!ShapedType::isDynamic(rows) && rows < kLeastRows)
    return std::nullopt;
  Value right = product->right;
  if (auto extended = right.getDefiningOp<arith::ExtFOp>())
    right = extended.getIn();
  std::optional<ReadWindow> window = matchReadWindow(kernel, right);
  if (!window || !window->isMoving())
    return std::nullopt;
  KernelLoops loops(kernel);
  LoopSet both = loops.of(product->left) & loops.of(product->right);
  SmallVector<unsigned> outer;
  product->columns.clear();
  for (unsigned loop : product->outer)
    if (!contains(both, loop) && contains(loops.of(product->right), loop))
      product->columns.push_back(loop);
    else
      outer.push_back(loop);
  product->columns.push_back(product->n);
  product->outer = outer;
  return Convolution{*product, *window};
}
