//===- RaiseScans.cpp - Recurrences become kernels with time --------------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "passes/Raising/Passes.h"

#include "dialects/ONNX/ONNXOps.h"
#include "dialects/SSM/KernelBuilders.h"
#include "dialects/SSM/KernelLoops.h"
#include "dialects/SSM/KernelMerge.h"
#include "dialects/SSM/KernelTransition.h"
#include "dialects/SSM/KernelViews.h"
#include "dialects/SSM/SSMOps.h"
#include "passes/Raising/StepParts.h"
#include "passes/Raising/StepViews.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/Remarks.h"
#include "mlir/IR/TypeUtilities.h"
#include "mlir/IR/Verifier.h"
#include "llvm/ADT/TypeSwitch.h"

namespace ssm {
#define GEN_PASS_DEF_RAISESCANS
#include "passes/Raising/Passes.h.inc"
} // namespace ssm

using namespace mlir;
using namespace ssm;

namespace {

/// One recurrence on its way to a kernel. Works on a copy, so that nothing has
/// changed if it turns out not to fit.
class ScanRaiser {
public:
  ScanRaiser(ScanOp scan, IRRewriter &rewriter) : scan(scan), rewriter(rewriter) {}

  /// Raises it, or tells why not.
  std::string raise(KernelOp &made);

private:
  Block &step() { return scan.getBody().front(); }
  bool isKnownLength();
  void hoist();
  void makeKernelsYield();
  void mergeAll();
  KernelOp findOnlyKernel(std::string &why);
  StringRef convert(KernelOp kernel, KernelOp &made);

  ScanOp scan;
  IRRewriter &rewriter;
  StringRef notMerged;
};

} // namespace

/// Whether some operand shows that the length is its size along time.
bool ScanRaiser::isKnownLength() {
  auto fits = [&](Value operand, int64_t axis) {
    return isSizeOf(scan.getLength(), operand, axis);
  };
  for (auto [input, axis] : llvm::zip_equal(scan.getInputs(), scan.getInputAxes()))
    if (fits(input, axis))
      return true;
  for (auto [out, axis] : llvm::zip_equal(scan.getOuts(), scan.getOutputAxes()))
    if (fits(out, axis))
      return true;
  return false;
}

/// What does not depend on the step is computed in front.
void ScanRaiser::hoist() {
  for (Operation &op : llvm::make_early_inc_range(step().without_terminator())) {
    bool outside = llvm::all_of(op.getOperands(), [&](Value operand) {
      return operand.getParentRegion() != &scan.getBody();
    });
    if (outside && isPure(&op) && op.getNumRegions() == 0)
      rewriter.moveOpBefore(&op, scan);
  }
}

/// What the step yields without computing it goes through a kernel that copies.
void ScanRaiser::makeKernelsYield() {
  auto yield = cast<YieldOp>(step().getTerminator());
  unsigned numCarries = scan.getCarries().size();
  for (unsigned i = 0; i < yield.getNumOperands(); ++i) {
    Value value = yield.getOperand(i);
    if (value.getDefiningOp<KernelOp>() && value.getParentBlock() == &step())
      continue;
    auto type = cast<RankedTensorType>(value.getType());
    Location loc = yield.getLoc();
    rewriter.setInsertionPoint(scan);
    Value into = i < numCarries ? scan.getCarries()[i] : scan.getOuts()[i - numCarries];
    SmallVector<OpFoldResult> sizes = tensor::getMixedSizes(rewriter, loc, into);
    if (i >= numCarries)
      sizes.erase(sizes.begin() + scan.getOutputAxes()[i - numCarries]);
    rewriter.setInsertionPoint(yield);
    Value out = tensor::EmptyOp::create(rewriter, loc, sizes, type.getElementType());
    AffineMap map = rewriter.getMultiDimIdentityMap(type.getRank());
    KernelOp copy = buildElementwise(rewriter, loc, value, map, out);
    rewriter.modifyOpInPlace(yield, [&] { yield.setOperand(i, copy.getResult(0)); });
  }
}

