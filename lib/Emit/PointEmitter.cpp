//===- PointEmitter.cpp - A kernel's region at a point of its loops -------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "lib/Emit/PointEmitter.h"

#include "lib/Analysis/KernelShape.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Utils/StaticValueUtils.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/Dialect/Vector/Utils/VectorUtils.h"
#include "mlir/IR/TypeUtilities.h"

using namespace mlir;
using namespace ssm;

/// Vectors that are shuffled into one, rather than gathered element by element.
static constexpr int64_t kMaxShuffled = 4;

PointEmitter::PointEmitter(KernelOp kernel, ImplicitLocOpBuilder &b,
                           std::optional<unsigned> laneLoop, int64_t lanes)
    : kernel(kernel), b(b), loops(kernel), laneLoop(laneLoop), lanes(lanes),
      at(kernel.getNumLoops()) {}

//===----------------------------------------------------------------------===//
// Values
//===----------------------------------------------------------------------===//

Value PointEmitter::spread(Value scalar) {
  if (isa<VectorType>(scalar.getType()))
    return scalar;
  return vector::BroadcastOp::create(b, vectorOf(scalar.getType()), scalar);
}

Value PointEmitter::getVector(Value value) { return spread(get(value)); }

Value PointEmitter::get(Value value) {
  if (auto it = known.find(value); it != known.end())
    return it->second;
  if (value.getParentBlock() != &kernel.getStep())
    return value; // from outside
  Value result;
  if (auto arg = dyn_cast<BlockArgument>(value)) {
    unsigned i = arg.getArgNumber();
    Value buffer = kernel.getInputs()[i];
    result = isa<MemRefType>(buffer.getType())
                 ? load(buffer, kernel.getInputMap(i), kernel.isInputMirrored(i))
                 : buffer;
    return known[value] = result;
  }
  Operation *op = value.getDefiningOp();
  if (auto constant = dyn_cast<arith::ConstantOp>(op))
    return known[value] = b.clone(*constant)->getResult(0);
  if (auto index = dyn_cast<ssm::IndexOp>(op)) {
    result = at[index.getLoop()];
    if (isLaneDependent(value)) {
      Value step = vector::StepOp::create(b, vectorOf(b.getIndexType()));
      result = arith::AddIOp::create(b, spread(result), step);
    }
    return known[value] = result;
  }
  if (auto read = getIndexedRead(op))
    return known[value] = readByIndex(read->source, read->indices);
  SmallVector<Value> operands =
      llvm::map_to_vector(op->getOperands(), [&](Value operand) { return get(operand); });
  bool wide = llvm::any_of(operands, [](Value v) { return isa<VectorType>(v.getType()); });
  // Lanes that do not exist hold 0, and a division by it would trap.
  if (wide && mask &&
      isa<arith::DivSIOp, arith::DivUIOp, arith::RemSIOp, arith::RemUIOp, arith::FloorDivSIOp,
          arith::CeilDivSIOp, arith::CeilDivUIOp>(op)) {
    Value one = arith::ConstantOp::create(b, b.getIntegerAttr(value.getType(), 1));
    operands[1] = arith::SelectOp::create(b, mask, spread(operands[1]), spread(one));
  }
  IRMapping mapping;
  for (auto [operand, given] : llvm::zip_equal(op->getOperands(), operands))
    mapping.map(operand, wide ? spread(given) : given);
  Operation *clone = b.clone(*op, mapping);
  if (wide)
    clone->getResult(0).setType(vectorOf(value.getType()));
  // Not differences: of equal products, one rounded before and one not, more than 0 would be left.
  if (isa<arith::AddFOp, arith::MulFOp>(clone)) {
    auto math = cast<arith::ArithFastMathInterface>(clone);
    clone->setAttr(
        math.getFastMathAttrName(),
        arith::FastMathFlagsAttr::get(b.getContext(), math.getFastMathFlagsAttr().getValue() |
                                                          arith::FastMathFlags::contract));
  }
  return known[value] = clone->getResult(0);
}

