//===- EmitSplitSums.cpp - Long sums by many blocks ------------------------ ===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Sums that are too few for all multiprocessors: of everything, or of columns. Blocks take
// parts of them, a second kernel adds these in their order and computes the outs.
//
//===----------------------------------------------------------------------===//

#include "passes/GPU/DeviceBuilder.h"
#include "passes/GPU/TeamReduce.h"
#include "passes/GPU/Teams.h"

#include "lib/Analysis/MatmulShape.h"
#include "mlir/Dialect/Arith/Utils/Utils.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;
using namespace ssm;

namespace {

/// Blocks that keep a GPU busy, and from how many sums on a block for each does.
constexpr int64_t kBlocks = 1056, kEnoughPoints = 264;
/// Accesses of a thread that are asked for together, elements of a sum that are worth it, and of
/// a column.
constexpr int64_t kTogether = 4, kLongSum = 16384, kLongColumn = 64;
constexpr int64_t kWarps = kBlock / kWarp, kWordBytes = 8;

class SplitEmitter : public TeamEmitter {
public:
  explicit SplitEmitter(DeviceKernel &k, bool wide) : TeamEmitter(k), d{b} {
    analyze(/*vectorsOfOwnSums=*/true);
    isWide = wide && wideLoop;
    for (auto op : kernel.getStep().getOps<ReduceOp>())
      sums.push_back(op);
  }

  /// Whether sums depend on no other and outs are a number for each.
  bool canSplit();
  bool hasVectors() const { return wideLoop.has_value(); }
  Value isFit();
  KernelForm::Split split();
  LaunchShape emitParts();
  LaunchShape emitSums();

private:
  using Values = SmallVector<Value>;

  int64_t lanesNow() const { return isWide ? lanes : 1; }
  Value hostLength();
  /// Blocks of 32 vectors of neighbouring columns.
  Value hostColumnBlocks();
  Value numPoints();
  /// All parts of a sum, [point][part], or [part][point] of columns.
  Value memoryOf(unsigned number);
  Value placeOf(Value point, Value part);
  /// Takes the elements of the sum from `first`, the same in all threads of a warp, and `own`
  /// on, `step` apart, several together `near` apart.
  Value reduceFrom(ReduceOp op, ArrayRef<unsigned> loops, Value first, Value own, Value near,
                   Value step);
  void partsOfTeam();
  void partsOfColumns();

  DeviceBuilder d;
  SmallVector<ReduceOp> sums;
};

} // namespace

bool SplitEmitter::canSplit() {
  if (sums.empty() || (alone && !wideLoop))
    return false;
  for (ReduceOp op : sums) {
    if (!alone && !teamReduces.contains(op))
      return false;
    SmallVector<Value> left = {op.getValue()};
    llvm::DenseSet<Value> seen;
    while (!left.empty()) {
      Value value = left.pop_back_val();
      Operation *made = value.getDefiningOp();
      if (!made || value.getParentBlock() != &kernel.getStep() || !seen.insert(value).second)
        continue;
      if (isa<ReduceOp>(made))
        return false;
      llvm::append_range(left, made->getOperands());
    }
    unsigned bits = op.getType().getIntOrFloatBitWidth();
    if (bits < 8 || bits > 64 || (alone && contains(loopsOf(op.getLoops()), *wideLoop)))
      return false;
  }
  for (unsigned out = 0; out < kernel.getOuts().size(); ++out)
    if (!isSubset(loopsOf(kernel.getOutMap(out)), points))
      return false;
  return true;
}

Value SplitEmitter::hostLength() {
  Value longest;
  for (ReduceOp op : sums) {
    Value length = hostProduct(llvm::to_vector_of<unsigned>(op.getLoops()));
    longest = longest ? k.host.createOrFold<arith::MaxUIOp>(longest, length) : length;
  }
  return longest;
}

Value SplitEmitter::hostColumnBlocks() {
  return DeviceBuilder{k.host}.ceilDiv(hostProduct(pointLoops), lanesNow() * kWarp);
}

Value SplitEmitter::isFit() {
  Value fits = isWide ? isAligned() : arith::ConstantIntOp::create(b, b.getI1Type(), 1).getResult();
  auto require = [&](arith::CmpIPredicate predicate, Value number, int64_t bound) {
    fits = d.make<arith::AndIOp>(fits, d.compare(predicate, number, bound));
  };
  require(arith::CmpIPredicate::uge, hostLength(), alone ? kLongColumn : kLongSum);
  if (!alone)
    require(arith::CmpIPredicate::ult, hostProduct(pointLoops), kEnoughPoints);
  return fits;
}

