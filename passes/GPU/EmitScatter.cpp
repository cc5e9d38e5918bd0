//===- EmitScatter.cpp - Loops that write where data tells ----------------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A scatter is a nest of loops whose points write one element each, in order: of two that meet the
// later one counts, or both are combined. Loops that are an index of the element by themselves
// keep points apart, so threads share those out; the others run in order within a thread. Where
// these are long, points meet by their numbers instead: of plain writes the greatest number that
// comes to an element is found first; what is combined is sorted by its element, and a thread
// takes all of one in their order. Where the loops that run in order walk along rows, a block has
// those of one: of points that meet in a word of shared memory the first takes its turn, then the
// next one. The result is that of the loops, bit by bit.
//
//===----------------------------------------------------------------------===//

#include "passes/GPU/EmitSort.h"
#include "passes/GPU/TeamReduce.h"

#include "passes/GPU/DeviceBuilder.h"
#include "llvm/ADT/SetVector.h"
#include "mlir/IR/IRMapping.h"
#include "mlir/IR/Matchers.h"
#include "mlir/Interfaces/ViewLikeInterface.h"

using namespace mlir;
using namespace ssm;
using Predicate = arith::CmpIPredicate;

namespace {

constexpr int64_t kThreads = 256;
/// Points that a thread takes in order rather than let them meet by numbers.
constexpr int64_t kFewPoints = 8, kFewCombined = 64;
/// Threads that are enough to combine in order, however long.
constexpr int64_t kEnoughThreads = int64_t(1) << 14;

/// Points of a thread at once, those of a block, and words where they meet.
constexpr int64_t kPoints = 8, kTurn = kThreads * kPoints, kSlots = 4096;
/// Steps of a row that are worth a block, and more of which could use up the numbers of turns.
constexpr int64_t kLeastSteps = 128, kMostSteps = int64_t(1) << 20;
/// Rows that are enough blocks, and steps of fewer of them.
constexpr int64_t kEnoughRows = 16, kStepsOfFew = 16384;

class ScatterNest {
public:
  /// Whether the nest is one.
  bool match(Operation *nest);
  bool isCombined() const { return static_cast<bool>(current); }
  /// Whether neighbours of the innermost loop run in order.
  bool areRows() const {
    return memref::StoreOp(store).getMemRefType().getElementType().isIntOrFloat() &&
           llvm::is_contained(inOrder, loops.size() - 1);
  }

  /// The loops that are an index of the element and nothing else; of these the ones that no other
  /// index depends on; all but those.
  SmallVector<unsigned> apart, isFree, numbered, inOrder;
  SmallVector<scf::ForOp> loops;
  memref::StoreOp store;
  /// The read of the element that is combined.
  memref::LoadOp current;
  /// Axes of the out that are no free loop.
  SmallVector<int64_t> axes;

private:
  bool findLoops(Operation *nest);
  bool findBody();
  void classify();
};

class ScatterEmitter {
public:
  ScatterEmitter(const ScatterNest &nest, ImplicitLocOpBuilder &b) : n(nest), b(b), d{b} {}

  Value count(ArrayRef<unsigned> loops) {
    Value result = index(1);
    for (unsigned loop : loops)
      result = d.mul(result, sizeOf(loop));
    return result;
  }
  /// Elements that differ in more than free loops.
  Value places() {
    Value result = index(1);
    for (int64_t axis : n.axes)
      result = d.mul(result, b.createOrFold<memref::DimOp>(memref::StoreOp(n.store).getMemRef(), axis));
    return result;
  }
  SmallVector<unsigned> allLoops() const {
    return llvm::to_vector(llvm::seq<unsigned>(0, n.loops.size()));
  }
  const ScatterNest &nest() const { return n; }
  /// Blocks of a thread for each.
  Value blocks(Value points) { return d.ceilDiv(points, kThreads); }

