//===- TopK.cpp - TopK ----------------------------------------------------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// For every row a heap of the k best indices, its root the worst of them: each
// element that beats the root replaces it. Taking the roots away one by one, from
// the back of the same k places, sorts the row. O(n log k) for any k, in place in
// the result; k = n, a full sort, is common where tokens are grouped by expert.
//
//===----------------------------------------------------------------------===//

#include "lib/Import/Operators/Elementwise.h"
#include "lib/Import/Operators/Layout.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

using namespace mlir;
using namespace ssm;
using namespace ssm::onnx;

static LogicalResult inferTopK(InferContext &ctx) {
  if (!isNumberType(ctx.elementType(0)))
    return ctx.error("input 0 must be numbers");
  auto axis = ctx.normalizeAxis(ctx.getInt("axis", -1), ctx.rank(0));
  if (failed(axis))
    return failure();
  AffineExpr k;
  if (ctx.hasAttr("k")) {
    k = ctx.facts.constant(ctx.getInt("k", 0));
  } else {
    if (failed(ctx.requireInteger(1)) || failed(requireScalar(ctx, 1, "k")))
      return failure();
    // Of a tensor of unknown size the run tells whether it is one element.
    auto elements = ctx.elements(1);
    k = elements && elements->size() == 1 ? (*elements)[0] : ctx.facts.fresh();
  }
  auto count = requireSize(ctx, k, "k");
  if (failed(count))
    return failure();
  auto have = constantValue(ctx.dim(0, *axis)), want = constantValue(*count);
  if (have && want && *want > *have)
    return ctx.error("k is " + Twine(*want) + ", expected at most the size " + Twine(*have) +
                     " of axis " + Twine(*axis));
  Dims dims(ctx.dims(0));
  dims[*axis] = *count;
  ctx.setResult(0, ctx.elementType(0), dims);
  ctx.setResult(1, IntegerType::get(ctx.facts.getContext(), 64), dims);
  return success();
}

namespace {
/// The heaps of all rows live in one i64 tensor, the indices that are the result.
class HeapBuilder {
public:
  HeapBuilder(TensorValue input, int64_t axis, bool greatestFirst, Value levels)
      : input(input), axis(axis), greatestFirst(greatestFirst), levels(levels) {}

  /// `row` has the indices of all axes; that of `axis` is replaced.
  SmallVector<Value> place(ArrayRef<Value> row, Value at) const {
    SmallVector<Value> result(row);
    result[axis] = at;
    return result;
  }

  /// Whether element `i` of the row ranks before element `j`: i64 indices.
  Value ranksBefore(ImplicitLocOpBuilder &b, ArrayRef<Value> row, Value i, Value j) const {
    auto element = [&](Value index) {
      Value at = arith::IndexCastOp::create(b, b.getIndexType(), index);
      return LoweringContext::load(b, extractStored(b, input, place(row, at)), input.type);
    };
    Value a = element(i), c = element(j);
    Value before = comesBefore(b, a, c, input.type, greatestFirst);
    Value after = comesBefore(b, c, a, input.type, greatestFirst);
    Value lower = arith::CmpIOp::create(b, arith::CmpIPredicate::slt, i, j);
    Value notAfter =
        arith::XOrIOp::create(b, after, arith::ConstantIntOp::create(b, b.getI1Type(), 1));
    // Equal elements rank by index.
    return arith::OrIOp::create(b, before, arith::AndIOp::create(b, lower, notAfter));
  }

  Value read(ImplicitLocOpBuilder &b, Value heap, ArrayRef<Value> row, Value at) const {
    return tensor::ExtractOp::create(b, heap, place(row, at));
  }
  Value write(ImplicitLocOpBuilder &b, Value heap, ArrayRef<Value> row, Value at,
              Value index) const {
    return tensor::InsertOp::create(b, index, heap, place(row, at));
  }

