//===- BitonicNetwork.cpp - A block sorts what its threads have -----------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// K. E. Batcher: Sorting networks and their applications (1968).
//
//===----------------------------------------------------------------------===//

#include "passes/GPU/BitonicNetwork.h"

#include "passes/GPU/TeamReduce.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace ssm;

BitonicNetwork::BitonicNetwork(ImplicitLocOpBuilder &b, DeviceKernel &kernel, Value thread,
                               int64_t maxThreads, int64_t perThread, TypeRange words)
    : b(b), d{b}, thread(thread), maxThreads(maxThreads), perThread(perThread),
      words(words) {
  if (maxThreads > kWarp)
    for (Type word : words)
      places.push_back(kernel.addShared({maxThreads * perThread}, word));
}

BitonicNetwork::Value BitonicNetwork::comesBefore(const Entry &x, const Entry &y) {
  Value before;
  for (size_t i = x.size(); i-- > 0;) {
    Value greater = d.compare(DeviceBuilder::Predicate::ugt, x[i], y[i]);
    before = before ? d.make<arith::OrIOp>(greater, d.bitAnd(d.isEqual(x[i], y[i]), before))
                    : greater;
  }
  return before;
}

BitonicNetwork::Values BitonicNetwork::flat(ArrayRef<Entry> entries) {
  Values all;
  for (const Entry &entry : entries)
    llvm::append_range(all, entry);
  return all;
}

void BitonicNetwork::unflatten(ValueRange values, MutableArrayRef<Entry> entries) {
  for (Entry &entry : entries) {
    entry.assign(values.begin(), values.begin() + words.size());
    values = values.drop_front(words.size());
  }
}

void BitonicNetwork::orderInThread(MutableArrayRef<Entry> entries, int64_t distance,
                                   llvm::function_ref<Value(int64_t)> isUp) {
  for (int64_t i = 0; i < perThread; ++i) {
    if (i & distance)
      continue;
    Entry &low = entries[i], &high = entries[i + distance];
    Value keeps = d.isEqual(comesBefore(low, high), isUp(i));
    for (auto [x, y] : llvm::zip_equal(low, high)) {
      Value first = d.select(keeps, x, y);
      y = d.select(keeps, y, x);
      x = first;
    }
  }
}

/// With the thread whose number differs in the bit of `distance`.
void BitonicNetwork::orderAcross(MutableArrayRef<Entry> entries, Value distance, Value isUp) {
  Values mine = flat(entries);
  auto shuffle = [&] {
    Value where = d.toInt(distance), width = d.constant(kWarp);
    Values got;
    for (Value value : mine)
      got.push_back(gpu::ShuffleOp::create(b, value, where, width, gpu::ShuffleMode::XOR)
                        .getShuffleResult());
    return got;
  };
  Values got;
  if (places.empty())
    got = shuffle();
  else
    got = d.choose(d.isLess(distance, kWarp), ValueRange(mine).getTypes(), shuffle, [&] {
      auto placeOf = [&](Value who, size_t i) {
        return d.add(who, static_cast<int64_t>(i / words.size()) * maxThreads);
      };
      for (auto [i, value] : llvm::enumerate(mine))
        memref::StoreOp::create(b, value, places[i % words.size()], placeOf(thread, i));
      gpu::BarrierOp::create(b);
      Value partner = d.bitXor(thread, distance);
      Values read;
      for (size_t i = 0; i < mine.size(); ++i)
        read.push_back(
            memref::LoadOp::create(b, places[i % words.size()], placeOf(partner, i)));
      gpu::BarrierOp::create(b);
      return read;
    });
  SmallVector<Entry> others(entries.size());
  unflatten(got, others);
  Value keepsFirst = d.isEqual(d.isEqual(d.bitAnd(thread, distance), 0), isUp);
  for (auto [entry, other] : llvm::zip_equal(entries, others)) {
    Value keeps = d.isEqual(comesBefore(entry, other), keepsFirst);
    for (auto [x, y] : llvm::zip_equal(entry, other))
      x = d.select(keeps, x, y);
  }
}

void BitonicNetwork::sort(SmallVectorImpl<Entry> &entries, Value stages) {
  Value zero = d.constant(stages, 0), one = d.constant(stages, 1);
  unsigned own = llvm::Log2_64(perThread);
  // Runs that lie in one thread, every second one the other way around.
  for (unsigned stage = 0; stage < own; ++stage)
    for (int64_t distance = int64_t(1) << stage; distance > 0; distance /= 2)
      orderInThread(entries, distance, [&](int64_t i) -> Value {
        int64_t length = int64_t(2) << stage;
        if (length < perThread)
          return arith::ConstantIntOp::create(b, b.getI1Type(), (i & length) == 0);
        return d.isEqual(d.bitAnd(thread, 1), 0);
      });
  auto shift = [&](Value by) { return d.make<arith::ShLIOp>(one, by); };
  // Merges of runs of 2^merge threads.
  Value merges = d.sub(d.make<arith::MaxUIOp>(stages, d.constant(stages, own)), own);
  Values sorted = d.loop(zero, merges, one, flat(entries), [&](Value merge, ValueRange given) {
    Value isUp = d.isEqual(d.bitAnd(thread, shift(d.add(merge, 1))), 0);
    Values mixed = d.loop(zero, d.add(merge, 1), one, given, [&](Value step, ValueRange given) {
      SmallVector<Entry> now(entries.size());
      unflatten(given, now);
      orderAcross(now, shift(d.sub(merge, step)), isUp);
      return flat(now);
    });
    SmallVector<Entry> now(entries.size());
    unflatten(mixed, now);
    for (int64_t distance = perThread / 2; distance > 0; distance /= 2)
      orderInThread(now, distance, [&](int64_t) { return isUp; });
    return flat(now);
  });
  unflatten(sorted, entries);
}
