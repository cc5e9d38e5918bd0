//===- EmitMatmul.cpp - Products of matrices ----------------------------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "passes/Vector/EmitKernels.h"

#include "lib/Analysis/KernelShape.h"
#include "lib/Analysis/MatmulShape.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "passes/Vector/CollapseLoops.h"
#include "passes/Vector/PointEmitter.h"

using namespace mlir;
using namespace ssm;

namespace {

/// Tiles of rows that take turns with one strip of the right side: it comes from the
/// outer caches once for all of them, while their rows, these bytes at most, stay in
/// the second level beside it.
constexpr int64_t kBlockBytes = 1200 << 10;
constexpr int64_t kBlockTiles = 16;
/// A strip that is deeper is used piece by piece by all tiles of a block.
constexpr int64_t kChunk = 2048;
/// What a piece of a parallel loop should at least have: this many products, or as
/// many elements of the right side as take that time to come from the outer caches.
constexpr int64_t kPieceProducts = 4'000'000;
constexpr int64_t kProductsPerElement = 13;

class MatmulEmitter {
public:
  MatmulEmitter(KernelOp kernel, const Matmul &what, ImplicitLocOpBuilder &b)
      : kernel(kernel), what(what), b(b),
        e(kernel, b, what.n, kernel.getConfig()->getLanes()), lanes(e.lanes),
        rows(kernel.getConfig()->getTiles()[0]), vectors(kernel.getConfig()->getTiles()[1]),
        vector(e.vectorOf(this->what.sum.getType())) {}

  void emit() {
    height = what.m ? e.size(*what.m) : e.index(1);
    width = e.size(what.n);
    fixedHeight = what.m ? e.fixedSize(*what.m) : 1;
    fixedWidth = e.fixedSize(what.n);
    chooseTail();
    // Rows are shared out evenly over tiles, so that no size has a tile of few rows.
    tiles = e.ceilDiv(height, rows);
    Value some = b.createOrFold<arith::MaxUIOp>(tiles, e.index(1));
    base = b.createOrFold<arith::DivUIOp>(height, some);
    larger = b.createOrFold<arith::RemUIOp>(height, some);
    depth = e.index(1);
    for (unsigned loop : what.k)
      depth = e.mul(depth, e.size(loop));
    Value tileBytes = e.mul(depth, e.index(rows * vector.getElementTypeBitWidth() / 8));
    Value blockTiles = b.createOrFold<arith::DivUIOp>(e.index(kBlockBytes), e.add(tileBytes, 1));
    blockTiles = b.createOrFold<arith::MaxUIOp>(e.min(blockTiles, e.index(kBlockTiles)), e.index(2));
    Value groups = b.createOrFold<arith::CeilDivUIOp>(tiles, blockTiles);
    Value strips = e.ceilDiv(width, vectors * lanes);
    Value items = e.mul(groups, strips);
    SmallVector<Value> outer;
    for (unsigned loop : what.outer) {
      outer.push_back(e.size(loop));
      items = e.mul(items, outer.back());
    }
    Value pieceSize = grain(e.mul(blockTiles, e.index(rows)));
    auto parallel = ParallelForOp::create(b, items, pieceSize);
    OpBuilder::InsertionGuard guard(b);
    Block *body = b.createBlock(&parallel.getBody(), {}, {b.getIndexType(), b.getIndexType()},
                                {b.getLoc(), b.getLoc()});
    sums = memref::AllocaOp::create(
        b, MemRefType::get({(isChunked() ? kBlockTiles : 1) * rows, vectors * lanes},
                           what.sum.getType()));
    SmallVector<Value> sizes = {strips, groups};
    llvm::append_range(sizes, llvm::reverse(outer));
    overItems(body->getArgument(0), body->getArgument(1), sizes, [&](ValueRange item) {
      PointEmitter::Scope scope(e);
      Value strip = item[0], group = item[1];
      for (auto [loop, index] : llvm::zip_equal(llvm::reverse(what.outer), item.drop_front(2)))
        e.at[loop] = index;
      Value first = b.createOrFold<arith::DivUIOp>(e.mul(group, tiles), groups);
      Value last = b.createOrFold<arith::DivUIOp>(e.mul(e.add(group, 1), tiles), groups);
      Value n0 = e.mul(strip, e.index(vectors * lanes));
      aheadStep = shareOfRow(e.sub(last, first));
      Value firstRow = e.add(e.mul(first, base), e.min(first, larger));
      overChunks([&] {
        SmallVector<Value> start = {firstRow, e.index(0), e.index(0)};
        (void)e.loop(first, last, 1, start, [&](Value tile, ValueRange carried) {
          ahead = carried[1];
          firstSum = isChunked() ? carried[2] : e.index(0);
          Value next = emitTile(tile, carried[0], n0);
          Value fetched = e.mul(aheadStep, e.sub(chunkEnd, chunkBegin));
          return SmallVector<Value>{next, e.add(ahead, fetched), e.add(carried[2], rows)};
        });
      });
    });
    YieldOp::create(b, ValueRange());
  }

private:
  /// Runs the body for the items [low, high), each as its digits, the first counting
  /// fastest. What is used in the innermost loops is handed from item to item, and from
  /// tile to tile, rather than computed from a number: LLVM would compute it again in
  /// the innermost loop, divisions and all, and spill the sums for that.
  void overItems(Value low, Value high, ArrayRef<Value> sizes,
                 llvm::function_ref<void(ValueRange)> body) {
    SmallVector<Value> start;
    Value rest = low;
    for (Value size : sizes) {
      start.push_back(b.createOrFold<arith::RemUIOp>(rest, size));
      rest = b.createOrFold<arith::DivUIOp>(rest, size);
    }
    (void)e.loop(low, high, 1, start, [&](Value, ValueRange item) {
      body(item);
      SmallVector<Value> next;
      Value carry = e.index(1), zero = e.index(0);
      for (auto [digit, size] : llvm::zip_equal(item, sizes)) {
        Value more = e.add(digit, carry);
        Value wraps = arith::CmpIOp::create(b, arith::CmpIPredicate::eq, more, size);
        next.push_back(arith::SelectOp::create(b, wraps, zero, more));
        carry = arith::SelectOp::create(b, wraps, e.index(1), zero);
      }
      return next;
    });
  }

