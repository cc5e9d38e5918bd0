//===- EmitMatmul.cpp - Matmul ---------------------------------------------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "passes/Vector/EmitKernels.h"
#include "passes/Vector/PointEmitter.h"

using namespace mlir;
using namespace ssm;

LogicalResult ssm::emitMatmul(KernelOp kernel, ImplicitLocOpBuilder &b) { return failure(); }
