//===- FunctionLowering.cpp - Lowering of a graph function ----------------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "lib/Import/FunctionLowering.h"

#include "dialects/SSM/SSMOps.h"
#include "lib/Import/OperatorTable.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

using namespace mlir;
using namespace ssm;
using namespace ssm::onnx;

enum SourceKind { kIndex, kDimension, kElement };

static unsigned positionOf(AffineExpr symbol) {
  return cast<AffineSymbolExpr>(symbol).getPosition();
}

void FunctionLowering::setLowered(Value graphValue, Value lowered) {
  values[graphValue] = lowered;
  for (auto [i, dim] : llvm::enumerate(facts.dims(graphValue)))
    if (isa<AffineSymbolExpr>(dim))
      sources.try_emplace(positionOf(dim), std::make_tuple(lowered, kDimension, i));
  if (auto elements = facts.elements(graphValue))
    for (auto [i, element] : llvm::enumerate(*elements))
      if (isa<AffineSymbolExpr>(element))
        sources.try_emplace(positionOf(element), std::make_tuple(lowered, kElement, i));
}

void FunctionLowering::bind(AffineExpr symbol, Value index) {
  sources[positionOf(symbol)] = {index, kIndex, 0};
}

bool FunctionLowering::isBound(AffineExpr expr) const {
  bool bound = true;
  expr.walk([&](AffineExpr inner) {
    if (!isa<AffineSymbolExpr>(inner) || sources.contains(positionOf(inner)))
      return;
    const ShapeFacts::Derivation *derivation = facts.derivation(inner);
    bound &= derivation && isBound(derivation->lhs) && isBound(derivation->rhs);
  });
  return bound;
}

Value FunctionLowering::symbolValue(AffineExpr symbol, OpBuilder &builder) {
  auto it = sources.find(positionOf(symbol));
  if (it == sources.end())
    return {};
  auto [source, kind, position] = it->second;
  if (kind == kIndex)
    return source;
  // Right behind the source, so that every later use is dominated.
  OpBuilder::InsertionGuard guard(builder);
  builder.setInsertionPointAfterValue(source);
  Location loc = source.getLoc();
  Value value;
  if (kind == kDimension) {
    value = tensor::DimOp::create(builder, loc, source, position);
  } else {
    SmallVector<Value> indices;
    if (cast<RankedTensorType>(source.getType()).getRank() == 1)
      indices.push_back(arith::ConstantIndexOp::create(builder, loc, position));
    value = tensor::ExtractOp::create(builder, loc, source, indices);
    value = arith::IndexCastOp::create(builder, loc, builder.getIndexType(), value);
  }
  it->second = {value, kIndex, 0};
  return value;
}

DenseElementsAttr ssm::onnx::lowerConstant(DenseElementsAttr attr) {
  Type type = attr.getElementType(), stored = storageType(type);
  if (type == stored)
    return attr;
  unsigned width = stored.getIntOrFloatBitWidth();
  return attr.mapValues(stored, [&](const APInt &value) { return value.zextOrTrunc(width); });
}

LogicalResult FunctionLowering::lowerBlock(Block &block, OpBuilder &builder) {
  for (Operation &op : block.without_terminator()) {
    if (auto node = dyn_cast<NodeOp>(op)) {
      if (failed(lowerNode(node, builder)))
        return failure();
    } else if (auto constant = dyn_cast<ConstantOp>(op)) {
      auto dense = dyn_cast<DenseElementsAttr>(constant.getValue());
      if (!dense)
        return constant.emitError("has a value that is not dense");
      setLowered(constant, arith::ConstantOp::create(builder, op.getLoc(), lowerConstant(dense)));
    } else if (auto load = dyn_cast<LoadWeightOp>(op)) {
      auto type = cast<RankedTensorType>(load.getType());
      auto stored = RankedTensorType::get(type.getShape(), storageType(type.getElementType()));
      setLowered(load, LoadWeightOp::create(builder, op.getLoc(), stored, load.getWeightAttr()));
    } else if (!isa<AbsentOp>(op)) {
      return op.emitError("is not part of a graph");
    }
  }
  return success();
}

bool FunctionLowering::lowerFromElements(NodeOp node, OpBuilder &builder) {
  if (node.getNumResults() != 1)
    return false;
  auto elements = facts.elements(node.getResult(0));
  if (!elements || !llvm::all_of(*elements, [&](AffineExpr e) { return isBound(e); }))
    return false;
  auto type = cast<RankedTensorType>(node.getResult(0).getType());
  auto stored = RankedTensorType::get(type.getShape(), storageType(type.getElementType()));
  Location loc = node.getLoc();
  if (auto constants = constantValues(*elements)) {
    SmallVector<Attribute> attrs;
    for (int64_t value : *constants)
      attrs.push_back(IntegerAttr::get(stored.getElementType(), value));
    setLowered(node.getResult(0),
               arith::ConstantOp::create(builder, loc, DenseElementsAttr::get(stored, attrs)));
    return true;
  }
  LoweringContext context(node, *this, builder);
  SmallVector<Value> scalars;
  for (AffineExpr element : *elements)
    scalars.push_back(
        arith::IndexCastOp::create(builder, loc, stored.getElementType(), context.size(element)));
  setLowered(node.getResult(0), tensor::FromElementsOp::create(builder, loc, stored, scalars));
  return true;
}

LogicalResult FunctionLowering::lowerNode(NodeOp node, OpBuilder &builder) {
  if (node.use_empty() || lowerFromElements(node, builder))
    return success();
  const OperatorEntry *entry = OperatorTable::get().lookup(node);
  if (!entry)
    return node.emitError("the operator is not supported");
  LoweringContext context(node, *this, builder);
  if (failed(entry->lower(context)))
    return failure();
  for (auto [i, output] : llvm::enumerate(node.getOutputs()))
    if (context.hasOutput(i) && !output.use_empty() && !getLowered(output))
      return context.error("output " + Twine(i) + " was not lowered");
  return success();
}
