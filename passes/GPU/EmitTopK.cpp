//===- EmitTopK.cpp - The first of sorted rows by blocks ------------------ ===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A row that threads have in registers is sorted as it is. Of a longer one the k first are
// found digit by digit: how many elements have each value of a digit tells the digit of the last
// one that is taken, and so on down the key and, if elements are equal there, down the index.
// What is taken is then sorted: where threads have an element each, by shuffles and shared
// memory, else by another kernel, or in the out.
//
//===----------------------------------------------------------------------===//

#include "passes/GPU/BitonicNetwork.h"
#include "passes/GPU/EmitSort.h"
#include "passes/GPU/EmitTopK.h"
#include "passes/GPU/TeamReduce.h"
#include "passes/GPU/TopKRow.h"

using namespace mlir;
using namespace ssm;

namespace {

/// Bits of a digit, and values that it has.
constexpr int64_t kDigit = 11, kBins = int64_t(1) << kDigit;
/// Words that one thread tells the others, and the one that counts what is taken.
constexpr int64_t kTold = 4, kTaken = 3;
/// Elements that a thread has under way from memory.
constexpr int64_t kAhead = 4;
/// Threads of a block that takes rows of any length.
constexpr int64_t kThreads = 1024;

class TopKEmitter : public TopKRow {
public:
  TopKEmitter(TopKOp op, gpu::GPUFuncOp function, ImplicitLocOpBuilder &b, int64_t threads)
      : TopKRow(op, b), threads(threads), shared{KernelOp(), KernelOp(), b, b, function} {}

  void begin() { thread = gpu::ThreadIdOp::create(b, gpu::Dimension::x); }
  /// Threads that have the row's elements, a power of two.
  Value threadsOfPlaces(int64_t perThread);
  /// Whole warps.
  Value threadsOfRow(int64_t perThread) {
    return d.make<arith::MaxUIOp>(threadsOfPlaces(perThread), index(kWarp));
  }
  /// A row whose elements threads have in registers, so many each.
  void sortShort(int64_t perThread);
  /// What is taken is left in any order if threads have no element each, unless `inOrder`.
  void sortLong(bool inOrder);

private:
  /// Of an element, by its place and key: the number whose digits count, and whether it does.
  using NumberOf = llvm::function_ref<std::pair<Value, Value>(Value at, Value key)>;
  /// An element's key (64 bits, or 32 if that is all) and its index (64 bits).
  struct Element {
    Value key, index;
  };
  using Entry = BitonicNetwork::Entry;
  /// What remains to be found of the last element that is taken: its key so far or index, how
  /// many that have the digits found are to be taken, and whether those are all there are.
  struct Search {
    Value found, needed, isDone;
  };

  void wait() { gpu::BarrierOp::create(b); }
  Value comesBefore(const Element &x, const Element &y);
  SmallVector<Type> entryTypes();
  Entry entryOf(const Element &element);
  Value indexOf(const Entry &entry);
  /// An entry behind all others unless it exists.
  Entry orNobody(Value exists, Entry entry);
  /// The same for the keys (64 bits) of the row, some of which are asked for before the first is
  /// looked at.
  void forEachKey(Value count, llvm::function_ref<void(Value at, Value key)> body);
  void forEach(Value count, llvm::function_ref<void(Value)> body);

  void makeShared();
  void sortOut();
  Search searchDigits(Search from, Value bits, NumberOf numberOf);
  Search searchDigit(Search from, Value shift, Value width, Value isFirst, NumberOf numberOf);

  int64_t threads;
  /// Owner of shared memory.
  DeviceKernel shared;
  Value thread;
  /// What is taken; how many elements have each digit; what the one thread that has the digit
  /// tells, and how many elements are taken.
  Value indices, bins, totals, told;
};

} // namespace

void TopKEmitter::makeShared() {
  Type i32 = b.getI32Type();
  indices = shared.addShared({threads}, b.getI64Type());
  bins = shared.addShared({kBins}, i32);
  totals = shared.addShared({kMaxBlock / kWarp}, i32);
  told = shared.addShared({kTold}, i32);
}

Value TopKEmitter::threadsOfPlaces(int64_t perThread) {
  Value places = d.make<arith::ShLIOp>(index(1), ceilLog2(size));
  return d.make<arith::MaxUIOp>(d.div(places, perThread), index(1));
}

