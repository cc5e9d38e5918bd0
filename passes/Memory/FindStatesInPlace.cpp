//===- FindStatesInPlace.cpp - States that may be written where they are --===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "passes/Memory/Passes.h"

#include "dialects/SSM/KernelLoops.h"
#include "lib/Analysis/InPlace.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/IR/Remarks.h"
#include "mlir/Interfaces/ViewLikeInterface.h"

namespace ssm {
#define GEN_PASS_DEF_FINDSTATESINPLACE
#include "passes/Memory/Passes.h.inc"
} // namespace ssm

using namespace mlir;
using namespace ssm;

/// The views between a value and the buffer that it is of, from the buffer on.
static SmallVector<Operation *> viewsOf(Value value) {
  SmallVector<Operation *> views;
  while (auto view = value.getDefiningOp<ViewLikeOpInterface>()) {
    // Inputs and outputs are views of nothing.
    if (!isa<BaseMemRefType>(view.getViewSource().getType()))
      break;
    views.insert(views.begin(), view);
    value = view.getViewSource();
  }
  return views;
}

/// Whether values are the same elements of two buffers, in the same order.
static bool areAlike(Value x, Value y) {
  if (x.getType() != y.getType())
    return false;
  SmallVector<Operation *> first = viewsOf(x), second = viewsOf(y);
  return first.size() == second.size() &&
         llvm::all_of(llvm::zip_equal(first, second), [](auto pair) {
           auto [a, b] = pair;
           return a->getName() == b->getName() &&
                  a->getAttrDictionary() == b->getAttrDictionary() &&
                  a->getPropertiesAsAttribute() == b->getPropertiesAsAttribute() &&
                  a->getOperands().drop_front() == b->getOperands().drop_front();
         });
}

/// Whether values have no element in common, were their buffers one.
static bool areApart(Value x, Value y) {
  SmallVector<Operation *> first = viewsOf(x), second = viewsOf(y);
  if (first.size() != 1 || second.size() != 1)
    return false;
  auto a = dyn_cast<memref::SubViewOp>(first[0]), b = dyn_cast<memref::SubViewOp>(second[0]);
  if (!a || !b || a.getSourceType() != b.getSourceType() || !a.hasUnitStride() ||
      !b.hasUnitStride())
    return false;
  for (auto [at, other, size, otherSize] :
       llvm::zip_equal(a.getStaticOffsets(), b.getStaticOffsets(), a.getStaticSizes(),
                       b.getStaticSizes()))
    if (!llvm::is_contained({at, other, size, otherSize}, ShapedType::kDynamic) &&
        (at + size <= other || other + otherSize <= at))
      return true;
  return false;
}

namespace {

/// An operand that is a buffer or a view of it.
struct Use {
  Operation *outer; // in the function's block
  OpOperand *operand;
};

/// Whether an output can be written over an input, in one function.
class Pair {
public:
  Pair(Block &block, SymbolTable &symbols) : block(block), symbols(symbols) {}

  /// The memory of the input, of the output.
  SmallVector<Value> inputs, outputs;

  /// Why not, or "".
  StringRef check();
  /// Tells it to what comes, by a number.
  void mark(Attribute number);

private:
  bool collect(Value buffer, SmallVectorImpl<Use> &uses);
  StringRef checkKernel(KernelOp kernel);
  StringRef checkCall(func::CallOp call);

  Block &block;
  SymbolTable &symbols;
  SmallVector<Use> reads, writes;
  /// The operation that both reads and writes, if there is one.
  Operation *both = nullptr;
};

struct FindStatesInPlace : ssm::impl::FindStatesInPlaceBase<FindStatesInPlace> {
  void runOnOperation() override {
    auto entries = getOperation()->getAttrOfType<ArrayAttr>("ssm.entries");
    if (!entries)
      return;
    SmallVector<Attribute> changed;
    for (auto entry : entries.getAsRange<DictionaryAttr>())
      changed.push_back(findIn(entry));
    getOperation()->setAttr("ssm.entries", ArrayAttr::get(&getContext(), changed));
  }

