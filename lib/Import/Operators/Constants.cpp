//===- Constants.cpp - Constant, ConstantOfShape, Shape, Size, Range ------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "lib/Import/FunctionLowering.h"
#include "lib/Import/Operators/Elementwise.h"
#include "lib/Import/Operators/Families.h"
#include "lib/Import/Operators/Layout.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

using namespace mlir;
using namespace ssm;
using namespace ssm::onnx;

/// One integer attribute element in ONNX's meaning.
static int64_t integerValue(const APInt &value, Type type) {
  return isUnsigned(type) || isBool(type) ? static_cast<int64_t>(value.getZExtValue())
                                          : value.getSExtValue();
}

//===----------------------------------------------------------------------===//
// Constant
//===----------------------------------------------------------------------===//

/// The value of whichever attribute is given; null if there is none or it has no
/// dense form.
static DenseElementsAttr constantAttr(NodeReader &ctx) {
  Builder b(ctx.getNode().getContext());
  auto tensorOf = [](ArrayRef<int64_t> shape, Type type) {
    return RankedTensorType::get(shape, type);
  };
  if (Attribute value = ctx.attr("value"))
    return dyn_cast<DenseElementsAttr>(value);
  if (ctx.hasAttr("value_float"))
    return DenseElementsAttr::get(tensorOf({}, b.getF32Type()),
                                  static_cast<float>(ctx.getFloat("value_float", 0)));
  if (ctx.hasAttr("value_int"))
    return DenseElementsAttr::get(tensorOf({}, b.getI64Type()), ctx.getInt("value_int", 0));
  if (auto values = ctx.getFloats("value_floats"))
    return DenseElementsAttr::get(tensorOf({static_cast<int64_t>(values->size())}, b.getF32Type()),
                                  ArrayRef<float>(*values));
  if (auto values = ctx.getInts("value_ints"))
    return DenseElementsAttr::get(tensorOf({static_cast<int64_t>(values->size())}, b.getI64Type()),
                                  ArrayRef<int64_t>(*values));
  return {};
}

static LogicalResult inferConstantNode(InferContext &ctx) {
  DictionaryAttr attrs = ctx.getNode().getOnnxAttrsAttr();
  size_t count = attrs ? attrs.size() : 0;
  if (count != 1)
    return ctx.error("has " + Twine(count) + " value attributes, expected one");
  for (StringRef kind : {"sparse_value", "value_string", "value_strings"})
    if (ctx.hasAttr(kind))
      return ctx.error("'" + kind + "' is not supported, expected a dense tensor of numbers");
  DenseElementsAttr value = constantAttr(ctx);
  if (!value)
    return ctx.error("the value has no dense form");
  Type type = value.getElementType();
  Dims dims;
  for (int64_t size : value.getType().getShape())
    dims.push_back(ctx.facts.constant(size));
  ctx.setResult(0, type, dims);
  if (!isa<IntegerType>(type) || value.getNumElements() > kMaxTrackedElements)
    return success();
  Dims elements;
  for (const APInt &element : value.getValues<APInt>())
    elements.push_back(ctx.facts.constant(integerValue(element, type)));
  ctx.setElements(0, elements);
  return success();
}

static LogicalResult lowerConstantNode(LoweringContext &ctx) {
  ctx.set(0, arith::ConstantOp::create(ctx.b, lowerConstant(constantAttr(ctx))));
  return success();
}

//===----------------------------------------------------------------------===//
// ConstantOfShape
//===----------------------------------------------------------------------===//

static LogicalResult inferConstantOfShape(InferContext &ctx) {
  FailureOr<Dims> shape = requireElements(ctx, 0, "the shape");
  if (failed(shape) || failed(ctx.requireRank(0, 1, 1)))
    return failure();
  Dims dims;
  for (auto [i, element] : llvm::enumerate(*shape)) {
    FailureOr<AffineExpr> size = requireSize(ctx, element, "size " + Twine(i));
    if (failed(size))
      return failure();
    dims.push_back(*size);
  }
  Type type = Float32Type::get(ctx.facts.getContext());
  DenseElementsAttr value;
  if (Attribute attr = ctx.attr("value")) {
    value = dyn_cast<DenseElementsAttr>(attr);
    if (!value || value.getNumElements() != 1)
      return ctx.error("'value' must hold one element");
    type = value.getElementType();
    if (!isa<IntegerType, FloatType>(type))
      return ctx.error("'value' must be a number");
  }
  ctx.setResult(0, type, dims);
  auto static1D = constantValues(dims);
  if (dims.size() == 1 && static1D && (*static1D)[0] <= kMaxTrackedElements && value &&
      isa<IntegerType>(type)) {
    AffineExpr element = ctx.facts.constant(integerValue(*value.getValues<APInt>().begin(), type));
    ctx.setElements(0, Dims((*static1D)[0], element));
  }
  return success();
}

