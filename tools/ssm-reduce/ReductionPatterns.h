//===- ReductionPatterns.h - How one operation is made smaller --*- C++ -*-===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef SSM_TOOLS_SSM_REDUCE_REDUCTIONPATTERNS_H
#define SSM_TOOLS_SSM_REDUCE_REDUCTIONPATTERNS_H

namespace mlir {
class DialectRegistry;
}

namespace ssm {
/// Operations of any dialect: one that nothing uses goes; the result of another
/// gives way to an operand of its type. Numbers change, the module stays valid.
void registerReductionPatterns(mlir::DialectRegistry &registry);
} // namespace ssm

#endif // SSM_TOOLS_SSM_REDUCE_REDUCTIONPATTERNS_H
