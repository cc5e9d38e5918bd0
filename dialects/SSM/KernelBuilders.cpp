//===- KernelBuilders.cpp - Kernels of one input and one out --------------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "dialects/SSM/KernelBuilders.h"

#include "mlir/IR/TypeUtilities.h"

using namespace mlir;
using namespace ssm;

KernelOp ssm::buildElementwise(OpBuilder &builder, Location loc, Value source, AffineMap read,
                               Value out, llvm::function_ref<Value(Value)> compute) {
  unsigned rank = cast<RankedTensorType>(out.getType()).getRank();
  AffineMap write = builder.getMultiDimIdentityMap(rank);
  auto kernel = KernelOp::create(builder, loc, TypeRange(out.getType()),
                                 builder.getI64IntegerAttr(rank), IntegerAttr(), source,
                                 ValueRange(), out, builder.getAffineMapArrayAttr({read, write}),
                                 builder.getDenseBoolArrayAttr({}), TransitionAttr(), ConfigAttr());
  OpBuilder::InsertionGuard guard(builder);
  Block *body =
      builder.createBlock(&kernel.getBody(), {}, getElementTypeOrSelf(source.getType()), loc);
  Value element = body->getArgument(0);
  YieldOp::create(builder, loc, compute ? compute(element) : element);
  return kernel;
}
