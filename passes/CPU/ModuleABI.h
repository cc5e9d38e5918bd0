//===- ModuleABI.h - Places in the structs of the module ABI -----*- C++ -*-===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// include/ssmrt/module_abi.h as byte offsets for generated code.
//
//===----------------------------------------------------------------------===//

#ifndef SSM_PASSES_CPU_MODULEABI_H
#define SSM_PASSES_CPU_MODULEABI_H

#include <cstdint>

namespace ssm {

enum : int32_t {
  kArgBytes = 16,
  kArgDims = 8,
  kTableParallelFor = 8,
  kTableSegmentAlloc = 16,
  kTableSegmentMark = 24,
  kTableSegmentRelease = 32,
  kTableOutput = 40,
  kTableReport = 48,
  kTableKernel = 56,
  kTableLaunch = 64,
  kTableRead = 72,
  kTableTensorMap = 80,
  kTableFault = 88,
};
enum : int32_t { kStatusOutOfMemory = 2, kStatusOutputRefused = 3 };

} // namespace ssm

#endif // SSM_PASSES_CPU_MODULEABI_H
