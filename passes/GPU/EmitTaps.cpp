//===- EmitTaps.cpp - Convolutions of single channels ---------------------- ===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Sums of few products with a window, where no two rows of the out share a factor (depthwise
// convolutions). A thread has a block of the out: some steps along one axis that the window moves
// along, and 16 bytes along the innermost where rows begin at such. It takes each row of the
// input that the block needs once and adds it to all sums that have it.
//
//===----------------------------------------------------------------------===//

#include "passes/GPU/MatmulTiles.h"
#include "passes/GPU/Teams.h"

#include "lib/Analysis/KernelShape.h"
#include "mlir/Dialect/Arith/Utils/Utils.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "llvm/Support/MathExtras.h"
#include <map>

using namespace mlir;
using namespace ssm;

namespace {

/// Factors that registers have room for, and steps of a block.
constexpr int64_t kMaxTaps = 64, kWideSteps = 4, kSteps = 8;

struct Taps {
  Matmul product;
  ReadWindow window;
  /// What the window's element is in the region.
  Value element;
  /// The loop that blocks take several steps of, and the size of each loop of the sum.
  std::optional<unsigned> steps;
  SmallVector<int64_t> sizes;
  /// Whether neighbours along the innermost loop are neighbours in memory, of the input and outs.
  bool canBeWide = false;
};

class TapsEmitter {
public:
  TapsEmitter(DeviceKernel &k, Taps what, bool wide);
  LaunchShape emit();

private:
  /// Steps of the taps' loops, and of the out's where the window moves; indices of a row that are
  /// added to those of the block.
  using Row = SmallVector<int64_t>;
  struct Use {
    int64_t step, shift;
    SmallVector<int64_t> tap;
  };

  std::map<Row, SmallVector<Use>> listRows();
  void emitBlock();
  SmallVector<Value> loadRow(const Row &row, ArrayRef<Use> uses, int64_t low);
  Value factor(ArrayRef<int64_t> tap);
  void store(ArrayRef<Value> sums);

  DeviceKernel &k;
  KernelOp kernel;
  Taps what;
  ImplicitLocOpBuilder &b;
  DeviceBuilder d;
  PointEmitter e;
  /// Elements along the innermost loop, and steps, of a block.
  int64_t run = 1, steps = 1;
  unsigned n;
  /// Indices of the block's window, and sizes, of each axis.
  SmallVector<Value> base, bounds;
  std::map<SmallVector<int64_t>, Value> factors;
};

} // namespace

static std::optional<Taps> matchTaps(KernelOp kernel) {
  std::optional<Matmul> product = matchMatmul(kernel);
  if (!product || product->m || !isa<FloatType>(product->sum.getType()))
    return std::nullopt;
  Taps what;
  what.product = *product;
  what.element = product->right;
  if (auto extended = what.element.getDefiningOp<arith::ExtFOp>())
    what.element = extended.getIn();
  std::optional<ReadWindow> window = matchReadWindow(kernel, what.element);
  if (!window || !window->isMoving())
    return std::nullopt;
  what.window = *window;
  int64_t taps = 1;
  for (unsigned loop : product->k) {
    what.sizes.push_back(fixedSize(kernel, loop));
    if (ShapedType::isDynamic(what.sizes.back()) || what.sizes.back() < 1 ||
        what.sizes.back() > kMaxTaps)
      return std::nullopt;
    taps *= what.sizes.back();
  }
  auto type = dyn_cast<MemRefType>(what.window.source.getType());
  if (taps > kMaxTaps || !type || !isa<FloatType>(type.getElementType()))
    return std::nullopt;
  unsigned n = product->n;
  ArrayRef<ReadWindowAxis> axes(what.window.axes);
  for (const ReadWindowAxis &axis : axes.drop_back())
    if (axis.factorOf(n) != 0)
      return std::nullopt;
  // The innermost other one that the window moves along.
  for (unsigned loop : product->outer)
    for (const ReadWindowAxis &axis : axes.drop_back())
      if (axis.factorOf(loop) > 0 && axis.terms.size() > 1)
        what.steps = loop;
  what.canBeWide = isDenseInside(type) && axes.back().factorOf(n) == 1 && !axes.back().shift &&
                   type.getElementTypeBitWidth() <= 32;
  for (auto [loop, factor] : axes.back().terms)
    what.canBeWide &= loop == n || llvm::is_contained(product->k, loop);
  for (unsigned out = 0; out < kernel.getOuts().size(); ++out) {
    auto outType = cast<MemRefType>(kernel.getOuts()[out].getType());
    what.canBeWide &= isDenseInside(outType) && isDenseAlong(kernel.getOutMap(out), n) &&
                      isa<FloatType>(outType.getElementType()) && !kernel.isOutMirrored(out);
  }
  return what;
}

