//===- ReadPadding.cpp - Windows of a tensor that is not padded -----------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "passes/Tiling/Passes.h"

#include "dialects/SSM/KernelLoops.h"
#include "dialects/SSM/KernelViews.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Arith/Utils/Utils.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/PatternMatch.h"

namespace ssm {
#define GEN_PASS_DEF_READPADDING
#include "passes/Tiling/Passes.h.inc"
} // namespace ssm

using namespace mlir;
using namespace ssm;

namespace {

/// A size without what constants add to it.
struct SizeParts {
  OpFoldResult base;
  int64_t constant = 0;
};

class PaddingFolder {
public:
  PaddingFolder(KernelOp kernel, unsigned input) : kernel(kernel), input(input), b(kernel) {}

  bool match();
  void fold();

private:
  /// Elements that the loops which no out has span along an axis, with fixed sizes; 0: unknown.
  int64_t spanOf(AffineExpr expr);
  std::optional<int64_t> paddingOf(int64_t axis);
  Value emit(ImplicitLocOpBuilder &inside, AffineExpr expr);

  KernelOp kernel;
  unsigned input;
  OpBuilder b;
  tensor::InsertSliceOp insert;
  Value filling;
  /// Axes that are longer than the source.
  SmallVector<bool> isPadded;
};

} // namespace

static SizeParts partsOf(OpFoldResult size) {
  if (std::optional<int64_t> fixed = getConstantIntValue(size))
    return {OpFoldResult(), *fixed};
  SizeParts parts = {size, 0};
  while (auto sum = cast<Value>(parts.base).getDefiningOp<arith::AddIOp>()) {
    std::optional<int64_t> more = getConstantIntValue(sum.getRhs());
    if (!more)
      break;
    parts.constant += *more;
    parts.base = sum.getLhs();
  }
  return parts;
}

/// How much longer the padded axis is, if that is fixed.
std::optional<int64_t> PaddingFolder::paddingOf(int64_t axis) {
  SizeParts padded = partsOf(getKnownSize(insert.getDest(), axis));
  SizeParts own = partsOf(insert.getMixedSizes()[axis]);
  if (!padded.base != !own.base || (padded.base && !areEqualSizes(padded.base, own.base)))
    return std::nullopt;
  return padded.constant - own.constant;
}

int64_t PaddingFolder::spanOf(AffineExpr expr) {
  if (auto dim = dyn_cast<AffineDimExpr>(expr)) {
    if (kernel.getOutMap(0).isFunctionOfDim(dim.getPosition()))
      return 1;
    auto [operand, axis] = kernel.getSizeSource(dim.getPosition());
    int64_t size = cast<ShapedType>(operand.getType()).getDimSize(axis);
    return ShapedType::isDynamic(size) ? 0 : size;
  }
  if (isa<AffineConstantExpr>(expr))
    return 1;
  auto binary = dyn_cast<AffineBinaryOpExpr>(expr);
  if (!binary)
    return 0;
  int64_t left = spanOf(binary.getLHS());
  if (left == 0)
    return 0;
  if (binary.getKind() == AffineExprKind::Add) {
    int64_t right = spanOf(binary.getRHS());
    return right == 0 ? 0 : left + right - 1;
  }
  auto by = dyn_cast<AffineConstantExpr>(binary.getRHS());
  return binary.getKind() == AffineExprKind::Mul && by ? (left - 1) * by.getValue() + 1 : 0;
}

