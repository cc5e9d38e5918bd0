//===- EntryABI.cpp - Entry functions meet the runtime -------------------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "passes/Memory/Passes.h"

#include "dialects/SSM/SSMOps.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Arith/Utils/Utils.h"
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
/// The buffer that a result is, as it is or reshaped.
class ResultBuffer {
public:
  ResultBuffer(Value result, Block &block) {
    while (auto cast = result.getDefiningOp<memref::CastOp>())
      result = cast.getSource();
    type = cast<MemRefType>(result.getType());
    while (Operation *op = result.getDefiningOp()) {
      if (!isa<memref::ExpandShapeOp, memref::CollapseShapeOp, memref::CastOp>(op))
        break;
      views.push_back(op);
      result = op->getOperand(0);
    }
    alloc = result.getDefiningOp<memref::AllocOp>();
    if (alloc && (alloc->getBlock() != &block || !llvm::all_of(views, [&](Operation *view) {
                    auto expand = dyn_cast<memref::ExpandShapeOp>(view);
                    return !expand || llvm::all_of(expand.getOutputShape(), [&](Value size) {
                      Operation *op = size.getDefiningOp();
                      return !op || (op->getBlock() == &block && op->isBeforeInBlock(alloc));
                    });
                  })))
      alloc = {};
  }

  /// Whether it is a temporary of the block, whose place the result may take.
  bool isOwn() const { return alloc != nullptr; }
  memref::AllocOp getAlloc() const { return alloc; }
  MemRefType getType() const { return type; }
  SmallVector<Value> getDynamicSizes(OpBuilder &at) {
    SmallVector<Value> dynamic;
    Value result = alloc;
    if (!views.empty())
      result = views.front()->getResult(0);
    for (OpFoldResult size : sizesOf(at, result))
      if (auto value = dyn_cast<Value>(size))
        dynamic.push_back(value);
    return dynamic;
  }

  /// Puts the buffer where the result goes, seen as it is used.
  void place(OpBuilder &at, Value into) {
    for (Operation *view : views) {
      Location loc = view->getLoc();
      auto source = cast<MemRefType>(view->getOperand(0).getType());
      if (auto collapse = dyn_cast<memref::CollapseShapeOp>(view)) {
        into = memref::ExpandShapeOp::create(at, loc, source, into,
                                             collapse.getReassociationIndices(),
                                             sizesOf(at, view->getOperand(0)));
      } else if (auto expand = dyn_cast<memref::ExpandShapeOp>(view)) {
        into = memref::CollapseShapeOp::create(at, loc, into, expand.getReassociationIndices());
      }
      if (into.getType() != source)
        into = memref::CastOp::create(at, loc, source, into);
    }
    alloc.replaceAllUsesWith(into);
    alloc.erase();
  }

private:
  /// The sizes of a view, or of the buffer; a value for each that its type leaves open.
  SmallVector<OpFoldResult> sizesOf(OpBuilder &at, Value buffer) {
    if (buffer == alloc.getResult())
      return alloc.getMixedSizes();
    if (auto expand = buffer.getDefiningOp<memref::ExpandShapeOp>())
      return expand.getMixedOutputShape();
    if (auto cast = buffer.getDefiningOp<memref::CastOp>())
      return sizesOf(at, cast.getSource());
    auto collapse = cast<memref::CollapseShapeOp>(buffer.getDefiningOp());
    SmallVector<OpFoldResult> inner = sizesOf(at, collapse.getSrc()), sizes;
    for (auto [axis, group] : llvm::enumerate(collapse.getReassociationIndices())) {
      int64_t fixed = collapse.getResultType().getDimSize(axis);
      if (!ShapedType::isDynamic(fixed)) {
        sizes.push_back(at.getIndexAttr(fixed));
        continue;
      }
      Value size;
      for (int64_t factor : group) {
        if (isConstantIntValue(inner[factor], 1))
          continue;
        Value own = getValueOrCreateConstantIndexOp(at, collapse.getLoc(), inner[factor]);
        size = size ? arith::MulIOp::create(at, collapse.getLoc(), size, own).getResult() : own;
      }
      sizes.push_back(size);
    }
    return sizes;
  }

  MemRefType type;
  SmallVector<Operation *> views; // from the result to the buffer
  memref::AllocOp alloc;
};

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

  /// Makes the buffer of result i the output's, or copies into the output.
  LogicalResult convertResult(OpBuilder &builder, Value result, unsigned i, Value table,
                              Value context, Block &entry) {
    auto type = dyn_cast<MemRefType>(result.getType());
    if (!type || !type.getLayout().isIdentity())
      return emitError(result.getLoc()) << "result " << i << " is not a plain memref";
    if (ResultBuffer buffer(result, entry); buffer.isOwn()) {
      OpBuilder at(buffer.getAlloc());
      auto output = OutputOp::create(at, result.getLoc(), buffer.getType(), table, context,
                                     buffer.getDynamicSizes(at), i);
      buffer.place(at, output.getResult());
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
    unsigned numResults = ret.getNumOperands();
    ret.erase();
    function.removeArgAttrsAttr();
    function.removeResAttrsAttr();
    function.setType(builder.getFunctionType(block.getArgumentTypes(), ok.getType()));
    for (unsigned i = block.getNumArguments() - numResults; i < block.getNumArguments(); ++i)
      function.setArgAttr(i, kResultPlace, builder.getUnitAttr());
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
    ResultBuffer buffer(result, block);
    if (!buffer.isOwn()) {
      memref::CopyOp::create(builder, result.getLoc(), result, place);
      return;
    }
    OpBuilder at(buffer.getAlloc());
    if (place.getType() != buffer.getType())
      place = memref::CastOp::create(at, result.getLoc(), buffer.getType(), place);
    buffer.place(at, place);
  }
};
} // namespace
