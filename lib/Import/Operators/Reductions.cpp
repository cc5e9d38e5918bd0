//===- Reductions.cpp - ReduceSum and its kin -----------------------------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A reduction over no elements gives the neutral element: 0 for sums, 1 for
// products, -inf or the least integer for Max, NaN for the mean of floats.
//
//===----------------------------------------------------------------------===//

#include "lib/Import/Operators/Reductions.h"
#include "lib/Import/InferContext.h"
#include "lib/Import/LoweringContext.h"
#include "lib/Import/OperatorTable.h"
#include "lib/Import/Operators/Families.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

using namespace mlir;
using namespace ssm;
using namespace ssm::onnx;

namespace {
enum class Reduction { Sum, Mean, Max, Min, Prod, L1, L2, LogSum, LogSumExp, SumSquare };

/// The axes as the node gives them, not brought into range. `known` is false if
/// only the run can tell.
struct GivenAxes {
  bool known = true;
  std::optional<SmallVector<int64_t>> axes;
};
} // namespace

static GivenAxes givenAxes(NodeReader &reader, const ShapeFacts &facts) {
  if (auto attr = reader.getInts("axes"))
    return {true, *attr};
  if (!reader.hasInput(1))
    return {true, std::nullopt};
  // No element is no axis, whatever the type holds.
  if (reader.inputType(1).hasStaticShape() && reader.inputType(1).getNumElements() == 0)
    return {true, SmallVector<int64_t>()};
  if (auto elements = facts.elements(reader.input(1)))
    if (auto constants = constantValues(*elements))
      return {true, *constants};
  return {false, std::nullopt};
}

/// Which axes are reduced, where that is known before the run.
static FailureOr<SmallVector<bool>> reducedAxes(InferContext &ctx, const GivenAxes &given) {
  int64_t rank = ctx.rank(0);
  if (!given.axes || given.axes->empty())
    return SmallVector<bool>(rank, ctx.getInt("noop_with_empty_axes", 0) == 0);
  SmallVector<bool> reduced(rank, false);
  for (int64_t axis : *given.axes) {
    FailureOr<int64_t> normal = ctx.normalizeAxis(axis, rank);
    if (failed(normal))
      return failure();
    if (reduced[*normal]) {
      (void)ctx.error("axis " + Twine(axis) + " is given twice");
      return failure();
    }
    reduced[*normal] = true;
  }
  return reduced;
}

//===----------------------------------------------------------------------===//
// Inference
//===----------------------------------------------------------------------===//

/// One step of a reduction of tracked integers, or null.
static AffineExpr fold(const ShapeFacts &facts, Reduction kind, AffineExpr acc,
                       AffineExpr element) {
  auto a = constantValue(acc), e = constantValue(element);
  switch (kind) {
  case Reduction::Sum:
  case Reduction::Mean:
    return facts.add(acc, element);
  case Reduction::Prod:
    return facts.mul(acc, element);
  case Reduction::Max:
    return acc == element ? acc : a && e ? facts.constant(std::max(*a, *e)) : AffineExpr();
  case Reduction::Min:
    return acc == element ? acc : a && e ? facts.constant(std::min(*a, *e)) : AffineExpr();
  default:
    return {};
  }
}

/// Elements of a vector that is reduced to one number.
static void trackElements(InferContext &ctx, Reduction kind, ArrayRef<bool> reduced) {
  auto elements = ctx.elements(0);
  if (!elements || elements->empty() || !ctx.elementType(0).isSignlessInteger(64))
    return;
  Dims values(*elements);
  if (reduced.size() == 1 && reduced[0]) {
    AffineExpr acc = values[0];
    for (AffineExpr element : ArrayRef(values).drop_front())
      acc = acc ? fold(ctx.facts, kind, acc, element) : AffineExpr();
    if (kind == Reduction::Mean)
      acc = ctx.facts.div(acc, ctx.facts.constant(values.size()));
    ctx.setElements(0, {acc});
  } else if (kind <= Reduction::Prod) {
    ctx.setElements(0, values);
  }
}

