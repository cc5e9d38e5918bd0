//===- Codegen.h - From the LLVM dialect to machine code --------*- C++ -*-===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef SSM_LIB_PACKAGE_CODEGEN_H
#define SSM_LIB_PACKAGE_CODEGEN_H

#include "lib/Package/StepInput.h"
#include "lib/Target/CpuTarget.h"
#include "mlir/IR/BuiltinOps.h"
#include "llvm/ADT/SmallVector.h"
#include "llvm/IR/LLVMContext.h"
#include "llvm/IR/Module.h"
#include "llvm/Support/Error.h"
#include <memory>

namespace ssm {

/// Translates a module in the LLVM dialect, leaving out ssm.weight operations.
/// The result has the target's triple and layout, and its functions the target's
/// features. Takes the operations of `module` apart: it is of no use afterwards.
llvm::Expected<std::unique_ptr<llvm::Module>>
translateModule(mlir::ModuleOp module, llvm::LLVMContext &context, const CpuTarget &target,
                const StepInputs &inputs = {});

/// translateModuleToLLVMIR, whose first diagnostic becomes the error.
llvm::Expected<std::unique_ptr<llvm::Module>>
translateToLLVM(mlir::Operation *module, llvm::LLVMContext &context, llvm::StringRef name,
                const StepInputs &inputs);

/// LLVM's optimisation, loop and SLP vectorisers on. Level 3 is LLVM's O3, those
/// below are its O2: a level of this compiler chooses which of our own stages
/// run, never whether the code that comes out of them is optimised.
llvm::Error optimizeModule(llvm::Module &module, const CpuTarget &target, int level,
                           bool verifyEach, const StepInputs &inputs = {});

enum class CodeForm { Assembly, Object };

llvm::Expected<llvm::SmallVector<char, 0>> emitCode(llvm::Module &module, const CpuTarget &target,
                                                    int level, CodeForm form,
                                                    const StepInputs &inputs = {});

/// The functions of Builtins.h as an object.
llvm::Expected<llvm::SmallVector<char, 0>> emitBuiltins(const CpuTarget &target);

} // namespace ssm

#endif // SSM_LIB_PACKAGE_CODEGEN_H
