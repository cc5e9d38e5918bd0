//===- WeightSource.cpp - The elements of a tensor ------------------------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "lib/Import/Reader/WeightSource.h"
#include "lib/Import/Reader/ReaderError.h"
#include "lib/Import/Reader/Wire.h"
#include "llvm/ADT/APFloat.h"
#include "llvm/ADT/STLFunctionalExtras.h"

#include <cstring>

using namespace ssm::onnx;
using llvm::APInt;
using llvm::Error;
using llvm::Expected;
using llvm::MutableArrayRef;
using llvm::StringRef;
using llvm::Twine;

/// Tensors whose elements are looked at one by one while compiling.
static constexpr uint64_t maxSmallElements = uint64_t(1) << 22;

//===----------------------------------------------------------------------===//
// Description
//===----------------------------------------------------------------------===//

StringRef WeightSource::getName() const { return tensor ? tensor->name : sparse->values.name; }

ElementType WeightSource::getElementType() const {
  return tensor ? tensor->type : sparse->values.type;
}

llvm::ArrayRef<int64_t> WeightSource::getDims() const {
  return tensor ? tensor->dims : sparse->dims;
}

uint64_t WeightSource::getNumElements() const {
  uint64_t count = 1;
  for (int64_t dim : getDims())
    count *= static_cast<uint64_t>(dim);
  return count;
}

uint64_t WeightSource::getNumBytes() const {
  return tensor ? tensor->numBytes() : sparse->numBytes();
}

std::optional<FileRange> WeightSource::getRange() const {
  // Bools are left out: a file may hold other bytes than 0 and 1.
  if (!tensor || tensor->type == ElementType::Bool ||
      (tensor->storage != TensorData::Storage::Raw &&
       tensor->storage != TensorData::Storage::External))
    return std::nullopt;
  return FileRange{tensor->file, tensor->fileOffset, tensor->bytes.size()};
}

std::optional<StringRef> WeightSource::getBytes() const {
  if (!getRange())
    return std::nullopt;
  return tensor->bytes;
}

//===----------------------------------------------------------------------===//
// Bytes
//===----------------------------------------------------------------------===//

/// Calls `add` with the entries of a tensor's typed field, packed or not, until
/// it returns false. Numbers are zero-extended bit patterns, strings have none.
static Error forEachEntry(const TensorData &tensor,
                          llvm::function_ref<bool(uint64_t, StringRef)> add) {
  WireCursor cursor(tensor.bytes);
  WireField field;
  size_t width = tensor.typedField == 4 ? 4 : tensor.typedField == 10 ? 8 : 0;
  while (cursor.next(field)) {
    if (field.number != tensor.typedField)
      continue;
    if (field.type != WireType::Bytes || tensor.typedField == 6) {
      if (!add(field.value, field.bytes))
        return Error::success();
      continue;
    }
    StringRef rest = field.bytes;
    while (!rest.empty()) {
      uint64_t value = 0;
      if (width) {
        std::memcpy(&value, rest.data(), width);
        rest = rest.drop_front(width);
      } else if (!takeVarint(rest, value)) {
        return readerError("the file is damaged: a number has more than ten bytes");
      }
      if (!add(value, {}))
        return Error::success();
    }
  }
  return Error::success();
}

/// Whether an entry of int32_data or another integer field can be an element of
/// the type. Bit patterns of signed types come sign-extended or not.
static bool fits(ElementType type, int64_t value, unsigned bits) {
  if (bits >= 64)
    return true;
  if (type == ElementType::Bool)
    return value == 0 || value == 1;
  bool asUnsigned = value >= 0 && value < (int64_t(1) << bits);
  bool asSigned = value >= -(int64_t(1) << (bits - 1)) && value < (int64_t(1) << (bits - 1));
  // Packed nibbles and float bit patterns are written either way by producers.
  bool eitherWay = bits == 8 && getBitWidth(type) < 8;
  eitherWay |= getFloatSemantics(type) != nullptr;
  if (eitherWay)
    return asUnsigned || asSigned;
  return isSignedInteger(type) ? asSigned : asUnsigned;
}