/// Of keys of 32 bits one word: comparing, shuffling and choosing cost by the word.
SmallVector<Type> TopKEmitter::entryTypes() {
  if (keyType.isInteger(32))
    return {b.getI64Type()};
  return {keyType, b.getI32Type()};
}

TopKEmitter::Entry TopKEmitter::entryOf(const Element &element) {
  Type i64 = b.getI64Type();
  // Lower indices first.
  Value index = flip(b.createOrFold<arith::TruncIOp>(b.getI32Type(), element.index));
  if (!keyType.isInteger(32))
    return {element.key, index};
  Value high = d.make<arith::ShLIOp>(arith::ExtUIOp::create(b, i64, element.key), number(i64, 32));
  return {either(high, arith::ExtUIOp::create(b, i64, index))};
}

Value TopKEmitter::indexOf(const Entry &entry) {
  Value index = entry.back();
  if (keyType.isInteger(32))
    index = arith::TruncIOp::create(b, b.getI32Type(), index);
  return arith::ExtUIOp::create(b, b.getI64Type(), flip(index));
}

TopKEmitter::Entry TopKEmitter::orNobody(Value exists, Entry entry) {
  for (Value &word : entry)
    word = d.select(exists, word, number(word.getType(), 0));
  return entry;
}

Value TopKEmitter::comesBefore(const Element &x, const Element &y) {
  Value greater = d.compare(Predicate::ugt, x.key, y.key);
  Value lower = d.compare(Predicate::ult, x.index, y.index);
  return either(greater, both(d.isEqual(x.key, y.key), lower));
}

/// The threads share out [0, count).
void TopKEmitter::forEach(Value count, llvm::function_ref<void(Value)> body) {
  d.loop(thread, count, index(threads), {}, [&](Value at, ValueRange) {
    body(at);
    return Values();
  });
}

void TopKEmitter::forEachKey(Value count, llvm::function_ref<void(Value at, Value key)> body) {
  Type i64 = b.getI64Type();
  auto take = [&](Value first, int64_t number) {
    Values places, loaded;
    for (int64_t i = 0; i < number; ++i) {
      places.push_back(d.add(first, i * threads));
      loaded.push_back(memref::LoadOp::create(b, op.getInput(), indicesOf(places.back())));
    }
    for (auto [at, element] : llvm::zip_equal(places, loaded)) {
      Value key = keyOf(element);
      body(at, keyType == i64 ? key : arith::ExtUIOp::create(b, i64, key).getResult());
    }
    return Values();
  };
  Value whole = index(kAhead * threads);
  Value most = d.mul(d.div(count, whole), kAhead * threads);
  d.loop(thread, most, whole, {}, [&](Value at, ValueRange) { return take(at, kAhead); });
  d.loop(d.add(most, thread), count, index(threads), {},
         [&](Value at, ValueRange) { return take(at, 1); });
}

//===----------------------------------------------------------------------===//
// Sorting
//===----------------------------------------------------------------------===//

/// Sorts the indices in the out, of any number: in each merge the first step turns the second
/// half around, so that all pairs are in one order and those past the end stay out.
void TopKEmitter::sortOut() {
  shareBetweenThreads(shared.function, op.getOut());
  Value one = index(1), zero = index(0), stages = ceilLog2(k);
  auto shift = [&](Value by) { return d.make<arith::ShLIOp>(one, by); };
  Value pairs = d.div(shift(stages), 2);
  d.loop(zero, stages, one, {}, [&](Value stage, ValueRange) {
    d.loop(zero, d.add(stage, 1), one, {}, [&](Value step, ValueRange) {
      Value distance = shift(d.sub(stage, step));
      Value isTurned = d.isEqual(step, 0);
      forEach(pairs, [&](Value pair) {
        Value within = d.bitAnd(pair, d.sub(distance, 1));
        Value low = d.sub(d.mul(pair, 2), within);
        Value last = d.sub(d.mul(distance, 2), 1);
        Value turned = d.sub(d.add(low, last), d.mul(within, 2));
        Value high = d.select(isTurned, turned, d.add(low, distance));
        d.branch(d.isLess(high, k), [&] {
          auto load = [&](Value at) {
            Value entry = memref::LoadOp::create(b, op.getOut(), indicesOf(at));
            return Element{loadKey(d.toIndex(entry)), entry};
          };
          Element x = load(low), y = load(high);
          d.branch(comesBefore(y, x), [&] {
            write(low, y.index);
            write(high, x.index);
          });
        });
      });
      wait();
      return Values();
    });
    return Values();
  });
}

