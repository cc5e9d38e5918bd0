//===- PackedRows.cpp - Whole rows of few columns in a vector -------------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "passes/Vector/PackedRows.h"

#include "lib/Analysis/KernelShape.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/Interfaces/FunctionInterfaces.h"
#include "llvm/ADT/DenseSet.h"
#include <numeric>

using namespace mlir;
using namespace ssm;

/// Vectors of a block at most: each is code of its own, and registers.
static constexpr int64_t kMaxVectors = 15;
/// Vectors of a block of as many whole rows as fit in: all but the last one are full.
static constexpr int64_t kVectors = 4;

/// Whether so many vectors, as `vectorsOf` has, are filled by whole rows.
static bool isFull(int64_t columns, int64_t lanes) {
  return columns > 0 && columns / std::gcd(columns, lanes) <= kMaxVectors;
}

/// Whether what is summed takes longer than the sums.
static bool hasSlowSums(KernelOp kernel) {
  KernelLoops loops(kernel);
  SmallVector<Value> left;
  llvm::DenseSet<Value> seen;
  for (auto reduce : kernel.getStep().getOps<ReduceOp>())
    left.push_back(reduce.getValue());
  LoopSet summed = loopsOf((*kernel.getStep().getOps<ReduceOp>().begin()).getLoops());
  while (!left.empty()) {
    Value value = left.pop_back_val();
    Operation *op = value.getDefiningOp();
    if (!op || !isSubset(summed, loops.of(value)) || !seen.insert(value).second)
      continue;
    if (isSlow(op))
      return true;
    llvm::append_range(left, op->getOperands());
  }
  return false;
}

static int64_t vectorsOf(KernelOp kernel, int64_t columns, int64_t lanes) {
  if (!isFull(columns, lanes))
    return kVectors;
  int64_t fewest = columns / std::gcd(columns, lanes);
  // Sums that wait for each other need company.
  int64_t least = hasSlowSums(kernel) ? kVectors / 2 : kVectors;
  return fewest * std::max<int64_t>(least / fewest, 1);
}

/// Of few rows most of a block would be empty.
static int64_t leastRows(int64_t columns, int64_t lanes) {
  return llvm::divideCeil(2 * lanes, columns);
}

std::optional<unsigned> ssm::findPackedRows(KernelOp kernel, unsigned lane, int64_t lanes) {
  auto reduces = kernel.getStep().getOps<ReduceOp>();
  int64_t columns = fixedSize(kernel, lane);
  if (kernel.getTime() || reduces.empty() || columns == 0 || columns > lanes)
    return std::nullopt;
  KernelLoops loops(kernel);
  LoopSet summed = loopsOf((*reduces.begin()).getLoops());
  if (llvm::popcount(summed) != 1 || contains(summed, lane))
    return std::nullopt;
  unsigned rows = listLoops(summed).front();
  int64_t length = fixedSize(kernel, rows);
  if (length >= 0 && length < (columns > 0 ? leastRows(columns, lanes) : lanes))
    return std::nullopt;
  for (ReduceOp reduce : reduces)
    if (loopsOf(reduce.getLoops()) != summed || !contains(loops.of(reduce), lane) ||
        reduce.getType().getIntOrFloatBitWidth() < 8)
      return std::nullopt;
  // Indices as values, and what they lead to, are of a lane's own row and column.
  for (Operation &op : kernel.getStep().without_terminator())
    if ((isa<IndexOp>(op) || getIndexedRead(&op)) &&
        (contains(loops.of(op.getResult(0)), lane) || contains(loops.of(op.getResult(0)), rows)))
      return std::nullopt;
  for (unsigned i = 0; i < kernel.getMaps().size(); ++i) {
    AffineMap map = kernel.getMap(i);
    auto type = dyn_cast<MemRefType>(kernel->getOperand(i).getType());
    if (!type || !(map.isFunctionOfDim(rows) || map.isFunctionOfDim(lane)))
      continue;
    auto isLoop = [&](AffineExpr expr, unsigned loop) {
      return expr == getAffineDimExpr(loop, map.getContext());
    };
    unsigned rank = map.getNumResults();
    int64_t plain = llvm::count_if(map.getResults(), [&](AffineExpr e) { return isLoop(e, lane); });
    int64_t any = llvm::count_if(map.getResults(), [&](AffineExpr e) {
      return e.isFunctionOfDim(lane) || e.isFunctionOfDim(rows);
    });
    if (!map.isFunctionOfDim(rows)) {
      if (plain != 1 || any != 1)
        return std::nullopt;
      continue;
    }
    if (!map.isFunctionOfDim(lane)) {
      if (any != 1 || i >= kernel.getInputs().size() ||
          !llvm::any_of(map.getResults(), [&](AffineExpr e) { return isLoop(e, rows); }))
        return std::nullopt;
      continue;
    }
    SmallVector<int64_t> strides;
    int64_t offset;
    if (rank < 2 || any != 2 || !isLoop(map.getResult(rank - 2), rows) ||
        !isLoop(map.getResult(rank - 1), lane) || failed(type.getStridesAndOffset(strides, offset)))
      return std::nullopt;
    bool isPlain = type.getLayout().isIdentity() ||
                   (columns > 0 && strides[rank - 1] == 1 && strides[rank - 2] == columns);
    if (!isPlain || type.getElementType().getIntOrFloatBitWidth() < 8)
      return std::nullopt;
  }
  return rows;
}

