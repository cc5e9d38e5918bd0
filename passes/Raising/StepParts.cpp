//===- StepParts.cpp - Steps that put tensors together --------------------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "passes/Raising/StepParts.h"
#include "passes/Raising/StepCuts.h"

#include "dialects/SSM/KernelLoops.h"
#include "dialects/SSM/KernelViews.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/IRMapping.h"
#include "mlir/IR/TypeUtilities.h"

using namespace mlir;
using namespace ssm;

namespace {

class StepSplitter {
public:
  StepSplitter(RewriterBase &rewriter, ScanOp scan, const Cuts &cuts)
      : rewriter(rewriter), scan(scan), cuts(cuts) {}
  SplitScan split();

private:
  Block &step() { return scan.getBody().front(); }
  void makeScan();
  Value slice(Value tensor, int64_t axis, std::pair<int64_t, int64_t> part);
  SmallVector<Value> slices(Value tensor, Value like, int64_t time);

  void splitOperation(Operation &op);
  void splitExtract(tensor::ExtractSliceOp op);
  void splitInsert(tensor::InsertSliceOp op);
  void splitKernel(KernelOp kernel);
  KernelOp makePart(KernelOp kernel, unsigned loop, unsigned number,
                    std::pair<int64_t, int64_t> part);
  KernelOp makeSum(KernelOp kernel, unsigned loop, ArrayRef<std::pair<int64_t, int64_t>> all);
  SmallVector<Value> partsOfInput(KernelOp kernel, unsigned i);
  Value emptyPart(Value out, int64_t axis, int64_t size);

  RewriterBase &rewriter;
  ScanOp scan;
  const Cuts &cuts;
  ScanOp made;
  IRMapping mapping;
  /// Of what is cut. Parts of size 1 lack the axis.
  llvm::DenseMap<Value, SmallVector<Value>> parts;
};

} // namespace

static SmallVector<ReassociationIndices> joinAxis(int64_t rank, int64_t axis) {
  SmallVector<ReassociationIndices> groups;
  if (rank == 1)
    return groups;
  int64_t with = axis == 0 ? 0 : axis - 1;
  for (int64_t i = 0; i < rank; ++i)
    if (i == with + 1)
      groups.back().push_back(i);
    else
      groups.push_back({i});
  return groups;
}

/// Without an axis of size 1.
static Value dropAxis(OpBuilder &builder, Value tensor, int64_t axis) {
  return tensor::CollapseShapeOp::create(
      builder, tensor.getLoc(), tensor,
      joinAxis(cast<RankedTensorType>(tensor.getType()).getRank(), axis));
}

/// With one more axis of size 1.
static Value addAxis(OpBuilder &builder, Value tensor, int64_t axis) {
  Location loc = tensor.getLoc();
  auto type = cast<RankedTensorType>(tensor.getType());
  SmallVector<int64_t> shape(type.getShape());
  shape.insert(shape.begin() + axis, 1);
  SmallVector<OpFoldResult> sizes = tensor::getMixedSizes(builder, loc, tensor);
  sizes.insert(sizes.begin() + axis, builder.getIndexAttr(1));
  return tensor::ExpandShapeOp::create(builder, loc,
                                       RankedTensorType::get(shape, type.getElementType()), tensor,
                                       joinAxis(shape.size(), axis), sizes);
}

/// Part of a tensor; of one of size 1 without the axis.
Value StepSplitter::slice(Value tensor, int64_t axis, std::pair<int64_t, int64_t> part) {
  Location loc = tensor.getLoc();
  auto type = cast<RankedTensorType>(tensor.getType());
  SmallVector<OpFoldResult> offsets(type.getRank(), rewriter.getIndexAttr(0));
  SmallVector<OpFoldResult> strides(type.getRank(), rewriter.getIndexAttr(1));
  SmallVector<OpFoldResult> sizes = tensor::getMixedSizes(rewriter, loc, tensor);
  offsets[axis] = rewriter.getIndexAttr(part.first);
  sizes[axis] = rewriter.getIndexAttr(part.second);
  SmallVector<int64_t> shape(type.getShape());
  shape[axis] = part.second;
  if (part.second == 1)
    shape.erase(shape.begin() + axis);
  return tensor::ExtractSliceOp::create(rewriter, loc,
                                        RankedTensorType::get(shape, type.getElementType()), tensor,
                                        offsets, sizes, strides);
}

