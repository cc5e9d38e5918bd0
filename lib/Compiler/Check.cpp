//===- Check.cpp - What can be told of a model without compiling ----------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "include/ssm/Compiler.h"

#include "lib/Compiler/BakedSizes.h"
#include "lib/Compiler/LoadModels.h"
#include "lib/Compiler/States.h"
#include "lib/Import/Importer.h"
#include "lib/Import/Reader/ModelReader.h"
#include "lib/Import/Unsupported.h"
#include "lib/Package/ModuleSpec.h"
#include "mlir/IR/MLIRContext.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/ADT/StringSet.h"
#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/raw_ostream.h"

using namespace mlir;
using namespace ssm;
using llvm::formatv;
using llvm::raw_ostream;
using llvm::StringRef;
using onnx::Model;

//===----------------------------------------------------------------------===//
// The file
//===----------------------------------------------------------------------===//

namespace {
struct Totals {
  uint64_t nodes = 0, tensors = 0, elements = 0, bytes = 0;

  void add(const onnx::TensorData &tensor) {
    ++tensors;
    elements += tensor.numElements();
    bytes += tensor.numBytes();
  }
  void add(const std::vector<onnx::Node> &list) {
    nodes += list.size();
    for (const onnx::Node &node : list)
      for (const onnx::NodeAttribute &attribute : node.attributes)
        for (const onnx::Graph &graph : attribute.graphs)
          add(graph);
  }
  void add(const onnx::Graph &graph) {
    for (const onnx::TensorData &tensor : graph.initializers)
      add(tensor);
    for (const onnx::SparseTensorData &tensor : graph.sparseInitializers) {
      ++tensors;
      elements += tensor.values.numElements();
      bytes += tensor.values.numBytes() + tensor.indices.numBytes();
    }
    add(graph.nodes);
  }
};
} // namespace

static std::string group(uint64_t number) {
  std::string digits = std::to_string(number);
  for (size_t at = digits.size(); at > 3; at -= 3)
    digits.insert(at - 3, ",");
  return digits;
}

static std::string typeName(onnx::ElementType type) {
  return StringRef(onnx::getElementTypeName(type)).lower();
}

static void printDeclared(raw_ostream &os, const onnx::ValueInfo &value) {
  os << "    " << value.name << ": ";
  if (value.type.kind != onnx::TypeInfo::Kind::Tensor) {
    os << "(not declared as a tensor)\n";
    return;
  }
  os << typeName(value.type.elementType);
  if (!value.type.shape) {
    os << " of unknown rank\n";
    return;
  }
  os << "[";
  llvm::interleaveComma(*value.type.shape, os, [&](const onnx::Dimension &dim) {
    switch (dim.kind) {
    case onnx::Dimension::Kind::Value:
      os << dim.value;
      break;
    case onnx::Dimension::Kind::Param:
      os << dim.param;
      break;
    case onnx::Dimension::Kind::Unknown:
      os << "?";
    }
  });
  os << "]\n";
}

/// The signature as the file declares it: for models that cannot be imported.
static void printDeclared(raw_ostream &os, const Model &model) {
  llvm::StringSet<> initialized;
  for (const onnx::TensorData &tensor : model.graph.initializers)
    initialized.insert(tensor.name);
  os << "  inputs\n";
  for (const onnx::ValueInfo &input : model.graph.inputs)
    if (!initialized.contains(input.name))
      printDeclared(os, input);
  os << "  outputs\n";
  for (const onnx::ValueInfo &output : model.graph.outputs)
    printDeclared(os, output);
}

//===----------------------------------------------------------------------===//
// The imported graph
//===----------------------------------------------------------------------===//

static void printValue(raw_ostream &os, Type type, Attribute name, Attribute dims) {
  auto tensor = cast<RankedTensorType>(type);
  std::optional<int32_t> number = getONNXType(tensor.getElementType());
  os << "    " << (name ? cast<StringAttr>(name).getValue() : "") << ": "
     << (number ? typeName(static_cast<onnx::ElementType>(*number)) : "unknown") << "[";
  auto names = dyn_cast_or_null<ArrayAttr>(dims);
  for (int64_t axis = 0; axis < tensor.getRank(); ++axis) {
    os << (axis ? ", " : "");
    auto symbol = names && axis < static_cast<int64_t>(names.size())
                      ? dyn_cast<StringAttr>(names[axis])
                      : StringAttr();
    if (!tensor.isDynamicDim(axis))
      os << tensor.getDimSize(axis);
    else
      os << (symbol ? symbol.getValue() : "?");
  }
  os << "]\n";
}