  void writeInOrder();
  void writeByTurns(gpu::GPUFuncOp function);
  void clear(Value memory);
  /// At the thread's point of the numbered loops, the others at 0, behind the body.
  void atNumbered(llvm::function_ref<void(Value)> body);
  void claim(Value memory);
  void writeLatest(Value memory);
  void tellPlaces(Value keys);
  void combineRuns(Value keys, Value order);

private:
  using Values = SmallVector<Value>;

  Value index(int64_t value) { return arith::ConstantIndexOp::create(b, value); }
  Value ivOf(unsigned loop) { return scf::ForOp(n.loops[loop]).getInductionVar(); }
  Value sizeOf(unsigned loop) { return scf::ForOp(n.loops[loop]).getUpperBound(); }
  Value point() {
    Value block = gpu::BlockIdOp::create(b, gpu::Dimension::x);
    Value thread = gpu::ThreadIdOp::create(b, gpu::Dimension::x);
    return d.add(d.mul(block, kThreads), thread);
  }
  /// The loops' indices, from a number in their order.
  void setLoops(ArrayRef<unsigned> loops, Value number);
  Value numberOf(ArrayRef<unsigned> loops);
  /// The body but for the store, at the loops' indices; `current` read from where it is.
  void emitBody();
  /// Of these what does not need `current`.
  void emitAhead();
  Value placeNow();
  /// Whether the element is one, where indices come from data.
  Value isInside();
  void ifInside(llvm::function_ref<void()> body);
  /// A word where all points of an element meet.
  Value slotNow();
  void storeHere() {
    memref::StoreOp::create(b, mapping.lookupOrDefault(memref::StoreOp(n.store).getValue()), memref::StoreOp(n.store).getMemRef(),
                            indicesNow());
  }
  Values indicesNow() {
    return llvm::map_to_vector(memref::StoreOp(n.store).getIndices(),
                               [&](Value at) { return mapping.lookupOrDefault(at); });
  }
  Value wordAt(Value memory, Value place) { return d.after(memory, d.mul(d.toWide(place), 4)); }

  const ScatterNest &n;
  ImplicitLocOpBuilder &b;
  DeviceBuilder d;
  IRMapping mapping;
};

} // namespace

//===----------------------------------------------------------------------===//
// What is a scatter
//===----------------------------------------------------------------------===//

bool ScatterNest::findLoops(Operation *nest) {
  for (Operation *op = nest;;) {
    auto loop = dyn_cast<scf::ForOp>(op);
    if (!loop || loop.getNumRegionIterArgs() > 0 || !matchPattern(loop.getLowerBound(), m_Zero()) ||
        !matchPattern(loop.getStep(), m_One()) ||
        nest->isAncestor(loop.getUpperBound().getParentBlock()->getParentOp()))
      return false;
    loops.push_back(loop);
    Block &body = *loop.getBody();
    if (!isa<scf::ForOp>(body.front()))
      return true;
    if (!llvm::hasNItems(body, 2))
      return false;
    op = &body.front();
  }
}

static Value rootOf(Value buffer) {
  while (auto view = buffer.getDefiningOp<ViewLikeOpInterface>())
    buffer = view.getViewSource();
  if (auto view = buffer.getDefiningOp<ArenaViewOp>())
    return view.getArena();
  return buffer;
}

bool ScatterNest::findBody() {
  SmallVector<memref::LoadOp> loads;
  for (Operation &op : loops.back().getBody()->without_terminator()) {
    if (auto load = dyn_cast<memref::LoadOp>(op)) {
      loads.push_back(load);
    } else if (auto written = dyn_cast<memref::StoreOp>(op)) {
      if (store)
        return false;
      store = written;
    } else if (op.getNumRegions() > 0 || !isMemoryEffectFree(&op)) {
      return false;
    }
  }
  // Nobody else has the out's memory.
  auto memory = store ? dyn_cast<BlockArgument>(rootOf(store.getMemRef())) : BlockArgument();
  auto function =
      memory ? dyn_cast<FunctionOpInterface>(memory.getOwner()->getParentOp()) : nullptr;
  if (!function || !function.getArgAttr(memory.getArgNumber(), kNoAlias))
    return false;
  for (memref::LoadOp load : loads) {
    if (rootOf(load.getMemRef()) != memory)
      continue;
    if (current || load.getMemRef() != store.getMemRef() ||
        load.getIndices() != store.getIndices())
      return false;
    current = load;
  }
  return true;
}

