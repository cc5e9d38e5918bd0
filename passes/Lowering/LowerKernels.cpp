//===- LowerKernels.cpp - ssm.kernel to loops over elements ---------------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "passes/Lowering/Passes.h"

#include "dialects/SSM/KernelLoops.h"
#include "dialects/SSM/SSMOps.h"
#include "mlir/Dialect/Affine/IR/AffineOps.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Arith/Utils/Utils.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/IR/IRMapping.h"
#include "mlir/IR/PatternMatch.h"
#include "llvm/ADT/bit.h"

namespace ssm {
#define GEN_PASS_DEF_LOWERKERNELS
#include "passes/Lowering/Passes.h.inc"
} // namespace ssm

using namespace mlir;
using namespace ssm;

namespace {

/// Makes the loops of one kernel. Values are computed where they are needed, in the
/// outermost loop that gives all they depend on; there are no temporaries.
class KernelLowering {
public:
  KernelLowering(KernelOp kernel, ArrayRef<CarryUpdate> updates, IRRewriter &rewriter)
      : kernel(kernel), updates(updates), b(rewriter), loc(kernel.getLoc()), loops(kernel) {}

  void lower();

private:
  /// Indices of the loops that are open, and the values computed in them.
  struct Scope {
    SmallVector<Value> indices;
    LoopSet open = 0;
    IRMapping values;
  };

  /// Outs that are computed in the same loops.
  struct Group {
    LoopSet set;
    SmallVector<unsigned> outs;
  };

  SmallVector<Group> group(ArrayRef<unsigned> outs);
  SmallVector<unsigned> orderLoops(const Group &group);
  llvm::SetVector<Operation *> slice(ValueRange values);
  void initCarries();
  void makeNest(ArrayRef<unsigned> order, Scope scope, llvm::function_ref<void(Scope &)> prepare,
                llvm::function_ref<void(Scope &)> body);
  SmallVector<Operation *> listEarly(ValueRange values);
  void computeOuts(ArrayRef<unsigned> outs, ArrayRef<unsigned> order, const Scope &scope);
  Value compute(Value value, Scope &scope);
  Value computeReduce(ReduceOp reduce, Scope &scope);
  Value isInside(const Scope &scope);
  SmallVector<Value> indicesOf(AffineMap map, const Scope &scope, bool mirrored);
  Value load(Value operand, AffineMap map, const Scope &scope, bool mirrored);
  Value constantIndex(int64_t value) { return arith::ConstantIndexOp::create(b, loc, value); }

  KernelOp kernel;
  ArrayRef<CarryUpdate> updates;
  IRRewriter &b;
  Location loc;
  KernelLoops loops;
  SmallVector<Value> sizes;
  Value zero, one;
};

} // namespace

SmallVector<KernelLowering::Group> KernelLowering::group(ArrayRef<unsigned> outs) {
  SmallVector<Group> groups;
  for (unsigned out : outs) {
    LoopSet set = loopsOf(kernel.getOutMap(out));
    if (kernel.getTime())
      set &= ~loopBit(*kernel.getTime());
    auto same = llvm::find_if(groups, [&](const Group &group) { return group.set == set; });
    if (same != groups.end())
      same->outs.push_back(out);
    else
      groups.push_back({set, {out}});
  }
  // An out of all loops may lie where an input does (ssm-find-states-in-place).
  llvm::stable_sort(groups, [](const Group &x, const Group &y) {
    return llvm::popcount(x.set) < llvm::popcount(y.set);
  });
  return groups;
}

/// The operations of the region that the values come from, in order.
llvm::SetVector<Operation *> KernelLowering::slice(ValueRange values) {
  llvm::DenseSet<Operation *> needed;
  auto need = [&](Value value) {
    if (Operation *op = value.getDefiningOp(); op && op->getBlock() == &kernel.getStep())
      needed.insert(op);
  };
  for (Value value : values)
    need(value);
  SmallVector<Operation *> order;
  for (Operation &op : llvm::reverse(kernel.getStep().without_terminator()))
    if (needed.contains(&op)) {
      order.push_back(&op);
      for (Value operand : op.getOperands())
        need(operand);
    }
  llvm::SetVector<Operation *> ops;
  ops.insert(order.rbegin(), order.rend());
  return ops;
}

