//===- LookBack.h - What tiles in front come to ------------------*- C++ -*-===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Blocks have tiles of rows. Each tells what its tile comes to, and takes what those in front have
// told: all tiles of its group, then the groups in front, of which the last tile of a group tells.
// What is combined, and in which order, does not depend on who comes first: the same input gives
// the same bits. A block draws its tile's number, so all that it waits for have begun.
//
//===----------------------------------------------------------------------===//

#ifndef SSM_PASSES_GPU_LOOKBACK_H
#define SSM_PASSES_GPU_LOOKBACK_H

#include "passes/GPU/DeviceBuilder.h"

namespace ssm {

class LookBack {
public:
  using Value = mlir::Value;
  using Values = llvm::SmallVector<Value>;

  /// Of a block.
  static constexpr int64_t kThreads = 256;

  /// `columns`: rows that a tile has side by side, 1 or those of a warp.
  LookBack(mlir::ImplicitLocOpBuilder &b, mlir::Type type, int64_t columns)
      : b(b), d{b}, type(type), columns(columns), group(columns == 1 ? kThreads : 64) {}

  /// How values are put together: two, those of all of the block's threads of a row, and none.
  struct Combine {
    llvm::function_ref<Value(Value, Value)> two;
    llvm::function_ref<Value(Value)> threads;
    Value none;
  };

  /// Of memory that is 0 when the blocks begin, for so many rows, or groups of them side by side.
  Value numWords(Value rows, Value parts);
  /// 0 to that memory, by a grid of as many blocks.
  static Value clearBlocks(DeviceBuilder host, Value words) {
    return host.ceilDiv(words, kThreads * kCleared);
  }
  void clear(Value memory, Value words);

  void begin(Value memory, Value rows, Value parts);
  /// The next number, in the first thread.
  Value draw();
  void setRow(Value number) { row = number; }
  /// What the tile comes to, in all threads.
  void tell(Value total, Value part);
  /// What is in front of the tile, given what is in front of the row.
  Value before(Value total, Value part, Value init, const Combine &combine);

private:
  /// Of a word the upper half says that it is there.
  static constexpr int64_t kWordBytes = 8, kHalfWord = 32;
  /// Words that a thread waits for at once, more of which would not stay in registers, and clears.
  static constexpr int64_t kTogether = 4, kCleared = 8;

  Value add(Value x, int64_t y) { return d.add(x, y); }
  int64_t wordsOfValue() const { return type.getIntOrFloatBitWidth() > kHalfWord ? 2 : 1; }
  Value wordAt(Value number, int64_t i);
  /// The number of what a tile, or a group of them, tells of the thread's row.
  Value ofTile(Value tile);
  Value ofGroup(Value number);
  void tellOf(Value value, Value number);
  /// Waits for those that are needed; `none` else.
  Values waitFor(llvm::ArrayRef<Value> numbers, llvm::ArrayRef<Value> areNeeded, Value none);

  mlir::ImplicitLocOpBuilder &b;
  DeviceBuilder d;
  mlir::Type type;
  int64_t columns, group;
  Value memory, rows, parts, row, thread, column;
};

} // namespace ssm

#endif // SSM_PASSES_GPU_LOOKBACK_H
