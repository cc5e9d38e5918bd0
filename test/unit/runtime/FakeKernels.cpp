//===- FakeKernels.cpp - Kernels of DeviceModule.c, on the host -----------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What DeviceKernels.c does on a GPU.
//
//===----------------------------------------------------------------------===//

#include "FakeCuda.h"

#include <cstring>

static void failCheck(int64_t *fault, int64_t site, std::vector<int64_t> values) {
  if (fault[0])
    return;
  fault[0] = 1 + site;
  fault[1] = int64_t(values.size());
  std::copy(values.begin(), values.end(), fault + 2);
}

/// Whether the grid has as many threads as there are elements.
static bool covers(const FakeLaunch &launch, int64_t n) {
  return launch.grid[0] * launch.threads >= n;
}

static int32_t twice(const FakeLaunch &launch) {
  auto *x = launch.data<float>(0), *y = launch.data<float>(1);
  auto n = launch.param<int64_t>(2);
  for (int64_t i = 0; i < n; ++i)
    y[i] = 2 * x[i];
  return covers(launch, n) ? 0 : 719;
}

static int32_t add(const FakeLaunch &launch) {
  auto *x = launch.data<float>(0), *y = launch.data<float>(1), *w = launch.data<float>(2),
       *z = launch.data<float>(3);
  auto n = launch.param<int64_t>(4);
  for (int64_t i = 0; i < n; ++i)
    z[i] = x[i] + y[i] + w[i % 4];
  return covers(launch, n) ? 0 : 719;
}

static int32_t accumulate(const FakeLaunch &launch) {
  auto *x = launch.data<float>(0), *h = launch.data<float>(1), *newH = launch.data<float>(2);
  auto n = launch.param<int64_t>(3);
  for (int64_t i = 0; i < n; ++i)
    newH[i] = h[i] + x[i];
  if (n && x[0] >= 1000)
    failCheck(launch.data<int64_t>(4), 0, {int64_t(x[0]), 1000});
  return covers(launch, n) ? 0 : 719;
}

static int32_t append(const FakeLaunch &launch) {
  auto *x = launch.data<float>(0), *kv = launch.data<float>(1), *newH = launch.data<float>(2),
       *newKv = launch.data<float>(3), *y = launch.data<float>(4);
  auto batch = launch.param<int64_t>(5), past = launch.param<int64_t>(6);
  for (int64_t i = 0; i < batch * 4; ++i) {
    int64_t b = i / 4, c = i % 4;
    float sum = 0;
    for (int64_t t = 0; t <= past; ++t) {
      float value = t < past ? kv[(b * past + t) * 4 + c] : x[b * 4 + c];
      newKv[(b * (past + 1) + t) * 4 + c] = value;
      sum += value;
    }
    y[i] = newH[i] + sum;
  }
  return 0;
}

static int32_t select(const FakeLaunch &launch) {
  auto *ids = launch.data<int64_t>(0);
  auto *flags = launch.data<uint8_t>(1);
  auto n = launch.param<int64_t>(2);
  auto *found = launch.data<int64_t>(3);
  int64_t number = 0;
  for (int64_t i = 0; i < n; ++i)
    if (ids[i] < 0 || ids[i] >= 10)
      failCheck(launch.data<int64_t>(5), 0, {ids[i], i, 10});
    else if (flags[i])
      found[number++] = 10 * ids[i];
  *launch.data<int64_t>(4) = number;
  return 0;
}

static int32_t copy64(const FakeLaunch &launch) {
  auto n = launch.param<int64_t>(2);
  std::memcpy(launch.data<int64_t>(1), launch.data<int64_t>(0), size_t(n) * 8);
  return covers(launch, n) ? 0 : 719;
}

static int32_t store(const FakeLaunch &launch) {
  *launch.data<int32_t>(0) = launch.param<int32_t>(1);
  return 0;
}

static int32_t crash(const FakeLaunch &) { return 700; }

static int32_t tiles(const FakeLaunch &launch) {
  auto *x = launch.data<float>(0), *y = launch.data<float>(1);
  auto n = launch.param<int64_t>(2);
  for (int64_t i = 0; i < n; ++i)
    y[i] = x[i] + 1;
  *launch.data<int32_t>(3) = int32_t(launch.grid[0]);
  return launch.dynamicShared == 100 << 10 ? 0 : 719;
}

/// See cuTensorMapEncodeTiled of FakeCuda.cpp.
static int32_t move(const FakeLaunch &launch) {
  auto *from = reinterpret_cast<const uint64_t *>(launch.params[0].data());
  auto *to = reinterpret_cast<const uint64_t *>(launch.params[1].data());
  for (auto *map : {from, to})
    if (map[1] != 2 || map[2] != 7 || map[4] != 32 || map[8] != 128 || map[12] != 32 ||
        map[13] != 8)
      return 719;
  if (uint64_t(launch.grid[0]) * 8 < from[5])
    return 719;
  std::memcpy(fakeHost<void>(to[0]), fakeHost<void>(from[0]), from[5] * 128);
  return 0;
}

const std::vector<FakeKernel> fakeKernels = {
    {"twice", {8, 8, 8}, twice},
    {"add", {8, 8, 8, 8, 8}, add},
    {"accumulate", {8, 8, 8, 8, 8}, accumulate},
    {"append", {8, 8, 8, 8, 8, 8, 8}, append},
    {"select", {8, 8, 8, 8, 8, 8}, select},
    {"copy64", {8, 8, 8}, copy64},
    {"store", {8, 4}, store},
    {"crash", {8}, crash},
    {"tiles", {8, 8, 8, 8}, tiles},
    {"move", {128, 128}, move},
};
