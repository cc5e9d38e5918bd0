//===- InferContext.cpp - Types and sizes of one node's results -----------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "lib/Import/InferContext.h"

#include "lib/Import/OperatorTable.h"
#include "mlir/Interfaces/FunctionInterfaces.h"

using namespace mlir;
using namespace ssm;
using namespace ssm::onnx;

//===----------------------------------------------------------------------===//
// NodeReader
//===----------------------------------------------------------------------===//

int64_t NodeReader::getInt(StringRef name, int64_t otherwise) {
  auto value = dyn_cast_or_null<IntegerAttr>(attr(name));
  return value ? value.getInt() : otherwise;
}

double NodeReader::getFloat(StringRef name, double otherwise) {
  auto value = dyn_cast_or_null<FloatAttr>(attr(name));
  return value ? value.getValueAsDouble() : otherwise;
}

StringRef NodeReader::getString(StringRef name, StringRef otherwise) {
  auto value = dyn_cast_or_null<StringAttr>(attr(name));
  return value ? value.getValue() : otherwise;
}

std::optional<SmallVector<int64_t>> NodeReader::getInts(StringRef name) {
  if (auto value = dyn_cast_or_null<DenseI64ArrayAttr>(attr(name)))
    return SmallVector<int64_t>(value.asArrayRef());
  return std::nullopt;
}

std::optional<SmallVector<float>> NodeReader::getFloats(StringRef name) {
  if (auto value = dyn_cast_or_null<DenseF32ArrayAttr>(attr(name)))
    return SmallVector<float>(value.asArrayRef());
  return std::nullopt;
}

bool NodeReader::hasInput(unsigned i) {
  return i < numInputs() && !isa<ssm::onnx::NoneType>(input(i).getType());
}

bool NodeReader::hasOutput(unsigned i) {
  return i < numOutputs() && !isa<ssm::onnx::NoneType>(output(i).getType());
}

DenseElementsAttr NodeReader::constantInput(unsigned i) {
  if (!hasInput(i))
    return {};
  auto constant = input(i).getDefiningOp<ConstantOp>();
  return constant ? dyn_cast<DenseElementsAttr>(constant.getValue()) : DenseElementsAttr();
}

//===----------------------------------------------------------------------===//
// InferContext
//===----------------------------------------------------------------------===//

LogicalResult InferContext::error(const Twine &message) {
  return emitError(getNode().getLoc()) << "node " << getNode().getNodeName() << ": " << message;
}

std::optional<SmallVector<int64_t>> InferContext::constantInts(unsigned i) {
  if (auto known = elements(i))
    return constantValues(*known);
  DenseElementsAttr constant = constantInput(i);
  if (!constant || !constant.getElementType().isIntOrIndex())
    return std::nullopt;
  return llvm::map_to_vector(constant.getValues<APInt>(),
                             [](const APInt &value) { return value.getSExtValue(); });
}

static std::string str(Type type) {
  std::string text;
  llvm::raw_string_ostream(text) << type;
  return text;
}

LogicalResult InferContext::requireRank(unsigned i, int64_t min, int64_t max) {
  if (rank(i) >= min && rank(i) <= max)
    return success();
  return error("input " + Twine(i) + " has rank " + Twine(rank(i)) + ", expected " +
               (min == max ? Twine(min) : Twine(min) + " to " + Twine(max)));
}

LogicalResult InferContext::requireSameElementType(unsigned i, unsigned j) {
  if (elementType(i) == elementType(j))
    return success();
  return error("input " + Twine(i) + " has element type " + str(elementType(i)) + " and input " +
               Twine(j) + " has " + str(elementType(j)) + ", expected the same");
}

LogicalResult InferContext::requireFloat(unsigned i) {
  if (isa<FloatType>(elementType(i)))
    return success();
  return error("input " + Twine(i) + " has element type " + str(elementType(i)) +
               ", expected a float type");
}

