//===- ExpandLoops.cpp - A kernel on both sides of a reshape --------------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "passes/Fusion/ExpandLoops.h"

#include "dialects/SSM/KernelLoops.h"
#include "dialects/SSM/KernelViews.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/Dialect/Utils/StaticValueUtils.h"

using namespace mlir;
using namespace ssm;

namespace {

/// What each old loop becomes: one or several new ones, with their sizes where it is several.
struct LoopSplit {
  SmallVector<SmallVector<unsigned>> loops;
  SmallVector<SmallVector<OpFoldResult>> sizes;
  unsigned count = 0;

  bool isSplit(AffineExpr expr) const {
    auto dim = dyn_cast<AffineDimExpr>(expr);
    return dim && loops[dim.getPosition()].size() > 1;
  }

  AffineMap mapOf(AffineMap map) const {
    MLIRContext *context = map.getContext();
    SmallVector<AffineExpr> first, results;
    for (ArrayRef<unsigned> own : loops)
      first.push_back(getAffineDimExpr(own.front(), context));
    for (AffineExpr expr : map.getResults())
      if (isSplit(expr))
        for (unsigned loop : loops[cast<AffineDimExpr>(expr).getPosition()])
          results.push_back(getAffineDimExpr(loop, context));
      else
        results.push_back(expr.replaceDims(first));
    return AffineMap::get(count, 0, results, context);
  }

  /// The new axes of each of an operand's axes, and their sizes (of split ones).
  SmallVector<ReassociationIndices> groupsOf(AffineMap map) const {
    SmallVector<ReassociationIndices> groups;
    int64_t next = 0;
    for (AffineExpr expr : map.getResults()) {
      size_t size = isSplit(expr) ? loops[cast<AffineDimExpr>(expr).getPosition()].size() : 1;
      ReassociationIndices group;
      for (size_t i = 0; i < size; ++i)
        group.push_back(next++);
      groups.push_back(std::move(group));
    }
    return groups;
  }

  /// Whether what was collapsed has the axes that an operand of this map is to have.
  bool isSource(tensor::CollapseShapeOp collapse, AffineMap map) const {
    SmallVector<ReassociationIndices> groups = groupsOf(map);
    if (collapse.getReassociationIndices() != ArrayRef(groups))
      return false;
    for (auto [expr, group] : llvm::zip_equal(map.getResults(), groups))
      if (isSplit(expr))
        for (auto [axis, size] :
             llvm::zip_equal(group, sizes[cast<AffineDimExpr>(expr).getPosition()]))
          if (!isSizeOf(size, collapse.getSrc(), axis))
            return false;
    return true;
  }

  bool changes(AffineMap map) const {
    return llvm::any_of(map.getResults(), [&](AffineExpr expr) { return isSplit(expr); });
  }
};

FailureOr<LoopSplit> splitLoops(KernelOp kernel, unsigned operand,
                                ArrayRef<ReassociationIndices> groups,
                                ArrayRef<OpFoldResult> sizes) {
  LoopSplit split;
  split.loops.resize(kernel.getNumLoops());
  split.sizes.resize(kernel.getNumLoops());
  AffineMap map = kernel.getMap(operand);
  if (kernel.getTime() || kernel.getPadded() || map.getNumResults() != groups.size())
    return failure();
  LoopSet bits = 0;
  for (auto [expr, group] : llvm::zip_equal(map.getResults(), groups)) {
    if (group.size() == 1)
      continue;
    auto dim = dyn_cast<AffineDimExpr>(expr);
    if (!dim || contains(bits, dim.getPosition()))
      return failure();
    bits |= loopBit(dim.getPosition());
    for (int64_t axis : group)
      split.sizes[dim.getPosition()].push_back(sizes[axis]);
  }
  if (!bits)
    return failure();
  for (unsigned i = 0; i < kernel.getMaps().size(); ++i)
    for (AffineExpr expr : kernel.getMap(i).getResults())
      if (!isa<AffineDimExpr>(expr))
        for (unsigned loop : listLoops(bits))
          if (expr.isFunctionOfDim(loop))
            return failure();
  for (auto index : kernel.getStep().getOps<IndexOp>())
    if (contains(bits, index.getLoop()))
      return failure();
  for (unsigned loop = 0; loop < kernel.getNumLoops(); ++loop)
    for (size_t i = 0; i < std::max<size_t>(split.sizes[loop].size(), 1); ++i)
      split.loops[loop].push_back(split.count++);
  if (split.count > kMaxLoops)
    return failure();
  return split;
}

/// Shape and sizes of an operand with split axes.
std::pair<RankedTensorType, SmallVector<OpFoldResult>>
expandedShape(RewriterBase &rewriter, Location loc, Value tensor, AffineMap map,
              const LoopSplit &split) {
  auto type = cast<RankedTensorType>(tensor.getType());
  SmallVector<OpFoldResult> sizes;
  for (auto [axis, expr] : llvm::enumerate(map.getResults()))
    if (split.isSplit(expr))
      llvm::append_range(sizes, split.sizes[cast<AffineDimExpr>(expr).getPosition()]);
    else if (OpFoldResult size = getKnownSize(tensor, axis))
      sizes.push_back(size);
    else
      sizes.push_back(getAsOpFoldResult(rewriter.createOrFold<tensor::DimOp>(loc, tensor, axis)));
  SmallVector<int64_t> shape;
  SmallVector<Value> values;
  dispatchIndexOpFoldResults(sizes, values, shape);
  return {RankedTensorType::get(shape, type.getElementType()), sizes};
}

/// Kernels that read the same read one value, so that one that is made of both reads it once.
Value expandOnce(RewriterBase &rewriter, Location loc, Value tensor, RankedTensorType type,
                 ArrayRef<ReassociationIndices> groups, ArrayRef<OpFoldResult> sizes) {
  Block *block = rewriter.getInsertionBlock();
  for (Operation *user : tensor.getUsers())
    if (auto expand = dyn_cast<tensor::ExpandShapeOp>(user);
        expand && expand.getType() == type && expand->getBlock() == block &&
        expand.getReassociationIndices() == groups &&
        llvm::all_of(llvm::zip_equal(expand.getMixedOutputShape(), sizes),
                     [](auto pair) { return areEqualSizes(std::get<0>(pair), std::get<1>(pair)); }) &&
        (rewriter.getInsertionPoint() == block->end() ||
         expand->isBeforeInBlock(&*rewriter.getInsertionPoint())))
      return expand;
  return tensor::ExpandShapeOp::create(rewriter, loc, type, tensor, groups, sizes);
}

} // namespace

