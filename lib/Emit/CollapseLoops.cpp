//===- CollapseLoops.cpp - Loops of a kernel that are one in memory ------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "lib/Emit/CollapseLoops.h"

#include "dialects/SSM/KernelLoops.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Arith/Utils/Utils.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/Utils/ReshapeOpsUtils.h"
#include <numeric>

using namespace mlir;
using namespace ssm;

namespace {

/// A buffer whose axes are put together in groups, each with one index.
struct Operand {
  Value buffer;
  SmallVector<AffineExpr> indices;
  SmallVector<ReassociationIndices> axes;

  bool canCollapse(ArrayRef<ReassociationIndices> groups) const {
    return memref::CollapseShapeOp::isGuaranteedCollapsible(cast<MemRefType>(buffer.getType()),
                                                            groups);
  }

  /// Whether the buffer is a part of a plain one whose axes can be put together first: it has all
  /// of each but a group's outermost. Its type does not tell that.
  bool canCollapseSource(ArrayRef<ReassociationIndices> groups) const {
    auto view = buffer.getDefiningOp<memref::SubViewOp>();
    if (!view || !view.getSourceType().getLayout().isIdentity() || !view.hasUnitStride() ||
        view.getSourceType().getRank() != view.getType().getRank())
      return false;
    auto isWhole = [&](int64_t axis) {
      if (!isConstantIntValue(view.getMixedOffsets()[axis], 0))
        return false;
      OpFoldResult size = view.getMixedSizes()[axis];
      int64_t all = view.getSourceType().getDimSize(axis);
      if (!ShapedType::isDynamic(all))
        return isConstantIntValue(size, all);
      auto value = dyn_cast<Value>(size);
      auto dim = value ? value.getDefiningOp<memref::DimOp>() : memref::DimOp();
      return dim && dim.getSource() == view.getSource() && dim.getConstantIndex() == axis;
    };
    return llvm::all_of(groups, [&](const ReassociationIndices &group) {
      return llvm::all_of(ArrayRef(group).drop_front(), isWhole);
    });
  }

  /// The buffer with its axes put together.
  Value collapsed(ImplicitLocOpBuilder &b) const {
    if (canCollapse(axes))
      return memref::CollapseShapeOp::create(b, buffer, axes);
    auto view = buffer.getDefiningOp<memref::SubViewOp>();
    Value source = memref::CollapseShapeOp::create(b, view.getSource(), axes);
    SmallVector<OpFoldResult> offsets, sizes, strides(axes.size(), b.getIndexAttr(1));
    for (const ReassociationIndices &group : axes) {
      OpFoldResult offset = view.getMixedOffsets()[group.front()],
                   size = view.getMixedSizes()[group.front()];
      for (int64_t axis : ArrayRef(group).drop_front()) {
        offset = times(b, offset, view.getMixedSizes()[axis]);
        size = times(b, size, view.getMixedSizes()[axis]);
      }
      offsets.push_back(offset);
      sizes.push_back(size);
    }
    return memref::SubViewOp::create(b, source, offsets, sizes, strides);
  }

  static OpFoldResult times(ImplicitLocOpBuilder &b, OpFoldResult x, OpFoldResult y) {
    std::optional<int64_t> one = getConstantIntValue(x), other = getConstantIntValue(y);
    if (one && (other || *one == 0))
      return b.getIndexAttr(*one == 0 ? 0 : *one * *other);
    return b.createOrFold<arith::MulIOp>(getValueOrCreateConstantIndexOp(b, b.getLoc(), x),
                                         getValueOrCreateConstantIndexOp(b, b.getLoc(), y));
  }

  bool uses(unsigned loop) const {
    return llvm::any_of(indices, [&](AffineExpr e) { return e.isFunctionOfDim(loop); });
  }

  /// Puts group `i + 1` into group `i` under the index `index`; false, and nothing
  /// done, where memory has a gap.
  bool join(unsigned i, AffineExpr index) {
    SmallVector<ReassociationIndices> joined(axes);
    llvm::append_range(joined[i], joined[i + 1]);
    joined.erase(joined.begin() + i + 1);
    auto type = cast<MemRefType>(buffer.getType());
    if (!canCollapse(joined) && !canCollapseSource(joined))
      return false;
    // Upstream takes an open size times 0 for 0, and then for a mistake.
    auto sizeIs = [&](bool (*property)(int64_t)) {
      return llvm::any_of(joined[i], [&](int64_t axis) { return property(type.getDimSize(axis)); });
    };
    if (sizeIs(ShapedType::isDynamic) && sizeIs([](int64_t size) { return size == 0; }))
      return false;
    axes = std::move(joined);
    indices[i] = index;
    indices.erase(indices.begin() + i + 1);
    return true;
  }

  bool isUnit(unsigned i) const {
    return isa<AffineConstantExpr>(indices[i]) && llvm::all_of(axes[i], [&](int64_t axis) {
             return cast<MemRefType>(buffer.getType()).getDimSize(axis) == 1;
           });
  }

  /// Axes of size 1 go into their neighbours.
  void joinUnitAxes() {
    for (unsigned i = 0; i + 1 < indices.size();)
      if ((!isUnit(i) && !isUnit(i + 1)) || !join(i, isUnit(i) ? indices[i + 1] : indices[i]))
        ++i;
  }