/// The one element of `value` as a compute-typed constant; 0 of f32 for none.
static Value fillScalar(LoweringContext &ctx, DenseElementsAttr value, Type type) {
  Type compute = computeType(type);
  if (!value)
    return zeroConstant(ctx.b, compute);
  if (auto floatType = dyn_cast<FloatType>(compute)) {
    APFloat number = *value.getValues<APFloat>().begin();
    bool losesInfo;
    number.convert(floatType.getFloatSemantics(), APFloat::rmNearestTiesToEven, &losesInfo);
    return arith::ConstantOp::create(ctx.b, FloatAttr::get(floatType, number));
  }
  APInt number = *value.getValues<APInt>().begin();
  return arith::ConstantOp::create(
      ctx.b, IntegerAttr::get(compute, number.zextOrTrunc(compute.getIntOrFloatBitWidth())));
}

static LogicalResult lowerConstantOfShape(LoweringContext &ctx) {
  Dims dims(ctx.resultDims(0));
  if (auto known = ctx.elements(0)) {
    Dims shape(*known);
    for (auto [i, element] : llvm::enumerate(shape))
      checkSize(ctx, element, "size " + Twine(i));
    checkCount(ctx, shape, dims);
  }
  auto value = dyn_cast_or_null<DenseElementsAttr>(ctx.attr("value"));
  Type type = ctx.resultElementType(0);
  ctx.set(0, ctx.filled(dims, type, fillScalar(ctx, value, type)));
  return success();
}

//===----------------------------------------------------------------------===//
// Shape, Size
//===----------------------------------------------------------------------===//

/// The range of axes that Shape gives: `start` and `end` clamped.
static std::pair<int64_t, int64_t> shapeRange(NodeReader &ctx) {
  int64_t rank = ctx.rank(0);
  auto clamp = [&](int64_t axis) {
    return std::clamp<int64_t>(axis < 0 ? axis + rank : axis, 0, rank);
  };
  int64_t start = clamp(ctx.getInt("start", 0)), end = clamp(ctx.getInt("end", rank));
  return {start, std::max(start, end)};
}

static LogicalResult inferShape(InferContext &ctx) {
  auto [start, end] = shapeRange(ctx);
  ctx.setResult(0, IntegerType::get(ctx.facts.getContext(), 64), ctx.facts.constant(end - start));
  ctx.setElements(0, Dims(ctx.dims(0).slice(start, end - start)));
  return success();
}

static LogicalResult lowerShape(LoweringContext &ctx) {
  auto [start, end] = shapeRange(ctx);
  Type i64 = ctx.b.getI64Type();
  SmallVector<Value> values;
  for (AffineExpr dim : Dims(ctx.dims(0).slice(start, end - start)))
    values.push_back(arith::IndexCastOp::create(ctx.b, i64, ctx.size(dim)));
  ctx.set(0,
          tensor::FromElementsOp::create(ctx.b, RankedTensorType::get({end - start}, i64), values));
  return success();
}

static LogicalResult inferSize(InferContext &ctx) {
  ctx.setResult(0, IntegerType::get(ctx.facts.getContext(), 64), {});
  ctx.setElements(0, ctx.facts.product(Dims(ctx.dims(0))));
  return success();
}

static LogicalResult lowerSize(LoweringContext &ctx) {
  Type i64 = ctx.b.getI64Type();
  Value count = arith::IndexCastOp::create(ctx.b, i64, product(ctx, Dims(ctx.dims(0))));
  ctx.set(0, tensor::FromElementsOp::create(ctx.b, RankedTensorType::get({}, i64), count));
  return success();
}

//===----------------------------------------------------------------------===//
// Range
//===----------------------------------------------------------------------===//

/// The one element of a float constant.
static std::optional<double> constantReal(InferContext &ctx, unsigned i) {
  DenseElementsAttr constant = ctx.constantInput(i);
  if (!constant || constant.getNumElements() != 1 || !isa<FloatType>(constant.getElementType()))
    return std::nullopt;
  return FloatAttr::getValueAsDouble(*constant.getValues<APFloat>().begin());
}

