//===- ExpandDivision.cpp - Remainders and quotients of vectors -----------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "passes/Vector/Passes.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"

namespace ssm {
#define GEN_PASS_DEF_EXPANDDIVISION
#include "passes/Vector/Passes.h.inc"
} // namespace ssm

using namespace mlir;
using P = arith::CmpFPredicate;

/// A quotient below 2^28 times a divisor of 24 bits is exact in f64.
static constexpr int64_t kQuotientBits = 28;
/// The largest quotient of two numbers of f32 has fewer bits.
static constexpr int64_t kMostBits = 280;

static Value splat(ImplicitLocOpBuilder &b, VectorType type, double value) {
  return arith::ConstantOp::create(b, DenseElementsAttr::get(type, b.getF64FloatAttr(value)));
}

/// a modulo d for a >= 0, d > 0, a below 2^28 d.
static Value reduce(ImplicitLocOpBuilder &b, Value a, Value d) {
  Value quotient = math::TruncOp::create(b, arith::DivFOp::create(b, a, d));
  Value rest = arith::SubFOp::create(b, a, arith::MulFOp::create(b, quotient, d));
  // The division may have been rounded up to the next integer.
  Value zero = splat(b, cast<VectorType>(a.getType()), 0);
  Value isOver = arith::CmpFOp::create(b, P::OLT, rest, zero);
  return arith::SelectOp::create(b, isOver, arith::AddFOp::create(b, rest, d), rest);
}

/// fmod of f32, exact as it is by definition.
static Value expand(ImplicitLocOpBuilder &b, arith::RemFOp op) {
  auto single = cast<VectorType>(op.getType());
  VectorType type = single.clone(b.getF64Type());
  auto widen = [&](Value value) -> Value {
    return math::AbsFOp::create(b, arith::ExtFOp::create(b, type, value));
  };
  Value x = widen(op.getLhs()), y = widen(op.getRhs());
  auto times = [&](int64_t bits) -> Value {
    return arith::MulFOp::create(b, y, splat(b, type, std::ldexp(1.0, bits)));
  };
  // Long quotients, which are rare, from their first digits on.
  Value isLong = vector::ReductionOp::create(
      b, vector::CombiningKind::OR, arith::CmpFOp::create(b, P::OGE, x, times(kQuotientBits)));
  auto branch = scf::IfOp::create(b, TypeRange(type), isLong, /*withElseRegion=*/true);
  {
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointToStart(branch.thenBlock());
    Value rest = x;
    for (int64_t bits = kMostBits - kQuotientBits; bits > 0; bits -= kQuotientBits)
      rest = reduce(b, rest, times(bits));
    scf::YieldOp::create(b, rest);
    b.setInsertionPointToStart(branch.elseBlock());
    scf::YieldOp::create(b, x);
  }
  // An infinite divisor leaves what it is larger than, and makes NaN of infinity, as 0 does.
  Value isSmall = arith::CmpFOp::create(b, P::OLT, x, y);
  Value rest = arith::SelectOp::create(b, isSmall, x, reduce(b, branch.getResult(0), y));
  rest = arith::TruncFOp::create(b, single, rest);
  return math::CopySignOp::create(b, rest, op.getLhs());
}

/// Integers of at most 32 bits: their quotient in f64 is rounded to no other integer.
static Value expand(ImplicitLocOpBuilder &b, Operation *op) {
  auto type = cast<VectorType>(op->getResult(0).getType());
  VectorType wide = type.clone(b.getF64Type());
  bool isSigned = isa<arith::DivSIOp, arith::RemSIOp>(op);
  auto convert = [&](Value value) -> Value {
    if (isSigned)
      return arith::SIToFPOp::create(b, wide, value);
    return arith::UIToFPOp::create(b, wide, value);
  };
  Value x = op->getOperand(0), y = op->getOperand(1);
  Value ratio = arith::DivFOp::create(b, convert(x), convert(y)), quotient;
  if (isSigned)
    quotient = arith::FPToSIOp::create(b, type, ratio);
  else
    quotient = arith::FPToUIOp::create(b, type, ratio);
  if (isa<arith::DivSIOp, arith::DivUIOp>(op))
    return quotient;
  return arith::SubIOp::create(b, x, arith::MulIOp::create(b, quotient, y));
}

namespace {
struct ExpandDivision : ssm::impl::ExpandDivisionBase<ExpandDivision> {
  void runOnOperation() override {
    SmallVector<Operation *> found;
    getOperation()->walk([&](Operation *op) {
      auto type = op->getNumResults() == 1 ? dyn_cast<VectorType>(op->getResult(0).getType())
                                           : VectorType();
      if (!type || type.getRank() != 1)
        return;
      bool isShort = type.getElementType().isInteger() && type.getElementTypeBitWidth() <= 32;
      if (isa<arith::RemFOp>(op)
              ? type.getElementType().isF32()
              : isa<arith::DivSIOp, arith::DivUIOp, arith::RemSIOp, arith::RemUIOp>(op) &&
                    isShort && !isByConstant(op))
        found.push_back(op);
    });
    for (Operation *op : found) {
      ImplicitLocOpBuilder b(op->getLoc(), op);
      auto remainder = dyn_cast<arith::RemFOp>(op);
      op->getResult(0).replaceAllUsesWith(remainder ? expand(b, remainder) : expand(b, op));
      op->erase();
    }
  }

  /// Which LLVM does by a multiplication.
  static bool isByConstant(Operation *op) {
    return op->getOperand(1).getDefiningOp<arith::ConstantOp>() != nullptr;
  }
};
} // namespace
