//===- Safetensors.cpp - Reading safetensors ------------------------------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A strict reader of the part of JSON that a safetensors header may use. Files
// come from anywhere: nothing in them is believed before it is checked.
//
//===----------------------------------------------------------------------===//

#include "Safetensors.h"

#include "Hash.h"
#include "Status.h"

#include <cstdio>

using namespace ssmrt;

static constexpr uint64_t largestHeader = 100000000; // as the format says

namespace {

class HeaderReader {
public:
  HeaderReader(const char *file, const char *text, size_t bytes, SafetensorsHeader &header)
      : file(file), start(text), at(text), end(text + bytes), header(header) {}

  ssmrt_status read();

private:
  ssmrt_status bad(const char *problem) const {
    return fail(SSMRT_BAD_FILE, "'%s' is not a safetensors file: %s, at byte %lld of its header",
                file, problem, (long long)(at - start));
  }
  void skipSpace() {
    while (at < end && (*at == ' ' || *at == '\t' || *at == '\n' || *at == '\r'))
      ++at;
  }
  bool take(char expected) {
    skipSpace();
    if (at == end || *at != expected)
      return false;
    ++at;
    return true;
  }
  /// After an element: a comma and more, or the closing mark.
  ssmrt_status more(char close, bool &go) {
    go = take(',');
    return go || take(close) ? SSMRT_OK : bad("expected ',' or the end");
  }

  ssmrt_status readHex(uint32_t &value);
  ssmrt_status readEscape();
  ssmrt_status readUtf8();
  ssmrt_status readString(const char *&text, size_t &length);
  ssmrt_status readNumber(int64_t &value);
  ssmrt_status readNumbers(int64_t *values, int32_t room, int32_t &count);
  ssmrt_status readMetadata();
  ssmrt_status readTensor(FileTensor &tensor);
  bool put(char byte) {
    *write++ = byte;
    return byte != 0;
  }
  bool putCodePoint(uint32_t code);

  const char *file, *start, *at, *end;
  SafetensorsHeader &header;
  char *write = nullptr; // into header.names, which holds all decoded strings
};

} // namespace

ssmrt_status HeaderReader::readHex(uint32_t &value) {
  value = 0;
  for (int i = 0; i < 4; ++i, ++at) {
    if (at == end)
      return bad("a string does not end");
    char c = *at;
    int digit = c >= '0' && c <= '9'   ? c - '0'
                : c >= 'a' && c <= 'f' ? c - 'a' + 10
                : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                       : -1;
    if (digit < 0)
      return bad("bad \\u escape");
    value = value * 16 + uint32_t(digit);
  }
  return SSMRT_OK;
}

bool HeaderReader::putCodePoint(uint32_t code) {
  if (code < 0x80)
    return put(char(code));
  if (code < 0x800)
    return put(char(0xc0 | code >> 6)) && put(char(0x80 | (code & 0x3f)));
  if (code < 0x10000)
    return put(char(0xe0 | code >> 12)) && put(char(0x80 | (code >> 6 & 0x3f))) &&
           put(char(0x80 | (code & 0x3f)));
  return put(char(0xf0 | code >> 18)) && put(char(0x80 | (code >> 12 & 0x3f))) &&
         put(char(0x80 | (code >> 6 & 0x3f))) && put(char(0x80 | (code & 0x3f)));
}

/// After a backslash.
ssmrt_status HeaderReader::readEscape() {
  if (at == end)
    return bad("a string does not end");
  static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
  char c = *at++;
  if (c != 'u') {
    const char *found = c ? std::strchr(from, c) : nullptr;
    if (!found)
      return bad("unknown escape");
    put(to[found - from]);
    return SSMRT_OK;
  }
  uint32_t code;
  SSMRT_TRY(readHex(code));
  if (code >= 0xd800 && code < 0xdc00) {
    uint32_t low;
    if (end - at < 2 || at[0] != '\\' || at[1] != 'u')
      return bad("half a surrogate pair");
    at += 2;
    SSMRT_TRY(readHex(low));
    if (low < 0xdc00 || low > 0xdfff)
      return bad("half a surrogate pair");
    code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
  } else if (code >= 0xdc00 && code <= 0xdfff) {
    return bad("half a surrogate pair");
  }
  return putCodePoint(code) ? SSMRT_OK : bad("a NUL in a string");
}

/// One character of more than one byte.
ssmrt_status HeaderReader::readUtf8() {
  auto lead = uint8_t(*at);
  int extra = lead >= 0xf0 ? 3 : lead >= 0xe0 ? 2 : 1;
  if (lead < 0xc2 || lead > 0xf4 || end - at <= extra)
    return bad("a string is not UTF-8");
  uint32_t code = lead & (0x3fu >> extra);
  for (int i = 1; i <= extra; ++i) {
    auto next = uint8_t(at[i]);
    if ((next & 0xc0) != 0x80)
      return bad("a string is not UTF-8");
    code = code << 6 | (next & 0x3f);
  }
  static const uint32_t least[] = {0, 0x80, 0x800, 0x10000};
  if (code < least[extra] || code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff))
    return bad("a string is not UTF-8");
  at += extra + 1;
  putCodePoint(code);
  return SSMRT_OK;
}

