//===- Threads.cpp - The pool of threads that loops run on ----------------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Threads.h"

#include "Status.h"

#include <sched.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

using namespace ssmrt;

/// True in a thread that is inside a piece of a loop.
static thread_local bool insidePiece = false;

int32_t ssmrt::usableThreads() {
  // Sets for more CPUs than cpu_set_t has room for are allocated.
  for (size_t room = CPU_SETSIZE; room <= (size_t(1) << 18); room *= 2) {
    cpu_set_t *set = CPU_ALLOC(room);
    if (!set)
      return 1;
    size_t bytes = CPU_ALLOC_SIZE(room);
    int count = sched_getaffinity(0, bytes, set) == 0 ? CPU_COUNT_S(bytes, set) : 0;
    CPU_FREE(set);
    if (count > 0)
      return count;
  }
  return 1;
}

static int32_t runPiece(ssmrt_range_fn fn, void *closure, int64_t lo, int64_t hi) {
  bool before = insidePiece;
  insidePiece = true;
  int32_t status = fn(closure, lo, hi);
  insidePiece = before;
  return status;
}

/// A loop in progress; lives on the stack of the thread that waits for it.
struct ssmrt_pool::Loop {
  ssmrt_range_fn fn;
  void *closure;
  int64_t n, pieces;
  Loop *next = nullptr;
  std::atomic<int32_t> helpers{0}; // workers inside; written under the mutex
  std::atomic<int64_t> taken{0};   // pieces
  std::atomic<int32_t> status{0};

  /// The longer pieces come first, so that the threads end together.
  int64_t begin(int64_t index) const {
    int64_t longer = n % pieces;
    return index * (n / pieces) + (index < longer ? index : longer);
  }

  void run() {
    for (;;) {
      int64_t index = taken.fetch_add(1, std::memory_order_relaxed);
      if (index >= pieces || status.load(std::memory_order_relaxed))
        return;
      if (int32_t failed = runPiece(fn, closure, begin(index), begin(index + 1))) {
        int32_t none = 0;
        status.compare_exchange_strong(none, failed, std::memory_order_relaxed);
      }
    }
  }
  bool hasWork() const {
    return taken.load(std::memory_order_relaxed) < pieces &&
           !status.load(std::memory_order_relaxed);
  }
};

static int64_t nanoseconds() {
  timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return int64_t(time.tv_sec) * 1000000000 + time.tv_nsec;
}

static void relax() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

/// Waking a sleeping thread costs its waker about 5 us, as much as a small loop takes,
/// and the loop more until it comes. So a thread first waits this long awake, once:
/// through the gaps of a run and from one step of a decoder to the next.
static constexpr int64_t kAwakeNanoseconds = 200000;

/// True once the condition holds, false if there is no time left for that, or no
/// processor of its own for each thread.
template <typename Condition> bool ssmrt_pool::waitAwake(Condition reached) const {
  if (threads > processors)
    return false;
  for (int64_t end = 0;;) {
    for (int32_t i = 0; i < 16; ++i) {
      if (reached())
        return true;
      relax();
    }
    // Who waits must not keep from running what it waits for.
    sched_yield();
    int64_t now = nanoseconds();
    end = end ? end : now + kAwakeNanoseconds;
    if (now > end)
      return false;
  }
}

void *ssmrt_pool::enter(void *pool) {
  static_cast<ssmrt_pool *>(pool)->work();
  return nullptr;
}

void ssmrt_pool::work() {
  bool worked = false;
  Lock lock(mutex);
  while (!stopping) {
    Loop *loop = loops;
    while (loop && !loop->hasWork())
      loop = loop->next;
    if (!loop && !worked) {
      pthread_cond_wait(&wake, &mutex);
      continue;
    }
    worked = loop;
    if (!loop) {
      int32_t seen = posted.load(std::memory_order_relaxed);
      ++awake;
      pthread_mutex_unlock(&mutex);
      waitAwake([&] { return posted.load(std::memory_order_relaxed) != seen; });
      pthread_mutex_lock(&mutex);
      --awake;
      continue;
    }
    ++loop->helpers;
    pthread_mutex_unlock(&mutex);
    loop->run();
    pthread_mutex_lock(&mutex);
    if (--loop->helpers == 0)
      pthread_cond_broadcast(&done);
  }
}

