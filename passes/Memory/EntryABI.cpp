//===- EntryABI.cpp - Entry functions meet the runtime -------------------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "passes/Memory/Passes.h"

#include "dialects/SSM/SSMOps.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Bufferization/Transforms/BufferViewFlowAnalysis.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/IR/IRMapping.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"

namespace ssm {
#define GEN_PASS_DEF_ENTRYABI
#include "passes/Memory/Passes.h.inc"
} // namespace ssm

using namespace mlir;
using namespace ssm;

namespace {
struct EntryABI : ssm::impl::EntryABIBase<EntryABI> {
  void runOnOperation() override {
    llvm::DenseMap<StringAttr, SmallVector<func::CallOp>> calls;
    getOperation().walk([&](func::CallOp call) {
      calls[call.getCalleeAttr().getAttr()].push_back(call);
    });
    SmallVector<func::FuncOp> functions;
    for (auto function : getOperation().getOps<func::FuncOp>())
      if (!function.isDeclaration())
        functions.push_back(function);
    // Callees first: then their results are buffers of the entry.
    for (func::FuncOp function : functions)
      if (function.isPrivate() &&
          failed(convertRepeated(function, calls[function.getSymNameAttr()])))
        return signalPassFailure();
    for (func::FuncOp function : functions)
      if (function.isPublic() && failed(convert(function)))
        return signalPassFailure();
  }

  LogicalResult convert(func::FuncOp function) {
    Block &block = function.getBody().front();
    if (!function.getBody().hasOneBlock())
      return function.emitError("has more than one block before the entry conversion");
    OpBuilder builder(function);
    Location loc = function.getLoc();
    auto pointer = LLVM::LLVMPointerType::get(&getContext());
    SmallVector<Type> params(5, pointer);
    auto run = func::FuncOp::create(builder, loc, (function.getName() + ".run").str(),
                                    builder.getFunctionType(params, builder.getI32Type()));
    run->setAttr("ssm.entry", builder.getStringAttr(function.getName()));
    Block *entry = run.addEntryBlock();
    Value table = entry->getArgument(0), context = entry->getArgument(1),
          args = entry->getArgument(2), weights = entry->getArgument(4);

    builder.setInsertionPointToStart(entry);
    for (auto [i, arg] : llvm::enumerate(block.getArguments())) {
      auto type = dyn_cast<MemRefType>(arg.getType());
      if (!type || !type.getLayout().isIdentity())
        return function.emitError() << "argument " << i << " is not a plain memref";
      arg.replaceAllUsesWith(ArgOp::create(builder, loc, type, args, i));
    }
    entry->getOperations().splice(entry->end(), block.getOperations());
    auto ret = cast<func::ReturnOp>(entry->back());
    builder.setInsertionPoint(ret);
    // Converting one result may replace the next one, if they are the same buffer.
    for (unsigned i = 0; i < ret.getNumOperands(); ++i)
      if (failed(convertResult(builder, ret.getOperand(i), i, table, context, *entry)))
        return failure();
    Value ok = arith::ConstantIntOp::create(builder, loc, 0, 32);
    func::ReturnOp::create(builder, loc, ok);
    ret.erase();
    advanceCopies(run);
    run.walk([&](func::CallOp call) { call->insertOperands(0, {table, context}); });
    run.walk([&](LoadWeightOp load) {
      OpBuilder at(load);
      load.replaceAllUsesWith(
          WeightViewOp::create(at, load.getLoc(), load.getType(), weights, load.getWeightAttr())
              .getResult());
      load.erase();
    });
    function.erase();
    return success();
  }

  /// Whether the operation, which uses the buffer, may write to it.
  static bool mayWrite(Operation *op, Value buffer) {
    auto effects = dyn_cast<MemoryEffectOpInterface>(op);
    // What operations inside do is asked of them.
    if (!effects)
      return !op->hasTrait<OpTrait::HasRecursiveMemoryEffects>() &&
             !op->hasTrait<OpTrait::IsTerminator>();
    SmallVector<MemoryEffects::EffectInstance> instances;
    effects.getEffects(instances);
    return llvm::any_of(instances, [&](const MemoryEffects::EffectInstance &instance) {
      return isa<MemoryEffects::Write>(instance.getEffect()) &&
             (!instance.getValue() || instance.getValue() == buffer);
    });
  }