/// How many axes are reduced that only the run knows, if that is known.
static std::optional<int64_t> numRunTimeAxes(NodeReader &reader) {
  RankedTensorType type = reader.inputType(1);
  if (!type.hasStaticShape())
    return std::nullopt;
  return type.getNumElements();
}

/// Each set of axes that only the run knows is lowered: not more than so many.
static constexpr size_t kMaxAxisSets = 64;

/// The sets of axes, as bit masks, that the run may choose from.
static SmallVector<unsigned> axisSets(NodeReader &reader) {
  int64_t rank = reader.rank(0);
  std::optional<int64_t> count = numRunTimeAxes(reader);
  SmallVector<unsigned> sets;
  if (rank > 16)
    return sets;
  for (unsigned set = 0; set < (1u << rank); ++set)
    if (!count || llvm::popcount(set) == *count)
      sets.push_back(set);
  return sets;
}

static LogicalResult inferRunTimeAxes(InferContext &ctx) {
  int64_t rank = ctx.rank(0);
  std::optional<int64_t> count = numRunTimeAxes(ctx);
  bool keep = ctx.getInt("keepdims", 1) != 0;
  if (!keep && !count)
    return ctx.error("without keepdims the number of axes, input 1, must be known");
  if (count && *count > rank)
    return ctx.error("input 1 has " + Twine(*count) + " axes, expected at most " + Twine(rank) +
                     ", the rank of input 0");
  if (rank > 16 || axisSets(ctx).size() > kMaxAxisSets)
    return ctx.error("input 1, the axes, must be a constant for rank " + Twine(rank));
  ctx.setResult(0, ctx.elementType(0), Dims(keep ? rank : rank - *count));
  return success();
}

template <Reduction kind> static LogicalResult inferReduction(InferContext &ctx) {
  bool mayBeBool = kind == Reduction::Max || kind == Reduction::Min;
  Type type = ctx.elementType(0);
  if (isBool(type) && !mayBeBool)
    return ctx.error("input 0 has element type bool, expected numbers");
  if (ctx.hasInput(1) && (failed(ctx.requireInteger(1)) || failed(ctx.requireRank(1, 0, 1))))
    return failure();
  GivenAxes given = givenAxes(ctx, ctx.facts);
  if (!given.known)
    return inferRunTimeAxes(ctx);
  FailureOr<SmallVector<bool>> reduced = reducedAxes(ctx, given);
  if (failed(reduced))
    return failure();
  bool keep = ctx.getInt("keepdims", 1) != 0;
  Dims dims;
  for (auto [dim, gone] : llvm::zip_equal(ctx.dims(0), *reduced)) {
    if (!gone)
      dims.push_back(dim);
    else if (keep)
      dims.push_back(ctx.facts.constant(1));
  }
  ctx.setResult(0, type, dims);
  trackElements(ctx, kind, *reduced);
  return success();
}

//===----------------------------------------------------------------------===//
// Lowering
//===----------------------------------------------------------------------===//

TensorValue ssm::onnx::keepAxes(LoweringContext &ctx, const TensorValue &reduced,
                                ArrayRef<AffineExpr> dims, ArrayRef<int64_t> axes) {
  Dims kept(dims);
  for (int64_t axis : axes)
    kept[axis] = ctx.facts.constant(1);
  return ctx.reshape(reduced, kept);
}

AffineExpr ssm::onnx::countOver(LoweringContext &ctx, ArrayRef<AffineExpr> dims,
                                ArrayRef<int64_t> axes) {
  AffineExpr count = ctx.facts.constant(1);
  for (int64_t axis : axes) {
    AffineExpr product = ctx.facts.mul(count, dims[axis]);
    if (!product) {
      product = ctx.facts.fresh();
      ctx.bind(product, ctx.b.createOrFold<arith::MulIOp>(ctx.size(count), ctx.size(dims[axis])));
    }
    count = product;
  }
  return count;
}

Value ssm::onnx::floatConstant(ImplicitLocOpBuilder &b, Type type, double value) {
  return arith::ConstantOp::create(b, b.getFloatAttr(type, value));
}

