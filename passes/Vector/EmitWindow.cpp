//===- EmitWindow.cpp - Sums over windows of an image ---------------------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Convolutions whose channels do not mix, and others of few features. Lanes lie along the
// image's rows, taps are written out, some rows (or vectors of one) side by side share what they
// read. Vectors whose windows hang over the edge are masked, rows whose windows do run over
// the taps that exist: the image is read where it lies.
//
//===----------------------------------------------------------------------===//

#include "passes/Vector/EmitKernels.h"

#include "lib/Analysis/WindowShape.h"
#include "lib/Emit/PointEmitter.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/IR/TypeUtilities.h"
#include "passes/Vector/RowPlan.h"

using namespace mlir;
using namespace ssm;

namespace {

/// What a piece of a parallel loop should take at least, in cycles, roughly.
constexpr int64_t kPieceCost = 75000;
/// Rows of an image, or vectors where there are no rows, that are one item of the parallel
/// loop: their part of the image stays in the first-level cache from vector to vector.
constexpr int64_t kItemRows = 64;
constexpr int64_t kItemVectors = 64;
/// Sums of a single row that hide the latency of each other's additions.
constexpr int64_t kChains = 4;

class WindowEmitter {
public:
  WindowEmitter(KernelOp kernel, const Window &window, ImplicitLocOpBuilder &b)
      : kernel(kernel), window(window), b(b), lanes(kernel.getConfig()->getLanes()),
        e(kernel, b, window.lane, lanes), image(kernel.getInputs()[window.input]),
        isPadded(kernel.getPadded()) {
    ArrayRef<int64_t> tiles = kernel.getConfig()->getTiles();
    sideRows = window.row && tiles.size() > 0 ? tiles[0] : 1;
    sideVectors = !window.row && tiles.size() > 1 ? tiles[1] : 1;
  }

  void emit();

private:
  using Sums = SmallVector<Value>;

  /// Points that are computed side by side: rows from where the emitter is, or vectors.
  struct Side {
    int64_t rows = 1, vectors = 1;
    /// Whether vectors hang over an edge, or end behind the outs.
    bool isMasked = false;
    /// Of a single row, the taps along rows that exist; null: all, written out.
    Value firstTap, lastTap;

    int64_t size() const { return rows * vectors; }
  };

  /// A loop around the taps that are written out, over a loop of the reduction, or once or never
  /// for an axis without taps.
  struct OuterTaps {
    std::optional<unsigned> loop;
    const WindowAxis *axis = nullptr;
  };

  void emitItem(Value low, Value high);
  void emitVectors(int64_t vectors, bool isMasked, Value low, Value high);
  void emitBlock(const Side &block);
  Sums sumOuter(ArrayRef<OuterTaps> around, const Side &block, Sums sums);
  Sums sumTaps(const Side &block, Sums sums);
  void placeWindow();
  void hoistWeights();
  Value loadPart(Value index, int64_t part, const Side &block);
  Value lanesInside(int64_t offset);
  Value elements(Value row, int64_t vector, int64_t tap, const Side &block);
  std::pair<Value, Value> tapsInside(const WindowAxis &axis);
  SmallVector<OuterTaps> outerTaps();

  const WindowAxis *rowAxis() { return window.row ? window.axisOf(*window.row) : nullptr; }
  int64_t tapsOf(const WindowAxis *axis) {
    return axis && axis->tap ? e.fixedSize(*axis->tap) : 1;
  }
  Value imageSize(const WindowAxis &axis) {
    return b.createOrFold<memref::DimOp>(image, static_cast<int64_t>(axis.axis));
  }
  Value max(Value x, Value y) { return b.createOrFold<arith::MaxSIOp>(x, y); }
  Value min(Value x, Value y) { return b.createOrFold<arith::MinSIOp>(x, y); }
  Value ceilDiv(Value x, int64_t by) { return e.ceilDiv(x, by); }
  /// position * stride + begin of an axis; negative in front of the image.
  Value windowBegin(const WindowAxis &axis) {
    return e.add(e.mul(e.at[axis.position], e.index(axis.stride)), axis.begin);
  }