bool PointEmitter::canEmit(Value value, LoopSet available) {
  // Each part once: a value that is used twice, again and again, has many paths.
  SmallVector<Value> left = {value};
  DenseSet<Value> seen;
  while (!left.empty()) {
    Value part = left.pop_back_val();
    if (known.contains(part) || part.getParentBlock() != &kernel.getStep() ||
        !seen.insert(part).second)
      continue;
    auto arg = dyn_cast<BlockArgument>(part);
    bool isCarry = arg && arg.getArgNumber() >= kernel.getInputs().size();
    if (!isSubset(loops.of(part), available) || isCarry || part.getDefiningOp<ReduceOp>())
      return false;
    if (Operation *op = part.getDefiningOp())
      llvm::append_range(left, op->getOperands());
  }
  return true;
}

void PointEmitter::hoist(LoopSet available) {
  for (Value arg : kernel.getStep().getArguments())
    if (!arg.use_empty() && canEmit(arg, available))
      get(arg);
  for (Operation &op : kernel.getStep().without_terminator())
    for (Value result : op.getResults())
      if (canEmit(result, available))
        get(result);
}

//===----------------------------------------------------------------------===//
// Memory
//===----------------------------------------------------------------------===//

Value PointEmitter::evaluate(AffineExpr expr, bool mirrored) {
  switch (expr.getKind()) {
  case AffineExprKind::Constant:
    return index(cast<AffineConstantExpr>(expr).getValue());
  case AffineExprKind::DimId: {
    unsigned loop = cast<AffineDimExpr>(expr).getPosition();
    return mirrored && kernel.isTime(loop) ? mirroredTime : at[loop];
  }
  case AffineExprKind::SymbolId:
    llvm_unreachable("maps of kernels have no symbols");
  default:
    break;
  }
  auto binary = cast<AffineBinaryOpExpr>(expr);
  Value lhs = evaluate(binary.getLHS(), mirrored), rhs = evaluate(binary.getRHS(), mirrored);
  switch (expr.getKind()) {
  case AffineExprKind::Add:
    return b.createOrFold<arith::AddIOp>(lhs, rhs);
  case AffineExprKind::Mul:
    return b.createOrFold<arith::MulIOp>(lhs, rhs);
  case AffineExprKind::FloorDiv: // indices are never negative
    return b.createOrFold<arith::DivUIOp>(lhs, rhs);
  case AffineExprKind::CeilDiv:
    return b.createOrFold<arith::CeilDivUIOp>(lhs, rhs);
  default:
    return b.createOrFold<arith::RemUIOp>(lhs, rhs);
  }
}

PointEmitter::Access PointEmitter::access(Value buffer, AffineMap map, bool mirrored) {
  SmallVector<Value> indices;
  SmallVector<int64_t> steps;
  for (AffineExpr expr : map.getResults()) {
    indices.push_back(evaluate(expr, mirrored));
    // Always constant: chosen so by `canBeLaneLoop`.
    steps.push_back(laneLoop ? getLaneStep(expr, *laneLoop, lanes).value_or(0) : 0);
  }
  return access(buffer, indices, steps);
}

/// From the indices of the first lane, and what each grows by from lane to lane.
PointEmitter::Access PointEmitter::access(Value buffer, ArrayRef<Value> indices,
                                          ArrayRef<int64_t> steps) {
  Access result;
  result.indices = llvm::to_vector(indices);
  if (llvm::all_of(steps, [](int64_t step) { return step == 0; }))
    return result;
  result.isUniform = false;
  auto type = cast<MemRefType>(buffer.getType());
  SmallVector<int64_t> strides;
  int64_t offset;
  (void)type.getStridesAndOffset(strides, offset);
  Operation *metadata = nullptr;
  int64_t fixed = 0;
  for (auto [axis, step] : llvm::enumerate(steps)) {
    if (step == 0)
      continue;
    if (!ShapedType::isDynamic(strides[axis])) {
      fixed += step * strides[axis];
      continue;
    }
    if (!metadata)
      metadata = memref::ExtractStridedMetadataOp::create(b, buffer);
    Value stride = cast<memref::ExtractStridedMetadataOp>(metadata).getStrides()[axis];
    Value part = mul(stride, index(step));
    result.stride = result.stride ? add(result.stride, part) : part;
  }
  if (!result.stride && fixed == 1)
    result.isDense = true;
  else if (!result.stride && fixed == 0)
    result.isUniform = true;
  else
    result.stride = result.stride ? add(result.stride, fixed) : index(fixed);
  return result;
}

