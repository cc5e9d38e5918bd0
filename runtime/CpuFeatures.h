//===- CpuFeatures.h - What code may ask of this CPU ------------*- C++ -*-===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef SSMRT_CPUFEATURES_H
#define SSMRT_CPUFEATURES_H

#include "Status.h"

namespace ssmrt {

/// Appends the features of the list that this machine lacks, or that nobody can look
/// up; whether there are any.
bool tellMissing(const char *features, Text &text);

/// Whether code for the LLVM triple is for this architecture.
bool hasArchitecture(const char *target);
const char *hostArchitecture();

} // namespace ssmrt

#endif // SSMRT_CPUFEATURES_H
