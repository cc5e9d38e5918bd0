//===- MatmulTiles.cpp - Products of matrices by tiles on a GPU ------------ ===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "passes/GPU/MatmulTiles.h"

#include "passes/GPU/DeviceModule.h"

#include "mlir/Dialect/Arith/Utils/Utils.h"
#include "mlir/Dialect/LLVMIR/NVVMDialect.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;
using namespace ssm;


MatmulSide ssm::describeSide(KernelOp kernel, const Matmul &what, Value value, bool isLeft) {
  MatmulSide side;
  side.value = value;
  side.row = isLeft ? what.m : what.n;
  auto argument = dyn_cast<BlockArgument>(value);
  if (!argument || argument.getArgNumber() >= kernel.getInputs().size() || what.k.size() != 1)
    return side;
  unsigned input = argument.getArgNumber();
  auto type = dyn_cast<MemRefType>(kernel.getInputs()[input].getType());
  AffineMap map = kernel.getInputMap(input);
  if (!type || !isDenseInside(type) || map.getNumResults() == 0 ||
      kernel.isInputMirrored(input))
    return side;
  LoopSet seen = 0;
  for (AffineExpr expr : map.getResults()) {
    auto dim = dyn_cast<AffineDimExpr>(expr);
    if (!dim || contains(seen, dim.getPosition()))
      return side;
    seen |= loopBit(dim.getPosition());
  }
  unsigned last = cast<AffineDimExpr>(map.getResults().back()).getPosition();
  if (last != what.k.front() && last != side.row)
    return side;
  side.input = input;
  side.isDenseAlongDepth = last == what.k.front();
  return side;
}

SmallVector<MatmulSide> ssm::describeSides(KernelOp kernel, const Convolution &what, Value left,
                                           Value right) {
  MatmulSide weights, windows;
  weights.value = left, windows.value = right;
  weights.row = what.product.m, windows.row = what.product.n;
  ArrayRef<unsigned> depth(what.product.k);
  if (std::optional<ReadWindow> matrix = matchReadWindow(kernel, left);
      matrix && matrix->input && !matrix->isMoving() && matrix->axes.size() > depth.size()) {
    auto type = cast<MemRefType>(matrix->source.getType());
    bool isDense = type.getLayout().isIdentity();
    for (auto [axis, loop] : llvm::zip_equal(ArrayRef(matrix->axes).take_back(depth.size()), depth))
      isDense &= axis.isLoop(loop);
    if (isDense) {
      weights.input = matrix->input;
      weights.isDenseAlongDepth = true;
    }
  }
  // Converted on the way, they are computed.
  if (std::optional<ReadWindow> window = matchReadWindow(kernel, right))
    windows.window = window;
  return {weights, windows};
}

bool ssm::isDenseInside(MemRefType type) {
  return type.getRank() > 0 && type.isStrided() && type.getStridesAndOffset().first.back() == 1;
}

BufferLayout ssm::layoutOf(DeviceBuilder d, Value memref) {
  auto type = cast<MemRefType>(memref.getType());
  auto pointerType = LLVM::LLVMPointerType::get(d.b.getContext());
  BufferLayout layout;
  if (type.getLayout().isIdentity()) {
    layout.pointer = PointerOp::create(d.b, pointerType, memref);
    layout.strides.assign(type.getRank(), arith::ConstantIndexOp::create(d.b, 1));
    for (int64_t axis = type.getRank() - 1; axis-- > 0;)
      layout.strides[axis] =
          d.mul(layout.strides[axis + 1], d.b.createOrFold<memref::DimOp>(memref, axis + 1));
    return layout;
  }
  auto parts = memref::ExtractStridedMetadataOp::create(d.b, memref);
  Value offset = d.mul(parts.getOffset(), type.getElementTypeBitWidth() / 8);
  layout.pointer = d.after(PointerOp::create(d.b, pointerType, parts.getBaseBuffer()),
                           d.toWide(offset));
  llvm::append_range(layout.strides, parts.getStrides());
  return layout;
}

