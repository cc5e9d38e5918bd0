//===- MatmulShape.cpp - Products of matrices among kernels -------------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "lib/Analysis/MatmulShape.h"

#include "lib/Analysis/KernelShape.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "llvm/ADT/SetVector.h"

using namespace mlir;
using namespace ssm;

/// The loops of an out, in its order.
static SmallVector<unsigned> outLoops(AffineMap map) {
  SmallVector<unsigned> found;
  for (AffineExpr expr : map.getResults())
    if (auto dim = dyn_cast<AffineDimExpr>(expr))
      found.push_back(dim.getPosition());
  return found;
}

std::optional<Matmul> ssm::matchMatmul(KernelOp kernel) {
  if (kernel.getTime() || !isVectorizable(kernel))
    return std::nullopt;
  auto reduces = llvm::to_vector(kernel.getStep().getOps<ReduceOp>());
  if (reduces.size() != 1)
    return std::nullopt;
  ReduceOp sum = reduces.front();
  Operation *product = sum.getValue().getDefiningOp();
  bool isSum = sum.getKind() == arith::AtomicRMWKind::addf ||
               sum.getKind() == arith::AtomicRMWKind::addi;
  if (!isSum || !isa_and_nonnull<arith::MulFOp, arith::MulIOp>(product) ||
      sum.getType().getIntOrFloatBitWidth() < 32)
    return std::nullopt;

  LoopSet all = 0, summed = loopsOf(sum.getLoops());
  for (unsigned loop = 0; loop < kernel.getNumLoops(); ++loop)
    all |= loopBit(loop);
  for (unsigned i = 0; i < kernel.getOuts().size(); ++i)
    if (loopsOf(kernel.getOutMap(i)) != (all & ~summed))
      return std::nullopt;
  SmallVector<unsigned> order = outLoops(kernel.getOutMap(0));
  if (order.empty())
    return std::nullopt;

  KernelLoops loops(kernel);
  for (unsigned side : {0, 1}) {
    Matmul found{sum, product->getOperand(side), product->getOperand(1 - side),
                 std::nullopt, order.back(), {order.back()}, listLoops(summed), {}};
    LoopSet left = loops.of(found.left), right = loops.of(found.right);
    if (!isSubset(summed, left & right) || !contains(right & ~left, found.n))
      continue;
    for (unsigned loop : order)
      if (contains(left & ~right, loop))
        found.m = loop;
    for (unsigned loop : order)
      if (loop != found.n && found.m != loop)
        found.outer.push_back(loop);
    return found;
  }
  return std::nullopt;
}

SmallVector<unsigned> ssm::inputsOf(KernelOp kernel, Value value) {
  llvm::SetVector<Value> slice;
  slice.insert(value);
  SmallVector<unsigned> inputs;
  for (unsigned next = 0; next < slice.size(); ++next) {
    Value current = slice[next];
    if (current.getParentBlock() != &kernel.getStep())
      continue;
    if (auto arg = dyn_cast<BlockArgument>(current)) {
      if (arg.getArgNumber() < kernel.getInputs().size())
        inputs.push_back(arg.getArgNumber());
      continue;
    }
    for (Value operand : current.getDefiningOp()->getOperands())
      slice.insert(operand);
  }
  return inputs;
}

bool ssm::isDenseAlong(AffineMap map, unsigned loop) {
  if (map.getNumResults() == 0)
    return false;
  auto last = dyn_cast<AffineDimExpr>(map.getResults().back());
  return last && last.getPosition() == loop &&
         llvm::none_of(map.getResults().drop_back(),
                       [&](AffineExpr expr) { return expr.isFunctionOfDim(loop); });
}

bool ssm::canSumAlongDepth(KernelOp kernel, const Matmul &what, int64_t lanes) {
  return what.k.size() == 1 && lanes % 4 == 0 && canBeLaneLoop(kernel, what.k.front(), lanes);
}

bool ssm::isDenseAlongDepth(KernelOp kernel, const Matmul &what, Value side) {
  unsigned k = what.k.back();
  return llvm::all_of(inputsOf(kernel, side), [&](unsigned input) {
    AffineMap map = kernel.getInputMap(input);
    return !map.isFunctionOfDim(k) || isDenseAlong(map, k);
  });
}

bool ssm::isPackedAlong(KernelOp kernel, unsigned input, unsigned loop, int64_t lanes) {
  AffineMap map = kernel.getInputMap(input);
  if (map.getNumResults() == 0)
    return false;
  auto last = dyn_cast<AffineBinaryOpExpr>(map.getResults().back());
  if (!last || last.getKind() != AffineExprKind::Mod || !isa<AffineDimExpr>(last.getLHS()) ||
      cast<AffineDimExpr>(last.getLHS()).getPosition() != loop)
    return false;
  auto width = dyn_cast<AffineConstantExpr>(last.getRHS());
  auto type = cast<ShapedType>(kernel.getInputs()[input].getType());
  return width && width.getValue() % lanes == 0 &&
         type.getDimSize(type.getRank() - 1) == width.getValue();
}

BlockArgument ssm::getFactorArg(Value factor) {
  if (auto extend = factor.getDefiningOp<arith::ExtFOp>())
    factor = extend.getIn();
  return dyn_cast<BlockArgument>(factor);
}

bool ssm::canSumPairs(KernelOp kernel, const Matmul &what, int64_t lanes) {
  auto isRead = [&](Value factor) {
    BlockArgument arg = getFactorArg(factor);
    return arg && arg.getOwner() == &kernel.getStep() && arg.getType().isBF16();
  };
  return lanes == 16 && what.k.size() == 1 && ReduceOp(what.sum).getType().isF32() &&
         isRead(what.left) && isRead(what.right);
}

AffineExpr ssm::indexInPairs(AffineExpr n, AffineExpr k, int64_t width) {
  return n % width * 2 + k % 2;
}

bool ssm::isPackedInPairs(KernelOp kernel, const Matmul &what, unsigned input, int64_t lanes) {
  AffineMap map = kernel.getInputMap(input);
  auto type = cast<ShapedType>(kernel.getInputs()[input].getType());
  if (map.getNumResults() < 3 || what.k.size() != 1 || type.isDynamicDim(type.getRank() - 1))
    return false;
  int64_t width = type.getDimSize(type.getRank() - 1) / 2;
  MLIRContext *context = map.getContext();
  return width > 0 && width % lanes == 0 &&
         map.getResults().back() == indexInPairs(getAffineDimExpr(what.n, context),
                                                 getAffineDimExpr(what.k[0], context), width);
}
