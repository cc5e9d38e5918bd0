//===- Registration.h - Dialects and passes shared by the tools ----------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef SSM_TOOLS_SSM_OPT_REGISTRATION_H
#define SSM_TOOLS_SSM_OPT_REGISTRATION_H

namespace mlir {
class DialectRegistry;
}

namespace ssm {
/// Our dialects, passes and stages, and the upstream passes of our pipelines.
void registerForTools(mlir::DialectRegistry &registry);
/// Passes that only tests run.
void registerTestPasses();
} // namespace ssm

#endif // SSM_TOOLS_SSM_OPT_REGISTRATION_H
