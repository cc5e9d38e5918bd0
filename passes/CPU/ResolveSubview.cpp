//===- ResolveSubview.cpp - Slices that drop some of several unit axes ----===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "passes/CPU/Passes.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"

namespace ssm {
#define GEN_PASS_DEF_RESOLVESUBVIEW
#include "passes/CPU/Passes.h.inc"
} // namespace ssm

using namespace mlir;

/// Whether it drops some of its axes of size 1 and keeps others.
static bool isAmbiguous(memref::SubViewOp view) {
  int64_t dropped = view.getSourceType().getRank() - view.getType().getRank();
  return dropped > 0 && llvm::count(view.getStaticSizes(), 1) > dropped;
}

/// The axes that stay, told by sizes alone: which of several neighbours of size 1
/// stays makes no difference to what is read.
static SmallVector<int64_t> findKept(memref::SubViewOp view) {
  ArrayRef<int64_t> shape = view.getType().getShape(), sizes = view.getStaticSizes();
  SmallVector<int64_t> kept;
  int64_t next = shape.size() - 1;
  for (int64_t axis = sizes.size() - 1; axis >= 0; --axis) {
    if (sizes[axis] == 1 && (next < 0 || shape[next] != 1))
      continue;
    kept.push_back(axis);
    --next;
  }
  std::reverse(kept.begin(), kept.end());
  return kept;
}

static void resolve(memref::SubViewOp view) {
  SmallVector<int64_t> kept = findKept(view);
  MemRefType type = view.getType();
  if (static_cast<int64_t>(kept.size()) != type.getRank())
    return;
  OpBuilder b(view);
  Location loc = view.getLoc();
  Value whole = memref::SubViewOp::create(b, loc, view.getSource(), view.getMixedOffsets(),
                                          view.getMixedSizes(), view.getMixedStrides());
  auto metadata = memref::ExtractStridedMetadataOp::create(b, loc, whole);
  auto [staticStrides, staticOffset] = type.getStridesAndOffset();
  auto known = [&](int64_t value, OpFoldResult otherwise) -> OpFoldResult {
    return ShapedType::isDynamic(value) ? otherwise : OpFoldResult(b.getIndexAttr(value));
  };
  SmallVector<OpFoldResult> sizes, strides, mixed = metadata.getConstifiedMixedStrides();
  for (auto [axis, stride] : llvm::zip_equal(kept, staticStrides)) {
    sizes.push_back(view.getMixedSizes()[axis]);
    strides.push_back(known(stride, mixed[axis]));
  }
  Value cast = memref::ReinterpretCastOp::create(
      b, loc, type, metadata.getBaseBuffer(),
      known(staticOffset, metadata.getConstifiedMixedOffset()), sizes, strides);
  view.replaceAllUsesWith(cast);
  view.erase();
}

namespace {
struct ResolveSubview : ssm::impl::ResolveSubviewBase<ResolveSubview> {
  void runOnOperation() override {
    SmallVector<memref::SubViewOp> found;
    getOperation().walk([&](memref::SubViewOp view) {
      if (isAmbiguous(view))
        found.push_back(view);
    });
    for (memref::SubViewOp view : found)
      resolve(view);
  }
};
} // namespace
