//===- GraphBuilder.h - One model as a function of onnx.node ----*- C++ -*-===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef SSM_LIB_IMPORT_GRAPHBUILDER_H
#define SSM_LIB_IMPORT_GRAPHBUILDER_H

#include "dialects/ONNX/ONNXOps.h"
#include "lib/Import/Importer.h"
#include "lib/Import/Reader/FunctionMap.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/Builders.h"
#include "mlir/IR/SymbolTable.h"
#include "llvm/ADT/StringMap.h"

namespace ssm::onnx {

/// Builds the function of one model; results of nodes and arguments of nested
/// graphs are left `!onnx.unknown`. Models that pass the reader's checks have
/// every name defined before its uses.
class GraphBuilder {
public:
  GraphBuilder(mlir::ModuleOp module, const Model &model, ImportedWeights &weights,
               const ImportOptions &options);

  /// Emits an error and returns null if it cannot be built. No other symbol of the
  /// module has the name.
  mlir::func::FuncOp build(llvm::StringRef entry);

private:
  /// What names mean in the model's graph or in one call of a function.
  struct Frame {
    llvm::ArrayRef<OpsetImport> imports;
    /// Goes before the names of nodes: the calls around them.
    std::string prefix;
    /// Values of the open graphs, the innermost last.
    std::vector<llvm::DenseMap<llvm::StringRef, mlir::Value>> scopes;
    /// Attributes that the call gives or the function has by default.
    llvm::StringMap<const NodeAttribute *> attributes;

    mlir::Value lookup(llvm::StringRef name) const;
    void define(llvm::StringRef name, mlir::Value value);
  };

  /// After inlining. A few functions can call each other to any number of nodes.
  static constexpr unsigned maxNodes = 1u << 20;
  /// Graphs in nodes and calls in functions.
  static constexpr unsigned maxDepth = 128;

  llvm::LogicalResult buildInputs(llvm::StringRef entry);
  void buildOutputs();
  llvm::LogicalResult buildInitializers(const Graph &graph, Frame &frame);
  llvm::LogicalResult buildNodes(llvm::ArrayRef<Node> nodes, Frame &frame);
  llvm::LogicalResult buildNode(const Node &node, Frame &frame);
  llvm::LogicalResult buildOperator(const Node &node, int64_t version, Frame &frame);
  llvm::LogicalResult buildRegion(mlir::Region &region, const Graph &graph, Frame &frame);
  llvm::LogicalResult inlineFunction(const Node &node, const Function &function, Frame &frame);

  /// The value of a Constant node as a constant or weight. Null value if it is not
  /// a number or tensor; failure after an error.
  mlir::FailureOr<mlir::Value> buildConstantNode(const Node &node, Frame &frame);
  /// A weight or, if it is small, a constant. Null after an error.
  mlir::Value buildTensor(WeightSource source, llvm::StringRef name, mlir::Location loc);
  mlir::Value buildWeight(WeightSource source, mlir::RankedTensorType type, llvm::StringRef name,
                          mlir::Location loc);
  mlir::Value getAbsent();
  mlir::Value lookupInput(llvm::StringRef name, const Frame &frame);
  /// The attribute, or the one of the call that it refers to; null if that is left
  /// out.
  const NodeAttribute *resolve(const NodeAttribute &attribute, const Frame &frame);

  std::string nameOf(const Node &node, const Frame &frame);
  mlir::Location nameLoc(const llvm::Twine &name);
  llvm::LogicalResult error(const llvm::Twine &what, const llvm::Twine &message);
  llvm::LogicalResult error(const Node &node, const Frame &frame, const llvm::Twine &message);

  mlir::MLIRContext *context;
  mlir::SymbolTable symbols;
  const Model &model;
  FunctionMap functions;
  ImportedWeights &weights;
  const ImportOptions &options;
  mlir::OpBuilder b;
  mlir::func::FuncOp function;
  mlir::Value absent;
  Frame main;
  unsigned numNodes = 0, depth = 0;
};

} // namespace ssm::onnx

#endif // SSM_LIB_IMPORT_GRAPHBUILDER_H
