//===- RaiseConvs.cpp - Causal convolutions become recurrences ------------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "passes/Raising/Passes.h"

#include "dialects/SSM/KernelLoops.h"
#include "dialects/SSM/KernelViews.h"
#include "dialects/SSM/SSMOps.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/IRMapping.h"
#include "mlir/IR/Remarks.h"
#include "mlir/IR/TypeUtilities.h"

namespace ssm {
#define GEN_PASS_DEF_RAISECONVS
#include "passes/Raising/Passes.h.inc"
} // namespace ssm

using namespace mlir;
using namespace ssm;

namespace {

/// One convolution on its way to a recurrence.
class ConvRaiser {
public:
  ConvRaiser(KernelOp kernel, IRRewriter &rewriter) : kernel(kernel), rewriter(rewriter) {}

  /// Whether the kernel is a sum over a window of an input, of `maxTaps` at most.
  bool match(int64_t maxTaps);
  /// Raises it, or tells why not. `denseTime`: also where time is innermost.
  StringRef raise(bool denseTime);

private:
  bool matchWindow(unsigned input);
  bool matchSequence();
  bool isWhole(tensor::InsertSliceOp insert, OpFoldResult offset);
  bool matchUsers();
  bool isDenseInTime();
  bool isLength(OpFoldResult size) { return isSizeOf(size, sequence, axis); }
  bool trim(Value result, int64_t at, SmallVectorImpl<Operation *> &path);
  void applyTrim(ArrayRef<Operation *> path);
  Value makeEmpty(ArrayRef<OpFoldResult> sizes) {
    return tensor::EmptyOp::create(rewriter, kernel.getLoc(), sizes, elementType());
  }
  Type elementType() { return kernel.getInputArg(window).getType(); }
  /// A map without the loop over taps, which has the value given.
  AffineMap dropTap(AffineMap map, int64_t value);
  KernelOp build();
  void replaceWindows(KernelOp made);

  KernelOp kernel;
  IRRewriter &rewriter;
  /// The input that is read through a window, the window's axis, the loops that go
  /// along it and over the taps, the number of taps, and the sum.
  unsigned window = 0;
  int64_t axis = 0;
  unsigned time = 0, tap = 0;
  int64_t taps = 0;
  ReduceOp sum;
  /// What the input is put together from: the past (or a scalar), then the sequence.
  Value past, sequence;
  SmallVector<tensor::ExtractSliceOp> windowsAfter;
};

} // namespace

/// A sum over the only window of a sequence of one step has lost its loop over time. Gives
/// it one again, if some axis of its result can have it.
static void addStep(IRRewriter &rewriter, KernelOp kernel, int64_t maxTaps) {
  if (kernel.getTime() || kernel.hasBuffers() || kernel.getNumResults() != 1)
    return;
  unsigned numInputs = kernel.getInputs().size(), numLoops = kernel.getNumLoops();
  LoopSet summed = 0;
  for (auto reduce : kernel.getStep().getOps<ReduceOp>())
    summed |= loopsOf(reduce.getLoops());
  auto outType = cast<ShapedType>(kernel.getOuts()[0].getType());
  for (unsigned i = 0; i < numInputs; ++i) {
    if (!kernel.getInputs()[i].getDefiningOp<tensor::InsertSliceOp>())
      continue;
    auto type = cast<ShapedType>(kernel.getInputs()[i].getType());
    for (auto [axis, expr] : llvm::enumerate(kernel.getInputMap(i).getResults())) {
      auto tap = dyn_cast<AffineDimExpr>(expr);
      if (!tap || !contains(summed, tap.getPosition()) || type.getDimSize(axis) > maxTaps ||
          type.getRank() != outType.getRank() || outType.getDimSize(axis) != 1 ||
          !isa<AffineConstantExpr>(kernel.getOutMap(0).getResult(axis)))
        continue;
      SmallVector<AffineMap> maps;
      for (unsigned n = 0; n < kernel.getMaps().size(); ++n) {
        SmallVector<AffineExpr> results(kernel.getMap(n).getResults());
        AffineExpr step = rewriter.getAffineDimExpr(numLoops);
        if (n == i)
          results[axis] = step + tap;
        else if (n == numInputs)
          results[axis] = step;
        maps.push_back(AffineMap::get(numLoops + 1, 0, results, rewriter.getContext()));
      }
      if (!haveSizes(numLoops + 1, maps))
        continue;
      rewriter.modifyOpInPlace(kernel, [&] {
        kernel.setLoops(numLoops + 1);
        kernel.setMapsAttr(rewriter.getAffineMapArrayAttr(maps));
      });
      return;
    }
  }
}

