//===- KernelMerge.cpp - Two kernels become one ---------------------------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "dialects/SSM/KernelMerge.h"

#include "dialects/SSM/KernelLoops.h"
#include "dialects/SSM/KernelViews.h"
#include "mlir/Dialect/Affine/Utils.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/IRMapping.h"
#include "mlir/IR/TypeUtilities.h"
#include "llvm/ADT/SetVector.h"

using namespace mlir;
using namespace ssm;

namespace {

/// The producer's region once, for one way in which the consumer reads its results.
struct Instance {
  /// What each loop of the producer becomes, in loops of the merged kernel. Null for
  /// loops that no result indexes in this way, or that nothing needs.
  SmallVector<AffineExpr> loops;
  /// Whether it is read against time.
  bool mirrored = false;
  /// The consumer's inputs that it gives, by number.
  SmallVector<unsigned> uses;
  /// The operations and inputs of the producer that it needs.
  llvm::SetVector<Operation *> ops;
  SmallVector<unsigned> inputs;
  IRMapping mapping;
};

class Merger {
public:
  Merger(RewriterBase &rewriter, KernelOp producer, KernelOp consumer, KeepResults keep)
      : rewriter(rewriter), producer(producer), consumer(consumer), keep(keep),
        numLoops(consumer.getNumLoops()) {}

  /// Why they cannot be merged, or "".
  StringRef plan();
  KernelOp merge();

private:
  StringRef checkOperands();
  StringRef findInstances();
  StringRef seedSibling();
  StringRef findKept();
  StringRef findTime();
  StringRef findSlice(Instance &instance, ArrayRef<unsigned> results);
  StringRef placeLoops(Instance &instance);
  StringRef checkLoops(Instance &instance);
  StringRef checkSizes(Instance &instance);
  StringRef checkOuts();
  std::optional<unsigned> findCommonLoop(const Instance &instance, unsigned loop);

  AffineExpr dim(unsigned loop) { return getAffineDimExpr(loop, rewriter.getContext()); }
  /// What the producer's loops become.
  SmallVector<AffineExpr> placed(const Instance &instance);
  /// A map of the producer in loops of the merged kernel.
  AffineMap place(AffineMap map, const Instance &instance);
  AffineMap widen(AffineMap map) {
    return AffineMap::get(numLoops, 0, map.getResults(), rewriter.getContext());
  }
  /// Whether the producer's time is a single step, whose index the consumer knows.
  bool isSingleStep();
  AffineMap widenOut(unsigned i);
  bool runsWithTime(AffineExpr expr) { return time && expr && expr.isFunctionOfDim(*time); }
  void collectOperands();
  void cloneProducer(Instance &instance);

  RewriterBase &rewriter;
  KernelOp producer, consumer;
  KeepResults keep;
  unsigned numLoops;
  std::optional<unsigned> time;
  /// The consumer has no time, and its loop runs against the producer's.
  bool flipped = false;
  /// The consumer gets a loop for the only step, whose index was a constant.
  bool addsStep = false;
  std::vector<Instance> instances;
  SmallVector<unsigned> kept; // results of the producer, without carries

  // The merged kernel.
  SmallVector<Value> inputs, inits, outs;
  SmallVector<AffineMap> inputMaps, initMaps, outMaps;
  SmallVector<bool> inputsMirrored, outsMirrored; // carries not among them
};

} // namespace

StringRef Merger::plan() {
  for (auto step : {&Merger::checkOperands, &Merger::findInstances, &Merger::findTime,
                    &Merger::findKept})
    if (StringRef why = (this->*step)(); !why.empty())
      return why;
  for (auto [i, instance] : llvm::enumerate(instances)) {
    SmallVector<unsigned> results;
    for (unsigned use : instance.uses)
      results.push_back(cast<OpResult>(consumer.getInputs()[use]).getResultNumber());
    if (i == 0) {
      llvm::append_range(results, kept);
      llvm::append_range(results, llvm::seq(producer.getNumCarries()));
    }
    if (StringRef why = findSlice(instance, results); !why.empty())
      return why;
    if (StringRef why = placeLoops(instance); !why.empty())
      return why;
    if (StringRef why = checkLoops(instance); !why.empty())
      return why;
    if (StringRef why = checkSizes(instance); !why.empty())
      return why;
  }
  if (numLoops > kMaxLoops)
    return "too many loops";
  collectOperands();
  return checkOuts();
}

