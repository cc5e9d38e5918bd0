//===- EmitNest.cpp - Loops around kernels, by one block ------------------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "passes/GPU/EmitTopK.h"

#include "dialects/SSM/KernelLoops.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Linalg/Transforms/Transforms.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Interfaces/DestinationStyleOpInterface.h"

using namespace mlir;
using namespace ssm;

namespace {

constexpr int64_t kThreads = 512;

/// Every thread runs the loops; what is computed outside of kernels is the same in all of them.
class NestEmitter {
public:
  NestEmitter(Operation *nest, gpu::GPUFuncOp function) : nest(nest), function(function) {}

  bool analyze();
  void emit();

private:
  void emit(KernelOp kernel);
  void emit(linalg::LinalgOp op);
  void emit(memref::StoreOp store);
  void emit(TopKOp topk);
  void makeFirst(Operation *op);
  void wait(OpBuilder &b, Location loc) { gpu::BarrierOp::create(b, loc); }

  Operation *nest;
  gpu::GPUFuncOp function;
  /// What the threads share out, in order; numbers that all read by themselves.
  SmallVector<Operation *> shared;
  bool readsNumbers = false;
};

} // namespace

bool NestEmitter::analyze() {
  WalkResult walked = nest->walk<WalkOrder::PreOrder>([&](Operation *op) {
    if (isa<KernelOp, memref::StoreOp, TopKOp>(op) || isa<linalg::LinalgOp>(op)) {
      auto kernel = dyn_cast<KernelOp>(op);
      if (kernel && !orderCarryUpdates(kernel))
        return WalkResult::interrupt();
      shared.push_back(op);
      return WalkResult::skip();
    }
    readsNumbers |= isa<memref::LoadOp>(op);
    // Memory of a thread is not the block's.
    bool isLoop = isa<scf::ForOp, scf::WhileOp, scf::IfOp>(op);
    if (isa<memref::AllocaOp, memref::AllocOp>(op) ||
        (!isLoop && op->getNumRegions() > 0) ||
        (!isLoop && !isa<memref::LoadOp>(op) && !isMemoryEffectFree(op)))
      return WalkResult::interrupt();
    return WalkResult::advance();
  });
  return !walked.wasInterrupted();
}

void NestEmitter::emit(KernelOp kernel) {
  ImplicitLocOpBuilder b(kernel.getLoc(), kernel), none(kernel.getLoc(), kernel.getContext());
  DeviceKernel both{KernelOp(), kernel, none, b, function};
  emitInBlock(both);
  kernel.erase();
}

/// One thread does it.
void NestEmitter::makeFirst(Operation *op) {
  ImplicitLocOpBuilder b(op->getLoc(), op);
  Value thread = gpu::ThreadIdOp::create(b, gpu::Dimension::x);
  Value zero = arith::ConstantIndexOp::create(b, 0);
  Value isFirst = arith::CmpIOp::create(b, arith::CmpIPredicate::eq, thread, zero);
  auto branch = scf::IfOp::create(b, isFirst);
  op->moveBefore(branch.thenBlock()->getTerminator());
}

/// The threads share out the longest loop that is parallel.
void NestEmitter::emit(linalg::LinalgOp op) {
  SmallVector<int64_t> sizes = op.getStaticLoopRanges();
  std::optional<unsigned> longest;
  auto length = [&](unsigned loop) {
    return ShapedType::isDynamic(sizes[loop]) ? std::numeric_limits<int64_t>::max() : sizes[loop];
  };
  for (auto [loop, type] : llvm::enumerate(op.getIteratorTypesArray()))
    if (type == utils::IteratorType::parallel && (!longest || length(loop) >= length(*longest)))
      longest = loop;
  IRRewriter rewriter(op->getContext());
  rewriter.setInsertionPointAfter(op);
  wait(rewriter, op->getLoc());
  if (!longest)
    return makeFirst(op);
  rewriter.setInsertionPoint(op);
  Value thread = gpu::ThreadIdOp::create(rewriter, op->getLoc(), gpu::Dimension::x);
  Value threads = gpu::BlockDimOp::create(rewriter, op->getLoc(), gpu::Dimension::x);
  FailureOr<linalg::LinalgLoops> loops = linalg::linalgOpToLoops(rewriter, op);
  auto loop = cast<scf::ForOp>((*loops)[*longest]);
  loop.setLowerBound(thread);
  loop.setStep(threads);
  rewriter.eraseOp(op);
}

void NestEmitter::emit(memref::StoreOp store) {
  OpBuilder after(store->getContext());
  after.setInsertionPointAfter(store);
  wait(after, store.getLoc());
  makeFirst(store);
}

void NestEmitter::emit(TopKOp topk) {
  emitTopKInBlock(topk, function, kThreads);
  topk.erase();
}

void NestEmitter::emit() {
  for (Operation *op : shared) {
    if (auto store = dyn_cast<memref::StoreOp>(op))
      shareBetweenThreads(function, store.getMemRef());
    else
      for (OpOperand &out : cast<DestinationStyleOpInterface>(op).getDpsInitsMutable())
        shareBetweenThreads(function, out.get());
  }
  for (Operation *op : shared) {
    if (readsNumbers) {
      OpBuilder before(op);
      wait(before, op->getLoc());
    }
    if (auto kernel = dyn_cast<KernelOp>(op))
      emit(kernel);
    else if (auto topk = dyn_cast<TopKOp>(op))
      emit(topk);
    else if (auto store = dyn_cast<memref::StoreOp>(op))
      emit(store);
    else
      emit(cast<linalg::LinalgOp>(op));
  }
}

std::optional<LaunchShape> ssm::emitNest(Operation *nest, gpu::GPUFuncOp function,
                                         ImplicitLocOpBuilder &host) {
  NestEmitter emitter(nest, function);
  if (!emitter.analyze())
    return std::nullopt;
  emitter.emit();
  Value one = arith::ConstantIndexOp::create(host, 1);
  return {{{one, one, one}, arith::ConstantIndexOp::create(host, kThreads), kThreads}};
}
