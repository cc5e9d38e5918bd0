//===- LoweringTensors.cpp - Tensor building blocks of lowerings ----------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "lib/Import/LoweringContext.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

using namespace mlir;
using namespace ssm;
using namespace ssm::onnx;

//===----------------------------------------------------------------------===//
// Scalars
//===----------------------------------------------------------------------===//

Value LoweringContext::load(ImplicitLocOpBuilder &b, Value stored, Type type) {
  if (type.isF16() || type.isBF16() || isFloat8(type))
    return arith::ExtFOp::create(b, b.getF32Type(), stored);
  if (isBool(type))
    return arith::CmpIOp::create(b, arith::CmpIPredicate::ne, stored,
                                 arith::ConstantIntOp::create(b, stored.getType(), 0));
  return stored;
}

Value LoweringContext::store(ImplicitLocOpBuilder &b, Value computed, Type type) {
  if (type.isF16() || type.isBF16() || isFloat8(type))
    return arith::TruncFOp::create(b, type, computed);
  if (isBool(type))
    return arith::ExtUIOp::create(b, b.getI8Type(), computed);
  return computed;
}

Value LoweringContext::extract(ImplicitLocOpBuilder &b, const TensorValue &tensor,
                               ValueRange indices) {
  return load(b, tensor::ExtractOp::create(b, tensor.value, indices), tensor.type);
}

/// Converts a compute-typed scalar between ONNX element types.
static Value convertScalar(ImplicitLocOpBuilder &b, Value value, Type from, Type to) {
  Type target = computeType(to);
  if (from == to || (value.getType() == target && isBool(from) == isBool(to) &&
                     isUnsigned(from) == isUnsigned(to)))
    return value;
  bool fromFloat = isa<FloatType>(from), toFloat = isa<FloatType>(to);
  if (isBool(to)) {
    if (fromFloat)
      return arith::CmpFOp::create(b, arith::CmpFPredicate::UNE, value,
                                   arith::ConstantOp::create(b, b.getZeroAttr(value.getType())));
    return arith::CmpIOp::create(b, arith::CmpIPredicate::ne, value,
                                 arith::ConstantOp::create(b, b.getZeroAttr(value.getType())));
  }
  if (fromFloat && toFloat) {
    if (value.getType() == target)
      return value;
    return value.getType().getIntOrFloatBitWidth() < target.getIntOrFloatBitWidth()
               ? Value(arith::ExtFOp::create(b, target, value))
               : Value(arith::TruncFOp::create(b, target, value));
  }
  if (!fromFloat && toFloat)
    return isBool(from) || isUnsigned(from) ? Value(arith::UIToFPOp::create(b, target, value))
                                            : Value(arith::SIToFPOp::create(b, target, value));
  if (fromFloat) {
    // Values out of range have no defined conversion: saturate. The bounds are
    // the nearest floats inside the range; NaN becomes the lower one.
    auto floatType = cast<FloatType>(value.getType());
    unsigned width = target.getIntOrFloatBitWidth();
    const llvm::fltSemantics &semantics = floatType.getFloatSemantics();
    bool isSigned = !isUnsigned(to);
    auto bound = [&](const APInt &limit) -> Value {
      APFloat number(semantics);
      number.convertFromAPInt(limit, isSigned, APFloat::rmTowardZero);
      return arith::ConstantOp::create(b, b.getFloatAttr(floatType, number));
    };
    Value low = bound(isSigned ? APInt::getSignedMinValue(width) : APInt::getZero(width));
    Value high = bound(isSigned ? APInt::getSignedMaxValue(width) : APInt::getMaxValue(width));
    value = arith::MinNumFOp::create(b, arith::MaxNumFOp::create(b, value, low), high);
    return isSigned ? Value(arith::FPToSIOp::create(b, target, value))
                    : Value(arith::FPToUIOp::create(b, target, value));
  }
  unsigned have = value.getType().getIntOrFloatBitWidth(), want = target.getIntOrFloatBitWidth();
  if (have == want)
    return value;
  if (have > want)
    return arith::TruncIOp::create(b, target, value);
  return isBool(from) || isUnsigned(from) ? Value(arith::ExtUIOp::create(b, target, value))
                                          : Value(arith::ExtSIOp::create(b, target, value));
}