Value ssm::onnx::floatSize(LoweringContext &ctx, AffineExpr size, Type type) {
  Value count = arith::IndexCastOp::create(ctx.b, ctx.b.getI64Type(), ctx.size(size));
  return arith::SIToFPOp::create(ctx.b, type, count);
}

TensorValue ssm::onnx::maxOver(LoweringContext &ctx, const TensorValue &input,
                               ArrayRef<int64_t> axes) {
  Type type = accumulatorType(input.type);
  Value least = floatConstant(ctx.b, type, -std::numeric_limits<double>::infinity());
  return ctx.reduce(input, axes, type, least,
                    [](ImplicitLocOpBuilder &b, Value acc, Value element) -> Value {
                      return arith::MaximumFOp::create(b, acc, element);
                    });
}

TensorValue ssm::onnx::sumOver(LoweringContext &ctx, const TensorValue &input,
                               ArrayRef<int64_t> axes,
                               llvm::function_ref<Value(ImplicitLocOpBuilder &, Value)> term) {
  Type type = accumulatorType(input.type);
  return ctx.reduce(input, axes, type, floatConstant(ctx.b, type, 0.0),
                    [&](ImplicitLocOpBuilder &b, Value acc, Value element) -> Value {
                      return arith::AddFOp::create(b, acc, term ? term(b, element) : element);
                    });
}

/// What a maximum is subtracted as: 0 where it is infinite, for inf - inf is NaN.
static Value finiteOrZero(ImplicitLocOpBuilder &b, Value value) {
  Type type = value.getType();
  Value magnitude = math::AbsFOp::create(b, value);
  Value infinite =
      arith::CmpFOp::create(b, arith::CmpFPredicate::OEQ, magnitude,
                            floatConstant(b, type, std::numeric_limits<double>::infinity()));
  return arith::SelectOp::create(b, infinite, floatConstant(b, type, 0.0), value);
}

static TensorValue lowerFloat(LoweringContext &ctx, Reduction kind, const TensorValue &input,
                              ArrayRef<int64_t> axes) {
  ImplicitLocOpBuilder &b = ctx.b;
  Type type = accumulatorType(input.type);
  auto square = [](ImplicitLocOpBuilder &b, Value x) -> Value {
    return arith::MulFOp::create(b, x, x);
  };
  auto after = [&](const TensorValue &value,
                   llvm::function_ref<Value(ImplicitLocOpBuilder &, Value)> body) {
    return ctx.map({value}, value.dims, value.type,
                   [&](ImplicitLocOpBuilder &b, ValueRange args) { return body(b, args[0]); });
  };
  auto log = [](ImplicitLocOpBuilder &b, Value x) -> Value { return math::LogOp::create(b, x); };
  switch (kind) {
  case Reduction::Sum:
    return sumOver(ctx, input, axes);
  case Reduction::Mean: {
    Value count = floatSize(ctx, countOver(ctx, input.dims, axes), type);
    return after(sumOver(ctx, input, axes), [&](ImplicitLocOpBuilder &b, Value x) -> Value {
      return arith::DivFOp::create(b, x, count);
    });
  }
  case Reduction::Max:
    return maxOver(ctx, input, axes);
  case Reduction::Min:
    return ctx.reduce(input, axes, type,
                      floatConstant(b, type, std::numeric_limits<double>::infinity()),
                      [](ImplicitLocOpBuilder &b, Value acc, Value element) -> Value {
                        return arith::MinimumFOp::create(b, acc, element);
                      });
  case Reduction::Prod:
    return ctx.reduce(input, axes, type, floatConstant(b, type, 1.0),
                      [](ImplicitLocOpBuilder &b, Value acc, Value element) -> Value {
                        return arith::MulFOp::create(b, acc, element);
                      });
  case Reduction::L1:
    return sumOver(ctx, input, axes, [](ImplicitLocOpBuilder &b, Value x) -> Value {
      return math::AbsFOp::create(b, x);
    });
  case Reduction::L2:
    return after(sumOver(ctx, input, axes, square), [](ImplicitLocOpBuilder &b, Value x) -> Value {
      return math::SqrtOp::create(b, x);
    });
  case Reduction::SumSquare:
    return sumOver(ctx, input, axes, square);
  case Reduction::LogSum:
    return after(sumOver(ctx, input, axes), log);
  case Reduction::LogSumExp: {
    TensorValue most = maxOver(ctx, input, axes);
    TensorValue shift = after(most, finiteOrZero);
    TensorValue kept = keepAxes(ctx, shift, input.dims, axes);
    TensorValue terms = ctx.map(
        {input, kept}, input.dims, type, [](ImplicitLocOpBuilder &b, ValueRange args) -> Value {
          return math::ExpOp::create(b, arith::SubFOp::create(b, args[0], args[1]));
        });
    TensorValue sum = sumOver(ctx, terms, axes);
    return ctx.map({sum, shift}, sum.dims, type,
                   [](ImplicitLocOpBuilder &b, ValueRange args) -> Value {
                     return arith::AddFOp::create(b, math::LogOp::create(b, args[0]), args[1]);
                   });
  }
  }
  llvm_unreachable("unknown reduction");
}

