//===- PassPlugins.h - Passes that a user adds to stages --------*- C++ -*-===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef SSM_LIB_COMPILER_PASSPLUGINS_H
#define SSM_LIB_COMPILER_PASSPLUGINS_H

#include "include/ssm/Compiler.h"
#include "mlir/Pass/PassManager.h"
#include "llvm/Support/Error.h"

namespace ssm {

/// Makes our passes and those of the plugins known by name. Error: a plugin that
/// cannot be loaded, a pass that is not known.
llvm::Error preparePasses(const CompileOptions &options);

/// Appends what the options add to a stage.
llvm::Error addPasses(const CompileOptions &options, llvm::StringRef stage,
                      mlir::OpPassManager &manager);

} // namespace ssm

#endif // SSM_LIB_COMPILER_PASSPLUGINS_H
