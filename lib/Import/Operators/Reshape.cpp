//===- Reshape.cpp - Reshape, Flatten, Squeeze, Unsqueeze, Expand, Tile ---===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "lib/Import/Operators/Layout.h"

#include "llvm/Support/MathExtras.h"
#include <numeric>

using namespace mlir;
using namespace ssm;
using namespace ssm::onnx;

//===----------------------------------------------------------------------===//
// Reshape
//===----------------------------------------------------------------------===//

namespace {
/// What the run has to find out about a result's size.
enum class ReshapeSize {
  Known,    ///< the expression that inference has
  Inferred, ///< -1: what is left of the elements
  Open      ///< an element that may yet be 0 (copy) or -1 (infer)
};

struct ReshapePlan {
  SmallVector<ReshapeSize> kinds;
  SmallVector<AffineExpr> elements; // of the shape input
  bool allowZero = false;
  int64_t inferred = -1; // the axis of the -1, if it is a constant
  bool anyOpen = false;
};
} // namespace

/// Reads the shape input. Its elements must be known to inference.
static ReshapePlan planReshape(NodeReader &ctx, const ShapeFacts &facts,
                               ArrayRef<AffineExpr> shape) {
  ReshapePlan plan;
  plan.allowZero = ctx.getInt("allowzero", 0) != 0;
  for (auto [axis, element] : llvm::enumerate(shape)) {
    plan.elements.push_back(element);
    if (constantValue(element) == -1) {
      plan.kinds.push_back(ReshapeSize::Inferred);
      plan.inferred = axis;
    } else if (facts.isNonNegative(element)) {
      // A size computed from sizes is meant as it is, also where it is 0: copying
      // the input's size then would contradict the number of elements.
      plan.kinds.push_back(ReshapeSize::Known);
    } else {
      plan.kinds.push_back(ReshapeSize::Open);
      plan.anyOpen = true;
    }
  }
  return plan;
}

/// Appends the factors of a product.
static void splitFactors(AffineExpr expr, SmallVectorImpl<AffineExpr> &factors, int64_t &scale) {
  if (auto constant = constantValue(expr)) {
    int64_t product;
    if (!llvm::MulOverflow(scale, *constant, product)) {
      scale = product;
      return;
    }
  }
  auto binary = dyn_cast<AffineBinaryOpExpr>(expr);
  if (binary && expr.getKind() == AffineExprKind::Mul) {
    splitFactors(binary.getLHS(), factors, scale);
    splitFactors(binary.getRHS(), factors, scale);
  } else {
    factors.push_back(expr);
  }
}

/// The factors of two products of sizes without those that both have.
static void cancelFactors(ArrayRef<AffineExpr> a, ArrayRef<AffineExpr> b, ShapeFacts &facts,
                          SmallVectorImpl<AffineExpr> &restA, SmallVectorImpl<AffineExpr> &restB) {
  int64_t scaleA = 1, scaleB = 1;
  for (AffineExpr expr : a)
    splitFactors(expr, restA, scaleA);
  for (AffineExpr expr : b)
    splitFactors(expr, restB, scaleB);
  for (auto it = restA.begin(); it != restA.end();) {
    auto same = llvm::find(restB, *it);
    if (same == restB.end()) {
      ++it;
      continue;
    }
    restB.erase(same);
    it = restA.erase(it);
  }
  int64_t common = std::gcd(scaleA, scaleB);
  if (common > 1) {
    scaleA /= common;
    scaleB /= common;
  }
  if (scaleA != 1)
    restA.push_back(facts.constant(scaleA));
  if (scaleB != 1)
    restB.push_back(facts.constant(scaleB));
}

