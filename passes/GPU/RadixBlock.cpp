//===- RadixBlock.cpp - Digits sorted by a block --------------------------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A warp looks at 32 entries at a time: lanes of the same digit find each other by votes, the
// first of them counts all in the warp's counter of the digit. So entries of a digit are counted
// in their order, and no order of threads shows. Sums over warps and digits of what was counted
// give where a warp's entries of a digit begin.
//
//===----------------------------------------------------------------------===//

#include "passes/GPU/RadixBlock.h"

#include "mlir/Dialect/LLVMIR/NVVMDialect.h"

using namespace mlir;
using namespace ssm;
using Predicate = arith::CmpIPredicate;

namespace {
constexpr int64_t kWarps = kRadixThreads / kWarp;
/// One more than digits, so that those of one do not share a bank.
constexpr int64_t kCopyWords = kRadix + 1;
constexpr int64_t kCounterBytes = (kWarps * kCopyWords * 4 + 15) / 16 * 16;
} // namespace

int64_t RadixBlock::toldAt() const { return countersAt() + kCounterBytes; }

/// Keys, indices, counters, words and sums follow each other.
int64_t RadixBlock::endOf(int64_t begin) const {
  for (int64_t next : {indicesAt(), countersAt(), toldAt(), sumsAt()})
    if (begin < next)
      return next;
  return sharedBytes(keyType);
}

int64_t RadixBlock::sharedBytes(Type keyType) {
  int64_t keyBytes = keyType.getIntOrFloatBitWidth() / 8;
  return entries(keyType) * (keyBytes + 4) + kCounterBytes + (kRadixThreads + kWarps) * 4;
}

RadixBlock::RadixBlock(ImplicitLocOpBuilder &b, gpu::GPUFuncOp function, Type keyType)
    : b(b), d{b}, keyType(keyType) {
  memory = DeviceKernel{KernelOp(), KernelOp(), b, b, function}.addDynamicShared();
  thread = d.thread();
  lane = d.bitAnd(thread, kWarp - 1);
  warp = d.div(thread, kWarp);
}

Value RadixBlock::placeOf(int64_t i) {
  return d.add(d.add(d.mul(warp, kWarp * perThread()), lane), i * kWarp);
}

Value RadixBlock::digitOf(Value number, Value shift, bool turned) {
  Type i32 = b.getI32Type();
  bool isWide = number.getType().isInteger(64);
  Value by = isWide ? arith::ExtUIOp::create(b, number.getType(), shift).getResult() : shift;
  Value digit = d.make<arith::ShRUIOp>(number, by);
  if (isWide)
    digit = arith::TruncIOp::create(b, i32, digit);
  return d.bitAnd(turned ? d.bitXor(digit, -1) : digit, kRadix - 1);
}

Value RadixBlock::shuffle(Value value, Value from, gpu::ShuffleMode mode) {
  return gpu::ShuffleOp::create(b, value, from, d.constant(kWarp), mode).getShuffleResult();
}

Value RadixBlock::peersOf(Value digit) {
  Value all = d.constant(-1), peers;
  for (int64_t bit = 0; bit < kRadixBits; ++bit) {
    Value isSet = d.compare(Predicate::ne, d.bitAnd(digit, int64_t(1) << bit), 0);
    Value set = NVVM::VoteSyncOp::create(b, b.getI32Type(), all, isSet, NVVM::VoteSyncKind::ballot);
    Value same = d.select(isSet, set, d.bitXor(set, -1));
    peers = peers ? d.bitAnd(peers, same) : same;
  }
  return peers;
}

Value RadixBlock::addTo(Value word, Value by) {
  return LLVM::AtomicRMWOp::create(b, LLVM::AtomicBinOp::add, at(countersAt(), word, 4), by,
                                   LLVM::AtomicOrdering::monotonic, "block");
}

