//===- EmitPicks.cpp - Elements of rows by index ---------------------------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What takes elements of a row in an order that data tells (GatherElements and Gather along the
// innermost axis). The lanes of a warp would ask the first-level cache for almost as many lines as
// there are lanes, one after the other. A block has a row instead: it is read once, by vectors, to
// shared memory, where lanes meet in few banks.
//
//===----------------------------------------------------------------------===//

#include "passes/GPU/DeviceBuilder.h"
#include "passes/GPU/TeamReduce.h"
#include "passes/GPU/Teams.h"

#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;
using namespace ssm;
using Predicate = arith::CmpIPredicate;

namespace {

/// Bytes of a row at most; vectors and points that a thread asks for at once.
constexpr int64_t kRowBytes = 32768, kVectors = 4, kPoints = 8;
/// Blocks, and points, that are worth it. Of fewer points than one for so many of a row's elements
/// most of the row would be read in vain.
constexpr int64_t kLeastRows = 264, kLeastPoints = 1 << 20, kMostLeftOut = 4;
/// Operations of a point that registers hold for all of a thread's.
constexpr size_t kMaxOps = 32;

class PickEmitter : public TeamEmitter {
public:
  PickEmitter(DeviceKernel &k, bool overlaps = false) : TeamEmitter(k, overlaps) {}

  /// Whether the kernel picks so; emits nothing.
  bool find();
  Value isFit();
  LaunchShape emit();

private:
  bool isPick(const IndexedRead &read);
  ArrayRef<unsigned> outer() { return ArrayRef(pointLoops).drop_back(); }
  unsigned inner() { return pointLoops.back(); }
  Type elementType() { return cast<MemRefType>(pick->source.getType()).getElementType(); }
  int64_t bytes() { return elementType().getIntOrFloatBitWidth() / 8; }
  Value rowSize() {
    return memref::DimOp::create(
        b, pick->source, static_cast<int64_t>(pick->indices.size() - 1));
  }
  int64_t lanesOfVector() { return kAccessBytes / bytes(); }
  void stage();
  void copy(bool byVectors, int64_t pieces);
  void write(Value first);

  DeviceBuilder d{b};
  /// The read by index, and its result.
  std::optional<IndexedRead> pick;
  Value picked, shared, taken, size;
};

} // namespace

/// A row of the outer loops alone, and any place in it.
bool PickEmitter::isPick(const IndexedRead &read) {
  auto type = dyn_cast<MemRefType>(read.source.getType());
  if (!type || !type.getElementType().isIntOrFloat() || !type.isLastDimUnitStride() ||
      llvm::is_contained(kernel.getOuts(), read.source))
    return false;
  unsigned bits = type.getElementTypeBitWidth();
  if (bits < 8 || bits > 64 || !llvm::isPowerOf2_32(bits) ||
      !contains(e.loops.of(read.indices.back()), inner()))
    return false;
  bool isOfData = llvm::any_of(
      findParts(kernel, {read.indices.back()}, [](Value) { return false; }), [](Value part) {
        Operation *op = part.getDefiningOp();
        return !op || getIndexedRead(op);
      });
  if (!isOfData)
    return false;
  return llvm::none_of(read.indices.drop_back(), [&](Value index) {
    return contains(e.loops.of(index), inner());
  });
}

bool PickEmitter::find() {
  Block &step = kernel.getStep();
  if (!step.getOps<ReduceOp>().empty() || step.getOperations().size() > kMaxOps)
    return false;
  choosePoints();
  if (pointLoops.size() < 2)
    return false;
  for (unsigned out = 0; out < kernel.getOuts().size(); ++out)
    if (loopsOf(kernel.getOutMap(out)) != points)
      return false;
  for (Operation &op : step.without_terminator()) {
    auto read = getIndexedRead(&op);
    if (!read || !isPick(*read))
      continue;
    if (pick)
      return false;
    pick = read;
    picked = op.getResult(0);
  }
  if (!pick)
    return false;
  int64_t fixed = cast<MemRefType>(pick->source.getType()).getShape().back();
  return ShapedType::isDynamic(fixed) || fixed * bytes() <= kRowBytes;
}

Value PickEmitter::isFit() {
  Value row = rowSize(), taken = e.size(inner()), rows = product(outer());
  Value fits = d.compare(Predicate::ule, row, kRowBytes / bytes());
  auto require = [&](Value holds) { fits = d.make<arith::AndIOp>(fits, holds); };
  // An index into an empty row is an error, which the other form finds.
  require(d.compare(Predicate::uge, row, 1));
  require(d.compare(Predicate::uge, d.mul(taken, kMostLeftOut), row));
  require(d.compare(Predicate::uge, rows, kLeastRows));
  require(d.compare(Predicate::uge, d.mul(rows, taken), kLeastPoints));
  return fits;
}

