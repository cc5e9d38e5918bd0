//===- Options.h - What options may say -------------------------*- C++ -*-===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef SSM_LIB_COMPILER_OPTIONS_H
#define SSM_LIB_COMPILER_OPTIONS_H

#include "include/ssm/Compiler.h"
#include "lib/Target/CpuTarget.h"
#include "lib/Target/GpuTarget.h"

namespace ssm {

/// What is wrong with the options, or "".
std::string checkOptions(const CompileOptions &options);

/// What the module is compiled for.
struct Targets {
  /// Best first.
  std::vector<CpuTarget> cpus;
  bool usesCpus = true;
  /// Of the code that launches kernels.
  CpuTarget hostOfGpus;
  /// Latest first.
  std::vector<GpuTarget> gpus;
};
llvm::Expected<Targets> resolveTargets(const CompileOptions &options);

/// The command line that a module records: defaults and paths left out, so that the
/// same compilation in another folder gives the same bytes. The processor is the
/// one that "native" was.
std::string describeOptions(const CompileOptions &options, const Targets &targets);

} // namespace ssm

#endif // SSM_LIB_COMPILER_OPTIONS_H