  DictionaryAttr findIn(DictionaryAttr entry) {
    auto states = entry.getAs<ArrayAttr>("states");
    func::FuncOp run;
    for (auto function : getOperation().getOps<func::FuncOp>())
      if (function->getAttr("ssm.entry") == entry.get("name"))
        run = function;
    if (!states || !run)
      return entry;
    SymbolTable symbols(getOperation());
    SmallVector<Attribute> found;
    for (auto [i, state] : llvm::enumerate(states.getAsRange<DictionaryAttr>())) {
      found.push_back(state);
      Pair pair(run.getBody().front(), symbols);
      auto numberOf = [&](StringRef key) { return state.getAs<IntegerAttr>(key).getInt(); };
      if (numberOf("kind") != 0)
        continue;
      run.walk([&](Operation *op) {
        if (auto arg = dyn_cast<ArgOp>(op); arg && int64_t(arg.getIndex()) == numberOf("input"))
          pair.inputs.push_back(arg);
        if (auto out = dyn_cast<OutputOp>(op); out && int64_t(out.getIndex()) == numberOf("output"))
          pair.outputs.push_back(out);
      });
      if (StringRef why = pair.check(); !why.empty()) {
        remark::missed(run.getLoc(), remark::RemarkOpts::name("InPlace").category("buffer"))
            << ("state of input " + Twine(numberOf("input")) + " takes two buffers: " + why).str();
        continue;
      }
      pair.mark(Builder(&getContext()).getI64IntegerAttr(i));
      NamedAttrList marked(state);
      marked.set("in_place", UnitAttr::get(&getContext()));
      found.back() = marked.getDictionary(&getContext());
    }
    NamedAttrList result(entry);
    result.set("states", ArrayAttr::get(&getContext(), found));
    return result.getDictionary(&getContext());
  }
};

} // namespace

/// All operations that touch the buffer. False if one may hand it on.
bool Pair::collect(Value buffer, SmallVectorImpl<Use> &uses) {
  for (OpOperand &use : buffer.getUses()) {
    Operation *user = use.getOwner();
    if (isa<memref::DimOp>(user))
      continue;
    if (auto view = dyn_cast<ViewLikeOpInterface>(user)) {
      if (view.getViewSource() != buffer || !collect(view.getViewDest(), uses))
        return false;
      continue;
    }
    if (!isa<KernelOp, memref::CopyOp, memref::LoadOp, memref::StoreOp, linalg::LinalgOp,
             func::CallOp>(user))
      return false;
    Operation *outer = block.findAncestorOpInBlock(*user);
    if (!outer)
      return false;
    uses.push_back({outer, &use});
  }
  return true;
}

StringRef Pair::check() {
  for (auto [buffers, uses] : {std::pair(&inputs, &reads), {&outputs, &writes}})
    for (Value buffer : *buffers)
      if (!collect(buffer, *uses))
        return "its memory is handed on";
  if (reads.empty() || writes.empty())
    return "";
  auto before = [](const Use &x, const Use &y) {
    return x.outer != y.outer && x.outer->isBeforeInBlock(y.outer);
  };
  Operation *last = llvm::max_element(reads, before)->outer;
  Operation *first = llvm::min_element(writes, before)->outer;
  if (last != first)
    return last->isBeforeInBlock(first) ? "" : "it is read after its output is written";
  both = last;
  if (auto kernel = dyn_cast<KernelOp>(both))
    return checkKernel(kernel);
  if (auto call = dyn_cast<func::CallOp>(both))
    return checkCall(call);
  if (auto copy = dyn_cast<memref::CopyOp>(both))
    return areAlike(copy.getSource(), copy.getTarget()) ? "" : "elements change their places";
  return "one operation reads it and writes its output";
}