  KernelOp kernel;
  Window window;
  ImplicitLocOpBuilder &b;
  int64_t lanes;
  PointEmitter e;
  Value image;
  bool isPadded;
  int64_t sideRows, sideVectors;
  /// The indices of a window's first element.
  SmallVector<Value> place;
  /// Where the vector's windows begin along the lanes, and the size there.
  Value laneBegin, laneSize;
  /// What the sum needs and is the same for all positions of an item, by tap of row and lane.
  std::vector<llvm::DenseMap<Value, Value>> weights;
  /// Parts of rows that have been loaded.
  llvm::DenseMap<std::pair<Value, int64_t>, Value> parts;
  llvm::DenseMap<int64_t, Value> masks;
};

} // namespace

SmallVector<WindowEmitter::OuterTaps> WindowEmitter::outerTaps() {
  SmallVector<OuterTaps> found;
  const WindowAxis *rows = rowAxis(), *lane = &window.laneAxis();
  LoopSet left = loopsOf(window.reduce.getLoops());
  for (const WindowAxis &axis : window.axes) {
    if (axis.tap)
      left &= ~loopBit(*axis.tap);
    if (&axis != rows && &axis != lane && (axis.tap || isPadded))
      found.push_back({axis.tap, &axis});
  }
  for (unsigned loop : listLoops(left))
    found.push_back({loop, nullptr});
  return found;
}

/// The taps of an axis at its position that are inside of the image: from, to.
std::pair<Value, Value> WindowEmitter::tapsInside(const WindowAxis &axis) {
  Value zero = e.index(0), begin = windowBegin(axis);
  int64_t taps = axis.tap ? e.fixedSize(*axis.tap) : 1;
  Value count = taps < 0 ? e.size(*axis.tap) : e.index(taps);
  Value from = ceilDiv(max(e.sub(zero, begin), zero), axis.dilation);
  Value to = ceilDiv(max(e.sub(imageSize(axis), begin), zero), axis.dilation);
  return {from, min(to, count)};
}

/// Lanes whose element, so far behind where the vector's windows begin, is in the image.
Value WindowEmitter::lanesInside(int64_t offset) {
  Value &mask = masks[offset];
  if (mask)
    return mask;
  // Negative numbers count as 0.
  Value begin = e.add(laneBegin, offset);
  mask = e.firstLanes(e.sub(laneSize, begin));
  if (!isPadded)
    return mask;
  Value before = e.firstLanes(e.sub(e.index(0), begin));
  Value all = arith::ConstantOp::create(
      b, DenseElementsAttr::get(e.vectorOf(b.getI1Type()), b.getBoolAttr(true)));
  return mask = arith::AndIOp::create(b, mask, arith::XOrIOp::create(b, before, all));
}

/// A vector of neighbours in a row of the image, from `offset` behind where the windows begin.
Value WindowEmitter::loadPart(Value row, int64_t offset, const Side &block) {
  Value &part = parts[{row, offset}];
  if (part)
    return part;
  SmallVector<Value> indices(place);
  if (const WindowAxis *axis = rowAxis())
    indices[axis->axis] = row;
  indices.back() = e.add(laneBegin, offset);
  VectorType type = e.vectorOf(getElementTypeOrSelf(image.getType()));
  if (!block.isMasked)
    return part = vector::LoadOp::create(b, type, image, indices);
  Value zero = arith::ConstantOp::create(b, b.getZeroAttr(type));
  return part = vector::MaskedLoadOp::create(b, type, image, indices, lanesInside(offset), zero);
}

