//===- SinkConcats.cpp - What follows a Concat, piece by piece ------------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "passes/Fusion/SinkConcats.h"

#include "dialects/SSM/KernelLoops.h"
#include "dialects/SSM/KernelViews.h"
#include "dialects/SSM/SSMOps.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Arith/Utils/Utils.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/Dialect/Utils/StaticValueUtils.h"
#include "mlir/IR/Matchers.h"
#include "mlir/IR/Remarks.h"

using namespace mlir;
using namespace ssm;

namespace {

constexpr unsigned kMaxPieces = 4;

/// Indices [low, low + size) of the axis, and what lies there: a tensor from its index `first` on,
/// or a scalar.
struct Piece {
  Value source;
  OpFoldResult low, size, first;
};

/// A tensor of pieces. `axis` is that of the insertions, if there is more than one place for them.
struct Pieces {
  std::optional<unsigned> axis;
  SmallVector<Piece> pieces; // what comes later lies over what comes before
};

class Sizes {
public:
  Sizes(IRRewriter &rewriter, Location loc) : rewriter(rewriter), loc(loc) {}

  OpFoldResult constant(int64_t value) { return rewriter.getIndexAttr(value); }
  OpFoldResult add(OpFoldResult x, OpFoldResult y) {
    return fold<arith::AddIOp>(x, y, [](int64_t x, int64_t y) { return x + y; }, 0);
  }
  OpFoldResult sub(OpFoldResult x, OpFoldResult y) {
    if (areEqualSizes(x, y))
      return constant(0);
    return fold<arith::SubIOp>(x, y, [](int64_t x, int64_t y) { return x - y; }, 0);
  }
  OpFoldResult min(OpFoldResult x, OpFoldResult y) {
    if (areEqualSizes(x, y))
      return x;
    return fold<arith::MinSIOp>(x, y, [](int64_t x, int64_t y) { return std::min(x, y); });
  }
  OpFoldResult max(OpFoldResult x, OpFoldResult y) {
    if (areEqualSizes(x, y))
      return x;
    return fold<arith::MaxSIOp>(x, y, [](int64_t x, int64_t y) { return std::max(x, y); });
  }

  /// The size of a tensor's axis, from what it is made of where that tells.
  OpFoldResult of(Value tensor, unsigned axis) {
    if (auto insert = tensor.getDefiningOp<tensor::InsertSliceOp>())
      return of(insert.getDest(), axis);
    if (OpFoldResult known = getKnownSize(tensor, axis))
      return known;
    return rewriter.createOrFold<tensor::DimOp>(loc, tensor, axis);
  }

private:
  template <typename Op>
  OpFoldResult fold(OpFoldResult x, OpFoldResult y, int64_t (*compute)(int64_t, int64_t),
                    std::optional<int64_t> neutral = {}) {
    std::optional<int64_t> xs = getConstantIntValue(x), ys = getConstantIntValue(y);
    if (xs && ys)
      return constant(compute(*xs, *ys));
    if (neutral && ys == neutral)
      return x;
    Value left = getValueOrCreateConstantIndexOp(rewriter, loc, x);
    Value right = getValueOrCreateConstantIndexOp(rewriter, loc, y);
    return rewriter.createOrFold<Op>(loc, left, right);
  }

