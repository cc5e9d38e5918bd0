//===- ElementType.cpp - ONNX element types -------------------------------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "lib/Import/Reader/ElementType.h"
#include "llvm/ADT/APFloat.h"

using namespace ssm::onnx;

namespace {
struct Facts {
  const char *name;
  unsigned bits;
  bool isSigned;
};
} // namespace

static const Facts table[] = {
    {"UNDEFINED", 0, false},
    {"FLOAT", 32, false},
    {"UINT8", 8, false},
    {"INT8", 8, true},
    {"UINT16", 16, false},
    {"INT16", 16, true},
    {"INT32", 32, true},
    {"INT64", 64, true},
    {"STRING", 0, false},
    {"BOOL", 8, false},
    {"FLOAT16", 16, false},
    {"DOUBLE", 64, false},
    {"UINT32", 32, false},
    {"UINT64", 64, false},
    {"COMPLEX64", 64, false},
    {"COMPLEX128", 128, false},
    {"BFLOAT16", 16, false},
    {"FLOAT8E4M3FN", 8, false},
    {"FLOAT8E4M3FNUZ", 8, false},
    {"FLOAT8E5M2", 8, false},
    {"FLOAT8E5M2FNUZ", 8, false},
    {"UINT4", 4, false},
    {"INT4", 4, true},
    {"FLOAT4E2M1", 4, false},
    {"FLOAT8E8M0", 8, false},
    {"UINT2", 2, false},
    {"INT2", 2, true},
    {"FLOAT6E2M3", 6, false},
    {"FLOAT6E3M2", 6, false},
};

static const Facts &factsOf(ElementType type) {
  auto number = static_cast<int32_t>(type);
  return table[number > 0 && number < int32_t(std::size(table)) ? number : 0];
}

bool ssm::onnx::isKnownElementType(int64_t number) {
  return number > 0 && number < int64_t(std::size(table));
}

llvm::StringRef ssm::onnx::getElementTypeName(ElementType type) { return factsOf(type).name; }

unsigned ssm::onnx::getBitWidth(ElementType type) { return factsOf(type).bits; }

bool ssm::onnx::isSignedInteger(ElementType type) { return factsOf(type).isSigned; }

const llvm::fltSemantics *ssm::onnx::getFloatSemantics(ElementType type) {
  using llvm::APFloat;
  switch (type) {
  case ElementType::Float:
    return &APFloat::IEEEsingle();
  case ElementType::Double:
    return &APFloat::IEEEdouble();
  case ElementType::Float16:
    return &APFloat::IEEEhalf();
  case ElementType::BFloat16:
    return &APFloat::BFloat();
  case ElementType::Float8E4M3FN:
    return &APFloat::Float8E4M3FN();
  case ElementType::Float8E4M3FNUZ:
    return &APFloat::Float8E4M3FNUZ();
  case ElementType::Float8E5M2:
    return &APFloat::Float8E5M2();
  case ElementType::Float8E5M2FNUZ:
    return &APFloat::Float8E5M2FNUZ();
  case ElementType::Float8E8M0:
    return &APFloat::Float8E8M0FNU();
  case ElementType::Float6E2M3:
    return &APFloat::Float6E2M3FN();
  case ElementType::Float6E3M2:
    return &APFloat::Float6E3M2FN();
  case ElementType::Float4E2M1:
    return &APFloat::Float4E2M1FN();
  default:
    return nullptr;
  }
}
