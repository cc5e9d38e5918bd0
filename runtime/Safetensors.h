//===- Safetensors.h - Reading and writing safetensors ----------*- C++ -*-===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef SSMRT_SAFETENSORS_H
#define SSMRT_SAFETENSORS_H

#include "Memory.h"
#include "Types.h"

namespace ssmrt {

struct FileTensor {
  const char *name; // in SafetensorsHeader::names
  const TypeInfo *type;
  int32_t rank;
  int64_t dims[SSM_ABI_MAX_RANK];
  int64_t begin, end; // bytes of it, from the start of the data
};

/// The key of a file's own hash among its metadata; the value is as many digits.
constexpr char hashKey[] = "ssmrt.xxh3";
constexpr size_t hashDigits = 16;

/// What a file says of its tensors, checked: each lies in the file and has the
/// bytes its shape takes, and together they fill the data without gap or
/// overlap, as the format asks.
struct SafetensorsHeader {
  Array<FileTensor> tensors;
  Array<char> names;
  int64_t dataStart = 0;
  int64_t hashAt = -1; // where the digits lie in the file, if it has a hash

  /// `file` is how messages call it.
  ssmrt_status parse(const char *file, const uint8_t *data, size_t bytes);
  /// Compares the hash over header and tensors, if the file has one; after parse.
  ssmrt_status verify(const char *file, const uint8_t *data) const;
  /// Index by name, or -1.
  int32_t find(const char *name) const;
};

/// Where written bytes go.
using WriteFn = ssmrt_status (*)(void *sink, const void *data, size_t bytes);

/// Writes tensors, given as dense views, under their names. They are laid out
/// by falling element size, so that each is aligned for its type. The file has a hash.
ssmrt_status writeSafetensors(const ssmrt_input *tensors, int32_t count, WriteFn write, void *sink);

} // namespace ssmrt

#endif // SSMRT_SAFETENSORS_H
