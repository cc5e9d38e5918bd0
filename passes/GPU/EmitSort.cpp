//===- EmitSort.cpp - Sorted rows by digits -------------------------------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Keys are sorted by their last digit, then stably by the one in front, and so on. A row that a
// block can hold never leaves it. Of a longer one each block has a part. For each digit three
// kernels run: parts count their entries of each digit; sums of these tell where a part's first
// entry of a digit goes; parts sort theirs and put them there. Keys and indices go back and
// forth between two places of the segment.
//
//===----------------------------------------------------------------------===//

#include "passes/GPU/EmitSort.h"

#include "passes/GPU/RadixBlock.h"
#include "passes/GPU/TopKRow.h"

using namespace mlir;
using namespace ssm;

namespace {

/// Counters that a lane takes at a time.
constexpr int64_t kCounters = 4;
/// A block a row finds the first of rows in time that grows with their length; where rows are long
/// and few, sorting all takes less.
constexpr int64_t kLongRow = int64_t(1) << 17, kFewRows = 12;

class SortEmitter : public TopKRow {
public:
  SortEmitter(TopKOp op, ImplicitLocOpBuilder &b) : TopKRow(op, b) {}

  /// Entries of a part of a row.
  int64_t most() const { return RadixBlock::entries(keyType); }
  int64_t passes() const { return llvm::divideCeil(keyBits, kRadixBits); }
  Value numParts() { return d.ceilDiv(size, most()); }
  Value numCounters() { return d.mul(numRows(), kRadix); }
  Value words();
  Value isOfBlock() { return d.compare(Predicate::ule, size, most()); }
  Value isOfMany();

  void sortRow(gpu::GPUFuncOp function, bool ofOut);
  void countDigits(gpu::GPUFuncOp function, ValueRange given);
  void addCounts(ValueRange given);
  void placeEntries(gpu::GPUFuncOp function, ValueRange given);

private:
  /// A kernel of the several, by what it is given: the memory and the number of the digit.
  struct Part {
    Value memory, pass, rowNumber, number, first, numEntries;
  };
  int64_t keyBytes() const { return keyType.getIntOrFloatBitWidth() / 8; }
  Value wide(Value word) { return arith::ExtUIOp::create(b, b.getI64Type(), word); }
  Value numEntries() { return d.mul(numRows(), size); }
  /// Where keys, indices, counters and their sums are.
  Value keysAt(Value memory, Value side, Value entry);
  Value indicesAt(Value memory, Value side, Value entry);
  Value counterAt(Value memory, Value counter, Value part);
  Value sumAt(Value memory, Value counter);
  Part begin(RadixBlock &block, ValueRange given);
  Values loadKeys(const Part &part, ArrayRef<Value> places);
  void sortBy(RadixBlock &block, Values &entries, Value bits, bool byIndex);
};

} // namespace

//===----------------------------------------------------------------------===//
// A block for a row
//===----------------------------------------------------------------------===//

/// Keys, then indices, of the thread, by all digits of either.
void SortEmitter::sortBy(RadixBlock &block, Values &entries, Value bits, bool byIndex) {
  Value passes = d.ceilDiv(bits, kRadixBits);
  size_t count = block.perThread();
  entries = d.loop(d.constant(0), passes, d.constant(1), entries, [&](Value pass, ValueRange now) {
    Values keys(now.take_front(count)), indices(now.drop_front(count)), digits;
    Value shift = d.mul(pass, kRadixBits);
    for (Value entry : byIndex ? indices : keys)
      digits.push_back(block.digitOf(entry, shift, /*turned=*/!byIndex));
    block.put(block.rank(digits), keys, indices);
    Values next;
    for (size_t i = 0; i < count; ++i)
      next.push_back(block.key(block.placeOf(i)));
    for (size_t i = 0; i < count; ++i)
      next.push_back(block.index(block.placeOf(i)));
    return next;
  });
}

