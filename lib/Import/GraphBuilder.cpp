//===- GraphBuilder.cpp - One model as a function of onnx.node ------------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "lib/Import/GraphBuilder.h"

#include "dialects/SSM/SSMOps.h"
#include "lib/Import/ImportTypes.h"
#include "lib/Import/OperatorTable.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/Support/SaveAndRestore.h"

using namespace mlir;
using namespace ssm;
using namespace ssm::onnx;

using AttributeKind = NodeAttribute::Kind;

GraphBuilder::GraphBuilder(ModuleOp module, const Model &model, ImportedWeights &weights,
                           const ImportOptions &options)
    : context(module.getContext()), symbols(module), model(model), functions(model),
      weights(weights), options(options), b(context) {
  main.imports = model.opsetImports;
}

//===----------------------------------------------------------------------===//
// Names, errors
//===----------------------------------------------------------------------===//

Value GraphBuilder::Frame::lookup(StringRef name) const {
  for (const auto &scope : llvm::reverse(scopes))
    if (Value value = scope.lookup(name))
      return value;
  return {};
}

void GraphBuilder::Frame::define(StringRef name, Value value) { scopes.back()[name] = value; }

Location GraphBuilder::nameLoc(const Twine &name) {
  return NameLoc::get(StringAttr::get(context, name));
}

std::string GraphBuilder::nameOf(const Node &node, const Frame &frame) {
  if (!node.name.empty())
    return frame.prefix + node.name.str();
  auto output = llvm::find_if(node.outputs, [](StringRef name) { return !name.empty(); });
  StringRef shown = output == node.outputs.end() ? StringRef() : *output;
  return frame.prefix + (node.opType + ":" + shown).str();
}

LogicalResult GraphBuilder::error(const Twine &what, const Twine &message) {
  return emitError(UnknownLoc::get(context)) << what << ": " << message;
}

LogicalResult GraphBuilder::error(const Node &node, const Frame &frame, const Twine &message) {
  std::string name = nameOf(node, frame);
  return emitError(nameLoc(name)) << "node '" << name << "' (" << node.getOperatorName()
                                  << "): " << message;
}

const NodeAttribute *GraphBuilder::resolve(const NodeAttribute &attribute, const Frame &frame) {
  if (attribute.refAttrName.empty())
    return &attribute;
  return frame.attributes.lookup(attribute.refAttrName);
}

//===----------------------------------------------------------------------===//
// The function
//===----------------------------------------------------------------------===//

func::FuncOp GraphBuilder::build(StringRef entry) {
  main.scopes.emplace_back();
  if (failed(buildInputs(entry)) || failed(buildInitializers(model.graph, main)) ||
      failed(buildNodes(model.graph.nodes, main)))
    return {};
  buildOutputs();
  return function;
}

LogicalResult GraphBuilder::buildInputs(StringRef entry) {
  llvm::DenseSet<StringRef> constants;
  for (const TensorData &tensor : model.graph.initializers)
    constants.insert(tensor.name);
  for (const SparseTensorData &sparse : model.graph.sparseInitializers)
    constants.insert(sparse.values.name);

  SmallVector<StringRef> names;
  SmallVector<Type> types;
  SmallVector<DictionaryAttr> attrs;
  for (const ValueInfo &input : model.graph.inputs) {
    // An initializer gives an input a default, which we take for its value.
    if (constants.contains(input.name))
      continue;
    const TypeInfo &type = input.type;
    std::string what = ("input '" + input.name + "'").str();
    if (type.kind != TypeInfo::Kind::Tensor)
      return error(what, "expected a tensor; it has no type or one that is not supported");
    Type elementType = importElementType(type.elementType, context);
    if (!elementType || isa<ComplexType>(elementType))
      return error(what, "its element type " + getElementTypeName(type.elementType) +
                             " is not supported");
    if (!type.shape)
      return error(what, "it has no shape, expected one of known rank");
    SmallVector<int64_t> shape;
    for (const Dimension &dim : *type.shape)
      shape.push_back(dim.kind == Dimension::Kind::Value ? dim.value : ShapedType::kDynamic);
    names.push_back(input.name);
    types.push_back(RankedTensorType::get(shape, elementType));
    attrs.push_back(
        b.getDictionaryAttr({b.getNamedAttr("onnx.name", b.getStringAttr(input.name)),
                             b.getNamedAttr("onnx.dims", importDims(*type.shape, context))}));
  }
  function = func::FuncOp::create(nameLoc(entry), entry, b.getFunctionType(types, {}), {}, attrs);
  symbols.insert(function);
  Block *block = function.addEntryBlock();
  b.setInsertionPointToEnd(block);
  for (auto [name, arg] : llvm::zip_equal(names, block->getArguments())) {
    arg.setLoc(nameLoc(name));
    main.define(name, arg);
  }
  return success();
}

