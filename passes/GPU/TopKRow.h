//===- TopKRow.h - Rows that are sorted, and their keys ---------*- C++ -*-===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef SSM_PASSES_GPU_TOPKROW_H
#define SSM_PASSES_GPU_TOPKROW_H

#include "dialects/SSM/TopKOp.h"
#include "passes/GPU/DeviceBuilder.h"
#include "passes/GPU/DeviceKernel.h"

namespace ssm {

/// Rows of a `ssm.topk`, on the device or the host. Elements become unsigned numbers, keys, in
/// whose order they are sorted, the largest first; equal keys by their indices.
class TopKRow {
public:
  TopKRow(TopKOp op, mlir::ImplicitLocOpBuilder &b);

  /// Sets the row by its number.
  void setRow(mlir::Value number);
  mlir::Value numRows();
  /// Blocks for all rows; none if nothing is asked for.
  mlir::Value numBlocks() { return numBlocks(index(1)); }
  mlir::Value numBlocks(mlir::Value ofRow) {
    return d.select(d.isEqual(k, 0), index(0), d.mul(numRows(), ofRow));
  }

protected:
  using Value = mlir::Value;
  using Values = llvm::SmallVector<Value>;
  using Predicate = mlir::arith::CmpIPredicate;

  Value index(int64_t value) { return mlir::arith::ConstantIndexOp::create(b, value); }
  Value number(mlir::Type type, int64_t value) {
    return mlir::arith::ConstantOp::create(b, b.getIntegerAttr(type, value));
  }
  Value both(Value x, Value y) { return d.make<mlir::arith::AndIOp>(x, y); }
  Value either(Value x, Value y) { return d.make<mlir::arith::OrIOp>(x, y); }
  Value flip(Value bits) {
    return d.make<mlir::arith::XOrIOp>(bits, number(bits.getType(), -1));
  }
  /// 0 for 0 and 1.
  Value ceilLog2(Value size);

  Values indicesOf(Value at) {
    Values all(row);
    all[op.getAxis()] = at;
    return all;
  }
  /// The number of an element that grows the earlier it is; all bits are 0 or 1 for some.
  Value keyOf(Value element);
  Value loadElement(Value at) {
    return mlir::memref::LoadOp::create(b, op.getInput(), indicesOf(at));
  }
  Value loadKey(Value at) { return keyOf(loadElement(at)); }
  void write(Value at, Value entry) {
    mlir::memref::StoreOp::create(b, entry, op.getOut(), indicesOf(at));
  }

  TopKOp op;
  mlir::ImplicitLocOpBuilder &b;
  DeviceBuilder d;
  Values row;
  /// Indices that are asked for, elements of a row.
  Value k, size;
  /// Of 64 bits, or of 32 if these are all.
  mlir::Type keyType;
  int64_t keyBits;
};

} // namespace ssm

#endif // SSM_PASSES_GPU_TOPKROW_H
