//===- ElementTypeNumber.h - ONNX's numbers of element types ----*- C++ -*-===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef SSM_LIB_SUPPORT_ELEMENTTYPENUMBER_H
#define SSM_LIB_SUPPORT_ELEMENTTYPENUMBER_H

#include "mlir/IR/BuiltinTypes.h"

namespace ssm {

/// ONNX's number for an element type (TensorProto.DataType), or 0. Signless integers
/// count as signed.
inline int64_t onnxTypeNumber(mlir::Type type) {
  if (type.isF32())
    return 1;
  if (type.isF16())
    return 10;
  if (type.isF64())
    return 11;
  if (type.isBF16())
    return 16;
  if (llvm::isa<mlir::Float8E4M3FNType>(type))
    return 17;
  if (llvm::isa<mlir::Float8E5M2Type>(type))
    return 19;
  auto integer = llvm::dyn_cast<mlir::IntegerType>(type);
  if (!integer)
    return 0;
  bool isUnsigned = integer.isUnsigned();
  switch (integer.getWidth()) {
  case 1:
    return 9;
  case 8:
    return isUnsigned ? 2 : 3;
  case 16:
    return isUnsigned ? 4 : 5;
  case 32:
    return isUnsigned ? 12 : 6;
  case 64:
    return isUnsigned ? 13 : 7;
  }
  return 0;
}

} // namespace ssm

#endif // SSM_LIB_SUPPORT_ELEMENTTYPENUMBER_H
