//===- SplitCarries.cpp - What a state takes from other carries -----------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "passes/Tiling/Passes.h"

#include "dialects/SSM/KernelLoops.h"
#include "dialects/SSM/KernelTransition.h"
#include "dialects/SSM/KernelViews.h"
#include "lib/Analysis/KernelShape.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Arith/Utils/Utils.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/IRMapping.h"
#include "mlir/IR/TypeUtilities.h"
#include "llvm/ADT/SetVector.h"

namespace ssm {
#define GEN_PASS_DEF_SPLITCARRIES
#include "passes/Tiling/Passes.h.inc"
} // namespace ssm

using namespace mlir;
using namespace ssm;

namespace {

/// An out of a part, or a sequence that the second part has as an input.
struct Sequence {
  Value value;
  Value tensor;
  AffineMap map;
  bool mirrored = false;
};

class CarrySplitter {
public:
  explicit CarrySplitter(KernelOp kernel) : kernel(kernel), loops(kernel) {}

  bool match();
  /// The results of the two kernels that replace it, in its order.
  SmallVector<Value> split(ImplicitLocOpBuilder &b);

private:
  using Values = llvm::DenseSet<Value>;

  bool findCarries();
  void findFirst();
  bool isFirst(Value value) { return first.contains(value); }
  Values dependingOn(ArrayRef<unsigned> carries);
  SmallVector<Value> findHanded(const Values &computed);
  int64_t countTraffic(const Values &computed);
  AffineMap mapFor(Value value);
  KernelOp build(ImplicitLocOpBuilder &b, ArrayRef<unsigned> carries, ArrayRef<Sequence> given,
                 ArrayRef<Sequence> wanted);

  KernelOp kernel;
  KernelLoops loops;
  /// Carries by number: those without a loop that is summed over, and the others.
  SmallVector<unsigned> early, states;
  /// What depends on early carries. What the first part computes, the early carries among it.
  Values fromEarly, first;
  /// What it hands on.
  SmallVector<Value> handed;
};

} // namespace

CarrySplitter::Values CarrySplitter::dependingOn(ArrayRef<unsigned> carries) {
  Values found;
  for (unsigned i : carries)
    found.insert(kernel.getCarryArg(i));
  for (Operation &op : kernel.getStep().without_terminator())
    if (llvm::any_of(op.getOperands(), [&](Value operand) { return found.contains(operand); }))
      found.insert(op.getResult(0));
  return found;
}

bool CarrySplitter::findCarries() {
  if (!kernel.getTime() || kernel.hasBuffers() || kernel.getPadded() || kernel.getConfig())
    return false;
  LoopSet summed = 0;
  for (Operation &op : kernel.getStep().without_terminator()) {
    if (op.getNumRegions() != 0 || op.getNumResults() != 1)
      return false;
    if (auto reduce = dyn_cast<ReduceOp>(op))
      summed |= loopsOf(reduce.getLoops());
  }
  for (unsigned i = 0; i < kernel.getNumCarries(); ++i)
    (loopsOf(kernel.getOutMap(i)) & summed ? states : early).push_back(i);
  if (states.empty() || early.empty())
    return false;
  Values fromStates = dependingOn(states);
  fromEarly = dependingOn(early);
  auto yielded = kernel.getYield().getValues();
  if (llvm::any_of(early, [&](unsigned i) { return fromStates.contains(yielded[i]); }))
    return false;
  for (unsigned i : early)
    first.insert(kernel.getCarryArg(i));
  for (Operation &op : kernel.getStep().without_terminator())
    if (Value value = op.getResult(0); fromEarly.contains(value) && !fromStates.contains(value) &&
                                       !isa<ReduceOp>(op) && !(loops.of(value) & summed))
      first.insert(value);
  return true;
}

/// What is computed, or is a carry, that something else needs.
SmallVector<Value> CarrySplitter::findHanded(const Values &computed) {
  llvm::SetVector<Value> found;
  auto need = [&](Value value) {
    if (computed.contains(value))
      found.insert(value);
  };
  for (Operation &op : kernel.getStep().without_terminator())
    if (!computed.contains(op.getResult(0)))
      llvm::for_each(op.getOperands(), need);
  for (unsigned i : states)
    need(kernel.getYield().getValues()[i]);
  return found.takeVector();
}

