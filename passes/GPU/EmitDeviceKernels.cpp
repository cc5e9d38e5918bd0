//===- EmitDeviceKernels.cpp - Kernels and their launches ------------------ ===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "passes/GPU/DeviceKernel.h"
#include "passes/GPU/DeviceModule.h"
#include "passes/GPU/TraceBlock.h"
#include "passes/GPU/EmitTopK.h"
#include "passes/GPU/Passes.h"
#include "passes/GPU/Teams.h"

#include "dialects/SSM/TensorMapOp.h"
#include "lib/Analysis/WeightValues.h"
#include "lib/Emit/CollapseLoops.h"
#include "lib/Target/GpuTarget.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/LLVMIR/NVVMDialect.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/IR/IRMapping.h"
#include "mlir/IR/Matchers.h"
#include "mlir/Interfaces/ViewLikeInterface.h"
#include "llvm/ADT/ScopeExit.h"

namespace ssm {
#define GEN_PASS_DEF_EMITDEVICEKERNELS
#include "passes/GPU/Passes.h.inc"
} // namespace ssm

using namespace mlir;
using namespace ssm;

/// What tells canReadEarly of an argument.
static constexpr StringRef kConstantArguments[] = {kWeightArgument, kInputArgument};

Value DeviceKernel::addShared(ArrayRef<int64_t> shape, Type type) {
  // As a number: conversions to LLVM outside of upstream's for gpu know no other.
  auto space = IntegerAttr::get(IntegerType::get(type.getContext(), 64),
                                static_cast<int64_t>(NVVM::NVVMMemorySpace::Shared));
  Value shared = function.addWorkgroupAttribution(
      MemRefType::get(shape, type, MemRefLayoutAttrInterface(), space), function.getLoc());
  // LLVM takes vectors of larger ones, whose preferred alignment that is; PTX would state another.
  function.setWorkgroupAttributionAttr(function.getNumWorkgroupAttributions() - 1,
                                       LLVM::LLVMDialect::getAlignAttrName(),
                                       IntegerAttr::get(space.getType(), 16));
  return shared;
}

Value DeviceKernel::addDynamicShared() {
  constexpr StringLiteral name = "ssm_dynamic_shared";
  constexpr unsigned space = 3;
  auto module = function->getParentOfType<gpu::GPUModuleOp>();
  if (!module.lookupSymbol(name)) {
    auto b = OpBuilder::atBlockBegin(module.getBody());
    auto type = LLVM::LLVMArrayType::get(b.getI8Type(), 0);
    LLVM::GlobalOp::create(b, function.getLoc(), type, /*isConstant=*/false,
                           LLVM::Linkage::External, name, Attribute(),
                           /*alignment=*/1024, space);
  }
  return LLVM::AddressOfOp::create(device, LLVM::LLVMPointerType::get(device.getContext(), space),
                                   name);
}

Value DeviceKernel::addTensorMap(unsigned input, ArrayRef<int32_t> box, int64_t swizzle) {
  auto parent = hostKernel->getParentOfType<func::FuncOp>();
  tensorMaps.push_back(TensorMapOp::create(host, LLVM::LLVMPointerType::get(host.getContext()),
                                           parent.getArgument(0), parent.getArgument(1),
                                           hostKernel.getInputs()[input], box, swizzle));
  unsigned number = function.getNumArguments();
  (void)function.insertArgument(number, tensorMaps.back().getType(), {}, function.getLoc());
  SmallVector<int32_t> numbers;
  if (auto others = function->getAttrOfType<DenseI32ArrayAttr>(kTensorMapsAttr))
    llvm::append_range(numbers, others.asArrayRef());
  numbers.push_back(number);
  function->setAttr(kTensorMapsAttr, device.getDenseI32ArrayAttr(numbers));
  return function.getArgument(number);
}

std::optional<unsigned> ssm::argumentOf(gpu::GPUFuncOp function, Value buffer) {
  while (auto view = buffer.getDefiningOp<ViewLikeOpInterface>())
    buffer = view.getViewSource();
  auto view = buffer.getDefiningOp<ArenaViewOp>();
  auto argument = dyn_cast<BlockArgument>(view ? view.getArena() : buffer);
  if (!argument || argument.getOwner() != &function.getBody().front())
    return std::nullopt;
  return argument.getArgNumber();
}

void ssm::shareBetweenThreads(gpu::GPUFuncOp function, Value buffer) {
  if (std::optional<unsigned> argument = argumentOf(function, buffer))
    function.removeArgAttr(*argument, kNoAlias);
}