bool ConvRaiser::match(int64_t maxTaps) {
  if (kernel.getTime() || kernel.hasBuffers() || kernel.getNumResults() != 1)
    return false;
  for (unsigned i = 0; i < kernel.getInputs().size(); ++i)
    if (matchWindow(i) && taps <= maxTaps)
      return true;
  return false;
}

bool ConvRaiser::matchWindow(unsigned input) {
  AffineMap map = kernel.getInputMap(input), out = kernel.getOutMap(0);
  LoopSet seen = 0;
  bool found = false;
  for (auto [i, expr] : llvm::enumerate(map.getResults())) {
    if (auto dim = dyn_cast<AffineDimExpr>(expr)) {
      if (contains(seen, dim.getPosition()))
        return false;
      seen |= loopBit(dim.getPosition());
      continue;
    }
    if (isa<AffineConstantExpr>(expr))
      continue;
    auto both = dyn_cast<AffineBinaryOpExpr>(expr);
    auto left = both ? dyn_cast<AffineDimExpr>(both.getLHS()) : AffineDimExpr(nullptr);
    auto right = both ? dyn_cast<AffineDimExpr>(both.getRHS()) : AffineDimExpr(nullptr);
    if (found || !left || !right || both.getKind() != AffineExprKind::Add)
      return false;
    found = true;
    axis = i;
    time = left.getPosition(), tap = right.getPosition();
    if (!out.isFunctionOfDim(time))
      std::swap(time, tap);
  }
  if (!found || contains(seen, time) || contains(seen, tap) || !out.isFunctionOfDim(time) ||
      out.isFunctionOfDim(tap))
    return false;
  std::optional<int64_t> size;
  for (unsigned i = 0; i < kernel.getInputs().size(); ++i)
    for (auto [at, expr] : llvm::enumerate(kernel.getInputMap(i).getResults()))
      if (expr == rewriter.getAffineDimExpr(tap)) {
        auto type = cast<RankedTensorType>(kernel.getInputs()[i].getType());
        if (!type.isDynamicDim(at))
          size = type.getDimSize(at);
      } else if (i != input && !isa<AffineDimExpr>(expr) && expr.isFunctionOfDim(tap)) {
        return false;
      }
  if (!size || *size < 2)
    return false;
  taps = *size;
  sum = {};
  for (auto reduce : kernel.getStep().getOps<ReduceOp>()) {
    if (llvm::is_contained(reduce.getLoops(), time))
      return false;
    if (!llvm::is_contained(reduce.getLoops(), tap))
      continue;
    if (sum || reduce.getLoops().size() != 1 || reduce.getKind() != arith::AtomicRMWKind::addf)
      return false;
    sum = reduce;
  }
  window = input;
  return static_cast<bool>(sum);
}

/// Whether the slice is all of its source's other axes, at the offset along the
/// window's axis.
bool ConvRaiser::isWhole(tensor::InsertSliceOp insert, OpFoldResult offset) {
  if (insert.getSourceType().getRank() != insert.getDestType().getRank() || !insert.hasUnitStride())
    return false;
  for (int64_t i = 0; i < insert.getDestType().getRank(); ++i) {
    OpFoldResult at = insert.getMixedOffsets()[i];
    OpFoldResult expected = i == axis ? offset : OpFoldResult(rewriter.getIndexAttr(0));
    if (!isEqualConstantIntOrValue(at, expected))
      return false;
    OpFoldResult size = getKnownSize(insert.getDest(), i);
    if (i != axis && !(size && isEqualConstantIntOrValue(size, insert.getMixedSizes()[i])))
      return false;
  }
  return true;
}