/// Vector operations want the last axis dense: others see the memory from the first
/// lane on as one axis.
Value PointEmitter::flatten(Value buffer, Access &where) {
  auto type = cast<MemRefType>(buffer.getType());
  if (where.isUniform || type.isLastDimUnitStride())
    return buffer;
  auto metadata = memref::ExtractStridedMetadataOp::create(b, buffer);
  Value start = metadata.getOffset();
  for (auto [i, stride] : llvm::zip_equal(where.indices, metadata.getStrides()))
    start = add(start, mul(i, stride));
  where.indices.assign(1, index(0));
  auto layout = StridedLayoutAttr::get(b.getContext(), ShapedType::kDynamic, {1});
  auto flat = MemRefType::get({lanes}, type.getElementType(), layout, type.getMemorySpace());
  return memref::ReinterpretCastOp::create(b, flat, metadata.getBaseBuffer(), OpFoldResult(start),
                                           ArrayRef<OpFoldResult>(b.getIndexAttr(lanes)),
                                           ArrayRef<OpFoldResult>(b.getIndexAttr(1)));
}

Value PointEmitter::laneOffsets(Value stride) {
  Value step = vector::StepOp::create(b, vectorOf(b.getIndexType()));
  Value offsets = arith::MulIOp::create(b, step, spread(stride));
  return arith::IndexCastOp::create(b, vectorOf(b.getI64Type()), offsets);
}

Value PointEmitter::fullMask() {
  return arith::ConstantOp::create(
      b, DenseElementsAttr::get(vectorOf(b.getI1Type()), b.getBoolAttr(true)));
}

Value PointEmitter::gather(Value buffer, const Access &where, Value offsets) {
  VectorType type = vectorOf(getElementTypeOrSelf(buffer.getType()));
  Value zero = arith::ConstantOp::create(b, b.getZeroAttr(type));
  return vector::GatherOp::create(b, type, buffer, where.indices, offsets, mask ? mask : fullMask(),
                                  zero);
}

Value PointEmitter::firstLane(Value value) {
  if (!isLaneDependent(value))
    return get(value);
  Operation *op = value.getDefiningOp();
  if (auto index = dyn_cast<ssm::IndexOp>(op))
    return at[index.getLoop()];
  Value x = firstLane(op->getOperand(0)), y = firstLane(op->getOperand(1));
  return isa<arith::AddIOp>(op) ? add(x, y) : isa<arith::SubIOp>(op) ? sub(x, y) : mul(x, y);
}

Value PointEmitter::readByIndex(Value buffer, ValueRange indices) {
  SmallVector<std::optional<int64_t>> steps = llvm::map_to_vector(indices, [&](Value index) {
    return laneLoop ? getLaneStep(loops, index, *laneLoop) : std::optional<int64_t>(0);
  });
  if (llvm::all_of(steps, [](std::optional<int64_t> step) { return step.has_value(); })) {
    SmallVector<Value> first =
        llvm::map_to_vector(indices, [&](Value index) { return firstLane(index); });
    return load(buffer,
                access(buffer, first, llvm::map_to_vector(steps, [](auto step) { return *step; })));
  }
  // Indices that are the same in all lanes lead to where the others count from.
  auto metadata = memref::ExtractStridedMetadataOp::create(b, buffer);
  Access where;
  where.isUniform = false;
  Value offsets;
  for (auto [index, step, stride] : llvm::zip_equal(indices, steps, metadata.getStrides())) {
    bool varies = !step || *step != 0;
    where.indices.push_back(varies ? this->index(0) : get(index));
    if (!varies)
      continue;
    Value part = arith::MulIOp::create(b, getVector(index), spread(stride));
    offsets = offsets ? arith::AddIOp::create(b, offsets, part).getResult() : part;
  }
  offsets = arith::IndexCastOp::create(b, vectorOf(b.getI64Type()), offsets);
  buffer = flatten(buffer, where);
  return gather(buffer, where, offsets);
}

