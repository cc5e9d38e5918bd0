//===- Layout.h - What layout and indexing operators share ------*- C++ -*-===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Shapes given as tensors, and moving elements as they are stored.
//
//===----------------------------------------------------------------------===//

#ifndef SSM_LIB_IMPORT_OPERATORS_LAYOUT_H
#define SSM_LIB_IMPORT_OPERATORS_LAYOUT_H

#include "lib/Import/LoweringContext.h"
#include "lib/Import/OperatorTable.h"
#include "mlir/Dialect/Arith/IR/Arith.h"

namespace ssm::onnx {

void registerReshapeOperators(OperatorTable &table);
void registerSliceOperators(OperatorTable &table);
void registerPadOperators(OperatorTable &table);
void registerOrderOperators(OperatorTable &table);
void registerOneHotOperators(OperatorTable &table);
void registerGatherOperators(OperatorTable &table);
void registerScatterOperators(OperatorTable &table);
void registerSelectionOperators(OperatorTable &table);
void registerTopKOperators(OperatorTable &table);
void registerExtremeIndexOperators(OperatorTable &table);
void registerCumulativeOperators(OperatorTable &table);

//===----------------------------------------------------------------------===//
// Inference
//===----------------------------------------------------------------------===//

/// The elements of input i, a 1-D (or scalar) integer tensor that says something
/// about the result's shape. Error if their number or they are not known to
/// inference, named as `what`.
mlir::FailureOr<Dims> requireElements(InferContext &ctx, unsigned i, const llvm::Twine &what);
/// The same where the values themselves must be constants.
mlir::FailureOr<llvm::SmallVector<int64_t>> requireConstants(InferContext &ctx, unsigned i,
                                                             const llvm::Twine &what);
/// Whether the values of input i, or the attribute in its place, are known to
/// inference or left out. Otherwise only the run knows them.
bool isKnown(InferContext &ctx, unsigned i);
/// The number of elements of 1-D integer input i. Error if it is not known.
mlir::FailureOr<int64_t> requireCount(InferContext &ctx, unsigned i, const llvm::Twine &what);
/// The size that an element of a tensor asks for. Error if it is a negative
/// constant; lowering checks the others (checkSize).
mlir::FailureOr<mlir::AffineExpr> requireSize(InferContext &ctx, mlir::AffineExpr element,
                                              const llvm::Twine &what);
/// Normalized, different axes of a tensor of that rank. Error if one is out of
/// range or comes twice.
mlir::FailureOr<llvm::SmallVector<int64_t>> requireAxes(InferContext &ctx,
                                                        llvm::ArrayRef<int64_t> axes, int64_t rank);
/// Result 0 has the elements of input 0, in the same order.
void passElements(InferContext &ctx);
/// Error if input i cannot hold just one element (rank 0, or sizes of 1).
llvm::LogicalResult requireScalar(InferContext &ctx, unsigned i, const llvm::Twine &what);

//===----------------------------------------------------------------------===//
// Lowering
//===----------------------------------------------------------------------===//

/// Checks at run time that the element that asks for a size is not negative,
/// unless that is known.
void checkSize(LoweringContext &ctx, mlir::AffineExpr element, const llvm::Twine &what);
/// Checks at run time that a tensor of these sizes can be meant, unless all of
/// `elements`, which asked for them, are known to be sizes of tensors.
void checkCount(LoweringContext &ctx, llvm::ArrayRef<mlir::AffineExpr> elements,
                llvm::ArrayRef<mlir::AffineExpr> dims);
/// The one element of input i, compute-typed; checked to be the only one.
mlir::Value scalarInput(LoweringContext &ctx, unsigned i);
/// The one element of integer input i as i64.
mlir::Value scalarInt(LoweringContext &ctx, unsigned i);
/// The elements of integer input i, whose number is known, as axes of a tensor of
/// that rank: checked to be in range and all different, made non-negative.
llvm::SmallVector<mlir::Value> axesInput(LoweringContext &ctx, unsigned i, int64_t rank);
/// Whether any of the values equals the constant.
mlir::Value isOneOf(mlir::ImplicitLocOpBuilder &b, llvm::ArrayRef<mlir::Value> values,
                    int64_t constant);
/// The product of sizes as `index`.
mlir::Value product(LoweringContext &ctx, llvm::ArrayRef<mlir::AffineExpr> dims);
/// Binds `dim` to the product if inference had to leave it open.
void bindProduct(LoweringContext &ctx, mlir::AffineExpr dim,
                 llvm::ArrayRef<mlir::AffineExpr> factors);

/// result[i...] = body(i...), in stored form: what moves elements without looking
/// at them has no need to convert.
TensorValue generateStored(
    LoweringContext &ctx, llvm::ArrayRef<mlir::AffineExpr> dims, mlir::Type type,
    llvm::function_ref<mlir::Value(mlir::ImplicitLocOpBuilder &, mlir::ValueRange indices)> body);
/// Reads one element as it is stored.
mlir::Value extractStored(mlir::ImplicitLocOpBuilder &b, const TensorValue &tensor,
                          mlir::ValueRange indices);
/// An integer tensor as i64, all its elements checked once to lie in [0, bound].
TensorValue checkedCounts(LoweringContext &ctx, const TensorValue &counts, mlir::Value bound,
                          const llvm::Twine &what);
/// Reads one element of an i64 tensor of checked indices.
mlir::Value extractIndex(mlir::ImplicitLocOpBuilder &b, const TensorValue &indices,
                         mlir::ValueRange at);

/// Visits [0, dims[0]) x [0, dims[1]) x ... in order. The body gets the indices and
/// the carried values and returns the next ones; carried tensors are written in
/// place. Returns the last ones.
llvm::SmallVector<mlir::Value>
loopNest(mlir::ImplicitLocOpBuilder &b, mlir::ValueRange sizes, mlir::ValueRange carried,
         llvm::function_ref<llvm::SmallVector<mlir::Value>(
             mlir::ImplicitLocOpBuilder &, mlir::ValueRange indices, mlir::ValueRange carried)>
             body);
/// The sizes as values.
llvm::SmallVector<mlir::Value> sizeValues(LoweringContext &ctx,
                                          llvm::ArrayRef<mlir::AffineExpr> dims);

/// Whether `a` comes before `b` among compute-typed numbers, greatest first or
/// least first. NaN counts as greatest, as NumPy and PyTorch sort it.
mlir::Value comesBefore(mlir::ImplicitLocOpBuilder &b, mlir::Value a, mlir::Value c,
                        mlir::Type type, bool greatestFirst);

} // namespace ssm::onnx

#endif // SSM_LIB_IMPORT_OPERATORS_LAYOUT_H