Value ssm::hasAlignedRows(DeviceBuilder d, Value memref) {
  auto type = cast<MemRefType>(memref.getType());
  BufferLayout layout = layoutOf(d, memref);
  Value bits = LLVM::PtrToIntOp::create(d.b, d.b.getI64Type(), layout.pointer);
  ArrayRef<Value> strides(layout.strides);
  // Of a plain buffer the others are multiples of the innermost rows'.
  if (type.getRank() > 1 && type.getLayout().isIdentity())
    strides = strides.drop_front(type.getRank() - 2);
  if (type.getRank() > 1)
    for (Value stride : strides.drop_back())
      bits = d.make<arith::OrIOp>(bits, d.mul(d.toWide(stride), type.getElementTypeBitWidth() / 8));
  return d.isEqual(d.bitAnd(bits, 15), 0);
}

TileEmitter::TileEmitter(DeviceKernel &k, const Matmul &what, MatmulSide left, MatmulSide right,
                         MatmulTile tile, int64_t threads)
    : k(k), kernel(k.kernel), what(what), left(left), right(right), tile(tile), threads(threads),
      b(k.device), d{b}, e(kernel, b, std::nullopt, 1) {}

LaunchShape TileEmitter::launch() {
  ImplicitLocOpBuilder &h = k.host;
  DeviceBuilder host{h};
  SmallVector<OpFoldResult> sizes = k.hostKernel.getLoopSizes(h);
  auto size = [&](unsigned loop) {
    return getValueOrCreateConstantIndexOp(h, h.getLoc(), sizes[loop]);
  };
  Value one = arith::ConstantIndexOp::create(h, 1);
  Value columns = one;
  for (unsigned loop : what.columns)
    columns = host.mul(columns, size(loop));
  Value blocks = host.mul(host.ceilDiv(what.m ? size(*what.m) : one, tile.m),
                          host.ceilDiv(columns, tile.n));
  for (unsigned loop : what.outer)
    blocks = host.mul(blocks, size(loop));
  return {{blocks, one, one}, arith::ConstantIndexOp::create(h, threads), threads, 0, 0, {}};
}

void TileEmitter::prepare() {
  findWide();
  thread = d.thread();
  shared = k.addDynamicShared();
  height = what.m ? e.size(*what.m) : e.index(1);
  width = e.index(1);
  for (unsigned loop : what.columns)
    width = e.mul(width, e.size(loop));
  depth = e.index(1);
  for (unsigned loop : what.k)
    depth = e.mul(depth, e.size(loop));
  aligned = arith::ConstantIntOp::create(b, b.getI1Type(), 1);
  for (unsigned i : wideInputs)
    aligned = d.make<arith::AndIOp>(aligned,
                                    isAligned(kernel.getInputs()[i], kernel.getInputMap(i)));
  for (unsigned i : wideOuts)
    aligned = d.make<arith::AndIOp>(aligned, isAligned(kernel.getOuts()[i], kernel.getOutMap(i)));
  // Fewer than 2^31, and blocks run because no size is 0.
  tilesM = d.toInt(d.ceilDiv(height, tile.m));
  tilesN = d.toInt(d.ceilDiv(width, tile.n));
}

Value TileEmitter::countTiles() {
  Value tiles = d.mul(tilesM, tilesN);
  for (unsigned loop : what.outer)
    tiles = d.mul(tiles, d.toInt(e.size(loop)));
  return tiles;
}

void TileEmitter::place(Value number, int64_t raster) {
  Value tiles = d.mul(tilesM, tilesN);
  if (!what.outer.empty()) {
    Value rest = d.div(number, tiles);
    number = d.sub(number, d.mul(rest, tiles));
    for (auto [i, loop] : llvm::enumerate(llvm::reverse(what.outer))) {
      if (i + 1 == what.outer.size()) {
        e.at[loop] = d.toIndex(rest);
        break;
      }
      Value size = d.toInt(e.size(loop));
      e.at[loop] = d.toIndex(d.rem(rest, size));
      rest = d.div(rest, size);
    }
  }
  // Neighbours in time share rows and columns in the second-level cache.
  Value groupSize = d.mul(tilesN, raster);
  Value group = d.div(number, groupSize);
  Value first = d.mul(group, raster);
  Value rowsOfGroup = d.min(d.sub(tilesM, first), raster);
  Value within = d.sub(number, d.mul(group, groupSize));
  Value column = d.div(within, rowsOfGroup);
  Value row = d.add(first, d.sub(within, d.mul(column, rowsOfGroup)));
  m0 = d.mul(d.toIndex(row), tile.m);
  n0 = d.mul(d.toIndex(column), tile.n);
}

