//===- EmitVectorRows.cpp - Rows of many vectors --------------------------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What is no plain copy, so that loops do not collapse to one, but is read and written in rows of
// vectors: rows by index, broadcasts, tiles. A warp takes pieces of rows, one vector for each lane,
// and asks for some of them before it writes the first: one at a time is too little on its way for
// memory's latency, behind an index's. Lanes behind a row's end, and pieces behind the last one,
// read what is in front of them again, which is in the cache.
//
//===----------------------------------------------------------------------===//

#include "passes/GPU/DeviceBuilder.h"
#include "passes/GPU/TeamReduce.h"
#include "passes/GPU/Teams.h"

using namespace mlir;
using namespace ssm;
using Predicate = arith::CmpIPredicate;

namespace {

/// Points from which on there are enough pieces; vectors of 16 bytes that a thread reads at once.
constexpr int64_t kLeastPoints = 1 << 22, kVectors = 4;
/// Rows of so many vectors lose few lanes at their ends, however long.
constexpr int64_t kLongRow = 4 * kWarp;
/// Operations of a point that registers hold for all vectors.
constexpr size_t kMaxOps = 32;

class VectorRowEmitter : public TeamEmitter {
public:
  VectorRowEmitter(DeviceKernel &k, bool overlaps = false) : TeamEmitter(k, overlaps) {
    takesSteps = true;
  }

  /// Whether the kernel has such rows; emits nothing.
  bool find();
  Value isFit();
  Value blocks() { return d.ceilDiv(pieces(), kBlock / kWarp * vectors); }
  LaunchShape emit();

private:
  ArrayRef<unsigned> outer() { return ArrayRef(pointLoops).drop_back(); }
  Value row() { return count(pointLoops.back()); }
  Value rowPieces() { return d.ceilDiv(row(), kWarp); }
  Value pieces() { return d.mul(product(outer()), rowPieces()); }
  void takeSteps();

  /// A piece of a row, and the indices of the row.
  struct Place {
    SmallVector<Value> row;
    Value piece;
  };
  Place placeOf(Value number, Value inRow);
  void advance(Place &place, Value exists, Value inRow);

  DeviceBuilder d{b};
  int64_t vectors = 1;
};

} // namespace

bool VectorRowEmitter::find() {
  Block &step = kernel.getStep();
  if (!step.getOps<ReduceOp>().empty() || step.getOperations().size() > kMaxOps)
    return false;
  analyze();
  if (!alone || !wideLoop || pointLoops.size() < 2 || *wideLoop != pointLoops.back())
    return false;
  for (unsigned out = 0; out < kernel.getOuts().size(); ++out)
    if (loopsOf(kernel.getOutMap(out)) != points)
      return false;
  int64_t all = 1;
  for (unsigned loop : pointLoops) {
    int64_t size = e.fixedSize(loop);
    all = size < 0 || all < 0 ? -1 : all * size;
  }
  if (all >= 0 && all < kLeastPoints)
    return false;
  int64_t bytes = 0;
  for (Value buffer : wideBuffers)
    if (!llvm::is_contained(kernel.getOuts(), buffer))
      bytes += lanes * cast<MemRefType>(buffer.getType()).getElementTypeBitWidth() / 8;
  vectors = kVectors * kAccessBytes / std::max(bytes, kAccessBytes);
  isWide = true;
  return vectors > 1;
}

Value VectorRowEmitter::isFit() {
  Value fits = isAligned(), size = row();
  auto require = [&](Value holds) { fits = d.make<arith::AndIOp>(fits, holds); };
  for (Value factor : steps)
    require(d.isEqual(factor, 1));
  require(d.compare(Predicate::uge, product(pointLoops), kLeastPoints / lanes));
  Value isWhole = d.isEqual(d.rem(size, kWarp), 0);
  require(d.make<arith::OrIOp>(isWhole, d.compare(Predicate::uge, size, kLongRow)));
  return fits;
}