void ScatterNest::classify() {
  llvm::DenseMap<Value, unsigned> numberOf;
  for (auto [i, loop] : llvm::enumerate(loops))
    numberOf[loop.getInductionVar()] = i;
  llvm::SmallBitVector isIndex(loops.size()), isUsed(loops.size());
  for (Value at : store.getIndices()) {
    auto loop = numberOf.find(at);
    if (loop != numberOf.end() && !isIndex.test(loop->second)) {
      isIndex.set(loop->second);
      continue;
    }
    llvm::SetVector<Value> parts;
    parts.insert(at);
    for (size_t i = 0; i < parts.size(); ++i) {
      if (auto loop = numberOf.find(parts[i]); loop != numberOf.end())
        isUsed.set(loop->second);
      else if (Operation *op = parts[i].getDefiningOp(); op && loops.front()->isAncestor(op))
        parts.insert(op->operand_begin(), op->operand_end());
    }
  }
  for (unsigned loop = 0; loop < loops.size(); ++loop) {
    bool isOwn = isIndex.test(loop), isAlone = isOwn && !isUsed.test(loop);
    (isOwn ? apart : inOrder).push_back(loop);
    (isAlone ? isFree : numbered).push_back(loop);
  }
  llvm::SmallBitVector seen(loops.size());
  for (auto [axis, at] : llvm::enumerate(store.getIndices())) {
    auto loop = numberOf.find(at);
    if (loop != numberOf.end() && !seen.test(loop->second)) {
      seen.set(loop->second);
      if (llvm::is_contained(isFree, loop->second))
        continue;
    }
    axes.push_back(axis);
  }
}

bool ScatterNest::match(Operation *nest) {
  if (!isa<scf::ForOp>(nest) || !findLoops(nest) || !findBody())
    return false;
  classify();
  return true;
}

//===----------------------------------------------------------------------===//
// Points
//===----------------------------------------------------------------------===//

void ScatterEmitter::setLoops(ArrayRef<unsigned> loops, Value number) {
  for (unsigned loop : llvm::reverse(loops)) {
    Value size = sizeOf(loop);
    bool isLast = loop == loops.front();
    mapping.map(ivOf(loop), isLast ? number : d.rem(number, size));
    if (!isLast)
      number = d.div(number, size);
  }
}

Value ScatterEmitter::numberOf(ArrayRef<unsigned> loops) {
  Value number = index(0);
  for (unsigned loop : loops)
    number = d.add(d.mul(number, sizeOf(loop)),
                   mapping.lookup(ivOf(loop)));
  return number;
}

void ScatterEmitter::emitBody() {
  for (Operation &op : scf::ForOp(n.loops.back()).getBody()->without_terminator())
    if (&op != memref::StoreOp(n.store).getOperation() && !mapping.contains(op.getResult(0)))
      b.clone(op, mapping);
}

void ScatterEmitter::emitAhead() {
  llvm::SmallPtrSet<Operation *, 8> late;
  for (Operation &op : scf::ForOp(n.loops.back()).getBody()->without_terminator()) {
    bool isLate = &op == memref::LoadOp(n.current) || &op == memref::StoreOp(n.store) ||
                  llvm::any_of(op.getOperands(), [&](Value operand) {
                    return late.contains(operand.getDefiningOp());
                  });
    if (isLate)
      late.insert(&op);
    else
      b.clone(op, mapping);
  }
}

