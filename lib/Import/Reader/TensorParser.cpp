//===- TensorParser.cpp - TensorProto and SparseTensorProto ---------------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "lib/Import/Reader/MessageParser.h"
#include "lib/Import/Reader/ReaderError.h"
#include "llvm/Support/MathExtras.h"

using namespace ssm::onnx;
using llvm::Error;
using llvm::StringRef;
using llvm::Twine;

/// Sizes are held in int64_t by all that comes after.
static Error checkSize(llvm::ArrayRef<int64_t> dims, ElementType type) {
  uint64_t count = 1;
  bool overflow = false, empty = false;
  for (int64_t dim : dims) {
    if (dim < 0)
      return readerError("it has the dimension " + Twine(dim) + ", expected 0 or more");
    bool tooLarge = false;
    count = llvm::SaturatingMultiply<uint64_t>(count, dim, &tooLarge);
    overflow |= tooLarge;
    empty |= dim == 0;
  }
  if (empty)
    return Error::success();
  uint64_t bits = std::max(getBitWidth(type), 8u);
  if (overflow || count > uint64_t(INT64_MAX) / bits)
    return readerError("its dims overflow: more than 2^63 bits");
  return Error::success();
}

/// The repeated field that holds elements of a type outside of raw data.
static uint32_t typedFieldOf(ElementType type) {
  switch (type) {
  case ElementType::Float:
  case ElementType::Complex64:
    return 4;
  case ElementType::String:
    return 6;
  case ElementType::Int64:
    return 7;
  case ElementType::Double:
  case ElementType::Complex128:
    return 10;
  case ElementType::UInt32:
  case ElementType::UInt64:
    return 11;
  default:
    return 5;
  }
}

/// How many entries of the typed field `elements` take.
static uint64_t countEntries(ElementType type, uint64_t elements) {
  switch (type) {
  case ElementType::Complex64:
  case ElementType::Complex128:
    return elements * 2;
  case ElementType::UInt4:
  case ElementType::Int4:
  case ElementType::Float4E2M1:
    return llvm::divideCeil(elements, 2);
  case ElementType::UInt2:
  case ElementType::Int2:
    return llvm::divideCeil(elements, 4);
  default:
    return elements;
  }
}

/// How many entries one field adds to a typed field, without decoding them.
static llvm::Expected<uint64_t> countField(const WireField &field) {
  if (field.number == 6) {
    if (field.type != WireType::Bytes)
      return readerError("the file is damaged: a string has the wrong encoding");
    return 1;
  }
  bool varint = field.number == 5 || field.number == 7 || field.number == 11;
  WireType single = varint              ? WireType::Varint
                    : field.number == 4 ? WireType::Fixed32
                                        : WireType::Fixed64;
  if (field.type == single)
    return 1;
  if (field.type != WireType::Bytes)
    return readerError("the file is damaged: field " + Twine(field.number) +
                       " has the wrong encoding");
  if (varint) {
    if (!field.bytes.empty() && (field.bytes.back() & 0x80))
      return readerError("the file is damaged: its data is cut off");
    return llvm::count_if(field.bytes, [](char c) { return !(c & 0x80); });
  }
  size_t width = field.number == 4 ? 4 : 8;
  if (field.bytes.size() % width != 0)
    return readerError("the file is damaged: its data is cut off");
  return field.bytes.size() / width;
}

Error MessageParser::parseTensor(StringRef message, TensorData &tensor) {
  Error error = parseTensorContents(message, tensor);
  return error ? inside("tensor '" + tensor.name + "'", std::move(error)) : Error::success();
}

