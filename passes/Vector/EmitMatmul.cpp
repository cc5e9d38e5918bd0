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
#include "lib/Emit/CollapseLoops.h"
#include "lib/Emit/LaneSums.h"
#include "lib/Emit/PointEmitter.h"
#include "passes/Vector/FlatRow.h"
#include "passes/Vector/MatmulPairs.h"

using namespace mlir;
using namespace ssm;

namespace {

/// Tiles of rows that take turns with one strip of the right side: it comes from the
/// outer caches once for all of them, while their rows stay in the second level beside
/// it. The bytes of these, and how deep a strip may be before it is used piece by piece by
/// all tiles of a block, if the configuration does not say.
constexpr int64_t kBlockTiles = 16;
constexpr int64_t kBlockBytes = 1200 << 10;
constexpr int64_t kChunk = 2048;
/// What a piece of a parallel loop should at least have: this many products, or as
/// many elements of the right side as take that time to come from the outer caches.
constexpr int64_t kPieceProducts = 4'000'000;
constexpr int64_t kProductsPerElement = 13;
/// Sums with lanes along the depth, whose lanes are added up in the end: rows and
/// columns of a tile of them.
constexpr int64_t kDotRows = 4;
constexpr int64_t kDotColumns = 4;
/// The largest tile: there is code for each number of rows.
constexpr int64_t kMostRows = 32;
constexpr int64_t kMostVectors = 16;
/// Where the tiles of a configuration tell the vectors of a single row.
constexpr size_t kRowVectors = 5;
/// Sums that hide how long one of them takes.
constexpr int64_t kInFlight = 8;
constexpr int64_t kMostParts = 4;

class MatmulEmitter {
public:
  /// `isRow`: the height is one, though the loop's size does not tell.
  MatmulEmitter(KernelOp kernel, const Matmul &what, ImplicitLocOpBuilder &b, bool isRow)
      : kernel(kernel), what(what), b(b), e(kernel, b, what.n, kernel.getConfig()->getLanes()),
        lanes(e.lanes), rows(kernel.getConfig()->getTiles()[0]),
        vectors(kernel.getConfig()->getTiles()[1]), deep(kernel, b, what.k.back(), lanes),
        alongDepth(kernel.getConfig()->getLaneLoop() != what.n),
        vector(e.vectorOf(this->what.sum.getType())) {
    ArrayRef<int64_t> tiles = kernel.getConfig()->getTiles();
    if (tiles.size() > 2 && tiles[2] == 2)
      pairs.emplace(e, this->what);
    if (tiles.size() > 4) {
      chunk = tiles[3];
      blockBytes = tiles[4];
    }
    fixedHeight = isRow || !what.m ? 1 : e.fixedSize(*what.m);
    bool mayBeRow = fixedHeight == 1 || (fixedHeight < 0 && tiles.size() <= kRowVectors);
    if (!pairs && !alongDepth && mayBeRow && FlatRow::canEmit(kernel, what))
      flat.emplace(e, this->what);
  }

