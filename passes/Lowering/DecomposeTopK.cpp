//===- DecomposeTopK.cpp - ssm.topk to heaps ------------------------------===//
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
#include "mlir/IR/ImplicitLocOpBuilder.h"

namespace ssm {
#define GEN_PASS_DEF_DECOMPOSETOPK
#include "passes/Lowering/Passes.h.inc"
} // namespace ssm

using namespace mlir;
using namespace ssm;
using Predicate = arith::CmpIPredicate;

namespace {
/// The row's heap lies in its part of the out, the indices that are the result.
class HeapBuilder {
public:
  HeapBuilder(TopKOp op, ImplicitLocOpBuilder &b) : op(op), b(b), type(op.getElementType()) {
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
  Value ranksBefore(Value i, Value j);
  void sink(Value start, Value count);
  void sortRow();

  TopKOp op;
  ImplicitLocOpBuilder &b;
  Type type;
  SmallVector<Value> row;
  Value k, numElements, levels;
};
} // namespace

void HeapBuilder::loop(Value from, Value to, llvm::function_ref<void(Value)> body) {
  auto made = scf::ForOp::create(b, from, to, index(1));
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToStart(made.getBody());
  body(made.getInductionVar());
}

/// Whether element `i` of the row ranks before element `j`: i64 indices.
Value HeapBuilder::ranksBefore(Value i, Value j) {
  auto element = [&](Value entry) -> Value {
    Value at = arith::IndexCastOp::create(b, b.getIndexType(), entry);
    Value value = memref::LoadOp::create(b, op.getInput(), place(at));
    if (type.isF16() || type.isBF16())
      return arith::ExtFOp::create(b, b.getF32Type(), value);
    return value;
  };
  Value x = element(i), y = element(j);
  Value before = onnx::comesBefore(b, x, y, type, !op.getLeast());
  Value after = onnx::comesBefore(b, y, x, type, !op.getLeast());
  // Equal elements rank by index.
  Value lower = arith::CmpIOp::create(b, Predicate::slt, i, j);
  Value notAfter =
      arith::XOrIOp::create(b, after, arith::ConstantIntOp::create(b, b.getI1Type(), 1));
  return arith::OrIOp::create(b, before, arith::AndIOp::create(b, lower, notAfter));
}

/// Lets the entry at `start` sink below all that rank after it, among the first `count` places.
void HeapBuilder::sink(Value start, Value count) {
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
void HeapBuilder::sortRow() {
  Value zero = index(0), one = index(1);
  auto toEntry = [&](Value at) { return b.createOrFold<arith::IndexCastOp>(b.getI64Type(), at); };
  loop(zero, k, [&](Value i) { write(i, toEntry(i)); });
  // Parents, the last one first.
  Value parents = make<arith::ShRUIOp>(k, one);
  loop(zero, parents,
       [&](Value i) { sink(make<arith::SubIOp>(make<arith::SubIOp>(parents, one), i), k); });
  loop(k, numElements, [&](Value i) {
    Value candidate = toEntry(i);
    auto branch = scf::IfOp::create(b, ranksBefore(candidate, read(zero)));
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointToStart(branch.thenBlock());
    write(zero, candidate);
    sink(zero, k);
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

void HeapBuilder::buildAll() {
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
    sortRow();
    nested.restoreInsertionPoint(b.saveInsertionPoint());
    return SmallVector<Value>();
  });
}

namespace {
struct DecomposeTopK : ssm::impl::DecomposeTopKBase<DecomposeTopK> {
  void runOnOperation() override {
    SmallVector<TopKOp> ops;
    getOperation().walk([&](TopKOp op) { ops.push_back(op); });
    for (TopKOp op : ops) {
      ImplicitLocOpBuilder b(op.getLoc(), op);
      HeapBuilder(op, b).buildAll();
      op.erase();
    }
  }
};
} // namespace
