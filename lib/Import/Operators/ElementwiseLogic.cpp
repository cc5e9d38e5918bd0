//===- ElementwiseLogic.cpp - Comparisons, bool, bits, Where --------------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "lib/Import/Operators/Elementwise.h"

#include "mlir/Dialect/Math/IR/Math.h"

using namespace mlir;
using namespace ssm;
using namespace ssm::onnx;

//===----------------------------------------------------------------------===//
// Comparisons
//===----------------------------------------------------------------------===//

namespace {
enum class Comparison { Equal, Less, LessOrEqual, Greater, GreaterOrEqual };
} // namespace

/// What is known of a comparison without running it.
static std::optional<bool> knownComparison(const ShapeFacts &facts, Comparison comparison,
                                           AffineExpr a, AffineExpr b) {
  auto negated = [](std::optional<bool> value) {
    return value ? std::optional<bool>(!*value) : std::nullopt;
  };
  switch (comparison) {
  case Comparison::Equal:
    return knownEqual(facts, a, b);
  case Comparison::Less:
    return knownLess(facts, a, b);
  case Comparison::LessOrEqual:
    return negated(knownLess(facts, b, a));
  case Comparison::Greater:
    return knownLess(facts, b, a);
  case Comparison::GreaterOrEqual:
    return negated(knownLess(facts, a, b));
  }
  return std::nullopt;
}

template <Comparison Kind> static LogicalResult inferComparison(InferContext &ctx) {
  // Equal takes bool, the order of False and True is left to Cast.
  bool isBoolEqual = Kind == Comparison::Equal && isBool(ctx.elementType(0));
  if ((!isBoolEqual && failed(requireNumber(ctx, 0))) || failed(ctx.requireSameElementType(0, 1)))
    return failure();
  FailureOr<Dims> dims = broadcastInputs(ctx);
  if (failed(dims))
    return failure();
  ctx.setResult(0, IntegerType::get(ctx.getNode().getContext(), 1), *dims);
  inferElements(ctx, [&](ArrayRef<AffineExpr> args) {
    std::optional<bool> known = knownComparison(ctx.facts, Kind, args[0], args[1]);
    return known ? ctx.facts.constant(*known) : AffineExpr();
  });
  return success();
}

static Value compare(ImplicitLocOpBuilder &b, Comparison comparison, Value x, Value y,
                     bool isUnsigned) {
  if (isa<FloatType>(x.getType())) {
    arith::CmpFPredicate predicate =
        comparison == Comparison::Equal         ? arith::CmpFPredicate::OEQ
        : comparison == Comparison::Less        ? arith::CmpFPredicate::OLT
        : comparison == Comparison::LessOrEqual ? arith::CmpFPredicate::OLE
        : comparison == Comparison::Greater     ? arith::CmpFPredicate::OGT
                                                : arith::CmpFPredicate::OGE;
    return arith::CmpFOp::create(b, predicate, x, y);
  }
  using Predicate = arith::CmpIPredicate;
  auto pick = [&](Predicate ifSigned, Predicate ifUnsigned) {
    return isUnsigned ? ifUnsigned : ifSigned;
  };
  Predicate predicate = Predicate::eq;
  if (comparison == Comparison::Less)
    predicate = pick(Predicate::slt, Predicate::ult);
  else if (comparison == Comparison::LessOrEqual)
    predicate = pick(Predicate::sle, Predicate::ule);
  else if (comparison == Comparison::Greater)
    predicate = pick(Predicate::sgt, Predicate::ugt);
  else if (comparison == Comparison::GreaterOrEqual)
    predicate = pick(Predicate::sge, Predicate::uge);
  return arith::CmpIOp::create(b, predicate, x, y);
}

/// Maps the inputs, broadcast, to the result.
static LogicalResult lowerMap(LoweringContext &ctx,
                              llvm::function_ref<Value(ImplicitLocOpBuilder &, ValueRange)> body) {
  SmallVector<TensorValue> inputs;
  for (unsigned i = 0; i < ctx.numInputs(); ++i)
    inputs.push_back(ctx.get(i));
  Dims dims(ctx.resultDims(0));
  ctx.set(0, ctx.map(inputs, dims, ctx.resultElementType(0), body).value);
  return success();
}

template <Comparison Kind> static LogicalResult lowerComparison(LoweringContext &ctx) {
  bool unsignedType = isUnsigned(ctx.elementType(0));
  return lowerMap(ctx, [&](ImplicitLocOpBuilder &b, ValueRange args) {
    return compare(b, Kind, args[0], args[1], unsignedType);
  });
}

