//===- FuseKernels.cpp - Producers and consumers become one kernel --------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "passes/Fusion/Passes.h"

#include "dialects/SSM/KernelLoops.h"
#include "dialects/SSM/KernelMerge.h"
#include "dialects/SSM/KernelViews.h"
#include "dialects/SSM/SSMOps.h"
#include "lib/Analysis/KernelShape.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/IR/Dominance.h"
#include "mlir/IR/PatternMatch.h"
#include "mlir/IR/Remarks.h"
#include "mlir/IR/TypeUtilities.h"
#include "mlir/Transforms/RegionUtils.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "passes/Fusion/ExpandLoops.h"
#include "passes/Fusion/SinkConcats.h"
#include "llvm/Support/SaveAndRestore.h"

namespace ssm {
#define GEN_PASS_DEF_FUSEKERNELS
#include "passes/Fusion/Passes.h.inc"
} // namespace ssm

using namespace mlir;
using namespace ssm;

namespace {

/// Operations of a region that cost about a cycle each.
constexpr unsigned kCheapOps = 4;
/// A region of more operations is not made: its values no longer fit registers.
constexpr size_t kMaxOps = 96;

/// What decides whether two kernels fit.
enum class Kind { Map, Rows, Contraction, Recurrence };

/// The loop of the last axis of what the kernel makes: where lanes lie, most likely.
std::optional<unsigned> lastLoop(KernelOp kernel) {
  AffineMap map = kernel.getOutMap(0);
  auto last = map.getNumResults() ? dyn_cast<AffineDimExpr>(map.getResults().back()) : AffineExpr();
  if (!last)
    return std::nullopt;
  return cast<AffineDimExpr>(last).getPosition();
}

/// A read by index takes each lane's element on its own, unless they are neighbours.
bool isGather(Operation &op) {
  auto read = getIndexedRead(&op);
  auto kernel = cast<KernelOp>(op.getParentOp());
  std::optional<unsigned> lane = lastLoop(kernel);
  return read && lane && getLaneAccess(KernelLoops(kernel), *read, *lane) == LaneAccess::Gather;
}

bool isSlowHere(Operation &op) { return isSlow(&op) || isGather(op); }

bool isCheap(KernelOp kernel) {
  unsigned count = 0;
  KernelLoops loops(kernel);
  std::optional<unsigned> lane = lastLoop(kernel);
  for (Operation &op : kernel.getStep().without_terminator()) {
    if (isSlowHere(op) || isa<ReduceOp>(op))
      return false;
    // Where a row is read is computed once for it.
    bool isAddress = isa<IndexOp>(op) || op.getResult(0).getType().isIntOrIndex();
    if (!isAddress || !lane || contains(loops.of(op.getResult(0)), *lane))
      count += !isa<IndexOp>(op);
  }
  return count <= kCheapOps;
}

bool hasSlowOps(KernelOp kernel) {
  return llvm::any_of(kernel.getStep().without_terminator(), isSlowHere);
}

/// Whether each index is another loop by itself, or of an axis of size 1. (Upstream's
/// isProjectedPermutation is false wherever there are more axes than loops.)
bool isPermuted(AffineMap map) {
  LoopSet seen = 0;
  for (AffineExpr expr : map.getResults()) {
    if (isa<AffineConstantExpr>(expr))
      continue;
    auto dim = dyn_cast<AffineDimExpr>(expr);
    if (!dim || contains(seen, dim.getPosition()))
      return false;
    seen |= loopBit(dim.getPosition());
  }
  return true;
}

/// A sum of products of which each factor has a loop that the other lacks.
bool isContraction(KernelOp kernel) {
  KernelLoops loops(kernel);
  for (auto reduce : kernel.getStep().getOps<ReduceOp>()) {
    auto product = reduce.getValue().getDefiningOp<arith::MulFOp>();
    if (!product)
      continue;
    LoopSet left = loops.of(product.getLhs()), right = loops.of(product.getRhs());
    LoopSet summed = loopsOf(reduce.getLoops());
    if ((left & ~right & ~summed) && (right & ~left & ~summed) && (left & right & summed))
      return true;
  }
  return false;
}

Kind kindOf(KernelOp kernel) {
  if (kernel.getTime())
    return Kind::Recurrence;
  if (kernel.getStep().getOps<ReduceOp>().empty())
    return Kind::Map;
  return isContraction(kernel) ? Kind::Contraction : Kind::Rows;
}

/// The loops that results of reductions live on.
LoopSet outerLoops(KernelOp kernel) {
  KernelLoops loops(kernel);
  LoopSet outer = 0;
  for (auto reduce : kernel.getStep().getOps<ReduceOp>())
    outer |= loops.of(reduce);
  return outer;
}

LoopSet summedLoops(KernelOp kernel) {
  LoopSet summed = 0;
  for (auto reduce : kernel.getStep().getOps<ReduceOp>())
    summed |= loopsOf(reduce.getLoops());
  return summed;
}

/// Bytes of an element.
unsigned bytesOf(Value tensor) {
  Type element = getElementTypeOrSelf(tensor.getType());
  return element.isIntOrFloat() ? llvm::divideCeil(element.getIntOrFloatBitWidth(), 8u) : 8u;
}

/// The kernel of the same block that is the only one to use the kernel's one result; or null.
KernelOp onlyUser(KernelOp kernel) {
  if (kernel->getNumResults() != 1 || !kernel->hasOneUse())
    return nullptr;
  auto user = dyn_cast<KernelOp>(*kernel->user_begin());
  return user && user->getBlock() == kernel->getBlock() ? user : KernelOp();
}

struct FuseKernels : ssm::impl::FuseKernelsBase<FuseKernels> {
  using FuseKernelsBase::FuseKernelsBase;

