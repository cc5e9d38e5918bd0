//===- StepRows.cpp - Steps of a recurrence as rows -----------------------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "passes/Vector/EmitKernels.h"

#include "dialects/SSM/UnitLoops.h"
#include "lib/Analysis/RecurrenceShape.h"
#include "lib/Emit/PointEmitter.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/IR/IRMapping.h"
#include "passes/Vector/RowPlan.h"

using namespace mlir;
using namespace ssm;

bool ssm::emitStepAsRows(KernelOp kernel, ImplicitLocOpBuilder &b, unsigned lane, int64_t lanes) {
  auto rows = cast<KernelOp>(b.clone(*kernel));
  unsigned time = *rows.getTime();
  SmallVector<Value> inits(rows.getInits());
  rows.getInitsMutable().clear();
  rows.getInputsMutable().append(inits);
  rows.removeTimeAttr();
  rows.setMirrored({}); // the only step is the last one too
  SmallVector<bool> units(rows.getNumLoops());
  units[time] = true;
  IRRewriter rewriter(b);
  dropUnitLoops(rewriter, rows, units);
  rows.setConfigAttr(ConfigAttr::get(b.getContext(), Form::Rows, lane - (lane > time), lanes, {}));
  bool isEmitted = emitRows(rows, b).empty();
  rows.erase();
  return isEmitted;
}

namespace {

/// What a piece of a parallel loop should take at least, in cycles a vector, roughly.
constexpr int64_t kPieceCost = 75000;
/// What a step takes beside its vectors, in the same.
constexpr int64_t kStepCost = 30;

/// A loop over time of rows: carries are read from, and written to, the outs.
class StepRows {
public:
  StepRows(KernelOp kernel, ImplicitLocOpBuilder &b)
      : kernel(kernel), b(b), time(*kernel.getTime()), lane(kernel.getConfig()->getLaneLoop()),
        lanes(kernel.getConfig()->getLanes()), outer(findSharedLoops(kernel)),
        e(kernel, b, std::nullopt, 1) {}

  StringRef run();

private:
  bool isFixed(unsigned loop) { return loop == time || contains(outer, loop); }
  Value costOfStep();
  /// The part of an operand that a step has, where the emitter is, and its map.
  Value partOf(Value operand, AffineMap &map, bool isMirrored);
  void copyInit(unsigned carry);
  StringRef emitItem();

