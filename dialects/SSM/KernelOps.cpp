//===- KernelOps.cpp - Structured kernels ---------------------------------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "dialects/SSM/KernelLoops.h"
#include "dialects/SSM/KernelViews.h"
#include "dialects/SSM/SSMOps.h"
#include "dialects/SSM/UnitLoops.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/PatternMatch.h"
#include "mlir/IR/TypeUtilities.h"
#include "llvm/ADT/STLExtras.h"

using namespace mlir;
using namespace ssm;

//===----------------------------------------------------------------------===//
// Loops
//===----------------------------------------------------------------------===//

LoopSet ssm::loopsOf(AffineMap map) {
  LoopSet set = 0;
  for (unsigned loop = 0; loop < map.getNumDims(); ++loop)
    if (map.isFunctionOfDim(loop))
      set |= loopBit(loop);
  return set;
}

LoopSet ssm::loopsOf(ArrayRef<int64_t> loops) {
  LoopSet set = 0;
  for (int64_t loop : loops)
    set |= loopBit(loop);
  return set;
}

bool ssm::mayLeadOutside(AffineMap map) {
  return llvm::any_of(map.getResults(), [](AffineExpr expr) {
    return !isa<AffineDimExpr, AffineConstantExpr>(expr);
  });
}

SmallVector<unsigned> ssm::listLoops(LoopSet set) {
  SmallVector<unsigned> loops;
  for (unsigned loop = 0; loop < kMaxLoops; ++loop)
    if (contains(set, loop))
      loops.push_back(loop);
  return loops;
}

KernelLoops::KernelLoops(KernelOp kernel) {
  unsigned numInputs = kernel.getInputs().size();
  for (unsigned i = 0; i < numInputs; ++i)
    sets[kernel.getInputArg(i)] = loopsOf(kernel.getInputMap(i));
  for (unsigned i = 0; i < kernel.getNumCarries(); ++i)
    sets[kernel.getCarryArg(i)] = loopsOf(kernel.getOutMap(i)) | loopBit(*kernel.getTime());
  for (Operation &op : kernel.getStep().without_terminator()) {
    LoopSet set = 0;
    op.walk([&](Operation *inner) {
      for (Value operand : inner->getOperands())
        set |= of(operand);
    });
    if (auto reduce = dyn_cast<ReduceOp>(op))
      set &= ~loopsOf(reduce.getLoops());
    if (auto index = dyn_cast<IndexOp>(op))
      set |= loopBit(index.getLoop());
    for (Value result : op.getResults())
      sets[result] = set;
  }
}

YieldOp KernelOp::getYield() { return cast<YieldOp>(getStep().getTerminator()); }

std::pair<Value, unsigned> KernelOp::getSizeSource(unsigned loop) {
  auto search = [&](ValueRange operands, unsigned firstMap) -> std::pair<Value, unsigned> {
    for (auto [i, operand] : llvm::enumerate(operands))
      for (auto [axis, expr] : llvm::enumerate(getMap(firstMap + i).getResults()))
        if (auto dim = dyn_cast<AffineDimExpr>(expr); dim && dim.getPosition() == loop)
          return {operand, axis};
    return {Value(), 0};
  };
  unsigned numInputs = getInputs().size(), numInits = getInits().size();
  // A fixed size says most.
  for (auto [operands, first] : {std::make_pair(ValueRange(getInputs()), 0u),
                                 {ValueRange(getInits()), numInputs},
                                 {ValueRange(getOuts()), numInputs + numInits}})
    for (auto [i, operand] : llvm::enumerate(operands))
      for (auto [axis, expr] : llvm::enumerate(getMap(first + i).getResults()))
        if (auto dim = dyn_cast<AffineDimExpr>(expr);
            dim && dim.getPosition() == loop &&
            !cast<ShapedType>(operand.getType()).isDynamicDim(axis))
          return {operand, axis};
  auto found = search(getOuts(), numInputs + numInits);
  if (!found.first)
    found = search(getInputs(), 0);
  if (!found.first)
    found = search(getInits(), numInputs);
  return found;
}

