//===- Loop.cpp - ONNX Loop -----------------------------------------------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A Loop becomes one of three forms:
//  - counted (scf.for) if the condition can never end it and carried values keep
//    their sizes;
//  - bounded (scf.while) if it has a limit but may end early: scan outputs get room
//    for all trips and are cut to the true count;
//  - growing, if the trip count is unknown or too large to make room for: an inner
//    scf.while fills buffers, an outer one doubles them, so that no step copies
//    what another wrote.
// Carried values whose sizes stay are updated in place; others get new memory.
//
// Where a model leaves the condition input out, the standard says that the body's
// condition is ignored, ONNX Runtime obeys it. We obey it: a body that computes a
// condition means it.
//
//===----------------------------------------------------------------------===//

#include "lib/Import/OperatorTable.h"
#include "lib/Import/Operators/ControlFlow.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Bufferization/IR/Bufferization.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

using namespace mlir;
using namespace ssm;
using namespace ssm::onnx;

//===----------------------------------------------------------------------===//
// Inference
//===----------------------------------------------------------------------===//

namespace {
/// Sizes and elements that hold before every step.
struct Invariant {
  Type elementType;
  Dims dims;
  std::optional<Dims> elements;
  llvm::SmallBitVector widenedDims, widenedElements;
};
} // namespace

/// Makes what differs between the steps unknown. Returns whether anything did.
static bool widen(ArrayRef<AffineExpr> next, Dims &now, llvm::SmallBitVector &widened,
                  llvm::function_ref<AffineExpr()> fresh) {
  bool changed = false;
  for (auto [i, expr] : llvm::enumerate(now)) {
    if (widened[i] || next[i] == expr)
      continue;
    widened.set(i);
    expr = fresh();
    changed = true;
  }
  return changed;
}

/// The condition before the first step, if it is known; true if it is left out.
static std::optional<int64_t> firstCondition(NodeReader &reader, const ShapeFacts &facts) {
  if (!reader.hasInput(1))
    return 1;
  auto elements = facts.elements(reader.input(1));
  return elements ? constantValue(elements->front()) : std::nullopt;
}

/// Whether the condition holds at first and after every step.
static bool isEndless(NodeReader &reader, const ShapeFacts &facts) {
  auto next = facts.elements(yieldedValues(*reader.getNode().getONNXRegion("body")).front());
  return firstCondition(reader, facts) == 1 && next && constantValue(next->front()) == 1;
}

