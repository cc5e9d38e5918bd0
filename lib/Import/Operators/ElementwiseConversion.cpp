//===- ElementwiseConversion.cpp - Cast, BitCast, Identity, Dropout, Clip -===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "lib/Import/Operators/Elementwise.h"

#include "dialects/SSM/KernelBuilders.h"
#include "lib/Import/Reader/ElementType.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"

using namespace mlir;
using namespace ssm;
using namespace ssm::onnx;

//===----------------------------------------------------------------------===//
// Cast, CastLike
//===----------------------------------------------------------------------===//

/// The type of a TensorProto.DataType number, or null if we do not compute with it.
static Type typeOf(int64_t number, MLIRContext *context) {
  auto integer = [&](unsigned width,
                     IntegerType::SignednessSemantics sign = IntegerType::Signless) {
    return IntegerType::get(context, width, sign);
  };
  switch (static_cast<ElementType>(number)) {
  case ElementType::Float:
    return Float32Type::get(context);
  case ElementType::Double:
    return Float64Type::get(context);
  case ElementType::Float16:
    return Float16Type::get(context);
  case ElementType::BFloat16:
    return BFloat16Type::get(context);
  case ElementType::Float8E4M3FN:
    return Float8E4M3FNType::get(context);
  case ElementType::Float8E5M2:
    return Float8E5M2Type::get(context);
  case ElementType::Bool:
    return integer(1);
  case ElementType::Int8:
    return integer(8);
  case ElementType::Int16:
    return integer(16);
  case ElementType::Int32:
    return integer(32);
  case ElementType::Int64:
    return integer(64);
  case ElementType::UInt8:
    return integer(8, IntegerType::Unsigned);
  case ElementType::UInt16:
    return integer(16, IntegerType::Unsigned);
  case ElementType::UInt32:
    return integer(32, IntegerType::Unsigned);
  case ElementType::UInt64:
    return integer(64, IntegerType::Unsigned);
  default:
    return {};
  }
}

static FailureOr<Type> targetType(InferContext &ctx) {
  int64_t number = ctx.getInt("to", 0);
  if (number >= 0 && number <= std::numeric_limits<int32_t>::max())
    if (Type type = typeOf(number, ctx.getNode().getContext()))
      return type;
  std::string name = isKnownElementType(number)
                         ? getElementTypeName(static_cast<ElementType>(number)).str()
                         : "unknown";
  (void)ctx.error("attribute 'to' is " + Twine(number) + " (" + name +
                  "), expected a float type of 16 to 64 bits, FLOAT8E4M3FN, FLOAT8E5M2, an integer "
                  "type of 8 to 64 bits or bool");
  return failure();
}

static LogicalResult requireNumberOrBool(InferContext &ctx, unsigned i) {
  Type type = ctx.elementType(i);
  return isBool(type) || isFloat8(type) ? success() : requireNumber(ctx, i);
}

/// The result has the sizes of input 0 and that type.
static LogicalResult inferCastTo(InferContext &ctx, Type type) {
  if (failed(requireNumberOrBool(ctx, 0)))
    return failure();
  ctx.setResult(0, type, Dims(ctx.dims(0)));
  if (isa<FloatType>(ctx.elementType(0)))
    return success();
  inferElements(
      ctx,
      [&](ArrayRef<AffineExpr> args) {
        if (!isBool(type) || constantValue(args[0]))
          return args[0];
        std::optional<bool> isZero = knownEqual(ctx.facts, args[0], ctx.facts.constant(0));
        return isZero ? ctx.facts.constant(!*isZero) : AffineExpr();
      },
      /*numInputs=*/1);
  return success();
}

static LogicalResult inferCast(InferContext &ctx) {
  FailureOr<Type> type = targetType(ctx);
  return failed(type) ? failure() : inferCastTo(ctx, *type);
}

static LogicalResult inferCastLike(InferContext &ctx) {
  return failed(requireNumberOrBool(ctx, 1)) ? failure() : inferCastTo(ctx, ctx.elementType(1));
}