  /// Elements of a row of a strip for each of the tiles, rounded up to a power of two.
  Value shareOfRow(Value tiles) {
    Value share = e.index(vectors * lanes);
    for (int64_t count = 2; count <= kBlockTiles; count *= 2) {
      Value many = arith::CmpIOp::create(b, arith::CmpIPredicate::uge, tiles, e.index(count));
      share = arith::SelectOp::create(
          b, many, e.index(llvm::divideCeil(vectors * lanes, count)), share);
    }
    return share;
  }

  /// What the last strip is like.
  void chooseTail() {
    tailVectors = vectors;
    if (fixedWidth >= 0) {
      int64_t rest = fixedWidth % (vectors * lanes);
      tailVectors = llvm::divideCeil(rest, lanes);
      hasTail = rest != 0;
      hasWhole = fixedWidth >= vectors * lanes;
    }
    // What is read by index has no padding either.
    maskRight = llvm::any_of(kernel.getStep(),
                             [](Operation &op) { return getIndexedRead(&op).has_value(); });
    for (unsigned input : inputsOf(kernel, what.right)) {
      if (!kernel.getInputMap(input).isFunctionOfDim(what.n))
        continue;
      if (isPackedAlong(kernel, input, what.n, lanes))
        packed.push_back(input);
      else
        maskRight = true;
    }
  }

  bool isChunked() {
    if (what.k.size() != 1)
      return false;
    int64_t fixed = e.fixedSize(what.k.front());
    return fixed < 0 || fixed > kChunk;
  }

