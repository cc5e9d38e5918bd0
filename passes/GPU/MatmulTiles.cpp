//===- MatmulTiles.cpp - Products of matrices by tiles on a GPU ------------ ===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "passes/GPU/MatmulTiles.h"

#include "mlir/Dialect/Arith/Utils/Utils.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;
using namespace ssm;

/// Tiles of rows that take turns with tiles of columns: neighbours in time share both in the
/// second-level cache.
static constexpr int64_t kRaster = 8;
/// Elements of a row of the out that a thread computes together.
static constexpr int64_t kWide = 8;

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
  if (!type || !type.getLayout().isIdentity() || map.getNumResults() == 0 ||
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

Value ssm::hasAlignedRows(DeviceBuilder d, Value memref) {
  auto type = cast<MemRefType>(memref.getType());
  auto pointerType = LLVM::LLVMPointerType::get(d.b.getContext());
  Value pointer = PointerOp::create(d.b, pointerType, memref);
  Value bits = LLVM::PtrToIntOp::create(d.b, d.b.getI64Type(), pointer);
  if (type.getRank() > 1) {
    Value last = d.b.createOrFold<memref::DimOp>(memref, type.getRank() - 1);
    bits = d.make<arith::OrIOp>(
        bits, d.mul(d.toWide(last), type.getElementTypeBitWidth() / 8));
  }
  return d.isEqual(d.bitAnd(bits, 15), 0);
}

TileEmitter::TileEmitter(DeviceKernel &k, const Matmul &what, MatmulSide left, MatmulSide right,
                         MatmulTile tile, int64_t threads)
    : k(k), kernel(k.kernel), what(what), left(left), right(right), tile(tile), threads(threads),
      b(k.device), d{b}, e(kernel, b, std::nullopt, 1) {}

LaunchShape TileEmitter::launch(int64_t stageBytes) {
  ImplicitLocOpBuilder &h = k.host;
  DeviceBuilder host{h};
  SmallVector<OpFoldResult> sizes = k.hostKernel.getLoopSizes(h);
  auto size = [&](unsigned loop) {
    return getValueOrCreateConstantIndexOp(h, h.getLoc(), sizes[loop]);
  };
  Value one = arith::ConstantIndexOp::create(h, 1);
  Value blocks = host.mul(host.ceilDiv(what.m ? size(*what.m) : one, tile.m),
                          host.ceilDiv(size(what.n), tile.n));
  for (unsigned loop : what.outer)
    blocks = host.mul(blocks, size(loop));
  int64_t bytes = std::max(stageBytes * tile.stages, tile.m * sumsPitch());
  return {{blocks, one, one}, arith::ConstantIndexOp::create(h, threads), threads, bytes, 0, {}};
}

void TileEmitter::place() {
  thread = d.thread();
  shared = k.addDynamicShared();
  height = what.m ? e.size(*what.m) : e.index(1);
  width = e.size(what.n);
  depth = e.index(1);
  for (unsigned loop : what.k)
    depth = e.mul(depth, e.size(loop));
  // Fewer than 2^31 blocks, each of which is here because no size is 0.
  Value tilesM = d.toInt(d.ceilDiv(height, tile.m)), tilesN = d.toInt(d.ceilDiv(width, tile.n));
  Value tiles = d.mul(tilesM, tilesN), number = d.block();
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
  Value groupSize = d.mul(tilesN, kRaster);
  Value group = d.div(number, groupSize);
  Value first = d.mul(group, kRaster);
  Value rowsOfGroup = d.min(d.sub(tilesM, first), kRaster);
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
  if (side.row)
    e.at[*side.row] = d.min(row, d.sub(rowCount, 1));
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
  Value memref = kernel.getInputs()[*side.input];
  AffineMap map = kernel.getInputMap(*side.input);
  int64_t bytes = side.type().getIntOrFloatBitWidth() / 8;
  Value result = e.index(bytes);
  for (unsigned axis = map.getNumResults(); axis-- > 0;) {
    if (cast<AffineDimExpr>(map.getResult(axis)).getPosition() == loop)
      return d.toWide(result);
    result = e.mul(result, b.createOrFold<memref::DimOp>(memref, static_cast<int64_t>(axis)));
  }
  return d.toWide(e.index(0));
}

Value TileEmitter::address(const MatmulSide &side, Value row, Value at) {
  Value memref = kernel.getInputs()[*side.input];
  Value pointer = PointerOp::create(b, LLVM::LLVMPointerType::get(b.getContext()), memref);
  pointer = LLVM::AddrSpaceCastOp::create(
      b, LLVM::LLVMPointerType::get(b.getContext(), /*global*/ 1), pointer);
  Value offset = d.mul(d.toWide(at), stride(side, what.k.front()));
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

/// Whether a vector along the loop is one access.
static bool isWide(Value buffer, AffineMap map, unsigned loop) {
  auto type = dyn_cast<MemRefType>(buffer.getType());
  bool isPlain = llvm::all_of(map.getResults(), llvm::IsaPred<AffineDimExpr>);
  if (!type || !type.getLayout().isIdentity() || !isPlain || !isDenseAlong(map, loop))
    return false;
  unsigned bits = type.getElementTypeBitWidth();
  return bits == 16 || bits == 32;
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
          isWide(kernel.getInputs()[i], kernel.getInputMap(i), what.n))
        wideInputs.push_back(i);
      continue;
    }
    llvm::append_range(left, value.getDefiningOp()->getOperands());
  }
  for (unsigned i = 0; i < kernel.getOuts().size(); ++i)
    if (!kernel.isOutMirrored(i) && isWide(kernel.getOuts()[i], kernel.getOutMap(i), what.n))
      wideOuts.push_back(i);
}

