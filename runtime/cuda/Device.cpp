//===- Device.cpp - The CUDA devices of this machine ----------------------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Device.h"

#include "Status.h"
#include "Threads.h"

#include <cstdio>

using namespace ssmrt;
using namespace ssmrt::cuda;

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static constexpr int32_t maxDevices = 64;
static Device *devices[maxDevices]; // those in use

ssmrt_status DeviceChoice::parse(const char *text) {
  int used = 0;
  DeviceChoice parsed;
  if (!std::strcmp(text, "cpu"))
    parsed.kind = Cpu;
  else if (!std::strcmp(text, "none"))
    parsed.kind = None;
  else if (!std::strcmp(text, "cuda"))
    parsed.kind = Cuda;
  else if (text[0] == 'c' && std::sscanf(text, "cuda:%2d%n", &parsed.ordinal, &used) == 1 &&
           !text[used] && text[5] >= '0' && text[5] <= '9')
    parsed.kind = Cuda;
  else
    return fail(SSMRT_INVALID_ARGUMENT,
                "there is no device '%s', expected 'cpu', 'cuda', 'cuda:N' or 'none'", text);
  *this = parsed;
  return SSMRT_OK;
}

int32_t Device::attribute(Attribute attribute) const {
  int32_t value = 0;
  driver->deviceAttribute(&value, attribute, handle);
  return value;
}

Result Device::upload(Address to, const void *from, size_t bytes) const {
  Result result = driver->copy(to, reinterpret_cast<Address>(from), bytes);
  // That may return when the bytes have left their place, before they have arrived.
  return result ? result : driver->streamWait(nullptr);
}

ssmrt_status Device::initialize(int32_t index) {
  ordinal = index;
  std::snprintf(name, sizeof(name), "cuda:%d", index);
  int32_t count = 0;
  Result result = driver->deviceCount(&count);
  if (result || index >= count)
    return fail(SSMRT_NO_DEVICE, "there is no device %s: %s%s%d found", name,
                result ? cuda::textOf(*driver, result).text : "", result ? ", " : "", count);
  if ((result = driver->deviceGet(&handle, index)) ||
      (result = driver->deviceName(product, sizeof(product), handle)))
    return failed(result, "looking for the device");
  product[sizeof(product) - 1] = 0;
  major = attribute(kMajor);
  minor = attribute(kMinor);
  multiprocessors = attribute(kMultiprocessors);
  if ((result = driver->contextRetain(&context, handle)))
    return failed(result, "making a context");
  return SSMRT_OK;
}

ssmrt_status Device::open(int32_t ordinal, Device **device) {
  const Driver *driver;
  SSMRT_TRY(openDriver(&driver));
  if (ordinal >= maxDevices)
    return fail(SSMRT_NO_DEVICE, "there is no device cuda:%d", ordinal);
  Lock lock(mutex);
  Device *&slot = devices[ordinal];
  if (slot) {
    SSMRT_TRY(slot->usable());
    ++slot->references;
    *device = slot;
    return SSMRT_OK;
  }
  auto *made = make<Device>();
  if (!made)
    return outOfMemory("a device", sizeof(Device));
  made->driver = driver;
  made->references = 1;
  made->lost = kSuccess;
  ssmrt_status status = made->initialize(ordinal);
  if (status == SSMRT_OK)
    *device = slot = made;
  else
    unmake(made);
  return status;
}

void Device::release() {
  Lock lock(mutex);
  if (--references)
    return;
  devices[ordinal] = nullptr;
  driver->contextRelease(handle);
  unmake(this);
}

/// "sm_90a" as 90 and 'a'.
static bool parseChip(const char *chip, int32_t *number, char *suffix) {
  int used = 0;
  *suffix = 0;
  if (std::sscanf(chip, "sm_%4d%n", number, &used) != 1 || *number < 10)
    return false;
  *suffix = chip[used];
  return !chip[used] || !chip[used + 1];
}

bool Device::runs(const ssm_image &image) const {
  int32_t number;
  char suffix;
  if (!parseChip(image.chip, &number, &suffix))
    return false;
  int32_t own = 10 * major + minor;
  if (suffix == 'a')
    return number == own;
  if (image.kind == SSM_IMAGE_PTX && !suffix)
    return number <= own;
  return number / 10 == major && number <= own;
}

ssmrt_status Device::usable() const {
  Result result = lost;
  if (!result)
    return SSMRT_OK;
  return fail(SSMRT_DEVICE_FAILED, "%s cannot be used any more by this process, after %s", name,
              cuda::textOf(*driver, result).text);
}

ssmrt_status Device::failed(Result result, const char *step) {
  if (result == kOutOfMemory)
    return fail(SSMRT_OUT_OF_MEMORY, "%s: %s: %s", name, step, cuda::textOf(*driver, result).text);
  if (!isFault(result))
    return fail(SSMRT_DEVICE_FAILED, "%s: %s failed: %s", name, step,
                cuda::textOf(*driver, result).text);
  lost = result;
  return fail(SSMRT_DEVICE_FAILED,
              "%s: %s failed: %s; no session on %s can be used any more by this process", name,
              step, cuda::textOf(*driver, result).text, name);
}

ssmrt_status Device::noMemory(const char *what, int64_t bytes) const {
  // After a fault nothing can be allocated either.
  SSMRT_TRY(usable());
  size_t free = 0, total = 0;
  driver->memoryInfo(&free, &total);
  return fail(SSMRT_OUT_OF_MEMORY,
              "out of memory: %lld bytes for %s on %s, where %llu of %llu are free: %s",
              (long long)bytes, what, name, (unsigned long long)free, (unsigned long long)total,
              cuda::textOf(*driver, kOutOfMemory).text);
}