SmallVector<OpFoldResult> KernelOp::getLoopSizes(OpBuilder &builder) {
  SmallVector<OpFoldResult> sizes;
  for (unsigned loop = 0; loop < getNumLoops(); ++loop) {
    auto [operand, axis] = getSizeSource(loop);
    auto type = cast<ShapedType>(operand.getType());
    if (!type.isDynamicDim(axis))
      sizes.push_back(builder.getIndexAttr(type.getDimSize(axis)));
    else if (isa<TensorType>(type))
      sizes.push_back(builder.createOrFold<tensor::DimOp>(getLoc(), operand, axis));
    else
      sizes.push_back(builder.createOrFold<memref::DimOp>(getLoc(), operand, axis));
  }
  return sizes;
}

//===----------------------------------------------------------------------===//
// Interfaces
//===----------------------------------------------------------------------===//

MutableOperandRange KernelOp::getDpsInitsMutable() { return getOutsMutable(); }

void KernelOp::getEffects(
    SmallVectorImpl<SideEffects::EffectInstance<MemoryEffects::Effect>> &effects) {
  for (OpOperand &operand : getInputsMutable())
    if (isa<MemRefType>(operand.get().getType()))
      effects.emplace_back(MemoryEffects::Read::get(), &operand, 0, true,
                           SideEffects::DefaultResource::get());
  for (OpOperand &operand : getInitsMutable())
    if (isa<MemRefType>(operand.get().getType()))
      effects.emplace_back(MemoryEffects::Read::get(), &operand, 0, true,
                           SideEffects::DefaultResource::get());
  for (OpOperand &operand : getOutsMutable())
    if (isa<MemRefType>(operand.get().getType()))
      effects.emplace_back(MemoryEffects::Write::get(), &operand, 0, true,
                           SideEffects::DefaultResource::get());
  getBody().walk([&](memref::LoadOp load) {
    effects.emplace_back(MemoryEffects::Read::get(), &load.getMemrefMutable(), 0, true,
                         SideEffects::DefaultResource::get());
  });
}

LogicalResult KernelOp::reifyResultShapes(OpBuilder &builder, ReifiedRankedShapedTypeDims &shapes) {
  for (Value out : getOuts())
    shapes.push_back(tensor::getMixedSizes(builder, getLoc(), out));
  return success();
}

//===----------------------------------------------------------------------===//
// Verification
//===----------------------------------------------------------------------===//

/// Of a configuration. No processor has more lanes of a byte; no tile is larger than a cache.
static constexpr int64_t kMaxLanes = 64;
static constexpr int64_t kMaxTile = int64_t(1) << 24;

LogicalResult ConfigAttr::verify(function_ref<InFlightDiagnostic()> emitError, Form, int64_t,
                                 int64_t lanes, ArrayRef<int64_t> tiles) {
  if (lanes < 1 || lanes > kMaxLanes || !llvm::isPowerOf2_64(lanes))
    return emitError() << "config has " << lanes << " lanes, expected a power of two up to "
                       << kMaxLanes;
  for (int64_t tile : tiles)
    if (tile < 1 || tile > kMaxTile)
      return emitError() << "config has tile " << tile << ", expected 1 to " << kMaxTile;
  return success();
}

