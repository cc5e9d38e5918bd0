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
#include "llvm/ADT/DenseSet.h"
#include "llvm/ADT/MapVector.h"
#include "llvm/ADT/SetVector.h"
#include "llvm/ADT/StringMap.h"

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
    SymbolTable moduleSymbols(module);
    symbols = &moduleSymbols;
    llvm::DenseMap<StringAttr, SmallVector<func::CallOp>> callsOf;
    module.walk(
        [&](func::CallOp call) { callsOf[call.getCalleeAttr().getAttr()].push_back(call); });
    for (auto function : module.getOps<func::FuncOp>()) {
      if (function.isDeclaration())
        continue;
      kinds.clear();
      weightArguments.clear();
      calls =
          function.isPrivate() ? callsOf[function.getSymNameAttr()] : SmallVector<func::CallOp>();
      moveOutOfRegions(function);
      SmallVector<Value> roots = findRoots(function);
      for (Value root : roots)
        hoist(root, function);
      if (!calls.empty() && !roots.empty())
        dropUnusedWeights(function);
    }
    if (!init)
      return;
    Builder b(&getContext());
    init->setAttr("ssm.entries", b.getArrayAttr(entries));
    init->setAttr("ssm.init_entries", b.getArrayAttr(initEntries));
  }

  /// What a repeated function no longer reads, now that something was made of it, is
  /// not handed to it: else it would stay in the weights file.
  void dropUnusedWeights(func::FuncOp function) {
    Block &body = function.getBody().front();
    SmallVector<Operation *> ops;
    for (Operation &op : body)
      ops.push_back(&op);
    for (Operation *op : llvm::reverse(ops))
      if (isOpTriviallyDead(op))
        op->erase();
    llvm::BitVector unused(function.getNumArguments());
    for (BlockArgument arg : function.getArguments())
      if (arg.use_empty() && weightArguments.lookup(arg))
        unused.set(arg.getArgNumber());
    if (unused.none())
      return;
    // Results tell by number which arguments are their sizes.
    SmallVector<int64_t> numbers;
    int64_t next = 0;
    for (unsigned i = 0; i < unused.size(); ++i)
      numbers.push_back(unused.test(i) ? -1 : next++);
    for (unsigned i = 0; i < function.getNumResults(); ++i)
      if (auto sizes = function.getResultAttrOfType<DenseI64ArrayAttr>(i, "ssm.sizes")) {
        SmallVector<int64_t> moved =
            llvm::map_to_vector(sizes.asArrayRef(), [&](int64_t arg) { return numbers[arg]; });
        function.setResultAttr(i, "ssm.sizes", DenseI64ArrayAttr::get(&getContext(), moved));
      }
    for (func::CallOp call : calls)
      call->eraseOperands(unused);
    (void)function.eraseArguments(unused);
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

  /// An argument that is a weight in every call of a repeated function.
  bool isWeightArgument(Value value) {
    auto [it, inserted] = weightArguments.try_emplace(value, false);
    auto arg = dyn_cast<BlockArgument>(value);
    if (!inserted || !arg || calls.empty() || !isa<func::FuncOp>(arg.getOwner()->getParentOp()))
      return it->second;
    return it->second = llvm::all_of(calls, [&](func::CallOp call) {
             return call.getOperand(arg.getArgNumber()).getDefiningOp<LoadWeightOp>() != nullptr;
           });
  }

  Kind kindOf(Value value) {
    Operation *producer = value.getDefiningOp();
    return producer ? kindOf(producer) : isWeightArgument(value) ? Weight : Varying;
  }

  Kind computeKind(Operation *op) {
    if (op->hasTrait<OpTrait::ConstantLike>())
      return Constant;
    if (isa<LoadWeightOp>(op))
      return Weight;
    // A check that a kernel makes belongs to the run.
    if (op->getNumResults() == 0 || op->hasTrait<OpTrait::IsTerminator>() || !isPure(op) ||
        isa<CheckSiteOp>(op))
      return Varying;
    for (Type type : op->getResultTypes())
      if (auto tensorType = dyn_cast<RankedTensorType>(type);
          tensorType && !tensorType.hasStaticShape())
        return Varying;
    Kind kind = Constant;
    llvm::SetVector<Value> inputs;
    collectInputs(op, inputs);
    for (Value input : inputs) {
      Kind inputKind = kindOf(input);
      if (inputKind == Varying)
        return Varying;
      kind = std::max(kind, inputKind);
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

  /// What loops and branches compute from weights alone, to the function's own block, with what
  /// it takes: a loop would do it in every step.
  void moveOutOfRegions(func::FuncOp function) {
    Block &body = function.getBody().front();
    for (Operation &top : llvm::make_early_inc_range(body)) {
      auto move = [&](auto &&move, Operation *op) -> void {
        if (op->getBlock() == &body)
          return;
        llvm::SetVector<Value> inputs;
        collectInputs(op, inputs);
        for (Value input : inputs)
          move(move, input.getDefiningOp());
        op->moveBefore(&top);
      };
      SmallVector<Operation *> derived;
      top.walk<WalkOrder::PreOrder>([&](Operation *op) {
        if (op == &top)
          return WalkResult::advance();
        if (kindOf(op) == Derived && !isView(op) &&
            llvm::all_of(op->getResultTypes(), llvm::IsaPred<RankedTensorType>))
          derived.push_back(op);
        return kindOf(op) == Derived || op->hasTrait<OpTrait::IsIsolatedFromAbove>()
                   ? WalkResult::skip()
                   : WalkResult::advance();
      });
      if (kindOf(&top) != Derived)
        for (Operation *op : derived)
          move(move, op);
    }
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
    int64_t bytes = 0;
    for (Value source : sliceOf(op).sources)
      bytes += bytesOf(cast<RankedTensorType>(source.getType()));
    return bytesOf(type) <= std::max(bytes * 2, maxGrowth.getValue());
  }

  /// Everything that a value is computed from, in order: weights, then operations.
  struct Slice {
    SmallVector<Value> sources;
    SmallVector<Operation *> ops;
  };

  static Slice sliceOf(Operation *root) {
    llvm::SetVector<Operation *> ops;
    llvm::SetVector<Value> arguments;
    SmallVector<Operation *> work = {root};
    while (!work.empty()) {
      Operation *op = work.pop_back_val();
      if (!ops.insert(op))
        continue;
      llvm::SetVector<Value> inputs;
      collectInputs(op, inputs);
      for (Value input : inputs)
        if (Operation *producer = input.getDefiningOp())
          work.push_back(producer);
        else
          arguments.insert(input);
    }
    Slice slice{arguments.takeVector(), {}};
    llvm::sort(slice.sources, [](Value a, Value b) {
      return cast<BlockArgument>(a).getArgNumber() < cast<BlockArgument>(b).getArgNumber();
    });
    SmallVector<Operation *> ordered(ops.begin(), ops.end());
    llvm::sort(ordered, [](Operation *a, Operation *b) { return a->isBeforeInBlock(b); });
    for (Operation *op : ordered) {
      if (isa<LoadWeightOp>(op))
        slice.sources.push_back(op->getResult(0));
      else
        slice.ops.push_back(op);
    }
    return slice;
  }

  Attribute describe(Builder &b, const Twine &name, RankedTensorType type) {
    SmallVector<Attribute> dims;
    for (int64_t size : type.getShape())
      dims.push_back(b.getI64IntegerAttr(size));
    return b.getDictionaryAttr(
        {b.getNamedAttr("name", b.getStringAttr(name)),
         b.getNamedAttr("type", b.getI64IntegerAttr(onnxTypeNumber(type.getElementType()))),
         b.getNamedAttr("dims", b.getArrayAttr(dims))});
  }

  /// The weight that a source is: in a repeated function, in one call of it.
  static FlatSymbolRefAttr weightOf(Value source, func::CallOp call) {
    if (auto arg = dyn_cast<BlockArgument>(source))
      source = call.getOperand(arg.getArgNumber());
    return source.getDefiningOp<LoadWeightOp>().getWeightAttr();
  }

  void hoist(Value root, func::FuncOp function) {
    Slice slice = sliceOf(root.getDefiningOp());
    std::string name = makeFunction(root, slice);
    if (calls.empty()) {
      OpBuilder at(root.getDefiningOp());
      LoadWeightOp load = makeWeight(at, root, slice, name, {});
      kinds[load] = Weight;
      root.replaceAllUsesWith(load);
      return;
    }
    // A repeated function gets it as one more argument: the calls differ in their
    // weights, and share how it is computed.
    llvm::MapVector<Attribute, FlatSymbolRefAttr> known;
    for (func::CallOp call : calls) {
      OpBuilder at(call);
      SmallVector<Attribute> sources = sourcesOf(slice, call);
      FlatSymbolRefAttr &weight = known[at.getArrayAttr(sources)];
      LoadWeightOp load = weight ? LoadWeightOp::create(at, root.getLoc(), root.getType(), weight)
                                 : makeWeight(at, root, slice, name, call);
      weight = load.getWeightAttr();
      call->insertOperands(call->getNumOperands(), load.getResult());
    }
    Builder b(&getContext());
    unsigned number = function.getNumArguments();
    (void)function.insertArgument(
        number, root.getType(),
        b.getDictionaryAttr(b.getNamedAttr("bufferization.writable", b.getBoolAttr(false))),
        root.getLoc());
    root.replaceAllUsesWith(function.getArgument(number));
  }

  static SmallVector<Attribute> sourcesOf(const Slice &slice, func::CallOp call) {
    return llvm::map_to_vector(slice.sources,
                               [&](Value source) -> Attribute { return weightOf(source, call); });
  }

  /// The function that computes a value from the source weights; equal ones are one,
  /// so that entries share what they derive from the same weights.
  std::string makeFunction(Value root, const Slice &slice) {
    Builder b(&getContext());
    if (!init) {
      OpBuilder builder = OpBuilder::atBlockEnd(getOperation().getBody());
      init = ModuleOp::create(builder, getOperation().getLoc(), StringRef("weights_init"));
    }
    SmallVector<Type> params;
    SmallVector<Attribute> inputs;
    for (Value source : slice.sources) {
      inputs.push_back(describe(b, "source" + std::to_string(params.size()),
                                cast<RankedTensorType>(source.getType())));
      params.push_back(source.getType());
    }
    OpBuilder builder = OpBuilder::atBlockEnd(init.getBody());
    auto function = func::FuncOp::create(builder, root.getLoc(), "weights_init",
                                         b.getFunctionType(params, root.getType()));
    for (unsigned i = 0; i < params.size(); ++i)
      function.setArgAttr(i, "bufferization.writable", b.getBoolAttr(false));
    builder.setInsertionPointToStart(function.addEntryBlock());
    IRMapping mapping;
    mapping.map(slice.sources, function.getArguments());
    for (Operation *op : slice.ops)
      builder.clone(*op, mapping);
    func::ReturnOp::create(builder, root.getLoc(), mapping.lookup(root));
    std::string text;
    llvm::raw_string_ostream stream(text);
    function->print(stream, OpPrintingFlags().enableDebugInfo(false).useLocalScope());
    std::string name = "weights_init_" + std::to_string(entries.size());
    auto [known, inserted] = functions.try_emplace(text, name);
    if (!inserted) {
      function.erase();
      return known->second;
    }
    function.setName(name);
    entries.push_back(b.getDictionaryAttr(
        {b.getNamedAttr("name", b.getStringAttr(name)),
         b.getNamedAttr("inputs", b.getArrayAttr(inputs)),
         b.getNamedAttr("outputs", b.getArrayAttr(describe(
                                       b, "result", cast<RankedTensorType>(root.getType()))))}));
    return name;
  }

  /// A derived weight, of one call or of an entry.
  LoadWeightOp makeWeight(OpBuilder &b, Value root, const Slice &slice, StringRef name,
                          func::CallOp call) {
    SmallVector<Attribute> sources = sourcesOf(slice, call);
    for (Attribute source : sources) {
      auto symbol = cast<FlatSymbolRefAttr>(source);
      if (sourcesInInit.insert(symbol).second)
        init.push_back(symbols->lookup(symbol.getValue())->clone());
    }
    auto type = cast<RankedTensorType>(root.getType());
    FlatSymbolRefAttr &known =
        derived[b.getArrayAttr({b.getStringAttr(name), b.getArrayAttr(sources)})];
    if (known)
      return LoadWeightOp::create(b, root.getLoc(), type, known);
    auto weight =
        WeightOp::create(b, root.getLoc(), b.getStringAttr("derived"), TypeAttr::get(type),
                         StringAttr(), IntegerAttr(), b.getI64IntegerAttr(bytesOf(type)),
                         IntegerAttr(), IntegerAttr(), FlatSymbolRefAttr::get(&getContext(), name));
    weight->remove();
    symbols->insert(weight, getOperation().getBody()->begin());
    initEntries.push_back(b.getDictionaryAttr(
        {b.getNamedAttr("entry", b.getStringAttr(name)),
         b.getNamedAttr("inputs", b.getArrayAttr(sources)),
         b.getNamedAttr("output", FlatSymbolRefAttr::get(weight.getSymNameAttr()))}));
    known = FlatSymbolRefAttr::get(weight.getSymNameAttr());
    return LoadWeightOp::create(b, root.getLoc(), type, known);
  }

  SymbolTable *symbols = nullptr;
  ModuleOp init;
  llvm::StringMap<std::string> functions;               // by their text
  llvm::DenseMap<Attribute, FlatSymbolRefAttr> derived; // by function and sources
  SmallVector<Attribute> entries, initEntries;
  llvm::DenseSet<Attribute> sourcesInInit;
  /// Of the function at hand: its calls, if it is repeated, and what is known of it.
  SmallVector<func::CallOp> calls;
  llvm::DenseMap<Value, bool> weightArguments;
  llvm::DenseMap<Operation *, Kind> kinds;
};
} // namespace
