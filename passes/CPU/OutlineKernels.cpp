//===- OutlineKernels.cpp - Every loop nest a function, equal ones once --===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "passes/CPU/Captures.h"
#include "passes/CPU/KernelNames.h"
#include "passes/CPU/Passes.h"

#include "dialects/SSM/TopKOp.h"
#include "lib/Analysis/InPlace.h"
#include "lib/Analysis/WeightValues.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/IR/IRMapping.h"
#include "mlir/Interfaces/ViewLikeInterface.h"
#include "llvm/ADT/DenseSet.h"
#include "llvm/ADT/SetVector.h"
#include "llvm/ADT/StringMap.h"

namespace ssm {
#define GEN_PASS_DEF_OUTLINEKERNELS
#include "passes/CPU/Passes.h.inc"
} // namespace ssm

using namespace mlir;
using namespace ssm;

namespace {

/// Points of kernels, of sizes that are fixed, in one step of a loop that is one device kernel.
constexpr int64_t kBlockPoints = 1 << 20;

struct OutlineKernels : ssm::impl::OutlineKernelsBase<OutlineKernels> {
  using OutlineKernelsBase::OutlineKernelsBase;

  void runOnOperation() override {
    ModuleOp module = getOperation();
    SmallVector<func::FuncOp> functions;
    for (auto function : module.getOps<func::FuncOp>())
      if (!function.isDeclaration() &&
          (function->hasAttr("ssm.entry") || function->hasAttr("ssm.repeated")))
        functions.push_back(function);
    for (func::FuncOp function : functions) {
      if (device)
        function.walk([](memref::SubViewOp view) { takeSizesOfSource(view); });
      SmallVector<Operation *> nests;
      for (Block &block : function.getBody())
        collectNests(block, nests);
      hasSeveralKernels = nests.size() > 1;
      for (Operation *nest : nests)
        outline(nest, module);
    }
    // Each kernel name is told once, in the order of the first call.
    Builder b(&getContext());
    SymbolTable symbols(module);
    for (func::FuncOp function : functions)
      if (auto entry = function->getAttrOfType<StringAttr>("ssm.entry")) {
        llvm::SetVector<StringRef> used;
        collectKernels(function, symbols, used);
        module->setAttr(("ssm.kernels." + entry.getValue()).str(),
                        b.getStrArrayAttr(used.getArrayRef()));
      }
  }

  /// Where a view has all of an axis, a kernel should see that: its size becomes the source's.
  static void takeSizesOfSource(memref::SubViewOp view) {
    Value source = view.getSource();
    Operation *made = source.getDefiningOp();
    ValueRange sizes;
    if (auto arena = dyn_cast_or_null<ArenaViewOp>(made))
      sizes = arena.getSizes();
    else if (auto output = dyn_cast_or_null<OutputOp>(made))
      sizes = output.getSizes();
    OpBuilder b(view);
    auto type = view.getSourceType();
    for (auto [i, size] : llvm::enumerate(sizes)) {
      // The i-th open axis of the source.
      unsigned axis = 0;
      for (unsigned open = 0; !type.isDynamicDim(axis) || open++ < i;)
        ++axis;
      if (!view.isDynamicSize(axis) || view.getDynamicSize(axis) != size)
        continue;
      view->setOperand(view.getIndexOfDynamicSize(axis),
                       memref::DimOp::create(b, view.getLoc(), source, axis));
    }
  }

  static void collectKernels(func::FuncOp function, SymbolTable &symbols,
                             llvm::SetVector<StringRef> &used) {
    llvm::DenseSet<StringAttr> seen;
    function.walk([&](func::CallOp call) {
      if (!seen.insert(call.getCalleeAttr().getAttr()).second)
        return;
      auto callee = symbols.lookup<func::FuncOp>(call.getCallee());
      if (callee->hasAttr("ssm.kernel"))
        used.insert(callee.getSymName());
      else
        collectKernels(callee, symbols, used);
    });
  }

