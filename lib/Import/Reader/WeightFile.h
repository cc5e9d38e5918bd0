//===- WeightFile.h - A mapped file -----------------------------*- C++ -*-===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef SSM_LIB_IMPORT_READER_WEIGHTFILE_H
#define SSM_LIB_IMPORT_READER_WEIGHTFILE_H

#include "llvm/Support/Error.h"
#include "llvm/Support/FileSystem.h"
#include <memory>
#include <string>

namespace ssm::onnx {

/// A file mapped for reading: pages come in when they are touched. The file must
/// not be truncated meanwhile.
class WeightFile {
public:
  /// Follows links: for files that the user names.
  static llvm::Expected<std::unique_ptr<WeightFile>> open(llvm::StringRef path);

  /// Maps an open descriptor, which it closes in every case. Errors unless it is
  /// a regular file; with `refuseHardLinks`, unless it has one name only.
  static llvm::Expected<std::unique_ptr<WeightFile>> map(int descriptor, std::string path,
                                                         bool refuseHardLinks);

  /// Bytes that the caller keeps alive.
  static std::unique_ptr<WeightFile> fromMemory(llvm::StringRef bytes, std::string path);

  const std::string &getPath() const { return path; }
  llvm::StringRef getBytes() const { return bytes; }

  /// Gives the memory of touched pages back; they come in again when needed.
  void dropPages() const;

private:
  WeightFile(std::string path) : path(std::move(path)) {}

  std::string path;
  mutable llvm::sys::fs::mapped_file_region region;
  llvm::StringRef bytes;
};

} // namespace ssm::onnx

#endif // SSM_LIB_IMPORT_READER_WEIGHTFILE_H
