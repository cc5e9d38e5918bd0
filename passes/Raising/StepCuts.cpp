//===- StepCuts.cpp - Where a step's tensors are cut ----------------------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "passes/Raising/StepCuts.h"

#include "dialects/SSM/KernelLoops.h"
#include "dialects/SSM/KernelViews.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

using namespace mlir;
using namespace ssm;

/// The most parts of an axis: each is a carry, or a copy of what is computed of it.
static constexpr size_t kMostParts = 16;

void Cuts::add(Value tensor, int64_t axis, int64_t at) {
  auto type = cast<RankedTensorType>(tensor.getType());
  if (tensor.getParentRegion() != &scan.getBody() || type.isDynamicDim(axis) || at <= 0 ||
      at >= type.getDimSize(axis))
    return;
  Place &place = places.insert({tensor, {axis, {}}}).first->second;
  failed |= place.axis != axis || place.at.size() >= kMostParts;
  changed |= !failed && place.at.insert(at).second;
}

/// Between `low` and `high` of a, b is cut where a is, `offset` before.
void Cuts::relate(Value a, int64_t axisA, Value b, int64_t axisB, int64_t offset, int64_t low,
                  int64_t high) {
  auto placesOf = [&](Value tensor, int64_t axis) {
    return axisOf(tensor) == axis ? places.find(tensor)->second.at : std::set<int64_t>();
  };
  for (int64_t at : placesOf(a, axisA))
    if (at > low && at < high)
      add(b, axisB, at - offset);
  for (int64_t at : placesOf(b, axisB))
    if (at + offset > low && at + offset < high)
      add(a, axisA, at + offset);
}

template <typename SliceOp> void Cuts::visitSlice(SliceOp op, Value whole, Value part) {
  for (int64_t axis = 0; axis < cast<RankedTensorType>(whole.getType()).getRank(); ++axis) {
    std::optional<Span> span = spanOf(op, axis);
    if (!span)
      continue;
    add(whole, axis, span->low);
    add(whole, axis, span->high);
    if (int64_t inPart = axisInPart(op, axis); inPart >= 0)
      relate(whole, axis, part, inPart, span->low, span->low, span->high);
  }
}

int64_t Cuts::unitAxisOf(BlockArgument carry) const {
  if (carry.getOwner() != &step() || carry.getArgNumber() >= ScanOp(scan).getCarries().size() ||
      axisOf(carry) >= 0)
    return -1;
  for (Operation *user : carry.getUsers())
    if (auto insert = dyn_cast<tensor::InsertSliceOp>(user);
        insert && axisOf(insert.getResult()) >= 0)
      if (int64_t axis = axisInPart(insert, axisOf(insert.getResult()));
          axis >= 0 && cast<RankedTensorType>(carry.getType()).getDimSize(axis) == 1)
        return axis;
  return -1;
}

void Cuts::visitKernel(KernelOp kernel) {
  for (unsigned loop = 0; loop < kernel.getNumLoops(); ++loop) {
    Value first;
    int64_t firstAxis = 0;
    auto meet = [&](Value tensor, AffineMap map) {
      for (auto [axis, expr] : llvm::enumerate(map.getResults())) {
        if (expr != getAffineDimExpr(loop, kernel.getContext()))
          continue;
        if (first)
          relate(first, firstAxis, tensor, axis);
        else if (tensor.getParentRegion() == &scan.getBody())
          first = tensor, firstAxis = axis;
      }
    };
    for (unsigned i = 0; i < kernel.getInputs().size(); ++i)
      if (isa<RankedTensorType>(kernel.getInputs()[i].getType()))
        meet(kernel.getInputs()[i], kernel.getInputMap(i));
    for (unsigned i = 0; i < kernel.getNumResults(); ++i)
      meet(kernel.getResult(i), kernel.getOutMap(i));
  }
}

