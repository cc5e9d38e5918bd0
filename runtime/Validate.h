//===- Validate.h - Whether a module's description holds together --*- C++
//-*-===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef SSMRT_VALIDATE_H
#define SSMRT_VALIDATE_H

#include "ssmrt/module_abi.h"
#include "ssmrt/ssmrt.h"

namespace ssmrt {

/// Checks magic, version and struct size, and nothing after them.
ssmrt_status validateVersion(const ssm_module &module, const char *path);

/// Checks everything else that can be read without running code: counts, ranks,
/// types, names, states, weights. What it accepts, the rest of the runtime uses
/// unchecked. `path` is for messages.
ssmrt_status validateModule(const ssm_module &module, const char *path);

} // namespace ssmrt

#endif // SSMRT_VALIDATE_H