  void runOnOperation() override {
    SmallVector<Block *> blocks;
    getOperation()->walk([&](Block *block) {
      if (!isa<KernelOp>(block->getParentOp()))
        blocks.push_back(block);
    });
    for (Block *block : blocks)
      fuse(*block);
  }

  void fuse(Block &block) {
    moved.clear();
    leavesToUsers = true;
    fuseAll(block);
    // What its users did not take.
    leavesToUsers = false;
    fuseAll(block);
    for (IRRewriter rewriter(&getContext()); sinkConcats(rewriter, block);)
      fuseAll(block);
    joinReductions(block);
  }

  /// Reductions of the same operands read them once, as the checks do that ask for the least and
  /// the greatest index.
  void joinReductions(Block &block) {
    IRRewriter rewriter(&getContext());
    DominanceInfo dominance;
    SmallVector<KernelOp> seen;
    for (KernelOp second : llvm::make_early_inc_range(block.getOps<KernelOp>())) {
      if (!isReduction(second))
        continue;
      auto first = llvm::find_if(seen, [&](KernelOp other) { return isAlike(other, second); });
      if (first == seen.end() || !moveToFirstUser(rewriter, dominance, *first, second)) {
        seen.push_back(second);
        continue;
      }
      *first = join(rewriter, *first, second);
      remark::passed(first->getLoc(), remark::RemarkOpts::name("Joined").category("fuse"))
          << "reductions of the same operands are one loop";
    }
  }

  /// In place of the second. (mergeKernels joins on loops of results; these have none.)
  static KernelOp join(IRRewriter &rewriter, KernelOp first, KernelOp second) {
    rewriter.setInsertionPoint(second);
    SmallVector<Value> outs(first.getOuts());
    llvm::append_range(outs, second.getOuts());
    SmallVector<Attribute> maps(first.getMaps().getValue());
    llvm::append_range(maps, second.getMaps().getValue().drop_front(second.getInputs().size()));
    Location loc = rewriter.getFusedLoc({first.getLoc(), second.getLoc()});
    auto joined = KernelOp::create(
        rewriter, loc, ValueRange(outs).getTypes(), rewriter.getI64IntegerAttr(first.getNumLoops()),
        IntegerAttr(), first.getInputs(), ValueRange(), outs, rewriter.getArrayAttr(maps),
        rewriter.getDenseBoolArrayAttr({}), TransitionAttr(), ConfigAttr());
    joined->setDiscardableAttrs(llvm::to_vector(second->getDiscardableAttrs()));
    Block *step = rewriter.createBlock(&joined.getBody());
    SmallVector<Value> yields;
    for (KernelOp part : {first, second}) {
      IRMapping mapping;
      for (BlockArgument arg : part.getStep().getArguments()) {
        unsigned i = arg.getArgNumber();
        mapping.map(arg,
                    part == first ? step->addArgument(arg.getType(), loc) : step->getArgument(i));
      }
      for (Operation &op : part.getStep().without_terminator())
        rewriter.clone(op, mapping);
      for (Value value : part.getYield().getValues())
        yields.push_back(mapping.lookupOrDefault(value));
    }
    YieldOp::create(rewriter, loc, yields);
    unsigned numFirst = first.getNumResults();
    rewriter.replaceOp(first, joined.getResults().take_front(numFirst));
    rewriter.replaceOp(second, joined.getResults().drop_front(numFirst));
    return joined;
  }