LogicalResult KernelOp::verify() {
  int64_t loops = getLoops();
  if (loops < 0 || loops > static_cast<int64_t>(kMaxLoops))
    return emitOpError("has ") << loops << " loops, expected 0 to " << kMaxLoops;
  if (getTime() && (*getTime() < 0 || *getTime() >= static_cast<uint64_t>(loops)))
    return emitOpError("time is loop ") << *getTime() << ", there are " << loops;
  if (std::optional<ConfigAttr> config = getConfig(); config && config->getForm() != Form::Loops &&
      (config->getLaneLoop() < 0 || config->getLaneLoop() >= loops))
    return emitOpError("has lanes along loop ")
           << config->getLaneLoop() << ", there are " << loops;
  size_t numInputs = getInputs().size(), numCarries = getNumCarries(), numOuts = getOuts().size();
  if (numCarries > 0 && !getTime())
    return emitOpError("has carries but no time");
  if (numCarries > numOuts)
    return emitOpError("has ") << numCarries << " carries, expected outs to begin with as many";
  if (getMaps().size() != numInputs + numCarries + numOuts)
    return emitOpError("has ") << numInputs + numCarries + numOuts
                               << " operands, expected as many maps, got " << getMaps().size();
  if (!getMirrored().empty() && getMirrored().size() != numInputs + numOuts - numCarries)
    return emitOpError("mirrored needs one entry for each input and each out that is no carry");
  if (getNumResults() != 0 && getNumResults() != numOuts)
    return emitOpError("has ") << getNumResults() << " results, expected one for each out";
  LoopSet sized = 0;
  SmallVector<int64_t> sizes(loops, ShapedType::kDynamic);
  auto checkMap = [&](Value operand, AffineMap map, StringRef what, unsigned i) -> LogicalResult {
    auto shaped = dyn_cast<ShapedType>(operand.getType());
    int64_t rank = shaped ? shaped.getRank() : 0;
    if (map.getNumDims() != loops || map.getNumSymbols() != 0 || map.getNumResults() != rank)
      return emitOpError(what) << " " << i << " of rank " << rank << " has map "
                               << AffineMapAttr::get(map) << ", expected " << loops << " loops to "
                               << rank << " indices";
    for (auto [axis, expr] : llvm::enumerate(map.getResults())) {
      auto dim = dyn_cast<AffineDimExpr>(expr);
      if (!dim)
        continue;
      sized |= loopBit(dim.getPosition());
      int64_t &known = sizes[dim.getPosition()], size = shaped.getDimSize(axis);
      if (ShapedType::isDynamic(size))
        continue;
      if (!ShapedType::isDynamic(known) && known != size)
        return emitOpError(what) << " " << i << " has size " << size << " along loop "
                                 << dim.getPosition() << ", expected " << known;
      known = size;
    }
    return success();
  };
  for (unsigned i = 0; i < numInputs; ++i)
    if (failed(checkMap(getInputs()[i], getInputMap(i), "input", i)))
      return failure();
  for (unsigned i = 0; i < numCarries; ++i) {
    if (failed(checkMap(getInits()[i], getInitMap(i), "init", i)))
      return failure();
    if (getOutMap(i).isFunctionOfDim(*getTime()) || getInitMap(i).isFunctionOfDim(*getTime()))
      return emitOpError("carry ") << i << " may not be indexed by time";
  }
  for (unsigned i = 0; i < numOuts; ++i) {
    AffineMap map = getOutMap(i);
    if (failed(checkMap(getOuts()[i], map, "out", i)))
      return failure();
    LoopSet seen = 0;
    for (AffineExpr expr : map.getResults()) {
      auto dim = dyn_cast<AffineDimExpr>(expr);
      if (isa<AffineConstantExpr>(expr))
        continue;
      if (!dim || contains(seen, dim.getPosition()))
        return emitOpError("out ") << i << " has map " << AffineMapAttr::get(map)
                                   << ", expected a projected permutation and constants";
      seen |= loopBit(dim.getPosition());
    }
  }
  for (unsigned loop = 0; loop < loops; ++loop)
    if (!contains(sized, loop))
      return emitOpError("loop ") << loop << " is no index of an operand by itself: no size";
  return success();
}

/// What is read outside of an input may go into the reduction alone.
static LogicalResult verifyPadded(KernelOp op) {
  auto reduces = op.getStep().getOps<ReduceOp>();
  if (op.getTime() || !llvm::hasSingleElement(reduces) ||
      (*reduces.begin()).getKind() != arith::AtomicRMWKind::addf)
    return op.emitOpError("is padded, expected no time and one reduction, a sum");
  if (op.getConfig() && op.getConfig()->getForm() != Form::Window &&
      op.getConfig()->getForm() != Form::Loops)
    return op.emitOpError("is padded, expected the form window or loops");
  llvm::DenseSet<Value> outside;
  for (unsigned i = 0; i < op.getInputs().size(); ++i)
    if (mayLeadOutside(op.getInputMap(i)))
      outside.insert(op.getInputArg(i));
  for (Operation &inner : op.getStep().without_terminator())
    if (!isa<ReduceOp>(inner) && llvm::any_of(inner.getOperands(), [&](Value operand) {
          return outside.contains(operand);
        }))
      outside.insert(inner.getResults().begin(), inner.getResults().end());
  for (auto [i, value] : llvm::enumerate(op.getYield().getValues()))
    if (outside.contains(value))
      return op.emitOpError("is padded, but yields for out ")
             << i << " what may be read outside of an input";
  return success();
}

