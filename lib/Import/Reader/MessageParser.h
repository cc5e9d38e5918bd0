//===- MessageParser.h - ONNX messages to structs ---------------*- C++ -*-===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef SSM_LIB_IMPORT_READER_MESSAGEPARSER_H
#define SSM_LIB_IMPORT_READER_MESSAGEPARSER_H

#include "lib/Import/Reader/ExternalData.h"
#include "lib/Import/Reader/Wire.h"
#include "llvm/ADT/STLFunctionalExtras.h"

namespace ssm::onnx {

/// Parses the messages of onnx.proto into the structs of Model.h. Checks what a
/// message can tell on its own: encodings, limits, tensor sizes. What names mean
/// is for Validate.
///
/// Singular fields that occur twice: the last number or string wins, as protobuf
/// says; messages, which protobuf would merge, are an error.
class MessageParser {
public:
  MessageParser(Model &model, ExternalData &externalData, const ReaderOptions &options)
      : model(model), externalData(externalData), options(options) {}

  llvm::Error parseModel(llvm::StringRef message);

private:
  /// Graphs in attributes, types in types.
  static constexpr unsigned maxDepth = 64;
  static constexpr unsigned maxRank = 64;
  /// What the structs may take. A byte of the file can cost a hundred here.
  static constexpr uint64_t maxStructBytes = uint64_t(8) << 30;

  using FieldHandler = llvm::function_ref<llvm::Error(const WireField &)>;

  /// Calls the handler for every field; its errors and the cursor's end the walk.
  llvm::Error forEachField(llvm::StringRef message, FieldHandler handler);

  llvm::Error parseGraph(llvm::StringRef message, Graph &graph, unsigned depth);
  llvm::Error parseNode(llvm::StringRef message, Node &node, unsigned depth);
  llvm::Error parseAttribute(llvm::StringRef message, NodeAttribute &attribute, unsigned depth);
  llvm::Error parseAttributeField(const WireField &field, NodeAttribute &attribute, unsigned depth);
  llvm::Error checkAttributeKind(NodeAttribute &attribute, uint32_t fieldsSeen);
  llvm::Error parseFunction(llvm::StringRef message, Function &function);
  llvm::Error parseValueInfo(llvm::StringRef message, ValueInfo &info);
  llvm::Error parseType(llvm::StringRef message, TypeInfo &type, unsigned depth);
  llvm::Error parseTypeCase(const WireField &field, TypeInfo &type, unsigned depth);
  llvm::Error parseShape(llvm::StringRef message, TypeInfo &type);
  llvm::Error parseTensor(llvm::StringRef message, TensorData &tensor);
  llvm::Error parseTensorContents(llvm::StringRef message, TensorData &tensor);
  llvm::Error parseSparseTensor(llvm::StringRef message, SparseTensorData &sparse);
  llvm::Error parseOpsetImport(llvm::StringRef message, std::vector<OpsetImport> &imports);
  llvm::Error parseEntry(llvm::StringRef message, ExternalData::Entry &entry);

  llvm::Error readString(const WireField &field, llvm::StringRef &value);
  llvm::Error readDomain(const WireField &field, llvm::StringRef &value);
  llvm::Error readInteger(const WireField &field, int64_t &value);
  llvm::Error readMessage(const WireField &field);
  /// Repeated numbers, packed or not.
  llvm::Error readIntegers(const WireField &field, llvm::function_ref<llvm::Error(int64_t)> add);
  llvm::Error readFloats(const WireField &field, std::vector<float> &values);

  /// Error if all structs together would take too much memory.
  llvm::Error charge(uint64_t bytes);
  template <typename T> llvm::Error append(std::vector<T> &list) {
    if (llvm::Error error = charge(sizeof(T)))
      return error;
    list.emplace_back();
    return llvm::Error::success();
  }
  llvm::Error appendString(const WireField &field, std::vector<llvm::StringRef> &list);

  Model &model;
  ExternalData &externalData;
  const ReaderOptions &options;
  uint64_t structBytes = 0;
  uint64_t weightBytes = 0;
};

} // namespace ssm::onnx

#endif // SSM_LIB_IMPORT_READER_MESSAGEPARSER_H
