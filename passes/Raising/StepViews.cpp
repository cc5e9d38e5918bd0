//===- StepViews.cpp - Views in a step of a recurrence --------------------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "passes/Raising/StepViews.h"

#include "dialects/SSM/KernelBuilders.h"
#include "dialects/SSM/KernelLoops.h"
#include "dialects/SSM/KernelViews.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Arith/Utils/Utils.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/IRMapping.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"

using namespace mlir;
using namespace ssm;

namespace {

/// What a slice takes of an axis. No size: all of it.
struct Range {
  OpFoldResult offset, size, stride;
};
using Ranges = SmallVector<Range>;

class StepViews {
public:
  StepViews(RewriterBase &rewriter, ScanOp scan) : rewriter(rewriter), scan(scan) {}
  void run();

private:
  Block &step() { return scan.getBody().front(); }
  bool isOutside(OpFoldResult value) {
    auto ssa = dyn_cast<Value>(value);
    return !ssa || ssa.getParentRegion() != &scan.getBody();
  }
  bool areOutside(ArrayRef<OpFoldResult> values) {
    return llvm::all_of(values, [&](OpFoldResult value) { return isOutside(value); });
  }
  std::optional<unsigned> getInput(Value value);
  Value addInput(Value sequence, int64_t axis, bool reversed);

  void replaceSlice(tensor::ExtractSliceOp slice);
  Value slice(Value tensor, Ranges ranges);
  Value sliceView(Value tensor, Value root, AffineMap map, const Ranges &ranges);
  Value sliceOutside(Value tensor, const Ranges &ranges);
  Value sliceKernel(KernelOp kernel, const Ranges &ranges);
  Value copyOf(Value source, AffineMap map, ArrayRef<OpFoldResult> sizes);

  template <typename ReshapeOp> void hoistReshape(ReshapeOp reshape);
  void foldInputs(KernelOp kernel);

  RewriterBase &rewriter;
  ScanOp scan;
};

} // namespace

/// The number of the input of the recurrence that the value is a step's part of.
std::optional<unsigned> StepViews::getInput(Value value) {
  auto arg = dyn_cast<BlockArgument>(value);
  unsigned numCarries = scan.getCarries().size();
  if (!arg || arg.getOwner() != &step() || arg.getArgNumber() < numCarries)
    return std::nullopt;
  return arg.getArgNumber() - numCarries;
}

/// One more input of the recurrence, and what a step sees of it.
Value StepViews::addInput(Value sequence, int64_t axis, bool reversed) {
  SmallVector<int64_t> axes(scan.getInputAxes()), shape;
  SmallVector<bool> directions(scan.getInputReversed());
  axes.push_back(axis);
  directions.push_back(reversed);
  auto type = cast<RankedTensorType>(sequence.getType());
  llvm::append_range(shape, type.getShape());
  shape.erase(shape.begin() + axis);
  rewriter.modifyOpInPlace(scan, [&] {
    scan.getInputsMutable().append(sequence);
    scan.setInputAxes(axes);
    scan.setInputReversed(directions);
  });
  return step().addArgument(RankedTensorType::get(shape, type.getElementType()), scan.getLoc());
}

/// A copy of what `source` has at `map` of its own indices: a view, for whoever folds it.
Value StepViews::copyOf(Value source, AffineMap map, ArrayRef<OpFoldResult> sizes) {
  Location loc = source.getLoc();
  Value out = tensor::EmptyOp::create(rewriter, loc, sizes,
                                      cast<RankedTensorType>(source.getType()).getElementType());
  return buildElementwise(rewriter, loc, source, map, out).getResult(0);
}

//===----------------------------------------------------------------------===//
// Slices
//===----------------------------------------------------------------------===//

static Value extract(OpBuilder &builder, Value tensor, const Ranges &ranges) {
  SmallVector<OpFoldResult> offsets, sizes, strides;
  for (auto [axis, range] : llvm::enumerate(ranges)) {
    offsets.push_back(range.offset);
    sizes.push_back(range.size ? range.size
                               : tensor::getMixedSize(builder, tensor.getLoc(), tensor, axis));
    strides.push_back(range.stride);
  }
  return tensor::ExtractSliceOp::create(builder, tensor.getLoc(), tensor, offsets, sizes, strides);
}

