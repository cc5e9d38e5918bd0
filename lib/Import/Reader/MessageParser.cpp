//===- MessageParser.cpp - ONNX messages to structs -----------------------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//
// The numbers in the switches are field numbers of onnx.proto.
//
//===----------------------------------------------------------------------===//

#include "lib/Import/Reader/MessageParser.h"
#include "lib/Import/Reader/ReaderError.h"
#include "llvm/ADT/bit.h"

#include <cstring>

using namespace ssm::onnx;
using llvm::Error;
using llvm::StringRef;
using llvm::Twine;

//===----------------------------------------------------------------------===//
// Fields
//===----------------------------------------------------------------------===//

Error MessageParser::forEachField(StringRef message, FieldHandler handler) {
  WireCursor cursor(message);
  WireField field;
  while (cursor.next(field))
    if (Error error = handler(field))
      return error;
  if (cursor.getError())
    return readerError(Twine("the file is damaged: ") + cursor.getError());
  return Error::success();
}

static Error wrongEncoding(const WireField &field) {
  return readerError("the file is damaged: field " + Twine(field.number) +
                     " has the wrong encoding");
}

Error MessageParser::readMessage(const WireField &field) {
  return field.type == WireType::Bytes ? Error::success() : wrongEncoding(field);
}

Error MessageParser::readString(const WireField &field, StringRef &value) {
  if (field.type != WireType::Bytes)
    return wrongEncoding(field);
  value = field.bytes;
  return Error::success();
}

Error MessageParser::readDomain(const WireField &field, StringRef &value) {
  if (Error error = readString(field, value))
    return error;
  if (value == "ai.onnx")
    value = StringRef();
  return Error::success();
}

Error MessageParser::readInteger(const WireField &field, int64_t &value) {
  if (field.type != WireType::Varint)
    return wrongEncoding(field);
  value = static_cast<int64_t>(field.value);
  return Error::success();
}

Error MessageParser::readIntegers(const WireField &field, llvm::function_ref<Error(int64_t)> add) {
  if (field.type == WireType::Varint)
    return add(static_cast<int64_t>(field.value));
  if (field.type != WireType::Bytes)
    return wrongEncoding(field);
  StringRef rest = field.bytes;
  while (!rest.empty()) {
    uint64_t value;
    if (!takeVarint(rest, value))
      return readerError("the file is damaged: a list of integers is cut off");
    if (Error error = add(static_cast<int64_t>(value)))
      return error;
  }
  return Error::success();
}

Error MessageParser::readFloats(const WireField &field, std::vector<float> &values) {
  if (field.type == WireType::Fixed32) {
    values.push_back(llvm::bit_cast<float>(static_cast<uint32_t>(field.value)));
    return charge(sizeof(float));
  }
  if (field.type != WireType::Bytes)
    return wrongEncoding(field);
  if (field.bytes.size() % sizeof(float) != 0)
    return readerError("the file is damaged: a list of floats is cut off");
  if (Error error = charge(field.bytes.size()))
    return error;
  size_t old = values.size();
  values.resize(old + field.bytes.size() / sizeof(float));
  if (!field.bytes.empty())
    std::memcpy(values.data() + old, field.bytes.data(), field.bytes.size());
  return Error::success();
}

Error MessageParser::charge(uint64_t bytes) {
  structBytes += bytes;
  if (structBytes > maxStructBytes)
    return readerError("the model's structure takes more than " + Twine(maxStructBytes >> 30) +
                       " GiB");
  return Error::success();
}

Error MessageParser::appendString(const WireField &field, std::vector<StringRef> &list) {
  if (Error error = append(list))
    return error;
  return readString(field, list.back());
}

//===----------------------------------------------------------------------===//
// Model, functions
//===----------------------------------------------------------------------===//

Error MessageParser::parseModel(StringRef message) {
  bool hasGraph = false, hasVersion = false;
  Error error = forEachField(message, [&](const WireField &field) -> Error {
    switch (field.number) {
    case 1:
      hasVersion = true;
      return readInteger(field, model.irVersion);
    case 2:
      return readString(field, model.producerName);
    case 3:
      return readString(field, model.producerVersion);
    case 7:
      if (Error error = readMessage(field))
        return error;
      if (hasGraph)
        return readerError("the model has two graphs");
      hasGraph = true;
      return parseGraph(field.bytes, model.graph, 0);
    case 8:
      if (Error error = readMessage(field))
        return error;
      return parseOpsetImport(field.bytes, model.opsetImports);
    case 14:
      if (Error error = readMessage(field))
        return error;
      if (Error error = append(model.metadata))
        return error;
      return parseEntry(field.bytes, model.metadata.back());
    case 25:
      if (Error error = readMessage(field))
        return error;
      if (Error error = append(model.functions))
        return error;
      return parseFunction(field.bytes, model.functions.back());
    default:
      return Error::success();
    }
  });
  if (error)
    return error;
  if (!hasVersion)
    return readerError("it is not an ONNX model: there is no IR version");
  if (!hasGraph)
    return readerError("the model has no graph");
  return Error::success();
}