static LogicalResult inferLoop(InferContext &ctx) {
  ShapeFacts &facts = ctx.facts;
  Region &body = *ctx.getNode().getONNXRegion("body");
  Block &block = body.front();
  unsigned numCarried = std::max(ctx.numInputs(), 2u) - 2;
  if (block.getNumArguments() != numCarried + 2)
    return ctx.error("graph 'body' has " + Twine(block.getNumArguments()) + " inputs, expected " +
                     Twine(numCarried + 2) +
                     ": the iteration number, the condition, the carried values");
  if (ctx.numOutputs() < numCarried)
    return ctx.error("has " + Twine(ctx.numOutputs()) + " outputs, expected at least the " +
                     Twine(numCarried) + " carried values");
  if (ctx.hasInput(0) && (failed(ctx.requireInteger(0)) || failed(requireOneElement(ctx, 0))))
    return failure();
  if (ctx.hasInput(1) && (failed(ctx.requireBool(1)) || failed(requireOneElement(ctx, 1))))
    return failure();

  SymbolMark mark(facts);
  SmallVector<Invariant> carried;
  for (unsigned i = 0; i < numCarried; ++i) {
    if (!ctx.hasInput(i + 2))
      return ctx.error("carried value " + Twine(i) + " is left out");
    Invariant value{ctx.elementType(i + 2), Dims(ctx.dims(i + 2)), std::nullopt, {}, {}};
    if (auto elements = ctx.elements(i + 2))
      value.elements = Dims(*elements);
    value.widenedDims.resize(value.dims.size());
    value.widenedElements.resize(value.elements ? value.elements->size() : 0);
    carried.push_back(std::move(value));
  }
  // Bodies declare the iteration number and the condition as scalars or with one
  // element.
  auto scalarDims = [&](unsigned i) {
    auto declared = dyn_cast<RankedTensorType>(block.getArgument(i).getType());
    return declared && declared.getRank() == 1 ? Dims{facts.constant(1)} : Dims();
  };
  AffineExpr iteration = facts.fresh();
  Type i64 = IntegerType::get(facts.getContext(), 64);
  Type i1 = IntegerType::get(facts.getContext(), 1);
  for (bool changed = true; changed;) {
    ctx.setArgument(block.getArgument(0), i64, scalarDims(0));
    facts.setElements(block.getArgument(0), {iteration});
    ctx.setArgument(block.getArgument(1), i1, scalarDims(1));
    // A step runs only if the condition holds.
    facts.setElements(block.getArgument(1), {facts.constant(1)});
    for (auto [i, value] : llvm::enumerate(carried)) {
      ctx.setArgument(block.getArgument(i + 2), value.elementType, value.dims);
      if (value.elements && facts.elements(block.getArgument(i + 2)))
        facts.setElements(block.getArgument(i + 2), *value.elements);
    }
    if (failed(ctx.inferRegion(body)) ||
        failed(checkYields(ctx, body, "body", ctx.numOutputs() + 1)))
      return failure();

    changed = false;
    OperandRange yields = yieldedValues(body);
    if (!cast<RankedTensorType>(yields[0].getType()).getElementType().isInteger(1))
      return ctx.error("the first output of graph 'body' is the condition, expected bool");
    for (AffineExpr dim : facts.dims(yields[0]))
      if (auto size = constantValue(dim); size && *size != 1)
        return ctx.error("the condition of graph 'body' has a size of " + Twine(*size) +
                         ", expected one element");
    for (auto [i, value] : llvm::enumerate(carried)) {
      auto type = cast<RankedTensorType>(yields[i + 1].getType());
      if (type.getElementType() != value.elementType)
        return ctx.error("carried value " + Twine(i) +
                         " has another element type after a step than before");
      if (type.getRank() != static_cast<int64_t>(value.dims.size()))
        return ctx.error("carried value " + Twine(i) + " has rank " + Twine(value.dims.size()) +
                         " before a step and " + Twine(type.getRank()) +
                         " after, expected the same rank");
      changed |= widen(facts.dims(yields[i + 1]), value.dims, value.widenedDims,
                       [&] { return facts.fresh(); });
      if (!value.elements)
        continue;
      auto elements = facts.elements(yields[i + 1]);
      Dims unknown(value.elements->size());
      bool same = elements && elements->size() == unknown.size();
      changed |= widen(same ? *elements : ArrayRef<AffineExpr>(unknown), *value.elements,
                       value.widenedElements, [&] { return facts.fresh(/*isSize=*/false); });
    }
  }

  OperandRange yields = yieldedValues(body);
  for (auto [i, value] : llvm::enumerate(carried)) {
    ctx.setResult(i, value.elementType, mark.outside(value.dims));
    if (value.elements)
      ctx.setElements(i, mark.outside(*value.elements));
  }
  AffineExpr count;
  if (firstCondition(ctx, facts) == 0) {
    count = facts.constant(0);
  } else if (isEndless(ctx, facts) && ctx.hasInput(0)) {
    if (auto trips = ctx.elements(0)) {
      auto constant = constantValue(trips->front());
      if (constant && *constant < 0)
        count = facts.constant(0);
      else if (facts.isNonNegative(trips->front()))
        count = trips->front();
    }
  }
  for (unsigned i = numCarried; i < ctx.numOutputs(); ++i) {
    Dims dims = mark.outside(facts.dims(yields[i + 1]));
    dims.insert(dims.begin(), count);
    ctx.setResult(i, cast<RankedTensorType>(yields[i + 1].getType()).getElementType(), dims);
  }
  return success();
}

//===----------------------------------------------------------------------===//
// Lowering
//===----------------------------------------------------------------------===//

namespace {
/// Scan outputs of a loop that may end early get room for all its trips if there
/// are at most so many (or as many as a size of some tensor).
constexpr int64_t kMaxBoundedTrips = 1 << 16;
/// Room that a growing scan output starts with.
constexpr int64_t kFirstCapacity = 16;

class LoopLowering {
public:
  explicit LoopLowering(LoweringContext &ctx)
      : ctx(ctx), b(ctx.b), body(*ctx.getNode().getONNXRegion("body")) {}