/// Loops that are reduced over go inside, so that reductions are done outside of them.
SmallVector<unsigned> KernelLowering::orderLoops(const Group &group) {
  SmallVector<Value> values;
  for (unsigned out : group.outs)
    values.push_back(kernel.getYield().getValues()[out]);
  LoopSet reduced = 0;
  for (Operation *op : slice(values))
    if (auto reduce = dyn_cast<ReduceOp>(op))
      reduced |= loopsOf(reduce.getLoops());
  SmallVector<unsigned> order = listLoops(group.set & ~reduced);
  llvm::append_range(order, listLoops(group.set & reduced));
  return order;
}

SmallVector<Value> KernelLowering::indicesOf(AffineMap map, const Scope &scope, bool mirrored) {
  SmallVector<Value> dims, indices;
  for (unsigned loop = 0; loop < kernel.getNumLoops(); ++loop)
    dims.push_back(scope.indices[loop] ? scope.indices[loop] : zero);
  if (mirrored && map.isFunctionOfDim(*kernel.getTime())) {
    Value &step = dims[*kernel.getTime()];
    Value last = arith::SubIOp::create(b, loc, sizes[*kernel.getTime()], one);
    step = arith::SubIOp::create(b, loc, last, step);
  }
  for (AffineExpr expr : map.getResults()) {
    if (auto dim = dyn_cast<AffineDimExpr>(expr))
      indices.push_back(dims[dim.getPosition()]);
    else
      indices.push_back(affine::AffineApplyOp::create(
          b, loc, AffineMap::get(map.getNumDims(), 0, expr), dims));
  }
  return indices;
}

Value KernelLowering::load(Value operand, AffineMap map, const Scope &scope, bool mirrored) {
  if (!isa<MemRefType>(operand.getType()))
    return operand;
  return memref::LoadOp::create(b, loc, operand, indicesOf(map, scope, mirrored));
}

Value KernelLowering::compute(Value value, Scope &scope) {
  if (Value known = scope.values.lookupOrNull(value))
    return known;
  Value made;
  if (auto arg = dyn_cast<BlockArgument>(value); arg && arg.getOwner() == &kernel.getStep()) {
    unsigned i = arg.getArgNumber(), numInputs = kernel.getInputs().size();
    made = i < numInputs ? load(kernel.getInputs()[i], kernel.getInputMap(i), scope,
                                kernel.isInputMirrored(i))
                         : load(kernel.getOuts()[i - numInputs], kernel.getOutMap(i - numInputs),
                                scope, false);
  } else if (Operation *op = value.getDefiningOp();
             !op || op->getBlock() != &kernel.getStep()) {
    return value;
  } else if (auto index = dyn_cast<IndexOp>(op)) {
    made = scope.indices[index.getLoop()];
  } else if (auto reduce = dyn_cast<ReduceOp>(op)) {
    made = computeReduce(reduce, scope);
  } else {
    for (Value operand : op->getOperands())
      compute(operand, scope);
    Operation *clone = b.clone(*op, scope.values);
    made = clone->getResult(cast<OpResult>(value).getResultNumber());
  }
  scope.values.map(value, made);
  return made;
}

