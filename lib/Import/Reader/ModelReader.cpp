//===- ModelReader.cpp - From an ONNX file to structs ---------------------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "lib/Import/Reader/ModelReader.h"
#include "lib/Import/Reader/MessageParser.h"
#include "lib/Import/Reader/ReaderError.h"
#include "lib/Import/Reader/Validate.h"
#include "llvm/Support/Path.h"

using namespace ssm::onnx;
using llvm::Error;
using llvm::Expected;
using llvm::StringRef;

static Expected<std::unique_ptr<Model>> read(std::unique_ptr<WeightFile> file, std::string folder,
                                             const ReaderOptions &options) {
  StringRef bytes = file->getBytes();
  std::string path = file->getPath();
  if (bytes.empty())
    return readerError("'" + path + "' is empty, expected an ONNX model");
  if (bytes.starts_with("version https://git-lfs"))
    return readerError("'" + path +
                       "' is a Git LFS pointer, not an ONNX model: fetch the "
                       "file itself");
  auto model = std::make_unique<Model>();
  model->files.push_back(std::move(file));
  if (!options.weightsFolder.empty())
    folder = options.weightsFolder;
  ExternalData externalData(*model, std::move(folder), options);
  Error error = MessageParser(*model, externalData, options).parseModel(bytes);
  if (!error)
    error = validate(*model);
  if (error)
    return inside("'" + path + "'", std::move(error));
  return model;
}

Expected<std::unique_ptr<Model>> ssm::onnx::readModel(StringRef path,
                                                      const ReaderOptions &options) {
  auto file = WeightFile::open(path);
  if (!file)
    return file.takeError();
  StringRef folder = llvm::sys::path::parent_path(path);
  return read(std::move(*file), folder.empty() ? "." : folder.str(), options);
}

Expected<std::unique_ptr<Model>> ssm::onnx::readModelFromMemory(StringRef bytes, StringRef name,
                                                                const ReaderOptions &options) {
  return read(WeightFile::fromMemory(bytes, name.str()), "", options);
}
