//===- LayoutFactors.cpp - Products as tensor cores read them -------------===//
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
#include "mlir/IR/TypeUtilities.h"

namespace ssm {
#define GEN_PASS_DEF_LAYOUTFACTORS
#include "passes/Tiling/Passes.h.inc"
} // namespace ssm

using namespace mlir;
using namespace ssm;

/// Where rows of tensor cores' factors begin, in bits.
static constexpr int64_t kAligned = 128;

static bool isFloat8(Type type) { return isa<Float8E4M3FNType, Float8E5M2Type>(type); }

namespace {

/// A tensor of 8-bit numbers and how a product reads it.
struct Source {
  Value tensor;
  AffineMap map;
};

class FactorLayout {
public:
  FactorLayout(KernelOp product, const Matmul &what, WeightValues &weights)
      : product(product), what(what), weights(weights) {}

  /// Both factors are bytes or 8-bit floats, or are converted from them.
  bool layoutBytes();
  /// A weight of 16 bits, or of f32.
  void layoutWeight(bool isF32Too);

private:
  std::optional<unsigned> inputOf(Value factor);
  std::optional<Source> sourceOf(unsigned input);
  bool canTurn(const Source &source);
  bool alongDepth(Source &source);
  void replace(unsigned input, const Source &source);

  KernelOp product;
  Matmul what;
  WeightValues &weights;
};
} // namespace

/// Whether the value of a region is an 8-bit float, its argument, converted to a longer one.
static bool isConverted(Value value, Value arg) {
  // Through f32 on the way to f16 or bf16.
  if (auto narrow = value.getDefiningOp<arith::TruncFOp>())
    value = narrow.getIn();
  auto wide = value.getDefiningOp<arith::ExtFOp>();
  return wide && wide.getIn() == arg && isFloat8(arg.getType());
}

/// The tensor of 8-bit floats that a value converts element by element, and its element (map) for
/// each of the value's.
static std::optional<Source> findSource(Value value) {
  Operation *op = value.getDefiningOp();
  AffineMap in, out;
  if (auto kernel = dyn_cast_or_null<KernelOp>(op)) {
    if (kernel.getTime() || kernel.getNumCarries() || kernel.getInputs().size() != 1 ||
        kernel.getOuts().size() != 1 || kernel.isInputMirrored(0) || kernel.isOutMirrored(0) ||
        !isConverted(kernel.getYield().getValues().front(), kernel.getInputArg(0)))
      return std::nullopt;
    in = kernel.getInputMap(0);
    out = kernel.getOutMap(0);
  } else if (auto generic = dyn_cast_or_null<linalg::GenericOp>(op)) {
    if (generic.getInputs().size() != 1 || generic.getOutputs().size() != 1 ||
        generic.getNumParallelLoops() != generic.getNumLoops() ||
        !isConverted(generic.getBody()->getTerminator()->getOperand(0),
                     generic.getBody()->getArgument(0)))
      return std::nullopt;
    in = generic.getIndexingMapsArray()[0];
    out = generic.getIndexingMapsArray()[1];
  }
  if (!out || !out.isPermutation())
    return std::nullopt;
  return Source{op->getOperand(0), in.compose(inversePermutation(out))};
}

/// The input that a factor is an element of, widened or as it is, and nothing else.
std::optional<unsigned> FactorLayout::inputOf(Value factor) {
  if (isa_and_nonnull<arith::ExtFOp, arith::ExtSIOp, arith::ExtUIOp>(factor.getDefiningOp()))
    factor = factor.getDefiningOp()->getOperand(0);
  auto arg = dyn_cast<BlockArgument>(factor);
  if (!arg || arg.getOwner() != &product.getStep() ||
      arg.getArgNumber() >= product.getInputs().size() || !arg.hasOneUse() ||
      product.isInputMirrored(arg.getArgNumber()))
    return std::nullopt;
  return arg.getArgNumber();
}

std::optional<Source> FactorLayout::sourceOf(unsigned input) {
  Source own{product.getInputs()[input], product.getInputMap(input)};
  Type type = product.getInputArg(input).getType();
  if (isFloat8(type) || type.isInteger(8))
    return own;
  std::optional<Source> found = findSource(own.tensor);
  if (found)
    found->map = found->map.compose(own.map);
  return found;
}