Value KernelLowering::computeReduce(ReduceOp reduce, Scope &scope) {
  Type type = reduce.getType();
  LoopSet over = loopsOf(reduce.getLoops());
  // What the loops do not change comes before them.
  for (Operation *op : slice(reduce.getValue()))
    for (Value result : op->getResults())
      if (isSubset(loops.of(result), scope.open & ~over))
        compute(result, scope);
  Value start = arith::getIdentityValue(reduce.getKind(), type, b, loc);
  Scope inner = scope;
  SmallVector<scf::ForOp> nest;
  Value acc = start;
  OpBuilder::InsertionGuard guard(b);
  for (unsigned loop : listLoops(over)) {
    auto made = scf::ForOp::create(b, loc, zero, sizes[loop], one, acc);
    inner.indices[loop] = made.getInductionVar();
    acc = made.getRegionIterArgs()[0];
    nest.push_back(made);
    b.setInsertionPointToEnd(made.getBody());
  }
  inner.open |= over;
  // A value that depends on the loops may be there from loops of the same numbers.
  IRMapping outside;
  for (auto [from, to] : scope.values.getValueMap())
    if ((loops.of(from) & over) == 0)
      outside.map(from, to);
  inner.values = outside;
  auto combine = [&] {
    Value value = compute(reduce.getValue(), inner);
    Value next = arith::getReductionOp(reduce.getKind(), b, loc, acc, value);
    if (auto sum = next.getDefiningOp<arith::AddFOp>())
      sum.setFastmath(arith::FastMathFlags::reassoc | arith::FastMathFlags::contract);
    return next;
  };
  Value next;
  if (Value exists = kernel.getPadded() ? isInside(inner) : Value()) {
    auto choice = scf::IfOp::create(b, loc, type, exists, /*withElseRegion=*/true);
    b.setInsertionPointToStart(choice.elseBlock());
    scf::YieldOp::create(b, loc, acc);
    b.setInsertionPointToStart(choice.thenBlock());
    scf::YieldOp::create(b, loc, combine());
    next = choice.getResult(0);
  } else {
    next = combine();
  }
  for (scf::ForOp loop : llvm::reverse(nest)) {
    b.setInsertionPointToEnd(loop.getBody());
    scf::YieldOp::create(b, loc, next);
    next = loop.getResult(0);
  }
  return next;
}

/// Whether no input of a padded kernel is read outside of it. Null: none can be.
Value KernelLowering::isInside(const Scope &scope) {
  Value all;
  auto require = [&](arith::CmpIPredicate predicate, Value index, Value bound) {
    Value holds = arith::CmpIOp::create(b, loc, predicate, index, bound);
    all = all ? arith::AndIOp::create(b, loc, all, holds).getResult() : holds;
  };
  for (unsigned i = 0; i < kernel.getInputs().size(); ++i) {
    AffineMap map = kernel.getInputMap(i);
    if (!mayLeadOutside(map))
      continue;
    SmallVector<Value> indices = indicesOf(map, scope, false);
    for (auto [axis, expr] : llvm::enumerate(map.getResults())) {
      if (isa<AffineDimExpr, AffineConstantExpr>(expr))
        continue;
      Value size = memref::DimOp::create(b, loc, kernel.getInputs()[i], axis);
      require(arith::CmpIPredicate::sge, indices[axis], zero);
      require(arith::CmpIPredicate::slt, indices[axis], size);
    }
  }
  return all;
}

/// Loops in the order given; `prepare` runs in front of each and in the innermost.
void KernelLowering::makeNest(ArrayRef<unsigned> order, Scope scope,
                              llvm::function_ref<void(Scope &)> prepare,
                              llvm::function_ref<void(Scope &)> body) {
  OpBuilder::InsertionGuard guard(b);
  for (unsigned loop : order) {
    prepare(scope);
    auto made = scf::ForOp::create(b, loc, zero, sizes[loop], one);
    scope.indices[loop] = made.getInductionVar();
    scope.open |= loopBit(loop);
    b.setInsertionPointToStart(made.getBody());
  }
  body(scope);
}

/// The operations, in order, that can be computed as soon as the loops are open that
/// they depend on: not those inside reductions, whose loops are opened there. But
/// reductions inside of others are among them if they do not depend on their loops.
SmallVector<Operation *> KernelLowering::listEarly(ValueRange values) {
  llvm::DenseSet<std::pair<Operation *, LoopSet>> seen;
  llvm::DenseSet<Operation *> early;
  SmallVector<std::pair<Value, LoopSet>> work;
  for (Value value : values)
    work.push_back({value, 0});
  while (!work.empty()) {
    auto [value, over] = work.pop_back_val();
    Operation *op = value.getDefiningOp();
    if (!op || op->getBlock() != &kernel.getStep() || !seen.insert({op, over}).second)
      continue;
    auto reduce = dyn_cast<ReduceOp>(op);
    if (over == 0 || (reduce && (loops.of(value) & over) == 0))
      early.insert(op);
    if (reduce)
      over |= loopsOf(reduce.getLoops());
    for (Value operand : op->getOperands())
      work.push_back({operand, over});
  }
  SmallVector<Operation *> order;
  for (Operation &op : kernel.getStep().without_terminator())
    if (early.contains(&op))
      order.push_back(&op);
  return order;
}