/// What the two parts move, roughly: bits, for each loop that values have sixteen times as many.
int64_t CarrySplitter::countTraffic(const Values &computed) {
  SmallVector<Value> between = findHanded(computed), roots, rest;
  auto yielded = kernel.getYield().getValues();
  for (unsigned i : early)
    roots.push_back(yielded[i]);
  for (unsigned i : states)
    rest.push_back(yielded[i]);
  for (Value value : yielded.drop_front(kernel.getNumCarries()))
    (computed.contains(value) ? roots : rest).push_back(value);
  llvm::append_range(roots, between);
  auto costOf = [&](Value value) {
    int64_t bits = std::max(8u, value.getType().getIntOrFloatBitWidth());
    return bits << 4 * std::min(llvm::popcount(loops.of(value)), 8);
  };
  int64_t traffic = 0;
  for (Value value : between)
    traffic += 2 * costOf(value);
  auto addInputs = [&](const Values &parts) {
    for (unsigned i = 0; i < kernel.getInputs().size(); ++i)
      if (parts.contains(kernel.getInputArg(i)))
        traffic += costOf(kernel.getInputArg(i));
  };
  addInputs(findParts(kernel, roots, [](Value) { return false; }));
  addInputs(findParts(kernel, rest, [&](Value value) { return llvm::is_contained(between, value); }));
  return traffic;
}

/// The last values of the first part are moved to the second one where that makes less traffic: a
/// product of what comes from carries and of what the second part reads anyway is left to it.
void CarrySplitter::findFirst() {
  auto yielded = kernel.getYield().getValues();
  SmallVector<Value> kept;
  for (unsigned i : early)
    kept.push_back(yielded[i]);
  for (Value value : yielded.drop_front(kernel.getNumCarries()))
    if (isFirst(value))
      kept.push_back(value);
  Values needed = findParts(kernel, kept, [](Value) { return false; });
  auto canMove = [&](Operation &op) {
    // Flags stay inside: in memory they are bytes.
    Value value = op.getResult(0);
    return isFirst(value) && !needed.contains(value) &&
           llvm::none_of(op.getOperandTypes(), [](Type type) { return type.isInteger(1); }) &&
           llvm::none_of(op.getUsers(), [&](Operation *user) {
             return user->getNumResults() == 1 && isFirst(user->getResult(0));
           });
  };
  int64_t traffic = countTraffic(first);
  for (bool changed = true; changed;) {
    changed = false;
    for (Operation &op : llvm::reverse(kernel.getStep().without_terminator())) {
      if (!canMove(op))
        continue;
      Values fewer = first;
      fewer.erase(op.getResult(0));
      int64_t now = countTraffic(fewer);
      if (now >= traffic)
        continue;
      first = std::move(fewer);
      traffic = now;
      changed = true;
    }
  }
  handed = findHanded(first);
}

/// In the order of axes that the first out has.
AffineMap CarrySplitter::mapFor(Value value) {
  LoopSet set = loops.of(value);
  SmallVector<AffineExpr> axes;
  auto take = [&](unsigned loop) {
    if (contains(set, loop))
      axes.push_back(getAffineDimExpr(loop, kernel.getContext()));
    set &= ~loopBit(loop);
  };
  if (kernel.getOuts().size() > kernel.getNumCarries())
    for (AffineExpr expr : kernel.getOutMap(kernel.getNumCarries()).getResults())
      if (auto dim = dyn_cast<AffineDimExpr>(expr))
        take(dim.getPosition());
  for (unsigned loop = 0; loop < kernel.getNumLoops(); ++loop)
    take(loop);
  return AffineMap::get(kernel.getNumLoops(), 0, axes, kernel.getContext());
}

bool CarrySplitter::match() {
  if (!findCarries())
    return false;
  findFirst();
  // Each part can have all inputs, and has its own carries, to tell its loops' sizes.
  auto tellsSizes = [&](ArrayRef<unsigned> carries, LoopSet used) {
    LoopSet told = 0;
    auto add = [&](AffineMap map) {
      for (AffineExpr expr : map.getResults())
        if (auto dim = dyn_cast<AffineDimExpr>(expr))
          told |= loopBit(dim.getPosition());
    };
    for (unsigned i = 0; i < kernel.getInputs().size(); ++i)
      add(kernel.getInputMap(i));
    for (unsigned i : carries)
      add(kernel.getInitMap(i));
    return isSubset(used, told);
  };
  LoopSet firstLoops = 0, all = 0;
  for (Value value : first)
    firstLoops |= loops.of(value);
  for (unsigned loop = 0; loop < kernel.getNumLoops(); ++loop)
    all |= loopBit(loop);
  return tellsSizes(early, firstLoops) && tellsSizes(states, all) &&
         llvm::all_of(handed, [](Value value) { return value.getType().isIntOrFloat(); });
}