static LogicalResult inferReshape(InferContext &ctx) {
  FailureOr<Dims> shape = requireElements(ctx, 1, "the shape");
  if (failed(shape) || failed(ctx.requireRank(1, 1, 1)))
    return failure();
  ReshapePlan plan = planReshape(ctx, ctx.facts, *shape);
  Dims input(ctx.dims(0)), dims, known;
  bool hasZero = false;
  for (auto [axis, element] : llvm::enumerate(*shape)) {
    auto value = constantValue(element);
    if (value && *value < -1)
      return ctx.error("the shape's element " + Twine(axis) + " is " + Twine(*value) +
                       ", expected a size, 0 or -1");
    if (value == -1 && plan.inferred != static_cast<int64_t>(axis))
      return ctx.error("the shape has -1 more than once");
    hasZero |= value == 0;
    if (value == 0 && !plan.allowZero) {
      if (axis >= input.size())
        return ctx.error("the shape's element " + Twine(axis) +
                         " is 0 and copies an axis that the input, of rank " + Twine(input.size()) +
                         ", does not have");
      element = input[axis];
    }
    dims.push_back(plan.kinds[axis] == ReshapeSize::Known ? element : AffineExpr());
    if (dims.back())
      known.push_back(dims.back());
  }
  if (hasZero && plan.allowZero && plan.inferred >= 0)
    return ctx.error("the shape has both 0 and -1, which allowzero forbids");

  SmallVector<AffineExpr> restInput, restKnown;
  cancelFactors(input, known, ctx.facts, restInput, restKnown);
  if (plan.inferred >= 0 && !plan.anyOpen) {
    AffineExpr left = ctx.facts.product(restInput), right = ctx.facts.product(restKnown);
    auto cl = constantValue(left), cr = constantValue(right);
    if (cr == 0)
      return ctx.error("the shape has -1 beside a size of 0, expected only one of them");
    if (cl && cr && *cl % *cr != 0)
      return ctx.error("the input's elements do not divide into the shape: " + Twine(*cl) +
                       " and " + Twine(*cr) + " are left");
    dims[plan.inferred] = ctx.facts.quotient(left, right);
  } else if (!plan.anyOpen) {
    auto left = constantValue(ctx.facts.product(restInput));
    auto right = constantValue(ctx.facts.product(restKnown));
    if (left && right && *left != *right)
      return ctx.error("the input has " + Twine(*left) + " elements where the shape has " +
                       Twine(*right) + ", common factors apart");
  }
  ctx.setResult(0, ctx.elementType(0), dims);
  passElements(ctx);
  return success();
}