/// Parts of a carry or a sequence, of which a step sees `like`. time: the axis of time, or -1.
SmallVector<Value> StepSplitter::slices(Value tensor, Value like, int64_t time) {
  int64_t axis = cuts.axisOf(like);
  SmallVector<Value> made;
  for (auto part : cuts.partsOf(like))
    made.push_back(slice(tensor, axis + (time >= 0 && time <= axis), part));
  return made;
}

/// The axis of time of parts of a sequence.
static int64_t timeOfPart(int64_t time, int64_t axis, int64_t size) {
  return time - (size == 1 && axis < time);
}

/// The recurrence with parts in place of what is cut, and an empty step.
void StepSplitter::makeScan() {
  rewriter.setInsertionPoint(scan);
  unsigned numCarries = scan.getCarries().size();
  SmallVector<Value> carries, inputs, outs;
  SmallVector<int64_t> inputAxes, outAxes;
  SmallVector<bool> inputReversed, outReversed;
  for (auto [i, carry] : llvm::enumerate(scan.getCarries())) {
    BlockArgument arg = step().getArgument(i);
    if (int64_t unit = cuts.unitAxisOf(arg); unit >= 0)
      carries.push_back(slice(carry, unit, {0, 1}));
    else if (cuts.axisOf(arg) < 0)
      carries.push_back(carry);
    else
      llvm::append_range(carries, slices(carry, arg, -1));
  }
  auto addSequence = [&](Value tensor, Value like, int64_t time, bool reversed,
                         SmallVectorImpl<Value> &tensors, SmallVectorImpl<int64_t> &axes,
                         SmallVectorImpl<bool> &directions) {
    int64_t axis = cuts.axisOf(like);
    if (axis < 0) {
      tensors.push_back(tensor), axes.push_back(time), directions.push_back(reversed);
      return;
    }
    llvm::append_range(tensors, slices(tensor, like, time));
    for (auto [low, size] : cuts.partsOf(like)) {
      axes.push_back(timeOfPart(time, axis, size));
      directions.push_back(reversed);
    }
  };
  for (auto [i, input] : llvm::enumerate(scan.getInputs()))
    addSequence(input, step().getArgument(numCarries + i), scan.getInputAxes()[i],
                scan.getInputReversed()[i], inputs, inputAxes, inputReversed);
  for (auto [i, out] : llvm::enumerate(scan.getOuts()))
    addSequence(out, step().getTerminator()->getOperand(numCarries + i), scan.getOutputAxes()[i],
                scan.getOutputReversed()[i], outs, outAxes, outReversed);
  SmallVector<Type> types;
  for (Value value : llvm::concat<Value>(carries, outs))
    types.push_back(value.getType());
  made = ScanOp::create(rewriter, scan.getLoc(), types, scan.getLength(), carries, inputs, outs,
                        inputAxes, outAxes, inputReversed, outReversed);
  Block *body = rewriter.createBlock(&made.getBody());
  unsigned next = 0;
  auto addArg = [&](Value like, Type type) { return body->addArgument(type, like.getLoc()); };
  for (BlockArgument old : step().getArguments()) {
    bool isCarry = old.getArgNumber() < numCarries;
    auto typeOf = [&](unsigned i) -> Type {
      if (isCarry)
        return carries[i].getType();
      auto type = cast<RankedTensorType>(inputs[i - carries.size()].getType());
      SmallVector<int64_t> shape(type.getShape());
      shape.erase(shape.begin() + inputAxes[i - carries.size()]);
      return RankedTensorType::get(shape, type.getElementType());
    };
    if (cuts.axisOf(old) < 0) {
      Value arg = addArg(old, typeOf(next++));
      int64_t unit = cuts.unitAxisOf(old);
      mapping.map(old, unit < 0 ? arg : addAxis(rewriter, arg, unit));
      continue;
    }
    for (size_t n = cuts.partsOf(old).size(); n > 0; --n)
      parts[old].push_back(addArg(old, typeOf(next++)));
  }
}

/// A part of a slice's source, or of where a slice goes, is whole along the other axes.
void StepSplitter::splitExtract(tensor::ExtractSliceOp op) {
  int64_t axis = cuts.axisOf(op.getSource());
  Span span = *spanOf(op, axis);
  SmallVector<Value> taken;
  for (auto [part, value] : llvm::zip_equal(cuts.partsOf(op.getSource()), parts[op.getSource()]))
    if (part.first >= span.low && part.first < span.high)
      taken.push_back(value);
  if (cuts.axisOf(op.getResult()) >= 0)
    parts[op.getResult()] = taken;
  else if (span.high - span.low == 1 && axisInPart(op, axis) >= 0)
    mapping.map(op.getResult(), addAxis(rewriter, taken[0], axis));
  else
    mapping.map(op.getResult(), taken[0]);
}