static LogicalResult lowerCast(LoweringContext &ctx) {
  TensorValue input = ctx.get(0);
  Type type = ctx.resultElementType(0);
  if (!isFloat8(type) || input.type == type || !ctx.getInt("saturate", 1)) {
    Value result = ctx.cast(input, type).value;
    auto made = result.getDefiningOp<linalg::GenericOp>();
    if (made && result != input.value)
      for (Operation &op : *made.getBody())
        if (isa<arith::TruncFOp>(op))
          op.setAttr(kCastAttr, ctx.b.getUnitAttr());
    ctx.set(0, result);
    return success();
  }
  // Infinities too become the largest number; NaN stays.
  auto largest = llvm::APFloat::getLargest(cast<FloatType>(type).getFloatSemantics());
  double bound = largest.convertToDouble();
  input = ctx.cast(input, ctx.b.getF32Type());
  TensorValue result =
      ctx.map({input}, input.dims, type, [&](ImplicitLocOpBuilder &b, ValueRange args) -> Value {
        Value low = realConstant(b, args[0].getType(), -bound);
        Value high = realConstant(b, args[0].getType(), bound);
        return arith::MaximumFOp::create(b, arith::MinimumFOp::create(b, args[0], high), low);
      });
  ctx.set(0, result.value);
  return success();
}

//===----------------------------------------------------------------------===//
// BitCast
//===----------------------------------------------------------------------===//

/// Bits of one element in memory: a bool takes a byte.
static unsigned storedWidth(Type type) { return storageType(type).getIntOrFloatBitWidth(); }

static LogicalResult inferBitCast(InferContext &ctx) {
  FailureOr<Type> type = targetType(ctx);
  if (failed(type) || failed(requireNumberOrBool(ctx, 0)))
    return failure();
  if (storedWidth(*type) != storedWidth(ctx.elementType(0)))
    return ctx.error("attribute 'to' names a type of " + Twine(storedWidth(*type)) +
                     " bits, expected " + Twine(storedWidth(ctx.elementType(0))) +
                     " bits, the width of input 0");
  ctx.setResult(0, *type, Dims(ctx.dims(0)));
  return success();
}

static LogicalResult lowerBitCast(LoweringContext &ctx) {
  TensorValue input = ctx.get(0);
  Type type = ctx.resultElementType(0);
  Type from = storageType(input.type), to = storageType(type);
  if (isBool(type) && !isBool(input.type)) {
    // A stored bool is 0 or 1.
    ctx.set(0, ctx.cast(input, type).value);
    return success();
  }
  if (from == to) {
    ctx.set(0, input.value);
    return success();
  }
  // On stored values: loading would widen f16 and bf16.
  int64_t rank = input.dims.size();
  Value init = ctx.empty(input.dims, type);
  SmallVector<AffineMap> maps(2, ctx.b.getMultiDimIdentityMap(rank));
  SmallVector<utils::IteratorType> iterators(rank, utils::IteratorType::parallel);
  auto generic = linalg::GenericOp::create(
      ctx.b, init.getType(), input.value, init, maps, iterators,
      [&](OpBuilder &builder, Location loc, ValueRange args) {
        linalg::YieldOp::create(builder, loc,
                                arith::BitcastOp::create(builder, loc, to, args[0]).getResult());
      });
  ctx.set(0, generic.getResult(0));
  return success();
}

//===----------------------------------------------------------------------===//
// Identity, Dropout
//===----------------------------------------------------------------------===//

static LogicalResult inferIdentity(InferContext &ctx) {
  ctx.setResult(0, ctx.elementType(0), Dims(ctx.dims(0)));
  if (auto elements = ctx.elements(0))
    ctx.setElements(0, Dims(*elements));
  return success();
}

static LogicalResult lowerIdentity(LoweringContext &ctx) {
  ctx.set(0, ctx.lowered(0));
  return success();
}

