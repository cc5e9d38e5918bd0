//===- DecomposeTopK.cpp - ssm.topk to lists and heaps --------------------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "passes/Lowering/Passes.h"

#include "dialects/SSM/TopKOp.h"
#include "lib/Import/Operators/Layout.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"
#include "llvm/Support/MathExtras.h"

namespace ssm {
#define GEN_PASS_DEF_DECOMPOSETOPK
#include "passes/Lowering/Passes.h.inc"
} // namespace ssm

using namespace mlir;
using namespace ssm;
using Predicate = arith::CmpIPredicate;

/// Elements that are looked at together, and most places of a list.
static constexpr int64_t kLanes = 16, kMostPlaces = 64;

namespace {
/// The row's heap lies in its part of the out, the indices that are the result; a list of few
/// places in vectors.
class RowBuilder {
public:
  RowBuilder(TopKOp op, ImplicitLocOpBuilder &b, bool hasVectors)
      : op(op), b(b), type(op.getElementType()), hasVectors(hasVectors) {
    if (op.getIsUnsigned())
      type = IntegerType::get(b.getContext(), type.getIntOrFloatBitWidth(), IntegerType::Unsigned);
  }

  void buildAll();

private:
  Value index(int64_t value) { return arith::ConstantIndexOp::create(b, value); }
  Value size(Value buffer, int64_t axis) { return b.createOrFold<memref::DimOp>(buffer, axis); }
  template <class Op> Value make(Value x, Value y) { return b.createOrFold<Op>(x, y); }
  Value select(Value condition, Value x, Value y) {
    return b.createOrFold<arith::SelectOp>(condition, x, y);
  }
  void loop(Value from, Value to, llvm::function_ref<void(Value)> body);
  SmallVector<Value> place(Value at) {
    SmallVector<Value> result(row);
    result[op.getAxis()] = at;
    return result;
  }
  Value read(Value at) { return memref::LoadOp::create(b, op.getOut(), place(at)); }
  void write(Value at, Value entry) { memref::StoreOp::create(b, entry, op.getOut(), place(at)); }
  Value widen(Value value);
  Value elementAt(Value at);
  Value element(Value entry) {
    return elementAt(arith::IndexCastOp::create(b, b.getIndexType(), entry));
  }
  /// Whether x ranks before y by themselves: numbers, or vectors of them.
  Value comesBefore(Value x, Value y) { return onnx::comesBefore(b, x, y, type, !op.getLeast()); }
  Value ranksBefore(Value i, Value j);
  using Take = llvm::function_ref<SmallVector<Value>(Value at, ValueRange)>;
  SmallVector<Value> takeBetter(Value from, Value to, ValueRange carried,
                                llvm::function_ref<Value(ValueRange)> worst, Take take);
  SmallVector<Value> takeRest(ValueRange carried, llvm::function_ref<Value(ValueRange)> worst,
                              Take take);
  void sink(Value start, Value count);
  void sortRow();
  SmallVector<Value> insert(ValueRange list, Value at, Value count);
  void listRow(int64_t places);

  TopKOp op;
  ImplicitLocOpBuilder &b;
  Type type;
  bool hasVectors;
  SmallVector<Value> row;
  Value k, numElements, levels;
};
} // namespace

void RowBuilder::loop(Value from, Value to, llvm::function_ref<void(Value)> body) {
  auto made = scf::ForOp::create(b, from, to, index(1));
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToStart(made.getBody());
  body(made.getInductionVar());
}

/// Halves are compared in f32.
Value RowBuilder::widen(Value value) {
  if (!type.isF16() && !type.isBF16())
    return value;
  Type wide = b.getF32Type();
  if (auto vector = dyn_cast<VectorType>(value.getType()))
    wide = vector.clone(wide);
  return arith::ExtFOp::create(b, wide, value);
}

Value RowBuilder::elementAt(Value at) {
  return widen(memref::LoadOp::create(b, op.getInput(), place(at)));
}

/// Whether element `i` of the row ranks before element `j`: i64 indices.
Value RowBuilder::ranksBefore(Value i, Value j) {
  Value x = element(i), y = element(j);
  Value before = comesBefore(x, y), after = comesBefore(y, x);
  // Equal elements rank by index.
  Value lower = arith::CmpIOp::create(b, Predicate::slt, i, j);
  Value notAfter =
      arith::XOrIOp::create(b, after, arith::ConstantIntOp::create(b, b.getI1Type(), 1));
  return arith::OrIOp::create(b, before, arith::AndIOp::create(b, lower, notAfter));
}

