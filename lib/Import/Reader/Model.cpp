//===- Model.cpp - An ONNX file as plain structs --------------------------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "lib/Import/Reader/Model.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/Twine.h"

using namespace ssm::onnx;
using llvm::StringRef;

static uint64_t countElements(llvm::ArrayRef<int64_t> dims) {
  uint64_t count = 1;
  for (int64_t dim : dims)
    count *= static_cast<uint64_t>(dim);
  return count;
}

static uint64_t countBytes(ElementType type, uint64_t elements) {
  // In two parts: eight times a count could overflow where bytes do not.
  uint64_t bits = getBitWidth(type);
  return elements / 8 * bits + (elements % 8 * bits + 7) / 8;
}

uint64_t TensorData::numElements() const { return countElements(dims); }

uint64_t TensorData::numBytes() const { return countBytes(type, numElements()); }

uint64_t SparseTensorData::numBytes() const { return countBytes(values.type, countElements(dims)); }

const NodeAttribute *Node::getAttribute(StringRef name) const {
  auto it = llvm::find_if(attributes, [&](const NodeAttribute &a) { return a.name == name; });
  return it == attributes.end() ? nullptr : &*it;
}

std::string Node::getOperatorName() const {
  return domain.empty() ? opType.str() : (domain + "::" + opType).str();
}

std::string Node::describe() const {
  StringRef shown = name;
  if (shown.empty() && !outputs.empty())
    shown = outputs.front();
  return ("node '" + shown + "' (" + getOperatorName() + ")").str();
}

std::string Function::describe() const {
  std::string text = ("function '" + (domain.empty() ? "" : domain + "::") + name).str();
  if (!overload.empty())
    text += (":" + overload).str();
  return text + "'";
}

std::optional<int64_t> ssm::onnx::getOpsetVersion(llvm::ArrayRef<OpsetImport> imports,
                                                  StringRef domain) {
  for (const OpsetImport &import : imports)
    if (import.domain == domain)
      return import.version;
  return std::nullopt;
}
