//===- OutlineParallel.cpp - Parallel loops run by the table --------------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "passes/CPU/Passes.h"

#include "dialects/SSM/SSMOps.h"
#include "mlir/Conversion/LLVMCommon/TypeConverter.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/IR/IRMapping.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"
#include "passes/CPU/Captures.h"
#include "passes/CPU/ModuleABI.h"

namespace ssm {
#define GEN_PASS_DEF_OUTLINEPARALLEL
#include "passes/CPU/Passes.h.inc"
} // namespace ssm

using namespace mlir;
using namespace ssm;

namespace {

/// Cheap, and better known to LLVM where it is used: constants, sizes and views.
bool isClonable(Operation *op) {
  if (op->getNumRegions() != 0 || !isPure(op))
    return false;
  if (op->hasTrait<OpTrait::ConstantLike>() || isa<ArenaViewOp, WeightViewOp>(op) ||
      isa<memref::MemRefDialect>(op->getDialect()))
    return true;
  return isa<arith::ArithDialect>(op->getDialect()) && op->getResult(0).getType().isIndex();
}

/// A buffer that is handed over, taken apart: its memory, then what its type
/// leaves open of offset, sizes and strides.
SmallVector<Value> takeApart(ImplicitLocOpBuilder &b, TypedValue<MemRefType> buffer) {
  MemRefType type = buffer.getType();
  auto parts = memref::ExtractStridedMetadataOp::create(b, buffer);
  auto [strides, offset] = type.getStridesAndOffset();
  SmallVector<Value> values = {
      PointerOp::create(b, LLVM::LLVMPointerType::get(b.getContext()), buffer)};
  if (ShapedType::isDynamic(offset))
    values.push_back(parts.getOffset());
  for (auto [size, value] : llvm::zip_equal(type.getShape(), parts.getSizes()))
    if (ShapedType::isDynamic(size))
      values.push_back(value);
  for (auto [stride, value] : llvm::zip_equal(strides, parts.getStrides()))
    if (ShapedType::isDynamic(stride))
      values.push_back(value);
  return values;
}

/// The same buffer from these parts.
Value putTogether(ImplicitLocOpBuilder &b, MemRefType type, ValueRange parts) {
  auto next = parts.begin();
  Value memory = *next++;
  Value zero = arith::ConstantIndexOp::create(b, 0);
  auto [strides, offset] = type.getStridesAndOffset();
  auto resolve = [&](int64_t value) -> OpFoldResult {
    return ShapedType::isDynamic(value) ? OpFoldResult(*next++) : b.getIndexAttr(value);
  };
  OpFoldResult start = resolve(offset);
  SmallVector<OpFoldResult> sizes, steps;
  for (int64_t size : type.getShape())
    sizes.push_back(resolve(size));
  for (int64_t stride : strides)
    steps.push_back(resolve(stride));
  Value whole = ArenaViewOp::create(b, MemRefType::get({}, type.getElementType()), memory, zero,
                                    ValueRange());
  return memref::ReinterpretCastOp::create(b, type, whole, start, sizes, steps);
}

struct OutlineParallel : ssm::impl::OutlineParallelBase<OutlineParallel> {
  void runOnOperation() override {
    LLVMTypeConverter typeConverter(&getContext());
    converter = &typeConverter;
    pointer = LLVM::LLVMPointerType::get(&getContext());
    SymbolTable table(getOperation());
    symbols = &table;
    SmallVector<func::FuncOp> worklist(getOperation().getOps<func::FuncOp>());
    for (size_t next = 0; next < worklist.size(); ++next) {
      func::FuncOp function = worklist[next];
      SmallVector<ParallelForOp> loops;
      function.walk<WalkOrder::PreOrder>([&](ParallelForOp loop) {
        loops.push_back(loop);
        return WalkResult::skip();
      });
      for (ParallelForOp loop : loops) {
        func::FuncOp body = outline(loop, function);
        if (!body)
          return signalPassFailure();
        worklist.push_back(body);
      }
    }
  }

  /// Makes the function of the body and calls it in place of the loop. Returns
  /// that function, or null after an error.
  func::FuncOp outline(ParallelForOp loop, func::FuncOp parent) {
    Captures captures;
    WalkResult ends = loop.walk([&](Operation *inner) {
      if (isa<CheckOp, OutputOp, SegmentAllocOp, SegmentMarkOp, SegmentReleaseOp>(inner)) {
        inner->emitError("may end the run, or is not safe, inside a parallel loop");
        return WalkResult::interrupt();
      }
      if (inner != loop)
        for (Value operand : inner->getOperands())
          if (!loop.getBody().isAncestor(operand.getParentRegion()))
            captures.add(operand, isClonable);
      return WalkResult::advance();
    });
    if (ends.wasInterrupted())
      return nullptr;

    ImplicitLocOpBuilder b(loop.getLoc(), loop);
    SmallVector<Value> values;
    for (Value param : captures.params) {
      if (auto buffer = dyn_cast<TypedValue<MemRefType>>(param))
        llvm::append_range(values, takeApart(b, buffer));
      else
        values.push_back(param);
    }
    bool hasTable = parent->hasAttr("ssm.kernel") || parent->hasAttr("ssm.entry") ||
                    parent->hasAttr("ssm.repeated");
    func::FuncOp body = makeBody(loop, parent, captures, values, hasTable);
    callBody(b, loop, parent, body, values, hasTable);
    loop.erase();
    return body;
  }

