//===- DeviceBuilder.h - Short words for code of the device ------*- C++ -*-===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef SSM_PASSES_GPU_DEVICEBUILDER_H
#define SSM_PASSES_GPU_DEVICEBUILDER_H

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/GPU/IR/GPUDialect.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"

namespace ssm {

/// Integers of 32 bits, pointers and branches: shared memory and places within a tile
/// need no wider ones, and wider ones cost twice.
struct DeviceBuilder {
  mlir::ImplicitLocOpBuilder &b;

  using Value = mlir::Value;
  using Predicate = mlir::arith::CmpIPredicate;

  Value constant(int64_t value) {
    return mlir::arith::ConstantIntOp::create(b, b.getI32Type(), value);
  }
  /// A constant of the type of `like`.
  Value constant(Value like, int64_t value) {
    return mlir::arith::ConstantOp::create(b, b.getIntegerAttr(like.getType(), value));
  }
  template <class Op> Value make(Value x, Value y) { return b.createOrFold<Op>(x, y); }
  template <class Op> Value make(Value x, int64_t y) { return make<Op>(x, constant(x, y)); }
  template <class T> Value add(Value x, T y) { return make<mlir::arith::AddIOp>(x, y); }
  template <class T> Value sub(Value x, T y) { return make<mlir::arith::SubIOp>(x, y); }
  template <class T> Value mul(Value x, T y) { return make<mlir::arith::MulIOp>(x, y); }
  template <class T> Value div(Value x, T y) { return make<mlir::arith::DivUIOp>(x, y); }
  template <class T> Value rem(Value x, T y) { return make<mlir::arith::RemUIOp>(x, y); }
  template <class T> Value min(Value x, T y) { return make<mlir::arith::MinUIOp>(x, y); }
  template <class T> Value bitAnd(Value x, T y) { return make<mlir::arith::AndIOp>(x, y); }
  template <class T> Value bitXor(Value x, T y) { return make<mlir::arith::XOrIOp>(x, y); }
  Value ceilDiv(Value x, int64_t y) { return div(add(x, y - 1), y); }
  template <class T> Value isLess(Value x, T y) { return compare(Predicate::ult, x, y); }
  template <class T> Value isEqual(Value x, T y) { return compare(Predicate::eq, x, y); }
  Value compare(Predicate predicate, Value x, Value y) {
    return b.createOrFold<mlir::arith::CmpIOp>(predicate, x, y);
  }
  Value compare(Predicate predicate, Value x, int64_t y) {
    return compare(predicate, x, constant(x, y));
  }
  Value select(Value condition, Value x, Value y) {
    return b.createOrFold<mlir::arith::SelectOp>(condition, x, y);
  }
  Value toInt(Value index) {
    return b.createOrFold<mlir::arith::IndexCastUIOp>(b.getI32Type(), index);
  }
  Value toIndex(Value number) {
    return b.createOrFold<mlir::arith::IndexCastUIOp>(b.getIndexType(), number);
  }
  Value toWide(Value index) {
    return b.createOrFold<mlir::arith::IndexCastUIOp>(b.getI64Type(), index);
  }

  Value thread() { return toInt(mlir::gpu::ThreadIdOp::create(b, mlir::gpu::Dimension::x)); }
  Value block() { return toInt(mlir::gpu::BlockIdOp::create(b, mlir::gpu::Dimension::x)); }

  /// `pointer` and `offset` bytes.
  Value after(Value pointer, Value offset) {
    return mlir::LLVM::GEPOp::create(b, pointer.getType(), b.getI8Type(), pointer, offset);
  }
  Value after(Value pointer, int64_t offset) {
    if (offset == 0)
      return pointer;
    return mlir::LLVM::GEPOp::create(b, pointer.getType(), b.getI8Type(), pointer,
                                     mlir::LLVM::GEPArg(static_cast<int32_t>(offset)));
  }
  Value load(mlir::Type type, Value pointer, int64_t alignment) {
    return mlir::LLVM::LoadOp::create(b, type, pointer, alignment);
  }
  void store(Value value, Value pointer, int64_t alignment) {
    mlir::LLVM::StoreOp::create(b, value, pointer, alignment);
  }

  /// Whether all rows of the buffer begin at multiples of `bytes`.
  Value isAligned(Value buffer, int64_t bytes) {
    auto type = mlir::cast<mlir::MemRefType>(buffer.getType());
    int64_t size = type.getElementTypeBitWidth() / 8;
    auto parts = mlir::memref::ExtractStridedMetadataOp::create(b, buffer);
    Value bits = b.createOrFold<mlir::memref::ExtractAlignedPointerAsIndexOp>(buffer);
    bits = add(bits, mul(parts.getOffset(), size));
    for (Value stride : llvm::drop_end(parts.getStrides()))
      bits = make<mlir::arith::OrIOp>(bits, mul(stride, size));
    return isEqual(bitAnd(bits, bytes - 1), 0);
  }

  void branch(Value condition, llvm::function_ref<void()> ifTrue,
              llvm::function_ref<void()> ifFalse = nullptr) {
    auto choice = mlir::scf::IfOp::create(b, condition, /*withElseRegion=*/bool(ifFalse));
    mlir::OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointToStart(choice.thenBlock());
    ifTrue();
    if (!ifFalse)
      return;
    b.setInsertionPointToStart(choice.elseBlock());
    ifFalse();
  }

  using Values = llvm::SmallVector<Value>;
  /// What one of two arms gives, of `types`; zeros where there is no arm for it.
  Values choose(Value condition, mlir::TypeRange types, llvm::function_ref<Values()> ifTrue,
                llvm::function_ref<Values()> ifFalse = nullptr) {
    if (types.empty())
      return {};
    auto choice = mlir::scf::IfOp::create(b, types, condition, /*addThenBlock=*/true,
                                          /*addElseBlock=*/true);
    mlir::OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointToStart(choice.thenBlock());
    mlir::scf::YieldOp::create(b, ifTrue());
    b.setInsertionPointToStart(choice.elseBlock());
    Values otherwise;
    if (ifFalse)
      otherwise = ifFalse();
    else
      for (mlir::Type type : types)
        otherwise.push_back(mlir::arith::ConstantOp::create(b, b.getZeroAttr(type)));
    mlir::scf::YieldOp::create(b, otherwise);
    return llvm::to_vector_of<Value>(choice.getResults());
  }
  Values loop(Value low, Value high, Value step, mlir::ValueRange carried,
              llvm::function_ref<Values(Value, mlir::ValueRange)> body) {
    auto made = mlir::scf::ForOp::create(b, low, high, step, carried);
    mlir::OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointToStart(made.getBody());
    Values next = body(made.getInductionVar(), made.getRegionIterArgs());
    if (!carried.empty()) {
      b.setInsertionPointToEnd(made.getBody());
      mlir::scf::YieldOp::create(b, next);
    }
    return llvm::to_vector_of<Value>(made.getResults());
  }
};

} // namespace ssm

#endif // SSM_PASSES_GPU_DEVICEBUILDER_H
