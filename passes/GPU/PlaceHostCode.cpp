//===- PlaceHostCode.cpp - What host code takes from the device ------------ ===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "dialects/SSM/SSMOps.h"
#include "passes/GPU/DeviceModule.h"
#include "passes/GPU/Passes.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/IR/IRMapping.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"
#include "mlir/IR/Remarks.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"
#include "mlir/Interfaces/ViewLikeInterface.h"
#include "llvm/ADT/SetVector.h"

namespace ssm {
#define GEN_PASS_DEF_PLACEHOSTCODE
#include "passes/GPU/Passes.h.inc"
} // namespace ssm

using namespace mlir;
using namespace ssm;

static bool isOnHost(Value memref) {
  while (auto view = memref.getDefiningOp<ViewLikeOpInterface>())
    memref = view.getViewSource();
  return memref.getDefiningOp<memref::AllocaOp>() || memref.getDefiningOp<memref::GetGlobalOp>();
}

namespace {

/// Scalars that a check computes from loads of device memory, in order.
struct Slice {
  llvm::SetVector<Operation *> ops;
  SmallVector<memref::LoadOp> loads;
  llvm::SetVector<Value> fromHost;
};

struct PlaceHostCode : ssm::impl::PlaceHostCodeBase<PlaceHostCode> {
  void runOnOperation() override {
    ModuleOp module = getOperation();
    for (auto function : llvm::to_vector(module.getOps<func::FuncOp>())) {
      if (function.isDeclaration() || function->hasAttr("ssm.kernel") ||
          !(function->hasAttr("ssm.entry") || function->hasAttr("ssm.repeated")))
        continue;
      SmallVector<CheckOp> checks;
      function.walk([&](CheckOp check) { checks.push_back(check); });
      for (CheckOp check : checks)
        if (std::optional<Slice> slice = sliceOf(check))
          moveToDevice(check, *slice, function);
      SmallVector<memref::LoadOp> loads;
      function.walk([&](memref::LoadOp load) {
        if (!isOnHost(load.getMemRef()))
          loads.push_back(load);
      });
      for (memref::LoadOp load : loads)
        read(load, function);
    }
  }

  /// Nothing unless the check depends on the device's memory by arithmetic alone, and that
  /// memory is not written between the loads and the check.
  static std::optional<Slice> sliceOf(CheckOp check) {
    Slice slice;
    Block *block = check->getBlock();
    llvm::DenseSet<Operation *> needed;
    SmallVector<Value> left(check->getOperands());
    while (!left.empty()) {
      Value value = left.pop_back_val();
      Operation *op = value.getDefiningOp();
      bool isScalarOp = op && op->getBlock() == block &&
                        isa<arith::ArithDialect>(op->getDialect()) && op->getNumRegions() == 0;
      auto load = dyn_cast_or_null<memref::LoadOp>(op);
      if (load && load->getBlock() == block && !isOnHost(load.getMemRef()) &&
          load.getMemRefType().getLayout().isIdentity()) {
        needed.insert(load);
        continue;
      }
      if (!isScalarOp) {
        slice.fromHost.insert(value);
        continue;
      }
      if (needed.insert(op).second)
        llvm::append_range(left, op->getOperands());
    }
    bool isLoaded = false;
    for (Operation &op : *block) {
      if (&op == check.getOperation())
        break;
      if (needed.contains(&op)) {
        slice.ops.insert(&op);
        if (auto load = dyn_cast<memref::LoadOp>(op)) {
          slice.loads.push_back(load);
          isLoaded = true;
        }
      } else if (isLoaded && !isMemoryEffectFree(&op) && !isa<memref::LoadOp, CheckOp>(op)) {
        return std::nullopt;
      }
    }
    if (!isLoaded)
      return std::nullopt;
    return slice;
  }

  /// Where the loaded element lies.
  static Value addressOf(ImplicitLocOpBuilder &b, memref::LoadOp load) {
    auto pointer = LLVM::LLVMPointerType::get(b.getContext());
    Value base = PointerOp::create(b, pointer, load.getMemRef());
    Value number;
    for (auto [axis, index] : llvm::enumerate(load.getIndices())) {
      if (number)
        number = arith::MulIOp::create(
            b, number,
            memref::DimOp::create(b, load.getMemRef(), static_cast<int64_t>(axis)).getResult());
      number = number ? arith::AddIOp::create(b, number, index).getResult() : index;
    }
    if (!number)
      return base;
    Value wide = arith::IndexCastOp::create(b, b.getI64Type(), number);
    return LLVM::GEPOp::create(b, pointer, load.getType(), base, wide);
  }

