//===- WeightSource.h - The elements of a tensor ----------------*- C++ -*-===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef SSM_LIB_IMPORT_READER_WEIGHTSOURCE_H
#define SSM_LIB_IMPORT_READER_WEIGHTSOURCE_H

#include "lib/Import/Reader/Model.h"
#include "llvm/ADT/APInt.h"

namespace ssm::onnx {

/// Where the bytes of a weight lie.
struct FileRange {
  unsigned file = 0;   ///< number in Model::files
  uint64_t offset = 0; ///< from the start of the file
  uint64_t length = 0;
};

/// Reads a tensor or sparse tensor of a model that outlives it. The bytes are
/// always those of dense raw data, whatever the file holds: row major, little
/// endian, sub-byte types packed from the low end, bools 0 or 1.
class WeightSource {
public:
  WeightSource(const TensorData &tensor) : tensor(&tensor) {}
  WeightSource(const SparseTensorData &sparse) : sparse(&sparse) {}

  llvm::StringRef getName() const;
  ElementType getElementType() const;
  llvm::ArrayRef<int64_t> getDims() const;
  uint64_t getNumElements() const;
  /// Bytes that readInto writes. 0 for strings.
  uint64_t getNumBytes() const;

  /// The place of the bytes if they are in a file just so.
  std::optional<FileRange> getRange() const;
  /// The bytes if they are in a file just so; pages come in when touched.
  std::optional<llvm::StringRef> getBytes() const;

  /// Writes all bytes; `out` has getNumBytes() of them. Errors name the tensor:
  /// typed data out of its type's range, bad sparse indices, strings.
  llvm::Error readInto(llvm::MutableArrayRef<char> out) const;

  /// Bytes of the elements with one byte each where they have less than 8 bits.
  uint64_t getNumUnpackedBytes() const;
  /// As readInto, but elements of less than 8 bits take one byte each, extended by
  /// sign where the type has one. `out` has getNumUnpackedBytes().
  llvm::Error readUnpackedInto(llvm::MutableArrayRef<char> out) const;

  /// Elements of a tensor that is not large: integers and bools.
  llvm::Expected<llvm::SmallVector<int64_t>> readIntegers() const;
  /// Elements of a tensor that is not large: real numbers, also integers.
  llvm::Expected<llvm::SmallVector<double>> readDoubles() const;
  /// Bit patterns of a tensor that is not large, as wide as its elements.
  /// Complex numbers are one pattern each, bools have one bit.
  llvm::Expected<llvm::SmallVector<llvm::APInt>> readBits() const;
  /// Elements of a string tensor.
  llvm::Expected<std::vector<llvm::StringRef>> readStrings() const;

private:
  const TensorData *tensor = nullptr;
  const SparseTensorData *sparse = nullptr;
};

} // namespace ssm::onnx

#endif // SSM_LIB_IMPORT_READER_WEIGHTSOURCE_H
