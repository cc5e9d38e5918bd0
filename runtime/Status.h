//===- Status.h - How a failure gets its message ----------------*- C++ -*-===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef SSMRT_STATUS_H
#define SSMRT_STATUS_H

#include "ssmrt/ssmrt.h"

namespace ssmrt {

/// Sets this thread's message and returns `status`.
ssmrt_status fail(ssmrt_status status, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

inline ssmrt_status outOfMemory(const char *what, long long bytes) {
  return fail(SSMRT_OUT_OF_MEMORY, "out of memory: %lld bytes for %s", bytes, what);
}

/// A text of limited length, cut where it ends, that a message is put together in.
struct Text {
  char data[768];
  size_t used = 0;

  Text() { data[0] = 0; }
  void add(const char *text, size_t length);
  void add(const char *text);
};

} // namespace ssmrt

/// Leaves the function with the status of `expression` unless it is ok.
#define SSMRT_TRY(expression)                                                                      \
  do {                                                                                             \
    ssmrt_status tryStatus = (expression);                                                         \
    if (tryStatus != SSMRT_OK)                                                                     \
      return tryStatus;                                                                            \
  } while (0)

#endif // SSMRT_STATUS_H
