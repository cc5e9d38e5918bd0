//===- EmitColumns.cpp - Sums down columns and what follows from them ------ ===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A softmax or a norm along an axis that does not lie dense: neighbours are columns, which have
// sums of their own. A block has a few columns side by side, its threads share out their lengths; of
// longer ones the blocks of a cluster do, which read each other's parts of the sums. Where memory
// allows it, a thread has vectors of neighbouring columns.
//
//===----------------------------------------------------------------------===//

#include "passes/GPU/DeviceBuilder.h"
#include "passes/GPU/DeviceModule.h"
#include "passes/GPU/TeamReduce.h"
#include "passes/GPU/Teams.h"

#include "lib/Analysis/MatmulShape.h"
#include "lib/Emit/RowDivision.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/LLVMIR/NVVMDialect.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;
using namespace ssm;

namespace {

/// Elements of a thread, more of which would not stay in registers.
constexpr int64_t kElements = 16, kMostElements = 32;
/// Threads of a block at most, and bytes of neighbours that memory gives at once.
constexpr int64_t kThreads = 512, kVectorThreads = 256, kSectorBytes = 32;
/// Fewer terms of a sum are not shared out.
constexpr int64_t kShortest = 17;
/// So many blocks of broad ones keep all multiprocessors busy.
constexpr int64_t kManyBlocks = 128;
/// Of narrow ones as many as let a thread have all elements that it can.
constexpr int64_t kManyNarrow = 1024;
/// Bytes of a sum that the blocks of a cluster read.
constexpr int64_t kSumBytes = 8;
/// What is on its way at once where elements are read anew for each sum.
constexpr int64_t kAhead = 8;

/// Threads side by side that have vectors, at most and at least.
constexpr int64_t kMostAcross = 8, kLeastAcross = 2;

enum class Width { Vectors, Broad, Narrow, Cluster, LongCluster, Tall };

class ColumnEmitter : public TeamEmitter {
public:
  ColumnEmitter(DeviceKernel &k, Width width, bool overlaps = false)
      : TeamEmitter(k, overlaps), width(width), d{b} {
    choosePoints();
  }

  /// Whether sums along the same loops are computed of one another, or outs of them, and the
  /// columns are neighbours in memory.
  bool isColumns();
  Value isFit();
  LaunchShape emit();

private:
  /// One of the thread's elements: whether and where it is, and what is known of it.
  struct Part {
    Value isInside, number;
    SmallVector<std::pair<Value, Value>> known;
  };
  bool areVectors() const { return width == Width::Vectors; }
  bool isCluster() const { return width == Width::Cluster || width == Width::LongCluster; }
  int64_t mostThreads() const { return areVectors() ? kVectorThreads : kThreads; }
  int64_t columns();
  int64_t elements();
  /// Of a thread's elements, neighbouring columns counted once.
  int64_t perThread() { return std::max<int64_t>(elements() / lanes, 1); }
  /// Elements of a block's columns, at most.
  int64_t rows() { return perThread() * (mostThreads() / columns()); }
  /// Threads side by side, on the host: as many as leave the length to few blocks.
  Value hostAcross();
  /// Of vectors each element.
  Value forEach(Value value, llvm::function_ref<Value(Value)> each);
  Type typeOf(ReduceOp op);
  LaunchShape launch();
  Value hostBlocks();
  Value hostParts();
  void place(Part &part, int64_t i);
  void open(Value number);
  void open(const Part &part);
  void remember(Part &part);
  void reduce(ReduceOp op);
  Value reduceAnew(ReduceOp op);
  Value reduceOverColumns(arith::AtomicRMWKind kind, Value value);
  Value reduceOverCluster(arith::AtomicRMWKind kind, Value value);
  void write();
  void store(ArrayRef<unsigned> outs);

  Width width;
  DeviceBuilder d;
  SmallVector<unsigned> summed, outer;
  SmallVector<unsigned> read; // inputs along the sums
  unsigned column = 0;
  Value length, row, step, exists, whole, across;
  /// Of a cluster: its blocks, the block's number, the memory of sums and how many it has.
  Value numParts, part, sums;
  int64_t numSums = 0;
  SmallVector<Part> parts;
};

} // namespace

