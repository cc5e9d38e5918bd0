//===- Segment.h - Memory whose size is known only inside a run --*- C++
//-*-===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef SSMRT_SEGMENT_H
#define SSMRT_SEGMENT_H

#include "Memory.h"
#include "Threads.h"

namespace ssmrt {

/// Hands out memory from chunks in rising order. A mark is a position;
/// releasing it gives back all that came later. After a run the chunks are
/// kept; if it took several, the next run gets a single one of their sum, so
/// that runs of the same size soon allocate nothing. Allocation from several
/// threads is safe.
class Segment {
public:
  /// 64-byte aligned and never NULL but for want of memory or negative size.
  void *allocate(const Allocator &allocator, int64_t bytes);
  int64_t mark();
  void release(int64_t mark);
  /// Everything is given back; called between runs.
  void reset(const Allocator &allocator);
  void destroy(const Allocator &allocator);
  /// Another number whenever memory was given back: the same calls get the same
  /// addresses as long as it is the same.
  int64_t generation() const { return generations; }

private:
  struct Chunk {
    uint8_t *data;
    int64_t bytes;
    int64_t start; // position of its first byte
  };

  pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
  Array<Chunk> chunks;
  size_t current = 0; // chunk that is being handed out
  int64_t used = 0;   // bytes of it
  int64_t wanted = 0; // smallest size of a first chunk
  int64_t generations = 0;
};

} // namespace ssmrt

#endif // SSMRT_SEGMENT_H
