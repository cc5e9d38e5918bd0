//===- CheckInKernels.cpp - Indices are checked where they are used -------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "passes/GPU/Passes.h"

#include "dialects/SSM/SSMOps.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/Matchers.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"
#include "llvm/ADT/DenseSet.h"

namespace ssm {
#define GEN_PASS_DEF_CHECKINKERNELS
#include "passes/GPU/Passes.h.inc"
} // namespace ssm

using namespace mlir;
using namespace ssm;

namespace {

/// Elements of a tensor, at the map's indices.
struct Elements {
  Value tensor;
  AffineMap map;
  bool operator==(const Elements &other) const {
    return tensor == other.tensor && map == other.map;
  }
};

struct CheckInKernels : ssm::impl::CheckInKernelsBase<CheckInKernels> {
  void runOnOperation() override {
    SmallVector<CheckOp> checks;
    getOperation().walk([&](CheckOp check) {
      if (check.getOfIndices())
        checks.push_back(check);
    });
    for (CheckOp check : checks)
      if (std::optional<Elements> indices = indicesOf(check);
          indices && !isOfWeights(indices->tensor))
        move(check, *indices);
  }

  /// What the greatest and the least of a check are taken of.
  static std::optional<Elements> indicesOf(CheckOp check) {
    auto culprit = check.getValues().front().getDefiningOp<arith::SelectOp>();
    if (!culprit)
      return std::nullopt;
    auto least = reducedOf(culprit.getTrueValue(), arith::AtomicRMWKind::mins);
    auto most = reducedOf(culprit.getFalseValue(), arith::AtomicRMWKind::maxs);
    return least && most && *least == *most ? least : std::nullopt;
  }

  static std::optional<Elements> reducedOf(Value element, arith::AtomicRMWKind kind) {
    auto extract = element.getDefiningOp<tensor::ExtractOp>();
    auto kernel = extract ? extract.getTensor().getDefiningOp<KernelOp>() : KernelOp();
    if (!kernel || kernel.getInputs().size() != 1 || kernel->getNumResults() != 1)
      return std::nullopt;
    auto reduces = kernel.getStep().getOps<ReduceOp>();
    if (!llvm::hasSingleElement(reduces))
      return std::nullopt;
    ReduceOp reduce = *reduces.begin();
    if (reduce.getKind() != kind || reduce.getValue() != kernel.getInputArg(0) ||
        reduce.getLoops().size() != kernel.getNumLoops())
      return std::nullopt;
    return elementsOf(kernel, 0);
  }

  /// What a kernel reads, below reshapes that only add or take away axes of size 1, and how.
  static Elements elementsOf(KernelOp kernel, unsigned input) {
    Elements found{kernel.getInputs()[input], kernel.getInputMap(input)};
    while (auto expand = found.tensor.getDefiningOp<tensor::ExpandShapeOp>()) {
      SmallVector<AffineExpr> exprs;
      for (ArrayRef<int64_t> group : expand.getReassociationIndices()) {
        AffineExpr expr = getAffineConstantExpr(0, kernel.getContext());
        int64_t longer = 0;
        for (int64_t axis : group)
          if (expand.getResultType().getDimSize(axis) != 1) {
            expr = found.map.getResult(axis);
            ++longer;
          }
        if (longer > 1)
          return found;
        exprs.push_back(expr);
      }
      found = {expand.getSrc(), AffineMap::get(found.map.getNumDims(), 0, exprs,
                                               kernel.getContext())};
    }
    return found;
  }

  /// Whether the tensor is computed when weights are loaded, and a check with it.
  static bool isOfWeights(Value tensor) {
    SmallVector<Value> left = {tensor};
    llvm::DenseSet<Value> seen;
    while (!left.empty()) {
      Value value = left.pop_back_val();
      if (!seen.insert(value).second)
        continue;
      Operation *op = value.getDefiningOp();
      if (!op)
        return false;
      if (op->hasTrait<OpTrait::ConstantLike>() || isa<LoadWeightOp>(op))
        continue;
      if (!isPure(op) || isa<tensor::DimOp>(op))
        return false;
      op->walk([&](Operation *inner) {
        for (Value operand : inner->getOperands())
          if (!op->isAncestor(operand.getParentBlock()->getParentOp()))
            left.push_back(operand);
      });
    }
    return true;
  }

  void move(CheckOp check, const Elements &indices) {
    Value size = check.getValues()[1];
    SmallVector<arith::SelectOp> selects;
    SmallVector<OpOperand *> uses;
    auto addUses = [&](Value value) {
      for (OpOperand &use : value.getUses())
        uses.push_back(&use);
    };
    addUses(indices.tensor);
    for (size_t i = 0; i < uses.size(); ++i) {
      if (auto expand = dyn_cast<tensor::ExpandShapeOp>(uses[i]->getOwner())) {
        addUses(expand.getResult());
        continue;
      }
      auto kernel = dyn_cast<KernelOp>(uses[i]->getOwner());
      unsigned input = uses[i]->getOperandNumber();
      if (!kernel || input >= kernel.getInputs().size() || !(elementsOf(kernel, input) == indices))
        continue;
      for (auto select : kernel.getStep().getOps<arith::SelectOp>())
        if (isWrapped(select, kernel.getInputArg(input), size))
          selects.push_back(select);
    }
    if (selects.empty())
      return;
    // In front of loops, which one block may run.
    auto front = OpBuilder::atBlockBegin(&getOperation().getBody().front());
    Value site =
        CheckSiteOp::create(front, check.getLoc(), check.getNodeAttr(), check.getTextAttr());
    for (arith::SelectOp select : selects) {
      OpBuilder inside(select);
      select.replaceAllUsesWith(CheckIndexOp::create(inside, check.getLoc(), select.getType(),
                                                     select.getFalseValue(), size, site)
                                    .getResult());
    }
    check.erase();
  }

  /// index < 0 ? index + size : index
  static bool isWrapped(arith::SelectOp select, Value index, Value size) {
    auto negative = select.getCondition().getDefiningOp<arith::CmpIOp>();
    auto sum = select.getTrueValue().getDefiningOp<arith::AddIOp>();
    return negative && sum && select.getFalseValue() == index &&
           negative.getPredicate() == arith::CmpIPredicate::slt && negative.getLhs() == index &&
           matchPattern(negative.getRhs(), m_Zero()) && sum.getLhs() == index &&
           sum.getRhs() == size;
  }
};
} // namespace