/// Of the row, or of its elements whose indices are in the out.
void SortEmitter::sortRow(gpu::GPUFuncOp function, bool ofOut) {
  RadixBlock block(b, function, keyType);
  setRow(gpu::BlockIdOp::create(b, gpu::Dimension::x));
  Type i32 = b.getI32Type();
  Value count = d.toInt(ofOut ? k : size), last = d.sub(count, 1);
  Values elements, indices, entries;
  if (ofOut)
    shareBetweenThreads(function, op.getOut());
  for (int64_t i = 0; i < block.perThread(); ++i) {
    Value place = d.min(block.placeOf(i), last);
    if (ofOut) {
      Value entry = memref::LoadOp::create(b, op.getOut(), indicesOf(d.toIndex(place)));
      place = arith::TruncIOp::create(b, i32, entry);
    }
    indices.push_back(place);
  }
  for (Value entry : indices)
    elements.push_back(loadElement(d.toIndex(entry)));
  // What is not there is last, in either order.
  Value none = number(keyType, 0), nowhere = d.constant(-1);
  for (auto [i, element] : llvm::enumerate(elements))
    entries.push_back(d.select(d.isLess(block.placeOf(i), count), keyOf(element), none));
  for (auto [i, entry] : llvm::enumerate(indices))
    entries.push_back(d.select(d.isLess(block.placeOf(i), count), entry, nowhere));
  if (ofOut)
    sortBy(block, entries, d.toInt(ceilLog2(size)), /*byIndex=*/true);
  sortBy(block, entries, d.constant(keyBits), /*byIndex=*/false);
  Value asked = d.toInt(k);
  for (int64_t i = 0; i < block.perThread(); ++i) {
    Value place = block.placeOf(i);
    d.branch(d.isLess(place, asked),
             [&] { write(d.toIndex(place), wide(entries[block.perThread() + i])); });
  }
}

//===----------------------------------------------------------------------===//
// Many blocks
//===----------------------------------------------------------------------===//

Value SortEmitter::words() {
  Value counters = d.mul(numCounters(), d.add(numParts(), 1));
  Value bytes = d.add(d.mul(numEntries(), 2 * (keyBytes() + 4)), d.mul(counters, 4));
  return d.ceilDiv(bytes, 8);
}

Value SortEmitter::isOfMany() {
  Value isLong = d.compare(Predicate::uge, size, kLongRow);
  Value areFew = d.compare(Predicate::ule, numRows(), kFewRows);
  return either(d.compare(Predicate::ugt, k, most()), both(isLong, areFew));
}

Value SortEmitter::keysAt(Value memory, Value side, Value entry) {
  Value place = d.add(d.mul(d.toWide(numEntries()), side), entry);
  return d.after(memory, d.mul(place, keyBytes()));
}

Value SortEmitter::indicesAt(Value memory, Value side, Value entry) {
  Value all = d.toWide(numEntries());
  Value place = d.add(d.mul(all, side), entry);
  return d.after(memory, d.add(d.mul(all, 2 * keyBytes()), d.mul(place, 4)));
}

Value SortEmitter::counterAt(Value memory, Value counter, Value part) {
  Value place = d.add(d.mul(counter, d.toWide(numParts())), part);
  Value begin = d.mul(d.toWide(numEntries()), 2 * (keyBytes() + 4));
  return d.after(memory, d.add(begin, d.mul(place, 4)));
}

/// Behind all counters.
Value SortEmitter::sumAt(Value memory, Value counter) {
  return counterAt(memory, d.toWide(numCounters()), counter);
}

SortEmitter::Part SortEmitter::begin(RadixBlock &block, ValueRange given) {
  Value id = gpu::BlockIdOp::create(b, gpu::Dimension::x), parts = numParts();
  Part part;
  part.memory = given[0];
  part.pass = d.toWide(given[1]);
  Value row = d.div(id, parts), number = d.rem(id, parts);
  setRow(row);
  part.rowNumber = d.toWide(row);
  part.number = d.toWide(number);
  Value first = d.mul(number, most());
  part.first = d.toWide(first);
  part.numEntries = d.toInt(d.min(d.sub(size, first), index(most())));
  return part;
}

