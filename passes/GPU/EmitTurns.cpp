//===- EmitTurns.cpp - Transposes through shared memory -------------------- ===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Kernels without sums that write along one axis what they read along another. A block has a
// square tile of the two: it is read by vectors along the one, and computed and written by
// vectors along the other. Vectors of a line of shared memory are swapped so that neither
// has threads of a warp meet in a bank.
//
//===----------------------------------------------------------------------===//

#include "passes/GPU/DeviceBuilder.h"
#include "passes/GPU/TeamReduce.h"
#include "passes/GPU/Turns.h"

#include "lib/Analysis/KernelShape.h"
#include "lib/Analysis/MatmulShape.h"
#include "mlir/Dialect/Arith/Utils/Utils.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;
using namespace ssm;

namespace {

/// The side of a tile, and of one of bytes: lines of 64 bytes are too short for memory.
constexpr int64_t kTile = 64, kTileOfBytes = 128, kMaxLanes = 8;

class TurnEmitter : public TeamEmitter {
public:
  /// `wide`: vectors, else single elements.
  /// With the side of a tile.
  TurnEmitter(DeviceKernel &k, bool wide, int64_t tile)
      : TeamEmitter(k), d{b}, turn(*findTurn(kernel)), wide(wide), tile(tile) {}

  /// Whether tiles fit into shared memory.
  bool find();
  Value isFit();
  LaunchShape emit();

private:
  /// An input that lies along `from`, its vectors, and its tile: what all threads read at once
  /// one after the other, then lines of `to`.
  struct Turned {
    unsigned input;
    int64_t lanes, tile;
    Value shared;
    int64_t chunks() const { return tile / lanes; }
    int64_t linesAtOnce() const { return kBlock / chunks(); }
  };
  void place();
  void read();
  void write();
  Value swapped(const Turned &turned, Value line, Value chunk);

  DeviceBuilder d;
  Turn turn;
  bool wide;
  int64_t tile, lanesTo = 1;
  unsigned from = 0, to = 0;
  SmallVector<Turned> turned;
  Value firstFrom, firstTo, sizeFrom, sizeTo;
};

} // namespace

static bool isPlain(Value buffer, AffineMap map) {
  auto type = dyn_cast<MemRefType>(buffer.getType());
  if (!type || !type.getElementType().isIntOrFloat() || !type.getLayout().isIdentity())
    return false;
  unsigned bits = type.getElementTypeBitWidth();
  LoopSet seen = 0;
  for (AffineExpr expr : map.getResults()) {
    auto dim = dyn_cast<AffineDimExpr>(expr);
    if (!dim || contains(seen, dim.getPosition()))
      return false;
    seen |= loopBit(dim.getPosition());
  }
  return bits >= 8 && bits <= 64 && llvm::isPowerOf2_32(bits);
}

std::optional<Turn> ssm::findTurn(KernelOp kernel) {
  if (!isVectorizable(kernel) || kernel.getOuts().empty())
    return std::nullopt;
  for (Operation &op : kernel.getStep().without_terminator())
    if (isa<ReduceOp>(op) || getIndexedRead(&op))
      return std::nullopt;
  auto innermost = [](AffineMap map) {
    return cast<AffineDimExpr>(map.getResults().back()).getPosition();
  };
  Turn turn;
  for (unsigned out = 0; out < kernel.getOuts().size(); ++out) {
    AffineMap map = kernel.getOutMap(out);
    Value buffer = kernel.getOuts()[out];
    if (map.getNumResults() != kernel.getNumLoops() || map.getNumResults() < 2 ||
        !isPlain(buffer, map) || (out > 0 && innermost(map) != turn.to))
      return std::nullopt;
    turn.to = innermost(map);
    turn.dense.push_back(buffer);
  }
  std::optional<unsigned> along;
  for (unsigned i = 0; i < kernel.getInputs().size(); ++i) {
    AffineMap map = kernel.getInputMap(i);
    Value buffer = kernel.getInputs()[i];
    if (!map.isFunctionOfDim(turn.to))
      continue;
    if (!isPlain(buffer, map))
      return std::nullopt;
    if (innermost(map) == turn.to) {
      turn.dense.push_back(buffer);
      continue;
    }
    if (along && *along != innermost(map))
      return std::nullopt;
    along = innermost(map);
    turn.turned.push_back(i);
  }
  if (!along || !canBeLaneLoop(kernel, turn.to, kAccessBytes))
    return std::nullopt;
  turn.from = *along;
  for (unsigned loop = 0; loop < kernel.getNumLoops(); ++loop)
    if (loop != turn.from && loop != turn.to)
      turn.outer.push_back(loop);
  return turn;
}