//===----------------------------------------------------------------------===//
// Tensors
//===----------------------------------------------------------------------===//

Value LoweringContext::empty(ArrayRef<AffineExpr> dims, Type type) {
  return tensor::EmptyOp::create(b, sizes(dims), storageType(type));
}

Value LoweringContext::filled(ArrayRef<AffineExpr> dims, Type type, Value scalar) {
  return linalg::FillOp::create(b, store(b, scalar, type), empty(dims, type)).getResult(0);
}

/// Tensors of at most this many elements become scalar arithmetic.
static constexpr int64_t kMaxScalarElements = 16;

/// Whether the tensor is small static integers: arithmetic on sizes.
static bool isScalarWork(ArrayRef<AffineExpr> dims, Type type, int64_t limit) {
  auto shape = constantValues(dims);
  if (!shape || !isa<IntegerType>(type))
    return false;
  int64_t count = 1;
  for (int64_t size : *shape) {
    if (size > limit)
      return false;
    count *= size;
  }
  return count <= limit;
}

SmallVector<TensorValue> LoweringContext::elementwise(ArrayRef<TensorValue> inputs,
                                                      ArrayRef<AffineExpr> dims,
                                                      ArrayRef<Type> types, IndexedBody body) {
  int64_t rank = dims.size();
  // Result sizes that inference left open: the one size that is not 1.
  for (auto [axis, dim] : llvm::enumerate(dims)) {
    if (!isa<AffineSymbolExpr>(dim) || isBound(dim))
      continue;
    Value result = index(1);
    for (const TensorValue &input : inputs) {
      int64_t own = axis - (rank - static_cast<int64_t>(input.dims.size()));
      if (own < 0)
        continue;
      Value size = this->size(input.dims[own]);
      Value isOne = b.createOrFold<arith::CmpIOp>(arith::CmpIPredicate::eq, size, index(1));
      result = b.createOrFold<arith::SelectOp>(isOne, result, size);
    }
    bind(dim, result);
  }

  // How each input is read: by an affine map, or, where only the run can tell
  // whether an axis is broadcast, by extracting at index * (size is not 1).
  SmallVector<AffineMap> maps;
  SmallVector<SmallVector<Value>> strides(inputs.size());
  SmallVector<Value> mapped;
  for (auto [n, input] : llvm::enumerate(inputs)) {
    SmallVector<AffineExpr> results;
    bool dynamic = false;
    for (auto [own, dim] : llvm::enumerate(input.dims)) {
      int64_t axis = rank - static_cast<int64_t>(input.dims.size()) + own;
      AffineExpr target = dims[axis];
      bool isOne = constantValue(dim) == 1;
      if (dim == target || isOne) {
        results.push_back(isOne && dim != target ? b.getAffineConstantExpr(0)
                                                 : b.getAffineDimExpr(axis));
        strides[n].push_back(isOne && dim != target ? index(0) : index(1));
        continue;
      }
      Value size = this->size(dim), whole = this->size(target);
      Value one = b.createOrFold<arith::CmpIOp>(arith::CmpIPredicate::eq, size, index(1));
      Value same = b.createOrFold<arith::CmpIOp>(arith::CmpIPredicate::eq, size, whole);
      check(b.createOrFold<arith::OrIOp>(one, same),
            "size {0} of axis " + Twine(own) + " of input " + Twine(n) +
                " does not broadcast to size {1}",
            {size, whole});
      strides[n].push_back(b.createOrFold<arith::SelectOp>(one, index(0), index(1)));
      results.push_back(b.getAffineConstantExpr(0));
      dynamic = true;
    }
    if (!dynamic) {
      maps.push_back(AffineMap::get(rank, 0, results, b.getContext()));
      mapped.push_back(input.value);
      strides[n].clear();
    }
  }
  auto makeResult = [&](Value value, Type type) { return TensorValue{value, type, Dims(dims)}; };

  bool scalarWork = llvm::all_of(strides, [](auto &s) { return s.empty(); });
  for (Type type : types)
    scalarWork &= isScalarWork(dims, type, kMaxScalarElements);
  for (const TensorValue &input : inputs)
    scalarWork &= isScalarWork(input.dims, input.type, kMaxTrackedElements);
  if (scalarWork) {
    SmallVector<int64_t> shape = *constantValues(dims);
    int64_t count = 1;
    for (int64_t size : shape)
      count *= size;
    SmallVector<SmallVector<Value>> scalars(types.size());
    for (int64_t linear = 0; linear < count; ++linear) {
      SmallVector<int64_t> at(rank);
      SmallVector<Value> indices(rank);
      for (int64_t axis = rank - 1, rest = linear; axis >= 0; --axis) {
        at[axis] = rest % shape[axis];
        rest /= shape[axis];
        indices[axis] = index(at[axis]);
      }
      SmallVector<Value> args;
      for (auto [n, input] : llvm::enumerate(inputs)) {
        SmallVector<Value> own;
        for (AffineExpr expr : maps[n].getResults())
          own.push_back(isa<AffineConstantExpr>(expr)
                            ? index(0)
                            : indices[mlir::cast<AffineDimExpr>(expr).getPosition()]);
        args.push_back(extract(input, own));
      }
      for (auto [i, value] : llvm::enumerate(body(b, indices, args)))
        scalars[i].push_back(store(b, value, types[i]));
    }
    SmallVector<TensorValue> results;
    for (auto [type, values] : llvm::zip_equal(types, scalars)) {
      auto tensorType = RankedTensorType::get(shape, storageType(type));
      Value value = values.empty() ? Value(tensor::EmptyOp::create(b, shape, storageType(type)))
                                   : Value(tensor::FromElementsOp::create(b, tensorType, values));
      results.push_back(makeResult(value, type));
    }
    return results;
  }

  SmallVector<Value> inits;
  SmallVector<Type> resultTypes;
  for (Type type : types) {
    inits.push_back(empty(dims, type));
    resultTypes.push_back(inits.back().getType());
    maps.push_back(b.getMultiDimIdentityMap(rank));
  }
  SmallVector<utils::IteratorType> iterators(rank, utils::IteratorType::parallel);
  auto generic = linalg::GenericOp::create(
      b, resultTypes, mapped, inits, maps, iterators,
      [&](OpBuilder &builder, Location loc, ValueRange blockArgs) {
        ImplicitLocOpBuilder nested(loc, builder);
        SmallVector<Value> indices, args;
        for (int64_t axis = 0; axis < rank; ++axis)
          indices.push_back(linalg::IndexOp::create(nested, axis));
        unsigned next = 0;
        for (auto [n, input] : llvm::enumerate(inputs)) {
          if (strides[n].empty()) {
            args.push_back(load(nested, blockArgs[next++], input.type));
            continue;
          }
          SmallVector<Value> own;
          for (auto [axis, stride] : llvm::enumerate(strides[n]))
            own.push_back(
                arith::MulIOp::create(nested, indices[rank - strides[n].size() + axis], stride));
          args.push_back(
              load(nested, tensor::ExtractOp::create(nested, input.value, own), input.type));
        }
        SmallVector<Value> results = body(nested, indices, args);
        for (auto [result, type] : llvm::zip_equal(results, types))
          result = store(nested, result, type);
        linalg::YieldOp::create(nested, results);
      });
  SmallVector<TensorValue> results;
  for (auto [value, type] : llvm::zip_equal(generic.getResults(), types))
    results.push_back(makeResult(value, type));
  return results;
}