/// Of the part's entries at `places`; 0 beyond their end.
SortEmitter::Values SortEmitter::loadKeys(const Part &part, ArrayRef<Value> places) {
  Value last = d.sub(part.numEntries, 1);
  SmallVector<Type> types(places.size(), keyType);
  auto inRow = [&](Value place) { return d.add(part.first, wide(d.min(place, last))); };
  Values keys = d.choose(
      d.isEqual(part.pass, 0), types,
      [&] {
        Values elements, keys;
        for (Value place : places)
          elements.push_back(loadElement(d.toIndex(inRow(place))));
        for (Value element : elements)
          keys.push_back(keyOf(element));
        return keys;
      },
      [&] {
        Value begin = d.mul(part.rowNumber, d.toWide(size));
        Value side = d.bitXor(d.bitAnd(part.pass, 1), 1);
        return llvm::map_to_vector(places, [&](Value place) {
          return d.load(keyType, keysAt(part.memory, side, d.add(begin, inRow(place))), keyBytes());
        });
      });
  for (auto [place, key] : llvm::zip_equal(places, keys))
    key = d.select(d.isLess(place, part.numEntries), key, number(keyType, 0));
  return keys;
}

void SortEmitter::countDigits(gpu::GPUFuncOp function, ValueRange given) {
  RadixBlock block(b, function, keyType);
  Part part = begin(block, given);
  Values places;
  for (int64_t i = 0; i < block.perThread(); ++i)
    places.push_back(block.turnOf(i));
  Values keys = loadKeys(part, places);
  block.clearCounters();
  Value shift = d.mul(arith::TruncIOp::create(b, b.getI32Type(), part.pass), kRadixBits);
  for (auto [place, key] : llvm::zip_equal(places, keys))
    block.count(block.digitOf(key, shift, /*turned=*/true), d.isLess(place, part.numEntries));
  Value counter = d.add(d.mul(part.rowNumber, kRadix), wide(block.thread));
  d.store(block.counted(), counterAt(part.memory, counter, part.number), 4);
}

/// A warp has a counter of all parts of a row: each becomes the sum of those in front.
void SortEmitter::addCounts(ValueRange given) {
  Value memory = given[0], thread = d.thread(), lane = d.bitAnd(thread, kWarp - 1);
  Value id = d.toWide(gpu::BlockIdOp::create(b, gpu::Dimension::x));
  Value counter = d.add(d.mul(id, kRadixThreads / kWarp), wide(d.div(thread, kWarp)));
  Value zero = d.constant(0), width = d.constant(kWarp), parts = d.toInt(numParts());
  auto shuffle = [&](Value value, Value from, gpu::ShuffleMode mode) {
    return gpu::ShuffleOp::create(b, value, from, width, mode).getShuffleResult();
  };
  Value step = d.constant(kWarp * kCounters);
  Value all = d.loop(zero, parts, step, zero, [&](Value begin, ValueRange now) {
    Value first = d.add(begin, d.mul(lane, kCounters));
    Values counts;
    Value sum = zero;
    for (int64_t i = 0; i < kCounters; ++i) {
      Value part = d.add(first, i), there = d.min(part, d.sub(parts, 1));
      Value count = d.load(b.getI32Type(), counterAt(memory, counter, wide(there)), 4);
      counts.push_back(d.select(d.isLess(part, parts), count, zero));
    }
    for (Value count : counts)
      sum = d.add(sum, count);
    Value upTo = sum;
    for (int64_t distance = 1; distance < kWarp; distance *= 2) {
      Value below = shuffle(upTo, d.constant(distance), gpu::ShuffleMode::UP);
      upTo = d.add(upTo, d.select(d.compare(Predicate::uge, lane, distance), below, zero));
    }
    Value next = d.add(now[0], d.sub(upTo, sum));
    for (int64_t i = 0; i < kCounters; ++i) {
      Value part = d.add(first, i);
      d.branch(d.isLess(part, parts),
               [&] { d.store(next, counterAt(memory, counter, wide(part)), 4); });
      next = d.add(next, counts[i]);
    }
    return Values{d.add(now[0], shuffle(upTo, d.constant(kWarp - 1), gpu::ShuffleMode::IDX))};
  })[0];
  d.branch(d.isEqual(lane, 0), [&] { d.store(all, sumAt(memory, counter), 4); });
}