/// Every stride-th element, of as many vectors that lie side by side. The last one ends with
/// the last element: nothing behind it is read.
Value PointEmitter::loadEvery(Value buffer, ArrayRef<Value> indices, int64_t stride) {
  VectorType type = vectorOf(getElementTypeOrSelf(buffer.getType()));
  int64_t last = (lanes - 1) * stride - (lanes - 1);
  Value result;
  for (int64_t part = 0; part < stride; ++part) {
    int64_t offset = std::min(part * lanes, last);
    SmallVector<Value> from(indices);
    from.back() = add(from.back(), offset);
    Value next = vector::LoadOp::create(b, type, buffer, from);
    if (!result) {
      result = next;
      continue;
    }
    SmallVector<int64_t> order;
    for (int64_t lane = 0; lane < lanes; ++lane) {
      int64_t element = lane * stride;
      bool isHere = element / lanes == part;
      order.push_back(isHere ? lanes + element - offset
                             : part == 1 && element < lanes ? element : lane);
    }
    result = vector::ShuffleOp::create(b, result, next, order);
  }
  return result;
}

/// A vector's first elements, which exist, in that order: an order that is known costs less than
/// what a gather does.
static Value pick(ImplicitLocOpBuilder &b, Value elements, DenseIntElementsAttr order,
                  int64_t first) {
  SmallVector<int64_t> lanes;
  for (int64_t element : order.getValues<int64_t>())
    lanes.push_back(element - first);
  return vector::ShuffleOp::create(b, elements, elements, lanes);
}

Value PointEmitter::loadNumbered(Value buffer, Access where, Value numbers) {
  if (where.isUniform)
    return load(buffer, where);
  if (!where.isDense) {
    Value stride = arith::IndexCastOp::create(b, b.getI64Type(), where.stride);
    numbers = arith::MulIOp::create(b, numbers, spread(stride));
  }
  buffer = flatten(buffer, where);
  return gather(buffer, where, numbers);
}

Value PointEmitter::loadOfColumns(Value buffer, AffineMap map) {
  Scope scope(*this);
  at[*laneLoop] = index(0);
  Access where = access(buffer, map, /*mirrored=*/false);
  DenseIntElementsAttr fixed;
  if (where.isDense && matchPattern(packed->column, m_Constant(&fixed))) {
    mask = packed->existing;
    return pick(b, load(buffer, where), fixed, 0);
  }
  mask = nullptr;
  return loadNumbered(buffer, where, packed->column);
}

Value PointEmitter::loadOfRows(Value buffer, AffineMap map) {
  Scope scope(*this);
  SmallVector<int64_t> steps = llvm::map_to_vector(map.getResults(), [&](AffineExpr expr) {
    return static_cast<int64_t>(expr.isFunctionOfDim(packed->rows));
  });
  DenseIntElementsAttr fixed;
  Access where = access(buffer, evaluate(map, /*mirrored=*/false), steps);
  if (where.isDense && matchPattern(packed->row, m_Constant(&fixed))) {
    auto rows = fixed.getValues<int64_t>();
    int64_t first = rows[0];
    Value count = index(rows[lanes - 1] - first + 1);
    Value row = add(at[packed->rows], first);
    if (packed->isRagged)
      count = min(count, sub(b.createOrFold<arith::MaxUIOp>(size(packed->rows), row), row));
    at[packed->rows] = row;
    where = access(buffer, evaluate(map, /*mirrored=*/false), steps);
    mask = firstLanes(count);
    return pick(b, load(buffer, where), fixed, first);
  }
  return loadNumbered(buffer, where, packed->row);
}