Error MessageParser::parseTensorContents(StringRef message, TensorData &tensor) {
  StringRef raw;
  int64_t number = 0, location = 0;
  uint32_t typedField = 0;
  uint64_t entries = 0;
  llvm::SmallVector<ExternalData::Entry, 4> external;
  Error error = forEachField(message, [&](const WireField &field) -> Error {
    switch (field.number) {
    case 1:
      return readIntegers(field, [&](int64_t dim) -> Error {
        if (tensor.dims.size() == maxRank)
          return readerError("its rank is more than " + Twine(maxRank));
        tensor.dims.push_back(dim);
        return Error::success();
      });
    case 2:
      return readInteger(field, number);
    case 3:
      return readerError("it is a segment of a tensor, which is not supported");
    case 4:
    case 5:
    case 6:
    case 7:
    case 10:
    case 11: {
      auto count = countField(field);
      if (!count)
        return count.takeError();
      if (*count && typedField && typedField != field.number)
        return readerError("its data is given twice, in fields " + Twine(typedField) + " and " +
                           Twine(field.number));
      if (*count)
        typedField = field.number;
      entries += *count;
      return Error::success();
    }
    case 8:
      return readString(field, tensor.name);
    case 9:
      return readString(field, raw);
    case 13:
      if (Error error = readMessage(field))
        return error;
      if (external.size() == 64)
        return readerError("it has more than 64 entries of external data");
      external.emplace_back();
      return parseEntry(field.bytes, external.back());
    case 14:
      return readInteger(field, location);
    default:
      return Error::success();
    }
  });
  if (error)
    return error;
  if (!isKnownElementType(number))
    return readerError("it has the unknown element type " + Twine(number));
  tensor.type = static_cast<ElementType>(number);
  if (Error error = checkSize(tensor.dims, tensor.type))
    return error;
  uint64_t elements = tensor.numElements(), size = tensor.numBytes();
  weightBytes = llvm::SaturatingAdd(weightBytes, size);
  if (weightBytes > options.maxWeightBytes)
    return readerError("with its " + Twine(size) + " bytes the weights take more than " +
                       Twine(options.maxWeightBytes) + " (see --max-weights)");
  bool isString = tensor.type == ElementType::String;
  if (isString && (!raw.empty() || location == 1))
    return readerError("it is a string tensor, whose elements must be in string_data");
  if (location == 1) {
    if (!raw.empty() || entries)
      return readerError("it has external data and also data in the file");
    return externalData.resolve(tensor, external);
  }
  if (location != 0)
    return readerError("it has the unknown data location " + Twine(location));
  if (!raw.empty()) {
    if (entries)
      return readerError("it has raw data and also typed data");
    if (raw.size() != size)
      return readerError("it has " + Twine(raw.size()) + " bytes of raw data, expected " +
                         Twine(size) + " from type and dims");
    tensor.storage = TensorData::Storage::Raw;
    tensor.bytes = raw;
    tensor.fileOffset = raw.data() - model.files.front()->getBytes().data();
    return Error::success();
  }
  uint64_t expected = countEntries(tensor.type, elements);
  uint32_t expectedField = typedFieldOf(tensor.type);
  if (entries && typedField != expectedField)
    return readerError("its data is in field " + Twine(typedField) + ", expected field " +
                       Twine(expectedField) + " for " + getElementTypeName(tensor.type));
  if (entries != expected)
    return readerError("it has data for " + Twine(entries) + " entries, expected " +
                       Twine(expected) + " from type and dims");
  if (entries) {
    tensor.storage = TensorData::Storage::Typed;
    tensor.typedField = typedField;
    tensor.bytes = message;
  }
  return Error::success();
}

Error MessageParser::parseSparseTensor(StringRef message, SparseTensorData &sparse) {
  bool hasValues = false, hasIndices = false;
  Error error = forEachField(message, [&](const WireField &field) -> Error {
    if (field.number == 3)
      return readIntegers(field, [&](int64_t dim) -> Error {
        if (sparse.dims.size() == maxRank)
          return readerError("its rank is more than " + Twine(maxRank));
        sparse.dims.push_back(dim);
        return Error::success();
      });
    if (field.number != 1 && field.number != 2)
      return Error::success();
    if (Error error = readMessage(field))
      return error;
    bool &seen = field.number == 1 ? hasValues : hasIndices;
    if (seen)
      return readerError("it has two lists of values or indices");
    seen = true;
    return parseTensor(field.bytes, field.number == 1 ? sparse.values : sparse.indices);
  });
  const TensorData &values = sparse.values, &indices = sparse.indices;
  auto check = [&]() -> Error {
    if (!hasValues || !hasIndices)
      return readerError("it has no values or no indices");
    if (values.type == ElementType::String || getBitWidth(values.type) < 8)
      return readerError(Twine("its values are ") + getElementTypeName(values.type) +
                         ", which is not supported in sparse tensors");
    if (values.dims.size() != 1)
      return readerError("its values have rank " + Twine(values.dims.size()) + ", expected 1");
    if (Error error = checkSize(sparse.dims, values.type))
      return error;
    bool linear = indices.dims.size() == 1;
    bool full = indices.dims.size() == 2 && indices.dims[1] == int64_t(sparse.dims.size());
    if (indices.type != ElementType::Int64 || (!linear && !full) ||
        indices.dims[0] != values.dims[0])
      return readerError("its indices must be INT64 of [" + Twine(values.dims[0]) + "] or [" +
                         Twine(values.dims[0]) + ", " + Twine(sparse.dims.size()) + "]");
    if (sparse.numBytes() > options.maxSparseBytes)
      return readerError("it takes " + Twine(sparse.numBytes()) + " bytes when dense, more than " +
                         Twine(options.maxSparseBytes));
    return Error::success();
  };
  if (!error)
    error = check();
  return error ? inside("sparse tensor '" + values.name + "'", std::move(error)) : Error::success();
}