/// Whether it is a weight, whose axes can have any order.
bool FactorLayout::canTurn(const Source &source) {
  return weights.isFromWeights(source.tensor) && source.map.isProjectedPermutation() &&
         source.map.isFunctionOfDim(what.k.front()) &&
         cast<ShapedType>(source.tensor.getType()).hasStaticShape();
}

/// Whether rows of the source lie along the depth: those of a weight can be made to.
bool FactorLayout::alongDepth(Source &source) {
  unsigned depth = what.k.front();
  if (isDenseAlong(source.map, depth))
    return true;
  if (!canTurn(source))
    return false;
  SmallVector<int64_t> order;
  int64_t last = 0;
  for (auto [axis, expr] : llvm::enumerate(source.map.getResults())) {
    if (expr.isFunctionOfDim(depth))
      last = axis;
    else
      order.push_back(axis);
  }
  order.push_back(last);
  OpBuilder b(product);
  auto type = cast<RankedTensorType>(source.tensor.getType());
  SmallVector<int64_t> shape;
  SmallVector<AffineExpr> results;
  for (int64_t axis : order) {
    shape.push_back(type.getDimSize(axis));
    results.push_back(source.map.getResult(axis));
  }
  Value init = tensor::EmptyOp::create(b, product.getLoc(), shape, type.getElementType());
  source.tensor =
      linalg::TransposeOp::create(b, product.getLoc(), source.tensor, init, order)->getResult(0);
  source.map = AffineMap::get(source.map.getNumDims(), 0, results, b.getContext());
  return true;
}

void FactorLayout::replace(unsigned input, const Source &source) {
  product.getInputsMutable().slice(input, 1).assign(source.tensor);
  SmallVector<Attribute> maps(product.getMaps().getValue());
  maps[input] = AffineMapAttr::get(source.map);
  product.setMapsAttr(ArrayAttr::get(product.getContext(), maps));
  BlockArgument arg = product.getInputArg(input);
  Type old = arg.getType(), element = getElementTypeOrSelf(source.tensor.getType());
  arg.setType(element);
  if (!old.isF32() || element == old)
    return;
  OpBuilder b(&product.getStep(), product.getStep().begin());
  auto wide = arith::ExtFOp::create(b, product.getLoc(), b.getF32Type(), arg);
  arg.replaceAllUsesExcept(wide, wide);
}

bool FactorLayout::layoutBytes() {
  std::optional<unsigned> left = inputOf(what.left), right = inputOf(what.right);
  if (!left || !right || *left == *right)
    return false;
  std::optional<Source> a = sourceOf(*left), b = sourceOf(*right);
  if (!a || !b || isDenseAlong(a->map, what.k.front()) + isDenseAlong(b->map, what.k.front()) == 0)
    return false;
  if (!alongDepth(*a) || !alongDepth(*b))
    return false;
  replace(*left, *a);
  replace(*right, *b);
  return true;
}

void FactorLayout::layoutWeight(bool isF32Too) {
  std::optional<unsigned> right = inputOf(what.right);
  if (!right)
    return;
  Source source{product.getInputs()[*right], product.getInputMap(*right)};
  auto type = cast<RankedTensorType>(source.tensor.getType());
  // What something else reads would be there twice.
  Type element = type.getElementType();
  if (!(element.isF16() || element.isBF16() || (isF32Too && element.isF32())) ||
      !canTurn(source) || isDenseAlong(source.map, what.k.front()) || !source.tensor.hasOneUse())
    return;
  // Rows that begin at 16 bytes stay, if the turned ones would not.
  int64_t aligned = kAligned / element.getIntOrFloatBitWidth(), row = type.getShape().back();
  if (fixedSize(product, what.k.front()) % aligned != 0 && row % aligned == 0)
    return;
  alongDepth(source);
  replace(*right, source);
}

namespace {
struct LayoutFactors : ssm::impl::LayoutFactorsBase<LayoutFactors> {
  using Base::Base;

  void runOnOperation() override {
    WeightValues weights;
    SmallVector<KernelOp> kernels;
    getOperation()->walk([&](KernelOp kernel) { kernels.push_back(kernel); });
    for (KernelOp kernel : kernels) {
      std::optional<Matmul> what = matchMatmul(kernel);
      if (!what || what->k.size() != 1)
        continue;
      FactorLayout layout(kernel, *what, weights);
      if (!bytes || !what->m || !layout.layoutBytes())
        layout.layoutWeight(f32);
    }
  }
};
} // namespace
