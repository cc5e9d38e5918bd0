//===- LoweringDerivedSizes.cpp - Values of derived sizes ----------------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "lib/Import/FunctionLowering.h"
#include "lib/Import/LoweringContext.h"
#include "mlir/Dialect/Arith/IR/Arith.h"

using namespace mlir;
using namespace ssm;
using namespace ssm::onnx;

/// The later of two values that dominate one point.
static Value laterOf(Value a, Value b) {
  if (!a || !b)
    return a ? a : b;
  Block *blockA = a.getParentBlock(), *blockB = b.getParentBlock();
  if (blockA == blockB) {
    Operation *opA = a.getDefiningOp(), *opB = b.getDefiningOp();
    if (!opA || !opB)
      return opA ? a : b;
    return opA->isBeforeInBlock(opB) ? b : a;
  }
  // One block is inside the other's region.
  return blockA->getParent()->isAncestor(blockB->getParent()) ? b : a;
}

Value LoweringContext::derivedSize(AffineExpr symbol) {
  const ShapeFacts::Derivation *how = facts.derivation(symbol);
  if (!how || !isBound(symbol))
    return {};
  const ShapeFacts::Derivation derivation = *how;
  // Behind the last value it is made of, so that every later use is dominated.
  Value last;
  auto visit = [&](AffineExpr inner) {
    if (isa<AffineSymbolExpr>(inner))
      last = laterOf(last, size(inner));
  };
  derivation.lhs.walk(visit);
  derivation.rhs.walk(visit);
  OpBuilder::InsertionGuard guard(b);
  if (last)
    b.setInsertionPointAfterValue(last);

  Value lhs = size(derivation.lhs), rhs = size(derivation.rhs), result;
  auto compare = [&](arith::CmpIPredicate predicate, Value a, Value c) {
    return b.createOrFold<arith::CmpIOp>(predicate, a, c);
  };
  switch (derivation.kind) {
  case ShapeFacts::DerivationKind::Max:
    result = b.createOrFold<arith::MaxSIOp>(lhs, rhs);
    break;
  case ShapeFacts::DerivationKind::Min:
    result = b.createOrFold<arith::MinSIOp>(lhs, rhs);
    break;
  case ShapeFacts::DerivationKind::Quotient: {
    // A division by zero would trap even where its result is not used.
    Value isZero = compare(arith::CmpIPredicate::eq, rhs, index(0));
    Value divisor = b.createOrFold<arith::SelectOp>(isZero, index(1), rhs);
    Value quotient = b.createOrFold<arith::DivUIOp>(lhs, divisor);
    result = b.createOrFold<arith::SelectOp>(isZero, index(0), quotient);
    break;
  }
  case ShapeFacts::DerivationKind::Wrap: {
    Value negative = compare(arith::CmpIPredicate::slt, lhs, index(0));
    result =
        b.createOrFold<arith::SelectOp>(negative, b.createOrFold<arith::AddIOp>(lhs, rhs), lhs);
    break;
  }
  case ShapeFacts::DerivationKind::Broadcast: {
    Value isOne = compare(arith::CmpIPredicate::eq, lhs, index(1));
    result = b.createOrFold<arith::SelectOp>(isOne, rhs, lhs);
    break;
  }
  }
  bind(symbol, result);
  return result;
}