  /// Runs the body with [chunkBegin, chunkEnd) of the innermost loop of the sum.
  void overChunks(llvm::function_ref<void()> body) {
    Value end = e.size(what.k.back());
    if (!isChunked()) {
      chunkBegin = e.index(0);
      chunkEnd = end;
      return body();
    }
    // Once for depth 0 too, for what the region makes of empty sums.
    Value some = b.createOrFold<arith::MaxUIOp>(end, e.index(1));
    e.loop(e.index(0), some, kChunk, [&](Value begin) {
      chunkBegin = begin;
      chunkEnd = e.min(e.add(begin, kChunk), end);
      body();
    });
  }

  /// Items of a piece.
  Value grain(Value blockRows) {
    Value products = e.mul(e.mul(depth, e.index(vectors * lanes)),
                           e.add(e.min(height, blockRows), kProductsPerElement));
    Value count = b.createOrFold<arith::DivUIOp>(e.index(kPieceProducts), e.add(products, 1));
    return e.add(count, 1);
  }

  void branch(Value condition, llvm::function_ref<void()> ifTrue,
              llvm::function_ref<void()> ifFalse) {
    auto choice = scf::IfOp::create(b, condition, /*withElseRegion=*/true);
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointToStart(choice.thenBlock());
    ifTrue();
    b.setInsertionPointToStart(choice.elseBlock());
    ifFalse();
  }

  /// Runs one of the two for the strip from n0: it is whole, or ragged.
  void overWidth(Value n0, llvm::function_ref<void()> whole, llvm::function_ref<void()> ragged) {
    if (!hasTail)
      return whole();
    if (!hasWhole)
      return ragged();
    branch(arith::CmpIOp::create(b, arith::CmpIPredicate::ule, e.add(n0, vectors * lanes), width),
           whole, ragged);
  }

  /// The tile of rows from m0, in the strip from n0. Returns the first row of the next.
  Value emitTile(Value tile, Value m0, Value n0) {
    PointEmitter::Scope scope(e);
    Value isLarger = arith::CmpIOp::create(b, arith::CmpIPredicate::ult, tile, larger);
    Value count = e.add(base, arith::SelectOp::create(b, isLarger, e.index(1), e.index(0)));
    auto sumUp = [&](int64_t vectors, bool masked) {
      overRows(count, [&](int64_t rows) { emitSums(rows, vectors, masked, m0, n0); });
    };
    if (maskRight || tailVectors != vectors)
      overWidth(n0, [&] { sumUp(vectors, false); }, [&] { sumUp(tailVectors, maskRight); });
    else
      sumUp(vectors, false);
    auto finish = [&] {
      overWidth(n0, [&] { emitEpilogue(count, vectors, false, m0, n0); },
                [&] { emitEpilogue(count, tailVectors, true, m0, n0); });
    };
    Value next = e.add(m0, count);
    if (!isChunked()) {
      finish();
      return next;
    }
    Value isLast = arith::CmpIOp::create(b, arith::CmpIPredicate::eq, chunkEnd,
                                         e.size(what.k.back()));
    auto last = scf::IfOp::create(b, isLast);
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointToStart(last.thenBlock());
    finish();
    return next;
  }

  /// What the sums of a tile are before a chunk.
  SmallVector<Value> startSums(int64_t rows, int64_t vectors) {
    Value zero = arith::ConstantOp::create(b, b.getZeroAttr(vector));
    SmallVector<Value> acc(rows * vectors, zero);
    if (!isChunked())
      return acc;
    Value isFirst =
        arith::CmpIOp::create(b, arith::CmpIPredicate::eq, chunkBegin, e.index(0));
    auto choice = scf::IfOp::create(b, SmallVector<Type>(acc.size(), vector), isFirst,
                                    /*withElseRegion=*/true);
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointToStart(choice.thenBlock());
    scf::YieldOp::create(b, acc);
    b.setInsertionPointToStart(choice.elseBlock());
    for (int64_t row = 0; row < rows; ++row)
      for (int64_t v = 0; v < vectors; ++v)
        acc[row * vectors + v] =
            vector::LoadOp::create(b, vector, sums, sumAt(e.index(row), v));
    scf::YieldOp::create(b, acc);
    return llvm::to_vector_of<Value>(choice.getResults());
  }

