//===- EmitThinTurns.cpp - Transposes of a short axis ---------------------- ===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Channels of images and their like: a short axis is turned with a long one. A block has all of the
// short axis and a part of the long one, on the one side a line for each index of the short axis,
// on the other all of it in one piece. Either side is read, or computed and written, by vectors; in
// between lies shared memory.
//
//===----------------------------------------------------------------------===//

#include "passes/GPU/DeviceBuilder.h"
#include "passes/GPU/TeamReduce.h"
#include "passes/GPU/Turns.h"

#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;
using namespace ssm;
using Predicate = arith::CmpIPredicate;

namespace {

/// Bytes of the widest operand that a block has, and single elements of a thread at most; parts of
/// the long axis are multiples of `kPart`, axes of fewer than `kLong` leave threads without work.
constexpr int64_t kTileBytes = 16384, kSingles = 8, kPart = 16, kLong = 256, kMaxLanes = 8;

/// `toShort`: outs lie along the short axis, else inputs do.
class ThinTurnEmitter : public TeamEmitter {
public:
  ThinTurnEmitter(DeviceKernel &k, bool toShort, bool wide)
      : TeamEmitter(k), d{b}, turn(*findTurn(kernel)), toShort(toShort), wide(wide),
        shorter(toShort ? turn.to : turn.from), longer(toShort ? turn.from : turn.to) {}

  bool find();
  Value isFit();
  LaunchShape emit();

private:
  Value partLength();
  Value blocks();
  void read(unsigned input, Value shared);
  Value fromShared(unsigned turned, Value atShort, Value atLong);
  void write();
  void writeLine(Value number);
  void writePiece(Value number);
  Value together(ArrayRef<Value> elements);
  /// Vectors of a thread.
  int64_t rounds(int64_t lanes) { return (elements + kBlock * lanes - 1) / (kBlock * lanes); }
  int64_t lanesOf(Value buffer, int64_t most) {
    return wide ? std::min(vectorLanes(buffer), most) : 1;
  }

  DeviceBuilder d;
  Turn turn;
  bool toShort, wide;
  unsigned shorter, longer;
  int64_t lanesTo = 1, elements = 0;
  /// Of the block, numbers of 32 bits.
  Value member, shortSize, length, all;
  /// Of each turned input what the block has, in the order in which it lies in memory, by vectors
  /// of all threads.
  SmallVector<Value> shared;
};

} // namespace

bool ThinTurnEmitter::find() {
  int64_t shortest = e.fixedSize(shorter), longest = e.fixedSize(longer);
  if (shortest >= kShortAxis || shortest == 1 || (longest >= 0 && longest < kLong))
    return false;
  // On the one side the short axis is the last one and the long one is next to it.
  auto isPiece = [&](AffineMap map) {
    unsigned rank = map.getNumResults();
    return rank >= 2 && map.getResult(rank - 2) == getAffineDimExpr(longer, map.getContext());
  };
  int64_t bytes = 1;
  auto widen = [&](Value buffer) { bytes = std::max(bytes, kAccessBytes / vectorLanes(buffer)); };
  for (unsigned out = 0; out < kernel.getOuts().size(); ++out) {
    if (toShort && !isPiece(kernel.getOutMap(out)))
      return false;
    widen(kernel.getOuts()[out]);
    lanesTo = std::max(lanesTo, lanesOf(kernel.getOuts()[out], kMaxLanes));
  }
  for (unsigned input : turn.turned) {
    AffineMap map = kernel.getInputMap(input);
    if (!map.isFunctionOfDim(longer) || (!toShort && !isPiece(map)))
      return false;
    widen(kernel.getInputs()[input]);
  }
  // Vectors of the long axis are computed as such, with the others that lie along it.
  if (wide && !toShort)
    for (Value buffer : turn.dense)
      lanesTo = std::max(lanesTo, lanesOf(buffer, kMaxLanes));
  elements = kTileBytes / bytes / static_cast<int64_t>(turn.turned.size());
  if (!wide)
    elements = std::min(elements, kBlock * kSingles);
  return elements >= kShortAxis * kPart;
}