static Error readTyped(const TensorData &tensor, MutableArrayRef<char> out) {
  unsigned elementBits = getBitWidth(tensor.type);
  // 4- and 2-bit elements come packed in bytes, 6-bit ones as one entry each.
  bool sixBits = elementBits == 6;
  unsigned entryBits = sixBits ? 6 : std::max(elementBits, 8u);
  if (tensor.type == ElementType::Complex64)
    entryBits = 32;
  else if (tensor.type == ElementType::Complex128)
    entryBits = 64;
  bool checked = tensor.typedField == 5 || tensor.typedField == 11;
  size_t size = entryBits / 8, position = 0, bit = 0;
  if (sixBits)
    std::fill(out.begin(), out.end(), 0);
  std::optional<int64_t> bad;
  Error error = forEachEntry(tensor, [&](uint64_t value, StringRef) {
    // Protobuf keeps the low half of an int32, however it is written.
    if (tensor.typedField == 5)
      value = static_cast<uint64_t>(static_cast<int64_t>(static_cast<int32_t>(value)));
    if (checked && !fits(tensor.type, static_cast<int64_t>(value), entryBits)) {
      bad = static_cast<int64_t>(value);
      return false;
    }
    // The reader has counted the entries, but the file may change under the map.
    if ((sixBits ? (bit + 5) / 8 : position + size - 1) >= out.size())
      return false;
    if (sixBits) {
      uint16_t shifted = static_cast<uint16_t>((value & 63) << (bit % 8));
      out[bit / 8] |= static_cast<char>(shifted);
      if (bit % 8 > 2)
        out[bit / 8 + 1] |= static_cast<char>(shifted >> 8);
      bit += 6;
      return true;
    }
    std::memcpy(out.data() + position, &value, size);
    position += size;
    return true;
  });
  if (error)
    return error;
  if (bad)
    return readerError("the value " + Twine(*bad) + " does not fit " +
                       ssm::onnx::getElementTypeName(tensor.type));
  return Error::success();
}

static Error readTensor(const TensorData &tensor, MutableArrayRef<char> out) {
  switch (tensor.storage) {
  case TensorData::Storage::None:
    return Error::success();
  case TensorData::Storage::Typed:
    return readTyped(tensor, out);
  case TensorData::Storage::Raw:
  case TensorData::Storage::External:
    if (tensor.type == ElementType::Bool)
      llvm::transform(tensor.bytes, out.begin(), [](char c) { return c != 0; });
    else if (!out.empty())
      std::memcpy(out.data(), tensor.bytes.data(), out.size());
    return Error::success();
  }
  llvm_unreachable("unknown storage");
}

static Error readSparse(const SparseTensorData &sparse, MutableArrayRef<char> out) {
  auto indices = WeightSource(sparse.indices).readIntegers();
  if (!indices)
    return indices.takeError();
  std::vector<char> values(sparse.values.numBytes());
  if (Error error = readTensor(sparse.values, values))
    return error;
  std::fill(out.begin(), out.end(), 0);
  size_t width = getBitWidth(sparse.values.type) / 8;
  bool linear = sparse.indices.dims.size() == 1;
  size_t rank = linear ? 1 : sparse.dims.size();
  auto total = static_cast<int64_t>(WeightSource(sparse).getNumElements());
  int64_t previous = -1;
  for (uint64_t i = 0, n = sparse.values.numElements(); i != n; ++i) {
    int64_t place = 0;
    for (size_t axis = 0; axis != rank; ++axis) {
      int64_t index = (*indices)[i * rank + axis];
      int64_t bound = linear ? total : sparse.dims[axis];
      if (index < 0 || index >= bound)
        return readerError("index " + Twine(index) + " is outside of [0, " + Twine(bound) + ")");
      place = linear ? index : place * bound + index;
    }
    if (place <= previous)
      return readerError("its indices are not in ascending order");
    previous = place;
    std::memcpy(out.data() + place * width, values.data() + i * width, width);
  }
  return Error::success();
}

Error WeightSource::readInto(MutableArrayRef<char> out) const {
  Error error = Error::success();
  if (getElementType() == ElementType::String || out.size() != getNumBytes())
    error = readerError("it cannot be read as " + Twine(out.size()) + " bytes");
  else
    error = tensor ? readTensor(*tensor, out) : readSparse(*sparse, out);
  return error ? inside("tensor '" + getName() + "'", std::move(error)) : Error::success();
}

uint64_t WeightSource::getNumUnpackedBytes() const {
  unsigned width = getBitWidth(getElementType());
  return width != 0 && width < 8 ? getNumElements() : getNumBytes();
}