void Cuts::visit(Operation &op) {
  if (auto slice = dyn_cast<tensor::ExtractSliceOp>(op)) {
    visitSlice(slice, slice.getSource(), slice.getResult());
  } else if (auto insert = dyn_cast<tensor::InsertSliceOp>(op)) {
    visitSlice(insert, insert.getResult(), insert.getSource());
    for (int64_t axis = 0; axis < insert.getType().getRank(); ++axis)
      relate(insert.getResult(), axis, insert.getDest(), axis);
  } else if (auto kernel = dyn_cast<KernelOp>(op)) {
    visitKernel(kernel);
  } else if (isa<YieldOp>(op)) {
    for (auto [value, carry] :
         llvm::zip(op.getOperands(), step().getArguments().take_front(scan.getCarries().size())))
      for (int64_t axis = 0; axis < cast<RankedTensorType>(carry.getType()).getRank(); ++axis)
        relate(value, axis, carry, axis);
  }
}

/// Whether the size is that of the tensor's axis. Carries keep theirs.
bool Cuts::isAll(OpFoldResult size, Value tensor, int64_t axis) {
  auto arg = dyn_cast<BlockArgument>(tensor);
  if (arg && arg.getOwner() == &step()) {
    unsigned number = arg.getArgNumber(), numCarries = scan.getCarries().size();
    if (number < numCarries)
      tensor = scan.getCarries()[number];
    else if (number -= numCarries; true)
      tensor = scan.getInputs()[number], axis += axis >= scan.getInputAxes()[number];
  }
  return isSizeOf(size, tensor, axis);
}

std::set<int64_t> Cuts::placesIn(Value tensor) const {
  auto it = places.find(tensor);
  return it == places.end() ? std::set<int64_t>() : it->second.at;
}

template <typename SliceOp> bool Cuts::canFollowSlice(SliceOp op, Value whole, Value part) {
  int64_t cut = axisOf(whole);
  std::optional<Span> span = cut < 0 ? std::nullopt : spanOf(op, cut);
  if (!span)
    return false;
  // The slice is a number of parts, and cut where these meet.
  std::set<int64_t> all = placesIn(whole), inside;
  int64_t size = cast<RankedTensorType>(whole.getType()).getDimSize(cut);
  for (int64_t end : {span->low, span->high})
    if (end != 0 && end != size && !all.count(end))
      return false;
  for (int64_t at : all)
    if (at > span->low && at < span->high)
      inside.insert(at - span->low);
  if (inside != placesIn(part))
    return false;
  if (int64_t inPart = axisOf(part); inPart >= 0 && inPart != axisInPart(op, cut))
    return false;
  llvm::SmallBitVector dropped = op.getDroppedDims();
  for (int64_t axis = 0; axis < cast<RankedTensorType>(whole.getType()).getRank(); ++axis)
    if (axis != cut &&
        (dropped.test(axis) || getConstantIntValue(op.getMixedOffsets()[axis]) != 0 ||
         getConstantIntValue(op.getMixedStrides()[axis]) != 1 ||
         !isAll(op.getMixedSizes()[axis], whole, axis)))
      return false;
  return true;
}

std::optional<std::pair<unsigned, Value>> Cuts::loopOf(KernelOp kernel) const {
  using Found = std::optional<std::pair<unsigned, Value>>;
  auto loopAt = [&](Value tensor, AffineMap map) -> Found {
    int64_t axis = axisOf(tensor);
    if (axis < 0)
      return std::nullopt;
    auto dim = dyn_cast<AffineDimExpr>(map.getResult(axis));
    return dim ? Found({dim.getPosition(), tensor}) : std::nullopt;
  };
  for (unsigned i = 0; i < kernel.getInputs().size(); ++i)
    if (auto loop = loopAt(kernel.getInputs()[i], kernel.getInputMap(i)))
      return loop;
  for (unsigned i = 0; i < kernel.getNumResults(); ++i)
    if (auto loop = loopAt(kernel.getResult(i), kernel.getOutMap(i)))
      return loop;
  return std::nullopt;
}

