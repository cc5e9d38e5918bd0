//===- RaiseKernels.cpp - linalg operations become kernels ----------------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "passes/Raising/Passes.h"

#include "dialects/SSM/KernelLoops.h"
#include "dialects/SSM/KernelViews.h"
#include "dialects/SSM/SSMOps.h"
#include "lib/Analysis/WeightValues.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Linalg/Transforms/Transforms.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/IRMapping.h"
#include "mlir/IR/Matchers.h"
#include "mlir/IR/Remarks.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"
#include "llvm/ADT/MapVector.h"

namespace ssm {
#define GEN_PASS_DEF_RAISEKERNELS
#include "passes/Raising/Passes.h.inc"
} // namespace ssm

using namespace mlir;
using namespace ssm;

/// The reduction that an operation does one step of.
static std::optional<arith::AtomicRMWKind> getCombiner(Operation *op) {
  using Kind = arith::AtomicRMWKind;
  return llvm::TypeSwitch<Operation *, std::optional<Kind>>(op)
      .Case<arith::AddFOp>([](auto) { return Kind::addf; })
      .Case<arith::MulFOp>([](auto) { return Kind::mulf; })
      .Case<arith::MaximumFOp>([](auto) { return Kind::maximumf; })
      .Case<arith::MinimumFOp>([](auto) { return Kind::minimumf; })
      .Case<arith::MaxNumFOp>([](auto) { return Kind::maxnumf; })
      .Case<arith::MinNumFOp>([](auto) { return Kind::minnumf; })
      .Case<arith::AddIOp>([](auto) { return Kind::addi; })
      .Case<arith::MulIOp>([](auto) { return Kind::muli; })
      .Case<arith::MaxSIOp>([](auto) { return Kind::maxs; })
      .Case<arith::MaxUIOp>([](auto) { return Kind::maxu; })
      .Case<arith::MinSIOp>([](auto) { return Kind::mins; })
      .Case<arith::MinUIOp>([](auto) { return Kind::minu; })
      .Case<arith::AndIOp>([](auto) { return Kind::andi; })
      .Case<arith::OrIOp>([](auto) { return Kind::ori; })
      .Case<arith::XOrIOp>([](auto) { return Kind::xori; })
      .Default([](auto) { return std::nullopt; });
}

/// Whether combining with the value changes nothing.
static bool isNeutral(OpBuilder &builder, arith::AtomicRMWKind kind, Value value) {
  TypedAttr attr;
  if (!matchPattern(value, m_Constant(&attr)))
    return false;
  if (kind == arith::AtomicRMWKind::addf)
    return cast<FloatAttr>(attr).getValue().isZero();
  return attr == arith::getIdentityValueAttr(kind, value.getType(), builder, value.getLoc());
}

/// Whether the value is the same for all elements: it is from outside, or arithmetic on
/// such values.
static bool isUniform(Value value, Block &body) {
  if (value.getParentBlock() != &body)
    return true;
  Operation *op = value.getDefiningOp();
  return op && isa<arith::ArithDialect>(op->getDialect()) &&
         llvm::all_of(op->getOperands(), [&](Value operand) { return isUniform(operand, body); });
}

/// Whether a divisor is never 0, nor, of a signed division, -1: another number is selected then.
static bool isGuarded(Value divisor, bool isSigned) {
  auto select = divisor.getDefiningOp<arith::SelectOp>();
  APInt instead;
  if (!select || !matchPattern(select.getTrueValue(), m_ConstantInt(&instead)) ||
      instead.isZero() || instead.isAllOnes())
    return false;
  bool hasZero = false, hasOnes = false;
  SmallVector<Value> work = {select.getCondition()};
  while (!work.empty()) {
    Value condition = work.pop_back_val();
    if (auto either = condition.getDefiningOp<arith::OrIOp>())
      work.append({either.getLhs(), either.getRhs()});
    auto compare = condition.getDefiningOp<arith::CmpIOp>();
    APInt value;
    if (!compare || compare.getPredicate() != arith::CmpIPredicate::eq ||
        compare.getLhs() != select.getFalseValue() ||
        !matchPattern(compare.getRhs(), m_ConstantInt(&value)))
      continue;
    hasZero |= value.isZero();
    hasOnes |= value.isAllOnes();
  }
  return hasZero && (hasOnes || !isSigned);
}

