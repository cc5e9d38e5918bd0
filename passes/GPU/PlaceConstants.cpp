//===- PlaceConstants.cpp - Constants that are chosen among ---------------- ===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "passes/GPU/Passes.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Interfaces/CallInterfaces.h"
#include "mlir/Interfaces/ControlFlowInterfaces.h"
#include "mlir/Interfaces/ViewLikeInterface.h"

namespace ssm {
#define GEN_PASS_DEF_PLACECONSTANTS
#include "passes/GPU/Passes.h.inc"
} // namespace ssm

using namespace mlir;
using namespace ssm;

namespace {
struct PlaceConstants : ssm::impl::PlaceConstantsBase<PlaceConstants> {
  void runOnOperation() override {
    SmallVector<memref::GetGlobalOp> constants;
    getOperation()->walk([&](memref::GetGlobalOp get) {
      if (isPassedOn(get))
        constants.push_back(get);
    });
    for (memref::GetGlobalOp get : constants) {
      OpBuilder b(get->getContext());
      b.setInsertionPointAfter(get);
      auto buffer = memref::AllocOp::create(b, get.getLoc(), get.getType());
      get.getResult().replaceAllUsesWith(buffer);
      memref::CopyOp::create(b, get.getLoc(), get, buffer);
    }
  }

  /// Whether a branch, a loop or a call hands the constant on.
  static bool isPassedOn(Value constant) {
    return llvm::any_of(constant.getUsers(), [](Operation *user) {
      if (isa<ViewLikeOpInterface>(user))
        return llvm::any_of(user->getResults(), isPassedOn);
      return isa<RegionBranchOpInterface, RegionBranchTerminatorOpInterface, BranchOpInterface,
                 CallOpInterface, arith::SelectOp>(user);
    });
  }
};
} // namespace
