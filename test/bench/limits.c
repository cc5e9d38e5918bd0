/*===- limits.c - What this machine can do, measured ------------*- C -*-===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===*/

/* Built by run.py for the processor it runs on. One thread. */

#include <stdint.h>
#include <string.h>
#include <time.h>

#ifdef __AVX512BF16__
#include <immintrin.h>
#endif

#if defined(__AVX512F__)
#define LANES 16
#elif defined(__AVX__)
#define LANES 8
#else
#define LANES 4
#endif
typedef float vec __attribute__((vector_size(4 * LANES)));

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec + 1e-9 * t.tv_nsec;
}

/* Multiply-adds a second, in units of 1e9 floating point operations. */
double limit_fma_gflops(void) {
  enum { CHAINS = 12, STEPS = 400000 };
  vec acc[CHAINS], x, y;
  memset(acc, 0, sizeof acc);
  for (int i = 0; i < LANES; ++i) {
    x[i] = 0.999f;
    y[i] = 1e-3f;
  }
  __asm__ volatile("" : "+x"(x), "+x"(y));
  double best = 1e30;
  for (int repeat = 0; repeat < 5; ++repeat) {
    double start = now();
    for (int step = 0; step < STEPS; ++step) {
#pragma clang loop unroll(full)
      for (int c = 0; c < CHAINS; ++c)
        acc[c] = acc[c] * x + y;
    }
    double seconds = now() - start;
    best = seconds < best ? seconds : best;
  }
  vec sum = acc[0];
  for (int c = 1; c < CHAINS; ++c)
    sum += acc[c];
  volatile float sink = sum[0];
  (void)sink;
  return 2.0 * LANES * CHAINS * STEPS / best * 1e-9;
}

/* The same of bf16 by the processor's own instruction; 0 if it has none. */
double limit_bf16_gflops(void) {
#ifdef __AVX512BF16__
  enum { CHAINS = 12, STEPS = 400000 };
  __m512 acc[CHAINS];
  memset(acc, 0, sizeof acc);
  __m512i x = _mm512_set1_epi16(0x3f80), y = x;
  __asm__ volatile("" : "+v"(x), "+v"(y));
  double best = 1e30;
  for (int repeat = 0; repeat < 5; ++repeat) {
    double start = now();
    for (int step = 0; step < STEPS; ++step) {
#pragma clang loop unroll(full)
      for (int c = 0; c < CHAINS; ++c)
        acc[c] = _mm512_dpbf16_ps(acc[c], (__m512bh)x, (__m512bh)y);
    }
    double seconds = now() - start;
    best = seconds < best ? seconds : best;
  }
  for (int c = 1; c < CHAINS; ++c)
    acc[0] = _mm512_add_ps(acc[0], acc[c]);
  volatile float sink = acc[0][0];
  (void)sink;
  return 2.0 * 2 * 16 * CHAINS * STEPS / best * 1e-9;
#else
  return 0;
#endif
}

/* Bytes read a second from `bytes` of memory, in GB. */
double limit_read_gbs(const float *data, int64_t bytes) {
  double best = 1e30;
  int64_t count = bytes / (int64_t)sizeof(vec);
  for (int repeat = 0; repeat < 5; ++repeat) {
    vec sum[8];
    memset(sum, 0, sizeof sum);
    const vec *v = (const vec *)data;
    double start = now();
    for (int64_t i = 0; i + 8 <= count; i += 8)
      for (int c = 0; c < 8; ++c)
        sum[c] += v[i + c];
    double seconds = now() - start;
    best = seconds < best ? seconds : best;
    for (int c = 1; c < 8; ++c)
      sum[0] += sum[c];
    volatile float sink = sum[0][0];
    (void)sink;
  }
  return bytes / best * 1e-9;
}