/// Decodes a string; `text` ends in a NUL and stays in header.names.
ssmrt_status HeaderReader::readString(const char *&text, size_t &length) {
  if (!take('"'))
    return bad("expected a string");
  text = write;
  for (;;) {
    if (at == end)
      return bad("a string does not end");
    auto c = uint8_t(*at);
    if (c == '"')
      break;
    if (c < 0x20)
      return bad("a control character in a string");
    if (c >= 0x80) {
      SSMRT_TRY(readUtf8());
    } else if (c == '\\') {
      ++at;
      SSMRT_TRY(readEscape());
    } else {
      put(*at++);
    }
  }
  ++at;
  length = size_t(write - text);
  put(0);
  return SSMRT_OK;
}

/// A whole number that is not negative, the only kind a header has.
ssmrt_status HeaderReader::readNumber(int64_t &value) {
  skipSpace();
  if (at == end || *at < '0' || *at > '9')
    return bad("expected a number that is whole and not negative");
  value = 0;
  const char *first = at;
  for (; at < end && *at >= '0' && *at <= '9'; ++at)
    if (__builtin_mul_overflow(value, 10, &value) ||
        __builtin_add_overflow(value, *at - '0', &value))
      return bad("number is too large");
  if (*first == '0' && at - first > 1)
    return bad("number begins with 0");
  return SSMRT_OK;
}

ssmrt_status HeaderReader::readNumbers(int64_t *values, int32_t room, int32_t &count) {
  count = 0;
  if (!take('['))
    return bad("expected a list of numbers");
  if (take(']'))
    return SSMRT_OK;
  for (bool go = true; go;) {
    if (count == room)
      return bad("too many numbers in a list");
    SSMRT_TRY(readNumber(values[count++]));
    SSMRT_TRY(more(']', go));
  }
  return SSMRT_OK;
}

/// Checked for its form; but for the file's hash passed over.
ssmrt_status HeaderReader::readMetadata() {
  if (!take('{'))
    return bad("__metadata__ is not an object");
  if (take('}'))
    return SSMRT_OK;
  for (bool go = true; go;) {
    const char *key, *text;
    size_t length;
    SSMRT_TRY(readString(key, length));
    if (!take(':'))
      return bad("expected ':'");
    skipSpace();
    const char *quote = at;
    SSMRT_TRY(readString(text, length));
    if (!std::strcmp(key, hashKey)) {
      if (header.hashAt >= 0 || at - quote != ptrdiff_t(hashDigits + 2))
        return bad("a hash is there twice, or not of 16 digits");
      header.hashAt = int64_t(sizeof(uint64_t)) + (quote + 1 - start);
    } else if (!std::strcmp(key, modelKey)) {
      header.model = text;
    }
    SSMRT_TRY(more('}', go));
  }
  return SSMRT_OK;
}

ssmrt_status HeaderReader::readTensor(FileTensor &tensor) {
  if (!take('{'))
    return bad("expected a tensor's object");
  bool hasShape = false, hasOffsets = false;
  for (bool go = true; go;) {
    const char *key, *text;
    size_t length;
    SSMRT_TRY(readString(key, length));
    if (!take(':'))
      return bad("expected ':'");
    if (!std::strcmp(key, "dtype") && !tensor.type) {
      SSMRT_TRY(readString(text, length));
      tensor.type = findTypeByFileName(text, length);
      if (!tensor.type)
        return fail(SSMRT_UNSUPPORTED, "'%s': tensor '%s' has the unknown element type '%s'", file,
                    tensor.name, text);
    } else if (!std::strcmp(key, "shape") && !hasShape) {
      hasShape = true;
      SSMRT_TRY(readNumbers(tensor.dims, SSM_ABI_MAX_RANK, tensor.rank));
    } else if (!std::strcmp(key, "data_offsets") && !hasOffsets) {
      hasOffsets = true;
      int64_t offsets[2];
      int32_t count;
      SSMRT_TRY(readNumbers(offsets, 2, count));
      if (count != 2)
        return bad("expected two data_offsets");
      tensor.begin = offsets[0];
      tensor.end = offsets[1];
    } else {
      return bad("a tensor has an unknown key, or one twice");
    }
    SSMRT_TRY(more('}', go));
  }
  if (!tensor.type || !hasShape || !hasOffsets)
    return bad("a tensor lacks dtype, shape or data_offsets");
  int64_t bytes;
  if (!byteSize(tensor.dims, tensor.rank, tensor.type->bytes, &bytes) ||
      tensor.end < tensor.begin || tensor.end - tensor.begin != bytes)
    return fail(SSMRT_BAD_FILE,
                "'%s': tensor '%s' of shape %s takes bytes %lld to %lld, which "
                "does not fit its shape",
                file, tensor.name, textOf(tensor.dims, tensor.rank).text, (long long)tensor.begin,
                (long long)tensor.end);
  return SSMRT_OK;
}

