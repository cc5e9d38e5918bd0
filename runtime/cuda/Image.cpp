//===- Image.cpp - A module's kernels and weights on a device -------------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Device.h"
#include "Status.h"

#include <cstdio>

using namespace ssmrt;
using namespace ssmrt::cuda;

// What a launch may ask for without being allowed to.
static constexpr int32_t plainDynamicShared = 48 << 10;

DeviceModule::~DeviceModule() {
  if (!device)
    return;
  {
    Current current(device);
    if (weightsMemory)
      device->driver->release(weightsMemory);
    if (library)
      device->driver->unload(library);
  }
  device->release();
}

ssmrt_status DeviceModule::loadImage(const ssm_image &image, const char *path) {
  char log[600] = "";
  const int32_t options[] = {kErrorLog, kErrorLogBytes};
  void *values[] = {log, reinterpret_cast<void *>(sizeof(log))};
  Result result = device->driver->load(&library, image.data, 2, options, values);
  if (!result)
    return SSMRT_OK;
  library = nullptr;
  log[sizeof(log) - 1] = 0;
  char step[900];
  std::snprintf(step, sizeof(step), "module '%s': loading its %s for %s%s%s", path,
                image.kind == SSM_IMAGE_PTX ? "PTX" : "cubin", image.chip, *log ? ": " : "", log);
  return device->failed(result, step);
}

ssmrt_status DeviceModule::findKernels(const char *path) {
  size_t count = size_t(version->num_device_kernels);
  if (!kernels.resize(count))
    return outOfMemory("device kernels", (long long)count);
  for (size_t i = 0; i < count; ++i) {
    const ssm_device_kernel &kernel = version->device_kernels[i];
    readsEarly |= (kernel.flags & SSM_KERNEL_READS_EARLY) != 0;
    char step[400];
    std::snprintf(step, sizeof(step), "module '%s': looking for kernel '%s'", path, kernel.name);
    Result result = device->driver->function(&kernels[i].function, library, kernel.name);
    if (!result && kernel.dynamic_shared > plainDynamicShared) {
      std::snprintf(step, sizeof(step),
                    "module '%s': asking for %d bytes of shared memory for kernel '%s'", path,
                    kernel.dynamic_shared, kernel.name);
      result = device->driver->setFunction(kernels[i].function, kMaxDynamicShared,
                                           kernel.dynamic_shared);
    }
    if (result)
      return device->failed(result, step);
  }
  return SSMRT_OK;
}

ssmrt_status DeviceModule::load(Device *on, const ssm_module &of, const char *path) {
  device = on;
  version = &of;
  Current current(device);
  ssmrt_status status = SSMRT_OK;
  // One that the driver does not take, being older than its compiler, may be
  // followed by one that it does.
  for (int32_t i = 0; i < of.num_images && !library; ++i)
    if (device->runs(of.images[i])) {
      status = loadImage(of.images[i], path);
      // Code for earlier chips does not wait for the kernels in front of it.
      int32_t number = 0;
      std::sscanf(of.images[i].chip, "sm_%4d", &number);
      overlaps = number >= 90;
    }
  SSMRT_TRY(status);
  return findKernels(path);
}

ssmrt_status DeviceModule::upload(const uint8_t *from) {
  // Weights of other versions lie in front and behind.
  int64_t first = INT64_MAX, end = 0;
  for (int32_t i = 0; i < version->num_weights; ++i) {
    const ssm_weight_info &weight = version->weights[i];
    if (weight.bytes == 0)
      continue;
    if (weight.offset < first)
      first = weight.offset;
    if (weight.offset + weight.bytes > end)
      end = weight.offset + weight.bytes;
  }
  int64_t bytes = end - first;
  if (end == 0)
    return SSMRT_OK;
  Current current(device);
  Result result = device->driver->allocate(&weightsMemory, size_t(bytes));
  if (result == kOutOfMemory)
    return device->noMemory("weights", bytes);
  if (result)
    return device->failed(result, "allocating memory for weights");
  weights = reinterpret_cast<void *>(weightsMemory - Address(first));
  result = device->upload(weightsMemory, from + first, size_t(bytes));
  return result ? device->failed(result, "copying weights") : SSMRT_OK;
}

ssmrt_status DeviceModule::residentBlocks(int32_t kernel, int32_t threads, int64_t *blocks) {
  // Sessions in other threads find the same number.
  uint64_t &known = kernels[size_t(kernel)].resident;
  uint64_t packed = __atomic_load_n(&known, __ATOMIC_RELAXED);
  if (packed >> 32 != uint64_t(threads)) {
    int32_t each = 0;
    Result result =
        device->driver->occupancy(&each, kernels[size_t(kernel)].function, threads,
                                  size_t(version->device_kernels[kernel].dynamic_shared));
    if (result)
      return device->failed(result, "asking for a kernel's occupancy");
    packed = uint64_t(threads) << 32 | uint32_t(each * device->multiprocessors);
    __atomic_store_n(&known, packed, __ATOMIC_RELAXED);
  }
  *blocks = int64_t(packed & UINT32_MAX);
  return SSMRT_OK;
}