LogicalResult KernelOp::verifyRegions() {
  size_t numInputs = getInputs().size(), numCarries = getNumCarries(), numOuts = getOuts().size();
  Block &step = getStep();
  if (step.getNumArguments() != numInputs + numCarries)
    return emitOpError("region has ")
           << step.getNumArguments() << " arguments, expected " << numInputs + numCarries;
  for (unsigned i = 0; i < numInputs; ++i)
    if (getElementTypeOrSelf(getInputs()[i].getType()) != getInputArg(i).getType())
      return emitOpError("argument ") << i << " is " << getInputArg(i).getType()
                                      << ", expected the element type of input " << i;
  for (unsigned i = 0; i < numCarries; ++i)
    for (Value operand : {getInits()[i], getOuts()[i]})
      if (getElementTypeOrSelf(operand.getType()) != getCarryArg(i).getType())
        return emitOpError("carry ") << i << " is " << getCarryArg(i).getType()
                                     << ", expected the element type of its init and out";
  YieldOp yield = getYield();
  if (yield.getValues().size() != numOuts)
    return emitOpError("yields ") << yield.getValues().size() << " values, expected " << numOuts;
  KernelLoops loops(*this);
  for (unsigned i = 0; i < numOuts; ++i) {
    Value value = yield.getValues()[i];
    if (value.getType() != getElementTypeOrSelf(getOuts()[i].getType()))
      return emitOpError("yields ")
             << value.getType() << " for out " << i << ", expected its element type";
    LoopSet allowed = loopsOf(getOutMap(i)) | (i < numCarries ? loopBit(*getTime()) : 0);
    if (!isSubset(loops.of(value), allowed))
      return emitOpError("out ") << i << " depends on loops that its map does not have";
  }
  for (auto reduce : step.getOps<ReduceOp>())
    for (int64_t loop : reduce.getLoops())
      if (loop < 0 || loop >= static_cast<int64_t>(getLoops()) || isTime(loop))
        return reduce.emitOpError("over loop ")
               << loop << ", expected loops of the kernel without time";
  if (getPadded() && failed(verifyPadded(*this)))
    return failure();
  for (auto index : step.getOps<IndexOp>())
    if (index.getLoop() >= getLoops())
      return index.emitOpError("of loop ") << index.getLoop() << ", there are " << getLoops();
  return success();
}

//===----------------------------------------------------------------------===//
// Canonicalization
//===----------------------------------------------------------------------===//

namespace {

/// Inputs that the region does not read, and that no loop needs for its size, go;
/// the same input under the same map is one.
struct DropInputs : OpRewritePattern<KernelOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(KernelOp op, PatternRewriter &rewriter) const override {
    unsigned numInputs = op.getInputs().size();
    llvm::BitVector drop(op.getStep().getNumArguments());
    SmallVector<int> sameAs(numInputs, -1);
    SmallVector<unsigned> alone(op.getNumLoops(), 0);
    auto count = [&](AffineMap map, int by) {
      for (AffineExpr expr : map.getResults())
        if (auto dim = dyn_cast<AffineDimExpr>(expr))
          alone[dim.getPosition()] += by;
    };
    for (unsigned i = 0; i < op.getMaps().size(); ++i)
      count(op.getMap(i), 1);
    for (unsigned i = 0; i < numInputs; ++i) {
      for (unsigned j = 0; j < i; ++j)
        if (!drop.test(j) && op.getInputs()[i] == op.getInputs()[j] &&
            op.getInputMap(i) == op.getInputMap(j) &&
            op.isInputMirrored(i) == op.isInputMirrored(j)) {
          sameAs[i] = j;
          break;
        }
      if (sameAs[i] < 0 && !op.getInputArg(i).use_empty())
        continue;
      AffineMap map = op.getInputMap(i);
      bool needed = llvm::any_of(map.getResults(), [&](AffineExpr expr) {
        auto dim = dyn_cast<AffineDimExpr>(expr);
        return dim && alone[dim.getPosition()] == 1;
      });
      if (needed)
        continue;
      count(map, -1);
      drop.set(i);
    }
    if (drop.none())
      return rewriter.notifyMatchFailure(op, "all inputs are needed");
    rewriter.modifyOpInPlace(op, [&] {
      SmallVector<Value> inputs;
      SmallVector<Attribute> maps;
      SmallVector<bool> mirrored;
      for (unsigned i = 0; i < op.getMaps().size(); ++i) {
        if (i < numInputs && drop.test(i)) {
          if (sameAs[i] >= 0)
            op.getInputArg(i).replaceAllUsesWith(op.getInputArg(sameAs[i]));
          continue;
        }
        if (i < numInputs)
          inputs.push_back(op.getInputs()[i]);
        maps.push_back(op.getMaps()[i]);
      }
      for (unsigned i = 0; i < op.getMirrored().size(); ++i)
        if (i >= numInputs || !drop.test(i))
          mirrored.push_back(op.getMirrored()[i]);
      op.getStep().eraseArguments(drop);
      op.getInputsMutable().assign(inputs);
      op.setMapsAttr(rewriter.getArrayAttr(maps));
      op.setMirrored(mirrored);
    });
    return success();
  }
};