Value PointEmitter::load(Value buffer, AffineMap map, bool mirrored) {
  if (isOfColumns(map))
    return loadOfColumns(buffer, map);
  if (isOfRows(map))
    return loadOfRows(buffer, map);
  return load(buffer, access(buffer, map, mirrored));
}

Value PointEmitter::load(Value buffer, Access where) {
  if (where.isUniform)
    return memref::LoadOp::create(b, buffer, where.indices);
  VectorType type = vectorOf(getElementTypeOrSelf(buffer.getType()));
  buffer = flatten(buffer, where);
  if (where.isDense && !mask)
    return vector::LoadOp::create(b, type, buffer, where.indices);
  if (!where.isDense) {
    if (std::optional<int64_t> stride = getConstantIntValue(where.stride);
        stride && !mask && *stride >= 2 && *stride <= kMaxShuffled && lanes > *stride)
      return loadEvery(buffer, where.indices, *stride);
    return gather(buffer, where, laneOffsets(where.stride));
  }
  Value zero = arith::ConstantOp::create(b, b.getZeroAttr(type));
  return vector::MaskedLoadOp::create(b, type, buffer, where.indices, mask, zero);
}

void PointEmitter::prefetch(Value buffer, AffineMap map, bool mirrored) {
  Access where = access(buffer, map, mirrored);
  if (where.isDense)
    memref::PrefetchOp::create(b, buffer, where.indices, /*isWrite=*/false, /*localityHint=*/2,
                               /*isDataCache=*/true);
}

void PointEmitter::store(Value value, Value buffer, AffineMap map, bool mirrored) {
  std::optional<Scope> scope;
  if (isOfColumns(map)) {
    // The first row's lanes have it.
    if (packed->offset > 0)
      return;
    scope.emplace(*this);
    mask = packed->existing;
  }
  Access where = access(buffer, map, mirrored);
  if (where.isUniform) {
    if (isa<VectorType>(value.getType()))
      value = vector::ExtractOp::create(b, value, 0);
    memref::StoreOp::create(b, value, buffer, where.indices);
    return;
  }
  value = spread(value);
  buffer = flatten(buffer, where);
  if (where.isDense && !mask)
    vector::StoreOp::create(b, value, buffer, where.indices);
  else if (where.isDense)
    vector::MaskedStoreOp::create(b, buffer, where.indices, mask, value);
  else
    vector::ScatterOp::create(b, Type(), buffer, where.indices, laneOffsets(where.stride),
                              mask ? mask : fullMask(), value);
}

SmallVector<Value> PointEmitter::evaluate(AffineMap map, bool mirrored) {
  return llvm::map_to_vector(map.getResults(),
                             [&](AffineExpr expr) { return evaluate(expr, mirrored); });
}

SmallVector<Value> PointEmitter::indicesOf(unsigned input) {
  return evaluate(kernel.getInputMap(input), kernel.isInputMirrored(input));
}

SmallVector<Value> PointEmitter::indicesOfOut(unsigned out) {
  return evaluate(kernel.getOutMap(out), kernel.isOutMirrored(out));
}

void PointEmitter::prefetch(unsigned input, Value ahead) {
  SmallVector<Value> indices = indicesOf(input);
  indices.back() = add(indices.back(), ahead);
  memref::PrefetchOp::create(b, kernel.getInputs()[input], indices, /*isWrite=*/false,
                             /*localityHint=*/2, /*isDataCache=*/true);
}

//===----------------------------------------------------------------------===//
// Loops and indices
//===----------------------------------------------------------------------===//

