//===- Roofline.cpp - What this machine can do ----------------------------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Roofline.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <new>
#include <thread>
#include <vector>

using namespace ssmrun;

static double now() {
  std::chrono::duration<double> time = std::chrono::steady_clock::now().time_since_epoch();
  return time.count();
}

namespace {
using Vector128 __attribute__((vector_size(16))) = float;
#if defined(__x86_64__)
using Vector256 __attribute__((vector_size(32))) = float;
using Vector512 __attribute__((vector_size(64))) = float;
#endif
} // namespace

// More chains than latency times units, and still in the registers of all machines.
static constexpr int kChains = 12, kSteps = 400000, kRepeats = 5;

// A function for each set of instructions: its attribute reaches no function that it
// calls, so that the loops are written by a macro.
#define SSM_RUN_MEASURES(VECTOR, TARGET)                                                           \
  TARGET static double measureFlops(const VECTOR *) {                                              \
    constexpr int lanes = sizeof(VECTOR) / sizeof(float);                                          \
    VECTOR chains[kChains] = {}, factor, term;                                                     \
    for (int i = 0; i < lanes; ++i) {                                                              \
      factor[i] = 0.999f;                                                                          \
      term[i] = 1e-3f;                                                                             \
    }                                                                                              \
    double best = 1e30;                                                                            \
    for (int repeat = 0; repeat < kRepeats; ++repeat) {                                            \
      double start = now();                                                                        \
      for (int step = 0; step < kSteps; ++step)                                                    \
        for (int c = 0; c < kChains; ++c)                                                          \
          chains[c] = chains[c] * factor + term;                                                   \
      best = std::min(best, now() - start);                                                        \
    }                                                                                              \
    for (int c = 1; c < kChains; ++c)                                                              \
      chains[0] += chains[c];                                                                      \
    volatile float sink = chains[0][0];                                                            \
    (void)sink;                                                                                    \
    return 2.0 * lanes * kChains * kSteps / best;                                                  \
  }                                                                                                \
  TARGET static double measureBytes(const VECTOR *data, int64_t bytes) {                           \
    int64_t count = bytes / int64_t(sizeof(VECTOR));                                               \
    int64_t passes = std::max<int64_t>(1, (int64_t(8) << 20) / bytes);                             \
    VECTOR sums[8] = {};                                                                           \
    double best = 1e30;                                                                            \
    for (int repeat = 0; repeat < kRepeats; ++repeat) {                                            \
      double start = now();                                                                        \
      for (int64_t pass = 0; pass < passes; ++pass) {                                              \
        for (int64_t i = 0; i + 8 <= count; i += 8)                                                \
          for (int c = 0; c < 8; ++c)                                                              \
            sums[c] += data[i + c];                                                                \
        __asm__ volatile("" ::: "memory");                                                         \
      }                                                                                            \
      best = std::min(best, (now() - start) / double(passes));                                     \
    }                                                                                              \
    for (int c = 1; c < 8; ++c)                                                                    \
      sums[0] += sums[c];                                                                          \
    volatile float sink = sums[0][0];                                                              \
    (void)sink;                                                                                    \
    return double(bytes) / best;                                                                   \
  }

SSM_RUN_MEASURES(Vector128, )
#if defined(__x86_64__)
SSM_RUN_MEASURES(Vector256, __attribute__((target("avx2,fma"))))
SSM_RUN_MEASURES(Vector512, __attribute__((target("avx512f"))))
#endif

static double measureFlops() {
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx512f"))
    return measureFlops(static_cast<const Vector512 *>(nullptr));
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
    return measureFlops(static_cast<const Vector256 *>(nullptr));
#endif
  return measureFlops(static_cast<const Vector128 *>(nullptr));
}

static double measureBytes(const void *data, int64_t bytes) {
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx512f"))
    return measureBytes(static_cast<const Vector512 *>(data), bytes);
  if (__builtin_cpu_supports("avx2"))
    return measureBytes(static_cast<const Vector256 *>(data), bytes);
#endif
  return measureBytes(static_cast<const Vector128 *>(data), bytes);
}

/// The sum of what `threads` threads reach that measure at the same time.
template <typename Measure> static double sumOf(int32_t threads, Measure measure) {
  std::atomic<int32_t> waiting{threads};
  std::vector<double> rates(static_cast<size_t>(threads));
  std::vector<std::thread> list;
  for (int32_t i = 0; i < threads; ++i)
    list.emplace_back([&, i] {
      for (--waiting; waiting > 0;)
        std::this_thread::yield();
      rates[size_t(i)] = measure(i);
    });
  double sum = 0;
  for (int32_t i = 0; i < threads; ++i) {
    list[size_t(i)].join();
    sum += rates[size_t(i)];
  }
  return sum;
}

double CpuRoofline::flopsPerSecond() {
  if (flopRate == 0)
    flopRate = sumOf(threads, [](int32_t) { return measureFlops(); });
  return flopRate;
}

double CpuRoofline::bytesPerSecond(int64_t bytes) {
  // Few sizes are measured: powers of two, so much for each thread that it counts.
  int64_t part = 16 << 10;
  while (part * threads < std::min<int64_t>(bytes, 256 << 20))
    part *= 2;
  double &rate = byteRates[part];
  if (rate != 0)
    return rate;
  struct Free {
    void operator()(float *data) const { std::free(data); }
  };
  size_t total = size_t(part) * size_t(threads);
  std::unique_ptr<float, Free> block(static_cast<float *>(std::aligned_alloc(64, total)));
  if (!block)
    throw std::bad_alloc();
  std::fill_n(block.get(), total / sizeof(float), 1.0f);
  return rate = sumOf(threads, [&](int32_t i) {
           return measureBytes(block.get() + int64_t(i) * (part / int64_t(sizeof(float))), part);
         });
}

double CpuRoofline::seconds(int64_t bytes, int64_t flops) {
  double arithmetic = flops > 0 ? double(flops) / flopsPerSecond() : 0;
  return std::max(arithmetic, bytes > 0 ? double(bytes) / bytesPerSecond(bytes) : 0);
}

std::string CpuRoofline::text() {
  char text[160];
  std::snprintf(text, sizeof(text),
                "%d thread%s: %.1f GFLOP/s in f32, %.1f GB/s from memory; from caches more",
                threads, threads == 1 ? "" : "s", 1e-9 * flopsPerSecond(),
                1e-9 * bytesPerSecond(INT64_MAX));
  return text;
}

/// Of a multiprocessor's tensor cores: f16 multiply-adds a clock, each as two.
static double tensorFlops(int32_t major, int32_t minor) {
  switch (10 * major + minor) {
  case 80:
    return 2048;
  case 90:
    return 4096;
  case 100:
  case 103:
    return 8192;
  default:
    return 1024;
  }
}

double DeviceRoofline::flopsPerSecond() const {
  return tensorFlops(info.major, info.minor) * info.multiprocessors * info.clock;
}

double DeviceRoofline::seconds(int64_t bytes, int64_t flops) {
  double arithmetic = flops > 0 ? double(flops) / flopsPerSecond() : 0;
  return std::max(arithmetic, bytes > 0 ? double(bytes) / info.memory_bytes_per_second : 0);
}

std::string DeviceRoofline::text() {
  char text[400];
  std::snprintf(
      text, sizeof(text),
      "%s (%s, sm_%d%d, %d multiprocessors): %.1f TFLOP/s in f16 on tensor cores, %.1f GB/s "
      "from memory, by its clocks",
      info.name, info.product, info.major, info.minor, info.multiprocessors,
      1e-12 * flopsPerSecond(), 1e-9 * info.memory_bytes_per_second);
  return text;
}