  SmallVector<Value> sumAt(Value row, int64_t v) {
    return {e.add(firstSum, row), e.index(v * lanes)};
  }

  /// Chooses the code for as many rows as the tile has.
  void overRows(Value count, llvm::function_ref<void(int64_t)> body) {
    int64_t least = 1, most = rows;
    if (fixedHeight > 0) {
      int64_t tiles = llvm::divideCeil(fixedHeight, rows);
      least = fixedHeight / tiles;
      most = llvm::divideCeil(fixedHeight, tiles);
    }
    if (least == most)
      return body(most);
    auto cases = llvm::to_vector(llvm::seq<int64_t>(least, most));
    auto choice = scf::IndexSwitchOp::create(b, TypeRange(), count, cases, cases.size());
    OpBuilder::InsertionGuard guard(b);
    auto fill = [&](Region &region, int64_t rows) {
      b.createBlock(&region);
      body(rows);
      scf::YieldOp::create(b);
    };
    for (auto [region, rows] : llvm::zip_equal(choice.getCaseRegions(), cases))
      fill(region, rows);
    fill(choice.getDefaultRegion(), most);
  }

  /// Sums of `rows` rows from m0 and `vectors` vectors from n0, in registers over the
  /// chunk, then to `sums`.
  void emitSums(int64_t rows, int64_t vectors, bool masked, Value m0, Value n0) {
    SmallVector<Value> masks(vectors);
    if (masked)
      for (int64_t v = 0; v < vectors; ++v)
        masks[v] = e.firstLanes(e.sub(width, e.add(n0, v * lanes)));
    SmallVector<Value> acc = startSums(rows, vectors);
    acc = overDepth(what.k, acc, [&](ValueRange acc) {
      SmallVector<Value> right, next;
      fetchAhead(n0);
      for (int64_t v = 0; v < vectors; ++v) {
        PointEmitter::Scope scope(e);
        e.at[what.n] = e.add(n0, v * lanes);
        e.mask = masks[v];
        right.push_back(e.getVector(what.right));
      }
      for (int64_t row = 0; row < rows; ++row) {
        PointEmitter::Scope scope(e);
        if (what.m)
          e.at[*what.m] = e.add(m0, row);
        Value left = e.getVector(what.left);
        for (int64_t v = 0; v < vectors; ++v)
          next.push_back(multiplyAdd(left, right[v], acc[row * vectors + v]));
      }
      return next;
    });
    for (int64_t row = 0; row < rows; ++row)
      for (int64_t v = 0; v < vectors; ++v)
        vector::StoreOp::create(b, acc[row * vectors + v], sums, sumAt(e.index(row), v));
  }

  /// While the tiles of a block take turns with a strip, or a chunk of it, each has a
  /// part of what comes next brought to the second level: what lies behind it.
  void fetchAhead(Value n0) {
    PointEmitter::Scope scope(e);
    Value turn = e.sub(e.at[what.k.back()], chunkBegin);
    e.at[what.n] = n0;
    e.at[what.k.back()] = chunkEnd;
    for (unsigned input : packed)
      e.prefetch(input, e.add(ahead, e.mul(turn, aheadStep)));
  }

  SmallVector<Value> overDepth(ArrayRef<unsigned> loops, ValueRange acc,
                               llvm::function_ref<SmallVector<Value>(ValueRange)> body) {
    if (loops.empty())
      return body(acc);
    bool isInnermost = loops.size() == 1;
    Value begin = isInnermost ? chunkBegin : e.index(0);
    Value end = isInnermost ? chunkEnd : e.size(loops.front());
    return e.loop(begin, end, 1, acc, [&](Value k, ValueRange acc) {
      PointEmitter::Scope scope(e);
      e.at[loops.front()] = k;
      return overDepth(loops.drop_front(), acc, body);
    });
  }