bool ssm::canReadEarly(DeviceKernel &kernel, Value buffer, LaunchShape &shape) {
  std::optional<unsigned> argument = argumentOf(kernel.function, buffer);
  if (!argument)
    return false;
  if (kernel.function.getArgAttr(*argument, kWeightArgument))
    return true;
  if (!kernel.function.getArgAttr(*argument, kInputArgument))
    return false;
  shape.flags |= kReadsEarly;
  return true;
}

void ssm::waitForOthers(DeviceKernel &kernel, LaunchShape &shape) {
  shape.flags |= kOverlaps;
  for (unsigned i = 0; i < kernel.function.getNumArguments(); ++i)
    kernel.function.removeArgAttr(i, kNoAlias);
  NVVM::GriddepcontrolOp::create(kernel.device, NVVM::GridDepActionKind::wait);
}

gpu::GPUModuleOp ssm::getDeviceModule(ModuleOp module) {
  if (auto device = module.lookupSymbol<gpu::GPUModuleOp>(kDeviceModule))
    return device;
  auto b = OpBuilder::atBlockEnd(module.getBody());
  return gpu::GPUModuleOp::create(b, module.getLoc(), kDeviceModule);
}

int64_t ssm::getMaxShared(gpu::GPUFuncOp function) {
  auto told = function->getParentOp()->getAttrOfType<IntegerAttr>(kMaxSharedAttr);
  return told ? told.getInt() : 227 * 1024;
}

gpu::GPUFuncOp ssm::createDeviceFunction(gpu::GPUModuleOp device, StringRef name, TypeRange types) {
  auto b = OpBuilder::atBlockEnd(device.getBody());
  auto function = gpu::GPUFuncOp::create(b, device.getLoc(), name,
                                         b.getFunctionType(types, {}));
  function->setAttr(gpu::GPUDialect::getKernelFuncAttrName(), b.getUnitAttr());
  b.setInsertionPointToStart(&function.getBody().front());
  gpu::ReturnOp::create(b, device.getLoc());
  return function;
}

void ssm::setLaunchBounds(gpu::GPUFuncOp function, int64_t maxThreads, int64_t dynamicShared,
                          int64_t flags) {
  Builder b(function.getContext());
  function->setAttr("nvvm.maxntid", b.getDenseI32ArrayAttr({static_cast<int32_t>(maxThreads)}));
  function->setAttr("ssm.max_threads", b.getI64IntegerAttr(maxThreads));
  function->setAttr("ssm.dynamic_shared", b.getI64IntegerAttr(dynamicShared));
  function->setAttr("ssm.flags", b.getI64IntegerAttr(flags));
}

/// One thread runs the nest.
static LaunchShape emitAlone(Operation *nest, ImplicitLocOpBuilder &device,
                             ImplicitLocOpBuilder &host) {
  Value zero = arith::ConstantIndexOp::create(device, 0);
  Value thread = gpu::ThreadIdOp::create(device, gpu::Dimension::x);
  Value isFirst = arith::CmpIOp::create(device, arith::CmpIPredicate::eq, thread, zero);
  auto branch = scf::IfOp::create(device, isFirst);
  nest->moveBefore(branch.thenBlock()->getTerminator());
  Value one = arith::ConstantIndexOp::create(host, 1);
  return {{one, one, one}, arith::ConstantIndexOp::create(host, 32), 32};
}

/// Blocks of a grid that let the kernel behind begin early.
static constexpr int64_t kMostToOverlap = 4096;

namespace {
struct EmitDeviceKernels : ssm::impl::EmitDeviceKernelsBase<EmitDeviceKernels> {
  using EmitDeviceKernelsBase::EmitDeviceKernelsBase;

  GpuTarget target;
  F32Products precision = F32Products::IEEE;

