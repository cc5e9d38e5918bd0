//===- PlaceCarries.cpp - Carried tensors keep their buffers --------------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "passes/Memory/Passes.h"

#include "mlir/Dialect/Bufferization/IR/Bufferization.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "llvm/ADT/SetVector.h"

namespace ssm {
#define GEN_PASS_DEF_PLACECARRIES
#include "passes/Memory/Passes.h.inc"
} // namespace ssm

using namespace mlir;
using bufferization::MaterializeInDestinationOp;

static Value throughCasts(Value value) {
  while (auto cast = value.getDefiningOp<tensor::CastOp>())
    value = cast.getSource();
  return value;
}

/// The loop argument that the operation keeps in its buffer, if it is the last word
/// on it: the loop yields the result.
static BlockArgument carryOf(MaterializeInDestinationOp op) {
  auto arg = dyn_cast<BlockArgument>(throughCasts(op.getDest()));
  if (!arg || arg.getOwner() != op->getBlock() || !isa<scf::ForOp, scf::WhileOp>(op->getParentOp()))
    return {};
  Value result = op.getResult();
  while (result.hasOneUse() && isa<tensor::CastOp>(*result.user_begin()))
    result = (*result.user_begin())->getResult(0);
  bool isYielded = result.hasOneUse() && isa<scf::YieldOp>(*result.user_begin()) &&
                   (*result.user_begin())->getBlock() == op->getBlock();
  return isYielded ? arg : BlockArgument();
}

/// The arguments of `block` whose buffer the value may be in.
static llvm::SmallSetVector<Value, 4> possibleBuffers(Value value, Block *block) {
  llvm::SmallSetVector<Value, 4> arguments;
  llvm::SmallSetVector<Value, 16> work;
  work.insert(value);
  for (size_t next = 0; next < work.size(); ++next) {
    Value now = work[next];
    if (auto arg = dyn_cast<BlockArgument>(now)) {
      if (arg.getOwner() == block)
        arguments.insert(arg);
      continue;
    }
    Operation *op = now.getDefiningOp();
    auto follow = [&](ValueRange values) {
      for (Value operand : values)
        if (isa<TensorType>(operand.getType()))
          work.insert(operand);
    };
    if (auto structured = dyn_cast<DestinationStyleOpInterface>(op)) {
      // Results are in the buffers of the destinations, never in those of inputs.
      follow(structured.getDpsInits());
    } else if (auto materialize = dyn_cast<MaterializeInDestinationOp>(op)) {
      follow(materialize.getDest());
    } else if (auto insert = dyn_cast<tensor::InsertSliceOp>(op)) {
      follow(insert.getDest());
    } else {
      follow(op->getOperands());
      for (Region &region : op->getRegions())
        for (Block &inner : region)
          follow(inner.getTerminator()->getOperands());
    }
  }
  return arguments;
}

/// Whether the value may be in the carry's buffer by way of an inner loop or branch.
/// One-shot analysis sees a conflict in writing it back there.
static bool comesThroughRegion(Value value, BlockArgument carry) {
  llvm::SmallSetVector<Operation *, 8> regions;
  llvm::SmallSetVector<Value, 16> work;
  work.insert(value);
  for (size_t next = 0; next < work.size(); ++next) {
    Operation *op = work[next].getDefiningOp();
    if (!op || op->getBlock() != carry.getOwner())
      continue;
    if (isa<RegionBranchOpInterface>(op)) {
      regions.insert(op);
      continue;
    }
    if (auto structured = dyn_cast<DestinationStyleOpInterface>(op))
      work.insert(structured.getDpsInits().begin(), structured.getDpsInits().end());
    else
      work.insert(op->operand_begin(), op->operand_end());
  }
  return llvm::any_of(regions, [&](Operation *op) {
    return llvm::any_of(op->getResults(), [&](Value result) {
      return isa<TensorType>(result.getType()) &&
             possibleBuffers(result, carry.getOwner()).contains(carry);
    });
  });
}

