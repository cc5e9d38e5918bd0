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

#include <cstdio>

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

/// The key of the model that a file's states are of, as many digits.
constexpr char modelKey[] = "ssmrt.model";

/// What a file says of its tensors, checked: each lies in the file and has the
/// bytes its shape takes, and together they fill the data without gap or
/// overlap, as the format asks.
struct SafetensorsHeader {
  Array<FileTensor> tensors;
  Array<char> names;
  int64_t dataStart = 0;
  int64_t hashAt = -1;      // where the digits lie in the file, if it has a hash
  const char *model = ""; // digits of the model's hash, if it tells one

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
/// by falling element size, so that each is aligned for its type. The file has a hash,
/// and `model` as the hash of a model unless that is 0.
ssmrt_status writeSafetensors(const ssmrt_input *tensors, int32_t count, uint64_t model,
                              WriteFn write, void *sink);

/// The same to a file, which appears whole or not at all.
ssmrt_status writeSafetensorsFile(const char *path, const ssmrt_input *tensors, int32_t count,
                                  uint64_t model);

/// A hash as the metadata tell it.
struct HashText {
  char digits[hashDigits + 1];
  explicit HashText(uint64_t hash) {
    std::snprintf(digits, sizeof(digits), "%016llx", (unsigned long long)hash);
  }
};

} // namespace ssmrt

#endif // SSMRT_SAFETENSORS_H