  /// Copies into outputs stand before the return; each goes up to the last write of
  /// what it copies, so that a temporary that is copied does not live to the end.
  static void advanceCopies(func::FuncOp run) {
    Block &entry = run.getBody().front();
    BufferViewFlowAnalysis aliases(run);
    SmallVector<memref::CopyOp> copies(entry.getOps<memref::CopyOp>());
    for (memref::CopyOp copy : copies) {
      auto output = copy.getTarget().getDefiningOp<OutputOp>();
      if (!output || !output->hasOneUse())
        continue;
      Operation *last = &entry.front();
      auto waitFor = [&](Operation *op) {
        op = entry.findAncestorOpInBlock(*op);
        if (last->isBeforeInBlock(op) && op->isBeforeInBlock(copy))
          last = op;
      };
      SmallVector<Value> needed(output.getSizes());
      needed.push_back(copy.getSource());
      for (Value value : needed)
        if (Operation *op = value.getDefiningOp())
          waitFor(op);
      for (Value origin : aliases.resolveReverse(copy.getSource()))
        for (Value alias : aliases.resolve(origin))
          for (Operation *user : alias.getUsers())
            if (mayWrite(user, alias))
              waitFor(user);
      copy->moveAfter(last);
      output->moveBefore(copy);
    }
  }

  /// Whether an operation only joins or splits axes of fixed sizes, and open ones with
  /// axes of size 1: then the open sizes are those of its operand.
  static bool keepsSizes(Operation *view) {
    if (!isa_and_nonnull<memref::CollapseShapeOp, memref::ExpandShapeOp>(view))
      return false;
    auto collapse = dyn_cast<memref::CollapseShapeOp>(view);
    auto wide = cast<MemRefType>(collapse ? collapse.getSrcType() : view->getResult(0).getType());
    auto groups = collapse ? collapse.getReassociationIndices()
                           : cast<memref::ExpandShapeOp>(view).getReassociationIndices();
    return llvm::all_of(groups, [&](ArrayRef<int64_t> group) {
      return llvm::none_of(group, [&](int64_t axis) { return wide.isDynamicDim(axis); }) ||
             llvm::count_if(group, [&](int64_t axis) { return wide.getDimSize(axis) != 1; }) == 1;
    });
  }

  /// What a view was made of, as a view of what it is.
  static Value turnedBack(OpBuilder &builder, Operation *view, Value buffer) {
    Type type = view->getOperand(0).getType();
    if (auto collapse = dyn_cast<memref::CollapseShapeOp>(view))
      return memref::ExpandShapeOp::create(builder, view->getLoc(), type, buffer,
                                           collapse.getReassociationIndices());
    return memref::CollapseShapeOp::create(
        builder, view->getLoc(), type, buffer,
        cast<memref::ExpandShapeOp>(view).getReassociationIndices());
  }

  /// Makes the buffer of result i the output's, or copies into the output.
  LogicalResult convertResult(OpBuilder &builder, Value result, unsigned i, Value table,
                              Value context, Block &entry) {
    auto type = dyn_cast<MemRefType>(result.getType());
    if (!type || !type.getLayout().isIdentity())
      return emitError(result.getLoc()) << "result " << i << " is not a plain memref";
    Value root = result;
    while (auto cast = root.getDefiningOp<memref::CastOp>())
      root = cast.getSource();
    auto shape = cast<MemRefType>(root.getType());
    SmallVector<Operation *> views;
    while (keepsSizes(root.getDefiningOp())) {
      views.push_back(root.getDefiningOp());
      root = views.back()->getOperand(0);
    }
    auto alloc = root.getDefiningOp<memref::AllocOp>();
    if (alloc && alloc->getBlock() == &entry) {
      OpBuilder at(alloc);
      Value output = OutputOp::create(at, alloc.getLoc(), shape, table, context,
                                      alloc.getDynamicSizes(), i);
      for (Operation *view : views)
        output = turnedBack(at, view, output);
      alloc.replaceAllUsesWith(output);
      alloc.erase();
      return success();
    }
    Location loc = result.getLoc();
    SmallVector<Value> sizes;
    for (int64_t axis = 0; axis < type.getRank(); ++axis)
      if (type.isDynamicDim(axis))
        sizes.push_back(memref::DimOp::create(builder, loc, result, axis));
    auto output = OutputOp::create(builder, loc, type, table, context, sizes, i);
    memref::CopyOp::create(builder, loc, result, output);
    return success();
  }

