//===- Emulator.h - Kernels of a GPU on the host ----------------*- C++ -*-===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Runs images that `ptxas` of this folder made, one launch at a time. A thread is a
// fibre with a stack of its own, which runs until it has to wait. What may be late is
// late, and the order of threads is random (SSM_TEST_SEED), so that a missing barrier
// gives wrong values.
//
//===----------------------------------------------------------------------===//

#ifndef SSM_TEST_EMULATOR_EMULATOR_H
#define SSM_TEST_EMULATOR_EMULATOR_H

#include "Thread.h"

#include <functional>
#include <memory>
#include <string>

namespace ssm_emulator {

/// The kernels of an image for this machine.
class Image {
public:
  /// Null where the image is for something else.
  static std::unique_ptr<Image> load(const void *image);
  ~Image();
  const Kernel *find(const char *name) const;

private:
  int file = -1;
  void *library = nullptr;
  const Kernel *kernels = nullptr;
};

struct Launch {
  const Kernel *kernel;
  u32 grid[3], threads, dynamicShared;
  bool hasClusters; // of all blocks along axis 1
  const u8 *const *params;
  u32 residentBlocks; // as many may wait for each other
  /// An address of the device -> the allocation that it lies in, {0, 0} if in none.
  std::function<std::pair<u64, u64>(u64)> allocationOf;
};

/// Runs all blocks. -> what went wrong, or nothing.
std::string run(const Launch &launch);

} // namespace ssm_emulator

#endif // SSM_TEST_EMULATOR_EMULATOR_H
