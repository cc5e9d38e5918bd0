//===- Reductions.h - Building blocks of reductions -------------*- C++ -*-===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef SSM_LIB_IMPORT_OPERATORS_REDUCTIONS_H
#define SSM_LIB_IMPORT_OPERATORS_REDUCTIONS_H

#include "lib/Import/LoweringContext.h"

namespace ssm::onnx {

class OperatorTable;

mlir::Value floatConstant(mlir::ImplicitLocOpBuilder &b, mlir::Type type, double value);
/// A size as a float scalar.
mlir::Value floatSize(LoweringContext &ctx, mlir::AffineExpr size, mlir::Type type);

/// A tensor reduced over `axes` of `dims` with sizes of 1 in their place.
TensorValue keepAxes(LoweringContext &ctx, const TensorValue &reduced,
                     llvm::ArrayRef<mlir::AffineExpr> dims, llvm::ArrayRef<int64_t> axes);
/// The number of elements along `axes`.
mlir::AffineExpr countOver(LoweringContext &ctx, llvm::ArrayRef<mlir::AffineExpr> dims,
                           llvm::ArrayRef<int64_t> axes);
/// Maximum of floats over `axes`, in the accumulator's type; -inf for none.
TensorValue maxOver(LoweringContext &ctx, const TensorValue &input, llvm::ArrayRef<int64_t> axes);
/// Sum over `axes` of term(element), of the elements if there is no term, in the
/// accumulator's type.
TensorValue
sumOver(LoweringContext &ctx, const TensorValue &input, llvm::ArrayRef<int64_t> axes,
        llvm::function_ref<mlir::Value(mlir::ImplicitLocOpBuilder &, mlir::Value)> term = nullptr);
/// exp(x - max) / sum over `axes`, in the accumulator's type. Where every element
/// is -inf the result is NaN, or 0 if `emptyIsZero`.
TensorValue softmaxOver(LoweringContext &ctx, const TensorValue &input,
                        llvm::ArrayRef<int64_t> axes, bool emptyIsZero = false);

void registerSoftmaxOperators(OperatorTable &table);

} // namespace ssm::onnx

#endif // SSM_LIB_IMPORT_OPERATORS_REDUCTIONS_H