void StepSplitter::splitInsert(tensor::InsertSliceOp op) {
  Value result = op.getResult(), source = op.getSource();
  int64_t axis = cuts.axisOf(result);
  Span span = *spanOf(op, axis);
  SmallVector<Value> all;
  if (cuts.axisOf(op.getDest()) >= 0) {
    all = parts[op.getDest()];
  } else {
    OpBuilder::InsertionGuard guard(rewriter);
    rewriter.setInsertionPoint(made);
    for (auto part : cuts.partsOf(result))
      all.push_back(slice(op.getDest(), axis, part));
  }
  unsigned next = 0;
  for (auto [part, value] : llvm::zip_equal(cuts.partsOf(result), all)) {
    if (part.first < span.low || part.first >= span.high)
      continue;
    if (cuts.axisOf(source) >= 0) {
      value = parts[source][next++];
      continue;
    }
    value = mapping.lookupOrDefault(source);
    if (part.second == 1 && axisInPart(op, axis) >= 0)
      value = dropAxis(rewriter, value, axis);
  }
  parts[result] = all;
}

/// A tensor for a part of what the kernel writes.
Value StepSplitter::emptyPart(Value out, int64_t axis, int64_t size) {
  SmallVector<OpFoldResult> sizes;
  for (OpFoldResult old : out.getDefiningOp<tensor::EmptyOp>().getMixedSizes()) {
    auto value = dyn_cast<Value>(old);
    sizes.push_back(value ? OpFoldResult(mapping.lookupOrDefault(value)) : old);
  }
  if (size == 1)
    sizes.erase(sizes.begin() + axis);
  else
    sizes[axis] = rewriter.getIndexAttr(size);
  return tensor::EmptyOp::create(rewriter, out.getLoc(), sizes,
                                 cast<RankedTensorType>(out.getType()).getElementType());
}

/// What the parts of a kernel read in place of an input that has the cut loop.
SmallVector<Value> StepSplitter::partsOfInput(KernelOp kernel, unsigned i) {
  Value input = kernel.getInputs()[i];
  if (cuts.axisOf(input) >= 0)
    return parts[input];
  auto [loop, like] = *cuts.loopOf(kernel);
  SmallVector<Value> made;
  OpBuilder::InsertionGuard guard(rewriter);
  rewriter.setInsertionPoint(this->made);
  for (auto [axis, expr] : llvm::enumerate(kernel.getInputMap(i).getResults()))
    if (expr == rewriter.getAffineDimExpr(loop))
      for (auto part : cuts.partsOf(like))
        made.push_back(slice(input, axis, part));
  return made;
}

namespace {

/// The loops of a kernel without one of them, or with another in its place.
class OtherLoops {
public:
  /// with: a loop or, for a single element, null.
  OtherLoops(RewriterBase &rewriter, KernelOp kernel, unsigned loop, bool stays, AffineExpr with,
             unsigned count, int64_t low)
      : rewriter(rewriter), loop(loop), stays(stays), with(with), count(count), low(low) {
    for (unsigned old = 0; old < kernel.getNumLoops(); ++old)
      dims.push_back(old == loop ? (with ? with : rewriter.getAffineConstantExpr(0))
                                 : rewriter.getAffineDimExpr(numberOf(old)));
  }

  AffineMap map(AffineMap old) const {
    SmallVector<AffineExpr> results;
    for (AffineExpr expr : old.getResults())
      if (with || expr != rewriter.getAffineDimExpr(loop))
        results.push_back(expr.replaceDims(dims));
    return AffineMap::get(count, 0, results, rewriter.getContext());
  }

