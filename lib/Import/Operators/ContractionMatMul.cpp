//===- ContractionMatMul.cpp - MatMul, MatMulInteger, Gemm, FusedMatMul ---===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "lib/Import/Operators/Contraction.h"
#include "lib/Import/Operators/Elementwise.h"

using namespace mlir;
using namespace ssm;
using namespace ssm::onnx;

//===----------------------------------------------------------------------===//
// MatMul, FusedMatMul
//===----------------------------------------------------------------------===//

// Labels of the matrix axes; those of batch axes count from 0, at the last one.
static constexpr int kRow = 1000, kColumn = 1001, kInner = 1002;

namespace {
/// Which axis of the operands means what.
struct MatMulAxes {
  Labels lhs, rhs, result;
};
} // namespace

/// The labels of one operand, whose matrix is `outer` x `inner`. `swapped`: it is
/// stored the other way; `batchFirst`: the first of the matrix axes stands before the
/// batch axes.
static Labels operandLabels(int64_t rank, int outer, int inner, bool swapped, bool batchFirst) {
  if (rank == 1)
    return {kInner};
  Labels logical;
  for (int64_t axis = 0; axis < rank - 2; ++axis)
    logical.push_back(rank - 3 - axis);
  logical.push_back(swapped ? inner : outer);
  logical.push_back(swapped ? outer : inner);
  if (batchFirst)
    std::rotate(logical.begin(), logical.end() - 2, logical.end() - 1);
  return logical;
}

/// Attributes that a node lacks (all of them for MatMul) are 0.
static MatMulAxes matMulAxes(NodeReader &node) {
  int64_t lhsRank = node.rank(0), rhsRank = node.rank(1);
  MatMulAxes axes;
  axes.lhs =
      operandLabels(lhsRank, kRow, kInner, node.getInt("transA", 0), node.getInt("transBatchA", 0));
  axes.rhs = operandLabels(rhsRank, kInner, kColumn, node.getInt("transB", 0),
                           node.getInt("transBatchB", 0));
  for (int64_t axis = std::max(lhsRank, rhsRank) - 3; axis >= 0; --axis)
    axes.result.push_back(axis);
  if (lhsRank > 1)
    axes.result.push_back(kRow);
  if (rhsRank > 1)
    axes.result.push_back(kColumn);
  return axes;
}

static AffineExpr sizeOf(ArrayRef<AffineExpr> dims, ArrayRef<int> labels, int label) {
  auto it = llvm::find(labels, label);
  return it == labels.end() ? AffineExpr() : dims[it - labels.begin()];
}

/// Sizes of a product of inputs 0 and 1.
static LogicalResult inferProduct(InferContext &ctx, Type type) {
  for (unsigned i : {0u, 1u})
    if (ctx.rank(i) == 0)
      return ctx.error("input " + Twine(i) + " has rank 0, expected at least 1");
  for (StringRef name : {"transBatchA", "transBatchB"})
    if (unsigned i = name.back() - 'A'; ctx.getInt(name, 0) && ctx.rank(i) < 3)
      return ctx.error("attribute '" + name + "' is set and input " + Twine(i) + " has rank " +
                       Twine(ctx.rank(i)) + ", expected at least 3");
  MatMulAxes axes = matMulAxes(ctx);
  Dims lhs(ctx.dims(0)), rhs(ctx.dims(1)), result;
  if (failed(ctx.requireEqual(sizeOf(lhs, axes.lhs, kInner), sizeOf(rhs, axes.rhs, kInner),
                              "inner sizes of the two matrices")))
    return failure();
  for (int label : axes.result) {
    AffineExpr left = sizeOf(lhs, axes.lhs, label), right = sizeOf(rhs, axes.rhs, label);
    if (!left || !right) {
      result.push_back(left ? left : right);
      continue;
    }
    FailureOr<Dims> both = ctx.broadcast(left, right);
    if (failed(both))
      return failure();
    result.push_back(both->front());
  }
  ctx.setResult(0, type, result);
  return success();
}

static LogicalResult inferMatMul(InferContext &ctx) {
  if (failed(requireNumber(ctx, 0)) || failed(ctx.requireSameElementType(0, 1)))
    return failure();
  return inferProduct(ctx, ctx.elementType(0));
}

/// Of two sizes that must be equal, the one that is known.
static AffineExpr commonSize(AffineExpr a, AffineExpr b) { return constantValue(a) ? a : b; }

