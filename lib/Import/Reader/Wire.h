//===- Wire.h - Fields of a protobuf message --------------------*- C++ -*-===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef SSM_LIB_IMPORT_READER_WIRE_H
#define SSM_LIB_IMPORT_READER_WIRE_H

#include "llvm/ADT/StringRef.h"
#include <cstdint>

namespace ssm::onnx {

enum class WireType : uint8_t { Varint = 0, Fixed64 = 1, Bytes = 2, Fixed32 = 5 };

/// One field of a message: a number in `value`, or the contents in `bytes`.
struct WireField {
  uint32_t number = 0;
  WireType type = WireType::Varint;
  uint64_t value = 0;
  llvm::StringRef bytes;
};

/// Walks the fields of one message. A field that is not asked about costs its
/// tag and length only.
class WireCursor {
public:
  explicit WireCursor(llvm::StringRef message) : position(message.begin()), end(message.end()) {}

  /// False at the end of the message and on errors: look at getError() then.
  bool next(WireField &field);

  /// What is wrong with the message, or null.
  const char *getError() const { return error; }

private:
  const char *position;
  const char *end;
  const char *error = nullptr;
};

/// Takes one varint off the front of `bytes`. False if it is cut off or longer
/// than ten bytes.
bool takeVarint(llvm::StringRef &bytes, uint64_t &value);

} // namespace ssm::onnx

#endif // SSM_LIB_IMPORT_READER_WIRE_H
