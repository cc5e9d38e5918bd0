//===- KernelBuilders.cpp - Kernels that copy, convert, fill --------------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "dialects/SSM/KernelBuilders.h"

#include "mlir/IR/TypeUtilities.h"

using namespace mlir;
using namespace ssm;

static KernelOp buildKernel(OpBuilder &builder, Location loc, ValueRange inputs,
                            ArrayRef<AffineMap> reads, Value out) {
  int64_t rank = cast<RankedTensorType>(out.getType()).getRank();
  SmallVector<AffineMap> maps(reads);
  maps.push_back(builder.getMultiDimIdentityMap(rank));
  return KernelOp::create(builder, loc, TypeRange(out.getType()), builder.getI64IntegerAttr(rank),
                          IntegerAttr(), inputs, ValueRange(), out,
                          builder.getAffineMapArrayAttr(maps), builder.getDenseBoolArrayAttr({}),
                          TransitionAttr(), ConfigAttr());
}

KernelOp ssm::buildElementwise(OpBuilder &builder, Location loc, Value source, AffineMap read,
                               Value out, llvm::function_ref<Value(Value)> compute) {
  KernelOp kernel = buildKernel(builder, loc, source, read, out);
  OpBuilder::InsertionGuard guard(builder);
  Block *body =
      builder.createBlock(&kernel.getBody(), {}, getElementTypeOrSelf(source.getType()), loc);
  Value element = body->getArgument(0);
  YieldOp::create(builder, loc, compute ? compute(element) : element);
  return kernel;
}

KernelOp ssm::buildFill(OpBuilder &builder, Location loc, Value value, Value out) {
  KernelOp kernel = buildKernel(builder, loc, {}, {}, out);
  OpBuilder::InsertionGuard guard(builder);
  builder.createBlock(&kernel.getBody());
  YieldOp::create(builder, loc, value);
  return kernel;
}
