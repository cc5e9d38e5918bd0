//===- Bisection.h - ssm-compile --bisect -----------------------*- C++ -*-===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef SSM_TOOLS_SSM_COMPILE_BISECTION_H
#define SSM_TOOLS_SSM_COMPILE_BISECTION_H

#include <string>
#include <vector>

namespace ssm {

/// Goes on as tools/scripts/bisect_model.py, which compiles and runs the model many
/// times with this program. Returns only if that cannot be: why.
std::string runBisection(const std::vector<std::string> &arguments);

} // namespace ssm

#endif // SSM_TOOLS_SSM_COMPILE_BISECTION_H