/// The element of each lane at a tap: of `stride` vectors that lie side by side, every
/// stride-th.
Value WindowEmitter::elements(Value row, int64_t vector, int64_t tap, const Side &block) {
  const WindowAxis &axis = window.laneAxis();
  int64_t stride = axis.stride, offset = tap * axis.dilation + vector * lanes * stride;
  // Taps of one phase share what they load.
  int64_t phase = offset % stride, base = offset - phase;
  Value result = loadPart(row, base, block);
  for (int64_t p = 1; p < stride; ++p) {
    Value next = loadPart(row, base + p * lanes, block);
    SmallVector<int64_t> order;
    for (int64_t lane = 0; lane < lanes; ++lane) {
      int64_t element = phase + lane * stride, part = element / lanes;
      if (part == p)
        order.push_back(lanes + element % lanes);
      else
        order.push_back(p == 1 && part == 0 ? element : lane);
    }
    result = vector::ShuffleOp::create(b, result, next, order);
  }
  return result;
}

/// Adds the taps that are written out, and those of a single row that exist.
WindowEmitter::Sums WindowEmitter::sumTaps(const Side &block, Sums sums) {
  const WindowAxis &laneAxis = window.laneAxis();
  const WindowAxis *rows = rowAxis();
  int64_t laneTaps = tapsOf(&laneAxis), rowTaps = tapsOf(rows);
  Value term = window.reduce.getValue();
  BlockArgument element = kernel.getInputArg(window.input);
  // One tap of a row at one of the lanes: `point` counts rows, or vectors.
  auto add = [&](Value row, int64_t point, int64_t vector, Value rowTap, int64_t number,
                 int64_t tap) {
    PointEmitter::Scope scope(e);
    if (rows && rows->tap)
      e.at[*rows->tap] = rowTap;
    if (laneAxis.tap)
      e.at[*laneAxis.tap] = e.index(tap);
    if (number >= 0 && !weights.empty())
      for (auto [value, known] : weights[number * laneTaps + tap])
        e.provide(value, known);
    e.provide(element, elements(row, vector, tap, block));
    sums[point] = e.combine(window.reduce.getKind(), sums[point], e.getVector(term));
  };

  if (block.firstTap) {
    Value begin = windowBegin(*rows);
    // A sum of its own for some taps: one alone would wait for each addition.
    int64_t chains = std::min(laneTaps, kChains);
    Value total = sums.front();
    sums.assign(chains, e.neutral(window.reduce.getKind(), total.getType()));
    sums.front() = total;
    sums = e.loop(block.firstTap, block.lastTap, 1, sums, [&](Value rowTap, ValueRange args) {
      sums.assign(args.begin(), args.end());
      parts.clear();
      Value row = e.add(begin, e.mul(rowTap, e.index(rows->dilation)));
      for (int64_t tap = 0; tap < laneTaps; ++tap)
        add(row, tap % chains, 0, rowTap, -1, tap);
      return sums;
    });
    total = sums.front();
    for (Value part : ArrayRef(sums).drop_front())
      total = e.combine(window.reduce.getKind(), total, part);
    return {total};
  }
  if (!rows) {
    Value none;
    for (int64_t tap = 0; tap < laneTaps; ++tap)
      for (int64_t vector = 0; vector < block.vectors; ++vector)
        add(none, vector, vector, none, 0, tap);
    return sums;
  }
  // Taps that share what they load together; of them, each row of the image is loaded once for
  // all points that have it in their windows, and each weight once for all points.
  Value begin = windowBegin(*rows);
  SmallVector<Value> image;
  for (int64_t row = 0; row <= (block.rows - 1) * rows->stride + (rowTaps - 1) * rows->dilation;
       ++row)
    image.push_back(e.add(begin, row));
  auto baseOf = [&](int64_t tap) { return tap * laneAxis.dilation / laneAxis.stride; };
  for (int64_t first = 0, last; first < laneTaps; first = last) {
    for (last = first + 1; last < laneTaps && baseOf(last) == baseOf(first);)
      ++last;
    parts.clear();
    for (int64_t rowTap = 0; rowTap < rowTaps; ++rowTap)
      for (int64_t tap = first; tap < last; ++tap)
        for (int64_t point = 0; point < block.rows; ++point)
          add(image[point * rows->stride + rowTap * rows->dilation], point, 0, e.index(rowTap),
              rowTap, tap);
  }
  return sums;
}