Error MessageParser::parseOpsetImport(StringRef message, std::vector<OpsetImport> &imports) {
  if (Error error = append(imports))
    return error;
  return forEachField(message, [&](const WireField &field) -> Error {
    if (field.number == 1)
      return readDomain(field, imports.back().domain);
    if (field.number == 2)
      return readInteger(field, imports.back().version);
    return Error::success();
  });
}

Error MessageParser::parseEntry(StringRef message, ExternalData::Entry &entry) {
  return forEachField(message, [&](const WireField &field) -> Error {
    if (field.number == 1)
      return readString(field, entry.first);
    if (field.number == 2)
      return readString(field, entry.second);
    return Error::success();
  });
}

Error MessageParser::parseFunction(StringRef message, Function &function) {
  Error error = forEachField(message, [&](const WireField &field) -> Error {
    switch (field.number) {
    case 1:
      return readString(field, function.name);
    case 4:
      return appendString(field, function.inputs);
    case 5:
      return appendString(field, function.outputs);
    case 6:
      return appendString(field, function.attributes);
    case 7:
      if (Error error = readMessage(field))
        return error;
      if (Error error = append(function.nodes))
        return error;
      return parseNode(field.bytes, function.nodes.back(), 0);
    case 9:
      if (Error error = readMessage(field))
        return error;
      return parseOpsetImport(field.bytes, function.opsetImports);
    case 10:
      return readDomain(field, function.domain);
    case 11:
      if (Error error = readMessage(field))
        return error;
      if (Error error = append(function.attributeDefaults))
        return error;
      return parseAttribute(field.bytes, function.attributeDefaults.back(), 0);
    case 12:
      if (Error error = readMessage(field))
        return error;
      if (Error error = append(function.valueInfos))
        return error;
      return parseValueInfo(field.bytes, function.valueInfos.back());
    case 13:
      return readString(field, function.overload);
    default:
      return Error::success();
    }
  });
  return error ? inside(function.describe(), std::move(error)) : Error::success();
}

//===----------------------------------------------------------------------===//
// Graphs, nodes
//===----------------------------------------------------------------------===//

Error MessageParser::parseGraph(StringRef message, Graph &graph, unsigned depth) {
  if (depth > maxDepth)
    return readerError("graphs are nested more than " + Twine(maxDepth) + " deep");
  Error error = forEachField(message, [&](const WireField &field) -> Error {
    auto values = [&](std::vector<ValueInfo> &list) -> Error {
      if (Error error = append(list))
        return error;
      return parseValueInfo(field.bytes, list.back());
    };
    switch (field.number) {
    case 2:
      return readString(field, graph.name);
    case 1:
    case 5:
    case 11:
    case 12:
    case 13:
    case 15:
      if (Error error = readMessage(field))
        return error;
      break;
    default:
      return Error::success();
    }
    switch (field.number) {
    case 1:
      if (Error error = append(graph.nodes))
        return error;
      return parseNode(field.bytes, graph.nodes.back(), depth);
    case 5:
      if (Error error = append(graph.initializers))
        return error;
      return parseTensor(field.bytes, graph.initializers.back());
    case 11:
      return values(graph.inputs);
    case 12:
      return values(graph.outputs);
    case 13:
      return values(graph.valueInfos);
    default:
      if (Error error = append(graph.sparseInitializers))
        return error;
      return parseSparseTensor(field.bytes, graph.sparseInitializers.back());
    }
  });
  return error ? inside("graph '" + graph.name + "'", std::move(error)) : Error::success();
}

Error MessageParser::parseNode(StringRef message, Node &node, unsigned depth) {
  Error error = forEachField(message, [&](const WireField &field) -> Error {
    switch (field.number) {
    case 1:
      return appendString(field, node.inputs);
    case 2:
      return appendString(field, node.outputs);
    case 3:
      return readString(field, node.name);
    case 4:
      return readString(field, node.opType);
    case 5:
      if (Error error = readMessage(field))
        return error;
      if (Error error = append(node.attributes))
        return error;
      return parseAttribute(field.bytes, node.attributes.back(), depth);
    case 7:
      return readDomain(field, node.domain);
    case 8:
      return readString(field, node.overload);
    default:
      return Error::success();
    }
  });
  return error ? inside(node.describe(), std::move(error)) : Error::success();
}

