//===- KernelShape.cpp - What a kernel's loops allow ----------------------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "lib/Analysis/KernelShape.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/Matchers.h"
#include <limits>

using namespace mlir;
using namespace ssm;

bool ssm::isSlow(Operation *op) {
  if (isa<math::MathDialect>(op->getDialect()))
    return !isa<math::AbsFOp, math::FmaOp>(op);
  return isa<arith::DivFOp>(op);
}

bool ssm::isLong(Operation &op) {
  return isa<math::MathDialect>(op.getDialect()) && isSlow(&op) &&
         !isa<math::ExpOp, math::LogOp, math::SqrtOp, math::RsqrtOp, math::FloorOp, math::CeilOp,
              math::TruncOp, math::RoundEvenOp, math::CopySignOp>(op);
}

llvm::DenseSet<Value> ssm::findVarying(KernelOp kernel) {
  llvm::DenseSet<Value> varying;
  for (unsigned i = 0; i < kernel.getNumCarries(); ++i)
    varying.insert(kernel.getCarryArg(i));
  for (Operation &op : kernel.getStep().without_terminator())
    if (isa<ReduceOp>(op) ||
        llvm::any_of(op.getOperands(), [&](Value operand) { return varying.contains(operand); }))
      varying.insert(op.getResult(0));
  return varying;
}

llvm::DenseSet<Value> ssm::findParts(KernelOp kernel, SmallVector<Value> values,
                                     llvm::function_ref<bool(Value)> stops) {
  llvm::DenseSet<Value> found;
  while (!values.empty()) {
    Value value = values.pop_back_val();
    if (value.getParentBlock() != &kernel.getStep() || !found.insert(value).second)
      continue;
    Operation *op = value.getDefiningOp();
    if (op && !stops(value))
      llvm::append_range(values, op->getOperands());
  }
  return found;
}

bool ssm::isVectorizable(KernelOp kernel) {
  for (Operation &op : kernel.getStep().without_terminator()) {
    if (isa<ReduceOp, IndexOp, arith::ConstantOp>(op) || getIndexedRead(&op))
      continue;
    if (op.getNumRegions() != 0 || op.getNumResults() != 1 ||
        !OpTrait::hasElementwiseMappableTraits(&op))
      return false;
    for (Type type : llvm::concat<Type>(SmallVector<Type>(op.getOperandTypes()),
                                        SmallVector<Type>(op.getResultTypes())))
      if (!type.isIntOrIndexOrFloat())
        return false;
  }
  return true;
}

std::optional<int64_t> ssm::getLaneStep(AffineExpr expr, unsigned lane, int64_t lanes) {
  if (!expr.isFunctionOfDim(lane))
    return 0;
  if (isa<AffineDimExpr>(expr))
    return 1;
  auto binary = cast<AffineBinaryOpExpr>(expr);
  auto lhs = getLaneStep(binary.getLHS(), lane, lanes);
  auto rhs = getLaneStep(binary.getRHS(), lane, lanes);
  auto constant = dyn_cast<AffineConstantExpr>(binary.getRHS());
  // A vector that starts at a multiple of the lanes stays within one quotient.
  bool whole = isa<AffineDimExpr>(binary.getLHS()) && constant && constant.getValue() % lanes == 0;
  switch (expr.getKind()) {
  case AffineExprKind::Add:
    return lhs && rhs ? std::optional(*lhs + *rhs) : std::nullopt;
  case AffineExprKind::Mul:
    return lhs && constant ? std::optional(*lhs * constant.getValue()) : std::nullopt;
  case AffineExprKind::FloorDiv:
    return whole ? std::optional<int64_t>(0) : std::nullopt;
  case AffineExprKind::Mod:
    return whole ? std::optional<int64_t>(1) : std::nullopt;
  default:
    return std::nullopt;
  }
}

std::optional<IndexedRead> ssm::getIndexedRead(Operation *op) {
  if (auto read = dyn_cast<tensor::ExtractOp>(op))
    return IndexedRead{read.getTensor(), read.getIndices()};
  if (auto read = dyn_cast<memref::LoadOp>(op))
    return IndexedRead{read.getMemRef(), read.getIndices()};
  return std::nullopt;
}

std::optional<int64_t> ssm::getLaneStep(const KernelLoops &loops, Value value, unsigned lane) {
  if (!contains(loops.of(value), lane))
    return 0;
  Operation *op = value.getDefiningOp();
  if (!op)
    return std::nullopt;
  if (isa<IndexOp>(op))
    return 1;
  if (!isa<arith::AddIOp, arith::SubIOp, arith::MulIOp>(op))
    return std::nullopt;
  if (isa<arith::MulIOp>(op)) {
    APInt factor;
    auto step = getLaneStep(loops, op->getOperand(0), lane);
    if (!step || !matchPattern(op->getOperand(1), m_ConstantInt(&factor)))
      return std::nullopt;
    return *step * factor.getSExtValue();
  }
  auto left = getLaneStep(loops, op->getOperand(0), lane);
  auto right = getLaneStep(loops, op->getOperand(1), lane);
  if (!left || !right)
    return std::nullopt;
  return isa<arith::AddIOp>(op) ? *left + *right : *left - *right;
}

/// The last axis that has more than one element, along which neighbours lie.
static int64_t lastAxis(Value operand) {
  auto type = cast<ShapedType>(operand.getType());
  int64_t axis = type.getRank() - 1;
  while (axis > 0 && type.getDimSize(axis) == 1)
    --axis;
  return axis;
}

