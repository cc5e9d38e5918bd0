//===- Indexing.h - What gathers and scatters share -------------*- C++ -*-===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Input 0 is the data, input 1 the indices.
//
//===----------------------------------------------------------------------===//

#ifndef SSM_LIB_IMPORT_OPERATORS_INDEXING_H
#define SSM_LIB_IMPORT_OPERATORS_INDEXING_H

#include "lib/Import/LoweringContext.h"

namespace ssm::onnx {

/// GatherElements, ScatterElements: indices have the data's rank and reach no
/// further than it on the axes that are not indexed.
llvm::LogicalResult requireElementIndices(InferContext &ctx, int64_t axis);
/// The same at run time, where inference could not tell.
void checkElementIndices(LoweringContext &ctx, int64_t axis);

/// GatherND, ScatterND: the last axis of the indices holds tuples of a known
/// length, which is returned.
mlir::FailureOr<int64_t> requireIndexTuples(InferContext &ctx, int64_t batchDims);
/// The tuples' components, each an i64 tensor of the indices' shape with a last
/// axis of size 1, checked and brought into range.
llvm::SmallVector<TensorValue> checkedTuples(LoweringContext &ctx, int64_t batchDims,
                                             int64_t length);

} // namespace ssm::onnx

#endif // SSM_LIB_IMPORT_OPERATORS_INDEXING_H