  /// Whether all that a kernel gives is what it reduces to.
  static bool isReduction(KernelOp kernel) {
    KernelLoops loops(kernel);
    LoopSet outer = outerLoops(kernel);
    return kindOf(kernel) == Kind::Rows && !kernel.getPadded() &&
           llvm::all_of(kernel.getYield().getValues(),
                        [&](Value value) { return isSubset(loops.of(value), outer); });
  }

  /// Whether the inputs tell the sizes of all loops, not the outs alone.
  static bool isSized(KernelOp kernel) {
    ArrayRef<Attribute> maps = kernel.getMaps().getValue().take_front(kernel.getInputs().size());
    return haveSizes(kernel.getNumLoops(), llvm::map_to_vector(maps, [](Attribute map) {
                       return cast<AffineMapAttr>(map).getValue();
                     }));
  }

  static bool isAlike(KernelOp x, KernelOp y) {
    return x.getNumLoops() == y.getNumLoops() && llvm::equal(x.getInputs(), y.getInputs()) &&
           llvm::all_of(llvm::seq<unsigned>(0, x.getInputs().size()),
                        [&](unsigned i) { return x.getInputMap(i) == y.getInputMap(i); }) &&
           summedLoops(x) == summedLoops(y) && outerLoops(x) == outerLoops(y) && isSized(x) &&
           x.getStep().getOperations().size() + y.getStep().getOperations().size() <= kMaxOps;
  }

  /// Brings the second kernel in front of all who use the first one's results.
  static bool moveToFirstUser(IRRewriter &rewriter, DominanceInfo &dominance, KernelOp first,
                              KernelOp second) {
    Operation *earliest = second;
    for (Operation *user : first->getUsers())
      if (Operation *top = second->getBlock()->findAncestorOpInBlock(*user);
          top->isBeforeInBlock(earliest))
        earliest = top;
    if (earliest == second)
      return true;
    if (failed(moveOperationDependencies(rewriter, second, earliest, dominance)))
      return false;
    rewriter.moveOpBefore(second, earliest);
    return true;
  }

  void fuseAll(Block &block) {
    IRRewriter rewriter(&getContext());
    for (Operation *op = block.empty() ? nullptr : &block.front(); op;) {
      auto consumer = dyn_cast<KernelOp>(op);
      if (!consumer) {
        op = op->getNextNode();
        continue;
      }
      // The merged kernel stands where the consumer stood, and is tried again.
      KernelOp merged = fuseOneProducer(rewriter, consumer);
      op = merged ? merged.getOperation() : op->getNextNode();
    }
  }

  KernelOp fuseOneProducer(IRRewriter &rewriter, KernelOp consumer) {
    llvm::SmallSetVector<KernelOp, 4> producers;
    for (Value operand : consumer->getOperands())
      if (auto producer = operand.getDefiningOp<KernelOp>();
          producer && producer->getBlock() == consumer->getBlock())
        producers.insert(producer);
    for (KernelOp producer : producers) {
      KeepResults keep = KeepResults::InMerged;
      StringRef why = refuse(producer, consumer, keep);
      if (why.empty()) {
        rewriter.setInsertionPoint(consumer);
        FailureOr<KernelOp> merged = mergeKernels(rewriter, producer, consumer, keep, &why);
        if (succeeded(merged)) {
          remark::passed(merged->getLoc(), remark::RemarkOpts::name("Fused").category("fuse"))
              << "a producer was fused";
          return *merged;
        }
      }
      remark::missed(consumer.getLoc(), remark::RemarkOpts::name("NotFused").category("fuse"))
          << remark::reason(why.str().c_str());
    }
    if (KernelOp merged = fuseThroughReshape(rewriter, consumer))
      return merged;
    for (Operation &op : consumer.getStep())
      if (auto read = getIndexedRead(&op); read && read->source.getDefiningOp<KernelOp>())
        remark::missed(op.getLoc(), remark::RemarkOpts::name("NotFused").category("fuse"))
            << remark::reason("what is read by index would be computed at each read");
    return nullptr;
  }

