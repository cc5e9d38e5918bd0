//===- LowerDeviceViews.cpp - Views of kernels in LLVM terms --------------- ===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "passes/GPU/Passes.h"

#include "dialects/SSM/SSMOps.h"
#include "lib/Emit/PlainBuffer.h"
#include "mlir/Conversion/LLVMCommon/TypeConverter.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"

namespace ssm {
#define GEN_PASS_DEF_LOWERDEVICEVIEWS
#include "passes/GPU/Passes.h.inc"
} // namespace ssm

using namespace mlir;
using namespace ssm;

namespace {
struct LowerDeviceViews : ssm::impl::LowerDeviceViewsBase<LowerDeviceViews> {
  void runOnOperation() override {
    LLVMTypeConverter types(&getContext());
    SmallVector<Operation *> ops;
    getOperation()->walk([&](Operation *op) {
      if (isa<ArenaViewOp, PointerOp>(op))
        ops.push_back(op);
    });
    for (Operation *op : ops) {
      ImplicitLocOpBuilder b(op->getLoc(), op);
      auto wide = [&](Value value) -> Value {
        return arith::IndexCastOp::create(b, b.getI64Type(), value);
      };
      if (auto view = dyn_cast<ArenaViewOp>(op)) {
        Value data = view.getArena();
        if (!isConstantZero(view.getOffset()))
          data = LLVM::GEPOp::create(b, data.getType(), b.getI8Type(), data, wide(view.getOffset()));
        SmallVector<Value> sizes = llvm::map_to_vector(view.getSizes(), wide);
        view.replaceAllUsesWith(
            makePlainBuffer(b, types, cast<MemRefType>(view.getType()), data, sizes));
      } else {
        auto pointer = cast<PointerOp>(op);
        pointer.replaceAllUsesWith(takePointer(b, types, pointer.getMemref()));
      }
      op->erase();
    }
  }

  static bool isConstantZero(Value value) {
    auto constant = value.getDefiningOp<arith::ConstantIndexOp>();
    return constant && constant.value() == 0;
  }
};
} // namespace
