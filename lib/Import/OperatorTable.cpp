//===- OperatorTable.cpp - What each ONNX operator means ------------------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "lib/Import/OperatorTable.h"

#include "dialects/ONNX/ONNXOps.h"
#include "lib/Import/Operators/Families.h"

using namespace mlir;
using namespace ssm::onnx;

static std::string keyOf(StringRef domain, StringRef name) {
  // "ai.onnx" is the default domain's other name.
  if (domain == "ai.onnx")
    domain = "";
  return (domain + "::" + name).str();
}

const OperatorTable &OperatorTable::get() {
  static const OperatorTable table = [] {
    OperatorTable made;
    registerElementwiseOperators(made);
    registerConstantOperators(made);
    registerLayoutOperators(made);
    registerIndexingOperators(made);
    registerReductionOperators(made);
    registerNormalizationOperators(made);
    registerContractionOperators(made);
    registerControlFlowOperators(made);
    registerSequenceModelOperators(made);
    return made;
  }();
  return table;
}

void OperatorTable::add(const OperatorEntry &entry) {
  auto &versions = entries[keyOf(entry.domain, entry.name)];
  versions.push_back(entry);
  llvm::sort(versions, [](const OperatorEntry &a, const OperatorEntry &b) {
    return a.sinceVersion < b.sinceVersion;
  });
}

const OperatorEntry *OperatorTable::lookup(StringRef domain, StringRef name,
                                           int64_t version) const {
  auto it = entries.find(keyOf(domain, name));
  if (it == entries.end())
    return nullptr;
  const OperatorEntry *best = nullptr;
  for (const OperatorEntry &entry : it->second)
    if (entry.sinceVersion <= version)
      best = &entry;
  return best;
}

const OperatorEntry *OperatorTable::lookup(NodeOp node) const {
  return lookup(node.getDomain().value_or(""), node.getOpType(), node.getVersion());
}

static bool hasKind(Attribute attr, char kind) {
  switch (kind) {
  case 'i':
    return isa<IntegerAttr>(attr);
  case 'f':
    return isa<FloatAttr>(attr);
  case 's':
    return isa<StringAttr>(attr);
  case 't':
    return isa<ElementsAttr>(attr) && !isa<DenseArrayAttr>(attr);
  case 'I':
    return isa<DenseI64ArrayAttr>(attr);
  case 'F':
    return isa<DenseF32ArrayAttr>(attr);
  case 'S':
    return isa<ArrayAttr>(attr);
  }
  return false;
}

LogicalResult ssm::onnx::checkNodeForm(NodeOp node, const OperatorEntry &entry) {
  auto error = [&](const Twine &message) {
    return emitError(node.getLoc()) << "node " << node.getNodeName() << ": " << message;
  };
  auto checkCount = [&](StringRef what, int have, int min, int max) -> LogicalResult {
    if (have >= min && have <= max)
      return success();
    std::string range = max == kAnyNumber ? std::to_string(min) + " or more"
                        : min == max      ? std::to_string(min)
                                          : std::to_string(min) + " to " + std::to_string(max);
    return error("has " + Twine(have) + " " + what + ", expected " + range);
  };
  if (failed(checkCount("inputs", node.getInputs().size(), entry.minInputs, entry.maxInputs)) ||
      failed(checkCount("outputs", node.getOutputs().size(), entry.minOutputs, entry.maxOutputs)))
    return failure();
  for (int i = 0; i < entry.minInputs; ++i)
    if (isa<NoneType>(node.getInputs()[i].getType()))
      return error("input " + Twine(i) + " is left out but required");

  auto find = [&](StringRef name) -> const AttrSpec * {
    for (const AttrSpec &spec : entry.attrs)
      if (spec.name == name)
        return &spec;
    return nullptr;
  };
  if (DictionaryAttr attrs = node.getOnnxAttrsAttr())
    for (NamedAttribute attr : attrs) {
      const AttrSpec *spec = find(attr.getName());
      if (!spec)
        return error("has attribute '" + attr.getName().strref() +
                     "', which the operator does not have at opset " + Twine(node.getVersion()));
      if (!hasKind(attr.getValue(), spec->kind))
        return error("attribute '" + attr.getName().strref() + "' has the wrong type");
    }
  for (const AttrSpec &spec : entry.attrs) {
    if (!spec.required)
      continue;
    bool given = spec.kind == 'g' ? node.getONNXRegion(spec.name) != nullptr
                                  : static_cast<bool>(node.getONNXAttr(spec.name));
    if (!given)
      return error("lacks attribute '" + spec.name + "'");
  }
  if (ArrayAttr names = node.getRegionNamesAttr())
    for (Attribute name : names) {
      const AttrSpec *spec = find(cast<StringAttr>(name).getValue());
      if (!spec || spec->kind != 'g')
        return error("has a graph attribute '" + cast<StringAttr>(name).getValue() +
                     "', which the operator does not have");
    }
  return success();
}