Value ThinTurnEmitter::isFit() {
  Value shortest = e.size(shorter), longest = e.size(longer);
  Value fits = d.make<arith::AndIOp>(d.compare(Predicate::ult, shortest, kShortAxis),
                                     d.compare(Predicate::ugt, shortest, 1));
  auto require = [&](Value condition) { fits = d.make<arith::AndIOp>(fits, condition); };
  require(d.compare(Predicate::uge, longest, kLong));
  if (!wide)
    return fits;
  int64_t most = lanesTo;
  auto align = [&](Value buffer, int64_t lanes) {
    most = std::max(most, lanes);
    require(beginsAligned(b, buffer, lanes));
  };
  for (unsigned input : turn.turned)
    align(kernel.getInputs()[input], vectorLanes(kernel.getInputs()[input]));
  if (toShort)
    for (Value out : kernel.getOuts())
      align(out, lanesTo);
  else
    for (Value buffer : turn.dense)
      align(buffer, lanesTo);
  require(d.isEqual(d.rem(longest, most), 0));
  return fits;
}

/// Parts of about the same length, as few as shared memory allows.
Value ThinTurnEmitter::partLength() {
  Value most = d.mul(d.div(constant(elements / kPart), e.size(shorter)), kPart);
  Value parts = b.createOrFold<arith::CeilDivUIOp>(e.size(longer), most);
  Value even = b.createOrFold<arith::CeilDivUIOp>(e.size(longer), parts);
  return d.mul(d.ceilDiv(even, kPart), kPart);
}

Value ThinTurnEmitter::blocks() {
  return d.mul(b.createOrFold<arith::CeilDivUIOp>(e.size(longer), partLength()),
               product(turn.outer));
}

LaunchShape ThinTurnEmitter::emit() {
  DeviceKernel both{k.hostKernel, k.hostKernel, k.host, k.host, nullptr};
  ThinTurnEmitter host(both, toShort, wide);
  host.find();
  find();
  begin();
  Value part = partLength(), parts = b.createOrFold<arith::CeilDivUIOp>(e.size(longer), part);
  setIndices(turn.outer, d.div(team, parts));
  e.at[longer] = d.mul(d.rem(team, parts), part);
  e.at[shorter] = constant(0);
  shortSize = d.toInt(e.size(shorter));
  length = d.toInt(d.min(d.sub(e.size(longer), e.at[longer]), part));
  all = d.mul(shortSize, length);
  member = d.toInt(thread);
  for (unsigned input : turn.turned) {
    Value buffer = kernel.getInputs()[input];
    int64_t lanes = lanesOf(buffer, kAccessBytes);
    shared.push_back(k.addShared({rounds(lanes), kBlock * lanes},
                                 cast<MemRefType>(buffer.getType()).getElementType()));
    read(input, shared.back());
  }
  gpu::BarrierOp::create(b);
  write();
  alignAccesses(k.function.getBody());
  Value one = host.constant(1);
  return {{host.blocks(), one, one}, host.constant(kBlock), kBlock};
}

/// All vectors of a thread are asked for before the first is there.
void ThinTurnEmitter::read(unsigned input, Value shared) {
  Value buffer = kernel.getInputs()[input];
  Type type = cast<MemRefType>(buffer.getType()).getElementType();
  int64_t lanes = lanesOf(buffer, kAccessBytes);
  Value vectors = d.div(all, lanes), inLine = d.div(length, lanes);
  SmallVector<std::pair<Value, Value>> loaded;
  for (int64_t i = 0; i < rounds(lanes); ++i) {
    PointEmitter::Scope scope(e);
    Value number = d.add(member, i * kBlock), isInside = d.isLess(number, vectors);
    number = d.min(number, d.sub(vectors, 1));
    if (toShort) {
      e.at[shorter] = d.toIndex(d.div(number, inLine));
      e.at[longer] = d.add(e.at[longer], d.toIndex(d.mul(d.rem(number, inLine), lanes)));
    } else {
      // Behind the short axis' end the next index of the long one begins.
      e.at[shorter] = d.toIndex(d.mul(number, lanes));
    }
    SmallVector<Value> at = e.indicesOf(input);
    Value value =
        lanes > 1
            ? vector::LoadOp::create(b, VectorType::get({lanes}, type), buffer, at).getResult()
            : memref::LoadOp::create(b, buffer, at).getResult();
    loaded.push_back({value, isInside});
  }
  for (auto [i, one] : llvm::enumerate(loaded))
    d.branch(one.second, [&, value = one.first, i = i] {
      SmallVector<Value> to = {constant(i), d.mul(thread, lanes)};
      if (lanes > 1)
        vector::StoreOp::create(b, value, shared, to);
      else
        memref::StoreOp::create(b, value, shared, to);
    });
}