Value ScatterEmitter::placeNow() {
  Values indices = indicesNow();
  Value place = index(0);
  for (int64_t axis : n.axes)
    place = d.add(d.mul(place, b.createOrFold<memref::DimOp>(memref::StoreOp(n.store).getMemRef(), axis)),
                  indices[axis]);
  return place;
}

/// Kernels run behind a check that failed, too.
Value ScatterEmitter::isInside() {
  Value fits;
  Values indices = indicesNow();
  for (int64_t axis : n.axes) {
    Value size = b.createOrFold<memref::DimOp>(memref::StoreOp(n.store).getMemRef(), axis);
    Value isInside = d.isLess(indices[axis], size);
    fits = fits ? d.make<arith::AndIOp>(fits, isInside) : isInside;
  }
  return fits;
}

void ScatterEmitter::ifInside(llvm::function_ref<void()> body) {
  if (Value fits = isInside())
    d.branch(fits, body);
  else
    body();
}

/// A thread has the points that only the other loops tell apart.
void ScatterEmitter::writeInOrder() {
  Value number = point();
  d.branch(d.isLess(number, count(n.apart)), [&] {
    setLoops(n.apart, number);
    d.loop(index(0), count(n.inOrder), index(1), {}, [&](Value step, ValueRange) {
      setLoops(n.inOrder, step);
      IRMapping outside = mapping;
      emitBody();
      storeHere();
      mapping = outside;
      return Values();
    });
  });
}

//===----------------------------------------------------------------------===//
// Turns
//===----------------------------------------------------------------------===//

Value ScatterEmitter::slotNow() {
  Value place = d.toInt(placeNow());
  // Places that are a power of two apart do not meet.
  Value above = d.mul(d.make<arith::ShRUIOp>(place, 12), 2531);
  return d.toIndex(d.bitAnd(d.add(place, above), kSlots - 1));
}

