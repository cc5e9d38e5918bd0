//===- ExpandHalf.cpp - Conversions of f16 and bf16 as arithmetic --------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "passes/CPU/FloatBits.h"
#include "passes/CPU/Passes.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"
#include "mlir/IR/TypeUtilities.h"
#include "mlir/Transforms/WalkPatternRewriteDriver.h"

namespace ssm {
#define GEN_PASS_DEF_EXPANDHALF
#include "passes/CPU/Passes.h.inc"
} // namespace ssm

using namespace mlir;
using namespace ssm;

namespace {

/// To nearest, ties to even, by a carry from the bits that go; NaN stays NaN.
Value truncateToBF16(FloatBits &f, Value x) {
  Value bits = f.of(x);
  Value rounded = f.add(f.add(bits, 0x7fff), f.mask(f.right(bits, 16), 1));
  Value isNaN = arith::CmpFOp::create(f.b, arith::CmpFPredicate::UNO, x, x);
  Value result = f.select(isNaN, f.set(bits, 0x400000), rounded);
  return f.narrow(f.right(result, 16), f.b.getBF16Type());
}

Value truncateToF16(FloatBits &f, Value x) {
  using P = arith::CmpIPredicate;
  Value bits = f.of(x), magnitude = f.mask(bits, 0x7fffffff);
  // The exponent rebased from 127 to 15, 13 bits rounded off.
  Value kept = f.right(magnitude, 13);
  Value normal = f.right(f.add(f.add(magnitude, 0xc8000fff), f.mask(kept, 1)), 13);
  // Below 2^-14: the sum with 1/2 rounds to a multiple of 2^-24.
  Value sum = arith::AddFOp::create(f.b, f.toReal(magnitude), f.real(0.5f));
  Value subnormal = f.add(f.of(sum), 0u - 0x3f000000u);
  Value result = f.select(f.compare(P::ult, magnitude, 0x38800000), subnormal, normal);
  // From 65520 on: infinity.
  result = f.select(f.compare(P::uge, magnitude, 0x477ff000), f.constant(0x7c00), result);
  Value quiet = f.set(f.mask(kept, 0x3ff), 0x7e00);
  result = f.select(f.compare(P::ugt, magnitude, 0x7f800000), quiet, result);
  Value sign = f.mask(f.right(bits, 16), 0x8000);
  return f.narrow(arith::OrIOp::create(f.b, result, sign), f.b.getF16Type());
}

Value extendF16(FloatBits &f, Value x) {
  Value bits = f.widen(x), magnitude = f.mask(bits, 0x7fff);
  Value moved = f.left(magnitude, 13);
  // 2^112 brings the exponent from base 15 to base 127, subnormals too.
  Value scaled = f.of(arith::MulFOp::create(f.b, f.toReal(moved), f.real(0x1p112f)));
  Value isSpecial = f.compare(arith::CmpIPredicate::uge, magnitude, 0x7c00);
  Value result = f.select(isSpecial, f.set(moved, 0x7f800000), scaled);
  Value sign = f.left(f.mask(bits, 0x8000), 16);
  return f.toReal(arith::OrIOp::create(f.b, result, sign));
}

struct ExpandTruncation : OpRewritePattern<arith::TruncFOp> {
  ExpandTruncation(MLIRContext *context, bool f16) : OpRewritePattern(context), f16(f16) {}

  LogicalResult matchAndRewrite(arith::TruncFOp op, PatternRewriter &rewriter) const override {
    Type to = getElementTypeOrSelf(op.getType());
    if (!getElementTypeOrSelf(op.getIn()).isF32() || !(to.isBF16() || (f16 && to.isF16())))
      return rewriter.notifyMatchFailure(op, "the target has an instruction for it");
    if (op.getRoundingmode())
      return rewriter.notifyMatchFailure(op, "rounds in its own way");
    ImplicitLocOpBuilder b(op.getLoc(), rewriter);
    FloatBits f(b, op.getType());
    rewriter.replaceOp(op, to.isBF16() ? truncateToBF16(f, op.getIn())
                                       : truncateToF16(f, op.getIn()));
    return success();
  }

  bool f16;
};

struct ExpandExtension : OpRewritePattern<arith::ExtFOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(arith::ExtFOp op, PatternRewriter &rewriter) const override {
    if (!getElementTypeOrSelf(op.getIn()).isF16() || !getElementTypeOrSelf(op.getType()).isF32())
      return rewriter.notifyMatchFailure(op, "not f16 to f32");
    ImplicitLocOpBuilder b(op.getLoc(), rewriter);
    FloatBits f(b, op.getType());
    rewriter.replaceOp(op, extendF16(f, op.getIn()));
    return success();
  }
};

struct ExpandHalf : ssm::impl::ExpandHalfBase<ExpandHalf> {
  using Base::Base;

  void runOnOperation() override {
    RewritePatternSet patterns(&getContext());
    patterns.add<ExpandTruncation>(&getContext(), f16);
    if (f16)
      patterns.add<ExpandExtension>(&getContext());
    walkAndApplyPatterns(getOperation(), std::move(patterns));
  }
};
} // namespace