  /// A producer on the other side of a reshape that joins or splits axes: the kernel that has
  /// less axes gets those of the other, if the two then fuse.
  KernelOp fuseThroughReshape(IRRewriter &rewriter, KernelOp consumer) {
    for (unsigned i = 0; i < consumer.getInputs().size(); ++i) {
      Operation *reshape = consumer.getInputs()[i].getDefiningOp();
      if (!isa_and_present<tensor::ExpandShapeOp, tensor::CollapseShapeOp>(reshape) ||
          reshape->getBlock() != consumer->getBlock())
        continue;
      auto source = dyn_cast<OpResult>(reshape->getOperand(0));
      auto producer = source ? dyn_cast<KernelOp>(source.getOwner()) : KernelOp();
      if (!producer || producer->getBlock() != consumer->getBlock() || !source.hasOneUse())
        continue;
      KernelOp changed =
          isa<tensor::CollapseShapeOp>(reshape)
              ? expandConsumer(rewriter, producer, cast<tensor::CollapseShapeOp>(reshape),
                               consumer, i)
              : expandProducer(rewriter, producer, cast<tensor::ExpandShapeOp>(reshape), consumer);
      if (changed)
        return changed;
    }
    return nullptr;
  }

  KernelOp expandConsumer(IRRewriter &rewriter, KernelOp producer,
                          tensor::CollapseShapeOp collapse, KernelOp consumer, unsigned input) {
    if (llvm::any_of(collapse->getUsers(), [&](Operation *user) { return user != consumer; }))
      return nullptr;
    SmallVector<OpFoldResult> sizes;
    for (int64_t axis = 0; axis < collapse.getSrcType().getRank(); ++axis)
      sizes.push_back(getKnownSize(collapse.getSrc(), axis));
    if (llvm::any_of(sizes, [](OpFoldResult size) { return size.isNull(); }))
      return nullptr;
    rewriter.setInsertionPoint(consumer);
    FailureOr<ExpandedKernel> expanded = expandLoops(
        rewriter, consumer, input, collapse.getReassociationIndices(), sizes);
    if (failed(expanded))
      return nullptr;
    KeepResults keep = KeepResults::InMerged;
    llvm::SaveAndRestore without(replaced, collapse.getOperation());
    // Another way to read the same would leave the reshape and what is in front of it.
    bool isLeft =
        llvm::any_of(collapse->getUsers(), [&](Operation *user) { return user != consumer; });
    if (isLeft || !refuse(producer, expanded->kernel, keep).empty()) {
      eraseTrial(rewriter, expanded->kernel);
      return nullptr;
    }
    SmallVector<Value> results;
    for (unsigned i = 0; i < consumer.getNumResults(); ++i)
      results.push_back(expanded->collapse(rewriter, i));
    rewriter.replaceOp(consumer, results);
    rewriter.eraseOp(collapse);
    return mergeExpanded(rewriter, producer, expanded->kernel, keep, expanded->kernel);
  }

  KernelOp expandProducer(IRRewriter &rewriter, KernelOp producer, tensor::ExpandShapeOp expand,
                          KernelOp consumer) {
    // A product's tiles are chosen for the axes that its factors have.
    if (producer.getNumResults() != 1 || kindOf(producer) == Kind::Contraction)
      return nullptr;
    rewriter.setInsertionPoint(expand);
    FailureOr<ExpandedKernel> expanded =
        expandLoops(rewriter, producer, producer.getInputs().size(),
                    expand.getReassociationIndices(), expand.getMixedOutputShape());
    if (failed(expanded))
      return nullptr;
    Value result = expanded->kernel.getResult(0);
    KeepResults keep = KeepResults::InMerged;
    if (result.getType() == expand.getType()) {
      rewriter.replaceAllUsesWith(expand, result);
      if (refuse(expanded->kernel, consumer, keep).empty()) {
        rewriter.eraseOp(expand);
        rewriter.eraseOp(producer);
        return mergeExpanded(rewriter, expanded->kernel, consumer, keep, consumer);
      }
      rewriter.replaceAllUsesWith(result, expand);
    }
    eraseTrial(rewriter, expanded->kernel);
    return nullptr;
  }