Value TileEmitter::element(const MatmulSide &side, Value row, Value at) {
  PointEmitter::Scope scope(e);
  // No branch: another element is read instead, of which there is one as this block exists and
  // the loop over the depth runs.
  Value rowCount = rows(side);
  Value exists = d.make<arith::AndIOp>(d.isLess(row, rowCount), d.isLess(at, depth));
  row = d.min(row, d.sub(rowCount, 1));
  if (side.row == what.n)
    setColumn(row);
  else if (side.row)
    e.at[*side.row] = row;
  Value rest = d.min(at, d.sub(depth, 1));
  for (auto [i, loop] : llvm::enumerate(llvm::reverse(what.k))) {
    bool isLast = i + 1 == what.k.size();
    e.at[loop] = isLast ? rest : d.rem(rest, e.size(loop));
    if (!isLast)
      rest = d.div(rest, e.size(loop));
  }
  Value value = e.get(side.value);
  Value zero = arith::ConstantOp::create(b, b.getZeroAttr(value.getType()));
  return d.select(exists, value, zero);
}

Value TileEmitter::stride(const MatmulSide &side, unsigned loop) {
  BufferLayout layout = layoutOf(d, kernel.getInputs()[*side.input]);
  AffineMap map = kernel.getInputMap(*side.input);
  int64_t bytes = side.type().getIntOrFloatBitWidth() / 8;
  for (auto [expr, stride] : llvm::zip_equal(map.getResults(), layout.strides))
    if (expr == b.getAffineDimExpr(loop))
      return d.toWide(d.mul(stride, bytes));
  return d.toWide(e.index(0));
}

Value TileEmitter::address(const MatmulSide &side, Value row, Value at) {
  Value pointer = LLVM::AddrSpaceCastOp::create(
      b, LLVM::LLVMPointerType::get(b.getContext(), /*global*/ 1),
      layoutOf(d, kernel.getInputs()[*side.input]).pointer);
  Value offset = d.mul(d.toWide(at), stride(side, what.k.back()));
  if (side.row)
    offset = d.add(offset, d.mul(d.toWide(row), stride(side, *side.row)));
  LoopSet loops = loopsOf(kernel.getInputMap(*side.input));
  for (unsigned loop : what.outer)
    if (contains(loops, loop))
      offset = d.add(offset, d.mul(d.toWide(e.at[loop]), stride(side, loop)));
  return d.after(pointer, offset);
}

//===----------------------------------------------------------------------===//
// The rest of the region
//===----------------------------------------------------------------------===//

/// Whether a vector along columns is one access.
bool TileEmitter::isWide(Value buffer, AffineMap map) {
  auto type = dyn_cast<MemRefType>(buffer.getType());
  bool isPlain = llvm::all_of(map.getResults(), llvm::IsaPred<AffineDimExpr>);
  if (!type || !type.getLayout().isIdentity() || !isPlain || !isDenseAlong(map, what.n))
    return false;
  unsigned bits = type.getElementTypeBitWidth();
  return bits == 16 || bits == 32;
}

/// Whether such vectors begin at multiples of 16 bytes and do not go past what lies dense.
Value TileEmitter::isAligned(Value buffer, AffineMap map) {
  if (what.columns.size() == 1)
    return hasAlignedRows(d, buffer);
  Value dense = e.index(1);
  auto column = what.columns.rbegin();
  for (AffineExpr expr : llvm::reverse(map.getResults())) {
    if (column == what.columns.rend() || expr != b.getAffineDimExpr(*column))
      break;
    dense = e.mul(dense, e.size(*column++));
  }
  Value bits = LLVM::PtrToIntOp::create(b, b.getI64Type(), layoutOf(d, buffer).pointer);
  return d.make<arith::AndIOp>(d.isEqual(d.bitAnd(bits, 15), 0),
                               d.isEqual(d.rem(dense, kWide), 0));
}