/// The product of inputs 0 and 1 in ONNX element type `type`.
static TensorValue multiplyInputs(LoweringContext &ctx, Type type) {
  MatMulAxes axes = matMulAxes(ctx);
  LabelledTensor lhs{ctx.get(0), axes.lhs}, rhs{ctx.get(1), axes.rhs};
  LabelSizes sizes;
  // The inner axis never broadcasts: a size of 1 must meet a size of 1.
  sizes[kInner] = commonSize(sizeOf(lhs.tensor.dims, lhs.labels, kInner),
                             sizeOf(rhs.tensor.dims, rhs.labels, kInner));
  Dims resultDims(ctx.resultDims(0));
  for (auto [label, size] : llvm::zip_equal(axes.result, resultDims)) {
    sizes[label] = size;
    SmallVector<AffineExpr> operands;
    for (const LabelledTensor *operand : {&lhs, &rhs})
      if (AffineExpr own = sizeOf(operand->tensor.dims, operand->labels, label))
        operands.push_back(own);
    bindBroadcastSize(ctx, size, operands);
  }
  auto isBatch = [](int label) { return label < kRow; };
  fitToLabels(ctx, lhs, sizes, isBatch);
  fitToLabels(ctx, rhs, sizes, isBatch);
  return contractLabels(ctx, lhs, rhs, axes.result, sizes, type).tensor;
}

static LogicalResult lowerMatMul(LoweringContext &ctx) {
  Type type = ctx.resultElementType(0);
  double alpha = ctx.getFloat("alpha", 1);
  TensorValue product = multiplyInputs(ctx, alpha == 1 ? type : accumulatorType(type));
  Dims resultDims(ctx.resultDims(0));
  if (alpha != 1)
    product = ctx.map({product}, resultDims, type, [&](ImplicitLocOpBuilder &b, ValueRange args) {
      return Value(arith::MulFOp::create(b, args[0], realConstant(b, args[0].getType(), alpha)));
    });
  ctx.set(0, product.value);
  return success();
}

static LogicalResult inferFusedMatMul(InferContext &ctx) {
  return failed(requireReal(ctx, 0)) ? failure() : inferMatMul(ctx);
}

//===----------------------------------------------------------------------===//
// MatMulInteger
//===----------------------------------------------------------------------===//

static LogicalResult inferMatMulInteger(InferContext &ctx) {
  for (unsigned i : {0u, 1u}) {
    if (failed(requireByte(ctx, i)))
      return failure();
    unsigned zero = i + 2;
    if (!ctx.hasInput(zero))
      continue;
    int64_t rank = ctx.rank(i);
    if (failed(ctx.requireSameElementType(i, zero)))
      return failure();
    // One number, one for each row of the left matrix or column of the right one, or the matrix
    // with an inner size of 1.
    if (ctx.rank(zero) > 1 && ctx.rank(zero) != rank)
      return ctx.error("input " + Twine(zero) + " has rank " + Twine(ctx.rank(zero)) +
                       ", expected 0, 1 or the rank of input " + Twine(i) + ", " + Twine(rank));
    Dims own(ctx.dims(zero)), matrix(ctx.dims(i));
    int64_t inner = rank - 1 - (i == 1 && rank > 1), outer = rank - 1 - (i == 0 && rank > 1);
    auto fits = [&](AffineExpr size, AffineExpr wanted) {
      return constantValue(size) == 1
                 ? success()
                 : ctx.requireEqual(size, wanted,
                                    "sizes of input " + Twine(zero) + " and of the matrix");
    };
    if (own.size() == 1 && failed(fits(own[0], rank == 1 ? ctx.facts.constant(1) : matrix[outer])))
      return failure();
    if (own.size() > 1)
      for (int64_t axis = 0; axis < rank; ++axis)
        if (failed(fits(own[axis], axis == inner ? ctx.facts.constant(1) : matrix[axis])))
          return failure();
  }
  return inferProduct(ctx, IntegerType::get(ctx.getNode().getContext(), 32));
}

/// Without one axis, or with one of size 1 there.
static TensorValue withoutAxis(LoweringContext &ctx, const TensorValue &tensor, int64_t axis) {
  Dims dims = tensor.dims;
  ctx.checkEqual(dims[axis], ctx.facts.constant(1), "inner size of a zero point, and 1");
  dims.erase(dims.begin() + axis);
  return ctx.reshape(tensor, dims);
}
static TensorValue withAxis(LoweringContext &ctx, const TensorValue &tensor, int64_t axis) {
  Dims dims = tensor.dims;
  dims.insert(dims.begin() + axis, ctx.facts.constant(1));
  return ctx.reshape(tensor, dims);
}