TapsEmitter::TapsEmitter(DeviceKernel &k, Taps given, bool wide)
    : k(k), kernel(k.kernel), what(std::move(given)), b(k.device), d{b},
      e(kernel, b, std::nullopt, 1), n(what.product.n) {
  if (wide)
    run = kAccessBytes * 8 / cast<MemRefType>(what.window.source.getType()).getElementTypeBitWidth();
  if (what.steps)
    steps = wide ? kWideSteps : kSteps;
}

LaunchShape TapsEmitter::emit() {
  ImplicitLocOpBuilder &h = k.host;
  DeviceBuilder host{h};
  SmallVector<OpFoldResult> sizes = k.hostKernel.getLoopSizes(h);
  Value one = arith::ConstantIndexOp::create(h, 1), total = one;
  auto all = what.product.outer;
  all.push_back(n);
  for (unsigned loop : all) {
    Value size = getValueOrCreateConstantIndexOp(h, h.getLoc(), sizes[loop]);
    int64_t by = loop == n ? run : what.steps == loop ? steps : 1;
    total = host.mul(total, host.ceilDiv(size, by));
  }
  Value number = e.add(e.mul(gpu::BlockIdOp::create(b, gpu::Dimension::x), e.index(kBlock)),
                       gpu::ThreadIdOp::create(b, gpu::Dimension::x));
  Value rest = number;
  for (unsigned loop : llvm::reverse(all)) {
    int64_t by = loop == n ? run : what.steps == loop ? steps : 1;
    Value count = d.ceilDiv(e.size(loop), by);
    e.at[loop] = e.mul(loop == all.front() ? rest : d.rem(rest, count), e.index(by));
    rest = d.div(rest, count);
  }
  // Numbers past the last are past the slowest loop's end.
  d.branch(d.isLess(e.at[all.front()], e.size(all.front())), [&] { emitBlock(); });
  return {{host.ceilDiv(total, kBlock), one, one}, arith::ConstantIndexOp::create(h, kBlock),
          kBlock};
}

std::map<TapsEmitter::Row, SmallVector<TapsEmitter::Use>> TapsEmitter::listRows() {
  std::map<Row, SmallVector<Use>> rows;
  int64_t count = 1;
  for (int64_t size : what.sizes)
    count *= size;
  for (int64_t step = 0; step < steps; ++step)
    for (int64_t number = 0; number < count; ++number) {
      SmallVector<int64_t> tap(what.sizes.size());
      int64_t rest = number;
      for (size_t i = tap.size(); i-- > 0; rest /= what.sizes[i])
        tap[i] = rest % what.sizes[i];
      Row row;
      for (const ReadWindowAxis &axis : what.window.axes) {
        int64_t at = what.steps ? step * axis.factorOf(*what.steps) : 0;
        for (auto [loop, index] : llvm::zip_equal(what.product.k, tap))
          at += index * axis.factorOf(loop);
        row.push_back(at);
      }
      int64_t shift = row.pop_back_val();
      rows[row].push_back({step, shift, tap});
    }
  return rows;
}

