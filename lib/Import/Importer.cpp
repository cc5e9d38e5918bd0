//===- Importer.cpp - From read models to a module of graphs --------------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "lib/Import/Importer.h"

#include "dialects/SSM/SSMOps.h"
#include "lib/Import/GraphBuilder.h"
#include "lib/Import/ImportTypes.h"
#include "lib/Import/InferContext.h"
#include "lib/Import/Unsupported.h"

using namespace mlir;
using namespace ssm;
using namespace ssm::onnx;

Importer::Importer(MLIRContext *context, ImportOptions options)
    : context(context), options(std::move(options)) {
  context->loadDialect<ONNXDialect, SSMDialect, func::FuncDialect>();
  module = ModuleOp::create(UnknownLoc::get(context));
}

/// What the file says of its outputs must agree with what follows from the nodes.
static LogicalResult checkDeclared(const ValueInfo &output, Value value) {
  const TypeInfo &declared = output.type;
  auto error = [&](const Twine &message) {
    return emitError(value.getLoc()) << "output '" << output.name << "': " << message;
  };
  auto type = dyn_cast<RankedTensorType>(value.getType());
  if (!type)
    return error("it is not a tensor of known rank");
  if (declared.kind == TypeInfo::Kind::Missing)
    return success();
  if (declared.kind != TypeInfo::Kind::Tensor)
    return error("it is a tensor, but declared as something else");
  if (declared.elementType != ElementType::Undefined &&
      importElementType(declared.elementType, value.getContext()) != type.getElementType()) {
    auto diagnostic = emitError(value.getLoc());
    return diagnostic << "output '" << output.name << "': it is declared as "
                      << getElementTypeName(declared.elementType) << ", but its elements are "
                      << type.getElementType();
  }
  if (!declared.shape)
    return success();
  if (static_cast<int64_t>(declared.shape->size()) != type.getRank())
    return error("it is declared with rank " + Twine(declared.shape->size()) + ", but has rank " +
                 Twine(type.getRank()));
  for (auto [axis, dim] : llvm::enumerate(*declared.shape))
    if (dim.kind == Dimension::Kind::Value && !type.isDynamicDim(axis) &&
        dim.value != type.getDimSize(axis))
      return error("axis " + Twine(axis) + " is declared with size " + Twine(dim.value) +
                   ", but has size " + Twine(type.getDimSize(axis)));
  return success();
}

LogicalResult Importer::addEntry(StringRef name, std::unique_ptr<Model> owned) {
  const Model &model = weights.addModel(std::move(owned));
  auto unsupported = findUnsupported(model);
  if (!unsupported.empty())
    return emitError(UnknownLoc::get(context)) << describe(unsupported);
  SymbolTable symbols(*module);
  if (Operation *other = symbols.lookup(name)) {
    if (!isa<WeightOp>(other))
      return emitError(UnknownLoc::get(context)) << "there are two entries '" << name << "'";
    // Entries have the names that the user gave, weights can do without theirs.
    if (failed(symbols.renameToUnique(other, {})))
      return failure();
  }
  func::FuncOp function = GraphBuilder(*module, model, weights, options).build(name);
  if (!function)
    return failure();
  ShapeFacts facts(context);
  if (failed(inferFunction(function, facts)))
    return failure();
  for (auto [output, value] :
       llvm::zip_equal(model.graph.outputs, function.front().getTerminator()->getOperands()))
    if (failed(checkDeclared(output, value)))
      return failure();
  if (!(*module)->hasAttr("onnx.producer") && !model.producerName.empty()) {
    std::string producer = model.producerName.str();
    if (!model.producerVersion.empty())
      producer += (" " + model.producerVersion).str();
    (*module)->setAttr("onnx.producer", StringAttr::get(context, producer));
  }
  return success();
}