/// Inference only: the data, and a mask that is true everywhere. Before opset 10
/// the mask has the data's type.
static LogicalResult inferDropout(InferContext &ctx) {
  if (failed(requireReal(ctx, 0)))
    return failure();
  if (ctx.hasInput(2)) {
    if (failed(ctx.requireBool(2)))
      return failure();
    DenseElementsAttr training = ctx.constantInput(2);
    if (training && llvm::is_contained(training.getValues<bool>(), true))
      return ctx.error("input 2 (training_mode) is true, expected false: only inference is "
                       "supported");
    if (failed(ctx.requireRank(2, 0, 0)))
      return failure();
  }
  Dims dims(ctx.dims(0));
  Type maskType = ctx.version() < 10 ? ctx.elementType(0)
                                     : Type(IntegerType::get(ctx.getNode().getContext(), 1));
  ctx.setResult(0, ctx.elementType(0), dims);
  ctx.setResult(1, maskType, dims);
  return success();
}

static LogicalResult lowerDropout(LoweringContext &ctx) {
  if (ctx.hasInput(2) && !ctx.constantInput(2)) {
    Value yes = arith::ConstantOp::create(ctx.b, ctx.b.getBoolAttr(true));
    Value training = ctx.extract(ctx.get(2), {});
    ctx.check(arith::XOrIOp::create(ctx.b, training, yes),
              "input 2 (training_mode) is true, expected false");
  }
  if (ctx.hasOutput(0))
    ctx.set(0, ctx.lowered(0));
  if (ctx.hasOutput(1)) {
    Type type = ctx.resultElementType(1), scalar = computeType(type);
    Value one = isBool(type) ? intConstant(ctx.b, scalar, 1) : realConstant(ctx.b, scalar, 1);
    Dims dims(ctx.resultDims(1));
    ctx.set(1, ctx.filled(dims, type, one));
  }
  return success();
}

//===----------------------------------------------------------------------===//
// Clip
//===----------------------------------------------------------------------===//

/// Bounds as inputs 1 and 2: one number each.
static LogicalResult inferClip(InferContext &ctx) {
  if (failed(inferNumberUnary(ctx)))
    return failure();
  for (unsigned i : {1u, 2u}) {
    if (!ctx.hasInput(i))
      continue;
    if (failed(ctx.requireSameElementType(0, i)) || failed(ctx.requireRank(i, 0, 1)) ||
        (ctx.rank(i) == 1 && failed(ctx.requireEqual(ctx.dim(i, 0), ctx.facts.constant(1),
                                                     "size of bound " + Twine(i)))))
      return failure();
  }
  auto bound = [&](unsigned i) -> AffineExpr {
    auto known = ctx.elements(i);
    return known && known->size() == 1 ? (*known)[0] : AffineExpr();
  };
  std::optional<AffineExpr> low, high;
  if (ctx.hasInput(1))
    low = bound(1);
  if (ctx.hasInput(2))
    high = bound(2);
  inferElements(
      ctx,
      [&](ArrayRef<AffineExpr> args) {
        AffineExpr element = args[0];
        if (low)
          element = *low ? ctx.facts.max(element, *low) : AffineExpr();
        if (high && element)
          element = *high ? ctx.facts.min(element, *high) : AffineExpr();
        return element;
      },
      /*numInputs=*/1);
  return success();
}

/// Min(high, Max(x, low)); NaN stays NaN. A bound that is null does not bound.
static Value clip(ImplicitLocOpBuilder &b, Value x, Value low, Value high, bool isUnsigned) {
  bool real = isa<FloatType>(x.getType());
  if (low)
    x = real         ? Value(arith::MaximumFOp::create(b, x, low))
        : isUnsigned ? Value(arith::MaxUIOp::create(b, x, low))
                     : Value(arith::MaxSIOp::create(b, x, low));
  if (high)
    x = real         ? Value(arith::MinimumFOp::create(b, x, high))
        : isUnsigned ? Value(arith::MinUIOp::create(b, x, high))
                     : Value(arith::MinSIOp::create(b, x, high));
  return x;
}

