//===- TensorMapOp.h - Maps for bulk copies ---------------------*- C++ -*-===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef SSM_DIALECTS_SSM_TENSORMAPOP_H
#define SSM_DIALECTS_SSM_TENSORMAPOP_H

#include "dialects/SSM/SSMOps.h"

#define GET_OP_CLASSES
#include "dialects/SSM/TensorMapOp.h.inc"

namespace ssm {

/// Of a kernel on a device: the numbers of its arguments that are tensor maps.
inline constexpr llvm::StringLiteral kTensorMapsAttr = "ssm.tensor_maps";

bool isTensorMap(mlir::Operation *kernel, unsigned argument);

} // namespace ssm

#endif // SSM_DIALECTS_SSM_TENSORMAPOP_H