TensorValue
LoweringContext::map(ArrayRef<TensorValue> inputs, ArrayRef<AffineExpr> dims, Type type,
                     llvm::function_ref<Value(ImplicitLocOpBuilder &, ValueRange)> body) {
  return elementwise(inputs, dims, type, [&](ImplicitLocOpBuilder &b, ValueRange, ValueRange args) {
    return SmallVector<Value>{body(b, args)};
  })[0];
}

TensorValue
LoweringContext::generate(ArrayRef<AffineExpr> dims, Type type,
                          llvm::function_ref<Value(ImplicitLocOpBuilder &, ValueRange)> body) {
  return elementwise({}, dims, type, [&](ImplicitLocOpBuilder &b, ValueRange indices, ValueRange) {
    return SmallVector<Value>{body(b, indices)};
  })[0];
}

TensorValue
LoweringContext::reduce(const TensorValue &input, ArrayRef<int64_t> axes, Type accType, Value init,
                        llvm::function_ref<Value(ImplicitLocOpBuilder &, Value, Value)> body) {
  int64_t rank = input.dims.size();
  SmallVector<utils::IteratorType> iterators(rank, utils::IteratorType::parallel);
  for (int64_t axis : axes)
    iterators[axis] = utils::IteratorType::reduction;
  Dims kept;
  SmallVector<AffineExpr> results;
  for (int64_t axis = 0; axis < rank; ++axis)
    if (iterators[axis] == utils::IteratorType::parallel) {
      kept.push_back(input.dims[axis]);
      results.push_back(b.getAffineDimExpr(axis));
    }
  Value acc = filled(kept, accType, init);
  SmallVector<AffineMap> maps = {b.getMultiDimIdentityMap(rank),
                                 AffineMap::get(rank, 0, results, b.getContext())};
  auto generic =
      linalg::GenericOp::create(b, acc.getType(), input.value, acc, maps, iterators,
                                [&](OpBuilder &builder, Location loc, ValueRange args) {
                                  ImplicitLocOpBuilder nested(loc, builder);
                                  Value value = body(nested, load(nested, args[1], accType),
                                                     load(nested, args[0], input.type));
                                  linalg::YieldOp::create(nested, store(nested, value, accType));
                                });
  return {generic.getResult(0), accType, kept};
}