/// A block has the steps of one point of the loops apart, so many at once. In a turn the lowest
/// that is left of each slot is done; numbers of later turns are lower, so that no word need be
/// set back.
void ScatterEmitter::writeByTurns(gpu::GPUFuncOp function) {
  constexpr int64_t numberBits = llvm::ConstantLog2<kTurn>();
  DeviceKernel memory{KernelOp(), KernelOp(), b, b, function};
  Value claims = memory.addShared({kSlots}, b.getI32Type());
  Value left = memory.addShared({1}, b.getI32Type());
  shareBetweenThreads(function, memref::StoreOp(n.store).getMemRef());
  Value zero = index(0), thread = gpu::ThreadIdOp::create(b, gpu::Dimension::x);
  setLoops(n.apart, gpu::BlockIdOp::create(b, gpu::Dimension::x));
  for (int64_t i = 0; i < kSlots; i += kThreads)
    memref::StoreOp::create(b, d.constant(-1), claims, ValueRange{d.add(thread, i)});
  d.branch(d.isEqual(thread, 0), [&] {
    memref::StoreOp::create(b, d.constant(-1), left, ValueRange{zero});
  });
  gpu::BarrierOp::create(b);

  struct Point {
    IRMapping mapping;
    Value slot, number, isFirst = nullptr;
  };
  auto lower = [&](Value word, Value memory, Value at) {
    memref::AtomicRMWOp::create(b, arith::AtomicRMWKind::minu, word, memory, ValueRange{at});
  };
  Value all = count(n.inOrder), last = d.sub(all, 1);
  Value turns = d.constant((int64_t(1) << (32 - numberBits)) - 1);
  d.loop(zero, all, index(kTurn), turns, [&](Value first, ValueRange carried) {
    SmallVector<Point, kPoints> points;
    Value waiting = d.constant(0);
    for (int64_t i = 0; i < kPoints; ++i) {
      IRMapping outside = mapping;
      Value within = d.add(thread, i * kThreads), step = d.add(first, within);
      setLoops(n.inOrder, d.min(step, last));
      emitAhead();
      Value isThere = d.isLess(step, all);
      if (Value fits = isInside())
        isThere = d.make<arith::AndIOp>(isThere, fits);
      Value bit = d.select(isThere, d.constant(int64_t(1) << i), d.constant(0));
      waiting = d.make<arith::OrIOp>(waiting, bit);
      points.push_back({mapping, slotNow(), d.toInt(within)});
      mapping = outside;
    }
    auto waits = [&](Value waiting, int64_t i) {
      return d.compare(Predicate::ne, d.bitAnd(waiting, int64_t(1) << i), 0);
    };
    auto rounds = scf::WhileOp::create(b, TypeRange{b.getI32Type(), b.getI32Type()},
                                       ValueRange{carried[0], waiting});
    OpBuilder::InsertionGuard guard(b);
    Location loc = b.getLoc();
    Block *round = b.createBlock(&rounds.getBefore(), {}, rounds.getResultTypes(), {loc, loc});
    Value turn = round->getArgument(0);
    waiting = round->getArgument(1);
    auto wordOf = [&](const Point &point) {
      return d.make<arith::OrIOp>(d.make<arith::ShLIOp>(turn, numberBits), point.number);
    };
    for (auto [i, point] : llvm::enumerate(points))
      d.branch(waits(waiting, i), [&, &point = point] { lower(wordOf(point), claims, point.slot); });
    gpu::BarrierOp::create(b);
    // None of a turn meet: all are read before the first is written. Also what is to be replaced,
    // as memory takes parts of sectors faster that the cache has.
    memref::StoreOp store = n.store;
    Values replaced;
    for (auto [i, point] : llvm::enumerate(points)) {
      Value word = memref::LoadOp::create(b, claims, ValueRange{point.slot});
      point.isFirst = d.make<arith::AndIOp>(waits(waiting, i), d.isEqual(word, wordOf(point)));
      Value bit = d.select(point.isFirst, d.constant(int64_t(1) << i), d.constant(0));
      waiting = d.bitXor(waiting, bit);
      IRMapping outside = mapping;
      mapping = point.mapping;
      Value old = d.choose(point.isFirst, store.getMemRefType().getElementType(), [&] {
        return Values{memref::LoadOp::create(b, store.getMemRef(), indicesNow())};
      })[0];
      mapping = outside;
      if (n.isCombined())
        point.mapping.map(memref::LoadOp(n.current).getResult(), old);
      else
        replaced.push_back(old);
    }
    Value areThere = n.isCombined() ? Value() : areLoaded(b, replaced);
    for (Point &point : points)
      d.branch(areThere ? d.make<arith::AndIOp>(point.isFirst, areThere) : point.isFirst, [&] {
        IRMapping outside = mapping;
        mapping = point.mapping;
        emitBody();
        storeHere();
        mapping = outside;
      });
    d.branch(d.compare(Predicate::ne, waiting, 0), [&] { lower(turn, left, zero); });
    gpu::BarrierOp::create(b);
    Value isAgain = d.isEqual(memref::LoadOp::create(b, left, ValueRange{zero}), turn);
    scf::ConditionOp::create(b, isAgain, ValueRange{d.sub(turn, 1), waiting});
    Block *next = b.createBlock(&rounds.getAfter(), {}, rounds.getResultTypes(), {loc, loc});
    scf::YieldOp::create(b, next->getArguments());
    return Values{rounds.getResult(0)};
  });
}

//===----------------------------------------------------------------------===//
// The latest counts
//===----------------------------------------------------------------------===//

void ScatterEmitter::clear(Value memory) {
  Value place = point();
  d.branch(d.isLess(place, places()), [&] { d.store(d.constant(0), wordAt(memory, place), 4); });
}