LogicalResult InferContext::requireInteger(unsigned i) {
  if (isa<IntegerType>(elementType(i)) && !elementType(i).isInteger(1))
    return success();
  return error("input " + Twine(i) + " has element type " + str(elementType(i)) +
               ", expected an integer type");
}

LogicalResult InferContext::requireBool(unsigned i) {
  if (elementType(i).isInteger(1))
    return success();
  return error("input " + Twine(i) + " has element type " + str(elementType(i)) +
               ", expected bool");
}

LogicalResult InferContext::requireEqual(AffineExpr a, AffineExpr b, const Twine &what) {
  auto ca = constantValue(a), cb = constantValue(b);
  if (!ca || !cb || *ca == *cb)
    return success();
  return error(what + ": " + Twine(*ca) + " and " + Twine(*cb) + ", expected the same size");
}

FailureOr<int64_t> InferContext::normalizeAxis(int64_t axis, int64_t rank) {
  if (axis >= -rank && axis < rank)
    return axis < 0 ? axis + rank : axis;
  (void)error("axis " + Twine(axis) + " is out of range for rank " + Twine(rank));
  return failure();
}

FailureOr<Dims> InferContext::broadcast(ArrayRef<AffineExpr> a, ArrayRef<AffineExpr> b) {
  if (a.size() < b.size())
    std::swap(a, b);
  Dims result(a);
  size_t shift = a.size() - b.size();
  for (auto [i, other] : llvm::enumerate(b)) {
    AffineExpr &dim = result[shift + i];
    auto mine = constantValue(dim), theirs = constantValue(other);
    if (dim == other || (theirs && *theirs == 1))
      continue;
    if (mine && *mine == 1) {
      dim = other;
    } else if (mine && theirs) {
      (void)error("sizes " + Twine(*mine) + " and " + Twine(*theirs) + " of axis " +
                  Twine(shift + i) + " do not broadcast");
      return failure();
    } else if (theirs) {
      // The unknown size must be this one, or 1.
      dim = other;
    } else if (!mine) {
      dim = facts.fresh();
    }
  }
  return result;
}

void InferContext::setResult(unsigned i, Type elementType, ArrayRef<AffineExpr> dims) {
  if (!hasOutput(i))
    return;
  Dims known;
  for (AffineExpr dim : dims)
    known.push_back(dim ? dim : facts.fresh());
  output(i).setType(RankedTensorType::get(staticShape(known), elementType));
  facts.setDims(output(i), known);
}

/// Narrow and unsigned integers wrap around, which the expressions do not.
static bool isTracked(RankedTensorType type) {
  return type.hasStaticShape() && type.getNumElements() <= kMaxTrackedElements &&
         type.getRank() <= 1 &&
         (type.getElementType().isSignlessInteger(64) ||
          type.getElementType().isSignlessInteger(32) || type.getElementType().isInteger(1));
}

void InferContext::setElements(unsigned i, ArrayRef<AffineExpr> elements) {
  if (!hasOutput(i) || !isTracked(outputType(i)) ||
      static_cast<int64_t>(elements.size()) != outputType(i).getNumElements())
    return;
  Dims known;
  for (AffineExpr element : elements)
    known.push_back(element ? element : facts.fresh(/*isSize=*/false));
  facts.setElements(output(i), known);
}

LogicalResult InferContext::inferRegion(Region &region) {
  return inferBlock(region.front(), facts);
}

void InferContext::setArgument(BlockArgument arg, Type elementType, ArrayRef<AffineExpr> dims) {
  auto type = RankedTensorType::get(staticShape(dims), elementType);
  arg.setType(type);
  facts.setDims(arg, dims);
  if (!isTracked(type))
    return;
  Dims elements;
  for (int64_t n = 0; n < type.getNumElements(); ++n)
    elements.push_back(facts.fresh(/*isSize=*/false));
  facts.setElements(arg, elements);
}

//===----------------------------------------------------------------------===//
// Blocks and functions
//===----------------------------------------------------------------------===//

