//===- ImportedWeights.cpp - Weights of imported models -------------------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "lib/Import/ImportedWeights.h"

#include "lib/Import/Reader/ReaderError.h"
#include "llvm/ADT/StringExtras.h"

using namespace llvm;
using namespace ssm::onnx;

static constexpr size_t pieceBytes = size_t(4) << 20;

const Model &ImportedWeights::addModel(std::unique_ptr<Model> model) {
  models.push_back(std::move(model));
  return *models.back();
}

int64_t ImportedWeights::add(const Model &model, WeightSource source) {
  sources.push_back({source, &model});
  return sources.size() - 1;
}

bool ImportedWeights::isSource(StringRef path) const {
  return any_of(models, [&](const std::unique_ptr<Model> &model) {
    return any_of(model->files, [&](const std::unique_ptr<WeightFile> &file) {
      return sys::fs::equivalent(path, file->getPath());
    });
  });
}

Error ImportedWeights::read(int64_t index, function_ref<Error(ArrayRef<uint8_t>)> sink) const {
  if (index < 0 || index >= static_cast<int64_t>(sources.size()))
    return readerError("there is no weight number " + Twine(index));
  const auto &[source, model] = sources[index];
  std::vector<char> converted;
  StringRef bytes;
  bool packed = source.getNumUnpackedBytes() != source.getNumBytes();
  if (auto inFile = packed ? std::nullopt : source.getBytes()) {
    bytes = *inFile;
  } else {
    converted.resize(source.getNumUnpackedBytes());
    if (Error error = source.readUnpackedInto(converted))
      return error;
    bytes = StringRef(converted.data(), converted.size());
  }
  // What was read once is seldom read again; a model, and even one weight, may be
  // larger than memory.
  const WeightFile &file = *model->files[source.getRange().value_or(FileRange()).file];
  bool isLarge = source.getNumBytes() > pieceBytes;
  for (; !bytes.empty(); bytes = bytes.drop_front(std::min(pieceBytes, bytes.size()))) {
    if (Error error = sink(arrayRefFromStringRef(bytes.take_front(pieceBytes))))
      return error;
    if (isLarge)
      file.dropPages();
  }
  return Error::success();
}