StringRef Merger::checkOperands() {
  if (producer.hasBuffers() || consumer.hasBuffers())
    return "they are on buffers";
  for (ValueRange operands : {ValueRange(consumer.getInits()), ValueRange(consumer.getOuts())})
    for (Value value : operands)
      if (value.getDefiningOp() == producer)
        return "a result of the producer is no input of the consumer";
  return "";
}

/// The ways in which the consumer reads the producer's results.
StringRef Merger::findInstances() {
  SmallVector<unsigned> uses;
  for (auto [i, input] : llvm::enumerate(consumer.getInputs()))
    if (input.getDefiningOp() == producer)
      uses.push_back(i);
  if (uses.empty())
    return seedSibling();
  auto outMapOf = [&](unsigned use) {
    return producer.getOutMap(cast<OpResult>(consumer.getInputs()[use]).getResultNumber());
  };
  // Results with the most loops say most about what the others may share.
  llvm::sort(uses, [&](unsigned a, unsigned b) {
    return std::make_pair(-llvm::popcount(loopsOf(outMapOf(a))), a) <
           std::make_pair(-llvm::popcount(loopsOf(outMapOf(b))), b);
  });
  for (unsigned use : uses) {
    if (cast<OpResult>(consumer.getInputs()[use]).getResultNumber() < producer.getNumCarries())
      return "the consumer reads carries after the last step";
    Instance made;
    made.loops.resize(producer.getNumLoops());
    made.uses.push_back(use);
    AffineMap out = outMapOf(use), in = consumer.getInputMap(use);
    for (auto [position, expr] : llvm::enumerate(out.getResults()))
      if (auto loop = dyn_cast<AffineDimExpr>(expr))
        made.loops[loop.getPosition()] = in.getResult(position);
    made.mirrored = consumer.getTime() && in.isFunctionOfDim(*consumer.getTime()) &&
                    consumer.isInputMirrored(use);
    auto fits = [&](const Instance &other) {
      return other.mirrored == made.mirrored &&
             llvm::all_of(llvm::zip_equal(other.loops, made.loops), [](auto pair) {
               auto [a, b] = pair;
               return !a || !b || a == b;
             });
    };
    auto same = llvm::find_if(instances, fits);
    if (same == instances.end()) {
      instances.push_back(made);
      continue;
    }
    same->uses.push_back(use);
    for (auto [into, from] : llvm::zip_equal(same->loops, made.loops))
      if (from)
        into = from;
  }
  return "";
}

static bool haveEqualSizes(tensor::EmptyOp a, tensor::EmptyOp b) {
  return a.getType().getRank() == b.getType().getRank() &&
         llvm::all_of(llvm::zip_equal(a.getMixedSizes(), b.getMixedSizes()), [](auto sizes) {
           return areEqualSizes(std::get<0>(sizes), std::get<1>(sizes));
         });
}