/// A slice of a tensor from outside, or of the sequence that it is a step of.
Value StepViews::sliceOutside(Value tensor, const Ranges &ranges) {
  OpBuilder::InsertionGuard guard(rewriter);
  rewriter.setInsertionPoint(scan);
  std::optional<unsigned> input = getInput(tensor);
  if (!input)
    return extract(rewriter, tensor, ranges);
  int64_t axis = scan.getInputAxes()[*input];
  Ranges all(ranges);
  all.insert(all.begin() + axis,
             {rewriter.getIndexAttr(0), OpFoldResult(), rewriter.getIndexAttr(1)});
  return addInput(extract(rewriter, scan.getInputs()[*input], all), axis,
                  scan.getInputReversed()[*input]);
}

/// The kernel once more, for what the slice takes of its only result.
Value StepViews::sliceKernel(KernelOp kernel, const Ranges &ranges) {
  if (kernel.getTime() || kernel.getNumResults() != 1)
    return {};
  SmallVector<const Range *> loops(kernel.getNumLoops(), nullptr);
  LoopSet cut = 0;
  for (auto [range, expr] : llvm::zip_equal(ranges, kernel.getOutMap(0).getResults())) {
    if (!range.size)
      continue;
    auto dim = dyn_cast<AffineDimExpr>(expr);
    if (!dim)
      return {};
    loops[dim.getPosition()] = &range;
    cut |= loopBit(dim.getPosition());
  }
  for (auto reduce : kernel.getStep().getOps<ReduceOp>())
    if (loopsOf(reduce.getLoops()) & cut)
      return {};
  SmallVector<Value> inputs;
  for (auto [i, input] : llvm::enumerate(kernel.getInputs())) {
    AffineMap map = kernel.getInputMap(i);
    inputs.push_back(input);
    if (!(loopsOf(map) & cut))
      continue;
    Ranges part;
    for (AffineExpr expr : map.getResults()) {
      auto dim = dyn_cast<AffineDimExpr>(expr);
      if (dim && loops[dim.getPosition()])
        part.push_back(*loops[dim.getPosition()]);
      else if (loopsOf(AffineMap::get(map.getNumDims(), 0, expr)) & cut)
        return {};
      else
        part.push_back({rewriter.getIndexAttr(0), OpFoldResult(), rewriter.getIndexAttr(1)});
    }
    inputs.back() = slice(input, part);
    if (!inputs.back())
      return {};
  }
  OpBuilder::InsertionGuard guard(rewriter);
  Location loc = kernel.getLoc();
  auto type = cast<RankedTensorType>(kernel.getOuts()[0].getType());
  SmallVector<OpFoldResult> sizes =
      tensor::getMixedSizes(rewriter, loc, kernel.getOuts()[0]);
  for (auto [size, range] : llvm::zip_equal(sizes, ranges))
    if (range.size)
      size = range.size;
  Value out = tensor::EmptyOp::create(rewriter, loc, sizes, type.getElementType());
  auto made = KernelOp::create(rewriter, loc, out.getType(), kernel.getLoopsAttr(), IntegerAttr(),
                               inputs, ValueRange(), out, kernel.getMapsAttr(),
                               DenseBoolArrayAttr(), TransitionAttr(), ConfigAttr());
  rewriter.cloneRegionBefore(kernel.getBody(), made.getBody(), made.getBody().end());
  for (auto index : llvm::make_early_inc_range(made.getStep().getOps<IndexOp>())) {
    const Range *range = loops[index.getLoop()];
    if (!range)
      continue;
    rewriter.setInsertionPointAfter(index);
    auto value = [&](OpFoldResult from) {
      return getValueOrCreateConstantIndexOp(rewriter, loc, from);
    };
    Value scaled = arith::MulIOp::create(rewriter, loc, index, value(range->stride));
    Value moved = arith::AddIOp::create(rewriter, loc, scaled, value(range->offset));
    rewriter.replaceAllUsesExcept(index, moved, scaled.getDefiningOp());
  }
  return made.getResult(0);
}

