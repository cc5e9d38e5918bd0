//===- KernelMerge.h - Two kernels become one -------------------*- C++ -*-===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef SSM_DIALECTS_SSM_KERNELMERGE_H
#define SSM_DIALECTS_SSM_KERNELMERGE_H

#include "dialects/SSM/SSMOps.h"
#include "mlir/IR/PatternMatch.h"

namespace ssm {

/// Where results of a producer stay that others than the consumer use.
enum class KeepResults {
  InMerged,   ///< They become results of the merged kernel.
  InProducer, ///< The producer stays for them: its work is done twice.
};

/// Joins the regions of two kernels on tensors, of which the second reads results
/// of the first, in place of the second. The consumer's loops keep their numbers.
/// Each loop of the producer that indexes such a result becomes what the consumer
/// reads the result at; where it reads it in several ways, the producer's region is
/// there several times. The producer's other loops become new loops, or the loop of
/// the consumer that runs along the same axis of the same operand, if both read the
/// operand alike otherwise.
///
/// A producer with time needs a consumer that reads, at each step, what that step
/// has given: in the same order, the time not reduced over, and no last carries.
/// A consumer with time takes producers without; inputs that it reads against time
/// are then read so by the producer's part.
///
/// Two kernels without time of one block, of which the second does not read the
/// first, are joined as well, on common loops where results of both have equal sizes.
///
/// Results of the merged kernel: the producer's carries, the consumer's carries, the
/// producer's results that stay, the consumer's results. On failure nothing has
/// changed, and `why` tells the reason.
mlir::FailureOr<KernelOp> mergeKernels(mlir::RewriterBase &rewriter, KernelOp producer,
                                       KernelOp consumer, KeepResults keep,
                                       llvm::StringRef *why = nullptr);

} // namespace ssm

#endif // SSM_DIALECTS_SSM_KERNELMERGE_H
