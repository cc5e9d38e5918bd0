//===- LowerModuleOps.cpp - The module's borders in LLVM terms -----------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "passes/CPU/Passes.h"

#include "dialects/SSM/SSMOps.h"
#include "dialects/SSM/TensorMapOp.h"
#include "lib/Emit/PlainBuffer.h"
#include "lib/Support/ElementTypeNumber.h"
#include "mlir/Conversion/LLVMCommon/TypeConverter.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/ControlFlow/IR/ControlFlowOps.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"
#include "mlir/Interfaces/FunctionInterfaces.h"
#include "passes/CPU/ModuleABI.h"

namespace ssm {
#define GEN_PASS_DEF_LOWERMODULEOPS
#include "passes/CPU/Passes.h.inc"
} // namespace ssm

using namespace mlir;
using namespace ssm;

namespace {

struct LowerModuleOps : ssm::impl::LowerModuleOpsBase<LowerModuleOps> {
  void runOnOperation() override {
    ModuleOp module = getOperation();
    LLVMTypeConverter converter(&getContext());
    types = &converter;
    pointer = LLVM::LLVMPointerType::get(&getContext());
    for (auto function : module.getOps<func::FuncOp>()) {
      if (function.isDeclaration())
        continue;
      SmallVector<Operation *> ops;
      function.walk([&](Operation *op) {
        if (isa<SSMDialect>(op->getDialect()) || isRepeatedCall(op))
          ops.push_back(op);
      });
      sites.clear();
      siteIndex.clear();
      for (Operation *op : ops)
        if (failed(lower(op)))
          return signalPassFailure();
      if (auto entry = function->getAttrOfType<StringAttr>("ssm.entry"))
        module->setAttr(("ssm.checks." + entry.getValue()).str(),
                        ArrayAttr::get(&getContext(), sites));
    }
  }

  /// A call whose status matters: of what may end the run.
  static bool isRepeatedCall(Operation *op) {
    auto call = dyn_cast<func::CallOp>(op);
    if (!call || call.getNumResults() == 0)
      return false;
    Operation *callee = SymbolTable::lookupNearestSymbolFrom(call, call.getCalleeAttr());
    return callee && callee->hasAttr("ssm.repeated");
  }

  LogicalResult lower(Operation *op) {
    if (isa<WeightOp>(op))
      return success();
    ImplicitLocOpBuilder b(op->getLoc(), op);
    if (auto arg = dyn_cast<ArgOp>(op))
      lowerArg(b, arg);
    else if (auto view = dyn_cast<ArenaViewOp>(op))
      replaceByBuffer(b, op, offsetPointer(b, view.getArena(), toI64(b, view.getOffset())),
                      view.getSizes());
    else if (auto weight = dyn_cast<WeightViewOp>(op))
      return lowerWeight(b, weight);
    else if (auto output = dyn_cast<OutputOp>(op))
      lowerOutput(b, output);
    else if (auto segment = dyn_cast<SegmentAllocOp>(op))
      lowerSegment(b, segment);
    else if (auto pointerOp = dyn_cast<PointerOp>(op))
      lowerPointer(b, pointerOp);
    else if (auto mark = dyn_cast<SegmentMarkOp>(op))
      lowerMark(b, mark);
    else if (auto release = dyn_cast<SegmentReleaseOp>(op))
      lowerRelease(b, release);
    else if (auto check = dyn_cast<CheckOp>(op))
      lowerCheck(b, check);
    else if (auto launch = dyn_cast<LaunchOp>(op))
      return lowerLaunch(b, launch);
    else if (auto map = dyn_cast<TensorMapOp>(op))
      lowerTensorMap(b, map);
    else if (auto read = dyn_cast<ReadOp>(op))
      lowerRead(b, read);
    else if (auto fault = dyn_cast<FaultOp>(op))
      lowerFault(b, fault);
    else if (auto site = dyn_cast<CheckSiteOp>(op))
      lowerCheckSite(b, site);
    else if (auto call = dyn_cast<func::CallOp>(op))
      lowerRepeatedCall(b, call);
    else
      return op->emitError("is left at the end of the buffer stage");
    return success();
  }

