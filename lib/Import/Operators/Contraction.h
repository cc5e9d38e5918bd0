//===- Contraction.h - What MatMul, Gemm, Einsum and Conv share -*- C++ -*-===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// All of them but Conv are products of tensors whose axes have labels, summed over
// the labels that the result lacks.
//
//===----------------------------------------------------------------------===//

#ifndef SSM_LIB_IMPORT_OPERATORS_CONTRACTION_H
#define SSM_LIB_IMPORT_OPERATORS_CONTRACTION_H

#include "lib/Import/LoweringContext.h"
#include "lib/Import/OperatorTable.h"

namespace ssm::onnx {

void registerMatMulOperators(OperatorTable &table);
void registerEinsumOperators(OperatorTable &table);
void registerConvOperators(OperatorTable &table);

using Labels = llvm::SmallVector<int, 6>;
using LabelSizes = llvm::DenseMap<int, mlir::AffineExpr>;

/// Stands for an axis of size 1 that is read at 0 whatever the loops do.
inline constexpr int kBroadcastAxis = -1;

/// A tensor with one label for each axis.
struct LabelledTensor {
  TensorValue tensor;
  Labels labels;
};

/// Gives a size that inference left open its value: the one size that is not 1.
/// Checks that there is only one.
void bindBroadcastSize(LoweringContext &ctx, mlir::AffineExpr size,
                       llvm::ArrayRef<mlir::AffineExpr> operands);

/// Makes every axis as long as its label, with a check at run time where that is
/// not known. Axes of size 1 become kBroadcastAxis. Where `mayBroadcast` says so, an
/// axis of unknown size may turn out to be 1: then, at run time, the tensor is expanded.
void fitToLabels(LoweringContext &ctx, LabelledTensor &operand, const LabelSizes &sizes,
                 llvm::function_ref<bool(int)> mayBroadcast);

/// The product of two tensors that fit their labels, with the axes `result`, summed
/// over all other labels. The result has ONNX element type `type`.
LabelledTensor contractLabels(LoweringContext &ctx, const LabelledTensor &lhs,
                              const LabelledTensor &rhs, llvm::ArrayRef<int> result,
                              const LabelSizes &sizes, mlir::Type type);

/// Factors of the products of bytes: i8 or u8.
llvm::LogicalResult requireByte(InferContext &ctx, unsigned i);
/// One of them in i32.
mlir::Value widenByte(mlir::ImplicitLocOpBuilder &b, mlir::Value byte, mlir::Type type);
/// Whether input i is left out, or known to be all zeros.
bool isZeroPointOfZero(LoweringContext &ctx, unsigned i);

} // namespace ssm::onnx

#endif // SSM_LIB_IMPORT_OPERATORS_CONTRACTION_H