  //===--------------------------------------------------------------------===//
  // The body as a function of (values..., lo, hi)
  //===--------------------------------------------------------------------===//

  func::FuncOp makeBody(ParallelForOp loop, func::FuncOp parent, const Captures &captures,
                        ArrayRef<Value> values, bool hasTable) {
    SmallVector<Type> types(ValueRange(values).getTypes());
    types.append(2, IndexType::get(&getContext()));
    ImplicitLocOpBuilder b(loop.getLoc(), &getContext());
    auto body = func::FuncOp::create(loop.getLoc(), (parent.getName() + ".piece").str(),
                                     b.getFunctionType(types, {}));
    body.setPrivate();
    markNoAlias(body, parent, values);
    // Where it is called once, as below without a table, LLVM may inline it.
    if (hasTable)
      body->setAttr("passthrough", b.getStrArrayAttr({"noinline"}));
    symbols->insert(body);

    Block *block = body.addEntryBlock();
    b.setInsertionPointToStart(block);
    IRMapping mapping;
    unsigned next = 0;
    for (Value param : captures.params) {
      auto type = dyn_cast<MemRefType>(param.getType());
      if (!type) {
        mapping.map(param, block->getArgument(next++));
        continue;
      }
      auto [strides, offset] = type.getStridesAndOffset();
      unsigned count = 1 + ShapedType::isDynamic(offset) + type.getNumDynamicDims() +
                       llvm::count_if(strides, ShapedType::isDynamic);
      mapping.map(param,
                  putTogether(b, type, ValueRange(block->getArguments()).slice(next, count)));
      next += count;
    }
    for (Operation *op : captures.cloned)
      b.clone(*op, mapping);
    Block &inner = loop.getBody().front();
    mapping.map(inner.getArgument(0), block->getArgument(next));
    mapping.map(inner.getArgument(1), block->getArgument(next + 1));
    for (Operation &op : inner.without_terminator())
      b.clone(op, mapping);
    func::ReturnOp::create(b);
    return body;
  }

  /// A closure hides from LLVM that the buffers of a kernel do not overlap, so the
  /// pointers become parameters again, which say so. That holds for the parent's
  /// own `noalias` pointers as long as each pointer handed over is a parameter of
  /// the parent, or new memory of its stack, and not one that may lie in another's.
  void markNoAlias(func::FuncOp body, func::FuncOp parent, ArrayRef<Value> values) {
    auto isFresh = [](Value value) {
      auto address = value.getDefiningOp<PointerOp>();
      return address && address.getMemref().getDefiningOp<memref::AllocaOp>();
    };
    for (Value value : values)
      if (value.getType() == pointer && !isa<BlockArgument>(value) && !isFresh(value))
        return;
    StringRef name = LLVM::LLVMDialect::getNoAliasAttrName();
    for (auto [i, value] : llvm::enumerate(values)) {
      auto arg = dyn_cast<BlockArgument>(value);
      if (value.getType() != pointer ||
          (arg ? arg.getOwner()->getParentOp() != parent : !isFresh(value)))
        continue;
      if (!arg || parent.getArgAttr(arg.getArgNumber(), name))
        body.setArgAttr(i, name, UnitAttr::get(&getContext()));
    }
  }

  //===--------------------------------------------------------------------===//
  // The call
  //===--------------------------------------------------------------------===//

  void callBody(ImplicitLocOpBuilder &b, ParallelForOp loop, func::FuncOp parent, func::FuncOp body,
                ArrayRef<Value> values, bool hasTable) {
    Value zero = arith::ConstantIndexOp::create(b, 0);
    auto callDirectly = [&] {
      Value some = arith::CmpIOp::create(b, arith::CmpIPredicate::sgt, loop.getN(), zero);
      auto ifSome = scf::IfOp::create(b, some, /*withElseRegion=*/false);
      OpBuilder::InsertionGuard guard(b);
      b.setInsertionPoint(ifSome.thenYield());
      SmallVector<Value> args(values);
      args.append({zero, loop.getN()});
      func::CallOp::create(b, body, args);
    };
    // A loop inside a piece of another: that one's pieces keep the threads busy.
    if (!hasTable)
      return callDirectly();

    // Not worth a closure and the threads if one piece has it all.
    Value large = arith::CmpIOp::create(b, arith::CmpIPredicate::sgt, loop.getN(), loop.getGrain());
    auto ifLarge = scf::IfOp::create(b, large, /*withElseRegion=*/true);
    b.setInsertionPoint(ifLarge.elseYield());
    callDirectly();
    b.setInsertionPoint(ifLarge.thenYield());
    callThroughTable(b, loop, parent, makeRange(loop, parent, body, values), values);
  }