void TileEmitter::setColumn(Value column) {
  for (unsigned loop : llvm::reverse(what.columns)) {
    bool isLast = loop == what.columns.front();
    e.at[loop] = isLast ? column : d.rem(column, e.size(loop));
    if (!isLast)
      column = d.div(column, e.size(loop));
  }
}

void TileEmitter::findWide() {
  // What outs are computed from, sums left aside.
  SmallVector<Value> left(kernel.getYield().getValues());
  llvm::DenseSet<Value> seen;
  while (!left.empty()) {
    Value value = left.pop_back_val();
    if (value == what.sum || value.getParentBlock() != &kernel.getStep() ||
        !seen.insert(value).second)
      continue;
    if (auto argument = dyn_cast<BlockArgument>(value)) {
      unsigned i = argument.getArgNumber();
      if (i < kernel.getInputs().size() && !kernel.isInputMirrored(i) &&
          isWide(kernel.getInputs()[i], kernel.getInputMap(i)))
        wideInputs.push_back(i);
      continue;
    }
    llvm::append_range(left, value.getDefiningOp()->getOperands());
  }
  for (unsigned i = 0; i < kernel.getOuts().size(); ++i)
    if (!kernel.isOutMirrored(i) && isWide(kernel.getOuts()[i], kernel.getOutMap(i)))
      wideOuts.push_back(i);
}

void TileEmitter::setRow(Value m) {
  LoopSet known = 0;
  for (unsigned loop : what.outer)
    known |= loopBit(loop);
  if (what.m) {
    e.at[*what.m] = m;
    known |= loopBit(*what.m);
  }
  e.hoist(known);
}

void TileEmitter::finish(const Part &part) {
  int64_t perRow = part.columns / kWide;
  Value all = d.mul(part.rows, perRow), step = d.constant(part.threads);
  d.loop(part.thread, all, step, {}, [&](Value number, ValueRange) {
    Value row = d.div(number, perRow), column = d.mul(d.rem(number, perRow), kWide);
    Value m = d.add(m0, d.toIndex(d.add(row, part.row)));
    Value n = d.add(n0, d.toIndex(d.add(column, part.column)));
    Value isInside = d.make<arith::AndIOp>(d.isLess(m, height), d.isLess(n, width));
    d.branch(isInside, [&] {
      SumPointers sums = part.sums(row, column);
      Value isWhole = d.compare(arith::CmpIPredicate::ule, d.add(n, kWide), width);
      d.branch(
          d.make<arith::AndIOp>(aligned, isWhole),
          [&] { finishWide(m, n, sums, loadWide(m, n)); }, [&] { finishEach(m, n, sums); });
    });
    return Values();
  });
}

void TileEmitter::finishTile() {
  Value none = d.constant(0);
  finish({none, none, d.constant(tile.m), tile.n, thread, threads, [&](Value row, Value column) {
            Value first = d.after(shared, d.add(d.mul(row, sumsPitch()), d.mul(column, 4)));
            return SumPointers(first, d.after(first, 16));
          }});
}

Value TileEmitter::partOf(Value number, Value part) {
  Value which = d.add(d.mul(part, d.toIndex(countTiles())), d.toIndex(number));
  return d.after(k.parts, d.toWide(d.mul(which, tile.m * tile.n * 4)));
}

void TileEmitter::storePart() {
  auto four = VectorType::get({4}, what.sum.getType());
  Value to = partOf(d.block(), gpu::BlockIdOp::create(b, gpu::Dimension::y));
  // Rows past the last are nobody's.
  Value rows = d.toInt(d.min(d.sub(height, m0), tile.m));
  int64_t perRow = tile.n / 4;
  d.loop(thread, d.mul(rows, perRow), d.constant(threads), {}, [&](Value number, ValueRange) {
    Value row = d.div(number, perRow), column = d.rem(number, perRow);
    Value from = d.after(shared, d.add(d.mul(row, sumsPitch()), d.mul(column, 16)));
    d.store(d.load(four, from, 16), d.after(to, d.mul(number, 16)), 16);
    return Values();
  });
}