/// Kernels that do not read each other share the loops of results of equal sizes.
StringRef Merger::seedSibling() {
  if (producer.getTime() || consumer.getTime())
    return "the consumer does not read the producer";
  if (producer->getBlock() != consumer->getBlock() || !producer->isBeforeInBlock(consumer))
    return "the kernels are not one after the other";
  Instance made;
  made.loops.resize(producer.getNumLoops());
  for (unsigned i = 0; i < producer.getNumResults(); ++i)
    for (unsigned j = 0; j < consumer.getNumResults(); ++j) {
      auto p = producer.getOuts()[i].getDefiningOp<tensor::EmptyOp>();
      auto c = consumer.getOuts()[j].getDefiningOp<tensor::EmptyOp>();
      if (!p || !c || !haveEqualSizes(p, c))
        continue;
      SmallVector<AffineExpr> loops(made.loops);
      bool fits = true;
      for (auto [from, to] : llvm::zip_equal(producer.getOutMap(i).getResults(),
                                             consumer.getOutMap(j).getResults())) {
        auto loop = dyn_cast<AffineDimExpr>(from);
        if (!loop || !isa<AffineDimExpr>(to))
          continue;
        AffineExpr &entry = loops[loop.getPosition()];
        fits &= !entry || entry == to;
        entry = to;
      }
      for (auto [n, a] : llvm::enumerate(loops))
        for (AffineExpr b : ArrayRef<AffineExpr>(loops).drop_front(n + 1))
          fits &= !a || a != b;
      if (fits)
        made.loops = loops;
    }
  instances.push_back(made);
  return "";
}

bool Merger::isSingleStep() {
  auto [operand, axis] = producer.getSizeSource(*producer.getTime());
  auto index = dyn_cast_or_null<AffineConstantExpr>(instances[0].loops[*producer.getTime()]);
  return index && cast<ShapedType>(operand.getType()).getDimSize(axis) == 1;
}

/// The consumer's map of an out. For the only step an axis of size 1 runs with time.
AffineMap Merger::widenOut(unsigned i) {
  AffineMap map = widen(consumer.getOutMap(i));
  if (!addsStep)
    return map;
  auto type = cast<ShapedType>(consumer.getOuts()[i].getType());
  for (auto [axis, expr] : llvm::enumerate(map.getResults()))
    if (isa<AffineConstantExpr>(expr) && type.getDimSize(axis) == 1) {
      SmallVector<AffineExpr> results(map.getResults());
      results[axis] = dim(*time);
      return AffineMap::get(numLoops, 0, results, rewriter.getContext());
    }
  return map;
}

StringRef Merger::findTime() {
  if (consumer.getTime())
    time = *consumer.getTime();
  if (!producer.getTime())
    return "";
  if (instances.size() > 1)
    return "the consumer reads a recurrence in several ways";
  Instance &instance = instances[0];
  if (!consumer.getTime() && isSingleStep()) {
    addsStep = true;
    instance.loops[*producer.getTime()] = dim(numLoops++);
  }
  auto loop = dyn_cast_or_null<AffineDimExpr>(instance.loops[*producer.getTime()]);
  if (!loop || (time && *time != loop.getPosition()))
    return "the consumer reads the producer at another time";
  time = loop.getPosition();
  // All at the step that has given them.
  std::optional<bool> against;
  for (unsigned use : instance.uses) {
    unsigned result = cast<OpResult>(consumer.getInputs()[use]).getResultNumber();
    if (!producer.getOutMap(result).isFunctionOfDim(*producer.getTime()))
      return "the consumer reads what the last step has given";
    bool own = producer.isOutMirrored(result) != consumer.isInputMirrored(use);
    if (against && *against != own)
      return "the consumer reads the producer at several times";
    against = own;
    for (auto [loop, expr] : llvm::enumerate(instance.loops))
      if (expr && loop != *producer.getTime() && runsWithTime(expr))
        return "the consumer reads the producer at several times";
  }
  if (consumer.getTime()) {
    if (*against)
      return "the recurrences run against each other";
    instance.mirrored = false;
    return "";
  }
  flipped = *against && !addsStep;
  for (auto reduce : consumer.getStep().getOps<ReduceOp>())
    if (llvm::is_contained(reduce.getLoops(), *time))
      return "the consumer reduces over the producer's time";
  if (flipped)
    for (auto index : consumer.getStep().getOps<IndexOp>())
      if (index.getLoop() == *time)
        return "the consumer uses the index of time";
  for (unsigned i = 0; i < consumer.getNumResults(); ++i)
    if (!widenOut(i).isFunctionOfDim(*time))
      return "a result of the consumer is not for each step of the producer";
  return "";
}

