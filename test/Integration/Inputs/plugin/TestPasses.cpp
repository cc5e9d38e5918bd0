//===- TestPasses.cpp - A plugin of passes that do harm -------------------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "dialects/SSM/SSMOps.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Pass/Pass.h"
#include "mlir/Tools/Plugins/PassPlugin.h"

using namespace mlir;

namespace {
struct Fail : PassWrapper<Fail, OperationPass<ModuleOp>> {
  MLIR_DEFINE_EXPLICIT_INTERNAL_INLINE_TYPE_ID(Fail)
  StringRef getArgument() const override { return "test-fail"; }
  void runOnOperation() override { signalPassFailure(); }
};

struct FailLoudly : PassWrapper<FailLoudly, OperationPass<ModuleOp>> {
  MLIR_DEFINE_EXPLICIT_INTERNAL_INLINE_TYPE_ID(FailLoudly)
  StringRef getArgument() const override { return "test-fail-loudly"; }
  void runOnOperation() override {
    getOperation().emitError("is not to my liking");
    signalPassFailure();
  }
};

struct Crash : PassWrapper<Crash, OperationPass<func::FuncOp>> {
  MLIR_DEFINE_EXPLICIT_INTERNAL_INLINE_TYPE_ID(Crash)
  StringRef getArgument() const override { return "test-crash"; }
  void runOnOperation() override {
    // Of several threads one: the process of two at once ends before it tells.
    if (getOperation().getName() != "other")
      __builtin_trap();
  }
};

/// Leaves a function that returns what it must not.
struct BreakModule : PassWrapper<BreakModule, OperationPass<func::FuncOp>> {
  MLIR_DEFINE_EXPLICIT_INTERNAL_INLINE_TYPE_ID(BreakModule)
  StringRef getArgument() const override { return "test-break"; }
  void runOnOperation() override {
    getOperation().walk([](func::ReturnOp op) { op->setOperands({}); });
  }
};

/// a - b becomes b - a.
struct SwapSub : PassWrapper<SwapSub, OperationPass<func::FuncOp>> {
  MLIR_DEFINE_EXPLICIT_INTERNAL_INLINE_TYPE_ID(SwapSub)
  StringRef getArgument() const override { return "test-swap-sub"; }
  void runOnOperation() override {
    getOperation().walk([](arith::SubFOp op) { op->setOperands({op.getRhs(), op.getLhs()}); });
  }
};

/// The same where a kernel gives one result of several operations: not where all
/// values are kept.
struct SwapFusedSub : PassWrapper<SwapFusedSub, OperationPass<func::FuncOp>> {
  MLIR_DEFINE_EXPLICIT_INTERNAL_INLINE_TYPE_ID(SwapFusedSub)
  StringRef getArgument() const override { return "test-swap-fused-sub"; }
  void runOnOperation() override {
    getOperation().walk([](arith::SubFOp op) {
      auto kernel = op->getParentOfType<ssm::KernelOp>();
      if (kernel && kernel->getNumResults() == 1 && !isa<ssm::YieldOp>(*op->getUsers().begin()))
        op->setOperands({op.getRhs(), op.getLhs()});
    });
  }
};

/// What no assembler knows, in the first function.
struct BadAssembly : PassWrapper<BadAssembly, OperationPass<ModuleOp>> {
  MLIR_DEFINE_EXPLICIT_INTERNAL_INLINE_TYPE_ID(BadAssembly)
  StringRef getArgument() const override { return "test-bad-assembly"; }
  void runOnOperation() override {
    auto function = firstWithBody(getOperation());
    OpBuilder b = OpBuilder::atBlockBegin(&function.getBody().front());
    LLVM::InlineAsmOp::create(b, function.getLoc(), TypeRange(), ValueRange(),
                              "no_such_instruction", "", /*has_side_effects=*/true, /*is_align_stack=*/false,
                              LLVM::TailCallKind::None, LLVM::AsmDialectAttr(), ArrayAttr());
  }
  static LLVM::LLVMFuncOp firstWithBody(ModuleOp module) {
    for (auto function : module.getOps<LLVM::LLVMFuncOp>())
      if (!function.isDeclaration())
        return function;
    return {};
  }
};

/// What LLVM IR has no word for.
struct NoTranslation : PassWrapper<NoTranslation, OperationPass<ModuleOp>> {
  MLIR_DEFINE_EXPLICIT_INTERNAL_INLINE_TYPE_ID(NoTranslation)
  StringRef getArgument() const override { return "test-no-translation"; }
  void runOnOperation() override {
    auto function = BadAssembly::firstWithBody(getOperation());
    OpBuilder b = OpBuilder::atBlockBegin(&function.getBody().front());
    arith::ConstantIndexOp::create(b, function.getLoc(), 1);
  }
};

/// An instruction of another processor, at which LLVM's code generation ends the process.
struct OtherMachine : PassWrapper<OtherMachine, OperationPass<ModuleOp>> {
  MLIR_DEFINE_EXPLICIT_INTERNAL_INLINE_TYPE_ID(OtherMachine)
  StringRef getArgument() const override { return "test-other-machine"; }
  void runOnOperation() override {
    auto function = BadAssembly::firstWithBody(getOperation());
    OpBuilder b = OpBuilder::atBlockBegin(&function.getBody().front());
    LLVM::CallIntrinsicOp::create(b, function.getLoc(), b.getStringAttr("llvm.aarch64.clrex"),
                                  ValueRange());
  }
};

void registerAll() {
  PassRegistration<OtherMachine>();
  PassRegistration<BadAssembly>();
  PassRegistration<NoTranslation>();
  PassRegistration<Fail>();
  PassRegistration<FailLoudly>();
  PassRegistration<Crash>();
  PassRegistration<BreakModule>();
  PassRegistration<SwapSub>();
  PassRegistration<SwapFusedSub>();
}
} // namespace

extern "C" PassPluginLibraryInfo mlirGetPassPluginInfo() {
  return {MLIR_PLUGIN_API_VERSION, "TestPasses", "1", registerAll};
}
