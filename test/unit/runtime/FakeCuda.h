//===- FakeCuda.h - A CUDA driver for tests ---------------------*- C++ -*-===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A library with the functions of the driver that the runtime uses, on memory of
// the host. It is strict: an address of the device is none that the host can read,
// queued work is done only when it is waited for, a call without a context or on
// memory that was given back fails. Kernels are those of FakeKernels.cpp, by name, or
// compiled ones for test/gpu/emulator.
//
//===----------------------------------------------------------------------===//

#ifndef SSMRT_TEST_FAKECUDA_H
#define SSMRT_TEST_FAKECUDA_H

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace ssm_emulator {
struct Kernel;
}

struct FakeLaunch {
  int64_t grid[3];
  int32_t threads;
  uint32_t dynamicShared;
  bool overlaps;
  bool hasClusters;
  std::vector<std::vector<uint8_t>> params;

  template <typename T> T param(size_t index) const {
    return *reinterpret_cast<const T *>(params[index].data());
  }
  /// An address of the device as one of the host.
  template <typename T> T *data(size_t index) const;
};

struct FakeKernel {
  const char *name;
  std::vector<int32_t> paramBytes;
  int32_t (*run)(const FakeLaunch &launch); // a CUresult
  const ssm_emulator::Kernel *emulated = nullptr;
};
extern const std::vector<FakeKernel> fakeKernels;

/// What tests set and look at. "calls" and "fails" are by the driver's names.
struct FakeCuda {
  int32_t devices = 2;
  int32_t major = 9, minor = 0;
  int32_t multiprocessors = 4, residentBlocks = 2;
  size_t memory = size_t(1) << 30;      // of each device
  std::map<std::string, int32_t> fails; // the next call of it, with this
  std::map<std::string, int64_t> calls;
  std::vector<std::string> launched; // kernels, as they were done
  std::vector<bool> overlapped;      // whether each may begin early
  FakeLaunch lastLaunch;             // done
  std::string loadedChip;            // of the last image
  int64_t used = 0, pinned = 0;      // bytes now
  int64_t contexts = 0, streams = 0, events = 0, graphs = 0, libraries = 0;

  /// A context without faults, and nothing counted.
  void (*reset)() = nullptr;
};

extern "C" FakeCuda *fakeCuda();

/// Device addresses have a bit that no address of a program has.
constexpr uint64_t fakeDeviceBit = uint64_t(1) << 52;

template <typename T> T *fakeHost(uint64_t address) {
  return reinterpret_cast<T *>(address & ~fakeDeviceBit);
}

template <typename T> T *FakeLaunch::data(size_t index) const {
  return fakeHost<T>(param<uint64_t>(index));
}

#endif // SSMRT_TEST_FAKECUDA_H
