//===- TurnPadding.cpp - Sequences are padded in the layout they have -----===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "passes/Raising/Passes.h"

#include "dialects/SSM/KernelBuilders.h"
#include "dialects/SSM/KernelViews.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/PatternMatch.h"

namespace ssm {
#define GEN_PASS_DEF_TURNPADDING
#include "passes/Raising/Passes.h.inc"
} // namespace ssm

using namespace mlir;
using namespace ssm;

namespace {

/// A tensor put together from slices, at least one of which is a turned view.
class PaddingTurner {
public:
  PaddingTurner(tensor::InsertSliceOp last, IRRewriter &rewriter)
      : last(last), rewriter(rewriter), rank(last.getDestType().getRank()) {}

  bool match();
  void turn();

private:
  bool findOrder();
  /// What the tensor is a view of if its axes are turned by `order`, else null.
  Value turnedSource(Value tensor);
  template <typename T> SmallVector<T> turned(ArrayRef<T> list) {
    return llvm::map_to_vector(order, [&](int64_t axis) { return list[axis]; });
  }
  Value empty(Value like) {
    SmallVector<OpFoldResult> sizes = tensor::getMixedSizes(rewriter, last.getLoc(), like);
    return tensor::EmptyOp::create(rewriter, last.getLoc(), turned(ArrayRef(sizes)),
                                   last.getDestType().getElementType());
  }
  Value turnCopy(Value tensor);

  tensor::InsertSliceOp last;
  IRRewriter &rewriter;
  int64_t rank;
  SmallVector<tensor::InsertSliceOp> inserts; // from the first
  /// Axis i of the source is axis order[i] of the tensor.
  SmallVector<int64_t> order;
};

} // namespace

/// The order of the axes in what a tensor is a view of; empty if it is none.
static SmallVector<int64_t> orderOfView(Value tensor, Value &source) {
  auto type = cast<RankedTensorType>(tensor.getType());
  AffineMap map = AffineMap::getMultiDimIdentityMap(type.getRank(), tensor.getContext());
  source = tensor;
  while (foldView(source, map)) {
  }
  if (source == tensor || map.getNumResults() != type.getRank())
    return {};
  SmallVector<int64_t> order(type.getRank(), -1);
  llvm::SmallBitVector left(type.getRank(), true);
  for (auto [i, expr] : llvm::enumerate(map.getResults())) {
    auto dim = dyn_cast<AffineDimExpr>(expr);
    // One of several along an axis is a part of the source, no view of all.
    if (!dim && (!isa<AffineConstantExpr>(expr) ||
                 cast<RankedTensorType>(source.getType()).getDimSize(i) != 1))
      return {};
    if (!dim)
      continue;
    if (!left.test(dim.getPosition()))
      return {};
    order[i] = dim.getPosition();
    left.reset(dim.getPosition());
  }
  // Axes of size 1 are read at 0 and go where there is room.
  for (int64_t &axis : order)
    if (axis < 0) {
      axis = left.find_first();
      if (axis < 0 || type.getDimSize(axis) != 1)
        return {};
      left.reset(axis);
    }
  return order;
}

/// Whether axes that are not of size 1 come in another order.
static bool isTurned(ArrayRef<int64_t> order, RankedTensorType type) {
  int64_t before = -1;
  for (int64_t axis : order) {
    if (type.getDimSize(axis) == 1)
      continue;
    if (axis < before)
      return true;
    before = axis;
  }
  return false;
}

bool PaddingTurner::match() {
  for (tensor::InsertSliceOp insert = last; insert;
       insert = insert.getDest().getDefiningOp<tensor::InsertSliceOp>()) {
    if (insert.getSourceType().getRank() != rank || !insert.hasUnitStride() ||
        (insert != last && !insert->hasOneUse() &&
         llvm::count_if(insert->getUsers(), [](Operation *user) {
           return !isa<tensor::DimOp>(user);
         }) != 1))
      return false;
    inserts.insert(inserts.begin(), insert);
  }
  Value base = inserts.front().getDest();
  rewriter.setInsertionPoint(last);
  if (!base.getDefiningOp<tensor::EmptyOp>() && !getFilledWith(rewriter, base))
    return false;
  // Users read it through maps, or take slices.
  for (Operation *user : last->getUsers()) {
    if (isa<tensor::DimOp>(user))
      continue;
    if (auto slice = dyn_cast<tensor::ExtractSliceOp>(user)) {
      if (slice.getType().getRank() != rank || !slice.hasUnitStride())
        return false;
      continue;
    }
    auto kernel = dyn_cast<KernelOp>(user);
    if (!kernel || kernel.hasBuffers() || !llvm::is_contained(kernel.getInputs(), last.getResult()))
      return false;
    for (Value operand : llvm::concat<Value>(SmallVector<Value>(kernel.getInits()),
                                             SmallVector<Value>(kernel.getOuts())))
      if (operand == last.getResult())
        return false;
  }
  return findOrder();
}