static TensorValue lowerInteger(LoweringContext &ctx, Reduction kind, const TensorValue &input,
                                ArrayRef<int64_t> axes) {
  ImplicitLocOpBuilder &b = ctx.b;
  Type type = input.type, compute = computeType(type);
  unsigned width = compute.getIntOrFloatBitWidth();
  bool isUnsignedType = isUnsigned(type) || isBool(type);
  auto constant = [&](const APInt &value) -> Value {
    return arith::ConstantOp::create(b, b.getIntegerAttr(compute, value));
  };
  auto reduce = [&](const APInt &init,
                    llvm::function_ref<Value(ImplicitLocOpBuilder &, Value, Value)> body) {
    return ctx.reduce(input, axes, type, constant(init), body);
  };
  switch (kind) {
  case Reduction::Sum:
    return reduce(APInt::getZero(width), [](ImplicitLocOpBuilder &b, Value acc, Value x) -> Value {
      return arith::AddIOp::create(b, acc, x);
    });
  case Reduction::Prod:
    return reduce(APInt(width, 1), [](ImplicitLocOpBuilder &b, Value acc, Value x) -> Value {
      return arith::MulIOp::create(b, acc, x);
    });
  case Reduction::Max:
    return reduce(isUnsignedType ? APInt::getZero(width) : APInt::getSignedMinValue(width),
                  [&](ImplicitLocOpBuilder &b, Value acc, Value x) -> Value {
                    return isUnsignedType ? Value(arith::MaxUIOp::create(b, acc, x))
                                          : Value(arith::MaxSIOp::create(b, acc, x));
                  });
  case Reduction::Min:
    return reduce(isUnsignedType ? APInt::getMaxValue(width) : APInt::getSignedMaxValue(width),
                  [&](ImplicitLocOpBuilder &b, Value acc, Value x) -> Value {
                    return isUnsignedType ? Value(arith::MinUIOp::create(b, acc, x))
                                          : Value(arith::MinSIOp::create(b, acc, x));
                  });
  case Reduction::L1:
    return reduce(APInt::getZero(width), [&](ImplicitLocOpBuilder &b, Value acc, Value x) -> Value {
      Value magnitude = isUnsignedType ? x : math::AbsIOp::create(b, x);
      return arith::AddIOp::create(b, acc, magnitude);
    });
  case Reduction::SumSquare:
    return reduce(APInt::getZero(width), [](ImplicitLocOpBuilder &b, Value acc, Value x) -> Value {
      return arith::AddIOp::create(b, acc, arith::MulIOp::create(b, x, x));
    });
  case Reduction::Mean: {
    // In 64 bits; the mean of nothing is 0, for there is no integer to say it.
    Type i64 = b.getI64Type();
    Type wide =
        isUnsigned(type) ? Type(IntegerType::get(b.getContext(), 64, IntegerType::Unsigned)) : i64;
    TensorValue sum =
        ctx.reduce(ctx.cast(input, wide), axes, wide, arith::ConstantIntOp::create(b, i64, 0),
                   [](ImplicitLocOpBuilder &b, Value acc, Value x) -> Value {
                     return arith::AddIOp::create(b, acc, x);
                   });
    Value count = arith::IndexCastOp::create(b, i64, ctx.size(countOver(ctx, input.dims, axes)));
    Value divisor = arith::MaxSIOp::create(b, count, arith::ConstantIntOp::create(b, i64, 1));
    TensorValue mean =
        ctx.map({sum}, sum.dims, wide, [&](ImplicitLocOpBuilder &b, ValueRange args) -> Value {
          return isUnsigned(type) ? Value(arith::DivUIOp::create(b, args[0], divisor))
                                  : Value(arith::DivSIOp::create(b, args[0], divisor));
        });
    return ctx.cast(mean, type);
  }
  case Reduction::L2:
  case Reduction::LogSum:
  case Reduction::LogSumExp:
    // Not defined on integers in any exact sense: in f64, cut as Cast cuts.
    return ctx.cast(lowerFloat(ctx, kind, ctx.cast(input, b.getF64Type()), axes), type);
  }
  llvm_unreachable("unknown reduction");
}