void TopKEmitter::sortShort(int64_t perThread) {
  // Of all threads those that places of the row are for: elements come in any order, neighbours
  // to neighbours. All are asked for before the first is looked at.
  Value last = d.sub(size, 1), own = threadsOfPlaces(perThread), isOwn = d.isLess(thread, own);
  Values at, loaded;
  for (int64_t i = 0; i < perThread; ++i) {
    at.push_back(d.add(d.mul(own, i), thread));
    loaded.push_back(loadElement(d.min(at.back(), last)));
  }
  SmallVector<Entry> entries;
  for (auto [place, element] : llvm::zip_equal(at, loaded))
    entries.push_back(
        orNobody(both(isOwn, d.isLess(place, size)), entryOf({keyOf(element), d.toWide(place)})));
  BitonicNetwork network(b, shared, thread, threads, perThread, entryTypes());
  network.sort(entries, ceilLog2(size));
  for (int64_t i = 0; i < perThread; ++i) {
    Value place = d.add(d.mul(thread, perThread), i);
    d.branch(d.isLess(place, k), [&] { write(place, indexOf(entries[i])); });
  }
}

//===----------------------------------------------------------------------===//
// Finding the first
//===----------------------------------------------------------------------===//

/// One digit of those elements that have the digits in front: `numberOf` gives an element's
/// number, and whether it counts at all.
TopKEmitter::Search TopKEmitter::searchDigit(Search from, Value shift, Value width, Value isFirst,
                                             NumberOf numberOf) {
  Type i32 = b.getI32Type(), i64 = b.getI64Type();
  Value none = number(i32, 0);
  forEach(index(kBins), [&](Value at) { memref::StoreOp::create(b, none, bins, at); });
  wait();
  Value above = d.add(shift, width);
  Value mask = d.sub(d.make<arith::ShLIOp>(number(i64, 1), width), 1);
  Value prefix = d.make<arith::ShRUIOp>(from.found, d.min(above, 63));
  forEachKey(size, [&](Value at, Value key) {
    auto [value, counts] = numberOf(at, key);
    // Bits above the first digit are none; shifts are of less than the width.
    Value same = d.isEqual(d.make<arith::ShRUIOp>(value, d.min(above, 63)), prefix);
    Value digit = d.toIndex(d.bitAnd(d.make<arith::ShRUIOp>(value, shift), mask));
    d.branch(both(counts, either(isFirst, same)), [&] {
      memref::AtomicRMWOp::create(b, arith::AtomicRMWKind::addi, number(i32, 1), bins, digit);
    });
  });
  wait();
  // Each thread has some digits; how many elements those of the threads behind it have.
  int64_t perThread = kBins / threads;
  Values counts;
  Value own = none, first = d.mul(thread, perThread);
  for (int64_t i = 0; i < perThread; ++i) {
    counts.push_back(memref::LoadOp::create(b, bins, d.add(first, i)));
    own = d.add(own, counts.back());
  }
  Value lane = d.toInt(d.rem(thread, kWarp)), warp = d.div(thread, kWarp), sum = own;
  Value warpWidth = number(i32, kWarp);
  for (int64_t distance = 1; distance < kWarp; distance *= 2) {
    Value next =
        gpu::ShuffleOp::create(b, sum, number(i32, distance), warpWidth, gpu::ShuffleMode::DOWN)
            .getShuffleResult();
    Value exists = d.isLess(d.add(lane, distance), kWarp);
    sum = d.add(sum, d.select(exists, next, none));
  }
  d.branch(d.isEqual(lane, 0), [&] { memref::StoreOp::create(b, sum, totals, warp); });
  wait();
  Value behind = d.sub(sum, own);
  for (int64_t i = 1; i < threads / kWarp; ++i) {
    Value total = memref::LoadOp::create(b, totals, index(i));
    behind = d.add(behind, d.select(d.isLess(warp, i), total, none));
  }
  // The thread that has the last element that is taken, and which of its digits.
  for (int64_t i = perThread; i-- > 0;) {
    Value upTo = d.add(behind, counts[i]);
    Value isIt = both(d.isLess(behind, from.needed), d.compare(Predicate::uge, upTo, from.needed));
    Value tells[] = {d.toInt(d.add(first, i)), d.sub(from.needed, behind), counts[i]};
    d.branch(isIt, [&] {
      for (auto [place, value] : llvm::enumerate(tells))
        memref::StoreOp::create(b, value, told, index(place));
    });
    behind = upTo;
  }
  wait();
  Value digit = memref::LoadOp::create(b, told, index(0));
  Value needed = memref::LoadOp::create(b, told, index(1));
  Value count = memref::LoadOp::create(b, told, index(2));
  digit = d.make<arith::ShLIOp>(arith::ExtUIOp::create(b, i64, digit), shift);
  return {either(from.found, digit), needed, d.isEqual(count, needed)};
}