void KernelLowering::computeOuts(ArrayRef<unsigned> outs, ArrayRef<unsigned> order,
                                 const Scope &scope) {
  SmallVector<Value> values;
  for (unsigned out : outs)
    values.push_back(kernel.getYield().getValues()[out]);
  SmallVector<Operation *> early = listEarly(values);
  auto prepare = [&](Scope &scope) {
    for (Operation *op : early)
      for (Value result : op->getResults())
        if (isSubset(loops.of(result), scope.open))
          compute(result, scope);
  };
  makeNest(order, scope, prepare, [&](Scope &scope) {
    SmallVector<Value> results;
    for (Value value : values)
      results.push_back(compute(value, scope));
    for (auto [out, value] : llvm::zip_equal(outs, results))
      memref::StoreOp::create(b, loc, value, kernel.getOuts()[out],
                              indicesOf(kernel.getOutMap(out), scope, kernel.isOutMirrored(out)));
  });
}

void KernelLowering::initCarries() {
  for (unsigned i = 0; i < kernel.getNumCarries(); ++i) {
    Scope scope;
    scope.indices.resize(kernel.getNumLoops());
    makeNest(listLoops(loopsOf(kernel.getOutMap(i))), scope, [](Scope &) {}, [&](Scope &scope) {
      Value value = load(kernel.getInits()[i], kernel.getInitMap(i), scope, false);
      memref::StoreOp::create(b, loc, value, kernel.getOuts()[i],
                              indicesOf(kernel.getOutMap(i), scope, false));
    });
  }
}

void KernelLowering::lower() {
  b.setInsertionPoint(kernel);
  zero = constantIndex(0);
  one = constantIndex(1);
  for (OpFoldResult size : kernel.getLoopSizes(b))
    sizes.push_back(getValueOrCreateConstantIndexOp(b, loc, size));
  Scope scope;
  scope.indices.resize(kernel.getNumLoops());
  unsigned numCarries = kernel.getNumCarries();
  SmallVector<unsigned> outs =
      llvm::to_vector(llvm::seq<unsigned>(numCarries, kernel.getOuts().size()));
  if (kernel.getTime()) {
    initCarries();
    unsigned time = *kernel.getTime();
    auto steps = scf::ForOp::create(b, loc, zero, sizes[time], one);
    b.setInsertionPointToStart(steps.getBody());
    scope.indices[time] = steps.getInductionVar();
    scope.open |= loopBit(time);
  }
  // Outs first: they are computed from the carries as the step found them.
  for (const Group &group : group(outs))
    computeOuts(group.outs, orderLoops(group), scope);
  for (const CarryUpdate &update : updates)
    computeOuts(update.carries, update.loops, scope);
  b.eraseOp(kernel);
}

namespace {
struct LowerKernels : ssm::impl::LowerKernelsBase<LowerKernels> {
  using LowerKernelsBase::LowerKernelsBase;

  void runOnOperation() override {
    IRRewriter rewriter(&getContext());
    WalkResult result = getOperation()->walk([&](KernelOp kernel) {
      if (!allForms && kernel.getConfig() && kernel.getConfig()->getForm() != Form::Loops)
        return WalkResult::advance();
      if (!kernel.hasBuffers() || kernel.getOuts().empty()) {
        kernel.emitOpError("is not on buffers");
        return WalkResult::interrupt();
      }
      auto updates = orderCarryUpdates(kernel);
      if (!updates) {
        kernel.emitOpError("has carries that cannot be updated in place");
        return WalkResult::interrupt();
      }
      KernelLowering(kernel, *updates, rewriter).lower();
      return WalkResult::advance();
    });
    if (result.wasInterrupted())
      signalPassFailure();
  }
};
} // namespace
