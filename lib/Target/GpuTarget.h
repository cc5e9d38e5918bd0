//===- GpuTarget.h - The GPU a version is compiled for -----------*- C++ -*- ===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef SSM_LIB_TARGET_GPUTARGET_H
#define SSM_LIB_TARGET_GPUTARGET_H

#include "llvm/Support/CodeGen.h"
#include "llvm/Support/Error.h"
#include <memory>
#include <string>

namespace llvm {
class TargetMachine;
}

namespace ssm {

struct GpuTarget {
  /// ptxas's name: "sm_80", "sm_90a".
  std::string chip;
  /// LLVM's feature of the PTX version that the chip needs at least.
  std::string features;
  /// 10 major + minor: 80, 90.
  int version = 0;
  /// The most bytes of shared memory that a block can have, once it is asked for.
  int64_t maxShared = 0;
  /// Its own instructions (wgmma, TMA's forms): code that no other chip runs.
  bool isSpecific = false;

  /// Products by warpgroups, which came and went with Hopper.
  bool hasWgmma() const { return version == 90 && isSpecific; }

  /// By name. Error: one that is not in the table, with what is.
  static llvm::Expected<GpuTarget> resolve(llvm::StringRef chip);

  llvm::Expected<std::unique_ptr<llvm::TargetMachine>>
  createMachine(llvm::CodeGenOptLevel level) const;
};

} // namespace ssm

#endif // SSM_LIB_TARGET_GPUTARGET_H