void SortEmitter::placeEntries(gpu::GPUFuncOp function, ValueRange given) {
  RadixBlock block(b, function, keyType);
  Part part = begin(block, given);
  Type i32 = b.getI32Type();
  Value shift = d.mul(arith::TruncIOp::create(b, i32, part.pass), kRadixBits);
  Value begin = d.mul(part.rowNumber, d.toWide(size)), last = d.sub(part.numEntries, 1);
  Values places, digits;
  for (int64_t i = 0; i < block.perThread(); ++i)
    places.push_back(block.placeOf(i));
  Values keys = loadKeys(part, places);
  Value side = d.bitAnd(part.pass, 1), other = d.bitXor(side, 1);
  Values indices = d.choose(
      d.isEqual(part.pass, 0), SmallVector<Type>(places.size(), i32),
      [&] {
        Value first = arith::TruncIOp::create(b, i32, part.first);
        return llvm::map_to_vector(places, [&](Value place) { return d.add(first, place); });
      },
      [&] {
        return llvm::map_to_vector(places, [&](Value place) {
          Value entry = d.add(d.add(begin, part.first), wide(d.min(place, last)));
          return d.load(i32, indicesAt(part.memory, other, entry), 4);
        });
      });
  for (Value key : keys)
    digits.push_back(block.digitOf(key, shift, /*turned=*/true));
  Value counter = d.add(d.mul(part.rowNumber, kRadix), wide(block.thread));
  Value ofDigit = d.load(i32, sumAt(part.memory, counter), 4);
  Value ofParts = d.load(i32, counterAt(part.memory, counter, part.number), 4);
  Values to = block.rank(digits);
  // What is added to a place of the block for one in the row.
  Value inRow = d.add(block.sumBelow(ofDigit), ofParts);
  block.tell(d.sub(inRow, block.getFirst()));
  block.put(to, keys, indices);
  Value isLast = d.isEqual(part.pass, passes() - 1), asked = d.toWide(k);
  for (int64_t i = 0; i < block.perThread(); ++i) {
    Value place = block.turnOf(i);
    d.branch(d.isLess(place, part.numEntries), [&] {
      Value key = block.key(place), entry = block.index(place);
      Value offset = block.told(block.digitOf(key, shift, /*turned=*/true));
      Value at = wide(d.add(place, offset));
      d.branch(
          isLast,
          [&] {
            d.branch(d.compare(Predicate::ult, at, asked),
                     [&] { write(d.toIndex(at), wide(entry)); });
          },
          [&] {
            Value there = d.add(begin, at);
            d.store(key, keysAt(part.memory, side, there), keyBytes());
            d.store(entry, indicesAt(part.memory, side, there), 4);
          });
    });
  }
}

//===----------------------------------------------------------------------===//
// Kernels
//===----------------------------------------------------------------------===//

/// The sort in the device's function, from the copy of what is to be emitted.
using MakeSort = llvm::function_ref<TopKOp(Operation *copy, ImplicitLocOpBuilder &, ValueRange given)>;

static TopKOp takeSort(Operation *copy, ImplicitLocOpBuilder &, ValueRange) {
  return cast<TopKOp>(copy);
}

/// Queues a kernel of a sort: what the device runs, and blocks from the host's sizes.
static void launch(KernelLaunches &launches, TopKOp op, StringRef suffix, ArrayRef<Value> more,
                   int64_t shared, MakeSort make,
                   llvm::function_ref<void(SortEmitter &, gpu::GPUFuncOp, ValueRange)> emit,
                   llvm::function_ref<Value(SortEmitter &)> numBlocks) {
  launches.launch(
      suffix, more, [&](Operation *copy, gpu::GPUFuncOp function, ValueRange given) -> LaunchShape {
        ImplicitLocOpBuilder b(copy->getLoc(), copy);
        TopKOp sort = make(copy, b, given);
        SortEmitter inside(sort, b);
        emit(inside, function, given);
        sort.erase();
        if (sort != copy)
          copy->erase();
        SortEmitter outside(op, launches.host);
        Value one = arith::ConstantIndexOp::create(launches.host, 1);
        Value threads = arith::ConstantIndexOp::create(launches.host, kRadixThreads);
        return {{numBlocks(outside), one, one}, threads, kRadixThreads, shared};
      });
}

