//===- DecomposeScan.cpp - ssm.scan to a loop over slices -----------------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "passes/Lowering/Passes.h"

#include "dialects/SSM/SSMOps.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Bufferization/IR/Bufferization.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/Matchers.h"
#include "mlir/IR/PatternMatch.h"

namespace ssm {
#define GEN_PASS_DEF_DECOMPOSESCAN
#include "passes/Lowering/Passes.h.inc"
} // namespace ssm

using namespace mlir;
using namespace ssm;

namespace {
/// Offsets, sizes and strides of one slice of a tensor along an axis.
struct Slice {
  SmallVector<OpFoldResult> offsets, sizes, strides;

  Slice(OpBuilder &b, Location loc, Value tensor) : sizes(tensor::getMixedSizes(b, loc, tensor)) {
    offsets.assign(sizes.size(), b.getIndexAttr(0));
    strides.assign(sizes.size(), b.getIndexAttr(1));
  }
  void moveTo(OpBuilder &b, int64_t axis, OpFoldResult position) {
    offsets[axis] = position;
    sizes[axis] = b.getIndexAttr(1);
  }
};
} // namespace

static void decompose(ScanOp scan, IRRewriter &rewriter) {
  OpBuilder::InsertionGuard guard(rewriter);
  rewriter.setInsertionPoint(scan);
  Location loc = scan.getLoc();
  Value zero = arith::ConstantIndexOp::create(rewriter, loc, 0);
  Value one = arith::ConstantIndexOp::create(rewriter, loc, 1);
  unsigned numCarries = scan.getCarries().size();

  // Sizes outside of the loop: they do not change.
  SmallVector<Slice> inputSlices, outSlices;
  for (Value input : scan.getInputs())
    inputSlices.emplace_back(rewriter, loc, input);
  for (Value out : scan.getOuts())
    outSlices.emplace_back(rewriter, loc, out);

  SmallVector<Value> inits(scan.getCarries());
  llvm::append_range(inits, scan.getOuts());
  auto loop = scf::ForOp::create(rewriter, loc, zero, scan.getLength(), one, inits);
  Block *body = loop.getBody();
  if (!body->empty())
    rewriter.eraseOp(&body->back());
  rewriter.setInsertionPointToEnd(body);
  Value step = loop.getInductionVar(), mirrored;
  // Upstream's folding of a constant into a slice that drops one of several axes of
  // size 1 may take another one; so what is known is a constant from the start.
  bool isOneStep = matchPattern(scan.getLength(), m_One());
  auto position = [&](bool reversed) -> OpFoldResult {
    if (isOneStep)
      return rewriter.getIndexAttr(0);
    if (!reversed)
      return step;
    if (!mirrored) {
      Value last = arith::SubIOp::create(rewriter, loc, scan.getLength(), one);
      mirrored = arith::SubIOp::create(rewriter, loc, last, step);
    }
    return mirrored;
  };

  Block *scanBlock = &scan.getBody().front();
  ValueRange carries = ValueRange(loop.getRegionIterArgs()).take_front(numCarries);
  SmallVector<Value> args(carries);
  for (auto [i, input] : llvm::enumerate(scan.getInputs())) {
    Slice &slice = inputSlices[i];
    slice.moveTo(rewriter, scan.getInputAxes()[i], position(scan.getInputReversed()[i]));
    auto type = cast<RankedTensorType>(scanBlock->getArgument(numCarries + i).getType());
    args.push_back(tensor::ExtractSliceOp::create(rewriter, loc, type, input, slice.offsets,
                                                  slice.sizes, slice.strides));
  }
  SmallVector<Value> values(scanBlock->getTerminator()->getOperands());
  rewriter.eraseOp(scanBlock->getTerminator());
  // Arguments that the step yields are replaced as it is inlined.
  for (Value &value : values)
    if (auto arg = dyn_cast<BlockArgument>(value); arg && arg.getOwner() == scanBlock)
      value = args[arg.getArgNumber()];
  rewriter.inlineBlockBefore(scanBlock, body, body->end(), args);
  rewriter.setInsertionPointToEnd(body);

  for (auto [i, out] : llvm::enumerate(loop.getRegionIterArgs().drop_front(numCarries))) {
    Slice &slice = outSlices[i];
    slice.moveTo(rewriter, scan.getOutputAxes()[i], position(scan.getOutputReversed()[i]));
    Value &value = values[numCarries + i];
    value = tensor::InsertSliceOp::create(rewriter, loc, value, out, slice.offsets, slice.sizes,
                                          slice.strides);
  }
  // A carry stays in its own buffer: at most one copy of it, and none where the
  // step can compute in place. Yielding it as it is would make a buffer per step.
  for (unsigned i = 0; i < numCarries; ++i)
    if (values[i] != carries[i])
      values[i] = bufferization::MaterializeInDestinationOp::create(
                      rewriter, loc, values[i].getType(), values[i], carries[i])
                      .getResult();
  scf::YieldOp::create(rewriter, loc, values);
  rewriter.replaceOp(scan, loop.getResults());
}

namespace {
struct DecomposeScan : ssm::impl::DecomposeScanBase<DecomposeScan> {
  void runOnOperation() override {
    IRRewriter rewriter(&getContext());
    // Inner scans first: an outer one moves their body.
    SmallVector<ScanOp> scans;
    getOperation().walk([&](ScanOp scan) { scans.push_back(scan); });
    for (ScanOp scan : scans)
      decompose(scan, rewriter);
  }
};
} // namespace