/// Finds the sizes that inference left open, checks that the numbers of elements
/// agree. `dims` are the result's.
static void checkReshape(LoweringContext &ctx, const ReshapePlan &plan, ArrayRef<AffineExpr> dims) {
  auto &b = ctx.b;
  Dims input(ctx.dims(0));
  auto compare = [&](arith::CmpIPredicate predicate, Value a, Value c) {
    return b.createOrFold<arith::CmpIOp>(predicate, a, c);
  };
  auto select = [&](Value condition, Value a, Value c) {
    return b.createOrFold<arith::SelectOp>(condition, a, c);
  };
  if (!plan.anyOpen) {
    // Sizes are far from overflow; equal factors need no check.
    SmallVector<AffineExpr> left, right;
    cancelFactors(input, dims, ctx.facts, left, right);
    if (left.empty() && right.empty())
      return;
    if (plan.inferred >= 0 && !ctx.isBound(dims[plan.inferred])) {
      // Products too large for expressions.
      Dims others(dims);
      others.erase(others.begin() + plan.inferred);
      Value divisor = product(ctx, others);
      Value isZero = compare(arith::CmpIPredicate::eq, divisor, ctx.index(0));
      ctx.bind(dims[plan.inferred],
               b.createOrFold<arith::DivUIOp>(product(ctx, input),
                                              select(isZero, ctx.index(1), divisor)));
      left.assign(input.begin(), input.end());
      right.assign(dims.begin(), dims.end());
    }
    Value have = product(ctx, left), want = product(ctx, right);
    ctx.check(compare(arith::CmpIPredicate::eq, have, want),
              "the input has {0} elements where the shape has {1}, common factors apart",
              {have, want});
    return;
  }

  // Elements that came with the call: any of them may be 0, -1 or nonsense.
  Value zero = ctx.index(0), one = ctx.index(1), minusOne = ctx.index(-1);
  Value total = product(ctx, input);
  Value limit =
      select(compare(arith::CmpIPredicate::eq, total, zero), ctx.index(int64_t(1) << 40), total);
  SmallVector<Value> sizes;
  Value known = one, numInferred = zero, hasZero = compare(arith::CmpIPredicate::ne, zero, zero);
  for (auto [axis, kind] : llvm::enumerate(plan.kinds)) {
    Value size;
    if (kind == ReshapeSize::Known) {
      size = ctx.size(dims[axis]);
    } else if (kind == ReshapeSize::Inferred) {
      size = minusOne;
    } else {
      size = ctx.size(plan.elements[axis]);
      ctx.check(compare(arith::CmpIPredicate::sge, size, minusOne),
                "the shape's element " + Twine(axis) + " is {0}, expected a size, 0 or -1", size);
      if (!plan.allowZero) {
        Value isZero = compare(arith::CmpIPredicate::eq, size, zero);
        if (axis < input.size())
          size = select(isZero, ctx.size(input[axis]), size);
        else
          ctx.check(compare(arith::CmpIPredicate::ne, size, zero),
                    "the shape's element " + Twine(axis) +
                        " is 0 and copies an axis that the input does not have");
      }
    }
    sizes.push_back(size);
    Value isInferred = compare(arith::CmpIPredicate::eq, size, minusOne);
    numInferred = b.createOrFold<arith::AddIOp>(numInferred, select(isInferred, one, zero));
    Value isZero = compare(arith::CmpIPredicate::eq, size, zero);
    hasZero = b.createOrFold<arith::OrIOp>(hasZero, isZero);
    // A factor beyond the number of elements would only make the product overflow.
    Value factor = select(isInferred, one, size);
    Value fits =
        b.createOrFold<arith::OrIOp>(isZero, compare(arith::CmpIPredicate::ule, factor,
                                                     b.createOrFold<arith::DivUIOp>(limit, known)));
    ctx.check(fits,
              "the shape's element " + Twine(axis) +
                  " is {0}, too large for an input of {1} elements",
              {size, total});
    known = b.createOrFold<arith::MulIOp>(known, select(isZero, one, factor));
  }
  ctx.check(compare(arith::CmpIPredicate::ule, numInferred, one),
            "the shape has {0} sizes of -1, expected at most one", numInferred);
  known = select(hasZero, zero, known);
  Value isInferred = compare(arith::CmpIPredicate::eq, numInferred, one);
  // With a -1, `known` must divide the elements, and is never 0.
  Value bad = b.createOrFold<arith::AndIOp>(isInferred, hasZero);
  ctx.check(
      compare(arith::CmpIPredicate::eq, bad, arith::ConstantIntOp::create(b, b.getI1Type(), 0)),
      "the shape has -1 beside a size of 0, expected only one of them");
  Value divisor = select(hasZero, one, known);
  Value rest = b.createOrFold<arith::DivUIOp>(total, divisor);
  Value count = b.createOrFold<arith::MulIOp>(known, select(isInferred, rest, one));
  ctx.check(compare(arith::CmpIPredicate::eq, count, total),
            "the shape asks for {0} elements where the input has {1}", {count, total});
  for (auto [axis, kind] : llvm::enumerate(plan.kinds)) {
    if (kind == ReshapeSize::Known)
      continue;
    Value isRest = compare(arith::CmpIPredicate::eq, sizes[axis], minusOne);
    ctx.bind(dims[axis], select(isRest, rest, sizes[axis]));
  }
}

