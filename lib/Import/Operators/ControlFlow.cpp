//===- ControlFlow.cpp - If, and what Loop and Scan share -----------------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "lib/Import/Operators/ControlFlow.h"

#include "lib/Import/OperatorTable.h"
#include "lib/Import/Operators/Families.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

using namespace mlir;
using namespace ssm;
using namespace ssm::onnx;

//===----------------------------------------------------------------------===//
// Shared
//===----------------------------------------------------------------------===//

bool SymbolMark::isLocal(AffineExpr expr) const {
  bool local = false;
  expr.walk([&](AffineExpr inner) {
    auto symbol = dyn_cast<AffineSymbolExpr>(inner);
    if (!symbol || symbol.getPosition() < first)
      return;
    const ShapeFacts::Derivation *how = facts.derivation(symbol);
    local |= !how || isLocal(how->lhs) || isLocal(how->rhs);
  });
  return local;
}

Dims SymbolMark::outside(ArrayRef<AffineExpr> exprs) const {
  return llvm::map_to_vector<4>(exprs, [&](AffineExpr expr) { return outside(expr); });
}

OperandRange ssm::onnx::yieldedValues(Region &region) {
  return region.front().getTerminator()->getOperands();
}

LogicalResult ssm::onnx::checkYields(InferContext &ctx, Region &region, StringRef name,
                                     size_t count) {
  OperandRange values = yieldedValues(region);
  if (values.size() != count)
    return ctx.error("graph '" + name + "' gives " + Twine(values.size()) + " values, expected " +
                     Twine(count));
  for (auto [i, value] : llvm::enumerate(values))
    if (!isa<RankedTensorType>(value.getType()))
      return ctx.error("output " + Twine(i) + " of graph '" + name +
                       "' is not a tensor of known rank");
  return success();
}

LogicalResult ssm::onnx::requireOneElement(InferContext &ctx, unsigned i) {
  for (AffineExpr dim : ctx.dims(i))
    if (auto size = constantValue(dim); size && *size != 1)
      return ctx.error("input " + Twine(i) + " has a size of " + Twine(*size) +
                       ", expected one element");
  return success();
}

Value ssm::onnx::oneElement(LoweringContext &ctx, unsigned i) {
  TensorValue tensor = ctx.get(i);
  for (AffineExpr dim : tensor.dims)
    ctx.checkEqual(dim, ctx.facts.constant(1), "size of input " + Twine(i));
  SmallVector<Value> zeros(tensor.dims.size());
  for (Value &zero : zeros)
    zero = ctx.index(0);
  return ctx.extract(tensor, zeros);
}

RankedTensorType ssm::onnx::storedType(ArrayRef<AffineExpr> dims, Type type) {
  return RankedTensorType::get(staticShape(dims), storageType(type));
}

Value ssm::onnx::castTo(OpBuilder &builder, Location loc, Value value, RankedTensorType type) {
  if (value.getType() == type)
    return value;
  return tensor::CastOp::create(builder, loc, type, value);
}

FailureOr<SmallVector<SmallVector<Value>>>
ssm::onnx::probeSizes(LoweringContext &ctx, Value runs,
                      llvm::function_ref<FailureOr<SmallVector<Value>>()> step) {
  ImplicitLocOpBuilder &b = ctx.b;
  // The number of sizes is known only after the step is built: build it in a
  // block of its own and give that to the operation.
  Region thenRegion;
  SmallVector<Value> sizes;
  SmallVector<int64_t> ranks;
  {
    OpBuilder::InsertionGuard guard(b);
    auto probe = scf::IfOp::create(b, TypeRange{}, runs, /*withElseRegion=*/false);
    b.setInsertionPointToStart(probe.thenBlock());
    FailureOr<SmallVector<Value>> values = step();
    if (failed(values))
      return failure();
    for (Value value : *values) {
      ranks.push_back(cast<RankedTensorType>(value.getType()).getRank());
      for (int64_t axis = 0; axis < ranks.back(); ++axis)
        sizes.push_back(tensor::DimOp::create(b, value, axis));
    }
    probe.thenYield()->setOperands(sizes);
    thenRegion.takeBody(probe.getThenRegion());
    probe.erase();
  }
  SmallVector<Type> types(sizes.size(), b.getIndexType());
  auto ifOp = scf::IfOp::create(b, types, runs, /*withElseRegion=*/true);
  ifOp.getThenRegion().takeBody(thenRegion);
  {
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointToStart(ifOp.elseBlock());
    SmallVector<Value> zeros(sizes.size());
    for (Value &zero : zeros)
      zero = ctx.index(0);
    scf::YieldOp::create(b, zeros);
  }
  SmallVector<SmallVector<Value>> result;
  ValueRange flat = ifOp.getResults();
  for (int64_t rank : ranks) {
    result.emplace_back(flat.take_front(rank));
    flat = flat.drop_front(rank);
  }
  return result;
}

