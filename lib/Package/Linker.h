//===- Linker.h - From objects to a module file -----------------*- C++ -*-===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef SSM_LIB_PACKAGE_LINKER_H
#define SSM_LIB_PACKAGE_LINKER_H

#include "lib/Package/StepInput.h"
#include "lib/Support/ScratchFolder.h"
#include "llvm/ADT/ArrayRef.h"
#include "llvm/Support/Error.h"
#include <string>
#include <vector>

namespace ssm {

/// The linker: `requested` if given (a path, or a name to be found on PATH), else
/// ld.lld on PATH, ld.lld-<LLVM's version> on PATH, LLVM's own folder of programs.
/// Error: none of these is there; says where was looked.
llvm::Expected<std::string> findLinker(llvm::StringRef requested);

/// What an object needs from elsewhere.
struct ObjectNeeds {
  bool builtins = false; // functions of Builtins.h
  bool math = false;     // functions of the C mathematics library
};

/// Error: a symbol that is none of: parts of the same module, builtins, the C library's
/// memory and mathematics functions. Names the first such symbol.
llvm::Expected<ObjectNeeds> checkUndefinedSymbols(llvm::StringRef object);

/// Links objects of that triple to a shared object at `output` that exports
/// `ssm_module` and nothing else.
llvm::Error linkModule(llvm::StringRef linker, llvm::ArrayRef<std::string> objects,
                       llvm::StringRef triple, bool needsMath, const ScratchFolder &scratch,
                       llvm::StringRef output, const StepInputs &inputs = {});

/// Merges objects to one at `output`, for programs to link, in which only the symbol
/// of the description is seen from outside.
llvm::Error linkStaticModule(llvm::StringRef linker, llvm::ArrayRef<std::string> objects,
                             const ScratchFolder &scratch, llvm::StringRef output,
                             const StepInputs &inputs = {});

/// Appends the trailer (include/ssmrt/module_abi.h) that the loader checks.
llvm::Error appendTrailer(llvm::StringRef path);

} // namespace ssm

#endif // SSM_LIB_PACKAGE_LINKER_H