  /// `left`, where the regions cannot be joined after all: it is tried once more, in vain.
  static KernelOp mergeExpanded(IRRewriter &rewriter, KernelOp producer, KernelOp consumer,
                                KeepResults keep, KernelOp left) {
    rewriter.setInsertionPoint(consumer);
    FailureOr<KernelOp> merged = mergeKernels(rewriter, producer, consumer, keep);
    if (failed(merged))
      return left;
    remark::passed(merged->getLoc(), remark::RemarkOpts::name("Fused").category("fuse"))
        << "a producer on the other side of a reshape was fused";
    return *merged;
  }

  static void eraseTrial(IRRewriter &rewriter, KernelOp kernel) {
    SmallVector<Value> operands(kernel->getOperands());
    rewriter.eraseOp(kernel);
    for (Value operand : operands)
      if (Operation *op = operand.getDefiningOp();
          op && op->use_empty() && isa<tensor::ExpandShapeOp, tensor::EmptyOp>(op))
        rewriter.eraseOp(op);
  }

  /// Why not, or "". Sets where results stay that others use.
  StringRef refuse(KernelOp producer, KernelOp consumer, KeepResults &keep) {
    if (producer.getStep().getOperations().size() + consumer.getStep().getOperations().size() >
        kMaxOps)
      return "the region would be too large";
    Kind from = kindOf(producer), to = kindOf(consumer);
    if (to == Kind::Contraction)
      return "an operand of a product would be computed for each of its tiles";
    if (from == Kind::Recurrence)
      if (StringRef why = refuseSteps(producer, consumer); !why.empty())
        return why;
    if (from == Kind::Contraction && to != Kind::Map)
      return "the consumer of a product is not elementwise";
    if (from == Kind::Rows && to == Kind::Recurrence)
      return "reductions do not run inside a recurrence";
    if (StringRef why = refuseAccess(producer, consumer, from, to); !why.empty())
      return why;
    if (device && leavesToUsers && from == Kind::Contraction && isForSteps(producer, consumer))
      return "a recurrence computes it, from fewer bytes";

    // Everyone else who uses results has to come after the consumer, or gets the
    // producer's work once more.
    bool others = false;
    Operation *earliest = consumer;
    for (Operation *user : producer->getUsers()) {
      if (user == consumer || user == replaced)
        continue;
      Operation *top = consumer->getBlock()->findAncestorOpInBlock(*user);
      others = true;
      if (top->isBeforeInBlock(earliest))
        earliest = top;
    }
    keep = KeepResults::InMerged;
    if (!others)
      return "";
    if (from == Kind::Map && isCheap(producer)) {
      keep = KeepResults::InProducer;
      return "";
    }
    if (leavesToUsers && isForUsers(consumer))
      return "its users compute it with less to read and write";
    if (earliest == consumer)
      return "";
    // The consumer may as well come first, if it waits for none of the others.
    // Once: two that both want to come first would do so for ever.
    IRRewriter rewriter(&getContext());
    DominanceInfo dominance;
    if (!moved.insert(consumer).second ||
        failed(moveOperationDependencies(rewriter, consumer, earliest, dominance)))
      return "a result is used before the consumer";
    rewriter.moveOpBefore(consumer, earliest);
    return "";
  }

  /// Whether elementwise work on values that are stored anyway had better be done by all who
  /// take its results, by the bytes that go through memory.
  static bool isForUsers(KernelOp consumer) {
    if (kindOf(consumer) != Kind::Map || !isCheap(consumer))
      return false;
    unsigned users = 0, taken = 0, made = 0;
    for (Operation *user : consumer->getUsers()) {
      auto kernel = dyn_cast<KernelOp>(user);
      if (!kernel || kernel->getBlock() != consumer->getBlock() ||
          kindOf(kernel) == Kind::Contraction || llvm::any_of(kernel.getInits(), [&](Value init) {
            return init.getDefiningOp() == consumer;
          }))
        return false;
      ++users;
    }
    LoopSet all = 0;
    for (unsigned i = 0; i < consumer.getOuts().size(); ++i) {
      all |= loopsOf(consumer.getOutMap(i));
      made += bytesOf(consumer.getOuts()[i]);
    }
    for (unsigned i = 0; i < consumer.getInputs().size(); ++i)
      if (loopsOf(consumer.getInputMap(i)) == all)
        taken += bytesOf(consumer.getInputs()[i]);
    return users > 0 && users * taken <= (users + 1) * made;
  }

