//===- DeviceSupport.h - What tests on devices share ------------*- C++ -*-===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef SSMRT_TEST_DEVICESUPPORT_H
#define SSMRT_TEST_DEVICESUPPORT_H

#include "Support.h"
#include "cuda/Driver.h"

#include <functional>

/// The module of DeviceModule.c, linked in.
extern const ssm_module deviceModule __asm__("deviceModule");

/// A description with its weight in it: no files are needed.
inline ssm_module withWeights(const ssm_module &module) {
  alignas(64) static const float weights[] = {0.5f, -1.25f, 3.0f, 100.0f};
  ssm_module copy = module;
  copy.embedded_weights = weights;
  return copy;
}

inline ssmrt_status tryCreate(const ssm_module &description, const char *device,
                              ssmrt_module **module) {
  ssmrt_load_options *options;
  EXPECT_EQ(ssmrt_load_options_create(&options), SSMRT_OK);
  ssmrt_status status = SSMRT_OK;
  if (device)
    status = ssmrt_load_options_set_device(options, device);
  if (status == SSMRT_OK)
    status = ssmrt_module_create(&description, options, module);
  ssmrt_load_options_destroy(options);
  return status;
}

inline Module createOn(const char *device, const ssm_module &from = deviceModule) {
  static std::vector<std::unique_ptr<ssm_module>> kept;
  kept.push_back(std::make_unique<ssm_module>(withWeights(from)));
  ssmrt_module *module = nullptr;
  EXPECT_EQ(tryCreate(*kept.back(), device, &module), SSMRT_OK) << ssmrt_last_message();
  return {module, ssmrt_module_release};
}

inline ssmrt_status run(const Session &session, std::initializer_list<ssmrt_input> inputs,
                        std::initializer_list<ssmrt_buffer> outputs = {}) {
  return ssmrt_session_run(session.get(), inputs.begin(), int32_t(inputs.size()), outputs.begin(),
                           int32_t(outputs.size()));
}

inline ssmrt_status runAsync(const Session &session, std::initializer_list<ssmrt_input> inputs,
                             std::initializer_list<ssmrt_buffer> outputs = {}) {
  return ssmrt_session_run_async(session.get(), inputs.begin(), int32_t(inputs.size()),
                                 outputs.begin(), int32_t(outputs.size()));
}

inline Session makeWith(const Module &module, const char *entry,
                        const std::function<void(ssmrt_session_options *)> &set) {
  SessionOptions options = makeOptions();
  set(options.get());
  return makeSession(module.get(), entry, options.get());
}

/// The driver, as the runtime finds it, and the context of cuda:0 for this thread.
struct TestDevice {
  const ssmrt::cuda::Driver *driver = nullptr;
  ssmrt::cuda::Context context = nullptr;
  int32_t handle = 0;

  TestDevice() {
    EXPECT_EQ(ssmrt::cuda::openDriver(&driver), SSMRT_OK) << ssmrt_last_message();
    EXPECT_EQ(driver->deviceGet(&handle, 0), 0);
    EXPECT_EQ(driver->contextRetain(&context, handle), 0);
    driver->contextPush(context);
  }
  ~TestDevice() {
    driver->contextPop(&context);
    driver->contextRelease(handle);
  }
};

/// Memory of cuda:0.
struct DeviceMemory {
  TestDevice &device;
  ssmrt::cuda::Address address = 0;

  DeviceMemory(TestDevice &device, size_t bytes) : device(device) {
    EXPECT_EQ(device.driver->allocate(&address, bytes), 0);
  }
  ~DeviceMemory() { device.driver->release(address); }
  DeviceMemory(const DeviceMemory &) = delete;
  void *data(size_t offset = 0) const { return reinterpret_cast<void *>(address + offset); }
  template <typename T> void write(const std::vector<T> &values, size_t offset = 0) {
    EXPECT_EQ(device.driver->copy(address + offset,
                                  reinterpret_cast<ssmrt::cuda::Address>(values.data()),
                                  values.size() * sizeof(T)),
              0);
    EXPECT_EQ(device.driver->streamWait(nullptr), 0);
  }
  template <typename T> std::vector<T> read(size_t count, size_t offset = 0) const {
    std::vector<T> values(count);
    EXPECT_EQ(device.driver->copy(reinterpret_cast<ssmrt::cuda::Address>(values.data()),
                                  address + offset, count * sizeof(T)),
              0);
    return values;
  }
  /// A view of it with the tensor's type and shape.
  DLTensor like(const DLTensor &tensor, size_t offset = 0) const {
    DLTensor view = tensor;
    view.data = data(offset);
    view.device = {kDLCUDA, 0};
    return view;
  }
};

#endif // SSMRT_TEST_DEVICESUPPORT_H