/// Runs the loops around the taps that are written out, outermost first.
WindowEmitter::Sums WindowEmitter::sumOuter(ArrayRef<OuterTaps> around, const Side &block,
                                            Sums sums) {
  if (around.empty()) {
    placeWindow();
    parts.clear();
    return sumTaps(block, std::move(sums));
  }
  OuterTaps taps = around.front();
  std::optional<unsigned> loop = taps.loop;
  Value from = e.index(0), to = loop ? e.size(*loop) : e.index(1);
  if (isPadded && taps.axis)
    std::tie(from, to) = tapsInside(*taps.axis);
  return e.loop(from, to, 1, sums, [&](Value i, ValueRange args) {
    PointEmitter::Scope scope(e);
    if (loop)
      e.at[*loop] = i;
    return sumOuter(around.drop_front(), block, Sums(args));
  });
}

/// Where windows begin in the image, at the taps that are not written out.
void WindowEmitter::placeWindow() {
  AffineMap map = kernel.getInputMap(window.input);
  place.assign(map.getNumResults(), Value());
  for (auto [axis, expr] : llvm::enumerate(map.getResults()))
    if (auto dim = dyn_cast<AffineDimExpr>(expr))
      place[axis] = e.at[dim.getPosition()];
    else if (auto constant = dyn_cast<AffineConstantExpr>(expr))
      place[axis] = e.index(constant.getValue());
  for (const WindowAxis &axis : window.axes) {
    place[axis.axis] = windowBegin(axis);
    if (axis.tap && e.at[*axis.tap])
      place[axis.axis] = e.add(place[axis.axis], e.mul(e.at[*axis.tap], e.index(axis.dilation)));
  }
}

/// Computes and stores the points of a block, of which the emitter is at the first.
void WindowEmitter::emitBlock(const Side &block) {
  PointEmitter::Scope scope(e);
  Sums sums(block.size(), e.neutral(window.reduce.getKind(), e.vectorOf(window.reduce.getType())));
  sums = sumOuter(outerTaps(), block, std::move(sums));
  Value row = window.row ? e.at[*window.row] : Value(), lane = e.at[window.lane];
  for (int64_t point = 0; point < block.size(); ++point) {
    PointEmitter::Scope scope(e);
    if (window.row)
      e.at[*window.row] = e.add(row, point);
    else
      e.at[window.lane] = e.add(lane, point * lanes);
    e.provide(window.reduce.getResult(), sums[point]);
    SmallVector<Value> values;
    for (Value value : kernel.getYield().getValues())
      values.push_back(e.get(value));
    for (auto [out, value] : llvm::enumerate(values))
      e.storeOut(out, value);
  }
}

/// What the sum needs beside the image's elements, for each tap that is written out.
void WindowEmitter::hoistWeights() {
  weights.clear();
  if (!outerTaps().empty())
    return;
  const WindowAxis &laneAxis = window.laneAxis();
  const WindowAxis *rows = rowAxis();
  LoopSet available = loopsOf(window.reduce.getLoops());
  for (unsigned loop : window.outer)
    available |= loopBit(loop);
  SmallVector<Value> needed;
  for (Operation &op : kernel.getStep().without_terminator())
    llvm::append_range(needed, op.getResults());
  llvm::append_range(needed, kernel.getStep().getArguments());
  for (int64_t number = 0; number < tapsOf(rows); ++number)
    for (int64_t tap = 0; tap < tapsOf(&laneAxis); ++tap) {
      PointEmitter::Scope scope(e);
      if (rows && rows->tap)
        e.at[*rows->tap] = e.index(number);
      if (laneAxis.tap)
        e.at[*laneAxis.tap] = e.index(tap);
      auto &known = weights.emplace_back();
      for (Value value : needed)
        if (!value.use_empty() && !value.getDefiningOp<arith::ConstantOp>() &&
            (e.loops.of(value) & loopsOf(window.reduce.getLoops())) != 0 &&
            e.canEmit(value, available))
          known[value] = e.get(value);
    }
}