bool ColumnEmitter::isColumns() {
  SmallVector<ReduceOp> reduces(kernel.getStep().getOps<ReduceOp>());
  if (reduces.empty() || pointLoops.empty())
    return false;
  LoopSet over = loopsOf(reduces.front().getLoops());
  column = pointLoops.back();
  for (ReduceOp reduce : reduces)
    if (loopsOf(reduce.getLoops()) != over || e.loops.of(reduce) != points)
      return false;
  bool isAgain = reduces.size() > 1; // else a sum that can be split
  for (unsigned out = 0; out < kernel.getOuts().size(); ++out) {
    LoopSet own = loopsOf(kernel.getOutMap(out));
    if (own != points && own != (points | over))
      return false;
    isAgain |= own != points;
  }
  summed = listLoops(over);
  // Few terms are one thread's.
  int64_t fixed = 1;
  for (unsigned loop : summed)
    fixed *= e.fixedSize(loop) < 0 ? kShortest : e.fixedSize(loop);
  if (fixed < kShortest)
    return false;
  outer = SmallVector<unsigned>(ArrayRef(pointLoops).drop_back());
  auto isDense = [&](AffineMap map) {
    auto last = map.getNumResults() ? dyn_cast<AffineDimExpr>(map.getResults().back())
                                    : AffineDimExpr(nullptr);
    return last && last.getPosition() == column;
  };
  for (unsigned i = 0; i < kernel.getMaps().size(); ++i) {
    AffineMap map = kernel.getMap(i);
    if (!(loopsOf(map) & over))
      continue;
    if (!isDense(map))
      return false;
    if (i < kernel.getInputs().size())
      read.push_back(i);
  }
  if (!isAgain || read.empty())
    return false;
  if (!areVectors())
    return true;
  // Bits are no elements of memory.
  for (ReduceOp reduce : reduces)
    if (reduce.getType().getIntOrFloatBitWidth() < 8)
      return false;
  widen(column);
  return wideLoop.has_value();
}

/// Columns of a block: a warp's, or as many as memory gives at once. Of vectors the fewest threads side
/// by side.
int64_t ColumnEmitter::columns() {
  if (areVectors())
    return kLeastAcross;
  if (width == Width::Broad)
    return kWarp;
  int64_t bytes = kSectorBytes / 4;
  for (unsigned input : read) {
    Type element = cast<MemRefType>(kernel.getInputs()[input].getType()).getElementType();
    if (element.isIntOrFloat())
      bytes = std::min<int64_t>(bytes, llvm::divideCeil(element.getIntOrFloatBitWidth(), 8));
  }
  return std::min<int64_t>(kSectorBytes / bytes, kWarp);
}

int64_t ColumnEmitter::elements() {
  // Two of 16 bits are in a register.
  int64_t most = width == Width::LongCluster || lanes > 4 ? kMostElements : kElements, words = 0;
  for (unsigned input : read) {
    Type type = kernel.getInputArg(input).getType();
    words += type.isIntOrFloat() && type.getIntOrFloatBitWidth() <= 32 ? 1 : 2;
  }
  return std::max<int64_t>(most / words, 1);
}

Value ColumnEmitter::hostAcross() {
  DeviceBuilder host{k.host};
  Value length = hostProduct(summed);
  Value across = arith::ConstantIndexOp::create(k.host, kLeastAcross);
  for (int64_t more = 2 * kLeastAcross; more <= kMostAcross; more *= 2) {
    int64_t rows = perThread() * (mostThreads() / more);
    across = host.select(host.compare(arith::CmpIPredicate::ule, length, rows),
                         arith::ConstantIndexOp::create(k.host, more), across);
  }
  return across;
}

Value ColumnEmitter::hostBlocks() {
  DeviceBuilder host{k.host};
  Value size = hostProduct(column);
  if (!areVectors())
    return host.mul(hostProduct(outer), host.ceilDiv(size, columns()));
  Value side = host.mul(hostAcross(), lanes);
  Value groups = host.div(host.sub(host.add(size, side), 1), side);
  return host.mul(hostProduct(outer), groups);
}

/// As few as hold the columns, more where these are few.
Value ColumnEmitter::hostParts() {
  DeviceBuilder host{k.host};
  Value one = arith::ConstantIndexOp::create(k.host, 1);
  Value groups = host.make<arith::MaxUIOp>(hostBlocks(), one);
  Value busy = host.div(arith::ConstantIndexOp::create(k.host, kManyBlocks), groups);
  Value needed = host.ceilDiv(hostProduct(summed), rows());
  return host.min(host.make<arith::MaxUIOp>(host.make<arith::MaxUIOp>(needed, busy), one),
                  kMaxCluster);
}

Value ColumnEmitter::isFit() {
  if (width == Width::Tall)
    return nullptr;
  DeviceBuilder host{k.host};
  Value length = hostProduct(summed);
  Value fits = host.compare(arith::CmpIPredicate::ule, length,
                            rows() * (isCluster() ? kMaxCluster : 1));
  fits = host.make<arith::AndIOp>(fits, host.compare(arith::CmpIPredicate::ugt, length, 0));
  if (areVectors())
    fits = host.make<arith::AndIOp>(fits, isAligned());
  if (width == Width::Broad || areVectors())
    fits = host.make<arith::AndIOp>(
        fits, host.compare(arith::CmpIPredicate::uge, hostBlocks(), kManyBlocks));
  return fits;
}

