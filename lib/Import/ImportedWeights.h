//===- ImportedWeights.h - Weights of imported models -----------*- C++ -*-===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef SSM_LIB_IMPORT_IMPORTEDWEIGHTS_H
#define SSM_LIB_IMPORT_IMPORTEDWEIGHTS_H

#include "lib/Import/Reader/WeightSource.h"
#include "llvm/ADT/STLFunctionalExtras.h"

namespace ssm::onnx {

/// What the `index` of an ssm.weight counts. Keeps the models, and so their maps,
/// alive.
class ImportedWeights {
public:
  /// Returns the model, which must have no more changes.
  const Model &addModel(std::unique_ptr<Model> model);

  /// Adds a tensor of an added model. Returns its index.
  int64_t add(const Model &model, WeightSource source);
  size_t size() const { return sources.size(); }

  /// Whether `path` is one of the files that the models were read from, by whatever name.
  bool isSource(llvm::StringRef path) const;

  /// Size of the weight as read() gives it.
  uint64_t getNumBytes(int64_t index) const { return sources[index].source.getNumUnpackedBytes(); }

  /// Gives the bytes of the weight to the sink in order, in pieces of a few MiB
  /// at most: row major, little endian, bools and elements of less than 8 bits as
  /// one byte each. Error: no such weight, or one that WeightSource cannot read.
  llvm::Error read(int64_t index,
                   llvm::function_ref<llvm::Error(llvm::ArrayRef<uint8_t>)> sink) const;

private:
  std::vector<std::unique_ptr<Model>> models;
  struct Weight {
    WeightSource source;
    const Model *model;
  };
  std::vector<Weight> sources;
};

} // namespace ssm::onnx

#endif // SSM_LIB_IMPORT_IMPORTEDWEIGHTS_H