  KernelOp kernel;
  ImplicitLocOpBuilder &b;
  unsigned time, lane;
  int64_t lanes;
  LoopSet outer;
  PointEmitter e;
};

Value StepRows::costOfStep() {
  int64_t cost = kernel.getInputs().size() + 2 * kernel.getOuts().size();
  for (Operation &op : kernel.getStep().without_terminator())
    cost += costOf(&op);
  Value vectors = e.ceilDiv(e.size(lane), lanes);
  for (unsigned loop = 0; loop < kernel.getNumLoops(); ++loop)
    if (loop != lane && !isFixed(loop))
      vectors = e.mul(vectors, e.size(loop));
  return e.add(e.mul(vectors, e.index(cost)), kStepCost);
}

Value StepRows::partOf(Value operand, AffineMap &map, bool isMirrored) {
  auto type = dyn_cast<MemRefType>(operand.getType());
  if (!type)
    return operand;
  SmallVector<OpFoldResult> offsets, sizes;
  SmallVector<unsigned> kept;
  for (auto [axis, expr] : llvm::enumerate(map.getResults())) {
    auto dim = dyn_cast<AffineDimExpr>(expr);
    if (dim && isFixed(dim.getPosition())) {
      bool isLast = dim.getPosition() == time && isMirrored;
      offsets.push_back(isLast ? e.mirroredTime : e.at[dim.getPosition()]);
      sizes.push_back(b.getIndexAttr(1));
      continue;
    }
    kept.push_back(axis);
    offsets.push_back(b.getIndexAttr(0));
    sizes.push_back(memref::getMixedSize(b, b.getLoc(), operand, axis));
  }
  if (kept.size() == map.getNumResults())
    return operand;
  // Without the fixed axes: those of size 1 that stayed would hide from what merges axes that
  // neighbours are dense.
  SmallVector<OpFoldResult> ones(sizes.size(), b.getIndexAttr(1));
  Value whole = memref::SubViewOp::create(b, operand, offsets, sizes, ones);
  auto metadata = memref::ExtractStridedMetadataOp::create(b, whole);
  SmallVector<OpFoldResult> strides = metadata.getConstifiedMixedStrides(), newSizes, newStrides;
  SmallVector<AffineExpr> exprs;
  for (unsigned axis : kept) {
    newSizes.push_back(sizes[axis]);
    newStrides.push_back(strides[axis]);
    exprs.push_back(map.getResult(axis));
  }
  map = AffineMap::get(map.getNumDims(), 0, exprs, b.getContext());
  SmallVector<int64_t> staticSizes, staticStrides;
  SmallVector<Value> ignored;
  dispatchIndexOpFoldResults(newSizes, ignored, staticSizes);
  dispatchIndexOpFoldResults(newStrides, ignored, staticStrides);
  auto partType =
      MemRefType::get(staticSizes, type.getElementType(),
                      StridedLayoutAttr::get(b.getContext(), ShapedType::kDynamic, staticStrides));
  return memref::ReinterpretCastOp::create(b, partType, whole, metadata.getOffset(), newSizes,
                                           newStrides);
}

void StepRows::copyInit(unsigned carry) {
  AffineMap fromMap = kernel.getInitMap(carry), toMap = kernel.getOutMap(carry);
  Value from = partOf(kernel.getInits()[carry], fromMap, false);
  Value to = partOf(kernel.getOuts()[carry], toMap, false);
  auto copy =
      KernelOp::create(b, TypeRange(), b.getI64IntegerAttr(kernel.getNumLoops()), IntegerAttr(),
                       from, ValueRange(), to, b.getAffineMapArrayAttr({fromMap, toMap}),
                       DenseBoolArrayAttr(), TransitionAttr(), ConfigAttr());
  {
    OpBuilder::InsertionGuard guard(b);
    Block *block = b.createBlock(&copy.getBody());
    block->addArgument(kernel.getCarryArg(carry).getType(), b.getLoc());
    ssm::YieldOp::create(b, block->getArgument(0));
  }
  LoopSet kept = loopsOf(toMap);
  SmallVector<bool> units;
  unsigned at = 0;
  for (unsigned loop = 0; loop < kernel.getNumLoops(); ++loop) {
    units.push_back(!contains(kept, loop));
    at += loop < lane && contains(kept, loop);
  }
  IRRewriter rewriter(b);
  dropUnitLoops(rewriter, copy, units);
  copy.setConfigAttr(ConfigAttr::get(b.getContext(), Form::Rows, at, lanes, {}));
  (void)emitRows(copy, b, /*isStep=*/true);
  copy.erase();
}

StringRef StepRows::emitItem() {
  e.at[time] = e.index(0);
  e.mirroredTime = e.at[time];
  for (unsigned i = 0; i < kernel.getNumCarries(); ++i)
    copyInit(i);
  Value steps = e.size(time);
  StringRef why;
  e.loop(e.index(0), steps, 1, [&](Value step) {
    PointEmitter::Scope scope(e);
    e.at[time] = step;
    e.mirroredTime = e.sub(e.sub(steps, e.index(1)), step);
    SmallVector<Value> inputs, outs;
    SmallVector<AffineMap> maps, outMaps;
    for (auto [i, input] : llvm::enumerate(kernel.getInputs())) {
      maps.push_back(kernel.getInputMap(i));
      inputs.push_back(partOf(input, maps.back(), kernel.isInputMirrored(i)));
    }
    for (auto [i, out] : llvm::enumerate(kernel.getOuts())) {
      outMaps.push_back(kernel.getOutMap(i));
      outs.push_back(partOf(out, outMaps.back(), kernel.isOutMirrored(i)));
    }
    // Carries are inputs in the buffers of the next ones.
    llvm::append_range(inputs, ArrayRef(outs).take_front(kernel.getNumCarries()));
    llvm::append_range(maps, ArrayRef(outMaps).take_front(kernel.getNumCarries()));
    llvm::append_range(maps, outMaps);
    auto rows = KernelOp::create(b, TypeRange(), kernel.getLoopsAttr(), IntegerAttr(), inputs,
                                 ValueRange(), outs, b.getAffineMapArrayAttr(maps),
                                 DenseBoolArrayAttr(), TransitionAttr(), ConfigAttr());
    IRMapping mapping;
    kernel.getBody().cloneInto(&rows.getBody(), mapping);
    SmallVector<bool> units;
    for (unsigned loop = 0; loop < kernel.getNumLoops(); ++loop)
      units.push_back(isFixed(loop));
    IRRewriter rewriter(b);
    dropUnitLoops(rewriter, rows, units);
    int64_t before = llvm::count(ArrayRef(units).take_front(lane), true);
    rows.setConfigAttr(ConfigAttr::get(b.getContext(), Form::Rows, lane - before, lanes, {}));
    why = emitRows(rows, b, /*isStep=*/true);
    rows.erase();
  });
  return why;
}

StringRef StepRows::run() {
  SmallVector<unsigned> loops = listLoops(outer);
  Value count = e.index(1);
  for (unsigned loop : loops)
    count = e.mul(count, e.size(loop));
  Value cost = e.add(e.mul(e.size(time), costOfStep()), 1);
  Value grain = b.createOrFold<arith::DivUIOp>(e.add(cost, kPieceCost), cost);
  auto parallel = ParallelForOp::create(b, count, grain);
  StringRef why;
  {
    OpBuilder::InsertionGuard guard(b);
    Block *body = b.createBlock(&parallel.getBody(), {}, {b.getIndexType(), b.getIndexType()},
                                {b.getLoc(), b.getLoc()});
    e.loop(body->getArgument(0), body->getArgument(1), 1, [&](Value item) {
      PointEmitter::Scope scope(e);
      for (unsigned loop : llvm::reverse(loops)) {
        Value size = e.size(loop);
        e.at[loop] = loop == loops.front() ? item : b.createOrFold<arith::RemUIOp>(item, size);
        item = b.createOrFold<arith::DivUIOp>(item, size);
      }
      why = emitItem();
    });
    ssm::YieldOp::create(b);
  }
  if (!why.empty())
    parallel.erase();
  return why;
}

} // namespace

StringRef ssm::emitStepsAsRows(KernelOp kernel, ImplicitLocOpBuilder &b) {
  return StepRows(kernel, b).run();
}
