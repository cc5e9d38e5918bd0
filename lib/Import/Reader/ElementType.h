//===- ElementType.h - ONNX element types -----------------------*- C++ -*-===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef SSM_LIB_IMPORT_READER_ELEMENTTYPE_H
#define SSM_LIB_IMPORT_READER_ELEMENTTYPE_H

#include "llvm/ADT/StringRef.h"
#include <cstdint>

namespace llvm {
struct fltSemantics;
} // namespace llvm

namespace ssm::onnx {

/// TensorProto.DataType, with ONNX's numbers.
enum class ElementType : int32_t {
  Undefined = 0,
  Float = 1,
  UInt8 = 2,
  Int8 = 3,
  UInt16 = 4,
  Int16 = 5,
  Int32 = 6,
  Int64 = 7,
  String = 8,
  Bool = 9,
  Float16 = 10,
  Double = 11,
  UInt32 = 12,
  UInt64 = 13,
  Complex64 = 14,
  Complex128 = 15,
  BFloat16 = 16,
  Float8E4M3FN = 17,
  Float8E4M3FNUZ = 18,
  Float8E5M2 = 19,
  Float8E5M2FNUZ = 20,
  UInt4 = 21,
  Int4 = 22,
  Float4E2M1 = 23,
  Float8E8M0 = 24,
  UInt2 = 25,
  Int2 = 26,
  Float6E2M3 = 27,
  Float6E3M2 = 28,
};

/// True for the numbers above except Undefined.
bool isKnownElementType(int64_t number);

/// The name as ONNX spells it, such as "FLOAT16".
llvm::StringRef getElementTypeName(ElementType type);

/// Bits of one element in raw data. 0 for String and Undefined.
unsigned getBitWidth(ElementType type);

/// Whether the elements are integers that have a sign.
bool isSignedInteger(ElementType type);

/// The format of real floating-point types, null for all other types.
const llvm::fltSemantics *getFloatSemantics(ElementType type);

} // namespace ssm::onnx

#endif // SSM_LIB_IMPORT_READER_ELEMENTTYPE_H
