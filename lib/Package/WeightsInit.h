//===- WeightsInit.h - Weights computed from weights ------------*- C++ -*-===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Derived weights are computed while a model is compiled, by code that is compiled
// as any other, for this machine. The module that does it has entries as
// ModuleSpec.h tells, the ssm.weight operations of the sources, and
//
//   ssm.init_entries = [{entry = "pack0", inputs = [@w], output = @w.packed}]
//
// in the order of computation: inputs may be outputs of earlier ones. An entry may
// serve several weights. The entry has one input for each source and one output.
//
//===----------------------------------------------------------------------===//

#ifndef SSM_LIB_PACKAGE_WEIGHTSINIT_H
#define SSM_LIB_PACKAGE_WEIGHTSINIT_H

#include "lib/Package/StepInput.h"
#include "lib/Package/WeightSources.h"
#include "lib/Package/WeightsFile.h"
#include "mlir/IR/BuiltinOps.h"

namespace ssm {

inline constexpr llvm::StringLiteral kInitEntriesAttr = "ssm.init_entries";

/// Computes the derived weights of `spec` straight into `file`, one after the
/// other: in memory are the sources of one weight, its output, and the arena.
/// `linker` is a path. Takes `init` apart. Error: a source that cannot be read, a
/// check of the computation that fails, a derived weight nothing computes.
llvm::Error runWeightsInit(mlir::ModuleOp init, ModuleSpec &spec, WeightSources &sources,
                           WeightsFile &file, int level, llvm::StringRef linker,
                           const StepInputs &inputs = {});

} // namespace ssm

#endif // SSM_LIB_PACKAGE_WEIGHTSINIT_H