bool PaddingFolder::match() {
  insert = kernel.getInputs()[input].getDefiningOp<tensor::InsertSliceOp>();
  if (!insert || insert.getSourceType().getRank() != insert.getDestType().getRank() ||
      !insert.hasUnitStride() || kernel.getTime() || kernel.hasBuffers())
    return false;
  AffineMap map = kernel.getInputMap(input);
  auto reduces = kernel.getStep().getOps<ReduceOp>();
  bool isWindow = !reduces.empty() && llvm::any_of(map.getResults(), [](AffineExpr expr) {
    return !isa<AffineDimExpr, AffineConstantExpr>(expr);
  });
  if (!isWindow)
    return false;
  for (auto [axis, expr] : llvm::enumerate(map.getResults())) {
    std::optional<int64_t> padding = paddingOf(axis);
    bool isPlain = expr.isPureAffine();
    expr.walk([&](AffineExpr part) {
      isPlain &= part.getKind() == AffineExprKind::Add || part.getKind() == AffineExprKind::Mul ||
                 isa<AffineDimExpr, AffineConstantExpr>(part);
    });
    if (!padding || !isPlain)
      return false;
    isPadded.push_back(*padding != 0);
    // Of a window that is longer than the padding some element exists.
    int64_t size = insert.getSourceType().getDimSize(axis);
    bool exists = ShapedType::isDynamic(size) ? spanOf(expr) > *padding : size > 0;
    if (isPadded.back() && !exists)
      return false;
  }
  SmallVector<AffineMap> maps(kernel.getMaps().getAsValueRange<AffineMapAttr>());
  maps.erase(maps.begin() + input);
  if (!haveSizes(kernel.getNumLoops(), maps))
    return false;
  filling = getFilledWith(b, insert.getDest());
  return static_cast<bool>(filling);
}

Value PaddingFolder::emit(ImplicitLocOpBuilder &inside, AffineExpr expr) {
  if (auto dim = dyn_cast<AffineDimExpr>(expr))
    return ssm::IndexOp::create(inside, inside.getIndexType(),
                                inside.getI64IntegerAttr(dim.getPosition()));
  if (auto constant = dyn_cast<AffineConstantExpr>(expr))
    return arith::ConstantIndexOp::create(inside, constant.getValue());
  auto binary = cast<AffineBinaryOpExpr>(expr);
  Value left = emit(inside, binary.getLHS()), right = emit(inside, binary.getRHS());
  return binary.getKind() == AffineExprKind::Add
             ? inside.createOrFold<arith::AddIOp>(left, right)
             : inside.createOrFold<arith::MulIOp>(left, right);
}

void PaddingFolder::fold() {
  ImplicitLocOpBuilder outside(kernel.getLoc(), kernel);
  ImplicitLocOpBuilder inside(kernel.getLoc(), &kernel.getStep(), kernel.getStep().begin());
  Value zero = arith::ConstantIndexOp::create(outside, 0), all;
  SmallVector<Value> indices;
  for (auto [axis, expr] : llvm::enumerate(kernel.getInputMap(input).getResults())) {
    Value at = emit(inside, expr);
    if (isPadded[axis]) {
      auto valueOf = [&](OpFoldResult size) {
        return getValueOrCreateConstantIndexOp(outside, outside.getLoc(), size);
      };
      Value begin = valueOf(insert.getMixedOffsets()[axis]);
      Value size = valueOf(insert.getMixedSizes()[axis]);
      at = inside.createOrFold<arith::SubIOp>(at, begin);
      Value isInside = arith::CmpIOp::create(inside, arith::CmpIPredicate::ult, at, size);
      at = arith::SelectOp::create(inside, isInside, at, zero);
      all = all ? arith::AndIOp::create(inside, all, isInside).getResult() : isInside;
    }
    indices.push_back(at);
  }
  Value element = tensor::ExtractOp::create(inside, insert.getSource(), indices);
  if (all)
    element = arith::SelectOp::create(inside, all, element, filling);
  BlockArgument argument = kernel.getInputArg(input);
  argument.replaceAllUsesWith(element);
  kernel.getStep().eraseArgument(argument.getArgNumber());
  SmallVector<Attribute> maps(kernel.getMaps().getValue());
  maps.erase(maps.begin() + input);
  kernel.setMapsAttr(b.getArrayAttr(maps));
  if (!kernel.getMirrored().empty()) {
    SmallVector<bool> mirrored(kernel.getMirrored());
    mirrored.erase(mirrored.begin() + input);
    kernel.setMirrored(mirrored);
  }
  kernel.getInputsMutable().erase(input);
}

namespace {
struct ReadPadding : ssm::impl::ReadPaddingBase<ReadPadding> {
  void runOnOperation() override {
    getOperation().walk([](KernelOp kernel) {
      for (unsigned i = kernel.getInputs().size(); i-- > 0;)
        if (PaddingFolder folder(kernel, i); folder.match())
          folder.fold();
    });
  }
};
} // namespace
