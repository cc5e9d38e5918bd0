//===- Hash.h - XXH3 --------------------------------------------*- C++ -*-===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef SSMRT_HASH_H
#define SSMRT_HASH_H

#include <cstddef>
#include <cstdint>

namespace ssmrt {

struct Hash128 {
  uint64_t low, high;
};

/// XXH3_64bits and XXH3_128bits.
uint64_t hash64(const void *data, size_t bytes);
Hash128 hash128(const void *data, size_t bytes);
/// The hash of what `before` is the hash of, and more.
uint64_t chainHash(uint64_t before, const void *data, size_t bytes);

} // namespace ssmrt

#endif // SSMRT_HASH_H
