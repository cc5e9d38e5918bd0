//===- KernelViews.cpp - Views of tensors as affine maps ------------------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "dialects/SSM/KernelViews.h"

#include "dialects/SSM/KernelLoops.h"
#include "dialects/SSM/SizeNames.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/Matchers.h"
#include "mlir/Interfaces/DestinationStyleOpInterface.h"

using namespace mlir;
using namespace ssm;

/// The indices before a reshape from those after it, where each group of axes has
/// at most one that is not of size 1. `groups` lists the axes of the side that has
/// more; `expanded` are its sizes.
static bool indexReshape(ArrayRef<ReassociationIndices> groups, ArrayRef<int64_t> expanded,
                         bool sourceIsExpanded, ArrayRef<AffineExpr> indices,
                         SmallVectorImpl<AffineExpr> &source, MLIRContext *context) {
  AffineExpr zero = getAffineConstantExpr(0, context);
  source.assign(sourceIsExpanded ? expanded.size() : groups.size(), zero);
  for (auto [collapsed, group] : llvm::enumerate(groups)) {
    auto isLarge = [&](int64_t axis) { return expanded[axis] != 1; };
    if (llvm::count_if(group, isLarge) > 1)
      return false;
    auto large = llvm::find_if(group, isLarge);
    if (large == group.end())
      continue;
    if (sourceIsExpanded)
      source[*large] = indices[collapsed];
    else
      source[collapsed] = indices[*large];
  }
  return true;
}

/// A slice that takes all of each axis, or drops axes of size 1.
static bool indexSlice(tensor::ExtractSliceOp slice, ArrayRef<AffineExpr> indices,
                       SmallVectorImpl<AffineExpr> &source) {
  RankedTensorType type = slice.getSourceType();
  llvm::SmallBitVector dropped = slice.getDroppedDims();
  unsigned next = 0;
  for (int64_t axis = 0; axis < type.getRank(); ++axis) {
    OpFoldResult size = slice.getMixedSizes()[axis];
    bool whole = !type.isDynamicDim(axis) && getConstantIntValue(size) == type.getDimSize(axis);
    if (auto value = dyn_cast<Value>(size))
      if (auto dim = value.getDefiningOp<tensor::DimOp>())
        whole |= dim.getSource() == slice.getSource() && dim.getConstantIndex() == axis;
    if (!whole || getConstantIntValue(slice.getMixedOffsets()[axis]) != 0 ||
        getConstantIntValue(slice.getMixedStrides()[axis]) != 1)
      return false;
    source.push_back(dropped.test(axis) ? getAffineConstantExpr(0, slice.getContext())
                                        : indices[next++]);
  }
  return true;
}

/// Whether the operation gives the elements of its only input, moved.
static bool isMove(linalg::GenericOp op) {
  auto yield = cast<linalg::YieldOp>(op.getBody()->getTerminator());
  return op.getNumDpsInputs() == 1 && op.getNumResults() == 1 && op.isAllParallelLoops() &&
         isa<RankedTensorType>(op.getDpsInputs()[0].getType()) &&
         yield.getOperand(0) == op.getRegionInputArgs()[0];
}

static bool isMove(KernelOp kernel) {
  return !kernel.getTime() && !kernel.hasBuffers() && kernel.getNumResults() == 1 &&
         kernel.getInputs().size() == 1 &&
         isa<RankedTensorType>(kernel.getInputs()[0].getType()) &&
         kernel.getYield().getValues()[0] == kernel.getInputArg(0);
}

/// The loops as functions of an out's indices; null if these do not tell all. (Upstream's
/// inversePermutation knows no axes of size 1, which have no loop.)
static AffineMap loopsFrom(AffineMap out) {
  SmallVector<AffineExpr> loops(out.getNumDims());
  for (auto [axis, expr] : llvm::enumerate(out.getResults()))
    if (auto dim = dyn_cast<AffineDimExpr>(expr))
      loops[dim.getPosition()] = getAffineDimExpr(axis, out.getContext());
    else if (!isa<AffineConstantExpr>(expr))
      return {};
  if (llvm::is_contained(loops, AffineExpr()))
    return {};
  return AffineMap::get(out.getNumResults(), 0, loops, out.getContext());
}

