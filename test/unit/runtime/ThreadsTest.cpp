//===- ThreadsTest.cpp - Loops on pools, and sessions on threads ----------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Threads.h"
#include "Support.h"

#include <algorithm>
#include <ctime>
#include <mutex>
#include <thread>

namespace {
struct Marks {
  std::vector<std::atomic<int>> marks;
  explicit Marks(size_t count) : marks(count) {}
  static int32_t mark(void *closure, int64_t lo, int64_t hi) {
    for (int64_t i = lo; i < hi; ++i)
      static_cast<Marks *>(closure)->marks[size_t(i)]++;
    return 0;
  }
  bool allOnce() const {
    for (const auto &mark : marks)
      if (mark != 1)
        return false;
    return true;
  }
};
} // namespace

TEST(Pool, RunsEveryIndexOnce) {
  for (int32_t threads : {1, 2, 3, 8})
    for (int64_t n : {0, 1, 2, 7, 64, 1001})
      for (int64_t grain : {0, 1, 5, 2000}) {
        ssmrt_pool pool(threads);
        Marks marks((size_t(n)));
        EXPECT_EQ(pool.parallelFor(Marks::mark, &marks, n, grain), 0);
        EXPECT_TRUE(marks.allOnce());
      }
}

/// The lengths of the pieces of a loop, the longest first.
static std::vector<int64_t> lengths(int32_t threads, int64_t n, int64_t grain) {
  ssmrt_pool pool(threads);
  struct Lengths {
    std::mutex mutex;
    std::vector<int64_t> values;
  } lengths;
  pool.parallelFor(
      [](void *closure, int64_t lo, int64_t hi) -> int32_t {
        auto *lengths = static_cast<Lengths *>(closure);
        std::lock_guard<std::mutex> lock(lengths->mutex);
        lengths->values.push_back(hi - lo);
        return 0;
      },
      &lengths, n, grain);
  std::sort(lengths.values.rbegin(), lengths.values.rend());
  return lengths.values;
}

TEST(Pool, PiecesHaveTheirGrain) {
  using Lengths = std::vector<int64_t>;
  EXPECT_EQ(lengths(4, 1000, 100), Lengths(10, 100));
  // Two threads can share 10 and 14 evenly.
  EXPECT_EQ(lengths(2, 10, 1), (Lengths{2, 2, 1, 1, 1, 1, 1, 1}));
  EXPECT_EQ(lengths(2, 14, 1), (Lengths{2, 2, 2, 2, 2, 2, 1, 1}));
  // About the grain, and never much less.
  EXPECT_EQ(lengths(2, 3, 2), (Lengths{2, 1}));
  EXPECT_EQ(lengths(2, 5, 3), (Lengths{3, 2}));
  EXPECT_EQ(lengths(2, 4, 3), (Lengths{4}));
  EXPECT_EQ(lengths(2, INT64_MAX, INT64_MAX - 1), (Lengths{INT64_MAX}));
}

TEST(Pool, ReturnsAFailure) {
  ssmrt_pool pool(4);
  for (int i = 0; i < 100; ++i)
    EXPECT_EQ(pool.parallelFor([](void *, int64_t lo,
                                  int64_t hi) -> int32_t { return lo <= 500 && 500 < hi ? 13 : 0; },
                               nullptr, 1000, 1),
              13);
}

TEST(Pool, NestedLoopsRunSerially) {
  ssmrt_pool pool(3);
  struct Outer {
    ssmrt_pool *pool;
    std::atomic<int> moved{0}, sum{0};
  } outer{&pool};
  EXPECT_EQ(pool.parallelFor(
                [](void *closure, int64_t lo, int64_t hi) -> int32_t {
                  struct Inner {
                    Outer *outer;
                    pthread_t thread;
                  } inner{static_cast<Outer *>(closure), pthread_self()};
                  for (int64_t i = lo; i < hi; ++i)
                    inner.outer->pool->parallelFor(
                        [](void *c, int64_t lo, int64_t hi) -> int32_t {
                          auto *inner = static_cast<Inner *>(c);
                          inner->outer->sum += int(hi - lo);
                          if (!pthread_equal(inner->thread, pthread_self()))
                            inner->outer->moved++;
                          return 0;
                        },
                        &inner, 10, 1);
                  return 0;
                },
                &outer, 50, 1),
            0);
  EXPECT_EQ(outer.moved, 0);
  EXPECT_EQ(outer.sum, 500);
}

TEST(Pool, ServesSeveralCallers) {
  ssmrt_pool pool(3);
  std::vector<std::thread> callers;
  std::atomic<int> wrong{0};
  for (int caller = 0; caller < 4; ++caller)
    callers.emplace_back([&] {
      for (int i = 0; i < 200; ++i) {
        Marks marks(97);
        pool.parallelFor(Marks::mark, &marks, 97, 1);
        wrong += !marks.allOnce();
      }
    });
  for (std::thread &caller : callers)
    caller.join();
  EXPECT_EQ(wrong, 0);
}