void ScatterEmitter::atNumbered(llvm::function_ref<void(Value)> body) {
  Value number = point();
  d.branch(d.isLess(number, count(n.numbered)), [&] {
    setLoops(n.numbered, number);
    for (unsigned loop : n.isFree)
      mapping.map(ivOf(loop), index(0));
    emitBody();
    body(number);
  });
}

void ScatterEmitter::claim(Value memory) {
  atNumbered([&](Value number) {
    ifInside([&] {
      LLVM::AtomicRMWOp::create(b, LLVM::AtomicBinOp::umax, wordAt(memory, placeNow()),
                                d.toInt(d.add(number, 1)), LLVM::AtomicOrdering::monotonic,
                                "device");
    });
  });
}

void ScatterEmitter::writeLatest(Value memory) {
  SmallVector<unsigned> all = allLoops();
  Value number = point();
  d.branch(d.isLess(number, count(all)), [&] {
    setLoops(all, number);
    emitBody();
    ifInside([&] {
      Value latest = d.load(b.getI32Type(), wordAt(memory, placeNow()), 4);
      Value own = d.toInt(d.add(numberOf(n.numbered), 1));
      d.branch(d.isEqual(latest, own), [&] { storeHere(); });
    });
  });
}

//===----------------------------------------------------------------------===//
// All are combined
//===----------------------------------------------------------------------===//

void ScatterEmitter::tellPlaces(Value keys) {
  atNumbered([&](Value number) {
    memref::StoreOp::create(b, d.toWide(placeNow()), keys, number);
  });
}

/// A thread has the first of the points that come to an element, and takes all of them.
void ScatterEmitter::combineRuns(Value keys, Value order) {
  SmallVector<unsigned> free = n.isFree;
  Value all = count(n.numbered), others = count(free);
  Value id = point();
  d.branch(d.isLess(id, d.mul(all, others)), [&] {
    Value first = d.div(id, others);
    if (!free.empty())
      setLoops(free, d.rem(id, others));
    auto pointOf = [&](Value at) {
      return d.toIndex(memref::LoadOp::create(b, order, at));
    };
    auto keyOf = [&](Value at) -> Value { return memref::LoadOp::create(b, keys, pointOf(at)); };
    Value key = keyOf(first), zero = index(0);
    Value before = keyOf(d.select(d.isEqual(first, zero), zero, d.sub(first, index(1))));
    Value isFirst = d.make<arith::OrIOp>(d.isEqual(first, 0),
                                         d.compare(Predicate::ne, before, key));
    d.branch(isFirst, [&] {
      IRMapping outside = mapping;
      setLoops(n.numbered, pointOf(first));
      emitBody();
      ifInside([&] {
        Values place = indicesNow();
        Value start = mapping.lookupOrDefault(memref::StoreOp(n.store).getValue());
        mapping = outside;
        auto loop = scf::WhileOp::create(b, TypeRange{b.getIndexType(), start.getType()},
                                         ValueRange{d.add(first, index(1)), start});
        {
          OpBuilder::InsertionGuard guard(b);
          Location loc = b.getLoc();
          Block *ahead = b.createBlock(&loop.getBefore(), {}, loop.getResultTypes(), {loc, loc});
          Value at = ahead->getArgument(0), isThere = d.isLess(at, all);
          Value next = keyOf(d.min(at, d.sub(all, index(1))));
          scf::ConditionOp::create(b, d.make<arith::AndIOp>(isThere, d.isEqual(next, key)),
                                   ahead->getArguments());
          Block *body = b.createBlock(&loop.getAfter(), {}, loop.getResultTypes(), {loc, loc});
          setLoops(n.numbered, pointOf(body->getArgument(0)));
          mapping.map(memref::LoadOp(n.current).getResult(), body->getArgument(1));
          emitBody();
          scf::YieldOp::create(b, ValueRange{d.add(body->getArgument(0), index(1)),
                                             mapping.lookupOrDefault(memref::StoreOp(n.store).getValue())});
        }
        memref::StoreOp::create(b, loop.getResult(1), memref::StoreOp(n.store).getMemRef(), place);
      });
    });
  });
}

