//===- WeightValues.cpp - What follows from weights alone ---------------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "lib/Analysis/WeightValues.h"

#include "dialects/SSM/SSMOps.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"
#include "llvm/ADT/SetVector.h"

using namespace mlir;
using namespace ssm;

bool ssm::isFromWeights(Value value) {
  llvm::SetVector<Value> slice;
  slice.insert(value);
  bool hasWeight = false;
  for (unsigned next = 0; next < slice.size(); ++next) {
    Operation *op = slice[next].getDefiningOp();
    if (!op)
      return false;
    if (isa<LoadWeightOp>(op)) {
      hasWeight = true;
      continue;
    }
    auto type = dyn_cast<RankedTensorType>(slice[next].getType());
    if (!isPure(op) || (type && !type.hasStaticShape()))
      return false;
    op->walk([&](Operation *inner) {
      for (Value operand : inner->getOperands())
        if (!op->isAncestor(operand.getParentBlock()->getParentOp()))
          slice.insert(operand);
    });
  }
  return hasWeight;
}