/// The order of the last, and so the largest part that overwrites the others.
bool PaddingTurner::findOrder() {
  for (tensor::InsertSliceOp insert : llvm::reverse(inserts)) {
    Value source;
    order = orderOfView(insert.getSource(), source);
    if (!order.empty() && isTurned(order, insert.getSourceType()))
      return true;
  }
  return false;
}

Value PaddingTurner::turnCopy(Value tensor) {
  SmallVector<AffineExpr> read(rank);
  for (auto [i, axis] : llvm::enumerate(order))
    read[axis] = rewriter.getAffineDimExpr(i);
  return buildElementwise(rewriter, last.getLoc(), tensor,
                          AffineMap::get(rank, 0, read, rewriter.getContext()), empty(tensor))
      .getResult(0);
}

void PaddingTurner::turn() {
  rewriter.setInsertionPoint(last);
  Location loc = last.getLoc();
  Value base = inserts.front().getDest(), whole = empty(base);
  if (Value filled = getFilledWith(rewriter, base))
    whole = buildFill(rewriter, loc, filled, whole).getResult(0);
  for (tensor::InsertSliceOp insert : inserts) {
    Value source;
    SmallVector<int64_t> own = orderOfView(insert.getSource(), source);
    if (own != order)
      source = turnCopy(insert.getSource());
    whole = tensor::InsertSliceOp::create(rewriter, loc, source, whole,
                                          turned(ArrayRef(insert.getMixedOffsets())),
                                          turned(ArrayRef(insert.getMixedSizes())),
                                          turned(ArrayRef(insert.getMixedStrides())));
  }
  for (Operation *user : llvm::make_early_inc_range(last->getUsers())) {
    if (auto slice = dyn_cast<tensor::ExtractSliceOp>(user)) {
      rewriter.setInsertionPoint(slice);
      Value part = tensor::ExtractSliceOp::create(rewriter, loc, whole,
                                                  turned(ArrayRef(slice.getMixedOffsets())),
                                                  turned(ArrayRef(slice.getMixedSizes())),
                                                  turned(ArrayRef(slice.getMixedStrides())));
      // Back to the order in which it was asked for.
      SmallVector<AffineExpr> read;
      for (int64_t axis : order)
        read.push_back(rewriter.getAffineDimExpr(axis));
      Value out = tensor::EmptyOp::create(rewriter, loc, slice.getMixedSizes(),
                                          slice.getType().getElementType());
      Value copy = buildElementwise(rewriter, loc, part,
                                    AffineMap::get(rank, 0, read, rewriter.getContext()), out)
                       .getResult(0);
      if (copy.getType() != slice.getType())
        copy = tensor::CastOp::create(rewriter, loc, slice.getType(), copy);
      rewriter.replaceOp(slice, copy);
      continue;
    }
    auto kernel = dyn_cast<KernelOp>(user);
    if (!kernel)
      continue;
    SmallVector<AffineMap> maps(kernel.getMaps().getAsValueRange<AffineMapAttr>());
    for (unsigned i = 0; i < kernel.getInputs().size(); ++i)
      if (kernel.getInputs()[i] == last.getResult()) {
        maps[i] = AffineMap::get(maps[i].getNumDims(), 0, turned(maps[i].getResults()),
                                 rewriter.getContext());
        kernel.getInputsMutable()[i].set(whole);
      }
    kernel.setMapsAttr(rewriter.getAffineMapArrayAttr(maps));
  }
}

namespace {
struct TurnPadding : ssm::impl::TurnPaddingBase<TurnPadding> {
  void runOnOperation() override {
    IRRewriter rewriter(&getContext());
    llvm::SetVector<tensor::InsertSliceOp> padded;
    getOperation().walk([&](KernelOp kernel) {
      for (Value input : kernel.getInputs())
        if (auto insert = input.getDefiningOp<tensor::InsertSliceOp>())
          padded.insert(insert);
    });
    for (tensor::InsertSliceOp insert : padded)
      if (PaddingTurner turner(insert, rewriter); turner.match())
        turner.turn();
  }
};
} // namespace
