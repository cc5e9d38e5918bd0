//===- LoadModels.cpp - From ONNX files to one module ---------------------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "lib/Compiler/LoadModels.h"

#include "lib/Import/Importer.h"
#include "lib/Import/Reader/ModelReader.h"
#include "lib/Package/Hash.h"
#include "lib/Package/ModuleSpec.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "llvm/Support/raw_ostream.h"

#include <map>

using namespace mlir;
using namespace ssm;
using llvm::Error;

Error ModelWeights::read(WeightOp weight, WeightSink sink) {
  if (!weight.getIndex())
    return llvm::createStringError("weight '" + weight.getSymName() + "' has no source");
  return weights.read(*weight.getIndex(), sink);
}

onnx::ReaderOptions ssm::getReaderOptions(const CompileOptions &options, Diagnostics &diagnostics) {
  onnx::ReaderOptions reader;
  reader.weightsFolder = options.weightsDir;
  if (options.maxWeightBytes)
    reader.maxWeightBytes = options.maxWeightBytes;
  reader.warn = [&](const std::string &text) { diagnostics.warning(text); };
  return reader;
}

FailureOr<LoadedModels> ssm::loadModels(const CompileOptions &options, MLIRContext *context,
                                        Diagnostics &diagnostics) {
  onnx::Importer importer(context);
  onnx::ReaderOptions reader = getReaderOptions(options, diagnostics);
  for (const EntryFile &entry : options.entries) {
    auto model = onnx::readModel(entry.path, reader);
    if (!model) {
      diagnostics.error(model.takeError());
      return failure();
    }
    if (failed(importer.addEntry(entry.name, std::move(*model))))
      return failure();
  }
  LoadedModels loaded{importer.takeModule(), ModelWeights(importer.takeWeights())};
  // Later stages store tensors signless; the module tells what they were.
  for (WeightOp weight : loaded.module->getOps<WeightOp>())
    weight->setAttr(kElementTypeAttr,
                    TypeAttr::get(cast<ShapedType>(weight.getType()).getElementType()));
  return loaded;
}

std::string ssm::textOfModel(ModuleOp imported) {
  std::string text;
  llvm::raw_string_ostream stream(text);
  for (WeightOp weight : imported.getOps<WeightOp>())
    stream << weight.getSymName() << ": " << weight.getType() << "\n";
  for (auto function : imported.getOps<func::FuncOp>())
    function.print(stream);
  return text;
}

uint64_t ssm::hashModel(llvm::StringRef text, ModuleOp module) {
  std::string whole = text.str();
  for (WeightOp weight : module.getOps<WeightOp>())
    whole += std::to_string(weight.getHash().value_or(0)) + " ";
  return std::max<uint64_t>(hash128(llvm::arrayRefFromStringRef(whole)).low, 1);
}

Error ssm::mergeEqualWeights(ModuleOp module, WeightSources &sources) {
  using Key = std::tuple<uint64_t, int64_t, const void *>;
  std::map<Key, WeightOp> first;
  llvm::DenseMap<StringAttr, FlatSymbolRefAttr> merged;
  for (WeightOp weight : llvm::make_early_inc_range(module.getOps<WeightOp>())) {
    if (Error error = hashWeight(weight, sources))
      return error;
    if (!weight.getHash())
      continue;
    Key key = {*weight.getHash(), weight.getLength(), weight.getType().getAsOpaquePointer()};
    auto [it, inserted] = first.try_emplace(key, weight);
    if (inserted)
      continue;
    merged[weight.getSymNameAttr()] = FlatSymbolRefAttr::get(it->second.getSymNameAttr());
    weight.erase();
  }
  module.walk([&](LoadWeightOp load) {
    auto found = merged.find(load.getWeightAttr().getAttr());
    if (found != merged.end())
      load.setWeightAttr(found->second);
  });
  return Error::success();
}