  LogicalResult run();

private:
  struct Carried {
    RankedTensorType type;
    bool fixed; // keeps its sizes
  };
  struct ScanOutput {
    Type elementType;
    RankedTensorType type;           // with the leading axis
    RankedTensorType sliceType;      // of one step
    SmallVector<OpFoldResult> sizes; // of one step
    bool probed;
  };
  /// What one step gives. `condition` is null if it can never end the loop.
  struct Step {
    Value condition;
    SmallVector<Value> carried, slices;
  };

  void describe();
  LogicalResult probeScanOutputs(Value runs);
  FailureOr<Step> buildStep(Value iteration, Value condition, ValueRange carried);
  /// The step, its carried values and slices stored: new carried values, buffers.
  FailureOr<Step> buildStored(Value iteration, Value condition, ValueRange carried,
                              ValueRange buffers);
  Value makeBuffer(const ScanOutput &scan, Value rows);
  Value smaller(Value a, Value c) { return b.createOrFold<arith::MinSIOp>(a, c); }

  LogicalResult lowerCounted();
  LogicalResult lowerBounded();
  LogicalResult lowerGrowing();
  FailureOr<scf::WhileOp> buildWhile(Value limit, ValueRange inits);
  void setResults(ValueRange carried, ValueRange buffers, Value count);

  LoweringContext &ctx;
  ImplicitLocOpBuilder &b;
  Region &body;
  SmallVector<Carried> carriedValues;
  SmallVector<ScanOutput> scanOutputs;
  SmallVector<Value> initial;
  Value trips;    // not negative; null if there is no limit
  Value entering; // the first condition; null if no condition can end the loop
};
} // namespace

void LoopLowering::describe() {
  Block &block = body.front();
  unsigned numCarried = block.getNumArguments() - 2;
  for (unsigned i = 0; i < numCarried; ++i) {
    Value arg = block.getArgument(i + 2);
    RankedTensorType type = storedType(ctx.facts.dims(arg), ctx.elementType(i + 2));
    Dims dims(ctx.facts.dims(arg));
    carriedValues.push_back({type, dims == ctx.dims(i + 2)});
    initial.push_back(castTo(b, b.getLoc(), ctx.lowered(i + 2), type));
  }
  OperandRange yields = yieldedValues(body);
  for (unsigned i = numCarried + 1; i < yields.size(); ++i) {
    auto type = cast<RankedTensorType>(yields[i].getType());
    ScanOutput scan;
    scan.elementType = type.getElementType();
    // Sizes that inference could not tell outside are unbound here.
    Dims dims(ctx.facts.dims(yields[i]));
    scan.probed = !llvm::all_of(dims, [&](AffineExpr dim) { return ctx.isBound(dim); });
    if (!scan.probed)
      scan.sizes = ctx.sizes(dims);
    scan.sliceType = storedType(dims, scan.elementType);
    SmallVector<int64_t> shape(scan.sliceType.getShape());
    shape.insert(shape.begin(), ShapedType::kDynamic);
    scan.type = RankedTensorType::get(shape, scan.sliceType.getElementType());
    scanOutputs.push_back(scan);
  }
}