  /// Lets the entry at `start` sink below all that rank after it, among the first
  /// `count` places.
  Value sink(ImplicitLocOpBuilder &b, Value heap, ArrayRef<Value> row, Value start,
             Value count) const {
    Value carried[] = {heap, start};
    return loopNest(b, levels, carried,
                    [&](ImplicitLocOpBuilder &b, ValueRange, ValueRange carried) {
                      return sinkOnce(b, carried[0], row, carried[1], count);
                    })[0];
  }

private:
  /// One level: the entry at `at` changes places with the later of its children,
  /// or stays. Children beyond the end stand for the entry itself.
  SmallVector<Value> sinkOnce(ImplicitLocOpBuilder &b, Value heap, ArrayRef<Value> row, Value at,
                              Value count) const {
    Value one = arith::ConstantIndexOp::create(b, 1);
    auto orElse = [&](Value child, Value otherwise) -> Value {
      Value inside = arith::CmpIOp::create(b, arith::CmpIPredicate::slt, child, count);
      return arith::SelectOp::create(b, inside, child, otherwise);
    };
    Value twice = arith::AddIOp::create(b, at, at);
    Value first = arith::AddIOp::create(b, twice, one);
    Value left = orElse(first, at), right = orElse(arith::AddIOp::create(b, first, one), left);
    Value mine = read(b, heap, row, at);
    Value leftIndex = read(b, heap, row, left), rightIndex = read(b, heap, row, right);
    Value isLeft = ranksBefore(b, row, rightIndex, leftIndex);
    Value child = arith::SelectOp::create(b, isLeft, left, right);
    Value childIndex = arith::SelectOp::create(b, isLeft, leftIndex, rightIndex);
    Value swap = ranksBefore(b, row, mine, childIndex);
    Value top = arith::SelectOp::create(b, swap, childIndex, mine);
    Value bottom = arith::SelectOp::create(b, swap, mine, childIndex);
    Value next = write(b, heap, row, child, bottom);
    next = write(b, next, row, at, top);
    return {next, arith::SelectOp::create(b, swap, child, at)};
  }

  TensorValue input;
  int64_t axis;
  bool greatestFirst;
  Value levels; // of a heap of k entries
};
} // namespace

/// Turns the first k indices of a row into its k best, best first.
static Value selectRow(ImplicitLocOpBuilder &b, const HeapBuilder &heaps, Value heap,
                       ArrayRef<Value> row, Value k, Value size) {
  Value zero = arith::ConstantIndexOp::create(b, 0), one = arith::ConstantIndexOp::create(b, 1);
  auto loop = [&](Value from, Value to, Value carried,
                  llvm::function_ref<Value(ImplicitLocOpBuilder &, Value, Value)> body) {
    return scf::ForOp::create(b, from, to, one, carried,
                              [&](OpBuilder &builder, Location loc, Value i, ValueRange args) {
                                ImplicitLocOpBuilder nested(loc, builder);
                                scf::YieldOp::create(nested, body(nested, i, args[0]));
                              })
        .getResult(0);
  };
  // Parents, the last one first.
  Value parents = arith::ShRUIOp::create(b, k, one);
  heap = loop(zero, parents, heap, [&](ImplicitLocOpBuilder &b, Value i, Value heap) {
    Value last = arith::SubIOp::create(b, parents, one);
    return heaps.sink(b, heap, row, arith::SubIOp::create(b, last, i), k);
  });
  heap = loop(k, size, heap, [&](ImplicitLocOpBuilder &b, Value i, Value heap) -> Value {
    Value candidate = arith::IndexCastOp::create(b, b.getI64Type(), i);
    Value better = heaps.ranksBefore(b, row, candidate, heaps.read(b, heap, row, zero));
    auto branch = scf::IfOp::create(
        b, better,
        [&](OpBuilder &builder, Location loc) {
          ImplicitLocOpBuilder then(loc, builder);
          Value next = heaps.write(then, heap, row, zero, candidate);
          scf::YieldOp::create(then, heaps.sink(then, next, row, zero, k));
        },
        [&](OpBuilder &builder, Location loc) { scf::YieldOp::create(builder, loc, heap); });
    return branch.getResult(0);
  });
  // The worst goes to the end of what is not sorted yet.
  return loop(one, k, heap, [&](ImplicitLocOpBuilder &b, Value i, Value heap) {
    Value end = arith::SubIOp::create(b, k, i);
    Value worst = heaps.read(b, heap, row, zero), other = heaps.read(b, heap, row, end);
    Value next = heaps.write(b, heap, row, zero, other);
    next = heaps.write(b, next, row, end, worst);
    return heaps.sink(b, next, row, zero, end);
  });
}