/// A division traps for some operands. Lanes outside of a vector's mask hold any
/// value, so it must be safe for all, except where its divisor is the same for all.
static bool mayTrap(Operation &op, Block &body) {
  if (!isa<arith::DivSIOp, arith::DivUIOp, arith::RemSIOp, arith::RemUIOp, arith::CeilDivSIOp,
           arith::CeilDivUIOp, arith::FloorDivSIOp>(op))
    return false;
  Value divisor = op.getOperand(1);
  APInt constant;
  if (matchPattern(divisor, m_ConstantInt(&constant)))
    return constant.isZero() || constant.isAllOnes();
  if (isGuarded(divisor, isa<arith::DivSIOp, arith::RemSIOp>(op)) &&
      isa<arith::DivSIOp, arith::RemSIOp, arith::DivUIOp, arith::RemUIOp>(op))
    return false;
  return !divisor.getType().isIndex() || !isUniform(divisor, body);
}

static bool isScalar(Value value) { return value.getType().isIntOrIndexOrFloat(); }

namespace {

/// One linalg operation on its way to a kernel.
class Raiser {
public:
  Raiser(linalg::GenericOp op, RewriterBase &rewriter) : op(op), rewriter(rewriter) {}

  /// Why it cannot be raised, or "".
  StringRef check();
  void raise();

private:
  /// How one output of the operation comes about.
  struct Output {
    std::optional<arith::AtomicRMWKind> kind;
    Operation *combiner = nullptr;
    Value term;
    /// What it starts from: a scalar, or else the output's tensor if it is read.
    Value start;
    int startInput = -1;
  };

  StringRef checkBody();
  StringRef checkOutputs();
  AffineMap findMap(tensor::ExtractOp read);
  bool isReduction(unsigned loop) {
    return op.getIteratorTypesArray()[loop] == utils::IteratorType::reduction;
  }
  /// What an input became: a number of `inputs`, or a scalar.
  using Replacement = std::pair<int, Value>;
  Replacement replaceInput(Value tensor, AffineMap map, bool fold);
  void addInput(Value tensor, AffineMap map, bool fold);
  Value makeOut(Value init);
  void relaxProduct(Value term);

  linalg::GenericOp op;
  RewriterBase &rewriter;
  SmallVector<Output> outputs;
  SmallVector<Value> inputs;
  SmallVector<AffineMap> inputMaps;
  /// For each of the operation's inputs.
  SmallVector<Replacement> replacements;
  /// Reads by index whose indices are loops: inputs too.
  llvm::MapVector<Operation *, AffineMap> reads;
  llvm::DenseMap<Operation *, Replacement> readReplacements;
};

} // namespace

StringRef Raiser::check() {
  if (op.getNumLoops() > kMaxLoops)
    return "it has too many loops";
  if (StringRef reason = checkBody(); !reason.empty())
    return reason;
  return checkOutputs();
}

StringRef Raiser::checkBody() {
  Block &body = *op.getBody();
  for (Operation &inner : body.without_terminator()) {
    if (isa<linalg::IndexOp>(inner))
      continue;
    if (auto read = dyn_cast<tensor::ExtractOp>(inner)) {
      if (!isScalar(read.getResult()))
        return "its body is not arithmetic on scalars";
      if (AffineMap map = findMap(read))
        reads[read] = map;
      continue;
    }
    if (!isa<arith::ArithDialect, math::MathDialect>(inner.getDialect()) ||
        inner.getNumRegions() > 0 || !isMemoryEffectFree(&inner) ||
        !llvm::all_of(inner.getOperands(), isScalar) || !llvm::all_of(inner.getResults(), isScalar))
      return "its body is not arithmetic on scalars";
    if (mayTrap(inner, body))
      return "a division could trap for a lane that is not computed";
  }
  return "";
}

StringRef Raiser::checkOutputs() {
  Block &body = *op.getBody();
  // The loops that each value of the body depends on.
  llvm::DenseMap<Value, LoopSet> loops;
  for (auto [arg, map] : llvm::zip_equal(body.getArguments(), op.getIndexingMapsArray()))
    loops[arg] = loopsOf(map);
  for (Operation &inner : body.without_terminator()) {
    LoopSet set = 0;
    for (Value operand : inner.getOperands())
      set |= loops.lookup(operand);
    if (auto index = dyn_cast<linalg::IndexOp>(inner))
      set |= loopBit(index.getDim());
    for (Value result : inner.getResults())
      loops[result] = set;
  }

  auto yield = cast<linalg::YieldOp>(body.getTerminator());
  for (auto [i, value] : llvm::enumerate(yield.getOperands())) {
    BlockArgument acc = op.getRegionOutputArgs()[i];
    AffineMap map = op.getIndexingMapMatchingResult(op->getResult(i));
    LoopSet mapLoops = loopsOf(map), seen = 0;
    for (AffineExpr expr : map.getResults()) {
      auto dim = dyn_cast<AffineDimExpr>(expr);
      if (!isa<AffineConstantExpr>(expr) && (!dim || contains(seen, dim.getPosition())))
        return "it writes at indices that are not loops";
      if (dim)
        seen |= loopBit(dim.getPosition());
    }
    for (unsigned loop = 0; loop < op.getNumLoops(); ++loop)
      if (contains(mapLoops, loop) == isReduction(loop))
        return "its loops are of another kind than its outputs";
    Output output;
    output.term = value;
    if (op.getNumReductionLoops() > 0) {
      Operation *combiner = value.getDefiningOp();
      if (combiner && combiner->getBlock() == &body)
        output.kind = getCombiner(combiner);
      if (!output.kind || !acc.hasOneUse() || *acc.user_begin() != combiner ||
          !combiner->hasOneUse())
        return "its combiner is not a known reduction";
      output.combiner = combiner;
      output.term = combiner->getOperand(combiner->getOperand(0) == acc ? 1 : 0);
    } else if (!isSubset(loops.lookup(value), mapLoops)) {
      return "its loops are of another kind than its outputs";
    }
    outputs.push_back(output);
  }
  return "";
}

