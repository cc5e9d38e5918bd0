//===- ExpandFloat8.cpp - Conversions of 8-bit floats as arithmetic ------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "passes/CPU/FloatBits.h"
#include "passes/CPU/Passes.h"

#include "mlir/Transforms/WalkPatternRewriteDriver.h"

namespace ssm {
#define GEN_PASS_DEF_EXPANDFLOAT8
#include "passes/CPU/Passes.h.inc"
} // namespace ssm

using namespace mlir;
using namespace ssm;

namespace {

/// Where the bits are: e4m3fn has 0x7f as its only NaN and no infinity, e5m2 is the upper byte of
/// f16.
struct Format {
  /// From its lowest bit to that of f32, and the difference of the exponents' biases.
  int shift, bias;
  /// The least magnitude that is no finite number; whether that is infinity.
  uint32_t special;
  bool hasInfinity;

  static Format of(Type type) {
    return isa<Float8E4M3FNType>(type) ? Format{20, 120, 0x7f, false} : Format{21, 112, 0x7c, true};
  }
  /// Bits of 2^n as f32.
  static uint32_t power(int n) { return uint32_t(n + 127) << 23; }
  uint32_t leastNormal() const { return uint32_t(bias + 1) << 23; }
  /// Its last place is worth the least number of the format.
  uint32_t magic() const { return power(bias + 1 - 127 - (23 - shift) + 23); }
};

bool isFloat8(Type type) { return isa<Float8E4M3FNType, Float8E5M2Type>(type); }

Value extend(FloatBits &f, Value x, Format format) {
  using P = arith::CmpIPredicate;
  Value bits = f.widen(x), magnitude = f.mask(bits, 0x7f);
  Value moved = f.left(magnitude, format.shift);
  // Brings the exponent to f32's base, of subnormal numbers too.
  Value factor = f.toReal(f.constant(Format::power(format.bias)));
  Value scaled = f.of(arith::MulFOp::create(f.b, f.toReal(moved), factor));
  Value isSpecial = f.compare(P::uge, magnitude, format.special);
  Value special = format.hasInfinity ? f.set(moved, 0x7f800000) : f.constant(0x7fc00000);
  Value result = f.select(isSpecial, special, scaled);
  Value sign = f.left(f.mask(bits, 0x80), 24);
  return f.toReal(arith::OrIOp::create(f.b, result, sign));
}

/// To nearest, ties to even; what is too large becomes infinity, or NaN where there is none.
Value truncate(FloatBits &f, Value x, Type type) {
  using P = arith::CmpIPredicate;
  Format format = Format::of(type);
  Value bits = f.of(x), magnitude = f.mask(bits, 0x7fffffff);
  Value isOdd = f.mask(f.right(magnitude, format.shift), 1);
  uint32_t half = (1u << (format.shift - 1)) - 1;
  Value rebased = f.add(f.add(magnitude, half - (uint32_t(format.bias) << 23)), isOdd);
  Value normal = f.right(rebased, format.shift);
  Value sum = arith::AddFOp::create(f.b, f.toReal(magnitude), f.toReal(f.constant(format.magic())));
  Value subnormal = f.add(f.of(sum), 0u - format.magic());
  Value result = f.select(f.compare(P::ult, magnitude, format.leastNormal()), subnormal, normal);
  result = f.select(f.compare(P::ugt, result, format.special), f.constant(format.special), result);
  if (format.hasInfinity)
    result = f.select(f.compare(P::ugt, magnitude, 0x7f800000), f.constant(0x7e), result);
  Value sign = f.mask(f.right(bits, 24), 0x80);
  return f.narrow(arith::OrIOp::create(f.b, result, sign), type);
}

struct ExpandExtension : OpRewritePattern<arith::ExtFOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(arith::ExtFOp op, PatternRewriter &rewriter) const override {
    Type from = getElementTypeOrSelf(op.getIn()), to = getElementTypeOrSelf(op.getType());
    if (!isFloat8(from))
      return rewriter.notifyMatchFailure(op, "no 8-bit float");
    ImplicitLocOpBuilder b(op.getLoc(), rewriter);
    FloatBits f(b, op.getType());
    Value wide = extend(f, op.getIn(), Format::of(from));
    if (to.getIntOrFloatBitWidth() < 32)
      wide = arith::TruncFOp::create(b, op.getType(), wide);
    else if (!to.isF32())
      wide = arith::ExtFOp::create(b, op.getType(), wide);
    rewriter.replaceOp(op, wide);
    return success();
  }
};

struct ExpandTruncation : OpRewritePattern<arith::TruncFOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(arith::TruncFOp op, PatternRewriter &rewriter) const override {
    Type from = getElementTypeOrSelf(op.getIn()), to = getElementTypeOrSelf(op.getType());
    if (!isFloat8(to) || from.getIntOrFloatBitWidth() > 32)
      return rewriter.notifyMatchFailure(op, "not f32 or less to an 8-bit float");
    if (op.getRoundingmode())
      return rewriter.notifyMatchFailure(op, "rounds in its own way");
    ImplicitLocOpBuilder b(op.getLoc(), rewriter);
    FloatBits f(b, op.getType());
    Value x = op.getIn();
    if (!from.isF32())
      x = arith::ExtFOp::create(b, f.shaped(b.getF32Type()), x);
    rewriter.replaceOp(op, truncate(f, x, to));
    return success();
  }
};

struct ExpandFloat8 : ssm::impl::ExpandFloat8Base<ExpandFloat8> {
  using Base::Base;

  void runOnOperation() override {
    RewritePatternSet patterns(&getContext());
    patterns.add<ExpandExtension, ExpandTruncation>(&getContext());
    walkAndApplyPatterns(getOperation(), std::move(patterns));
  }
};
} // namespace
