//===- RollCalls.cpp - Calls of one function in a loop over a table ------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "passes/Memory/Passes.h"

#include "dialects/SSM/SSMOps.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"
#include "llvm/ADT/SetVector.h"

namespace ssm {
#define GEN_PASS_DEF_ROLLCALLS
#include "passes/Memory/Passes.h.inc"
} // namespace ssm

using namespace mlir;
using namespace ssm;

namespace {

/// What an operand is over the calls of a loop: one value, or a place that a table
/// tells.
enum class Column { Same, Weight, Arg, Output, Arena };

std::optional<Column> columnOf(Value a, Value b) {
  if (a == b)
    return Column::Same;
  Operation *x = a.getDefiningOp(), *y = b.getDefiningOp();
  if (!x || !y || x->getName() != y->getName() || a.getType() != b.getType())
    return std::nullopt;
  if (isa<WeightViewOp>(x) && x->getOperand(0) == y->getOperand(0))
    return Column::Weight;
  if (isa<ArgOp>(x) && x->getOperands() == y->getOperands())
    return Column::Arg;
  // The runtime is asked for an output where it is written: for nobody else before.
  if (isa<OutputOp>(x) && x->getOperands() == y->getOperands() && a.hasOneUse() && b.hasOneUse())
    return Column::Output;
  auto from = dyn_cast<ArenaViewOp>(x);
  auto to = dyn_cast<ArenaViewOp>(y);
  if (from && from.getArena() == to.getArena() && from.getSizes() == to.getSizes())
    return Column::Arena;
  return std::nullopt;
}

struct RollCalls : ssm::impl::RollCallsBase<RollCalls> {
  using RollCallsBase::RollCallsBase;

  void runOnOperation() override {
    SymbolTable moduleSymbols(getOperation());
    symbols = &moduleSymbols;
    for (auto function : llvm::make_early_inc_range(getOperation().getOps<func::FuncOp>()))
      if (function->hasAttr("ssm.entry"))
        for (ArrayRef<func::CallOp> run : findRuns(function))
          rollRun(run);
  }

  /// Calls of one repeated function, with nothing between them that does anything.
  std::vector<SmallVector<func::CallOp>> findRuns(func::FuncOp function) {
    std::vector<SmallVector<func::CallOp>> runs(1);
    for (Operation &op : function.getBody().front()) {
      if (isa<OutputOp>(op) || isMemoryEffectFree(&op))
        continue;
      auto call = dyn_cast<func::CallOp>(op);
      if (call && !symbols->lookup(call.getCallee())->hasAttr("ssm.repeated"))
        call = {};
      if (!runs.back().empty() && (!call || runs.back().back().getCallee() != call.getCallee()))
        runs.emplace_back();
      if (call)
        runs.back().push_back(call);
    }
    return runs;
  }

  /// Rolls the longest stretches of the run whose operands a table can tell. The
  /// first and the last call often stand out: they read an input, write an output.
  void rollRun(ArrayRef<func::CallOp> run) {
    while (!run.empty()) {
      SmallVector<Column> columns(run[0]->getNumOperands(), Column::Same);
      size_t count = 1;
      while (count < run.size() && extend(run[0], run[count - 1], run[count], columns))
        ++count;
      if (count >= minCalls)
        roll(run.take_front(count), columns);
      run = run.drop_front(count);
    }
  }

  /// Whether the next call fits the columns of those before; refines them.
  static bool extend(func::CallOp first, func::CallOp last, func::CallOp next,
                     SmallVectorImpl<Column> &columns) {
    SmallVector<Column> refined(columns.begin(), columns.end());
    for (unsigned i = 0; i < columns.size(); ++i) {
      Value operand = next.getOperand(i);
      std::optional<Column> column = columnOf(last.getOperand(i), operand);
      if (!column)
        return false;
      if (*column == Column::Same)
        continue;
      // The loop stands where the first call does: what it takes must be there.
      if (!llvm::all_of(operand.getDefiningOp()->getOperands(),
                        [&](Value value) { return isBefore(value, first); }))
        return false;
      refined[i] = *column;
    }
    columns.assign(refined.begin(), refined.end());
    return true;
  }

  static bool isBefore(Value value, Operation *op) {
    Operation *made = value.getDefiningOp();
    return !made || (made->getBlock() == op->getBlock() && made->isBeforeInBlock(op));
  }