// Threads wait awake for the next loop, but not for long.
TEST(Pool, SleepsWhenIdle) {
  ssmrt_pool pool(4);
  Marks marks(1000);
  pool.parallelFor(Marks::mark, &marks, 1000, 1);
  auto cpu = [] {
    timespec time;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
    return double(time.tv_sec) + double(time.tv_nsec) * 1e-9;
  };
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  double before = cpu();
  std::this_thread::sleep_for(std::chrono::milliseconds(300));
  EXPECT_LT(cpu() - before, 0.05);
}

TEST(Pool, RunsEveryLoop) {
  for (int32_t threads : {2, 3}) {
    ssmrt_pool pool(threads);
    for (int i = 0; i < 2000; ++i) {
      Marks marks(17);
      ASSERT_EQ(pool.parallelFor(Marks::mark, &marks, 17, 1), 0);
      ASSERT_TRUE(marks.allOnce());
      if (i % 500 == 0) // asleep again
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
  }
}

TEST(Pool, CountsThreads) {
  ssmrt_pool *pool;
  ASSERT_EQ(ssmrt_pool_create(0, &pool), SSMRT_OK);
  EXPECT_EQ(ssmrt_pool_threads(pool), ssmrt::usableThreads());
  EXPECT_GE(ssmrt_pool_threads(pool), 1);
  ssmrt_pool_release(pool);
  expectFailure(ssmrt_pool_create(-2, &pool), SSMRT_INVALID_ARGUMENT, {"-2"});
}

static std::vector<float> runMain(const Session &session, const Tensor<float> &x) {
  const ssmrt_input inputs[] = {{"x", &x.view}, {"y", &x.view}};
  EXPECT_EQ(ssmrt_session_run(session.get(), inputs, 2, nullptr, 0), SSMRT_OK)
      << ssmrt_last_message();
  return valuesOf<float>(outputOf(session, 0));
}

TEST(Sessions, AgreeOnAnyNumberOfThreads) {
  Module module = loadModule();
  std::mt19937 random = freshRandom();
  Tensor<float> x({3, 101, 4}, randomFloats(random, 3 * 101 * 4));
  std::vector<float> expected;
  for (int32_t threads : {1, 2, 8}) {
    SessionOptions options = makeOptions();
    ssmrt_session_options_set_threads(options.get(), threads);
    Session session = makeSession(module.get(), "main", options.get());
    std::vector<float> got = runMain(session, x);
    if (expected.empty())
      expected = got;
    EXPECT_EQ(got, expected);
  }
}

TEST(Sessions, RunInSeveralThreads) {
  Module module = loadModule();
  ssmrt_pool *pool;
  ASSERT_EQ(ssmrt_pool_create(3, &pool), SSMRT_OK);
  SessionOptions shared = makeOptions();
  ssmrt_session_options_set_pool(shared.get(), pool);
  ssmrt_pool_release(pool);
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i)
    threads.emplace_back([&, i] {
      Session session = makeSession(module.get(), "main", i % 2 ? shared.get() : nullptr);
      Tensor<float> x({1, 50 + i, 4}, std::vector<float>(size_t(50 + i) * 4, 1));
      for (int repeat = 0; repeat < 100; ++repeat)
        EXPECT_EQ(runMain(session, x)[0], 3.5f);
      // Each thread has its own message.
      std::string name = "entry" + std::to_string(i);
      ssmrt_session *none = nullptr;
      for (int repeat = 0; repeat < 100; ++repeat)
        expectFailure(ssmrt_session_create(module.get(), name.c_str(), nullptr, &none),
                      SSMRT_NOT_FOUND, {name.c_str()});
    });
  for (std::thread &thread : threads)
    thread.join();
}

TEST(Sessions, UseTheCallersPool) {
  Module module = loadModule();
  static std::atomic<int> loops;
  loops = 0;
  SessionOptions options = makeOptions();
  ssmrt_session_options_set_parallel_for(
      options.get(),
      [](void *user, ssmrt_range_fn fn, void *closure, int64_t n, int64_t grain) -> int32_t {
        EXPECT_EQ(user, &loops);
        ++loops;
        int32_t status[2] = {0, 0};
        int64_t half = n / 2 > grain ? n / 2 : grain;
        std::thread other([&] { status[0] = fn(closure, 0, half); });
        status[1] = fn(closure, half, n);
        other.join();
        return status[0] ? status[0] : status[1];
      },
      &loops);
  Session session = makeSession(module.get(), "main", options.get());
  Tensor<float> x({1, 100, 4}, std::vector<float>(400, 1));
  std::vector<float> z = runMain(session, x);
  EXPECT_EQ(z[0], 3.5f);
  EXPECT_EQ(z[399], 103.0f);
  EXPECT_EQ(loops, 1);
}