/// All digits of numbers of `bits` bits, until those that have them are taken all.
TopKEmitter::Search TopKEmitter::searchDigits(Search from, Value bits, NumberOf numberOf) {
  Type i64 = b.getI64Type();
  Value zero = index(0), passes = d.ceilDiv(bits, kDigit);
  Value wide = d.toWide(bits), digit = number(i64, kDigit);
  Type types[] = {i64, b.getI32Type(), b.getI1Type()};
  Values end = d.loop(zero, passes, index(1), {from.found, from.needed, from.isDone},
                      [&](Value pass, ValueRange given) {
                        Search now{given[0], given[1], given[2]};
                        return d.choose(
                            now.isDone, types,
                            [&] {
                              return Values{now.found, now.needed, now.isDone};
                            },
                            [&] {
                              Value above = d.sub(wide, d.mul(d.toWide(pass), kDigit));
                              Value width = d.min(above, digit), shift = d.sub(above, width);
                              Search next =
                                  searchDigit(now, shift, width, d.isEqual(pass, 0), numberOf);
                              return Values{next.found, next.needed, next.isDone};
                            });
                      });
  return {end[0], end[1], end[2]};
}

void TopKEmitter::sortLong(bool inOrder) {
  if (!bins)
    makeShared();
  Type i32 = b.getI32Type(), i64 = b.getI64Type();
  // Lower indices first.
  Value last = d.toWide(d.sub(size, 1));
  auto backward = [&](Value at) { return d.sub(last, d.toWide(at)); };
  Value none = number(i64, 0), always = number(b.getI1Type(), 1);
  // All of a row, or none, need no search.
  Value isWhole = either(d.isEqual(k, size), d.isEqual(k, 0));
  Search byKey = searchDigits({none, d.toInt(k), isWhole}, index(keyBits),
                              [&](Value, Value key) { return std::pair(key, always); });
  Search byIndex =
      searchDigits({none, byKey.needed, byKey.isDone}, ceilLog2(size), [&](Value at, Value key) {
        return std::pair(backward(at), d.isEqual(key, byKey.found));
      });
  d.branch(d.isEqual(thread, 0),
           [&] { memref::StoreOp::create(b, number(i32, 0), told, index(kTaken)); });
  wait();
  Value isShort = d.compare(Predicate::ule, k, threads);
  forEachKey(d.select(d.isEqual(k, 0), index(0), size), [&](Value at, Value key) {
    Value isEqual =
        both(d.isEqual(key, byKey.found), d.compare(Predicate::uge, backward(at), byIndex.found));
    d.branch(either(d.compare(Predicate::ugt, key, byKey.found), isEqual), [&] {
      Value place = d.toIndex(memref::AtomicRMWOp::create(b, arith::AtomicRMWKind::addi,
                                                          number(i32, 1), told, index(kTaken)));
      Value entry = d.toWide(at);
      d.branch(
          isShort, [&] { memref::StoreOp::create(b, entry, indices, place); },
          [&] { write(place, entry); });
    });
  });
  wait();
  d.branch(
      isShort,
      [&] {
        Value isTaken = d.isLess(thread, k);
        Values mine = d.choose(isTaken, {keyType, i64}, [&] {
          Value entry = memref::LoadOp::create(b, indices, thread);
          return Values{loadKey(d.toIndex(entry)), entry};
        });
        SmallVector<Entry> entries = {orNobody(isTaken, entryOf({mine[0], mine[1]}))};
        BitonicNetwork network(b, shared, thread, threads, 1, entryTypes());
        network.sort(entries, ceilLog2(k));
        d.branch(isTaken, [&] { write(thread, indexOf(entries[0])); });
      },
      [&] {
        if (inOrder)
          sortOut();
      });
}

//===----------------------------------------------------------------------===//
// Kernels
//===----------------------------------------------------------------------===//