ssmrt_status HeaderReader::read() {
  // Decoded strings are never longer than written ones, quotes make up for
  // NULs.
  if (!header.names.resize(size_t(end - start) + 1))
    return outOfMemory("a header", end - start);
  write = header.names.data();
  if (!take('{'))
    return bad("expected '{'");
  for (bool go = !take('}'); go;) {
    FileTensor tensor = {};
    size_t length;
    SSMRT_TRY(readString(tensor.name, length));
    if (!take(':'))
      return bad("expected ':'");
    if (!std::strcmp(tensor.name, "__metadata__")) {
      SSMRT_TRY(readMetadata());
    } else {
      SSMRT_TRY(readTensor(tensor));
      if (!header.tensors.push(tensor))
        return outOfMemory("a header", end - start);
    }
    SSMRT_TRY(more('}', go));
  }
  skipSpace();
  return at == end ? SSMRT_OK : bad("more after the end");
}

static int compareNames(const void *left, const void *right) {
  return std::strcmp((*static_cast<const FileTensor *const *>(left))->name,
                     (*static_cast<const FileTensor *const *>(right))->name);
}

static int compareOffsets(const void *left, const void *right) {
  const FileTensor *a = *static_cast<const FileTensor *const *>(left);
  const FileTensor *b = *static_cast<const FileTensor *const *>(right);
  if (a->begin != b->begin)
    return a->begin < b->begin ? -1 : 1;
  return a->end < b->end ? -1 : a->end > b->end;
}

ssmrt_status SafetensorsHeader::parse(const char *file, const uint8_t *data, size_t bytes) {
  uint64_t length = 0;
  if (bytes < sizeof(length))
    return fail(SSMRT_BAD_FILE, "'%s' is not a safetensors file: it has %llu bytes", file,
                (unsigned long long)bytes);
  std::memcpy(&length, data, sizeof(length));
  if (length > largestHeader || length > bytes - sizeof(length))
    return fail(SSMRT_BAD_FILE,
                "'%s' is not a safetensors file: a header of %llu bytes in a "
                "file of %llu",
                file, (unsigned long long)length, (unsigned long long)bytes);
  dataStart = int64_t(sizeof(length) + length);
  SSMRT_TRY(HeaderReader(file, reinterpret_cast<const char *>(data) + sizeof(length),
                         size_t(length), *this)
                .read());

  Array<FileTensor *> sorted;
  for (FileTensor &tensor : tensors)
    if (!sorted.push(&tensor))
      return outOfMemory("a header", (long long)length);
  size_t count = sorted.size();
  if (count)
    std::qsort(sorted.data(), count, sizeof(FileTensor *), compareNames);
  for (size_t i = 1; i < count; ++i)
    if (!std::strcmp(sorted[i - 1]->name, sorted[i]->name))
      return fail(SSMRT_BAD_FILE, "'%s': tensor '%s' is there twice", file, sorted[i]->name);
  if (count)
    std::qsort(sorted.data(), count, sizeof(FileTensor *), compareOffsets);
  int64_t at = 0, dataBytes = int64_t(bytes) - dataStart;
  for (FileTensor *tensor : sorted) {
    if (tensor->begin != at)
      return fail(SSMRT_BAD_FILE,
                  "'%s': tensor '%s' begins at byte %lld of the data, expected "
                  "%lld",
                  file, tensor->name, (long long)tensor->begin, (long long)at);
    at = tensor->end;
  }
  if (at != dataBytes)
    return fail(SSMRT_BAD_FILE, "'%s': its tensors have %lld bytes, the file has %lld for them",
                file, (long long)at, (long long)dataBytes);
  return SSMRT_OK;
}

ssmrt_status SafetensorsHeader::verify(const char *file, const uint8_t *data) const {
  if (hashAt < 0)
    return SSMRT_OK;
  Array<char> head;
  if (!head.append(reinterpret_cast<const char *>(data), size_t(dataStart)))
    return outOfMemory("a header", dataStart);
  std::memset(head.data() + hashAt, '0', hashDigits);
  uint64_t hash = hash64(head.data(), head.size());
  for (const FileTensor &tensor : tensors)
    hash = chainHash(hash, data + dataStart + tensor.begin, size_t(tensor.end - tensor.begin));
  HashText text(hash);
  if (std::memcmp(text.digits, data + hashAt, hashDigits) != 0)
    return fail(SSMRT_BAD_FILE, "'%s' is damaged: its bytes have hash %s, expected %.16s", file,
                text.digits, reinterpret_cast<const char *>(data) + hashAt);
  return SSMRT_OK;
}

int32_t SafetensorsHeader::find(const char *name) const {
  for (size_t i = 0; i < tensors.size(); ++i)
    if (!std::strcmp(tensors[i].name, name))
      return int32_t(i);
  return -1;
}
