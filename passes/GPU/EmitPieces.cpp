//===- EmitPieces.cpp - Points that are no vectors ------------------------ ===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Many points whose rows do not begin where vectors do, or do not lie dense. A warp takes pieces of
// rows, element by element. Where a piece lies is found by divisions for a warp's first one alone:
// those of a thread's points would take longer than memory does. From one piece to the next, all
// loops' indices grow like the digits of a number.
//
//===----------------------------------------------------------------------===//

#include "passes/GPU/DeviceBuilder.h"
#include "passes/GPU/TeamReduce.h"
#include "passes/GPU/Teams.h"

using namespace mlir;
using namespace ssm;
using Predicate = arith::CmpIPredicate;

namespace {

/// Points from which on, and lengths of rows from which on, warps take pieces.
constexpr int64_t kManyPoints = 1 << 20, kLeastRow = 16;
/// Points of a thread in a piece, and elements of a piece.
constexpr int64_t kPoints = 8, kLength = kWarp * kPoints;
/// Pieces of a warp, one after the other; for fewer than so many a warp has one.
constexpr int64_t kPieces = 4, kManyPieces = 1 << 13;

class PieceEmitter : public TeamEmitter {
public:
  PieceEmitter(DeviceKernel &k, bool overlaps) : TeamEmitter(k, overlaps), d{b} { analyze(); }

  bool find();
  Value isFit();
  LaunchShape emit();

private:
  unsigned inner() { return pointLoops.back(); }
  ArrayRef<unsigned> outer() { return ArrayRef(pointLoops).drop_back(); }
  /// Pieces of a row, of all, and of a warp.
  Value rowPieces() { return d.ceilDiv(e.size(inner()), kLength); }
  Value pieces() { return d.mul(product(outer()), rowPieces()); }
  Value warpPieces(Value all) {
    return d.select(d.compare(Predicate::uge, all, kPieces * kManyPieces), constant(kPieces),
                    constant(1));
  }
  void emitPiece(Value begin, Value size);
  bool canTakeTogether();
  void emitTogether(Value first, Value size);
  void emitEach(Value first, Value end);

  DeviceBuilder d;
  Value lane;
};

} // namespace

bool PieceEmitter::find() {
  if (!alone || pointLoops.size() < 2)
    return false;
  int64_t row = e.fixedSize(inner()), all = 1;
  for (unsigned loop : pointLoops) {
    int64_t size = e.fixedSize(loop);
    all = size < 0 || all < 0 ? -1 : all * size;
  }
  return (row < 0 || row >= kLeastRow) && (all < 0 || all >= kManyPoints);
}

Value PieceEmitter::isFit() {
  Value fits = d.make<arith::AndIOp>(d.compare(Predicate::uge, product(pointLoops), kManyPoints),
                                     d.compare(Predicate::uge, e.size(inner()), kLeastRow));
  if (!wideLoop)
    return fits;
  return d.make<arith::AndIOp>(fits, d.isEqual(isAligned(), 0));
}

LaunchShape PieceEmitter::emit() {
  DeviceKernel both{k.hostKernel, k.hostKernel, k.host, k.host, nullptr};
  PieceEmitter host(both, overlaps);
  Value all = host.pieces();
  Value warps = host.b.createOrFold<arith::CeilDivUIOp>(all, host.warpPieces(all));
  LaunchShape shape = {{host.d.ceilDiv(warps, kBlock / kWarp), host.constant(1), host.constant(1)},
                       host.constant(kBlock),
                       kBlock};
  if (overlaps)
    waitForOthers(k, shape);
  begin();
  SmallVector<Value> sizes;
  for (unsigned loop : outer())
    sizes.push_back(e.size(loop));
  sizes.push_back(rowPieces());
  Value size = e.size(inner()), number = pieces(), perWarp = warpPieces(number);
  lane = d.rem(thread, kWarp);
  Value warp = d.add(d.mul(team, kBlock / kWarp), d.div(thread, kWarp));
  Value first = d.mul(warp, perWarp), end = d.min(d.add(first, perWarp), number);
  SmallVector<Value> digits(sizes.size());
  Value left = first;
  for (size_t i = sizes.size(); i-- > 0;) {
    digits[i] = i == 0 ? left : d.rem(left, sizes[i]);
    left = i == 0 ? left : d.div(left, sizes[i]);
  }
  d.loop(first, end, constant(1), digits, [&](Value, ValueRange now) {
    PointEmitter::Scope scope(e);
    for (auto [loop, index] : llvm::zip(outer(), now))
      e.at[loop] = index;
    emitPiece(d.mul(now.back(), kLength), size);
    SmallVector<Value> next(now);
    Value carry = constant(1);
    for (size_t i = sizes.size(); i-- > 0;) {
      next[i] = d.add(next[i], carry);
      if (i == 0)
        break;
      Value isOver = d.compare(Predicate::uge, next[i], sizes[i]);
      next[i] = d.select(isOver, constant(0), next[i]);
      carry = d.select(isOver, constant(1), constant(0));
    }
    return next;
  });
  return shape;
}