static LogicalResult lowerReshape(LoweringContext &ctx) {
  auto shape = ctx.elements(1);
  Dims dims(ctx.resultDims(0));
  if (shape) {
    checkReshape(ctx, planReshape(ctx, ctx.facts, Dims(*shape)), dims);
  } else {
    // A constant of a type that is not tracked: inference checked what it could.
    ReshapePlan known;
    for (AffineExpr dim : dims) {
      known.kinds.push_back(ReshapeSize::Known);
      known.elements.push_back(dim);
    }
    checkReshape(ctx, known, dims);
  }
  ctx.set(0, ctx.reshape(ctx.get(0), dims).value);
  return success();
}

//===----------------------------------------------------------------------===//
// Flatten, Squeeze, Unsqueeze
//===----------------------------------------------------------------------===//

/// Flatten's axis: rank itself is allowed.
static int64_t flattenAxis(NodeReader &ctx) {
  int64_t axis = ctx.getInt("axis", 1);
  return axis < 0 ? axis + ctx.rank(0) : axis;
}

static LogicalResult inferFlatten(InferContext &ctx) {
  int64_t axis = flattenAxis(ctx), rank = ctx.rank(0);
  if (axis < 0 || axis > rank)
    return ctx.error("axis " + Twine(ctx.getInt("axis", 1)) + " is out of range for rank " +
                     Twine(rank));
  Dims dims(ctx.dims(0));
  ArrayRef<AffineExpr> all(dims);
  ctx.setResult(0, ctx.elementType(0),
                {ctx.facts.product(all.take_front(axis)), ctx.facts.product(all.drop_front(axis))});
  return success();
}

static LogicalResult lowerFlatten(LoweringContext &ctx) {
  Dims input(ctx.dims(0)), dims(ctx.resultDims(0));
  ArrayRef<AffineExpr> all(input);
  bindProduct(ctx, dims[0], all.take_front(flattenAxis(ctx)));
  bindProduct(ctx, dims[1], all.drop_front(flattenAxis(ctx)));
  ctx.set(0, ctx.reshape(ctx.get(0), dims).value);
  return success();
}

/// The axes of a Squeeze or Unsqueeze, by attribute or input; nothing if they are
/// not given or only the run knows them.
static std::optional<SmallVector<int64_t>> givenAxes(InferContext &ctx) {
  if (auto attr = ctx.getInts("axes"))
    return attr;
  return ctx.hasInput(1) ? ctx.constantInts(1) : std::nullopt;
}

/// A Squeeze without axes, or with an empty list of them, drops what has size 1.
static bool squeezesOnes(InferContext &ctx) {
  auto axes = givenAxes(ctx);
  return axes ? axes->empty() : !ctx.hasInput(1);
}

static LogicalResult inferSqueeze(InferContext &ctx) {
  int64_t rank = ctx.rank(0);
  Dims dims;
  if (!isKnown(ctx, 1)) {
    auto count = requireCount(ctx, 1, "axes");
    if (failed(count))
      return failure();
    if (*count > rank)
      return ctx.error("axes has " + Twine(*count) + " elements for rank " + Twine(rank));
    ctx.setResult(0, ctx.elementType(0), Dims(rank - *count));
    passElements(ctx);
    return success();
  }
  bool onlyOnes = squeezesOnes(ctx);
  auto axes = requireAxes(ctx, givenAxes(ctx).value_or(SmallVector<int64_t>()), rank);
  if (failed(axes))
    return failure();
  for (auto [axis, dim] : llvm::enumerate(ctx.dims(0))) {
    auto size = constantValue(dim);
    if (!llvm::is_contained(*axes, axis)) {
      if (!onlyOnes || size != 1)
        dims.push_back(dim);
    } else if (size && *size != 1) {
      return ctx.error("axis " + Twine(axis) + " has size " + Twine(*size) +
                       ", expected 1 to squeeze it");
    }
  }
  ctx.setResult(0, ctx.elementType(0), dims);
  passElements(ctx);
  return success();
}