/// Pieces of the row, as long as the block's vectors are together, so many of them at once; each by
/// vectors or, lane after lane, by single elements.
void PickEmitter::copy(bool byVectors, int64_t pieces) {
  int64_t lanes = lanesOfVector(), width = byVectors ? lanes : 1;
  Value source = pick->source, count = d.ceilDiv(size, kBlock * lanes), last = d.sub(size, width);
  SmallVector<Value> row =
      llvm::map_to_vector(pick->indices.drop_back(), [&](Value index) { return e.get(index); });
  auto type = VectorType::get({lanes}, elementType());
  struct Part {
    Value piece, within, at, loaded;
  };
  d.loop(zero, count, constant(pieces), {}, [&](Value first, ValueRange) {
    SmallVector<Part> parts;
    for (int64_t i = 0; i < pieces; ++i)
      for (int64_t lane = 0; lane < lanes; lane += width) {
        Part part = {e.add(first, i), e.add(d.mul(thread, width), lane * kBlock), {}, {}};
        part.at = d.add(d.mul(part.piece, kBlock * lanes), part.within);
        SmallVector<Value> from(row);
        from.push_back(d.min(part.at, last));
        part.loaded = byVectors ? vector::LoadOp::create(b, type, source, from).getResult()
                                : memref::LoadOp::create(b, source, from).getResult();
        parts.push_back(part);
      }
    for (const Part &part : parts)
      d.branch(d.isLess(part.at, size), [&] {
        SmallVector<Value> to = {part.piece, part.within};
        if (byVectors)
          vector::StoreOp::create(b, part.loaded, shared, to);
        else
          memref::StoreOp::create(b, part.loaded, shared, to);
      });
    return SmallVector<Value>();
  });
}

/// The row to shared memory.
void PickEmitter::stage() {
  Value isWhole = d.make<arith::AndIOp>(d.isEqual(d.rem(size, lanesOfVector()), 0),
                                        d.isAligned(pick->source, kAccessBytes));
  auto apart = [&](bool byVectors) {
    return [this, byVectors] {
      PointEmitter::Scope scope(e);
      copy(byVectors, byVectors ? kVectors : 1);
    };
  };
  d.branch(isWhole, apart(true), apart(false));
}

/// A thread's points from `first` on: all indices are asked for before the first is used.
void PickEmitter::write(Value first) {
  struct Point {
    Value isInside;
    SmallVector<Value> at, values;
    SmallVector<std::pair<Value, Value>> known;
  };
  SmallVector<Point> all(kPoints);
  Value last = d.sub(taken, 1);
  for (int64_t i = 0; i < kPoints; ++i) {
    Point &point = all[i];
    PointEmitter::Scope scope(e);
    Value number = e.add(first, i * kBlock);
    point.isInside = d.isLess(number, taken);
    e.at[inner()] = d.min(number, last);
    point.at = e.at;
    for (Value argument : kernel.getStep().getArguments())
      if (!argument.use_empty())
        e.get(argument);
    e.get(pick->indices.back());
    e.forEachKnown([&](Value value, Value emitted) { point.known.push_back({value, emitted}); });
  }
  for (Point &point : all) {
    PointEmitter::Scope scope(e);
    e.at = point.at;
    for (auto [value, emitted] : point.known)
      e.provide(value, emitted);
    Value place = e.get(pick->indices.back());
    int64_t piece = kBlock * lanesOfVector();
    e.provide(picked, memref::LoadOp::create(b, shared,
                                             ValueRange{d.div(place, piece), d.rem(place, piece)}));
    for (Value value : kernel.getYield().getValues())
      point.values.push_back(e.get(value));
  }
  for (Point &point : all)
    d.branch(point.isInside, [&] {
      PointEmitter::Scope scope(e);
      e.at = point.at;
      for (auto [out, value] : llvm::enumerate(point.values))
        e.storeOut(out, value);
    });
}

LaunchShape PickEmitter::emit() {
  find();
  Value one = arith::ConstantIndexOp::create(k.host, 1);
  LaunchShape shape = {{hostProduct(outer()), one, one},
                       arith::ConstantIndexOp::create(k.host, kBlock),
                       kBlock};
  if (overlaps)
    waitForOthers(k, shape);
  begin();
  int64_t piece = kBlock * lanesOfVector();
  shared = k.addShared({kRowBytes / bytes() / piece, piece}, elementType());
  setIndices(outer(), team);
  size = rowSize();
  taken = e.size(inner());
  stage();
  gpu::BarrierOp::create(b);
  d.loop(thread, taken, constant(kBlock * kPoints), {}, [&](Value first, ValueRange) {
    write(first);
    return SmallVector<Value>();
  });
  alignAccesses(k.function.getBody());
  return shape;
}

void ssm::addPickForms(KernelOp kernel, bool overlaps, SmallVectorImpl<KernelForm> &forms) {
  ImplicitLocOpBuilder none(kernel.getLoc(), kernel);
  DeviceKernel only{kernel, kernel, none, none, nullptr};
  if (!PickEmitter(only).find())
    return;
  forms.push_back({"_picked",
                   [kernel](ImplicitLocOpBuilder &h) {
                     DeviceKernel host{kernel, kernel, h, h, nullptr};
                     PickEmitter emitter(host);
                     emitter.find();
                     return emitter.isFit();
                   },
                   [overlaps](DeviceKernel &k) { return PickEmitter(k, overlaps).emit(); }});
}
