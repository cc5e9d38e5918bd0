//===- PlainBuffer.cpp - A memref over a pointer, in LLVM terms ------------ ===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "lib/Emit/PlainBuffer.h"

#include "mlir/Conversion/LLVMCommon/MemRefBuilder.h"
#include "mlir/Conversion/LLVMCommon/TypeConverter.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"

using namespace mlir;

Value ssm::makePlainBuffer(ImplicitLocOpBuilder &b, const LLVMTypeConverter &types, MemRefType type,
                           Value data, ArrayRef<Value> sizes) {
  auto constant = [&](int64_t value) -> Value {
    return LLVM::ConstantOp::create(b, b.getI64Type(), value);
  };
  auto descriptor = MemRefDescriptor::poison(b, b.getLoc(), types.convertType(type));
  descriptor.setAllocatedPtr(b, b.getLoc(), data);
  descriptor.setAlignedPtr(b, b.getLoc(), data);
  descriptor.setOffset(b, b.getLoc(), constant(0));
  SmallVector<Value> all;
  auto next = sizes.begin();
  for (int64_t size : type.getShape())
    all.push_back(ShapedType::isDynamic(size) ? *next++ : constant(size));
  Value stride = constant(1);
  for (int64_t axis = type.getRank() - 1; axis >= 0; --axis) {
    descriptor.setSize(b, b.getLoc(), axis, all[axis]);
    descriptor.setStride(b, b.getLoc(), axis, stride);
    if (axis > 0)
      stride = LLVM::MulOp::create(b, stride, all[axis]);
  }
  return UnrealizedConversionCastOp::create(b, type, Value(descriptor)).getResult(0);
}

Value ssm::takePointer(ImplicitLocOpBuilder &b, const LLVMTypeConverter &types, Value memref) {
  Type type = types.convertType(memref.getType());
  Value descriptor = UnrealizedConversionCastOp::create(b, type, memref).getResult(0);
  return MemRefDescriptor(descriptor).alignedPtr(b, b.getLoc());
}
