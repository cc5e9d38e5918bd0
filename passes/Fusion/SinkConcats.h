//===- SinkConcats.h - What follows a Concat, piece by piece ----*- C++ -*-===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef SSM_PASSES_FUSION_SINKCONCATS_H
#define SSM_PASSES_FUSION_SINKCONCATS_H

#include "mlir/IR/Block.h"
#include "mlir/IR/PatternMatch.h"

namespace ssm {

/// Where a tensor that is put together of up to four pieces along one axis (a Concat, a Pad of one
/// value, a Slice of either) is read by one kernel alone, which computes each index of that axis
/// by itself: the kernel is computed for each piece, where that lies, and what these give is put
/// together. Returns whether anything changed; what the pieces come from may then be fused.
bool sinkConcats(mlir::IRRewriter &rewriter, mlir::Block &block);

} // namespace ssm

#endif // SSM_PASSES_FUSION_SINKCONCATS_H
