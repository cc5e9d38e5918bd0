//===- RadixBlock.h - Digits sorted by a block ------------------*- C++ -*-===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef SSM_PASSES_GPU_RADIXBLOCK_H
#define SSM_PASSES_GPU_RADIXBLOCK_H

#include "passes/GPU/DeviceBuilder.h"
#include "passes/GPU/TeamReduce.h"
#include "passes/GPU/TraceBlock.h"

namespace ssm {

/// Bits of a digit, and values that it has: one for each thread.
constexpr int64_t kRadixBits = 8, kRadix = int64_t(1) << kRadixBits;
/// Threads of a block that sorts.
constexpr int64_t kRadixThreads = kRadix;

/// A block's entries, keys with their indices (32 bits), a number of them in each thread's
/// registers, and the shared memory through which they change places. Numbers are of 32 bits.
class RadixBlock {
public:
  using Value = mlir::Value;
  using Values = llvm::SmallVector<Value>;

  /// Entries of a block.
  static int64_t entries(mlir::Type keyType) {
    return keyType.getIntOrFloatBitWidth() > 32 ? 2048 : 4096;
  }
  /// Bytes of dynamic shared memory that a block needs.
  static int64_t sharedBytes(mlir::Type keyType);

  RadixBlock(mlir::ImplicitLocOpBuilder &b, mlir::gpu::GPUFuncOp function, mlir::Type keyType);

  int64_t perThread() const { return entries(keyType) / kRadixThreads; }
  /// The place of the thread's i-th entry: 32 neighbours of a warp follow each other, and so do
  /// the thread's.
  Value placeOf(int64_t i);
  /// The place in a walk by all threads together.
  Value turnOf(int64_t i) { return d.add(thread, i * kRadixThreads); }

  /// A digit of a key or an index; `turned`: the largest as 0.
  Value digitOf(Value number, Value shift, bool turned);
  /// Where entries with these digits, at their places, are to be, stably sorted. All threads must
  /// take part.
  Values rank(llvm::ArrayRef<Value> digits);
  /// After that, of the digit that is the thread's number: the place of the first that has it.
  Value getFirst() const { return first; }

  /// Puts entries to their places, for all threads to see.
  void put(llvm::ArrayRef<Value> places, llvm::ArrayRef<Value> keys, llvm::ArrayRef<Value> indices);
  Value key(Value place) { return d.load(keyType, at(0, place, keyBytes()), keyBytes()); }
  Value index(Value place) { return d.load(b.getI32Type(), at(indicesAt(), place, 4), 4); }

  /// The sum of what lower threads have. Barriers must be around.
  Value sumBelow(Value value);
  /// A word of the thread's, and of any.
  void tell(Value word) { d.store(word, at(toldAt(), thread, 4), 4); }
  Value told(Value of) { return d.load(b.getI32Type(), at(toldAt(), of, 4), 4); }

  /// Counters of digits, several of each against crowds, set to 0.
  void clearCounters();
  void count(Value digit, Value condition);
  /// Of the thread's number as a digit.
  Value counted();

  void wait() { mlir::gpu::BarrierOp::create(b); }

  Value thread, lane, warp;

private:
  int64_t keyBytes() const { return keyType.getIntOrFloatBitWidth() / 8; }
  int64_t indicesAt() const { return entries(keyType) * keyBytes(); }
  int64_t countersAt() const { return indicesAt() + entries(keyType) * 4; }
  int64_t toldAt() const;
  int64_t sumsAt() const { return toldAt() + kRadixThreads * 4; }
  int64_t endOf(int64_t begin) const;
  Value at(int64_t begin, Value place, int64_t bytes) {
    Value pointer = d.after(memory, d.add(d.mul(place, bytes), begin));
    pointer.getDefiningOp()->setAttr(kWithin, b.getDenseI64ArrayAttr({begin, endOf(begin)}));
    return pointer;
  }
  Value shuffle(Value value, Value from, mlir::gpu::ShuffleMode mode);
  /// The lanes whose digit is the same, a bit each.
  Value peersOf(Value digit);
  Value addTo(Value word, Value by);

  mlir::ImplicitLocOpBuilder &b;
  DeviceBuilder d;
  mlir::Type keyType;
  Value memory, first;
};

} // namespace ssm

#endif // SSM_PASSES_GPU_RADIXBLOCK_H