StringRef Merger::findKept() {
  SmallVector<bool> used(producer.getNumResults(), false);
  for (OpOperand &use : producer->getUses()) {
    if (use.getOwner() == consumer)
      continue;
    used[cast<OpResult>(use.get()).getResultNumber()] = true;
    if (keep == KeepResults::InProducer)
      continue;
    if (consumer->isProperAncestor(use.getOwner()))
      return "the consumer reads the producer by index";
    Operation *user = consumer->getBlock()->findAncestorOpInBlock(*use.getOwner());
    if (!user || !consumer->isBeforeInBlock(user))
      return "a result of the producer is used before the consumer";
  }
  if (keep == KeepResults::InProducer)
    return "";
  for (unsigned i = producer.getNumCarries(); i < producer.getNumResults(); ++i)
    if (used[i])
      kept.push_back(i);
  return "";
}

/// The operations that results need, in order, and the inputs.
StringRef Merger::findSlice(Instance &instance, ArrayRef<unsigned> results) {
  llvm::DenseSet<Operation *> needed;
  llvm::BitVector args(producer.getStep().getNumArguments());
  auto need = [&](Value value) {
    if (Operation *op = value.getDefiningOp(); op && op->getBlock() == &producer.getStep())
      needed.insert(op);
    else if (auto arg = dyn_cast<BlockArgument>(value); arg && arg.getOwner() == &producer.getStep())
      args.set(arg.getArgNumber());
  };
  for (unsigned result : results)
    need(producer.getYield().getValues()[result]);
  SmallVector<Operation *> order;
  for (Operation &op : llvm::reverse(producer.getStep().without_terminator()))
    if (needed.contains(&op)) {
      order.push_back(&op);
      for (Value operand : op.getOperands())
        need(operand);
    }
  instance.ops.insert(order.rbegin(), order.rend());
  for (unsigned i = 0; i < producer.getInputs().size(); ++i)
    if (args.test(i))
      instance.inputs.push_back(i);
  return "";
}

/// The loop of the consumer that runs along an axis that the producer's loop runs
/// along too, with all other indices of the operand equal.
std::optional<unsigned> Merger::findCommonLoop(const Instance &instance, unsigned loop) {
  auto isFree = [&](unsigned candidate) {
    return !(time && *time == candidate) &&
           llvm::none_of(instance.loops,
                         [&](AffineExpr expr) { return expr && expr.isFunctionOfDim(candidate); });
  };
  for (unsigned i : instance.inputs)
    for (unsigned j = 0; j < consumer.getInputs().size(); ++j) {
      if (producer.getInputs()[i] != consumer.getInputs()[j])
        continue;
      std::optional<unsigned> found;
      bool alike = true;
      for (auto [p, c] : llvm::zip_equal(producer.getInputMap(i).getResults(),
                                         consumer.getInputMap(j).getResults())) {
        auto own = dyn_cast<AffineDimExpr>(p), other = dyn_cast<AffineDimExpr>(c);
        if (own && own.getPosition() == loop && other && !found && isFree(other.getPosition())) {
          found = other.getPosition();
          continue;
        }
        bool known = true;
        SmallVector<AffineExpr> loops(instance.loops);
        for (auto [n, expr] : llvm::enumerate(loops))
          if (!expr) {
            known &= !p.isFunctionOfDim(n);
            expr = getAffineConstantExpr(0, rewriter.getContext());
          }
        alike &= known && p.replaceDims(loops) == c;
      }
      if (alike && found)
        return found;
    }
  return std::nullopt;
}

StringRef Merger::placeLoops(Instance &instance) {
  LoopSet needed = 0;
  for (unsigned i : instance.inputs)
    needed |= loopsOf(producer.getInputMap(i));
  for (Operation *op : instance.ops) {
    if (auto index = dyn_cast<IndexOp>(op))
      needed |= loopBit(index.getLoop());
    if (auto reduce = dyn_cast<ReduceOp>(op))
      needed |= loopsOf(reduce.getLoops());
  }
  if (&instance == &instances[0])
    for (unsigned i = 0; i < producer.getNumResults(); ++i)
      if (i < producer.getNumCarries() || llvm::is_contained(kept, i))
        needed |= loopsOf(producer.getOutMap(i));
  for (unsigned loop = 0; loop < producer.getNumLoops(); ++loop) {
    if (!contains(needed, loop) || instance.loops[loop])
      continue;
    if (auto common = findCommonLoop(instance, loop))
      instance.loops[loop] = dim(*common);
    else
      instance.loops[loop] = dim(numLoops++);
  }
  return "";
}

