//===- DriverTest.cpp - Machines without a GPU, or without a driver -------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// No test of this program has a driver that works: one stays once it was found.
//
//===----------------------------------------------------------------------===//

#include "DeviceSupport.h"
#include "FakeCuda.h"

#include <dlfcn.h>

static ssmrt_status tryDevice(const char *device) {
  ssmrt_module *module = nullptr;
  ssm_module description = withWeights(deviceModule);
  ssmrt_status status = tryCreate(description, device, &module);
  ssmrt_module_release(module);
  return status;
}

TEST(Driver, IsMissing) {
  setenv("SSMRT_CUDA_DRIVER", "libcuda-of-no-name.so.1", 1);
  for (const char *device : {static_cast<const char *>(nullptr), "cuda", "cuda:3"})
    expectFailure(tryDevice(device), SSMRT_NO_DEVICE,
                  {"no CUDA driver", "libcuda-of-no-name.so.1"});
}

TEST(Driver, LacksFunctions) {
  setenv("SSMRT_CUDA_DRIVER", "libm.so.6", 1);
  expectFailure(tryDevice("cuda"), SSMRT_NO_DEVICE, {"libm.so.6", "cuInit", "CUDA 12"});
}

TEST(Driver, FindsNoDevice) {
  setenv("SSMRT_CUDA_DRIVER", TEST_FAKE_CUDA, 1);
  void *library = dlopen(TEST_FAKE_CUDA, RTLD_NOW | RTLD_LOCAL);
  ASSERT_NE(library, nullptr) << dlerror();
  auto *fake = reinterpret_cast<FakeCuda *(*)()>(dlsym(library, "fakeCuda"))();
  fake->devices = 0;
  expectFailure(tryDevice("cuda"), SSMRT_NO_DEVICE, {"CUDA_ERROR_NO_DEVICE"});
  fake->devices = 1;
  fake->fails["cuInit"] = 2;
  expectFailure(tryDevice("cuda"), SSMRT_NO_DEVICE, {"CUDA_ERROR_OUT_OF_MEMORY"});
  fake->devices = 0;
  dlclose(library);
}

TEST(Driver, IsNotNeededToDescribe) {
  setenv("SSMRT_CUDA_DRIVER", "libcuda-of-no-name.so.1", 1);
  Module module = createOn("none");
  ssmrt_module_info info;
  ASSERT_EQ(ssmrt_module_get_info(module.get(), &info), SSMRT_OK);
  EXPECT_STREQ(info.device, "none");
  ASSERT_EQ(info.num_device_kernels, 10);
  ssmrt_device_kernel_info kernel;
  ASSERT_EQ(ssmrt_module_get_device_kernel(module.get(), 8, &kernel), SSMRT_OK);
  EXPECT_STREQ(kernel.name, "tiles");
  EXPECT_STREQ(kernel.chip, "sm_90");
  EXPECT_EQ(kernel.max_threads, 128);
  EXPECT_EQ(kernel.registers, 22);
  EXPECT_EQ(kernel.shared_bytes, 100 << 10);
  EXPECT_EQ(kernel.spill_bytes, 4);
  for (int32_t index : {-1, 10})
    expectFailure(ssmrt_module_get_device_kernel(module.get(), index, &kernel),
                  SSMRT_INVALID_ARGUMENT, {std::to_string(index).c_str(), "10"});
  ssmrt_device_info device;
  expectFailure(ssmrt_module_get_device(module.get(), &device), SSMRT_NOT_FOUND, {"device"});
  ssmrt_session *session = nullptr;
  expectFailure(ssmrt_session_create(module.get(), nullptr, nullptr, &session),
                SSMRT_INVALID_ARGUMENT, {"'none'"});
  const ssmrt_size sizes[] = {{"batch", 2}, {"seq", 3}};
  int64_t arena, dims[3];
  EXPECT_EQ(ssmrt_module_plan(module.get(), 0, sizes, 2, &arena, dims), SSMRT_OK);
  EXPECT_EQ(arena, 96);
}

TEST(Driver, ChoosesVersions) {
  setenv("SSMRT_CUDA_DRIVER", "libcuda-of-no-name.so.1", 1);
  // The CPU's is taken unless a device is asked for, wherever it stands.
  const ssm_module host = withWeights(linkedModule), device = withWeights(deviceModule);
  for (bool deviceFirst : {false, true}) {
    ssm_module all = deviceFirst ? device : host;
    const ssm_module *versions[] = {deviceFirst ? &host : &device};
    all.versions = versions;
    all.num_versions = 1;
    for (const char *choice : {static_cast<const char *>(nullptr), "cpu"}) {
      ssmrt_module *made = nullptr;
      ASSERT_EQ(tryCreate(all, choice, &made), SSMRT_OK) << ssmrt_last_message();
      Module module(made, ssmrt_module_release);
      ssmrt_module_info info;
      ASSERT_EQ(ssmrt_module_get_info(made, &info), SSMRT_OK);
      EXPECT_STREQ(info.device, "cpu");
      EXPECT_EQ(info.num_device_kernels, 10);
      EXPECT_EQ(info.num_entries, 4);
    }
    ssmrt_module *made = nullptr;
    expectFailure(tryCreate(all, "cuda", &made), SSMRT_NO_DEVICE, {"driver"});
  }
  ssmrt_module *made = nullptr;
  expectFailure(tryCreate(host, "cuda", &made), SSMRT_UNSUPPORTED, {"no version", "'cuda'"});
  expectFailure(tryCreate(device, "cpu", &made), SSMRT_UNSUPPORTED, {"no version", "CPUs"});
  ssm_module elsewhere = device;
  elsewhere.device = "abacus";
  expectFailure(tryCreate(elsewhere, nullptr, &made), SSMRT_UNSUPPORTED, {"no version"});
  for (const char *wrong : {"", "gpu", "cuda:", "cuda:x", "cuda:-1", "cuda:1x", "cuda:999", "CPU"})
    expectFailure(tryCreate(device, wrong, &made), SSMRT_INVALID_ARGUMENT,
                  {"no device", wrong, "'cuda:N'"});
}