FailureOr<ExpandedKernel> ssm::expandLoops(RewriterBase &rewriter, KernelOp kernel,
                                           unsigned operand,
                                           ArrayRef<ReassociationIndices> groups,
                                           ArrayRef<OpFoldResult> sizes) {
  FailureOr<LoopSplit> split = splitLoops(kernel, operand, groups, sizes);
  if (failed(split))
    return failure();
  Location loc = kernel.getLoc();
  SmallVector<Value> ins, outs;
  SmallVector<Attribute> maps;
  for (unsigned i = 0; i < kernel.getMaps().size(); ++i) {
    bool isInput = i < kernel.getInputs().size();
    Value value = isInput ? kernel.getInputs()[i] : kernel.getOuts()[i - kernel.getInputs().size()];
    AffineMap map = kernel.getMap(i);
    SmallVector<ReassociationIndices> own = split->groupsOf(map);
    auto collapse = value.getDefiningOp<tensor::CollapseShapeOp>();
    if (isInput && collapse && split->isSource(collapse, map)) {
      value = collapse.getSrc();
    } else if (split->changes(map)) {
      auto [type, shape] = expandedShape(rewriter, loc, value, map, *split);
      if (isInput)
        value = expandOnce(rewriter, loc, value, type, own, shape);
      else
        value = tensor::EmptyOp::create(rewriter, loc, shape, type.getElementType());
    }
    (isInput ? ins : outs).push_back(value);
    maps.push_back(AffineMapAttr::get(split->mapOf(map)));
  }
  auto expanded = KernelOp::create(
      rewriter, loc, ValueRange(outs).getTypes(), rewriter.getI64IntegerAttr(split->count),
      IntegerAttr(), ins, ValueRange(), outs, rewriter.getArrayAttr(maps),
      rewriter.getDenseBoolArrayAttr({}), TransitionAttr(), ConfigAttr());
  expanded->setDiscardableAttrs(llvm::to_vector(kernel->getDiscardableAttrs()));
  IRMapping mapping;
  kernel.getBody().cloneInto(&expanded.getBody(), mapping);
  for (auto index : expanded.getStep().getOps<IndexOp>())
    index.setLoop(split->loops[index.getLoop()].front());
  for (auto reduce : expanded.getStep().getOps<ReduceOp>()) {
    SmallVector<int64_t> loops;
    for (int64_t loop : reduce.getLoops())
      llvm::append_range(loops, split->loops[loop]);
    reduce.setLoops(loops);
  }
  ExpandedKernel result{expanded, {}};
  for (unsigned i = 0; i < kernel.getNumResults(); ++i)
    result.groups.push_back(split->groupsOf(kernel.getOutMap(i)));
  return result;
}

Value ExpandedKernel::collapse(OpBuilder &builder, unsigned result) {
  Value value = kernel.getResult(result);
  if (llvm::all_of(groups[result], [](const auto &group) { return group.size() == 1; }))
    return value;
  return tensor::CollapseShapeOp::create(builder, kernel.getLoc(), value, groups[result]);
}