LaunchShape ColumnEmitter::launch() {
  ImplicitLocOpBuilder &h = k.host;
  DeviceBuilder host{h};
  // Few blocks have as many threads as there is something to do for.
  int64_t few = std::min<int64_t>(elements(), 4), all = perThread();
  Value one = arith::ConstantIndexOp::create(h, 1), rows = hostProduct(summed), parts = one;
  auto warpsOf = [&](int64_t each) {
    return areVectors() ? host.ceilDiv(host.mul(rows, hostAcross()), each * kWarp)
                        : host.ceilDiv(rows, each * (kWarp / columns()));
  };
  if (isCluster()) {
    parts = hostParts();
    rows = host.div(host.sub(host.add(rows, parts), 1), parts);
  }
  Value warps = warpsOf(all);
  if (width == Width::Narrow || width == Width::Tall)
    warps = host.select(host.isLess(hostBlocks(), kManyNarrow), warpsOf(few), warps);
  // With vectors a thread for each column, too.
  int64_t fewest = areVectors() ? llvm::divideCeil(kMostAcross * lanes, kWarp) : 1;
  warps = h.createOrFold<arith::MaxUIOp>(host.min(warps, mostThreads() / kWarp),
                                         arith::ConstantIndexOp::create(h, fewest));
  LaunchShape shape = {{hostBlocks(), parts, one}, host.mul(warps, kWarp), mostThreads()};
  if (areVectors()) {
    shape.more.push_back(hostAcross());
    unsigned index = k.function.getNumArguments();
    (void)k.function.insertArgument(index, b.getIndexType(), {}, k.function.getLoc());
    across = k.function.getArgument(index);
  }
  if (isCluster()) {
    int64_t reduces = llvm::range_size(kernel.getStep().getOps<ReduceOp>());
    shape.dynamicShared = reduces * columns() * kSumBytes;
    shape.flags |= kClusters;
  }
  return shape;
}

LaunchShape ColumnEmitter::emit() {
  LaunchShape shape = launch();
  begin();
  if (overlaps)
    waitForOthers(k, shape);
  if (!areVectors())
    across = constant(columns());
  isWide = areVectors();
  Lanes wide(*this, column);
  Value side = e.mul(across, constant(lanes)), size = e.size(column);
  Value groups = d.div(d.sub(d.add(size, side), 1), side);
  row = d.div(thread, across);
  step = d.div(threads, across);
  setIndices(outer, d.div(team, groups));
  Value at = d.add(d.mul(d.rem(team, groups), side), d.mul(d.rem(thread, across), lanes));
  // Threads past the end do the last columns again, and write nothing.
  exists = d.isLess(at, size);
  e.at[column] = d.min(at, d.sub(size, lanes));
  e.hoist(points);
  length = product(summed);
  if (isCluster()) {
    numParts = gpu::GridDimOp::create(b, gpu::Dimension::y);
    part = gpu::BlockIdOp::create(b, gpu::Dimension::y);
    sums = k.addDynamicShared();
    row = d.add(row, d.mul(step, part));
    step = d.mul(step, numParts);
  }
  if (width != Width::Tall)
    for (int64_t i = 0; i < perThread(); ++i) {
      parts.emplace_back();
      place(parts.back(), i);
      PointEmitter::Scope scope(e);
      open(parts.back());
      for (unsigned input : read)
        e.get(kernel.getInputArg(input));
      remember(parts.back());
    }
  for (auto op : kernel.getStep().getOps<ReduceOp>()) {
    reduce(op);
    e.hoist(points);
  }
  if (isCluster())
    NVVM::ClusterArriveOp::create(b, b.getUnitAttr());
  write();
  // No block ends before others have read what it has.
  if (isCluster())
    NVVM::ClusterWaitOp::create(b, b.getUnitAttr());
  if (areVectors())
    alignAccesses(k.function.getBody());
  return shape;
}

void ColumnEmitter::place(Part &part, int64_t i) {
  Value number = d.add(row, d.mul(step, i));
  part.isInside = d.isLess(number, length);
  part.number = d.min(number, d.sub(length, 1));
}

void ColumnEmitter::open(Value number) { setIndices(summed, number); }

void ColumnEmitter::open(const Part &part) {
  open(part.number);
  for (auto [value, emitted] : part.known)
    e.provide(value, emitted);
}