Value ThinTurnEmitter::fromShared(unsigned turned, Value atShort, Value atLong) {
  Value at =
      toShort ? d.add(d.mul(atShort, length), atLong) : d.add(d.mul(atLong, shortSize), atShort);
  int64_t row = cast<MemRefType>(shared[turned].getType()).getShape().back();
  SmallVector<Value> indices = {d.toIndex(d.div(at, row)), d.toIndex(d.rem(at, row))};
  return memref::LoadOp::create(b, shared[turned], indices);
}

void ThinTurnEmitter::write() {
  Value vectors = d.div(all, lanesTo);
  for (int64_t i = 0; i < rounds(lanesTo); ++i) {
    Value number = d.add(member, i * kBlock);
    d.branch(d.isLess(number, vectors), [&] {
      PointEmitter::Scope scope(e);
      if (toShort)
        writePiece(number);
      else
        writeLine(number);
    });
  }
}

void ThinTurnEmitter::writeLine(Value number) {
  Value inLine = d.div(length, lanesTo);
  Value atShort = d.div(number, inLine), atLong = d.mul(d.rem(number, inLine), lanesTo);
  e.at[shorter] = d.toIndex(atShort);
  e.at[longer] = d.add(e.at[longer], d.toIndex(atLong));
  for (auto [i, input] : llvm::enumerate(turn.turned)) {
    SmallVector<Value> parts;
    for (int64_t lane = 0; lane < lanesTo; ++lane)
      parts.push_back(fromShared(i, atShort, d.add(atLong, lane)));
    e.provide(kernel.getInputArg(input), together(parts));
  }
  storePoints(e, kernel, longer, lanesTo);
}

/// The elements of a vector are points of their own.
void ThinTurnEmitter::writePiece(Value number) {
  auto yielded = kernel.getYield().getValues();
  Value begin = d.mul(number, lanesTo);
  Value atLong = d.div(begin, shortSize), atShort = d.rem(begin, shortSize);
  SmallVector<SmallVector<Value>> parts(yielded.size());
  for (int64_t lane = 0; lane < lanesTo; ++lane) {
    PointEmitter::Scope scope(e);
    e.at[shorter] = d.toIndex(atShort);
    e.at[longer] = d.add(e.at[longer], d.toIndex(atLong));
    for (auto [i, input] : llvm::enumerate(turn.turned))
      e.provide(kernel.getInputArg(input), fromShared(i, atShort, atLong));
    for (auto [values, value] : llvm::zip_equal(parts, yielded))
      values.push_back(e.get(value));
    atShort = d.add(atShort, 1);
    Value isOver = d.isEqual(atShort, shortSize);
    atShort = d.select(isOver, d.constant(0), atShort);
    atLong = d.select(isOver, d.add(atLong, 1), atLong);
  }
  e.at[shorter] = d.toIndex(begin);
  for (auto [out, values] : llvm::enumerate(parts)) {
    Value value = together(values), buffer = kernel.getOuts()[out];
    SmallVector<Value> at = e.indicesOfOut(out);
    if (lanesTo > 1)
      vector::StoreOp::create(b, value, buffer, at);
    else
      memref::StoreOp::create(b, value, buffer, at);
  }
}

Value ThinTurnEmitter::together(ArrayRef<Value> elements) {
  if (elements.size() == 1)
    return elements.front();
  auto type = VectorType::get({lanesTo}, elements.front().getType());
  return vector::FromElementsOp::create(b, type, elements);
}

void ssm::addThinTurnForms(KernelOp kernel, SmallVectorImpl<KernelForm> &forms) {
  auto add = [&](StringRef name, bool toShort, bool wide) {
    addTurnForm<ThinTurnEmitter>(kernel, forms, name, toShort, wide);
  };
  add("_interleaved", true, true);
  add("_any_interleaved", true, false);
  add("_apart", false, true);
  add("_any_apart", false, false);
}
