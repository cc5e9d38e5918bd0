//===- TestMergeKernels.cpp - Merges all kernels that can be --------------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "tools/ssm-opt/Registration.h"

#include "dialects/SSM/KernelMerge.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Pass/Pass.h"

using namespace mlir;
using namespace ssm;

namespace {
/// Tests mergeKernels alone, without a choice of what pays.
struct TestMergeKernels : PassWrapper<TestMergeKernels, OperationPass<func::FuncOp>> {
  MLIR_DEFINE_EXPLICIT_INTERNAL_INLINE_TYPE_ID(TestMergeKernels)

  StringRef getArgument() const override { return "test-merge-kernels"; }
  StringRef getDescription() const override { return "merges each kernel with its producers"; }

  void runOnOperation() override {
    IRRewriter rewriter(&getContext());
    SmallVector<KernelOp> kernels;
    getOperation().walk([&](KernelOp kernel) { kernels.push_back(kernel); });
    for (KernelOp kernel : kernels)
      while (kernel && mergeOne(rewriter, kernel)) {
      }
  }

  static bool mergeOne(IRRewriter &rewriter, KernelOp &kernel) {
    for (Value input : kernel.getInputs()) {
      auto producer = input.getDefiningOp<KernelOp>();
      if (!producer)
        continue;
      StringRef why;
      FailureOr<KernelOp> merged =
          mergeKernels(rewriter, producer, kernel, KeepResults::InMerged, &why);
      if (succeeded(merged)) {
        kernel = *merged;
        return true;
      }
      kernel.emitRemark("not merged: ") << why;
    }
    return false;
  }
};
} // namespace

void ssm::registerTestPasses() { PassRegistration<TestMergeKernels>(); }