  /// Another operation of the region.
  void clone(Operation &op, IRMapping &mapping) const {
    Location loc = op.getLoc();
    if (auto index = dyn_cast<IndexOp>(op)) {
      Value made;
      if (index.getLoop() != loop)
        made = IndexOp::create(rewriter, loc, rewriter.getIndexType(), numberOf(index.getLoop()));
      else
        made = arith::ConstantIndexOp::create(rewriter, loc, low);
      if (index.getLoop() == loop && with)
        made = arith::AddIOp::create(
            rewriter, loc, made,
            IndexOp::create(rewriter, loc, rewriter.getIndexType(),
                            cast<AffineDimExpr>(with).getPosition()));
      mapping.map(index.getResult(), made);
      return;
    }
    auto reduce = dyn_cast<ReduceOp>(op);
    if (!reduce) {
      rewriter.clone(op, mapping);
      return;
    }
    SmallVector<int64_t> loops;
    for (int64_t old : reduce.getLoops())
      if (old != loop)
        loops.push_back(numberOf(old));
      else if (with)
        loops.push_back(cast<AffineDimExpr>(with).getPosition());
    Value value = mapping.lookupOrDefault(reduce.getValue());
    if (!loops.empty())
      value = ReduceOp::create(rewriter, loc, value.getType(), reduce.getKind(), value, loops);
    mapping.map(reduce.getResult(), value);
  }

private:
  unsigned numberOf(unsigned old) const { return old - (old > loop && !stays); }

  RewriterBase &rewriter;
  unsigned loop;
  bool stays;
  AffineExpr with;
  unsigned count;
  int64_t low;
  SmallVector<AffineExpr> dims;
};

} // namespace

/// A kernel without time and its empty step, which has an argument for each input.
static KernelOp makeKernel(RewriterBase &rewriter, Location loc, unsigned numLoops,
                           ValueRange inputs, ValueRange outs, ArrayRef<AffineMap> maps) {
  auto made = KernelOp::create(rewriter, loc, outs.getTypes(), rewriter.getI64IntegerAttr(numLoops),
                               IntegerAttr(), inputs, ValueRange(), outs,
                               rewriter.getAffineMapArrayAttr(maps), DenseBoolArrayAttr(),
                               TransitionAttr(), ConfigAttr());
  Block *body = rewriter.createBlock(&made.getBody());
  for (Value input : inputs)
    body->addArgument(getElementTypeOrSelf(input.getType()), loc);
  return made;
}

/// One part of results along a loop.
KernelOp StepSplitter::makePart(KernelOp kernel, unsigned loop, unsigned number,
                                std::pair<int64_t, int64_t> part) {
  bool stays = part.second > 1;
  unsigned numLoops = kernel.getNumLoops() - !stays;
  OtherLoops loops(rewriter, kernel, loop, stays,
                   stays ? rewriter.getAffineDimExpr(loop) : AffineExpr(), numLoops, part.first);
  SmallVector<Value> inputs, outs;
  SmallVector<AffineMap> maps;
  for (unsigned i = 0; i < kernel.getInputs().size(); ++i) {
    bool isCut = kernel.getInputMap(i).isFunctionOfDim(loop);
    inputs.push_back(isCut ? partsOfInput(kernel, i)[number]
                           : mapping.lookupOrDefault(kernel.getInputs()[i]));
    maps.push_back(loops.map(kernel.getInputMap(i)));
  }
  for (unsigned i = 0; i < kernel.getNumResults(); ++i) {
    outs.push_back(emptyPart(kernel.getOuts()[i], cuts.axisOf(kernel.getResult(i)), part.second));
    maps.push_back(loops.map(kernel.getOutMap(i)));
  }
  OpBuilder::InsertionGuard guard(rewriter);
  KernelOp made = makeKernel(rewriter, kernel.getLoc(), numLoops, inputs, outs, maps);
  IRMapping inner = mapping; // of what the step reads besides its inputs
  inner.map(kernel.getStep().getArguments(), made.getStep().getArguments());
  for (Operation &op : kernel.getStep())
    loops.clone(op, inner);
  return made;
}

