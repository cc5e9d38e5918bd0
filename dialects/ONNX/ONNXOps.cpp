//===- ONNXOps.cpp - The graph stage's dialect ----------------------------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "dialects/ONNX/ONNXOps.h"

#include "mlir/IR/Builders.h"
#include "mlir/IR/DialectImplementation.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace ssm::onnx;

#include "dialects/ONNX/ONNXDialect.cpp.inc"

#define GET_TYPEDEF_CLASSES
#include "dialects/ONNX/ONNXTypes.cpp.inc"

#define GET_OP_CLASSES
#include "dialects/ONNX/ONNXOps.cpp.inc"

void ONNXDialect::initialize() {
  addTypes<
#define GET_TYPEDEF_LIST
#include "dialects/ONNX/ONNXTypes.cpp.inc"
      >();
  addOperations<
#define GET_OP_LIST
#include "dialects/ONNX/ONNXOps.cpp.inc"
      >();
}

Operation *ONNXDialect::materializeConstant(OpBuilder &builder, Attribute value, Type type,
                                            Location loc) {
  auto elements = dyn_cast<ElementsAttr>(value);
  if (!elements || elements.getType() != type)
    return nullptr;
  return ConstantOp::create(builder, loc, type, elements);
}

std::string ssm::onnx::getNodeName(Location loc) {
  if (auto name = dyn_cast<NameLoc>(loc))
    return name.getName().str();
  if (auto fused = dyn_cast<FusedLoc>(loc))
    for (Location inner : fused.getLocations())
      if (std::string name = getNodeName(inner); !name.empty())
        return name;
  return "";
}

//===----------------------------------------------------------------------===//
// NodeOp
//===----------------------------------------------------------------------===//

Attribute NodeOp::getONNXAttr(StringRef name) {
  DictionaryAttr dict = getOnnxAttrsAttr();
  return dict ? dict.get(name) : Attribute();
}

Region *NodeOp::getONNXRegion(StringRef name) {
  ArrayAttr names = getRegionNamesAttr();
  if (!names)
    return nullptr;
  for (auto [attr, region] : llvm::zip_equal(names, getBodies()))
    if (cast<StringAttr>(attr).getValue() == name)
      return &region;
  return nullptr;
}

std::string NodeOp::getOperatorName() {
  std::string name;
  if (getDomain() && !getDomain()->empty())
    name = (*getDomain() + "::").str();
  return name + getOpType().str();
}

std::string NodeOp::getNodeName() {
  std::string name = ssm::onnx::getNodeName(getLoc());
  if (name.empty())
    return getOperatorName();
  return "'" + name + "' (" + getOperatorName() + ")";
}

LogicalResult NodeOp::verify() {
  if (getVersion() < 1)
    return emitOpError("has opset version ") << getVersion() << ", expected 1 or more";
  size_t numNames = getRegionNamesAttr() ? getRegionNamesAttr().size() : 0;
  if (numNames != getBodies().size())
    return emitOpError("has ") << getBodies().size() << " regions and " << numNames
                               << " region names";
  for (Region &body : getBodies())
    if (!body.hasOneBlock() || body.front().empty() || !isa<YieldOp>(body.front().back()))
      return emitOpError("regions must be one block that ends in onnx.yield");
  return success();
}

//===----------------------------------------------------------------------===//
// ConstantOp
//===----------------------------------------------------------------------===//

OpFoldResult ConstantOp::fold(FoldAdaptor) { return getValueAttr(); }