static void printFunction(raw_ostream &os, func::FuncOp function) {
  os << "  inputs\n";
  for (auto [i, type] : llvm::enumerate(function.getArgumentTypes()))
    printValue(os, type, function.getArgAttr(i, "onnx.name"), function.getArgAttr(i, "onnx.dims"));
  os << "  outputs\n";
  for (auto [i, type] : llvm::enumerate(function.getResultTypes()))
    printValue(os, type, function.getResultAttr(i, "onnx.name"),
               function.getResultAttr(i, "onnx.dims"));
  if (auto states = function->getAttrOfType<ArrayAttr>("onnx.states")) {
    os << "  states\n";
    for (auto state : states.getAsRange<DictionaryAttr>()) {
      auto field = [&](StringRef name) { return state.getAs<IntegerAttr>(name).getInt(); };
      os << "    " << function.getArgAttrOfType<StringAttr>(field("input"), "onnx.name").getValue()
         << " -> "
         << function.getResultAttrOfType<StringAttr>(field("output"), "onnx.name").getValue();
      if (field("kind") == 0)
        os << ", fixed\n";
      else
        os << ", grows along axis " << field("axis") << "\n";
    }
  }
  std::vector<std::string> baked = describeBakedSizes(function);
  if (!baked.empty())
    os << "  fixed sizes\n";
  for (const std::string &line : baked)
    os << "    " << line << "\n";
}

/// What compiling would find only later.
static LogicalResult checkTypes(func::FuncOp function) {
  auto checkAll = [&](TypeRange types, StringRef what) -> LogicalResult {
    for (auto [i, type] : llvm::enumerate(types))
      if (Type element = cast<RankedTensorType>(type).getElementType(); !getONNXType(element))
        return function.emitError() << what << " " << i << " has element type " << element
                                    << ", which modules do not take";
    return success();
  };
  return success(succeeded(checkAll(function.getArgumentTypes(), "input")) &&
                 succeeded(checkAll(function.getResultTypes(), "output")));
}

static void printTotals(raw_ostream &os, const Model &model) {
  Totals totals;
  totals.add(model.graph);
  for (const onnx::Function &function : model.functions)
    totals.add(function.nodes);
  os << "  nodes: " << group(totals.nodes) << "\n"
     << "  parameters: " << group(totals.elements) << " in " << group(totals.tensors)
     << " tensors, " << group(totals.bytes) << " bytes\n";
}

static LogicalResult checkModels(const CompileOptions &options, MLIRContext *context,
                                 Diagnostics &diagnostics, raw_ostream &os) {
  onnx::Importer importer(context);
  onnx::ReaderOptions reader = getReaderOptions(options, diagnostics);
  LogicalResult result = success();
  for (const EntryFile &entry : options.entries) {
    auto read = onnx::readModel(entry.path, reader);
    if (!read) {
      diagnostics.error(read.takeError());
      return failure();
    }
    // The importer keeps it alive.
    const Model &model = **read;
    os << "entry " << entry.name << "\n";
    if (!model.producerName.empty())
      os << "  producer: " << model.producerName << " " << model.producerVersion << "\n";
    for (const onnx::OpsetImport &opset : model.opsetImports)
      os << "  opset: " << (opset.domain.empty() ? "ai.onnx" : opset.domain) << " " << opset.version
         << "\n";
    std::vector<onnx::UnsupportedOperator> unsupported = onnx::findUnsupported(model);
    LogicalResult imported = importer.addEntry(entry.name, std::move(*read));
    auto function = importer.getModule().lookupSymbol<func::FuncOp>(entry.name);
    if (succeeded(imported))
      imported = assignStates(importer.getModule(), options.states);
    if (succeeded(imported))
      imported = checkTypes(function);
    if (succeeded(imported))
      printFunction(os, function);
    else
      printDeclared(os, model);
    printTotals(os, model);
    if (!unsupported.empty())
      os << "  unsupported operators\n";
    for (const onnx::UnsupportedOperator &op : unsupported)
      os << "    " << op.count << " x " << (op.domain.empty() ? "" : op.domain + "::") << op.name
         << " (opset " << op.version << "), first: '" << op.node << "'\n";
    if (failed(imported))
      result = failure();
  }
  return result;
}

bool ssm::check(const CompileOptions &options, const MessageHandler &handler, std::string &report) {
  // One short look: threads would cost more than they bring.
  MLIRContext context(MLIRContext::Threading::DISABLED);
  Diagnostics diagnostics(context, handler);
  llvm::raw_string_ostream stream(report);
  LogicalResult result = failure();
  if (options.entries.empty())
    diagnostics.error("no model given");
  else
    result = checkModels(options, &context, diagnostics, stream);
  stream.flush();
  if (failed(result))
    diagnostics.reportError("the model cannot be compiled");
  return succeeded(result);
}