//===----------------------------------------------------------------------===//
// Attributes
//===----------------------------------------------------------------------===//

using Kind = NodeAttribute::Kind;

/// The kind of attribute that a field of AttributeProto belongs to.
static Kind kindOfField(uint32_t number) {
  switch (number) {
  case 2:
    return Kind::Float;
  case 3:
    return Kind::Int;
  case 4:
    return Kind::String;
  case 5:
    return Kind::Tensor;
  case 6:
    return Kind::Graph;
  case 7:
    return Kind::Floats;
  case 8:
    return Kind::Ints;
  case 9:
    return Kind::Strings;
  case 10:
    return Kind::Tensors;
  case 11:
    return Kind::Graphs;
  case 14:
    return Kind::Type;
  case 15:
    return Kind::Types;
  case 22:
    return Kind::SparseTensor;
  case 23:
    return Kind::SparseTensors;
  default:
    return Kind::Undefined;
  }
}

Error MessageParser::parseAttributeField(const WireField &field, NodeAttribute &attribute,
                                         unsigned depth) {
  switch (field.number) {
  case 2:
    if (field.type != WireType::Fixed32)
      return wrongEncoding(field);
    attribute.f = llvm::bit_cast<float>(static_cast<uint32_t>(field.value));
    return Error::success();
  case 3:
    return readInteger(field, attribute.i);
  case 4:
    return readString(field, attribute.s);
  case 7:
    return readFloats(field, attribute.floats);
  case 8:
    return readIntegers(field, [&](int64_t value) {
      attribute.ints.push_back(value);
      return charge(sizeof(value));
    });
  case 9:
    return appendString(field, attribute.strings);
  case 5:
  case 10:
    if (Error error = append(attribute.tensors))
      return error;
    return parseTensor(field.bytes, attribute.tensors.back());
  case 6:
  case 11:
    if (Error error = append(attribute.graphs))
      return error;
    return parseGraph(field.bytes, attribute.graphs.back(), depth + 1);
  case 14:
  case 15:
    if (Error error = append(attribute.types))
      return error;
    return parseType(field.bytes, attribute.types.back(), 0);
  case 22:
  case 23:
    if (Error error = append(attribute.sparseTensors))
      return error;
    return parseSparseTensor(field.bytes, attribute.sparseTensors.back());
  default:
    return Error::success();
  }
}

Error MessageParser::parseAttribute(StringRef message, NodeAttribute &attribute, unsigned depth) {
  uint32_t seen = 0;
  Error error = forEachField(message, [&](const WireField &field) -> Error {
    if (field.number == 1)
      return readString(field, attribute.name);
    if (field.number == 21)
      return readString(field, attribute.refAttrName);
    if (field.number == 20) {
      int64_t kind = 0;
      if (Error error = readInteger(field, kind))
        return error;
      if (kind < 0 || kind > int64_t(Kind::Types))
        return readerError("it has the unknown type " + Twine(kind));
      attribute.kind = static_cast<Kind>(kind);
      return Error::success();
    }
    Kind kind = kindOfField(field.number);
    if (kind == Kind::Undefined)
      return Error::success();
    bool isMessage = kind != Kind::Float && kind != Kind::Int && kind != Kind::String &&
                     kind != Kind::Floats && kind != Kind::Ints && kind != Kind::Strings;
    if (isMessage)
      if (Error error = readMessage(field))
        return error;
    uint32_t bit = 1u << unsigned(kind);
    bool once = kind == Kind::Tensor || kind == Kind::Graph || kind == Kind::Type ||
                kind == Kind::SparseTensor;
    if (once && (seen & bit))
      return readerError("it has two values");
    seen |= bit;
    return parseAttributeField(field, attribute, depth);
  });
  if (!error)
    error = checkAttributeKind(attribute, seen);
  return error ? inside("attribute '" + attribute.name + "'", std::move(error)) : Error::success();
}

Error MessageParser::checkAttributeKind(NodeAttribute &attribute, uint32_t seen) {
  if (!attribute.refAttrName.empty()) {
    if (seen)
      return readerError("it has a value and also refers to '" + attribute.refAttrName + "'");
    return Error::success();
  }
  if (attribute.kind == Kind::Undefined) {
    // Old files leave the type out; the value tells it.
    if (!llvm::has_single_bit(seen))
      return readerError("it has no type and " + Twine(seen ? "several values" : "no value"));
    attribute.kind = static_cast<Kind>(llvm::countr_zero(seen));
  }
  uint32_t bit = 1u << unsigned(attribute.kind);
  if (seen & ~bit)
    return readerError("its value is not of its type (number " + Twine(int32_t(attribute.kind)) +
                       ")");
  // Numbers, strings and lists may be left out if they are zero or empty.
  bool needsValue = attribute.kind == Kind::Tensor || attribute.kind == Kind::Graph ||
                    attribute.kind == Kind::SparseTensor || attribute.kind == Kind::Type;
  if (needsValue && !seen)
    return readerError("it has no value");
  return Error::success();
}