/// Goes through the elements [from, to) and takes those that come before the worst that is kept.
SmallVector<Value> RowBuilder::takeBetter(Value from, Value to, ValueRange carried,
                                          llvm::function_ref<Value(ValueRange)> worst, Take take) {
  auto made = scf::ForOp::create(b, from, to, index(1), carried);
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToStart(made.getBody());
  ValueRange now = made.getRegionIterArgs();
  Value isBetter = comesBefore(elementAt(made.getInductionVar()), worst(now));
  auto branch = scf::IfOp::create(b, carried.getTypes(), isBetter, !carried.empty());
  {
    OpBuilder::InsertionGuard inside(b);
    b.setInsertionPointToStart(branch.thenBlock());
    SmallVector<Value> next = take(made.getInductionVar(), now);
    if (!carried.empty()) {
      scf::YieldOp::create(b, next);
      b.setInsertionPointToStart(branch.elseBlock());
      scf::YieldOp::create(b, now);
    }
  }
  if (!carried.empty())
    scf::YieldOp::create(b, branch.getResults());
  return llvm::to_vector_of<Value>(made.getResults());
}

/// The same for all elements behind the first k. Of a long row few are taken: neighbours are
/// compared as a vector first.
SmallVector<Value> RowBuilder::takeRest(ValueRange carried,
                                        llvm::function_ref<Value(ValueRange)> worst, Take take) {
  auto input = cast<MemRefType>(op.getInput().getType());
  if (!hasVectors || op.getAxis() + 1 != static_cast<uint64_t>(op.getRank()) ||
      !input.isLastDimUnitStride())
    return takeBetter(k, numElements, carried, worst, take);
  Value lanes = index(kLanes), rest = make<arith::SubIOp>(numElements, k);
  Value end = make<arith::SubIOp>(numElements, make<arith::RemUIOp>(rest, lanes));
  auto blocks = scf::ForOp::create(b, k, end, lanes, carried);
  {
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointToStart(blocks.getBody());
    ValueRange now = blocks.getRegionIterArgs();
    Value from = blocks.getInductionVar();
    Value some = widen(vector::LoadOp::create(b, VectorType::get({kLanes}, input.getElementType()),
                                              op.getInput(), place(from)));
    Value kept = vector::BroadcastOp::create(b, some.getType(), worst(now));
    Value isBetter =
        vector::ReductionOp::create(b, vector::CombiningKind::OR, comesBefore(some, kept));
    auto branch = scf::IfOp::create(b, carried.getTypes(), isBetter, !carried.empty());
    {
      OpBuilder::InsertionGuard inside(b);
      b.setInsertionPointToStart(branch.thenBlock());
      SmallVector<Value> next =
          takeBetter(from, make<arith::AddIOp>(from, lanes), now, worst, take);
      if (!carried.empty()) {
        scf::YieldOp::create(b, next);
        b.setInsertionPointToStart(branch.elseBlock());
        scf::YieldOp::create(b, now);
      }
    }
    if (!carried.empty())
      scf::YieldOp::create(b, branch.getResults());
  }
  return takeBetter(end, numElements, blocks.getResults(), worst, take);
}

/// Puts element `at` into a sorted list, a vector of elements and one of their indices, of which
/// the first `count` are something: behind those that come before it or are equal.
SmallVector<Value> RowBuilder::insert(ValueRange list, Value at, Value count) {
  auto entries = cast<VectorType>(list[1].getType());
  int64_t length = entries.getNumElements();
  Value x = vector::BroadcastOp::create(b, list[0].getType(), elementAt(at));
  Value i = vector::BroadcastOp::create(
      b, entries, arith::IndexCastOp::create(b, entries.getElementType(), at));
  SmallVector<int64_t> shift = {length};
  SmallVector<int64_t> numbers;
  for (int64_t lane = 0; lane < length; ++lane) {
    numbers.push_back(lane);
    shift.push_back(lane);
  }
  shift.pop_back();
  auto shifted = [&](Value vector, Value first) -> Value {
    return vector::ShuffleOp::create(b, vector, first, shift);
  };
  Value before = shifted(list[0], x);
  // Lane n of the list moves on where lane n - 1 of the mask is set; x itself is at the first.
  Value goes = comesBefore(x, list[0]), wentBefore = comesBefore(x, before);
  if (count) {
    Value lanes = arith::ConstantOp::create(
        b, DenseIntElementsAttr::get(entries, ArrayRef<int64_t>(numbers)));
    Value end = vector::BroadcastOp::create(
        b, entries, arith::IndexCastOp::create(b, entries.getElementType(), count));
    goes = arith::OrIOp::create(b, goes, arith::CmpIOp::create(b, Predicate::sge, lanes, end));
    wentBefore =
        arith::OrIOp::create(b, wentBefore, arith::CmpIOp::create(b, Predicate::sgt, lanes, end));
  }
  auto next = [&](Value old, Value moved, Value added) {
    return select(goes, select(wentBefore, moved, added), old);
  };
  return {next(list[0], before, x), next(list[1], shifted(list[1], i), i)};
}