  //===--------------------------------------------------------------------===//
  // Pieces
  //===--------------------------------------------------------------------===//

  Value constant(ImplicitLocOpBuilder &b, int64_t value) {
    return LLVM::ConstantOp::create(b, b.getI64Type(), value);
  }
  Value toI64(ImplicitLocOpBuilder &b, Value value) {
    if (value.getType().isInteger(64))
      return value;
    return arith::IndexCastOp::create(b, b.getI64Type(), value);
  }
  Value offsetPointer(ImplicitLocOpBuilder &b, Value base, Value bytes) {
    return LLVM::GEPOp::create(b, pointer, b.getI8Type(), base, bytes);
  }
  Value loadPointer(ImplicitLocOpBuilder &b, Value base, int64_t bytes) {
    return LLVM::LoadOp::create(b, pointer, offsetPointer(b, base, constant(b, bytes)));
  }

  void replaceByBuffer(ImplicitLocOpBuilder &b, Operation *op, Value data, ValueRange sizes) {
    SmallVector<Value> wide;
    for (Value size : sizes)
      wide.push_back(toI64(b, size));
    op->getResult(0).replaceAllUsesWith(
        makePlainBuffer(b, *types, cast<MemRefType>(op->getResult(0).getType()), data, wide));
    op->erase();
  }

  /// Splits the block before `op`: what follows runs only if `condition` holds,
  /// else the function returns what `makeStatus` gives.
  void returnUnless(ImplicitLocOpBuilder &b, Operation *op, Value condition,
                    llvm::function_ref<Value()> makeStatus) {
    Block *block = op->getBlock();
    Block *rest = block->splitBlock(op);
    Block *fail = new Block();
    rest->getParent()->getBlocks().insert(rest->getParent()->end(), fail);
    b.setInsertionPointToEnd(block);
    cf::CondBranchOp::create(b, condition, rest, fail);
    b.setInsertionPointToEnd(fail);
    Value status = makeStatus();
    func::ReturnOp::create(b, status);
    b.setInsertionPoint(op);
  }

  void returnIfNull(ImplicitLocOpBuilder &b, Operation *op, Value data, int32_t status) {
    Value null = LLVM::ZeroOp::create(b, pointer);
    Value given = LLVM::ICmpOp::create(b, LLVM::ICmpPredicate::ne, data, null);
    returnUnless(b, op, given, [&]() -> Value {
      return arith::ConstantIntOp::create(b, b.getI32Type(), status);
    });
  }

  Value call(ImplicitLocOpBuilder &b, Type result, Value callee, ValueRange args) {
    SmallVector<Type> argTypes(args.getTypes());
    SmallVector<Value> operands = {callee};
    llvm::append_range(operands, args);
    auto type = LLVM::LLVMFunctionType::get(result, argTypes);
    return LLVM::CallOp::create(b, type, operands).getResult();
  }

  /// Values in memory on the stack, allocated once at the function's start.
  Value onStack(ImplicitLocOpBuilder &b, ArrayRef<Value> values) {
    auto function = b.getInsertionBlock()->getParent()->getParentOfType<func::FuncOp>();
    Value memory;
    {
      OpBuilder::InsertionGuard guard(b);
      b.setInsertionPointToStart(&function.getBody().front());
      memory = LLVM::AllocaOp::create(b, pointer, b.getI64Type(),
                                      constant(b, std::max<int64_t>(values.size(), 1)));
    }
    for (auto [i, value] : llvm::enumerate(values))
      LLVM::StoreOp::create(b, value, offsetPointer(b, memory, constant(b, 8 * i)));
    return memory;
  }

  //===--------------------------------------------------------------------===//
  // Operations
  //===--------------------------------------------------------------------===//

