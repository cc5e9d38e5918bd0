//===- RowDivision.cpp - Divisions by what a row reduces to ---------------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "lib/Emit/RowDivision.h"

#include "dialects/SSM/KernelLoops.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"

using namespace mlir;
using namespace ssm;

/// Whether an error of one unit in the last place stays one: nothing rounds or
/// compares the value.
static bool toleratesRounding(Value value) {
  SmallVector<Value> left = {value};
  DenseSet<Value> seen;
  while (!left.empty()) {
    Value part = left.pop_back_val();
    if (!seen.insert(part).second)
      continue;
    for (Operation *user : part.getUsers()) {
      if (isa<ssm::YieldOp, ReduceOp>(user))
        continue;
      if (!isa<arith::AddFOp, arith::SubFOp, arith::MulFOp, arith::DivFOp, arith::NegFOp,
               arith::TruncFOp, arith::SelectOp>(user))
        return false;
      left.push_back(user->getResult(0));
    }
  }
  return true;
}

/// x / s = (x k) * (1 / (s k)), where the power of two k keeps the reciprocal of the
/// smallest and the largest s normal. Where k is not 1, x k is exact unless the
/// quotient overflows or vanishes.
static Value divide(ImplicitLocOpBuilder &b, Value x, Value s) {
  auto constant = [&](double value) -> Value {
    return arith::ConstantOp::create(b, b.getF32FloatAttr(static_cast<float>(value)));
  };
  auto select = [&](arith::CmpFPredicate predicate, Value magnitude, double limit, double then,
                    Value otherwise) -> Value {
    Value is = arith::CmpFOp::create(b, predicate, magnitude, constant(limit));
    return arith::SelectOp::create(b, is, constant(then), otherwise);
  };
  Value magnitude = math::AbsFOp::create(b, s);
  Value k = select(arith::CmpFPredicate::OGT, magnitude, 0x1p+125, 0x1p-64, constant(1.0));
  k = select(arith::CmpFPredicate::OLT, magnitude, 0x1p-125, 0x1p+64, k);
  Value reciprocal = arith::DivFOp::create(b, constant(1.0), arith::MulFOp::create(b, s, k));
  return arith::MulFOp::create(b, arith::MulFOp::create(b, x, k), reciprocal);
}

void ssm::invertRowDivisors(KernelOp kernel) {
  KernelLoops loops(kernel);
  DenseSet<Value> reduced; // depends on a reduction
  SmallVector<arith::DivFOp> divisions;
  for (Operation &op : kernel.getStep().without_terminator()) {
    if (isa<ReduceOp>(op) ||
        llvm::any_of(op.getOperands(), [&](Value v) { return reduced.contains(v); }))
      reduced.insert(op.result_begin(), op.result_end());
    auto division = dyn_cast<arith::DivFOp>(op);
    if (division && division.getType().isF32() && reduced.contains(division.getRhs()) &&
        loops.of(division.getRhs()) != loops.of(division) && toleratesRounding(division))
      divisions.push_back(division);
  }
  for (arith::DivFOp division : divisions) {
    ImplicitLocOpBuilder b(division.getLoc(), division);
    division.replaceAllUsesWith(divide(b, division.getLhs(), division.getRhs()));
    division.erase();
  }
}