LaneAccess ssm::getLaneAccess(const KernelLoops &loops, const IndexedRead &read, unsigned lane) {
  LaneAccess access = LaneAccess::Uniform;
  int64_t last = lastAxis(read.source);
  for (auto [axis, index] : llvm::enumerate(read.indices)) {
    if (!contains(loops.of(index), lane))
      continue;
    if (static_cast<int64_t>(axis) != last || getLaneStep(loops, index, lane) != 1)
      return LaneAccess::Gather;
    access = LaneAccess::Dense;
  }
  return access;
}

bool ssm::isDenseAlongTime(KernelOp kernel, unsigned operand, unsigned lane, int64_t lanes) {
  unsigned numInputs = kernel.getInputs().size(), numCarries = kernel.getNumCarries();
  bool isCarry = operand >= numInputs && operand < numInputs + 2 * numCarries;
  auto type = dyn_cast<ShapedType>(kernel->getOperand(operand).getType());
  if (!kernel.getTime() || isCarry || !type || !type.getElementType().isFloat() ||
      type.getRank() < 2)
    return false;
  if (auto buffer = dyn_cast<MemRefType>(type); buffer && !buffer.isLastDimUnitStride())
    return false;
  AffineMap map = kernel.getMap(operand);
  auto last = dyn_cast<AffineDimExpr>(map.getResults().back());
  int64_t steps = type.getShape().back();
  if (!last || !kernel.isTime(last.getPosition()) ||
      (!ShapedType::isDynamic(steps) && steps < lanes))
    return false;
  bool hasLane = false;
  for (AffineExpr expr : map.getResults().drop_back()) {
    if (expr.isFunctionOfDim(*kernel.getTime()) ||
        (expr.isFunctionOfDim(lane) && (hasLane || !isa<AffineDimExpr>(expr))))
      return false;
    hasLane |= expr.isFunctionOfDim(lane);
  }
  for (auto reduce : kernel.getStep().getOps<ReduceOp>())
    if (loopsOf(reduce.getLoops()) & loopsOf(map))
      return false;
  return hasLane;
}

bool ssm::isTurnedInSquares(KernelOp kernel, unsigned operand) {
  ConfigAttr config = *kernel.getConfig();
  return !config.getTiles().empty() && config.getTiles().front() > 0 &&
         config.getTiles().front() % config.getLanes() == 0 &&
         llvm::isPowerOf2_64(config.getLanes()) &&
         isDenseAlongTime(kernel, operand, config.getLaneLoop(), config.getLanes());
}

bool ssm::canBeLaneLoop(KernelOp kernel, unsigned loop, int64_t lanes) {
  if (kernel.isTime(loop))
    return false;
  for (unsigned i = 0; i < kernel.getMaps().size(); ++i)
    for (AffineExpr expr : kernel.getMap(i).getResults())
      if (!getLaneStep(expr, loop, lanes))
        return false;
  return true;
}

int64_t ssm::scoreLaneLoop(KernelOp kernel, unsigned loop) {
  int64_t score = 0;
  SmallVector<Value> operands(kernel.getInputs());
  llvm::append_range(operands, kernel.getInits());
  llvm::append_range(operands, kernel.getOuts());
  for (auto [i, operand] : llvm::enumerate(operands)) {
    AffineMap map = kernel.getMap(i);
    if (!map.isFunctionOfDim(loop))
      continue;
    int64_t last = lastAxis(operand);
    bool dense = map.getResult(last).isFunctionOfDim(loop);
    for (AffineExpr expr : map.getResults().take_front(last))
      dense &= !expr.isFunctionOfDim(loop) || isa<AffineBinaryOpExpr>(expr);
    // Large operands, those of many loops, count more.
    int64_t weight = 1 + map.getNumResults();
    score += dense ? 2 * weight : -3 * weight;
  }
  KernelLoops loops(kernel);
  for (Operation &op : kernel.getStep().without_terminator()) {
    auto read = getIndexedRead(&op);
    if (!read)
      continue;
    LaneAccess access = getLaneAccess(loops, *read, loop);
    int64_t weight = 1 + read->indices.size();
    if (access != LaneAccess::Uniform)
      score += access == LaneAccess::Dense ? 2 * weight : -3 * weight;
  }
  return score;
}

int64_t ssm::fixedSize(KernelOp kernel, unsigned loop) {
  auto [operand, axis] = kernel.getSizeSource(loop);
  return cast<ShapedType>(operand.getType()).getDimSize(axis);
}

std::optional<unsigned> ssm::findLaneLoop(KernelOp kernel, int64_t lanes) {
  LoopSet excluded = 0;
  LoopSet needed = ~LoopSet(0);
  if (kernel.getTime()) {
    for (auto reduce : kernel.getStep().getOps<ReduceOp>())
      excluded |= loopsOf(reduce.getLoops());
    for (unsigned i = 0; i < kernel.getNumCarries(); ++i)
      needed &= loopsOf(kernel.getOutMap(i));
  }
  std::optional<unsigned> best;
  int64_t bestScore = 0;
  for (unsigned loop = 0; loop < kernel.getNumLoops(); ++loop) {
    if (contains(excluded, loop) || !contains(needed, loop) || !canBeLaneLoop(kernel, loop, lanes))
      continue;
    int64_t score = scoreLaneLoop(kernel, loop), size = fixedSize(kernel, loop);
    // A vector of one; and one that is never full.
    if (size == 1)
      score = std::numeric_limits<int64_t>::min();
    else if (size > 0 && size < lanes && score > 0)
      score = score * size / lanes;
    if (!best || score >= bestScore) {
      best = loop;
      bestScore = score;
    }
  }
  return best;
}
