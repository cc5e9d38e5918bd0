//===- SumFactors.cpp - Factors of sums that need not be summed -----------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "passes/Vector/SumFactors.h"

#include "dialects/SSM/KernelLoops.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"

using namespace mlir;
using namespace ssm;

/// The factors of a product, in order. What else uses a part of it computes it anyway.
static SmallVector<Value> factorsOf(Value product) {
  SmallVector<Value> left = {product}, factors;
  while (!left.empty()) {
    Value part = left.pop_back_val();
    auto mul = part.getDefiningOp<arith::MulFOp>();
    if (mul && (part == product || part.hasOneUse()))
      left.append({mul.getRhs(), mul.getLhs()});
    else
      factors.push_back(part);
  }
  return factors;
}

static Value multiply(ImplicitLocOpBuilder &b, ArrayRef<Value> factors) {
  Value product = factors.front();
  for (Value factor : factors.drop_front())
    product = arith::MulFOp::create(b, product, factor, arith::FastMathFlags::contract);
  return product;
}

void ssm::takeFactorsOutOfSums(KernelOp kernel) {
  KernelLoops loops(kernel);
  for (auto reduce : llvm::make_early_inc_range(kernel.getStep().getOps<ReduceOp>())) {
    if (reduce.getKind() != arith::AtomicRMWKind::addf)
      continue;
    LoopSet summed = loopsOf(reduce.getLoops());
    SmallVector<Value> inside, outside;
    for (Value factor : factorsOf(reduce.getValue()))
      (loops.of(factor) & summed ? inside : outside).push_back(factor);
    if (inside.empty() || outside.empty())
      continue;
    ImplicitLocOpBuilder b(reduce.getLoc(), reduce);
    reduce.getValueMutable().assign(multiply(b, inside));
    b.setInsertionPointAfter(reduce);
    auto scaled = arith::MulFOp::create(b, reduce, multiply(b, outside));
    reduce.getResult().replaceAllUsesExcept(scaled, scaled);
  }
}