TensorValue LoweringContext::contract(const TensorValue &lhs, const TensorValue &rhs,
                                      AffineMap lhsMap, AffineMap rhsMap, AffineMap resultMap,
                                      ArrayRef<AffineExpr> loopDims, Type type) {
  Type accType = computeType(type);
  bool isFloat = isa<FloatType>(accType);
  if (!isFloat && accType.getIntOrFloatBitWidth() < 32)
    accType = b.getI32Type();
  // Unsigned results keep their meaning through the accumulator.
  Type accONNX =
      isUnsigned(type)
          ? IntegerType::get(b.getContext(), accType.getIntOrFloatBitWidth(), IntegerType::Unsigned)
          : accType;
  SmallVector<utils::IteratorType> iterators(loopDims.size(), utils::IteratorType::reduction);
  Dims dims;
  for (AffineExpr expr : resultMap.getResults()) {
    unsigned loop = mlir::cast<AffineDimExpr>(expr).getPosition();
    iterators[loop] = utils::IteratorType::parallel;
    dims.push_back(loopDims[loop]);
  }
  Value zero = arith::ConstantOp::create(b, b.getZeroAttr(accType));
  Value acc = filled(dims, accONNX, zero);
  auto generic = linalg::GenericOp::create(
      b, acc.getType(), ValueRange{lhs.value, rhs.value}, acc,
      SmallVector<AffineMap>{lhsMap, rhsMap, resultMap}, iterators,
      [&](OpBuilder &builder, Location loc, ValueRange args) {
        ImplicitLocOpBuilder nested(loc, builder);
        Value a = convertScalar(nested, load(nested, args[0], lhs.type), lhs.type, accONNX);
        Value c = convertScalar(nested, load(nested, args[1], rhs.type), rhs.type, accONNX);
        Value sum =
            isFloat
                ? Value(arith::AddFOp::create(nested, args[2], arith::MulFOp::create(nested, a, c)))
                : Value(
                      arith::AddIOp::create(nested, args[2], arith::MulIOp::create(nested, a, c)));
        linalg::YieldOp::create(nested, sum);
      });
  TensorValue result{generic.getResult(0), accONNX, dims};
  return accONNX == type ? result : cast(result, type);
}