  void runOnOperation() override {
    ModuleOp module = getOperation();
    SmallVector<func::FuncOp> functions;
    for (auto function : module.getOps<func::FuncOp>())
      if (function->hasAttr("ssm.kernel"))
        functions.push_back(function);
    if (functions.empty())
      return;
    llvm::Expected<GpuTarget> resolved = GpuTarget::resolve(chip);
    if (!resolved) {
      module.emitError(llvm::toString(resolved.takeError()));
      return signalPassFailure();
    }
    target = *resolved;
    auto named = llvm::StringSwitch<std::optional<F32Products>>(f32Products)
                     .Case("ieee", F32Products::IEEE)
                     .Case("tf32", F32Products::TF32)
                     .Case("tf32x3", F32Products::TF32x3)
                     .Default(std::nullopt);
    if (!named) {
      module.emitError("f32-products is '") << f32Products << "', expected ieee, tf32 or tf32x3";
      return signalPassFailure();
    }
    precision = *named;
    gpu::GPUModuleOp device = getDeviceModule(module);
    device->setAttr(kMaxSharedAttr, Builder(&getContext()).getI64IntegerAttr(target.maxShared));
    for (func::FuncOp function : functions)
      emit(function, device);
    returnStatus(module, functions);
  }

  /// The nest is the last operation before the terminator (ssm-outline-kernels).
  static Operation *nestOf(Block &body) { return body.getTerminator()->getPrevNode(); }

  /// Forms that together take all sizes.
  SmallVector<KernelForm> formsOf(Operation *nest) {
    if (auto kernel = dyn_cast<KernelOp>(nest))
      return formsOf(kernel);
    if (auto topk = dyn_cast<TopKOp>(nest))
      return getTopKForms(topk);
    if (SmallVector<KernelForm> forms = getScatterForms(nest); !forms.empty())
      return forms;
    if (SmallVector<KernelForm> forms = getCompactForms(nest); !forms.empty())
      return forms;
    return {KernelForm()};
  }

  SmallVector<KernelForm> formsOf(KernelOp kernel) {
    bool overlaps = target.version >= 90;
    if (!kernel.getTime()) {
      SmallVector<KernelForm> taps;
      addTapForms(kernel, taps);
      if (!taps.empty())
        return taps;
      if (SmallVector<KernelForm> forms = getMatmulForms(kernel, target, precision); !forms.empty())
        return forms;
      return getTeamForms(kernel, overlaps);
    }
    if (SmallVector<KernelForm> forms = getWindowForms(kernel); !forms.empty())
      return forms;
    SmallVector<KernelForm> forms;
    addStepForm(kernel, overlaps, forms);
    llvm::append_range(forms, getStagedForms(kernel, target));
    addPrefixForms(kernel, forms);
    forms.push_back({"", nullptr, [this](DeviceKernel &both) {
               std::optional<LaunchShape> shape = emitLaneRecurrence(both);
               if (!shape)
                 shape = emitBlockRecurrence(both);
               if (shape)
                 return *shape;
               both.hostKernel.emitOpError("has carries that cannot be updated in place");
               signalPassFailure();
               Value one = arith::ConstantIndexOp::create(both.host, 1);
               return LaunchShape{{one, one, one}, one, 32};
             }});
    return forms;
  }

  void emit(func::FuncOp function, gpu::GPUModuleOp device) {
    Block &body = function.getBody().front();
    Operation *nest = nestOf(body);
    ImplicitLocOpBuilder host(nest->getLoc(), nest);
    auto kernel = dyn_cast<KernelOp>(nest);
    if (kernel && !kernel.getTime())
      collapseLoops(kernel, host);
    llvm::scope_exit forget([&] {
      for (unsigned i = 0; i < function.getNumArguments(); ++i)
        for (StringRef attribute : kConstantArguments)
          function.removeArgAttr(i, attribute);
    });
    // What chooses between forms is no part of them.
    auto ops = llvm::map_to_vector(body.without_terminator(), [](Operation &op) { return &op; });
    if (auto topk = dyn_cast<TopKOp>(nest))
      checkTopKRows(topk, host);
    for (const KernelForm &form : formsOf(nest)) {
      Value isFit = form.isFit ? form.isFit(host) : Value();
      llvm::APInt fixed;
      if (isFit && matchPattern(isFit, m_ConstantInt(&fixed))) {
        if (fixed.isZero())
          continue;
        isFit = nullptr;
      }
      if (!isFit) {
        emitLaunches(function, ops, form, device, host);
        break;
      }
      auto choice = scf::IfOp::create(host, isFit, /*withElseRegion=*/true);
      host.setInsertionPointToStart(choice.thenBlock());
      emitLaunches(function, ops, form, device, host);
      host.setInsertionPointToStart(choice.elseBlock());
    }
    nest->erase();
  }

  /// Puts the code of a kernel in front of the device's copy of the nest; what the launch gives
  /// behind all else goes to `given`.
  using EmitCopy = llvm::function_ref<LaunchShape(Operation *copy, gpu::GPUFuncOp target,
                                                  ImplicitLocOpBuilder &inside, ValueRange more,
                                                  SmallVector<Value> &given)>;