/// past, then sequence; or zeros, then sequence.
bool ConvRaiser::matchSequence() {
  auto insert = kernel.getInputs()[window].getDefiningOp<tensor::InsertSliceOp>();
  if (!insert)
    return false;
  OpFoldResult front = rewriter.getIndexAttr(0), behind = rewriter.getIndexAttr(taps - 1);
  auto isPast = [&](tensor::InsertSliceOp op) {
    return isWhole(op, front) && getConstantIntValue(op.getMixedSizes()[axis]) == taps - 1;
  };
  auto other = insert.getDest().getDefiningOp<tensor::InsertSliceOp>();
  if (other && isPast(insert) && isWhole(other, behind)) {
    past = insert.getSource(), sequence = other.getSource();
    return true;
  }
  if (!isWhole(insert, behind))
    return false;
  sequence = insert.getSource();
  if (other && isPast(other)) {
    past = other.getSource();
    return true;
  }
  rewriter.setInsertionPoint(kernel);
  past = getFilledWith(rewriter, insert.getDest());
  return static_cast<bool>(past);
}

/// Whether only the first elements along an axis are used, as many as the sequence
/// has. `path` gets the operations up to the slice that says so.
bool ConvRaiser::trim(Value result, int64_t at, SmallVectorImpl<Operation *> &path) {
  Operation *user = nullptr;
  for (Operation *other : result.getUsers()) {
    if (isa<tensor::DimOp>(other))
      continue;
    if (user && user != other)
      return false;
    user = other;
  }
  if (!user)
    return false;
  path.push_back(user);
  if (auto slice = dyn_cast<tensor::ExtractSliceOp>(user)) {
    if (slice.getDroppedDims().any() || !slice.hasUnitStride() ||
        !isLength(slice.getMixedSizes()[at]))
      return false;
    for (int64_t i = 0; i < slice.getSourceType().getRank(); ++i) {
      OpFoldResult size = getKnownSize(result, i);
      if (getConstantIntValue(slice.getMixedOffsets()[i]) != 0 ||
          (i != at && !(size && isEqualConstantIntOrValue(size, slice.getMixedSizes()[i]))))
        return false;
    }
    return true;
  }
  auto next = dyn_cast<KernelOp>(user);
  if (!next || next.getTime() || next.getNumResults() != 1 ||
      llvm::any_of(next.getStep(), [](Operation &op) { return isa<ReduceOp>(op); }))
    return false;
  std::optional<unsigned> loop;
  for (unsigned i = 0; i < next.getInputs().size(); ++i)
    if (next.getInputs()[i] == result) {
      auto dim = dyn_cast<AffineDimExpr>(next.getInputMap(i).getResult(at));
      if (!dim || (loop && *loop != dim.getPosition()))
        return false;
      loop = dim.getPosition();
    }
  if (!loop)
    return false;
  for (unsigned i = 0; i < next.getInputs().size(); ++i)
    if (next.getInputs()[i] != result && next.getInputMap(i).isFunctionOfDim(*loop))
      return false;
  for (auto [i, expr] : llvm::enumerate(next.getOutMap(0).getResults()))
    if (expr == rewriter.getAffineDimExpr(*loop))
      return trim(next.getResult(0), i, path);
  return false;
}

/// The same kernel, for other destinations.
static KernelOp remake(IRRewriter &rewriter, KernelOp kernel, Value out) {
  auto made = KernelOp::create(rewriter, kernel.getLoc(), out.getType(), kernel.getLoopsAttr(),
                               kernel.getTimeAttr(), kernel.getInputs(), kernel.getInits(), out,
                               kernel.getMapsAttr(), kernel.getMirroredAttr(),
                               kernel.getTransitionAttr(), kernel.getConfigAttr());
  made.getBody().takeBody(kernel.getBody());
  return made;
}