Value PointEmitter::index(int64_t value) { return arith::ConstantIndexOp::create(b, value); }
Value PointEmitter::add(Value x, Value y) { return b.createOrFold<arith::AddIOp>(x, y); }
Value PointEmitter::sub(Value x, Value y) { return b.createOrFold<arith::SubIOp>(x, y); }
Value PointEmitter::mul(Value x, Value y) { return b.createOrFold<arith::MulIOp>(x, y); }
Value PointEmitter::min(Value x, Value y) { return b.createOrFold<arith::MinUIOp>(x, y); }

Value PointEmitter::ceilDiv(Value a, int64_t divisor) {
  if (divisor == 1)
    return a;
  return b.createOrFold<arith::DivUIOp>(add(a, divisor - 1), index(divisor));
}

int64_t PointEmitter::fixedSize(unsigned loop) {
  auto [operand, axis] = kernel.getSizeSource(loop);
  int64_t size = cast<ShapedType>(operand.getType()).getDimSize(axis);
  return ShapedType::isDynamic(size) ? -1 : size;
}

Value PointEmitter::size(unsigned loop) {
  auto [operand, axis] = kernel.getSizeSource(loop);
  return b.createOrFold<memref::DimOp>(operand, static_cast<int64_t>(axis));
}

SmallVector<Value>
PointEmitter::loop(Value low, Value high, int64_t step, ValueRange carried,
                   llvm::function_ref<SmallVector<Value>(Value, ValueRange)> body) {
  auto made = scf::ForOp::create(b, low, high, index(step), carried);
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToStart(made.getBody());
  SmallVector<Value> next = body(made.getInductionVar(), made.getRegionIterArgs());
  if (!carried.empty()) {
    b.setInsertionPointToEnd(made.getBody());
    scf::YieldOp::create(b, next);
  }
  return llvm::to_vector_of<Value>(made.getResults());
}

void PointEmitter::loop(Value low, Value high, int64_t step, llvm::function_ref<void(Value)> body) {
  (void)loop(low, high, step, ValueRange(), [&](Value i, ValueRange) {
    body(i);
    return SmallVector<Value>();
  });
}

Value PointEmitter::firstLanes(Value count) {
  return vector::CreateMaskOp::create(b, vectorOf(b.getI1Type()), count);
}

Value PointEmitter::combine(arith::AtomicRMWKind kind, Value x, Value y) {
  Value result = arith::getReductionOp(kind, b, b.getLoc(), x, y);
  // Sums may be taken in any order, and products go into them.
  if (auto sum = result.getDefiningOp<arith::AddFOp>())
    sum.setFastmath(arith::FastMathFlags::reassoc | arith::FastMathFlags::contract);
  // Which zero is the largest of -0 and 0 does not matter, and takes long to tell.
  if (auto max = result.getDefiningOp<arith::MaximumFOp>())
    max.setFastmath(arith::FastMathFlags::nsz);
  if (auto min = result.getDefiningOp<arith::MinimumFOp>())
    min.setFastmath(arith::FastMathFlags::nsz);
  return result;
}

Value PointEmitter::neutral(arith::AtomicRMWKind kind, Type type) {
  // Not the finite extremes: a maximum of nothing but -inf is -inf.
  auto scalar = arith::getIdentityValueAttr(kind, getElementTypeOrSelf(type), b, b.getLoc(), false);
  if (auto wide = dyn_cast<VectorType>(type))
    return arith::ConstantOp::create(b, DenseElementsAttr::get(wide, scalar));
  return arith::ConstantOp::create(b, scalar);
}

Value PointEmitter::reduceLanes(arith::AtomicRMWKind kind, Value wide) {
  Value result = vector::getVectorReductionOp(kind, b, b.getLoc(), wide);
  if (auto all = result.getDefiningOp<vector::ReductionOp>()) {
    if (kind == arith::AtomicRMWKind::addf)
      all.setFastmath(arith::FastMathFlags::reassoc);
    if (kind == arith::AtomicRMWKind::maximumf || kind == arith::AtomicRMWKind::minimumf)
      all.setFastmath(arith::FastMathFlags::nsz);
  }
  return result;
}
