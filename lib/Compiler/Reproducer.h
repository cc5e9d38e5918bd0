//===- Reproducer.h - A failure of a pass as a file -------------*- C++ -*-===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef SSM_LIB_COMPILER_REPRODUCER_H
#define SSM_LIB_COMPILER_REPRODUCER_H

#include "lib/Compiler/Diagnostics.h"
#include "mlir/Pass/PassManager.h"

namespace ssm {

/// Before `manager` runs a stage: a pass that fails or crashes leaves the module that
/// the stage began with, and the stage's passes, in the file `path`, and the error
/// names it. A model that a pass refuses is no failure.
void writeReproducerOnFailure(mlir::PassManager &manager, llvm::StringRef stage,
                              const std::string &path, Diagnostics &diagnostics);

/// Removes what earlier failures left as `base`.<...>, by writeReproducerOnFailure or StepInputs; the
/// model's own files stay.
void removeReproducers(llvm::StringRef base, llvm::function_ref<bool(llvm::StringRef)> isOfModel);

} // namespace ssm

#endif // SSM_LIB_COMPILER_REPRODUCER_H