void ssm::onnx::checkSizes(LoweringContext &ctx, Value tensor, ArrayRef<OpFoldResult> sizes,
                           const Twine &what) {
  ImplicitLocOpBuilder &b = ctx.b;
  auto type = cast<RankedTensorType>(tensor.getType());
  for (auto [axis, size] : llvm::enumerate(sizes)) {
    std::optional<int64_t> constant = getConstantIntValue(size);
    if (constant && type.getDimSize(axis) == *constant)
      continue;
    Value have = b.createOrFold<tensor::DimOp>(tensor, axis);
    Value want = getValueOrCreateConstantIndexOp(b, b.getLoc(), size);
    if (have == want)
      continue;
    ctx.check(b.createOrFold<arith::CmpIOp>(arith::CmpIPredicate::eq, have, want),
              what + ": size {0} of axis " + Twine(axis) + ", expected {1} as before",
              {have, want});
  }
}

//===----------------------------------------------------------------------===//
// If
//===----------------------------------------------------------------------===//

/// The branch that is taken whatever the inputs are, or null.
static Region *knownBranch(NodeReader &reader, const ShapeFacts &facts) {
  std::optional<int64_t> condition;
  if (auto elements = facts.elements(reader.input(0)); elements && elements->size() == 1)
    condition = constantValue(elements->front());
  if (DenseElementsAttr constant = reader.constantInput(0);
      !condition && constant && constant.getNumElements() == 1)
    condition = (*constant.getValues<APInt>().begin()).getBoolValue();
  if (!condition)
    return nullptr;
  return reader.getNode().getONNXRegion(*condition ? "then_branch" : "else_branch");
}

/// The sizes and elements of a value of a branch that is taken always: its local
/// symbols will be bound to the result, unless they are parts of expressions.
static Dims symbolsOrOutside(const SymbolMark &mark, ArrayRef<AffineExpr> exprs) {
  return llvm::map_to_vector<4>(exprs, [&](AffineExpr expr) {
    return isa<AffineSymbolExpr>(expr) ? expr : mark.outside(expr);
  });
}