bool TurnEmitter::find() {
  from = turn.from;
  to = turn.to;
  int64_t bytes = 0;
  for (unsigned input : turn.turned) {
    Value buffer = kernel.getInputs()[input];
    turned.push_back({input, wide ? vectorLanes(buffer) : 1, tile, Value()});
    bytes += tile * tile * kAccessBytes / vectorLanes(buffer);
  }
  if (wide)
    for (Value buffer : turn.dense)
      lanesTo = std::max(lanesTo, std::min(vectorLanes(buffer), kMaxLanes));
  bool isOfBytes = bytes == tile * tile * static_cast<int64_t>(turn.turned.size());
  return bytes <= 32768 && (tile == kTile || isOfBytes);
}

Value TurnEmitter::isFit() {
  Value fits = arith::ConstantIntOp::create(b, b.getI1Type(), 1);
  auto require = [&](Value condition) { fits = d.make<arith::AndIOp>(fits, condition); };
  // Of large tiles few are cut off by an axis' end.
  int64_t least = tile == kTile ? kShortAxis : 2 * tile;
  for (unsigned loop : {from, to})
    require(d.compare(arith::CmpIPredicate::uge, e.size(loop), least));
  if (!wide)
    return fits;
  require(d.isEqual(d.rem(e.size(to), lanesTo), 0));
  for (const Turned &one : turned) {
    require(d.isEqual(d.rem(e.size(from), one.lanes), 0));
    require(beginsAligned(b, kernel.getInputs()[one.input], one.lanes));
  }
  for (Value buffer : turn.dense)
    require(beginsAligned(b, buffer, lanesTo));
  return fits;
}

void TurnEmitter::place() {
  sizeFrom = e.size(from);
  sizeTo = e.size(to);
  Value number = team;
  auto next = [&](Value count) {
    Value index = b.createOrFold<arith::RemUIOp>(number, count);
    number = b.createOrFold<arith::DivUIOp>(number, count);
    return index;
  };
  firstTo = e.mul(next(d.ceilDiv(sizeTo, tile)), constant(tile));
  firstFrom = e.mul(next(d.ceilDiv(sizeFrom, tile)), constant(tile));
  for (unsigned loop : llvm::reverse(turn.outer))
    e.at[loop] = next(e.size(loop));
}

/// Where a line's chunk is within the line: lines that are read together differ.
Value TurnEmitter::swapped(const Turned &one, Value line, Value chunk) {
  int64_t turns = std::min<int64_t>(wide ? 8 : kWarp, one.chunks());
  return d.bitXor(chunk, d.rem(d.div(line, lanesTo), turns));
}

void TurnEmitter::read() {
  for (Turned &one : turned) {
    Value buffer = kernel.getInputs()[one.input];
    Type type = cast<MemRefType>(buffer.getType()).getElementType();
    int64_t times = tile / one.linesAtOnce();
    one.shared = k.addShared({times, kBlock * one.lanes}, type);
    Value chunk = d.rem(thread, one.chunks()), line = d.div(thread, one.chunks());
    SmallVector<Value> loaded;
    for (int64_t i = 0; i < times; ++i) {
      // What lies outside is read elsewhere, and not used.
      PointEmitter::Scope scope(e);
      e.at[to] = d.min(e.add(e.add(firstTo, line), i * one.linesAtOnce()), d.sub(sizeTo, 1));
      e.at[from] = d.min(e.add(firstFrom, d.mul(chunk, one.lanes)), d.sub(sizeFrom, one.lanes));
      SmallVector<Value> indices;
      for (AffineExpr expr : kernel.getInputMap(one.input).getResults())
        indices.push_back(e.at[cast<AffineDimExpr>(expr).getPosition()]);
      if (one.lanes > 1)
        loaded.push_back(
            vector::LoadOp::create(b, VectorType::get({one.lanes}, type), buffer, indices));
      else
        loaded.push_back(memref::LoadOp::create(b, buffer, indices));
    }
    for (auto [i, value] : llvm::enumerate(loaded)) {
      Value inTile = e.add(line, i * one.linesAtOnce());
      Value at = d.add(d.mul(line, tile), d.mul(swapped(one, inTile, chunk), one.lanes));
      SmallVector<Value> indices = {constant(i), at};
      if (one.lanes > 1)
        vector::StoreOp::create(b, value, one.shared, indices);
      else
        memref::StoreOp::create(b, value, one.shared, indices);
    }
  }
}

