//===- WeightValues.cpp - What follows from weights alone ---------------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "lib/Analysis/WeightValues.h"

#include "dialects/SSM/SSMOps.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"

using namespace mlir;
using namespace ssm;

WeightValues::Source WeightValues::computeSource(Value value) {
  Operation *op = value.getDefiningOp();
  if (!op) {
    auto arg = cast<BlockArgument>(value);
    auto function = dyn_cast<func::FuncOp>(arg.getOwner()->getParentOp());
    return function && function.getArgAttr(arg.getArgNumber(), kWeightArgument) ? FromWeights
                                                                               : Other;
  }
  if (isa<LoadWeightOp>(op))
    return FromWeights;
  auto type = dyn_cast<RankedTensorType>(value.getType());
  if (!isPure(op) || (type && !type.hasStaticShape()))
    return Other;
  Source source = Constant;
  op->walk([&](Operation *inner) {
    for (Value operand : inner->getOperands())
      if (!op->isAncestor(operand.getParentBlock()->getParentOp()))
        source = std::max(source, sourceOf(operand));
    return source == Other ? WalkResult::interrupt() : WalkResult::advance();
  });
  return source;
}

WeightValues::Source WeightValues::sourceOf(Value value) {
  if (auto it = known.find(value); it != known.end())
    return it->second;
  return known[value] = computeSource(value);
}

bool ssm::isFromWeights(Value value) { return WeightValues().isFromWeights(value); }