/// Computes only what the slice at the end of the path takes.
void ConvRaiser::applyTrim(ArrayRef<Operation *> path) {
  rewriter.setInsertionPoint(kernel);
  OpFoldResult length = tensor::getMixedSize(rewriter, kernel.getLoc(), sequence, axis);
  auto shrink = [&](KernelOp old, Value from, Value to, unsigned loop) {
    rewriter.setInsertionPoint(old);
    SmallVector<OpFoldResult> sizes =
        tensor::getMixedSizes(rewriter, old.getLoc(), old.getOuts()[0]);
    for (auto [i, expr] : llvm::enumerate(old.getOutMap(0).getResults()))
      if (expr == rewriter.getAffineDimExpr(loop))
        sizes[i] = length;
    Value out = tensor::EmptyOp::create(rewriter, old.getLoc(), sizes,
                                        getElementTypeOrSelf(old.getOuts()[0].getType()));
    KernelOp made = remake(rewriter, old, out);
    if (from)
      for (OpOperand &operand : made.getInputsMutable())
        if (operand.get() == from)
          operand.set(to);
    return made;
  };
  KernelOp old = kernel;
  kernel = shrink(kernel, {}, {}, time);
  Value from = old.getResult(0), to = kernel.getResult(0);
  unsigned loop = time;
  AffineMap outMap = kernel.getOutMap(0);
  SmallVector<Operation *> dead = {old};
  for (Operation *op : path) {
    auto next = dyn_cast<KernelOp>(op);
    if (!next) {
      auto slice = cast<tensor::ExtractSliceOp>(op);
      Value value = to;
      rewriter.setInsertionPoint(slice);
      if (value.getType() != slice.getType())
        value = tensor::CastOp::create(rewriter, slice.getLoc(), slice.getType(), value);
      rewriter.replaceAllUsesWith(slice.getResult(), value);
      dead.push_back(slice);
      break;
    }
    unsigned position = 0;
    for (auto [i, expr] : llvm::enumerate(outMap.getResults()))
      if (expr == rewriter.getAffineDimExpr(loop))
        position = i;
    for (unsigned i = 0; i < next.getInputs().size(); ++i)
      if (next.getInputs()[i] == from)
        loop = cast<AffineDimExpr>(next.getInputMap(i).getResult(position)).getPosition();
    KernelOp made = shrink(next, from, to, loop);
    from = next.getResult(0), to = made.getResult(0);
    outMap = made.getOutMap(0);
    dead.push_back(next);
  }
  // Sizes of what was longer are read from the tensors that it was made for.
  for (Operation *op : llvm::reverse(dead)) {
    for (Operation *user : llvm::make_early_inc_range(op->getUsers()))
      if (auto dim = dyn_cast<tensor::DimOp>(user)) {
        if (auto kernel = dyn_cast<KernelOp>(op))
          dim.getSourceMutable().set(kernel.getOuts()[0]);
        else
          dim.getSourceMutable().set(cast<tensor::ExtractSliceOp>(op).getSource());
      }
    rewriter.eraseOp(op);
  }
}

/// The input has no other reader than those that take its last elements, which the
/// carries hold in the end.
bool ConvRaiser::matchUsers() {
  Value input = kernel.getInputs()[window];
  for (Operation *user : input.getUsers()) {
    if (user == kernel || isa<tensor::DimOp>(user))
      continue;
    auto slice = dyn_cast<tensor::ExtractSliceOp>(user);
    if (!slice || slice.getDroppedDims().any() || !slice.hasUnitStride() ||
        getConstantIntValue(slice.getMixedSizes()[axis]) != taps - 1 ||
        !isLength(slice.getMixedOffsets()[axis]))
      return false;
    for (int64_t i = 0; i < slice.getSourceType().getRank(); ++i) {
      OpFoldResult size = getKnownSize(input, i);
      if (i != axis && (getConstantIntValue(slice.getMixedOffsets()[i]) != 0 ||
                        !(size && isEqualConstantIntOrValue(size, slice.getMixedSizes()[i]))))
        return false;
    }
    for (Operation *reader : slice->getUsers()) {
      Operation *at = kernel->getBlock()->findAncestorOpInBlock(*reader);
      if (!at || !kernel->isBeforeInBlock(at))
        return false;
    }
    windowsAfter.push_back(slice);
  }
  return true;
}

