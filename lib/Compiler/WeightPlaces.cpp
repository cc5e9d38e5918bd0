//===- WeightPlaces.cpp - One weights file for several versions -----------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "lib/Compiler/WeightPlaces.h"

#include "dialects/SSM/SSMOps.h"
#include "lib/Package/ModuleSpec.h"
#include "lib/Package/WeightsInit.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "llvm/ADT/DenseMap.h"
#include "llvm/Support/MathExtras.h"
#include "llvm/Support/raw_ostream.h"

using namespace mlir;
using namespace ssm;
using llvm::StringRef;

static constexpr llvm::StringLiteral kWeightsBeginAttr = "ssm.weights_begin";

namespace {

/// The content of each weight of one version, as a text.
class Contents {
public:
  Contents(ModuleOp module, ModuleOp init);

  std::string of(WeightOp weight) const;

private:
  static std::string ofSource(WeightOp weight);
  static std::string textOf(func::FuncOp function);

  llvm::StringMap<std::string> derived; // by symbol
};

} // namespace

std::string Contents::ofSource(WeightOp weight) {
  if (!weight.getHash())
    return "";
  return "#" + std::to_string(*weight.getHash()) + ":" + std::to_string(weight.getLength());
}

/// A function without its name, and without how its kernels become loops: that is no
/// part of what they compute.
std::string Contents::textOf(func::FuncOp function) {
  OwningOpRef<func::FuncOp> copy = function.clone();
  copy->setName("f");
  copy->walk([](KernelOp kernel) { kernel.removeConfigAttr(); });
  std::string text;
  llvm::raw_string_ostream stream(text);
  copy->print(stream, OpPrintingFlags().enableDebugInfo(false).useLocalScope());
  return text;
}

Contents::Contents(ModuleOp module, ModuleOp init) {
  auto list = init ? init->getAttrOfType<ArrayAttr>(kInitEntriesAttr) : ArrayAttr();
  if (!list)
    return;
  llvm::StringMap<std::string> texts;
  // In the order of computation: inputs come before what is made of them.
  for (auto entry : list.getAsRange<DictionaryAttr>()) {
    StringRef name = entry.getAs<StringAttr>("entry").getValue();
    std::string &text = texts[name];
    if (text.empty())
      text = textOf(init.lookupSymbol<func::FuncOp>(name));
    std::string content = text;
    for (auto input : entry.getAs<ArrayAttr>("inputs").getAsRange<FlatSymbolRefAttr>()) {
      auto known = derived.find(input.getValue());
      std::string part = known != derived.end()
                             ? known->second
                             : ofSource(init.lookupSymbol<WeightOp>(input.getValue()));
      content = part.empty() ? "" : content.empty() ? "" : content + "(" + part + ")";
    }
    derived[entry.getAs<FlatSymbolRefAttr>("output").getValue()] = content;
  }
}

std::string Contents::of(WeightOp weight) const {
  return weight.getInit() ? derived.lookup(weight.getSymName()) : ofSource(weight);
}

static int64_t alignedBytes(int64_t bytes) {
  return static_cast<int64_t>(llvm::alignTo(bytes, 64));
}

int64_t WeightPlaces::bytesOf(ModuleOp module) {
  llvm::DenseMap<int64_t, int64_t> bytes; // by place
  for (WeightOp weight : module.getOps<WeightOp>())
    if (auto offset = weight->getAttrOfType<IntegerAttr>(kOffsetAttr))
      bytes[offset.getInt()] = std::max<int64_t>(bytes[offset.getInt()], weight.getLength());
  int64_t sum = 0;
  for (auto [offset, length] : bytes)
    sum += alignedBytes(length);
  return sum;
}

void WeightPlaces::assign(ModuleOp module, ModuleOp init) {
  Contents contents(module, init);
  Builder b(module.getContext());
  module->setAttr(kWeightsBeginAttr, b.getI64IntegerAttr(end));
  for (WeightOp weight : module.getOps<WeightOp>()) {
    auto known = offsets.find(contents.of(weight));
    if (known != offsets.end())
      weight->setAttr(kOffsetAttr, b.getI64IntegerAttr(known->second));
  }
}

void WeightPlaces::remember(ModuleOp module, ModuleOp init) {
  Contents contents(module, init);
  for (WeightOp weight : module.getOps<WeightOp>()) {
    auto offset = weight->getAttrOfType<IntegerAttr>(kOffsetAttr);
    if (!offset)
      continue;
    std::string content = contents.of(weight);
    if (!content.empty())
      offsets.try_emplace(content, offset.getInt());
    end = std::max(end, alignedBytes(offset.getInt() + static_cast<int64_t>(weight.getLength())));
  }
}