/// Each element must be read, for the last time, by the iteration that writes it. Emitters
/// read all that an iteration needs before they write; outs of fewer loops come first.
StringRef Pair::checkKernel(KernelOp kernel) {
  LoopSet all = 0;
  for (unsigned loop = 0; loop < kernel.getNumLoops(); ++loop)
    if (!kernel.isTime(loop))
      all |= loopBit(loop);
  // Outs of all loops are written side by side if all that is summed up is over the same loops.
  LoopSet summed = 0;
  bool isUneven = false;
  for (auto reduce : kernel.getStep().getOps<ReduceOp>()) {
    LoopSet over = loopsOf(reduce.getLoops());
    isUneven |= summed && over != summed;
    summed = over;
  }
  auto isFull = [&](unsigned out) { return loopsOf(kernel.getOutMap(out)) == all; };
  int64_t numFull = llvm::count_if(llvm::seq<unsigned>(0, kernel.getOuts().size()), isFull);
  if (isUneven && numFull > 1)
    return "its kernel writes several outs one after the other";
  unsigned firstOut = kernel.getOuts().getBeginOperandIndex();
  unsigned numInputs = kernel.getInputs().size(), numCarries = kernel.getNumCarries();
  for (const Use &read : reads)
    for (const Use &write : writes) {
      if (read.outer != both || write.outer != both)
        continue;
      OpOperand &from = *read.operand, &to = *write.operand;
      if (from.getOwner() != kernel || to.getOwner() != kernel)
        return "it is read by index";
      if (from.getOperandNumber() >= firstOut || to.getOperandNumber() < firstOut)
        return "it is written as an input";
      if (areApart(from.get(), to.get()))
        continue;
      unsigned out = to.getOperandNumber() - firstOut;
      bool isCarry = kernel.getTime() && out < numCarries &&
                     from.getOperandNumber() == numInputs + out;
      if (kernel.getTime() && !isCarry)
        return "other steps read it too";
      if (!areAlike(from.get(), to.get()) ||
          kernel.getMap(from.getOperandNumber()) != kernel.getOutMap(out) ||
          loopsOf(kernel.getOutMap(out)) != all)
        return "elements are read by other iterations than those that write them";
    }
  return "";
}

StringRef Pair::checkCall(func::CallOp call) {
  auto callee = symbols.lookup<func::FuncOp>(call.getCallee());
  if (!callee || callee.isDeclaration() || !llvm::hasSingleElement(callee.getBody()))
    return "a function reads it and writes its output";
  Pair inner(callee.getBody().front(), symbols);
  for (auto [uses, values] : {std::pair(&reads, &inner.inputs), {&writes, &inner.outputs}})
    for (const Use &use : *uses) {
      if (use.outer != both)
        continue;
      if (use.operand->getOwner() != both)
        return "a function reads it and writes its output";
      values->push_back(callee.getArgument(use.operand->getOperandNumber()));
    }
  for (const Use &read : reads)
    for (const Use &write : writes)
      if (read.outer == both && write.outer == both &&
          !areAlike(read.operand->get(), write.operand->get()))
        return "a function reads it and writes its output";
  // Arguments that are no pair with others already.
  Attribute number = Builder(callee.getContext())
                         .getI64IntegerAttr(cast<BlockArgument>(inner.outputs[0]).getArgNumber());
  for (Value arg : llvm::concat<Value>(inner.inputs, inner.outputs))
    if (Attribute known = getInPlace(arg); known && known != number)
      return "a function reads it and writes its output";
  StringRef why = inner.check();
  if (why.empty())
    inner.mark(number);
  return why;
}

void Pair::mark(Attribute number) {
  for (Value buffer : llvm::concat<Value>(inputs, outputs)) {
    if (Operation *op = buffer.getDefiningOp()) {
      op->setAttr(kInPlaceAttr, number);
      continue;
    }
    auto arg = cast<BlockArgument>(buffer);
    cast<func::FuncOp>(arg.getOwner()->getParentOp())
        .setArgAttr(arg.getArgNumber(), kInPlaceAttr, number);
  }
}
