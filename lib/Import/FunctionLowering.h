//===- FunctionLowering.h - Lowering of a graph function --------*- C++ -*-===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef SSM_LIB_IMPORT_FUNCTIONLOWERING_H
#define SSM_LIB_IMPORT_FUNCTIONLOWERING_H

#include "lib/Analysis/ShapeFacts.h"
#include "lib/Import/LoweringContext.h"
#include "llvm/ADT/DenseMap.h"

namespace ssm::onnx {

/// Walks the nodes of one graph function in order and builds the tensor stage's
/// form of it. Knows the lowered form of every value and the run-time value of
/// every symbol.
class FunctionLowering {
public:
  explicit FunctionLowering(ShapeFacts &facts) : facts(facts) {}

  ShapeFacts &facts;

  void setLowered(mlir::Value graphValue, mlir::Value lowered);
  mlir::Value getLowered(mlir::Value graphValue) const { return values.lookup(graphValue); }

  /// Lowers constants, weights and nodes of a block at the builder's insertion
  /// point. The terminator is left to the caller.
  llvm::LogicalResult lowerBlock(mlir::Block &block, mlir::OpBuilder &builder);

  /// The value of a symbol, made where its source is defined.
  mlir::Value symbolValue(mlir::AffineExpr symbol, mlir::OpBuilder &builder);
  bool isBound(mlir::AffineExpr expr) const;
  void bind(mlir::AffineExpr symbol, mlir::Value index);

  /// Symbols bound inside a region hold there only.
  class Scope {
  public:
    explicit Scope(FunctionLowering &function) : function(function), saved(function.sources) {}
    ~Scope() { function.sources = std::move(saved); }

  private:
    FunctionLowering &function;
    llvm::DenseMap<unsigned, std::tuple<mlir::Value, int, int64_t>> saved;
  };

private:
  llvm::LogicalResult lowerNode(NodeOp node, mlir::OpBuilder &builder);
  /// Emits a small integer tensor from what is known of its elements, if they all
  /// have values.
  bool lowerFromElements(NodeOp node, mlir::OpBuilder &builder);

  llvm::DenseMap<mlir::Value, mlir::Value> values;
  /// By symbol: an index value (kind 0), or dimension `n` (kind 1) or element `n`
  /// (kind 2) of a tensor.
  llvm::DenseMap<unsigned, std::tuple<mlir::Value, int, int64_t>> sources;
};

/// The lowered form of a constant: signless, bool as i8.
mlir::DenseElementsAttr lowerConstant(mlir::DenseElementsAttr attr);

} // namespace ssm::onnx

#endif // SSM_LIB_IMPORT_FUNCTIONLOWERING_H
