//===- ModelReader.h - From an ONNX file to structs -------------*- C++ -*-===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef SSM_LIB_IMPORT_READER_MODELREADER_H
#define SSM_LIB_IMPORT_READER_MODELREADER_H

#include "lib/Import/Reader/Model.h"
#include "lib/Import/Reader/ReaderOptions.h"

namespace ssm::onnx {

/// Maps `path` and reads it, maps the files of its external data, and validates
/// all of it (see Validate.h). No weight is copied and none is looked at. An
/// error starts with the path and names graph, node and tensor.
llvm::Expected<std::unique_ptr<Model>> readModel(llvm::StringRef path,
                                                 const ReaderOptions &options = {});

/// The same for bytes that outlive the model. External data needs a
/// weightsFolder in the options.
llvm::Expected<std::unique_ptr<Model>>
readModelFromMemory(llvm::StringRef bytes, llvm::StringRef name, const ReaderOptions &options = {});

} // namespace ssm::onnx

#endif // SSM_LIB_IMPORT_READER_MODELREADER_H
