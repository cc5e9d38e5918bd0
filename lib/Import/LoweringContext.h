//===- LoweringContext.h - Lowering of one node to tensors ------*- C++ -*-===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Tensors of the tensor stage are stored signless; bool is i8 with 0 or 1 (LLVM
// does not vectorise loops over i1). ONNX's own element types, which tell signed
// from unsigned and bool from i8, stay available as elementType(i). Scalar bodies
// see compute types: bool as i1, f16, bf16 and 8-bit floats as f32.
//
//===----------------------------------------------------------------------===//

#ifndef SSM_LIB_IMPORT_LOWERINGCONTEXT_H
#define SSM_LIB_IMPORT_LOWERINGCONTEXT_H

#include "lib/Import/InferContext.h"
#include "mlir/Dialect/Utils/StructuredOpsUtils.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"

namespace ssm::onnx {

/// How a tensor of that ONNX element type is stored: signless, bool as i8.
mlir::Type storageType(mlir::Type onnxElementType);
/// e4m3fn and e5m2, which Cast alone takes and gives.
bool isFloat8(mlir::Type onnxElementType);
/// What scalar code computes with: f32 for shorter floats, i1 for bool, signless.
mlir::Type computeType(mlir::Type onnxElementType);
/// What sums of that element type are kept in: f32 for f16 and bf16, else itself.
mlir::Type accumulatorType(mlir::Type onnxElementType);
bool isUnsigned(mlir::Type onnxElementType);
bool isBool(mlir::Type onnxElementType);

/// A tensor of the tensor stage with its ONNX element type and sizes.
struct TensorValue {
  mlir::Value value; // tensor of storageType(type)
  mlir::Type type;   // ONNX element type
  Dims dims;
};

/// State of one function's lowering, shared by all nodes. One for each function.
class FunctionLowering;

/// Scalar code: gets compute-typed scalars, one for each input; returns one
/// compute-typed scalar for each result.
using ScalarBody = llvm::function_ref<llvm::SmallVector<mlir::Value>(mlir::ImplicitLocOpBuilder &,
                                                                     mlir::ValueRange)>;
/// The same with the indices of the element.
using IndexedBody = llvm::function_ref<llvm::SmallVector<mlir::Value>(
    mlir::ImplicitLocOpBuilder &, mlir::ValueRange indices, mlir::ValueRange)>;

class LoweringContext : public NodeReader {
public:
  LoweringContext(NodeOp node, FunctionLowering &function, mlir::OpBuilder &builder);

  mlir::ImplicitLocOpBuilder b;
  ShapeFacts &facts;

  //===--------------------------------------------------------------------===//
  // Operands and results
  //===--------------------------------------------------------------------===//
  /// Input i, lowered.
  TensorValue get(unsigned i);
  mlir::Value lowered(unsigned i) { return get(i).value; }
  llvm::ArrayRef<mlir::AffineExpr> dims(unsigned i) { return facts.dims(input(i)); }
  llvm::ArrayRef<mlir::AffineExpr> resultDims(unsigned i) { return facts.dims(output(i)); }
  mlir::Type resultElementType(unsigned i) { return outputType(i).getElementType(); }
  std::optional<llvm::ArrayRef<mlir::AffineExpr>> elements(unsigned i) {
    return facts.elements(input(i));
  }
  /// Sets result i. The value is cast to the static shape that inference gave;
  /// symbols first met here are bound to the value's sizes.
  void set(unsigned i, mlir::Value value);

  //===--------------------------------------------------------------------===//
  // Sizes
  //===--------------------------------------------------------------------===//
  /// The value of an expression as `index`. All its symbols must be bound: those
  /// of operands are.
  mlir::Value size(mlir::AffineExpr expr);
  mlir::OpFoldResult foldedSize(mlir::AffineExpr expr);
  llvm::SmallVector<mlir::OpFoldResult> sizes(llvm::ArrayRef<mlir::AffineExpr> exprs);
  mlir::Value index(int64_t value);
  /// Gives a symbol that inference made fresh its value.
  void bind(mlir::AffineExpr symbol, mlir::Value index);
  /// Whether the symbol has a value already.
  bool isBound(mlir::AffineExpr symbol);

  //===--------------------------------------------------------------------===//
  // Tensors
  //===--------------------------------------------------------------------===//
  /// An uninitialised tensor of an ONNX element type (stored form).
  mlir::Value empty(llvm::ArrayRef<mlir::AffineExpr> dims, mlir::Type type);
  /// All elements set to a compute-typed scalar.
  mlir::Value filled(llvm::ArrayRef<mlir::AffineExpr> dims, mlir::Type type, mlir::Value scalar);
  TensorValue make(mlir::Value value, mlir::Type type, llvm::ArrayRef<mlir::AffineExpr> dims) {
    return {value, type, Dims(dims)};
  }
  /// Scalar conversions between stored and compute form, inside any body.
  static mlir::Value load(mlir::ImplicitLocOpBuilder &b, mlir::Value stored, mlir::Type type);
  static mlir::Value store(mlir::ImplicitLocOpBuilder &b, mlir::Value computed, mlir::Type type);
  /// Reads one element, compute-typed. Inside a body, with the body's builder.
  static mlir::Value extract(mlir::ImplicitLocOpBuilder &b, const TensorValue &tensor,
                             mlir::ValueRange indices);
  mlir::Value extract(const TensorValue &tensor, mlir::ValueRange indices) {
    return extract(b, tensor, indices);
  }