  void lowerArg(ImplicitLocOpBuilder &b, ArgOp op) {
    auto type = cast<MemRefType>(op.getType());
    int64_t place = op.getIndex() * kArgBytes;
    Value args = op.getArgs();
    if (Value number = op.getNumber())
      args = offsetPointer(b, args, LLVM::MulOp::create(b, number, constant(b, kArgBytes)));
    Value data = loadPointer(b, args, place);
    SmallVector<Value> sizes;
    if (type.getNumDynamicDims() > 0) {
      Value dims = loadPointer(b, args, place + kArgDims);
      for (int64_t axis = 0; axis < type.getRank(); ++axis)
        if (type.isDynamicDim(axis))
          sizes.push_back(LLVM::LoadOp::create(b, b.getI64Type(),
                                               offsetPointer(b, dims, constant(b, 8 * axis))));
    }
    op.replaceAllUsesWith(makePlainBuffer(b, *types, type, data, sizes));
    op.erase();
  }

  LogicalResult lowerWeight(ImplicitLocOpBuilder &b, WeightViewOp op) {
    auto weight = SymbolTable::lookupNearestSymbolFrom<WeightOp>(op, op.getWeightAttr());
    auto offset = weight ? weight->getAttrOfType<IntegerAttr>("ssm.offset") : IntegerAttr();
    if (!offset)
      return op.emitError("needs a weight with an offset: run ssm-layout-weights first");
    replaceByBuffer(b, op, offsetPointer(b, op.getWeights(), constant(b, offset.getInt())), {});
    return success();
  }

  void lowerOutput(ImplicitLocOpBuilder &b, OutputOp op) {
    auto type = cast<MemRefType>(op.getType());
    SmallVector<Value> dims;
    auto next = op.getSizes().begin();
    for (int64_t size : type.getShape())
      dims.push_back(ShapedType::isDynamic(size) ? toI64(b, *next++) : constant(b, size));
    Value index = op.getNumber();
    if (!index)
      index = LLVM::ConstantOp::create(b, b.getI32Type(), static_cast<int64_t>(op.getIndex()));
    Value data = call(b, pointer, loadPointer(b, op.getTable(), kTableOutput),
                      {op.getCtx(), index, onStack(b, dims)});
    returnIfNull(b, op, data, kStatusOutputRefused);
    replaceByBuffer(b, op, data, op.getSizes());
  }

  void lowerSegment(ImplicitLocOpBuilder &b, SegmentAllocOp op) {
    auto type = cast<MemRefType>(op.getType());
    int64_t fixed = llvm::divideCeil(type.getElementTypeBitWidth(), 8);
    for (int64_t size : type.getShape())
      if (!ShapedType::isDynamic(size))
        fixed *= size;
    Value bytes = constant(b, fixed);
    Type f64 = b.getF64Type();
    Value bound = LLVM::ConstantOp::create(b, f64, b.getF64FloatAttr(fixed));
    for (Value size : op.getSizes()) {
      Value wide = toI64(b, size);
      bytes = LLVM::MulOp::create(b, bytes, wide);
      bound = LLVM::FMulOp::create(b, bound, LLVM::UIToFPOp::create(b, f64, wide));
    }
    // A product that would overflow is more than there can be.
    Value limit = LLVM::ConstantOp::create(b, f64, b.getF64FloatAttr(4611686018427387904.0));
    Value fits = LLVM::FCmpOp::create(b, LLVM::FCmpPredicate::olt, bound, limit);
    bytes = LLVM::SelectOp::create(b, fits, bytes, constant(b, -1));
    Value data = call(b, pointer, loadPointer(b, op.getTable(), kTableSegmentAlloc),
                      {op.getContext(), bytes});
    returnIfNull(b, op, data, kStatusOutOfMemory);
    replaceByBuffer(b, op, data, op.getSizes());
  }

  /// The run goes on if the call gives no status.
  void lowerRepeatedCall(ImplicitLocOpBuilder &b, func::CallOp call) {
    b.setInsertionPointAfter(call);
    Value status = call.getResult(0);
    Value ok = arith::ConstantIntOp::create(b, status.getType(), 0);
    Value isOk = arith::CmpIOp::create(b, arith::CmpIPredicate::eq, status, ok);
    returnUnless(b, isOk.getDefiningOp()->getNextNode(), isOk, [&] { return status; });
  }

  void lowerPointer(ImplicitLocOpBuilder &b, PointerOp op) {
    op.replaceAllUsesWith(takePointer(b, *types, op.getMemref()));
    op.erase();
  }

