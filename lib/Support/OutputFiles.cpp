//===- OutputFiles.cpp - Files that appear whole or not at all ------------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "lib/Support/OutputFiles.h"

using namespace llvm;
using namespace ssm;

OutputFiles::~OutputFiles() {
  for (File &file : files)
    consumeError(file.temporary.discard());
}

Expected<std::string> OutputFiles::create(StringRef path, bool keep) {
  if (sys::fs::is_directory(path))
    return createStringError("cannot write '" + path + "': it is a folder");
  Expected<sys::fs::TempFile> temporary = sys::fs::TempFile::create(path + ".%%%%%%%%.tmp");
  if (!temporary)
    return createStringError("cannot write '" + path + "': " + toString(temporary.takeError()));
  files.push_back({std::move(*temporary), keep ? path.str() : std::string()});
  return files.back().temporary.TmpName;
}

Expected<std::string> OutputFiles::add(StringRef path) { return create(path, /*keep=*/true); }

Expected<std::string> OutputFiles::addScratch(StringRef path) {
  return create(path, /*keep=*/false);
}

Error OutputFiles::commit() {
  std::vector<File> pending = std::move(files);
  files.clear();
  Error failure = Error::success();
  std::vector<std::string> kept;
  for (File &file : pending) {
    if (failure || file.path.empty()) {
      consumeError(file.temporary.discard());
      continue;
    }
    if (Error error = file.temporary.keep(file.path)) {
      failure =
          joinErrors(std::move(failure), createStringError("cannot write '" + file.path +
                                                           "': " + toString(std::move(error))));
      continue;
    }
    kept.push_back(file.path);
  }
  if (failure)
    for (const std::string &path : kept)
      (void)sys::fs::remove(path);
  return failure;
}