/// What a copy reads, at indices of it.
static bool foldMove(KernelOp kernel, Value &tensor, AffineMap &map) {
  AffineMap loops = loopsFrom(kernel.getOutMap(0));
  if (!loops)
    return false;
  tensor = kernel.getInputs()[0];
  map = kernel.getInputMap(0).compose(loops).compose(map);
  return true;
}

bool ssm::foldView(Value &tensor, AffineMap &map) {
  Operation *op = tensor.getDefiningOp();
  if (!op)
    return false;
  MLIRContext *context = op->getContext();
  ArrayRef<AffineExpr> indices = map.getResults();
  SmallVector<AffineExpr> source;
  Value from;
  if (auto transpose = dyn_cast<linalg::TransposeOp>(op)) {
    from = transpose.getInput();
    source.resize(indices.size());
    for (auto [index, axis] : llvm::zip_equal(indices, transpose.getPermutation()))
      source[axis] = index;
  } else if (auto broadcast = dyn_cast<linalg::BroadcastOp>(op)) {
    from = broadcast.getInput();
    for (auto [axis, index] : llvm::enumerate(indices))
      if (!llvm::is_contained(broadcast.getDimensions(), static_cast<int64_t>(axis)))
        source.push_back(index);
  } else if (auto generic = dyn_cast<linalg::GenericOp>(op); generic && isMove(generic)) {
    AffineMap in = generic.getIndexingMapsArray()[0], out = generic.getIndexingMapsArray()[1];
    AffineMap loops = loopsFrom(out);
    if (!loops || !generic.hasPureTensorSemantics())
      return false;
    tensor = generic.getDpsInputs()[0];
    map = in.compose(loops).compose(map);
    return true;
  } else if (auto kernel = dyn_cast<KernelOp>(op); kernel && isMove(kernel)) {
    return foldMove(kernel, tensor, map);
  } else if (auto expand = dyn_cast<tensor::ExpandShapeOp>(op)) {
    from = expand.getSrc();
    if (!indexReshape(expand.getReassociationIndices(), expand.getResultType().getShape(), false,
                      indices, source, context))
      return false;
  } else if (auto collapse = dyn_cast<tensor::CollapseShapeOp>(op)) {
    from = collapse.getSrc();
    if (!indexReshape(collapse.getReassociationIndices(), collapse.getSrcType().getShape(), true,
                      indices, source, context))
      return false;
  } else if (auto slice = dyn_cast<tensor::ExtractSliceOp>(op)) {
    from = slice.getSource();
    if (!indexSlice(slice, indices, source))
      return false;
  } else if (auto cast = dyn_cast<tensor::CastOp>(op);
             cast && tensor::canFoldIntoConsumerOp(cast)) {
    from = cast.getSource();
    llvm::append_range(source, indices);
  } else {
    return false;
  }
  tensor = from;
  map = AffineMap::get(map.getNumDims(), 0, source, context);
  return true;
}

/// The sizes behind the first of a group, or nothing if one is open.
static bool haveStrides(ArrayRef<int64_t> sizes, ArrayRef<int64_t> group) {
  return llvm::none_of(group.drop_front(),
                       [&](int64_t axis) { return ShapedType::isDynamic(sizes[axis]); });
}