Value ssm::isWorthPacking(PointEmitter &point, unsigned rows) {
  int64_t lanes = point.lanes, fixed = point.fixedSize(*point.laneLoop);
  auto compare = [&](arith::CmpIPredicate how, Value x, Value y) -> Value {
    return arith::CmpIOp::create(point.b, how, x, y);
  };
  auto isLong = arith::CmpIPredicate::uge;
  Value length = point.size(rows);
  if (fixed >= 0)
    return point.fixedSize(rows) >= 0
               ? Value()
               : compare(isLong, length, point.index(leastRows(fixed, lanes)));
  // None are not few: nothing of a column can be read. What would be stored and read again is
  // computed again, which a vector of its own for each row does not need.
  bool isSlow = hasSlowSums(point.kernel);
  Value columns = point.size(*point.laneLoop);
  Value few = compare(arith::CmpIPredicate::ult, point.sub(columns, point.index(1)),
                      point.index(lanes - isSlow));
  // The fewer columns, the more rows are put together in the end, one by one.
  Value many = isSlow ? compare(isLong, length, point.index(lanes))
                      : compare(isLong, point.mul(length, columns),
                                point.add(point.mul(columns, point.index(2 * lanes)), 4 * lanes));
  return arith::AndIOp::create(point.b, few, many);
}

bool ssm::fillVectors(PointEmitter &point) {
  return isFull(point.fixedSize(*point.laneLoop), point.lanes);
}

Points ssm::packRows(const PointEmitter &point, unsigned rows) {
  PointEmitter first(point);
  ImplicitLocOpBuilder &b = first.b;
  int64_t lanes = first.lanes, fixed = first.fixedSize(*first.laneLoop);
  int64_t vectors = vectorsOf(first.kernel, fixed, lanes);
  PackedRows packed;
  packed.rows = rows;
  packed.columns = first.size(*first.laneLoop);
  packed.count = b.createOrFold<arith::DivUIOp>(first.index(vectors * lanes), packed.columns);
  packed.existing = first.firstLanes(packed.columns);
  Points points(vectors, first);
  for (auto [v, each] : llvm::enumerate(points)) {
    packed.offset = v * lanes;
    each.at[*first.laneLoop] = first.index(packed.offset);
    if (fixed >= 0) {
      SmallVector<int64_t> column(lanes), row(lanes);
      for (int64_t i = 0; i < lanes; ++i) {
        column[i] = (packed.offset + i) % fixed;
        row[i] = (packed.offset + i) / fixed;
      }
      packed.column = arith::ConstantOp::create(b, b.getI64VectorAttr(column));
      packed.row = arith::ConstantOp::create(b, b.getI64VectorAttr(row));
    } else {
      SmallVector<int32_t> lane(lanes);
      std::iota(lane.begin(), lane.end(), packed.offset);
      Value number = arith::ConstantOp::create(b, b.getI32VectorAttr(lane));
      Value by = first.spread(arith::IndexCastOp::create(b, b.getI32Type(), packed.columns));
      Type wide = first.vectorOf(b.getI64Type());
      packed.column = arith::ExtUIOp::create(b, wide, arith::RemUIOp::create(b, number, by));
      packed.row = arith::ExtUIOp::create(b, wide, arith::DivUIOp::create(b, number, by));
    }
    each.packed = packed;
  }
  return points;
}

Value ssm::countBlocks(PointEmitter &point) {
  const PackedRows &packed = *point.packed;
  return point.b.createOrFold<arith::CeilDivUIOp>(point.size(packed.rows), packed.count);
}

