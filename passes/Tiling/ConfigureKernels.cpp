//===- ConfigureKernels.cpp - Form, lanes and tiles of every kernel -------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "passes/Tiling/Passes.h"

#include "dialects/SSM/SSMOps.h"
#include "lib/Analysis/KernelShape.h"
#include "lib/Analysis/MatmulShape.h"
#include "lib/Analysis/RecurrenceShape.h"
#include "lib/Analysis/WeightValues.h"
#include "lib/Analysis/WindowShape.h"
#include "llvm/ADT/bit.h"

namespace ssm {
#define GEN_PASS_DEF_CONFIGUREKERNELS
#include "passes/Tiling/Passes.h.inc"
} // namespace ssm

using namespace mlir;
using namespace ssm;

namespace {

/// Steps of time that are taken for one tile of channels before the next: what
/// comes before and after the recurrence runs in loops of its own over them, and
/// few rows of memory are open at a time.
constexpr int64_t kTimeBlock = 8;
/// Where nothing is summed, steps are so short that the carries' way to memory and
/// back counts; where much is, the carries are so large.
constexpr int64_t kLongTimeBlock = 32;
constexpr int64_t kLargeState = 24;

/// Rows from which on the right side of a product is worth bringing into another
/// order at run time, and the same where it is dense along the depth.
constexpr int64_t kManyRows = 16;
constexpr int64_t kManyDeepRows = 32;
/// Vectors of columns that a single row takes at a time: of a matrix that is no weight each row is
/// another page, and so many lines of it are read one after the other.
constexpr int64_t kWideRow = 16;

struct ConfigureKernels : ssm::impl::ConfigureKernelsBase<ConfigureKernels> {
  using ConfigureKernelsBase::ConfigureKernelsBase;

  void runOnOperation() override {
    getOperation()->walk([&](KernelOp kernel) {
      if (!kernel.getConfig())
        kernel.setConfigAttr(choose(kernel));
    });
  }

  ConfigAttr choose(KernelOp kernel) {
    // Devices without vectors choose for themselves.
    if (vectorBits == 0)
      return ConfigAttr::get(&getContext(), Form::Loops, 0, 1, {});
    int64_t lanes = lanesOf(kernel);
    if (ConfigAttr matmul = chooseMatmul(kernel, lanes))
      return matmul;
    bool hasVectors = isVectorizable(kernel);
    if (std::optional<unsigned> row = hasVectors ? findRowLoop(kernel, lanes) : std::nullopt)
      return ConfigAttr::get(&getContext(), Form::Recurrence, *row, lanes, {});
    std::optional<unsigned> lane = hasVectors ? findLaneLoop(kernel, lanes) : std::nullopt;
    if (!lane)
      return ConfigAttr::get(&getContext(), Form::Loops, 0, 1, {});
    // What is the same in all lanes takes no room in vectors.
    if (int64_t more = lanesOf(kernel, lane); canBeLaneLoop(kernel, *lane, more))
      lanes = more;
    if (std::optional<Window> window = matchWindow(kernel, lanes);
        window && (paysWindow(kernel, *window, lanes) || kernel.getPadded()))
      return ConfigAttr::get(&getContext(), Form::Window, window->lane, lanes,
                             windowTiles(*window));
    if (kernel.getTime()) {
      if (std::optional<unsigned> state = findStateLoop(kernel, lanes))
        lane = state;
      else if (paysTwoVectors(kernel, *lane, lanes))
        lanes *= 2;
      return ConfigAttr::get(&getContext(), Form::Recurrence, *lane, lanes,
                             recurrenceTiles(kernel, *lane, lanes));
    }
    return ConfigAttr::get(&getContext(), Form::Rows, *lane, lanes, {});
  }

  /// Short rows leave most lanes empty, and lie better along another loop.
  static bool paysWindow(KernelOp kernel, const Window &window, int64_t lanes) {
    int64_t size = fixedSize(kernel, window.lane);
    return ShapedType::isDynamic(size) || size * 3 >= lanes;
  }

  /// Rows that are computed side by side read what they share once.
  SmallVector<int64_t> windowTiles(const Window &window) {
    if (!window.row)
      return {1, 4};
    return {registers >= 32 && window.axisOf(*window.row)->stride == 1 ? 8 : 4, 1};
  }

  /// Two vectors of channels at a time where a step waits for sums: then there is little else
  /// to do. A state of more than a quarter of the first level was slower. Squares of two
  /// vectors are more than there are registers.
  bool paysTwoVectors(KernelOp kernel, unsigned lane, int64_t lanes) {
    if (hasTurned(kernel, lane, lanes))
      return false;
    int64_t size = fixedSize(kernel, lane), points = largestSum(kernel);
    return registers >= 32 && waitsForSums(kernel) && size > 0 && size % (2 * lanes) == 0 &&
           canBeLaneLoop(kernel, lane, 2 * lanes) && points > kLargeState &&
           points * 2 * vectorBits / 8 <= level1Bytes / 4;
  }

  /// The fixed size of the largest loop that is summed over, or less than 1.
  static int64_t largestSum(KernelOp kernel) {
    int64_t points = 0;
    for (auto reduce : kernel.getStep().getOps<ReduceOp>())
      for (int64_t loop : reduce.getLoops())
        points = std::max(points, fixedSize(kernel, loop));
    return points;
  }

  /// Whether a sequence is turned in squares.
  static bool hasTurned(KernelOp kernel, unsigned lane, int64_t lanes) {
    return llvm::any_of(llvm::seq<unsigned>(0, kernel.getMaps().size()), [&](unsigned operand) {
      return isDenseAlongTime(kernel, operand, lane, lanes);
    });
  }

