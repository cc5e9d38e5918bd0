//===- ParallelOps.cpp - Loops whose pieces run at once -------------------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "dialects/SSM/SSMOps.h"

using namespace mlir;
using namespace ssm;

LogicalResult ParallelForOp::verify() {
  Block &block = getBody().front();
  if (block.getNumArguments() != 2 ||
      !llvm::all_of(block.getArgumentTypes(), [](Type type) { return type.isIndex(); }))
    return emitOpError("body arguments must be the two ends of a piece, of type index; got ")
           << block.getArgumentTypes();
  if (block.getTerminator()->getNumOperands() != 0)
    return emitOpError("body must yield nothing");
  return success();
}
