//===- CopyToLinalg.cpp - memref.copy to linalg.generic ------------------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "passes/CPU/Passes.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"

namespace ssm {
#define GEN_PASS_DEF_COPYTOLINALG
#include "passes/CPU/Passes.h.inc"
} // namespace ssm

using namespace mlir;

namespace {
struct CopyToLinalg : ssm::impl::CopyToLinalgBase<CopyToLinalg> {
  void runOnOperation() override {
    getOperation().walk([](memref::CopyOp copy) {
      OpBuilder b(copy);
      int64_t rank = cast<MemRefType>(copy.getTarget().getType()).getRank();
      SmallVector<AffineMap> maps(2, b.getMultiDimIdentityMap(rank));
      SmallVector<utils::IteratorType> iterators(rank, utils::IteratorType::parallel);
      linalg::GenericOp::create(b, copy.getLoc(), ValueRange{copy.getSource()},
                                ValueRange{copy.getTarget()}, maps, iterators,
                                [](OpBuilder &nested, Location loc, ValueRange args) {
                                  linalg::YieldOp::create(nested, loc, args[0]);
                                });
      copy.erase();
    });
  }
};
} // namespace
