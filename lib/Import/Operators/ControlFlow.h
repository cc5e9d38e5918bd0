//===- ControlFlow.h - What If, Loop and Scan share -------------*- C++ -*-===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef SSM_LIB_IMPORT_OPERATORS_CONTROLFLOW_H
#define SSM_LIB_IMPORT_OPERATORS_CONTROLFLOW_H

#include "lib/Import/LoweringContext.h"

namespace ssm::onnx {

class OperatorTable;

/// Tells symbols that were made for values of a region from those known outside:
/// the former have no value where the results of the node are used. Symbols that
/// are derived from others are known where those are.
class SymbolMark {
public:
  explicit SymbolMark(const ShapeFacts &facts) : facts(facts), first(facts.getNumSymbols()) {}
  bool isLocal(mlir::AffineExpr expr) const;
  /// The expression, or null if it has a local symbol.
  mlir::AffineExpr outside(mlir::AffineExpr expr) const {
    return !expr || isLocal(expr) ? mlir::AffineExpr() : expr;
  }
  Dims outside(llvm::ArrayRef<mlir::AffineExpr> exprs) const;

private:
  const ShapeFacts &facts;
  unsigned first;
};

/// The values that a subgraph gives.
mlir::OperandRange yieldedValues(mlir::Region &region);

/// Error unless the subgraph gives `count` values, tensors all. `name` is that of
/// the graph attribute.
llvm::LogicalResult checkYields(InferContext &ctx, mlir::Region &region, llvm::StringRef name,
                                size_t count);

/// Error unless input i may be a tensor of one element.
llvm::LogicalResult requireOneElement(InferContext &ctx, unsigned i);
/// The element of such an input, compute-typed; its sizes are checked if unknown.
mlir::Value oneElement(LoweringContext &ctx, unsigned i);

/// The stored tensor type of an ONNX element type and sizes.
mlir::RankedTensorType storedType(llvm::ArrayRef<mlir::AffineExpr> dims, mlir::Type type);
/// The value as a tensor of that type, equal up to sizes that inference proved.
mlir::Value castTo(mlir::OpBuilder &builder, mlir::Location loc, mlir::Value value,
                   mlir::RankedTensorType type);

/// The sizes, at run time, of what a step gives, found by running the first step
/// for its sizes alone (the computation is dead and goes away): for outputs whose
/// element sizes only the body knows. All sizes are 0 if `runs` (i1) is false.
/// `step` builds the step at the insertion point of ctx.b and returns its values.
mlir::FailureOr<llvm::SmallVector<llvm::SmallVector<mlir::Value>>>
probeSizes(LoweringContext &ctx, mlir::Value runs,
           llvm::function_ref<mlir::FailureOr<llvm::SmallVector<mlir::Value>>()> step);

/// Ends the run unless the tensor has the sizes; sizes that are known to be equal
/// cost nothing. `what` names the tensor.
void checkSizes(LoweringContext &ctx, mlir::Value tensor, llvm::ArrayRef<mlir::OpFoldResult> sizes,
                const llvm::Twine &what);

void registerLoopOperators(OperatorTable &table);
void registerScanOperators(OperatorTable &table);

} // namespace ssm::onnx

#endif // SSM_LIB_IMPORT_OPERATORS_CONTROLFLOW_H
