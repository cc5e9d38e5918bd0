//===- Hash.h - XXH3, as the module's file formats use it -------*- C++ -*-===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef SSM_LIB_PACKAGE_HASH_H
#define SSM_LIB_PACKAGE_HASH_H

#include "llvm/ADT/ArrayRef.h"
#include <memory>

namespace ssm {

/// XXH3_64bits of bytes that come in pieces.
class Hasher {
public:
  Hasher();
  ~Hasher();
  void update(llvm::ArrayRef<uint8_t> bytes);
  uint64_t finish() const;

private:
  struct State;
  std::unique_ptr<State> state;
};

struct Hash128 {
  uint64_t low, high;
};

/// XXH3_128bits.
Hash128 hash128(llvm::ArrayRef<uint8_t> bytes);

} // namespace ssm

#endif // SSM_LIB_PACKAGE_HASH_H
