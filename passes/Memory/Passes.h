//===- Passes.h - Passes of the room Memory ------------------------------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef SSM_PASSES_MEMORY_PASSES_H
#define SSM_PASSES_MEMORY_PASSES_H

#include "mlir/Pass/Pass.h"

namespace ssm {
/// Of an argument of a repeated function, from ssm-entry-abi to ssm-forward-copies: where a caller
/// wants a result, memory that no other argument stands for.
inline constexpr llvm::StringLiteral kResultPlace = "ssm.result_place";

#define GEN_PASS_DECL
#include "passes/Memory/Passes.h.inc"
#define GEN_PASS_REGISTRATION
#include "passes/Memory/Passes.h.inc"
} // namespace ssm

#endif // SSM_PASSES_MEMORY_PASSES_H