/// Outs that nobody uses and that are no carries go.
struct DropOuts : OpRewritePattern<KernelOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(KernelOp op, PatternRewriter &rewriter) const override {
    if (op.hasBuffers())
      return rewriter.notifyMatchFailure(op, "has buffers");
    unsigned numCarries = op.getNumCarries(), numInputs = op.getInputs().size();
    SmallVector<unsigned> keep;
    LoopSet sized = 0;
    auto addSized = [&](AffineMap map) {
      for (AffineExpr expr : map.getResults())
        if (auto dim = dyn_cast<AffineDimExpr>(expr))
          sized |= loopBit(dim.getPosition());
    };
    for (unsigned i = 0; i < numInputs + numCarries; ++i)
      addSized(op.getMap(i));
    for (unsigned i = 0; i < op.getNumResults(); ++i)
      if (i < numCarries || !op.getResult(i).use_empty())
        addSized(op.getOutMap(i)), keep.push_back(i);
    for (unsigned i = numCarries; i < op.getNumResults(); ++i)
      if (op.getResult(i).use_empty() && !isSubset(loopsOf(op.getOutMap(i)), sized))
        addSized(op.getOutMap(i)), keep.push_back(i);
    llvm::sort(keep);
    if (keep.size() == op.getNumResults() || keep.empty())
      return rewriter.notifyMatchFailure(op, "all outs are needed");
    SmallVector<Type> types;
    SmallVector<Value> outs, yields;
    SmallVector<Attribute> maps(op.getMaps().begin(),
                                op.getMaps().begin() + numInputs + numCarries);
    SmallVector<bool> mirrored(
        op.getMirrored().take_front(std::min<size_t>(numInputs, op.getMirrored().size())));
    for (unsigned i : keep) {
      types.push_back(op.getResult(i).getType());
      outs.push_back(op.getOuts()[i]);
      yields.push_back(op.getYield().getValues()[i]);
      maps.push_back(op.getMaps()[numInputs + numCarries + i]);
      if (!op.getMirrored().empty() && i >= numCarries)
        mirrored.push_back(op.isOutMirrored(i));
    }
    auto made = KernelOp::create(rewriter, op.getLoc(), types, op.getLoopsAttr(), op.getTimeAttr(),
                                 op.getInputs(), op.getInits(), outs, rewriter.getArrayAttr(maps),
                                 rewriter.getDenseBoolArrayAttr(mirrored), op.getTransitionAttr(),
                                 op.getConfigAttr(), op.getPaddedAttr());
    rewriter.modifyOpInPlace(op.getYield(),
                             [&] { op.getYield().getValuesMutable().assign(yields); });
    made->setDiscardableAttrs(llvm::to_vector(op->getDiscardableAttrs()));
    made.getBody().takeBody(op.getBody());
    SmallVector<Value> results(op.getNumResults());
    for (auto [next, i] : llvm::enumerate(keep))
      results[i] = made.getResult(next);
    for (auto [old, now] : llvm::zip_equal(op.getResults(), results))
      if (now)
        rewriter.replaceAllUsesWith(old, now);
    rewriter.eraseOp(op);
    return success();
  }
};

