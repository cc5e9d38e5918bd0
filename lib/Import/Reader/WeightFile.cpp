//===- WeightFile.cpp - A mapped file -------------------------------------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "lib/Import/Reader/WeightFile.h"
#include "lib/Import/Reader/ReaderError.h"
#include "llvm/ADT/ScopeExit.h"
#include "llvm/Support/Errno.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

using namespace ssm::onnx;
using llvm::StringRef;
using llvm::Twine;

llvm::Expected<std::unique_ptr<WeightFile>> WeightFile::open(StringRef path) {
  // Opening a named pipe would wait for a writer.
  int descriptor = ::open(path.str().c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (descriptor < 0)
    return readerError("'" + path + "' cannot be opened: " + llvm::sys::StrError());
  return map(descriptor, path.str(), /*refuseHardLinks=*/false);
}

llvm::Expected<std::unique_ptr<WeightFile>> WeightFile::map(int descriptor, std::string path,
                                                            bool refuseHardLinks) {
  llvm::scope_exit closer([&] { ::close(descriptor); });
  struct stat status;
  if (::fstat(descriptor, &status) != 0)
    return readerError("'" + path + "' cannot be read: " + llvm::sys::StrError());
  if (!S_ISREG(status.st_mode))
    return readerError("'" + path + "' is not a regular file");
  if (refuseHardLinks && status.st_nlink > 1)
    return readerError("'" + path + "' has " + Twine(status.st_nlink) +
                       " hard links, expected one: it could be a file of another folder (name "
                       "the folder of the weights to allow links)");
  std::unique_ptr<WeightFile> file(new WeightFile(std::move(path)));
  if (status.st_size == 0)
    return file;
  std::error_code code;
  using Region = llvm::sys::fs::mapped_file_region;
  file->region = Region(descriptor, Region::readonly, status.st_size, 0, code);
  if (code)
    return readerError("'" + file->path + "' cannot be mapped: " + code.message());
  file->bytes = StringRef(file->region.const_data(), status.st_size);
  return file;
}

std::unique_ptr<WeightFile> WeightFile::fromMemory(StringRef bytes, std::string path) {
  std::unique_ptr<WeightFile> file(new WeightFile(std::move(path)));
  file->bytes = bytes;
  return file;
}

void WeightFile::dropPages() const {
  // Not the region's dontNeed(): it is posix_madvise, which glibc lets do nothing.
  if (region)
    ::madvise(const_cast<char *>(region.const_data()), region.size(), MADV_DONTNEED);
}