//===----------------------------------------------------------------------===//
// Types
//===----------------------------------------------------------------------===//

Error MessageParser::parseValueInfo(StringRef message, ValueInfo &info) {
  bool hasType = false;
  Error error = forEachField(message, [&](const WireField &field) -> Error {
    if (field.number == 1)
      return readString(field, info.name);
    if (field.number != 2)
      return Error::success();
    if (Error error = readMessage(field))
      return error;
    if (hasType)
      return readerError("it has two types");
    hasType = true;
    return parseType(field.bytes, info.type, 0);
  });
  return error ? inside("value '" + info.name + "'", std::move(error)) : Error::success();
}

Error MessageParser::parseType(StringRef message, TypeInfo &type, unsigned depth) {
  if (depth > maxDepth)
    return readerError("types are nested more than " + Twine(maxDepth) + " deep");
  return forEachField(message, [&](const WireField &field) -> Error {
    TypeInfo::Kind kind;
    switch (field.number) {
    case 1:
      kind = TypeInfo::Kind::Tensor;
      break;
    case 4:
      kind = TypeInfo::Kind::Sequence;
      break;
    case 5:
      kind = TypeInfo::Kind::Map;
      break;
    case 7:
      kind = TypeInfo::Kind::Opaque;
      break;
    case 8:
      kind = TypeInfo::Kind::SparseTensor;
      break;
    case 9:
      kind = TypeInfo::Kind::Optional;
      break;
    default:
      return Error::success();
    }
    if (Error error = readMessage(field))
      return error;
    if (type.kind != TypeInfo::Kind::Missing)
      return readerError("its type is given twice");
    type.kind = kind;
    return parseTypeCase(field, type, depth);
  });
}

Error MessageParser::parseTypeCase(const WireField &field, TypeInfo &type, unsigned depth) {
  bool isTensor = type.kind == TypeInfo::Kind::Tensor || type.kind == TypeInfo::Kind::SparseTensor;
  bool isMap = type.kind == TypeInfo::Kind::Map;
  if (type.kind == TypeInfo::Kind::Opaque)
    return Error::success();
  return forEachField(field.bytes, [&](const WireField &part) -> Error {
    if (part.number == 1 && (isTensor || isMap)) {
      int64_t number = 0;
      if (Error error = readInteger(part, number))
        return error;
      if (number != 0 && !isKnownElementType(number))
        return readerError("it has the unknown element type " + Twine(number));
      type.elementType = static_cast<ElementType>(number);
      return Error::success();
    }
    if (part.number == 2 && isTensor) {
      if (Error error = readMessage(part))
        return error;
      if (type.shape)
        return readerError("it has two shapes");
      return parseShape(part.bytes, type);
    }
    if (part.number == (isMap ? 2 : 1)) {
      if (Error error = readMessage(part))
        return error;
      if (type.inner)
        return readerError("its element type is given twice");
      if (Error error = charge(sizeof(TypeInfo)))
        return error;
      type.inner = std::make_unique<TypeInfo>();
      return parseType(part.bytes, *type.inner, depth + 1);
    }
    return Error::success();
  });
}

Error MessageParser::parseShape(StringRef message, TypeInfo &type) {
  type.shape.emplace();
  return forEachField(message, [&](const WireField &field) -> Error {
    if (field.number != 1)
      return Error::success();
    if (Error error = readMessage(field))
      return error;
    if (type.shape->size() == maxRank)
      return readerError("its rank is more than " + Twine(maxRank));
    Dimension dim;
    Error error = forEachField(field.bytes, [&](const WireField &part) -> Error {
      if (part.number == 1) {
        if (Error error = readInteger(part, dim.value))
          return error;
        // Some exporters write -1 for a size they do not know.
        if (dim.value < -1)
          return readerError("it has the dimension " + Twine(dim.value) + ", expected 0 or more");
        dim.kind = dim.value < 0 ? Dimension::Kind::Unknown : Dimension::Kind::Value;
      } else if (part.number == 2) {
        if (Error error = readString(part, dim.param))
          return error;
        dim.kind = dim.param.empty() ? Dimension::Kind::Unknown : Dimension::Kind::Param;
      }
      return Error::success();
    });
    if (error)
      return error;
    if (dim.kind == Dimension::Kind::Unknown)
      dim = Dimension();
    type.shape->push_back(dim);
    return charge(sizeof(dim));
  });
}
