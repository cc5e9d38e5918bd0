//===- WeightValues.h - What follows from weights alone --------*- C++ -*-===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef SSM_LIB_ANALYSIS_WEIGHTVALUES_H
#define SSM_LIB_ANALYSIS_WEIGHTVALUES_H

#include "mlir/IR/Value.h"
#include "llvm/ADT/DenseMap.h"

namespace ssm {

/// Marks an argument of a private function that is a weight in every call.
inline constexpr llvm::StringLiteral kWeightArgument = "ssm.weight";
/// The same of an input of the run, which nothing writes while it lasts.
inline constexpr llvm::StringLiteral kInputArgument = "ssm.input";

/// Tells what is computed from weights alone, and remembers it: the operations must
/// stay as they are while it is asked.
class WeightValues {
public:
  /// As the function below.
  bool isFromWeights(mlir::Value value) { return sourceOf(value) == FromWeights; }

private:
  enum Source { Constant, FromWeights, Other };
  Source sourceOf(mlir::Value value);
  Source computeSource(mlir::Value value);
  llvm::DenseMap<mlir::Value, Source> known;
};

/// Whether a value is a weight or of fixed size and computed from weights and
/// constants alone, at least one weight among them: what is made of it costs nothing
/// at run time.
bool isFromWeights(mlir::Value value);

} // namespace ssm

#endif // SSM_LIB_ANALYSIS_WEIGHTVALUES_H
