//===- CountWork.cpp - The traffic and arithmetic of a kernel -------------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "passes/CPU/Passes.h"

#include "dialects/SSM/KernelLoops.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Arith/Utils/Utils.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"
#include "llvm/ADT/MapVector.h"
#include "llvm/ADT/SetVector.h"

namespace ssm {
#define GEN_PASS_DEF_COUNTWORK
#include "passes/CPU/Passes.h.inc"
} // namespace ssm

using namespace mlir;
using namespace ssm;

/// Floating point operations of one evaluation.
static int64_t countFlops(Operation &op) {
  if (op.getNumResults() != 1 || !isa<FloatType>(op.getResult(0).getType()))
    return 0;
  // Conversions and choices move values.
  if (isa<CastOpInterface, arith::SelectOp>(op) || op.hasTrait<OpTrait::ConstantLike>())
    return 0;
  if (isa<math::FmaOp>(op))
    return 2;
  return isa<arith::ArithDialect, math::MathDialect>(op.getDialect()) || isa<ReduceOp>(op) ? 1 : 0;
}

namespace {

/// Builds the sums, in front of the nest.
class Counter {
public:
  explicit Counter(Operation *nest) : b(nest->getLoc(), nest) {
    bytes = flops = constant(0);
  }

  void countKernel(KernelOp kernel);
  void countLinalg(linalg::LinalgOp op);

  Value bytes, flops;

private:
  Value constant(int64_t value) { return arith::ConstantIndexOp::create(b, value); }
  Value multiply(Value left, Value right) { return arith::MulIOp::create(b, left, right); }
  Value add(Value left, Value right) { return arith::AddIOp::create(b, left, right); }

  /// The bytes of a whole buffer; null for a scalar.
  Value bytesOf(Value buffer) {
    auto type = dyn_cast<MemRefType>(buffer.getType());
    if (!type)
      return nullptr;
    Value result = constant(bytesOf(type));
    for (int64_t axis = 0; axis < type.getRank(); ++axis)
      result = multiply(result, b.createOrFold<memref::DimOp>(buffer, axis));
    return result;
  }
  static int64_t bytesOf(MemRefType type) {
    Type element = type.getElementType();
    return element.isIndex() ? 8 : llvm::divideCeil(element.getIntOrFloatBitWidth(), 8);
  }
  void countBuffers(ValueRange buffers) {
    for (Value buffer : buffers)
      if (Value size = bytesOf(buffer))
        bytes = add(bytes, size);
  }
  /// After all that is read: where nothing is written, nothing of it is needed.
  void countWritten(ValueRange buffers) {
    Value read = bytes;
    bytes = constant(0);
    countBuffers(buffers);
    Value isNone = arith::CmpIOp::create(b, arith::CmpIPredicate::eq, bytes, constant(0));
    bytes = arith::SelectOp::create(b, isNone, bytes, add(bytes, read));
  }

  ImplicitLocOpBuilder b;
};

} // namespace

void Counter::countKernel(KernelOp kernel) {
  KernelLoops loops(kernel);
  SmallVector<Value> sizes;
  for (OpFoldResult size : kernel.getLoopSizes(b))
    sizes.push_back(getValueOrCreateConstantIndexOp(b, b.getLoc(), size));
  auto points = [&](LoopSet set) {
    Value product = constant(1);
    for (unsigned loop : listLoops(set))
      product = multiply(product, sizes[loop]);
    return product;
  };

  llvm::MapVector<LoopSet, int64_t> flopsOf;
  llvm::SetVector<Value> read;
  for (Operation &op : kernel.getStep()) {
    // A reduction works at each point of what it reduces.
    auto reduce = dyn_cast<ReduceOp>(op);
    if (int64_t count = countFlops(op))
      flopsOf[loops.of(reduce ? reduce.getValue() : op.getResult(0))] += count;
    // Reads by index touch what they ask for, at most all of it.
    if (auto load = dyn_cast<memref::LoadOp>(op)) {
      Value asked = multiply(points(loops.of(load)), constant(bytesOf(load.getMemRefType())));
      bytes = add(bytes, arith::MinUIOp::create(b, asked, bytesOf(load.getMemRef())));
    }
  }
  for (auto [set, count] : flopsOf)
    flops = add(flops, multiply(points(set), constant(count)));
  for (auto [i, input] : llvm::enumerate(kernel.getInputs()))
    if (!kernel.getInputArg(i).use_empty())
      read.insert(input);
  for (auto [i, init] : llvm::enumerate(kernel.getInits()))
    if (!kernel.getCarryArg(i).use_empty())
      read.insert(init);
  countBuffers(read.getArrayRef());
  countWritten(kernel.getOuts());
}

void Counter::countLinalg(linalg::LinalgOp op) {
  Value points = constant(1);
  for (Range range : op.createLoopRanges(b, b.getLoc()))
    points = multiply(points, getValueOrCreateConstantIndexOp(b, b.getLoc(), range.size));
  int64_t count = 0;
  for (Operation &inner : *op.getBlock())
    count += countFlops(inner);
  flops = multiply(points, constant(count));
  llvm::SetVector<Value> read;
  for (OpOperand &operand : op->getOpOperands())
    if (op.payloadUsesValueFromOperand(&operand))
      read.insert(operand.get());
  countBuffers(read.getArrayRef());
  countWritten(op.getDpsInits());
}

namespace {
struct CountWork : ssm::impl::CountWorkBase<CountWork> {
  void runOnOperation() override {
    SymbolTable symbols(getOperation());
    SmallVector<func::FuncOp> kernels;
    for (auto function : getOperation().getOps<func::FuncOp>())
      if (function->hasAttr("ssm.kernel"))
        kernels.push_back(function);
    for (func::FuncOp kernel : kernels) {
      // Of other loops nobody knows.
      auto isCounted = [](Operation &op) { return isa<KernelOp, linalg::LinalgOp>(op); };
      Block &body = kernel.getBody().front();
      if (llvm::count_if(body, isCounted) != 1)
        continue;
      func::FuncOp work = kernel.clone();
      Operation *nest = &*llvm::find_if(work.getBody().front(), isCounted);
      Counter counter(nest);
      if (auto kernelOp = dyn_cast<KernelOp>(nest))
        counter.countKernel(kernelOp);
      else
        counter.countLinalg(cast<linalg::LinalgOp>(nest));
      nest->erase();
      finish(work, counter);
      work.setName((kernel.getName() + ".work").str());
      symbols.insert(work);
    }
  }

  static void finish(func::FuncOp work, Counter &counter) {
    Operation *end = work.getBody().front().getTerminator();
    ImplicitLocOpBuilder b(end->getLoc(), end);
    SmallVector<Value> results;
    for (Value value : {counter.bytes, counter.flops})
      results.push_back(arith::IndexCastOp::create(b, b.getI64Type(), value));
    func::ReturnOp::create(b, results);
    end->erase();
    work.setFunctionType(
        b.getFunctionType(work.getArgumentTypes(), {b.getI64Type(), b.getI64Type()}));
    work->removeAttr("ssm.kernel");
    work->removeAttr("passthrough");
    for (unsigned i = 0; i < work.getNumArguments(); ++i)
      work.setArgAttrs(i, ArrayRef<NamedAttribute>());
  }
};
} // namespace
