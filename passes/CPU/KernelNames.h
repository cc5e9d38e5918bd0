//===- KernelNames.h - What a kernel does, in a few words -------*- C++ -*-===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef SSM_PASSES_CPU_KERNELNAMES_H
#define SSM_PASSES_CPU_KERNELNAMES_H

#include "mlir/IR/Operation.h"

namespace ssm {

/// A name for a loop nest, of letters, digits and `_`: its kind, with the sizes that
/// are fixed and tell kernels of the kind apart (k x n of a product, the state of a scan,
/// the taps of a convolution), then the functions it computes.
std::string describeNest(mlir::Operation *nest);

} // namespace ssm

#endif // SSM_PASSES_CPU_KERNELNAMES_H