  /// Whether elementwise work on what a product makes had better be done by the steps that take
  /// it, once for each element, as what it is done on is narrower.
  bool isForSteps(KernelOp product, KernelOp consumer) {
    KernelOp last = consumer, user = onlyUser(consumer);
    size_t ops = consumer.getStep().getOperations().size();
    while (user && kindOf(last) == Kind::Map && kindOf(user) == Kind::Map) {
      ops += user.getStep().getOperations().size();
      last = user;
      user = onlyUser(last);
    }
    if (!user || kindOf(last) != Kind::Map || kindOf(user) != Kind::Recurrence ||
        ops + user.getStep().getOperations().size() > kMaxOps ||
        bytesOf(product->getResult(0)) >= bytesOf(last->getResult(0)) ||
        product.getOutMap(0).getNumResults() != last.getOutMap(0).getNumResults())
      return false;
    return refuseAccess(last, user, Kind::Map, Kind::Recurrence).empty();
  }

  /// What follows from a recurrence goes into its steps if they stay one loop over the state
  /// beside channels that lie across the lanes, each with a carry.
  static StringRef refuseSteps(KernelOp producer, KernelOp consumer) {
    if (kindOf(consumer) == Kind::Recurrence)
      return "the consumer of a recurrence is another one";
    LoopSet carried = ~LoopSet(0), left = summedLoops(producer); // of the producer
    for (unsigned i = 0; i < producer.getNumCarries(); ++i)
      carried &= loopsOf(producer.getOutMap(i));
    LoopSet read = 0, made = 0, channels = 0, summed = summedLoops(consumer); // of the consumer
    for (unsigned i = 0; i < consumer.getOuts().size(); ++i)
      made |= loopsOf(consumer.getOutMap(i));
    for (unsigned i = 0; i < consumer.getInputs().size(); ++i) {
      if (consumer.getInputs()[i].getDefiningOp() != producer)
        continue;
      auto result = cast<OpResult>(consumer.getInputs()[i]);
      AffineMap from = producer.getOutMap(result.getResultNumber());
      for (auto [own, expr] :
           llvm::zip_equal(from.getResults(), consumer.getInputMap(i).getResults())) {
        auto loop = dyn_cast<AffineDimExpr>(own);
        auto there = dyn_cast<AffineDimExpr>(expr);
        if (!loop || !there)
          continue;
        read |= loopBit(there.getPosition());
        if (contains(summed, there.getPosition()))
          left &= ~loopBit(loop.getPosition());
        else if (contains(carried, loop.getPosition()))
          channels |= loopBit(there.getPosition());
      }
    }
    if (!isSubset(made, read))
      return "a result of a recurrence is broadcast";
    if (summed == 0)
      return "";
    if (!isSubset(summed, read) || llvm::popcount(summed) > 1 || left != 0)
      return "a recurrence would sum over several loops";
    if (made & summed)
      return "what is summed over steps of a recurrence is used again";
    // A batch alone is no channels.
    bool isDense = llvm::any_of(listLoops(channels), [&](unsigned loop) {
      return llvm::any_of(llvm::seq<unsigned>(0, consumer.getMaps().size()), [&](unsigned i) {
        AffineMap map = consumer.getMap(i);
        return map.getNumResults() > 0 &&
               map.getResults().back() == getAffineDimExpr(loop, map.getContext());
      });
    });
    if (!isDense && llvm::popcount(channels) < 2)
      return "a recurrence would sum over its lanes";
    return "";
  }

  static StringRef refuseAccess(KernelOp producer, KernelOp consumer, Kind from, Kind to) {
    KernelLoops loops(consumer);
    LoopSet parallel = 0; // the loops of what the consumer makes
    for (unsigned i = 0; i < consumer.getOuts().size(); ++i)
      parallel |= loopsOf(consumer.getOutMap(i));
    for (unsigned i = 0; i < consumer.getInputs().size(); ++i) {
      if (consumer.getInputs()[i].getDefiningOp() != producer)
        continue;
      AffineMap map = consumer.getInputMap(i);
      LoopSet read = loopsOf(map);
      bool inPlace = isPermuted(map);
      if (!inPlace && !isCheap(producer))
        return "elements would be computed several times";
      switch (to) {
      case Kind::Map:
        if (read != parallel && !isCheap(producer) && from != Kind::Rows)
          return "the result is broadcast: elements would be computed several times";
        if (from == Kind::Rows && !isRowAligned(producer, consumer, map))
          return "rows and loops of the consumer cross";
        if (from == Kind::Contraction && !keepsOrder(consumer, i))
          return "the consumer turns axes";
        break;
      case Kind::Rows:
        if (from == Kind::Rows && !isRowAligned(producer, consumer, map))
          return "rows of the two differ";
        if (from == Kind::Map && hasSlowOps(producer) && countPhases(consumer) > 1)
          return "slow operations would be computed in every pass over a row";
        if (from == Kind::Map && !isCheap(producer) && !isSubset(outerLoops(consumer), read))
          return "elements would be computed for every row";
        break;
      case Kind::Recurrence: {
        auto [sized, axis] = consumer.getSizeSource(*consumer.getTime());
        bool isStep = cast<ShapedType>(sized.getType()).getDimSize(axis) == 1;
        LoopSet once = isStep ? loopBit(*consumer.getTime()) : 0;
        if (!isSubset(parallel & ~(summedLoops(consumer) | once), read) && !isCheap(producer))
          return "elements would be computed for every channel";
        break;
      }
      case Kind::Contraction:
        break;
      }
    }
    for (Value init : consumer.getInits())
      if (init.getDefiningOp() == producer)
        return "an initial carry is computed";
    return "";
  }