StringRef Merger::checkLoops(Instance &instance) {
  for (Operation *op : instance.ops) {
    if (auto index = dyn_cast<IndexOp>(op);
        index && instance.mirrored && runsWithTime(instance.loops[index.getLoop()]))
      return "the producer uses the index of time";
    auto reduce = dyn_cast<ReduceOp>(op);
    if (!reduce)
      continue;
    for (int64_t loop : reduce.getLoops()) {
      auto own = dyn_cast<AffineDimExpr>(instance.loops[loop]);
      if (!own)
        return "the consumer reads some indices of what the producer reduces over";
      if (time && own.getPosition() == *time)
        return "the producer reduces over the consumer's time";
      for (auto [other, expr] : llvm::enumerate(instance.loops))
        if (expr && static_cast<int64_t>(other) != loop && expr.isFunctionOfDim(own.getPosition()))
          return "the consumer reads a diagonal of what the producer reduces over";
    }
  }
  return "";
}

StringRef Merger::checkSizes(Instance &instance) {
  for (unsigned i : instance.inputs)
    if (!keepsSizes(producer, i, placed(instance)))
      return "the consumer reads some indices of what sizes follow from";
  return "";
}

SmallVector<AffineExpr> Merger::placed(const Instance &instance) {
  SmallVector<AffineExpr> loops;
  for (AffineExpr expr : instance.loops)
    loops.push_back(expr ? expr : getAffineConstantExpr(0, rewriter.getContext()));
  return loops;
}

AffineMap Merger::place(AffineMap map, const Instance &instance) {
  return map.replaceDimsAndSymbols(placed(instance), {}, numLoops, 0);
}

void Merger::collectOperands() {
  for (unsigned i = 0; i < consumer.getInputs().size(); ++i) {
    if (consumer.getInputs()[i].getDefiningOp() == producer)
      continue;
    inputs.push_back(consumer.getInputs()[i]);
    inputMaps.push_back(widen(consumer.getInputMap(i)));
    inputsMirrored.push_back(consumer.getTime() ? consumer.isInputMirrored(i) : flipped);
  }
  for (Instance &instance : instances)
    for (unsigned i : instance.inputs) {
      inputs.push_back(producer.getInputs()[i]);
      inputMaps.push_back(place(producer.getInputMap(i), instance));
      inputsMirrored.push_back(producer.getTime() ? producer.isInputMirrored(i)
                                                  : instance.mirrored);
    }
  for (auto [map, mirrored] : llvm::zip_equal(inputMaps, inputsMirrored))
    mirrored = mirrored && time && map.isFunctionOfDim(*time);
  for (unsigned i = 0; i < producer.getNumCarries(); ++i) {
    inits.push_back(producer.getInits()[i]);
    initMaps.push_back(place(producer.getInitMap(i), instances[0]));
    outs.push_back(producer.getOuts()[i]);
    outMaps.push_back(place(producer.getOutMap(i), instances[0]));
  }
  for (unsigned i = 0; i < consumer.getNumCarries(); ++i) {
    inits.push_back(consumer.getInits()[i]);
    initMaps.push_back(widen(consumer.getInitMap(i)));
    outs.push_back(consumer.getOuts()[i]);
    outMaps.push_back(widen(consumer.getOutMap(i)));
  }
  for (unsigned i : kept) {
    outs.push_back(producer.getOuts()[i]);
    outMaps.push_back(place(producer.getOutMap(i), instances[0]));
    outsMirrored.push_back(producer.getTime() ? producer.isOutMirrored(i) : instances[0].mirrored);
  }
  for (unsigned i = consumer.getNumCarries(); i < consumer.getNumResults(); ++i) {
    outs.push_back(consumer.getOuts()[i]);
    outMaps.push_back(widenOut(i));
    outsMirrored.push_back(consumer.getTime() ? consumer.isOutMirrored(i) : flipped);
  }
}

