//===- LowerDeviceMath.cpp - Functions that LLVM has for GPUs -------------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "passes/GPU/Passes.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"
#include "mlir/IR/TypeUtilities.h"
#include "llvm/ADT/TypeSwitch.h"

namespace ssm {
#define GEN_PASS_DEF_LOWERDEVICEMATH
#include "passes/GPU/Passes.h.inc"
} // namespace ssm

using namespace mlir;

/// LLVM's intrinsic, if the code generator for GPUs has instructions for it.
static StringRef intrinsicOf(Operation *op) {
  return llvm::TypeSwitch<Operation *, StringRef>(op)
      .Case([](math::SqrtOp) { return "llvm.sqrt"; })
      .Case([](math::AbsFOp) { return "llvm.fabs"; })
      .Case([](math::FloorOp) { return "llvm.floor"; })
      .Case([](math::CeilOp) { return "llvm.ceil"; })
      .Case([](math::TruncOp) { return "llvm.trunc"; })
      .Case([](math::RoundEvenOp) { return "llvm.roundeven"; })
      .Case([](math::FmaOp) { return "llvm.fma"; })
      .Case([](math::CopySignOp) { return "llvm.copysign"; })
      .Case([](arith::MaxNumFOp) { return "llvm.maxnum"; })
      .Case([](arith::MinNumFOp) { return "llvm.minnum"; })
      .Case([](arith::MaximumFOp) { return "llvm.maximum"; })
      .Case([](arith::MinimumFOp) { return "llvm.minimum"; })
      .Default([](Operation *) { return ""; });
}

namespace {
struct LowerDeviceMath : ssm::impl::LowerDeviceMathBase<LowerDeviceMath> {
  void runOnOperation() override {
    SmallVector<Operation *> ops;
    getOperation()->walk([&](Operation *op) {
      if (isa<math::MathDialect>(op->getDialect()) || !intrinsicOf(op).empty())
        ops.push_back(op);
    });
    for (Operation *op : ops) {
      ImplicitLocOpBuilder b(op->getLoc(), op);
      StringRef name = intrinsicOf(op);
      if (isa<math::RsqrtOp>(op)) {
        Value root = LLVM::CallIntrinsicOp::create(b, op->getResult(0).getType(),
                                                   b.getStringAttr("llvm.sqrt"), op->getOperands())
                         .getResults();
        Value one = arith::ConstantOp::create(b, b.getOneAttr(root.getType()));
        op->replaceAllUsesWith(arith::DivFOp::create(b, one, root));
        op->erase();
      } else if (!name.empty()) {
        op->replaceAllUsesWith(LLVM::CallIntrinsicOp::create(b, op->getResult(0).getType(),
                                                             b.getStringAttr(name),
                                                             op->getOperands()));
        op->erase();
      } else if (isa<FloatType>(getElementTypeOrSelf(op->getOperand(0)))) {
        op->emitError("has no code for GPUs: expected a function that ssm-expand-math or "
                      "ssm-expand-math-f64 knows");
        return signalPassFailure();
      }
    }
  }
};
} // namespace
