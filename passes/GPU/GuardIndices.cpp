//===- GuardIndices.cpp - Indices from data stay inside -------------------- ===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "passes/GPU/Passes.h"

#include "dialects/SSM/SSMOps.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Arith/Utils/Utils.h"
#include "mlir/Dialect/GPU/IR/GPUDialect.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"
#include "llvm/ADT/DenseSet.h"

namespace ssm {
#define GEN_PASS_DEF_GUARDINDICES
#include "passes/GPU/Passes.h.inc"
} // namespace ssm

using namespace mlir;
using namespace ssm;

namespace {
struct GuardIndices : ssm::impl::GuardIndicesBase<GuardIndices> {
  void runOnOperation() override {
    // What loads give, and what is computed from it; of branches and loops, what may come of
    // anything but sizes and threads' numbers.
    llvm::DenseSet<Value> fromData, isUnknown = findUnknown();
    SmallVector<Value> left;
    auto mark = [&](Value value) {
      if (value.getType().isIntOrIndex() && fromData.insert(value).second)
        left.push_back(value);
    };
    auto markUnknown = [&](ValueRange values) {
      for (Value value : values)
        if (isUnknown.contains(value))
          mark(value);
    };
    getOperation()->walk([&](Operation *op) {
      // What is checked may come from a number that the host has read.
      if (isa<memref::LoadOp, CheckIndexOp>(op))
        mark(op->getResult(0));
      // Of floating point numbers nothing is known.
      if (isa<arith::FPToSIOp, arith::FPToUIOp>(op))
        mark(op->getResult(0));
      if (isa<scf::IfOp, scf::WhileOp, scf::ForOp>(op)) {
        markUnknown(op->getResults());
        for (Region &region : op->getRegions())
          if (!region.empty())
            markUnknown(region.getArguments().drop_front(isa<scf::ForOp>(op)));
      }
    });
    while (!left.empty())
      for (Operation *user : left.pop_back_val().getUsers())
        if (isa<arith::ArithDialect>(user->getDialect()))
          llvm::for_each(user->getResults(), mark);

    SmallVector<Operation *> accesses;
    getOperation()->walk([&](Operation *op) {
      if (isa<memref::LoadOp, memref::StoreOp, vector::LoadOp, memref::SubViewOp>(op))
        accesses.push_back(op);
    });
    for (Operation *op : accesses) {
      ImplicitLocOpBuilder b(op->getLoc(), op);
      if (auto load = dyn_cast<memref::LoadOp>(op))
        guard(b, load, load.getMemRef(), fromData);
      // Along the last axis vectors lie where loops say.
      else if (auto load = dyn_cast<vector::LoadOp>(op))
        guard(b, load, load.getBase(), fromData);
      else if (auto view = dyn_cast<memref::SubViewOp>(op))
        guard(b, view, fromData);
      else
        guard(b, cast<memref::StoreOp>(op), fromData);
    }
  }

  /// Integers that are not computed from sizes, constants and threads' numbers alone.
  llvm::DenseSet<Value> findUnknown() {
    llvm::DenseSet<Value> unknown;
    SmallVector<Value> left;
    auto mark = [&](ValueRange values) {
      for (Value value : values)
        if (value.getType().isIntOrIndex() && unknown.insert(value).second)
          left.push_back(value);
    };
    getOperation()->walk([&](Operation *op) {
      bool isComputed =
          isa<arith::ArithDialect>(op->getDialect()) &&
          llvm::all_of(op->getOperandTypes(), [](Type type) { return type.isIntOrIndex(); });
      bool isLoop = isa<scf::ForOp, scf::IfOp>(op);
      if (!isComputed && !isLoop &&
          !isa<gpu::ThreadIdOp, gpu::BlockIdOp, gpu::BlockDimOp, gpu::GridDimOp, memref::DimOp,
               memref::ExtractStridedMetadataOp, memref::ExtractAlignedPointerAsIndexOp>(op))
        mark(op->getResults());
      if (auto loop = dyn_cast<scf::WhileOp>(op)) {
        mark(loop.getBeforeArguments());
        mark(loop.getAfterArguments());
      }
    });
    while (!left.empty())
      for (OpOperand &use : left.pop_back_val().getUses()) {
        Operation *user = use.getOwner(), *parent = user->getParentOp();
        unsigned number = use.getOperandNumber();
        if (isa<arith::ArithDialect>(user->getDialect())) {
          mark(user->getResults());
        } else if (isa<scf::YieldOp>(user) && isa<scf::ForOp, scf::IfOp>(parent)) {
          mark(parent->getResult(number));
          if (auto loop = dyn_cast<scf::ForOp>(parent))
            mark(loop.getRegionIterArg(number));
        } else if (auto loop = dyn_cast<scf::ForOp>(user)) {
          // How often it runs, or what a carried value begins with.
          unsigned bounds = loop.getNumControlOperands();
          if (number >= bounds) {
            mark(loop.getRegionIterArg(number - bounds));
            mark(loop.getResult(number - bounds));
          } else {
            mark(loop.getBody()->getArguments());
            mark(loop.getResults());
          }
        } else if (isa<scf::IfOp>(user)) {
          mark(user->getResults());
        }
      }
    return unknown;
  }

  /// A part that data places ends with the buffer at the latest.
  static void guard(ImplicitLocOpBuilder &b, memref::SubViewOp view,
                    const llvm::DenseSet<Value> &fromData) {
    SmallVector<OpFoldResult> offsets = view.getMixedOffsets(), sizes = view.getMixedSizes();
    unsigned number = 0;
    for (auto [axis, offset] : llvm::enumerate(offsets)) {
      auto value = dyn_cast<Value>(offset);
      if (!value)
        continue;
      OpOperand &operand = view.getOffsetsMutable()[number++];
      if (!fromData.contains(value))
        continue;
      Value size = memref::DimOp::create(b, view.getSource(), static_cast<int64_t>(axis));
      Value part = getValueOrCreateConstantIndexOp(b, b.getLoc(), sizes[axis]);
      Value most = arith::SubIOp::create(b, arith::MaxUIOp::create(b, size, part), part);
      operand.set(arith::MinUIOp::create(b, value, most));
    }
  }

  static void guard(ImplicitLocOpBuilder &b, Operation *load, Value buffer,
                    const llvm::DenseSet<Value> &fromData) {
    for (OpOperand &index : load->getOpOperands().drop_front()) {
      if (!fromData.contains(index.get()))
        continue;
      Value size =
          memref::DimOp::create(b, buffer, static_cast<int64_t>(index.getOperandNumber() - 1));
      Value one = arith::ConstantIndexOp::create(b, 1);
      Value last = arith::SubIOp::create(b, arith::MaxUIOp::create(b, size, one), one);
      index.set(arith::MinUIOp::create(b, index.get(), last));
    }
  }

  static void guard(ImplicitLocOpBuilder &b, memref::StoreOp store,
                    const llvm::DenseSet<Value> &fromData) {
    Value fits;
    for (auto [axis, index] : llvm::enumerate(store.getIndices())) {
      if (!fromData.contains(index))
        continue;
      Value size = memref::DimOp::create(b, store.getMemRef(), static_cast<int64_t>(axis));
      Value isInside = arith::CmpIOp::create(b, arith::CmpIPredicate::ult, index, size);
      fits = fits ? arith::AndIOp::create(b, fits, isInside).getResult() : isInside;
    }
    if (!fits)
      return;
    auto branch = scf::IfOp::create(b, fits);
    store->moveBefore(branch.thenBlock()->getTerminator());
  }
};
} // namespace