TensorValue LoweringContext::transpose(const TensorValue &input, ArrayRef<int64_t> perm) {
  Dims dims = llvm::map_to_vector<4>(perm, [&](int64_t axis) { return input.dims[axis]; });
  if (llvm::is_sorted(perm))
    return input;
  Value init = empty(dims, input.type);
  return {linalg::TransposeOp::create(b, input.value, init, perm)->getResult(0), input.type, dims};
}

static SmallVector<AffineExpr> pick(ArrayRef<AffineExpr> dims, ArrayRef<int64_t> axes) {
  return llvm::map_to_vector(axes, [&](int64_t axis) { return dims[axis]; });
}

/// Cuts the axes in front of a reshape and behind it into groups, as small as can
/// be, whose products are equal whatever the sizes: what is not moved stays an axis
/// of its own, which later stages look through. Neither rank is 0.
static void groupAxes(ShapeFacts &facts, ArrayRef<AffineExpr> from, ArrayRef<AffineExpr> to,
                      SmallVectorImpl<ReassociationIndices> &before,
                      SmallVectorImpl<ReassociationIndices> &after) {
  int64_t rank = from.size(), newRank = to.size(), i = 0, j = 0;
  auto add = [](SmallVectorImpl<ReassociationIndices> &groups, int64_t lo, int64_t hi) {
    groups.push_back(llvm::to_vector<2>(llvm::seq(lo, hi)));
  };
  // The ends of the smallest group that begins at axes i and j.
  auto findEnd = [&]() -> std::optional<std::pair<int64_t, int64_t>> {
    for (int64_t total = 2; total <= rank - i + newRank - j; ++total)
      for (int64_t own = 1; own < total; ++own) {
        int64_t other = total - own;
        if (i + own > rank || j + other > newRank)
          continue;
        AffineExpr a = facts.product(from.slice(i, own)), b = facts.product(to.slice(j, other));
        // Of nothing, other groups' sizes may differ.
        if (a && a == b && constantValue(a) != 0)
          return std::make_pair(i + own, j + other);
      }
    return std::nullopt;
  };
  while (i < rank && j < newRank) {
    auto end = findEnd();
    // All that is left, with sizes that are only known to agree in the whole.
    if (!end)
      break;
    add(before, i, end->first), add(after, j, end->second);
    std::tie(i, j) = *end;
  }
  // Only a rest of axes of size 1 can stand alone.
  auto areOnes = [&](ArrayRef<AffineExpr> dims) {
    return llvm::all_of(dims, [](AffineExpr dim) { return constantValue(dim) == 1; });
  };
  if (!before.empty() && areOnes(from.drop_front(i)) && areOnes(to.drop_front(j))) {
    llvm::append_range(before.back(), llvm::seq(i, rank));
    llvm::append_range(after.back(), llvm::seq(j, newRank));
  } else if (i < rank || j < newRank) {
    before.clear(), after.clear();
    add(before, 0, rank), add(after, 0, newRank);
  }
}

TensorValue LoweringContext::reshape(const TensorValue &input, ArrayRef<AffineExpr> dims) {
  if (input.dims == dims)
    return {input.value, input.type, Dims(dims)};
  // Upstream's folding of two reshapes into one pairs the wrong axes where a size
  // is 0, and there is nothing to read anyway.
  if (llvm::any_of(dims, [](AffineExpr dim) { return constantValue(dim) == 0; }))
    return {empty(dims, input.type), input.type, Dims(dims)};
  Type element = storageType(input.type);
  auto resultType = RankedTensorType::get(staticShape(dims), element);
  SmallVector<ReassociationIndices> before, after;
  SmallVector<AffineExpr> flatDims;
  if (input.dims.empty() || dims.empty()) {
    flatDims.push_back(facts.product(dims));
    for (auto [groups, axes] : {std::make_pair(&before, input.dims.size()),
                                std::make_pair(&after, dims.size())})
      if (axes > 0)
        groups->push_back(llvm::to_vector<2>(llvm::seq<int64_t>(0, axes)));
  } else {
    groupAxes(facts, input.dims, dims, before, after);
    for (const ReassociationIndices &group : after)
      flatDims.push_back(facts.product(pick(dims, group)));
  }
  // Axes go together, to one for each group, and apart.
  Value value = input.value;
  int64_t rank = input.dims.size(), newRank = dims.size(), numGroups = flatDims.size();
  if (rank > numGroups)
    value = tensor::CollapseShapeOp::create(b, value, before);
  else if (rank == 0)
    value = tensor::ExpandShapeOp::create(b, RankedTensorType::get({1}, element), value, before);
  // A size that no expression tells is open.
  SmallVector<int64_t> flatShape;
  for (AffineExpr dim : flatDims)
    flatShape.push_back(dim && constantValue(dim) ? *constantValue(dim) : ShapedType::kDynamic);
  auto flatType = RankedTensorType::get(flatShape, element);
  if (value.getType() != flatType)
    value = tensor::CastOp::create(b, flatType, value);
  if (newRank == 0)
    value = tensor::CollapseShapeOp::create(b, resultType, value, after);
  else if (newRank > numGroups)
    value = tensor::ExpandShapeOp::create(b, resultType, value, after, sizes(dims));
  return {value, input.type, Dims(dims)};
}

