//===- EmitKernels.cpp - Kernels become loops and vectors -----------------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "passes/Vector/EmitKernels.h"
#include "passes/Vector/Passes.h"

#include "lib/Analysis/KernelShape.h"
#include "mlir/Dialect/Affine/IR/AffineOps.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/UB/IR/UBOps.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/IR/Remarks.h"

namespace ssm {
#define GEN_PASS_DEF_EMITKERNELS
#include "passes/Vector/Passes.h.inc"
} // namespace ssm

using namespace mlir;
using namespace ssm;

namespace {
struct EmitKernels : ssm::impl::EmitKernelsBase<EmitKernels> {
  void runOnOperation() override {
    SmallVector<KernelOp> kernels;
    getOperation().walk([&](KernelOp kernel) {
      if (kernel.hasBuffers() && kernel.getConfig())
        kernels.push_back(kernel);
    });
    for (KernelOp kernel : kernels) {
      ImplicitLocOpBuilder b(kernel.getLoc(), kernel);
      StringRef why = emit(kernel, b);
      if (why.empty()) {
        kernel.erase();
        continue;
      }
      remark::missed(kernel.getLoc(), remark::RemarkOpts::name("Loops").category("vector"))
          << ("plain loops: " + why).str();
      kernel.setConfigAttr(ConfigAttr::get(&getContext(), Form::Loops, 0, 1, {}));
    }
  }

  static StringRef emit(KernelOp kernel, ImplicitLocOpBuilder &b) {
    Form form = kernel.getConfig()->getForm();
    if (kernel.getPadded() && form != Form::Window)
      return "its inputs are read outside of them";
    if (form != Form::Loops && !canBeLaneLoop(kernel, kernel.getConfig()->getLaneLoop(),
                                              kernel.getConfig()->getLanes()))
      return "lanes cannot lie along the loop that its configuration names";
    if (form != Form::Loops && (form == Form::Recurrence) != kernel.getTime().has_value())
      return "its configuration is for another kind of kernel";
    switch (form) {
    case Form::Rows:
      return emitRows(kernel, b);
    case Form::Matmul:
      return emitMatmul(kernel, b);
    case Form::Recurrence:
      return emitRecurrence(kernel, b);
    case Form::Window:
      return emitWindow(kernel, b);
    case Form::Loops:
      return "its region has no form on vectors"; // left to ssm-lower-kernels
    }
    llvm_unreachable("unknown form");
  }
};
} // namespace