void ScanRaiser::mergeAll() {
  SmallVector<KernelOp> kernels(step().getOps<KernelOp>());
  KernelOp last;
  for (KernelOp kernel : kernels) {
    bool changed = true;
    while (changed) {
      changed = false;
      for (Value input : kernel.getInputs()) {
        auto producer = input.getDefiningOp<KernelOp>();
        if (!producer || producer->getBlock() != &step())
          continue;
        FailureOr<KernelOp> merged =
            mergeKernels(rewriter, producer, kernel, KeepResults::InMerged, &notMerged);
        if (failed(merged))
          continue;
        kernel = *merged;
        changed = true;
        break;
      }
    }
  }
  // Parts that do not read each other.
  while (true) {
    SmallVector<KernelOp> left(step().getOps<KernelOp>());
    if (left.size() < 2 ||
        failed(mergeKernels(rewriter, left[0], left[1], KeepResults::InMerged, &notMerged)))
      return;
  }
}

/// Why an operation of a step can be part of no kernel, or "".
static StringRef refuseOperation(Operation &op) {
  return TypeSwitch<Operation *, StringRef>(&op)
      .Case<KernelOp, tensor::EmptyOp, tensor::DimOp>([](auto) { return ""; })
      .Case<tensor::InsertSliceOp>([](auto) { return "its step puts a tensor together"; })
      .Case<tensor::ExtractSliceOp>(
          [](auto) { return "its step takes a part of a carry, or of what is no kernel"; })
      .Case<tensor::ExpandShapeOp, tensor::CollapseShapeOp>(
          [](auto) { return "its step reshapes what is no input"; })
      .Default([](Operation *op) {
        bool isArithmetic = isPure(op) && llvm::none_of(op->getResultTypes(), [](Type type) {
          return isa<RankedTensorType>(type);
        });
        return isArithmetic ? "" : "its step has an operation that is no kernel";
      });
}

KernelOp ScanRaiser::findOnlyKernel(std::string &why) {
  // Sizes and destinations are left over.
  eraseDeadInStep(rewriter, scan);
  KernelOp only;
  unsigned count = 0;
  Operation *refused = nullptr; // the first that a kernel needs, else the first
  auto isNeeded = [](Operation *op) { return llvm::any_of(op->getUsers(), llvm::IsaPred<KernelOp>); };
  for (Operation &op : step().without_terminator()) {
    if (auto kernel = dyn_cast<KernelOp>(op))
      only = kernel, ++count;
    if (!refuseOperation(op).empty() && (!refused || (!isNeeded(refused) && isNeeded(&op))))
      refused = &op;
  }
  if (refused) {
    std::string node = onnx::getNodeName(refused->getLoc());
    why = (refuseOperation(*refused) + (node.empty() ? "" : ": '" + node + "'")).str();
    return {};
  }
  if (count > 1) {
    why = notMerged;
    return {};
  }
  if (!only)
    why = "its step computes nothing";
  else if (only.getTime())
    why = "its step has a recurrence of its own";
  return only;
}

