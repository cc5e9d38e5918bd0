//===- Memory.h - Memory that may be refused --------------------*- C++ -*-===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The runtime never throws and never aborts for want of memory, so it has its
// own few containers: each growth tells whether it succeeded.
//
//===----------------------------------------------------------------------===//

#ifndef SSMRT_MEMORY_H
#define SSMRT_MEMORY_H

#include "ssmrt/ssmrt.h"

#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <new>
#include <type_traits>
#include <utility>

namespace ssmrt {

/// What the runtime aligns its blocks to, in bytes.
constexpr size_t blockAlignment = 64;

/// A pointer for tensors without elements: aligned, never NULL, not to be read.
void *emptyData();

/// A growable array of plain values. New elements are zero bytes.
template <typename T> class Array {
  static_assert(std::is_trivially_copyable<T>::value, "moved by realloc");

public:
  Array() = default;
  Array(const Array &) = delete;
  Array &operator=(const Array &) = delete;
  ~Array() { std::free(elements); }

  [[nodiscard]] bool resize(size_t count) {
    if (count > capacity) {
      size_t grown = capacity + capacity / 2;
      if (!reallocate(grown > count ? grown : count))
        return false;
    }
    if (count > used)
      std::memset(static_cast<void *>(elements + used), 0, (count - used) * sizeof(T));
    used = count;
    return true;
  }
  [[nodiscard]] bool push(const T &value) {
    T copy = value;
    if (!resize(used + 1))
      return false;
    elements[used - 1] = copy;
    return true;
  }
  [[nodiscard]] bool append(const T *values, size_t count) {
    size_t at = used;
    if (!resize(used + count))
      return false;
    if (count)
      std::memcpy(static_cast<void *>(elements + at), values, count * sizeof(T));
    return true;
  }

  size_t size() const { return used; }
  T *data() { return elements; }
  const T *data() const { return elements; }
  T &operator[](size_t index) { return elements[index]; }
  const T &operator[](size_t index) const { return elements[index]; }
  T *begin() { return elements; }
  T *end() { return elements + used; }
  const T *begin() const { return elements; }
  const T *end() const { return elements + used; }

private:
  bool reallocate(size_t count) {
    if (count > SIZE_MAX / 2 / sizeof(T))
      return false;
    void *moved = std::realloc(static_cast<void *>(elements), count * sizeof(T));
    if (!moved)
      return false;
    elements = static_cast<T *>(moved);
    capacity = count;
    return true;
  }

  T *elements = nullptr;
  size_t used = 0;
  size_t capacity = 0;
};

/// Makes an object, or NULL without memory.
template <typename T, typename... Args> T *make(Args &&...args) {
  static_assert(alignof(T) <= alignof(std::max_align_t), "plain malloc");
  void *memory = std::malloc(sizeof(T));
  return memory ? new (memory) T(std::forward<Args>(args)...) : nullptr;
}

template <typename T> void unmake(T *object) {
  if (!object)
    return;
  object->~T();
  std::free(object);
}

/// A copy of `text`, to be freed; NULL without memory.
char *copyString(const char *text);

/// The allocator of a session's options, or the C library's.
class Allocator {
public:
  Allocator();
  explicit Allocator(const ssmrt_allocator &callbacks) : callbacks(callbacks) {}

  /// `bytes` aligned to blockAlignment, or NULL; what a callback gives with
  /// less alignment is given back.
  void *allocate(size_t bytes) const;
  void release(void *data, size_t bytes) const { callbacks.release(callbacks.user, data, bytes); }

private:
  ssmrt_allocator callbacks;
};

/// Memory that only grows and whose content is lost when it does.
class Block {
public:
  /// Room for `bytes`. Grows by half at least, so that a size that creeps up
  /// from run to run costs few allocations.
  [[nodiscard]] bool ensure(const Allocator &allocator, size_t bytes);
  void release(const Allocator &allocator);
  void *data() const { return memory ? memory : emptyData(); }
  size_t capacity() const { return size; }

private:
  void *memory = nullptr;
  size_t size = 0;
};

} // namespace ssmrt

#endif // SSMRT_MEMORY_H