  /// Contracted where the target can: an fma where it cannot would be a call of libm.
  Value multiplyAdd(Value x, Value y, Value acc) {
    if (!isa<FloatType>(what.sum.getType()))
      return arith::AddIOp::create(b, acc, arith::MulIOp::create(b, x, y));
    auto contract = arith::FastMathFlagsAttr::get(b.getContext(), arith::FastMathFlags::contract);
    Value product = arith::MulFOp::create(b, x, y, contract);
    return arith::AddFOp::create(b, acc, product, contract);
  }

  /// What the region makes of the sums, for all rows of the tile by one piece of code.
  void emitEpilogue(Value count, int64_t vectors, bool masked, Value m0, Value n0) {
    SmallVector<Value> masks(vectors);
    if (masked)
      for (int64_t v = 0; v < vectors; ++v)
        masks[v] = e.firstLanes(e.sub(width, e.add(n0, v * lanes)));
    e.loop(e.index(0), count, 1, [&](Value row) {
      for (int64_t v = 0; v < vectors; ++v) {
        PointEmitter::Scope scope(e);
        if (what.m)
          e.at[*what.m] = e.add(m0, row);
        e.at[what.n] = e.add(n0, v * lanes);
        e.mask = masks[v];
        e.provide(what.sum, vector::LoadOp::create(b, vector, sums, sumAt(row, v)));
        SmallVector<Value> yielded;
        for (Value value : kernel.getYield().getValues())
          yielded.push_back(e.getVector(value));
        for (auto [out, value] : llvm::enumerate(yielded))
          e.storeOut(out, value);
      }
    });
  }

  KernelOp kernel;
  Matmul what;
  ImplicitLocOpBuilder &b;
  PointEmitter e;
  int64_t lanes, rows, vectors;
  VectorType vector;
  /// Sizes of m and n; -1 where not fixed.
  Value height, width;
  int64_t fixedHeight = -1, fixedWidth = -1;
  /// Number of tiles of rows; the first `larger` have one row more than `base`.
  Value tiles, base, larger;
  /// Vectors of the last strip, and whether strips that are not whole, or whole, exist.
  int64_t tailVectors = 0;
  bool hasTail = true, hasWhole = true;
  /// Whether the right side ends where the loop ends.
  bool maskRight = false;
  /// Inputs of the right side that are in strips.
  SmallVector<unsigned> packed;
  /// Product of the sizes of k; what part of it the code being emitted runs over.
  Value depth, chunkBegin, chunkEnd;
  /// Elements of the next chunk that other tiles fetch before this one does, and that
  /// this one does in each step.
  Value ahead, aheadStep;
  /// The sums on their way from registers to the epilogue, and this tile's first row.
  Value sums, firstSum;
};

} // namespace

/// The product, if the kernel's configuration is one that the emitter can follow.
static std::optional<Matmul> matchConfigured(KernelOp kernel) {
  std::optional<Matmul> what = matchMatmul(kernel);
  ConfigAttr config = kernel.getConfigAttr();
  if (!what || config.getLaneLoop() != what->n || config.getTiles().size() != 2 ||
      llvm::any_of(config.getTiles(), [](int64_t size) { return size <= 0; }) ||
      config.getLanes() <= 0 || !canBeLaneLoop(kernel, what->n, config.getLanes()))
    return std::nullopt;
  return what;
}

StringRef ssm::emitMatmul(KernelOp kernel, ImplicitLocOpBuilder &b) {
  StringRef why = "it is no product of matrices with lanes along its last axis";
  if (!matchConfigured(kernel))
    return why;
  // Batches of rows with one right side are rows.
  collapseLoops(kernel, b);
  std::optional<Matmul> what = matchConfigured(kernel);
  if (!what)
    return why;
  MatmulEmitter(kernel, *what, b).emit();
  return "";
}