StringRef ScanRaiser::convert(KernelOp kernel, KernelOp &made) {
  unsigned numCarries = scan.getCarries().size(), numLoops = kernel.getNumLoops() + 1;
  MLIRContext *context = rewriter.getContext();
  // Time is loop 0.
  auto shift = [&](AffineMap map) { return map.shiftDims(1); };
  auto addTime = [&](AffineMap map, int64_t axis) {
    map = shift(map);
    SmallVector<AffineExpr> results(map.getResults());
    results.insert(results.begin() + axis, getAffineDimExpr(0, context));
    return AffineMap::get(numLoops, 0, results, context);
  };
  SmallVector<unsigned> results; // of the kernel, for each value that the step yields
  for (Value value : step().getTerminator()->getOperands()) {
    assert(value.getDefiningOp() == kernel && "what is yielded goes through kernels");
    results.push_back(cast<OpResult>(value).getResultNumber());
  }
  WalkResult own = kernel.getBody().walk([&](Operation *op) {
    bool isOwn = llvm::any_of(op->getOperands(), [&](Value operand) {
      return operand.getParentRegion() == &scan.getBody();
    });
    return isOwn ? WalkResult::interrupt() : WalkResult::advance();
  });
  if (own.wasInterrupted())
    return "its step reads a tensor of its own by index";

  SmallVector<Value> inputs, inits, outs;
  SmallVector<AffineMap> inputMaps, initMaps, outMaps;
  SmallVector<bool> mirrored;
  // For each input of the step's kernel: a new input, or a carry.
  SmallVector<std::pair<bool, unsigned>> sources;
  rewriter.setInsertionPoint(scan);
  for (unsigned i = 0; i < kernel.getInputs().size(); ++i) {
    Value input = kernel.getInputs()[i];
    AffineMap map = kernel.getInputMap(i);
    auto arg = dyn_cast<BlockArgument>(input);
    if (arg && arg.getOwner() == &step() && arg.getArgNumber() < numCarries) {
      unsigned carry = arg.getArgNumber();
      if (map != kernel.getOutMap(results[carry]))
        return "its step mixes the elements of a carry";
      sources.push_back({true, carry});
      continue;
    }
    sources.push_back({false, static_cast<unsigned>(inputs.size())});
    if (arg && arg.getOwner() == &step()) {
      unsigned number = arg.getArgNumber() - numCarries;
      inputs.push_back(scan.getInputs()[number]);
      inputMaps.push_back(addTime(map, scan.getInputAxes()[number]));
      mirrored.push_back(scan.getInputReversed()[number]);
    } else if (input.getParentRegion() != &scan.getBody()) {
      inputs.push_back(input);
      inputMaps.push_back(shift(map));
      mirrored.push_back(false);
    } else {
      return "its step reads what nothing has written";
    }
  }
  for (unsigned i = 0; i < numCarries; ++i) {
    Value init = scan.getCarries()[i];
    AffineMap map = shift(kernel.getOutMap(results[i]));
    outs.push_back(tensor::EmptyOp::create(
        rewriter, scan.getLoc(), tensor::getMixedSizes(rewriter, scan.getLoc(), init),
        cast<RankedTensorType>(init.getType()).getElementType()));
    outMaps.push_back(map);
    Value scalar = getFilledWith(rewriter, init);
    inits.push_back(scalar ? scalar : init);
    initMaps.push_back(scalar ? AffineMap::get(numLoops, 0, context) : map);
  }
  for (auto [i, out] : llvm::enumerate(scan.getOuts())) {
    outs.push_back(out);
    outMaps.push_back(addTime(kernel.getOutMap(results[numCarries + i]), scan.getOutputAxes()[i]));
    mirrored.push_back(scan.getOutputReversed()[i]);
  }
  SmallVector<AffineMap> all(inputMaps);
  llvm::append_range(all, initMaps);
  llvm::append_range(all, outMaps);
  if (!haveSizes(numLoops, all))
    return "its steps read no sequence and give none";

  if (!llvm::is_contained(mirrored, true))
    mirrored.clear();
  // Steps that hand nothing on may be done in any order.
  IntegerAttr time;
  if (numCarries > 0 || !mirrored.empty())
    time = rewriter.getI64IntegerAttr(0);
  made = KernelOp::create(rewriter, scan.getLoc(), scan.getResultTypes(),
                          rewriter.getI64IntegerAttr(numLoops), time, inputs, inits, outs,
                          rewriter.getAffineMapArrayAttr(all),
                          rewriter.getDenseBoolArrayAttr(mirrored), TransitionAttr(), ConfigAttr());
  Block *body = rewriter.createBlock(&made.getBody());
  for (Value operand : inputs)
    body->addArgument(getElementTypeOrSelf(operand.getType()), scan.getLoc());
  for (Value init : inits)
    body->addArgument(getElementTypeOrSelf(init.getType()), scan.getLoc());
  SmallVector<Value> args, yields;
  for (auto [isCarry, number] : sources)
    args.push_back(body->getArgument(isCarry ? inputs.size() + number : number));
  YieldOp yield = kernel.getYield();
  SmallVector<Value> values(yield.getValues());
  for (unsigned result : results) {
    Value value = values[result];
    if (auto arg = dyn_cast<BlockArgument>(value); arg && arg.getOwner() == &kernel.getStep())
      value = args[arg.getArgNumber()];
    yields.push_back(value);
  }
  rewriter.eraseOp(yield);
  rewriter.inlineBlockBefore(&kernel.getStep(), body, body->end(), args);
  rewriter.setInsertionPointToEnd(body);
  YieldOp::create(rewriter, scan.getLoc(), yields);
  made.walk([&](Operation *op) {
    if (auto reduce = dyn_cast<ReduceOp>(op)) {
      SmallVector<int64_t> loops(reduce.getLoops());
      for (int64_t &loop : loops)
        ++loop;
      reduce.setLoops(loops);
    } else if (auto index = dyn_cast<IndexOp>(op)) {
      index.setLoop(index.getLoop() + 1);
    }
  });
  return "";
}