  void emitLaunches(func::FuncOp function, ArrayRef<Operation *> ops, const KernelForm &form,
                    gpu::GPUModuleOp device, ImplicitLocOpBuilder &host) {
    if (form.emitAll) {
      KernelLaunches launches{
          host,
          [&](StringRef suffix, ArrayRef<Value> more, KernelLaunches::Emit emit) {
            emitCopy(function, ops, suffix, device, host, more,
                     [&](Operation *copy, gpu::GPUFuncOp target, ImplicitLocOpBuilder &,
                         ValueRange more, SmallVector<Value> &) {
                       return emit(copy, target, more);
                     });
          },
          [&](Value words, llvm::function_ref<void(Value)> body) {
            withMemory(function, host, words, body);
          }};
      return form.emitAll(launches);
    }
    if (!form.split)
      return emitForm(function, ops, form.suffix, form.emit, device, host);
    KernelForm::Split split = form.split(host);
    Value numParts = split.numParts;
    if (!split.words)
      return emitForm(function, ops, form.suffix, form.emit, device, host, {numParts});
    withMemory(function, host, split.words, [&](Value parts) {
      std::string second = (form.suffix + "_sums").str();
      emitForm(function, ops, form.suffix, form.emit, device, host, {parts, numParts});
      emitForm(function, ops, second, form.emitSecond, device, host, {parts, numParts});
    });
  }

  /// Memory of the segment while the launches of `body` are queued.
  static void withMemory(func::FuncOp function, ImplicitLocOpBuilder &host, Value words,
                         llvm::function_ref<void(Value)> body) {
    Value table = function.getArgument(0), context = function.getArgument(1);
    Value mark = SegmentMarkOp::create(host, table, context);
    auto type = MemRefType::get({ShapedType::kDynamic}, host.getI64Type());
    Value memory = SegmentAllocOp::create(host, type, table, context, words);
    body(PointerOp::create(host, table.getType(), memory));
    // Kernels behind reuse it, and these are done by then.
    SegmentReleaseOp::create(host, table, context, mark);
  }

  void emitForm(func::FuncOp function, ArrayRef<Operation *> ops, StringRef suffix,
                const std::function<LaunchShape(DeviceKernel &)> &emit, gpu::GPUModuleOp device,
                ImplicitLocOpBuilder &host, ArrayRef<Value> more = {}) {
    Operation *nest = ops.back();
    emitCopy(function, ops, suffix, device, host, more,
             [&](Operation *copy, gpu::GPUFuncOp target, ImplicitLocOpBuilder &inside,
                 ValueRange inner, SmallVector<Value> &given) {
               auto kernel = dyn_cast<KernelOp>(nest);
               if (!kernel) {
                 std::optional<LaunchShape> made = emitNest(copy, target, host);
                 return made ? *made : emitAlone(copy, inside, host);
               }
               DeviceKernel both{kernel, cast<KernelOp>(copy), host, inside, target};
               if (!more.empty()) {
                 both.parts = inner.size() > 1 ? inner[0] : Value();
                 both.numParts = inner.back();
                 both.hostNumParts = more.back();
               }
               LaunchShape shape = emit(both);
               llvm::append_range(given, both.tensorMaps);
               copy->erase();
               return shape;
             });
  }