static VectorType wide(Type type) { return VectorType::get({TileEmitter::kWide}, type); }

static llvm::MaybeAlign wideAlignment(Type type) {
  return llvm::MaybeAlign(
      std::min<int64_t>(16, TileEmitter::kWide * type.getIntOrFloatBitWidth() / 8));
}

SmallVector<Value> TileEmitter::indices(AffineMap map) const {
  return llvm::map_to_vector(map.getResults(), [&](AffineExpr expr) {
    return e.at[cast<AffineDimExpr>(expr).getPosition()];
  });
}

SmallVector<Type> TileEmitter::wideTypes() {
  return llvm::map_to_vector(wideInputs, [&](unsigned i) -> Type {
    return wide(cast<MemRefType>(kernel.getInputs()[i].getType()).getElementType());
  });
}

SmallVector<bool> TileEmitter::wideByRow() {
  return llvm::map_to_vector(wideInputs, [&](unsigned i) {
    return what.m && contains(loopsOf(kernel.getInputMap(i)), *what.m);
  });
}

SmallVector<Value> TileEmitter::loadWide(Value m, Value n) {
  PointEmitter::Scope scope(e);
  if (what.m)
    e.at[*what.m] = m;
  setColumn(n);
  Values loaded;
  for (auto [i, type] : llvm::zip_equal(wideInputs, wideTypes()))
    loaded.push_back(vector::LoadOp::create(
        b, cast<VectorType>(type), kernel.getInputs()[i], indices(kernel.getInputMap(i)),
        /*nontemporal=*/false, wideAlignment(cast<VectorType>(type).getElementType())));
  return loaded;
}

void TileEmitter::finishWide(Value m, Value n, SumPointers sums, ValueRange loaded) {
  PointEmitter::Scope scope(e);
  setRow(m);
  setColumn(n);
  auto four = VectorType::get({4}, what.sum.getType());
  Value parts[] = {d.load(four, sums.first, 16), d.load(four, sums.second, 16)};
  auto yielded = kernel.getYield().getValues();
  SmallVector<Values> results(kernel.getOuts().size());
  for (int64_t lane = 0; lane < kWide; ++lane) {
    PointEmitter::Scope each(e);
    setColumn(e.add(n, lane));
    for (auto [i, value] : llvm::zip_equal(wideInputs, loaded))
      e.provide(kernel.getStep().getArgument(i), vector::ExtractOp::create(b, value, lane));
    e.provide(what.sum, vector::ExtractOp::create(b, parts[lane / 4], lane % 4));
    for (auto [out, value] : llvm::enumerate(yielded))
      results[out].push_back(e.get(value));
  }
  for (unsigned out = 0; out < results.size(); ++out) {
    Value buffer = kernel.getOuts()[out];
    if (llvm::is_contained(wideOuts, out)) {
      Type type = results[out].front().getType();
      Value vector = vector::FromElementsOp::create(b, wide(type), results[out]);
      vector::StoreOp::create(b, vector, buffer, indices(kernel.getOutMap(out)),
                              /*nontemporal=*/false, wideAlignment(type));
      continue;
    }
    for (int64_t lane = 0; lane < kWide; ++lane) {
      PointEmitter::Scope each(e);
      setColumn(e.add(n, lane));
      e.storeOut(out, results[out][lane]);
    }
  }
}

void TileEmitter::finishEach(Value m, Value n, SumPointers sums) {
  PointEmitter::Scope row(e);
  setRow(m);
  Value count = d.toInt(d.min(d.sub(width, n), kWide));
  d.loop(d.constant(0), count, d.constant(1), {}, [&](Value lane, ValueRange) {
    PointEmitter::Scope scope(e);
    setColumn(d.add(n, d.toIndex(lane)));
    Value part = d.select(d.isLess(lane, 4), sums.first, sums.second);
    Value sum = d.after(part, d.mul(d.rem(lane, 4), 4));
    e.provide(what.sum, d.load(what.sum.getType(), sum, 4));
    Values results;
    for (Value value : kernel.getYield().getValues())
      results.push_back(e.get(value));
    for (auto [out, value] : llvm::enumerate(results))
      e.storeOut(out, value);
    return Values();
  });
}
