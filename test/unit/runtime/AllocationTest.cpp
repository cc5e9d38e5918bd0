//===- AllocationTest.cpp - No allocation in the steady state -------------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Every allocation function of the program is counted by putting our own before
// the C library's. Sanitizers do the same, so this test is not built with one.
//
//===----------------------------------------------------------------------===//

#include "Support.h"

#include <atomic>
#include <cerrno>
#include <malloc.h>

#ifdef TEST_SANITIZED

TEST(Allocation, IsCountedWithoutSanitizerOnly) {
  GTEST_SKIP() << "the sanitizer replaces the allocator";
}

#else

static std::atomic<long> allocations;

extern "C" {
void *__libc_malloc(size_t);
void *__libc_calloc(size_t, size_t);
void *__libc_realloc(void *, size_t);
void *__libc_memalign(size_t, size_t);

void *malloc(size_t bytes) {
  ++allocations;
  return __libc_malloc(bytes);
}
void *calloc(size_t count, size_t bytes) {
  ++allocations;
  return __libc_calloc(count, bytes);
}
void *realloc(void *data, size_t bytes) {
  ++allocations;
  return __libc_realloc(data, bytes);
}
void *memalign(size_t alignment, size_t bytes) {
  ++allocations;
  return __libc_memalign(alignment, bytes);
}
void *aligned_alloc(size_t alignment, size_t bytes) {
  ++allocations;
  return __libc_memalign(alignment, bytes);
}
int posix_memalign(void **data, size_t alignment, size_t bytes) {
  ++allocations;
  *data = __libc_memalign(alignment, bytes);
  return *data ? 0 : ENOMEM;
}
}

/// Allocations of `count` calls, after `warm` of them.
template <typename Call> static long countAllocations(int warm, Call call) {
  for (int i = 0; i < warm; ++i)
    call();
  long before = allocations;
  for (int i = 0; i < 50; ++i)
    call();
  return allocations - before;
}

TEST(Allocation, TheCounterCounts) {
  long before = allocations;
  std::free(std::malloc(10));
  EXPECT_EQ(allocations, before + 1);
}

TEST(Allocation, NoneInRuns) {
  Module module = loadModule();
  SessionOptions options = makeOptions();
  ssmrt_session_options_set_threads(options.get(), 3);
  Session session = makeSession(module.get(), "main", options.get());
  Tensor<float> x({3, 40, 4}, std::vector<float>(480, 1));
  const ssmrt_input inputs[] = {{"x", &x.view}, {"y", &x.view}};
  ssmrt_status status = SSMRT_OK;
  EXPECT_EQ(countAllocations(
                1, [&] { status = ssmrt_session_run(session.get(), inputs, 2, nullptr, 0); }),
            0);
  EXPECT_EQ(status, SSMRT_OK);
}

TEST(Allocation, NoneInReservedSteps) {
  Module module = loadModule();
  Session session = makeCarrying(module.get());
  const ssmrt_size sizes[] = {{"batch", 2}, {"past", 60}};
  ASSERT_EQ(ssmrt_session_reserve(session.get(), sizes, 2), SSMRT_OK);
  Tensor<float> x({2, 4}, std::vector<float>(8, 1));
  const ssmrt_input input = {"x", &x.view};
  ssmrt_status status = SSMRT_OK;
  EXPECT_EQ(countAllocations(
                0, [&] { status = ssmrt_session_run(session.get(), &input, 1, nullptr, 0); }),
            0);
  EXPECT_EQ(status, SSMRT_OK);
}

TEST(Allocation, NoneInTheSegmentOnceItIsThere) {
  Module module = loadModule();
  Session session = makeSession(module.get(), "faulty");
  Tensor<int32_t> fault({}, {14});
  const ssmrt_input input = {"fault", &fault.view};
  ssmrt_status status = SSMRT_OK;
  EXPECT_EQ(countAllocations(
                2, [&] { status = ssmrt_session_run(session.get(), &input, 1, nullptr, 0); }),
            0);
  EXPECT_EQ(status, SSMRT_OK);
}

TEST(Allocation, NoneInFailures) {
  Module module = loadModule();
  Session session = makeSession(module.get(), "faulty");
  Tensor<int32_t> fault({}, {9});
  const ssmrt_input input = {"fault", &fault.view};
  EXPECT_EQ(countAllocations(1, [&] { ssmrt_session_run(session.get(), &input, 1, nullptr, 0); }),
            0);
}

#endif
