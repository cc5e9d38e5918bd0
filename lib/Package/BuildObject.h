//===- BuildObject.h - From LLVM IR to a linked file ------------*- C++ -*-===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef SSM_LIB_PACKAGE_BUILDOBJECT_H
#define SSM_LIB_PACKAGE_BUILDOBJECT_H

#include "lib/Package/StepInput.h"
#include "lib/Support/ScratchFolder.h"
#include "lib/Target/CpuTarget.h"
#include "llvm/IR/Module.h"

namespace ssm {

/// An optimised module and the processor that its code is for.
struct CodePart {
  llvm::Module &module;
  const CpuTarget &target;
};

/// Generates code for modules of one triple, checks what it refers to, and links it
/// with the other objects to `output`: a shared object, without a trailer, or an
/// object for programs to link.
enum class LinkForm { Shared, Static };
llvm::Error buildModuleFile(llvm::ArrayRef<CodePart> parts, int level, llvm::StringRef linker,
                            std::vector<std::string> objects, const ScratchFolder &scratch,
                            llvm::StringRef output, LinkForm form = LinkForm::Shared,
                            const StepInputs &inputs = {});

/// Writes a file anew.
llvm::Error writeWholeFile(llvm::StringRef path, llvm::StringRef bytes);

} // namespace ssm

#endif // SSM_LIB_PACKAGE_BUILDOBJECT_H
