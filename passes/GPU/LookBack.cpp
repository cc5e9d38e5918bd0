//===- LookBack.cpp - What tiles in front come to -------------------------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "passes/GPU/LookBack.h"

using namespace mlir;
using namespace ssm;
using Predicate = arith::CmpIPredicate;

/// A number to draw, all tiles, all groups of tiles.
Value LookBack::numWords(Value rows, Value parts) {
  Value all = d.add(parts, d.ceilDiv(parts, group));
  return d.add(d.mul(d.mul(rows, all), columns * wordsOfValue()), 1);
}

void LookBack::clear(Value memory, Value words) {
  Value thread = gpu::ThreadIdOp::create(b, gpu::Dimension::x);
  Value block = gpu::BlockIdOp::create(b, gpu::Dimension::x);
  Value none = arith::ConstantIntOp::create(b, b.getI64Type(), 0);
  Value first = d.add(d.mul(block, kThreads * kCleared), thread);
  for (int64_t i = 0; i < kCleared; ++i) {
    Value word = d.add(first, i * kThreads);
    d.branch(d.isLess(word, words), [&] {
      d.store(none, d.after(memory, d.toWide(d.mul(word, kWordBytes))), kWordBytes);
    });
  }
}

void LookBack::begin(Value memory, Value rows, Value parts) {
  this->memory = memory;
  this->rows = rows;
  this->parts = parts;
  thread = gpu::ThreadIdOp::create(b, gpu::Dimension::x);
  column = d.rem(thread, columns);
}

Value LookBack::draw() {
  return d.choose(d.isEqual(thread, 0), b.getI32Type(), [&] {
    return Values{LLVM::AtomicRMWOp::create(b, LLVM::AtomicBinOp::add, memory, d.constant(1),
                                            LLVM::AtomicOrdering::monotonic, "device")};
  })[0];
}

Value LookBack::ofTile(Value tile) {
  return d.add(d.mul(d.add(d.mul(row, parts), tile), columns), column);
}

/// Behind those of all tiles.
Value LookBack::ofGroup(Value number) {
  Value groups = d.ceilDiv(parts, group);
  Value place = d.add(d.mul(rows, parts), d.add(d.mul(row, groups), number));
  return d.add(d.mul(place, columns), column);
}

Value LookBack::wordAt(Value number, int64_t i) {
  Value place = d.mul(d.add(d.mul(number, wordsOfValue()), i), kWordBytes);
  return d.after(d.after(memory, kWordBytes), d.toWide(place));
}

void LookBack::tellOf(Value value, Value number) {
  unsigned bits = type.getIntOrFloatBitWidth();
  Type word = b.getI64Type();
  Value raw = value;
  if (!type.isInteger())
    raw = b.createOrFold<arith::BitcastOp>(b.getIntegerType(bits), raw);
  if (bits < 64)
    raw = arith::ExtUIOp::create(b, word, raw);
  Value isThere = arith::ConstantIntOp::create(b, word, int64_t(1) << kHalfWord);
  Value low = arith::ConstantIntOp::create(b, word, (int64_t(1) << kHalfWord) - 1);
  for (int64_t i = 0; i < wordsOfValue(); ++i) {
    Value half = i == 0 ? d.bitAnd(raw, low) : d.make<arith::ShRUIOp>(raw, kHalfWord);
    LLVM::StoreOp::create(b, d.make<arith::OrIOp>(half, isThere), wordAt(number, i), kWordBytes,
                          /*isVolatile=*/false, /*isNonTemporal=*/false,
                          /*isInvariantGroup=*/false, LLVM::AtomicOrdering::monotonic, "device");
  }
}

SmallVector<Value> LookBack::waitFor(ArrayRef<Value> numbers, ArrayRef<Value> areNeeded, Value none) {
  Type word = b.getI64Type();
  int64_t perValue = wordsOfValue();
  SmallVector<Type> types(numbers.size() * perValue, word);
  auto wait = scf::WhileOp::create(b, types, ValueRange());
  {
    OpBuilder::InsertionGuard guard(b);
    b.createBlock(&wait.getBefore());
    Values words;
    Value isMissing;
    for (auto [number, isNeeded] : llvm::zip_equal(numbers, areNeeded))
      for (int64_t i = 0; i < perValue; ++i) {
        words.push_back(LLVM::LoadOp::create(
            b, word, wordAt(number, i), kWordBytes, /*isVolatile=*/false, /*isNonTemporal=*/false,
            /*isInvariant=*/false, /*isInvariantGroup=*/false, LLVM::AtomicOrdering::monotonic,
            "device"));
        Value isThere = d.make<arith::ShRUIOp>(words.back(), kHalfWord);
        Value lacks = d.make<arith::AndIOp>(isNeeded, d.isEqual(isThere, 0));
        isMissing = isMissing ? d.make<arith::OrIOp>(isMissing, lacks) : lacks;
      }
    scf::ConditionOp::create(b, isMissing, words);
    b.createBlock(&wait.getAfter(), {}, types, SmallVector<Location>(types.size(), b.getLoc()));
    scf::YieldOp::create(b);
  }
  unsigned bits = type.getIntOrFloatBitWidth();
  Values values;
  for (size_t i = 0; i < numbers.size(); ++i) {
    Value raw = wait.getResult(i * perValue);
    if (perValue == 2) {
      Value low = arith::ConstantIntOp::create(b, word, (int64_t(1) << kHalfWord) - 1);
      raw = d.make<arith::OrIOp>(
          d.bitAnd(raw, low), d.make<arith::ShLIOp>(wait.getResult(2 * i + 1), kHalfWord));
    }
    if (bits < 64)
      raw = arith::TruncIOp::create(b, b.getIntegerType(bits), raw);
    Value value = type.isInteger() ? raw : b.createOrFold<arith::BitcastOp>(type, raw);
    values.push_back(d.select(areNeeded[i], value, none));
  }
  return values;
}

void LookBack::tell(Value total, Value part) {
  d.branch(d.isLess(thread, columns), [&] { tellOf(total, ofTile(part)); });
}

Value LookBack::before(Value total, Value part, Value init, const Combine &combine) {
  Value number = d.div(part, group), own = d.rem(part, group), base = d.mul(number, group);
  Value inGroup = combine.none;
  for (int64_t i = 0; i < group * columns; i += kThreads * kTogether) {
    Values numbers, areNeeded;
    for (int64_t at = i; at < std::min(i + kThreads * kTogether, group * columns); at += kThreads) {
      Value tile = d.div(d.add(thread, at), columns);
      areNeeded.push_back(d.isLess(tile, own));
      numbers.push_back(ofTile(d.add(base, d.min(tile, own))));
    }
    for (Value value : waitFor(numbers, areNeeded, combine.none))
      inGroup = combine.two(inGroup, value);
  }
  // A thread for each row waits for the group in front: if all did, they would queue at one word.
  Value isFirst = d.isEqual(number, 0), tells = d.isLess(thread, columns);
  Value last = d.sub(d.select(isFirst, d.constant(number, 1), number), 1);
  inGroup = d.choose(
      tells, type,
      [&] {
        Value hasGroups = d.compare(Predicate::ne, number, 0);
        Value groups = waitFor(ofGroup(last), hasGroups, combine.none)[0];
        return Values{combine.two(d.select(isFirst, init, groups), inGroup)};
      },
      [&] { return Values{inGroup}; })[0];
  Value before = combine.threads(inGroup);
  Value isLast = d.isEqual(own, group - 1);
  d.branch(d.make<arith::AndIOp>(tells, isLast),
           [&] { tellOf(combine.two(before, total), ofGroup(number)); });
  return before;
}
