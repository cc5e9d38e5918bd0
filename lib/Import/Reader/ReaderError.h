//===- ReaderError.h - Errors of the ONNX reader ----------------*- C++ -*-===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef SSM_LIB_IMPORT_READER_READERERROR_H
#define SSM_LIB_IMPORT_READER_READERERROR_H

#include "llvm/Support/Error.h"

namespace ssm::onnx {

inline llvm::Error readerError(const llvm::Twine &message) {
  return llvm::createStringError(llvm::inconvertibleErrorCode(), message);
}

/// "where: message", to say from the outside in where an error was found.
inline llvm::Error inside(const llvm::Twine &where, llvm::Error error) {
  return readerError(where + ": " + llvm::toString(std::move(error)));
}

} // namespace ssm::onnx

#endif // SSM_LIB_IMPORT_READER_READERERROR_H