/// A sum along a loop as the sum of what its parts sum up to.
KernelOp StepSplitter::makeSum(KernelOp kernel, unsigned loop,
                               ArrayRef<std::pair<int64_t, int64_t>> all) {
  // A loop behind the others for each size, but for single elements.
  llvm::MapVector<int64_t, AffineExpr> loopOfSize;
  unsigned numLoops = kernel.getNumLoops() - 1;
  for (auto [low, size] : all)
    if (loopOfSize.insert({size, AffineExpr()}).second && size > 1)
      loopOfSize[size] = rewriter.getAffineDimExpr(numLoops++);
  SmallVector<OtherLoops> ways;
  for (auto [low, size] : all)
    ways.emplace_back(rewriter, kernel, loop, false, loopOfSize[size], numLoops, low);
  SmallVector<Value> inputs, outs;
  SmallVector<AffineMap> maps;
  SmallVector<unsigned> firsts; // of the new inputs for an old one
  for (unsigned i = 0; i < kernel.getInputs().size(); ++i) {
    AffineMap map = kernel.getInputMap(i);
    firsts.push_back(inputs.size());
    if (!map.isFunctionOfDim(loop)) {
      inputs.push_back(mapping.lookupOrDefault(kernel.getInputs()[i]));
      maps.push_back(ways[0].map(map));
      continue;
    }
    llvm::append_range(inputs, partsOfInput(kernel, i));
    for (const OtherLoops &way : ways)
      maps.push_back(way.map(map));
  }
  for (unsigned i = 0; i < kernel.getNumResults(); ++i) {
    outs.push_back(mapping.lookupOrDefault(kernel.getOuts()[i]));
    maps.push_back(ways[0].map(kernel.getOutMap(i)));
  }
  OpBuilder::InsertionGuard guard(rewriter);
  KernelOp made = makeKernel(rewriter, kernel.getLoc(), numLoops, inputs, outs, maps);
  KernelLoops depends(kernel);
  IRMapping outer = mapping; // as above
  auto mapInputs = [&](bool areCut, unsigned part, IRMapping &into) {
    for (unsigned i = 0; i < kernel.getInputs().size(); ++i)
      if (kernel.getInputMap(i).isFunctionOfDim(loop) == areCut)
        into.map(kernel.getInputArg(i), made.getStep().getArgument(firsts[i] + part));
  };
  mapInputs(false, 0, outer);
  auto isInside = [&](Operation &op) {
    return op.getNumResults() > 0 && contains(depends.of(op.getResult(0)), loop);
  };
  for (Operation &op : kernel.getStep()) {
    if (isInside(op))
      continue;
    auto sum = dyn_cast<ReduceOp>(op);
    if (!sum || !contains(loopsOf(sum.getLoops()), loop)) {
      ways[0].clone(op, outer);
      continue;
    }
    auto combine = [&](Value &into, Value value) {
      if (!into) {
        into = value;
        return;
      }
      into = arith::getReductionOp(sum.getKind(), rewriter, sum.getLoc(), into, value);
      if (auto add = into.getDefiningOp<arith::AddFOp>())
        add.setFastmath(arith::FastMathFlags::reassoc | arith::FastMathFlags::contract);
    };
    Value total;
    for (auto [size, with] : loopOfSize) {
      Value terms;
      const OtherLoops *last = nullptr;
      for (auto [part, way] : llvm::enumerate(ways)) {
        if (all[part].second != size)
          continue;
        IRMapping inner = outer;
        mapInputs(true, part, inner);
        for (Operation &term : kernel.getStep()) {
          if (&term == sum)
            break;
          if (isInside(term))
            way.clone(term, inner);
        }
        combine(terms, inner.lookupOrDefault(sum.getValue()));
        last = &way;
      }
      IRMapping summed;
      summed.map(sum.getValue(), terms);
      last->clone(*sum, summed);
      combine(total, summed.lookup(sum.getResult()));
    }
    outer.map(sum.getResult(), total);
  }
  return made;
}

void StepSplitter::splitKernel(KernelOp kernel) {
  auto [loop, like] = *cuts.loopOf(kernel);
  SmallVector<std::pair<int64_t, int64_t>> all = cuts.partsOf(like);
  if (!kernel.getOutMap(0).isFunctionOfDim(loop)) {
    mapping.map(kernel.getResults(), makeSum(kernel, loop, all).getResults());
    return;
  }
  for (auto [number, part] : llvm::enumerate(all))
    for (auto [old, result] :
         llvm::zip_equal(kernel.getResults(), makePart(kernel, loop, number, part).getResults()))
      parts[old].push_back(result);
}

