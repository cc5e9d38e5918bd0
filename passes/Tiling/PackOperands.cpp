//===- PackOperands.cpp - Operands of products in the order they are read ===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "passes/Tiling/Passes.h"

#include "lib/Analysis/KernelShape.h"
#include "lib/Analysis/MatmulShape.h"
#include "lib/Analysis/WeightValues.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/IRMapping.h"

namespace ssm {
#define GEN_PASS_DEF_PACKOPERANDS
#include "passes/Tiling/Passes.h.inc"
} // namespace ssm

using namespace mlir;
using namespace ssm;

namespace {

/// One kernel of one out and no recurrence; the body is filled in by the caller.
KernelOp createKernel(OpBuilder &b, Location loc, ValueRange inputs, Value out,
                      ArrayRef<AffineMap> maps) {
  auto kernel =
      KernelOp::create(b, loc, out.getType(), b.getI64IntegerAttr(maps.front().getNumDims()),
                       IntegerAttr(), inputs, ValueRange(), out, b.getAffineMapArrayAttr(maps),
                       b.getDenseBoolArrayAttr({}), TransitionAttr(), ConfigAttr());
  Block *body = &kernel.getBody().emplaceBlock();
  for (Value input : inputs)
    body->addArgument(getElementTypeOrSelf(input.getType()), loc);
  return kernel;
}

/// out[i] = in[read(i)], with `read` a map of as many loops as the out has axes.
Value createCopy(OpBuilder &b, Location loc, Value in, AffineMap read,
                 ArrayRef<OpFoldResult> sizes) {
  Type element = cast<RankedTensorType>(in.getType()).getElementType();
  Value out = tensor::EmptyOp::create(b, loc, sizes, element);
  KernelOp kernel =
      createKernel(b, loc, in, out, {read, b.getMultiDimIdentityMap(read.getNumDims())});
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToEnd(&kernel.getStep());
  ssm::YieldOp::create(b, loc, kernel.getInputArg(0));
  return kernel.getResult(0);
}

struct PackOperands : ssm::impl::PackOperandsBase<PackOperands> {
  void runOnOperation() override {
    SmallVector<KernelOp> kernels;
    getOperation()->walk([&](KernelOp kernel) {
      if (!kernel.hasBuffers() && kernel.getConfig() &&
          kernel.getConfig()->getForm() == Form::Matmul &&
          kernel.getConfig()->getTiles().size() >= 2)
        kernels.push_back(kernel);
    });
    for (KernelOp kernel : kernels) {
      std::optional<Matmul> what = matchMatmul(kernel);
      if (!what)
        continue;
      OpBuilder b(kernel);
      if (!inPairs(kernel))
        materializeLeft(b, kernel, *what);
      if (kernel.getConfig()->getLaneLoop() != what->n)
        continue;
      for (unsigned input : inputsOf(kernel, what->right))
        layoutRight(b, kernel, *what, input);
    }
  }

  /// Whether two neighbours along the depth are taken at once.
  static bool inPairs(KernelOp kernel) {
    ArrayRef<int64_t> tiles = kernel.getConfig()->getTiles();
    return tiles.size() > 2 && tiles[2] == 2;
  }

  /// Each element of the left side is read once for every strip of the right one: what
  /// has to be computed is computed before.
  static void materializeLeft(OpBuilder &b, KernelOp kernel, Matmul what) {
    if (isa<BlockArgument>(what.left) || what.left.getParentBlock() != &kernel.getStep())
      return;
    Location loc = kernel.getLoc();
    LoopSet set = KernelLoops(kernel).of(what.left);
    SmallVector<unsigned> order = what.outer;
    if (what.m)
      order.push_back(*what.m);
    llvm::append_range(order, what.k);
    llvm::erase_if(order, [&](unsigned loop) { return !contains(set, loop); });

    SmallVector<OpFoldResult> all = kernel.getLoopSizes(b), sizes;
    SmallVector<AffineExpr> renamed(kernel.getNumLoops(), b.getAffineConstantExpr(0));
    SmallVector<AffineExpr> index;
    for (auto [i, loop] : llvm::enumerate(order)) {
      sizes.push_back(all[loop]);
      renamed[loop] = b.getAffineDimExpr(i);
      index.push_back(b.getAffineDimExpr(loop));
    }
    SmallVector<unsigned> inputs = inputsOf(kernel, what.left);
    SmallVector<Value> operands;
    SmallVector<AffineMap> maps;
    for (unsigned input : inputs) {
      operands.push_back(kernel.getInputs()[input]);
      maps.push_back(kernel.getInputMap(input).replaceDimsAndSymbols(renamed, {}, order.size(), 0));
    }
    maps.push_back(b.getMultiDimIdentityMap(order.size()));
    Value out = tensor::EmptyOp::create(b, loc, sizes, what.left.getType());
    KernelOp before = createKernel(b, loc, operands, out, maps);
    {
      OpBuilder::InsertionGuard guard(b);
      b.setInsertionPointToEnd(&before.getStep());
      IRMapping mapping;
      for (auto [i, input] : llvm::enumerate(inputs))
        mapping.map(kernel.getInputArg(input), before.getInputArg(i));
      cloneSlice(b, kernel, what.left, mapping, renamed);
      ssm::YieldOp::create(b, loc, mapping.lookup(what.left));
    }

    unsigned at = kernel.getInputs().size();
    kernel.getInputsMutable().append(before.getResult(0));
    SmallVector<Attribute> attributes(kernel.getMaps().getValue());
    attributes.insert(
        attributes.begin() + at,
        AffineMapAttr::get(AffineMap::get(kernel.getNumLoops(), 0, index, b.getContext())));
    kernel.setMapsAttr(b.getArrayAttr(attributes));
    kernel.setMirrored({});
    BlockArgument arg = kernel.getStep().insertArgument(at, what.left.getType(), loc);
    Operation *product = what.sum.getValue().getDefiningOp();
    product->replaceUsesOfWith(what.left, arg);
  }