/// The map of a read whose indices are loops, each once, and constants. Else null.
AffineMap Raiser::findMap(tensor::ExtractOp read) {
  SmallVector<AffineExpr> results;
  LoopSet seen = 0;
  for (Value index : read.getIndices()) {
    APInt constant;
    if (matchPattern(index, m_ConstantInt(&constant))) {
      results.push_back(rewriter.getAffineConstantExpr(constant.getSExtValue()));
      continue;
    }
    auto loop = index.getDefiningOp<linalg::IndexOp>();
    if (!loop || contains(seen, loop.getDim()))
      return {};
    seen |= loopBit(loop.getDim());
    results.push_back(rewriter.getAffineDimExpr(loop.getDim()));
  }
  return AffineMap::get(op.getNumLoops(), 0, results, rewriter.getContext());
}

/// The input, or a scalar where all its elements are one.
Raiser::Replacement Raiser::replaceInput(Value tensor, AffineMap map, bool fold) {
  Value scalar = isScalar(tensor) ? tensor : fold ? getFilledWith(rewriter, tensor) : Value();
  if (scalar)
    return {-1, scalar};
  addInput(tensor, map, fold);
  return {static_cast<int>(inputs.size()) - 1, Value()};
}

/// Adds an input of the kernel, through the views that it is.
void Raiser::addInput(Value tensor, AffineMap map, bool fold) {
  while (fold && foldView(tensor, map)) {
  }
  inputs.push_back(tensor);
  inputMaps.push_back(map);
}

/// A tensor for an output that nobody reads.
Value Raiser::makeOut(Value init) {
  Value out = init;
  while (auto fill = out.getDefiningOp<linalg::FillOp>())
    out = fill.getOutputs()[0];
  if (out.getDefiningOp<tensor::EmptyOp>())
    return out;
  return tensor::EmptyOp::create(rewriter, op.getLoc(), tensor::getMixedSizes(rewriter, op.getLoc(), out),
                                 cast<RankedTensorType>(out.getType()).getElementType());
}

void Raiser::relaxProduct(Value term) {
  if (auto product = term.getDefiningOp<arith::MulFOp>())
    product.setFastmath(product.getFastmath() | arith::FastMathFlags::contract);
}

