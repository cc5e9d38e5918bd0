//===- LayoutWindows.cpp - Convolutions with channels last ----------------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "passes/Tiling/Passes.h"

#include "dialects/SSM/KernelBuilders.h"
#include "dialects/SSM/KernelMerge.h"
#include "dialects/SSM/SSMOps.h"
#include "lib/Analysis/ConvolutionShape.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Arith/Utils/Utils.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

namespace ssm {
#define GEN_PASS_DEF_LAYOUTWINDOWS
#include "passes/Tiling/Passes.h.inc"
} // namespace ssm

using namespace mlir;
using namespace ssm;

/// Elements that are copied at a time.
static constexpr int64_t kChunk = 8;

namespace {

class WindowTurner {
public:
  WindowTurner(KernelOp kernel, Convolution what)
      : kernel(kernel), what(std::move(what)), b(kernel.getLoc(), kernel) {}

  bool match();
  void turn();

private:
  Value turned(Value source, ArrayRef<int64_t> order);
  void takeProducer(KernelOp turn);
  void moveChannelsLast();

  KernelOp kernel;
  Convolution what;
  ImplicitLocOpBuilder b;
  unsigned weights = 0, channel = 0;
  ReadWindow weightsWindow;
  /// The source's and the weights' axes in their new order.
  SmallVector<int64_t> order, weightsOrder;
  SmallVector<KernelOp> turns;
};

} // namespace

bool WindowTurner::match() {
  Matmul &product = what.product;
  auto left = product.left.getDefiningOp<arith::ExtFOp>();
  auto right = product.right.getDefiningOp<arith::ExtFOp>();
  if (!left || !right || !product.sum.getType().isF32() ||
      left.getIn().getType() != right.getIn().getType() ||
      left.getIn().getType().getIntOrFloatBitWidth() != 16)
    return false;
  std::optional<ReadWindow> matrix = matchReadWindow(kernel, left.getIn());
  if (!matrix || !matrix->input || matrix->isMoving())
    return false;
  weightsWindow = *matrix;
  weights = *matrix->input;
  // The one loop of the sum that no window moves along.
  std::optional<unsigned> found;
  for (unsigned loop : product.k)
    if (what.window.axisOf(loop) && matrix->axisOf(loop)) {
      if (found)
        return false;
      found = loop;
    }
  if (!found)
    return false;
  channel = *found;
  // Nothing else knows how many channels there are.
  for (unsigned i = 0; i < kernel.getInputs().size(); ++i)
    if (i != weights && what.window.input != i && kernel.getInputMap(i).isFunctionOfDim(channel))
      return false;
  for (auto index : kernel.getStep().getOps<ssm::IndexOp>())
    if (index.getLoop() == channel &&
        llvm::any_of(index->getUsers(),
                     [&](Operation *user) { return user != what.window.read; }))
      return false;

  unsigned ownAxis = *what.window.axisOf(channel);
  std::optional<unsigned> group;
  for (unsigned loop : product.outer)
    if (matrix->axisOf(loop) && what.window.axisOf(loop))
      group = what.window.axisOf(loop);
  for (int64_t axis = 0, rank = what.window.axes.size(); axis < rank; ++axis)
    if (axis != ownAxis && (!group || axis != *group))
      order.push_back(axis);
  if (group)
    order.push_back(*group);
  order.push_back(ownAxis);
  // Rows of weights: all that is no depth, then the depth as loops have it.
  SmallVector<int64_t> depth;
  for (unsigned loop : product.k) {
    std::optional<unsigned> axis = matrix->axisOf(loop);
    if (!axis)
      return false;
    if (loop != channel)
      depth.push_back(*axis);
  }
  depth.push_back(*matrix->axisOf(channel));
  for (int64_t axis = 0, rank = matrix->axes.size(); axis < rank; ++axis)
    if (!llvm::is_contained(depth, axis))
      weightsOrder.push_back(axis);
  llvm::append_range(weightsOrder, depth);
  return true;
}