StringRef Merger::checkOuts() {
  unsigned numCarries = inits.size();
  for (auto [i, map] : llvm::enumerate(outMaps)) {
    LoopSet seen = 0;
    for (AffineExpr expr : map.getResults()) {
      auto loop = dyn_cast<AffineDimExpr>(expr);
      if (!isa<AffineConstantExpr>(expr) && (!loop || contains(seen, loop.getPosition())))
        return "a result of the producer that stays is not read whole";
      if (loop)
        seen |= loopBit(loop.getPosition());
    }
    // For no steps at all it would not be written.
    if (time && i >= numCarries && !contains(seen, *time))
      return "a result of the producer that stays is not for each step";
    if (time && i < numCarries && contains(seen, *time))
      return "a carry of the producer is read at several times";
  }
  SmallVector<unsigned> stay(kept);
  llvm::append_range(stay, llvm::seq(producer.getNumCarries()));
  for (unsigned i : stay)
    for (AffineExpr expr : producer.getOutMap(i).getResults())
      if (auto loop = dyn_cast<AffineDimExpr>(expr);
          loop && !isa<AffineDimExpr>(instances[0].loops[loop.getPosition()]))
        return "a result of the producer that stays is not read whole";
  SmallVector<AffineMap> all(inputMaps);
  llvm::append_range(all, initMaps);
  llvm::append_range(all, outMaps);
  return haveSizes(numLoops, all) ? "" : "a loop would lose its size";
}

/// Clones the producer's operations for one instance.
void Merger::cloneProducer(Instance &instance) {
  for (Operation *op : instance.ops) {
    Location loc = op->getLoc();
    if (auto index = dyn_cast<IndexOp>(op)) {
      AffineExpr expr = instance.loops[index.getLoop()];
      SmallVector<Value> dims(numLoops);
      for (unsigned loop = 0; loop < numLoops; ++loop)
        if (expr.isFunctionOfDim(loop))
          dims[loop] = IndexOp::create(rewriter, loc, rewriter.getIndexType(), loop);
      instance.mapping.map(index.getResult(),
                           affine::expandAffineExpr(rewriter, loc, expr, dims, {}));
      continue;
    }
    Operation *clone = rewriter.clone(*op, instance.mapping);
    if (auto reduce = dyn_cast<ReduceOp>(clone)) {
      SmallVector<int64_t> loops;
      for (int64_t loop : reduce.getLoops())
        loops.push_back(cast<AffineDimExpr>(instance.loops[loop]).getPosition());
      reduce.setLoops(loops);
    }
  }
}

