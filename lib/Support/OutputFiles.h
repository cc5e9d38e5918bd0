//===- OutputFiles.h - Files that appear whole or not at all ----*- C++ -*-===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef SSM_LIB_SUPPORT_OUTPUTFILES_H
#define SSM_LIB_SUPPORT_OUTPUTFILES_H

#include "llvm/Support/Error.h"
#include "llvm/Support/FileSystem.h"
#include <string>
#include <vector>

namespace ssm {

/// Files under temporary names in the folders where they are to be. commit()
/// gives all of them their names; without it nothing is left, also when a signal
/// ends the process. What SIGKILL leaves is removed when a file of the same name is begun
/// again.
class OutputFiles {
public:
  OutputFiles() = default;
  OutputFiles(const OutputFiles &) = delete;
  OutputFiles &operator=(const OutputFiles &) = delete;
  ~OutputFiles();

  /// Begins a file that will be `path`. Returns its temporary path, where an
  /// empty file is. Error: the folder cannot be written, or `path` is a folder.
  llvm::Expected<std::string> add(llvm::StringRef path);

  /// A temporary file beside `path` that is gone afterwards.
  llvm::Expected<std::string> addScratch(llvm::StringRef path);

  /// Renames the files in the order they were added.
  llvm::Error commit();

private:
  llvm::Expected<std::string> create(llvm::StringRef path, bool keep);

  struct File {
    llvm::sys::fs::TempFile temporary;
    std::string path; // empty for scratch
  };
  std::vector<File> files;
};

} // namespace ssm

#endif // SSM_LIB_SUPPORT_OUTPUTFILES_H