  void moveToDevice(CheckOp check, const Slice &slice, func::FuncOp function) {
    ImplicitLocOpBuilder host(check.getLoc(), check);
    auto pointer = LLVM::LLVMPointerType::get(&getContext());
    Value table = function.getArgument(0), context = function.getArgument(1);
    // Site, fault flag, then what is loaded and what the host knows.
    SmallVector<Value> args = {CheckSiteOp::create(host, check.getNodeAttr(), check.getTextAttr()),
                               FaultOp::create(host, pointer, table, context)};
    SmallVector<Value> fromHost;
    for (memref::LoadOp load : slice.loads)
      args.push_back(addressOf(host, load));
    for (Value value : slice.fromHost)
      if (!matchPattern(value, m_Constant())) {
        fromHost.push_back(value);
        args.push_back(value);
      }

    gpu::GPUModuleOp device = getDeviceModule(getOperation());
    gpu::GPUFuncOp target = createDeviceFunction(device, "check_" + std::to_string(number++),
                                                 ValueRange(args).getTypes());
    ImplicitLocOpBuilder b(check.getLoc(), target.getBody().front().getTerminator());
    IRMapping mapping;
    Value site = target.getArgument(0), fault = target.getArgument(1);
    unsigned next = 2 + slice.loads.size();
    for (Value value : slice.fromHost)
      mapping.map(value, matchPattern(value, m_Constant())
                             ? b.clone(*value.getDefiningOp())->getResult(0)
                             : Value(target.getArgument(next++)));
    next = 2;
    for (Operation *op : slice.ops) {
      if (auto load = dyn_cast<memref::LoadOp>(op))
        mapping.map(load.getResult(),
                    LLVM::LoadOp::create(b, load.getType(), target.getArgument(next++)));
      else
        b.clone(*op, mapping);
    }
    report(b, mapping, check, site, fault);
    setLaunchBounds(target, 32, 0, 0);

    Value one = arith::ConstantIndexOp::create(host, 1);
    Value threads = arith::ConstantIndexOp::create(host, 32);
    auto symbol = SymbolRefAttr::get(device.getSymNameAttr(),
                                     {FlatSymbolRefAttr::get(&getContext(), target.getName())});
    LaunchOp::create(host, table, context, symbol, one, one, one, threads, args);
    check.erase();
    for (Operation *op : llvm::reverse(slice.ops))
      if (isOpTriviallyDead(op))
        op->erase();
  }

  /// The first thread tells if the condition does not hold.
  static void report(ImplicitLocOpBuilder &b, IRMapping &mapping, CheckOp check, Value site,
                     Value fault) {
    Value truth = arith::ConstantIntOp::create(b, b.getI1Type(), 1);
    Value fails = arith::XOrIOp::create(b, mapping.lookupOrDefault(check.getCondition()), truth);
    Value thread = gpu::ThreadIdOp::create(b, gpu::Dimension::x);
    Value isFirst = arith::CmpIOp::create(b, arith::CmpIPredicate::eq, thread,
                                          arith::ConstantIndexOp::create(b, 0));
    SmallVector<Value> values;
    for (Value value : check.getValues())
      values.push_back(mapping.lookupOrDefault(value));
    reportFault(b, arith::AndIOp::create(b, fails, isFirst), fault, site, values);
  }

  /// What is computed at the function's front for all of it has the function's place: then the
  /// first that it is for.
  static Location placeOf(memref::LoadOp load, func::FuncOp function) {
    SmallVector<Operation *> left = {load};
    llvm::DenseSet<Operation *> seen = {load};
    for (size_t i = 0; i < left.size(); ++i) {
      if (isa<NameLoc>(left[i]->getLoc()) && left[i]->getLoc() != function.getLoc())
        return left[i]->getLoc();
      for (Operation *user : left[i]->getUsers())
        if (seen.insert(user).second)
          left.push_back(user);
    }
    return load.getLoc();
  }

  static std::string nameOf(ArgOp arg, func::FuncOp function) {
    auto entries = function->getParentOfType<ModuleOp>()->getAttrOfType<ArrayAttr>("ssm.entries");
    if (!entries)
      return std::to_string(arg.getIndex());
    auto entry = *llvm::find_if(entries.getAsRange<DictionaryAttr>(), [&](DictionaryAttr other) {
      return other.get("name") == function->getAttr("ssm.entry");
    });
    auto input = cast<DictionaryAttr>(entry.getAs<ArrayAttr>("inputs")[arg.getIndex()]);
    return ("'" + input.getAs<StringAttr>("name").getValue() + "'").str();
  }

  static void read(memref::LoadOp load, func::FuncOp function) {
    Value memory = load.getMemRef();
    while (auto view = memory.getDefiningOp<ViewLikeOpInterface>())
      memory = view.getViewSource();
    auto arg = memory.getDefiningOp<ArgOp>();
    remark::missed(placeOf(load, function),
                   remark::RemarkOpts::name("Read").category("placement"))
        << (arg ? "the host waits for the device unless input " + nameOf(arg, function) +
                      " lies on the host: an element of it is needed here"
                : "the host waits for the device: an element of a tensor is needed here");
    ImplicitLocOpBuilder b(load.getLoc(), load);
    load.replaceAllUsesWith(ReadOp::create(b, load.getType(), function.getArgument(0),
                                           function.getArgument(1), load.getMemRef(),
                                           load.getIndices())
                                .getResult());
    load.erase();
  }

  unsigned number = 0;
};
} // namespace
