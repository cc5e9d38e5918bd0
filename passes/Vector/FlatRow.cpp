//===- FlatRow.cpp - A row times a matrix whose rows are ragged -----------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "passes/Vector/FlatRow.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;
using namespace ssm;

/// Vectors of a tile. It has two rows at most, so it may not be wider than a row.
static constexpr int64_t kVectors = 4;
/// The widest matrix: its parts are on the stack. Measured up to it.
static constexpr int64_t kMostWidth = 512;
/// The least depth, in lanes: below, adding up the parts takes longer than what is saved.
static constexpr int64_t kLeastDepth = 4;

bool FlatRow::canEmit(KernelOp kernel, Matmul what) {
  BlockArgument arg = getFactorArg(what.right);
  if (!arg || arg.getArgNumber() >= kernel.getInputs().size() || what.k.size() != 1 ||
      !isa<FloatType>(what.sum.getType()))
    return false;
  auto type = dyn_cast<MemRefType>(kernel.getInputs()[arg.getArgNumber()].getType());
  if (!type || !type.isLastDimUnitStride() || kernel.isInputMirrored(arg.getArgNumber()))
    return false;
  ArrayRef<AffineExpr> results = kernel.getInputMap(arg.getArgNumber()).getResults();
  if (results.size() < 2)
    return false;
  auto isLoop = [&](AffineExpr expr, unsigned loop) {
    return expr == getAffineDimExpr(loop, kernel.getContext());
  };
  return isLoop(results.back(), what.n) && isLoop(results.drop_back().back(), what.k.front()) &&
         llvm::none_of(results.drop_back(2), [&](AffineExpr expr) {
           return expr.isFunctionOfDim(what.n) || expr.isFunctionOfDim(what.k.front());
         });
}

Value FlatRow::isFaster(Value height, Value width, Value depth, int64_t mostElements) {
  auto is = [&](arith::CmpIPredicate predicate, Value x, int64_t y) -> Value {
    return b.createOrFold<arith::CmpIOp>(predicate, x, e.index(y));
  };
  using arith::CmpIPredicate;
  Value input = e.kernel.getInputs()[getFactorArg(what.right).getArgNumber()];
  auto metadata = memref::ExtractStridedMetadataOp::create(b, input);
  Value stride = *std::prev(metadata.getStrides().end(), 2);
  // Rows of a multiple of four vectors begin on cache lines, and the same elements of
  // every lanes-th row of them would be kept in few places of the first-level cache.
  Value ragged = b.createOrFold<arith::RemUIOp>(width, e.index(kVectors * e.lanes));
  Value all = is(CmpIPredicate::eq, height, 1);
  for (Value one : {is(CmpIPredicate::uge, width, kVectors / 2 * e.lanes),
                    is(CmpIPredicate::ule, width, kMostWidth), is(CmpIPredicate::ne, ragged, 0),
                    is(CmpIPredicate::uge, depth, kLeastDepth * e.lanes),
                    is(CmpIPredicate::ule, e.mul(width, depth), mostElements),
                    b.createOrFold<arith::CmpIOp>(CmpIPredicate::eq, stride, width)})
    all = b.createOrFold<arith::AndIOp>(all, one);
  return all;
}

void FlatRow::allocate() {
  auto type = MemRefType::get({(kMostWidth + 1) * e.lanes}, what.sum.getType());
  parts = memref::AllocaOp::create(b, type, b.getI64IntegerAttr(64));
}