void StepSplitter::splitOperation(Operation &op) {
  auto isCut = [&](Value value) { return cuts.axisOf(value) >= 0; };
  if (auto empty = dyn_cast<tensor::EmptyOp>(op); empty && isCut(empty)) {
    for (auto [low, size] : cuts.partsOf(empty))
      parts[empty].push_back(emptyPart(empty, cuts.axisOf(empty), size));
  } else if (llvm::none_of(op.getOperands(), isCut) && llvm::none_of(op.getResults(), isCut)) {
    rewriter.clone(op, mapping);
  } else if (auto slice = dyn_cast<tensor::ExtractSliceOp>(op)) {
    splitExtract(slice);
  } else if (auto insert = dyn_cast<tensor::InsertSliceOp>(op)) {
    splitInsert(insert);
  } else if (auto kernel = dyn_cast<KernelOp>(op)) {
    splitKernel(kernel);
  } else if (auto dim = dyn_cast<tensor::DimOp>(op)) {
    int64_t axis = *dim.getConstantIndex(), cut = cuts.axisOf(dim.getSource());
    // The cut axis has a known size, of which nobody asks.
    bool isDropped = cuts.partsOf(dim.getSource())[0].second == 1 && cut < axis;
    mapping.map(dim.getResult(), tensor::DimOp::create(rewriter, op.getLoc(),
                                                       parts[dim.getSource()][0],
                                                       axis - isDropped));
  } else if (isa<YieldOp>(op)) {
    SmallVector<Value> values;
    for (auto [i, value] : llvm::enumerate(op.getOperands())) {
      if (isCut(value)) {
        llvm::append_range(values, parts[value]);
        continue;
      }
      int64_t unit = i < scan.getCarries().size() ? cuts.unitAxisOf(step().getArgument(i)) : -1;
      Value own = mapping.lookupOrDefault(value);
      values.push_back(unit < 0 ? own : dropAxis(rewriter, own, unit));
    }
    YieldOp::create(rewriter, op.getLoc(), values);
  }
}

SplitScan StepSplitter::split() {
  makeScan();
  for (Operation &op : step())
    splitOperation(op);
  // Parts of results are put together behind it.
  rewriter.setInsertionPointAfter(made);
  SmallVector<Value> results;
  unsigned next = 0, numCarries = scan.getCarries().size();
  for (unsigned i = 0; i < scan.getNumResults(); ++i) {
    Value like = step().getTerminator()->getOperand(i);
    int64_t axis = cuts.axisOf(like);
    bool isCarry = i < numCarries;
    if (axis < 0) {
      Value result = made.getResult(next++);
      int64_t unit = isCarry ? cuts.unitAxisOf(step().getArgument(i)) : -1;
      results.push_back(unit < 0 ? result : addAxis(rewriter, result, unit));
      continue;
    }
    Value whole = isCarry ? scan.getCarries()[i] : scan.getOuts()[i - numCarries];
    axis += !isCarry && scan.getOutputAxes()[i - numCarries] <= axis;
    Location loc = whole.getLoc();
    SmallVector<OpFoldResult> sizes = tensor::getMixedSizes(rewriter, loc, whole);
    SmallVector<OpFoldResult> offsets(sizes.size(), rewriter.getIndexAttr(0));
    SmallVector<OpFoldResult> strides(sizes.size(), rewriter.getIndexAttr(1));
    if (isCarry)
      whole = tensor::EmptyOp::create(rewriter, loc, sizes,
                                      cast<RankedTensorType>(whole.getType()).getElementType());
    for (auto [low, size] : cuts.partsOf(like)) {
      offsets[axis] = rewriter.getIndexAttr(low);
      sizes[axis] = rewriter.getIndexAttr(size);
      whole = tensor::InsertSliceOp::create(rewriter, loc, made.getResult(next++), whole, offsets,
                                            sizes, strides);
    }
    results.push_back(whole);
  }
  return {made, results};
}

/// Whether the step puts a tensor together, or takes a part of a carry.
static bool hasParts(ScanOp scan) {
  return llvm::any_of(scan.getBody().front(), [&](Operation &op) {
    auto slice = dyn_cast<tensor::ExtractSliceOp>(op);
    auto arg = slice ? dyn_cast<BlockArgument>(slice.getSource()) : BlockArgument();
    return isa<tensor::InsertSliceOp>(op) ||
           (arg && arg.getOwner() == &scan.getBody().front() &&
            arg.getArgNumber() < scan.getCarries().size());
  });
}

std::optional<SplitScan> ssm::splitStep(RewriterBase &rewriter, ScanOp scan) {
  Cuts cuts(scan);
  if (!hasParts(scan) || !cuts.find())
    return std::nullopt;
  OpBuilder::InsertionGuard guard(rewriter);
  return StepSplitter(rewriter, scan, cuts).split();
}

void ssm::eraseWithUsers(RewriterBase &rewriter, Operation *op) {
  while (!op->use_empty())
    eraseWithUsers(rewriter, *op->user_begin());
  rewriter.eraseOp(op);
}
