//===- BufferizableOps.cpp - Bufferization of the ssm dialect ------------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "passes/Memory/BufferizableOps.h"

#include "dialects/SSM/TopKOp.h"
#include "mlir/Dialect/Bufferization/IR/BufferizableOpInterface.h"
#include "mlir/Dialect/Bufferization/IR/DstBufferizableOpInterfaceImpl.h"
#include "llvm/ADT/SmallPtrSet.h"

using namespace mlir;
using namespace mlir::bufferization;
using namespace ssm;

namespace {
/// A weight is a read-only view: whoever wants to write copies it first.
struct LoadWeightInterface
    : BufferizableOpInterface::ExternalModel<LoadWeightInterface, LoadWeightOp> {
  bool isWritable(Operation *, Value, const AnalysisState &) const { return false; }
  AliasingOpOperandList getAliasingOpOperands(Operation *, Value, const AnalysisState &) const {
    return {};
  }
  bool bufferizesToAllocation(Operation *, Value) const { return false; }
  LogicalResult bufferize(Operation *op, RewriterBase &rewriter, const BufferizationOptions &,
                          BufferizationState &) const {
    auto load = cast<LoadWeightOp>(op);
    auto type = cast<RankedTensorType>(load.getType());
    replaceOpWithNewBufferizedOp<LoadWeightOp>(
        rewriter, op, MemRefType::get(type.getShape(), type.getElementType()),
        load.getWeightAttr());
    return success();
  }
};

/// A kernel writes into its outs, which it does not read.
struct KernelInterface : DstBufferizableOpInterfaceExternalModel<KernelInterface, KernelOp> {
  bool bufferizesToMemoryRead(Operation *op, OpOperand &operand, const AnalysisState &) const {
    return !cast<DestinationStyleOpInterface>(op).isDpsInit(&operand);
  }
  /// Outs that nobody reads may be one empty tensor for the analysis, which does not
  /// know that steps read their carries again.
  LogicalResult resolveConflicts(Operation *op, RewriterBase &rewriter, const AnalysisState &state,
                                 const BufferizationState &bufferizationState) const {
    auto bufferizable = cast<BufferizableOpInterface>(op);
    if (failed(bufferizable.resolveTensorOpOperandConflicts(rewriter, state, bufferizationState)))
      return failure();
    llvm::SmallPtrSet<Value, 4> seen;
    rewriter.setInsertionPoint(op);
    for (OpOperand &out : cast<KernelOp>(op).getOutsMutable()) {
      if (seen.insert(out.get()).second)
        continue;
      FailureOr<Value> own =
          allocateTensorForShapedValue(rewriter, op->getLoc(), out.get(), state.getOptions(),
                                       bufferizationState, /*copy=*/false);
      if (failed(own))
        return failure();
      rewriter.modifyOpInPlace(op, [&] { out.set(*own); });
    }
    return success();
  }
  LogicalResult bufferize(Operation *op, RewriterBase &rewriter,
                          const BufferizationOptions &options, BufferizationState &state) const {
    auto kernel = cast<KernelOp>(op);
    auto toBuffers = [&](ValueRange values, SmallVectorImpl<Value> &buffers) -> LogicalResult {
      for (Value value : values) {
        if (!isa<TensorType>(value.getType())) {
          buffers.push_back(value);
          continue;
        }
        FailureOr<Value> buffer = getBuffer(rewriter, value, options, state);
        if (failed(buffer))
          return failure();
        buffers.push_back(*buffer);
      }
      return success();
    };
    SmallVector<Value> inputs, inits, outs;
    rewriter.setInsertionPoint(op);
    if (failed(toBuffers(kernel.getInputs(), inputs)) ||
        failed(toBuffers(kernel.getInits(), inits)) || failed(toBuffers(kernel.getOuts(), outs)))
      return failure();
    auto made = KernelOp::create(rewriter, op->getLoc(), TypeRange(), kernel.getLoopsAttr(),
                                 kernel.getTimeAttr(), inputs, inits, outs, kernel.getMapsAttr(),
                                 kernel.getMirroredAttr(), kernel.getTransitionAttr(),
                                 kernel.getConfigAttr(), kernel.getPaddedAttr());
    made->setDiscardableAttrs(llvm::to_vector(op->getDiscardableAttrs()));
    made.getBody().takeBody(kernel.getBody());
    replaceOpWithBufferizedValues(rewriter, op, outs);
    return success();
  }
};

/// The out is not read.
struct TopKInterface : DstBufferizableOpInterfaceExternalModel<TopKInterface, TopKOp> {
  bool bufferizesToMemoryRead(Operation *op, OpOperand &operand, const AnalysisState &) const {
    return !cast<DestinationStyleOpInterface>(op).isDpsInit(&operand);
  }
  LogicalResult bufferize(Operation *op, RewriterBase &rewriter,
                          const BufferizationOptions &options, BufferizationState &state) const {
    auto topk = cast<TopKOp>(op);
    rewriter.setInsertionPoint(op);
    FailureOr<Value> input = getBuffer(rewriter, topk.getInput(), options, state);
    FailureOr<Value> out = getBuffer(rewriter, topk.getOut(), options, state);
    if (failed(input) || failed(out))
      return failure();
    TopKOp::create(rewriter, op->getLoc(), TypeRange(), topk.getAxisAttr(), topk.getLeastAttr(),
                   topk.getIsUnsignedAttr(), *input, *out);
    replaceOpWithBufferizedValues(rewriter, op, *out);
    return success();
  }
};
} // namespace

void ssm::registerBufferizableOps(DialectRegistry &registry) {
  registry.addExtension(+[](MLIRContext *context, SSMDialect *) {
    LoadWeightOp::attachInterface<LoadWeightInterface>(*context);
    KernelOp::attachInterface<KernelInterface>(*context);
    TopKOp::attachInterface<TopKInterface>(*context);
  });
}