void GraphBuilder::buildOutputs() {
  SmallVector<Value> values;
  SmallVector<Attribute> attrs;
  for (const ValueInfo &output : model.graph.outputs) {
    values.push_back(main.lookup(output.name));
    SmallVector<NamedAttribute> named = {b.getNamedAttr("onnx.name", b.getStringAttr(output.name))};
    if (output.type.shape)
      named.push_back(b.getNamedAttr("onnx.dims", importDims(*output.type.shape, context)));
    attrs.push_back(b.getDictionaryAttr(named));
  }
  func::ReturnOp::create(b, function.getLoc(), values);
  function.setType(b.getFunctionType(function.getArgumentTypes(), ValueRange(values).getTypes()));
  function.setResAttrsAttr(b.getArrayAttr(attrs));
}

//===----------------------------------------------------------------------===//
// Tensors
//===----------------------------------------------------------------------===//

LogicalResult GraphBuilder::buildInitializers(const Graph &graph, Frame &frame) {
  auto build = [&](WeightSource source) {
    Value value = buildTensor(source, source.getName(), nameLoc(source.getName()));
    frame.define(source.getName(), value);
    return success(value != nullptr);
  };
  for (const TensorData &tensor : graph.initializers)
    if (failed(build(tensor)))
      return failure();
  for (const SparseTensorData &sparse : graph.sparseInitializers)
    if (failed(build(sparse)))
      return failure();
  return success();
}

Value GraphBuilder::buildTensor(WeightSource source, StringRef name, Location loc) {
  auto fail = [&](const Twine &message) -> Value {
    (void)error("tensor '" + name + "'", message);
    return {};
  };
  Type elementType = importElementType(source.getElementType(), context);
  if (!elementType || isa<ComplexType>(elementType))
    return fail("its element type " + getElementTypeName(source.getElementType()) +
                " is not supported");
  if (source.getNumBytes() > (isa<FloatType>(elementType) ? options.maxFloatConstantBytes
                                                          : options.maxConstantBytes))
    return buildWeight(source, RankedTensorType::get(source.getDims(), elementType), name, loc);
  auto elements = importElements(source, context);
  if (!elements)
    return fail(llvm::toString(elements.takeError()));
  return ConstantOp::create(b, loc, elements->getType(), *elements);
}

Value GraphBuilder::buildWeight(WeightSource source, RankedTensorType type, StringRef name,
                                Location loc) {
  int64_t index = weights.add(model, source);
  uint64_t size = weights.getNumBytes(index);
  StringAttr file;
  IntegerAttr offset;
  // Elements of less than a byte take whole bytes in a weight, but not in the file.
  auto range = source.getRange();
  if (range && range->length == size) {
    file = b.getStringAttr(model.files[range->file]->getPath());
    offset = b.getI64IntegerAttr(range->offset);
  }
  OpBuilder detached(context);
  auto weight = WeightOp::create(detached, loc, b.getStringAttr(name), TypeAttr::get(type), file,
                                 offset, b.getI64IntegerAttr(size), b.getI64IntegerAttr(index),
                                 IntegerAttr(), FlatSymbolRefAttr());
  // A name that is taken, by another entry's weight, gets a number.
  symbols.insert(weight, Block::iterator(function));
  return LoadWeightOp::create(b, loc, type, weight.getSymName());
}

