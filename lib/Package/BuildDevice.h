//===- BuildDevice.h - From device kernels to images -------------*- C++ -*- ===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef SSM_LIB_PACKAGE_BUILDDEVICE_H
#define SSM_LIB_PACKAGE_BUILDDEVICE_H

#include "lib/Package/DeviceCode.h"
#include "lib/Package/StepInput.h"
#include "lib/Target/GpuTarget.h"
#include "mlir/IR/BuiltinOps.h"
#include "llvm/ADT/StringRef.h"
#include "llvm/Support/Error.h"
#include <memory>
#include <optional>

namespace ssm {

struct DeviceOptions {
  /// As findPtxas gives it; empty: no machine code, PTX only.
  std::string ptxas;
  /// PTX rides along, for later chips.
  bool withPtx = false;
  /// Bytes that a thread of a kernel may spill at most; above, it is an error.
  std::optional<int64_t> spillBudget;
  StepInputs inputs;
};

/// NVIDIA's assembler: the one asked for (a path or a name on PATH); else on PATH, in
/// CUDA_HOME, where CUDA is installed, or in the wheel nvidia-cuda-nvcc of a Python on PATH: the
/// first that runs and knows the chips. Empty if there is none. Error: none where it was asked for,
/// or none that does.
llvm::Expected<std::string> findPtxas(llvm::StringRef requested,
                                      llvm::ArrayRef<GpuTarget> targets);

/// Kernels that are being compiled, in a thread of their own.
class DeviceJob {
public:
  virtual ~DeviceJob() = default;
  /// Waits for the code. Once. Nothing in it where there were no kernels.
  virtual llvm::Expected<DeviceCode> finish() = 0;
};

/// Takes the gpu.module, which is in the LLVM dialect, out of `module` and begins to compile it:
/// LLVM and ptxas for several targets work side by side, ptxas on several kernels of each.
llvm::Expected<std::unique_ptr<DeviceJob>>
startDeviceCode(mlir::ModuleOp module, const GpuTarget &target, const DeviceOptions &options);

} // namespace ssm

#endif // SSM_LIB_PACKAGE_BUILDDEVICE_H
