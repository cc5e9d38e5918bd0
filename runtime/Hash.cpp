//===- Hash.cpp - XXH3 ----------------------------------------------------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The only file that includes xxHash: it is inlined here, so that the library
// needs nothing at run time.
//
//===----------------------------------------------------------------------===//

#include "Hash.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

uint64_t ssmrt::hash64(const void *data, size_t bytes) { return XXH3_64bits(data, bytes); }

uint64_t ssmrt::chainHash(uint64_t before, const void *data, size_t bytes) {
  const uint64_t both[2] = {before, hash64(data, bytes)};
  return hash64(both, sizeof(both));
}

ssmrt::Hash128 ssmrt::hash128(const void *data, size_t bytes) {
  XXH128_hash_t hash = XXH3_128bits(data, bytes);
  return {hash.low64, hash.high64};
}
