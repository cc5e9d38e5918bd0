//===- TopKRow.cpp - Rows that are sorted, and their keys -----------------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "passes/GPU/TopKRow.h"

#include "mlir/Dialect/Math/IR/Math.h"

using namespace mlir;
using namespace ssm;

TopKRow::TopKRow(TopKOp op, ImplicitLocOpBuilder &b) : op(op), b(b), d{b} {
  auto axis = static_cast<int64_t>(op.getAxis());
  k = b.createOrFold<memref::DimOp>(op.getOut(), axis);
  size = b.createOrFold<memref::DimOp>(op.getInput(), axis);
  keyBits = op.getElementType().getIntOrFloatBitWidth();
  keyType = b.getIntegerType(keyBits > 32 ? 64 : 32);
}

Value TopKRow::numRows() {
  Value count = index(1);
  for (int64_t axis = 0; axis < op.getRank(); ++axis)
    if (axis != static_cast<int64_t>(op.getAxis()))
      count = d.mul(count, b.createOrFold<memref::DimOp>(op.getOut(), axis));
  return count;
}

void TopKRow::setRow(Value number) {
  row.assign(op.getRank(), Value());
  for (int64_t axis = op.getRank(); axis-- > 0;) {
    if (axis == static_cast<int64_t>(op.getAxis()))
      continue;
    Value extent = b.createOrFold<memref::DimOp>(op.getOut(), axis);
    row[axis] = d.rem(number, extent);
    number = d.div(number, extent);
  }
}

Value TopKRow::keyOf(Value element) {
  Type type = element.getType(), bits = b.getIntegerType(keyBits);
  Value key = element;
  Value sign = number(bits, int64_t(1) << (keyBits - 1));
  if (isa<FloatType>(type)) {
    Value wide =
        keyBits < 32 ? arith::ExtFOp::create(b, b.getF32Type(), element).getResult() : element;
    Value zero = arith::ConstantOp::create(b, b.getZeroAttr(wide.getType()));
    Value raw = arith::BitcastOp::create(b, bits, element);
    Value isNegative = d.compare(Predicate::slt, raw, number(bits, 0));
    key = d.select(isNegative, flip(raw), d.make<arith::XOrIOp>(raw, sign));
    // -0 is 0, and NaN after all.
    Value isZero = arith::CmpFOp::create(b, arith::CmpFPredicate::OEQ, wide, zero);
    Value isNaN = arith::CmpFOp::create(b, arith::CmpFPredicate::UNO, wide, wide);
    key = d.select(isZero, sign, key);
    key = d.select(isNaN, number(bits, -1), key);
  } else if (!op.getIsUnsigned()) {
    key = d.make<arith::XOrIOp>(key, sign);
  }
  if (op.getLeast())
    key = flip(key);
  return bits == keyType ? key : arith::ExtUIOp::create(b, keyType, key).getResult();
}

Value TopKRow::ceilLog2(Value size) {
  Type i64 = b.getI64Type();
  Value last = d.sub(b.createOrFold<arith::IndexCastOp>(i64, size), number(i64, 1));
  Value zeros = math::CountLeadingZerosOp::create(b, last);
  Value bits = d.sub(number(i64, 64), zeros);
  // Of size 0 nothing is done anyway.
  return d.select(d.compare(Predicate::ule, size, 1), index(0), d.toIndex(bits));
}
