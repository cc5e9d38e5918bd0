//===- Validate.cpp - Rules that a whole model must keep ------------------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "lib/Import/Reader/Validate.h"
#include "lib/Import/Reader/FunctionMap.h"
#include "lib/Import/Reader/ReaderError.h"
#include "llvm/ADT/DenseMap.h"
#include "llvm/ADT/DenseSet.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/Support/ConvertUTF.h"

using namespace ssm::onnx;
using llvm::ArrayRef;
using llvm::Error;
using llvm::StringRef;
using llvm::Twine;

//===----------------------------------------------------------------------===//
// Versions
//===----------------------------------------------------------------------===//

static Error checkOpsets(ArrayRef<OpsetImport> imports) {
  llvm::DenseSet<StringRef> seen;
  for (const OpsetImport &import : imports) {
    if (!seen.insert(import.domain).second)
      return readerError("the operator set '" + import.domain + "' is imported twice");
    if (import.domain.empty() && (import.version < minOpset || import.version > maxOpset))
      return readerError("the opset version is " + Twine(import.version) + ", expected one from " +
                         Twine(minOpset) + " to " + Twine(maxOpset));
    if (import.version < 1)
      return readerError("the operator set '" + import.domain + "' has version " +
                         Twine(import.version) + ", expected 1 or more");
  }
  return Error::success();
}

//===----------------------------------------------------------------------===//
// Names
//===----------------------------------------------------------------------===//

static Error checkText(StringRef name) {
  if (llvm::any_of(name, isControl))
    return readerError("the name '" + name + "' has a control character");
  auto *position = reinterpret_cast<const llvm::UTF8 *>(name.begin());
  if (!llvm::isLegalUTF8String(&position, reinterpret_cast<const llvm::UTF8 *>(name.end())))
    return readerError("the name '" + name + "' is not UTF-8");
  return Error::success();
}

namespace {
/// Walks graphs in order with the names that are visible.
class NameChecker {
public:
  NameChecker(int64_t irVersion, ArrayRef<OpsetImport> imports, const Function *function)
      : irVersion(irVersion), imports(imports), function(function) {}

  Error checkGraph(const Graph &graph);
  Error checkFunction();

private:
  Error define(StringRef name, const Twine &what);
  Error checkInitializer(StringRef name, const llvm::DenseSet<StringRef> &inputs,
                         llvm::DenseSet<StringRef> &initializers);
  Error checkNodes(ArrayRef<Node> nodes);
  Error checkNode(const Node &node);
  Error checkUse(StringRef name, const Node &user);
  Error checkAttributes(const Node &node);
  void leave();

  int64_t irVersion;
  ArrayRef<OpsetImport> imports;
  const Function *function;
  /// Visible names with the depth of the graph that defines them.
  llvm::DenseMap<StringRef, unsigned> visible;
  /// What each open graph has defined, and its nodes.
  struct Level {
    std::vector<StringRef> names;
    ArrayRef<Node> nodes;
  };
  std::vector<Level> levels;
};
} // namespace

void NameChecker::leave() {
  for (StringRef name : levels.back().names)
    visible.erase(name);
  levels.pop_back();
}

Error NameChecker::define(StringRef name, const Twine &what) {
  if (name.empty())
    return readerError(what + " has no name");
  if (Error error = checkText(name))
    return error;
  auto [it, inserted] = visible.try_emplace(name, levels.size());
  if (!inserted && it->second == levels.size())
    return readerError(what + " '" + name +
                       "' is defined twice, expected every name to be defined once");
  if (!inserted)
    return readerError(what + " '" + name + "' shadows a value of an outer graph, expected " +
                       "nested graphs to use names of their own");
  levels.back().names.push_back(name);
  return Error::success();
}

Error NameChecker::checkInitializer(StringRef name, const llvm::DenseSet<StringRef> &inputs,
                                    llvm::DenseSet<StringRef> &initializers) {
  if (inputs.contains(name)) {
    // The input's default, which makes it a constant for us.
    if (!initializers.insert(name).second)
      return readerError("initializer '" + name + "' is defined twice");
    return Error::success();
  }
  if (irVersion < 4 && levels.size() == 1)
    return readerError("initializer '" + name + "' is not an input of the graph, as IR version " +
                       Twine(irVersion) + " demands");
  return define(name, "initializer");
}