void ColumnEmitter::remember(Part &part) {
  part.known.clear();
  e.forEachKnown([&](Value value, Value emitted) {
    if (!isSubset(e.loops.of(value), points))
      part.known.push_back({value, emitted});
  });
}

void ColumnEmitter::reduce(ReduceOp op) {
  arith::AtomicRMWKind kind = op.getKind();
  Value none = e.neutral(kind, typeOf(op)), sum;
  if (width == Width::Tall)
    sum = reduceAnew(op);
  for (Part &part : parts) {
    PointEmitter::Scope scope(e);
    open(part);
    Value value = areVectors() ? e.getVector(op.getValue()) : e.get(op.getValue());
    remember(part);
    value = d.select(part.isInside, value, none);
    sum = sum ? e.combine(kind, sum, value) : value;
  }
  whole = reduceOverColumns(kind, sum);
  e.provide(op, whole);
}

/// Several elements at a time, each for a sum of its own.
Value ColumnEmitter::reduceAnew(ReduceOp op) {
  arith::AtomicRMWKind kind = op.getKind();
  Value none = e.neutral(kind, op.getType());
  SmallVector<Value> start(kAhead, none);
  SmallVector<Value> sums =
      d.loop(row, length, d.mul(step, kAhead), start, [&](Value first, ValueRange sums) {
        SmallVector<Value> next;
        for (auto [i, sum] : llvm::enumerate(sums)) {
          PointEmitter::Scope scope(e);
          Value number = d.add(first, d.mul(step, static_cast<int64_t>(i)));
          open(d.min(number, d.sub(length, 1)));
          Value value = d.select(d.isLess(number, length), e.get(op.getValue()), none);
          next.push_back(e.combine(kind, sum, value));
        }
        return next;
      });
  return e.combineAll(kind, std::move(sums));
}

Type ColumnEmitter::typeOf(ReduceOp op) {
  return areVectors() ? VectorType::get({lanes}, op.getType()) : op.getType();
}

Value ColumnEmitter::forEach(Value value, llvm::function_ref<Value(Value)> each) {
  auto type = dyn_cast<VectorType>(value.getType());
  if (!type)
    return each(value);
  SmallVector<Value> elements;
  for (int64_t i = 0; i < type.getNumElements(); ++i)
    elements.push_back(each(vector::ExtractOp::create(b, value, i)));
  return vector::FromElementsOp::create(b, type, elements);
}

/// Threads of a column: those of a warp by shuffles, then the warps in their order.
Value ColumnEmitter::reduceOverColumns(arith::AtomicRMWKind kind, Value value) {
  auto over = [&](int64_t distance) {
    Value other = forEach(value, [&](Value one) { return shuffleXor(b, one, distance); });
    return e.combine(kind, value, other);
  };
  int64_t least = areVectors() ? kMostAcross : columns();
  for (int64_t distance = kWarp / 2; distance >= least; distance /= 2)
    value = over(distance);
  for (int64_t distance = least / 2; areVectors() && distance >= kLeastAcross; distance /= 2)
    value = d.choose(
        d.compare(arith::CmpIPredicate::ule, across, distance), value.getType(),
        [&] { return SmallVector<Value>{over(distance)}; },
        [&] { return SmallVector<Value>{value}; })[0];
  Type type = value.getType(), element = getElementTypeOrSelf(type);
  Value shared = k.addShared({mostThreads() / kWarp, least * lanes}, element);
  Value lane = d.rem(thread, kWarp), mine = d.mul(d.rem(thread, across), lanes);
  Value warp = d.div(thread, kWarp), warps = d.div(threads, kWarp);
  auto sumOf = [&](Value column) {
    auto load = [&](Value warp) -> Value {
      return memref::LoadOp::create(b, shared, ValueRange{warp, column});
    };
    return d.loop(constant(1), warps, constant(1), load(constant(0)), [&](Value i, ValueRange sums) {
      return SmallVector<Value>{e.combine(kind, sums[0], load(i))};
    })[0];
  };
  d.branch(d.isLess(lane, across), [&] {
    if (areVectors())
      vector::StoreOp::create(b, value, shared, ValueRange{warp, mine});
    else
      memref::StoreOp::create(b, value, shared, ValueRange{warp, mine});
  });
  gpu::BarrierOp::create(b);
  if (areVectors()) {
    // A thread for each column: vectors of all warps in all threads would be most of the work.
    Value all = k.addShared({mostThreads()}, element), place = d.bitAnd(thread, least * lanes - 1);
    d.branch(d.isLess(thread, e.mul(across, constant(lanes))),
             [&] { memref::StoreOp::create(b, sumOf(place), all, ValueRange{thread}); });
    gpu::BarrierOp::create(b);
    return vector::LoadOp::create(b, cast<VectorType>(type), all, ValueRange{mine});
  }
  value = sumOf(mine);
  return isCluster() ? reduceOverCluster(kind, value) : value;
}