AffineMap ConvRaiser::dropTap(AffineMap map, int64_t value) {
  SmallVector<AffineExpr> dims;
  for (unsigned loop = 0; loop < kernel.getNumLoops(); ++loop)
    dims.push_back(loop == tap ? rewriter.getAffineConstantExpr(value)
                               : rewriter.getAffineDimExpr(loop > tap ? loop - 1 : loop));
  return map.replaceDimsAndSymbols(dims, {}, kernel.getNumLoops() - 1, 0);
}

KernelOp ConvRaiser::build() {
  rewriter.setInsertionPoint(kernel);
  Location loc = kernel.getLoc();
  unsigned numLoops = kernel.getNumLoops() - 1, numCarries = taps - 1;
  unsigned newTime = time > tap ? time - 1 : time;
  SmallVector<Value> inputs, inits, outs;
  SmallVector<AffineMap> inputMaps, initMaps, outMaps;
  // For each old input and tap, the new input. The window's is the newest element.
  SmallVector<SmallVector<unsigned>> numbers;
  AffineMap windowMap = dropTap(kernel.getInputMap(window), 0);
  for (unsigned i = 0; i < kernel.getInputs().size(); ++i) {
    numbers.emplace_back(taps, inputs.size());
    AffineMap map = kernel.getInputMap(i);
    if (i == window) {
      Value value = sequence;
      AffineMap own = windowMap;
      while (foldView(value, own)) {
      }
      inputs.push_back(value);
      inputMaps.push_back(own);
      continue;
    }
    for (int64_t n = 0; n < (map.isFunctionOfDim(tap) ? taps : 1); ++n) {
      numbers.back()[n] = inputs.size();
      inputs.push_back(kernel.getInputs()[i]);
      inputMaps.push_back(dropTap(map, n));
    }
  }
  // Each element of the window is a carry on the other axes.
  SmallVector<OpFoldResult> sizes = tensor::getMixedSizes(rewriter, loc, sequence);
  SmallVector<OpFoldResult> stateSizes(sizes);
  stateSizes.erase(stateSizes.begin() + axis);
  SmallVector<AffineExpr> stateIndices(windowMap.getResults());
  stateIndices.erase(stateIndices.begin() + axis);
  AffineMap stateMap = AffineMap::get(numLoops, 0, stateIndices, rewriter.getContext());
  for (unsigned n = 0; n < numCarries; ++n) {
    outs.push_back(makeEmpty(stateSizes));
    outMaps.push_back(stateMap);
    if (!isa<RankedTensorType>(past.getType())) {
      inits.push_back(past);
      initMaps.push_back(AffineMap::get(numLoops, 0, rewriter.getContext()));
      continue;
    }
    SmallVector<OpFoldResult> offsets(sizes.size(), rewriter.getIndexAttr(0));
    SmallVector<OpFoldResult> strides(sizes.size(), rewriter.getIndexAttr(1)), one(sizes);
    offsets[axis] = rewriter.getIndexAttr(n);
    one[axis] = rewriter.getIndexAttr(1);
    inits.push_back(tensor::ExtractSliceOp::create(
        rewriter, loc, cast<RankedTensorType>(outs.back().getType()), past, offsets, one, strides));
    initMaps.push_back(stateMap);
  }
  outs.push_back(kernel.getOuts()[0]);
  outMaps.push_back(dropTap(kernel.getOutMap(0), 0));

  SmallVector<AffineMap> all(inputMaps);
  llvm::append_range(all, initMaps);
  llvm::append_range(all, outMaps);
  auto made = KernelOp::create(rewriter, loc, ValueRange(outs).getTypes(),
                               rewriter.getI64IntegerAttr(numLoops),
                               rewriter.getI64IntegerAttr(newTime), inputs, inits, outs,
                               rewriter.getAffineMapArrayAttr(all), DenseBoolArrayAttr(),
                               TransitionAttr(), ConfigAttr());
  Block *body = rewriter.createBlock(&made.getBody());
  for (Value input : inputs)
    body->addArgument(getElementTypeOrSelf(input.getType()), loc);
  for (unsigned n = 0; n < numCarries; ++n)
    body->addArgument(elementType(), loc);
  auto element = [&](int64_t n) -> Value {
    return body->getArgument(n < taps - 1 ? inputs.size() + n : numbers[window][0]);
  };

  KernelLoops loops(kernel);
  IRMapping mapping;
  for (unsigned i = 0; i < kernel.getInputs().size(); ++i)
    if (i != window && !kernel.getInputMap(i).isFunctionOfDim(tap))
      mapping.map(kernel.getInputArg(i), body->getArgument(numbers[i][0]));
  auto cloneOp = [&](Operation &op, IRMapping &into) {
    if (auto index = dyn_cast<IndexOp>(op)) {
      unsigned loop = index.getLoop();
      into.map(index.getResult(), IndexOp::create(rewriter, op.getLoc(), rewriter.getIndexType(),
                                                  loop > tap ? loop - 1 : loop));
      return;
    }
    Operation *clone = rewriter.clone(op, into);
    if (auto reduce = dyn_cast<ReduceOp>(clone)) {
      SmallVector<int64_t> renumbered(reduce.getLoops());
      for (int64_t &loop : renumbered)
        loop -= loop > static_cast<int64_t>(tap);
      reduce.setLoops(renumbered);
    }
  };
  for (Operation &op : kernel.getStep().without_terminator()) {
    if (&op == sum) {
      Value total;
      for (int64_t n = 0; n < taps; ++n) {
        IRMapping inner = mapping;
        for (unsigned i = 0; i < kernel.getInputs().size(); ++i)
          if (i == window)
            inner.map(kernel.getInputArg(i), element(n));
          else if (kernel.getInputMap(i).isFunctionOfDim(tap))
            inner.map(kernel.getInputArg(i), body->getArgument(numbers[i][n]));
        for (Operation &part : kernel.getStep().without_terminator()) {
          if (&part == sum)
            break;
          if (!contains(loops.of(part.getResult(0)), tap))
            continue;
          if (auto index = dyn_cast<IndexOp>(part); index && index.getLoop() == tap)
            inner.map(index.getResult(), arith::ConstantIndexOp::create(rewriter, loc, n));
          else
            cloneOp(part, inner);
        }
        Value term = inner.lookupOrDefault(sum.getValue());
        total = total ? arith::AddFOp::create(rewriter, sum.getLoc(), total, term,
                                              arith::FastMathFlags::reassoc |
                                                  arith::FastMathFlags::contract)
                            .getResult()
                      : term;
      }
      mapping.map(sum.getResult(), total);
    } else if (!contains(loops.of(op.getResult(0)), tap)) {
      cloneOp(op, mapping);
    }
  }
  SmallVector<Value> yields;
  for (int64_t n = 1; n < taps; ++n)
    yields.push_back(element(n));
  yields.push_back(mapping.lookupOrDefault(kernel.getYield().getValues()[0]));
  YieldOp::create(rewriter, loc, yields);
  return made;
}

