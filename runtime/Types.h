//===- Types.h - Element types and sizes of tensors -------------*- C++ -*-===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef SSMRT_TYPES_H
#define SSMRT_TYPES_H

#include "ssmrt/module_abi.h"
#include "ssmrt/ssmrt.h"

namespace ssmrt {

struct TypeInfo {
  ssm_type type;
  DLDataType dl;
  int32_t bytes;        // of one element
  const char *name;     // as messages call it
  const char *fileName; // as safetensors calls it
};

/// NULL if no such type is known.
const TypeInfo *findType(int32_t type);
const TypeInfo *findType(DLDataType type);
const TypeInfo *findTypeByFileName(const char *name, size_t length);

/// Bytes of a dense tensor; false for a negative size or if it exceeds 2^62.
[[nodiscard]] bool byteSize(const int64_t *dims, int32_t rank, int32_t elementBytes,
                            int64_t *bytes);

/// False if a byte of `data` is neither 0 nor 1; *where is its index.
[[nodiscard]] bool isBoolean(const void *data, int64_t bytes, int64_t *where);

/// Dims as "[2, seq, 16]" for messages, cut to the space there is.
struct DimsText {
  char text[160];
};
DimsText textOf(const int64_t *dims, int32_t rank);
DimsText textOf(const ssm_value_info &value);

} // namespace ssmrt

#endif // SSMRT_TYPES_H