Value TapsEmitter::factor(ArrayRef<int64_t> tap) {
  Value &known = factors[SmallVector<int64_t>(tap)];
  if (known)
    return known;
  PointEmitter::Scope scope(e);
  for (auto [loop, index] : llvm::zip_equal(what.product.k, tap))
    e.at[loop] = e.index(index);
  return known = e.get(what.product.left);
}

/// The row's elements from `low` after the block's first one up to what is needed, as factors.
SmallVector<Value> TapsEmitter::loadRow(const Row &row, ArrayRef<Use> uses, int64_t low) {
  int64_t high = low;
  for (const Use &use : uses)
    high = std::max(high, use.shift + run);
  auto type = cast<MemRefType>(what.window.source.getType());
  Value zero = e.index(0), inRow;
  SmallVector<Value> indices;
  auto check = [&](Value at, Value bound, Value &all) {
    Value isInside = d.isLess(at, bound);
    all = all ? d.make<arith::AndIOp>(all, isInside) : isInside;
    return d.select(isInside, at, zero);
  };
  for (auto [at, more, bound] : llvm::zip_equal(ArrayRef(base).drop_back(), row, ArrayRef(bounds).drop_back())) {
    Value index = d.add(at, e.index(more));
    indices.push_back(bound ? check(index, bound, inRow) : index);
  }
  indices.push_back(Value());
  SmallVector<Value> elements;
  auto asFactor = [&](Value element) {
    PointEmitter::Scope scope(e);
    e.provide(what.element, element);
    elements.push_back(e.get(what.product.right));
  };
  for (int64_t at = low; at < high; at += run) {
    Value inside = inRow;
    indices.back() = check(d.add(base.back(), e.index(at)), bounds.back(), inside);
    if (run == 1) {
      Value element = memref::LoadOp::create(b, what.window.source, indices);
      Value none = arith::ConstantOp::create(b, b.getZeroAttr(element.getType()));
      asFactor(d.select(inside, element, none));
      continue;
    }
    auto wide = VectorType::get({run}, type.getElementType());
    Value chunk = vector::LoadOp::create(b, wide, what.window.source, indices,
                                         /*nontemporal=*/false, llvm::MaybeAlign(kAccessBytes));
    Value none = arith::ConstantOp::create(b, b.getZeroAttr(wide));
    chunk = arith::SelectOp::create(b, inside, chunk, none);
    for (int64_t lane = 0; lane < run; ++lane)
      asFactor(vector::ExtractOp::create(b, chunk, lane));
  }
  return elements;
}

void TapsEmitter::emitBlock() {
  LoopSet outer = 0;
  for (unsigned loop : what.product.outer)
    if (what.steps != loop)
      outer |= loopBit(loop);
  e.hoist(outer);
  for (auto [i, axis] : llvm::enumerate(what.window.axes)) {
    bool isLast = i + 1 == what.window.axes.size();
    // The block's columns begin at a multiple of a run: chunks do too without the constant.
    Value at = e.index(isLast && run > 1 ? 0 : axis.constant);
    for (auto [loop, factor] : axis.terms)
      if (!llvm::is_contained(what.product.k, loop))
        at = e.add(at, e.mul(e.at[loop], e.index(factor)));
    if (axis.shift)
      at = e.sub(at, axis.shift);
    base.push_back(at);
    // Blocks may go past the out, and so past the input.
    bool isChecked = isLast || axis.bound || (what.steps && axis.factorOf(*what.steps) != 0);
    bounds.push_back(isChecked ? b.createOrFold<memref::DimOp>(what.window.source,
                                                               static_cast<int64_t>(i))
                               : Value());
  }
  Type type = what.product.sum.getType();
  Value none = arith::ConstantOp::create(b, b.getZeroAttr(type));
  SmallVector<Value> sums(steps * run, none);
  auto contract = arith::FastMathFlagsAttr::get(b.getContext(), arith::FastMathFlags::contract);
  int64_t more = run > 1 ? what.window.axes.back().constant : 0;
  for (auto &[row, uses] : listRows()) {
    for (Use &use : uses)
      use.shift += more;
    int64_t low = uses.front().shift;
    for (const Use &use : uses)
      low = std::min(low, use.shift);
    low = llvm::divideFloorSigned(low, run) * run;
    SmallVector<Value> elements = loadRow(row, uses, low);
    for (const Use &use : uses)
      for (int64_t lane = 0; lane < run; ++lane) {
        Value &sum = sums[use.step * run + lane];
        Value product = arith::MulFOp::create(b, factor(use.tap),
                                              elements[use.shift + lane - low], contract);
        sum = arith::AddFOp::create(b, sum, product, contract);
      }
  }
  Value first = what.steps ? e.at[*what.steps] : Value();
  for (int64_t step = 0; step < steps; ++step) {
    ArrayRef<Value> own = ArrayRef(sums).slice(step * run, run);
    if (!first) {
      store(own);
      continue;
    }
    Value at = e.add(first, step);
    d.branch(d.isLess(at, e.size(*what.steps)), [&] {
      PointEmitter::Scope scope(e);
      e.at[*what.steps] = at;
      store(own);
    });
  }
}

