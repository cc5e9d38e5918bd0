//===- File.cpp - Files, mapped and written -------------------------------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "File.h"

#include "Memory.h"
#include "Status.h"

#include <cerrno>
#include <cstdio>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

using namespace ssmrt;

ssmrt_status MappedFile::open(const char *path, const char *what) {
  close();
  // Not blocking, so that a pipe under this name is told, not waited for.
  handle = ::open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (handle < 0)
    return fail(SSMRT_IO_ERROR, "cannot open %s '%s': %s", what, path, std::strerror(errno));
  struct stat facts;
  if (fstat(handle, &facts) != 0)
    return fail(SSMRT_IO_ERROR, "cannot read %s '%s': %s", what, path, std::strerror(errno));
  if (!S_ISREG(facts.st_mode))
    return fail(SSMRT_IO_ERROR, "%s '%s' is not a regular file", what, path);
  if (facts.st_size == 0)
    return SSMRT_OK;
  void *mapped = mmap(nullptr, size_t(facts.st_size), PROT_READ, MAP_PRIVATE, handle, 0);
  if (mapped == MAP_FAILED)
    return fail(SSMRT_IO_ERROR, "cannot map %s '%s' of %lld bytes: %s", what, path,
                (long long)facts.st_size, std::strerror(errno));
  bytes = static_cast<const uint8_t *>(mapped);
  length = size_t(facts.st_size);
  return SSMRT_OK;
}

void MappedFile::unmap() {
  if (bytes)
    munmap(const_cast<uint8_t *>(bytes), length);
  bytes = nullptr;
  length = 0;
}

void MappedFile::close() {
  unmap();
  if (handle >= 0)
    ::close(handle);
  handle = -1;
}

NewFile::~NewFile() {
  if (handle >= 0)
    ::close(handle);
  if (temporary)
    unlink(temporary);
  std::free(temporary);
}

ssmrt_status NewFile::create(const char *path) {
  target = path;
  struct stat facts;
  if (stat(path, &facts) == 0 && !S_ISREG(facts.st_mode)) {
    handle = ::open(path, O_WRONLY | O_CLOEXEC);
  } else {
    size_t room = std::strlen(path) + 32;
    temporary = static_cast<char *>(std::malloc(room));
    if (!temporary)
      return outOfMemory("a file name", (long long)room);
    for (int attempt = 0; attempt < 100 && handle < 0; ++attempt) {
      std::snprintf(temporary, room, "%s.%ld-%d.part", path, long(getpid()), attempt);
      handle = ::open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
      if (handle < 0 && errno != EEXIST)
        break;
    }
    if (handle < 0) {
      std::free(temporary);
      temporary = nullptr;
    }
  }
  if (handle < 0)
    return fail(SSMRT_IO_ERROR, "cannot create '%s': %s", path, std::strerror(errno));
  return SSMRT_OK;
}

ssmrt_status NewFile::write(const void *data, size_t bytes) {
  const auto *rest = static_cast<const uint8_t *>(data);
  while (bytes) {
    ssize_t done = ::write(handle, rest, bytes);
    if (done < 0 && errno == EINTR)
      continue;
    if (done < 0)
      return fail(SSMRT_IO_ERROR, "cannot write '%s': %s", target, std::strerror(errno));
    rest += done;
    bytes -= size_t(done);
  }
  return SSMRT_OK;
}

ssmrt_status NewFile::commit() {
  // The name must not be on the disk before the bytes are. EINVAL: what cannot be synced.
  bool isWhole = !temporary || fsync(handle) == 0 || errno == EINVAL;
  int closed = ::close(handle);
  handle = -1;
  if (!isWhole || closed != 0 || (temporary && std::rename(temporary, target) != 0))
    return fail(SSMRT_IO_ERROR, "cannot write '%s': %s", target, std::strerror(errno));
  std::free(temporary);
  temporary = nullptr;
  return SSMRT_OK;
}