/// The number of steps from start to limit, if it can be said. Integers only.
static AffineExpr countSteps(InferContext &ctx, AffineExpr start, AffineExpr limit, int64_t delta) {
  ShapeFacts &facts = ctx.facts;
  if (delta == std::numeric_limits<int64_t>::min())
    return {};
  AffineExpr distance = delta > 0 ? facts.sub(limit, start) : facts.sub(start, limit);
  int64_t step = std::abs(delta);
  AffineExpr forward = facts.max(distance, facts.constant(0));
  if (step == 1 || !forward)
    return forward;
  return facts.div(facts.add(forward, facts.constant(step - 1)), facts.constant(step));
}

static LogicalResult inferRange(InferContext &ctx) {
  static constexpr StringRef names[] = {"start", "limit", "delta"};
  for (unsigned i = 0; i < 3; ++i)
    if (failed(requireScalar(ctx, i, names[i])) || failed(ctx.requireSameElementType(0, i)))
      return failure();
  if (!isNumberType(ctx.elementType(0)))
    return ctx.error("start must be a number");
  if (int64_t stash = ctx.getInt("stash_type", 1); stash != 1)
    return ctx.error("'stash_type' is " + Twine(stash) + ", expected 1 (float)");
  Type type = ctx.elementType(0);
  AffineExpr size;
  Dims elements;
  if (isa<FloatType>(type)) {
    auto start = constantReal(ctx, 0), limit = constantReal(ctx, 1), delta = constantReal(ctx, 2);
    if (delta == 0.0)
      return ctx.error("delta is 0, expected another step");
    // The subtraction rounds to the type that the run computes with.
    if (start && limit && delta) {
      double distance =
          type.isF64()
              ? *limit - *start
              : static_cast<float>(static_cast<float>(*limit) - static_cast<float>(*start));
      double count = std::ceil(distance / *delta);
      if (!(count < 1e12))
        return ctx.error("has more elements than memory can hold");
      size = ctx.facts.constant(std::max(0.0, count));
    }
  } else {
    auto start = ctx.elements(0), limit = ctx.elements(1), delta = ctx.elements(2);
    if (start && limit && delta) {
      auto step = constantValue((*delta)[0]);
      if (step == 0)
        return ctx.error("delta is 0, expected another step");
      if (step)
        size = countSteps(ctx, (*start)[0], (*limit)[0], *step);
      auto count = constantValue(size);
      if (count && *count <= kMaxTrackedElements)
        for (int64_t i = 0; i < *count; ++i)
          elements.push_back(
              ctx.facts.add((*start)[0], ctx.facts.mul((*delta)[0], ctx.facts.constant(i))));
    }
  }
  bool hasElements = static_cast<int64_t>(elements.size()) == constantValue(size);
  ctx.setResult(0, type, size);
  if (hasElements && isa<IntegerType>(type))
    ctx.setElements(0, elements);
  return success();
}

/// The number of elements of a Range of floats.
static Value countReals(LoweringContext &ctx, Value start, Value limit, Value delta) {
  auto &b = ctx.b;
  Type f64 = b.getF64Type();
  auto wide = [&](Value value) -> Value {
    return value.getType() == f64 ? value : arith::ExtFOp::create(b, f64, value);
  };
  Value distance = arith::SubFOp::create(b, limit, start);
  Value count = math::CeilOp::create(b, arith::DivFOp::create(b, wide(distance), wide(delta)));
  // Also false for NaN.
  Value sane =
      arith::CmpFOp::create(b, arith::CmpFPredicate::OLT, count, realConstant(b, f64, 1e12));
  ctx.check(sane, "delta is 0 or not a number, or the range has too many elements");
  Value clamped = arith::MaximumFOp::create(b, count, realConstant(b, f64, 0));
  return arith::IndexCastOp::create(b, b.getIndexType(),
                                    arith::FPToSIOp::create(b, b.getI64Type(), clamped));
}