void FlatRow::emit(Value width, Value depth, llvm::function_ref<void(Value)> finish) {
  Value wholeDepth = e.sub(depth, b.createOrFold<arith::RemUIOp>(depth, e.index(e.lanes)));
  Value isWide = arith::CmpIOp::create(b, arith::CmpIPredicate::uge, width,
                                       e.index(kVectors * e.lanes));
  auto choice = scf::IfOp::create(b, isWide, /*withElseRegion=*/true);
  for (auto [block, vectors] : {std::pair(choice.thenBlock(), kVectors),
                                std::pair(choice.elseBlock(), kVectors / 2)}) {
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointToStart(block);
    sumParts(vectors, width, wholeDepth);
  }
  e.loop(e.index(0), width, e.lanes, [&](Value column) {
    PointEmitter::Scope scope(e);
    e.at[what.n] = column;
    e.mask = e.firstLanes(e.sub(width, column));
    Value sum[2];
    for (int64_t row = 0; row < e.lanes; ++row) {
      Value part = vector::LoadOp::create(b, e.vectorOf(what.sum.getType()), parts,
                                          e.add(e.mul(e.index(row), width), column));
      Value &into = sum[row % 2];
      into = into ? e.combine(what.sum.getKind(), into, part) : part;
    }
    Value all = e.combine(what.sum.getKind(), sum[0], sum[1]);
    all = e.loop(wholeDepth, depth, 1, all, [&](Value k, ValueRange sum) {
      PointEmitter::Scope scope(e);
      e.at[what.k.front()] = k;
      Value left = e.getVector(what.left);
      return SmallVector<Value>{multiplyAdd(left, e.getVector(what.right), sum[0])};
    })[0];
    finish(all);
  });
}

void FlatRow::sumParts(int64_t vectors, Value width, Value wholeDepth) {
  Value zero = e.index(0);
  // As many vectors as the width has elements.
  Value rest = b.createOrFold<arith::RemUIOp>(width, e.index(vectors));
  SmallVector<Value> place = {zero, zero, zero};
  auto tiles = [&](Value begin, Value end, int64_t vectors) {
    place = e.loop(begin, end, vectors, place, [&](Value, ValueRange place) {
      Value row = place[1], column = place[2];
      sumTile(vectors, place[0], row, column, width, wholeDepth);
      Value next = e.add(column, vectors * e.lanes);
      Value ends = arith::CmpIOp::create(b, arith::CmpIPredicate::uge, next, width);
      return SmallVector<Value>{
          e.add(place[0], vectors * e.lanes),
          arith::SelectOp::create(b, ends, e.add(row, 1), row),
          arith::SelectOp::create(b, ends, e.sub(next, width), next)};
    });
  };
  Value whole = e.sub(width, rest);
  tiles(zero, whole, vectors);
  tiles(whole, width, 1);
}

void FlatRow::sumTile(int64_t vectors, Value place, Value row, Value column, Value width,
                      Value wholeDepth) {
  SmallVector<Value> isFirst;
  Value left = e.sub(width, column);
  for (int64_t v = 0; v < vectors; ++v)
    isFirst.push_back(e.firstLanes(e.sub(left, e.index(v * e.lanes))));
  // Lanes behind the last row do not exist.
  Value isLast = arith::CmpIOp::create(b, arith::CmpIPredicate::eq, row, e.index(e.lanes - 1));
  Value ahead = arith::SelectOp::create(b, isLast, e.index(0), e.index(1));
  auto step = [&](Value k, ValueRange sums) {
    SmallVector<Value> next;
    auto leftAt = [&](Value k) {
      PointEmitter::Scope scope(e);
      e.at[what.k.front()] = k;
      return e.getVector(what.left);
    };
    Value first = leftAt(k), second = leftAt(e.add(k, ahead));
    for (auto [v, sum] : llvm::enumerate(sums)) {
      PointEmitter::Scope scope(e);
      e.at[what.k.front()] = k;
      e.at[what.n] = e.add(column, v * e.lanes);
      Value factor = arith::SelectOp::create(b, isFirst[v], first, second);
      next.push_back(multiplyAdd(factor, e.getVector(what.right), sum));
    }
    return next;
  };
  VectorType type = e.vectorOf(what.sum.getType());
  SmallVector<Value> sums(vectors, arith::ConstantOp::create(b, b.getZeroAttr(type)));
  sums = e.loop(row, wholeDepth, e.lanes, sums, step);
  for (auto [v, sum] : llvm::enumerate(sums))
    vector::StoreOp::create(b, sum, parts, e.add(place, v * e.lanes));
}

Value FlatRow::multiplyAdd(Value x, Value y, Value sum) {
  auto contract = arith::FastMathFlagsAttr::get(b.getContext(), arith::FastMathFlags::contract);
  return arith::AddFOp::create(b, sum, arith::MulFOp::create(b, x, y, contract), contract);
}