//===----------------------------------------------------------------------===//
// Bool and bits
//===----------------------------------------------------------------------===//

using BitFunction = int64_t (*)(int64_t, int64_t);
static int64_t bitAnd(int64_t a, int64_t b) { return a & b; }
static int64_t bitOr(int64_t a, int64_t b) { return a | b; }
static int64_t bitXor(int64_t a, int64_t b) { return a ^ b; }

/// Both inputs have one type: bool, or integers where `OnBits`.
template <bool OnBits> static LogicalResult requireLogic(InferContext &ctx) {
  if (failed(OnBits ? ctx.requireInteger(0) : ctx.requireBool(0)) ||
      (OnBits && failed(requireNumber(ctx, 0))))
    return failure();
  return ctx.numInputs() > 1 ? ctx.requireSameElementType(0, 1) : success();
}

template <BitFunction Function, bool OnBits> static LogicalResult inferBits(InferContext &ctx) {
  if (failed(requireLogic<OnBits>(ctx)))
    return failure();
  FailureOr<Dims> dims = broadcastInputs(ctx);
  if (failed(dims))
    return failure();
  ctx.setResult(0, ctx.elementType(0), *dims);
  inferElements(ctx, [&](ArrayRef<AffineExpr> args) {
    auto values = constantValues(args);
    return values ? ctx.facts.constant(Function((*values)[0], (*values)[1])) : AffineExpr();
  });
  return success();
}

template <typename Op> static LogicalResult lowerBits(LoweringContext &ctx) {
  return lowerMap(ctx, [](ImplicitLocOpBuilder &b, ValueRange args) -> Value {
    return Op::create(b, args[0], args[1]);
  });
}

template <bool OnBits> static LogicalResult inferNot(InferContext &ctx) {
  if (failed(requireLogic<OnBits>(ctx)))
    return failure();
  ctx.setResult(0, ctx.elementType(0), Dims(ctx.dims(0)));
  inferElements(ctx, [&](ArrayRef<AffineExpr> args) {
    std::optional<int64_t> value = constantValue(args[0]);
    return value ? ctx.facts.constant(OnBits ? ~*value : *value == 0) : AffineExpr();
  });
  return success();
}

static Value invert(ImplicitLocOpBuilder &b, Value x) {
  return arith::XOrIOp::create(b, x, intConstant(b, x.getType(), -1));
}

static LogicalResult inferBitShift(InferContext &ctx) {
  StringRef direction = ctx.getString("direction", "");
  if (direction != "LEFT" && direction != "RIGHT")
    return ctx.error("attribute 'direction' is '" + direction + "', expected 'LEFT' or 'RIGHT'");
  if (failed(requireLogic<true>(ctx)))
    return failure();
  FailureOr<Dims> dims = broadcastInputs(ctx);
  if (failed(dims))
    return failure();
  ctx.setResult(0, ctx.elementType(0), *dims);
  return success();
}

/// An amount that is negative or not below the width shifts everything out: what
/// stays is 0, or the sign of a signed number shifted right.
static LogicalResult lowerBitShift(LoweringContext &ctx) {
  bool left = ctx.getString("direction", "") == "LEFT";
  bool keepsSign = !left && !isUnsigned(ctx.elementType(0));
  return lowerMap(ctx, [&](ImplicitLocOpBuilder &b, ValueRange args) -> Value {
    Value x = args[0], amount = args[1];
    Type type = x.getType();
    int64_t width = type.getIntOrFloatBitWidth();
    Value last = intConstant(b, type, width - 1);
    Value inside = arith::CmpIOp::create(b, arith::CmpIPredicate::ule, amount, last);
    // Never shift by more than the width, which has no defined value.
    Value safe = arith::SelectOp::create(b, inside, amount, last);
    if (keepsSign)
      return arith::ShRSIOp::create(b, x, safe);
    Value shifted = left ? arith::ShLIOp::create(b, x, safe).getResult()
                         : arith::ShRUIOp::create(b, x, safe).getResult();
    return arith::SelectOp::create(b, inside, shifted, zeroConstant(b, type));
  });
}

//===----------------------------------------------------------------------===//
// IsNaN, IsInf
//===----------------------------------------------------------------------===//

static LogicalResult inferClassification(InferContext &ctx) {
  if (failed(requireReal(ctx, 0)))
    return failure();
  ctx.setResult(0, IntegerType::get(ctx.getNode().getContext(), 1), Dims(ctx.dims(0)));
  return success();
}