/// `value`, or one more if the condition holds.
static Value stepIf(LoweringContext &ctx, Value condition, Value value) {
  Value next = arith::AddIOp::create(ctx.b, value, ctx.index(1));
  return arith::SelectOp::create(ctx.b, condition, next, value);
}

static LogicalResult lowerSqueeze(LoweringContext &ctx) {
  auto &b = ctx.b;
  InferContext infer(ctx.getNode(), ctx.facts);
  Dims input(ctx.dims(0)), dims(ctx.resultDims(0));
  TensorValue value = ctx.get(0);
  auto checkOne = [&](Value condition, int64_t axis, Value size) {
    Value one = arith::CmpIOp::create(b, arith::CmpIPredicate::eq, size, ctx.index(1));
    ctx.check(condition ? Value(arith::OrIOp::create(b, one, condition)) : one,
              "axis " + Twine(axis) + " has size {0}, expected 1 to squeeze it", size);
  };
  if (!isKnown(infer, 1)) {
    SmallVector<Value> axes = axesInput(ctx, 1, input.size());
    SmallVector<Value> sizes(dims.size(), ctx.index(1));
    Value place = ctx.index(0);
    for (auto [axis, dim] : llvm::enumerate(input)) {
      Value size = ctx.size(dim), drops = isOneOf(b, axes, axis);
      Value keeps =
          arith::XOrIOp::create(b, drops, arith::ConstantIntOp::create(b, b.getI1Type(), 1));
      checkOne(keeps, axis, size);
      for (auto [i, result] : llvm::enumerate(sizes)) {
        Value here = arith::AndIOp::create(b, keeps, isOneOf(b, place, i));
        result = arith::SelectOp::create(b, here, size, result);
      }
      place = stepIf(ctx, keeps, place);
    }
    for (auto [dim, size] : llvm::zip_equal(dims, sizes))
      ctx.bind(dim, size);
  } else {
    bool onlyOnes = squeezesOnes(infer);
    auto axes = requireAxes(infer, givenAxes(infer).value_or(SmallVector<int64_t>()), input.size());
    for (auto [axis, dim] : llvm::enumerate(input)) {
      if (constantValue(dim))
        continue;
      Value size = ctx.size(dim);
      if (llvm::is_contained(*axes, axis)) {
        checkOne(Value(), axis, size);
        // One element of it, so that no size of data's making is left.
        Dims first = value.dims;
        first[axis] = ctx.facts.constant(1);
        SmallVector<OpFoldResult> offsets(first.size(), b.getIndexAttr(0));
        value = ctx.slice(value, offsets, first);
      } else if (onlyOnes)
        // The rank would change with the call.
        ctx.check(arith::CmpIOp::create(b, arith::CmpIPredicate::ne, size, ctx.index(1)),
                  "axis " + Twine(axis) +
                      " has size {0}, expected another one where 'axes' is not given",
                  size);
    }
  }
  ctx.set(0, ctx.reshape(value, dims).value);
  return success();
}

static LogicalResult inferUnsqueeze(InferContext &ctx) {
  if (!isKnown(ctx, 1)) {
    auto count = requireCount(ctx, 1, "axes");
    if (failed(count))
      return failure();
    ctx.setResult(0, ctx.elementType(0), Dims(ctx.rank(0) + *count));
    passElements(ctx);
    return success();
  }
  SmallVector<int64_t> axes = *givenAxes(ctx);
  int64_t rank = ctx.rank(0) + axes.size();
  auto normal = requireAxes(ctx, axes, rank);
  if (failed(normal))
    return failure();
  Dims input(ctx.dims(0)), dims;
  for (int64_t axis = 0, next = 0; axis < rank; ++axis)
    dims.push_back(llvm::is_contained(*normal, axis) ? ctx.facts.constant(1) : input[next++]);
  ctx.setResult(0, ctx.elementType(0), dims);
  passElements(ctx);
  return success();
}