  /// Loop nests that hold nothing of the module's borders: checks end the run, and
  /// temporaries inside would hide from LLVM that they do not overlap. A device goes on behind a
  /// check that fails, but whether a loop ends may hang on it.
  void collectNests(Block &block, SmallVectorImpl<Operation *> &nests) {
    for (Operation &op : block) {
      bool isNest = isa<linalg::LinalgOp, KernelOp, ParallelForOp, TopKOp>(op) ||
                    isa<scf::SCFDialect>(op.getDialect()) || (device && isDeviceStore(op));
      if (!isNest || op.hasTrait<OpTrait::IsTerminator>())
        continue;
      bool leaves = op.walk([&](Operation *inner) {
                        if (device && isa<CheckOp>(inner) && isa<scf::ForOp>(op) &&
                            !inner->getParentOfType<scf::WhileOp>())
                          return WalkResult::advance();
                        bool isBorder =
                            isa<func::CallOp>(inner) ||
                            (isa<SSMDialect>(inner->getDialect()) &&
                             !isa<KernelOp, ReduceOp, IndexOp, ParallelForOp, TopKOp, CheckIndexOp,
                                  ssm::YieldOp>(inner));
                        return isBorder ? WalkResult::interrupt() : WalkResult::advance();
                      }).wasInterrupted();
      // The host branches, and repeats what is too large for one block of threads.
      if (device && (isa<scf::IfOp>(op) || (isa<scf::SCFDialect>(op.getDialect()) && isTooLarge(op))))
        leaves = true;
      if (!leaves && (op.getNumResults() == 0 || (device && isCount(op)))) {
        nests.push_back(&op);
        continue;
      }
      for (Region &region : op.getRegions())
        for (Block &inner : region)
          collectNests(inner, nests);
    }
  }

  /// Loops that write elements and count, as NonZero does; nobody takes the count.
  static bool isCount(Operation &op) {
    return isa<scf::ForOp>(op) && op.use_empty() && !op.walk([](Operation *inner) {
                                                          return isa<linalg::LinalgOp, KernelOp,
                                                                     TopKOp, scf::WhileOp>(inner)
                                                                     ? WalkResult::interrupt()
                                                                     : WalkResult::advance();
                                                        }).wasInterrupted();
  }

  /// Whether one step of loops has more points than one block of a device should do alone.
  static bool isTooLarge(Operation &loops) {
    int64_t points = 0;
    loops.walk([&](KernelOp kernel) {
      int64_t size = 1;
      for (unsigned loop = 0; loop < kernel.getNumLoops(); ++loop) {
        auto [operand, axis] = kernel.getSizeSource(loop);
        int64_t length = operand ? cast<ShapedType>(operand.getType()).getDimSize(axis) : 1;
        size *= ShapedType::isDynamic(length) ? 1 : length;
      }
      points += size;
    });
    return points > kBlockPoints;
  }

  /// A store to memory that the host cannot reach.
  static bool isDeviceStore(Operation &op) {
    auto store = dyn_cast<memref::StoreOp>(op);
    if (!store)
      return false;
    Value memref = store.getMemRef();
    while (auto view = memref.getDefiningOp<ViewLikeOpInterface>())
      memref = view.getViewSource();
    return !memref.getDefiningOp<memref::AllocaOp>();
  }

  bool isClonable(Operation *op) {
    // The host's constants are not the device's.
    return (device && isa<memref::GetGlobalOp>(op)) ||
           op->hasTrait<OpTrait::ConstantLike>() ||
           (isa<ViewLikeOpInterface>(op) && isa<memref::MemRefDialect>(op->getDialect())) ||
           isa<memref::DimOp>(op);
  }

  /// Whether a value can be handed to a function: plain buffers and scalars. The host of
  /// a device cannot run what is left, so there buffers with strides can too.
  bool isPlain(Value value) {
    if (auto type = dyn_cast<MemRefType>(value.getType()))
      return type.getLayout().isIdentity() || (device && type.isStrided());
    return value.getType().isIntOrIndexOrFloat();
  }

  /// Whether the memory is one that no other buffer of the run overlaps.
  static bool isOwnMemory(Value value) {
    // What a repeated function writes is its caller's, made for the call.
    if (auto arg = dyn_cast<BlockArgument>(value))
      return isa<func::FuncOp>(arg.getOwner()->getParentOp());
    return value.getDefiningOp() &&
           isa<ArenaViewOp, ArgOp, OutputOp, SegmentAllocOp, WeightViewOp>(value.getDefiningOp());
  }

