/*===- DeviceKernels.c - Kernels of DeviceModule.c for GPUs --------------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Compiled by clang for NVPTX, no toolkit needed. FakeKernels.cpp has the same for
// the fake driver.
//
//===---------------------------------------------------------------------===*/

#define KERNEL __attribute__((nvptx_kernel))
typedef long long i64;

static i64 threadIndex(void) {
  return (i64)__nvvm_read_ptx_sreg_ctaid_x() * __nvvm_read_ptx_sreg_ntid_x() +
         __nvvm_read_ptx_sreg_tid_x();
}

/* The first that fails tells. */
static void failCheck(i64 *fault, i64 site, i64 a, i64 b, i64 c, i64 count) {
  i64 none = 0;
  if (!__atomic_compare_exchange_n(fault, &none, 1 + site, 0, __ATOMIC_RELAXED, __ATOMIC_RELAXED))
    return;
  fault[1] = count;
  fault[2] = a;
  fault[3] = b;
  fault[4] = c;
}

KERNEL void twice(const float *x, float *y, i64 n) {
  i64 i = threadIndex();
  if (i < n)
    y[i] = 2 * x[i];
}

/* May begin before twice ends. */
KERNEL void add(const float *x, const float *y, const float *w, float *z, i64 n) {
  i64 i = threadIndex();
  float last = w[i % 4];
  __asm__ volatile("griddepcontrol.wait;" ::: "memory");
  if (i < n)
    z[i] = x[i] + y[i] + last;
}

KERNEL void accumulate(const float *x, const float *h, float *newH, i64 n, i64 *fault) {
  i64 i = threadIndex();
  if (i < n)
    newH[i] = h[i] + x[i];
  if (i == 0 && n > 0 && x[0] >= 1000)
    failCheck(fault, 0, (i64)x[0], 1000, 0, 2);
}

KERNEL void append(const float *x, const float *kv, const float *newH, float *newKv, float *y,
                   i64 batch, i64 past) {
  i64 i = threadIndex();
  if (i >= batch * 4)
    return;
  i64 b = i / 4, c = i % 4;
  float sum = 0;
  for (i64 t = 0; t <= past; ++t) {
    float value = t < past ? kv[(b * past + t) * 4 + c] : x[b * 4 + c];
    newKv[(b * (past + 1) + t) * 4 + c] = value;
    sum += value;
  }
  y[i] = newH[i] + sum;
}

/* One thread. */
KERNEL void select(const i64 *ids, const unsigned char *flags, i64 n, i64 *found, i64 *count,
                   i64 *fault) {
  i64 number = 0;
  for (i64 i = 0; i < n; ++i) {
    if (ids[i] < 0 || ids[i] >= 10) {
      failCheck(fault, 0, ids[i], i, 10, 3);
      continue;
    }
    if (flags[i])
      found[number++] = 10 * ids[i];
  }
  *count = number;
}

KERNEL void copy64(const i64 *from, i64 *to, i64 n) {
  i64 i = threadIndex();
  if (i < n)
    to[i] = from[i];
}

KERNEL void store(int *to, int value) {
  if (threadIndex() == 0)
    *to = value;
}

KERNEL void crash(int *to) { *to = 1; }

extern __attribute__((address_space(3), aligned(128))) unsigned char shared[];

/* Takes tiles of 128 until there are none, through the last bytes of 100 KiB. */
KERNEL void tiles(const float *x, float *y, i64 n, int *blocks) {
  __attribute__((address_space(3))) float *room =
      (__attribute__((address_space(3))) float *)(shared + (100 << 10) - 512);
  int thread = __nvvm_read_ptx_sreg_tid_x();
  i64 grid = __nvvm_read_ptx_sreg_nctaid_x();
  for (i64 tile = __nvvm_read_ptx_sreg_ctaid_x(); tile * 128 < n; tile += grid) {
    i64 i = tile * 128 + thread;
    if (i < n)
      room[thread] = x[i];
    __nvvm_bar_sync(0);
    if (i < n)
      y[i] = room[thread] + 1;
    __nvvm_bar_sync(0);
  }
  if (threadIndex() == 0)
    *blocks = (int)grid;
}

typedef struct __attribute__((aligned(64))) {
  unsigned char bytes[128];
} TensorMap;

/* A block of 32 threads moves a box of 8 rows of 32 in and out again by tensor maps. */
KERNEL void move(TensorMap from, TensorMap to) {
  static __attribute__((address_space(3), aligned(8))) unsigned long long barrier;
  int row = (int)__nvvm_read_ptx_sreg_ctaid_x() * 8, zero = 0;
  /* The parameters where they are: C would copy them. */
  i64 source, target;
  __asm__("mov.b64 %0, move_param_0;\n\tcvta.param.u64 %0, %0;" : "=l"(source));
  __asm__("mov.b64 %0, move_param_1;\n\tcvta.param.u64 %0, %0;" : "=l"(target));
  unsigned tile = (unsigned)(unsigned long long)shared;
  unsigned mark = (unsigned)(unsigned long long)&barrier;
  if (__nvvm_read_ptx_sreg_tid_x() != 0)
    return;
  __asm__ volatile("mbarrier.init.shared::cta.b64 [%0], 1;\n\t"
                   "fence.mbarrier_init.release.cluster;\n\t"
                   "fence.proxy.async.shared::cta;"
                   ::"r"(mark)
                   : "memory");
  __asm__ volatile("{\n\t.reg .b64 state;\n\t"
                   "mbarrier.arrive.expect_tx.shared::cta.b64 state, [%0], %1;\n\t}"
                   ::"r"(mark), "r"(8 * 32 * 4)
                   : "memory");
  __asm__ volatile("cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes"
                   " [%0], [%1, {%2, %3}], [%4];"
                   ::"r"(tile), "l"(source), "r"(zero), "r"(row), "r"(mark)
                   : "memory");
  __asm__ volatile("{\n\t.reg .pred done;\n"
                   "again:\n\t"
                   "mbarrier.try_wait.parity.shared::cta.b64 done, [%0], 0;\n\t"
                   "@!done bra again;\n\t}"
                   ::"r"(mark)
                   : "memory");
  __asm__ volatile("cp.async.bulk.tensor.2d.global.shared::cta.tile.bulk_group"
                   " [%0, {%1, %2}], [%3];\n\t"
                   "cp.async.bulk.commit_group;\n\t"
                   "cp.async.bulk.wait_group 0;"
                   ::"l"(target), "r"(zero), "r"(row), "r"(tile)
                   : "memory");
}
