//===- Model.h - An ONNX file as plain structs ------------------*- C++ -*-===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//
// Everything here is a view of the mapped file: names are StringRefs, weight
// bytes stay where they are. A Model owns the map and must outlive its parts.
//
//===----------------------------------------------------------------------===//

#ifndef SSM_LIB_IMPORT_READER_MODEL_H
#define SSM_LIB_IMPORT_READER_MODEL_H

#include "lib/Import/Reader/ElementType.h"
#include "lib/Import/Reader/WeightFile.h"
#include "llvm/ADT/SmallVector.h"
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace ssm::onnx {

/// A tensor's type, shape and the place of its elements. Row major.
struct TensorData {
  enum class Storage {
    None,     ///< no elements
    Raw,      ///< `bytes` are the elements, little endian, sub-byte types packed
    Typed,    ///< `bytes` is the TensorProto; its repeated field `typedField` counts
    External, ///< as Raw, at `fileOffset` of the file number `file`
  };

  llvm::StringRef name;
  ElementType type = ElementType::Undefined;
  llvm::SmallVector<int64_t, 4> dims;
  Storage storage = Storage::None;
  llvm::StringRef bytes;
  uint32_t typedField = 0;
  unsigned file = 0;
  uint64_t fileOffset = 0;

  /// Product of the dims. The reader has checked that neither this nor the size
  /// overflows.
  uint64_t numElements() const;
  /// Size of the elements as raw data. 0 for strings.
  uint64_t numBytes() const;
};

/// Elements `values` (a vector of n) at `indices` (n, or n by rank), zero
/// elsewhere. Its name is the name of `values`.
struct SparseTensorData {
  TensorData values;
  TensorData indices;
  llvm::SmallVector<int64_t, 4> dims;

  uint64_t numBytes() const;
};

struct Dimension {
  enum class Kind { Unknown, Value, Param };
  Kind kind = Kind::Unknown;
  int64_t value = 0;
  llvm::StringRef param;
};

struct TypeInfo {
  enum class Kind { Missing, Tensor, SparseTensor, Sequence, Map, Optional, Opaque };
  Kind kind = Kind::Missing;
  /// Element type of tensors, key type of maps.
  ElementType elementType = ElementType::Undefined;
  /// Absent if the rank is unknown.
  std::optional<llvm::SmallVector<Dimension, 4>> shape;
  /// What sequences, optionals and maps hold.
  std::unique_ptr<TypeInfo> inner;
};

struct ValueInfo {
  llvm::StringRef name;
  TypeInfo type;
};

struct Graph;

struct NodeAttribute {
  /// AttributeProto.AttributeType, with ONNX's numbers.
  enum class Kind : int32_t {
    Undefined = 0,
    Float = 1,
    Int = 2,
    String = 3,
    Tensor = 4,
    Graph = 5,
    Floats = 6,
    Ints = 7,
    Strings = 8,
    Tensors = 9,
    Graphs = 10,
    SparseTensor = 11,
    SparseTensors = 12,
    Type = 13,
    Types = 14,
  };

  llvm::StringRef name;
  /// Inside a function: the attribute of the function that gives the value.
  llvm::StringRef refAttrName;
  Kind kind = Kind::Undefined;
  float f = 0;
  int64_t i = 0;
  llvm::StringRef s;
  std::vector<float> floats;
  std::vector<int64_t> ints;
  std::vector<llvm::StringRef> strings;
  /// A single tensor, graph, sparse tensor or type is the only element.
  std::vector<TensorData> tensors;
  std::vector<Graph> graphs;
  std::vector<SparseTensorData> sparseTensors;
  std::vector<TypeInfo> types;
};

struct Node {
  llvm::StringRef opType;
  /// "" for the default domain, also where the file says "ai.onnx".
  llvm::StringRef domain;
  llvm::StringRef name;
  llvm::StringRef overload;
  std::vector<llvm::StringRef> inputs;
  std::vector<llvm::StringRef> outputs;
  std::vector<NodeAttribute> attributes;

  const NodeAttribute *getAttribute(llvm::StringRef name) const;
  /// "domain::Op", without the default domain.
  std::string getOperatorName() const;
  /// For messages: node 'name' (Op), or the first output if it has no name.
  std::string describe() const;
};

struct Graph {
  llvm::StringRef name;
  std::vector<Node> nodes;
  std::vector<TensorData> initializers;
  std::vector<SparseTensorData> sparseInitializers;
  std::vector<ValueInfo> inputs;
  std::vector<ValueInfo> outputs;
  std::vector<ValueInfo> valueInfos;
};

struct OpsetImport {
  llvm::StringRef domain;
  int64_t version = 0;
};

struct Function {
  llvm::StringRef name;
  llvm::StringRef domain;
  llvm::StringRef overload;
  std::vector<llvm::StringRef> inputs;
  std::vector<llvm::StringRef> outputs;
  /// Attributes that a call must give.
  std::vector<llvm::StringRef> attributes;
  /// Attributes with their defaults.
  std::vector<NodeAttribute> attributeDefaults;
  std::vector<Node> nodes;
  std::vector<OpsetImport> opsetImports;
  std::vector<ValueInfo> valueInfos;

  std::string describe() const;
};

/// The version imported for `domain`, or nothing.
std::optional<int64_t> getOpsetVersion(llvm::ArrayRef<OpsetImport> imports, llvm::StringRef domain);

struct Model {
  Model() = default;
  Model(const Model &) = delete;
  Model &operator=(const Model &) = delete;

  int64_t irVersion = 0;
  llvm::StringRef producerName;
  llvm::StringRef producerVersion;
  std::vector<OpsetImport> opsetImports;
  Graph graph;
  std::vector<Function> functions;
  std::vector<std::pair<llvm::StringRef, llvm::StringRef>> metadata;

  /// The model's own file is number 0, files with external data follow.
  std::vector<std::unique_ptr<WeightFile>> files;
};

} // namespace ssm::onnx

#endif // SSM_LIB_IMPORT_READER_MODEL_H