//===----------------------------------------------------------------------===//
// Kernels
//===----------------------------------------------------------------------===//

namespace {
/// Queues a kernel of threads for so many points.
struct ScatterLaunches {
  KernelLaunches &launches;
  const ScatterNest &nest;

  void launch(StringRef suffix, ArrayRef<Value> more, Value points,
              llvm::function_ref<void(ScatterEmitter &, ImplicitLocOpBuilder &, ValueRange)> emit) {
    launches.launch(suffix, more,
                    [&](Operation *copy, gpu::GPUFuncOp, ValueRange given) -> LaunchShape {
                      ScatterNest inside;
                      inside.match(copy);
                      ImplicitLocOpBuilder b(copy->getLoc(), copy);
                      ScatterEmitter emitter(inside, b);
                      emit(emitter, b, given);
                      copy->erase();
                      ImplicitLocOpBuilder &host = launches.host;
                      Value one = arith::ConstantIndexOp::create(host, 1);
                      Value blocks = ScatterEmitter(nest, host).blocks(points);
                      return {{blocks, one, one},
                              arith::ConstantIndexOp::create(host, kThreads),
                              kThreads};
                    });
  }

  void inOrder() {
    launch("", {}, ScatterEmitter(nest, launches.host).count(nest.apart),
           [](ScatterEmitter &emitter, ImplicitLocOpBuilder &, ValueRange) {
             emitter.writeInOrder();
           });
  }

  void byTurns() {
    launches.launch("_turns", {}, [&](Operation *copy, gpu::GPUFuncOp function, ValueRange) {
      ScatterNest inside;
      inside.match(copy);
      ImplicitLocOpBuilder b(copy->getLoc(), copy);
      ScatterEmitter(inside, b).writeByTurns(function);
      copy->erase();
      ImplicitLocOpBuilder &host = launches.host;
      Value one = arith::ConstantIndexOp::create(host, 1);
      return LaunchShape{{ScatterEmitter(nest, host).count(nest.apart), one, one},
                         arith::ConstantIndexOp::create(host, kThreads),
                         kThreads};
    });
  }

  void latest() {
    DeviceBuilder d{launches.host};
    ScatterEmitter host(nest, launches.host);
    launches.withMemory(d.ceilDiv(host.places(), 2), [&](Value memory) {
      auto one = [&](StringRef suffix, Value points, void (ScatterEmitter::*emit)(Value)) {
        launch(suffix, memory, points,
               [&](ScatterEmitter &emitter, ImplicitLocOpBuilder &, ValueRange given) {
                 (emitter.*emit)(given[0]);
               });
      };
      one("_clear", host.places(), &ScatterEmitter::clear);
      one("_claim", host.count(nest.numbered), &ScatterEmitter::claim);
      one("_latest", host.count(host.allLoops()), &ScatterEmitter::writeLatest);
    });
  }

  /// Two buffers of 64-bit numbers in the memory, one behind the other.
  static std::pair<Value, Value> buffersOf(ImplicitLocOpBuilder &b, Value memory, Value count) {
    DeviceBuilder d{b};
    auto type = MemRefType::get({ShapedType::kDynamic}, b.getI64Type());
    Value zero = arith::ConstantIndexOp::create(b, 0), behind = d.mul(count, 8);
    return {ArenaViewOp::create(b, type, memory, zero, count),
            ArenaViewOp::create(b, type, memory, behind, count)};
  }

