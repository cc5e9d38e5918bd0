//===- ElfObject.h - An object file around plain bytes ----------*- C++ -*-===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef SSM_LIB_PACKAGE_ELFOBJECT_H
#define SSM_LIB_PACKAGE_ELFOBJECT_H

#include "llvm/ADT/StringRef.h"
#include "llvm/Support/Error.h"
#include <string>

namespace ssm {

/// The parts of a relocatable ELF file with one read-only section of `bytes`
/// bytes, aligned to 64, under a hidden symbol: the file is head, the bytes, tail.
/// LLVM would want all of the bytes in memory. The section is marked as large, so
/// that the linker keeps it out of the reach of 32-bit addresses.
struct ElfObject {
  std::string head, tail;
};

/// Error: a machine other than x86-64 and AArch64.
llvm::Expected<ElfObject> makeElfObject(llvm::StringRef triple, llvm::StringRef symbol,
                                        uint64_t bytes);

} // namespace ssm

#endif // SSM_LIB_PACKAGE_ELFOBJECT_H