static LogicalResult inferIf(InferContext &ctx) {
  NodeOp node = ctx.getNode();
  if (failed(ctx.requireBool(0)) || failed(requireOneElement(ctx, 0)))
    return failure();
  SymbolMark mark(ctx.facts);
  if (Region *taken = knownBranch(ctx, ctx.facts)) {
    StringRef name = taken == node.getONNXRegion("then_branch") ? "then_branch" : "else_branch";
    if (failed(ctx.inferRegion(*taken)) || failed(checkYields(ctx, *taken, name, ctx.numOutputs())))
      return failure();
    for (auto [i, value] : llvm::enumerate(yieldedValues(*taken))) {
      Dims dims = symbolsOrOutside(mark, ctx.facts.dims(value));
      std::optional<Dims> elements;
      if (auto known = ctx.facts.elements(value))
        elements = symbolsOrOutside(mark, *known);
      ctx.setResult(i, cast<RankedTensorType>(value.getType()).getElementType(), dims);
      if (elements)
        ctx.setElements(i, *elements);
    }
    return success();
  }

  Region &thenBranch = *node.getONNXRegion("then_branch");
  Region &elseBranch = *node.getONNXRegion("else_branch");
  if (failed(ctx.inferRegion(thenBranch)) || failed(ctx.inferRegion(elseBranch)) ||
      failed(checkYields(ctx, thenBranch, "then_branch", ctx.numOutputs())) ||
      failed(checkYields(ctx, elseBranch, "else_branch", ctx.numOutputs())))
    return failure();
  for (auto [i, thenValue, elseValue] :
       llvm::enumerate(yieldedValues(thenBranch), yieldedValues(elseBranch))) {
    auto thenType = cast<RankedTensorType>(thenValue.getType());
    auto elseType = cast<RankedTensorType>(elseValue.getType());
    if (thenType.getElementType() != elseType.getElementType())
      return ctx.error("branches give different element types for output " + Twine(i));
    if (thenType.getRank() != elseType.getRank())
      return ctx.error("branches give ranks " + Twine(thenType.getRank()) + " and " +
                       Twine(elseType.getRank()) + " for output " + Twine(i) +
                       ", expected the same rank");
    auto common = [&](ArrayRef<AffineExpr> left, ArrayRef<AffineExpr> right) {
      Dims result;
      for (auto [l, r] : llvm::zip_equal(left, right))
        result.push_back(l == r ? mark.outside(l) : AffineExpr());
      return result;
    };
    Dims thenDims(ctx.facts.dims(thenValue)), elseDims(ctx.facts.dims(elseValue));
    auto thenElements = ctx.facts.elements(thenValue);
    auto elseElements = ctx.facts.elements(elseValue);
    std::optional<Dims> elements;
    if (thenElements && elseElements && thenElements->size() == elseElements->size())
      elements = common(*thenElements, *elseElements);
    ctx.setResult(i, thenType.getElementType(), common(thenDims, elseDims));
    if (elements)
      ctx.setElements(i, *elements);
  }
  return success();
}

static LogicalResult lowerIf(LoweringContext &ctx) {
  ImplicitLocOpBuilder &b = ctx.b;
  NodeOp node = ctx.getNode();
  if (Region *taken = knownBranch(ctx, ctx.facts)) {
    FailureOr<SmallVector<TensorValue>> values = ctx.inlineRegion(b, *taken, {});
    if (failed(values))
      return failure();
    for (auto [i, value] : llvm::enumerate(*values))
      ctx.set(i, value.value);
    return success();
  }

  SmallVector<unsigned> wanted;
  SmallVector<Type> types;
  for (unsigned i = 0; i < ctx.numOutputs(); ++i)
    if (ctx.hasOutput(i)) {
      wanted.push_back(i);
      types.push_back(storedType(ctx.resultDims(i), ctx.resultElementType(i)));
    }
  auto ifOp = scf::IfOp::create(b, types, oneElement(ctx, 0), /*withElseRegion=*/true);
  auto fill = [&](Block *block, StringRef name) -> LogicalResult {
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointToStart(block);
    FailureOr<SmallVector<TensorValue>> values = ctx.inlineRegion(b, *node.getONNXRegion(name), {});
    if (failed(values))
      return failure();
    SmallVector<Value> yields;
    for (auto [i, type] : llvm::zip_equal(wanted, types))
      yields.push_back(castTo(b, b.getLoc(), (*values)[i].value, cast<RankedTensorType>(type)));
    if (block->empty() || !block->back().hasTrait<OpTrait::IsTerminator>())
      scf::YieldOp::create(b, yields);
    return success();
  };
  if (failed(fill(ifOp.thenBlock(), "then_branch")) ||
      failed(fill(ifOp.elseBlock(), "else_branch")))
    return failure();
  for (auto [i, result] : llvm::zip_equal(wanted, ifOp.getResults()))
    ctx.set(i, result);
  return success();
}

static constexpr AttrSpec kIfAttrs[] = {{"then_branch", 'g', true}, {"else_branch", 'g', true}};

void ssm::onnx::registerControlFlowOperators(OperatorTable &table) {
  table.add({"", "If", 1, 1, 1, 1, kAnyNumber, kIfAttrs, inferIf, lowerIf});
  registerLoopOperators(table);
  registerScanOperators(table);
}