  void lowerMark(ImplicitLocOpBuilder &b, SegmentMarkOp op) {
    op.replaceAllUsesWith(
        call(b, b.getI64Type(), loadPointer(b, op.getTable(), kTableSegmentMark), op.getContext()));
    op.erase();
  }

  void lowerRelease(ImplicitLocOpBuilder &b, SegmentReleaseOp op) {
    Value callee = loadPointer(b, op.getTable(), kTableSegmentRelease);
    auto type = LLVM::LLVMFunctionType::get(LLVM::LLVMVoidType::get(&getContext()),
                                            {pointer, b.getI64Type()});
    LLVM::CallOp::create(b, type, ValueRange{callee, op.getContext(), op.getMark()});
    op.erase();
  }

  /// The number of a check site of the function.
  unsigned placeOf(StringAttr node, StringAttr text) {
    Builder b(&getContext());
    auto site = DictionaryAttr::get(&getContext(),
                                    {b.getNamedAttr("node", node), b.getNamedAttr("text", text)});
    unsigned place = siteIndex.try_emplace(site, sites.size()).first->second;
    if (place == sites.size())
      sites.push_back(site);
    return place;
  }

  void lowerCheck(ImplicitLocOpBuilder &b, CheckOp op) {
    auto function = op->getParentOfType<func::FuncOp>();
    Value table = function.getArgument(0), context = function.getArgument(1);
    unsigned place = placeOf(op.getNodeAttr(), op.getTextAttr());
    returnUnless(b, op, op.getCondition(), [&]() -> Value {
      SmallVector<Value> values;
      for (Value value : op.getValues())
        values.push_back(toI64(b, value));
      Value number = LLVM::ConstantOp::create(b, b.getI32Type(), static_cast<int64_t>(place));
      Value count =
          LLVM::ConstantOp::create(b, b.getI32Type(), static_cast<int64_t>(values.size()));
      Value status = call(b, b.getI32Type(), loadPointer(b, table, kTableReport),
                          {context, number, onStack(b, values), count});
      return status;
    });
    op.erase();
  }

  //===--------------------------------------------------------------------===//
  // Devices
  //===--------------------------------------------------------------------===//

  /// The run goes on if `status` is 0.
  void returnIfFailed(ImplicitLocOpBuilder &b, Operation *op, Value status) {
    Value ok = LLVM::ConstantOp::create(b, b.getI32Type(), 0);
    returnUnless(b, op, LLVM::ICmpOp::create(b, LLVM::ICmpPredicate::eq, status, ok),
                 [&] { return status; });
  }

  LogicalResult lowerLaunch(ImplicitLocOpBuilder &b, LaunchOp op) {
    // Kernels are numbered in the order of their module.
    Operation *kernel = SymbolTable::lookupNearestSymbolFrom(op, op.getKernelAttr());
    if (!kernel)
      return op.emitError("launches a kernel that does not exist");
    int64_t number = 0;
    for (Operation &other : *kernel->getBlock()) {
      if (&other == kernel)
        break;
      number += isa<FunctionOpInterface>(other);
    }
    SmallVector<Value> params;
    for (auto [i, arg] : llvm::enumerate(op.getArgs())) {
      Value value = arg;
      if (isTensorMap(kernel, i)) {
        params.push_back(value);
        continue;
      }
      if (value.getType().isIndex())
        value = toI64(b, value);
      params.push_back(onStack(b, value));
    }
    Value grid = onStack(b, {toI64(b, op.getGridX()), toI64(b, op.getGridY()),
                             toI64(b, op.getGridZ())});
    Value threads = arith::IndexCastOp::create(b, b.getI32Type(), op.getThreads());
    Value index = LLVM::ConstantOp::create(b, b.getI32Type(), number);
    Value status = call(b, b.getI32Type(), loadPointer(b, op.getTable(), kTableLaunch),
                        {op.getContext(), index, grid, threads, onStack(b, params)});
    returnIfFailed(b, op, status);
    op.erase();
    return success();
  }