FailureOr<Value> GraphBuilder::buildConstantNode(const Node &node, Frame &frame) {
  if (node.attributes.size() != 1 || node.outputs.size() != 1 || !node.inputs.empty())
    return Value();
  const NodeAttribute *value = resolve(node.attributes.front(), frame);
  if (!value)
    return Value();
  StringRef name = node.attributes.front().name;
  Location loc = nameLoc(nameOf(node, frame));
  auto constant = [&](DenseElementsAttr elements) -> Value {
    return ConstantOp::create(b, loc, elements.getType(), elements);
  };
  auto typeOf = [&](Type elementType, ArrayRef<int64_t> shape) {
    return RankedTensorType::get(shape, elementType);
  };
  auto count = [](const auto &list) { return static_cast<int64_t>(list.size()); };
  if (name == "value_int" && value->kind == AttributeKind::Int)
    return constant(DenseElementsAttr::get(typeOf(b.getI64Type(), {}), value->i));
  if (name == "value_float" && value->kind == AttributeKind::Float)
    return constant(DenseElementsAttr::get(typeOf(b.getF32Type(), {}), value->f));
  if (name == "value_ints" && value->kind == AttributeKind::Ints)
    return constant(DenseElementsAttr::get(typeOf(b.getI64Type(), {count(value->ints)}),
                                           ArrayRef(value->ints)));
  if (name == "value_floats" && value->kind == AttributeKind::Floats)
    return constant(DenseElementsAttr::get(typeOf(b.getF32Type(), {count(value->floats)}),
                                           ArrayRef(value->floats)));
  Value result;
  if (name == "value" && value->kind == AttributeKind::Tensor)
    result = buildTensor(value->tensors.front(), node.outputs.front(), loc);
  else if (name == "sparse_value" && value->kind == AttributeKind::SparseTensor)
    result = buildTensor(value->sparseTensors.front(), node.outputs.front(), loc);
  else
    return Value();
  if (!result)
    return failure();
  return result;
}

//===----------------------------------------------------------------------===//
// Nodes
//===----------------------------------------------------------------------===//

LogicalResult GraphBuilder::buildNodes(ArrayRef<Node> nodes, Frame &frame) {
  for (const Node &node : nodes)
    if (failed(buildNode(node, frame)))
      return failure();
  return success();
}

LogicalResult GraphBuilder::buildNode(const Node &node, Frame &frame) {
  if (++numNodes > maxNodes)
    return error(node, frame, "the functions expand to more than " + Twine(maxNodes) + " nodes");
  int64_t version = getOpsetVersion(frame.imports, node.domain).value_or(0);
  if (node.domain.empty() && node.opType == "Constant") {
    FailureOr<Value> value = buildConstantNode(node, frame);
    if (failed(value))
      return failure();
    if (*value) {
      frame.define(node.outputs.front(), *value);
      return success();
    }
  }
  // The table goes first: what it knows is better than its decomposition.
  if (OperatorTable::get().lookup(node.domain, node.opType, version))
    return buildOperator(node, version, frame);
  if (const Function *callee = functions.lookup(node))
    return inlineFunction(node, *callee, frame);
  return error(node, frame, "the operator is not supported at opset " + Twine(version));
}

Value GraphBuilder::getAbsent() {
  if (!absent) {
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointToStart(&function.front());
    absent = AbsentOp::create(b, function.getLoc(), onnx::NoneType::get(context));
  }
  return absent;
}

Value GraphBuilder::lookupInput(StringRef name, const Frame &frame) {
  return name.empty() ? getAbsent() : frame.lookup(name);
}