  void roll(ArrayRef<func::CallOp> calls, ArrayRef<Column> columns) {
    func::CallOp first = calls.front();
    ImplicitLocOpBuilder b(first.getLoc(), first);
    int64_t width = llvm::count_if(columns, [](Column c) { return c != Column::Same; });
    if (width == 0)
      return;

    // Offsets in the arena are values of the run: the table tells which one.
    llvm::SetVector<Value> offsets;
    std::vector<int64_t> table;
    for (func::CallOp call : calls)
      for (auto [column, operand] : llvm::zip_equal(columns, call.getOperands()))
        if (column != Column::Same)
          table.push_back(placeOf(column, operand.getDefiningOp(), offsets));
    Value stack;
    if (!offsets.empty()) {
      stack = memref::AllocaOp::create(
          b, MemRefType::get({static_cast<int64_t>(offsets.size())}, b.getIndexType()));
      for (auto [i, offset] : llvm::enumerate(offsets))
        memref::StoreOp::create(b, offset, stack,
                                ValueRange{arith::ConstantIndexOp::create(b, i)});
    }
    auto type = MemRefType::get({static_cast<int64_t>(calls.size()), width}, b.getI64Type());
    Value places = memref::GetGlobalOp::create(b, type, makeTable(b, type, table));

    Value zero = arith::ConstantIndexOp::create(b, 0), one = arith::ConstantIndexOp::create(b, 1);
    Value count = arith::ConstantIndexOp::create(b, calls.size());
    auto loop = scf::ForOp::create(b, zero, count, one);
    b.setInsertionPointToStart(loop.getBody());
    int64_t next = 0;
    SmallVector<Value> operands;
    for (auto [column, operand] : llvm::zip_equal(columns, first.getOperands())) {
      if (column == Column::Same) {
        operands.push_back(operand);
        continue;
      }
      Value at = arith::ConstantIndexOp::create(b, next++);
      Value place =
          memref::LoadOp::create(b, places, ValueRange{loop.getInductionVar(), at});
      operands.push_back(makeOperand(b, column, operand, place, stack));
    }
    func::CallOp::create(b, first.getCallee(), first.getResultTypes(), operands);

    for (func::CallOp call : calls) {
      SmallVector<Operation *> outputs;
      for (auto [column, operand] : llvm::zip_equal(columns, call.getOperands()))
        if (column == Column::Output)
          outputs.push_back(operand.getDefiningOp());
      call.erase();
      for (Operation *output : outputs)
        output->erase();
    }
  }

  int64_t placeOf(Column column, Operation *op, llvm::SetVector<Value> &offsets) {
    switch (column) {
    case Column::Weight:
      return symbols->lookup(cast<WeightViewOp>(op).getWeight())
          ->getAttrOfType<IntegerAttr>("ssm.offset")
          .getInt();
    case Column::Arg:
      return cast<ArgOp>(op).getIndex();
    case Column::Output:
      return cast<OutputOp>(op).getIndex();
    default:
      offsets.insert(cast<ArenaViewOp>(op).getOffset());
      return llvm::find(offsets, cast<ArenaViewOp>(op).getOffset()) - offsets.begin();
    }
  }

  static Value makeOperand(ImplicitLocOpBuilder &b, Column column, Value model, Value place,
                           Value stack) {
    Operation *op = model.getDefiningOp();
    Type type = model.getType();
    if (column == Column::Arg)
      return ArgOp::create(b, type, cast<ArgOp>(op).getArgs(), place, 0);
    if (column == Column::Output) {
      auto output = cast<OutputOp>(op);
      Value number = arith::TruncIOp::create(b, b.getI32Type(), place);
      return OutputOp::create(b, type, output.getTable(), output.getCtx(), output.getSizes(),
                              number, 0);
    }
    Value index = arith::IndexCastOp::create(b, b.getIndexType(), place);
    if (column == Column::Weight)
      return ArenaViewOp::create(b, type, cast<WeightViewOp>(op).getWeights(), index,
                                 ValueRange());
    auto view = cast<ArenaViewOp>(op);
    Value offset = memref::LoadOp::create(b, stack, ValueRange{index});
    return ArenaViewOp::create(b, type, view.getArena(), offset, view.getSizes());
  }

  StringRef makeTable(ImplicitLocOpBuilder &b, MemRefType type, ArrayRef<int64_t> values) {
    auto tensor = RankedTensorType::get(type.getShape(), type.getElementType());
    OpBuilder detached(&getContext());
    auto global = memref::GlobalOp::create(
        detached, b.getLoc(), "places", b.getStringAttr("private"), type,
        DenseElementsAttr::get(tensor, values), /*constant=*/true, /*alignment=*/IntegerAttr());
    symbols->insert(global, getOperation().getBody()->begin());
    return global.getSymName();
  }

  SymbolTable *symbols = nullptr;
};
} // namespace
