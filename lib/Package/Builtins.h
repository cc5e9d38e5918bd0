//===- Builtins.h - Conversions that code generation calls ------*- C++ -*-===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef SSM_LIB_PACKAGE_BUILTINS_H
#define SSM_LIB_PACKAGE_BUILTINS_H

#include "llvm/ADT/StringRef.h"

namespace ssm {

/// Where a processor lacks an instruction to convert f16 or bf16, LLVM calls a
/// function of its compiler runtime. Modules carry their own, so that they need
/// nothing but the C library.
bool isBuiltin(llvm::StringRef symbol);

/// All of them, as LLVM assembly.
llvm::StringRef getBuiltinsSource();

} // namespace ssm

#endif // SSM_LIB_PACKAGE_BUILTINS_H