void PieceEmitter::emitPiece(Value begin, Value size) {
  Value first = d.add(begin, lane), end = d.add(begin, kLength);
  auto each = [&] { emitEach(first, d.min(end, size)); };
  if (!canTakeTogether())
    return each();
  // Most of a piece at the end of a row is taken likewise, where it does not begin the row too.
  auto most = [&] {
    d.branch(
        d.isLess(d.add(begin, kLength / 2), size), [&] { emitTogether(first, size); }, each);
  };
  d.branch(
      d.compare(Predicate::ule, end, size), [&] { emitTogether(first, Value()); }, most);
}

/// Elementwise, with operands that registers hold for all of a thread's points.
bool PieceEmitter::canTakeTogether() {
  constexpr size_t most = 32;
  Block &step = kernel.getStep();
  return step.getOps<ReduceOp>().empty() && step.getOperations().size() <= most &&
         kernel.getInputs().size() * kPoints <= most &&
         llvm::all_of(llvm::seq<unsigned>(0, kernel.getOuts().size()),
                      [&](unsigned out) { return loopsOf(kernel.getOutMap(out)) == points; });
}

/// All points of a thread are read before one is written: an element at a time is too little on its
/// way for memory's latency. With a size, points behind it read the last one and are not written.
void PieceEmitter::emitTogether(Value first, Value size) {
  // For chips before sm_90 ptxas would rather spill than have four blocks on a multiprocessor.
  if (!overlaps)
    k.function->setAttr("nvvm.minctasm", b.getI32IntegerAttr(4));
  auto yielded = kernel.getYield().getValues();
  SmallVector<SmallVector<Value>> values;
  for (int64_t i = 0; i < kPoints; ++i) {
    PointEmitter::Scope scope(e);
    Value at = e.add(first, i * kWarp);
    e.at[inner()] = size ? d.min(at, d.sub(size, 1)) : at;
    SmallVector<Value> &results = values.emplace_back();
    for (Value value : yielded)
      results.push_back(e.get(value));
  }
  for (int64_t i = 0; i < kPoints; ++i) {
    PointEmitter::Scope scope(e);
    Value at = e.add(first, i * kWarp);
    e.at[inner()] = at;
    auto store = [&] {
      for (auto [out, value] : llvm::enumerate(values[i]))
        e.storeOut(out, value);
    };
    if (size)
      d.branch(d.isLess(at, size), store);
    else
      store();
  }
}

void PieceEmitter::emitEach(Value first, Value end) {
  d.loop(first, end, constant(kWarp), {}, [&](Value at, ValueRange) {
    PointEmitter::Scope scope(e);
    e.at[inner()] = at;
    emitPoint();
    return SmallVector<Value>();
  });
}

void ssm::addPieceForms(KernelOp kernel, bool overlaps, SmallVectorImpl<KernelForm> &forms) {
  ImplicitLocOpBuilder none(kernel.getLoc(), kernel);
  DeviceKernel only{kernel, kernel, none, none, nullptr};
  if (!PieceEmitter(only, overlaps).find())
    return;
  forms.push_back({"_pieces",
                   [kernel, overlaps](ImplicitLocOpBuilder &h) {
                     DeviceKernel host{kernel, kernel, h, h, nullptr};
                     return PieceEmitter(host, overlaps).isFit();
                   },
                   [overlaps](DeviceKernel &k) { return PieceEmitter(k, overlaps).emit(); }});
}