KernelOp Merger::merge() {
  rewriter.setInsertionPoint(consumer);
  SmallVector<Attribute> maps;
  for (const auto *list : {&inputMaps, &initMaps, &outMaps})
    for (AffineMap map : *list)
      maps.push_back(AffineMapAttr::get(map));
  SmallVector<bool> mirrored;
  if (llvm::is_contained(inputsMirrored, true) || llvm::is_contained(outsMirrored, true)) {
    mirrored = inputsMirrored;
    llvm::append_range(mirrored, outsMirrored);
  }
  TransitionAttr transition;
  if (!producer.getTime())
    transition = consumer.getTransitionAttr();
  else if (!consumer.getTime())
    transition = producer.getTransitionAttr();
  Location loc = rewriter.getFusedLoc({producer.getLoc(), consumer.getLoc()});
  auto merged = KernelOp::create(
      rewriter, loc, ValueRange(outs).getTypes(), rewriter.getI64IntegerAttr(numLoops),
      time ? rewriter.getI64IntegerAttr(*time) : IntegerAttr(), inputs, inits, outs,
      rewriter.getArrayAttr(maps), rewriter.getDenseBoolArrayAttr(mirrored), transition,
      ConfigAttr());
  merged->setDiscardableAttrs(llvm::to_vector(consumer->getDiscardableAttrs()));

  Block *step = rewriter.createBlock(&merged.getBody());
  for (ArrayRef<Value> operands : {ArrayRef<Value>(inputs), ArrayRef<Value>(inits)})
    for (Value operand : operands)
      step->addArgument(getElementTypeOrSelf(operand.getType()), loc);
  IRMapping consumed;
  unsigned next = 0;
  for (unsigned i = 0; i < consumer.getInputs().size(); ++i)
    if (consumer.getInputs()[i].getDefiningOp() != producer)
      consumed.map(consumer.getInputArg(i), step->getArgument(next++));
  for (Instance &instance : instances)
    for (unsigned i : instance.inputs)
      instance.mapping.map(producer.getInputArg(i), step->getArgument(next++));
  for (unsigned i = 0; i < producer.getNumCarries(); ++i)
    instances[0].mapping.map(producer.getCarryArg(i), step->getArgument(next++));
  for (unsigned i = 0; i < consumer.getNumCarries(); ++i)
    consumed.map(consumer.getCarryArg(i), step->getArgument(next++));

  rewriter.setInsertionPointToEnd(step);
  OperandRange produced = producer.getYield().getValues();
  for (Instance &instance : instances) {
    cloneProducer(instance);
    for (unsigned use : instance.uses) {
      unsigned result = cast<OpResult>(consumer.getInputs()[use]).getResultNumber();
      consumed.map(consumer.getInputArg(use), instance.mapping.lookupOrDefault(produced[result]));
    }
  }
  for (Operation &op : consumer.getStep().without_terminator())
    rewriter.clone(op, consumed);

  unsigned numProducerCarries = producer.getNumCarries(), numCarries = consumer.getNumCarries();
  SmallVector<Value> yields;
  auto yieldProduced = [&](unsigned i) {
    yields.push_back(instances[0].mapping.lookupOrDefault(produced[i]));
  };
  auto yieldConsumed = [&](unsigned i) {
    yields.push_back(consumed.lookupOrDefault(consumer.getYield().getValues()[i]));
  };
  for (unsigned i = 0; i < numProducerCarries; ++i)
    yieldProduced(i);
  for (unsigned i = 0; i < numCarries; ++i)
    yieldConsumed(i);
  for (unsigned i : kept)
    yieldProduced(i);
  for (unsigned i = numCarries; i < consumer.getNumResults(); ++i)
    yieldConsumed(i);
  YieldOp::create(rewriter, loc, yields);

  if (keep == KeepResults::InMerged) {
    for (unsigned i = 0; i < numProducerCarries; ++i)
      rewriter.replaceAllUsesWith(producer.getResult(i), merged.getResult(i));
    for (auto [position, i] : llvm::enumerate(kept))
      rewriter.replaceUsesWithIf(producer.getResult(i),
                                 merged.getResult(numProducerCarries + numCarries + position),
                                 [&](OpOperand &use) { return use.getOwner() != consumer; });
  }
  SmallVector<Value> results(merged.getResults().slice(numProducerCarries, numCarries));
  llvm::append_range(results,
                     merged.getResults().drop_front(numProducerCarries + numCarries + kept.size()));
  rewriter.replaceOp(consumer, results);
  if (producer->use_empty())
    rewriter.eraseOp(producer);
  return merged;
}

FailureOr<KernelOp> ssm::mergeKernels(RewriterBase &rewriter, KernelOp producer, KernelOp consumer,
                                      KeepResults keep, StringRef *why) {
  Merger merger(rewriter, producer, consumer, keep);
  StringRef reason = producer.getPadded() || consumer.getPadded()
                         ? "an input is read outside of it"
                         : merger.plan();
  if (why)
    *why = reason;
  if (!reason.empty())
    return failure();
  return merger.merge();
}