/// The k best of a row by a sorted list in registers.
void RowBuilder::listRow(int64_t places) {
  Type element = type.isF16() || type.isBF16() ? b.getF32Type() : op.getElementType();
  int64_t length = std::max<int64_t>(llvm::PowerOf2Ceil(places), kLanes);
  auto elements = VectorType::get({length}, element);
  auto entries = VectorType::get({length}, b.getI64Type());
  SmallVector<Value> list = {arith::ConstantOp::create(b, b.getZeroAttr(elements)),
                             arith::ConstantOp::create(b, b.getZeroAttr(entries))};
  auto first = scf::ForOp::create(b, index(0), k, index(1), list);
  {
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointToStart(first.getBody());
    Value at = first.getInductionVar();
    scf::YieldOp::create(b, insert(first.getRegionIterArgs(), at, at));
  }
  list = takeRest(
      first.getResults(),
      [&](ValueRange now) -> Value { return vector::ExtractOp::create(b, now[0], places - 1); },
      [&](Value at, ValueRange now) { return insert(now, at, {}); });
  for (int64_t i = 0; i < places; ++i)
    write(index(i), vector::ExtractOp::create(b, list[1], i));
}

/// Lets the entry at `start` sink below all that rank after it, among the first `count` places.
void RowBuilder::sink(Value start, Value count) {
  Value one = index(1);
  auto made = scf::ForOp::create(b, index(0), levels, one, start);
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToStart(made.getBody());
  // The entry changes places with the later of its children, or stays. Children beyond the end
  // stand for the entry itself.
  Value at = made.getRegionIterArg(0);
  auto orElse = [&](Value child, Value otherwise) {
    return select(arith::CmpIOp::create(b, Predicate::slt, child, count), child, otherwise);
  };
  Value first = make<arith::AddIOp>(make<arith::AddIOp>(at, at), one);
  Value left = orElse(first, at), right = orElse(make<arith::AddIOp>(first, one), left);
  Value mine = read(at), leftIndex = read(left), rightIndex = read(right);
  Value isLeft = ranksBefore(rightIndex, leftIndex);
  Value child = select(isLeft, left, right);
  Value childIndex = select(isLeft, leftIndex, rightIndex);
  Value swap = ranksBefore(mine, childIndex);
  write(child, select(swap, mine, childIndex));
  write(at, select(swap, childIndex, mine));
  scf::YieldOp::create(b, select(swap, child, at));
}

/// Turns the first k indices of a row into its k best, best first.
void RowBuilder::sortRow() {
  Value zero = index(0), one = index(1);
  auto toEntry = [&](Value at) { return b.createOrFold<arith::IndexCastOp>(b.getI64Type(), at); };
  loop(zero, k, [&](Value i) { write(i, toEntry(i)); });
  // Parents, the last one first.
  Value parents = make<arith::ShRUIOp>(k, one);
  loop(zero, parents,
       [&](Value i) { sink(make<arith::SubIOp>(make<arith::SubIOp>(parents, one), i), k); });
  takeRest(
      {}, [&](ValueRange) { return element(read(zero)); },
      [&](Value at, ValueRange) {
        write(zero, toEntry(at));
        sink(zero, k);
        return SmallVector<Value>();
      });
  // The worst goes to the end of what is not sorted yet.
  loop(one, k, [&](Value i) {
    Value end = make<arith::SubIOp>(k, i);
    Value worst = read(zero), other = read(end);
    write(zero, other);
    write(end, worst);
    sink(zero, end);
  });
}

void RowBuilder::buildAll() {
  k = size(op.getOut(), op.getAxis());
  numElements = size(op.getInput(), op.getAxis());
  // A heap of k places has floor(log2(k)) levels below the root.
  Value wide = arith::IndexCastOp::create(b, b.getI64Type(), k);
  Value last = arith::ConstantIntOp::create(b, b.getI64Type(), 63);
  levels = arith::IndexCastOp::create(
      b, b.getIndexType(),
      arith::SubIOp::create(b, last, math::CountLeadingZerosOp::create(b, wide)));
  SmallVector<Value> sizes;
  for (int64_t axis = 0; axis < op.getRank(); ++axis)
    sizes.push_back(size(op.getOut(), axis));
  // A row of no places has no root to look at.
  Value some = b.createOrFold<arith::CmpIOp>(Predicate::ne, k, index(0));
  sizes[op.getAxis()] = select(some, index(1), index(0));
  onnx::loopNest(b, sizes, {}, [&](ImplicitLocOpBuilder &nested, ValueRange at, ValueRange) {
    OpBuilder::InsertionGuard guard(b);
    b.restoreInsertionPoint(nested.saveInsertionPoint());
    row.assign(at.begin(), at.end());
    int64_t places = cast<MemRefType>(op.getOut().getType()).getDimSize(op.getAxis());
    if (hasVectors && places > 0 && places <= kMostPlaces)
      listRow(places);
    else
      sortRow();
    nested.restoreInsertionPoint(b.saveInsertionPoint());
    return SmallVector<Value>();
  });
}

namespace {
struct DecomposeTopK : ssm::impl::DecomposeTopKBase<DecomposeTopK> {
  using DecomposeTopKBase::DecomposeTopKBase;

  void runOnOperation() override {
    SmallVector<TopKOp> ops;
    getOperation().walk([&](TopKOp op) { ops.push_back(op); });
    for (TopKOp op : ops) {
      ImplicitLocOpBuilder b(op.getLoc(), op);
      RowBuilder(op, b, vectors).buildAll();
      op.erase();
    }
  }
};
} // namespace