  /// A state on the stack may fill the first level. What is dense along time is turned by
  /// whole squares.
  SmallVector<int64_t> recurrenceTiles(KernelOp kernel, unsigned lane, int64_t lanes) {
    SmallVector<int64_t> tiles = {timeBlockOf(kernel, lane)};
    if (hasTurned(kernel, lane, lanes))
      tiles.front() = std::max(tiles.front(), lanes);
    if (level1Bytes > 0)
      tiles.push_back(level1Bytes);
    return tiles;
  }

  static int64_t timeBlockOf(KernelOp kernel, unsigned lane) {
    for (auto reduce : kernel.getStep().getOps<ReduceOp>())
      if (llvm::is_contained(reduce.getLoops(), lane)) // sums of lanes are kept for a block
        return kTimeBlock;
    int64_t points = largestSum(kernel);
    return points > 0 && points <= kLargeState ? kTimeBlock : kLongTimeBlock;
  }

  /// Null if the kernel is no product of matrices, or better done row by row.
  ConfigAttr chooseMatmul(KernelOp kernel, int64_t lanes) {
    std::optional<Matmul> what = matchMatmul(kernel);
    if (!what || !canBeLaneLoop(kernel, what->n, lanes))
      return {};
    int64_t height = what->m ? fixedSize(kernel, *what->m) : 1;
    int64_t width = fixedSize(kernel, what->n);
    // A column is a row of numbers that are added up.
    if (width == 1)
      return {};
    // Rows of an image that no other features share.
    if (std::optional<Window> window = matchWindow(kernel, lanes);
        window && !what->m && paysWindow(kernel, *window, lanes))
      return {};
    auto isDenseOrWeight = [&](unsigned input) {
      AffineMap map = kernel.getInputMap(input);
      return !map.isFunctionOfDim(what->n) || isDenseAlong(map, what->n) ||
             isPackedAlong(kernel, input, what->n, lanes) ||
             isFromWeights(kernel.getInputs()[input]);
    };
    if (!ShapedType::isDynamic(height) &&
        !llvm::all_of(inputsOf(kernel, what->right), isDenseOrWeight)) {
      if (height < kManyDeepRows && canSumAlongDepth(kernel, *what, lanes) &&
          isDenseAlongDepth(kernel, *what, what->left) &&
          isDenseAlongDepth(kernel, *what, what->right))
        return ConfigAttr::get(&getContext(), Form::Matmul, what->k.back(), lanes,
                               {registers >= 32 ? 4 : 2, 2});
      if (height < kManyRows)
        return {};
    }
    bool isNarrow = !ShapedType::isDynamic(width) && width <= lanes;
    bool isWeight = llvm::all_of(inputsOf(kernel, what->right), [&](unsigned input) {
      return isFromWeights(kernel.getInputs()[input]);
    });
    // Sums, a row of the right side, and an element of the left one fill the registers;
    // one more where products are not fused into sums.
    int64_t rows = registers >= 32 ? 12 : vectorBits >= 256 ? 6 : 4;
    SmallVector<int64_t> tiles = {rows, isNarrow ? 1 : 2};
    int64_t wideRow = registers >= 32 ? kWideRow : kWideRow / 2;
    if (height == 1 && !isNarrow && !isWeight)
      tiles = {1, wideRow};
    bool inPairs = bf16Pairs && canSumPairs(kernel, *what, lanes) && !isForWeights(kernel);
    if (inPairs || level2Bytes > 0)
      tiles.push_back(inPairs ? 2 : 1);
    if (level2Bytes > 0)
      addBlocks(kernel, *what, lanes, tiles);
    if (level2Bytes > 0 && ShapedType::isDynamic(height) && !inPairs && !isNarrow && !isWeight)
      tiles.push_back(wideRow);
    return ConfigAttr::get(&getContext(), Form::Matmul, what->n, lanes, tiles);
  }

  /// What lies in the second level at a time: a strip of the right side, or as much of its
  /// depth as an eighth of it holds, a quarter where there is one tile of rows, and beside it
  /// the rows that take turns with it, in five eighths. Measured with 1 and with 2 MiB.
  void addBlocks(KernelOp kernel, const Matmul &what, int64_t lanes,
                 SmallVectorImpl<int64_t> &tiles) {
    ReduceOp sum = what.sum;
    int64_t bytes = sum.getType().getIntOrFloatBitWidth() / 8;
    int64_t rowBytes = lanes * tiles[1] * bytes;
    int64_t height = what.m ? fixedSize(kernel, *what.m) : 1;
    int64_t parts = ShapedType::isDynamic(height) || height > tiles[0] ? 8 : 4;
    uint64_t depth = level2Bytes / parts / rowBytes;
    tiles.push_back(std::max<int64_t>(llvm::bit_floor(depth), 64));
    tiles.push_back(level2Bytes / 8 * 5);
  }

  /// Whether it may run on the machine that compiles, as what is made of weights does.
  static bool isForWeights(KernelOp kernel) {
    return kernel.hasBuffers() || isFromWeights(kernel.getResult(0));
  }

  /// As many as the widest numbers of the region allow, 16 to a vector of 512 bits
  /// at most: narrow types are computed with in 32 bits. With a lane loop, only those
  /// that depend on it.
  int64_t lanesOf(KernelOp kernel, std::optional<unsigned> lane = std::nullopt) {
    unsigned width = 32;
    KernelLoops loops(kernel);
    auto look = [&](Value value) {
      if (value.getType().isIntOrFloat() && (!lane || contains(loops.of(value), *lane)))
        width = std::max(width, value.getType().getIntOrFloatBitWidth());
    };
    llvm::for_each(kernel.getStep().getArguments(), look);
    for (Operation &op : kernel.getStep())
      llvm::for_each(op.getResults(), look);
    return std::max<int64_t>(vectorBits / width, 2);
  }
};
} // namespace