void Raiser::raise() {
  rewriter.setInsertionPoint(op);
  Location loc = op.getLoc();
  unsigned numLoops = op.getNumLoops();
  SmallVector<AffineMap> maps = op.getIndexingMapsArray(), outMaps;
  SmallVector<Value> outs;
  Block &body = *op.getBody();
  for (auto [i, init] : llvm::enumerate(op.getDpsInits())) {
    outMaps.push_back(op.getIndexingMapMatchingResult(op->getResult(i)));
    outs.push_back(makeOut(init));
  }
  // Views and scalars first; where that leaves a loop without its size, inputs as
  // they are.
  for (bool fold : {true, false}) {
    inputs.clear(), inputMaps.clear(), replacements.clear();
    for (auto [i, input] : llvm::enumerate(op.getDpsInputs()))
      replacements.push_back(replaceInput(input, maps[i], fold));
    for (auto [read, map] : reads)
      readReplacements[read] = replaceInput(read->getOperand(0), map, fold);
    for (auto [i, output] : llvm::enumerate(outputs)) {
      if (op.getRegionOutputArgs()[i].use_empty())
        continue;
      Value init = op.getDpsInits()[i];
      output.start = getFilledWith(rewriter, init);
      output.startInput = -1;
      if (output.start)
        continue;
      output.startInput = inputs.size();
      addInput(init, outMaps[i], fold);
    }
    SmallVector<AffineMap> all(inputMaps);
    llvm::append_range(all, outMaps);
    if (haveSizes(numLoops, all))
      break;
  }

  SmallVector<Attribute> mapAttrs;
  for (AffineMap map : llvm::concat<AffineMap>(inputMaps, outMaps))
    mapAttrs.push_back(AffineMapAttr::get(map));
  auto kernel = KernelOp::create(rewriter, loc, op->getResultTypes(),
                                 rewriter.getI64IntegerAttr(numLoops), IntegerAttr(), inputs,
                                 ValueRange(), outs, rewriter.getArrayAttr(mapAttrs),
                                 DenseBoolArrayAttr(), TransitionAttr(), ConfigAttr());
  Block *step = rewriter.createBlock(&kernel.getBody());
  for (Value input : inputs)
    step->addArgument(getElementTypeOrSelf(input.getType()), loc);
  IRMapping mapping;
  auto replace = [&](Value value, Replacement by) {
    mapping.map(value, by.second ? by.second : Value(step->getArgument(by.first)));
  };
  for (auto [arg, replacement] : llvm::zip_equal(op.getRegionInputArgs(), replacements))
    replace(arg, replacement);
  for (auto [read, replacement] : readReplacements)
    replace(read->getResult(0), replacement);
  for (auto [i, output] : llvm::enumerate(outputs)) {
    if (output.startInput >= 0)
      output.start = step->getArgument(output.startInput);
    if (output.start)
      mapping.map(op.getRegionOutputArgs()[i], output.start);
  }
  SmallVector<int64_t> reduced;
  for (unsigned loop = 0; loop < numLoops; ++loop)
    if (isReduction(loop))
      reduced.push_back(loop);
  rewriter.setInsertionPointToEnd(step);
  for (Operation &inner : body.without_terminator()) {
    if (reads.contains(&inner) ||
        llvm::any_of(outputs, [&](const Output &output) { return output.combiner == &inner; }))
      continue;
    if (auto index = dyn_cast<linalg::IndexOp>(inner))
      mapping.map(index.getResult(),
                  IndexOp::create(rewriter, index.getLoc(), rewriter.getIndexType(), index.getDim()));
    else
      rewriter.clone(inner, mapping);
  }
  SmallVector<Value> yields;
  for (const Output &output : outputs) {
    Value value = mapping.lookupOrDefault(output.term);
    if (output.kind) {
      if (*output.kind == arith::AtomicRMWKind::addf)
        relaxProduct(value);
      value = ReduceOp::create(rewriter, output.combiner->getLoc(), value.getType(), *output.kind,
                               value, reduced);
      if (!isNeutral(rewriter, *output.kind, output.start))
        value = arith::getReductionOp(*output.kind, rewriter, output.combiner->getLoc(),
                                      output.start, value);
    }
    yields.push_back(value);
  }
  YieldOp::create(rewriter, loc, yields);
  rewriter.replaceOp(op, kernel.getResults());
}

namespace {

struct RaiseKernels : ssm::impl::RaiseKernelsBase<RaiseKernels> {
  void runOnOperation() override {
    IRRewriter rewriter(&getContext());
    WeightValues weights;
    SmallVector<linalg::LinalgOp> ops;
    // What follows from weights alone is computed once, elsewhere.
    getOperation().walk([&](linalg::LinalgOp op) {
      if (!llvm::any_of(op->getResults(),
                        [&](Value result) { return weights.isFromWeights(result); }))
        ops.push_back(op);
    });
    // Users first: they look through views, which may have no use left then.
    for (linalg::LinalgOp op : llvm::reverse(ops)) {
      if (op->use_empty() && op.hasPureTensorSemantics())
        rewriter.eraseOp(op);
      else
        raise(op, rewriter);
    }
  }

  void raise(linalg::LinalgOp op, IRRewriter &rewriter) {
    if (!op.hasPureTensorSemantics())
      return;
    auto generic = dyn_cast<linalg::GenericOp>(*op);
    if (!generic) {
      rewriter.setInsertionPoint(op);
      FailureOr<linalg::GenericOp> made = linalg::generalizeNamedOp(rewriter, op);
      if (failed(made))
        return;
      generic = *made;
    }
    Raiser raiser(generic, rewriter);
    StringRef reason = raiser.check();
    if (reason.empty())
      raiser.raise();
    else
      remark::missed(generic.getLoc(), remark::RemarkOpts::name("kernel").category("raise"))
          << ("not a kernel: " + reason).str();
  }
};
} // namespace