FailureOr<LoopLowering::Step> LoopLowering::buildStep(Value iteration, Value condition,
                                                      ValueRange carried) {
  Block &block = body.front();
  Type i64 = b.getI64Type(), i1 = b.getI1Type();
  auto scalar = [&](unsigned arg, Value value, Type type) {
    Dims dims(ctx.facts.dims(block.getArgument(arg)));
    Value tensor = tensor::FromElementsOp::create(b, storedType(dims, type),
                                                  LoweringContext::store(b, value, type));
    return ctx.make(tensor, type, dims);
  };
  if (!condition)
    condition = arith::ConstantIntOp::create(b, i1, 1);
  SmallVector<TensorValue> args = {scalar(0, arith::IndexCastOp::create(b, i64, iteration), i64),
                                   scalar(1, condition, i1)};
  for (auto [i, value] : llvm::enumerate(carried))
    args.push_back(
        ctx.make(value, ctx.elementType(i + 2), ctx.facts.dims(block.getArgument(i + 2))));
  FailureOr<SmallVector<TensorValue>> yields = ctx.inlineRegion(b, body, args);
  if (failed(yields))
    return failure();
  Step step;
  if (entering) {
    const TensorValue &next = yields->front();
    for (AffineExpr dim : next.dims)
      if (!constantValue(dim))
        checkSizes(ctx, next.value, {b.getIndexAttr(1)}, "the loop's condition");
    SmallVector<Value> zeros(next.dims.size());
    for (Value &zero : zeros)
      zero = ctx.index(0);
    step.condition = ctx.extract(next, zeros);
  }
  for (size_t i = 1; i <= carriedValues.size(); ++i)
    step.carried.push_back((*yields)[i].value);
  for (size_t i = carriedValues.size() + 1; i < yields->size(); ++i)
    step.slices.push_back((*yields)[i].value);
  return step;
}

LogicalResult LoopLowering::probeScanOutputs(Value runs) {
  if (llvm::none_of(scanOutputs, [](const ScanOutput &scan) { return scan.probed; }))
    return success();
  FailureOr<SmallVector<SmallVector<Value>>> sizes =
      probeSizes(ctx, runs, [&]() -> FailureOr<SmallVector<Value>> {
        FailureOr<Step> step = buildStep(ctx.index(0), entering, initial);
        if (failed(step))
          return failure();
        return step->slices;
      });
  if (failed(sizes))
    return failure();
  for (auto [scan, found] : llvm::zip_equal(scanOutputs, *sizes)) {
    if (!scan.probed)
      continue;
    for (auto [axis, size] : llvm::enumerate(found))
      scan.sizes.push_back(scan.sliceType.isDynamicDim(axis)
                               ? OpFoldResult(size)
                               : b.getIndexAttr(scan.sliceType.getDimSize(axis)));
  }
  return success();
}

FailureOr<LoopLowering::Step> LoopLowering::buildStored(Value iteration, Value condition,
                                                        ValueRange carried, ValueRange buffers) {
  FailureOr<Step> step = buildStep(iteration, condition, carried);
  if (failed(step))
    return failure();
  for (auto [i, scan] : llvm::enumerate(scanOutputs)) {
    Value slice = step->slices[i];
    if (scan.probed)
      checkSizes(ctx, slice, scan.sizes, "scan output " + Twine(i));
    int64_t rank = scan.type.getRank();
    SmallVector<OpFoldResult> offsets(rank, b.getIndexAttr(0)), sizes(scan.sizes),
        strides(rank, b.getIndexAttr(1));
    offsets[0] = iteration;
    sizes.insert(sizes.begin(), b.getIndexAttr(1));
    step->slices[i] = tensor::InsertSliceOp::create(b, castTo(b, b.getLoc(), slice, scan.sliceType),
                                                    buffers[i], offsets, sizes, strides);
  }
  for (auto [next, now, value] : llvm::zip_equal(step->carried, carried, carriedValues)) {
    if (next == now)
      continue;
    next = castTo(b, b.getLoc(), next, value.type);
    if (value.fixed)
      next =
          bufferization::MaterializeInDestinationOp::create(b, value.type, next, now).getResult();
  }
  return step;
}

Value LoopLowering::makeBuffer(const ScanOutput &scan, Value rows) {
  SmallVector<OpFoldResult> sizes(scan.sizes);
  sizes.insert(sizes.begin(), rows);
  Value buffer = tensor::EmptyOp::create(b, sizes, scan.type.getElementType());
  return castTo(b, b.getLoc(), buffer, scan.type);
}

void LoopLowering::setResults(ValueRange carried, ValueRange buffers, Value count) {
  for (auto [i, value] : llvm::enumerate(carried))
    ctx.set(i, value);
  for (auto [i, buffer] : llvm::enumerate(buffers)) {
    const ScanOutput &scan = scanOutputs[i];
    Value result = buffer;
    if (count) {
      int64_t rank = scan.type.getRank();
      SmallVector<OpFoldResult> offsets(rank, b.getIndexAttr(0)), sizes(scan.sizes),
          strides(rank, b.getIndexAttr(1));
      sizes.insert(sizes.begin(), count);
      result = tensor::ExtractSliceOp::create(b, scan.type, buffer, offsets, sizes, strides);
    }
    ctx.set(carriedValues.size() + i, result);
  }
}

