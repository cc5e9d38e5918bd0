//===- Version.h - Which version of a module runs here ----------*- C++ -*-===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef SSMRT_VERSION_H
#define SSMRT_VERSION_H

#include "Device.h"

namespace ssmrt {

/// Of the module and its versions the first that this machine can run on the device
/// chosen: it has the architecture of the LLVM triple and every feature of the list, and
/// the device runs one of its images. What cannot be looked up is taken as missing.
/// Fails, telling what each lacks, if there is none. `choice` becomes definite; *device
/// is retained, or NULL for the CPU. `path` is for messages.
ssmrt_status selectVersion(const ssm_module &module, const char *path, DeviceChoice &choice,
                           const ssm_module **version, Device **device);

/// Version `index` of the module, the first of which is itself.
inline const ssm_module &versionOf(const ssm_module &module, int32_t index) {
  return index == 0 ? module : *module.versions[index - 1];
}

} // namespace ssmrt

#endif // SSMRT_VERSION_H
