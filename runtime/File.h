//===- File.h - Files, mapped and written -----------------------*- C++ -*-===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef SSMRT_FILE_H
#define SSMRT_FILE_H

#include "ssmrt/ssmrt.h"

namespace ssmrt {

/// A regular file, mapped read only. What another process does to the file
/// while it is mapped shows through: a shortened file faults, as any mapping
/// does.
class MappedFile {
public:
  MappedFile() = default;
  MappedFile(const MappedFile &) = delete;
  MappedFile &operator=(const MappedFile &) = delete;
  ~MappedFile() { close(); }

  /// `what` is how messages call the file: "module", "weights file".
  ssmrt_status open(const char *path, const char *what);
  /// Gives the mapping back and keeps the descriptor.
  void unmap();
  void close();

  const uint8_t *data() const { return bytes; }
  size_t size() const { return length; }
  int descriptor() const { return handle; }

private:
  const uint8_t *bytes = nullptr;
  size_t length = 0;
  int handle = -1;
};

/// A file under a temporary name until it is whole; then it replaces `path`.
/// What is not a regular file (a pipe, /dev/null) is written in place.
class NewFile {
public:
  NewFile() = default;
  NewFile(const NewFile &) = delete;
  NewFile &operator=(const NewFile &) = delete;
  /// Removes what was not committed.
  ~NewFile();

  ssmrt_status create(const char *path);
  ssmrt_status write(const void *data, size_t bytes);
  ssmrt_status commit();

private:
  const char *target = nullptr;
  char *temporary = nullptr;
  int handle = -1;
};

} // namespace ssmrt

#endif // SSMRT_FILE_H