void ConvRaiser::replaceWindows(KernelOp made) {
  Location loc = kernel.getLoc();
  rewriter.setInsertionPointAfter(made);
  SmallVector<OpFoldResult> sizes = tensor::getMixedSizes(rewriter, loc, sequence);
  SmallVector<OpFoldResult> offsets(sizes.size(), rewriter.getIndexAttr(0));
  SmallVector<OpFoldResult> strides(sizes.size(), rewriter.getIndexAttr(1)), one(sizes);
  sizes[axis] = rewriter.getIndexAttr(taps - 1);
  one[axis] = rewriter.getIndexAttr(1);
  Value all = makeEmpty(sizes);
  for (int64_t n = 0; n < taps - 1; ++n) {
    offsets[axis] = rewriter.getIndexAttr(n);
    all = tensor::InsertSliceOp::create(rewriter, loc, made.getResult(n), all, offsets, one,
                                        strides);
  }
  for (tensor::ExtractSliceOp slice : windowsAfter) {
    Value value = all;
    if (value.getType() != slice.getType())
      value = tensor::CastOp::create(rewriter, loc, slice.getType(), value);
    rewriter.replaceOp(slice, value);
  }
}

/// Whether sequence and result both lie in memory with time innermost.
bool ConvRaiser::isDenseInTime() {
  auto isLast = [&](Value tensor, AffineMap map) {
    auto type = cast<RankedTensorType>(tensor.getType());
    for (int64_t i = type.getRank() - 1; i >= 0; --i)
      if (type.getDimSize(i) != 1)
        return map.getResult(i).isFunctionOfDim(time);
    return false;
  };
  Value source = sequence;
  AffineMap map = kernel.getInputMap(window);
  while (foldView(source, map)) {
  }
  return isLast(source, map) && isLast(kernel.getOuts()[0], kernel.getOutMap(0));
}