/// The number of elements of a Range of integers, all as i64.
static Value countIntegers(LoweringContext &ctx, Value start, Value limit, Value delta,
                           bool isUnsignedType) {
  auto &b = ctx.b;
  Type i64 = b.getI64Type();
  Value zero = intConstant(b, i64, 0), one = intConstant(b, i64, 1);
  ctx.check(arith::CmpIOp::create(b, arith::CmpIPredicate::ne, delta, zero),
            "delta is {0}, expected another step", delta);
  auto less = isUnsignedType ? arith::CmpIPredicate::ult : arith::CmpIPredicate::slt;
  Value up = isUnsignedType
                 ? Value(arith::ConstantIntOp::create(b, b.getI1Type(), 1))
                 : Value(arith::CmpIOp::create(b, arith::CmpIPredicate::sgt, delta, zero));
  Value first = arith::SelectOp::create(b, up, start, limit);
  Value last = arith::SelectOp::create(b, up, limit, start);
  Value step = arith::SelectOp::create(b, up, delta, arith::SubIOp::create(b, zero, delta));
  // As unsigned numbers distance and step are right even where signed ones
  // overflow. A step of 0 was refused, but must not trap before that is known.
  step = arith::MaxUIOp::create(b, step, one);
  Value some = arith::CmpIOp::create(b, less, first, last);
  Value distance = arith::SubIOp::create(b, last, first);
  Value steps = arith::DivUIOp::create(b, arith::SubIOp::create(b, distance, one), step);
  Value count = arith::SelectOp::create(b, some, arith::AddIOp::create(b, steps, one), zero);
  Value bound = intConstant(b, i64, int64_t(1) << 40);
  ctx.check(arith::CmpIOp::create(b, arith::CmpIPredicate::ult, count, bound),
            "the range has {0} elements, expected fewer than 2^40", count);
  return arith::IndexCastOp::create(b, b.getIndexType(), count);
}

static LogicalResult lowerRange(LoweringContext &ctx) {
  Type type = ctx.resultElementType(0), compute = computeType(type);
  Value start = scalarInput(ctx, 0), limit = scalarInput(ctx, 1), delta = scalarInput(ctx, 2);
  Dims dims(ctx.resultDims(0));
  Value count = isa<FloatType>(type) ? countReals(ctx, start, limit, delta)
                                     : countIntegers(ctx, scalarInt(ctx, 0), scalarInt(ctx, 1),
                                                     scalarInt(ctx, 2), isUnsigned(type));
  if (isa<AffineSymbolExpr>(dims[0]) && !ctx.isBound(dims[0]))
    ctx.bind(dims[0], count);
  else if (!constantValue(dims[0]))
    // Where the arithmetic of sizes overflowed, the exact count differs.
    ctx.check(arith::CmpIOp::create(ctx.b, arith::CmpIPredicate::eq, count, ctx.size(dims[0])),
              "start and limit are too far apart");
  TensorValue result =
      ctx.generate(dims, type, [&](ImplicitLocOpBuilder &b, ValueRange indices) -> Value {
        Value i = arith::IndexCastOp::create(b, b.getI64Type(), indices[0]);
        if (isa<FloatType>(type)) {
          Value real = arith::SIToFPOp::create(b, compute, i);
          return arith::AddFOp::create(b, start, arith::MulFOp::create(b, real, delta));
        }
        if (compute != i.getType())
          i = arith::TruncIOp::create(b, compute, i);
        return arith::AddIOp::create(b, start, arith::MulIOp::create(b, i, delta));
      });
  ctx.set(0, result.value);
  return success();
}

//===----------------------------------------------------------------------===//
// EyeLike, Trilu
//===----------------------------------------------------------------------===//

/// The MLIR type of a number that ONNX calls `number`; null for other types.
static Type numberType(MLIRContext *context, int64_t number) {
  Builder b(context);
  auto unsignedType = [&](unsigned width) { return b.getIntegerType(width, /*isSigned=*/false); };
  switch (number) {
  case 1:
    return b.getF32Type();
  case 2:
    return unsignedType(8);
  case 3:
    return b.getI8Type();
  case 4:
    return unsignedType(16);
  case 5:
    return b.getI16Type();
  case 6:
    return b.getI32Type();
  case 7:
    return b.getI64Type();
  case 9:
    return b.getI1Type();
  case 10:
    return b.getF16Type();
  case 11:
    return b.getF64Type();
  case 12:
    return unsignedType(32);
  case 13:
    return unsignedType(64);
  case 16:
    return b.getBF16Type();
  }
  return {};
}

static LogicalResult inferEyeLike(InferContext &ctx) {
  if (failed(ctx.requireRank(0, 2, 2)))
    return failure();
  Type type = ctx.elementType(0);
  if (ctx.hasAttr("dtype")) {
    type = numberType(ctx.facts.getContext(), ctx.getInt("dtype", 0));
    if (!type)
      return ctx.error("'dtype' is " + Twine(ctx.getInt("dtype", 0)) + ", expected a number type");
  }
  ctx.setResult(0, type, Dims(ctx.dims(0)));
  return success();
}

