//===- Integers.h - What integer operations compute -------------*- C++ -*-===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef SSM_PASSES_GPU_INTEGERS_H
#define SSM_PASSES_GPU_INTEGERS_H

#include "mlir/Dialect/Arith/IR/Arith.h"
#include <optional>

namespace ssm {

/// Bits of an integer or index, at most 64.
inline unsigned widthOf(mlir::Type type) {
  return mlir::isa<mlir::IntegerType>(type) ? std::min(type.getIntOrFloatBitWidth(), 64u) : 64;
}
inline uint64_t truncated(uint64_t value, unsigned width) {
  return width == 64 ? value : value & ((uint64_t(1) << width) - 1);
}
inline int64_t extended(uint64_t value, unsigned width) {
  return static_cast<int64_t>(value << (64 - width)) >> (64 - width);
}

/// The result of an operation on two integers, to be truncated to the result's bits. Nothing if it
/// is no such operation.
std::optional<uint64_t> computeInteger(mlir::Operation *op, uint64_t x, uint64_t y);
/// Whether computeInteger knows it.
bool isIntegerOp(mlir::Operation *op);

} // namespace ssm

#endif // SSM_PASSES_GPU_INTEGERS_H