KernelForm::Split SplitEmitter::split() {
  DeviceBuilder host{k.host};
  Value one = arith::ConstantIndexOp::create(k.host, 1);
  Value points = hostProduct(pointLoops), blocks = alone ? hostColumnBlocks() : points;
  auto atLeastOne = [&](Value value) { return k.host.createOrFold<arith::MaxUIOp>(value, one); };
  Value wanted = host.div(host.constant(blocks, kBlocks), atLeastOne(blocks));
  int64_t perBlock = alone ? kWarps * kTogether : kBlock * lanesNow() * kTogether;
  Value most = host.ceilDiv(hostLength(), perBlock);
  Value numParts = atLeastOne(host.min(wanted, most));
  Value words = host.mul(host.mul(points, numParts), static_cast<int64_t>(sums.size()));
  return {numParts, words};
}

Value SplitEmitter::numPoints() {
  Value number = product(pointLoops);
  return isWide && alone ? e.mul(number, constant(lanes)) : number;
}

Value SplitEmitter::memoryOf(unsigned number) {
  Value all = e.mul(numPoints(), k.numParts);
  Value offset = e.mul(e.mul(all, constant(number)), constant(kWordBytes));
  auto type = MemRefType::get({ShapedType::kDynamic}, sums[number].getType());
  return ArenaViewOp::create(b, type, k.parts, offset, all);
}

Value SplitEmitter::placeOf(Value point, Value part) {
  return alone ? e.add(e.mul(part, numPoints()), point) : e.add(e.mul(point, k.numParts), part);
}

Value SplitEmitter::reduceFrom(ReduceOp op, ArrayRef<unsigned> loops, Value first, Value own,
                               Value near, Value step) {
  arith::AtomicRMWKind kind = op.getKind();
  Value length = product(loops), last = d.sub(length, 1);
  bool isVector = isWide && (alone || llvm::is_contained(loops, *wideLoop));
  Type type = isVector ? Type(VectorType::get({lanes}, op.getType())) : op.getType();
  Value none = e.neutral(kind, type);
  return d.loop(first, length, step, none, [&](Value number, ValueRange now) {
    SmallVector<unsigned> inputs = inputsOf(kernel, op.getValue());
    SmallVector<std::pair<Value, Values>> parts;
    Lanes wide(*this, isVector ? ArrayRef<unsigned>(*wideLoop) : ArrayRef<unsigned>());
    auto open = [&](Value place) { setIndices(loops, d.min(place, last)); };
    for (int64_t i = 0; i < kTogether; ++i) {
      PointEmitter::Scope one(e);
      Value place = e.add(e.add(number, own), e.mul(near, constant(i)));
      open(place);
      parts.push_back({place, llvm::map_to_vector(inputs, [&](unsigned input) {
                         return e.get(kernel.getStep().getArgument(input));
                       })});
    }
    Values all;
    for (const auto &part : parts)
      llvm::append_range(all, part.second);
    Value isThere = all.empty() ? Value() : areLoaded(b, all), sum = now[0];
    for (const auto &[place, loaded] : parts) {
      PointEmitter::Scope one(e);
      open(place);
      for (auto [input, value] : llvm::zip_equal(inputs, loaded))
        e.provide(kernel.getStep().getArgument(input), value);
      Value value = isVector ? e.getVector(op.getValue()) : e.get(op.getValue());
      Value isInside = d.isLess(place, length);
      if (isThere)
        isInside = d.make<arith::AndIOp>(isThere, isInside);
      sum = e.combine(kind, sum, d.select(isInside, value, none));
    }
    return Values{sum};
  })[0];
}

void SplitEmitter::partsOfTeam() {
  Value part = gpu::BlockIdOp::create(b, gpu::Dimension::y);
  setIndices(pointLoops, team);
  e.hoist(points);
  Value near = e.mul(k.numParts, threads);
  for (unsigned number = 0; number < sums.size(); ++number) {
    ReduceOp op = sums[number];
    SmallVector<unsigned> loops = order(loopsOf(op.getLoops()), /*byScore=*/true);
    Value sum = reduceFrom(op, loops, e.mul(part, threads), thread, near,
                           e.mul(near, constant(kTogether)));
    if (isa<VectorType>(sum.getType()))
      sum = e.reduceLanes(op.getKind(), sum);
    sum = reduceOverBlock(k, e, op.getKind(), sum);
    d.branch(d.isEqual(thread, 0), [&] {
      memref::StoreOp::create(b, sum, memoryOf(number), placeOf(team, part));
    });
  }
}