  /// Where `inner` follows `outer` as an index by itself, and neither occurs again.
  std::optional<unsigned> placeOf(unsigned outer, unsigned inner) const {
    std::optional<unsigned> place;
    for (unsigned i = 0; i < indices.size(); ++i) {
      if (!indices[i].isFunctionOfDim(outer) && !indices[i].isFunctionOfDim(inner))
        continue;
      auto first = dyn_cast<AffineDimExpr>(indices[i]);
      AffineExpr next = i + 1 < indices.size() ? indices[i + 1] : AffineExpr();
      auto second = dyn_cast_or_null<AffineDimExpr>(next);
      if (place || !first || !second || first.getPosition() != outer ||
          second.getPosition() != inner)
        return std::nullopt;
      place = i++;
    }
    return place;
  }
};

/// Whether nothing in the region tells the loops apart.
bool areAlikeInRegion(KernelOp kernel, unsigned outer, unsigned inner) {
  for (Operation &op : kernel.getStep()) {
    if (auto index = dyn_cast<ssm::IndexOp>(op))
      if (index.getLoop() == outer || index.getLoop() == inner)
        return false;
    if (auto reduce = dyn_cast<ReduceOp>(op)) {
      LoopSet over = loopsOf(reduce.getLoops());
      if (contains(over, outer) != contains(over, inner))
        return false;
    }
  }
  return true;
}

bool collapse(MutableArrayRef<Operand> operands, unsigned outer, unsigned inner) {
  SmallVector<Operand> changed(operands);
  for (Operand &operand : changed) {
    if (!operand.uses(outer) && !operand.uses(inner))
      continue;
    std::optional<unsigned> place = operand.placeOf(outer, inner);
    if (!place || !operand.join(*place, operand.indices[*place]))
      return false;
  }
  llvm::move(changed, operands.begin());
  return true;
}

} // namespace

void ssm::collapseLoops(KernelOp kernel, ImplicitLocOpBuilder &b) {
  SmallVector<Value> buffers(kernel.getInputs());
  llvm::append_range(buffers, kernel.getOuts());
  SmallVector<Operand> operands;
  for (auto [i, buffer] : llvm::enumerate(buffers)) {
    Operand operand = {buffer, llvm::to_vector(kernel.getMap(i).getResults()), {}};
    for (int64_t axis = 0; axis < static_cast<int64_t>(operand.indices.size()); ++axis)
      operand.axes.push_back({axis});
    operand.joinUnitAxes();
    operands.push_back(std::move(operand));
  }

  unsigned numLoops = kernel.getNumLoops();
  SmallVector<unsigned> into(numLoops); // the loop that each became a part of
  std::iota(into.begin(), into.end(), 0);
  for (bool changed = true; changed;) {
    changed = false;
    for (unsigned outer = 0; outer < numLoops; ++outer)
      for (unsigned inner = 0; inner < numLoops; ++inner)
        if (outer != inner && into[outer] == outer && into[inner] == inner &&
            areAlikeInRegion(kernel, outer, inner) && collapse(operands, outer, inner)) {
          llvm::replace(into, inner, outer);
          changed = true;
        }
  }

  // New numbers, in the old order.
  SmallVector<unsigned> number(numLoops);
  unsigned count = 0;
  for (unsigned loop = 0; loop < numLoops; ++loop)
    if (into[loop] == loop)
      number[loop] = count++;
  SmallVector<AffineExpr> renamed;
  for (unsigned loop = 0; loop < numLoops; ++loop)
    renamed.push_back(b.getAffineDimExpr(number[into[loop]]));

  SmallVector<Value> inputs, outs;
  SmallVector<Attribute> maps;
  for (auto [i, operand] : llvm::enumerate(operands)) {
    Value buffer = operand.buffer;
    auto type = dyn_cast<MemRefType>(buffer.getType());
    if (type && operand.axes.size() < static_cast<size_t>(type.getRank()))
      buffer = operand.collapsed(b);
    (i < kernel.getInputs().size() ? inputs : outs).push_back(buffer);
    for (AffineExpr &index : operand.indices)
      index = index.replaceDims(renamed);
    maps.push_back(AffineMapAttr::get(AffineMap::get(count, 0, operand.indices, b.getContext())));
  }
  kernel.getInputsMutable().assign(inputs);
  kernel.getOutsMutable().assign(outs);
  kernel.setMapsAttr(b.getArrayAttr(maps));
  kernel.setLoops(count);
  if (std::optional<ConfigAttr> config = kernel.getConfig(); config && numLoops > 0)
    kernel.setConfigAttr(ConfigAttr::get(b.getContext(), config->getForm(),
                                         number[into[config->getLaneLoop()]], config->getLanes(),
                                         config->getTiles()));
  for (Operation &op : kernel.getStep()) {
    if (auto index = dyn_cast<ssm::IndexOp>(op))
      index.setLoop(number[index.getLoop()]);
    if (auto reduce = dyn_cast<ReduceOp>(op)) {
      SmallVector<int64_t> over;
      for (int64_t loop : reduce.getLoops())
        if (into[loop] == loop)
          over.push_back(number[loop]);
      reduce.setLoops(over);
    }
  }
}
