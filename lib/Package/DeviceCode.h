//===- DeviceCode.h - Kernels for a GPU, compiled ----------------*- C++ -*-===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef SSM_LIB_PACKAGE_DEVICECODE_H
#define SSM_LIB_PACKAGE_DEVICECODE_H

#include <cstdint>
#include <string>
#include <vector>

namespace ssm {

/// ssm_device_kernel of include/ssmrt/module_abi.h.
struct DeviceKernel {
  std::string name;
  int32_t maxThreads = 0, dynamicShared = 0, flags = 0;
  std::vector<int32_t> paramBytes;
  int32_t registers = -1, sharedBytes = -1, spillBytes = -1;
};

/// ssm_image of include/ssmrt/module_abi.h.
struct DeviceImage {
  std::string chip, bytes;
  bool isPtx = false;
};

struct DeviceCode {
  std::vector<DeviceKernel> kernels;
  /// Best first.
  std::vector<DeviceImage> images;
};

} // namespace ssm

#endif // SSM_LIB_PACKAGE_DEVICECODE_H
