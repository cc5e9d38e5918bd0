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
  scf::ForOp findSharedLoop(scf::ForOp loops);
  void emit(KernelOp kernel);
  void emit(linalg::LinalgOp op);
  void emit(memref::StoreOp store);
  void emit(scf::ForOp loops);
  void emit(TopKOp topk);
  void makeFirst(Operation *op);
  void wait(OpBuilder &b, Location loc) { gpu::BarrierOp::create(b, loc); }

  Operation *nest;
  gpu::GPUFuncOp function;
  /// What the threads share out, in order; numbers that all read by themselves.
  SmallVector<Operation *> shared;
  /// Of loops in `shared`, the one whose steps they share out.
  llvm::DenseMap<Operation *, scf::ForOp> sharedLoops;
  bool readsNumbers = false;
  SmallVector<Operation *> checks;
};

} // namespace

/// Of loops that write one element a step, one that is an index of the element by itself: a
/// thread then meets all points of its elements, in their order.
scf::ForOp NestEmitter::findSharedLoop(scf::ForOp loops) {
  memref::StoreOp store;
  SmallVector<memref::LoadOp> loads;
  WalkResult walked = loops->walk([&](Operation *op) {
    if (auto load = dyn_cast<memref::LoadOp>(op)) {
      loads.push_back(load);
      return WalkResult::advance();
    }
    if (isa<memref::StoreOp>(op) && !store) {
      store = cast<memref::StoreOp>(op);
      return WalkResult::advance();
    }
    bool isLoop = isa<scf::ForOp, scf::IfOp>(op) && op->getNumResults() == 0;
    return isLoop || (op->getNumRegions() == 0 && isMemoryEffectFree(op)) ? WalkResult::advance()
                                                                         : WalkResult::interrupt();
  });
  auto isOutside = [&](Value value) {
    return !loops->isAncestor(value.getParentBlock()->getParentOp());
  };
  if (walked.wasInterrupted() || !store || !isOutside(store.getMemRef()))
    return {};
  // Nobody else has that memory.
  std::optional<unsigned> written = argumentOf(function, store.getMemRef());
  if (!written || !function.getArgAttr(*written, kNoAlias))
    return {};
  for (memref::LoadOp load : loads)
    if (argumentOf(function, load.getMemRef()) == written &&
        (load.getMemRef() != store.getMemRef() || load.getIndices() != store.getIndices()))
      return {};
  for (Value index : store.getIndices()) {
    auto number = dyn_cast<BlockArgument>(index);
    auto loop = number ? dyn_cast<scf::ForOp>(number.getOwner()->getParentOp()) : scf::ForOp();
    if (loop && loops->isAncestor(loop) && isOutside(loop.getLowerBound()) &&
        isOutside(loop.getStep()))
      return loop;
  }
  return {};
}

bool NestEmitter::analyze() {
  WalkResult walked = nest->walk<WalkOrder::PreOrder>([&](Operation *op) {
    if (isa<CheckValuesOp>(op)) {
      checks.push_back(op);
      return WalkResult::advance();
    }
    if (isa<KernelOp, memref::StoreOp, TopKOp>(op) || isa<linalg::LinalgOp>(op)) {
      auto kernel = dyn_cast<KernelOp>(op);
      if (kernel && !orderCarryUpdates(kernel))
        return WalkResult::interrupt();
      shared.push_back(op);
      return WalkResult::skip();
    }
    if (auto loops = dyn_cast<scf::ForOp>(op))
      if (scf::ForOp loop = findSharedLoop(loops)) {
        sharedLoops[op] = loop;
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

void NestEmitter::emit(scf::ForOp loops) {
  scf::ForOp loop = sharedLoops.lookup(loops);
  ImplicitLocOpBuilder b(loops.getLoc(), loops);
  wait(b, loops.getLoc());
  Value thread = gpu::ThreadIdOp::create(b, gpu::Dimension::x);
  Value threads = gpu::BlockDimOp::create(b, gpu::Dimension::x);
  Value skipped = arith::MulIOp::create(b, thread, loop.getStep());
  loop.setLowerBound(arith::AddIOp::create(b, loop.getLowerBound(), skipped));
  loop.setStep(arith::MulIOp::create(b, threads, loop.getStep()));
  b.setInsertionPointAfter(loops);
  wait(b, loops.getLoc());
}

void NestEmitter::emit(TopKOp topk) {
  emitTopKInBlock(topk, function, kThreads);
  topk.erase();
}

void NestEmitter::emit() {
  for (Operation *check : checks)
    makeFirst(check);
  for (Operation *op : shared) {
    if (auto store = dyn_cast<memref::StoreOp>(op))
      shareBetweenThreads(function, store.getMemRef());
    else if (isa<scf::ForOp>(op))
      op->walk([&](memref::StoreOp store) { shareBetweenThreads(function, store.getMemRef()); });
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
    else if (auto loops = dyn_cast<scf::ForOp>(op))
      emit(loops);
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