  static void cloneSlice(OpBuilder &b, KernelOp kernel, Value value, IRMapping &mapping,
                         ArrayRef<AffineExpr> renamed) {
    if (mapping.contains(value) || value.getParentBlock() != &kernel.getStep()) {
      if (!mapping.contains(value))
        mapping.map(value, value);
      return;
    }
    Operation *op = value.getDefiningOp();
    for (Value operand : op->getOperands())
      cloneSlice(b, kernel, operand, mapping, renamed);
    Operation *made = b.clone(*op, mapping);
    if (auto index = dyn_cast<ssm::IndexOp>(made))
      index.setLoop(cast<AffineDimExpr>(renamed[index.getLoop()]).getPosition());
  }

  /// Weights are cut into strips as wide as a tile of registers, neighbours along the
  /// depth beside each other where they are taken in pairs; another operand is turned if
  /// it is not dense along the lanes.
  static void layoutRight(OpBuilder &b, KernelOp kernel, const Matmul &what, unsigned input) {
    AffineMap map = kernel.getInputMap(input);
    Value operand = kernel.getInputs()[input];
    auto type = dyn_cast<RankedTensorType>(operand.getType());
    if (!type || !map.isFunctionOfDim(what.n) ||
        llvm::none_of(what.k, [&](unsigned k) { return map.isFunctionOfDim(k); }))
      return;
    if (isStridedWindow(kernel, map, what.n))
      return spreadWindow(b, kernel, what, input);
    // The axes in their new order: others, [strips of n], k in the order of the sum, n.
    SmallVector<unsigned> order;
    std::optional<unsigned> wide;
    for (auto [axis, expr] : llvm::enumerate(map.getResults())) {
      auto dim = dyn_cast<AffineDimExpr>(expr);
      if (!dim && !isa<AffineConstantExpr>(expr))
        return; // in strips already
      if (dim && dim.getPosition() == what.n && std::exchange(wide, axis))
        return;
      if (!dim || (dim.getPosition() != what.n && !llvm::is_contained(what.k, dim.getPosition())))
        order.push_back(axis);
    }
    unsigned numOthers = order.size();
    for (unsigned k : what.k)
      for (auto [axis, expr] : llvm::enumerate(map.getResults()))
        if (expr == b.getAffineDimExpr(k))
          order.push_back(axis);
    bool pack = isFromWeights(operand);
    if (!pack && isDenseAlong(map, what.n))
      return;

    Location loc = kernel.getLoc();
    int64_t strip = kernel.getConfig()->getLanes() * kernel.getConfig()->getTiles()[1];
    if (pack)
      operand = pad(b, loc, operand, *wide, strip);
    bool pairs = pack && inPairs(kernel);
    if (pairs)
      operand = pad(b, loc, operand, order.back(), 2);
    SmallVector<OpFoldResult> all = tensor::getMixedSizes(b, loc, operand), sizes;
    SmallVector<AffineExpr> read(type.getRank()), index;
    auto add = [&](unsigned axis) {
      read[axis] = b.getAffineDimExpr(sizes.size());
      sizes.push_back(all[axis]);
      index.push_back(map.getResult(axis));
    };
    for (unsigned axis : ArrayRef<unsigned>(order).take_front(numOthers))
      add(axis);
    AffineExpr n = b.getAffineDimExpr(what.n);
    unsigned strips = sizes.size();
    if (pack) {
      sizes.push_back(b.getIndexAttr(*getConstantIntValue(all[*wide]) / strip));
      index.push_back(n.floorDiv(strip));
    }
    for (unsigned axis : ArrayRef<unsigned>(order).drop_front(numOthers))
      add(axis);
    AffineExpr lane = b.getAffineDimExpr(sizes.size());
    if (pairs) {
      unsigned axis = order.back();
      AffineExpr k = b.getAffineDimExpr(what.k.back());
      sizes.back() = b.getIndexAttr(*getConstantIntValue(all[axis]) / 2);
      read[axis] = read[axis] * 2 + lane % 2;
      index.back() = k.floorDiv(2);
      read[*wide] = b.getAffineDimExpr(strips) * strip + lane.floorDiv(2);
      sizes.push_back(b.getIndexAttr(2 * strip));
      index.push_back(indexInPairs(n, k, strip));
    } else {
      read[*wide] = pack ? b.getAffineDimExpr(strips) * strip + lane : lane;
      sizes.push_back(pack ? OpFoldResult(b.getIndexAttr(strip)) : all[*wide]);
      index.push_back(pack ? n % strip : n);
    }

    Value turned =
        createCopy(b, loc, operand, AffineMap::get(sizes.size(), 0, read, b.getContext()), sizes);
    kernel.getInputsMutable().slice(input, 1).assign(turned);
    SmallVector<Attribute> attributes(kernel.getMaps().getValue());
    attributes[input] =
        AffineMapAttr::get(AffineMap::get(kernel.getNumLoops(), 0, index, b.getContext()));
    kernel.setMapsAttr(b.getArrayAttr(attributes));
  }

