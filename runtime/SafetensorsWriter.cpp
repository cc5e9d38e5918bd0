//===- SafetensorsWriter.cpp - Writing safetensors ------------------------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Hash.h"
#include "Safetensors.h"
#include "Status.h"

#include <cstdio>

using namespace ssmrt;

static bool appendText(Array<char> &to, const char *text) {
  return to.append(text, std::strlen(text));
}

static bool appendString(Array<char> &to, const char *text) {
  bool fits = to.push('"');
  for (; *text && fits; ++text) {
    auto c = uint8_t(*text);
    char escape[8] = {'\\', *text, 0};
    if (c < 0x20)
      std::snprintf(escape, sizeof(escape), "\\u%04x", c);
    fits = c < 0x20 || c == '"' || c == '\\' ? appendText(to, escape) : to.push(*text);
  }
  return fits && to.push('"');
}

static bool appendTensor(Array<char> &to, const ssmrt_input &input, const TypeInfo &type,
                         int64_t begin, int64_t end) {
  char number[64];
  bool fits = appendString(to, input.name) && appendText(to, ":{\"dtype\":\"") &&
              appendText(to, type.fileName) && appendText(to, "\",\"shape\":[");
  for (int32_t axis = 0; axis < input.tensor->ndim && fits; ++axis) {
    std::snprintf(number, sizeof(number), axis ? ",%lld" : "%lld",
                  (long long)input.tensor->shape[axis]);
    fits = appendText(to, number);
  }
  std::snprintf(number, sizeof(number), "],\"data_offsets\":[%lld,%lld]}", (long long)begin,
                (long long)end);
  return fits && appendText(to, number);
}

namespace {
struct Item {
  const ssmrt_input *input;
  const TypeInfo *type;
  int64_t bytes;

  const uint8_t *data() const {
    return static_cast<const uint8_t *>(input->tensor->data) + input->tensor->byte_offset;
  }
};
} // namespace

ssmrt_status ssmrt::writeSafetensors(const ssmrt_input *tensors, int32_t count, uint64_t model,
                                     WriteFn write, void *sink) {
  Array<Item> items;
  for (int32_t unit = 8; unit; unit /= 2)
    for (int32_t i = 0; i < count; ++i) {
      const DLTensor &tensor = *tensors[i].tensor;
      const TypeInfo *type = findType(tensor.dtype);
      int64_t bytes;
      if (!type || tensor.ndim < 0 || tensor.ndim > SSM_ABI_MAX_RANK ||
          !byteSize(tensor.shape, tensor.ndim, type->bytes, &bytes))
        return fail(SSMRT_INVALID_ARGUMENT,
                    "tensor '%s' has a type or shape that cannot be written", tensors[i].name);
      if (type->bytes == unit && !items.push({&tensors[i], type, bytes}))
        return outOfMemory("a header", count);
    }

  Array<char> header;
  bool fits = header.resize(8) && appendText(header, "{\"__metadata__\":{\"") &&
              appendText(header, hashKey) && appendText(header, "\":\"");
  size_t hashAt = header.size();
  fits = fits && appendText(header, "0000000000000000");
  if (model)
    fits = fits && appendText(header, "\",\"") && appendText(header, modelKey) &&
           appendText(header, "\":\"") && appendText(header, HashText(model).digits);
  fits = fits && appendText(header, "\"}");
  int64_t at = 0;
  for (const Item &item : items) {
    fits = fits && header.push(',') &&
           appendTensor(header, *item.input, *item.type, at, at + item.bytes);
    at += item.bytes;
  }
  fits = fits && header.push('}');
  while (fits && header.size() % 8)
    fits = header.push(' ');
  if (!fits)
    return outOfMemory("a header", (long long)header.size());
  uint64_t length = header.size() - 8;
  std::memcpy(header.data(), &length, sizeof(length));
  uint64_t hash = hash64(header.data(), header.size());
  for (const Item &item : items)
    hash = chainHash(hash, item.data(), size_t(item.bytes));
  std::memcpy(header.data() + hashAt, HashText(hash).digits, hashDigits);

  SSMRT_TRY(write(sink, header.data(), header.size()));
  for (const Item &item : items)
    if (item.bytes)
      SSMRT_TRY(write(sink, item.data(), size_t(item.bytes)));
  return SSMRT_OK;
}