/// Vectors from where the emitter is along the lanes, in rows [low, high).
void WindowEmitter::emitVectors(int64_t vectors, bool isMasked, Value low, Value high) {
  PointEmitter::Scope scope(e);
  masks.clear();
  const WindowAxis &laneAxis = window.laneAxis();
  laneBegin = windowBegin(laneAxis);
  laneSize = imageSize(laneAxis);
  Side block;
  block.vectors = vectors;
  block.isMasked = isMasked;
  if (isMasked) {
    e.mask = e.firstLanes(e.sub(e.size(window.lane), e.at[window.lane]));
    // Made once for all rows.
    for (int64_t tap = 0; tap < tapsOf(&laneAxis); ++tap) {
      int64_t offset = tap * laneAxis.dilation, base = offset - offset % laneAxis.stride;
      for (int64_t p = 0; p < laneAxis.stride; ++p)
        (void)lanesInside(base + p * lanes);
    }
  }
  const WindowAxis *rows = rowAxis();
  if (!rows) {
    emitBlock(block);
    return;
  }
  // Rows whose windows are inside: begin >= 0, begin + span <= size.
  Value from = low, to = high;
  int64_t span = (tapsOf(rows) - 1) * rows->dilation + 1;
  if (isPadded) {
    from = min(max(low, ceilDiv(e.index(-rows->begin), rows->stride)), high);
    Value room = e.add(e.sub(imageSize(*rows), e.index(span)), -rows->begin);
    Value inside = ceilDiv(max(e.add(room, 1), e.index(0)), rows->stride);
    to = max(min(high, inside), from);
  }
  auto single = [&](Value first, Value last) {
    e.loop(first, last, 1, [&](Value row) {
      PointEmitter::Scope scope(e);
      e.at[*window.row] = row;
      Side one = block;
      std::tie(one.firstTap, one.lastTap) =
          isPadded ? tapsInside(*rows)
                   : std::pair(e.index(0), e.index(tapsOf(rows)));
      emitBlock(one);
    });
  };
  if (isPadded)
    single(low, from);
  for (int64_t width = sideRows; width > 1 && width * 2 >= sideRows; width /= 2) {
    Value rest = b.createOrFold<arith::RemUIOp>(e.sub(to, from), e.index(width));
    Value whole = e.sub(to, rest);
    e.loop(from, whole, width, [&](Value row) {
      PointEmitter::Scope scope(e);
      e.at[*window.row] = row;
      Side side = block;
      side.rows = width;
      emitBlock(side);
    });
    from = whole;
  }
  single(from, high);
}