  /// Whether another of the kernel's buffers may be the same one.
  static bool hasTwin(Value value, ArrayRef<Value> params) {
    Attribute number = getInPlace(value);
    return number && llvm::any_of(params, [&](Value other) {
             return other != value && getInPlace(other) == number;
           });
  }

  /// Marks memory that nothing writes while the model runs: a weight, or an input. A kernel that
  /// runs alone has no use for the latter: it could be begun no earlier.
  void markConstant(Value value, SmallVectorImpl<NamedAttribute> &attributes) {
    while (auto view = value.getDefiningOp<ViewLikeOpInterface>())
      value = view.getViewSource();
    Builder b(&getContext());
    auto mark = [&](StringRef name) {
      attributes.push_back(b.getNamedAttr(name, b.getUnitAttr()));
    };
    if (auto arg = dyn_cast<BlockArgument>(value)) {
      auto function = dyn_cast<func::FuncOp>(arg.getOwner()->getParentOp());
      if (function && function.getArgAttr(arg.getArgNumber(), kWeightArgument))
        mark(kWeightArgument);
    } else if (value.getDefiningOp<WeightViewOp>()) {
      mark(kWeightArgument);
    } else if (value.getDefiningOp<ArgOp>() && hasSeveralKernels) {
      mark(kInputArgument);
    }
  }

  /// What the type fixes stays fixed.
  static Value viewWithStrides(OpBuilder &b, Location loc, MemRefType type, Value base,
                               Value offset, ValueRange sizes, ValueRange strides) {
    auto pick = [&](int64_t fixed, Value open) {
      return ShapedType::isDynamic(fixed) ? OpFoldResult(open) : b.getIndexAttr(fixed);
    };
    auto [fixedStrides, fixedOffset] = type.getStridesAndOffset();
    SmallVector<OpFoldResult> allSizes, allStrides;
    for (auto [fixed, open] : llvm::zip_equal(type.getShape(), sizes))
      allSizes.push_back(pick(fixed, open));
    for (auto [fixed, open] : llvm::zip_equal(fixedStrides, strides))
      allStrides.push_back(pick(fixed, open));
    return memref::ReinterpretCastOp::create(b, loc, type, base, pick(fixedOffset, offset),
                                             allSizes, allStrides);
  }

  /// Checks become the kernel's, which is given the number of each.
  static void keepChecks(Operation *nest, Captures &captures) {
    nest->walk([&](CheckOp check) {
      OpBuilder outside(nest), inside(check);
      Value site = CheckSiteOp::create(outside, check.getLoc(), check.getNodeAttr(),
                                       check.getTextAttr());
      captures.params.insert(site);
      CheckValuesOp::create(inside, check.getLoc(), check.getCondition(), site, check.getValues());
      check.erase();
    });
  }