  void lowerTensorMap(ImplicitLocOpBuilder &b, TensorMapOp op) {
    auto type = cast<MemRefType>(op.getMemref().getType());
    Type i32 = b.getI32Type();
    auto number = [&](int64_t value) -> Value { return LLVM::ConstantOp::create(b, i32, value); };
    auto metadata = memref::ExtractStridedMetadataOp::create(b, op.getMemref());
    // The ABI counts axes from the innermost one, two boxes lie in a word.
    SmallVector<Value> dims, strides, boxes;
    int64_t elementBytes = type.getElementTypeBitWidth() / 8;
    ArrayRef<int32_t> box = op.getBox();
    for (int64_t axis = type.getRank() - 1; axis >= 0; --axis) {
      dims.push_back(toI64(b, metadata.getSizes()[axis]));
      if (axis + 1 < type.getRank())
        strides.push_back(LLVM::MulOp::create(b, toI64(b, metadata.getStrides()[axis]),
                                              constant(b, elementBytes)));
      int64_t from = type.getRank() - 1 - axis;
      if (from % 2 == 0)
        boxes.push_back(constant(b, box[axis] | (axis ? int64_t(box[axis - 1]) << 32 : 0)));
    }
    constexpr int64_t mapBytes = 128, mapAlignment = 64;
    auto function = op->getParentOfType<func::FuncOp>();
    Value map;
    {
      OpBuilder::InsertionGuard guard(b);
      b.setInsertionPointToStart(&function.getBody().front());
      map = LLVM::AllocaOp::create(b, pointer, b.getI8Type(), constant(b, mapBytes), mapAlignment);
    }
    int64_t swizzle = op.getSwizzle();
    Value data = LLVM::GEPOp::create(b, pointer, types->convertType(type.getElementType()),
                                     takePointer(b, *types, metadata.getBaseBuffer()),
                                     toI64(b, metadata.getOffset()));
    Value status =
        call(b, i32, loadPointer(b, op.getTable(), kTableTensorMap),
             {op.getContext(), map, number(onnxTypeNumber(type.getElementType())),
              number(type.getRank()), data, onStack(b, dims), onStack(b, strides), onStack(b, boxes),
              number(swizzle == 128 ? 3 : swizzle == 64 ? 2 : swizzle == 32 ? 1 : 0)});
    returnIfFailed(b, op, status);
    op.replaceAllUsesWith(map);
    op.erase();
  }

  void lowerRead(ImplicitLocOpBuilder &b, ReadOp op) {
    Type type = op.getType();
    auto metadata = memref::ExtractStridedMetadataOp::create(b, op.getMemref());
    Value number = toI64(b, metadata.getOffset());
    for (auto [index, stride] : llvm::zip_equal(op.getIndices(), metadata.getStrides()))
      number = LLVM::AddOp::create(
          b, number, LLVM::MulOp::create(b, toI64(b, index), toI64(b, stride)).getResult());
    Value base = takePointer(b, *types, metadata.getBaseBuffer());
    Value from = LLVM::GEPOp::create(b, pointer, types->convertType(type), base, number);
    Value to = onStack(b, {});
    int64_t bytes = type.isIndex() ? 8 : llvm::divideCeil(type.getIntOrFloatBitWidth(), 8);
    Value status = call(b, b.getI32Type(), loadPointer(b, op.getTable(), kTableRead),
                        {op.getContext(), to, from, constant(b, bytes)});
    returnIfFailed(b, op, status);
    Value value = LLVM::LoadOp::create(b, types->convertType(type), to);
    if (type.isIndex())
      value = arith::IndexCastOp::create(b, type, value);
    op.replaceAllUsesWith(value);
    op.erase();
  }

  void lowerFault(ImplicitLocOpBuilder &b, FaultOp op) {
    op.replaceAllUsesWith(
        call(b, pointer, loadPointer(b, op.getTable(), kTableFault), op.getContext()));
    op.erase();
  }

  void lowerCheckSite(ImplicitLocOpBuilder &b, CheckSiteOp op) {
    op.replaceAllUsesWith(constant(b, placeOf(op.getNodeAttr(), op.getTextAttr())));
    op.erase();
  }

  LLVMTypeConverter *types = nullptr;
  Type pointer;
  SmallVector<Attribute> sites;
  llvm::DenseMap<Attribute, unsigned> siteIndex;
};
} // namespace