  /// Puts the kernel into a function of the device, and its launch where the host's builder is.
  /// `more` become the function's last arguments.
  void emitCopy(func::FuncOp function, ArrayRef<Operation *> ops, StringRef suffix,
                gpu::GPUModuleOp device, ImplicitLocOpBuilder &host, ArrayRef<Value> more,
                EmitCopy emit) {
    Block &body = function.getBody().front();
    Operation *nest = ops.back();
    auto arguments = body.getArguments().drop_front(2);
    SmallVector<Value> given(arguments);
    llvm::append_range(given, more);
    bool checks = llvm::any_of(ops, [](Operation *op) {
      return op->walk([](Operation *inner) {
                 return isa<CheckIndexOp, CheckValuesOp>(inner) ? WalkResult::interrupt()
                                                                : WalkResult::advance();
               }).wasInterrupted();
    });
    if (checks)
      given.push_back(FaultOp::create(host, body.getArgument(0).getType(), body.getArgument(0),
                                      body.getArgument(1)));
    gpu::GPUFuncOp target = createDeviceFunction(device, (function.getName() + suffix).str(),
                                                 ValueRange(given).getTypes());
    IRMapping mapping;
    for (auto [i, argument] : llvm::enumerate(arguments)) {
      mapping.map(argument, target.getArgument(i));
      for (StringRef attribute :
           {StringRef(kNoAlias), kConstantArguments[0], kConstantArguments[1]})
        if (function.getArgAttr(i + 2, attribute))
          target.setArgAttr(i, attribute, host.getUnitAttr());
    }
    if (checks)
      target.setArgAttr(given.size() - 1, kFaultArgument, host.getUnitAttr());
    Operation *returned = target.getBody().front().getTerminator();
    ImplicitLocOpBuilder inside(nest->getLoc(), returned);
    for (Operation *op : ops)
      inside.clone(*op, mapping);
    copyGlobals(target, device);
    Operation *copy = nestOf(target.getBody().front());
    inside.setInsertionPoint(copy);

    LaunchShape shape =
        emit(copy, target, inside, target.getArguments().slice(arguments.size(), more.size()), given);
    letOthersBegin(target, shape.flags);
    setLaunchBounds(target, shape.maxThreads, shape.dynamicShared, shape.flags);
    llvm::append_range(given, shape.more);
    auto symbol = SymbolRefAttr::get(device.getSymNameAttr(),
                                     {FlatSymbolRefAttr::get(&getContext(), target.getName())});
    LaunchOp::create(host, body.getArgument(0), body.getArgument(1), symbol, shape.grid[0],
                     shape.grid[1], shape.grid[2], shape.threads, given);
  }

  /// The kernel behind may begin as soon as this one's blocks have: it waits before it reads
  /// what others write.
  void letOthersBegin(gpu::GPUFuncOp kernel, int64_t flags) {
    SmallVector<int32_t> constants;
    for (unsigned i = 0; i < kernel.getNumArguments(); ++i) {
      if (kernel.getArgAttr(i, kWeightArgument) ||
          (kernel.getArgAttr(i, kInputArgument) && flags & kReadsEarly))
        constants.push_back(i);
      for (StringRef attribute : kConstantArguments)
        kernel.removeArgAttr(i, attribute);
    }
    if (flags & kOverlaps)
      kernel->setAttr(kConstants, DenseI32ArrayAttr::get(&getContext(), constants));
    if (target.version < 90)
      return;
    ImplicitLocOpBuilder b(kernel.getLoc(), &kernel.getBody().front(),
                           kernel.getBody().front().begin());
    // Many small blocks would pay for it, each, and the last of them begins late anyway.
    Value blocks = gpu::GridDimOp::create(b, gpu::Dimension::x);
    Value isFew = arith::CmpIOp::create(b, arith::CmpIPredicate::ule, blocks,
                                        arith::ConstantIndexOp::create(b, kMostToOverlap));
    auto branch = scf::IfOp::create(b, isFew);
    b.setInsertionPointToStart(branch.thenBlock());
    NVVM::GriddepcontrolOp::create(b, NVVM::GridDepActionKind::launch_dependents);
  }

  /// Constants in memory that the function reads go to the device.
  void copyGlobals(gpu::GPUFuncOp target, gpu::GPUModuleOp device) {
    target.walk([&](memref::GetGlobalOp get) {
      if (device.lookupSymbol(get.getName()))
        return;
      auto global = cast<memref::GlobalOp>(getOperation().lookupSymbol(get.getName()));
      OpBuilder::atBlockBegin(device.getBody()).clone(*global);
    });
  }

  /// Launches can fail.
  static void returnStatus(ModuleOp module, ArrayRef<func::FuncOp> functions) {
    Builder b(module.getContext());
    Type status = b.getI32Type();
    for (func::FuncOp function : functions) {
      function.setType(b.getFunctionType(function.getArgumentTypes(), status));
      function->setAttr("ssm.repeated", b.getUnitAttr());
      Operation *end = function.getBody().front().getTerminator();
      OpBuilder inside(end);
      Value ok = arith::ConstantIntOp::create(inside, end->getLoc(), status, 0);
      end->setOperands(ok);
    }
    module.walk([&](func::CallOp call) {
      auto callee = module.lookupSymbol<func::FuncOp>(call.getCallee());
      if (call.getNumResults() != 0 || !callee || !callee->hasAttr("ssm.kernel"))
        return;
      OpBuilder at(call);
      func::CallOp::create(at, call.getLoc(), callee, call.getOperands());
      call.erase();
    });
  }
};
} // namespace
