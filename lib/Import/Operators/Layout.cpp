//===- Layout.cpp - What layout and indexing operators share --------------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "lib/Import/Operators/Layout.h"

#include "lib/Import/Operators/Families.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

using namespace mlir;
using namespace ssm;
using namespace ssm::onnx;

//===----------------------------------------------------------------------===//
// Inference
//===----------------------------------------------------------------------===//

FailureOr<Dims> ssm::onnx::requireElements(InferContext &ctx, unsigned i, const Twine &what) {
  if (failed(ctx.requireInteger(i)) || failed(ctx.requireRank(i, 0, 1)))
    return failure();
  if (auto known = ctx.elements(i))
    return Dims(*known);
  if (auto constants = ctx.constantInts(i))
    return Dims(
        llvm::map_range(*constants, [&](int64_t value) { return ctx.facts.constant(value); }));
  if (!ctx.inputType(i).hasStaticShape())
    (void)ctx.error(what + " has an unknown number of elements, which the result's rank "
                           "depends on");
  else if (ctx.inputType(i).getNumElements() > kMaxTrackedElements)
    (void)ctx.error(what + " has " + Twine(ctx.inputType(i).getNumElements()) +
                    " elements, expected at most " + Twine(kMaxTrackedElements));
  else
    (void)ctx.error(what + " must be a tensor of int64 or int32");
  return failure();
}

FailureOr<SmallVector<int64_t>> ssm::onnx::requireConstants(InferContext &ctx, unsigned i,
                                                            const Twine &what) {
  FailureOr<Dims> elements = requireElements(ctx, i, what);
  if (failed(elements))
    return failure();
  if (auto constants = constantValues(*elements))
    return *constants;
  (void)ctx.error(what + " must be a constant");
  return failure();
}

bool ssm::onnx::isKnown(InferContext &ctx, unsigned i) {
  return !ctx.hasInput(i) || ctx.constantInts(i);
}

FailureOr<int64_t> ssm::onnx::requireCount(InferContext &ctx, unsigned i, const Twine &what) {
  FailureOr<Dims> elements = requireElements(ctx, i, what);
  if (failed(elements))
    return failure();
  return static_cast<int64_t>(elements->size());
}

FailureOr<AffineExpr> ssm::onnx::requireSize(InferContext &ctx, AffineExpr element,
                                             const Twine &what) {
  if (auto value = constantValue(element); value && *value < 0) {
    (void)ctx.error(what + " is " + Twine(*value) + ", expected a size");
    return failure();
  }
  return ctx.facts.max(element, ctx.facts.constant(0));
}

FailureOr<SmallVector<int64_t>> ssm::onnx::requireAxes(InferContext &ctx, ArrayRef<int64_t> axes,
                                                       int64_t rank) {
  SmallVector<int64_t> result;
  for (int64_t axis : axes) {
    FailureOr<int64_t> normal = ctx.normalizeAxis(axis, rank);
    if (failed(normal))
      return failure();
    if (llvm::is_contained(result, *normal)) {
      (void)ctx.error("axis " + Twine(*normal) + " is given twice");
      return failure();
    }
    result.push_back(*normal);
  }
  return result;
}

void ssm::onnx::passElements(InferContext &ctx) {
  if (auto known = ctx.elements(0))
    ctx.setElements(0, Dims(*known));
}

LogicalResult ssm::onnx::requireScalar(InferContext &ctx, unsigned i, const Twine &what) {
  for (AffineExpr dim : ctx.dims(i))
    if (auto size = constantValue(dim); size && *size != 1)
      return ctx.error(what + " has " + Twine(*size) + " elements, expected one");
  return success();
}

//===----------------------------------------------------------------------===//
// Lowering
//===----------------------------------------------------------------------===//

void ssm::onnx::checkSize(LoweringContext &ctx, AffineExpr element, const Twine &what) {
  if (ctx.facts.isNonNegative(element))
    return;
  Value value = ctx.size(element);
  ctx.check(arith::CmpIOp::create(ctx.b, arith::CmpIPredicate::sge, value, ctx.index(0)),
            what + " is {0}, expected a size", value);
}

void ssm::onnx::checkCount(LoweringContext &ctx, ArrayRef<AffineExpr> elements,
                           ArrayRef<AffineExpr> dims) {
  if (llvm::all_of(elements, [&](AffineExpr e) { return ctx.facts.isNonNegative(e); }))
    return;
  auto &b = ctx.b;
  Value limit = ctx.index(int64_t(1) << 40), one = ctx.index(1), count = one;
  for (auto [axis, dim] : llvm::enumerate(dims)) {
    Value size = ctx.size(dim), room = b.createOrFold<arith::DivUIOp>(limit, count);
    ctx.check(b.createOrFold<arith::CmpIOp>(arith::CmpIPredicate::ule, size, room),
              "size {0} of axis " + Twine(axis) + " makes a tensor of more than 2^40 elements",
              size);
    // An empty axis must not hide what the others overflow to.
    count = b.createOrFold<arith::MulIOp>(count, b.createOrFold<arith::MaxUIOp>(size, one));
  }
}