Error NameChecker::checkGraph(const Graph &graph) {
  levels.push_back({{}, graph.nodes});
  auto check = [&]() -> Error {
    llvm::DenseSet<StringRef> inputs, initializers, outputs;
    for (const ValueInfo &input : graph.inputs) {
      if (Error error = define(input.name, "input"))
        return error;
      inputs.insert(input.name);
    }
    for (const TensorData &tensor : graph.initializers)
      if (Error error = checkInitializer(tensor.name, inputs, initializers))
        return error;
    for (const SparseTensorData &sparse : graph.sparseInitializers)
      if (Error error = checkInitializer(sparse.values.name, inputs, initializers))
        return error;
    if (Error error = checkNodes(graph.nodes))
      return error;
    for (const ValueInfo &output : graph.outputs) {
      if (output.name.empty())
        return readerError("an output has no name");
      if (!visible.contains(output.name))
        return readerError("output '" + output.name + "' is not defined in the graph");
      // A nested graph may give one value twice: as a state and as a scan output.
      if (!outputs.insert(output.name).second && levels.size() == 1)
        return readerError("output '" + output.name + "' is listed twice");
    }
    return Error::success();
  };
  Error error = check();
  leave();
  return error ? inside("graph '" + graph.name + "'", std::move(error)) : Error::success();
}

Error NameChecker::checkFunction() {
  levels.push_back({{}, function->nodes});
  auto check = [&]() -> Error {
    if (function->name.empty())
      return readerError("it has no name");
    if (Error error = checkOpsets(function->opsetImports))
      return error;
    for (StringRef input : function->inputs)
      if (Error error = define(input, "input"))
        return error;
    llvm::DenseSet<StringRef> attributes;
    auto once = [&](StringRef name) -> Error {
      if (!attributes.insert(name).second)
        return readerError("attribute '" + name + "' is declared twice");
      return Error::success();
    };
    for (StringRef name : function->attributes)
      if (Error error = once(name))
        return error;
    for (const NodeAttribute &attribute : function->attributeDefaults)
      if (Error error = once(attribute.name))
        return error;
    if (Error error = checkNodes(function->nodes))
      return error;
    for (StringRef output : function->outputs)
      if (!visible.contains(output))
        return readerError("output '" + output + "' is not defined");
    return Error::success();
  };
  Error error = check();
  leave();
  return error ? inside(function->describe(), std::move(error)) : Error::success();
}

Error NameChecker::checkNodes(ArrayRef<Node> nodes) {
  for (const Node &node : nodes)
    if (Error error = checkNode(node))
      return inside(node.describe(), std::move(error));
  return Error::success();
}

Error NameChecker::checkNode(const Node &node) {
  if (node.opType.empty())
    return readerError("it has no operator");
  for (StringRef text : {node.opType, node.domain, node.name, node.overload})
    if (Error error = checkText(text))
      return error;
  if (!getOpsetVersion(imports, node.domain))
    return readerError("the operator set '" +
                       (node.domain.empty() ? StringRef("ai.onnx") : node.domain) +
                       "' is not imported, expected it in opset_import");
  for (StringRef input : node.inputs)
    if (!input.empty() && !visible.contains(input))
      return checkUse(input, node);
  if (Error error = checkAttributes(node))
    return error;
  for (StringRef output : node.outputs)
    if (!output.empty())
      if (Error error = define(output, "output"))
        return error;
  return Error::success();
}

/// Says why a name is not visible.
Error NameChecker::checkUse(StringRef name, const Node &user) {
  for (const Level &level : llvm::reverse(levels))
    for (const Node &node : level.nodes)
      if (llvm::is_contained(node.outputs, name)) {
        if (&node == &user)
          return readerError("its input '" + name + "' is its own output: a cycle");
        return readerError("its input '" + name + "' is defined only later, by " + node.describe() +
                           ": the nodes are not in order, or form a cycle");
      }
  return readerError("its input '" + name + "' is not defined");
}

