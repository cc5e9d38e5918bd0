//===- Threads.h - The pool of threads that loops run on --------*- C++ -*-===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef SSMRT_THREADS_H
#define SSMRT_THREADS_H

#include "Memory.h"
#include "ssmrt/ssmrt.h"

#include <atomic>
#include <pthread.h>

namespace ssmrt {

class Lock {
public:
  explicit Lock(pthread_mutex_t &mutex) : mutex(mutex) { pthread_mutex_lock(&mutex); }
  ~Lock() { pthread_mutex_unlock(&mutex); }
  Lock(const Lock &) = delete;
  Lock &operator=(const Lock &) = delete;

private:
  pthread_mutex_t &mutex;
};

/// How many threads this process may run at once.
int32_t usableThreads();

/// Runs the loop on the caller's own pool. A loop inside a piece of a loop runs
/// serially, here and in ssmrt_pool.
int32_t runOn(ssmrt_parallel_for_fn parallelFor, void *user, ssmrt_range_fn fn, void *closure,
              int64_t n, int64_t grain);

} // namespace ssmrt

/// Loops of several callers may run at once; each is cut into the same pieces
/// whatever happens, and threads take the next piece when they are done with
/// one.
struct ssmrt_pool {
  explicit ssmrt_pool(int32_t threads) : threads(threads) {}
  ~ssmrt_pool();

  int32_t parallelFor(ssmrt_range_fn fn, void *closure, int64_t n, int64_t grain);

  std::atomic<int32_t> references{1};
  const int32_t threads; // the calling one among them
  const int32_t processors = ssmrt::usableThreads();

private:
  struct Loop;

  void start();
  void work();
  template <typename Condition> bool waitAwake(Condition reached) const;
  static void *enter(void *pool);

  pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
  pthread_cond_t wake = PTHREAD_COND_INITIALIZER; // a loop has come, or the end
  pthread_cond_t done = PTHREAD_COND_INITIALIZER; // a worker has left a loop
  Loop *loops = nullptr;                          // those that may have pieces left
  std::atomic<int32_t> posted{0};                 // loops so far
  int32_t awake = 0;                              // workers waiting awake
  ssmrt::Array<pthread_t> workers;
  bool started = false;
  bool stopping = false;
};

#endif // SSMRT_THREADS_H
