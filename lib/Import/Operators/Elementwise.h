//===- Elementwise.h - What the elementwise operators share -----*- C++ -*-===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The family is split by kind: ElementwiseArithmetic.cpp (Add, Pow, Max, ...),
// ElementwiseMath.cpp (Exp, Sin, Neg, ...), ElementwiseActivations.cpp (Gelu, ...),
// ElementwiseLogic.cpp (comparisons, bits, Where), ElementwiseConversion.cpp (Cast,
// Clip, Identity, ...).
//
//===----------------------------------------------------------------------===//

#ifndef SSM_LIB_IMPORT_OPERATORS_ELEMENTWISE_H
#define SSM_LIB_IMPORT_OPERATORS_ELEMENTWISE_H

#include "lib/Import/LoweringContext.h"
#include "lib/Import/OperatorTable.h"
#include "mlir/Dialect/Arith/IR/Arith.h"

namespace ssm::onnx {

void registerArithmeticOperators(OperatorTable &table);
void registerMathOperators(OperatorTable &table);
void registerActivationOperators(OperatorTable &table);
void registerLogicOperators(OperatorTable &table);
void registerConversionOperators(OperatorTable &table);

/// f16, bf16, f32, f64.
bool isRealType(mlir::Type type);
/// A real type or an integer of 8 to 64 bits; not bool.
bool isNumberType(mlir::Type type);
llvm::LogicalResult requireReal(InferContext &ctx, unsigned i);
llvm::LogicalResult requireNumber(InferContext &ctx, unsigned i);

/// Scalar constants of a compute type.
mlir::Value realConstant(mlir::ImplicitLocOpBuilder &b, mlir::Type type, double value);
mlir::Value intConstant(mlir::ImplicitLocOpBuilder &b, mlir::Type type, int64_t value);
/// 0 of a compute type, integer or real.
mlir::Value zeroConstant(mlir::ImplicitLocOpBuilder &b, mlir::Type type);

/// x * sigmoid(alpha * x).
mlir::Value swish(mlir::ImplicitLocOpBuilder &b, mlir::Value x, double alpha = 1);

/// Broadcasts the sizes of all inputs. Error if one is left out.
mlir::FailureOr<Dims> broadcastInputs(InferContext &ctx);

/// The expression as an element of a tensor of that integer type: constants wrap.
/// Null where the expression is not what the type would hold.
mlir::AffineExpr fitElement(const ShapeFacts &facts, mlir::AffineExpr value, mlir::Type type);

/// Sets the elements of result 0 from those of the first `numInputs` inputs (all if
/// not given), broadcast; `combine` may give null. Does nothing where elements are
/// not tracked.
void inferElements(InferContext &ctx,
                   llvm::function_ref<mlir::AffineExpr(llvm::ArrayRef<mlir::AffineExpr>)> combine,
                   std::optional<unsigned> numInputs = std::nullopt);

/// Whether a < b, a >= b hold for all values of the symbols; nothing if not known.
std::optional<bool> knownLess(const ShapeFacts &facts, mlir::AffineExpr a, mlir::AffineExpr b);
std::optional<bool> knownEqual(const ShapeFacts &facts, mlir::AffineExpr a, mlir::AffineExpr b);

/// The result has the type and sizes of input 0, a real type.
llvm::LogicalResult inferRealUnary(InferContext &ctx);
/// The same for a number type.
llvm::LogicalResult inferNumberUnary(InferContext &ctx);

/// Maps one compute-typed scalar of input 0 to one of the result's type.
template <mlir::Value (*Body)(mlir::ImplicitLocOpBuilder &, mlir::Value)>
llvm::LogicalResult lowerUnary(LoweringContext &ctx) {
  auto body = [](mlir::ImplicitLocOpBuilder &b, mlir::ValueRange args) { return Body(b, args[0]); };
  Dims dims(ctx.resultDims(0));
  ctx.set(0, ctx.map({ctx.get(0)}, dims, ctx.resultElementType(0), body).value);
  return llvm::success();
}

} // namespace ssm::onnx

#endif // SSM_LIB_IMPORT_OPERATORS_ELEMENTWISE_H
