//===- BufferizableOps.h - Bufferization of the ssm dialect --------------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef SSM_PASSES_MEMORY_BUFFERIZABLEOPS_H
#define SSM_PASSES_MEMORY_BUFFERIZABLEOPS_H

namespace mlir {
class DialectRegistry;
}

namespace ssm {
/// Registers how operations of the ssm dialect on tensors bufferize.
void registerBufferizableOps(mlir::DialectRegistry &registry);
} // namespace ssm

#endif // SSM_PASSES_MEMORY_BUFFERIZABLEOPS_H
