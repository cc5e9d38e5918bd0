//===- OutputFiles.cpp - Files that appear whole or not at all ------------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "lib/Support/OutputFiles.h"

#include "llvm/Support/Path.h"
#include "llvm/Support/Process.h"

#include <cerrno>
#include <csignal>
#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

using namespace llvm;
using namespace ssm;

OutputFiles::~OutputFiles() {
  for (File &file : files)
    consumeError(file.temporary.discard());
}

/// Removes what processes that were killed left of a file of this name. Names tell
/// the process; the lock, which the compiler holds on its own, spares those of another
/// machine or container with the same folder.
static void removeAbandoned(StringRef path) {
  StringRef folder = sys::path::parent_path(path);
  std::string start = (sys::path::filename(path) + ".").str();
  std::error_code error;
  for (sys::fs::directory_iterator file(folder.empty() ? "." : folder, error), end;
       file != end && !error; file.increment(error)) {
    StringRef name = sys::path::filename(file->path());
    int process = 0;
    if (!name.consume_front(start) || !name.consume_back(".tmp") ||
        name.consumeInteger(10, process) || !name.starts_with("-") || name.size() != 9 ||
        process <= 0 || ::kill(process, 0) == 0 || errno != ESRCH)
      continue;
    int fd = ::open(file->path().c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0)
      continue;
    if (::flock(fd, LOCK_EX | LOCK_NB) == 0)
      (void)sys::fs::remove(file->path());
    ::close(fd);
  }
}

Expected<std::string> OutputFiles::create(StringRef path, bool keep) {
  if (sys::fs::is_directory(path))
    return createStringError("cannot write '" + path + "': it is a folder");
  removeAbandoned(path);
  std::string process = std::to_string(sys::Process::getProcessId());
  Expected<sys::fs::TempFile> temporary =
      sys::fs::TempFile::create(path + "." + process + "-%%%%%%%%.tmp");
  if (!temporary)
    return createStringError("cannot write '" + path + "': " + toString(temporary.takeError()));
  (void)::flock(temporary->FD, LOCK_SH | LOCK_NB);
  files.push_back({std::move(*temporary), keep ? path.str() : std::string()});
  return files.back().temporary.TmpName;
}

Expected<std::string> OutputFiles::add(StringRef path) {
  // A file would be renamed over it. Folders are create()'s to refuse.
  sys::fs::file_status status;
  if (!sys::fs::status(path, status) && status.type() != sys::fs::file_type::regular_file &&
      status.type() != sys::fs::file_type::directory_file)
    return createStringError("cannot write '" + path + "': it is there, and no file");
  return create(path, /*keep=*/true);
}

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
