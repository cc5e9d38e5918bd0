//===- PlainBuffer.h - A memref over a pointer, in LLVM terms ----*- C++ -*- ===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef SSM_LIB_EMIT_PLAINBUFFER_H
#define SSM_LIB_EMIT_PLAINBUFFER_H

#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"

namespace mlir {
class LLVMTypeConverter;
}

namespace ssm {

/// A plain memref over `data` with its dynamic sizes, i64, in order.
mlir::Value makePlainBuffer(mlir::ImplicitLocOpBuilder &b, const mlir::LLVMTypeConverter &types,
                            mlir::MemRefType type, mlir::Value data,
                            llvm::ArrayRef<mlir::Value> sizes);

/// Where the elements of a plain memref begin.
mlir::Value takePointer(mlir::ImplicitLocOpBuilder &b, const mlir::LLVMTypeConverter &types,
                        mlir::Value memref);

} // namespace ssm

#endif // SSM_LIB_EMIT_PLAINBUFFER_H