StringRef ConvRaiser::raise(bool denseTime) {
  if (!matchSequence())
    return "its input is not a past and a sequence";
  // Elements that the loops do not all have would be carries of several meanings.
  for (unsigned i = 0; i < kernel.getInputs().size(); ++i)
    if (i != window && kernel.getInputs()[i] == kernel.getInputs()[window])
      return "it reads its input in several ways";
  if (!matchUsers())
    return "its input has other users";
  OpFoldResult size;
  for (auto [i, expr] : llvm::enumerate(kernel.getOutMap(0).getResults()))
    if (expr == rewriter.getAffineDimExpr(time))
      size = getKnownSize(kernel.getResult(0), i);
  if (!size || !isLength(size)) {
    SmallVector<Operation *> path;
    bool only = llvm::all_of(llvm::seq<unsigned>(kernel.getInputs().size()), [&](unsigned i) {
      return i == window || !kernel.getInputMap(i).isFunctionOfDim(time);
    });
    int64_t at = 0;
    for (auto [i, expr] : llvm::enumerate(kernel.getOutMap(0).getResults()))
      if (expr == rewriter.getAffineDimExpr(time))
        at = i;
    if (!only || !trim(kernel.getResult(0), at, path))
      return "its result is longer than its input";
    applyTrim(path);
    sum = {};
    for (auto reduce : kernel.getStep().getOps<ReduceOp>())
      if (llvm::is_contained(reduce.getLoops(), tap))
        sum = reduce;
  }
  if (!denseTime && isDenseInTime())
    return "time is innermost in memory, where sums over a window are faster";
  KernelOp made = build();
  replaceWindows(made);
  rewriter.replaceOp(kernel, made.getResults().back());
  return "";
}

namespace {
struct RaiseConvs : ssm::impl::RaiseConvsBase<RaiseConvs> {
  using RaiseConvsBase::RaiseConvsBase;

  void runOnOperation() override {
    IRRewriter rewriter(&getContext());
    SmallVector<KernelOp> kernels;
    getOperation().walk([&](KernelOp kernel) { kernels.push_back(kernel); });
    auto name = remark::RemarkOpts::name("convolution").category("raise");
    // From the end: a trimmed convolution remakes the kernels behind it.
    for (KernelOp kernel : llvm::reverse(kernels)) {
      addStep(rewriter, kernel, maxTaps);
      ConvRaiser raiser(kernel, rewriter);
      if (!raiser.match(maxTaps))
        continue;
      Location loc = kernel.getLoc();
      if (StringRef why = raiser.raise(denseTime); !why.empty())
        remark::missed(loc, name) << ("convolution not raised: " + why).str();
      else
        remark::passed(loc, name) << "causal convolution raised";
    }
  }
};
} // namespace