void RadixBlock::clearCounters() {
  for (int64_t i = 0; i < kWarps; ++i)
    d.store(d.constant(0), at(countersAt(), d.add(thread, i * kCopyWords), 4), 4);
  wait();
}

void RadixBlock::count(Value digit, Value condition) {
  d.branch(condition, [&] {
    Value copy = d.mul(d.bitAnd(lane, kWarps - 1), kCopyWords);
    addTo(d.add(copy, digit), d.constant(1));
  });
}

Value RadixBlock::counted() {
  wait();
  Value sum;
  for (int64_t i = 0; i < kWarps; ++i) {
    Value part = d.load(b.getI32Type(), at(countersAt(), d.add(thread, i * kCopyWords), 4), 4);
    sum = sum ? d.add(sum, part) : part;
  }
  return sum;
}

Value RadixBlock::sumBelow(Value value) {
  Value upTo = value;
  for (int64_t distance = 1; distance < kWarp; distance *= 2) {
    Value below = shuffle(upTo, d.constant(distance), gpu::ShuffleMode::UP);
    Value isThere = d.compare(Predicate::uge, lane, distance);
    upTo = d.add(upTo, d.select(isThere, below, d.constant(0)));
  }
  d.branch(d.isEqual(lane, kWarp - 1), [&] { d.store(upTo, at(sumsAt(), warp, 4), 4); });
  wait();
  Value result = d.sub(upTo, value);
  for (int64_t other = 0; other + 1 < kWarps; ++other) {
    Value sum = d.load(b.getI32Type(), d.after(memory, sumsAt() + other * 4), 4);
    result = d.add(result, d.select(d.compare(Predicate::ugt, warp, other), sum, d.constant(0)));
  }
  return result;
}

RadixBlock::Values RadixBlock::rank(ArrayRef<Value> digits) {
  Values words, peers, before, ranks;
  Value below = d.sub(d.make<arith::ShLIOp>(d.constant(1), lane), 1);
  Value own = d.mul(warp, kCopyWords);
  for (Value digit : digits) {
    peers.push_back(peersOf(digit));
    before.push_back(LLVM::CtPopOp::create(b, d.bitAnd(peers.back(), below)));
    words.push_back(d.add(own, digit));
  }
  clearCounters();
  for (auto [word, mask, earlier] : llvm::zip_equal(words, peers, before)) {
    Value isFirst = d.isEqual(earlier, 0);
    Value begin = d.choose(isFirst, b.getI32Type(), [&] {
      return Values{addTo(word, LLVM::CtPopOp::create(b, mask))};
    })[0];
    Value from = LLVM::CountTrailingZerosOp::create(b, b.getI32Type(), mask, false);
    ranks.push_back(d.add(shuffle(begin, from, gpu::ShuffleMode::IDX), earlier));
  }
  wait();
  // A thread for each digit: what the warps have of it.
  auto counterOf = [&](int64_t of) {
    return at(countersAt(), d.add(thread, of * kCopyWords), 4);
  };
  Values counts;
  Value sum = d.constant(0);
  for (int64_t of = 0; of < kWarps; ++of) {
    counts.push_back(d.load(b.getI32Type(), counterOf(of), 4));
    sum = d.add(sum, counts.back());
  }
  first = sumBelow(sum);
  Value next = first;
  for (int64_t of = 0; of < kWarps; ++of) {
    d.store(next, counterOf(of), 4);
    next = d.add(next, counts[of]);
  }
  wait();
  for (auto [rank, word] : llvm::zip_equal(ranks, words))
    rank = d.add(rank, d.load(b.getI32Type(), at(countersAt(), word, 4), 4));
  return ranks;
}

void RadixBlock::put(ArrayRef<Value> places, ArrayRef<Value> keys, ArrayRef<Value> indices) {
  for (auto [place, key, entry] : llvm::zip_equal(places, keys, indices)) {
    d.store(key, at(0, place, keyBytes()), keyBytes());
    d.store(entry, at(indicesAt(), place, 4), 4);
  }
  wait();
}
