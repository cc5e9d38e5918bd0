//===- ExternalData.h - Files that hold the weights of a model ----*- C++ -*-===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef SSM_LIB_IMPORT_READER_EXTERNALDATA_H
#define SSM_LIB_IMPORT_READER_EXTERNALDATA_H

#include "lib/Import/Reader/Model.h"
#include "lib/Import/Reader/ReaderOptions.h"
#include "llvm/ADT/StringMap.h"

namespace ssm::onnx {

/// Finds and maps the files that `external_data` entries name. A model comes
/// from anywhere, so a location must not lead out of the folder: it is relative,
/// has no "..", and no part of it is a link (unless links are allowed).
class ExternalData {
public:
  using Entry = std::pair<llvm::StringRef, llvm::StringRef>;

  /// `folder` is empty if the model has none (it was read from memory).
  ExternalData(Model &model, std::string folder, const ReaderOptions &options);
  ~ExternalData();

  /// Fills in where the elements of `tensor` are, whose type and dims are known.
  llvm::Error resolve(TensorData &tensor, llvm::ArrayRef<Entry> entries);

private:
  llvm::Expected<unsigned> getFile(llvm::StringRef location);
  llvm::Expected<int> openInside(llvm::ArrayRef<llvm::StringRef> parts, bool followLinks);

  Model &model;
  std::string folder;
  const ReaderOptions &options;
  int folderDescriptor = -1;
  llvm::StringMap<unsigned> files;
};

} // namespace ssm::onnx

#endif // SSM_LIB_IMPORT_READER_EXTERNALDATA_H