static LogicalResult lowerUnsqueeze(LoweringContext &ctx) {
  InferContext infer(ctx.getNode(), ctx.facts);
  Dims input(ctx.dims(0)), dims(ctx.resultDims(0));
  if (!isKnown(infer, 1)) {
    SmallVector<Value> axes = axesInput(ctx, 1, dims.size());
    Value place = ctx.index(0);
    for (auto [axis, dim] : llvm::enumerate(dims)) {
      Value size = ctx.index(1);
      for (auto [i, from] : llvm::enumerate(input))
        size = arith::SelectOp::create(ctx.b, isOneOf(ctx.b, place, i), ctx.size(from), size);
      Value isNew = isOneOf(ctx.b, axes, axis);
      ctx.bind(dim, arith::SelectOp::create(ctx.b, isNew, ctx.index(1), size));
      place = stepIf(ctx,
                     arith::XOrIOp::create(
                         ctx.b, isNew, arith::ConstantIntOp::create(ctx.b, ctx.b.getI1Type(), 1)),
                     place);
    }
  }
  ctx.set(0, ctx.reshape(ctx.get(0), dims).value);
  return success();
}

//===----------------------------------------------------------------------===//
// Expand, Tile
//===----------------------------------------------------------------------===//

static LogicalResult inferExpand(InferContext &ctx) {
  FailureOr<Dims> shape = requireElements(ctx, 1, "the shape");
  if (failed(shape))
    return failure();
  Dims input(ctx.dims(0)), dims;
  int64_t rank = std::max(input.size(), shape->size());
  for (int64_t axis = 0; axis < rank; ++axis) {
    int64_t own = axis - (rank - static_cast<int64_t>(input.size()));
    int64_t other = axis - (rank - static_cast<int64_t>(shape->size()));
    AffineExpr dim = own < 0 ? ctx.facts.constant(1) : input[own];
    if (other >= 0) {
      auto size = requireSize(ctx, (*shape)[other], "the shape's element " + Twine(other));
      if (failed(size))
        return failure();
      auto have = constantValue(dim), want = constantValue(*size);
      if (have && want && *have != *want && *have != 1 && *want != 1)
        return ctx.error("size " + Twine(*have) + " of axis " + Twine(own) +
                         " does not broadcast to " + Twine(*want));
      dim = ctx.facts.broadcastSize(dim, *size);
    }
    dims.push_back(dim);
  }
  ctx.setResult(0, ctx.elementType(0), dims);
  auto known = ctx.elements(0);
  auto count = constantValue(ctx.facts.product(dims));
  if (known && known->size() == 1 && count && *count <= kMaxTrackedElements)
    ctx.setElements(0, Dims(*count, (*known)[0]));
  else if (known && count == static_cast<int64_t>(known->size()))
    passElements(ctx);
  return success();
}

static LogicalResult lowerExpand(LoweringContext &ctx) {
  Dims dims(ctx.resultDims(0));
  if (auto elements = ctx.elements(1)) {
    Dims shape(*elements);
    int64_t shift = dims.size() - shape.size();
    for (auto [i, element] : llvm::enumerate(shape)) {
      AffineExpr dim = dims[shift + i];
      if (element == dim || constantValue(element))
        continue;
      Value want = ctx.size(element), have = ctx.size(dim);
      Value same = arith::CmpIOp::create(ctx.b, arith::CmpIPredicate::eq, want, have);
      Value one = arith::CmpIOp::create(ctx.b, arith::CmpIPredicate::eq, want, ctx.index(1));
      ctx.check(arith::OrIOp::create(ctx.b, same, one),
                "the shape's element " + Twine(i) + " is {0}, which the size {1} does not " +
                    "broadcast to",
                {want, have});
    }
    checkCount(ctx, shape, dims);
  }
  ctx.set(0, ctx.expand(ctx.get(0), dims).value);
  return success();
}