/// A slice of a tensor that is `root` read at `map`.
Value StepViews::sliceView(Value tensor, Value root, AffineMap map, const Ranges &ranges) {
  Ranges part;
  SmallVector<AffineExpr> indices;
  for (AffineExpr expr : map.getResults()) {
    if (auto dim = dyn_cast<AffineDimExpr>(expr)) {
      part.push_back(ranges[dim.getPosition()]);
      indices.push_back(expr);
    } else if (auto constant = dyn_cast<AffineConstantExpr>(expr)) {
      part.push_back({rewriter.getIndexAttr(constant.getValue()), rewriter.getIndexAttr(1),
                      rewriter.getIndexAttr(1)});
      indices.push_back(rewriter.getAffineConstantExpr(0));
    } else {
      return {};
    }
  }
  Value from = slice(root, part);
  if (!from)
    return {};
  SmallVector<OpFoldResult> sizes;
  for (auto [axis, range] : llvm::enumerate(ranges))
    sizes.push_back(range.size ? range.size
                               : tensor::getMixedSize(rewriter, tensor.getLoc(), tensor, axis));
  return copyOf(from, AffineMap::get(map.getNumDims(), 0, indices, map.getContext()), sizes);
}

/// A slice without an operation that slices in the step. Null if that cannot be.
Value StepViews::slice(Value tensor, Ranges ranges) {
  bool whole = true;
  for (auto [axis, range] : llvm::enumerate(ranges)) {
    if (range.size && isSizeOf(range.size, tensor, axis) &&
        getConstantIntValue(range.offset) == 0 && getConstantIntValue(range.stride) == 1)
      range.size = OpFoldResult();
    whole &= !range.size;
  }
  if (whole)
    return tensor;
  if (tensor.getParentRegion() != &scan.getBody() || getInput(tensor))
    return sliceOutside(tensor, ranges);
  Value root = tensor;
  AffineMap map = rewriter.getMultiDimIdentityMap(ranges.size());
  while (foldView(root, map)) {
  }
  if (root != tensor)
    return sliceView(tensor, root, map, ranges);
  auto kernel = tensor.getDefiningOp<KernelOp>();
  return kernel ? sliceKernel(kernel, ranges) : Value();
}

void StepViews::replaceSlice(tensor::ExtractSliceOp op) {
  if (!areOutside(op.getMixedOffsets()) || !areOutside(op.getMixedSizes()) ||
      !areOutside(op.getMixedStrides()))
    return;
  Ranges ranges;
  for (auto [offset, size, stride] :
       llvm::zip_equal(op.getMixedOffsets(), op.getMixedSizes(), op.getMixedStrides()))
    ranges.push_back({offset, size, stride});
  rewriter.setInsertionPoint(op);
  Value made = slice(op.getSource(), ranges);
  if (!made)
    return;
  llvm::SmallBitVector dropped = op.getDroppedDims();
  if (dropped.any()) {
    SmallVector<AffineExpr> indices;
    unsigned next = 0;
    for (unsigned axis = 0; axis < dropped.size(); ++axis)
      indices.push_back(dropped.test(axis) ? rewriter.getAffineConstantExpr(0)
                                           : rewriter.getAffineDimExpr(next++));
    SmallVector<OpFoldResult> sizes;
    for (auto [axis, size] : llvm::enumerate(op.getMixedSizes()))
      if (!dropped.test(axis))
        sizes.push_back(size);
    made = copyOf(made, AffineMap::get(next, 0, indices, rewriter.getContext()), sizes);
  }
  if (made.getType() != op.getType())
    made = tensor::CastOp::create(rewriter, op.getLoc(), op.getType(), made);
  rewriter.replaceOp(op, made);
}

//===----------------------------------------------------------------------===//
// Reshapes
//===----------------------------------------------------------------------===//

/// The sequence's sizes of a reshape whose step has the sizes given.
static SmallVector<OpFoldResult> withTime(SmallVector<OpFoldResult> sizes, int64_t axis,
                                          OpFoldResult length) {
  sizes.insert(sizes.begin() + axis, length);
  return sizes;
}