bool Cuts::canFollowKernel(KernelOp kernel) {
  auto found = loopOf(kernel);
  if (!found || kernel.getTime())
    return false;
  unsigned loop = found->first;
  AffineExpr own = getAffineDimExpr(loop, kernel.getContext());
  auto isPlain = [&](Value tensor, AffineMap map) {
    bool isOutside = tensor.getParentRegion() != &scan.getBody();
    if (axisOf(tensor) >= 0 && placesIn(tensor) != placesIn(found->second))
      return false;
    for (auto [axis, expr] : llvm::enumerate(map.getResults()))
      if ((expr.isFunctionOfDim(loop) && expr != own) ||
          (!isOutside && (expr == own) != (axisOf(tensor) == static_cast<int64_t>(axis))))
        return false;
    return llvm::count(map.getResults(), own) <= 1;
  };
  for (unsigned i = 0; i < kernel.getInputs().size(); ++i)
    if (!isPlain(kernel.getInputs()[i], kernel.getInputMap(i)))
      return false;
  bool isResult = kernel.getOutMap(0).isFunctionOfDim(loop);
  for (unsigned i = 0; i < kernel.getNumResults(); ++i)
    if (!isPlain(kernel.getResult(i), kernel.getOutMap(i)) ||
        kernel.getOutMap(i).isFunctionOfDim(loop) != isResult ||
        !kernel.getOuts()[i].getDefiningOp<tensor::EmptyOp>())
      return false;
  // Either all results have the loop, or one sum leaves it.
  unsigned sums = llvm::count_if(kernel.getStep().getOps<ReduceOp>(), [&](ReduceOp reduce) {
    return contains(loopsOf(reduce.getLoops()), loop);
  });
  return sums == (isResult ? 0 : 1);
}

/// Whether the operation can be done in parts.
bool Cuts::canFollow(Operation &op) {
  auto isCut = [&](Value value) { return axisOf(value) >= 0; };
  WalkResult captured = op.walk([&](Operation *inner) {
    return inner != &op && llvm::any_of(inner->getOperands(), isCut) ? WalkResult::interrupt()
                                                                     : WalkResult::advance();
  });
  if (captured.wasInterrupted())
    return false;
  if (llvm::none_of(op.getOperands(), isCut) && llvm::none_of(op.getResults(), isCut))
    return true;
  if (auto slice = dyn_cast<tensor::ExtractSliceOp>(op))
    return canFollowSlice(slice, slice.getSource(), slice.getResult());
  if (auto insert = dyn_cast<tensor::InsertSliceOp>(op))
    return canFollowSlice(insert, insert.getResult(), insert.getSource()) &&
           (insert.getDest().getParentRegion() != &scan.getBody() ||
            (axisOf(insert.getDest()) == axisOf(insert.getResult()) &&
             placesIn(insert.getDest()) == placesIn(insert.getResult())));
  if (auto kernel = dyn_cast<KernelOp>(op))
    return canFollowKernel(kernel);
  if (isa<YieldOp>(op))
    return llvm::all_of(step().getArguments().take_front(scan.getCarries().size()),
                        [&](BlockArgument carry) {
                          Value next = op.getOperand(carry.getArgNumber());
                          return axisOf(carry) == axisOf(next) &&
                                 placesIn(carry) == placesIn(next);
                        });
  return isa<tensor::EmptyOp, tensor::DimOp>(op);
}

bool Cuts::find() {
  do {
    changed = false;
    for (Operation &op : step())
      visit(op);
  } while (changed && !failed);
  return !failed && !places.empty() &&
         llvm::all_of(step(), [&](Operation &op) { return canFollow(op); });
}

SmallVector<std::pair<int64_t, int64_t>> Cuts::partsOf(Value tensor) const {
  const Place &place = places.find(tensor)->second;
  SmallVector<std::pair<int64_t, int64_t>> parts;
  int64_t low = 0;
  auto end = [&](int64_t at) {
    parts.push_back({low, at - low});
    low = at;
  };
  for (int64_t at : place.at)
    end(at);
  end(cast<RankedTensorType>(tensor.getType()).getDimSize(place.axis));
  return parts;
}