static int64_t sharedBytes(TopKOp op) {
  unsigned bits = op.getElementType().getIntOrFloatBitWidth();
  return RadixBlock::sharedBytes(IntegerType::get(op.getContext(), bits > 32 ? 64 : 32));
}

static void launchRows(KernelLaunches &launches, TopKOp op, StringRef suffix, bool ofOut) {
  launch(
      launches, op, suffix, {}, sharedBytes(op), takeSort,
      [&](SortEmitter &emitter, gpu::GPUFuncOp function, ValueRange) {
        emitter.sortRow(function, ofOut);
      },
      [&](SortEmitter &emitter) {
        return emitter.numBlocks(arith::ConstantIndexOp::create(launches.host, 1));
      });
}

/// `more`: what the kernels are given behind memory and digit.
static void launchMany(KernelLaunches &launches, TopKOp op, MakeSort make = takeSort,
                       ArrayRef<Value> more = {}) {
  ImplicitLocOpBuilder &host = launches.host;
  SortEmitter outside(op, host);
  auto parts = [](SortEmitter &emitter) { return emitter.numBlocks(emitter.numParts()); };
  auto warps = [&](SortEmitter &emitter) {
    return emitter.numBlocks(arith::ConstantIndexOp::create(host, kRadix * kWarp / kRadixThreads));
  };
  auto index = [&](int64_t value) { return arith::ConstantIndexOp::create(host, value); };
  launches.withMemory(outside.words(), [&](Value memory) {
    DeviceBuilder{host}.loop(
        index(0), index(outside.passes()), index(1), {}, [&](Value pass, ValueRange) {
          SmallVector<Value> given = {memory, pass};
          llvm::append_range(given, more);
          auto queue = [&](StringRef suffix, int64_t shared, auto emit, auto numBlocks) {
            launch(launches, op, suffix, given, shared, make, emit, numBlocks);
          };
          queue("_count", sharedBytes(op),
                [](SortEmitter &emitter, gpu::GPUFuncOp function, ValueRange given) {
                  emitter.countDigits(function, given);
                },
                parts);
          queue("_add", 0,
                [](SortEmitter &emitter, gpu::GPUFuncOp, ValueRange given) {
                  emitter.addCounts(given);
                },
                warps);
          queue("_place", sharedBytes(op),
                [](SortEmitter &emitter, gpu::GPUFuncOp function, ValueRange given) {
                  emitter.placeEntries(function, given);
                },
                parts);
          return DeviceBuilder::Values();
        });
  });
}

void ssm::emitSortOf(TopKOp sort, KernelLaunches &launches, Value memory,
                     llvm::function_ref<TopKOp(Operation *, ImplicitLocOpBuilder &, Value)> make) {
  launchMany(launches, sort,
             [&](Operation *copy, ImplicitLocOpBuilder &b, ValueRange given) {
               return make(copy, b, given.back());
             },
             memory);
}

void ssm::emitSortOfOut(TopKOp op, KernelLaunches &launches) {
  launchRows(launches, op, "_order", /*ofOut=*/true);
}

void ssm::addSortForms(TopKOp op, SmallVectorImpl<KernelForm> &forms) {
  KernelForm block{"_block", nullptr, nullptr}, many{"_many", nullptr, nullptr};
  block.isFit = [op](ImplicitLocOpBuilder &host) { return SortEmitter(op, host).isOfBlock(); };
  block.emitAll = [op](KernelLaunches &launches) {
    launchRows(launches, op, "_block", /*ofOut=*/false);
  };
  many.isFit = [op](ImplicitLocOpBuilder &host) { return SortEmitter(op, host).isOfMany(); };
  many.emitAll = [op](KernelLaunches &launches) { launchMany(launches, op); };
  forms.append({block, many});
}
