//===- DeviceModule.h - The module of device kernels -------------*- C++ -*- ===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef SSM_PASSES_GPU_DEVICEMODULE_H
#define SSM_PASSES_GPU_DEVICEMODULE_H

#include "mlir/Dialect/GPU/IR/GPUDialect.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"

namespace ssm {

inline constexpr llvm::StringLiteral kDeviceModule = "device";
/// As in include/ssmrt/module_abi.h: flags of kernels (SSM_KERNEL_OVERLAPS, _PERSISTENT,
/// _READS_EARLY, _CLUSTERS), blocks of a cluster, and the words of the memory behind ssm.fault (SSM_FAULT_WORDS, SSM_FLAG_WORDS).
inline constexpr int64_t kOverlaps = 1, kPersistent = 2, kReadsEarly = 4, kClusters = 8;
inline constexpr int64_t kMaxCluster = 8;
/// Of the module: the most bytes of shared memory that a block of its chip can have.
inline constexpr llvm::StringLiteral kMaxSharedAttr = "ssm.max_shared";
/// What most a chip has, where the module does not tell.
int64_t getMaxShared(mlir::gpu::GPUFuncOp function);
inline constexpr int64_t kFaultWords = 16, kFlagWords = 1024;

/// Made if there is none.
mlir::gpu::GPUModuleOp getDeviceModule(mlir::ModuleOp module);

/// A kernel that returns at once.
mlir::gpu::GPUFuncOp createDeviceFunction(mlir::gpu::GPUModuleOp device, llvm::StringRef name,
                                          mlir::TypeRange types);

/// What ssm_device_kernel of include/ssmrt/module_abi.h tells.
void setLaunchBounds(mlir::gpu::GPUFuncOp function, int64_t maxThreads, int64_t dynamicShared,
                     int64_t flags);

/// Marks the argument of a kernel that is the fault flag.
inline constexpr llvm::StringLiteral kFaultArgument = "ssm.fault";

/// Sets the fault flag to a check's site, with the values (i64) that its text names, if the
/// condition holds and no other check has set it.
void reportFault(mlir::ImplicitLocOpBuilder &b, mlir::Value fails, mlir::Value fault,
                 mlir::Value site, mlir::ValueRange values);

} // namespace ssm

#endif // SSM_PASSES_GPU_DEVICEMODULE_H