static LogicalResult lowerClip(LoweringContext &ctx) {
  Type type = ctx.elementType(0);
  SmallVector<TensorValue> inputs = {ctx.get(0)};
  for (unsigned i : {1u, 2u}) {
    if (!ctx.hasInput(i))
      continue;
    TensorValue bound = ctx.get(i);
    if (!bound.dims.empty()) {
      AffineExpr one = ctx.facts.constant(1);
      ctx.checkEqual(bound.dims[0], one, "size of bound " + Twine(i));
      bound = ctx.make(bound.value, type, {one});
      if (ShapedType::isDynamic(cast<RankedTensorType>(bound.value.getType()).getDimSize(0)))
        bound = ctx.slice(bound, {ctx.b.getIndexAttr(0)}, {one});
      bound = ctx.reshape(bound, {});
    }
    inputs.push_back(bound);
  }
  bool hasLow = ctx.hasInput(1), hasHigh = ctx.hasInput(2);
  Dims dims(ctx.resultDims(0));
  TensorValue result = ctx.map(inputs, dims, type, [&](ImplicitLocOpBuilder &b, ValueRange args) {
    return clip(b, args[0], hasLow ? args[1] : Value(), hasHigh ? args[hasLow ? 2 : 1] : Value(),
                isUnsigned(type));
  });
  ctx.set(0, result.value);
  return success();
}

/// Bounds as attributes; one that is not given does not bound.
static LogicalResult lowerClipOfAttributes(LoweringContext &ctx) {
  Dims dims(ctx.resultDims(0));
  TensorValue result = ctx.map(
      {ctx.get(0)}, dims, ctx.elementType(0), [&](ImplicitLocOpBuilder &b, ValueRange args) {
        auto bound = [&](StringRef name) {
          return ctx.hasAttr(name) ? realConstant(b, args[0].getType(), ctx.getFloat(name, 0))
                                   : Value();
        };
        Value low = bound("min"), high = bound("max");
        return clip(b, args[0], low, high, /*isUnsigned=*/false);
      });
  ctx.set(0, result.value);
  return success();
}

//===----------------------------------------------------------------------===//
// Registration
//===----------------------------------------------------------------------===//

void ssm::onnx::registerConversionOperators(OperatorTable &table) {
  // round_mode matters for float8e8m0 only, which inference refuses.
  static constexpr AttrSpec to[] = {{"to", 'i', true}};
  static constexpr AttrSpec castAttrs[] = {
      {"to", 'i', true}, {"saturate", 'i'}, {"round_mode", 's'}};
  static constexpr AttrSpec castLikeAttrs[] = {{"saturate", 'i'}, {"round_mode", 's'}};
  static constexpr AttrSpec ratio[] = {{"ratio", 'f'}};
  static constexpr AttrSpec seed[] = {{"seed", 'i'}};
  static constexpr AttrSpec bounds[] = {{"min", 'f'}, {"max", 'f'}};

  table.add({"", "Cast", 6, 1, 1, 1, 1, castAttrs, inferCast, lowerCast});
  table.add({"", "CastLike", 15, 2, 2, 1, 1, castLikeAttrs, inferCastLike, lowerCast});
  table.add({"", "BitCast", 26, 1, 1, 1, 1, to, inferBitCast, lowerBitCast});
  table.add({"", "Identity", 1, 1, 1, 1, 1, {}, inferIdentity, lowerIdentity});
  table.add({"", "Dropout", 7, 1, 1, 1, 2, ratio, inferDropout, lowerDropout});
  table.add({"", "Dropout", 12, 1, 3, 1, 2, seed, inferDropout, lowerDropout});
  table.add({"", "Clip", 6, 1, 1, 1, 1, bounds, inferRealUnary, lowerClipOfAttributes});
  table.add({"", "Clip", 11, 1, 3, 1, 1, {}, inferClip, lowerClip});
}
