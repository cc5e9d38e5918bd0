//===- LoweringContext.cpp - Sizes, checks, subgraphs ---------------------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "lib/Import/LoweringContext.h"

#include "dialects/SSM/SSMOps.h"
#include "lib/Import/FunctionLowering.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

using namespace mlir;
using namespace ssm;
using namespace ssm::onnx;

Type ssm::onnx::storageType(Type type) {
  auto integer = dyn_cast<IntegerType>(type);
  if (!integer)
    return type;
  return IntegerType::get(type.getContext(), std::max(integer.getWidth(), 8u));
}

bool ssm::onnx::isFloat8(Type type) { return isa<Float8E4M3FNType, Float8E5M2Type>(type); }

Type ssm::onnx::computeType(Type type) {
  if (type.isF16() || type.isBF16() || isFloat8(type))
    return Float32Type::get(type.getContext());
  if (type.isInteger(1))
    return type;
  return storageType(type);
}

Type ssm::onnx::accumulatorType(Type type) {
  return isa<FloatType>(type) ? computeType(type) : type;
}

bool ssm::onnx::isUnsigned(Type type) { return type.isUnsignedInteger(); }
bool ssm::onnx::isBool(Type type) { return type.isInteger(1); }

LoweringContext::LoweringContext(NodeOp node, FunctionLowering &function, OpBuilder &builder)
    : NodeReader(node), b(node.getLoc(), builder), facts(function.facts), function(function) {}

//===----------------------------------------------------------------------===//
// Operands and results
//===----------------------------------------------------------------------===//

TensorValue LoweringContext::get(unsigned i) {
  return {function.getLowered(input(i)), elementType(i), Dims(dims(i))};
}

void LoweringContext::set(unsigned i, Value value) {
  if (!hasOutput(i))
    return;
  auto type =
      RankedTensorType::get(outputType(i).getShape(), storageType(outputType(i).getElementType()));
  if (value.getType() != type)
    value = tensor::CastOp::create(b, type, value);
  function.setLowered(output(i), value);
}

//===----------------------------------------------------------------------===//
// Sizes
//===----------------------------------------------------------------------===//

Value LoweringContext::index(int64_t value) { return arith::ConstantIndexOp::create(b, value); }

bool LoweringContext::isBound(AffineExpr expr) { return function.isBound(expr); }
void LoweringContext::bind(AffineExpr symbol, Value value) { function.bind(symbol, value); }

Value LoweringContext::size(AffineExpr expr) {
  if (auto constant = constantValue(expr))
    return index(*constant);
  if (isa<AffineSymbolExpr>(expr)) {
    Value value = function.symbolValue(expr, b);
    if (!value)
      value = derivedSize(expr);
    if (!value) {
      // Only an operator that forgets its duty gets here; the verifier would
      // crash on a null value, so say which one it is.
      (void)error("uses a size before it is known");
      return index(0);
    }
    return value;
  }
  auto binary = mlir::cast<AffineBinaryOpExpr>(expr);
  Value lhs = size(binary.getLHS()), rhs = size(binary.getRHS());
  bool nonNegative = facts.isNonNegative(binary.getLHS());
  switch (expr.getKind()) {
  case AffineExprKind::Add:
    return b.createOrFold<arith::AddIOp>(lhs, rhs);
  case AffineExprKind::Mul:
    return b.createOrFold<arith::MulIOp>(lhs, rhs);
  case AffineExprKind::FloorDiv:
    return nonNegative ? b.createOrFold<arith::DivSIOp>(lhs, rhs)
                       : b.createOrFold<arith::FloorDivSIOp>(lhs, rhs);
  case AffineExprKind::CeilDiv:
    return b.createOrFold<arith::CeilDivSIOp>(lhs, rhs);
  case AffineExprKind::Mod: {
    Value rem = b.createOrFold<arith::RemSIOp>(lhs, rhs);
    if (nonNegative)
      return rem;
    Value negative = b.createOrFold<arith::CmpIOp>(arith::CmpIPredicate::slt, rem, index(0));
    return b.createOrFold<arith::SelectOp>(negative, b.createOrFold<arith::AddIOp>(rem, rhs), rem);
  }
  default:
    llvm_unreachable("sizes have no affine dimensions");
  }
}

OpFoldResult LoweringContext::foldedSize(AffineExpr expr) {
  if (auto constant = constantValue(expr))
    return b.getIndexAttr(*constant);
  return size(expr);
}