SmallVector<Value> ssm::loopBlocks(Points &points, Value low, Value high, ValueRange carried,
                                   PointsBody body) {
  PointEmitter &first = points.front();
  ImplicitLocOpBuilder &b = first.b;
  const PackedRows packed = *first.packed;
  int64_t lanes = first.lanes;
  bool full = fillVectors(first);
  auto block = [&](Value number, Value rows, ValueRange args) {
    Points inner(points);
    Value elements = first.mul(rows, packed.columns);
    for (PointEmitter &point : inner) {
      point.at[packed.rows] = first.mul(number, packed.count);
      point.packed->isRagged = rows != packed.count;
      bool isLast = &point == &inner.back();
      if (!point.packed->isRagged && (full || !isLast))
        continue;
      Value before = first.index(point.packed->offset);
      point.mask =
          point.firstLanes(first.sub(b.createOrFold<arith::MaxUIOp>(elements, before), before));
    }
    return body(inner, args);
  };
  Value size = first.size(packed.rows);
  Value whole = b.createOrFold<arith::DivUIOp>(size, packed.count);
  SmallVector<Value> results =
      first.loop(low, first.min(high, whole), 1, carried,
                 [&](Value i, ValueRange args) { return block(i, packed.count, args); });
  if (int64_t fixed = first.fixedSize(packed.rows);
      full && fixed >= 0 &&
      fixed * first.fixedSize(*first.laneLoop) % (lanes * int64_t(points.size())) == 0)
    return results;
  auto isRagged = arith::CmpIOp::create(b, arith::CmpIPredicate::ugt, high, whole);
  auto choice = scf::IfOp::create(
      b, isRagged,
      [&](OpBuilder &, Location) {
        Value rest = first.sub(size, first.mul(whole, packed.count));
        scf::YieldOp::create(b, block(whole, rest, results));
      },
      [&](OpBuilder &, Location) { scf::YieldOp::create(b, results); });
  return llvm::to_vector_of<Value>(choice.getResults());
}

SmallVector<Value> ssm::combineColumns(Points &points, arith::AtomicRMWKind kind,
                                       ValueRange parts) {
  PointEmitter &first = points.front();
  ImplicitLocOpBuilder &b = first.b;
  const PackedRows &packed = *first.packed;
  int64_t lanes = first.lanes, fixed = first.fixedSize(*first.laneLoop);
  auto type = cast<VectorType>(parts.front().getType());
  if (fixed >= 0) {
    // Vectors whose lanes are of the same columns first.
    size_t fewest = isFull(fixed, lanes) ? fixed / std::gcd(fixed, lanes) : parts.size();
    SmallVector<Value> unlike(parts.take_front(fewest));
    for (size_t v = fewest; v < parts.size(); ++v)
      unlike[v % fewest] = first.combine(kind, unlike[v % fewest], parts[v]);
    int64_t rows = lanes * static_cast<int64_t>(fewest) / fixed;
    Value sum;
    for (int64_t row = 0; row < rows; ++row) {
      // A row lies in one vector or in two.
      int64_t begin = row * fixed / lanes, end = ((row + 1) * fixed - 1) / lanes;
      SmallVector<int64_t> order;
      for (int64_t lane = 0; lane < lanes; ++lane)
        order.push_back(row * fixed + lane % fixed - begin * lanes);
      Value part = vector::ShuffleOp::create(b, unlike[begin], unlike[end], order);
      sum = sum ? first.combine(kind, sum, part) : part;
    }
    SmallVector<Value> results;
    for (PointEmitter &point : points) {
      SmallVector<int64_t> order;
      for (int64_t lane = 0; lane < lanes; ++lane)
        order.push_back((point.packed->offset + lane) % fixed);
      results.push_back(vector::ShuffleOp::create(b, sum, sum, order));
    }
    return results;
  }
  // By way of memory, where a vector may begin at any lane. All lanes of a column get the
  // same sum: in another order it would be another.
  Value memory, zero = first.index(0);
  {
    OpBuilder::InsertionGuard guard(b);
    Operation *scope = b.getInsertionBlock()->getParentOp();
    while (!isa<ParallelForOp, FunctionOpInterface>(scope))
      scope = scope->getParentOp();
    b.setInsertionPointToStart(&scope->getRegion(0).front());
    int64_t size = (parts.size() + 1) * lanes;
    memory = memref::AllocaOp::create(b, MemRefType::get({size}, type.getElementType()),
                                      b.getI64IntegerAttr(64));
  }
  for (auto [v, part] : llvm::enumerate(parts))
    vector::StoreOp::create(b, part, memory, first.index(v * lanes));
  vector::StoreOp::create(b, parts.back(), memory, first.index(parts.size() * lanes));
  SmallVector<Value> sum =
      first.loop(first.index(1), packed.count, 1, parts.front(), [&](Value row, ValueRange sum) {
        Value next = vector::LoadOp::create(b, type, memory, first.mul(row, packed.columns));
        return SmallVector<Value>{first.combine(kind, sum.front(), next)};
      });
  vector::StoreOp::create(b, sum.front(), memory, zero);
  SmallVector<Value> results;
  for (PointEmitter &point : points) {
    Value none = arith::ConstantOp::create(b, b.getZeroAttr(type));
    Value all = arith::ConstantOp::create(
        b, DenseElementsAttr::get(point.vectorOf(b.getI1Type()), b.getBoolAttr(true)));
    results.push_back(
        vector::GatherOp::create(b, type, memory, zero, point.packed->column, all, none));
  }
  return results;
}