static TensorValue lowerOver(LoweringContext &ctx, Reduction kind, const TensorValue &input,
                             ArrayRef<int64_t> axes) {
  TensorValue result = isa<FloatType>(input.type) ? lowerFloat(ctx, kind, input, axes)
                                                  : lowerInteger(ctx, kind, input, axes);
  return ctx.cast(result, input.type);
}

namespace {
/// A reduction over axes that only the run knows: one of several reductions, chosen
/// by the set of axes.
struct RunTimeReduction {
  LoweringContext &ctx;
  Reduction kind;
  TensorValue input;
  bool keep;
  Value chosen; // the set, as an i64 bit mask
  RankedTensorType type;

  /// The set that input 1 holds.
  Value readSet() {
    ImplicitLocOpBuilder &b = ctx.b;
    Type i64 = b.getI64Type();
    int64_t rank = input.dims.size();
    TensorValue axes = ctx.get(1);
    if (axes.dims.empty())
      axes = ctx.reshape(axes, {ctx.facts.constant(1)});
    TensorValue checked = ctx.checkedIndices(axes, ctx.facts.constant(rank), "axis");
    auto constant = [&](int64_t value) -> Value {
      return arith::ConstantIntOp::create(b, i64, value);
    };
    Value one = constant(1);
    Value set = ctx.extract(
        ctx.reduce(checked, {0}, i64, constant(0),
                   [&](ImplicitLocOpBuilder &b, Value acc, Value axis) -> Value {
                     return arith::OrIOp::create(b, acc, arith::ShLIOp::create(b, one, axis));
                   }),
        {});
    // No axis is all axes, or none.
    if (ctx.getInt("noop_with_empty_axes", 0) != 0)
      return set;
    Value none =
        arith::CmpIOp::create(b, arith::CmpIPredicate::eq, ctx.size(axes.dims[0]), ctx.index(0));
    return arith::SelectOp::create(b, none, constant((int64_t(1) << rank) - 1), set);
  }

  Value reduceOver(unsigned set) {
    SmallVector<int64_t> axes;
    for (size_t axis = 0; axis < input.dims.size(); ++axis)
      if (set >> axis & 1)
        axes.push_back(axis);
    TensorValue result = lowerOver(ctx, kind, input, axes);
    if (keep)
      result = keepAxes(ctx, result, input.dims, axes);
    if (result.value.getType() == type)
      return result.value;
    return tensor::CastOp::create(ctx.b, type, result.value);
  }

