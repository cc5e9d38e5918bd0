//===- FakeCudaTest.cpp - Devices where all can be seen and made fail -----===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "FakeCuda.h"
#include "DeviceSupport.h"

#include <dlfcn.h>

/// The fake driver, which the runtime finds from here on.
static FakeCuda &fake() {
  static FakeCuda *found = [] {
    void *library = dlopen(TEST_FAKE_CUDA, RTLD_NOW | RTLD_LOCAL);
    auto *function =
        library ? reinterpret_cast<FakeCuda *(*)()>(dlsym(library, "fakeCuda")) : nullptr;
    return function ? function() : nullptr;
  }();
  return *found;
}

static const bool isSet = setenv("SSMRT_CUDA_DRIVER", TEST_FAKE_CUDA, 1) == 0 && fake().reset;

TEST(Fake, Placeholder) { EXPECT_TRUE(isSet); }
