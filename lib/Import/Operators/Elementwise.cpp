//===- Elementwise.cpp - What the elementwise operators share -------------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "lib/Import/Operators/Elementwise.h"

#include "lib/Import/Operators/Families.h"

using namespace mlir;
using namespace ssm;
using namespace ssm::onnx;

void ssm::onnx::registerElementwiseOperators(OperatorTable &table) {
  registerArithmeticOperators(table);
  registerMathOperators(table);
  registerActivationOperators(table);
  registerLogicOperators(table);
  registerConversionOperators(table);
}

//===----------------------------------------------------------------------===//
// Types
//===----------------------------------------------------------------------===//

bool ssm::onnx::isRealType(Type type) {
  return isa<Float16Type, BFloat16Type, Float32Type, Float64Type>(type);
}

bool ssm::onnx::isNumberType(Type type) {
  if (auto integer = dyn_cast<IntegerType>(type))
    return llvm::is_contained({8u, 16u, 32u, 64u}, integer.getWidth());
  return isRealType(type);
}

static LogicalResult typeError(InferContext &ctx, unsigned i, StringRef expected) {
  std::string have;
  llvm::raw_string_ostream(have) << ctx.elementType(i);
  return ctx.error("input " + Twine(i) + " has element type " + have + ", expected " + expected);
}

LogicalResult ssm::onnx::requireReal(InferContext &ctx, unsigned i) {
  if (isRealType(ctx.elementType(i)))
    return success();
  return typeError(ctx, i, "f16, bf16, f32 or f64");
}

LogicalResult ssm::onnx::requireNumber(InferContext &ctx, unsigned i) {
  if (isNumberType(ctx.elementType(i)))
    return success();
  return typeError(ctx, i, "f16, bf16, f32, f64 or an integer of 8 to 64 bits");
}

Value ssm::onnx::realConstant(ImplicitLocOpBuilder &b, Type type, double value) {
  return arith::ConstantOp::create(b, b.getFloatAttr(type, value));
}

Value ssm::onnx::intConstant(ImplicitLocOpBuilder &b, Type type, int64_t value) {
  return arith::ConstantOp::create(b, b.getIntegerAttr(type, value));
}

Value ssm::onnx::zeroConstant(ImplicitLocOpBuilder &b, Type type) {
  return arith::ConstantOp::create(b, b.getZeroAttr(type));
}

//===----------------------------------------------------------------------===//
// Sizes and elements
//===----------------------------------------------------------------------===//

FailureOr<Dims> ssm::onnx::broadcastInputs(InferContext &ctx) {
  Dims result;
  for (unsigned i = 0; i < ctx.numInputs(); ++i) {
    if (!ctx.hasInput(i)) {
      (void)ctx.error("input " + Twine(i) + " is left out but required");
      return failure();
    }
    Dims dims(ctx.dims(i));
    if (i == 0) {
      result = dims;
      continue;
    }
    FailureOr<Dims> both = ctx.broadcast(result, dims);
    if (failed(both))
      return failure();
    result = *both;
  }
  return result;
}

AffineExpr ssm::onnx::fitElement(const ShapeFacts &facts, AffineExpr value, Type type) {
  auto integer = dyn_cast<IntegerType>(type);
  if (!value || !integer)
    return {};
  unsigned width = integer.getWidth();
  if (std::optional<int64_t> constant = constantValue(value)) {
    if (width == 1)
      return facts.constant(*constant != 0);
    if (width == 64)
      return integer.isUnsigned() && *constant < 0 ? AffineExpr() : value;
    APInt bits = APInt(64, *constant, /*isSigned=*/true).trunc(width);
    return facts.constant(integer.isUnsigned() ? static_cast<int64_t>(bits.getZExtValue())
                                               : bits.getSExtValue());
  }
  if (width == 64 && !integer.isUnsigned())
    return value;
  // A size fits into 32 bits where a model computes with it in 32 bits, a product
  // of sizes may not, and a value that may be negative wraps where unsigned.
  bool linear = width == 64 || (width == 32 && value.isPureAffine());
  return linear && facts.isNonNegative(value) ? value : AffineExpr();
}

void ssm::onnx::inferElements(InferContext &ctx,
                              llvm::function_ref<AffineExpr(ArrayRef<AffineExpr>)> combine,
                              std::optional<unsigned> numInputs) {
  if (!ctx.hasOutput(0))
    return;
  RankedTensorType type = ctx.outputType(0);
  if (!isa<IntegerType>(type.getElementType()) || type.getRank() > 1 || !type.hasStaticShape() ||
      type.getNumElements() > kMaxTrackedElements)
    return;
  SmallVector<Dims> operands;
  for (unsigned i = 0; i < numInputs.value_or(ctx.numInputs()); ++i) {
    auto elements = ctx.hasInput(i) ? ctx.elements(i) : std::nullopt;
    if (!elements)
      return;
    operands.emplace_back(*elements);
  }
  Dims result;
  for (int64_t n = 0; n < type.getNumElements(); ++n) {
    Dims args;
    for (const Dims &operand : operands)
      args.push_back(operand[operand.size() == 1 ? 0 : n]);
    result.push_back(fitElement(ctx.facts, combine(args), type.getElementType()));
  }
  if (llvm::any_of(result, [](AffineExpr expr) { return static_cast<bool>(expr); }))
    ctx.setElements(0, result);
}

std::optional<bool> ssm::onnx::knownLess(const ShapeFacts &facts, AffineExpr a, AffineExpr b) {
  if (auto ca = constantValue(a), cb = constantValue(b); ca && cb)
    return *ca < *cb;
  // a < b is b - a - 1 >= 0, its contrary is a - b >= 0.
  AffineExpr difference = facts.sub(a, b);
  if (difference && facts.isNonNegative(difference))
    return false;
  AffineExpr gap = facts.sub(facts.sub(b, a), facts.constant(1));
  if (gap && facts.isNonNegative(gap))
    return true;
  return std::nullopt;
}

std::optional<bool> ssm::onnx::knownEqual(const ShapeFacts &facts, AffineExpr a, AffineExpr b) {
  if (a == b)
    return true;
  if (knownLess(facts, a, b) == true || knownLess(facts, b, a) == true)
    return false;
  AffineExpr difference = facts.sub(a, b);
  if (auto constant = difference ? constantValue(difference) : std::nullopt)
    return *constant == 0;
  return std::nullopt;
}

LogicalResult ssm::onnx::inferRealUnary(InferContext &ctx) {
  if (failed(requireReal(ctx, 0)))
    return failure();
  ctx.setResult(0, ctx.elementType(0), Dims(ctx.dims(0)));
  return success();
}

LogicalResult ssm::onnx::inferNumberUnary(InferContext &ctx) {
  if (failed(requireNumber(ctx, 0)))
    return failure();
  ctx.setResult(0, ctx.elementType(0), Dims(ctx.dims(0)));
  return success();
}