/// Element `i` of packed elements of `width` < 8 bits.
static unsigned packedElement(llvm::ArrayRef<char> bytes, uint64_t i, unsigned width) {
  uint64_t bit = i * width;
  unsigned value = static_cast<unsigned char>(bytes[bit / 8]);
  // Six-bit elements may lie in two bytes.
  if (bit / 8 + 1 < bytes.size())
    value |= static_cast<unsigned char>(bytes[bit / 8 + 1]) << 8;
  return (value >> (bit % 8)) & ((1u << width) - 1);
}

Error WeightSource::readUnpackedInto(MutableArrayRef<char> out) const {
  unsigned width = getBitWidth(getElementType());
  if (width == 0 || width >= 8)
    return readInto(out);
  std::vector<char> packed(getNumBytes());
  if (Error error = readInto(packed))
    return error;
  if (out.size() != getNumUnpackedBytes())
    return readerError("tensor '" + getName() + "' cannot be read as " + Twine(out.size()) +
                       " bytes");
  for (uint64_t i = 0; i != out.size(); ++i) {
    APInt value(width, packedElement(packed, i, width));
    out[i] = static_cast<char>(isSignedInteger(getElementType()) ? value.getSExtValue()
                                                                 : value.getZExtValue());
  }
  return Error::success();
}

//===----------------------------------------------------------------------===//
// Elements
//===----------------------------------------------------------------------===//

Expected<llvm::SmallVector<APInt>> WeightSource::readBits() const {
  uint64_t count = getNumElements();
  if (count > maxSmallElements)
    return readerError("tensor '" + getName() + "' has " + Twine(count) +
                       " elements, too many for a constant");
  std::vector<char> bytes(getNumBytes());
  if (Error error = readInto(bytes))
    return error;
  unsigned width = getBitWidth(getElementType());
  llvm::SmallVector<APInt> values;
  values.reserve(count);
  for (uint64_t i = 0; i != count; ++i) {
    if (width >= 8) {
      uint64_t words[2] = {0, 0};
      std::memcpy(words, bytes.data() + i * (width / 8), width / 8);
      values.emplace_back(width, words);
      continue;
    }
    values.emplace_back(width, packedElement(bytes, i, width));
  }
  if (getElementType() == ElementType::Bool)
    for (APInt &value : values)
      value = value.trunc(1);
  return values;
}

Expected<llvm::SmallVector<int64_t>> WeightSource::readIntegers() const {
  ElementType type = getElementType();
  bool isComplex = type == ElementType::Complex64 || type == ElementType::Complex128;
  if (getFloatSemantics(type) || isComplex)
    return readerError("tensor '" + getName() + "' is " + ssm::onnx::getElementTypeName(type) +
                       ", expected integers");
  auto bits = readBits();
  if (!bits)
    return bits.takeError();
  llvm::SmallVector<int64_t> values;
  for (const APInt &value : *bits) {
    if (!isSignedInteger(type) && value.getActiveBits() > 63)
      return readerError("tensor '" + getName() + "' has a value above 2^63 - 1");
    values.push_back(isSignedInteger(type) ? value.getSExtValue()
                                           : static_cast<int64_t>(value.getZExtValue()));
  }
  return values;
}

Expected<llvm::SmallVector<double>> WeightSource::readDoubles() const {
  const llvm::fltSemantics *semantics = getFloatSemantics(getElementType());
  llvm::SmallVector<double> values;
  if (!semantics) {
    auto integers = readIntegers();
    if (!integers)
      return integers.takeError();
    values.append(integers->begin(), integers->end());
    return values;
  }
  auto bits = readBits();
  if (!bits)
    return bits.takeError();
  for (const APInt &value : *bits)
    values.push_back(llvm::APFloat(*semantics, value).convertToDouble());
  return values;
}

Expected<std::vector<StringRef>> WeightSource::readStrings() const {
  std::vector<StringRef> values;
  if (getElementType() != ElementType::String)
    return readerError("tensor '" + getName() + "' is " +
                       ssm::onnx::getElementTypeName(getElementType()) + ", expected strings");
  if (!tensor || tensor->storage == TensorData::Storage::None)
    return values;
  if (Error error = forEachEntry(*tensor, [&](uint64_t, StringRef text) {
        values.push_back(text);
        return true;
      }))
    return error;
  return values;
}