  /// result[i...] = body(inputs[i...]) with ONNX's broadcasting of each input to
  /// `dims`. Sizes that are not known to be equal or 1 are checked at run time. If
  /// `dims` has unbound symbols they are bound to the broadcast size. Results have
  /// ONNX element types `types`. Small static integer and bool tensors become
  /// scalar arithmetic and tensor.from_elements.
  llvm::SmallVector<TensorValue> elementwise(llvm::ArrayRef<TensorValue> inputs,
                                             llvm::ArrayRef<mlir::AffineExpr> dims,
                                             llvm::ArrayRef<mlir::Type> types, IndexedBody body);
  /// The same for one result without indices.
  TensorValue
  map(llvm::ArrayRef<TensorValue> inputs, llvm::ArrayRef<mlir::AffineExpr> dims, mlir::Type type,
      llvm::function_ref<mlir::Value(mlir::ImplicitLocOpBuilder &, mlir::ValueRange)> body);

  /// result[i...] = body(i...), each element computed from its indices alone (it
  /// may read tensors by extract with indices it made: they must be in range).
  TensorValue
  generate(llvm::ArrayRef<mlir::AffineExpr> dims, mlir::Type type,
           llvm::function_ref<mlir::Value(mlir::ImplicitLocOpBuilder &, mlir::ValueRange)> body);

  /// Reduces `axes`. acc starts as `init` (of `accType`, a compute type) and
  /// becomes body(acc, element, all indices) in index order. The result keeps the
  /// other axes, has ONNX element type `accType`.
  TensorValue reduce(const TensorValue &input, llvm::ArrayRef<int64_t> axes, mlir::Type accType,
                     mlir::Value init,
                     llvm::function_ref<mlir::Value(mlir::ImplicitLocOpBuilder &, mlir::Value acc,
                                                    mlir::Value element)>
                         body);

  /// Sum over the indices that `resultMap` lacks of lhs*rhs, by affine maps over
  /// common loops (as linalg.generic). Accumulates in f32 for f16 and bf16, in f64
  /// for f64, in i32/i64 for integers; gives the accumulated tensor in ONNX element type
  /// `type`. `loopDims` are the sizes of the loops, results first.
  TensorValue contract(const TensorValue &lhs, const TensorValue &rhs, mlir::AffineMap lhsMap,
                       mlir::AffineMap rhsMap, mlir::AffineMap resultMap,
                       llvm::ArrayRef<mlir::AffineExpr> loopDims, mlir::Type type);

  TensorValue transpose(const TensorValue &input, llvm::ArrayRef<int64_t> perm);
  /// Same elements, other sizes; the products must be equal (checked by callers).
  TensorValue reshape(const TensorValue &input, llvm::ArrayRef<mlir::AffineExpr> dims);
  /// Strided slice: sizes must be in range (checked by callers). Steps positive.
  TensorValue slice(const TensorValue &input, llvm::ArrayRef<mlir::OpFoldResult> offsets,
                    llvm::ArrayRef<mlir::AffineExpr> sizes,
                    llvm::ArrayRef<mlir::OpFoldResult> steps = {});
  TensorValue concat(llvm::ArrayRef<TensorValue> inputs, int64_t axis);
  /// Converts elements as ONNX Cast does.
  TensorValue cast(const TensorValue &input, mlir::Type type);
  /// Broadcasts to `dims` (materialised).
  TensorValue expand(const TensorValue &input, llvm::ArrayRef<mlir::AffineExpr> dims);

  //===--------------------------------------------------------------------===//
  // Checks
  //===--------------------------------------------------------------------===//
  /// Ends the run with `text` ("{0}" stands for the first value) unless `condition`
  /// (i1) holds. Values are index or i64.
  void check(mlir::Value condition, const llvm::Twine &text, mlir::ValueRange values = {});
  /// Checks at run time that two sizes are equal, unless that is known.
  void checkEqual(mlir::AffineExpr a, mlir::AffineExpr b, const llvm::Twine &what);
  /// All indices of an integer tensor, as `index`-typed i64 tensor, checked once to
  /// lie in [-size, size) and brought into [0, size).
  TensorValue checkedIndices(const TensorValue &indices, mlir::AffineExpr size,
                             const llvm::Twine &what);

  //===--------------------------------------------------------------------===//
  // Subgraphs
  //===--------------------------------------------------------------------===//
  /// Lowers a region's nodes at the builder's insertion point with its block
  /// arguments standing for `args`; returns what it yields.
  mlir::FailureOr<llvm::SmallVector<TensorValue>>
  inlineRegion(mlir::OpBuilder &builder, mlir::Region &region, llvm::ArrayRef<TensorValue> args);

  /// Emits "node 'name' (Op): message".
  llvm::LogicalResult error(const llvm::Twine &message);

private:
  /// Computes and binds a derived symbol; null if it is not derived or not bound.
  mlir::Value derivedSize(mlir::AffineExpr symbol);

  FunctionLowering &function;
};

} // namespace ssm::onnx

#endif // SSM_LIB_IMPORT_LOWERINGCONTEXT_H
