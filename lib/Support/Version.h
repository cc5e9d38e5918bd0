//===- Version.h - Who made a module ----------------------------*- C++ -*-===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef SSM_LIB_SUPPORT_VERSION_H
#define SSM_LIB_SUPPORT_VERSION_H

#include "llvm/ADT/StringRef.h"
#include "llvm/Config/llvm-config.h"

namespace ssm {

inline constexpr llvm::StringLiteral kVersion = "0.1.0";
/// The compiler and what generates its code.
inline constexpr llvm::StringLiteral kProducer = "ssm-mlir 0.1.0, LLVM " LLVM_VERSION_STRING;

} // namespace ssm

#endif // SSM_LIB_SUPPORT_VERSION_H
