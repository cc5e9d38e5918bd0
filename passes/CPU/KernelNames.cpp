//===- KernelNames.cpp - What a kernel does, in a few words ---------------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "passes/CPU/KernelNames.h"

#include "dialects/SSM/TopKOp.h"
#include "lib/Analysis/MatmulShape.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/IR/Matchers.h"
#include "llvm/ADT/SetVector.h"

using namespace mlir;
using namespace ssm;

/// Words of a name at most, the kind included.
static constexpr size_t kMaxWords = 5;

namespace {
/// The functions of a region, known ones by their names.
class Functions {
public:
  explicit Functions(Operation *nest) {
    nest->walk([&](Operation *op) { findKnown(op); });
    nest->walk([&](Operation *op) { addPlain(op); });
  }

  llvm::SetVector<StringRef> rare, common;

private:
  void findKnown(Operation *op);
  void addPlain(Operation *op);
  void addSafeSoftplus(Operation *log, Operation *exp);

  llvm::SmallPtrSet<Operation *, 8> known;
};
} // namespace

static Operation *onlyUser(Operation *op) {
  return op->hasOneUse() ? *op->getUsers().begin() : nullptr;
}

/// 1 / (1 + exp(-x)), that times x, and log(1 + exp(x)).
void Functions::findKnown(Operation *op) {
  if (auto log = dyn_cast<math::Log1pOp>(op)) {
    if (auto exp = log.getOperand().getDefiningOp<math::ExpOp>()) {
      rare.insert("softplus");
      known.insert({log, exp});
      addSafeSoftplus(log, exp);
    }
    return;
  }
  auto exp = dyn_cast<math::ExpOp>(op);
  auto negated = exp ? exp.getOperand().getDefiningOp<arith::NegFOp>() : arith::NegFOp();
  auto sum = negated ? dyn_cast_or_null<arith::AddFOp>(onlyUser(exp)) : arith::AddFOp();
  auto quotient = sum ? dyn_cast_or_null<arith::DivFOp>(onlyUser(sum)) : arith::DivFOp();
  if (!quotient || quotient.getRhs() != sum)
    return;
  known.insert({exp, negated, sum, quotient});
  auto product = dyn_cast_or_null<arith::MulFOp>(onlyUser(quotient));
  bool isSilu = quotient.getLhs() == negated.getOperand() ||
                (product && llvm::is_contained(product->getOperands(), negated.getOperand()));
  rare.insert(isSilu ? "silu" : "sigmoid");
  if (product && isSilu)
    known.insert(product);
}

/// Softplus as max(x, 0) + log(1 + exp(-|x|)).
void Functions::addSafeSoftplus(Operation *log, Operation *exp) {
  auto negated = exp->getOperand(0).getDefiningOp<arith::NegFOp>();
  auto size = negated ? negated.getOperand().getDefiningOp<math::AbsFOp>() : math::AbsFOp();
  if (!size)
    return;
  known.insert({negated, size});
  auto sum = dyn_cast_or_null<arith::AddFOp>(onlyUser(log));
  if (!sum)
    return;
  Value other = sum.getLhs() == log->getResult(0) ? sum.getRhs() : sum.getLhs();
  Operation *positive = other.getDefiningOp();
  if (!positive || !llvm::is_contained(positive->getOperands(), size.getOperand()))
    return;
  known.insert({sum, positive});
  if (auto select = dyn_cast<arith::SelectOp>(positive))
    if (Operation *compared = select.getCondition().getDefiningOp())
      known.insert(compared);
}

void Functions::addPlain(Operation *op) {
  StringRef dialect = op->getName().getDialectNamespace();
  if ((dialect != "arith" && dialect != "math") || known.contains(op) ||
      isa<arith::ConstantOp, arith::IndexCastOp, arith::ExtFOp, arith::TruncFOp>(op) ||
      op->getResult(0).getType().isIndex())
    return;
  auto &words = isa<arith::AddFOp, arith::MulFOp, arith::SubFOp, arith::NegFOp, arith::SelectOp,
                    arith::CmpFOp, math::AbsFOp>(op)
                    ? common
                    : rare;
  words.insert(op->getName().stripDialect());
}

static int64_t fixedSize(KernelOp kernel, unsigned loop) {
  auto [operand, axis] = kernel.getSizeSource(loop);
  return cast<ShapedType>(operand.getType()).getDimSize(axis);
}

