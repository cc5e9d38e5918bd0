//===- SequenceModels.h - What operators of sequence models share -*- C++ -*-===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef SSM_LIB_IMPORT_OPERATORS_SEQUENCEMODELS_H
#define SSM_LIB_IMPORT_OPERATORS_SEQUENCEMODELS_H

#include "lib/Import/LoweringContext.h"

namespace ssm::onnx {

class OperatorTable;

/// Of two sizes that must be equal, the one that tells more.
mlir::AffineExpr betterSize(mlir::AffineExpr a, mlir::AffineExpr b);

/// Error if two sizes cannot be equal; then the better one.
mlir::FailureOr<mlir::AffineExpr> mergeSizes(InferContext &ctx, mlir::AffineExpr a,
                                             mlir::AffineExpr b, const llvm::Twine &what);

/// Error unless every input of `indices` that is there has the rank.
llvm::LogicalResult requireRanks(InferContext &ctx, std::initializer_list<unsigned> indices,
                                 int64_t min, int64_t max);
llvm::LogicalResult requireFloats(InferContext &ctx, std::initializer_list<unsigned> indices);

/// size / divisor, which inference showed or the run checks to leave no rest.
mlir::AffineExpr exactQuotient(LoweringContext &ctx, mlir::AffineExpr size,
                               mlir::AffineExpr divisor, const llvm::Twine &what);

/// The same as an expression if it can be told before the run, or null. Error if a
/// constant size has a rest.
mlir::FailureOr<mlir::AffineExpr> inferQuotient(InferContext &ctx, mlir::AffineExpr size,
                                                int64_t divisor, const llvm::Twine &what);

/// Input i with the sizes `dims`, that are checked to be its own.
TensorValue withSizes(LoweringContext &ctx, unsigned i, llvm::ArrayRef<mlir::AffineExpr> dims);

void registerLinearAttentionOperators(OperatorTable &table);
void registerCausalConvOperators(OperatorTable &table);
void registerAttentionOperators(OperatorTable &table);
void registerRotaryOperators(OperatorTable &table);

} // namespace ssm::onnx

#endif // SSM_LIB_IMPORT_OPERATORS_SEQUENCEMODELS_H