LogicalResult LoopLowering::lowerCounted() {
  SmallVector<Value> inits(initial);
  for (const ScanOutput &scan : scanOutputs)
    inits.push_back(makeBuffer(scan, trips));
  auto loop = scf::ForOp::create(b, ctx.index(0), trips, ctx.index(1), inits);
  {
    OpBuilder::InsertionGuard guard(b);
    Block *block = loop.getBody();
    if (!block->empty())
      block->back().erase();
    b.setInsertionPointToEnd(block);
    ValueRange args = loop.getRegionIterArgs();
    FailureOr<Step> step =
        buildStored(loop.getInductionVar(), Value(), args.take_front(initial.size()),
                    args.drop_front(initial.size()));
    if (failed(step))
      return failure();
    SmallVector<Value> yields(step->carried);
    llvm::append_range(yields, step->slices);
    scf::YieldOp::create(b, yields);
  }
  ValueRange results = loop.getResults();
  setResults(results.take_front(initial.size()), results.drop_front(initial.size()), Value());
  return success();
}

/// while (iteration < limit && condition) step; the values are the iteration
/// number, the condition if there is one, the carried values, the buffers.
FailureOr<scf::WhileOp> LoopLowering::buildWhile(Value limit, ValueRange inits) {
  SmallVector<Type> types(inits.getTypes());
  SmallVector<Location> locs(types.size(), b.getLoc());
  auto loop = scf::WhileOp::create(b, types, inits);
  OpBuilder::InsertionGuard guard(b);
  Block *before = b.createBlock(&loop.getBefore(), {}, types, locs);
  Value runs = entering ? Value(before->getArgument(1)) : Value();
  if (limit) {
    Value below =
        arith::CmpIOp::create(b, arith::CmpIPredicate::slt, before->getArgument(0), limit);
    runs = runs ? Value(arith::AndIOp::create(b, below, runs)) : below;
  }
  if (!runs)
    runs = arith::ConstantIntOp::create(b, b.getI1Type(), 1);
  scf::ConditionOp::create(b, runs, before->getArguments());

  Block *after = b.createBlock(&loop.getAfter(), {}, types, locs);
  ValueRange args = after->getArguments();
  Value iteration = args[0], condition = entering ? args[1] : Value();
  args = args.drop_front(entering ? 2 : 1);
  FailureOr<Step> step = buildStored(iteration, condition, args.take_front(initial.size()),
                                     args.drop_front(initial.size()));
  if (failed(step))
    return failure();
  SmallVector<Value> yields = {arith::AddIOp::create(b, iteration, ctx.index(1))};
  if (step->condition)
    yields.push_back(step->condition);
  llvm::append_range(yields, step->carried);
  llvm::append_range(yields, step->slices);
  scf::YieldOp::create(b, yields);
  return loop;
}

LogicalResult LoopLowering::lowerBounded() {
  SmallVector<Value> inits = {ctx.index(0)};
  if (entering)
    inits.push_back(entering);
  unsigned shift = inits.size();
  llvm::append_range(inits, initial);
  for (const ScanOutput &scan : scanOutputs)
    inits.push_back(makeBuffer(scan, trips));
  FailureOr<scf::WhileOp> loop = buildWhile(trips, inits);
  if (failed(loop))
    return failure();
  ValueRange results = loop->getResults().drop_front(shift);
  setResults(results.take_front(initial.size()), results.drop_front(initial.size()),
             loop->getResult(0));
  return success();
}

