//===- HoistWeightsInit.cpp - What weights alone give, computed once -----===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "passes/Memory/Passes.h"

#include "dialects/SSM/SSMOps.h"
#include "lib/Support/ElementTypeNumber.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/IRMapping.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"
#include "llvm/ADT/SetVector.h"

namespace ssm {
#define GEN_PASS_DEF_HOISTWEIGHTSINIT
#include "passes/Memory/Passes.h.inc"
} // namespace ssm

using namespace mlir;
using namespace ssm;

namespace {

int64_t bytesOf(RankedTensorType type) {
  return type.getNumElements() * llvm::divideCeil(type.getElementTypeBitWidth(), 8);
}

struct HoistWeightsInit : ssm::impl::HoistWeightsInitBase<HoistWeightsInit> {
  using HoistWeightsInitBase::HoistWeightsInitBase;

  void runOnOperation() override {
    ModuleOp module = getOperation();
    SymbolTable symbols(module);
    ModuleOp init;
    SmallVector<Attribute> entries, initEntries;
    for (auto function : module.getOps<func::FuncOp>()) {
      if (function.isDeclaration())
        continue;
      kinds.clear();
      for (Value root : findRoots(function)) {
        if (!init) {
          OpBuilder builder = OpBuilder::atBlockEnd(module.getBody());
          init = ModuleOp::create(builder, module.getLoc(), StringRef("weights_init"));
        }
        hoist(root, symbols, init, entries, initEntries);
      }
    }
    if (!init)
      return;
    Builder b(&getContext());
    init->setAttr("ssm.entries", b.getArrayAttr(entries));
    init->setAttr("ssm.init_entries", b.getArrayAttr(initEntries));
  }

  /// What a value is computed from.
  enum Kind { Varying, Constant, Weight, Derived };

  /// A view of a weight costs nothing at run time: no reason to store it again.
  static bool isView(Operation *op) {
    return isa<tensor::CastOp, tensor::CollapseShapeOp, tensor::ExpandShapeOp,
               tensor::ExtractSliceOp>(op);
  }

  Kind kindOf(Operation *op) {
    if (auto it = kinds.find(op); it != kinds.end())
      return it->second;
    return kinds[op] = computeKind(op);
  }

  Kind computeKind(Operation *op) {
    if (op->hasTrait<OpTrait::ConstantLike>())
      return Constant;
    if (isa<LoadWeightOp>(op))
      return Weight;
    if (op->getNumResults() == 0 || op->hasTrait<OpTrait::IsTerminator>() || !isPure(op))
      return Varying;
    for (Type type : op->getResultTypes())
      if (auto tensorType = dyn_cast<RankedTensorType>(type);
          tensorType && !tensorType.hasStaticShape())
        return Varying;
    Kind kind = Constant;
    llvm::SetVector<Value> inputs;
    collectInputs(op, inputs);
    for (Value input : inputs) {
      Operation *producer = input.getDefiningOp();
      if (!producer)
        return Varying;
      kind = std::max(kind, kindOf(producer));
      if (kindOf(producer) == Varying)
        return Varying;
    }
    if (kind == Constant || (kind == Weight && isView(op)))
      return kind;
    return Derived;
  }

  /// Operands and what the regions take from outside.
  static void collectInputs(Operation *op, llvm::SetVector<Value> &inputs) {
    op->walk([&](Operation *inner) {
      for (Value operand : inner->getOperands()) {
        Operation *owner = operand.getDefiningOp();
        Block *block = owner ? owner->getBlock() : operand.getParentBlock();
        if (!op->isAncestor(block->getParentOp()))
          inputs.insert(operand);
      }
    });
  }

  SmallVector<Value> findRoots(func::FuncOp function) {
    SmallVector<Value> roots;
    for (Operation &op : function.getBody().front()) {
      if (kindOf(&op) != Derived || isView(&op))
        continue;
      for (Value result : op.getResults()) {
        auto type = dyn_cast<RankedTensorType>(result.getType());
        if (type && isUsedAtRunTime(result) && isWorthIt(&op, type))
          roots.push_back(result);
      }
    }
    return roots;
  }

  bool isUsedAtRunTime(Value value) {
    return llvm::any_of(value.getUsers(), [&](Operation *user) {
      Operation *top = value.getParentBlock()->findAncestorOpInBlock(*user);
      if (kindOf(top) != Derived)
        return true;
      return isView(top) &&
             llvm::any_of(top->getResults(), [&](Value view) { return isUsedAtRunTime(view); });
    });
  }