/// A zero point of input i, broadcast against the product; nothing if it is 0.
static std::optional<TensorValue> zeroPoint(LoweringContext &ctx, unsigned i) {
  if (isZeroPointOfZero(ctx, i + 2))
    return std::nullopt;
  TensorValue zero = ctx.get(i + 2);
  int64_t rank = zero.dims.size();
  bool isVector = ctx.rank(1 - i) == 1, isLeft = i == 0;
  if (rank == 1 && isLeft && ctx.rank(0) > 1 && !isVector)
    return withAxis(ctx, zero, 1);
  if (rank > 1 && isVector)
    return withoutAxis(ctx, zero, isLeft ? rank - 1 : rank - 2);
  if (rank > 1)
    ctx.checkEqual(zero.dims[isLeft ? rank - 1 : rank - 2], ctx.facts.constant(1),
                   "inner size of a zero point, and 1");
  return zero;
}

/// Sums of input i over the inner axis in i32, broadcast against the product.
static TensorValue sumInner(LoweringContext &ctx, unsigned i) {
  TensorValue input = ctx.get(i);
  int64_t rank = input.dims.size(), inner = rank - 1 - (i == 1 && rank > 1);
  Type i32 = ctx.b.getI32Type();
  Value none = arith::ConstantIntOp::create(ctx.b, i32, 0);
  TensorValue sums = ctx.reduce(
      input, inner, i32, none, [&](ImplicitLocOpBuilder &b, Value sum, Value element) -> Value {
        return arith::AddIOp::create(b, sum, widenByte(b, element, input.type));
      });
  return ctx.rank(1 - i) == 1 || rank == 1 ? sums : withAxis(ctx, sums, inner);
}

/// sum (a - p) (b - q) = sum a b - p sum b + q (depth p - sum a), all modulo 2^32: the product
/// stays one of bytes, and sums of a weight are computed once.
static LogicalResult lowerMatMulInteger(LoweringContext &ctx) {
  Type i32 = ctx.b.getI32Type();
  TensorValue product = multiplyInputs(ctx, i32);
  std::optional<TensorValue> left = zeroPoint(ctx, 0), right = zeroPoint(ctx, 1);
  SmallVector<TensorValue> inputs = {product};
  if (left)
    llvm::append_values(inputs, *left, sumInner(ctx, 1));
  if (right)
    llvm::append_values(inputs, *right, sumInner(ctx, 0));
  if (inputs.size() == 1) {
    ctx.set(0, product.value);
    return success();
  }
  Value depth = arith::IndexCastOp::create(ctx.b, i32, ctx.size(ctx.dims(0).back()));
  Dims dims(ctx.resultDims(0));
  TensorValue result =
      ctx.map(inputs, dims, i32, [&](ImplicitLocOpBuilder &b, ValueRange args) -> Value {
        auto times = [&](Value x, Value y) { return arith::MulIOp::create(b, x, y); };
        Value sum = args[0], ofDepth = intConstant(b, i32, 0);
        if (left) {
          Value point = widenByte(b, args[1], left->type);
          sum = arith::SubIOp::create(b, sum, times(point, args[2]));
          ofDepth = times(depth, point);
        }
        if (!right)
          return sum;
        Value point = widenByte(b, args[args.size() - 2], right->type);
        Value rest = arith::SubIOp::create(b, ofDepth, args.back());
        return arith::AddIOp::create(b, sum, times(point, rest));
      });
  ctx.set(0, result.value);
  return success();
}

//===----------------------------------------------------------------------===//
// Gemm
//===----------------------------------------------------------------------===//

