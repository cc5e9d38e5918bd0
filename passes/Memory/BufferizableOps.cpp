//===- BufferizableOps.cpp - Bufferization of the ssm dialect ------------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "passes/Memory/BufferizableOps.h"

#include "dialects/SSM/SSMOps.h"
#include "mlir/Dialect/Bufferization/IR/BufferizableOpInterface.h"

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
} // namespace

void ssm::registerBufferizableOps(DialectRegistry &registry) {
  registry.addExtension(+[](MLIRContext *context, SSMDialect *) {
    LoadWeightOp::attachInterface<LoadWeightInterface>(*context);
  });
}