  /// Storing much more than was there would trade memory for little time.
  bool isWorthIt(Operation *op, RankedTensorType type) {
    int64_t sources = 0;
    for (Operation *source : sliceOf(op))
      if (auto load = dyn_cast<LoadWeightOp>(source))
        sources += bytesOf(cast<RankedTensorType>(load.getType()));
    return bytesOf(type) <= std::max(sources * 2, maxGrowth.getValue());
  }

  /// Everything the operation is computed from, in order.
  static SmallVector<Operation *> sliceOf(Operation *root) {
    llvm::SetVector<Operation *> slice;
    SmallVector<Operation *> work = {root};
    while (!work.empty()) {
      Operation *op = work.pop_back_val();
      if (!slice.insert(op))
        continue;
      llvm::SetVector<Value> inputs;
      collectInputs(op, inputs);
      for (Value input : inputs)
        work.push_back(input.getDefiningOp());
    }
    SmallVector<Operation *> ordered(slice.begin(), slice.end());
    llvm::sort(ordered, [](Operation *a, Operation *b) { return a->isBeforeInBlock(b); });
    return ordered;
  }

  Attribute describe(Builder &b, StringRef name, RankedTensorType type) {
    SmallVector<Attribute> dims;
    for (int64_t size : type.getShape())
      dims.push_back(b.getI64IntegerAttr(size));
    return b.getDictionaryAttr(
        {b.getNamedAttr("name", b.getStringAttr(name)),
         b.getNamedAttr("type", b.getI64IntegerAttr(onnxTypeNumber(type.getElementType()))),
         b.getNamedAttr("dims", b.getArrayAttr(dims))});
  }

  void hoist(Value root, SymbolTable &symbols, ModuleOp init, SmallVectorImpl<Attribute> &entries,
             SmallVectorImpl<Attribute> &initEntries) {
    SmallVector<Operation *> slice = sliceOf(root.getDefiningOp());
    auto type = cast<RankedTensorType>(root.getType());
    Builder b(&getContext());
    std::string name = "weights_init_" + std::to_string(entries.size());

    // One function of the source weights.
    SmallVector<LoadWeightOp> loads;
    for (Operation *op : slice)
      if (auto load = dyn_cast<LoadWeightOp>(op))
        loads.push_back(load);
    SmallVector<Type> params;
    SmallVector<Attribute> inputs, sources;
    for (LoadWeightOp load : loads) {
      params.push_back(load.getType());
      inputs.push_back(describe(b, load.getWeight(), cast<RankedTensorType>(load.getType())));
      sources.push_back(load.getWeightAttr());
      if (!SymbolTable::lookupSymbolIn(init, load.getWeightAttr()))
        init.push_back(symbols.lookup(load.getWeight())->clone());
    }
    OpBuilder builder = OpBuilder::atBlockEnd(init.getBody());
    auto function =
        func::FuncOp::create(builder, root.getLoc(), name, b.getFunctionType(params, type));
    for (unsigned i = 0; i < params.size(); ++i)
      function.setArgAttr(i, "bufferization.writable", b.getBoolAttr(false));
    builder.setInsertionPointToStart(function.addEntryBlock());
    IRMapping mapping;
    unsigned next = 0;
    for (Operation *op : slice) {
      if (isa<LoadWeightOp>(op))
        mapping.map(op->getResult(0), function.getArgument(next++));
      else
        builder.clone(*op, mapping);
    }
    func::ReturnOp::create(builder, root.getLoc(), mapping.lookup(root));

    // The derived weight in its place.
    OpBuilder at(root.getDefiningOp());
    auto weight =
        WeightOp::create(at, root.getLoc(), b.getStringAttr("derived"), TypeAttr::get(type),
                         StringAttr(), IntegerAttr(), b.getI64IntegerAttr(bytesOf(type)),
                         IntegerAttr(), IntegerAttr(), FlatSymbolRefAttr::get(&getContext(), name));
    weight->remove();
    symbols.insert(weight, getOperation().getBody()->begin());
    auto load = LoadWeightOp::create(at, root.getLoc(), type, weight.getSymName());
    kinds[load] = Weight;
    root.replaceAllUsesWith(load);

    entries.push_back(b.getDictionaryAttr(
        {b.getNamedAttr("name", b.getStringAttr(name)),
         b.getNamedAttr("inputs", b.getArrayAttr(inputs)),
         b.getNamedAttr("outputs", b.getArrayAttr(describe(b, weight.getSymName(), type)))}));
    initEntries.push_back(b.getDictionaryAttr(
        {b.getNamedAttr("entry", b.getStringAttr(name)),
         b.getNamedAttr("inputs", b.getArrayAttr(sources)),
         b.getNamedAttr("output", FlatSymbolRefAttr::get(weight.getSymNameAttr()))}));
  }

  llvm::DenseMap<Operation *, Kind> kinds;
};
} // namespace