static LogicalResult inferTile(InferContext &ctx) {
  FailureOr<Dims> repeats = requireElements(ctx, 1, "repeats");
  if (failed(repeats))
    return failure();
  Dims input(ctx.dims(0)), dims;
  if (repeats->size() != input.size())
    return ctx.error("repeats has " + Twine(repeats->size()) +
                     " elements, expected one for each of " + Twine(input.size()) + " axes");
  for (auto [axis, repeat] : llvm::enumerate(*repeats)) {
    auto count = requireSize(ctx, repeat, "repeat " + Twine(axis));
    if (failed(count))
      return failure();
    dims.push_back(ctx.facts.mul(input[axis], *count));
  }
  ctx.setResult(0, ctx.elementType(0), dims);
  auto known = ctx.elements(0);
  auto count = constantValue(ctx.facts.product(dims));
  if (known && !known->empty() && count && *count <= kMaxTrackedElements) {
    Dims elements;
    for (int64_t i = 0; i < *count; ++i)
      elements.push_back((*known)[i % known->size()]);
    ctx.setElements(0, elements);
  }
  return success();
}

static LogicalResult lowerTile(LoweringContext &ctx) {
  ShapeFacts &facts = ctx.facts;
  Dims repeats;
  if (auto known = ctx.elements(1))
    repeats = Dims(*known);
  else
    return ctx.error("repeats must be a tensor of int64");
  // [a, b] becomes [1, a, 1, b], is broadcast to [r, a, s, b] and read as [r*a, s*b].
  TensorValue input = ctx.get(0);
  Dims dims(ctx.resultDims(0)), apart, whole;
  for (auto [axis, dim] : llvm::enumerate(input.dims)) {
    checkSize(ctx, repeats[axis], "repeat " + Twine(axis));
    AffineExpr count = facts.max(repeats[axis], facts.constant(0));
    bindProduct(ctx, dims[axis], {dim, count});
    if (constantValue(count) != 1) {
      apart.push_back(facts.constant(1));
      whole.push_back(count);
    }
    apart.push_back(dim);
    whole.push_back(dim);
  }
  checkCount(ctx, repeats, dims);
  if (apart.size() != input.dims.size())
    input = ctx.expand(ctx.reshape(input, apart), whole);
  ctx.set(0, ctx.reshape(input, dims).value);
  return success();
}

void ssm::onnx::registerReshapeOperators(OperatorTable &table) {
  static constexpr AttrSpec kAllowZero[] = {{"allowzero", 'i'}};
  static constexpr AttrSpec kAxis[] = {{"axis", 'i'}};
  static constexpr AttrSpec kAxes[] = {{"axes", 'I'}};
  static constexpr AttrSpec kRequiredAxes[] = {{"axes", 'I', true}};
  table.add({"", "Reshape", 5, 2, 2, 1, 1, {}, inferReshape, lowerReshape});
  table.add({"", "Reshape", 14, 2, 2, 1, 1, kAllowZero, inferReshape, lowerReshape});
  table.add({"", "Flatten", 1, 1, 1, 1, 1, kAxis, inferFlatten, lowerFlatten});
  table.add({"", "Squeeze", 1, 1, 1, 1, 1, kAxes, inferSqueeze, lowerSqueeze});
  table.add({"", "Squeeze", 13, 1, 2, 1, 1, {}, inferSqueeze, lowerSqueeze});
  table.add({"", "Unsqueeze", 1, 1, 1, 1, 1, kRequiredAxes, inferUnsqueeze, lowerUnsqueeze});
  table.add({"", "Unsqueeze", 13, 2, 2, 1, 1, {}, inferUnsqueeze, lowerUnsqueeze});
  table.add({"", "Expand", 8, 2, 2, 1, 1, {}, inferExpand, lowerExpand});
  table.add({"", "Tile", 6, 2, 2, 1, 1, {}, inferTile, lowerTile});
}
