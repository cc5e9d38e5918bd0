//===- ResolveExpandShape.cpp - memref.expand_shape to a plain view -------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "passes/CPU/Passes.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Arith/Utils/Utils.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"

namespace ssm {
#define GEN_PASS_DEF_RESOLVEEXPANDSHAPE
#include "passes/CPU/Passes.h.inc"
} // namespace ssm

using namespace mlir;

/// Whether one group of the result has more than one dynamic size.
static bool isResolvable(memref::ExpandShapeOp expand) {
  MemRefType type = expand.getResultType();
  return llvm::any_of(expand.getReassociationIndices(), [&](const ReassociationIndices &group) {
    return llvm::count_if(group, [&](int64_t dim) { return type.isDynamicDim(dim); }) > 1;
  });
}

static OpFoldResult multiply(OpBuilder &b, Location loc, OpFoldResult x, OpFoldResult y) {
  std::optional<int64_t> cx = getConstantIntValue(x), cy = getConstantIntValue(y);
  if (cx && cy)
    return b.getIndexAttr(*cx * *cy);
  Value product = b.createOrFold<arith::MulIOp>(loc, getValueOrCreateConstantIndexOp(b, loc, x),
                                                getValueOrCreateConstantIndexOp(b, loc, y));
  return product;
}

static void resolve(memref::ExpandShapeOp expand) {
  OpBuilder b(expand);
  Location loc = expand.getLoc();
  MemRefType type = expand.getResultType();
  auto source = memref::ExtractStridedMetadataOp::create(b, loc, expand.getSrc());
  SmallVector<OpFoldResult> sizes = expand.getMixedOutputShape();
  auto [staticStrides, staticOffset] = type.getStridesAndOffset();
  auto known = [&](int64_t value, OpFoldResult otherwise) -> OpFoldResult {
    return ShapedType::isDynamic(value) ? otherwise : OpFoldResult(b.getIndexAttr(value));
  };
  SmallVector<OpFoldResult> strides(sizes.size());
  SmallVector<OpFoldResult> sourceStrides = source.getConstifiedMixedStrides();
  for (auto [group, sourceStride] :
       llvm::zip_equal(expand.getReassociationIndices(), sourceStrides)) {
    OpFoldResult stride = sourceStride;
    for (int64_t dim : llvm::reverse(group)) {
      strides[dim] = known(staticStrides[dim], stride);
      if (dim != group.front())
        stride = multiply(b, loc, strides[dim], sizes[dim]);
    }
  }
  Value view = memref::ReinterpretCastOp::create(
      b, loc, type, source.getBaseBuffer(), known(staticOffset, source.getConstifiedMixedOffset()),
      sizes, strides);
  expand.replaceAllUsesWith(view);
  expand.erase();
}

namespace {
struct ResolveExpandShape : ssm::impl::ResolveExpandShapeBase<ResolveExpandShape> {
  void runOnOperation() override {
    SmallVector<memref::ExpandShapeOp> found;
    getOperation()->walk([&](memref::ExpandShapeOp expand) {
      if (isResolvable(expand))
        found.push_back(expand);
    });
    for (memref::ExpandShapeOp expand : found)
      resolve(expand);
  }
};
} // namespace