  /// Passes over the elements of a row that read inputs.
  static unsigned countPhases(KernelOp kernel) {
    unsigned phases = llvm::range_size(kernel.getStep().getOps<ReduceOp>());
    LoopSet outer = outerLoops(kernel);
    KernelLoops loops(kernel);
    for (Value value : kernel.getYield().getValues())
      if (!isSubset(loops.of(value), outer))
        return phases + 1;
    return phases;
  }

  /// Whether it reduces along the last axis of an input.
  static bool sumsDenseAxis(KernelOp kernel) {
    LoopSet summed = summedLoops(kernel);
    return llvm::any_of(llvm::seq<unsigned>(0, kernel.getInputs().size()), [&](unsigned i) {
      AffineMap map = kernel.getInputMap(i);
      return map.getNumResults() > 0 && (loopsOf(map.getSubMap({map.getNumResults() - 1})) & summed);
    });
  }

  /// Whether what the producer reduces to is, in the consumer's loops, what the
  /// consumer's own reductions keep; or, without those, leading loops of its outs, or columns
  /// (the loop of its outs' last axis is one of them) that the producer runs down twice
  /// anyway: one run is faster in two kernels, of which the second has all elements to share out.
  static bool isRowAligned(KernelOp producer, KernelOp consumer, AffineMap map) {
    LoopSet rows = outerLoops(producer), mapped = 0;
    for (unsigned i = 0; i < producer.getOuts().size(); ++i)
      for (auto [axis, expr] : llvm::enumerate(producer.getOutMap(i).getResults()))
        if (auto dim = dyn_cast<AffineDimExpr>(expr);
            dim && contains(rows, dim.getPosition()) && axis < map.getNumResults())
          if (auto to = dyn_cast<AffineDimExpr>(map.getResult(axis)))
            mapped |= loopBit(to.getPosition());
    if (!consumer.getStep().getOps<ReduceOp>().empty())
      return outerLoops(consumer) == mapped;
    std::optional<unsigned> lane = lastLoop(consumer);
    if (lane && contains(mapped, *lane) && countPhases(producer) > 1 && !sumsDenseAxis(producer))
      return true;
    for (unsigned i = 0; i < consumer.getOuts().size(); ++i) {
      LoopSet left = mapped;
      for (AffineExpr expr : consumer.getOutMap(i).getResults()) {
        auto dim = dyn_cast<AffineDimExpr>(expr);
        if (!dim || left == 0)
          continue;
        if (!contains(left, dim.getPosition()))
          return false;
        left &= ~loopBit(dim.getPosition());
      }
    }
    return true;
  }

  /// Whether the last axis of what is read is the last axis of every out: vectors
  /// of the producer are stored as they are.
  static bool keepsOrder(KernelOp consumer, unsigned input) {
    AffineMap map = consumer.getInputMap(input);
    if (map.getNumResults() == 0)
      return true;
    AffineExpr last = map.getResults().back();
    return llvm::all_of(llvm::seq<unsigned>(0, consumer.getOuts().size()), [&](unsigned i) {
      AffineMap out = consumer.getOutMap(i);
      return out.getNumResults() > 0 && out.getResults().back() == last;
    });
  }

  Operation *replaced = nullptr; // the reshape that goes away if the two fuse
  llvm::DenseSet<Operation *> moved;
  bool leavesToUsers = false;
};
} // namespace
