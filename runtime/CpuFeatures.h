//===- CpuFeatures.h - What code may ask of this CPU ------------*- C++ -*-===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef SSMRT_CPUFEATURES_H
#define SSMRT_CPUFEATURES_H

#include "ssmrt/module_abi.h"
#include "ssmrt/ssmrt.h"

namespace ssmrt {

/// Of the module and its versions the first that this machine can run: it has the
/// architecture of the LLVM triple and every feature of the list. A feature that
/// cannot be looked up is taken as missing. Fails, telling what each lacks, if there
/// is none. `path` is for messages.
ssmrt_status selectVersion(const ssm_module &module, const char *path, const ssm_module **version);

} // namespace ssmrt

#endif // SSMRT_CPUFEATURES_H