  /// The reduction over the chosen one of `sets`; the last if it is none of them,
  /// which the caller checked.
  Value choose(ArrayRef<unsigned> sets) {
    if (sets.size() == 1)
      return reduceOver(sets.front());
    ImplicitLocOpBuilder &b = ctx.b;
    Value matches =
        arith::CmpIOp::create(b, arith::CmpIPredicate::eq, chosen,
                              arith::ConstantIntOp::create(b, b.getI64Type(), sets.front()));
    auto ifOp = scf::IfOp::create(b, type, matches, /*withElseRegion=*/true);
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointToStart(ifOp.thenBlock());
    scf::YieldOp::create(b, reduceOver(sets.front()));
    b.setInsertionPointToStart(ifOp.elseBlock());
    scf::YieldOp::create(b, choose(sets.drop_front()));
    return ifOp.getResult(0);
  }
};
} // namespace

static LogicalResult lowerRunTimeAxes(LoweringContext &ctx, Reduction kind) {
  ImplicitLocOpBuilder &b = ctx.b;
  RunTimeReduction reduction{ctx, kind, ctx.get(0), ctx.getInt("keepdims", 1) != 0, Value(), {}};
  SmallVector<int64_t> shape(ctx.resultDims(0).size(), ShapedType::kDynamic);
  reduction.type = RankedTensorType::get(shape, storageType(reduction.input.type));
  reduction.chosen = reduction.readSet();
  SmallVector<unsigned> sets = axisSets(ctx);
  if (std::optional<int64_t> count = numRunTimeAxes(ctx)) {
    Value have = math::CtPopOp::create(b, reduction.chosen);
    Value want = arith::ConstantIntOp::create(b, b.getI64Type(), *count);
    ctx.check(arith::CmpIOp::create(b, arith::CmpIPredicate::eq, have, want),
              "input 1 has {0} different axes, expected {1}", {have, want});
  }
  ctx.set(0, reduction.choose(sets));
  return success();
}

template <Reduction kind> static LogicalResult lowerReduction(LoweringContext &ctx) {
  InferContext reader(ctx.getNode(), ctx.facts);
  GivenAxes given = givenAxes(reader, ctx.facts);
  if (!given.known)
    return lowerRunTimeAxes(ctx, kind);
  FailureOr<SmallVector<bool>> reduced = reducedAxes(reader, given);
  if (failed(reduced))
    return failure();
  SmallVector<int64_t> axes;
  for (auto [axis, gone] : llvm::enumerate(*reduced))
    if (gone)
      axes.push_back(axis);
  TensorValue result = lowerOver(ctx, kind, ctx.get(0), axes);
  ctx.set(0, ctx.reshape(result, ctx.resultDims(0)).value);
  return success();
}

//===----------------------------------------------------------------------===//
// Registration
//===----------------------------------------------------------------------===//

static constexpr AttrSpec kAxesAttrs[] = {{"axes", 'I'}, {"keepdims", 'i'}};
static constexpr AttrSpec kInputAttrs[] = {{"keepdims", 'i'}, {"noop_with_empty_axes", 'i'}};

template <Reduction kind> static void add(OperatorTable &table, StringRef name) {
  int axesInputSince = kind == Reduction::Sum ? 13 : 18;
  table.add({"", name, 1, 1, 1, 1, 1, kAxesAttrs, inferReduction<kind>, lowerReduction<kind>});
  table.add({"", name, axesInputSince, 1, 2, 1, 1, kInputAttrs, inferReduction<kind>,
             lowerReduction<kind>});
}

void ssm::onnx::registerReductionOperators(OperatorTable &table) {
  add<Reduction::Sum>(table, "ReduceSum");
  add<Reduction::Mean>(table, "ReduceMean");
  add<Reduction::Max>(table, "ReduceMax");
  add<Reduction::Min>(table, "ReduceMin");
  add<Reduction::Prod>(table, "ReduceProd");
  add<Reduction::L1>(table, "ReduceL1");
  add<Reduction::L2>(table, "ReduceL2");
  add<Reduction::LogSum>(table, "ReduceLogSum");
  add<Reduction::LogSumExp>(table, "ReduceLogSumExp");
  add<Reduction::SumSquare>(table, "ReduceSumSquare");
  registerSoftmaxOperators(table);
}