  void emit() {
    height = fixedHeight == 1 ? e.index(1) : e.size(*what.m);
    width = e.size(what.n);
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
    Value inCache = isChunked() ? e.min(depth, e.index(chunk)) : depth;
    Value tileBytes = e.mul(inCache, e.index(rows * vector.getElementTypeBitWidth() / 8));
    Value blockTiles = b.createOrFold<arith::DivUIOp>(e.index(blockBytes), e.add(tileBytes, 1));
    blockTiles =
        b.createOrFold<arith::MaxUIOp>(e.min(blockTiles, e.index(kBlockTiles)), e.index(2));
    Value groups = b.createOrFold<arith::CeilDivUIOp>(tiles, blockTiles);
    Value strips = e.ceilDiv(width, vectors * lanes), itemWidth = e.index(vectors * lanes);
    Value isFlat;
    if (flat) {
      // One that would be one piece of the parallel loop anyway.
      isFlat = flat->isFaster(height, width, depth, kPieceProducts / (kProductsPerElement + 1));
      strips = b.createOrFold<arith::SelectOp>(isFlat, e.index(1), strips);
      itemWidth = b.createOrFold<arith::SelectOp>(isFlat, width, itemWidth);
    }
    Value items = e.mul(groups, strips);
    SmallVector<Value> outer;
    for (unsigned loop : what.outer) {
      outer.push_back(e.size(loop));
      items = e.mul(items, outer.back());
    }
    Value pieceSize = grain(e.mul(blockTiles, e.index(rows)), itemWidth);
    auto parallel = ParallelForOp::create(b, items, pieceSize);
    OpBuilder::InsertionGuard guard(b);
    Block *body = b.createBlock(&parallel.getBody(), {}, {b.getIndexType(), b.getIndexType()},
                                {b.getLoc(), b.getLoc()});
    sums = allocate((isChunked() ? kBlockTiles : 1) * rows, vectors * lanes);
    if (hasDots)
      turned = allocate(mostDots(),
                        isChunked() ? chunk : llvm::alignTo(e.fixedSize(what.k.back()), lanes));
    if (flat)
      flat->allocate();
    SmallVector<Value> sizes = {strips, groups};
    llvm::append_range(sizes, llvm::reverse(outer));
    overItems(body->getArgument(0), body->getArgument(1), sizes, [&](ValueRange item) {
      PointEmitter::Scope scope(e);
      Value strip = item[0], group = item[1];
      for (auto [loop, index] : llvm::zip_equal(llvm::reverse(what.outer), item.drop_front(2)))
        e.at[loop] = index;
      auto byTiles = [&] { emitStrip(strip, group, groups); };
      if (flat)
        branch(isFlat, [&] { emitFlat(); }, byTiles);
      else
        byTiles();
    });
    YieldOp::create(b, ValueRange());
  }

private:
  Value allocate(int64_t rows, int64_t columns) {
    auto type = MemRefType::get({rows, columns}, what.sum.getType());
    return memref::AllocaOp::create(b, type, b.getI64IntegerAttr(64));
  }

  /// The strip for the group's tiles of rows.
  void emitStrip(Value strip, Value group, Value groups) {
    Value first = b.createOrFold<arith::DivUIOp>(e.mul(group, tiles), groups);
    Value last = b.createOrFold<arith::DivUIOp>(e.mul(e.add(group, 1), tiles), groups);
    Value n0 = e.mul(strip, e.index(vectors * lanes));
    aheadStep = shareOfRow(e.sub(last, first));
    Value firstRow = e.add(e.mul(first, base), e.min(first, larger));
    chooseStrip(n0, e.min(height, e.mul(e.sub(last, first), e.index(rows))));
    overChunks([&] {
      if (hasDots)
        turnColumns(n0);
      SmallVector<Value> start = {firstRow, e.index(0), e.index(0)};
      (void)e.loop(first, last, 1, start, [&](Value tile, ValueRange carried) {
        ahead = carried[1];
        firstSum = isChunked() ? carried[2] : e.index(0);
        Value next = emitTile(tile, carried[0], n0);
        Value fetched = e.mul(aheadStep, e.sub(chunkEnd, chunkBegin));
        return SmallVector<Value>{next, e.add(ahead, fetched), e.add(carried[2], rows)};
      });
    });
  }