/// A cast that only forgets sizes need not be made for an input.
struct FoldInputCasts : OpRewritePattern<KernelOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(KernelOp op, PatternRewriter &rewriter) const override {
    bool changed = false;
    rewriter.startOpModification(op);
    for (OpOperand &operand : op.getInputsMutable()) {
      auto cast = operand.get().getDefiningOp<tensor::CastOp>();
      if (cast && tensor::canFoldIntoConsumerOp(cast)) {
        operand.set(cast.getSource());
        changed = true;
      }
    }
    if (!changed) {
      rewriter.cancelOpModification(op);
      return rewriter.notifyMatchFailure(op, "no casts");
    }
    rewriter.finalizeOpModification(op);
    return success();
  }
};

/// Whether each loop runs once and can go: sizes of others must not change.
static SmallVector<bool> findUnitLoops(KernelOp op) {
  SmallVector<bool> units;
  SmallVector<AffineExpr> left;
  for (unsigned loop = 0; loop < op.getNumLoops(); ++loop) {
    auto [operand, axis] = op.getSizeSource(loop);
    units.push_back(!op.isTime(loop) && cast<ShapedType>(operand.getType()).getDimSize(axis) == 1);
    left.push_back(units.back() ? getAffineConstantExpr(0, op.getContext())
                                : getAffineDimExpr(loop, op.getContext()));
  }
  for (unsigned i = 0; i < op.getMaps().size(); ++i)
    if (!keepsSizes(op, i, left))
      for (AffineExpr expr : op.getMap(i).getResults())
        for (unsigned loop = 0; loop < op.getNumLoops(); ++loop)
          units[loop] = units[loop] && (isa<AffineDimExpr>(expr) || !expr.isFunctionOfDim(loop));
  return units;
}

/// A loop that runs once is no loop, unless it is time.
struct DropUnitLoops : OpRewritePattern<KernelOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(KernelOp op, PatternRewriter &rewriter) const override {
    if (op.getConfig())
      return rewriter.notifyMatchFailure(op, "is configured for its loops");
    SmallVector<bool> units = findUnitLoops(op);
    if (!llvm::is_contained(units, true))
      return rewriter.notifyMatchFailure(op, "all loops are needed");
    dropUnitLoops(rewriter, op, units);
    return success();
  }
};

} // namespace

void ssm::dropUnitLoops(RewriterBase &rewriter, KernelOp op, ArrayRef<bool> units) {
  SmallVector<AffineExpr> exprs;
  SmallVector<int64_t> numbers;
  int64_t next = 0;
  for (bool isUnit : units) {
    numbers.push_back(isUnit ? -1 : next);
    exprs.push_back(isUnit ? rewriter.getAffineConstantExpr(0) : rewriter.getAffineDimExpr(next));
    next += !isUnit;
  }
  SmallVector<AffineMap> maps;
  for (unsigned i = 0; i < op.getMaps().size(); ++i)
    maps.push_back(simplifyAffineMap(op.getMap(i).replaceDimsAndSymbols(exprs, {}, next, 0)));
  for (auto reduce : llvm::make_early_inc_range(op.getStep().getOps<ReduceOp>())) {
    SmallVector<int64_t> over;
    for (int64_t loop : reduce.getLoops())
      if (numbers[loop] >= 0)
        over.push_back(numbers[loop]);
    if (over.empty())
      rewriter.replaceOp(reduce, reduce.getValue());
    else
      rewriter.modifyOpInPlace(reduce, [&] { reduce.setLoops(over); });
  }
  for (auto index : llvm::make_early_inc_range(op.getStep().getOps<ssm::IndexOp>())) {
    if (numbers[index.getLoop()] >= 0) {
      rewriter.modifyOpInPlace(index, [&] { index.setLoop(numbers[index.getLoop()]); });
      continue;
    }
    rewriter.setInsertionPoint(index);
    rewriter.replaceOpWithNewOp<arith::ConstantIndexOp>(index, 0);
  }
  rewriter.modifyOpInPlace(op, [&] {
    op.setLoops(next);
    if (op.getTime())
      op.setTime(numbers[*op.getTime()]);
    op.setMapsAttr(rewriter.getAffineMapArrayAttr(maps));
  });
}

void KernelOp::getCanonicalizationPatterns(RewritePatternSet &patterns, MLIRContext *context) {
  patterns.add<DropInputs, DropOuts, DropUnitLoops, FoldInputCasts>(context);
}