  IRRewriter &rewriter;
  Location loc;
};

/// Whether one operation reads the elements, once. (A size is told by what is below.)
bool isReadOnce(Value tensor) {
  return llvm::count_if(tensor.getUses(), [](OpOperand &use) {
           return !isa<tensor::DimOp>(use.getOwner());
         }) == 1;
}

/// The one value that a kernel without inputs fills its out with.
Value fillOf(Value tensor) {
  auto kernel = tensor.getDefiningOp<KernelOp>();
  if (!kernel || kernel.getTime() || kernel.getNumResults() != 1 ||
      kernel.getStep().getOperations().size() != 1 || !kernel.getInputs().empty())
    return nullptr;
  Value value = kernel.getYield().getValues()[0];
  return value.getParentBlock() == &kernel.getStep() ? Value() : value;
}

/// The axis along which a part of a tensor is less than all of it; fails if there are several.
template <typename SliceOp>
FailureOr<std::optional<unsigned>> axisOf(SliceOp slice, Value whole, Sizes &sizes) {
  std::optional<unsigned> axis;
  for (auto [i, offset, size, stride] : llvm::enumerate(
           slice.getMixedOffsets(), slice.getMixedSizes(), slice.getMixedStrides())) {
    if (!isConstantIntValue(stride, 1))
      return failure();
    if (isConstantIntValue(offset, 0) && areEqualSizes(size, sizes.of(whole, i)))
      continue;
    if (axis)
      return failure();
    axis = i;
  }
  return axis;
}

/// Whether nothing lies behind [offset, offset + size) in `total`: size is max(total - k, 0) with
/// k = offset, as a Pad has it that takes off as much as it adds.
bool reachesEnd(OpFoldResult offset, OpFoldResult size, OpFoldResult total, Sizes &sizes) {
  std::optional<int64_t> at = getConstantIntValue(offset);
  auto value = dyn_cast_if_present<Value>(size);
  if (!at || !value)
    return false;
  auto least = value.getDefiningOp<arith::MaxSIOp>();
  if (!least || !matchPattern(least.getRhs(), m_Zero()))
    return false;
  auto sum = least.getLhs().getDefiningOp<arith::AddIOp>();
  APInt off;
  return sum && matchPattern(sum.getRhs(), m_ConstantInt(&off)) && -off.getSExtValue() == *at &&
         areEqualSizes(OpFoldResult(sum.getLhs()), total);
}

/// The pieces of a tensor that nothing but `tensor`'s one user reads.
FailureOr<Pieces> findPieces(Value tensor, Sizes &sizes) {
  Pieces found;
  auto agrees = [&](std::optional<unsigned> axis) {
    if (!axis || (found.axis && *found.axis != *axis))
      return false;
    found.axis = axis;
    return true;
  };
  tensor::ExtractSliceOp view = tensor.getDefiningOp<tensor::ExtractSliceOp>();
  if (view) {
    if (view.getSourceType().getRank() != view.getType().getRank() ||
        !isReadOnce(view.getSource()))
      return failure();
    auto axis = axisOf(view, view.getSource(), sizes);
    if (failed(axis) || !agrees(*axis))
      return failure();
    tensor = view.getSource();
  }
  Value root = tensor;
  SmallVector<tensor::InsertSliceOp> inserts;
  while (auto insert = root.getDefiningOp<tensor::InsertSliceOp>()) {
    if ((root != tensor && !isReadOnce(root)) || insert.getSourceType().getRank() != insert.getType().getRank())
      return failure();
    auto axis = axisOf(insert, insert.getDest(), sizes);
    if (failed(axis) || !agrees(*axis))
      return failure();
    inserts.push_back(insert);
    root = insert.getDest();
  }
  if (inserts.empty())
    return failure();
  unsigned axis = *found.axis;
  OpFoldResult zero = sizes.constant(0), total = sizes.of(root, axis);
  if (Value fill = fillOf(root)) {
    if (inserts.size() > 1)
      return failure();
    OpFoldResult low = inserts[0].getMixedOffsets()[axis], size = inserts[0].getMixedSizes()[axis];
    OpFoldResult high = sizes.add(low, size);
    if (!isConstantIntValue(low, 0))
      found.pieces.push_back({fill, zero, sizes.min(low, total), zero});
    if (!areEqualSizes(high, total) && !reachesEnd(low, size, total, sizes))
      found.pieces.push_back({fill, high, sizes.max(sizes.sub(total, high), zero), zero});
  } else if (!root.getDefiningOp<tensor::EmptyOp>()) {
    return failure();
  }
  for (tensor::InsertSliceOp insert : llvm::reverse(inserts)) {
    found.pieces.push_back({insert.getSource(), insert.getMixedOffsets()[axis],
                            insert.getMixedSizes()[axis], zero});
  }
  if (found.pieces.size() > kMaxPieces)
    return failure();
  if (view) {
    OpFoldResult offset = view.getMixedOffsets()[axis], size = view.getMixedSizes()[axis];
    for (Piece &piece : found.pieces) {
      OpFoldResult low = sizes.sub(piece.low, offset), high = sizes.add(low, piece.size);
      std::optional<int64_t> known = getConstantIntValue(low);
      OpFoldResult start = known && *known <= 0 ? zero : sizes.min(sizes.max(low, zero), size);
      piece.first = sizes.max(sizes.sub(start, low), zero); // below 0: nothing is read
      piece.low = start;
      piece.size = sizes.max(sizes.sub(sizes.min(high, size), start), zero);
    }
  }
  return found;
}

/// Whether the kernel computes each index of the loop by itself, and reads operands there.
bool isSeparate(KernelOp kernel, unsigned loop) {
  if (kernel.getTime() || kernel.getPadded())
    return false;
  LoopSet bit = loopBit(loop);
  KernelLoops loops(kernel);
  for (Operation &op : kernel.getStep().without_terminator()) {
    if (auto index = dyn_cast<IndexOp>(op); index && index.getLoop() == loop)
      return false;
    auto reduce = dyn_cast<ReduceOp>(op);
    if (!reduce)
      continue;
    // What is split would be read by each piece: weights of a product, say.
    if ((loopsOf(reduce.getLoops()) & bit) || reduce.getValue().getDefiningOp<arith::MulFOp>())
      return false;
  }
  for (unsigned i = 0; i < kernel.getMaps().size(); ++i)
    for (AffineExpr expr : kernel.getMap(i).getResults())
      if (expr.isFunctionOfDim(loop) && !isa<AffineDimExpr>(expr))
        return false;
  for (unsigned i = 0; i < kernel.getOuts().size(); ++i)
    if (!contains(loopsOf(kernel.getOutMap(i)), loop))
      return false;
  return true;
}

/// The axis of the operand that runs with the loop.
std::optional<unsigned> axisOf(AffineMap map, unsigned loop) {
  for (auto [axis, expr] : llvm::enumerate(map.getResults()))
    if (auto dim = dyn_cast<AffineDimExpr>(expr); dim && dim.getPosition() == loop)
      return axis;
  return std::nullopt;
}

struct Part {
  SmallVector<OpFoldResult> offsets, sizes, strides;
};

Part partOf(Value tensor, unsigned axis, OpFoldResult first, OpFoldResult size, Sizes &sizes) {
  Part part;
  for (unsigned i = 0; i < cast<RankedTensorType>(tensor.getType()).getRank(); ++i) {
    part.offsets.push_back(i == axis ? first : sizes.constant(0));
    part.sizes.push_back(i == axis ? size : sizes.of(tensor, i));
    part.strides.push_back(sizes.constant(1));
  }
  return part;
}

void sink(IRRewriter &rewriter, KernelOp kernel, Value whole, unsigned loop, const Pieces &found,
          Sizes &sizes) {
  Location loc = kernel.getLoc();
  SmallVector<Value> results(kernel.getOuts());
  for (const Piece &piece : found.pieces) {
    OpFoldResult size = piece.size;
    if (isConstantIntValue(size, 0))
      continue;
    SmallVector<Value> ins, outs;
    SmallVector<Attribute> maps;
    auto sliced = [&](Value tensor, unsigned axis, OpFoldResult first) -> Value {
      Part part = partOf(tensor, axis, first, size, sizes);
      if (isConstantIntValue(first, 0) &&
          areEqualSizes(size, sizes.of(tensor, axis)))
        return tensor;
      return tensor::ExtractSliceOp::create(rewriter, loc, tensor, part.offsets, part.sizes,
                                            part.strides);
    };
    for (auto [i, operand] : llvm::enumerate(kernel.getInputs())) {
      AffineMap map = kernel.getInputMap(i);
      std::optional<unsigned> axis = axisOf(map, loop);
      bool isScalar = operand == whole && !isa<RankedTensorType>(piece.source.getType());
      if (operand == whole)
        ins.push_back(isScalar ? piece.source : sliced(piece.source, *axis, piece.first));
      else
        ins.push_back(axis ? sliced(operand, *axis, piece.low) : operand);
      maps.push_back(AffineMapAttr::get(
          isScalar ? AffineMap::get(map.getNumDims(), 0, map.getContext()) : map));
    }
    for (auto [i, out] : llvm::enumerate(kernel.getOuts())) {
      Part part = partOf(out, *axisOf(kernel.getOutMap(i), loop), piece.low, size, sizes);
      outs.push_back(tensor::EmptyOp::create(
          rewriter, loc, part.sizes, cast<RankedTensorType>(out.getType()).getElementType()));
      maps.push_back(AffineMapAttr::get(kernel.getOutMap(i)));
    }
    auto part = KernelOp::create(rewriter, loc, ValueRange(outs).getTypes(),
                                 rewriter.getI64IntegerAttr(kernel.getNumLoops()), IntegerAttr(),
                                 ins, ValueRange(), outs, rewriter.getArrayAttr(maps),
                                 rewriter.getDenseBoolArrayAttr({}), TransitionAttr(),
                                 ConfigAttr());
    part->setDiscardableAttrs(llvm::to_vector(kernel->getDiscardableAttrs()));
    IRMapping mapping;
    kernel.getBody().cloneInto(&part.getBody(), mapping);
    for (auto [i, result] : llvm::enumerate(results)) {
      Part place = partOf(result, *axisOf(kernel.getOutMap(i), loop), piece.low, size, sizes);
      result = tensor::InsertSliceOp::create(rewriter, loc, part.getResult(i), result,
                                             place.offsets, place.sizes, place.strides);
    }
  }
  remark::passed(loc, remark::RemarkOpts::name("Split").category("fuse"))
      << "the pieces of a Concat or Pad are read where they lie";
  rewriter.replaceOp(kernel, results);
}

/// Whether other operands than `whole` tell the sizes of all loops: a scalar in its place does not.
bool isSizedWithout(KernelOp kernel, Value whole) {
  SmallVector<AffineMap> maps;
  for (unsigned i = 0; i < kernel.getMaps().size(); ++i)
    if (i >= kernel.getInputs().size() || kernel.getInputs()[i] != whole)
      maps.push_back(kernel.getMap(i));
  return haveSizes(kernel.getNumLoops(), maps);
}

bool sinkInto(IRRewriter &rewriter, KernelOp kernel) {
  for (unsigned i = 0; i < kernel.getInputs().size(); ++i) {
    Value tensor = kernel.getInputs()[i];
    if (!isa_and_present<tensor::InsertSliceOp, tensor::ExtractSliceOp>(tensor.getDefiningOp()) ||
        !llvm::all_of(tensor.getUsers(), [&](Operation *user) {
          return user == kernel || isa<tensor::DimOp>(user);
        }))
      continue;
    rewriter.setInsertionPoint(kernel);
    Sizes sizes(rewriter, kernel.getLoc());
    FailureOr<Pieces> found = findPieces(tensor, sizes);
    if (failed(found))
      continue;
    auto dim = dyn_cast<AffineDimExpr>(kernel.getInputMap(i).getResult(*found->axis));
    if (!dim || !isSeparate(kernel, dim.getPosition()))
      continue;
    bool isAlike = llvm::all_of(llvm::seq<unsigned>(0, kernel.getInputs().size()), [&](unsigned k) {
      return kernel.getInputs()[k] != tensor ||
             kernel.getInputMap(k).getResult(*found->axis) == dim;
    });
    bool hasFill = llvm::any_of(found->pieces, [](const Piece &piece) {
      return !isa<RankedTensorType>(piece.source.getType());
    });
    if (!isAlike || (hasFill && !isSizedWithout(kernel, tensor)))
      continue;
    sink(rewriter, kernel, tensor, dim.getPosition(), *found, sizes);
    return true;
  }
  return false;
}
} // namespace

bool ssm::sinkConcats(IRRewriter &rewriter, Block &block) {
  bool changed = false;
  for (KernelOp kernel : llvm::make_early_inc_range(block.getOps<KernelOp>()))
    changed |= sinkInto(rewriter, kernel);
  return changed;
}