LogicalResult GraphBuilder::buildOperator(const Node &node, int64_t version, Frame &frame) {
  SmallVector<Value> inputs;
  for (StringRef name : node.inputs)
    inputs.push_back(lookupInput(name, frame));
  SmallVector<Type> types;
  for (StringRef name : node.outputs)
    types.push_back(name.empty() ? Type(onnx::NoneType::get(context))
                                 : Type(UnknownType::get(context)));
  NamedAttrList attrs;
  SmallVector<StringRef> regionNames;
  SmallVector<const Graph *> graphs;
  for (const NodeAttribute &attribute : node.attributes) {
    const NodeAttribute *value = resolve(attribute, frame);
    if (!value)
      continue;
    if (value->kind == AttributeKind::Graph) {
      if (value != &attribute)
        return error(node, frame,
                     "attribute '" + attribute.name +
                         "' is a graph that a call gives, which is not "
                         "supported");
      regionNames.push_back(attribute.name);
      graphs.push_back(&value->graphs.front());
      continue;
    }
    auto imported = importAttribute(*value, context);
    if (!imported)
      return error(node, frame, llvm::toString(imported.takeError()));
    attrs.set(attribute.name, *imported);
  }
  auto op = NodeOp::create(b, nameLoc(nameOf(node, frame)), types, b.getStringAttr(node.opType),
                           node.domain.empty() ? StringAttr() : b.getStringAttr(node.domain),
                           b.getI64IntegerAttr(version),
                           attrs.empty() ? DictionaryAttr() : attrs.getDictionary(context),
                           regionNames.empty() ? ArrayAttr() : b.getStrArrayAttr(regionNames),
                           inputs, regionNames.size());
  for (auto [region, graph] : llvm::zip_equal(op.getBodies(), graphs))
    if (failed(buildRegion(region, *graph, frame)))
      return failure();
  for (auto [name, result] : llvm::zip_equal(node.outputs, op.getOutputs()))
    if (!name.empty())
      frame.define(name, result);
  return success();
}

LogicalResult GraphBuilder::buildRegion(Region &region, const Graph &graph, Frame &frame) {
  llvm::SaveAndRestore deeper(depth, depth + 1);
  if (depth > maxDepth)
    return error("graph '" + graph.name + "'",
                 "graphs and calls are nested more than " + Twine(maxDepth) + " deep");
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToEnd(&region.emplaceBlock());
  frame.scopes.emplace_back();
  auto build = [&]() -> LogicalResult {
    for (const ValueInfo &input : graph.inputs)
      frame.define(input.name, region.addArgument(UnknownType::get(context), nameLoc(input.name)));
    if (failed(buildInitializers(graph, frame)) || failed(buildNodes(graph.nodes, frame)))
      return failure();
    SmallVector<Value> values;
    for (const ValueInfo &output : graph.outputs)
      values.push_back(frame.lookup(output.name));
    YieldOp::create(b, nameLoc(graph.name), values);
    return success();
  };
  LogicalResult result = build();
  frame.scopes.pop_back();
  return result;
}

LogicalResult GraphBuilder::inlineFunction(const Node &node, const Function &callee, Frame &frame) {
  llvm::SaveAndRestore deeper(depth, depth + 1);
  if (depth > maxDepth)
    return error(node, frame, "graphs and calls are nested more than " + Twine(maxDepth) + " deep");
  if (node.inputs.size() > callee.inputs.size() || node.outputs.size() > callee.outputs.size())
    return error(node, frame,
                 "it has " + Twine(node.inputs.size()) + " inputs and " +
                     Twine(node.outputs.size()) + " outputs, expected at most " +
                     Twine(callee.inputs.size()) + " and " + Twine(callee.outputs.size()) +
                     " for the " + callee.describe());
  Frame inner;
  inner.imports = callee.opsetImports;
  inner.prefix = nameOf(node, frame) + "/";
  inner.scopes.emplace_back();
  for (const NodeAttribute &attribute : callee.attributeDefaults)
    inner.attributes[attribute.name] = &attribute;
  for (const NodeAttribute &attribute : node.attributes)
    if (const NodeAttribute *value = resolve(attribute, frame))
      inner.attributes[attribute.name] = value;
  for (auto [i, name] : llvm::enumerate(callee.inputs))
    inner.define(name, i < node.inputs.size() ? lookupInput(node.inputs[i], frame) : getAbsent());
  if (failed(buildNodes(callee.nodes, inner)))
    return failure();
  for (auto [i, name] : llvm::enumerate(node.outputs))
    if (!name.empty())
      frame.define(name, inner.lookup(callee.outputs[i]));
  return success();
}
