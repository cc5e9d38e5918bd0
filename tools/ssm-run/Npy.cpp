//===- Npy.cpp - NumPy's array files --------------------------------------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The header is a Python dict of three keys; what NumPy itself writes is read,
// in versions 1 to 3, little-endian. bfloat16 has no name there and goes as V2.
//
//===----------------------------------------------------------------------===//

#include "Support.h"

#include <cstring>
#include <fstream>
#include <iterator>

using namespace ssmrun;

static const char magic[] = "\x93NUMPY";
static constexpr size_t magicBytes = 6;

/// The text after 'key': in a header.
static std::string valueOf(const std::string &header, const std::string &key,
                           const std::string &path) {
  size_t at = header.find("'" + key + "'");
  if (at != std::string::npos)
    at = header.find_first_not_of(": ", at + key.size() + 2);
  if (at == std::string::npos)
    throw Error("'" + path + "' is not a .npy file: no '" + key + "'");
  return header.substr(at);
}

static DLDataType parseType(const std::string &text, const std::string &path) {
  size_t end = text.find('\'', 1);
  std::string name = text[0] == '\'' && end != std::string::npos ? text.substr(1, end - 1) : "";
  if (name.size() < 3 || name[0] == '>')
    throw Error("'" + path + "': element type " + text.substr(0, end + 1) + " is not known");
  int64_t bytes = toInteger(name.substr(2), "'" + path + "': element type");
  auto bits = uint8_t(bytes * 8);
  switch (name[1]) {
  case 'f':
    if (bytes == 2 || bytes == 4 || bytes == 8)
      return {2, bits, 1};
    break;
  case 'i':
  case 'u':
    if (bytes == 1 || bytes == 2 || bytes == 4 || bytes == 8)
      return {uint8_t(name[1] == 'u'), bits, 1};
    break;
  case 'b':
    if (bytes == 1)
      return {6, 8, 1};
    break;
  case 'V':
    if (bytes == 2)
      return {4, 16, 1};
    break;
  }
  throw Error("'" + path + "': element type '" + name + "' is not known");
}

static std::vector<int64_t> parseShape(const std::string &text, const std::string &path) {
  size_t end = text.find(')');
  if (text[0] != '(' || end == std::string::npos)
    throw Error("'" + path + "' is not a .npy file: bad shape");
  std::vector<int64_t> shape;
  std::string number;
  for (char c : text.substr(1, end - 1) + ",") {
    if (c == ',' && !number.empty()) {
      shape.push_back(toInteger(number, "'" + path + "': shape"));
      number.clear();
    } else if (c != ',' && c != ' ') {
      number += c;
    }
  }
  return shape;
}

/// From first axis fastest to last axis fastest.
static std::vector<uint8_t> toRowMajor(const std::vector<uint8_t> &from,
                                       const std::vector<int64_t> &shape, size_t unit) {
  std::vector<uint8_t> to(from.size());
  std::vector<int64_t> index(shape.size(), 0);
  for (size_t at = 0; at < from.size(); at += unit) {
    size_t source = 0;
    for (size_t axis = shape.size(); axis-- > 0;)
      source = source * size_t(shape[axis]) + size_t(index[axis]);
    std::memcpy(&to[at], &from[source * unit], unit);
    for (size_t axis = shape.size(); axis-- > 0;) {
      if (++index[axis] < shape[axis])
        break;
      index[axis] = 0;
    }
  }
  return to;
}

HostTensor ssmrun::readNpy(const std::string &name, const std::string &path) {
  std::ifstream in(path, std::ios::binary);
  std::string file((std::istreambuf_iterator<char>(in)), std::istreambuf_iterator<char>());
  if (!in)
    throw Error("cannot read '" + path + "'");
  if (file.size() < 12 || file.compare(0, magicBytes, magic))
    throw Error("'" + path + "' is not a .npy file");
  bool old = file[6] == 1;
  uint32_t length = 0;
  std::memcpy(&length, file.data() + 8, old ? 2 : 4);
  size_t start = old ? 10 : 12;
  if (file[6] < 1 || file[6] > 3 || length > file.size() - start)
    throw Error("'" + path + "' is not a .npy file of version 1 to 3");
  std::string header = file.substr(start, length);
  start += length;

  HostTensor tensor{name,
                    parseType(valueOf(header, "descr", path), path),
                    parseShape(valueOf(header, "shape", path), path),
                    {}};
  if (tensor.shape.size() > SSMRT_MAX_RANK)
    throw Error("'" + path + "': rank " + std::to_string(tensor.shape.size()) + " is above 16");
  size_t unit = tensor.type.bits / 8;
  size_t bytes = size_t(countOf(tensor.shape)) * unit;
  if (file.size() - start != bytes)
    throw Error("'" + path + "' has " + std::to_string(file.size() - start) +
                " bytes of data, its shape takes " + std::to_string(bytes));
  tensor.bytes.assign(file.begin() + std::ptrdiff_t(start), file.end());
  if (valueOf(header, "fortran_order", path).compare(0, 4, "True") == 0)
    tensor.bytes = toRowMajor(tensor.bytes, tensor.shape, unit);
  return tensor;
}

std::string ssmrun::npyBytes(const DLTensor &tensor) {
  static const char kinds[] = {'i', 'u', 'f', '?', 'V', '?', 'b'};
  int unit = tensor.dtype.bits / 8;
  std::string header = "{'descr': '";
  header += unit == 1 ? '|' : '<';
  header += kinds[tensor.dtype.code];
  header += std::to_string(unit) + "', 'fortran_order': False, 'shape': (";
  int64_t count = 1;
  for (int32_t axis = 0; axis < tensor.ndim; ++axis) {
    header += std::to_string(tensor.shape[axis]) + ",";
    count *= tensor.shape[axis];
  }
  header += "), }";
  header.resize((header.size() + 11 + 63) / 64 * 64 - 11, ' ');
  header += '\n';
  auto length = uint16_t(header.size());
  std::string file(magic, magicBytes);
  file += {'\1', '\0', char(length & 0xff), char(length >> 8)};
  file += header;
  file.append(static_cast<const char *>(tensor.data) + tensor.byte_offset, size_t(count * unit));
  return file;
}