  /// Makes the nest a kernel, unless it takes something that no function can.
  void outline(Operation *nest, ModuleOp module) {
    Captures captures;
    nest->walk([&](Operation *inner) {
      for (Value operand : inner->getOperands())
        if (!nest->isAncestor(operand.getParentBlock()->getParentOp()))
          captures.add(operand, [&](Operation *op) { return isClonable(op); });
    });
    if (!llvm::all_of(captures.params, [&](Value param) { return isPlain(param); }))
      return;
    if (device)
      keepChecks(nest, captures);

    MLIRContext *context = &getContext();
    OpBuilder builder(context);
    Location loc = nest->getLoc();
    auto pointer = LLVM::LLVMPointerType::get(context);
    Type index = builder.getIndexType();

    // Parameters: the table and its context, through which loops run in parallel; then for
    // each buffer its pointer and its dynamic sizes, or with strides offset, sizes, strides.
    SmallVector<Type> types(2, pointer);
    SmallVector<Attribute> noAlias(2, builder.getDictionaryAttr({}));
    auto entry = nest->getParentOfType<func::FuncOp>();
    SmallVector<Value> args = {entry.getArgument(0), entry.getArgument(1)};
    builder.setInsertionPoint(nest);
    NamedAttribute mark = builder.getNamedAttr("llvm.noalias", builder.getUnitAttr());
    for (Value param : captures.params) {
      auto type = dyn_cast<MemRefType>(param.getType());
      if (!type) {
        types.push_back(param.getType());
        args.push_back(param);
        noAlias.push_back(builder.getDictionaryAttr({}));
        continue;
      }
      if (!type.getLayout().isIdentity()) {
        auto parts = memref::ExtractStridedMetadataOp::create(builder, loc, param);
        types.push_back(pointer);
        args.push_back(PointerOp::create(builder, loc, pointer, parts.getBaseBuffer()));
        llvm::append_range(args, parts->getResults().drop_front());
        types.append(args.size() - types.size(), index);
        noAlias.append(args.size() - noAlias.size(), builder.getDictionaryAttr({}));
        continue;
      }
      types.push_back(pointer);
      args.push_back(PointerOp::create(builder, loc, pointer, param));
      SmallVector<NamedAttribute> told;
      if (isOwnMemory(param) && !hasTwin(param, captures.params.getArrayRef()))
        told.push_back(mark);
      // Kernels of a device may read it before those in front of them end.
      if (device)
        markConstant(param, told);
      noAlias.push_back(builder.getDictionaryAttr(told));
      for (int64_t axis = 0; axis < type.getRank(); ++axis)
        if (type.isDynamicDim(axis)) {
          types.push_back(index);
          args.push_back(memref::DimOp::create(builder, loc, param, axis));
          noAlias.push_back(builder.getDictionaryAttr({}));
        }
    }

    auto kernel = func::FuncOp::create(UnknownLoc::get(context), "kernel",
                                       builder.getFunctionType(types, {}));
    kernel.setPrivate();
    kernel.setAllArgAttrs(noAlias);
    kernel->setAttr("ssm.kernel", builder.getUnitAttr());
    // One function for each kernel is the point: inlining would undo it.
    kernel->setAttr("passthrough", builder.getStrArrayAttr({"noinline"}));
    Block *block = kernel.addEntryBlock();
    builder.setInsertionPointToStart(block);
    IRMapping mapping;
    Value zero = arith::ConstantIndexOp::create(builder, kernel.getLoc(), 0);
    unsigned next = 2;
    for (Value param : captures.params) {
      Value arg = block->getArgument(next++);
      auto type = dyn_cast<MemRefType>(param.getType());
      if (!type) {
        mapping.map(param, arg);
        continue;
      }
      if (!type.getLayout().isIdentity()) {
        Value base = ArenaViewOp::create(builder, kernel.getLoc(),
                                         MemRefType::get({}, type.getElementType()), arg, zero,
                                         ValueRange());
        auto take = [&](size_t count) {
          next += count;
          return block->getArguments().slice(next - count, count);
        };
        ValueRange offset = take(1), sizes = take(type.getRank()), strides = take(type.getRank());
        mapping.map(param, viewWithStrides(builder, kernel.getLoc(), type, base, offset[0], sizes,
                                           strides));
        continue;
      }
      SmallVector<Value> sizes;
      for (size_t n = 0; n < type.getNumDynamicDims(); ++n)
        sizes.push_back(block->getArgument(next++));
      auto view = ArenaViewOp::create(builder, kernel.getLoc(), type, arg, zero, sizes);
      if (hasTwin(param, captures.params.getArrayRef()))
        view->setAttr(kInPlaceAttr, getInPlace(param));
      mapping.map(param, view);
    }
    for (Operation *op : captures.cloned)
      builder.clone(*op, mapping);
    builder.clone(*nest, mapping);
    func::ReturnOp::create(builder, kernel.getLoc());

    // The printed form without locations is the key: equal text, equal kernel.
    std::string text;
    {
      llvm::raw_string_ostream stream(text);
      OpPrintingFlags flags;
      flags.enableDebugInfo(false).useLocalScope();
      kernel->print(stream, flags);
    }
    auto [it, inserted] = kernels.try_emplace(text, "");
    if (inserted) {
      std::string name = "kernel_" + describeNest(nest);
      unsigned count = names[name]++;
      it->second = count == 0 ? name : name + "_" + std::to_string(count);
      kernel.setName(it->second);
      module.push_back(kernel);
    } else {
      kernel.erase();
    }
    builder.setInsertionPoint(nest);
    func::CallOp::create(builder, loc, it->second, TypeRange(), args);
    nest->erase();
  }

  bool hasSeveralKernels = false;
  llvm::StringMap<std::string> kernels;
  llvm::StringMap<unsigned> names;
};
} // namespace
