//===- ExpandArcs.cpp - Arc functions of vectors in single precision ------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "passes/Vector/Passes.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"

namespace ssm {
#define GEN_PASS_DEF_EXPANDARCS
#include "passes/Vector/Passes.h.inc"
} // namespace ssm

using namespace mlir;
using P = arith::CmpFPredicate;

static constexpr double kTanEighth = 0.41421356237309503, kTanThreeEighths = 2.414213562373095;
/// pi / 4 in f32, and the rest.
static constexpr double kQuarter = 0.78539818525314331, kQuarterLo = -2.1855695031547846e-08;

namespace {

/// Arithmetic on a vector of f32. Products may be contracted into sums.
class Arc {
public:
  Arc(ImplicitLocOpBuilder &b, Value x) : b(b), x(x), type(cast<VectorType>(x.getType())) {
    contract = arith::FastMathFlagsAttr::get(b.getContext(), arith::FastMathFlags::contract);
    magnitude = math::AbsFOp::create(b, x);
  }

  Value atan();
  Value asin();
  Value acos();

private:
  Value constant(double value) {
    return arith::ConstantOp::create(
        b, DenseElementsAttr::get(type, b.getF32FloatAttr(static_cast<float>(value))));
  }
  Value add(Value a, Value c) { return arith::AddFOp::create(b, a, c, contract); }
  Value sub(Value a, Value c) { return arith::SubFOp::create(b, a, c, contract); }
  Value mul(Value a, Value c) { return arith::MulFOp::create(b, a, c, contract); }
  Value select(Value c, Value a, Value d) { return arith::SelectOp::create(b, c, a, d); }
  Value isOver(double bound) {
    return arith::CmpFOp::create(b, P::OGT, magnitude, constant(bound));
  }
  /// t + t z p(z)
  Value odd(Value t, Value z, ArrayRef<double> p) {
    Value sum = constant(p.back());
    for (double coefficient : llvm::reverse(p.drop_back()))
      sum = add(mul(sum, z), constant(coefficient));
    return add(mul(mul(t, z), sum), t);
  }
  Value asinOfSmall();

  ImplicitLocOpBuilder &b;
  Value x, magnitude;
  VectorType type;
  arith::FastMathFlagsAttr contract;
  /// Whether the arc is computed from the other end, as that of sqrt((1 - |x|) / 2).
  Value isFar;
};

/// tan(a - b) of the nearest multiple b of pi / 4: one division for all of them.
Value Arc::atan() {
  Value isHuge = isOver(kTanThreeEighths), isLarge = isOver(kTanEighth);
  Value one = constant(1), zero = constant(0);
  Value above = select(isHuge, constant(-1), select(isLarge, sub(magnitude, one), magnitude));
  Value below = select(isHuge, magnitude, select(isLarge, add(magnitude, one), one));
  Value t = arith::DivFOp::create(b, above, below);
  Value arc = odd(t, mul(t, t),
                  {-0.33333316445350647, 0.19998489320278168, -0.1424383819103241,
                   0.10595915466547012, -0.06083223223686218});
  auto base = [&](double quarter) {
    return select(isHuge, constant(2 * quarter), select(isLarge, constant(quarter), zero));
  };
  return math::CopySignOp::create(b, add(add(arc, base(kQuarterLo)), base(kQuarter)), x);
}

/// asin of |x| up to 1/2, or of sqrt((1 - |x|) / 2), which is NaN for |x| above 1.
Value Arc::asinOfSmall() {
  isFar = isOver(0.5);
  Value z =
      select(isFar, mul(sub(constant(1), magnitude), constant(0.5)), mul(magnitude, magnitude));
  Value s = select(isFar, math::SqrtOp::create(b, z), magnitude);
  return odd(s, z,
             {0.16666753590106964, 0.07495232671499252, 0.04547834396362305, 0.024140987545251846,
              0.042230550199747086});
}

Value Arc::asin() {
  Value arc = asinOfSmall();
  Value twice = sub(add(arc, arc), constant(2 * kQuarterLo));
  return math::CopySignOp::create(b, select(isFar, sub(constant(2 * kQuarter), twice), arc), x);
}

Value Arc::acos() {
  Value arc = asinOfSmall(), twice = add(arc, arc);
  Value isNegative = arith::CmpFOp::create(b, P::OLT, x, constant(0));
  Value behind = sub(constant(4 * kQuarter), sub(twice, constant(4 * kQuarterLo)));
  Value near = sub(constant(2 * kQuarter),
                   sub(math::CopySignOp::create(b, arc, x), constant(2 * kQuarterLo)));
  return select(isFar, select(isNegative, behind, twice), near);
}

struct ExpandArcs : ssm::impl::ExpandArcsBase<ExpandArcs> {
  void runOnOperation() override {
    SmallVector<Operation *> found;
    getOperation()->walk([&](Operation *op) {
      auto type = isa<math::AtanOp, math::AsinOp, math::AcosOp>(op)
                      ? dyn_cast<VectorType>(op->getResult(0).getType())
                      : VectorType();
      if (type && type.getElementType().isF32())
        found.push_back(op);
    });
    for (Operation *op : found) {
      ImplicitLocOpBuilder b(op->getLoc(), op);
      Arc arc(b, op->getOperand(0));
      op->getResult(0).replaceAllUsesWith(isa<math::AtanOp>(op)   ? arc.atan()
                                          : isa<math::AsinOp>(op) ? arc.asin()
                                                                  : arc.acos());
      op->erase();
    }
  }
};

} // namespace
