//===- Driver.cpp - Finding the CUDA driver -------------------------------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Driver.h"

#include "Status.h"
#include "Threads.h"

#include <cstdio>
#include <dlfcn.h>

using namespace ssmrt;
using namespace ssmrt::cuda;

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static Driver functions;
static bool isOpen;

static ssmrt_status findFunctions(void *library, const char *path) {
  struct Lookup {
    const char *symbol;
    void *slot;
  };
  const Lookup lookups[] = {
#define SSMRT_CUDA_LOOKUP(name, symbol, parameters) {symbol, &functions.name},
      SSMRT_CUDA_FUNCTIONS(SSMRT_CUDA_LOOKUP)
#undef SSMRT_CUDA_LOOKUP
  };
  for (const Lookup &lookup : lookups) {
    void *found = dlsym(library, lookup.symbol);
    if (!found)
      return fail(
          SSMRT_NO_DEVICE,
          "the CUDA driver '%s' is too old: it has no %s, expected that of CUDA 12 or later", path,
          lookup.symbol);
    std::memcpy(lookup.slot, &found, sizeof(found));
  }
  return SSMRT_OK;
}

ssmrt_status cuda::openDriver(const Driver **driver) {
  Lock lock(mutex);
  *driver = &functions;
  if (isOpen)
    return SSMRT_OK;
  const char *path = std::getenv("SSMRT_CUDA_DRIVER");
  if (!path || !*path)
    path = "libcuda.so.1";
  void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  if (!library) {
    const char *reason = dlerror();
    return fail(SSMRT_NO_DEVICE, "there is no CUDA driver: %s", reason ? reason : path);
  }
  ssmrt_status status = findFunctions(library, path);
  if (status == SSMRT_OK)
    if (Result result = functions.init(0))
      status = fail(SSMRT_NO_DEVICE, "the CUDA driver '%s' cannot be used: %s", path,
                    textOf(functions, result).text);
  if (status != SSMRT_OK)
    dlclose(library);
  isOpen = status == SSMRT_OK;
  return status;
}

ResultText cuda::textOf(const Driver &driver, Result result) {
  const char *name = nullptr, *text = nullptr;
  if (driver.errorName(result, &name) || driver.errorText(result, &text) || !name || !text) {
    name = "unknown CUDA error";
    text = nullptr;
  }
  ResultText full;
  if (text)
    std::snprintf(full.text, sizeof(full.text), "%s (%s)", name, text);
  else
    std::snprintf(full.text, sizeof(full.text), "%s %d", name, result);
  return full;
}

bool cuda::isFault(Result result) {
  return result == kIllegalAddress || result == kTimeout || result == kAssertion ||
         (result >= kFirstFault && result <= kLastFault) || result == kUncorrectableMemory ||
         result == kContained || result == kMemoryLeak;
}