/// Facts of a constant: its sizes, and its elements if it is small.
static void inferConstant(ConstantOp constant, ShapeFacts &facts) {
  RankedTensorType type = cast<RankedTensorType>(constant.getType());
  facts.setDims(constant, llvm::map_to_vector(type.getShape(),
                                              [&](int64_t size) { return facts.constant(size); }));
  auto dense = dyn_cast<DenseElementsAttr>(constant.getValue());
  if (!dense || !isTracked(type))
    return;
  bool isBool = type.getElementType().isInteger(1);
  Dims elements;
  for (const APInt &value : dense.getValues<APInt>())
    elements.push_back(facts.constant(isBool ? value.getZExtValue() : value.getSExtValue()));
  facts.setElements(constant, elements);
}

LogicalResult ssm::onnx::inferBlock(Block &block, ShapeFacts &facts) {
  const OperatorTable &table = OperatorTable::get();
  for (Operation &op : block) {
    if (auto constant = dyn_cast<ConstantOp>(op)) {
      inferConstant(constant, facts);
      continue;
    }
    auto node = dyn_cast<NodeOp>(op);
    if (!node)
      continue;
    const OperatorEntry *entry = table.lookup(node);
    if (!entry)
      return emitError(node.getLoc())
             << "node " << node.getNodeName() << ": the operator is not supported at opset "
             << node.getVersion();
    if (failed(checkNodeForm(node, *entry)))
      return failure();
    for (auto [i, input] : llvm::enumerate(node.getInputs()))
      if (!isa<RankedTensorType, ssm::onnx::NoneType>(input.getType()))
        return emitError(node.getLoc())
               << "node " << node.getNodeName() << ": input " << i << " has no known rank";
    // A second visit, of a loop body, starts anew.
    for (Value output : node.getOutputs())
      facts.forget(output);
    InferContext context(node, facts);
    if (failed(entry->infer(context)))
      return failure();
    for (auto [i, output] : llvm::enumerate(node.getOutputs())) {
      if (isa<ssm::onnx::UnknownType>(output.getType()))
        return emitError(node.getLoc())
               << "node " << node.getNodeName() << ": output " << i << " has no inferred type";
      // Elements of small integers are tracked whether or not the operator can
      // tell them.
      auto type = dyn_cast<RankedTensorType>(output.getType());
      if (type && isTracked(type) && !facts.elements(output))
        context.setElements(i, Dims(type.getNumElements()));
    }
  }
  return success();
}

LogicalResult ssm::onnx::inferFunction(Operation *op, ShapeFacts &facts) {
  auto function = cast<FunctionOpInterface>(op);
  Block &block = function.getFunctionBody().front();
  for (auto [i, arg] : llvm::enumerate(block.getArguments())) {
    auto type = dyn_cast<RankedTensorType>(arg.getType());
    if (!type)
      return function.emitError() << "argument " << i << " is not a ranked tensor";
    auto names = function.getArgAttrOfType<ArrayAttr>(i, "onnx.dims");
    Dims dims;
    for (auto [axis, size] : llvm::enumerate(type.getShape())) {
      StringAttr name =
          names && axis < names.size() ? dyn_cast<StringAttr>(names[axis]) : StringAttr();
      dims.push_back(!ShapedType::isDynamic(size) ? facts.constant(size)
                     : name                       ? facts.named(name.getValue())
                                                  : facts.fresh());
    }
    facts.setDims(arg, dims);
    if (isTracked(type)) {
      Dims elements;
      for (int64_t n = 0; n < type.getNumElements(); ++n)
        elements.push_back(facts.fresh(/*isSize=*/false));
      facts.setElements(arg, elements);
    }
  }
  if (failed(inferBlock(block, facts)))
    return failure();
  SmallVector<Type> results(block.getTerminator()->getOperandTypes());
  function.setType(function.cloneTypeWith(block.getArgumentTypes(), results));
  return success();
}
