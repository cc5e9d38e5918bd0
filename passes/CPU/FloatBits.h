//===- FloatBits.h - Arithmetic on the bits of floats -----------*- C++ -*-===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef SSM_PASSES_CPU_FLOATBITS_H
#define SSM_PASSES_CPU_FLOATBITS_H

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"
#include "mlir/IR/TypeUtilities.h"

namespace ssm {

/// Arithmetic on the bits of f32, in the shape of `like`.
class FloatBits {
public:
  FloatBits(mlir::ImplicitLocOpBuilder &b, mlir::Type like) : b(b), like(like) {}

  mlir::Type shaped(mlir::Type element) {
    if (auto shape = mlir::dyn_cast<mlir::ShapedType>(like))
      return shape.clone(element);
    return element;
  }
  mlir::Value constant(uint32_t value) { return constantOf(b.getI32IntegerAttr(value)); }
  mlir::Value real(float value) { return constantOf(b.getF32FloatAttr(value)); }
  mlir::Value add(mlir::Value x, uint32_t y) {
    return mlir::arith::AddIOp::create(b, x, constant(y));
  }
  mlir::Value add(mlir::Value x, mlir::Value y) { return mlir::arith::AddIOp::create(b, x, y); }
  mlir::Value mask(mlir::Value x, uint32_t y) {
    return mlir::arith::AndIOp::create(b, x, constant(y));
  }
  mlir::Value set(mlir::Value x, uint32_t y) {
    return mlir::arith::OrIOp::create(b, x, constant(y));
  }
  mlir::Value left(mlir::Value x, int count) {
    return mlir::arith::ShLIOp::create(b, x, constant(count));
  }
  mlir::Value right(mlir::Value x, int count) {
    return mlir::arith::ShRUIOp::create(b, x, constant(count));
  }
  mlir::Value compare(mlir::arith::CmpIPredicate predicate, mlir::Value x, uint32_t y) {
    return mlir::arith::CmpIOp::create(b, predicate, x, constant(y));
  }
  mlir::Value select(mlir::Value condition, mlir::Value x, mlir::Value y) {
    return mlir::arith::SelectOp::create(b, condition, x, y);
  }
  mlir::Value of(mlir::Value f32) {
    return mlir::arith::BitcastOp::create(b, shaped(b.getI32Type()), f32);
  }
  mlir::Value toReal(mlir::Value bits) {
    return mlir::arith::BitcastOp::create(b, shaped(b.getF32Type()), bits);
  }
  /// The lowest bits as a shorter float, and back.
  mlir::Value narrow(mlir::Value bits, mlir::Type element) {
    mlir::Type integer = b.getIntegerType(element.getIntOrFloatBitWidth());
    mlir::Value low = mlir::arith::TruncIOp::create(b, shaped(integer), bits);
    return mlir::arith::BitcastOp::create(b, shaped(element), low);
  }
  mlir::Value widen(mlir::Value number) {
    mlir::Type element = mlir::getElementTypeOrSelf(number.getType());
    mlir::Type integer = b.getIntegerType(element.getIntOrFloatBitWidth());
    mlir::Value bits = mlir::arith::BitcastOp::create(b, shaped(integer), number);
    return mlir::arith::ExtUIOp::create(b, shaped(b.getI32Type()), bits);
  }

  mlir::ImplicitLocOpBuilder &b;

private:
  mlir::Value constantOf(mlir::TypedAttr attr) {
    mlir::Type type = shaped(attr.getType());
    if (auto shape = mlir::dyn_cast<mlir::ShapedType>(type))
      return mlir::arith::ConstantOp::create(b, mlir::DenseElementsAttr::get(shape, attr));
    return mlir::arith::ConstantOp::create(b, attr);
  }

  mlir::Type like;
};

} // namespace ssm

#endif // SSM_PASSES_CPU_FLOATBITS_H
