//===- TopKOp.cpp - The first of sorted rows ------------------------------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "dialects/SSM/TopKOp.h"

#include "mlir/Dialect/Tensor/IR/Tensor.h"

#define GET_OP_CLASSES
#include "dialects/SSM/TopKOp.cpp.inc"

using namespace mlir;
using namespace ssm;

MutableOperandRange TopKOp::getDpsInitsMutable() { return getOutMutable(); }

void TopKOp::getEffects(
    SmallVectorImpl<SideEffects::EffectInstance<MemoryEffects::Effect>> &effects) {
  if (isa<MemRefType>(getInput().getType()))
    effects.emplace_back(MemoryEffects::Read::get(), &getInputMutable(), 0, true,
                         SideEffects::DefaultResource::get());
  if (isa<MemRefType>(getOut().getType()))
    effects.emplace_back(MemoryEffects::Write::get(), &getOutMutable(), 0, true,
                         SideEffects::DefaultResource::get());
}

LogicalResult TopKOp::reifyResultShapes(OpBuilder &builder, ReifiedRankedShapedTypeDims &shapes) {
  shapes.push_back(tensor::getMixedSizes(builder, getLoc(), getOut()));
  return success();
}

LogicalResult TopKOp::verify() {
  auto input = cast<ShapedType>(getInput().getType()), out = cast<ShapedType>(getOut().getType());
  Type element = input.getElementType();
  if (!input.hasRank() || !out.hasRank() || input.getRank() != out.getRank())
    return emitOpError("has an input of ")
           << input << " and an out of " << out << ", expected as many axes";
  int64_t axis = getAxis();
  if (axis < 0 || axis >= input.getRank())
    return emitOpError("has axis ") << axis << ", there are " << input.getRank();
  if (!isa<Float16Type, BFloat16Type, Float32Type, Float64Type>(element) &&
      !(element.isSignlessInteger() && element.getIntOrFloatBitWidth() >= 8 &&
        element.getIntOrFloatBitWidth() <= 64))
    return emitOpError("sorts ") << element
                                 << ", expected a float of 16 to 64 bits or an integer "
                                    "of 8 to 64";
  if (!out.getElementType().isInteger(64))
    return emitOpError("has an out of ") << out.getElementType() << ", expected i64";
  for (int64_t i = 0; i < input.getRank(); ++i) {
    int64_t have = input.getDimSize(i), want = out.getDimSize(i);
    if (ShapedType::isDynamic(have) || ShapedType::isDynamic(want))
      continue;
    if (i == axis ? want > have : want != have)
      return emitOpError("has ") << want << " places along axis " << i << " for " << have
                                 << " elements";
  }
  bool hasTensors = isa<TensorType>(out);
  if (hasTensors != isa<TensorType>(input))
    return emitOpError("has a tensor and a buffer, expected two of a kind");
  if (hasTensors ? !getResult() || getResult().getType() != out : static_cast<bool>(getResult()))
    return emitOpError("expected the result to be the out's tensor, and none of a buffer");
  return success();
}
