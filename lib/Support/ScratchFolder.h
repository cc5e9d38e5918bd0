//===- ScratchFolder.h - A folder for temporary files -----------*- C++ -*-===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef SSM_LIB_SUPPORT_SCRATCHFOLDER_H
#define SSM_LIB_SUPPORT_SCRATCHFOLDER_H

#include "llvm/ADT/SmallString.h"
#include "llvm/Support/Error.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Path.h"
#include <string>

namespace ssm {

/// A new folder among the system's temporary files, removed with all that is in it.
class ScratchFolder {
public:
  static llvm::Expected<ScratchFolder> create(llvm::StringRef prefix) {
    llvm::SmallString<128> path;
    if (std::error_code code = llvm::sys::fs::createUniqueDirectory(prefix, path))
      return llvm::createStringError("cannot make a temporary folder: " + code.message());
    return ScratchFolder(path.str().str());
  }
  ScratchFolder(ScratchFolder &&other) : folder(std::move(other.folder)) { other.folder.clear(); }
  ScratchFolder &operator=(ScratchFolder &&) = delete;
  ~ScratchFolder() {
    if (!folder.empty())
      (void)llvm::sys::fs::remove_directories(folder);
  }

  llvm::StringRef path() const { return folder; }
  std::string file(llvm::StringRef name) const {
    llvm::SmallString<128> result(folder);
    llvm::sys::path::append(result, name);
    return result.str().str();
  }

private:
  explicit ScratchFolder(std::string folder) : folder(std::move(folder)) {}
  std::string folder;
};

} // namespace ssm

#endif // SSM_LIB_SUPPORT_SCRATCHFOLDER_H
