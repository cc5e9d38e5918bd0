//===- Memory.cpp - Memory that may be refused ----------------------------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Memory.h"

using namespace ssmrt;

void *ssmrt::emptyData() {
  alignas(blockAlignment) static unsigned char nothing[blockAlignment];
  return nothing;
}

char *ssmrt::copyString(const char *text) {
  size_t bytes = std::strlen(text) + 1;
  auto *copy = static_cast<char *>(std::malloc(bytes));
  if (copy)
    std::memcpy(copy, text, bytes);
  return copy;
}

static void *allocateDefault(void *, size_t bytes, size_t alignment) {
  void *memory = nullptr;
  return posix_memalign(&memory, alignment, bytes) == 0 ? memory : nullptr;
}

static void releaseDefault(void *, void *data, size_t) { std::free(data); }

Allocator::Allocator() : callbacks{nullptr, allocateDefault, releaseDefault} {}

void *Allocator::allocate(size_t bytes) const {
  void *data = callbacks.allocate(callbacks.user, bytes, blockAlignment);
  if (reinterpret_cast<uintptr_t>(data) % blockAlignment == 0)
    return data;
  release(data, bytes);
  return nullptr;
}

bool Block::ensure(const Allocator &allocator, size_t bytes) {
  if (bytes <= size)
    return true;
  if (bytes > SIZE_MAX / 2)
    return false;
  size_t wanted = size + size / 2;
  if (wanted < bytes)
    wanted = bytes;
  release(allocator);
  memory = allocator.allocate(wanted);
  if (!memory && wanted > bytes) {
    wanted = bytes;
    memory = allocator.allocate(wanted);
  }
  if (memory)
    size = wanted;
  return memory != nullptr;
}

void Block::release(const Allocator &allocator) {
  if (memory)
    allocator.release(memory, size);
  memory = nullptr;
  size = 0;
}