/// The tensor with its axes in that order, the last one up to a multiple of chunks.
Value WindowTurner::turned(Value source, ArrayRef<int64_t> order) {
  auto type = cast<RankedTensorType>(source.getType());
  int64_t rank = type.getRank(), channels = type.getDimSize(order.back());
  bool isWhole = !ShapedType::isDynamic(channels) && channels % kChunk == 0;
  if (isWhole && llvm::is_sorted(order))
    return source;
  SmallVector<OpFoldResult> sizes;
  SmallVector<AffineExpr> exprs(rank);
  SmallVector<OpFoldResult> own = tensor::getMixedSizes(b, b.getLoc(), source);
  for (auto [i, axis] : llvm::enumerate(order)) {
    sizes.push_back(own[axis]);
    exprs[axis] = b.getAffineDimExpr(i);
  }
  AffineMap read = AffineMap::get(rank, 0, exprs, b.getContext());
  if (isWhole) {
    Value out = tensor::EmptyOp::create(b, sizes, type.getElementType());
    turns.push_back(buildElementwise(b, b.getLoc(), source, read, out));
    return turns.back().getResult(0);
  }
  Value count = getValueOrCreateConstantIndexOp(b, b.getLoc(), sizes.back());
  Value chunk = arith::ConstantIndexOp::create(b, kChunk);
  Value more = arith::ConstantIndexOp::create(b, kChunk - 1);
  Value chunks = b.createOrFold<arith::DivUIOp>(b.createOrFold<arith::AddIOp>(count, more), chunk);
  sizes.back() = getAsOpFoldResult(b.createOrFold<arith::MulIOp>(chunks, chunk));
  Value out = tensor::EmptyOp::create(b, sizes, type.getElementType());
  Value zero = arith::ConstantIndexOp::create(b, 0);
  Value noElement = arith::ConstantOp::create(b, b.getZeroAttr(type.getElementType()));
  // A fill whose value is computed.
  KernelOp turn = buildFill(b, b.getLoc(), noElement, out);
  ImplicitLocOpBuilder inside(b.getLoc(), &turn.getStep(), turn.getStep().begin());
  SmallVector<Value> indices(rank);
  Value exists;
  for (auto [i, axis] : llvm::enumerate(order)) {
    indices[axis] = ssm::IndexOp::create(inside, inside.getIndexType(), inside.getI64IntegerAttr(i));
    if (static_cast<int64_t>(i) + 1 != rank)
      continue;
    exists = arith::CmpIOp::create(inside, arith::CmpIPredicate::ult, indices[axis], count);
    indices[axis] = arith::SelectOp::create(inside, exists, indices[axis], zero);
  }
  Value element = tensor::ExtractOp::create(inside, source, indices);
  turn.getYield()->setOperand(0, arith::SelectOp::create(inside, exists, element, noElement));
  return turn.getResult(0);
}

/// What is computed element by element for the copy alone goes into it.
void WindowTurner::takeProducer(KernelOp turn) {
  auto before = turn.getInputs()[0].getDefiningOp<KernelOp>();
  bool isElementwise = before && !before.getTime() && before.getNumResults() == 1 &&
                       before.getStep().getOps<ReduceOp>().empty() &&
                       llvm::all_of(before->getUsers(), [&](Operation *user) {
                         return user == turn || isa<tensor::DimOp>(user);
                       });
  if (!isElementwise)
    return;
  for (Operation *user : llvm::make_early_inc_range(before->getUsers()))
    if (auto dim = dyn_cast<tensor::DimOp>(user))
      dim.getSourceMutable().set(before.getOuts()[0]);
  IRRewriter rewriter(b.getContext());
  (void)mergeKernels(rewriter, before, turn, KeepResults::InMerged);
}

void WindowTurner::moveChannelsLast() {
  unsigned last = kernel.getNumLoops() - 1;
  auto moved = [&](unsigned loop) {
    return loop == channel ? last : loop > channel ? loop - 1 : loop;
  };
  SmallVector<AffineExpr> loops;
  for (unsigned loop = 0; loop <= last; ++loop)
    loops.push_back(b.getAffineDimExpr(moved(loop)));
  SmallVector<AffineMap> maps;
  for (AffineMap map : kernel.getMaps().getAsValueRange<AffineMapAttr>())
    maps.push_back(map.replaceDimsAndSymbols(loops, {}, last + 1, 0));
  kernel.setMapsAttr(b.getAffineMapArrayAttr(maps));
  for (Operation &op : kernel.getStep()) {
    if (auto index = dyn_cast<ssm::IndexOp>(op))
      index.setLoop(moved(index.getLoop()));
    if (auto reduce = dyn_cast<ReduceOp>(op)) {
      auto over = llvm::map_to_vector(reduce.getLoops(),
                                      [&](int64_t loop) -> int64_t { return moved(loop); });
      llvm::sort(over);
      reduce.setLoops(over);
    }
  }
}

void WindowTurner::turn() {
  SmallVector<AffineMap> maps(kernel.getMaps().getAsValueRange<AffineMapAttr>());
  auto turnMap = [&](unsigned input, ArrayRef<int64_t> order) {
    auto results = llvm::map_to_vector(
        order, [&](int64_t axis) { return maps[input].getResult(axis); });
    maps[input] = AffineMap::get(maps[input].getNumDims(), 0, results, b.getContext());
  };
  Value source = turned(what.window.source, order);
  if (what.window.input) {
    kernel.getInputsMutable()[*what.window.input].set(source);
    turnMap(*what.window.input, order);
  } else {
    auto read = cast<tensor::ExtractOp>(what.window.read);
    auto indices = llvm::map_to_vector(order, [&](int64_t axis) -> Value {
      return read.getIndices()[axis];
    });
    read.getTensorMutable().set(source);
    read.getIndicesMutable().assign(indices);
  }
  kernel.getInputsMutable()[weights].set(turned(weightsWindow.source, weightsOrder));
  turnMap(weights, weightsOrder);
  kernel.setMapsAttr(b.getAffineMapArrayAttr(maps));
  moveChannelsLast();
  for (KernelOp turn : turns)
    takeProducer(turn);
}

namespace {
struct LayoutWindows : ssm::impl::LayoutWindowsBase<LayoutWindows> {
  void runOnOperation() override {
    SmallVector<KernelOp> kernels;
    getOperation()->walk([&](KernelOp kernel) {
      if (!kernel.hasBuffers() && matchConvolution(kernel))
        kernels.push_back(kernel);
    });
    for (KernelOp kernel : kernels)
      if (WindowTurner turner(kernel, *matchConvolution(kernel)); turner.match())
        turner.turn();
  }
};
} // namespace