void TileEmitter::finish() {
  findWide();
  Value aligned = arith::ConstantIntOp::create(b, b.getI1Type(), 1);
  for (unsigned i : wideInputs)
    aligned = d.make<arith::AndIOp>(aligned, hasAlignedRows(d, kernel.getInputs()[i]));
  for (unsigned i : wideOuts)
    aligned = d.make<arith::AndIOp>(aligned, hasAlignedRows(d, kernel.getOuts()[i]));
  LoopSet outer = 0;
  for (unsigned loop : what.outer)
    outer |= loopBit(loop);
  e.hoist(outer);
  int64_t perRow = tile.n / kWide, all = tile.m * perRow;
  d.loop(thread, d.constant(all), d.constant(threads), {}, [&](Value number, ValueRange) {
    Value row = d.div(number, perRow), column = d.mul(d.rem(number, perRow), kWide);
    Value m = d.add(m0, d.toIndex(row)), n = d.add(n0, d.toIndex(column));
    Value isInside = d.make<arith::AndIOp>(d.isLess(m, height), d.isLess(n, width));
    d.branch(isInside, [&] {
      PointEmitter::Scope scope(e);
      if (what.m)
        e.at[*what.m] = m;
      e.hoist(what.m ? outer | loopBit(*what.m) : outer);
      Value sums = d.after(shared, d.add(d.mul(row, sumsPitch()), d.mul(column, 4)));
      Value isWhole = d.compare(arith::CmpIPredicate::ule, d.add(n, kWide), width);
      d.branch(
          d.make<arith::AndIOp>(aligned, isWhole), [&] { finishWhole(n, sums); },
          [&] { finishEach(n, sums); });
    });
    return Values();
  });
}

void TileEmitter::finishWhole(Value n, Value sums) {
  PointEmitter::Scope scope(e);
  e.at[what.n] = n;
  auto wide = [&](Type type) { return VectorType::get({kWide}, type); };
  auto indices = [&](AffineMap map) {
    return llvm::map_to_vector(map.getResults(), [&](AffineExpr expr) {
      return e.at[cast<AffineDimExpr>(expr).getPosition()];
    });
  };
  auto alignment = [&](Type type) {
    return llvm::MaybeAlign(std::min<int64_t>(16, kWide * type.getIntOrFloatBitWidth() / 8));
  };
  SmallVector<std::pair<unsigned, Value>> loaded;
  for (unsigned i : wideInputs) {
    Type type = cast<MemRefType>(kernel.getInputs()[i].getType()).getElementType();
    loaded.push_back({i, vector::LoadOp::create(b, wide(type), kernel.getInputs()[i],
                                                indices(kernel.getInputMap(i)),
                                                /*nontemporal=*/false, alignment(type))});
  }
  Type sumType = what.sum.getType();
  auto four = VectorType::get({4}, sumType);
  Value parts[] = {d.load(four, sums, 16), d.load(four, d.after(sums, 16), 16)};
  auto yielded = kernel.getYield().getValues();
  SmallVector<Values> results(kernel.getOuts().size());
  for (int64_t lane = 0; lane < kWide; ++lane) {
    PointEmitter::Scope each(e);
    e.at[what.n] = e.add(n, lane);
    for (auto [i, value] : loaded)
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
                              /*nontemporal=*/false, alignment(type));
      continue;
    }
    for (int64_t lane = 0; lane < kWide; ++lane) {
      PointEmitter::Scope each(e);
      e.at[what.n] = e.add(n, lane);
      e.storeOut(out, results[out][lane]);
    }
  }
}

void TileEmitter::finishEach(Value n, Value sums) {
  Value count = d.toInt(d.min(d.sub(width, n), kWide));
  d.loop(d.constant(0), count, d.constant(1), {}, [&](Value lane, ValueRange) {
    PointEmitter::Scope scope(e);
    e.at[what.n] = d.add(n, d.toIndex(lane));
    e.provide(what.sum, d.load(what.sum.getType(), d.after(sums, d.mul(lane, 4)), 4));
    Values results;
    for (Value value : kernel.getYield().getValues())
      results.push_back(e.get(value));
    for (auto [out, value] : llvm::enumerate(results))
      e.storeOut(out, value);
    return Values();
  });
}
