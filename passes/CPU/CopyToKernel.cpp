//===- CopyToKernel.cpp - memref.copy to ssm.kernel -----------------------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "passes/CPU/Passes.h"

#include "dialects/SSM/SSMOps.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"

namespace ssm {
#define GEN_PASS_DEF_COPYTOKERNEL
#include "passes/CPU/Passes.h.inc"
} // namespace ssm

using namespace mlir;

namespace {
struct CopyToKernel : ssm::impl::CopyToKernelBase<CopyToKernel> {
  void runOnOperation() override {
    getOperation().walk([](memref::CopyOp copy) {
      OpBuilder b(copy);
      auto type = cast<MemRefType>(copy.getTarget().getType());
      SmallVector<AffineMap> maps(2, b.getMultiDimIdentityMap(type.getRank()));
      auto kernel = ssm::KernelOp::create(
          b, copy.getLoc(), TypeRange(), b.getI64IntegerAttr(type.getRank()), IntegerAttr(),
          copy.getSource(), ValueRange(), copy.getTarget(), b.getAffineMapArrayAttr(maps),
          b.getDenseBoolArrayAttr({}), ssm::TransitionAttr(), ssm::ConfigAttr());
      Block *body = b.createBlock(&kernel.getBody(), {}, type.getElementType(), copy.getLoc());
      ssm::YieldOp::create(b, copy.getLoc(), body->getArgument(0));
      copy.erase();
    });
  }
};
} // namespace
