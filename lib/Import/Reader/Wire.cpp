//===- Wire.cpp - Fields of a protobuf message ----------------------------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//
// The only file that sees protozero, and so the only one with exceptions. Its
// pbf_reader is not used: it keeps lengths in 32 bits, and a graph of more than
// 4 GiB would be misread without a word.
//
//===----------------------------------------------------------------------===//

#include "lib/Import/Reader/Wire.h"

#include <cstring>
#include <protozero/varint.hpp>

using namespace ssm::onnx;

bool WireCursor::next(WireField &field) {
  if (error || position == end)
    return false;
  try {
    uint64_t tag = protozero::decode_varint(&position, end);
    uint64_t number = tag >> 3;
    if (number == 0 || number > (uint64_t(1) << 29) - 1) {
      error = "a field has an impossible number";
      return false;
    }
    field = WireField();
    field.number = static_cast<uint32_t>(number);
    auto available = static_cast<uint64_t>(end - position);
    unsigned type = tag & 7;
    switch (type) {
    case 0:
      field.value = protozero::decode_varint(&position, end);
      break;
    case 1:
    case 5: {
      uint64_t size = type == 1 ? 8 : 4;
      if (available < size) {
        error = "it ends in the middle of a number";
        return false;
      }
      // ONNX and all hosts of the compiler are little endian.
      std::memcpy(&field.value, position, size);
      position += size;
      break;
    }
    case 2: {
      uint64_t length = protozero::decode_varint(&position, end);
      if (length > static_cast<uint64_t>(end - position)) {
        error = "it ends in the middle of a field";
        return false;
      }
      field.bytes = llvm::StringRef(position, length);
      position += length;
      break;
    }
    default:
      error = "a field has an unknown encoding";
      return false;
    }
    field.type = static_cast<WireType>(type);
    return true;
  } catch (const protozero::varint_too_long_exception &) {
    error = "a number has more than ten bytes";
  } catch (const protozero::exception &) {
    error = "it ends in the middle of a number";
  }
  return false;
}

bool ssm::onnx::takeVarint(llvm::StringRef &bytes, uint64_t &value) {
  const char *position = bytes.begin();
  try {
    value = protozero::decode_varint(&position, bytes.end());
  } catch (const protozero::exception &) {
    return false;
  }
  bytes = bytes.drop_front(position - bytes.begin());
  return true;
}
