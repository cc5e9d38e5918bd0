//===- Status.cpp - How a failure gets its message ------------------------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The message lives in the thread that made the failing call, in a fixed
// buffer: telling of a failure never allocates, so it cannot fail itself.
//
//===----------------------------------------------------------------------===//

#include "Status.h"

#include <cstdarg>
#include <cstdio>
#include <cstring>

static thread_local char lastMessage[2048];

ssmrt_status ssmrt::fail(ssmrt_status status, const char *format, ...) {
  // Formatted aside: an argument may be the previous message.
  char text[sizeof(lastMessage)];
  va_list arguments;
  va_start(arguments, format);
  std::vsnprintf(text, sizeof(text), format, arguments);
  va_end(arguments);
  std::memcpy(lastMessage, text, sizeof(text));
  return status;
}

void ssmrt::Text::add(const char *text, size_t length) {
  if (used + length >= sizeof(data))
    length = sizeof(data) - 1 - used;
  std::memcpy(data + used, text, length);
  used += length;
  data[used] = 0;
}

void ssmrt::Text::add(const char *text) { add(text, std::strlen(text)); }

const char *ssmrt_last_message(void) { return lastMessage; }

uint32_t ssmrt_api_version(void) { return SSMRT_API_VERSION; }

const char *ssmrt_status_name(ssmrt_status status) {
  switch (status) {
  case SSMRT_OK:
    return "ok";
  case SSMRT_INVALID_ARGUMENT:
    return "invalid argument";
  case SSMRT_NOT_FOUND:
    return "not found";
  case SSMRT_IO_ERROR:
    return "input/output error";
  case SSMRT_BAD_FILE:
    return "bad file";
  case SSMRT_UNSUPPORTED:
    return "unsupported";
  case SSMRT_OUT_OF_MEMORY:
    return "out of memory";
  case SSMRT_CHECK_FAILED:
    return "check failed";
  case SSMRT_OUTPUT_REFUSED:
    return "output refused";
  case SSMRT_BUSY:
    return "busy";
  case SSMRT_INTERNAL:
    return "internal error";
  case SSMRT_NO_DEVICE:
    return "no device";
  case SSMRT_DEVICE_FAILED:
    return "device failed";
  }
  return "unknown status";
}