/// A block for each row, of `maxRow` elements at most, `perThread` for each thread, or of rows of
/// any length.
static LaunchShape emitRows(TopKOp hostOp, TopKOp op, gpu::GPUFuncOp function,
                            ImplicitLocOpBuilder &host, int64_t maxRow, int64_t perThread) {
  int64_t threads = maxRow ? maxRow / perThread : kThreads;
  ImplicitLocOpBuilder b(op.getLoc(), op);
  TopKEmitter emitter(op, function, b, threads);
  emitter.begin();
  emitter.setRow(gpu::BlockIdOp::create(b, gpu::Dimension::x));
  if (maxRow)
    emitter.sortShort(perThread);
  else
    emitter.sortLong(/*inOrder=*/false);
  op.erase();
  Value one = arith::ConstantIndexOp::create(host, 1);
  TopKEmitter outside(hostOp, function, host, threads);
  Value count = arith::ConstantIndexOp::create(host, threads);
  if (maxRow)
    count = outside.threadsOfRow(perThread);
  return {{outside.numBlocks(), one, one}, count, threads};
}

void ssm::checkTopKRows(TopKOp op, ImplicitLocOpBuilder &host) {
  auto axis = static_cast<int64_t>(op.getAxis());
  constexpr int64_t most = int64_t(1) << 32;
  int64_t fixed = cast<ShapedType>(op.getInput().getType()).getDimSize(axis);
  if (!ShapedType::isDynamic(fixed) && fixed <= most)
    return;
  Value size = host.createOrFold<memref::DimOp>(op.getInput(), axis);
  Value fits = DeviceBuilder{host}.compare(arith::CmpIPredicate::ule, size, most);
  CheckOp::create(host, fits, size, host.getStringAttr("TopK"),
                  host.getStringAttr("a GPU sorts rows of up to 2^32 elements, not {0}"));
}

SmallVector<KernelForm> ssm::getTopKForms(TopKOp op) {
  SmallVector<KernelForm> forms;
  // A warp for short rows, which needs no barriers.
  struct Short {
    const char *suffix;
    int64_t most, perThread;
  };
  for (auto [suffix, most, perThread] : {Short{"_short", 128, 4}, Short{"_row", 1024, 8}}) {
    KernelForm form{suffix, nullptr, nullptr};
    form.isFit = [op, most = most](ImplicitLocOpBuilder &host) {
      auto axis = static_cast<int64_t>(TopKOp(op).getAxis());
      Value size = host.createOrFold<memref::DimOp>(TopKOp(op).getInput(), axis);
      return DeviceBuilder{host}.compare(arith::CmpIPredicate::ule, size, most);
    };
    form.emitAll = [op, suffix = suffix, most = most, perThread = perThread](KernelLaunches &launches) {
      launches.launch(suffix, {}, [&](Operation *copy, gpu::GPUFuncOp function, ValueRange) {
        return emitRows(op, cast<TopKOp>(copy), function, launches.host, most, perThread);
      });
    };
    forms.push_back(form);
  }
  addSortForms(op, forms);
  KernelForm any{"", nullptr, nullptr};
  any.emitAll = [op](KernelLaunches &launches) {
    launches.launch("", {}, [&](Operation *copy, gpu::GPUFuncOp function, ValueRange) {
      return emitRows(op, cast<TopKOp>(copy), function, launches.host, 0, 1);
    });
    auto axis = static_cast<int64_t>(TopKOp(op).getAxis());
    Value k = launches.host.createOrFold<memref::DimOp>(TopKOp(op).getOut(), axis);
    DeviceBuilder d{launches.host};
    d.branch(d.compare(arith::CmpIPredicate::ugt, k, kThreads),
             [&] { emitSortOfOut(op, launches); });
  };
  forms.push_back(any);
  return forms;
}

void ssm::emitTopKInBlock(TopKOp op, gpu::GPUFuncOp function, int64_t threads) {
  ImplicitLocOpBuilder b(op.getLoc(), op);
  TopKEmitter emitter(op, function, b, threads);
  emitter.begin();
  DeviceBuilder d{b};
  Value zero = arith::ConstantIndexOp::create(b, 0), one = arith::ConstantIndexOp::create(b, 1);
  d.loop(zero, emitter.numRows(), one, {}, [&](Value row, ValueRange) {
    emitter.setRow(row);
    emitter.sortLong(/*inOrder=*/true);
    gpu::BarrierOp::create(b);
    return DeviceBuilder::Values();
  });
}