bool ssm::foldReshape(Value &tensor, AffineMap &map) {
  if (auto expand = tensor.getDefiningOp<tensor::ExpandShapeOp>()) {
    ArrayRef<int64_t> sizes = expand.getResultType().getShape();
    SmallVector<AffineExpr> source;
    for (ReassociationIndices group : expand.getReassociationIndices()) {
      if (!haveStrides(sizes, group))
        return false;
      AffineExpr index = map.getResult(group[0]);
      for (int64_t axis : ArrayRef(group).drop_front())
        index = index * sizes[axis] + map.getResult(axis);
      source.push_back(index);
    }
    tensor = expand.getSrc();
    map = AffineMap::get(map.getNumDims(), 0, source, map.getContext());
    return true;
  }
  auto collapse = tensor.getDefiningOp<tensor::CollapseShapeOp>();
  auto kernel = collapse ? collapse.getSrc().getDefiningOp<KernelOp>() : KernelOp();
  if (!kernel || !isMove(kernel))
    return false;
  ArrayRef<int64_t> sizes = collapse.getSrcType().getShape();
  AffineMap identity = AffineMap::getMultiDimIdentityMap(sizes.size(), map.getContext());
  Value from = kernel.getResult(0);
  if (!foldMove(kernel, from, identity))
    return false;
  SmallVector<AffineExpr> source(sizes.size());
  for (auto [axis, group] : llvm::enumerate(collapse.getReassociationIndices())) {
    unsigned read = llvm::count_if(group, [&](int64_t inner) {
      return sizes[inner] != 1 && identity.isFunctionOfDim(inner);
    });
    if (read > 1 || !haveStrides(sizes, group))
      return false;
    AffineExpr index = map.getResult(axis);
    for (int64_t inner : llvm::reverse(ArrayRef(group).drop_front())) {
      source[inner] = index % sizes[inner];
      index = index.floorDiv(sizes[inner]);
    }
    source[group[0]] = index;
  }
  tensor = from;
  map = simplifyAffineMap(
      identity.compose(AffineMap::get(map.getNumDims(), 0, source, map.getContext())));
  return true;
}

Value ssm::getFilledWith(OpBuilder &builder, Value tensor) {
  auto type = dyn_cast<RankedTensorType>(tensor.getType());
  while (type) {
    Operation *op = tensor.getDefiningOp();
    if (!op)
      return {};
    if (isa<tensor::ExpandShapeOp, tensor::CollapseShapeOp, tensor::ExtractSliceOp, tensor::CastOp,
            linalg::TransposeOp, linalg::BroadcastOp>(op)) {
      tensor = op->getOperand(0);
      continue;
    }
    if (auto fill = dyn_cast<linalg::FillOp>(op)) {
      Value value = fill.getInputs()[0];
      return value.getType() == type.getElementType() ? value : Value();
    }
    if (auto kernel = dyn_cast<KernelOp>(op)) {
      Value value = kernel.getYield().getValues()[cast<OpResult>(tensor).getResultNumber()];
      bool isCaptured = value.getParentRegion() != &kernel.getBody();
      return isCaptured && !kernel.getTime() ? value : Value();
    }
    SplatElementsAttr splat;
    if (!matchPattern(tensor, m_Constant(&splat)))
      return {};
    return arith::ConstantOp::create(builder, tensor.getLoc(), splat.getSplatValue<TypedAttr>());
  }
  return {};
}

OpFoldResult ssm::getKnownSize(Value tensor, int64_t axis) {
  auto type = cast<RankedTensorType>(tensor.getType());
  if (!type.isDynamicDim(axis))
    return IntegerAttr::get(IndexType::get(tensor.getContext()), type.getDimSize(axis));
  while (auto result = dyn_cast<OpResult>(tensor)) {
    if (auto dps = dyn_cast<DestinationStyleOpInterface>(result.getOwner())) {
      tensor = dps.getTiedOpOperand(result)->get();
    } else if (auto scan = dyn_cast<ScanOp>(result.getOwner())) {
      unsigned i = result.getResultNumber(), numCarries = scan.getCarries().size();
      tensor = i < numCarries ? scan.getCarries()[i] : scan.getOuts()[i - numCarries];
    } else {
      break;
    }
  }
  if (auto empty = tensor.getDefiningOp<tensor::EmptyOp>())
    return empty.getMixedSizes()[axis];
  if (auto slice = tensor.getDefiningOp<tensor::ExtractSliceOp>()) {
    llvm::SmallBitVector dropped = slice.getDroppedDims();
    for (int64_t own = 0;; ++own)
      if (!dropped.test(own) && axis-- == 0)
        return slice.getMixedSizes()[own];
  }
  return {};
}