void TurnEmitter::write() {
  // A warp has eight vectors by four lines, or one line of elements.
  int64_t chunks = tile / lanesTo, near = wide ? 8 : kWarp, lines = kWarp / near;
  Value within = d.rem(thread, kWarp), warp = d.div(thread, kWarp);
  for (int64_t i = 0; i < tile * chunks / kBlock; ++i) {
    Value group = e.add(warp, i * (kBlock / kWarp));
    Value chunk = d.add(d.mul(d.rem(group, chunks / near), near), d.rem(within, near));
    Value line = d.add(d.mul(d.div(group, chunks / near), lines), d.div(within, near));
    Value first = d.mul(chunk, lanesTo);
    Value atTo = e.add(firstTo, first), atFrom = e.add(firstFrom, line);
    d.branch(d.make<arith::AndIOp>(d.isLess(atTo, sizeTo), d.isLess(atFrom, sizeFrom)), [&] {
      PointEmitter::Scope scope(e);
      e.at[to] = atTo;
      e.at[from] = atFrom;
      for (const Turned &one : turned) {
        SmallVector<Value> elements;
        for (int64_t j = 0; j < lanesTo; ++j) {
          Value row = e.add(first, j);
          Value at = swapped(one, row, d.div(line, one.lanes));
          at = d.add(d.mul(at, one.lanes), d.rem(line, one.lanes));
          at = d.add(d.mul(d.rem(row, one.linesAtOnce()), tile), at);
          elements.push_back(
              memref::LoadOp::create(b, one.shared, ValueRange{d.div(row, one.linesAtOnce()), at}));
        }
        Value value = elements.front();
        if (lanesTo > 1)
          value = vector::FromElementsOp::create(b, VectorType::get({lanesTo}, value.getType()),
                                                 elements);
        e.provide(kernel.getStep().getArgument(one.input), value);
      }
      storePoints(e, kernel, to, lanesTo);
    });
  }
}

void ssm::storePoints(PointEmitter &e, KernelOp kernel, unsigned loop, int64_t lanes) {
  if (lanes > 1) {
    e.laneLoop = loop;
    e.lanes = lanes;
  }
  auto yielded = kernel.getYield().getValues();
  for (Value value : yielded)
    e.get(value);
  for (auto [out, value] : llvm::enumerate(yielded))
    e.storeOut(out, e.get(value));
  e.laneLoop = std::nullopt;
  e.lanes = 1;
}

LaunchShape TurnEmitter::emit() {
  ImplicitLocOpBuilder &h = k.host;
  DeviceBuilder host{h};
  find();
  Value one = arith::ConstantIndexOp::create(h, 1);
  Value blocks =
      host.mul(host.mul(host.ceilDiv(hostProduct(to), tile), host.ceilDiv(hostProduct(from), tile)),
               hostProduct(turn.outer));
  begin();
  place();
  read();
  gpu::BarrierOp::create(b);
  write();
  alignAccesses(k.function.getBody());
  return {{blocks, one, one}, arith::ConstantIndexOp::create(h, kBlock), kBlock};
}

void ssm::addTurnForms(KernelOp kernel, SmallVectorImpl<KernelForm> &forms) {
  if (!findTurn(kernel))
    return;
  addThinTurnForms(kernel, forms);
  addTurnForm<TurnEmitter>(kernel, forms, "_bytes_turned", true, kTileOfBytes);
  addTurnForm<TurnEmitter>(kernel, forms, "_turned", true, kTile);
  addTurnForm<TurnEmitter>(kernel, forms, "_any_turned", false, kTile);
}