static LogicalResult inferGemm(InferContext &ctx) {
  if (failed(requireNumber(ctx, 0)) || failed(ctx.requireSameElementType(0, 1)) ||
      failed(ctx.requireRank(0, 2, 2)) || failed(ctx.requireRank(1, 2, 2)))
    return failure();
  for (StringRef name : {"alpha", "beta"}) {
    double value = ctx.getFloat(name, 1);
    if (isa<IntegerType>(ctx.elementType(0)) &&
        (value != std::trunc(value) || std::abs(value) > 127))
      return ctx.error("attribute '" + name + "' is " + std::to_string(value) +
                       " for integers, expected a whole number of at most 127");
  }
  MatMulAxes axes = matMulAxes(ctx);
  Dims lhs(ctx.dims(0)), rhs(ctx.dims(1));
  if (failed(ctx.requireEqual(sizeOf(lhs, axes.lhs, kInner), sizeOf(rhs, axes.rhs, kInner),
                              "inner sizes of the two matrices")))
    return failure();
  Dims result = {sizeOf(lhs, axes.lhs, kRow), sizeOf(rhs, axes.rhs, kColumn)};
  if (ctx.hasInput(2)) {
    if (failed(ctx.requireSameElementType(0, 2)) || failed(ctx.requireRank(2, 0, 2)))
      return failure();
    Dims added(ctx.dims(2));
    for (auto [size, wanted] : llvm::zip(llvm::reverse(added), llvm::reverse(result)))
      if (constantValue(size) != 1 &&
          failed(ctx.requireEqual(size, wanted, "sizes of input 2 and of the product")))
        return failure();
  }
  ctx.setResult(0, ctx.elementType(0), result);
  return success();
}

static LogicalResult lowerGemm(LoweringContext &ctx) {
  MatMulAxes axes = matMulAxes(ctx);
  LabelledTensor lhs{ctx.get(0), axes.lhs}, rhs{ctx.get(1), axes.rhs};
  Dims dims(ctx.resultDims(0));
  LabelSizes sizes;
  sizes[kRow] = dims[0];
  sizes[kColumn] = dims[1];
  sizes[kInner] = commonSize(sizeOf(lhs.tensor.dims, lhs.labels, kInner),
                             sizeOf(rhs.tensor.dims, rhs.labels, kInner));
  auto never = [](int) { return false; };
  fitToLabels(ctx, lhs, sizes, never);
  fitToLabels(ctx, rhs, sizes, never);

  Type type = ctx.resultElementType(0);
  double alpha = ctx.getFloat("alpha", 1), beta = ctx.getFloat("beta", 1);
  bool hasAdded = ctx.hasInput(2) && beta != 0;
  bool isPlain = alpha == 1 && !hasAdded;
  TensorValue product =
      contractLabels(ctx, lhs, rhs, axes.result, sizes, isPlain ? type : accumulatorType(type))
          .tensor;
  if (isPlain) {
    ctx.set(0, product.value);
    return success();
  }
  SmallVector<TensorValue> inputs = {product};
  if (hasAdded)
    inputs.push_back(ctx.get(2));
  auto scale = [](ImplicitLocOpBuilder &b, Value x, double factor) -> Value {
    if (factor == 1)
      return x;
    if (isa<FloatType>(x.getType()))
      return arith::MulFOp::create(b, x, realConstant(b, x.getType(), factor));
    return arith::MulIOp::create(b, x, intConstant(b, x.getType(), factor));
  };
  TensorValue result =
      ctx.map(inputs, dims, type, [&](ImplicitLocOpBuilder &b, ValueRange args) -> Value {
        Value scaled = scale(b, args[0], alpha);
        if (!hasAdded)
          return scaled;
        Value added = scale(b, args[1], beta);
        if (isa<FloatType>(scaled.getType()))
          return arith::AddFOp::create(b, scaled, added);
        return arith::AddIOp::create(b, scaled, added);
      });
  ctx.set(0, result.value);
  return success();
}

//===----------------------------------------------------------------------===//
// Registration
//===----------------------------------------------------------------------===//

void ssm::onnx::registerMatMulOperators(OperatorTable &table) {
  static constexpr AttrSpec gemm[] = {
      {"alpha", 'f'}, {"beta", 'f'}, {"transA", 'i'}, {"transB", 'i'}};
  static constexpr AttrSpec fused[] = {
      {"alpha", 'f'}, {"transA", 'i'}, {"transB", 'i'}, {"transBatchA", 'i'}, {"transBatchB", 'i'}};
  table.add({"", "MatMul", 1, 2, 2, 1, 1, {}, inferMatMul, lowerMatMul});
  table.add({"", "MatMulInteger", 10, 2, 4, 1, 1, {}, inferMatMulInteger, lowerMatMulInteger});
  table.add({"", "Gemm", 7, 2, 3, 1, 1, gemm, inferGemm, lowerGemm});
  table.add({"com.microsoft", "FusedMatMul", 1, 2, 2, 1, 1, fused, inferFusedMatMul, lowerMatMul});
}
