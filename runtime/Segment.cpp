//===- Segment.cpp - Memory whose size is known only inside a run ---------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Segment.h"

using namespace ssmrt;

static constexpr int64_t smallestChunk = 64 << 10;
static constexpr int64_t largestRequest = int64_t(1) << 60;

void *Segment::allocate(const Allocator &allocator, int64_t bytes) {
  if (bytes < 0 || bytes > largestRequest)
    return nullptr;
  if (bytes == 0)
    return emptyData();
  bytes = (bytes + int64_t(blockAlignment) - 1) & ~int64_t(blockAlignment - 1);
  Lock lock(mutex);
  // A later chunk is there if a mark was released; one that is too small for
  // this request is passed over.
  while (current < chunks.size() && chunks[current].bytes - used < bytes) {
    ++current;
    used = 0;
  }
  if (current == chunks.size()) {
    // As large as all before, so that their number stays logarithmic.
    int64_t start = 0;
    if (chunks.size())
      start = chunks[current - 1].start + chunks[current - 1].bytes;
    int64_t size = start > smallestChunk ? start : smallestChunk;
    if (chunks.size() == 0 && wanted > size)
      size = wanted;
    if (size < bytes)
      size = bytes;
    void *data = allocator.allocate(size_t(size));
    if (!data && size > bytes)
      data = allocator.allocate(size_t(size = bytes));
    if (!data)
      return nullptr;
    if (!chunks.push({static_cast<uint8_t *>(data), size, start})) {
      allocator.release(data, size_t(size));
      return nullptr;
    }
  }
  void *result = chunks[current].data + used;
  used += bytes;
  return result;
}

int64_t Segment::mark() {
  Lock lock(mutex);
  if (current < chunks.size())
    return chunks[current].start + used;
  return chunks.size() ? chunks[current - 1].start + chunks[current - 1].bytes : 0;
}

void Segment::release(int64_t mark) {
  Lock lock(mutex);
  if (mark < 0 || chunks.size() == 0)
    return;
  size_t index = current < chunks.size() ? current : chunks.size() - 1;
  int64_t here = current < chunks.size() ? chunks[current].start + used
                                         : chunks[index].start + chunks[index].bytes;
  // Only ever backwards, whatever number comes in.
  if (mark > here)
    return;
  while (index && chunks[index].start > mark)
    --index;
  current = index;
  used = mark - chunks[index].start;
}

void Segment::reset(const Allocator &allocator) {
  current = 0;
  used = 0;
  if (chunks.size() < 2)
    return;
  const Chunk &last = chunks[chunks.size() - 1];
  int64_t total = last.start + last.bytes;
  destroy(allocator);
  wanted = total;
}

void Segment::destroy(const Allocator &allocator) {
  for (const Chunk &chunk : chunks)
    allocator.release(chunk.data, size_t(chunk.bytes));
  (void)chunks.resize(0);
  ++generations;
  current = 0;
  used = 0;
}
