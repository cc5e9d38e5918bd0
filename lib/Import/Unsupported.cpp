//===- Unsupported.cpp - Operators that no entry of the table serves ------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "lib/Import/Unsupported.h"

#include "lib/Import/OperatorTable.h"
#include "lib/Import/Reader/FunctionMap.h"
#include "llvm/ADT/DenseSet.h"
#include "llvm/ADT/MapVector.h"
#include "llvm/Support/raw_ostream.h"

using namespace llvm;
using namespace ssm::onnx;

namespace {
class Finder {
public:
  explicit Finder(const Model &model) : functions(model) {
    visit(model.graph.nodes, model.opsetImports);
    // Functions that are called wait here: chains of calls can be long.
    while (!waiting.empty()) {
      const Function *function = waiting.pop_back_val();
      visit(function->nodes, function->opsetImports);
    }
  }

  MapVector<std::pair<StringRef, StringRef>, UnsupportedOperator> found;

private:
  void visit(ArrayRef<Node> nodes, ArrayRef<OpsetImport> imports) {
    for (const Node &node : nodes) {
      visit(node, getOpsetVersion(imports, node.domain).value_or(0));
      for (const NodeAttribute &attribute : node.attributes)
        for (const Graph &graph : attribute.graphs)
          visit(graph.nodes, imports);
    }
  }

  void visit(const Node &node, int64_t version) {
    if (OperatorTable::get().lookup(node.domain, node.opType, version))
      return;
    if (const Function *function = functions.lookup(node)) {
      if (seen.insert(function).second)
        waiting.push_back(function);
      return;
    }
    StringRef name = node.name;
    if (name.empty() && !node.outputs.empty())
      name = node.outputs.front();
    auto &entry = found[{node.domain, node.opType}];
    if (entry.count++ == 0)
      entry = {node.domain.str(), node.opType.str(), version, 1, name.str()};
  }

  FunctionMap functions;
  DenseSet<const Function *> seen;
  SmallVector<const Function *> waiting;
};
} // namespace

std::vector<UnsupportedOperator> ssm::onnx::findUnsupported(const Model &model) {
  std::vector<UnsupportedOperator> result;
  for (auto &[key, entry] : Finder(model).found)
    result.push_back(std::move(entry));
  return result;
}

std::string ssm::onnx::describe(ArrayRef<UnsupportedOperator> operators) {
  std::string text;
  raw_string_ostream out(text);
  out << operators.size() << (operators.size() == 1 ? " operator is" : " operators are")
      << " not supported: ";
  interleaveComma(operators, out, [&](const UnsupportedOperator &entry) {
    out << entry.count << " x " << entry.domain << (entry.domain.empty() ? "" : "::") << entry.name
        << " (opset " << entry.version << ", first node '" << entry.node << "')";
  });
  return text;
}