/// Whether the value is the loop's argument with elements inserted, which nothing reads in between
/// but elements in front of that.
static bool isInsertedInto(Value value, BlockArgument arg) {
  while (true) {
    Operation *op = value.getDefiningOp();
    auto insert = dyn_cast_or_null<tensor::InsertOp>(op);
    auto result = dyn_cast<OpResult>(value);
    auto inner = dyn_cast_or_null<scf::ForOp>(op);
    if (!insert && !inner)
      return false;
    Value before = insert ? insert.getDest() : inner.getInitArgs()[result.getResultNumber()];
    if (inner) {
      Value yielded = inner.getYieldedValues()[result.getResultNumber()];
      if (!isInsertedInto(yielded, inner.getRegionIterArg(result.getResultNumber())))
        return false;
    }
    for (Operation *user : before.getUsers())
      if (user != op && !(isa<tensor::ExtractOp>(user) && user->getBlock() == op->getBlock() &&
                          user->isBeforeInBlock(op)))
        return false;
    if (before == arg)
      return true;
    value = before;
  }
}

/// Whether the value is what an inner loop leaves in the carry's buffer, which
/// nothing else reads: it is in its place already.
static bool isInPlace(MaterializeInDestinationOp op, BlockArgument carry) {
  auto inner = throughCasts(op.getSource()).getDefiningOp<scf::ForOp>();
  if (!inner)
    return false;
  auto result = cast<OpResult>(throughCasts(op.getSource()));
  Value init = inner.getInitArgs()[result.getResultNumber()];
  BlockArgument arg = inner.getRegionIterArg(result.getResultNumber());
  Value yielded = inner.getYieldedValues()[result.getResultNumber()];
  auto kept = throughCasts(yielded).getDefiningOp<MaterializeInDestinationOp>();
  return init == carry && llvm::range_size(carry.getUses()) == 2 && op.getDest() == carry &&
         ((kept && carryOf(kept) == arg) || isInsertedInto(yielded, arg));
}

/// Copies the source before it is written to its place.
static void saveSource(MaterializeInDestinationOp op, OpBuilder &b) {
  Value source = op.getSource();
  auto type = cast<RankedTensorType>(source.getType());
  Value place = tensor::EmptyOp::create(
      b, op.getLoc(), tensor::getMixedSizes(b, op.getLoc(), source), type.getElementType());
  if (place.getType() != type)
    place = tensor::CastOp::create(b, op.getLoc(), type, place);
  Value saved = linalg::CopyOp::create(b, op.getLoc(), source, place).getResult(0);
  op.getSourceMutable().assign(saved);
}

static void placeCarries(Block *block, ArrayRef<MaterializeInDestinationOp> carries) {
  Operation *terminator = block->getTerminator();
  for (MaterializeInDestinationOp op : carries) {
    // Behind everything that reads the carries of this step.
    Operation *moved = op;
    while (moved != terminator) {
      Operation *user = *moved->getResult(0).user_begin();
      moved->moveBefore(terminator);
      moved = user;
    }
  }
  // What lies in another carry's buffer is saved before that is written, and what is the next
  // value of several lies in one of them only.
  OpBuilder b(carries.front());
  llvm::DenseSet<Value> sources;
  for (MaterializeInDestinationOp op : carries) {
    llvm::SmallSetVector<Value, 4> buffers = possibleBuffers(op.getSource(), block);
    buffers.remove(carryOf(op));
    bool overwritten = llvm::any_of(carries, [&](MaterializeInDestinationOp other) {
      return other != op && buffers.contains(carryOf(other));
    });
    bool isShared = !sources.insert(throughCasts(op.getSource())).second;
    if (overwritten || isShared || comesThroughRegion(op.getSource(), carryOf(op)))
      saveSource(op, b);
  }
}

namespace {
struct PlaceCarries : ssm::impl::PlaceCarriesBase<PlaceCarries> {
  void runOnOperation() override {
    llvm::MapVector<Block *, SmallVector<MaterializeInDestinationOp>> carries;
    SmallVector<MaterializeInDestinationOp> stray; // out of place, or in it already
    getOperation().walk([&](MaterializeInDestinationOp op) {
      if (!isa<TensorType>(op.getDest().getType()))
        return;
      BlockArgument carry = carryOf(op);
      if (carry && !isInPlace(op, carry))
        carries[op->getBlock()].push_back(op);
      else
        stray.push_back(op);
    });
    for (MaterializeInDestinationOp op : stray) {
      op.getResult().replaceAllUsesWith(op.getSource());
      op.erase();
    }
    for (auto &[block, ops] : carries)
      placeCarries(block, ops);
  }
};
} // namespace
