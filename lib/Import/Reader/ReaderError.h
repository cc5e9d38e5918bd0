//===- ReaderError.h - Errors of the ONNX reader ----------------*- C++ -*-===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef SSM_LIB_IMPORT_READER_READERERROR_H
#define SSM_LIB_IMPORT_READER_READERERROR_H

#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/Error.h"

namespace ssm::onnx {

/// Characters that would break the lines of a message, or end a C string.
inline bool isControl(unsigned char c) { return c < 0x20 || c == 0x7f; }

/// An error of the reader. Names in it come from the file: control characters are
/// shown as \xNN, so that the message stays one line.
inline llvm::Error readerError(const llvm::Twine &message) {
  std::string text;
  for (char c : message.str()) {
    if (isControl(c)) {
      text += "\\x";
      text += llvm::hexdigit((c >> 4) & 15, /*LowerCase=*/true);
      text += llvm::hexdigit(c & 15, /*LowerCase=*/true);
    } else {
      text += c;
    }
  }
  return llvm::createStringError(llvm::inconvertibleErrorCode(), text);
}

/// "where: message", to say from the outside in where an error was found.
inline llvm::Error inside(const llvm::Twine &where, llvm::Error error) {
  return readerError(where + ": " + llvm::toString(std::move(error)));
}

} // namespace ssm::onnx

#endif // SSM_LIB_IMPORT_READER_READERERROR_H