static LogicalResult lowerEyeLike(LoweringContext &ctx) {
  Type type = ctx.resultElementType(0), compute = computeType(type);
  Value k = ctx.index(ctx.getInt("k", 0));
  Value one =
      isa<FloatType>(compute) ? realConstant(ctx.b, compute, 1) : intConstant(ctx.b, compute, 1);
  Value zero = zeroConstant(ctx.b, compute);
  Dims dims(ctx.resultDims(0));
  TensorValue result =
      ctx.generate(dims, type, [&](ImplicitLocOpBuilder &b, ValueRange indices) -> Value {
        Value diagonal = arith::SubIOp::create(b, indices[1], indices[0]);
        Value on = arith::CmpIOp::create(b, arith::CmpIPredicate::eq, diagonal, k);
        return arith::SelectOp::create(b, on, one, zero);
      });
  ctx.set(0, result.value);
  return success();
}

static LogicalResult inferTrilu(InferContext &ctx) {
  if (ctx.rank(0) < 2)
    return ctx.error("input 0 has rank " + Twine(ctx.rank(0)) + ", expected 2 or more");
  if (ctx.hasInput(1) && (failed(ctx.requireInteger(1)) || failed(requireScalar(ctx, 1, "k"))))
    return failure();
  ctx.setResult(0, ctx.elementType(0), Dims(ctx.dims(0)));
  return success();
}

static LogicalResult lowerTrilu(LoweringContext &ctx) {
  Type type = ctx.elementType(0);
  bool upper = ctx.getInt("upper", 1) != 0;
  Value k = ctx.hasInput(1)
                ? Value(arith::IndexCastOp::create(ctx.b, ctx.b.getIndexType(), scalarInt(ctx, 1)))
                : ctx.index(0);
  Value zero = zeroConstant(ctx.b, computeType(type));
  Dims dims(ctx.dims(0));
  int64_t rank = dims.size();
  auto result = ctx.elementwise(
      ctx.get(0), dims, type,
      [&](ImplicitLocOpBuilder &b, ValueRange indices, ValueRange args) -> SmallVector<Value> {
        Value diagonal = arith::SubIOp::create(b, indices[rank - 1], indices[rank - 2]);
        Value keep = arith::CmpIOp::create(
            b, upper ? arith::CmpIPredicate::sge : arith::CmpIPredicate::sle, diagonal, k);
        return {arith::SelectOp::create(b, keep, args[0], zero)};
      });
  ctx.set(0, result[0].value);
  return success();
}

//===----------------------------------------------------------------------===//
// Registration
//===----------------------------------------------------------------------===//

void ssm::onnx::registerConstantOperators(OperatorTable &table) {
  static constexpr AttrSpec kValue[] = {{"value", 't', true}};
  static constexpr AttrSpec kValues[] = {
      {"value", 't'},     {"sparse_value", 't'}, {"value_float", 'f'},  {"value_floats", 'F'},
      {"value_int", 'i'}, {"value_ints", 'I'},   {"value_string", 's'}, {"value_strings", 'S'}};
  static constexpr AttrSpec kFill[] = {{"value", 't'}};
  static constexpr AttrSpec kShape[] = {{"start", 'i'}, {"end", 'i'}};
  static constexpr AttrSpec kRange[] = {{"stash_type", 'i'}};
  static constexpr AttrSpec kEye[] = {{"dtype", 'i'}, {"k", 'i'}};
  static constexpr AttrSpec kTrilu[] = {{"upper", 'i'}};
  table.add({"", "Constant", 1, 0, 0, 1, 1, kValue, inferConstantNode, lowerConstantNode});
  table.add({"", "Constant", 11, 0, 0, 1, 1, kValues, inferConstantNode, lowerConstantNode});
  table.add(
      {"", "ConstantOfShape", 9, 1, 1, 1, 1, kFill, inferConstantOfShape, lowerConstantOfShape});
  table.add({"", "Shape", 1, 1, 1, 1, 1, {}, inferShape, lowerShape});
  table.add({"", "Shape", 15, 1, 1, 1, 1, kShape, inferShape, lowerShape});
  table.add({"", "Size", 1, 1, 1, 1, 1, {}, inferSize, lowerSize});
  table.add({"", "Range", 11, 3, 3, 1, 1, {}, inferRange, lowerRange});
  table.add({"", "Range", 27, 3, 3, 1, 1, kRange, inferRange, lowerRange});
  table.add({"", "EyeLike", 9, 1, 1, 1, 1, kEye, inferEyeLike, lowerEyeLike});
  table.add({"", "Trilu", 14, 1, 2, 1, 1, kTrilu, inferTrilu, lowerTrilu});
  registerOneHotOperators(table);
}
