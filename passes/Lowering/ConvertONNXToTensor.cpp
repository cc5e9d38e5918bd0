//===- ConvertONNXToTensor.cpp - From the graph to tensors ---------------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "passes/Lowering/Passes.h"

#include "dialects/ONNX/ONNXOps.h"
#include "dialects/SSM/SSMOps.h"
#include "lib/Import/FunctionLowering.h"
#include "lib/Support/ElementTypeNumber.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Bufferization/IR/Bufferization.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

namespace ssm {
#define GEN_PASS_DEF_CONVERTONNXTOTENSOR
#include "passes/Lowering/Passes.h.inc"
} // namespace ssm

using namespace mlir;
using namespace ssm;

namespace {

struct ConvertONNXToTensor : ssm::impl::ConvertONNXToTensorBase<ConvertONNXToTensor> {
  void runOnOperation() override {
    ModuleOp module = getOperation();
    SmallVector<Attribute> entries;
    for (auto function : llvm::make_early_inc_range(module.getOps<func::FuncOp>())) {
      ShapeFacts facts(&getContext());
      if (failed(onnx::inferFunction(function, facts)))
        return signalPassFailure();
      FailureOr<Attribute> entry = describe(function, facts);
      if (failed(entry) || failed(lower(function, facts)))
        return signalPassFailure();
      entries.push_back(*entry);
    }
    for (auto weight : module.getOps<WeightOp>()) {
      auto type = cast<RankedTensorType>(weight.getType());
      weight.setType(
          RankedTensorType::get(type.getShape(), onnx::storageType(type.getElementType())));
    }
    module->setAttr("ssm.entries", ArrayAttr::get(&getContext(), entries));
  }

  /// One input or output of the signature. A size that inference cannot name keeps
  /// its declared name, unless that is the name of another size.
  FailureOr<Attribute> describeValue(func::FuncOp function, Type type, Attribute name,
                                     ArrayAttr names, ArrayRef<AffineExpr> known, ShapeFacts &facts,
                                     StringRef what, unsigned i) {
    auto tensorType = cast<RankedTensorType>(type);
    Builder b(&getContext());
    int64_t number = onnxTypeNumber(tensorType.getElementType());
    if (number == 0)
      return function.emitError() << what << " " << i << " has element type "
                                  << tensorType.getElementType() << ", which modules do not take";
    SmallVector<Attribute> dims;
    for (auto [axis, size] : llvm::enumerate(tensorType.getShape())) {
      Attribute declared = names && axis < names.size() ? names[axis] : Attribute();
      if (!ShapedType::isDynamic(size))
        dims.push_back(b.getI64IntegerAttr(size));
      else if (StringRef symbol = facts.nameOf(known[axis]); !symbol.empty())
        dims.push_back(b.getStringAttr(symbol));
      else if (auto text = dyn_cast_or_null<StringAttr>(declared);
               text && !facts.hasName(text.getValue()))
        dims.push_back(text);
      else
        dims.push_back(b.getUnitAttr());
    }
    if (!name)
      name = b.getStringAttr(what + Twine(i));
    return Attribute(b.getDictionaryAttr({b.getNamedAttr("name", name),
                                          b.getNamedAttr("type", b.getI64IntegerAttr(number)),
                                          b.getNamedAttr("dims", b.getArrayAttr(dims))}));
  }

  FailureOr<Attribute> describe(func::FuncOp function, ShapeFacts &facts) {
    Builder b(&getContext());
    SmallVector<Attribute> inputs, outputs;
    OperandRange returned = function.getBody().front().getTerminator()->getOperands();
    for (auto [i, type] : llvm::enumerate(function.getArgumentTypes())) {
      FailureOr<Attribute> value =
          describeValue(function, type, function.getArgAttr(i, "onnx.name"),
                        function.getArgAttrOfType<ArrayAttr>(i, "onnx.dims"),
                        facts.dims(function.getArgument(i)), facts, "input", i);
      if (failed(value))
        return failure();
      inputs.push_back(*value);
    }
    for (auto [i, type] : llvm::enumerate(function.getResultTypes())) {
      FailureOr<Attribute> value =
          describeValue(function, type, function.getResultAttr(i, "onnx.name"),
                        function.getResultAttrOfType<ArrayAttr>(i, "onnx.dims"),
                        facts.dims(returned[i]), facts, "output", i);
      if (failed(value))
        return failure();
      outputs.push_back(*value);
    }
    SmallVector<NamedAttribute> entry = {
        b.getNamedAttr("name", b.getStringAttr(function.getName())),
        b.getNamedAttr("inputs", b.getArrayAttr(inputs)),
        b.getNamedAttr("outputs", b.getArrayAttr(outputs))};
    if (Attribute states = function->getAttr("onnx.states"))
      entry.push_back(b.getNamedAttr("states", states));
    return Attribute(b.getDictionaryAttr(entry));
  }

  LogicalResult lower(func::FuncOp function, ShapeFacts &facts) {
    auto stored = [](Type type) -> Type {
      auto tensorType = cast<RankedTensorType>(type);
      return RankedTensorType::get(tensorType.getShape(),
                                   onnx::storageType(tensorType.getElementType()));
    };
    auto type =
        FunctionType::get(&getContext(), llvm::map_to_vector(function.getArgumentTypes(), stored),
                          llvm::map_to_vector(function.getResultTypes(), stored));
    OpBuilder builder(function);
    auto lowered = func::FuncOp::create(builder, function.getLoc(), function.getName(), type);
    // The caller's tensors are read only.
    for (unsigned i = 0; i < type.getNumInputs(); ++i)
      lowered.setArgAttr(i, "bufferization.writable", builder.getBoolAttr(false));
    Block *block = lowered.addEntryBlock();
    builder.setInsertionPointToStart(block);

    onnx::FunctionLowering lowering(facts);
    Block &graph = function.getBody().front();
    for (auto [from, to] : llvm::zip_equal(graph.getArguments(), block->getArguments()))
      lowering.setLowered(from, to);
    if (failed(lowering.lowerBlock(graph, builder)))
      return failure();
    SmallVector<Value> results;
    for (auto [value, resultType] :
         llvm::zip_equal(graph.getTerminator()->getOperands(), type.getResults())) {
      Value result = lowering.getLowered(value);
      if (result.getType() != resultType)
        result = tensor::CastOp::create(builder, function.getLoc(), resultType, result);
      results.push_back(result);
    }
    func::ReturnOp::create(builder, function.getLoc(), results);
    function.erase();
    return success();
  }
};
} // namespace
