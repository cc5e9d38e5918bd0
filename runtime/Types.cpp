//===- Types.cpp - Element types and sizes of tensors ---------------------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Types.h"

#include <cstdio>
#include <cstring>

using namespace ssmrt;

// DLPack's type codes by number: the header in use may be one that has no name
// for bool or 8-bit floats yet.
static constexpr uint8_t codeInt = 0, codeUInt = 1, codeFloat = 2, codeBfloat = 4, codeBool = 6,
                         codeFloat8E4M3FN = 10, codeFloat8E5M2 = 12;

static const TypeInfo types[] = {
    {SSM_TYPE_F32, {codeFloat, 32, 1}, 4, "float32", "F32"},
    {SSM_TYPE_U8, {codeUInt, 8, 1}, 1, "uint8", "U8"},
    {SSM_TYPE_I8, {codeInt, 8, 1}, 1, "int8", "I8"},
    {SSM_TYPE_U16, {codeUInt, 16, 1}, 2, "uint16", "U16"},
    {SSM_TYPE_I16, {codeInt, 16, 1}, 2, "int16", "I16"},
    {SSM_TYPE_I32, {codeInt, 32, 1}, 4, "int32", "I32"},
    {SSM_TYPE_I64, {codeInt, 64, 1}, 8, "int64", "I64"},
    {SSM_TYPE_BOOL, {codeBool, 8, 1}, 1, "bool", "BOOL"},
    {SSM_TYPE_F16, {codeFloat, 16, 1}, 2, "float16", "F16"},
    {SSM_TYPE_F64, {codeFloat, 64, 1}, 8, "float64", "F64"},
    {SSM_TYPE_U32, {codeUInt, 32, 1}, 4, "uint32", "U32"},
    {SSM_TYPE_U64, {codeUInt, 64, 1}, 8, "uint64", "U64"},
    {SSM_TYPE_BF16, {codeBfloat, 16, 1}, 2, "bfloat16", "BF16"},
    {SSM_TYPE_F8E4M3FN, {codeFloat8E4M3FN, 8, 1}, 1, "float8_e4m3fn", "F8_E4M3"},
    {SSM_TYPE_F8E5M2, {codeFloat8E5M2, 8, 1}, 1, "float8_e5m2", "F8_E5M2"},
};

const TypeInfo *ssmrt::findType(int32_t type) {
  for (const TypeInfo &info : types)
    if (info.type == type)
      return &info;
  return nullptr;
}

const TypeInfo *ssmrt::findType(DLDataType type) {
  for (const TypeInfo &info : types)
    if (info.dl.code == type.code && info.dl.bits == type.bits && info.dl.lanes == type.lanes)
      return &info;
  return nullptr;
}

const TypeInfo *ssmrt::findTypeByFileName(const char *name, size_t length) {
  for (const TypeInfo &info : types)
    if (std::strlen(info.fileName) == length && std::memcmp(info.fileName, name, length) == 0)
      return &info;
  return nullptr;
}

bool ssmrt::byteSize(const int64_t *dims, int32_t rank, int32_t elementBytes, int64_t *bytes) {
  bool empty = false;
  for (int32_t axis = 0; axis < rank; ++axis) {
    if (dims[axis] < 0)
      return false;
    empty |= dims[axis] == 0;
  }
  *bytes = 0;
  if (empty)
    return true;
  int64_t total = elementBytes;
  for (int32_t axis = 0; axis < rank; ++axis)
    if (__builtin_mul_overflow(total, dims[axis], &total) || total > (int64_t(1) << 62))
      return false;
  *bytes = total;
  return true;
}

bool ssmrt::isBoolean(const void *data, int64_t bytes, int64_t *where) {
  const auto *values = static_cast<const uint8_t *>(data);
  uint8_t all = 0;
  for (int64_t i = 0; i < bytes; ++i)
    all |= values[i];
  if (all <= 1)
    return true;
  *where = 0;
  while (values[*where] <= 1)
    ++*where;
  return false;
}

/// Calls `print(room, bytes, axis)` for each dim, with commas between.
template <typename Print> static DimsText formatDims(int32_t rank, Print print) {
  DimsText result;
  size_t used = 0;
  auto add = [&](int count) {
    size_t room = sizeof(result.text) - used;
    used += count < 0 ? 0 : size_t(count) < room ? size_t(count) : room - 1;
  };
  add(std::snprintf(result.text, sizeof(result.text), "["));
  for (int32_t axis = 0; axis < rank; ++axis) {
    if (axis)
      add(std::snprintf(result.text + used, sizeof(result.text) - used, ", "));
    add(print(result.text + used, sizeof(result.text) - used, axis));
  }
  add(std::snprintf(result.text + used, sizeof(result.text) - used, "]"));
  return result;
}

DimsText ssmrt::textOf(const int64_t *dims, int32_t rank) {
  return formatDims(rank, [&](char *room, size_t bytes, int32_t axis) {
    return std::snprintf(room, bytes, "%lld", (long long)dims[axis]);
  });
}

DimsText ssmrt::textOf(const ssm_value_info &value) {
  return formatDims(value.rank, [&](char *room, size_t bytes, int32_t axis) {
    const ssm_dim &dim = value.dims[axis];
    if (dim.value >= 0)
      return std::snprintf(room, bytes, "%lld", (long long)dim.value);
    return std::snprintf(room, bytes, "%s", dim.name ? dim.name : "?");
  });
}