  /// Whether lanes read elements that lie apart in a window: a convolution that moves
  /// on by several elements.
  static bool isStridedWindow(KernelOp kernel, AffineMap map, unsigned n) {
    int64_t lanes = kernel.getConfig()->getLanes();
    bool isWindow = false, isDense = true;
    for (auto [axis, expr] : llvm::enumerate(map.getResults())) {
      bool isLast = axis + 1 == map.getNumResults();
      isWindow |= isa<AffineBinaryOpExpr>(expr);
      isDense &= getLaneStep(expr, n, lanes).value_or(1) <= isLast;
    }
    return isWindow && !isDense;
  }

  /// All windows beside each other, so that lanes read neighbours: each element is
  /// read once for every tile of rows.
  static void spreadWindow(OpBuilder &b, KernelOp kernel, const Matmul &what, unsigned input) {
    AffineMap map = kernel.getInputMap(input);
    // The loops that are last in the out stay together: they become one.
    SmallVector<unsigned> order, last;
    for (AffineExpr expr : llvm::reverse(kernel.getOutMap(0).getResults())) {
      auto dim = dyn_cast<AffineDimExpr>(expr);
      if (!dim || !map.isFunctionOfDim(dim.getPosition()))
        break;
      last.insert(last.begin(), dim.getPosition());
    }
    for (unsigned loop : listLoops(loopsOf(map)))
      if (!llvm::is_contained(last, loop) && !llvm::is_contained(what.k, loop))
        order.push_back(loop);
    for (unsigned loop : what.k)
      if (map.isFunctionOfDim(loop))
        order.push_back(loop);
    llvm::append_range(order, last);
    SmallVector<OpFoldResult> all = kernel.getLoopSizes(b), sizes;
    SmallVector<AffineExpr> renamed(kernel.getNumLoops(), b.getAffineConstantExpr(0)), index;
    for (auto [i, loop] : llvm::enumerate(order)) {
      sizes.push_back(all[loop]);
      renamed[loop] = b.getAffineDimExpr(i);
      index.push_back(b.getAffineDimExpr(loop));
    }
    Value spread = createCopy(b, kernel.getLoc(), kernel.getInputs()[input],
                              map.replaceDimsAndSymbols(renamed, {}, order.size(), 0), sizes);
    kernel.getInputsMutable().slice(input, 1).assign(spread);
    SmallVector<Attribute> attributes(kernel.getMaps().getValue());
    attributes[input] =
        AffineMapAttr::get(AffineMap::get(kernel.getNumLoops(), 0, index, b.getContext()));
    kernel.setMapsAttr(b.getArrayAttr(attributes));
  }

  /// Zeros behind the axis up to a multiple of `to`.
  static Value pad(OpBuilder &b, Location loc, Value value, unsigned axis, int64_t to) {
    auto type = cast<RankedTensorType>(value.getType());
    if (type.getDimSize(axis) % to == 0)
      return value;
    SmallVector<int64_t> shape(type.getShape());
    shape[axis] = llvm::alignTo(shape[axis], to);
    Value empty = tensor::EmptyOp::create(b, loc, shape, type.getElementType());
    Value zero = arith::ConstantOp::create(b, loc, b.getZeroAttr(type.getElementType()));
    Value zeros = linalg::FillOp::create(b, loc, zero, empty).getResult(0);
    SmallVector<OpFoldResult> offsets(type.getRank(), b.getIndexAttr(0));
    SmallVector<OpFoldResult> strides(type.getRank(), b.getIndexAttr(1));
    return tensor::InsertSliceOp::create(b, loc, value, zeros, offsets,
                                         tensor::getMixedSizes(b, loc, value), strides);
  }
};
} // namespace