SmallVector<OpFoldResult> LoweringContext::sizes(ArrayRef<AffineExpr> exprs) {
  return llvm::map_to_vector(exprs, [&](AffineExpr expr) { return foldedSize(expr); });
}

//===----------------------------------------------------------------------===//
// Checks
//===----------------------------------------------------------------------===//

LogicalResult LoweringContext::error(const Twine &message) {
  return emitError(getNode().getLoc()) << "node " << getNode().getNodeName() << ": " << message;
}

void LoweringContext::check(Value condition, const Twine &text, ValueRange values) {
  CheckOp::create(b, condition, values, b.getStringAttr(getNode().getNodeName()),
                  b.getStringAttr(text));
}

void LoweringContext::checkEqual(AffineExpr a, AffineExpr c, const Twine &what) {
  if (a == c)
    return;
  Value left = size(a), right = size(c);
  check(b.createOrFold<arith::CmpIOp>(arith::CmpIPredicate::eq, left, right),
        what + ": {0} and {1}, expected the same size", {left, right});
}

TensorValue LoweringContext::checkedIndices(const TensorValue &indices, AffineExpr size,
                                            const Twine &what) {
  Type i64 = b.getI64Type();
  TensorValue wide = indices.type == i64 ? indices : this->cast(indices, i64);
  Value bound = arith::IndexCastOp::create(b, i64, this->size(size));
  Value zero = arith::ConstantIntOp::create(b, i64, 0);
  Value minusOne = arith::ConstantIntOp::create(b, i64, -1);
  SmallVector<int64_t> axes = llvm::to_vector(llvm::seq<int64_t>(0, wide.dims.size()));
  // The starting values lie in range for every size, so no index is no error.
  TensorValue least =
      reduce(wide, axes, i64, zero, [](ImplicitLocOpBuilder &b, Value acc, Value element) -> Value {
        return arith::MinSIOp::create(b, acc, element);
      });
  TensorValue most = reduce(wide, axes, i64, minusOne,
                            [](ImplicitLocOpBuilder &b, Value acc, Value element) -> Value {
                              return arith::MaxSIOp::create(b, acc, element);
                            });
  Value low = extract(least, {}), high = extract(most, {});
  Value tooLow = arith::CmpIOp::create(b, arith::CmpIPredicate::slt, low,
                                       arith::SubIOp::create(b, zero, bound));
  Value tooHigh = arith::CmpIOp::create(b, arith::CmpIPredicate::sge, high, bound);
  Value bad = arith::OrIOp::create(b, tooLow, tooHigh);
  Value good = arith::XOrIOp::create(b, bad, arith::ConstantIntOp::create(b, b.getI1Type(), 1));
  Value culprit = arith::SelectOp::create(b, tooLow, low, high);
  CheckOp::create(b, good, ValueRange{culprit, bound}, b.getStringAttr(getNode().getNodeName()),
                  b.getStringAttr(what + " {0} is out of range for size {1}"),
                  /*of_indices=*/true);
  return map({wide}, wide.dims, i64, [&](ImplicitLocOpBuilder &b, ValueRange args) -> Value {
    Value negative = arith::CmpIOp::create(b, arith::CmpIPredicate::slt, args[0], zero);
    return arith::SelectOp::create(b, negative, arith::AddIOp::create(b, args[0], bound), args[0]);
  });
}

//===----------------------------------------------------------------------===//
// Subgraphs
//===----------------------------------------------------------------------===//

FailureOr<SmallVector<TensorValue>>
LoweringContext::inlineRegion(OpBuilder &builder, Region &region, ArrayRef<TensorValue> args) {
  FunctionLowering::Scope scope(function);
  Block &block = region.front();
  for (auto [arg, value] : llvm::zip_equal(block.getArguments(), args)) {
    auto graphType = mlir::cast<RankedTensorType>(arg.getType());
    auto type =
        RankedTensorType::get(graphType.getShape(), storageType(graphType.getElementType()));
    Value lowered = value.value;
    if (lowered.getType() != type)
      lowered = tensor::CastOp::create(builder, getNode().getLoc(), type, lowered);
    function.setLowered(arg, lowered);
  }
  if (failed(function.lowerBlock(block, builder)))
    return failure();
  SmallVector<TensorValue> results;
  for (Value yielded : block.getTerminator()->getOperands())
    results.push_back({function.getLowered(yielded),
                       mlir::cast<RankedTensorType>(yielded.getType()).getElementType(),
                       Dims(facts.dims(yielded))});
  return results;
}