/// The blocks' sums, in their order.
Value ColumnEmitter::reduceOverCluster(arith::AtomicRMWKind kind, Value value) {
  int64_t side = columns();
  Value mine = d.toInt(d.rem(thread, side));
  Value own = d.after(sums, d.add(d.mul(mine, kSumBytes), numSums++ * side * kSumBytes));
  d.branch(d.isLess(thread, side), [&] { d.store(value, own, kSumBytes); });
  NVVM::ClusterArriveOp::create(b, b.getUnitAttr());
  NVVM::ClusterWaitOp::create(b, b.getUnitAttr());
  auto remote = LLVM::LLVMPointerType::get(b.getContext(), /*shared memory of a cluster*/ 7);
  auto sumOf = [&](Value block) {
    return d.load(value.getType(), NVVM::MapaOp::create(b, remote, own, d.toInt(block)), kSumBytes);
  };
  return d.loop(constant(1), numParts, constant(1), sumOf(constant(0)),
                [&](Value block, ValueRange now) {
                  return SmallVector<Value>{e.combine(kind, now[0], sumOf(block))};
                })[0];
}

void ColumnEmitter::store(ArrayRef<unsigned> outs) {
  auto yielded = kernel.getYield().getValues();
  for (unsigned out : outs)
    e.get(yielded[out]);
  for (unsigned out : outs)
    e.storeOut(out, e.get(yielded[out]));
}

void ColumnEmitter::write() {
  // Where elements are is told anew, for registers to hold nothing but values.
  if (width != Width::Tall) {
    row = d.select(areLoaded(b, whole), row, constant(0));
    for (auto [i, part] : llvm::enumerate(parts))
      place(part, i);
  }
  SmallVector<unsigned> along, single;
  for (unsigned out = 0; out < kernel.getOuts().size(); ++out)
    (loopsOf(kernel.getOutMap(out)) == points ? single : along).push_back(out);
  if (!along.empty() && width == Width::Tall)
    d.branch(exists, [&] {
      d.loop(row, length, step, {}, [&](Value number, ValueRange) {
        PointEmitter::Scope scope(e);
        open(number);
        store(along);
        return SmallVector<Value>();
      });
    });
  if (!along.empty())
    for (const Part &part : parts)
      d.branch(d.make<arith::AndIOp>(exists, part.isInside), [&] {
        PointEmitter::Scope scope(e);
        open(part);
        store(along);
      });
  if (!single.empty())
    d.branch(d.make<arith::AndIOp>(exists, d.isEqual(row, 0)), [&] {
      PointEmitter::Scope scope(e);
      store(single);
    });
}

void ssm::addColumnForms(KernelOp kernel, bool overlaps, SmallVectorImpl<KernelForm> &forms) {
  struct Form {
    StringLiteral name;
    Width width;
  };
  static constexpr Form all[] = {
      {"_vectors", Width::Vectors},
      {"_broad", Width::Broad},
      {"_narrow", Width::Narrow},
      {"_cluster", Width::Cluster},
      {"_long_cluster", Width::LongCluster},
      {"_tall", Width::Tall}};
  ImplicitLocOpBuilder none(kernel.getLoc(), kernel);
  DeviceKernel alone{kernel, kernel, none, none, nullptr};
  if (!ColumnEmitter(alone, Width::Tall).isColumns())
    return;
  for (const Form &form : all) {
    bool isCluster = form.width == Width::Cluster || form.width == Width::LongCluster;
    if (isCluster && !overlaps) // chips have both or neither
      continue;
    if (form.width == Width::Vectors && !ColumnEmitter(alone, form.width).isColumns())
      continue;
    forms.push_back({form.name,
                     form.width == Width::Tall
                         ? std::function<Value(ImplicitLocOpBuilder &)>()
                         : [kernel, &form](ImplicitLocOpBuilder &h) {
                             DeviceKernel host{kernel, kernel, h, h, nullptr};
                             ColumnEmitter emitter(host, form.width);
                             (void)emitter.isColumns();
                             return emitter.isFit();
                           },
                     [&form, overlaps](DeviceKernel &k) {
                       invertRowDivisors(k.kernel);
                       ColumnEmitter emitter(k, form.width, overlaps);
                       (void)emitter.isColumns();
                       return emitter.emit();
                     }});
  }
}