/// Where inference could not tell, checks that input i holds one element.
static void checkScalar(LoweringContext &ctx, unsigned i) {
  for (AffineExpr dim : Dims(ctx.dims(i)))
    ctx.checkEqual(dim, ctx.facts.constant(1), "the number of elements of input " + Twine(i));
}

Value ssm::onnx::scalarInput(LoweringContext &ctx, unsigned i) {
  checkScalar(ctx, i);
  return ctx.extract(ctx.get(i), SmallVector<Value>(ctx.rank(i), ctx.index(0)));
}

Value ssm::onnx::scalarInt(LoweringContext &ctx, unsigned i) {
  checkScalar(ctx, i);
  TensorValue wide = ctx.cast(ctx.get(i), ctx.b.getI64Type());
  return ctx.extract(wide, SmallVector<Value>(ctx.rank(i), ctx.index(0)));
}

SmallVector<Value> ssm::onnx::axesInput(LoweringContext &ctx, unsigned i, int64_t rank) {
  auto &b = ctx.b;
  SmallVector<Value> axes;
  for (AffineExpr element : Dims(*ctx.elements(i))) {
    Value axis = ctx.size(element);
    Value shifted = arith::AddIOp::create(b, axis, ctx.index(rank));
    ctx.check(arith::CmpIOp::create(b, arith::CmpIPredicate::ult, shifted, ctx.index(2 * rank)),
              "axis {0} is out of range for rank " + Twine(rank), axis);
    Value negative = arith::CmpIOp::create(b, arith::CmpIPredicate::slt, axis, ctx.index(0));
    axis = arith::SelectOp::create(b, negative, shifted, axis);
    for (Value other : axes)
      ctx.check(arith::CmpIOp::create(b, arith::CmpIPredicate::ne, axis, other),
                "axis {0} is given twice", axis);
    axes.push_back(axis);
  }
  return axes;
}

Value ssm::onnx::isOneOf(ImplicitLocOpBuilder &b, ArrayRef<Value> values, int64_t constant) {
  Value result = arith::ConstantIntOp::create(b, b.getI1Type(), 0);
  Value wanted = arith::ConstantIndexOp::create(b, constant);
  for (Value value : values)
    result = arith::OrIOp::create(
        b, result, arith::CmpIOp::create(b, arith::CmpIPredicate::eq, value, wanted));
  return result;
}

Value ssm::onnx::product(LoweringContext &ctx, ArrayRef<AffineExpr> dims) {
  Value result = ctx.index(1);
  for (AffineExpr dim : dims)
    result = ctx.b.createOrFold<arith::MulIOp>(result, ctx.size(dim));
  return result;
}

void ssm::onnx::bindProduct(LoweringContext &ctx, AffineExpr dim, ArrayRef<AffineExpr> factors) {
  if (isa<AffineSymbolExpr>(dim) && !ctx.isBound(dim))
    ctx.bind(dim, product(ctx, factors));
}

TensorValue
ssm::onnx::generateStored(LoweringContext &ctx, ArrayRef<AffineExpr> dims, Type type,
                          llvm::function_ref<Value(ImplicitLocOpBuilder &, ValueRange)> body) {
  Value init = ctx.empty(dims, type);
  int64_t rank = dims.size();
  SmallVector<AffineMap> maps = {ctx.b.getMultiDimIdentityMap(rank)};
  SmallVector<utils::IteratorType> iterators(rank, utils::IteratorType::parallel);
  auto generic =
      linalg::GenericOp::create(ctx.b, TypeRange{init.getType()}, ValueRange{}, ValueRange{init},
                                maps, iterators, [&](OpBuilder &builder, Location loc, ValueRange) {
                                  ImplicitLocOpBuilder nested(loc, builder);
                                  SmallVector<Value> indices;
                                  for (int64_t axis = 0; axis < rank; ++axis)
                                    indices.push_back(linalg::IndexOp::create(nested, axis));
                                  linalg::YieldOp::create(nested, body(nested, indices));
                                });
  return ctx.make(generic.getResult(0), type, dims);
}

Value ssm::onnx::extractStored(ImplicitLocOpBuilder &b, const TensorValue &tensor,
                               ValueRange indices) {
  return tensor::ExtractOp::create(b, tensor.value, indices);
}