static Value isNaN(ImplicitLocOpBuilder &b, Value x) {
  return arith::CmpFOp::create(b, arith::CmpFPredicate::UNO, x, x);
}

static LogicalResult lowerIsInf(LoweringContext &ctx) {
  bool negative = ctx.getInt("detect_negative", 1), positive = ctx.getInt("detect_positive", 1);
  return lowerMap(ctx, [&](ImplicitLocOpBuilder &b, ValueRange args) -> Value {
    Value x = args[0];
    if (!negative && !positive)
      return arith::ConstantOp::create(b, b.getBoolAttr(false));
    double infinity = std::numeric_limits<double>::infinity();
    if (negative && positive)
      x = math::AbsFOp::create(b, x);
    Value wanted = realConstant(b, x.getType(), positive ? infinity : -infinity);
    return arith::CmpFOp::create(b, arith::CmpFPredicate::OEQ, x, wanted);
  });
}

//===----------------------------------------------------------------------===//
// Where
//===----------------------------------------------------------------------===//

static LogicalResult inferWhere(InferContext &ctx) {
  if (failed(ctx.requireBool(0)) ||
      (!isBool(ctx.elementType(1)) && failed(requireNumber(ctx, 1))) ||
      failed(ctx.requireSameElementType(1, 2)))
    return failure();
  FailureOr<Dims> dims = broadcastInputs(ctx);
  if (failed(dims))
    return failure();
  ctx.setResult(0, ctx.elementType(1), *dims);
  inferElements(ctx, [&](ArrayRef<AffineExpr> args) {
    if (args[1] == args[2])
      return args[1];
    std::optional<int64_t> condition = constantValue(args[0]);
    return !condition ? AffineExpr() : *condition ? args[1] : args[2];
  });
  return success();
}

static LogicalResult lowerWhere(LoweringContext &ctx) {
  return lowerMap(ctx, [](ImplicitLocOpBuilder &b, ValueRange args) -> Value {
    return arith::SelectOp::create(b, args[0], args[1], args[2]);
  });
}

//===----------------------------------------------------------------------===//
// Registration
//===----------------------------------------------------------------------===//

template <Comparison Kind>
static void addComparison(OperatorTable &table, StringRef name, int since) {
  table.add({"", name, since, 2, 2, 1, 1, {}, inferComparison<Kind>, lowerComparison<Kind>});
}

void ssm::onnx::registerLogicOperators(OperatorTable &table) {
  static constexpr AttrSpec direction[] = {{"direction", 's', true}};
  static constexpr AttrSpec infinities[] = {{"detect_negative", 'i'}, {"detect_positive", 'i'}};

  addComparison<Comparison::Equal>(table, "Equal", 7);
  addComparison<Comparison::Less>(table, "Less", 7);
  addComparison<Comparison::LessOrEqual>(table, "LessOrEqual", 12);
  addComparison<Comparison::Greater>(table, "Greater", 7);
  addComparison<Comparison::GreaterOrEqual>(table, "GreaterOrEqual", 12);

  auto binary = [&](StringRef name, int since, auto infer, auto lower) {
    table.add({"", name, since, 2, 2, 1, 1, {}, infer, lower});
  };
  binary("And", 7, inferBits<bitAnd, false>, lowerBits<arith::AndIOp>);
  binary("Or", 7, inferBits<bitOr, false>, lowerBits<arith::OrIOp>);
  binary("Xor", 7, inferBits<bitXor, false>, lowerBits<arith::XOrIOp>);
  binary("BitwiseAnd", 18, inferBits<bitAnd, true>, lowerBits<arith::AndIOp>);
  binary("BitwiseOr", 18, inferBits<bitOr, true>, lowerBits<arith::OrIOp>);
  binary("BitwiseXor", 18, inferBits<bitXor, true>, lowerBits<arith::XOrIOp>);
  table.add({"", "Not", 1, 1, 1, 1, 1, {}, inferNot<false>, lowerUnary<invert>});
  table.add({"", "BitwiseNot", 18, 1, 1, 1, 1, {}, inferNot<true>, lowerUnary<invert>});
  table.add({"", "BitShift", 11, 2, 2, 1, 1, direction, inferBitShift, lowerBitShift});
  table.add({"", "IsNaN", 9, 1, 1, 1, 1, {}, inferClassification, lowerUnary<isNaN>});
  table.add({"", "IsInf", 10, 1, 1, 1, 1, infinities, inferClassification, lowerIsInf});
  table.add({"", "Where", 9, 3, 3, 1, 1, {}, inferWhere, lowerWhere});
}
