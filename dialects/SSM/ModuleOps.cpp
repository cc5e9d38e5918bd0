//===- ModuleOps.cpp - Weights, checks, the module's borders --------------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "dialects/SSM/SSMOps.h"

#include "mlir/IR/Matchers.h"
#include "mlir/IR/PatternMatch.h"

using namespace mlir;
using namespace ssm;

//===----------------------------------------------------------------------===//
// Weights
//===----------------------------------------------------------------------===//

LogicalResult WeightOp::verify() {
  auto type = dyn_cast<RankedTensorType>(getType());
  if (!type || !type.hasStaticShape())
    return emitOpError("has type ") << getType() << ", expected a static shape";
  if (getFile().has_value() != getOffset().has_value())
    return emitOpError("needs a file and an offset, or neither");
  unsigned bits = type.getElementTypeBitWidth();
  int64_t bytes = type.getNumElements() * ((bits + 7) / 8);
  if (static_cast<int64_t>(getLength()) != bytes)
    return emitOpError("has length ")
           << getLength() << ", expected " << bytes << " bytes for " << type;
  return success();
}

static LogicalResult verifyWeightUse(Operation *op, FlatSymbolRefAttr name, ShapedType type,
                                     SymbolTableCollection &table) {
  auto weight = table.lookupNearestSymbolFrom<WeightOp>(op, name);
  if (!weight)
    return op->emitOpError("names ") << name << ", expected an ssm.weight";
  auto weightType = cast<ShapedType>(weight.getType());
  if (weightType.getShape() != type.getShape() ||
      weightType.getElementType() != type.getElementType())
    return op->emitOpError("has type ") << type << " but the weight has type " << weightType;
  return success();
}

LogicalResult LoadWeightOp::verifySymbolUses(SymbolTableCollection &table) {
  return verifyWeightUse(*this, getWeightAttr(), cast<ShapedType>(getType()), table);
}

LogicalResult WeightViewOp::verifySymbolUses(SymbolTableCollection &table) {
  return verifyWeightUse(*this, getWeightAttr(), cast<ShapedType>(getType()), table);
}

//===----------------------------------------------------------------------===//
// CheckOp
//===----------------------------------------------------------------------===//

LogicalResult CheckOp::verify() {
  // A value that the text does not mention would never reach the user, and a
  // place without a value would print as it stands.
  StringRef text = getText();
  unsigned places = 0;
  while (text.contains(("{" + Twine(places) + "}").str()))
    ++places;
  if (places != getValues().size())
    return emitOpError("has ") << getValues().size() << " values, but its text has places for "
                               << places;
  return success();
}

void CheckOp::getCanonicalizationPatterns(RewritePatternSet &patterns, MLIRContext *) {
  patterns.add(+[](CheckOp op, PatternRewriter &rewriter) -> LogicalResult {
    if (!matchPattern(op.getCondition(), m_One()))
      return rewriter.notifyMatchFailure(op, "not known to hold");
    rewriter.eraseOp(op);
    return success();
  });
}

//===----------------------------------------------------------------------===//
// Memory
//===----------------------------------------------------------------------===//

template <typename Op> static LogicalResult verifySizes(Op op) {
  auto type = cast<MemRefType>(op.getResult().getType());
  if (!type.getLayout().isIdentity())
    return op.emitOpError("gives ") << type << ", expected the identity layout";
  if (op.getSizes().size() != static_cast<size_t>(type.getNumDynamicDims()))
    return op.emitOpError("has ") << op.getSizes().size() << " sizes for "
                                  << type.getNumDynamicDims() << " dynamic dimensions";
  return success();
}

LogicalResult OutputOp::verify() { return verifySizes(*this); }
LogicalResult SegmentAllocOp::verify() { return verifySizes(*this); }
LogicalResult ArenaViewOp::verify() { return verifySizes(*this); }