static LogicalResult lowerTopK(LoweringContext &ctx) {
  auto &b = ctx.b;
  Type i64 = b.getI64Type();
  TensorValue input = ctx.get(0);
  int64_t axis = ctx.getInt("axis", -1);
  axis = axis < 0 ? axis + ctx.rank(0) : axis;
  Dims dims(ctx.facts.dims(ctx.hasOutput(0) ? ctx.output(0) : ctx.output(1)));
  if (!ctx.hasAttr("k")) {
    Value given = scalarInt(ctx, 1);
    ctx.check(arith::CmpIOp::create(b, arith::CmpIPredicate::sge, given, intConstant(b, i64, 0)),
              "k is {0}, expected a size", given);
    if (isa<AffineSymbolExpr>(dims[axis]) && !ctx.isBound(dims[axis]))
      ctx.bind(dims[axis], arith::IndexCastOp::create(b, b.getIndexType(), given));
  }
  Value k = ctx.size(dims[axis]), size = ctx.size(input.dims[axis]);
  AffineExpr room = ctx.facts.sub(input.dims[axis], dims[axis]);
  if (!room || !ctx.facts.isNonNegative(room))
    ctx.check(arith::CmpIOp::create(b, arith::CmpIPredicate::sle, k, size),
              "k is {0}, expected at most the size {1} of axis " + Twine(axis), {k, size});

  TensorValue indices =
      ctx.generate(dims, i64, [&](ImplicitLocOpBuilder &b, ValueRange at) -> Value {
        return arith::IndexCastOp::create(b, i64, at[axis]);
      });
  // A heap of k places has floor(log2(k)) levels below the root.
  Value levels = arith::SubIOp::create(
      b, intConstant(b, i64, 63),
      math::CountLeadingZerosOp::create(b, arith::IndexCastOp::create(b, i64, k)));
  HeapBuilder heaps(input, axis, ctx.getInt("largest", 1) != 0,
                    arith::IndexCastOp::create(b, b.getIndexType(), levels));
  SmallVector<Value> loops = sizeValues(ctx, dims);
  // A row of no places has no root to look at.
  Value some = b.createOrFold<arith::CmpIOp>(arith::CmpIPredicate::ne, k, ctx.index(0));
  loops[axis] = b.createOrFold<arith::SelectOp>(some, ctx.index(1), ctx.index(0));
  indices.value = loopNest(
      b, loops, indices.value,
      [&](ImplicitLocOpBuilder &b, ValueRange at, ValueRange carried) -> SmallVector<Value> {
        return {selectRow(b, heaps, carried[0], SmallVector<Value>(at), k, size)};
      })[0];
  if (ctx.hasOutput(0)) {
    TensorValue values =
        generateStored(ctx, dims, input.type, [&](ImplicitLocOpBuilder &b, ValueRange at) -> Value {
          Value index = extractIndex(b, indices, at);
          return extractStored(b, input, heaps.place(SmallVector<Value>(at), index));
        });
    ctx.set(0, values.value);
  }
  ctx.set(1, indices.value);
  return success();
}

void ssm::onnx::registerTopKOperators(OperatorTable &table) {
  static constexpr AttrSpec kTopK1[] = {{"axis", 'i'}, {"k", 'i', true}};
  static constexpr AttrSpec kTopK10[] = {{"axis", 'i'}};
  static constexpr AttrSpec kTopK11[] = {{"axis", 'i'}, {"largest", 'i'}, {"sorted", 'i'}};
  table.add({"", "TopK", 1, 1, 1, 2, 2, kTopK1, inferTopK, lowerTopK});
  table.add({"", "TopK", 10, 2, 2, 2, 2, kTopK10, inferTopK, lowerTopK});
  table.add({"", "TopK", 11, 2, 2, 2, 2, kTopK11, inferTopK, lowerTopK});
}