/// A warp has neighbouring columns, the warps of a block other rows of them.
void SplitEmitter::partsOfColumns() {
  Value part = gpu::BlockIdOp::create(b, gpu::Dimension::y);
  Value width = constant(kWarp);
  Value lane = b.createOrFold<arith::RemUIOp>(thread, width);
  Value warp = b.createOrFold<arith::DivUIOp>(thread, width);
  Value firstVector = e.mul(team, width);
  Value vectors = product(pointLoops);
  setIndices(pointLoops, d.min(e.add(firstVector, lane), d.sub(vectors, 1)));
  {
    Lanes wide(*this, *wideLoop);
    e.hoist(points);
  }
  Value first = e.mul(e.add(e.mul(part, constant(kWarps)), warp), constant(kTogether));
  Value step = e.mul(k.numParts, constant(kWarps * kTogether));
  SmallVector<Value> shared;
  for (ReduceOp op : sums) {
    SmallVector<unsigned> loops = order(loopsOf(op.getLoops()), /*byScore=*/false);
    Value sum = reduceFrom(op, loops, first, zero, constant(1), step);
    shared.push_back(k.addShared({lanesNow(), kBlock}, op.getType()));
    for (int64_t i = 0; i < lanesNow(); ++i) {
      Value element = isWide ? vector::ExtractOp::create(b, sum, i).getResult() : sum;
      memref::StoreOp::create(b, element, shared.back(), ValueRange{constant(i), thread});
    }
  }
  gpu::BarrierOp::create(b);
  // A thread for each column.
  Value slot = b.createOrFold<arith::RemUIOp>(thread, constant(lanesNow()));
  Value place = b.createOrFold<arith::DivUIOp>(thread, constant(lanesNow()));
  Value column = e.add(e.mul(firstVector, constant(lanesNow())), thread);
  Value isInside = d.make<arith::AndIOp>(d.isLess(place, kWarp), d.isLess(column, numPoints()));
  d.branch(isInside, [&] {
    Value from = b.createOrFold<arith::RemUIOp>(place, width);
    for (unsigned number = 0; number < sums.size(); ++number) {
      ReduceOp op = sums[number];
      Value sum;
      for (int64_t i = 0; i < kWarps; ++i) {
        Value part = memref::LoadOp::create(b, shared[number],
                                            ValueRange{slot, e.add(from, i * kWarp)});
        sum = sum ? e.combine(op.getKind(), sum, part) : part;
      }
      memref::StoreOp::create(b, sum, memoryOf(number), placeOf(column, part));
    }
  });
}

LaunchShape SplitEmitter::emitParts() {
  ImplicitLocOpBuilder &h = k.host;
  Value one = arith::ConstantIndexOp::create(h, 1);
  Value blocks = alone ? hostColumnBlocks() : hostProduct(pointLoops);
  begin();
  if (alone)
    partsOfColumns();
  else
    partsOfTeam();
  alignAccesses(k.function.getBody());
  return {{blocks, k.hostNumParts, one}, arith::ConstantIndexOp::create(h, kBlock), kBlock};
}

LaunchShape SplitEmitter::emitSums() {
  ImplicitLocOpBuilder &h = k.host;
  Value one = arith::ConstantIndexOp::create(h, 1), blocks = hostProduct(pointLoops);
  if (alone)
    blocks = DeviceBuilder{h}.ceilDiv(blocks, kBlock);
  begin();
  bool wasWide = std::exchange(isWide, false);
  Value point = alone ? e.add(e.mul(team, threads), thread) : team;
  auto all = [&] {
    setIndices(pointLoops, point);
    e.hoist(points);
    for (unsigned number = 0; number < sums.size(); ++number) {
      ReduceOp op = sums[number];
      Value memory = memoryOf(number), first = alone ? zero : thread;
      Value sum = d.loop(first, k.numParts, alone ? constant(1) : threads,
                         e.neutral(op.getKind(), op.getType()), [&](Value part, ValueRange now) {
                           Value next =
                               memref::LoadOp::create(b, memory, placeOf(point, part));
                           return Values{e.combine(op.getKind(), now[0], next)};
                         })[0];
      e.provide(op, alone ? sum : reduceOverBlock(k, e, op.getKind(), sum));
    }
    emitOuts();
  };
  if (alone)
    d.branch(d.isLess(point, product(pointLoops)), all);
  else
    all();
  isWide = wasWide;
  return {{blocks, one, one}, arith::ConstantIndexOp::create(h, kBlock), kBlock};
}

void ssm::addSplitForms(KernelOp kernel, SmallVectorImpl<KernelForm> &forms) {
  ImplicitLocOpBuilder none(kernel.getLoc(), kernel);
  DeviceKernel only{kernel, kernel, none, none, nullptr};
  SplitEmitter found(only, true);
  if (!found.canSplit())
    return;
  for (bool wide : {true, false}) {
    if (wide && !found.hasVectors())
      continue;
    auto onHost = [kernel, wide](ImplicitLocOpBuilder &h, auto what) {
      DeviceKernel host{kernel, kernel, h, h, nullptr};
      SplitEmitter emitter(host, wide);
      return what(emitter);
    };
    KernelForm form;
    form.suffix = wide ? "_parts" : "_any_parts";
    form.isFit = [onHost](ImplicitLocOpBuilder &h) {
      return onHost(h, [](SplitEmitter &emitter) { return emitter.isFit(); });
    };
    form.split = [onHost](ImplicitLocOpBuilder &h) {
      return onHost(h, [](SplitEmitter &emitter) { return emitter.split(); });
    };
    form.emit = [wide](DeviceKernel &k) { return SplitEmitter(k, wide).emitParts(); };
    form.emitSecond = [wide](DeviceKernel &k) { return SplitEmitter(k, wide).emitSums(); };
    forms.push_back(form);
  }
}
