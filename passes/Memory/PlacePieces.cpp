//===- PlacePieces.cpp - Tensors of many pieces as buffers -----------------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "passes/Memory/Passes.h"

#include "mlir/Dialect/Bufferization/IR/Bufferization.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

namespace ssm {
#define GEN_PASS_DEF_PLACEPIECES
#include "passes/Memory/Passes.h.inc"
} // namespace ssm

using namespace mlir;
using namespace ssm;

/// Whether a piece's dims are those of `whole` without some that are 1.
static MemRefType findView(RankedTensorType piece, tensor::InsertSliceOp insert,
                           MemRefType buffer) {
  Type full = memref::SubViewOp::inferResultType(
      buffer, insert.getStaticOffsets(), insert.getStaticSizes(), insert.getStaticStrides());
  auto sizes = cast<MemRefType>(full).getShape();
  if (!computeRankReductionMask(sizes, piece.getShape()))
    return {};
  return cast<MemRefType>(memref::SubViewOp::inferRankReducedResultType(
      piece.getShape(), buffer, insert.getStaticOffsets(), insert.getStaticSizes(),
      insert.getStaticStrides()));
}

namespace {
struct PlacePieces : ssm::impl::PlacePiecesBase<PlacePieces> {
  using PlacePiecesBase::PlacePiecesBase;

  void runOnOperation() override {
    SmallVector<tensor::InsertSliceOp> lasts;
    getOperation().walk([&](tensor::InsertSliceOp insert) {
      if (!nextOf(insert))
        lasts.push_back(insert);
    });
    for (tensor::InsertSliceOp last : lasts) {
      SmallVector<tensor::InsertSliceOp> pieces = {last};
      while (auto before = pieces.back().getDest().getDefiningOp<tensor::InsertSliceOp>()) {
        if (nextOf(before) != pieces.back())
          break;
        pieces.push_back(before);
      }
      std::reverse(pieces.begin(), pieces.end());
      auto empty = pieces.front().getDest().getDefiningOp<tensor::EmptyOp>();
      if (empty && int64_t(pieces.size()) >= minPieces && areApart(pieces))
        place(empty, pieces);
    }
  }

  /// What puts the next piece to the result, if nothing else takes it.
  static tensor::InsertSliceOp nextOf(tensor::InsertSliceOp insert) {
    if (!insert->hasOneUse())
      return {};
    auto next = dyn_cast<tensor::InsertSliceOp>(*insert->user_begin());
    bool isNext = next && next.getDest() == insert.getResult() &&
                  next.getSource() != insert.getResult() && next->getBlock() == insert->getBlock();
    return isNext ? next : tensor::InsertSliceOp();
  }

  /// Whether pieces lie one behind the other along some axis.
  static bool areApart(MutableArrayRef<tensor::InsertSliceOp> pieces) {
    for (int64_t axis = 0; axis < pieces.front().getDestType().getRank(); ++axis) {
      int64_t end = 0;
      bool fits = llvm::all_of(pieces, [&](tensor::InsertSliceOp piece) {
        int64_t offset = piece.getStaticOffsets()[axis], size = piece.getStaticSizes()[axis];
        bool isBehind = !ShapedType::isDynamic(offset) && !ShapedType::isDynamic(size) &&
                        offset >= end && piece.hasUnitStride();
        end = offset + size;
        return isBehind;
      });
      if (fits)
        return true;
    }
    return false;
  }

  static void place(tensor::EmptyOp empty, MutableArrayRef<tensor::InsertSliceOp> pieces) {
    OpBuilder b(empty);
    if (empty->getBlock() != pieces.front()->getBlock())
      b.setInsertionPointToStart(pieces.front()->getBlock());
    auto type = MemRefType::get(empty.getType().getShape(), empty.getType().getElementType());
    Value buffer = memref::AllocOp::create(b, empty.getLoc(), type, empty.getDynamicSizes());
    for (tensor::InsertSliceOp insert : pieces) {
      b.setInsertionPoint(insert);
      Value piece = insert.getSource();
      // Without the axis that it was given to lie side by side with others.
      if (auto expand = piece.getDefiningOp<tensor::ExpandShapeOp>();
          expand && findView(expand.getSrcType(), insert, type))
        piece = expand.getSrc();
      auto pieceType = cast<RankedTensorType>(piece.getType());
      Value view = memref::SubViewOp::create(b, insert.getLoc(), findView(pieceType, insert, type),
                                             buffer, insert.getMixedOffsets(),
                                             insert.getMixedSizes(), insert.getMixedStrides());
      auto placed =
          bufferization::MaterializeInDestinationOp::create(b, insert.getLoc(), piece, view);
      placed.setRestrict(true);
      placed.setWritable(true);
    }
    b.setInsertionPointAfter(pieces.back());
    Value whole = bufferization::ToTensorOp::create(b, pieces.back().getLoc(), empty.getType(),
                                                    buffer, /*restrict=*/true, /*writable=*/true);
    pieces.back().replaceAllUsesWith(whole);
    for (tensor::InsertSliceOp insert : llvm::reverse(pieces))
      insert.erase();
    if (empty->use_empty())
      empty.erase();
  }
};
} // namespace