TensorValue ssm::onnx::checkedCounts(LoweringContext &ctx, const TensorValue &counts, Value bound,
                                     const Twine &what) {
  auto &b = ctx.b;
  TensorValue wide = ctx.cast(counts, b.getI64Type());
  Value limit = arith::IndexCastOp::create(b, b.getI64Type(), bound);
  SmallVector<int64_t> axes = llvm::to_vector(llvm::seq<int64_t>(0, wide.dims.size()));
  // As unsigned numbers negative ones are the greatest.
  TensorValue most =
      ctx.reduce(wide, axes, b.getI64Type(), arith::ConstantIntOp::create(b, b.getI64Type(), 0),
                 [](ImplicitLocOpBuilder &b, Value acc, Value element) -> Value {
                   return arith::MaxUIOp::create(b, acc, element);
                 });
  Value worst = ctx.extract(most, {});
  ctx.check(arith::CmpIOp::create(b, arith::CmpIPredicate::ule, worst, limit),
            what + " is {0}, expected 0 to {1}", {worst, limit});
  return wide;
}

Value ssm::onnx::extractIndex(ImplicitLocOpBuilder &b, const TensorValue &indices, ValueRange at) {
  return arith::IndexCastOp::create(b, b.getIndexType(),
                                    tensor::ExtractOp::create(b, indices.value, at));
}

SmallVector<Value> ssm::onnx::loopNest(
    ImplicitLocOpBuilder &b, ValueRange sizes, ValueRange carried,
    llvm::function_ref<SmallVector<Value>(ImplicitLocOpBuilder &, ValueRange, ValueRange)> body) {
  SmallVector<Value> indices;
  std::function<SmallVector<Value>(ImplicitLocOpBuilder &, unsigned, ValueRange)> build =
      [&](ImplicitLocOpBuilder &at, unsigned level, ValueRange values) -> SmallVector<Value> {
    if (level == sizes.size())
      return body(at, indices, values);
    Value zero = arith::ConstantIndexOp::create(at, 0);
    Value one = arith::ConstantIndexOp::create(at, 1);
    auto loop =
        scf::ForOp::create(at, zero, sizes[level], one, values,
                           [&](OpBuilder &builder, Location loc, Value index, ValueRange args) {
                             ImplicitLocOpBuilder nested(loc, builder);
                             indices.push_back(index);
                             SmallVector<Value> next = build(nested, level + 1, args);
                             indices.pop_back();
                             scf::YieldOp::create(nested, next);
                           });
    return SmallVector<Value>(loop.getResults());
  };
  return build(b, 0, carried);
}

SmallVector<Value> ssm::onnx::sizeValues(LoweringContext &ctx, ArrayRef<AffineExpr> dims) {
  return llvm::map_to_vector(dims, [&](AffineExpr dim) { return ctx.size(dim); });
}

Value ssm::onnx::comesBefore(ImplicitLocOpBuilder &b, Value a, Value c, Type type,
                             bool greatestFirst) {
  if (!isa<FloatType>(type)) {
    bool isUnsignedOrder = isUnsigned(type) || isBool(type);
    arith::CmpIPredicate predicate =
        greatestFirst ? (isUnsignedOrder ? arith::CmpIPredicate::ugt : arith::CmpIPredicate::sgt)
                      : (isUnsignedOrder ? arith::CmpIPredicate::ult : arith::CmpIPredicate::slt);
    return arith::CmpIOp::create(b, predicate, a, c);
  }
  // NaN is greater than every number and equal to itself.
  Value nan = greatestFirst ? a : c, other = greatestFirst ? c : a;
  Value ordered = arith::CmpFOp::create(
      b, greatestFirst ? arith::CmpFPredicate::OGT : arith::CmpFPredicate::OLT, a, c);
  Value isNaN = arith::CmpFOp::create(b, arith::CmpFPredicate::UNO, nan, nan);
  Value isNumber = arith::CmpFOp::create(b, arith::CmpFPredicate::ORD, other, other);
  return arith::OrIOp::create(b, ordered, arith::AndIOp::create(b, isNaN, isNumber));
}

//===----------------------------------------------------------------------===//
// Families
//===----------------------------------------------------------------------===//

void ssm::onnx::registerLayoutOperators(OperatorTable &table) {
  registerReshapeOperators(table);
  registerSliceOperators(table);
  registerPadOperators(table);
  registerOrderOperators(table);
}

void ssm::onnx::registerIndexingOperators(OperatorTable &table) {
  registerGatherOperators(table);
  registerScatterOperators(table);
  registerSelectionOperators(table);
  registerTopKOperators(table);
  registerExtremeIndexOperators(table);
  registerCumulativeOperators(table);
}
