//===- WeightSources.h - Where the bytes of weights come from ---*- C++ -*-===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef SSM_LIB_PACKAGE_WEIGHTSOURCES_H
#define SSM_LIB_PACKAGE_WEIGHTSOURCES_H

#include "dialects/SSM/SSMOps.h"
#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/STLFunctionalExtras.h"
#include "llvm/Support/Error.h"

namespace ssm {

using WeightSink = llvm::function_ref<llvm::Error(llvm::ArrayRef<uint8_t> piece)>;

class WeightSources {
public:
  virtual ~WeightSources() = default;

  /// Gives the `length` bytes of a weight without `init` to the sink, in order,
  /// in pieces of a few MiB at most: they need not fit into memory.
  virtual llvm::Error read(WeightOp weight, WeightSink sink) = 0;
};

/// Sets the attribute `hash` (XXH3_64bits) of the weight if it has none.
llvm::Error hashWeight(WeightOp weight, WeightSources &sources);

} // namespace ssm

#endif // SSM_LIB_PACKAGE_WEIGHTSOURCES_H