/// Rows [low, high) of an image, or vectors of its only row that begin there.
void WindowEmitter::emitItem(Value low, Value high) {
  const WindowAxis &laneAxis = window.laneAxis();
  hoistWeights();
  LoopSet open = 0;
  for (unsigned loop : window.outer)
    open |= loopBit(loop);
  e.hoist(open);
  Value first = window.row ? e.index(0) : low;
  Value size = window.row ? e.size(window.lane) : high;
  int64_t span = (tapsOf(&laneAxis) - 1) * laneAxis.dilation;
  auto at = [&](Value i, llvm::function_ref<void()> body) {
    PointEmitter::Scope scope(e);
    e.at[window.lane] = i;
    body();
  };
  auto oneByOne = [&](Value from, Value to) {
    e.loop(from, to, lanes, [&](Value i) {
      at(i, [&] { emitVectors(1, /*isMasked=*/true, low, high); });
    });
  };
  // [inner, outer): windows begin and end in the image, and so does what is loaded with them.
  Value inner = e.index(llvm::alignTo(llvm::divideCeil(-laneAxis.begin, laneAxis.stride), lanes));
  inner = min(max(inner, first), size);
  Value room = e.sub(imageSize(laneAxis), e.index(span + laneAxis.begin));
  Value whole = b.createOrFold<arith::DivUIOp>(max(room, e.index(0)), e.index(laneAxis.stride));
  whole = max(min(whole, size), inner);
  oneByOne(first, inner);
  // Several at a time, then one by one: a mask takes longer.
  for (int64_t vectors = sideVectors; vectors > 0; vectors = vectors > 1 ? 1 : 0) {
    int64_t width = vectors * lanes;
    Value end = e.sub(whole, b.createOrFold<arith::RemUIOp>(e.sub(whole, inner), e.index(width)));
    e.loop(inner, end, width, [&](Value i) {
      at(i, [&] { emitVectors(vectors, /*isMasked=*/false, low, high); });
    });
    inner = end;
  }
  oneByOne(inner, size);
}

void WindowEmitter::emit() {
  // Items are parts of an image: rows, or of a single one vectors.
  unsigned along = window.row.value_or(window.lane);
  int64_t part = window.row ? kItemRows : kItemVectors * lanes;
  Value parts = ceilDiv(e.size(along), part), count = parts;
  for (unsigned loop : window.outer)
    count = e.mul(count, e.size(loop));
  int64_t cost = 2 * (kernel.getInputs().size() + kernel.getOuts().size());
  for (Operation &op : kernel.getStep().without_terminator())
    cost += ssm::costOf(&op);
  Value work = e.mul(e.index(cost), e.min(e.size(along), e.index(part)));
  for (unsigned loop : listLoops(loopsOf(window.reduce.getLoops())))
    work = e.mul(work, e.size(loop));
  work = window.row ? e.mul(work, ceilDiv(e.size(window.lane), lanes)) : ceilDiv(work, lanes);
  work = e.add(work, 1);
  Value grain = b.createOrFold<arith::DivUIOp>(e.add(work, kPieceCost), work);
  auto parallel = ParallelForOp::create(b, count, grain);
  OpBuilder::InsertionGuard guard(b);
  Block *block = b.createBlock(&parallel.getBody(), {}, {b.getIndexType(), b.getIndexType()},
                               {b.getLoc(), b.getLoc()});
  e.loop(block->getArgument(0), block->getArgument(1), 1, [&](Value item) {
    PointEmitter::Scope scope(e);
    Value left = item;
    auto takeOff = [&](Value size) {
      Value rest = b.createOrFold<arith::RemUIOp>(left, size);
      left = b.createOrFold<arith::DivUIOp>(left, size);
      return rest;
    };
    Value low = e.mul(takeOff(parts), e.index(part));
    for (unsigned loop : llvm::reverse(window.outer))
      e.at[loop] = loop == window.outer.front() ? left : takeOff(e.size(loop));
    emitItem(low, e.min(e.add(low, part), e.size(along)));
  });
  b.setInsertionPointToEnd(block);
  ssm::YieldOp::create(b, ValueRange());
}

StringRef ssm::emitWindow(KernelOp kernel, ImplicitLocOpBuilder &b) {
  ConfigAttr config = *kernel.getConfig();
  std::optional<Window> window = matchWindow(kernel, config.getLanes());
  if (!window || window->lane != config.getLaneLoop())
    return "it is no sum over windows along the lanes";
  auto type = cast<MemRefType>(kernel.getInputs()[window->input].getType());
  if (!type.isLastDimUnitStride())
    return "rows of what its windows read are not dense";
  constexpr int64_t kMaxSide = 8;
  if (llvm::any_of(config.getTiles(), [](int64_t tile) { return tile > kMaxSide; }))
    return "its configuration has more rows or vectors side by side than registers";
  WindowEmitter(kernel, *window, b).emit();
  return "";
}