  /// A repeated function gets the table and the context too, writes its results where
  /// the caller says, and returns a status.
  LogicalResult convertRepeated(func::FuncOp function, MutableArrayRef<func::CallOp> calls) {
    if (!function.getBody().hasOneBlock())
      return function.emitError("has more than one block before the entry conversion");
    Block &block = function.getBody().front();
    Location loc = function.getLoc();
    auto ret = cast<func::ReturnOp>(block.getTerminator());
    OpBuilder builder(ret);
    SmallVector<SmallVector<Value>> places(calls.size());
    for (unsigned i = 0; i < ret.getNumOperands(); ++i) {
      auto type = dyn_cast<MemRefType>(ret.getOperand(i).getType());
      auto sizes = function.getResultAttrOfType<DenseI64ArrayAttr>(i, "ssm.sizes");
      if (!type || !type.getLayout().isIdentity() || !sizes ||
          sizes.size() != static_cast<int64_t>(type.getNumDynamicDims()))
        return function.emitError() << "result " << i << " is not a plain memref of told sizes";
      for (auto [call, made] : llvm::zip_equal(calls, places)) {
        OpBuilder b(call);
        SmallVector<Value> dynamic;
        for (int64_t size : sizes.asArrayRef())
          dynamic.push_back(call.getOperand(size));
        made.push_back(memref::AllocOp::create(b, call.getLoc(), type, dynamic));
        call.getResult(i).replaceAllUsesWith(made.back());
      }
      placeResult(builder, ret.getOperand(i), block.addArgument(type, loc), block);
    }
    auto pointer = LLVM::LLVMPointerType::get(&getContext());
    block.insertArgument(0u, pointer, loc);
    block.insertArgument(1u, pointer, loc);
    Value ok = arith::ConstantIntOp::create(builder, loc, 0, 32);
    func::ReturnOp::create(builder, loc, ok);
    ret.erase();
    function.removeArgAttrsAttr();
    function.removeResAttrsAttr();
    function.setType(builder.getFunctionType(block.getArgumentTypes(), ok.getType()));
    // Callers that are entries add the table and the context when they are converted.
    for (auto [call, made] : llvm::zip_equal(calls, places)) {
      OpBuilder b(call);
      SmallVector<Value> operands(call.getOperands());
      llvm::append_range(operands, made);
      func::CallOp::create(b, call.getLoc(), function.getName(), ok.getType(), operands);
      call.erase();
    }
    return success();
  }

  /// Makes the buffer of a result the caller's, or copies into it.
  static void placeResult(OpBuilder &builder, Value result, Value place, Block &block) {
    Value root = result;
    while (auto cast = root.getDefiningOp<memref::CastOp>())
      root = cast.getSource();
    auto alloc = root.getDefiningOp<memref::AllocOp>();
    if (!alloc || alloc->getBlock() != &block) {
      memref::CopyOp::create(builder, result.getLoc(), result, place);
      return;
    }
    OpBuilder at(alloc);
    if (place.getType() != alloc.getType())
      place = memref::CastOp::create(at, alloc.getLoc(), alloc.getType(), place);
    alloc.replaceAllUsesWith(place);
    alloc.erase();
  }
};
} // namespace