/// Axes of size 1 that a step adds or drops can leave maps that do not fit.
static bool isValid(KernelOp kernel) {
  ScopedDiagnosticHandler quiet(kernel.getContext(), [](Diagnostic &) { return success(); });
  return succeeded(verify(kernel));
}

std::string ScanRaiser::raise(KernelOp &made) {
  if (!isKnownLength())
    return "its length is not known to be a size";
  rewriter.setInsertionPoint(scan);
  auto original = scan;
  scan = cast<ScanOp>(rewriter.clone(*scan));
  std::string why;
  hoist();
  SmallVector<Value> results(scan.getResults());
  if (auto parts = splitStep(rewriter, scan)) {
    rewriter.eraseOp(scan);
    std::tie(scan, results) = {parts->scan, parts->results};
  }
  makeKernelsYield();
  foldStepViews(rewriter, scan);
  mergeAll();
  KernelOp kernel = findOnlyKernel(why);
  if (why.empty())
    why = convert(kernel, made);
  if (why.empty() && !isValid(made)) {
    rewriter.eraseOp(made);
    why = "its carries have other axes than what updates them";
  }
  if (why.empty() && !orderCarryUpdates(made)) {
    rewriter.eraseOp(made);
    why = "its step needs old carries after it has given new ones";
  }
  if (!why.empty()) {
    eraseWithUsers(rewriter, scan);
    return why;
  }
  annotateTransition(made);
  rewriter.replaceOp(original, results);
  rewriter.replaceOp(scan, made.getResults());
  return "";
}

namespace {
struct RaiseScans : ssm::impl::RaiseScansBase<RaiseScans> {
  void runOnOperation() override {
    IRRewriter rewriter(&getContext());
    SmallVector<ScanOp> scans;
    getOperation().walk([&](ScanOp scan) { scans.push_back(scan); });
    auto name = remark::RemarkOpts::name("scan").category("raise");
    for (ScanOp given : scans) {
      ScanOp scan = sinkStepReshapes(rewriter, given);
      Location loc = scan.getLoc();
      KernelOp made;
      std::string why = ScanRaiser(scan, rewriter).raise(made);
      if (!why.empty()) {
        remark::missed(loc, name) << "recurrence not raised: " + why;
        continue;
      }
      StringRef transition =
          made.getTransition() ? stringifyTransition(*made.getTransition()) : "not linear";
      remark::passed(loc, name) << ("recurrence raised, transition: " + transition).str();
    }
  }
};
} // namespace
