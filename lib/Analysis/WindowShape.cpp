//===- WindowShape.cpp - Sums over windows among kernels ------------------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "lib/Analysis/WindowShape.h"

#include "lib/Analysis/KernelShape.h"
#include "lib/Analysis/MatmulShape.h"

using namespace mlir;
using namespace ssm;

/// Taps that are written out: those along the lanes, and these times those of the rows.
static constexpr int64_t kMaxLaneTaps = 16, kMaxTaps = 64;
/// Elements of so many vectors are shuffled into one.
static constexpr int64_t kMaxStride = 4;

const WindowAxis *Window::axisOf(unsigned position) const {
  for (const WindowAxis &axis : axes)
    if (axis.position == position)
      return &axis;
  return nullptr;
}

/// Adds `factor` times the expression to one factor for each loop and a constant.
static bool addLinear(AffineExpr expr, int64_t factor, MutableArrayRef<int64_t> factors,
                      int64_t &constant) {
  if (auto number = dyn_cast<AffineConstantExpr>(expr)) {
    constant += factor * number.getValue();
    return true;
  }
  if (auto dim = dyn_cast<AffineDimExpr>(expr)) {
    factors[dim.getPosition()] += factor;
    return true;
  }
  auto binary = dyn_cast<AffineBinaryOpExpr>(expr);
  if (!binary)
    return false;
  if (expr.getKind() == AffineExprKind::Add)
    return addLinear(binary.getLHS(), factor, factors, constant) &&
           addLinear(binary.getRHS(), factor, factors, constant);
  auto number = dyn_cast<AffineConstantExpr>(binary.getRHS());
  return expr.getKind() == AffineExprKind::Mul && number &&
         addLinear(binary.getLHS(), factor * number.getValue(), factors, constant);
}

static std::optional<WindowAxis> matchAxis(KernelOp kernel, AffineExpr expr, unsigned axis,
                                           LoopSet reduced) {
  SmallVector<int64_t> factors(kernel.getNumLoops());
  WindowAxis found{axis, 0, std::nullopt};
  if (!addLinear(expr, 1, factors, found.begin) || found.begin > 0 ||
      (found.begin < 0 && !kernel.getPadded()))
    return std::nullopt;
  bool hasPosition = false;
  for (auto [loop, factor] : llvm::enumerate(factors)) {
    if (factor == 0)
      continue;
    bool isTap = contains(reduced, loop);
    if (factor < 0 || (isTap ? found.tap.has_value() : hasPosition))
      return std::nullopt;
    if (isTap) {
      found.tap = loop;
      found.dilation = factor;
    } else {
      found.position = loop;
      found.stride = factor;
      hasPosition = true;
    }
  }
  return hasPosition ? std::optional(found) : std::nullopt;
}

/// The input's axes, or nothing if some index is neither a loop, nor fixed, nor a window's.
static std::optional<SmallVector<WindowAxis>> matchAxes(KernelOp kernel, unsigned input,
                                                        unsigned lane, LoopSet reduced) {
  SmallVector<WindowAxis> axes;
  AffineMap map = kernel.getInputMap(input);
  LoopSet positions = 0;
  for (auto [axis, expr] : llvm::enumerate(map.getResults())) {
    bool isLast = axis + 1 == map.getNumResults();
    if (!isLast && isa<AffineConstantExpr>(expr))
      continue;
    auto found = matchAxis(kernel, expr, axis, reduced);
    if (auto dim = dyn_cast<AffineDimExpr>(expr); dim && !isLast) {
      // A loop is one index of the image.
      if (contains(positions, dim.getPosition()) || dim.getPosition() == lane)
        return std::nullopt;
      positions |= loopBit(dim.getPosition());
      continue;
    }
    if (!found || (found->position == lane) != isLast || contains(positions, found->position) ||
        (found->tap && contains(positions, *found->tap)))
      return std::nullopt;
    positions |= loopBit(found->position);
    if (found->tap)
      positions |= loopBit(*found->tap);
    axes.push_back(*found);
  }
  return axes;
}

std::optional<Window> ssm::matchWindow(KernelOp kernel, int64_t lanes) {
  if (kernel.getTime() || !isVectorizable(kernel) || kernel.getOuts().empty())
    return std::nullopt;
  auto reduces = llvm::to_vector(kernel.getStep().getOps<ReduceOp>());
  if (reduces.size() != 1)
    return std::nullopt;
  Window window;
  window.reduce = reduces.front();
  LoopSet all = 0, reduced = loopsOf(window.reduce.getLoops());
  for (unsigned loop = 0; loop < kernel.getNumLoops(); ++loop)
    all |= loopBit(loop);
  AffineMap first = kernel.getOutMap(0);
  if (first.getNumResults() == 0)
    return std::nullopt;
  auto lane = dyn_cast<AffineDimExpr>(first.getResults().back());
  if (!lane || !canBeLaneLoop(kernel, lane.getPosition(), lanes))
    return std::nullopt;
  window.lane = lane.getPosition();
  for (unsigned i = 0; i < kernel.getOuts().size(); ++i)
    if (loopsOf(kernel.getOutMap(i)) != (all & ~reduced) ||
        !isDenseAlong(kernel.getOutMap(i), window.lane))
      return std::nullopt;

  // The only input of the sum that has the lane loop.
  SmallVector<unsigned> wide;
  for (unsigned input : inputsOf(kernel, window.reduce.getValue()))
    if (kernel.getInputMap(input).isFunctionOfDim(window.lane))
      wide.push_back(input);
  if (wide.size() != 1)
    return std::nullopt;
  window.input = wide.front();
  // A point of the sum is computed where its window begins, and by vectors.
  bool readsByIndex = llvm::any_of(kernel.getStep(), [](Operation &op) {
    return isa<IndexOp>(op) || getIndexedRead(&op).has_value();
  });
  auto axes = matchAxes(kernel, window.input, window.lane, reduced);
  if (readsByIndex || !axes || axes->empty() || axes->back().position != window.lane ||
      isa<AffineConstantExpr>(kernel.getInputMap(window.input).getResults().back()))
    return std::nullopt;
  for (unsigned input = 0; input < kernel.getInputs().size(); ++input)
    if (input != window.input && kernel.getPadded() && mayLeadOutside(kernel.getInputMap(input)))
      return std::nullopt;
  window.axes = std::move(*axes);
  const WindowAxis &last = window.laneAxis();
  auto tapsOf = [&](const WindowAxis &axis) { return axis.tap ? fixedSize(kernel, *axis.tap) : 1; };
  int64_t taps = tapsOf(last);
  bool moves = llvm::any_of(window.axes, [](const WindowAxis &axis) {
    return axis.tap || axis.stride > 1 || axis.begin < 0;
  });
  if (!moves || taps < 1 || taps > kMaxLaneTaps || last.stride > kMaxStride)
    return std::nullopt;

  for (AffineExpr expr : first.getResults())
    if (auto dim = dyn_cast<AffineDimExpr>(expr); dim && dim.getPosition() != window.lane)
      window.outer.push_back(dim.getPosition());
  if (window.outer.empty())
    return window;
  if (const WindowAxis *axis = window.axisOf(window.outer.back())) {
    int64_t rowTaps = tapsOf(*axis);
    if (rowTaps >= 1 && rowTaps * taps <= kMaxTaps)
      window.row = window.outer.pop_back_val();
  }
  return window;
}
