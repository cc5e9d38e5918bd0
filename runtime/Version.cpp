//===- Version.cpp - Which version of a module runs here ------------------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Version.h"

#include "CpuFeatures.h"

using namespace ssmrt;

static bool isFor(const ssm_module &version, DeviceChoice::Kind kind) {
  if (kind == DeviceChoice::Cpu)
    return !version.device;
  return version.device && !std::strcmp(version.device, "cuda");
}

static bool hasVersion(const ssm_module &module, DeviceChoice::Kind kind) {
  for (int32_t i = 0; i <= module.num_versions; ++i)
    if (isFor(versionOf(module, i), kind))
      return true;
  return false;
}

/// Appends "sm_90a (cubin), sm_80 (PTX)".
static void tellImages(const ssm_module &version, Text &text) {
  for (int32_t i = 0; i < version.num_images; ++i) {
    text.add(i ? ", " : "");
    text.add(version.images[i].chip);
    text.add(version.images[i].kind == SSM_IMAGE_PTX ? " (PTX)" : " (cubin)");
  }
}

/// Whether the device runs the version's kernels; if not, appends what there are.
static bool hasImage(const ssm_module &version, const Device &device, Text &lacks) {
  if (!version.num_device_kernels)
    return true;
  for (int32_t i = 0; i < version.num_images; ++i)
    if (device.runs(version.images[i]))
      return true;
  tellImages(version, lacks);
  return false;
}

static ssmrt_status select(const ssm_module &module, const char *path, DeviceChoice::Kind kind,
                           const Device *device, const ssm_module **version) {
  Text features, images;
  bool anyArchitecture = false, anyFeatures = false;
  for (int32_t i = 0; i <= module.num_versions; ++i) {
    const ssm_module &candidate = versionOf(module, i);
    if (!isFor(candidate, kind) || !hasArchitecture(candidate.target))
      continue;
    if (module.num_versions) {
      features.add(anyArchitecture ? "; for " : "for ");
      features.add(candidate.cpu);
      features.add(": ");
    }
    anyArchitecture = true;
    if (tellMissing(candidate.features, features))
      continue;
    if (anyFeatures)
      images.add(", ");
    anyFeatures = true;
    if (!device || hasImage(candidate, *device, images)) {
      *version = &candidate;
      return SSMRT_OK;
    }
  }
  if (!anyArchitecture)
    return fail(SSMRT_UNSUPPORTED, "module '%s' was compiled for '%s', this machine is '%s'", path,
                module.target, hostArchitecture());
  if (anyFeatures)
    return fail(SSMRT_UNSUPPORTED,
                "module '%s' has kernels for %s, and none that %s runs: that is sm_%d%d ('%s')",
                path, images.data, device->name, device->major, device->minor, device->product);
  return fail(SSMRT_UNSUPPORTED, "module '%s' needs CPU features that this machine lacks%s %s",
              path, module.num_versions ? "," : ":", features.data);
}

ssmrt_status ssmrt::selectVersion(const ssm_module &module, const char *path, DeviceChoice &choice,
                                  const ssm_module **version, Device **device) {
  *device = nullptr;
  *version = &module;
  if (choice.kind == DeviceChoice::None)
    return SSMRT_OK;
  if (choice.kind == DeviceChoice::Default)
    choice.kind = hasVersion(module, DeviceChoice::Cpu) ? DeviceChoice::Cpu : DeviceChoice::Cuda;
  if (!hasVersion(module, choice.kind))
    return fail(SSMRT_UNSUPPORTED, "module '%s' has no version for %s: compile it for that too",
                path, choice.kind == DeviceChoice::Cpu ? "CPUs" : "device 'cuda'");
  if (choice.kind == DeviceChoice::Cuda)
    SSMRT_TRY(Device::open(choice.ordinal, device));
  ssmrt_status status = select(module, path, choice.kind, *device, version);
  if (status != SSMRT_OK && *device)
    (*device)->release();
  return status;
}
