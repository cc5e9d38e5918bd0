//===- ForwardCopies.cpp - Results are written where they are copied to ---===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "passes/Memory/Passes.h"

#include "dialects/SSM/SSMOps.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/IR/Dominance.h"
#include "mlir/Interfaces/ViewLikeInterface.h"

namespace ssm {
#define GEN_PASS_DEF_FORWARDCOPIES
#include "passes/Memory/Passes.h.inc"
} // namespace ssm

using namespace mlir;
using namespace ssm;

static Value rootOf(Value buffer) {
  while (auto view = buffer.getDefiningOp<ViewLikeOpInterface>())
    buffer = view.getViewSource();
  return buffer;
}

/// Whether two parts of one buffer have an axis along which they lie apart.
static bool areApart(memref::SubViewOp x, memref::SubViewOp y) {
  if (x.getSource() != y.getSource())
    return false;
  for (auto [first, second, firstSize, secondSize, firstStep, secondStep] :
       llvm::zip_equal(x.getMixedOffsets(), y.getMixedOffsets(), x.getMixedSizes(),
                       y.getMixedSizes(), x.getMixedStrides(), y.getMixedStrides())) {
    std::optional<int64_t> a = getConstantIntValue(first), b = getConstantIntValue(second);
    std::optional<int64_t> n = getConstantIntValue(firstSize), m = getConstantIntValue(secondSize);
    if (a && b && n && m && isConstantIntValue(firstStep, 1) && isConstantIntValue(secondStep, 1) &&
        (*a + *n <= *b || *b + *m <= *a))
      return true;
  }
  return false;
}

/// Whether no other value stands for the same memory: a temporary, an output, or where a caller
/// wants the result of a repeated function.
static bool isOwn(Value buffer) {
  if (auto argument = dyn_cast<BlockArgument>(buffer)) {
    auto function = dyn_cast<func::FuncOp>(argument.getOwner()->getParentOp());
    return function && function.getArgAttr(argument.getArgNumber(), kResultPlace);
  }
  return isa<memref::AllocOp, OutputOp>(buffer.getDefiningOp());
}

namespace {
/// A copy of a temporary that one kernel writes, and nothing else knows, into a part of a buffer.
class CopyForwarder {
public:
  CopyForwarder(memref::CopyOp copy, DominanceInfo &dominance)
      : copy(copy), dominance(dominance) {}

  bool match();
  void forward();

private:
  bool isFree(Operation &op);

  memref::CopyOp copy;
  DominanceInfo &dominance;
  KernelOp writer;
  unsigned out = 0;
  memref::SubViewOp place;
};
} // namespace

/// Whether an operation, with what is inside, leaves the place alone.
bool CopyForwarder::isFree(Operation &op) {
  Value buffer = rootOf(place);
  return !op.walk([&](Operation *inside) {
              if (isa<ViewLikeOpInterface>(inside))
                return WalkResult::advance();
              for (Value operand : inside->getOperands()) {
                if (!isa<BaseMemRefType>(operand.getType()) || rootOf(operand) != buffer)
                  continue;
                auto other = operand.getDefiningOp<memref::SubViewOp>();
                if (!other || !areApart(place, other))
                  return WalkResult::interrupt();
              }
              return WalkResult::advance();
            })
              .wasInterrupted();
}

bool CopyForwarder::match() {
  auto temporary = copy.getSource().getDefiningOp<memref::AllocOp>();
  place = copy.getTarget().getDefiningOp<memref::SubViewOp>();
  if (!temporary || !place || !temporary.getResult().hasNUses(2) ||
      temporary.getType().getShape() != place.getType().getShape())
    return false;
  for (OpOperand &use : temporary->getUses()) {
    auto kernel = dyn_cast<KernelOp>(use.getOwner());
    if (!kernel)
      continue;
    unsigned first = kernel.getOuts().getBeginOperandIndex();
    if (use.getOperandNumber() < first || use.getOperandNumber() >= first + kernel.getOuts().size())
      return false;
    writer = kernel;
    out = use.getOperandNumber() - first;
  }
  if (!writer || writer->getBlock() != copy->getBlock() || !writer->isBeforeInBlock(copy))
    return false;
  // Elements that lie apart are slow to write, but for what is written once.
  bool isCarry = out < writer.getNumCarries();
  if (!isCarry && !place.getType().isLastDimUnitStride())
    return false;
  if (!isOwn(rootOf(place)) ||
      llvm::any_of(place->getOperands(),
                   [&](Value operand) { return !dominance.dominates(operand, writer); }))
    return false;
  for (Operation *op = writer; op != copy; op = op->getNextNode())
    if (!isFree(*op))
      return false;
  return true;
}

void CopyForwarder::forward() {
  auto temporary = copy.getSource().getDefiningOp<memref::AllocOp>();
  place->moveBefore(writer);
  writer.getOutsMutable()[out].set(place);
  copy->erase();
  temporary->erase();
}

namespace {
struct ForwardCopies : ssm::impl::ForwardCopiesBase<ForwardCopies> {
  void runOnOperation() override {
    DominanceInfo dominance(getOperation());
    SmallVector<memref::CopyOp> copies;
    getOperation().walk([&](memref::CopyOp copy) { copies.push_back(copy); });
    for (memref::CopyOp copy : copies)
      if (CopyForwarder forwarder(copy, dominance); forwarder.match())
        forwarder.forward();
    for (unsigned i = 0; i < getOperation().getNumArguments(); ++i)
      getOperation().removeArgAttr(i, kResultPlace);
  }
};
} // namespace