/// A kernel of some of the carries. The loops that nothing of it has are left out.
KernelOp CarrySplitter::build(ImplicitLocOpBuilder &b, ArrayRef<unsigned> carries,
                              ArrayRef<Sequence> given, ArrayRef<Sequence> wanted) {
  auto yielded = kernel.getYield().getValues();
  SmallVector<Value> roots;
  for (unsigned i : carries)
    roots.push_back(yielded[i]);
  for (const Sequence &out : wanted)
    roots.push_back(out.value);
  auto isGiven = [&](Value value) {
    return llvm::any_of(given, [&](const Sequence &in) { return in.value == value; });
  };
  Values parts = findParts(kernel, roots, isGiven);

  SmallVector<Value> inputs, inits, outs;
  SmallVector<AffineMap> maps;
  SmallVector<bool> mirrored;
  SmallVector<Value> arguments;
  LoopSet used = 0;
  auto take = [&](Value value, Value tensor, AffineMap map, bool isMirrored) {
    inputs.push_back(tensor);
    maps.push_back(map);
    mirrored.push_back(isMirrored);
    arguments.push_back(value);
    used |= loopsOf(map);
  };
  auto takeInput = [&](unsigned i) {
    take(kernel.getInputArg(i), kernel.getInputs()[i], kernel.getInputMap(i),
         kernel.isInputMirrored(i));
  };
  for (unsigned i = 0; i < kernel.getInputs().size(); ++i)
    if (parts.contains(kernel.getInputArg(i)))
      takeInput(i);
  for (const Sequence &in : given)
    take(in.value, in.tensor, in.map, false);
  for (Value part : parts)
    used |= loops.of(part);
  for (const Sequence &out : wanted)
    used |= loopsOf(out.map);
  for (unsigned i : carries)
    used |= loopsOf(kernel.getOutMap(i));
  // A loop whose size only another input tells: the region does not read that.
  for (unsigned i = 0; i < kernel.getInputs().size(); ++i) {
    auto isMissing = [&](AffineExpr expr) {
      auto dim = dyn_cast<AffineDimExpr>(expr);
      auto tells = [&](AffineMap map) { return llvm::is_contained(map.getResults(), expr); };
      return dim && contains(used, dim.getPosition()) && llvm::none_of(maps, tells) &&
             llvm::none_of(carries, [&](unsigned carry) { return tells(kernel.getInitMap(carry)); });
    };
    if (!llvm::is_contained(arguments, kernel.getInputArg(i)) &&
        llvm::any_of(kernel.getInputMap(i).getResults(), isMissing))
      takeInput(i);
  }
  for (unsigned i : carries) {
    inits.push_back(kernel.getInits()[i]);
    maps.push_back(kernel.getInitMap(i));
    arguments.push_back(kernel.getCarryArg(i));
  }
  for (unsigned i : carries) {
    outs.push_back(kernel.getOuts()[i]);
    maps.push_back(kernel.getOutMap(i));
  }
  for (const Sequence &out : wanted) {
    outs.push_back(out.tensor);
    maps.push_back(out.map);
    mirrored.push_back(out.mirrored);
  }
  if (!llvm::is_contained(mirrored, true))
    mirrored.clear();

  SmallVector<unsigned> kept = listLoops(used);
  auto numberOf = [&](int64_t loop) -> int64_t { return llvm::find(kept, loop) - kept.begin(); };
  SmallVector<AffineExpr> dims(kernel.getNumLoops(), b.getAffineConstantExpr(0));
  for (auto [number, loop] : llvm::enumerate(kept))
    dims[loop] = b.getAffineDimExpr(number);
  for (AffineMap &map : maps)
    map = map.replaceDimsAndSymbols(dims, {}, kept.size(), 0);

  auto made = KernelOp::create(
      b, TypeRange(ValueRange(outs)), b.getI64IntegerAttr(kept.size()),
      b.getI64IntegerAttr(numberOf(*kernel.getTime())), inputs, inits, outs,
      b.getAffineMapArrayAttr(maps), b.getDenseBoolArrayAttr(mirrored), TransitionAttr(),
      ConfigAttr(), UnitAttr());
  OpBuilder::InsertionGuard guard(b);
  Block *step = b.createBlock(&made.getBody());
  IRMapping mapping;
  for (auto [value, operand] :
       llvm::zip_equal(arguments, llvm::concat<Value>(inputs, inits)))
    mapping.map(value, step->addArgument(getElementTypeOrSelf(operand.getType()), kernel.getLoc()));
  for (const Sequence &in : given)
    if (Value argument = mapping.lookup(in.value); argument.getType() != in.value.getType()) {
      Value zero = arith::ConstantOp::create(b, b.getZeroAttr(argument.getType()));
      mapping.map(in.value,
                  arith::CmpIOp::create(b, arith::CmpIPredicate::ne, argument, zero).getResult());
    }
  for (Operation &op : kernel.getStep().without_terminator()) {
    if (!parts.contains(op.getResult(0)) || isGiven(op.getResult(0)))
      continue;
    Operation *copy = b.clone(op, mapping);
    if (auto reduce = dyn_cast<ReduceOp>(copy))
      reduce.setLoops(llvm::map_to_vector(reduce.getLoops(), numberOf));
    if (auto index = dyn_cast<ssm::IndexOp>(copy))
      index.setLoop(numberOf(index.getLoop()));
  }
  SmallVector<Value> yields;
  for (auto [root, out] : llvm::zip_equal(roots, outs)) {
    Value value = mapping.lookupOrDefault(root);
    Type type = getElementTypeOrSelf(out.getType());
    if (value.getType() != type)
      value = arith::ExtUIOp::create(b, type, value);
    yields.push_back(value);
  }
  YieldOp::create(b, yields);
  annotateTransition(made);
  return made;
}