void TapsEmitter::store(ArrayRef<Value> sums) {
  PointEmitter::Scope scope(e);
  auto yielded = kernel.getYield().getValues();
  SmallVector<SmallVector<Value>> results(kernel.getOuts().size());
  Value first = e.at[n];
  for (auto [lane, sum] : llvm::enumerate(sums)) {
    PointEmitter::Scope each(e);
    e.at[n] = e.add(first, lane);
    e.provide(what.product.sum, sum);
    for (auto [out, value] : llvm::enumerate(yielded))
      results[out].push_back(e.get(value));
  }
  for (auto [out, values] : llvm::enumerate(results)) {
    if (run == 1) {
      e.storeOut(out, values.front());
      continue;
    }
    auto wide = VectorType::get({run}, values.front().getType());
    int64_t bytes = run * wide.getElementTypeBitWidth() / 8;
    Value vector = vector::FromElementsOp::create(b, wide, values);
    vector::StoreOp::create(b, vector, kernel.getOuts()[out], e.indicesOfOut(out),
                            /*nontemporal=*/false,
                            llvm::MaybeAlign(std::min(bytes, kAccessBytes)));
  }
}

void ssm::addTapForms(KernelOp kernel, SmallVectorImpl<KernelForm> &forms) {
  std::optional<Taps> what = matchTaps(kernel);
  if (!what)
    return;
  if (what->canBeWide)
    forms.push_back({"_wide",
                     [kernel, what = *what](ImplicitLocOpBuilder &h) mutable {
                       DeviceBuilder d{h};
                       Value source = what.window.source;
                       auto type = cast<MemRefType>(source.getType());
                       int64_t run = kAccessBytes * 8 / type.getElementTypeBitWidth();
                       Value size = h.createOrFold<memref::DimOp>(source, type.getRank() - 1);
                       Value all = d.make<arith::AndIOp>(hasAlignedRows(d, source),
                                                         d.isEqual(d.rem(size, run), 0));
                       for (Value out : kernel.getOuts()) {
                         auto outType = cast<MemRefType>(out.getType());
                         Value own = h.createOrFold<memref::DimOp>(out, outType.getRank() - 1);
                         all = d.make<arith::AndIOp>(all, hasAlignedRows(d, out));
                         all = d.make<arith::AndIOp>(all, d.isEqual(d.rem(own, run), 0));
                       }
                       return all;
                     },
                     [](DeviceKernel &k) {
                       return TapsEmitter(k, *matchTaps(k.kernel), /*wide=*/true).emit();
                     }});
  forms.push_back({"", nullptr, [](DeviceKernel &k) {
                     return TapsEmitter(k, *matchTaps(k.kernel), /*wide=*/false).emit();
                   }});
}
