//===- EmitKernels.h - Forms of kernels -------------------------*- C++ -*-===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// One function for each form: puts loops and vector operations in the place of a
// kernel on buffers, before it; the caller erases the kernel, and the result is "". If
// the kernel is not what the form can do, it is why not, and nothing was emitted.
//
//===----------------------------------------------------------------------===//

#ifndef SSM_PASSES_VECTOR_EMITKERNELS_H
#define SSM_PASSES_VECTOR_EMITKERNELS_H

#include "dialects/SSM/SSMOps.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"

namespace ssm {

/// Elementwise loops and reductions. tiles: none. `isStep`: inside of a loop over time, all of
/// it here and now; outs may be the buffers of inputs with the same map.
llvm::StringRef emitRows(KernelOp kernel, mlir::ImplicitLocOpBuilder &b, bool isStep = false);

/// A sum of products with sums in registers. tiles: rows, vectors of a register tile;
/// optionally neighbours along the depth that are taken at once (1 or 2), the depth of a
/// chunk, and the bytes of rows that stay in the second-level cache.
llvm::StringRef emitMatmul(KernelOp kernel, mlir::ImplicitLocOpBuilder &b);

/// A loop over time with carries in registers. tiles: steps of a block of time; optionally
/// the bytes of stack that carries of one tile may take.
llvm::StringRef emitRecurrence(KernelOp kernel, mlir::ImplicitLocOpBuilder &b);

/// A sum over windows of an input. tiles: rows, vectors that are computed side by side.
llvm::StringRef emitWindow(KernelOp kernel, mlir::ImplicitLocOpBuilder &b);

/// A recurrence of a single step as rows, with lanes along the loop `lane`: its carries are
/// inputs. Several vectors of a row of the state are then read side by side, and from where
/// they lie. False, and nothing is emitted, if rows cannot have it.
bool emitStepAsRows(KernelOp kernel, mlir::ImplicitLocOpBuilder &b, unsigned lane, int64_t lanes);

/// A recurrence with lanes along a loop that its steps sum over (`canBeRowLoop`).
llvm::StringRef emitStepsAsRows(KernelOp kernel, mlir::ImplicitLocOpBuilder &b);

} // namespace ssm

#endif // SSM_PASSES_VECTOR_EMITKERNELS_H