SmallVector<Value> CarrySplitter::split(ImplicitLocOpBuilder &b) {
  SmallVector<OpFoldResult> sizes = kernel.getLoopSizes(b);
  SmallVector<Sequence> between, ownOuts, otherOuts;
  for (Value value : handed) {
    Sequence sequence{value, Value(), mapFor(value)};
    SmallVector<OpFoldResult> dims;
    for (AffineExpr expr : sequence.map.getResults())
      dims.push_back(sizes[cast<AffineDimExpr>(expr).getPosition()]);
    // Flags are bytes in memory.
    Type type = value.getType().isInteger(1) ? b.getI8Type() : value.getType();
    sequence.tensor = tensor::EmptyOp::create(b, dims, type);
    between.push_back(sequence);
  }
  unsigned numCarries = kernel.getNumCarries();
  SmallVector<std::pair<bool, unsigned>> places(kernel.getNumResults());
  for (auto [number, i] : llvm::enumerate(early))
    places[i] = {true, number};
  for (auto [number, i] : llvm::enumerate(states))
    places[i] = {false, number};
  for (unsigned i = numCarries; i < kernel.getNumResults(); ++i) {
    Value value = kernel.getYield().getValues()[i];
    SmallVector<Sequence> &outs = isFirst(value) ? ownOuts : otherOuts;
    places[i] = {isFirst(value), outs.size() + (isFirst(value) ? early : states).size()};
    outs.push_back({value, kernel.getOuts()[i], kernel.getOutMap(i), kernel.isOutMirrored(i)});
  }
  size_t numOwn = early.size() + ownOuts.size();
  llvm::append_range(ownOuts, between);
  KernelOp before = build(b, early, {}, ownOuts);
  for (auto [number, sequence] : llvm::enumerate(between))
    sequence.tensor = before.getResult(numOwn + number);
  KernelOp after = build(b, states, between, otherOuts);
  return llvm::map_to_vector(places, [&](std::pair<bool, unsigned> place) -> Value {
    return (place.first ? before : after).getResult(place.second);
  });
}

namespace {
struct SplitCarries : ssm::impl::SplitCarriesBase<SplitCarries> {
  using SplitCarriesBase::SplitCarriesBase;

  void runOnOperation() override {
    SmallVector<KernelOp> kernels;
    getOperation().walk([&](KernelOp kernel) { kernels.push_back(kernel); });
    for (KernelOp kernel : kernels)
      if (CarrySplitter splitter(kernel); splitter.match())
        replace(kernel, splitter);
  }

private:
  void replace(KernelOp kernel, CarrySplitter &splitter) {
    ImplicitLocOpBuilder b(kernel.getLoc(), kernel);
    OpFoldResult length = kernel.getLoopSizes(b)[*kernel.getTime()];
    std::optional<int64_t> fixed = getConstantIntValue(length);
    if (fixed && *fixed < leastSteps)
      return;
    if (fixed) {
      kernel->replaceAllUsesWith(splitter.split(b));
      kernel->erase();
      return;
    }
    Value least = arith::ConstantIndexOp::create(b, leastSteps);
    Value isLong = arith::CmpIOp::create(b, arith::CmpIPredicate::uge, cast<Value>(length), least);
    auto choice = scf::IfOp::create(b, kernel.getResultTypes(), isLong, true);
    kernel->replaceAllUsesWith(choice);
    b.setInsertionPointToStart(choice.elseBlock());
    kernel->moveBefore(choice.elseBlock(), choice.elseBlock()->end());
    b.setInsertionPointToEnd(choice.elseBlock());
    scf::YieldOp::create(b, kernel.getResults());
    b.setInsertionPointToStart(choice.thenBlock());
    scf::YieldOp::create(b, splitter.split(b));
  }
};
} // namespace
