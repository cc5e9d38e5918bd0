//===- CpuFeatures.h - What code may ask of this CPU ------------*- C++ -*-===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef SSMRT_CPUFEATURES_H
#define SSMRT_CPUFEATURES_H

#include "ssmrt/ssmrt.h"

namespace ssmrt {

/// Fails unless this machine has the architecture of the LLVM triple `target`
/// and every feature of the comma-separated list (LLVM names). A feature that
/// cannot be looked up is refused too. `path` is for messages.
ssmrt_status checkCpu(const char *target, const char *features, const char *path);

} // namespace ssmrt

#endif // SSMRT_CPUFEATURES_H