Error NameChecker::checkAttributes(const Node &node) {
  llvm::SmallDenseSet<StringRef, 8> seen;
  for (const NodeAttribute &attribute : node.attributes) {
    if (attribute.name.empty())
      return readerError("an attribute has no name");
    if (Error error = checkText(attribute.name))
      return error;
    if (!seen.insert(attribute.name).second)
      return readerError("attribute '" + attribute.name + "' is given twice");
    if (!attribute.refAttrName.empty()) {
      auto isDefault = [&](const NodeAttribute &a) { return a.name == attribute.refAttrName; };
      if (!function)
        return readerError("attribute '" + attribute.name + "' refers to '" +
                           attribute.refAttrName + "', but the node is in no function");
      if (!llvm::is_contained(function->attributes, attribute.refAttrName) &&
          llvm::none_of(function->attributeDefaults, isDefault))
        return readerError("attribute '" + attribute.name + "' refers to '" +
                           attribute.refAttrName + "', which the function does not declare");
    }
    for (const Graph &graph : attribute.graphs)
      if (Error error = checkGraph(graph))
        return inside("attribute '" + attribute.name + "'", std::move(error));
  }
  return Error::success();
}

//===----------------------------------------------------------------------===//
// Functions
//===----------------------------------------------------------------------===//

using Calls = llvm::SmallVector<const Function *, 4>;

static void collectCalls(ArrayRef<Node> nodes, const FunctionMap &functions, Calls &calls) {
  for (const Node &node : nodes) {
    if (const Function *function = functions.lookup(node))
      calls.push_back(function);
    for (const NodeAttribute &attribute : node.attributes)
      for (const Graph &graph : attribute.graphs)
        collectCalls(graph.nodes, functions, calls);
  }
}

/// Depth first with a stack of our own: chains of calls can be long.
static Error checkRecursion(const Model &model, const FunctionMap &functions) {
  llvm::DenseMap<const Function *, bool> done; // false while it is on the stack
  struct Frame {
    const Function *function;
    Calls calls;
  };
  std::vector<Frame> stack;
  auto enter = [&](const Function *function) {
    done[function] = false;
    stack.push_back({function, {}});
    collectCalls(function->nodes, functions, stack.back().calls);
  };
  for (const Function &root : model.functions) {
    if (!done.contains(&root))
      enter(&root);
    while (!stack.empty()) {
      Frame &frame = stack.back();
      if (frame.calls.empty()) {
        done[frame.function] = true;
        stack.pop_back();
        continue;
      }
      const Function *callee = frame.calls.pop_back_val();
      auto it = done.find(callee);
      if (it == done.end())
        enter(callee);
      else if (!it->second)
        return readerError(frame.function->describe() + " calls " + callee->describe() +
                           ", which calls it again: functions must not be recursive");
    }
  }
  return Error::success();
}

static Error checkFunctions(const Model &model) {
  FunctionMap functions;
  for (const Function &function : model.functions) {
    if (!functions.insert(function))
      return readerError(function.describe() + " is defined twice");
    if (Error error =
            NameChecker(model.irVersion, function.opsetImports, &function).checkFunction())
      return error;
  }
  return checkRecursion(model, functions);
}

Error ssm::onnx::validate(const Model &model) {
  if (model.irVersion < minIRVersion || model.irVersion > maxIRVersion)
    return readerError("the IR version is " + Twine(model.irVersion) + ", expected one from " +
                       Twine(minIRVersion) + " to " + Twine(maxIRVersion));
  if (model.opsetImports.empty())
    return readerError("the model imports no operator set: opset_import is missing");
  if (Error error = checkOpsets(model.opsetImports))
    return error;
  if (Error error = checkFunctions(model))
    return error;
  return NameChecker(model.irVersion, model.opsetImports, nullptr).checkGraph(model.graph);
}