LogicalResult LoopLowering::lowerGrowing() {
  SmallVector<Value> inits = {ctx.index(0)};
  if (entering)
    inits.push_back(entering);
  unsigned shift = inits.size();
  llvm::append_range(inits, initial);
  for (const ScanOutput &scan : scanOutputs)
    inits.push_back(makeBuffer(scan, ctx.index(0)));
  SmallVector<Type> types = llvm::to_vector(ValueRange(inits).getTypes());
  SmallVector<Location> locs(types.size(), b.getLoc());

  // The inner loop leaves when it ends or when the buffers are full.
  auto outer = scf::WhileOp::create(b, types, inits);
  {
    OpBuilder::InsertionGuard guard(b);
    Block *before = b.createBlock(&outer.getBefore(), {}, types, locs);
    Value runs = entering ? Value(before->getArgument(1))
                          : Value(arith::ConstantIntOp::create(b, b.getI1Type(), 1));
    if (trips)
      runs = arith::AndIOp::create(
          b, runs,
          arith::CmpIOp::create(b, arith::CmpIPredicate::slt, before->getArgument(0), trips));
    scf::ConditionOp::create(b, runs, before->getArguments());

    Block *after = b.createBlock(&outer.getAfter(), {}, types, locs);
    SmallVector<Value> args(after->getArguments());
    Value rows = args[0];
    Value capacity = arith::MaxSIOp::create(b, arith::MulIOp::create(b, rows, ctx.index(2)),
                                            ctx.index(kFirstCapacity));
    if (trips)
      capacity = smaller(capacity, trips);
    for (auto [i, scan] : llvm::enumerate(scanOutputs)) {
      Value &buffer = args[shift + initial.size() + i];
      int64_t rank = scan.type.getRank();
      SmallVector<OpFoldResult> offsets(rank, b.getIndexAttr(0)), sizes(scan.sizes),
          strides(rank, b.getIndexAttr(1));
      sizes.insert(sizes.begin(), rows);
      Value full = tensor::ExtractSliceOp::create(b, scan.type, buffer, offsets, sizes, strides);
      buffer = tensor::InsertSliceOp::create(b, full, makeBuffer(scan, capacity), offsets, sizes,
                                             strides);
    }
    FailureOr<scf::WhileOp> inner = buildWhile(capacity, args);
    if (failed(inner))
      return failure();
    scf::YieldOp::create(b, inner->getResults());
  }
  ValueRange results = outer.getResults().drop_front(shift);
  setResults(results.take_front(initial.size()), results.drop_front(initial.size()),
             outer.getResult(0));
  return success();
}

LogicalResult LoopLowering::run() {
  describe();
  std::optional<AffineExpr> limit;
  if (ctx.hasInput(0)) {
    if (auto elements = ctx.elements(0)) {
      limit = elements->front();
      trips = ctx.size(*limit);
    } else {
      trips = arith::IndexCastOp::create(b, b.getIndexType(), oneElement(ctx, 0));
    }
    if (!limit || !ctx.facts.isNonNegative(*limit))
      trips = b.createOrFold<arith::MaxSIOp>(trips, ctx.index(0));
  }
  bool endless = isEndless(ctx, ctx.facts);
  if (!endless)
    entering = ctx.hasInput(1) ? oneElement(ctx, 1)
                               : Value(arith::ConstantIntOp::create(b, b.getI1Type(), 1));

  Value runs = entering ? entering : Value(arith::ConstantIntOp::create(b, b.getI1Type(), 1));
  if (trips)
    runs = arith::AndIOp::create(
        b, runs, arith::CmpIOp::create(b, arith::CmpIPredicate::sgt, trips, ctx.index(0)));
  if (failed(probeScanOutputs(runs)))
    return failure();

  // The canonicaliser takes the casts at the ends of an scf.for for the sizes of
  // all its steps, so only loops whose carried values keep their sizes may be one.
  if (trips && endless)
    return llvm::all_of(carriedValues, [](const Carried &value) { return value.fixed; })
               ? lowerCounted()
               : lowerBounded();
  auto constant = limit ? constantValue(*limit) : std::nullopt;
  bool roomForAll =
      limit && (constant ? *constant <= kMaxBoundedTrips : ctx.facts.isNonNegative(*limit));
  return roomForAll || scanOutputs.empty() ? lowerBounded() : lowerGrowing();
}

static LogicalResult lowerLoop(LoweringContext &ctx) { return LoopLowering(ctx).run(); }

static constexpr AttrSpec kLoopAttrs[] = {{"body", 'g', true}};

void ssm::onnx::registerLoopOperators(OperatorTable &table) {
  table.add({"", "Loop", 1, 0, kAnyNumber, 0, kAnyNumber, kLoopAttrs, inferLoop, lowerLoop});
}
