//===- Passes.h - Passes of the room GPU -------------------------*- C++ -*- ===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef SSM_PASSES_GPU_PASSES_H
#define SSM_PASSES_GPU_PASSES_H

#include "mlir/Pass/Pass.h"

namespace ssm {
#define GEN_PASS_DECL
#include "passes/GPU/Passes.h.inc"
#define GEN_PASS_REGISTRATION
#include "passes/GPU/Passes.h.inc"
} // namespace ssm

#endif // SSM_PASSES_GPU_PASSES_H