/// A reshape of a step's part of a sequence is a part of the reshaped sequence, if time
/// lies between what is joined or split.
template <typename ReshapeOp> void StepViews::hoistReshape(ReshapeOp reshape) {
  constexpr bool isExpand = std::is_same_v<ReshapeOp, tensor::ExpandShapeOp>;
  std::optional<unsigned> input = getInput(reshape.getSrc());
  Value viewed = reshape;
  AffineMap map = rewriter.getMultiDimIdentityMap(reshape.getResultType().getRank());
  if (!input || foldView(viewed, map))
    return;
  int64_t time = scan.getInputAxes()[*input];
  // Time becomes a group of its own.
  SmallVector<ReassociationIndices> groups;
  int64_t narrow = 0, wide = 0; // axes so far of the side with fewer, and with more
  int64_t result = -1;
  auto addTime = [&] {
    if (result >= 0 || (isExpand ? narrow : wide) != time)
      return;
    groups.push_back({wide});
    result = isExpand ? wide : narrow;
    ++narrow, ++wide;
  };
  for (ReassociationIndices group : reshape.getReassociationIndices()) {
    addTime();
    groups.emplace_back();
    for (size_t i = 0; i < group.size(); ++i)
      groups.back().push_back(wide++);
    ++narrow;
  }
  addTime();
  if (result < 0)
    return;
  rewriter.setInsertionPoint(scan);
  Location loc = reshape.getLoc();
  Value sequence = scan.getInputs()[*input], made;
  if constexpr (isExpand) {
    SmallVector<OpFoldResult> sizes = reshape.getMixedOutputShape();
    if (!areOutside(sizes))
      return;
    sizes = withTime(sizes, result, tensor::getMixedSize(rewriter, loc, sequence, time));
    SmallVector<int64_t> shape(reshape.getResultType().getShape());
    shape.insert(shape.begin() + result,
                 cast<RankedTensorType>(sequence.getType()).getDimSize(time));
    auto type = RankedTensorType::get(shape, reshape.getResultType().getElementType());
    made = tensor::ExpandShapeOp::create(rewriter, loc, type, sequence, groups, sizes);
  } else {
    made = tensor::CollapseShapeOp::create(rewriter, loc, sequence, groups);
  }
  Value arg = addInput(made, result, scan.getInputReversed()[*input]);
  if (arg.getType() == reshape.getType())
    rewriter.replaceOp(reshape, arg);
}

//===----------------------------------------------------------------------===//
// All views
//===----------------------------------------------------------------------===//

/// Reads inputs through views where each loop keeps a size.
void StepViews::foldInputs(KernelOp kernel) {
  SmallVector<AffineMap> maps = llvm::to_vector(kernel.getMaps().getAsValueRange<AffineMapAttr>());
  for (unsigned i = 0; i < kernel.getInputs().size(); ++i) {
    OpOperand &operand = kernel.getInputsMutable()[i];
    if (!isa<RankedTensorType>(operand.get().getType()))
      continue;
    while (true) {
      Value tensor = operand.get();
      AffineMap before = maps[i];
      if (!foldView(tensor, maps[i]) && !foldReshape(tensor, maps[i]))
        break;
      if (!haveSizes(kernel.getNumLoops(), maps)) {
        maps[i] = before;
        break;
      }
      rewriter.modifyOpInPlace(kernel, [&] {
        operand.set(tensor);
        kernel.setMapsAttr(rewriter.getAffineMapArrayAttr(maps));
      });
    }
  }
}

void StepViews::run() {
  for (Operation &op : llvm::make_early_inc_range(step().without_terminator())) {
    if (auto slice = dyn_cast<tensor::ExtractSliceOp>(op))
      replaceSlice(slice);
    else if (auto expand = dyn_cast<tensor::ExpandShapeOp>(op))
      hoistReshape(expand);
    else if (auto collapse = dyn_cast<tensor::CollapseShapeOp>(op))
      hoistReshape(collapse);
  }
  for (KernelOp kernel : step().getOps<KernelOp>())
    foldInputs(kernel);
  eraseDeadInStep(rewriter, scan);
}

void ssm::foldStepViews(RewriterBase &rewriter, ScanOp scan) { StepViews(rewriter, scan).run(); }

void ssm::eraseDeadInStep(RewriterBase &rewriter, ScanOp scan) {
  SmallVector<Operation *> ops;
  for (Operation &op : scan.getBody().front().without_terminator())
    ops.push_back(&op);
  for (Operation *op : llvm::reverse(ops))
    if (isOpTriviallyDead(op))
      rewriter.eraseOp(op);
}