/// Starts the workers; the mutex is held. Where the system refuses some, the
/// loops run on those there are.
void ssmrt_pool::start() {
  started = true;
  // Signals are the program's business, not for a worker to be interrupted by.
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  for (int32_t i = 1; i < threads; ++i) {
    pthread_t worker;
    if (!workers.resize(workers.size() + 1))
      break;
    if (pthread_create(&worker, nullptr, enter, this) != 0) {
      (void)workers.resize(workers.size() - 1);
      break;
    }
    workers[workers.size() - 1] = worker;
  }
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

ssmrt_pool::~ssmrt_pool() {
  pthread_mutex_lock(&mutex);
  stopping = true;
  pthread_cond_broadcast(&wake);
  pthread_mutex_unlock(&mutex);
  for (pthread_t worker : workers)
    pthread_join(worker, nullptr);
  pthread_cond_destroy(&wake);
  pthread_cond_destroy(&done);
  pthread_mutex_destroy(&mutex);
}

/// The pieces of a loop depend on its size and the number of threads only: same
/// inputs and threads, same pieces. Four to a thread even out the time they take.
/// n / grain is rounded, so that a piece has about three quarters of the grain at
/// least.
static int64_t piecesOf(int64_t n, int64_t grain, int32_t threads) {
  int64_t most = n / grain + (n % grain >= grain - grain / 2);
  int64_t pieces = int64_t(threads) * 4;
  return pieces < most ? pieces : most;
}

int32_t ssmrt_pool::parallelFor(ssmrt_range_fn fn, void *closure, int64_t n, int64_t grain) {
  if (n <= 0)
    return 0;
  if (grain < 1)
    grain = 1;
  int64_t pieces = piecesOf(n, grain, threads);
  if (threads <= 1 || insidePiece || pieces <= 1)
    return runPiece(fn, closure, 0, n);

  Loop loop{fn, closure, n, pieces};
  {
    Lock lock(mutex);
    if (!started)
      start();
    loop.next = loops;
    loops = &loop;
    posted.fetch_add(1, std::memory_order_relaxed);
    // One worker to a piece, the calling thread's first piece left out; those that
    // are awake come by themselves.
    int64_t wanted = pieces - 1 - awake;
    if (wanted >= int64_t(workers.size()) - awake && wanted > 0)
      pthread_cond_broadcast(&wake);
    else
      for (int64_t i = 0; i < wanted; ++i)
        pthread_cond_signal(&wake);
  }
  loop.run();
  Lock lock(mutex);
  Loop **link = &loops;
  while (*link != &loop)
    link = &(*link)->next;
  *link = loop.next;
  if (loop.helpers) {
    pthread_mutex_unlock(&mutex);
    waitAwake([&] { return loop.helpers.load(std::memory_order_relaxed) == 0; });
    pthread_mutex_lock(&mutex);
  }
  while (loop.helpers)
    pthread_cond_wait(&done, &mutex);
  return loop.status.load(std::memory_order_relaxed);
}

namespace {
struct Wrapped {
  ssmrt_range_fn fn;
  void *closure;
};
} // namespace

static int32_t runWrapped(void *closure, int64_t lo, int64_t hi) {
  auto *wrapped = static_cast<Wrapped *>(closure);
  return runPiece(wrapped->fn, wrapped->closure, lo, hi);
}

int32_t ssmrt::runOn(ssmrt_parallel_for_fn parallelFor, void *user, ssmrt_range_fn fn,
                     void *closure, int64_t n, int64_t grain) {
  if (n <= 0)
    return 0;
  if (grain < 1)
    grain = 1;
  if (insidePiece || n <= grain)
    return runPiece(fn, closure, 0, n);
  Wrapped wrapped{fn, closure};
  return parallelFor(user, runWrapped, &wrapped, n, grain);
}

ssmrt_status ssmrt_pool_create(int32_t threads, ssmrt_pool **pool) {
  if (!pool)
    return fail(SSMRT_INVALID_ARGUMENT, "pool is NULL");
  if (threads < 0 || threads > 4096)
    return fail(SSMRT_INVALID_ARGUMENT, "number of threads is %d, expected 0 to 4096", threads);
  *pool = make<ssmrt_pool>(threads ? threads : usableThreads());
  return *pool ? SSMRT_OK : outOfMemory("a pool", sizeof(ssmrt_pool));
}

void ssmrt_pool_retain(ssmrt_pool *pool) {
  pool->references.fetch_add(1, std::memory_order_relaxed);
}

void ssmrt_pool_release(ssmrt_pool *pool) {
  if (pool && pool->references.fetch_sub(1, std::memory_order_acq_rel) == 1)
    unmake(pool);
}

int32_t ssmrt_pool_threads(const ssmrt_pool *pool) { return pool->threads; }
