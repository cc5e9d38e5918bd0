//===- FitVectors.cpp - What x86 does better than LLVM finds --------------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "passes/Vector/Passes.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"
#include "mlir/Transforms/WalkPatternRewriteDriver.h"

namespace ssm {
#define GEN_PASS_DEF_FITVECTORS
#include "passes/Vector/Passes.h.inc"
} // namespace ssm

using namespace mlir;

namespace {
/// The instruction gives its second operand where one is NaN. So the result so far is that
/// one, and the test, which is of the first, does not wait for it.
template <typename Op, typename Kept> struct KeepExtreme : OpRewritePattern<Op> {
  using OpRewritePattern<Op>::OpRewritePattern;

  LogicalResult matchAndRewrite(Op op, PatternRewriter &rewriter) const override {
    auto type = dyn_cast<VectorType>(op.getType());
    if (!type || type.getRank() != 1 || !type.getElementType().isF32())
      return rewriter.notifyMatchFailure(op, "not a vector of f32");
    if (!arith::bitEnumContainsAll(op.getFastmath(), arith::FastMathFlags::nsz))
      return rewriter.notifyMatchFailure(op, "the sign of zero counts");
    rewriter.replaceOpWithNewOp<Kept>(op, type, op.getRhs(), op.getLhs(),
                                      LLVM::FastmathFlags::nsz);
    return success();
  }
};

/// Across lanes each step of a maximum that keeps NaN waits for a test of the one before. Whether
/// any lane is NaN can be asked beside it.
struct ExtremeOfLanes : OpRewritePattern<vector::ReductionOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(vector::ReductionOp op, PatternRewriter &rewriter) const override {
    using Kind = vector::CombiningKind;
    Value lanes = op.getVector();
    bool isMax = op.getKind() == Kind::MAXIMUMF;
    if ((!isMax && op.getKind() != Kind::MINIMUMF) || op.getAcc() || !op.getType().isF32() ||
        !arith::bitEnumContainsAll(op.getFastmath(), arith::FastMathFlags::nsz))
      return rewriter.notifyMatchFailure(op, "not the maximum or minimum of a vector of f32");
    ImplicitLocOpBuilder b(op.getLoc(), rewriter);
    Value isNan = arith::CmpFOp::create(b, arith::CmpFPredicate::UNO, lanes, lanes);
    Value hasNan = vector::ReductionOp::create(b, Kind::OR, isNan);
    Value extreme = vector::ReductionOp::create(
        b, isMax ? Kind::MAXNUMF : Kind::MINNUMF, lanes,
        arith::FastMathFlags::nsz | arith::FastMathFlags::nnan);
    Value nan = arith::ConstantOp::create(
        b, b.getF32FloatAttr(std::numeric_limits<float>::quiet_NaN()));
    rewriter.replaceOpWithNewOp<arith::SelectOp>(op, hasNan, nan, extreme);
    return success();
  }
};

struct MaskOfBits : OpRewritePattern<vector::CreateMaskOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(vector::CreateMaskOp op, PatternRewriter &rewriter) const override {
    VectorType type = op.getType();
    int64_t lanes = type.getNumElements();
    if (type.getRank() != 1 || type.isScalable() || (lanes != 8 && lanes != 16 && lanes != 32))
      return rewriter.notifyMatchFailure(op, "not as many lanes as a mask register has bits");
    ImplicitLocOpBuilder b(op.getLoc(), rewriter);
    auto integer = [&](int64_t value) -> Value {
      return arith::ConstantOp::create(b, b.getI64IntegerAttr(value));
    };
    Value count = arith::IndexCastOp::create(b, b.getI64Type(), op.getOperand(0));
    count = arith::MaxSIOp::create(b, count, integer(0));
    count = arith::MinSIOp::create(b, count, integer(lanes));
    Value others = arith::ShLIOp::create(b, integer(-1), count);
    Value bits = arith::XOrIOp::create(b, others, integer(-1));
    bits = arith::TruncIOp::create(b, b.getIntegerType(lanes), bits);
    rewriter.replaceOpWithNewOp<LLVM::BitcastOp>(op, type, bits);
    return success();
  }
};

struct FitVectors : ssm::impl::FitVectorsBase<FitVectors> {
  using Base::Base;

  void runOnOperation() override {
    RewritePatternSet patterns(&getContext());
    patterns.add<KeepExtreme<arith::MaximumFOp, LLVM::MaximumOp>,
                 KeepExtreme<arith::MinimumFOp, LLVM::MinimumOp>, ExtremeOfLanes>(&getContext());
    if (avx512)
      patterns.add<MaskOfBits>(&getContext());
    walkAndApplyPatterns(getOperation(), std::move(patterns));
  }
};
} // namespace