  LLVM::LLVMStructType closureType(ArrayRef<Value> values) {
    SmallVector<Type> fields;
    for (Value value : values)
      fields.push_back(converter->convertType(value.getType()));
    return LLVM::LLVMStructType::getLiteral(&getContext(), fields);
  }

  Value fieldOf(ImplicitLocOpBuilder &b, Type closure, Value memory, size_t i) {
    return LLVM::GEPOp::create(b, pointer, closure, memory,
                               ArrayRef<LLVM::GEPArg>{0, static_cast<int32_t>(i)});
  }

  /// The same value in another type that upstream's conversions give it.
  static Value castTo(ImplicitLocOpBuilder &b, Type type, Value value) {
    if (value.getType() == type)
      return value;
    return UnrealizedConversionCastOp::create(b, type, value).getResult(0);
  }

  /// NAME.range(closure, lo, hi): what the table calls. It always returns 0, so a
  /// loop cannot fail, and callers need not look at what parallel_for returns.
  func::FuncOp makeRange(ParallelForOp loop, func::FuncOp parent, func::FuncOp body,
                         ArrayRef<Value> values) {
    ImplicitLocOpBuilder b(loop.getLoc(), &getContext());
    auto range = func::FuncOp::create(
        loop.getLoc(), (parent.getName() + ".range").str(),
        b.getFunctionType({pointer, b.getI64Type(), b.getI64Type()}, b.getI32Type()));
    range.setPrivate();
    symbols->insert(range);
    Block *block = range.addEntryBlock();
    b.setInsertionPointToStart(block);
    LLVM::LLVMStructType closure = closureType(values);
    SmallVector<Value> args;
    for (auto [i, value] : llvm::enumerate(values)) {
      Value field = LLVM::LoadOp::create(b, closure.getBody()[i],
                                         fieldOf(b, closure, block->getArgument(0), i));
      args.push_back(castTo(b, value.getType(), field));
    }
    for (unsigned i : {1, 2})
      args.push_back(arith::IndexCastOp::create(b, b.getIndexType(), block->getArgument(i)));
    func::CallOp::create(b, body, args);
    Value ok = arith::ConstantIntOp::create(b, b.getI32Type(), 0);
    func::ReturnOp::create(b, ok);
    return range;
  }

  void callThroughTable(ImplicitLocOpBuilder &b, ParallelForOp loop, func::FuncOp parent,
                        func::FuncOp range, ArrayRef<Value> values) {
    LLVM::LLVMStructType closure = closureType(values);
    Value memory;
    {
      // At the start of the function: it takes its room once, not in each step of
      // a loop around.
      OpBuilder::InsertionGuard guard(b);
      b.setInsertionPointToStart(&parent.getBody().front());
      Value one = LLVM::ConstantOp::create(b, b.getI64Type(), 1);
      memory = LLVM::AllocaOp::create(b, pointer, closure, one);
    }
    for (auto [i, value] : llvm::enumerate(values))
      LLVM::StoreOp::create(b, castTo(b, closure.getBody()[i], value),
                            fieldOf(b, closure, memory, i));
    Value table = parent.getArgument(0), context = parent.getArgument(1);
    Value callee =
        LLVM::LoadOp::create(b, pointer,
                             LLVM::GEPOp::create(b, pointer, b.getI8Type(), table,
                                                 ArrayRef<LLVM::GEPArg>{kTableParallelFor}));
    Value function =
        func::ConstantOp::create(b, range.getFunctionType(), FlatSymbolRefAttr::get(range));
    auto toI64 = [&](Value value) -> Value {
      return arith::IndexCastOp::create(b, b.getI64Type(), value);
    };
    auto type = LLVM::LLVMFunctionType::get(
        b.getI32Type(), {pointer, pointer, pointer, b.getI64Type(), b.getI64Type()});
    // The status is left out: see makeRange.
    LLVM::CallOp::create(b, type,
                         ValueRange{callee, context, castTo(b, pointer, function), memory,
                                    toI64(loop.getN()), toI64(loop.getGrain())});
  }

  LLVMTypeConverter *converter = nullptr;
  SymbolTable *symbols = nullptr;
  Type pointer;
};
} // namespace