namespace {
/// An axis of a tensor of which nothing else is known.
struct Axis {
  Value tensor;
  int64_t number;
};
} // namespace

/// The axis that a size was asked of; what made its tensor may tell more.
static std::optional<Axis> askedOf(OpFoldResult &size) {
  while (auto value = dyn_cast<Value>(size)) {
    auto dim = value.getDefiningOp<tensor::DimOp>();
    std::optional<int64_t> axis = dim ? dim.getConstantIndex() : std::nullopt;
    if (!axis)
      return std::nullopt;
    OpFoldResult known = getKnownSize(dim.getSource(), *axis);
    if (!known)
      return Axis{dim.getSource(), *axis};
    size = known;
  }
  return std::nullopt;
}

static bool areEqual(const Axis &a, const Axis &b) {
  if (a.tensor == b.tensor && a.number == b.number)
    return true;
  StringAttr name = getSizeName(a.tensor, a.number);
  return name && name == getSizeName(b.tensor, b.number);
}

bool ssm::areEqualSizes(OpFoldResult a, OpFoldResult b) {
  std::optional<Axis> axisA = askedOf(a), axisB = askedOf(b);
  return isEqualConstantIntOrValue(a, b) || (axisA && axisB && areEqual(*axisA, *axisB));
}

bool ssm::isSizeOf(OpFoldResult size, Value tensor, int64_t axis) {
  if (OpFoldResult known = getKnownSize(tensor, axis); known && areEqualSizes(known, size))
    return true;
  std::optional<Axis> own = askedOf(size);
  return own && areEqual(*own, {tensor, axis});
}

bool ssm::haveSizes(unsigned numLoops, ArrayRef<AffineMap> maps) {
  LoopSet sized = 0;
  for (AffineMap map : maps)
    for (AffineExpr expr : map.getResults())
      if (auto dim = dyn_cast<AffineDimExpr>(expr))
        sized |= loopBit(dim.getPosition());
  for (unsigned loop = 0; loop < numLoops; ++loop)
    if (!contains(sized, loop))
      return false;
  return true;
}

static bool haveEqualSizes(Value a, int64_t axisA, Value b, int64_t axisB) {
  auto typeA = cast<ShapedType>(a.getType()), typeB = cast<ShapedType>(b.getType());
  if (!typeA.isDynamicDim(axisA) && !typeB.isDynamicDim(axisB))
    return typeA.getDimSize(axisA) == typeB.getDimSize(axisB);
  if (!isa<RankedTensorType>(typeA) || !isa<RankedTensorType>(typeB))
    return false;
  OpFoldResult sizeA = getKnownSize(a, axisA), sizeB = getKnownSize(b, axisB);
  return (sizeA && isSizeOf(sizeA, b, axisB)) || (sizeB && isSizeOf(sizeB, a, axisA));
}

bool ssm::keepsSizes(KernelOp kernel, unsigned i, ArrayRef<AffineExpr> loops) {
  for (auto [axis, expr] : llvm::enumerate(kernel.getMap(i).getResults())) {
    AffineExpr now = expr.replaceDims(loops);
    if (isa<AffineDimExpr>(expr) || !isa<AffineDimExpr>(now))
      continue;
    const AffineExpr *loop = llvm::find(loops, now);
    if (loop == loops.end())
      return false;
    auto [operand, along] = kernel.getSizeSource(loop - loops.begin());
    if (!haveEqualSizes(kernel->getOperand(i), axis, operand, along))
      return false;
  }
  return true;
}
