//===- Module.h - A loaded module -------------------------------*- C++ -*-===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef SSMRT_MODULE_H
#define SSMRT_MODULE_H

#include "Device.h"
#include "File.h"
#include "Memory.h"
#include "ssmrt/module_abi.h"
#include "ssmrt/ssmrt.h"

#include <atomic>

namespace ssmrt {

/// What the runtime works out once about an entry. Dims of all inputs stand one
/// after the other ("flat"), those of all outputs too.
struct EntryLayout {
  Array<int32_t> inputOffset;  // of each input's dims, and their number
  Array<int32_t> outputOffset; // of each output's dims, and their number
  Array<int32_t> symbols;      // of each flat input dim: its symbol or -1
  int32_t numSymbols = 0;

  [[nodiscard]] bool create(const ssm_entry &entry);
  size_t inputDims() const { return symbols.size(); }
  size_t outputDims() const { return size_t(outputOffset[outputOffset.size() - 1]); }
};

/// Index of the value named `name`, looked for from `hint` on and around; -1.
int32_t findValue(const ssm_value_info *values, int32_t count, const char *name, int32_t hint = 0);

} // namespace ssmrt

struct ssmrt_load_options {
  char *weightsFile = nullptr;
  const void *weightsMemory = nullptr;
  size_t weightsMemoryBytes = 0;
  ssmrt::DeviceChoice device;

  ~ssmrt_load_options() { std::free(weightsFile); }
};

struct ssmrt_module {
  std::atomic<int32_t> references{1};
  const ssm_module *description = nullptr; // once initialized, the version that runs
  ssmrt::EntryLayout *layouts = nullptr; // one per entry
  const uint8_t *weights = nullptr;      // what weight offsets count from
  char *path = nullptr;
  char *weightsPath = nullptr;
  void *library = nullptr;
  ssmrt::DeviceChoice device;              // that it was loaded for
  ssmrt::DeviceModule *onDevice = nullptr; // if that is no CPU
  const ssm_module *all = nullptr;         // with its versions
  // Stays open while loaded: the file is known to the dynamic loader by it.
  ssmrt::MappedFile file;
  ssmrt::MappedFile weightsFile;

  ~ssmrt_module();
  /// Everything after `description` is set, and the version checked.
  ssmrt_status initialize(const ssmrt_load_options *options);

  const ssm_entry &entry(int32_t index) const { return description->entries[index]; }

private:
  ssmrt_status mapWeights(const ssmrt_load_options *options);
};

#endif // SSMRT_MODULE_H
