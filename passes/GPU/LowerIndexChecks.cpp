//===- LowerIndexChecks.cpp - Checks of indices in kernels ----------------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "passes/GPU/DeviceModule.h"
#include "passes/GPU/Passes.h"

#include "dialects/SSM/SSMOps.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "llvm/ADT/MapVector.h"

namespace ssm {
#define GEN_PASS_DEF_LOWERINDEXCHECKS
#include "passes/GPU/Passes.h.inc"
} // namespace ssm

using namespace mlir;
using namespace ssm;

void ssm::reportFault(ImplicitLocOpBuilder &b, Value fails, Value fault, Value site,
                      ValueRange values) {
  OpBuilder::InsertionGuard guard(b);
  auto constant = [&](int64_t value) -> Value {
    return LLVM::ConstantOp::create(b, b.getI64Type(), value);
  };
  auto place = [&](int64_t word) -> Value {
    return LLVM::GEPOp::create(b, fault.getType(), b.getI64Type(), fault, constant(word));
  };
  auto branch = scf::IfOp::create(b, fails);
  b.setInsertionPointToStart(branch.thenBlock());
  Value set = arith::AddIOp::create(b, site, constant(1));
  Value swap = LLVM::AtomicCmpXchgOp::create(b, fault, constant(0), set,
                                             LLVM::AtomicOrdering::monotonic,
                                             LLVM::AtomicOrdering::monotonic);
  Value isOurs = LLVM::ExtractValueOp::create(b, swap, 1);
  auto inner = scf::IfOp::create(b, isOurs);
  b.setInsertionPointToStart(inner.thenBlock());
  LLVM::StoreOp::create(b, constant(values.size()), place(1));
  for (auto [i, value] : llvm::enumerate(values)) {
    if (!value.getType().isInteger(64))
      value = arith::IndexCastOp::create(b, b.getI64Type(), value);
    LLVM::StoreOp::create(b, value, place(2 + i));
  }
}

namespace {

/// What the checks of one site have found in a block: whether an index was bad, and one.
struct Found {
  Value bad, culprit;
};

struct LowerIndexChecks : ssm::impl::LowerIndexChecksBase<LowerIndexChecks> {
  void runOnOperation() override {
    scalars.clear();
    getOperation()->walk([&](FunctionOpInterface function) {
      for (unsigned i = 0; i < function.getNumArguments(); ++i)
        if (function.removeArgAttr(i, kFaultArgument))
          lower(function, function.getArgument(i));
    });
  }

  void lower(FunctionOpInterface function, Value fault) {
    function->walk([&](CheckValuesOp check) {
      ImplicitLocOpBuilder b(check.getLoc(), check);
      Value truth = arith::ConstantIntOp::create(b, b.getI1Type(), 1);
      reportFault(b, arith::XOrIOp::create(b, check.getCondition(), truth), fault,
                  check.getSite(), check.getValues());
      check.erase();
    });
    llvm::MapVector<Block *, SmallVector<CheckIndexOp>> checks;
    function->walk([&](CheckIndexOp check) { checks[check->getBlock()].push_back(check); });
    for (auto &[block, list] : checks) {
      llvm::MapVector<std::pair<Value, Value>, Found> found;
      for (CheckIndexOp check : list) {
        Value size = uniform(check.getSize()), site = uniform(check.getSite());
        wrap(check, size, found[{size, site}]);
      }
      ImplicitLocOpBuilder b(function.getLoc(), block->getTerminator());
      for (auto &[place, one] : found)
        reportFault(b, one.bad, fault, place.second, {one.culprit, place.first});
    }
  }

  /// What is spread over lanes, the same value for the same vector.
  Value uniform(Value value) {
    if (!isa<VectorType>(value.getType()))
      return value;
    if (auto spread = value.getDefiningOp<vector::BroadcastOp>())
      return spread.getSource();
    Value &scalar = scalars[value];
    if (!scalar) {
      ImplicitLocOpBuilder b(value.getLoc(), value.getContext());
      b.setInsertionPointAfterValue(value);
      scalar = b.createOrFold<vector::ExtractOp>(value, 0);
    }
    return scalar;
  }

  /// Lanes one by one: vectors of indices are short.
  static void wrap(CheckIndexOp check, Value size, Found &found) {
    ImplicitLocOpBuilder b(check.getLoc(), check);
    Value zero = arith::ConstantIntOp::create(b, size.getType(), 0);
    auto one = [&](Value index) -> Value {
      Value negative = arith::CmpIOp::create(b, arith::CmpIPredicate::slt, index, zero);
      Value wrapped =
          arith::SelectOp::create(b, negative, arith::AddIOp::create(b, index, size), index);
      Value bad = arith::CmpIOp::create(b, arith::CmpIPredicate::uge, wrapped, size);
      found.culprit =
          found.bad ? arith::SelectOp::create(b, bad, index, found.culprit).getResult() : index;
      found.bad = found.bad ? arith::OrIOp::create(b, found.bad, bad).getResult() : bad;
      return wrapped;
    };
    auto type = dyn_cast<VectorType>(check.getType());
    Value result;
    if (!type)
      result = one(check.getIndex());
    else
      for (int64_t lane = 0; lane < type.getNumElements(); ++lane) {
        Value element = one(vector::ExtractOp::create(b, check.getIndex(), lane));
        result = result ? vector::InsertOp::create(b, element, result, lane).getResult()
                        : vector::BroadcastOp::create(b, type, element).getResult();
      }
    check.replaceAllUsesWith(result);
    check.erase();
  }

  llvm::DenseMap<Value, Value> scalars;
};
} // namespace
