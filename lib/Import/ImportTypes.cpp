//===- ImportTypes.cpp - Types and constants of the graph stage -----------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "lib/Import/ImportTypes.h"

#include "lib/Import/Reader/ReaderError.h"
#include "mlir/IR/Builders.h"
#include "mlir/IR/BuiltinTypes.h"
#include "llvm/ADT/StringExtras.h"

using namespace mlir;
using namespace ssm::onnx;

Type ssm::onnx::importElementType(ElementType type, MLIRContext *context) {
  Builder b(context);
  auto unsignedType = [&](unsigned width) { return b.getIntegerType(width, false); };
  switch (type) {
  case ElementType::Undefined:
  case ElementType::String:
    return {};
  case ElementType::Float:
    return b.getF32Type();
  case ElementType::Double:
    return b.getF64Type();
  case ElementType::Float16:
    return b.getF16Type();
  case ElementType::BFloat16:
    return b.getBF16Type();
  case ElementType::Bool:
    return b.getI1Type();
  case ElementType::Int2:
  case ElementType::Int4:
  case ElementType::Int8:
  case ElementType::Int16:
  case ElementType::Int32:
  case ElementType::Int64:
    return b.getIntegerType(getBitWidth(type));
  case ElementType::UInt2:
  case ElementType::UInt4:
  case ElementType::UInt8:
  case ElementType::UInt16:
  case ElementType::UInt32:
  case ElementType::UInt64:
    return unsignedType(getBitWidth(type));
  case ElementType::Complex64:
    return ComplexType::get(b.getF32Type());
  case ElementType::Complex128:
    return ComplexType::get(b.getF64Type());
  case ElementType::Float8E4M3FN:
    return b.getType<Float8E4M3FNType>();
  case ElementType::Float8E4M3FNUZ:
    return b.getType<Float8E4M3FNUZType>();
  case ElementType::Float8E5M2:
    return b.getType<Float8E5M2Type>();
  case ElementType::Float8E5M2FNUZ:
    return b.getType<Float8E5M2FNUZType>();
  case ElementType::Float8E8M0:
    return b.getType<Float8E8M0FNUType>();
  case ElementType::Float6E2M3:
    return b.getType<Float6E2M3FNType>();
  case ElementType::Float6E3M2:
    return b.getType<Float6E3M2FNType>();
  case ElementType::Float4E2M1:
    return b.getType<Float4E2M1FNType>();
  }
  return {};
}

llvm::Expected<DenseElementsAttr> ssm::onnx::importElements(const WeightSource &source,
                                                            MLIRContext *context) {
  Type elementType = importElementType(source.getElementType(), context);
  if (!elementType || isa<ComplexType>(elementType))
    return readerError("tensor '" + source.getName() + "' is " +
                       getElementTypeName(source.getElementType()) + ", which is not supported");
  auto type = RankedTensorType::get(source.getDims(), elementType);
  auto bits = source.readBits();
  if (!bits)
    return bits.takeError();
  const llvm::fltSemantics *semantics = getFloatSemantics(source.getElementType());
  if (!semantics)
    return DenseElementsAttr::get(type, ArrayRef<APInt>(*bits));
  SmallVector<APFloat> values;
  for (const APInt &value : *bits)
    values.emplace_back(*semantics, value);
  return DenseElementsAttr::get(type, ArrayRef<APFloat>(values));
}

llvm::Expected<Attribute> ssm::onnx::importAttribute(const NodeAttribute &attribute,
                                                     MLIRContext *context) {
  Builder b(context);
  switch (attribute.kind) {
  case NodeAttribute::Kind::Float:
    return b.getF32FloatAttr(attribute.f);
  case NodeAttribute::Kind::Int:
    return b.getI64IntegerAttr(attribute.i);
  case NodeAttribute::Kind::String:
    return b.getStringAttr(attribute.s);
  case NodeAttribute::Kind::Floats:
    return b.getDenseF32ArrayAttr(attribute.floats);
  case NodeAttribute::Kind::Ints:
    return b.getDenseI64ArrayAttr(attribute.ints);
  case NodeAttribute::Kind::Strings:
    return b.getStrArrayAttr(attribute.strings);
  case NodeAttribute::Kind::Tensor: {
    auto elements = importElements(attribute.tensors.front(), context);
    if (!elements)
      return elements.takeError();
    return *elements;
  }
  default:
    return readerError("attribute '" + attribute.name + "' is of a type (number " +
                       Twine(static_cast<int32_t>(attribute.kind)) + ") that is not supported");
  }
}

ArrayAttr ssm::onnx::importDims(ArrayRef<Dimension> dims, MLIRContext *context) {
  Builder b(context);
  SmallVector<Attribute> attrs;
  for (const Dimension &dim : dims) {
    if (dim.kind == Dimension::Kind::Value)
      attrs.push_back(b.getI64IntegerAttr(dim.value));
    else if (dim.kind == Dimension::Kind::Param)
      attrs.push_back(b.getStringAttr(dim.param));
    else
      attrs.push_back(b.getUnitAttr());
  }
  return b.getArrayAttr(attrs);
}