/// The product of the sizes, or "" if one is open.
static std::string sizeOf(KernelOp kernel, ArrayRef<unsigned> loops) {
  int64_t size = 1;
  for (unsigned loop : loops) {
    int64_t fixed = fixedSize(kernel, loop);
    if (ShapedType::isDynamic(fixed))
      return "";
    size *= fixed;
  }
  return std::to_string(size);
}

/// Whether every carry is what another one, or an input, was in the step before.
static bool isWindow(KernelOp kernel) {
  ValueRange yields = kernel.getYield().getValues();
  return llvm::all_of(yields.take_front(kernel.getNumCarries()),
                      [](Value next) { return isa<BlockArgument>(next); });
}

/// The kind of a recurrence.
static std::string describeSteps(KernelOp kernel) {
  if (kernel.getNumCarries() == 0)
    return "steps";
  if (isWindow(kernel))
    return "conv" + std::to_string(kernel.getNumCarries() + 1);
  llvm::SetVector<unsigned> loops;
  for (auto reduce : kernel.getStep().getOps<ReduceOp>())
    for (int64_t loop : reduce.getLoops())
      loops.insert(loop);
  std::string name = loops.empty() ? "recurrence" : "scan";
  if (kernel.getTransition() == Transition::LowRank)
    name = "delta";
  return loops.empty() ? name : name + sizeOf(kernel, loops.getArrayRef());
}

/// Its kind, and whether it goes from the end to the start of some sequence.
static std::string describeTime(KernelOp kernel) {
  bool isReversed = llvm::is_contained(kernel.getMirrored(), true);
  return describeSteps(kernel) + (isReversed ? "_reversed" : "");
}

static std::string describeKernel(KernelOp kernel, Functions &functions) {
  auto drop = [&](std::initializer_list<StringRef> words) {
    for (StringRef word : words) {
      functions.common.remove(word);
      functions.rare.remove(word);
    }
  };
  if (kernel.getTime()) {
    drop({"addf", "mulf"});
    return describeTime(kernel);
  }
  if (std::optional<Matmul> what = matchMatmul(kernel)) {
    drop({"addf", "mulf"});
    std::string k = sizeOf(kernel, what->k), n = sizeOf(kernel, what->n);
    if (k.empty() && n.empty())
      return "matmul";
    return "matmul_" + (k.empty() ? "k" : k) + "x" + (n.empty() ? "n" : n);
  }
  bool sums = false, maxima = false;
  for (auto reduce : kernel.getStep().getOps<ReduceOp>()) {
    sums |= reduce.getKind() == arith::AtomicRMWKind::addf;
    maxima |= reduce.getKind() == arith::AtomicRMWKind::maximumf;
  }
  if (sums && maxima && functions.rare.contains("exp")) {
    drop({"exp", "subf", "divf", "maximumf"});
    return "softmax";
  }
  if (sums && (functions.rare.contains("sqrt") || functions.rare.contains("rsqrt"))) {
    bool centres = functions.common.contains("subf");
    drop({"sqrt", "rsqrt", "divf", "addf", "mulf", "subf"});
    return centres ? "layernorm" : "rmsnorm";
  }
  if (!kernel.getStep().getOps<ReduceOp>().empty())
    return "reduce";
  if (!kernel.getStep().getOps<memref::LoadOp>().empty())
    return "gather";
  bool moves = kernel.getStep().getOperations().size() == 1;
  if (moves && kernel.getInputs().empty())
    return "fill";
  if (moves && kernel.getInputs().size() == 1)
    return kernel.getInputMap(0) == kernel.getOutMap(0) ? "copy" : "transpose";
  return "map";
}

std::string ssm::describeNest(Operation *nest) {
  Functions functions(nest);
  std::string name;
  if (auto kernel = dyn_cast<KernelOp>(nest)) {
    name = describeKernel(kernel, functions);
  } else if (isa<scf::SCFDialect>(nest->getDialect()) || isa<ParallelForOp>(nest)) {
    name = "loop";
  } else if (isa<TopKOp>(nest)) {
    name = "topk";
  } else {
    auto generic = dyn_cast<linalg::GenericOp>(nest);
    name = generic && !generic.isAllParallelLoops() ? "reduce" : "map";
  }
  size_t words = 1;
  for (StringRef word : llvm::concat<const StringRef>(functions.rare.getArrayRef(),
                                                      functions.common.getArrayRef()))
    if (words++ < kMaxWords)
      name += "_" + word.str();
  return name;
}