  /// The only row, in one go.
  void emitFlat() {
    PointEmitter::Scope scope(e);
    if (what.m)
      e.at[*what.m] = e.index(0);
    flat->emit(width, depth, [&](Value sum) { storePoint(sum); });
  }

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
      share = arith::SelectOp::create(b, many, e.index(llvm::divideCeil(vectors * lanes, count)),
                                      share);
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
      leastVectors = rest / lanes;
    }
    if (alongDepth)
      return;
    bool readsByIndex = llvm::any_of(kernel.getStep(),
                                     [](Operation &op) { return getIndexedRead(&op).has_value(); });
    // Few rows are not worth turning columns.
    bool hasRows = fixedHeight < 0 || fixedHeight > rows;
    int64_t columns = fixedWidth % lanes;
    bool canTurn = (pairs && pairs->packed()) || canSumAlongDepth(kernel, what, lanes);
    hasDots = hasTail && canTurn && isDenseAlongDepth(kernel, what, what.left) && !readsByIndex &&
              hasRows && (fixedWidth < 0 || (columns > 0 && columns <= mostDots()));
    if (!hasDots)
      leastVectors = fixedWidth < 0 ? 1 : tailVectors;
    // What is read by index has no padding either.
    maskRight = readsByIndex;
    for (unsigned input : inputsOf(kernel, what.right)) {
      if (!kernel.getInputMap(input).isFunctionOfDim(what.n))
        continue;
      if (isPackedAlong(kernel, input, what.n, lanes) ||
          isPackedInPairs(kernel, what, input, lanes))
        packed.push_back(input);
      else
        maskRight = true;
    }
  }

  bool isChunked() {
    if (what.k.size() != 1)
      return false;
    int64_t fixed = e.fixedSize(what.k.front());
    return fixed < 0 || fixed > chunk;
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
    e.loop(e.index(0), some, chunk, [&](Value begin) {
      chunkBegin = begin;
      chunkEnd = e.min(e.add(begin, chunk), end);
      body();
    });
  }

  /// Items of a piece.
  Value grain(Value blockRows, Value itemWidth) {
    Value products = e.mul(e.mul(depth, itemWidth),
                           e.add(e.min(height, blockRows), kProductsPerElement));
    Value count = b.createOrFold<arith::DivUIOp>(e.index(kPieceProducts), e.add(products, 1));
    return e.add(count, 1);
  }

  void branch(Value condition, llvm::function_ref<void()> ifTrue,
              llvm::function_ref<void()> ifFalse = nullptr) {
    auto choice = scf::IfOp::create(b, condition, /*withElseRegion=*/bool(ifFalse));
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointToStart(choice.thenBlock());
    ifTrue();
    if (!ifFalse)
      return;
    b.setInsertionPointToStart(choice.elseBlock());
    ifFalse();
  }

  /// Runs the code for a number that is one of [least, most].
  void overCases(Value number, int64_t least, int64_t most,
                 llvm::function_ref<void(int64_t)> body) {
    if (least == most)
      return body(most);
    auto cases = llvm::to_vector(llvm::seq<int64_t>(least, most));
    auto choice = scf::IndexSwitchOp::create(b, TypeRange(), number, cases, cases.size());
    OpBuilder::InsertionGuard guard(b);
    auto fill = [&](Region &region, int64_t number) {
      b.createBlock(&region);
      body(number);
      scf::YieldOp::create(b);
    };
    for (auto [region, number] : llvm::zip_equal(choice.getCaseRegions(), cases))
      fill(region, number);
    fill(choice.getDefaultRegion(), most);
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
    if (alongDepth)
      emitDeepTile(count, m0, n0);
    else if (maskRight || hasDots || leastVectors != vectors)
      overWidth(
          n0, [&] { sumUp(vectors, false); },
          [&] {
            overCases(raggedVectors, leastVectors, tailVectors, [&](int64_t vectors) {
              if (vectors > 0)
                sumUp(vectors, maskRight);
            });
            if (hasDots)
              branch(useDots, [&] { emitTurnedDots(count, m0); });
          });
    else
      sumUp(vectors, false);
    auto finish = [&] {
      overWidth(
          n0, [&] { emitEpilogue(count, vectors, false, m0, n0); },
          [&] { emitEpilogue(count, tailVectors, true, m0, n0); });
    };
    Value next = e.add(m0, count);
    if (!isChunked()) {
      finish();
      return next;
    }
    Value isLast =
        arith::CmpIOp::create(b, arith::CmpIPredicate::eq, chunkEnd, e.size(what.k.back()));
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
    Value isFirst = arith::CmpIOp::create(b, arith::CmpIPredicate::eq, chunkBegin, e.index(0));
    auto choice = scf::IfOp::create(b, SmallVector<Type>(acc.size(), vector), isFirst,
                                    /*withElseRegion=*/true);
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointToStart(choice.thenBlock());
    scf::YieldOp::create(b, acc);
    b.setInsertionPointToStart(choice.elseBlock());
    for (int64_t row = 0; row < rows; ++row)
      for (int64_t v = 0; v < vectors; ++v)
        acc[row * vectors + v] = vector::LoadOp::create(b, vector, sums, sumAt(e.index(row), v));
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
    overCases(count, least, most, body);
  }

  /// Sums of `rows` rows from m0 and `vectors` vectors from n0, in registers over the
  /// chunk, then to `sums`.
  void emitSums(int64_t rows, int64_t vectors, bool masked, Value m0, Value n0) {
    SmallVector<Value> masks(vectors);
    if (masked)
      for (int64_t v = 0; v < vectors; ++v)
        masks[v] = e.firstLanes(e.sub(width, e.add(n0, v * lanes)));
    // Few sums would wait for each other: each is of several parts, added up in the end.
    unsigned count = rows * vectors;
    int64_t parts = 1;
    while (parts * count < kInFlight && parts < kMostParts)
      parts *= 2;
    SmallVector<Value> acc = startSums(rows, vectors);
    acc.resize(parts * count, arith::ConstantOp::create(b, b.getZeroAttr(vector)));
    auto addProducts = [&](ValueRange acc, Value pair, bool single) {
      SmallVector<Value> right, next;
      fetchAhead(n0);
      for (int64_t v = 0; v < vectors; ++v) {
        PointEmitter::Scope scope(e);
        e.at[what.n] = e.add(n0, v * lanes);
        e.mask = masks[v];
        right.push_back(pair ? pairs->right(pair, single) : e.getVector(what.right));
      }
      for (int64_t row = 0; row < rows; ++row) {
        PointEmitter::Scope scope(e);
        if (what.m)
          e.at[*what.m] = e.add(m0, row);
        Value left = pair ? pairs->left(pair, single) : e.getVector(what.left);
        for (int64_t v = 0; v < vectors; ++v) {
          Value sum = acc[row * vectors + v];
          next.push_back(pair ? pairs->add(left, right[v], sum) : multiplyAdd(left, right[v], sum));
        }
      }
      return next;
    };
    if (pairs)
      acc = overPairs(parts, acc, addProducts);
    else
      acc = overDepth(what.k, parts, acc,
                      [&](ValueRange acc) { return addProducts(acc, nullptr, false); });
    for (; parts > 1; parts /= 2) {
      for (unsigned i = 0; i < parts / 2 * count; ++i)
        acc[i] = addUp(acc[i], acc[parts / 2 * count + i]);
      acc.resize(parts / 2 * count);
    }
    for (int64_t row = 0; row < rows; ++row)
      for (int64_t v = 0; v < vectors; ++v)
        vector::StoreOp::create(b, acc[row * vectors + v], sums, sumAt(e.index(row), v));
  }

  Value addUp(Value x, Value y) { return e.combine(what.sum.getKind(), x, y); }

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

  /// Runs the body over the loops with a part of `acc` after the other in turn, the
  /// first one only where a turn is not whole.
  SmallVector<Value> overDepth(ArrayRef<unsigned> loops, int64_t parts, ValueRange acc,
                               llvm::function_ref<SmallVector<Value>(ValueRange)> body) {
    auto step = [&](Value k, ValueRange acc) {
      PointEmitter::Scope scope(e);
      e.at[loops.front()] = k;
      return loops.size() == 1 ? body(acc) : overDepth(loops.drop_front(), parts, acc, body);
    };
    if (loops.size() > 1)
      return e.loop(e.index(0), e.size(loops.front()), 1, acc, step);
    if (parts == 1)
      return e.loop(chunkBegin, chunkEnd, 1, acc, step);
    unsigned count = acc.size() / parts;
    Value length = e.sub(chunkEnd, chunkBegin);
    Value whole = e.sub(chunkEnd, b.createOrFold<arith::RemUIOp>(length, e.index(parts)));
    SmallVector<Value> sums = e.loop(chunkBegin, whole, parts, acc, [&](Value k, ValueRange acc) {
      SmallVector<Value> next;
      for (int64_t part = 0; part < parts; ++part)
        llvm::append_range(next, step(e.add(k, part), acc.slice(part * count, count)));
      return next;
    });
    SmallVector<Value> first =
        e.loop(whole, chunkEnd, 1, ArrayRef<Value>(sums).take_front(count), step);
    llvm::copy(first, sums.begin());
    return sums;
  }

  /// The same by pairs of neighbours, the last one single if it has none.
  SmallVector<Value>
  overPairs(int64_t parts, ValueRange acc,
            llvm::function_ref<SmallVector<Value>(ValueRange, Value, bool)> body) {
    unsigned loop = what.k.front(), count = acc.size() / parts;
    auto step = [&](Value pair, bool single, ValueRange acc) {
      PointEmitter::Scope scope(e);
      e.at[loop] = e.mul(pair, e.index(2));
      return body(acc, pair, single);
    };
    Value first = b.createOrFold<arith::DivUIOp>(chunkBegin, e.index(2));
    Value end = b.createOrFold<arith::DivUIOp>(chunkEnd, e.index(2));
    Value rest = b.createOrFold<arith::RemUIOp>(e.sub(end, first), e.index(parts));
    Value whole = e.sub(end, rest);
    SmallVector<Value> sums = e.loop(first, whole, parts, acc, [&](Value pair, ValueRange acc) {
      SmallVector<Value> next;
      for (int64_t part = 0; part < parts; ++part)
        llvm::append_range(next, step(e.add(pair, part), false, acc.slice(part * count, count)));
      return next;
    });
    SmallVector<Value> front(ArrayRef(sums).take_front(count));
    if (parts > 1)
      front = e.loop(whole, end, 1, front,
                     [&](Value pair, ValueRange acc) { return step(pair, false, acc); });
    if (int64_t fixed = e.fixedSize(loop); fixed < 0 || fixed % 2 != 0)
      front = e.loop(end, e.ceilDiv(chunkEnd, 2), 1, front,
                     [&](Value pair, ValueRange acc) { return step(pair, true, acc); });
    llvm::copy(front, sums.begin());
    return sums;
  }

  //===--------------------------------------------------------------------===//
  // Lanes along the depth
  //===--------------------------------------------------------------------===//

  /// Columns that are done so at most: more take as long as a vector.
  int64_t mostDots() { return lanes * 3 / (pairs ? 8 : 4); }

  /// Decides how the strip from n0 is done for so many rows.
  void chooseStrip(Value n0, Value rows) {
    Value rest = e.min(e.sub(width, n0), e.index(vectors * lanes));
    raggedVectors = e.ceilDiv(rest, lanes);
    if (!hasDots)
      return;
    columns = b.createOrFold<arith::RemUIOp>(rest, e.index(lanes));
    firstColumn = e.sub(rest, columns);
    // Measured: a column costs a lane's share of a vector of columns; more for turning it,
    // which counts where rows are few, and for adding up lanes, where the depth is small.
    Value products = e.mul(rows, depth);
    Value turning = e.add(e.mul(depth, e.index(lanes * 3 / 2)), e.mul(rows, e.index(lanes)));
    Value cost = e.mul(columns, e.add(products, turning));
    // In pairs a vector takes half as long, less beside another one if none is woven.
    bool isFast = pairs && pairs->packed() && vectors > 1;
    int64_t lanesOfVector = !pairs ? lanes - 1 : isFast ? lanes * 3 / 8 : lanes / 2;
    auto is = [&](arith::CmpIPredicate what, Value x, Value y) -> Value {
      return arith::CmpIOp::create(b, what, x, y);
    };
    auto both = [&](Value x, Value y) -> Value { return arith::AndIOp::create(b, x, y); };
    useDots = both(both(is(arith::CmpIPredicate::ne, columns, e.index(0)),
                        is(arith::CmpIPredicate::ule, columns, e.index(mostDots()))),
                   is(arith::CmpIPredicate::ult, cost,
                      e.mul(products, e.index(lanesOfVector))));
    Value whole = b.createOrFold<arith::DivUIOp>(rest, e.index(lanes));
    raggedVectors = arith::SelectOp::create(b, useDots, whole, raggedVectors);
  }

  /// The columns past the whole vectors of the strip from n0, over the chunk, each one
  /// after the other in memory.
  void turnColumns(Value n0) {
    branch(useDots, [&] {
      e.loop(e.index(0), columns, 1, [&](Value column) {
        if (pairs && pairs->packed()) {
          e.loop(chunkBegin, chunkEnd, 1, [&](Value k) {
            PointEmitter::Scope scope(e);
            e.at[what.n] = e.add(e.add(n0, firstColumn), column);
            e.at[what.k.back()] = k;
            SmallVector<Value> at = {column, e.sub(k, chunkBegin)};
            memref::StoreOp::create(b, pairs->rightElement(), turned, at);
          });
          return;
        }
        (void)overDeep({}, [&](Value k, ValueRange) {
          deep.at[what.n] = e.add(e.add(n0, firstColumn), column);
          SmallVector<Value> at = {column, e.sub(k, chunkBegin)};
          vector::StoreOp::create(b, deep.getVector(what.right), turned, at);
          return SmallVector<Value>();
        });
      });
    });
  }

  /// Sums of the `count` rows from m0 and the columns that were turned.
  void emitTurnedDots(Value count, Value m0) {
    Value inFours = e.sub(count, b.createOrFold<arith::RemUIOp>(count, e.index(kDotRows)));
    int64_t fixed = fixedWidth < 0 ? -1 : fixedWidth % lanes;
    int64_t most = std::min(fixed < 0 ? mostDots() : fixed, kDotColumns);
    int64_t least = fixed < 0 ? 1 : fixed % most == 0 ? most : fixed % most;
    e.loop(e.index(0), columns, kDotColumns, [&](Value column) {
      Value some = e.min(e.sub(columns, column), e.index(kDotColumns));
      overCases(some, least, most, [&](int64_t columns) {
        auto dots = [&](int64_t rows, Value row) {
          emitDots(rows, columns, m0, row, e.add(firstColumn, column),
                   [&](int64_t i, Value k) -> Value {
                     SmallVector<Value> at = {e.add(column, i), e.sub(k, chunkBegin)};
                     return vector::LoadOp::create(b, vector, turned, at);
                   });
        };
        e.loop(e.index(0), inFours, kDotRows, [&](Value row) { dots(kDotRows, row); });
        e.loop(inFours, count, 1, [&](Value row) { dots(1, row); });
      });
    });
  }

  /// The tile of `count` rows from m0 in the strip from n0, columns read along the depth.
  void emitDeepTile(Value count, Value m0, Value n0) {
    Value columns = e.min(e.sub(width, n0), e.index(vectors * lanes));
    Value rest = b.createOrFold<arith::RemUIOp>(columns, e.index(kDotColumns));
    Value inFours = e.sub(columns, rest);
    overRows(count, [&](int64_t rows) {
      auto dots = [&](int64_t columns, Value column) {
        emitDots(rows, columns, m0, e.index(0), column, [&](int64_t i, Value) {
          deep.at[what.n] = e.add(e.add(n0, column), i);
          return deep.getVector(what.right);
        });
      };
      e.loop(e.index(0), inFours, kDotColumns, [&](Value column) { dots(kDotColumns, column); });
      int64_t fixed = fixedWidth < 0 ? -1 : fixedWidth % kDotColumns;
      auto last = [&] {
        overCases(rest, fixed < 0 ? 0 : fixed, fixed < 0 ? kDotColumns - 1 : fixed,
                  [&](int64_t columns) {
                    if (columns > 0)
                      dots(columns, inFours);
                  });
      };
      // A whole strip has none left, whatever is known of the width.
      if (fixed != 0)
        overWidth(n0, [] {}, last);
    });
  }

  /// Sums of `rows` rows from m0 + row and `columns` columns over the chunk, to `sums`
  /// from its row `row` and column `column`, a multiple of kDotColumns: as many columns
  /// are written.
  void emitDots(int64_t rows, int64_t columns, Value m0, Value row, Value column,
                llvm::function_ref<Value(int64_t, Value)> right) {
    Value zero = arith::ConstantOp::create(b, b.getZeroAttr(vector));
    SmallVector<Value> acc(rows * columns, zero);
    acc = overDeep(acc, [&](Value k, ValueRange acc) {
      SmallVector<Value> left, next;
      for (int64_t i = 0; i < rows; ++i) {
        PointEmitter::Scope scope(deep);
        if (what.m)
          deep.at[*what.m] = e.add(e.add(m0, row), i);
        left.push_back(deep.getVector(what.left));
      }
      for (int64_t column = 0; column < columns; ++column) {
        PointEmitter::Scope scope(deep);
        Value factor = right(column, k);
        for (int64_t i = 0; i < rows; ++i) {
          Value sum = acc[column * rows + i];
          Value more = multiplyAdd(left[i], factor, sum);
          if (deep.mask)
            more = arith::SelectOp::create(b, deep.mask, more, sum);
          next.push_back(more);
        }
      }
      return next;
    });
    for (int64_t i = 0; i < rows; ++i) {
      SmallVector<Value> parts(kDotColumns, zero);
      for (int64_t column = 0; column < columns; ++column)
        parts[column] = acc[column * rows + i];
      Value sum = reduceLanesOf(e, what.sum.getKind(), parts);
      // No more than there are: behind a row lies the next one.
      if (columns < kDotColumns)
        sum = vector::ExtractStridedSliceOp::create(b, sum, ArrayRef<int64_t>{0},
                                                    ArrayRef<int64_t>{columns},
                                                    ArrayRef<int64_t>{1});
      SmallVector<Value> at = {e.add(e.add(firstSum, row), i), column};
      if (isChunked()) {
        Value isFirst = arith::CmpIOp::create(b, arith::CmpIPredicate::eq, chunkBegin, e.index(0));
        Value before = vector::LoadOp::create(b, cast<VectorType>(sum.getType()), sums, at);
        sum = arith::SelectOp::create(b, isFirst, sum, addUp(sum, before));
      }
      vector::StoreOp::create(b, sum, sums, at);
    }
  }

  /// Runs the body over the chunk by vectors, the last one with a mask if it is not whole.
  SmallVector<Value> overDeep(ValueRange acc,
                              llvm::function_ref<SmallVector<Value>(Value, ValueRange)> body) {
    Value rest = b.createOrFold<arith::RemUIOp>(e.sub(chunkEnd, chunkBegin), e.index(lanes));
    Value whole = e.sub(chunkEnd, rest);
    auto step = [&](Value k, Value mask, ValueRange acc) {
      PointEmitter::Scope scope(deep);
      deep.at = e.at;
      deep.at[what.k.back()] = k;
      deep.mask = mask;
      return body(k, acc);
    };
    SmallVector<Value> sums = e.loop(chunkBegin, whole, lanes, acc, [&](Value k, ValueRange acc) {
      return step(k, nullptr, acc);
    });
    if (getConstantIntValue(rest) == 0)
      return sums;
    Value ragged = arith::CmpIOp::create(b, arith::CmpIPredicate::ne, rest, e.index(0));
    auto choice = scf::IfOp::create(b, ValueRange(sums).getTypes(), ragged,
                                    /*withElseRegion=*/!sums.empty());
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointToStart(choice.thenBlock());
    SmallVector<Value> last = step(whole, e.firstLanes(rest), sums);
    if (sums.empty())
      return sums;
    scf::YieldOp::create(b, last);
    b.setInsertionPointToStart(choice.elseBlock());
    scf::YieldOp::create(b, sums);
    return llvm::to_vector_of<Value>(choice.getResults());
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
        storePoint(vector::LoadOp::create(b, vector, sums, sumAt(row, v)));
      }
    });
  }

  /// What the region makes of the sum, to the outs.
  void storePoint(Value sum) {
    e.provide(what.sum, sum);
    SmallVector<Value> yielded;
    for (Value value : kernel.getYield().getValues())
      yielded.push_back(e.getVector(value));
    for (auto [out, value] : llvm::enumerate(yielded))
      e.storeOut(out, value);
  }

  KernelOp kernel;
  Matmul what;
  ImplicitLocOpBuilder &b;
  PointEmitter e;
  int64_t lanes, rows, vectors;
  int64_t chunk = kChunk, blockBytes = kBlockBytes;
  /// Lanes along the depth: of some columns, or of all as the configuration wants it.
  PointEmitter deep;
  bool alongDepth;
  VectorType vector;
  /// Factors that are taken in pairs.
  std::optional<MatmulPairs> pairs;
  /// A single row times rows that begin anywhere.
  std::optional<FlatRow> flat;
  /// Sizes of m and n; -1 where not fixed.
  Value height, width;
  int64_t fixedHeight = -1, fixedWidth = -1;
  /// Number of tiles of rows; the first `larger` have one row more than `base`.
  Value tiles, base, larger;
  /// Vectors of the last strip, and whether strips that are not whole, or whole, exist.
  int64_t leastVectors = 0, tailVectors = 0;
  bool hasTail = true, hasWhole = true;
  /// Whether columns past whole vectors can be turned, and in this strip are; their
  /// number, the first one's place in the strip, and where they are.
  bool hasDots = false;
  Value useDots, raggedVectors, columns, firstColumn, turned;
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
  ArrayRef<int64_t> tiles = config.getTiles();
  if (!what || tiles.size() < 2 || tiles.size() == 4 || tiles.size() > kRowVectors + 1 ||
      tiles[0] > kMostRows || tiles[1] > kMostVectors ||
      (tiles.size() > kRowVectors && (tiles[kRowVectors] > kMostVectors || !what->m)) ||
      !canBeLaneLoop(kernel, what->n, config.getLanes()))
    return std::nullopt;
  if (tiles.size() > 2 && tiles[2] != 1 &&
      (tiles[2] != 2 || config.getLaneLoop() != what->n ||
       !canSumPairs(kernel, *what, config.getLanes())))
    return std::nullopt;
  if (config.getLaneLoop() != what->n && (config.getLaneLoop() != what->k.back() ||
                                          !canSumAlongDepth(kernel, *what, config.getLanes())))
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
  ArrayRef<int64_t> tiles = kernel.getConfig()->getTiles();
  if (tiles.size() <= kRowVectors) {
    MatmulEmitter(kernel, *what, b, /*isRow=*/false).emit();
    return "";
  }
  PointEmitter e(kernel, b, what->n, kernel.getConfig()->getLanes());
  Value isRow =
      arith::CmpIOp::create(b, arith::CmpIPredicate::eq, e.size(*what->m), e.index(1));
  auto choice = scf::IfOp::create(b, isRow, /*withElseRegion=*/true);
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToStart(choice.elseBlock());
  MatmulEmitter(kernel, *what, b, /*isRow=*/false).emit();
  b.setInsertionPointToStart(choice.thenBlock());
  auto row = cast<KernelOp>(b.clone(*kernel));
  ConfigAttr config = *kernel.getConfig();
  row.setConfigAttr(ConfigAttr::get(b.getContext(), Form::Matmul, config.getLaneLoop(),
                                    config.getLanes(),
                                    {1, tiles[kRowVectors], 1, tiles[3], tiles[4]}));
  MatmulEmitter(row, *matchConfigured(row), b, /*isRow=*/true).emit();
  row.erase();
  return "";
}