TensorValue LoweringContext::slice(const TensorValue &input, ArrayRef<OpFoldResult> offsets,
                                   ArrayRef<AffineExpr> sliceDims, ArrayRef<OpFoldResult> steps) {
  // Upstream refuses to begin at or beyond an end that it knows, even to take nothing.
  bool isEmpty = false;
  for (auto [offset, dim, size] : llvm::zip_equal(offsets, input.dims, sliceDims)) {
    auto known = constantValue(dim), begin = getConstantIntValue(offset);
    isEmpty |= constantValue(size) == 0 || known == 0 || (known && begin && *begin >= *known);
  }
  if (isEmpty)
    return {empty(sliceDims, input.type), input.type, Dims(sliceDims)};
  SmallVector<OpFoldResult> strides(steps);
  if (strides.empty())
    strides.assign(offsets.size(), b.getIndexAttr(1));
  Value value = tensor::ExtractSliceOp::create(b, input.value, offsets, sizes(sliceDims), strides);
  return {value, input.type, Dims(sliceDims)};
}

TensorValue LoweringContext::concat(ArrayRef<TensorValue> inputs, int64_t axis) {
  Dims dims = inputs[0].dims;
  dims[axis] = facts.constant(0);
  for (const TensorValue &input : inputs) {
    AffineExpr sum = facts.add(dims[axis], input.dims[axis]);
    if (!sum) {
      sum = facts.fresh();
      bind(sum, b.createOrFold<arith::AddIOp>(size(dims[axis]), size(input.dims[axis])));
    }
    dims[axis] = sum;
  }
  Value result = empty(dims, inputs[0].type);
  Value offset = index(0);
  SmallVector<OpFoldResult> strides(dims.size(), b.getIndexAttr(1));
  for (const TensorValue &input : inputs) {
    SmallVector<OpFoldResult> offsets(dims.size(), b.getIndexAttr(0));
    offsets[axis] = getAsOpFoldResult(offset);
    result =
        tensor::InsertSliceOp::create(b, input.value, result, offsets, sizes(input.dims), strides);
    offset = b.createOrFold<arith::AddIOp>(offset, size(input.dims[axis]));
  }
  return {result, inputs[0].type, dims};
}

TensorValue LoweringContext::cast(const TensorValue &input, Type type) {
  if (input.type == type)
    return input;
  // Signed and unsigned of one width are the same bits.
  if (storageType(input.type) == storageType(type) && !isBool(type) && !isBool(input.type))
    return {input.value, type, input.dims};
  return map({input}, input.dims, type, [&](ImplicitLocOpBuilder &b, ValueRange args) {
    return convertScalar(b, args[0], input.type, type);
  });
}

TensorValue LoweringContext::expand(const TensorValue &input, ArrayRef<AffineExpr> dims) {
  if (input.dims == dims)
    return {input.value, input.type, Dims(dims)};
  return map({input}, dims, input.type,
             [](ImplicitLocOpBuilder &, ValueRange args) { return args[0]; });
}
