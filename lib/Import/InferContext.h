//===- InferContext.h - Types and sizes of one node's results ---*- C++ -*-===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef SSM_LIB_IMPORT_INFERCONTEXT_H
#define SSM_LIB_IMPORT_INFERCONTEXT_H

#include "dialects/ONNX/ONNXOps.h"
#include "lib/Analysis/ShapeFacts.h"
#include "mlir/IR/BuiltinAttributes.h"

namespace ssm::onnx {

/// Reads the attributes of a node. Wrong kinds cannot occur: checkNodeForm ran.
class NodeReader {
public:
  explicit NodeReader(NodeOp node) : node(node) {}

  NodeOp getNode() const { return node; }
  int64_t version() { return node.getVersion(); }
  mlir::Attribute attr(llvm::StringRef name) { return node.getONNXAttr(name); }
  bool hasAttr(llvm::StringRef name) { return static_cast<bool>(attr(name)); }
  int64_t getInt(llvm::StringRef name, int64_t otherwise);
  double getFloat(llvm::StringRef name, double otherwise);
  llvm::StringRef getString(llvm::StringRef name, llvm::StringRef otherwise);
  std::optional<llvm::SmallVector<int64_t>> getInts(llvm::StringRef name);
  std::optional<llvm::SmallVector<float>> getFloats(llvm::StringRef name);

  unsigned numInputs() { return node.getInputs().size(); }
  unsigned numOutputs() { return node.getOutputs().size(); }
  /// Whether input i is there: given, and not left out.
  bool hasInput(unsigned i);
  /// Whether output i is wanted by the graph.
  bool hasOutput(unsigned i);
  mlir::Value input(unsigned i) { return node.getInputs()[i]; }
  mlir::Value output(unsigned i) { return node.getOutputs()[i]; }
  mlir::RankedTensorType inputType(unsigned i) {
    return mlir::cast<mlir::RankedTensorType>(input(i).getType());
  }
  mlir::RankedTensorType outputType(unsigned i) {
    return mlir::cast<mlir::RankedTensorType>(output(i).getType());
  }
  int64_t rank(unsigned i) { return inputType(i).getRank(); }
  /// Element type in ONNX's meaning: signless is signed, i1 is bool.
  mlir::Type elementType(unsigned i) { return inputType(i).getElementType(); }
  /// The elements of an input that is a constant (onnx.constant), or null.
  mlir::DenseElementsAttr constantInput(unsigned i);

private:
  NodeOp node;
};

/// Handed to OperatorEntry::infer. Operands that are there are ranked tensors
/// with facts. infer must set every wanted result, or return failure after error().
class InferContext : public NodeReader {
public:
  InferContext(NodeOp node, ShapeFacts &facts) : NodeReader(node), facts(facts) {}

  ShapeFacts &facts;

  llvm::ArrayRef<mlir::AffineExpr> dims(unsigned i) { return facts.dims(input(i)); }
  mlir::AffineExpr dim(unsigned i, int64_t axis) { return dims(i)[axis]; }
  /// Elements of a small integer input (1-D or scalar), symbolic.
  std::optional<llvm::ArrayRef<mlir::AffineExpr>> elements(unsigned i) {
    return facts.elements(input(i));
  }
  /// Elements of an integer input if all are known now.
  std::optional<llvm::SmallVector<int64_t>> constantInts(unsigned i);

  /// Emits "node 'name' (Op): message".
  llvm::LogicalResult error(const llvm::Twine &message);
  /// Error unless input i has one of the element types.
  llvm::LogicalResult requireRank(unsigned i, int64_t min, int64_t max);
  llvm::LogicalResult requireSameElementType(unsigned i, unsigned j);
  llvm::LogicalResult requireFloat(unsigned i);
  llvm::LogicalResult requireInteger(unsigned i);
  llvm::LogicalResult requireBool(unsigned i);
  /// Error if the two sizes are different constants; `what` names them.
  llvm::LogicalResult requireEqual(mlir::AffineExpr a, mlir::AffineExpr b, const llvm::Twine &what);
  /// Brings a negative axis into [0, rank); error if it is out of range.
  mlir::FailureOr<int64_t> normalizeAxis(int64_t axis, int64_t rank);

  /// ONNX's (NumPy's) broadcast of sizes. Where neither is known to be 1 and they
  /// are not known to be equal, the result has a fresh symbol that the lowering
  /// must compute and check. Error if two constants disagree.
  mlir::FailureOr<Dims> broadcast(llvm::ArrayRef<mlir::AffineExpr> a,
                                  llvm::ArrayRef<mlir::AffineExpr> b);

  /// Sets type, sizes. Does nothing if the graph does not want result i.
  void setResult(unsigned i, mlir::Type elementType, llvm::ArrayRef<mlir::AffineExpr> dims);
  /// Sets the elements of a small integer result; null ones are replaced by fresh
  /// symbols.
  void setElements(unsigned i, llvm::ArrayRef<mlir::AffineExpr> elements);

  /// Infers all nodes of a region whose block arguments are set.
  llvm::LogicalResult inferRegion(mlir::Region &region);
  /// Sets type, sizes of a block argument of a region.
  void setArgument(mlir::BlockArgument arg, mlir::Type elementType,
                   llvm::ArrayRef<mlir::AffineExpr> dims);
};

/// Infers every node of a block in order, through the operator table.
llvm::LogicalResult inferBlock(mlir::Block &block, ShapeFacts &facts);

/// Infers a graph function: argument types come from its signature, symbols from
/// `onnx.dims`. Fills facts; sets the types of all values and of the function.
llvm::LogicalResult inferFunction(mlir::Operation *function, ShapeFacts &facts);

} // namespace ssm::onnx

#endif // SSM_LIB_IMPORT_INFERCONTEXT_H