  void sorted() {
    ImplicitLocOpBuilder &h = launches.host;
    DeviceBuilder d{h};
    ScatterEmitter host(nest, h);
    Value points = host.count(nest.numbered);
    launches.withMemory(d.mul(points, 2), [&](Value memory) {
      launch("_places", memory, points,
             [&](ScatterEmitter &emitter, ImplicitLocOpBuilder &b, ValueRange given) {
               Value count = emitter.count(emitter.nest().numbered);
               emitter.tellPlaces(buffersOf(b, given[0], count).first);
             });
      auto makeSort = [&](ImplicitLocOpBuilder &b, Value memory, Value count) {
        auto [keys, order] = buffersOf(b, memory, count);
        return TopKOp::create(b, TypeRange(), b.getI64IntegerAttr(0), b.getUnitAttr(),
                              b.getUnitAttr(), keys, order);
      };
      TopKOp sort = makeSort(h, memory, points);
      emitSortOf(sort, launches, memory,
                 [&](Operation *copy, ImplicitLocOpBuilder &b, Value memory) {
                   ScatterNest inside;
                   inside.match(copy);
                   Value count = ScatterEmitter(inside, b).count(inside.numbered);
                   return makeSort(b, memory, count);
                 });
      sort.erase();
      launch("_combine", memory, d.mul(points, host.count(nest.isFree)),
             [&](ScatterEmitter &emitter, ImplicitLocOpBuilder &b, ValueRange given) {
               Value count = emitter.count(emitter.nest().numbered);
               auto [keys, order] = buffersOf(b, given[0], count);
               emitter.combineRuns(keys, order);
             });
    });
  }
};
} // namespace

SmallVector<KernelForm> ssm::getScatterForms(Operation *nest) {
  ScatterNest found;
  SmallVector<KernelForm> forms;
  if (!found.match(nest))
    return forms;
  auto isFit = [nest](ImplicitLocOpBuilder &h) -> Value {
    ScatterNest found;
    found.match(nest);
    ScatterEmitter host(found, h);
    DeviceBuilder d{h};
    Value isLong = d.compare(Predicate::ugt, host.count(found.inOrder),
                             found.isCombined() ? kFewCombined : kFewPoints);
    Value areFew = d.isLess(host.count(found.numbered), (int64_t(1) << 32) - 1);
    Value fits = d.make<arith::AndIOp>(isLong, areFew);
    if (!found.isCombined())
      return fits;
    Value isNarrow = d.isLess(host.count(found.apart), kEnoughThreads);
    return d.make<arith::AndIOp>(fits, isNarrow);
  };
  KernelForm byNumbers{found.isCombined() ? "_combine" : "_latest", isFit, nullptr};
  byNumbers.emitAll = [nest](KernelLaunches &launches) {
    ScatterNest found;
    found.match(nest);
    ScatterLaunches all{launches, found};
    if (found.isCombined())
      all.sorted();
    else
      all.latest();
  };
  if (found.areRows()) {
    auto isRow = [nest](ImplicitLocOpBuilder &h) -> Value {
      ScatterNest found;
      found.match(nest);
      ScatterEmitter host(found, h);
      DeviceBuilder d{h};
      Value steps = host.count(found.inOrder);
      Value areEnough = d.compare(Predicate::uge, host.count(found.apart), kEnoughRows);
      Value areFew = d.compare(Predicate::ule, steps, kStepsOfFew);
      Value fits = d.make<arith::OrIOp>(areEnough, areFew);
      fits = d.make<arith::AndIOp>(fits, d.compare(Predicate::uge, steps, kLeastSteps));
      return d.make<arith::AndIOp>(fits, d.compare(Predicate::ule, steps, kMostSteps));
    };
    KernelForm byTurns{"_turns", isRow, nullptr};
    byTurns.emitAll = [nest](KernelLaunches &launches) {
      ScatterNest found;
      found.match(nest);
      ScatterLaunches{launches, found}.byTurns();
    };
    forms.push_back(byTurns);
  }
  KernelForm any{"", nullptr, nullptr};
  any.emitAll = [nest](KernelLaunches &launches) {
    ScatterNest found;
    found.match(nest);
    ScatterLaunches{launches, found}.inOrder();
  };
  forms.append({byNumbers, any});
  return forms;
}
