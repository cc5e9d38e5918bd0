//===- TensorMapOp.cpp - Maps for bulk copies -----------------------------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "dialects/SSM/TensorMapOp.h"

#define GET_OP_CLASSES
#include "dialects/SSM/TensorMapOp.cpp.inc"

using namespace mlir;
using namespace ssm;

bool ssm::isTensorMap(Operation *kernel, unsigned argument) {
  auto numbers = kernel->getAttrOfType<DenseI32ArrayAttr>(kTensorMapsAttr);
  return numbers && llvm::is_contained(numbers.asArrayRef(), static_cast<int32_t>(argument));
}

LogicalResult TensorMapOp::verify() {
  auto type = cast<MemRefType>(getMemref().getType());
  Type element = type.getElementType();
  constexpr int64_t maxRank = 5, maxBox = 256, piece = 16;
  if (type.getRank() < 1 || type.getRank() > maxRank || !type.isLastDimUnitStride())
    return emitOpError("is of ") << type << ", expected up to five axes, the innermost one dense";
  if (!element.isIntOrFloat() || element.getIntOrFloatBitWidth() < 8)
    return emitOpError("is of ") << element << ", expected whole bytes";
  if (static_cast<int64_t>(getBox().size()) != type.getRank())
    return emitOpError("has a box of ")
           << getBox().size() << " axes, expected " << type.getRank();
  for (int32_t size : getBox())
    if (size < 1 || size > maxBox)
      return emitOpError("has a box of ") << size << " elements, expected 1 to " << maxBox;
  int64_t swizzle = getSwizzle();
  if (!llvm::is_contained({0, 32, 64, 128}, swizzle))
    return emitOpError("swizzles over ") << swizzle << " bytes, expected 0, 32, 64 or 128";
  int64_t inner = getBox().back() * int64_t(element.getIntOrFloatBitWidth() / 8);
  if (inner % piece != 0 || (swizzle != 0 && inner > swizzle))
    return emitOpError("has boxes with lines of ")
           << inner << " bytes, expected pieces of 16 that the swizzle spans";
  return success();
}

LogicalResult TensorMapOp::verifySymbolUses(SymbolTableCollection &table) {
  for (OpOperand &use : getResult().getUses()) {
    auto launch = dyn_cast<LaunchOp>(use.getOwner());
    if (!launch)
      return emitOpError("is used by '") << use.getOwner()->getName() << "', expected ssm.launch";
    unsigned argument = use.getOperandNumber() - launch.getArgs().getBeginOperandIndex();
    Operation *kernel = table.lookupNearestSymbolFrom(launch, launch.getKernelAttr());
    if (kernel && !isTensorMap(kernel, argument))
      return emitOpError("is argument ") << argument << " of " << launch.getKernelAttr()
                                         << ", which takes no tensor map there";
  }
  return success();
}
