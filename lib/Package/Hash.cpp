//===- Hash.cpp - XXH3, as the module's file formats use it ---------------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "lib/Package/Hash.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

using namespace ssm;

struct Hasher::State {
  XXH3_state_t xxh;
};

Hasher::Hasher() : state(std::make_unique<State>()) { XXH3_64bits_reset(&state->xxh); }

Hasher::~Hasher() = default;

void Hasher::update(llvm::ArrayRef<uint8_t> bytes) {
  if (!bytes.empty())
    XXH3_64bits_update(&state->xxh, bytes.data(), bytes.size());
}

uint64_t Hasher::finish() const { return XXH3_64bits_digest(&state->xxh); }

Hash128 ssm::hash128(llvm::ArrayRef<uint8_t> bytes) {
  XXH128_hash_t hash = XXH3_128bits(bytes.data(), bytes.size());
  return {hash.low64, hash.high64};
}