/// Factors are one here.
void VectorRowEmitter::takeSteps() {
  for (Operation &op : llvm::make_early_inc_range(kernel.getStep().without_terminator()))
    if (auto product = dyn_cast<arith::MulIOp>(op);
        product && steps.contains(product.getRhs()) &&
        product.getLhs().getDefiningOp<ssm::IndexOp>()) {
      product.replaceAllUsesWith(product.getLhs());
      product.erase();
    }
}

VectorRowEmitter::Place VectorRowEmitter::placeOf(Value number, Value inRow) {
  PointEmitter::Scope scope(e);
  setIndices(outer(), d.div(number, inRow));
  return {llvm::map_to_vector(outer(), [&](unsigned loop) { return e.at[loop]; }),
          d.rem(number, inRow)};
}

/// To the next piece, if there is one, as the digits of a number grow: divisions for each piece
/// would take longer than memory does.
void VectorRowEmitter::advance(Place &place, Value exists, Value inRow) {
  Value carry = d.select(exists, constant(1), constant(0));
  auto grow = [&](Value &digit, Value size) {
    Value next = d.add(digit, carry), isOver = d.compare(Predicate::uge, next, size);
    digit = d.select(isOver, constant(0), next);
    carry = d.select(isOver, constant(1), constant(0));
  };
  grow(place.piece, inRow);
  for (size_t i = place.row.size(); i-- > 1;)
    grow(place.row[i], count(outer()[i]));
  place.row[0] = d.add(place.row[0], carry);
}

LaunchShape VectorRowEmitter::emit() {
  DeviceKernel both{k.hostKernel, k.hostKernel, k.host, k.host, nullptr};
  VectorRowEmitter host(both);
  host.find();
  find();
  takeSteps();
  Value one = arith::ConstantIndexOp::create(k.host, 1);
  LaunchShape shape = {{host.blocks(), one, one},
                       arith::ConstantIndexOp::create(k.host, kBlock),
                       kBlock};
  if (overlaps)
    waitForOthers(k, shape);
  begin();
  Value size = row(), inRow = rowPieces(), all = pieces(), lane = d.rem(thread, kWarp);
  Value warp = d.add(d.mul(team, kBlock / kWarp), d.div(thread, kWarp));
  Value first = d.mul(warp, vectors);
  struct Point {
    SmallVector<Value> at, values;
    Value isInside;
  };
  SmallVector<Point> taken(vectors);
  Lanes wide(*this, pointLoops);
  Place place = placeOf(d.min(first, d.sub(all, 1)), inRow);
  for (int64_t i = 0; i < vectors; ++i) {
    Point &point = taken[i];
    PointEmitter::Scope scope(e);
    Value exists = d.isLess(d.add(first, i), all);
    if (i > 0)
      advance(place, exists, inRow);
    Value vector = d.add(d.mul(place.piece, kWarp), lane);
    point.isInside = d.make<arith::AndIOp>(exists, d.isLess(vector, size));
    for (auto [loop, index] : llvm::zip_equal(outer(), place.row))
      e.at[loop] = index;
    e.at[pointLoops.back()] = d.mul(d.min(vector, d.sub(size, 1)), lanes);
    point.at = e.at;
    for (Value value : kernel.getYield().getValues())
      point.values.push_back(e.get(value));
  }
  for (Point &point : taken)
    d.branch(point.isInside, [&] {
      PointEmitter::Scope scope(e);
      e.at = point.at;
      for (auto [out, value] : llvm::enumerate(point.values))
        e.storeOut(out, value);
    });
  alignAccesses(k.function.getBody());
  return shape;
}

void ssm::addVectorRowForms(KernelOp kernel, bool overlaps, SmallVectorImpl<KernelForm> &forms) {
  ImplicitLocOpBuilder none(kernel.getLoc(), kernel);
  DeviceKernel only{kernel, kernel, none, none, nullptr};
  if (!VectorRowEmitter(only).find())
    return;
  forms.push_back({"_vectors",
                   [kernel](ImplicitLocOpBuilder &h) {
                     DeviceKernel host{kernel, kernel, h, h, nullptr};
                     VectorRowEmitter emitter(host);
                     emitter.find();
                     return emitter.isFit();
                   },
                   [overlaps](DeviceKernel &k) { return VectorRowEmitter(k, overlaps).emit(); }});
}
