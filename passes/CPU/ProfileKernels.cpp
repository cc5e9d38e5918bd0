//===- ProfileKernels.cpp - Calls of kernels tell when they begin and end -===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "passes/CPU/ModuleABI.h"
#include "passes/CPU/Passes.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"

namespace ssm {
#define GEN_PASS_DEF_PROFILEKERNELS
#include "passes/CPU/Passes.h.inc"
} // namespace ssm

using namespace mlir;

namespace {
struct ProfileKernels : ssm::impl::ProfileKernelsBase<ProfileKernels> {
  void runOnOperation() override {
    SymbolTable symbols(getOperation());
    SmallVector<func::CallOp> calls;
    getOperation().walk([&](func::CallOp call) {
      auto callee = symbols.lookup<func::FuncOp>(call.getCallee());
      auto caller = call->getParentOfType<func::FuncOp>();
      if (callee && callee->hasAttr("ssm.kernel") && !caller->hasAttr("ssm.kernel"))
        calls.push_back(call);
    });
    for (func::CallOp call : calls) {
      LLVM::GlobalOp name = nameOf(call.getCallee(), symbols);
      ImplicitLocOpBuilder b(call.getLoc(), call);
      SmallVector<Value> work = workOf(b, call, symbols);
      tell(b, call, name, 0, work);
      b.setInsertionPointAfter(call);
      tell(b, call, name, 1, work);
    }
  }

  LLVM::GlobalOp nameOf(StringRef kernel, SymbolTable &symbols) {
    std::string symbol = (kernel + ".name").str();
    if (auto known = symbols.lookup<LLVM::GlobalOp>(symbol))
      return known;
    OpBuilder b = OpBuilder::atBlockBegin(getOperation().getBody());
    std::string text = kernel.str();
    text.push_back('\0');
    auto type = LLVM::LLVMArrayType::get(b.getI8Type(), text.size());
    auto global = LLVM::GlobalOp::create(b, getOperation().getLoc(), type, /*isConstant=*/true,
                                         LLVM::Linkage::Internal, symbol, b.getStringAttr(text));
    symbols.insert(global);
    return global;
  }

  static SmallVector<Value> workOf(ImplicitLocOpBuilder &b, func::CallOp call,
                                   SymbolTable &symbols) {
    if (auto work = symbols.lookup<func::FuncOp>((call.getCallee() + ".work").str()))
      return func::CallOp::create(b, work, call.getOperands()).getResults();
    return SmallVector<Value>(2, LLVM::ConstantOp::create(b, b.getI64Type(), int64_t(-1)));
  }

  /// table->kernel(context, name, ends, bytes, flops)
  void tell(ImplicitLocOpBuilder &b, func::CallOp call, LLVM::GlobalOp name, int32_t ends,
            ArrayRef<Value> work) {
    auto function = call->getParentOfType<func::FuncOp>();
    Value table = function.getArgument(0), context = function.getArgument(1);
    auto pointer = LLVM::LLVMPointerType::get(&getContext());
    Value place = LLVM::GEPOp::create(b, pointer, b.getI8Type(), table,
                                      ArrayRef<LLVM::GEPArg>{ssm::kTableKernel});
    Value callee = LLVM::LoadOp::create(b, pointer, place);
    auto type = LLVM::LLVMFunctionType::get(LLVM::LLVMVoidType::get(&getContext()),
                                            {pointer, pointer, b.getI32Type(),
                                             b.getI64Type(), b.getI64Type()});
    Value text = LLVM::AddressOfOp::create(b, name);
    Value flag = LLVM::ConstantOp::create(b, b.getI32Type(), static_cast<int64_t>(ends));
    LLVM::CallOp::create(b, type, ValueRange{callee, context, text, flag, work[0], work[1]});
  }
};
} // namespace
