//===- LoadModels.h - From ONNX files to one module -------------*- C++ -*-===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef SSM_LIB_COMPILER_LOADMODELS_H
#define SSM_LIB_COMPILER_LOADMODELS_H

#include "lib/Compiler/Diagnostics.h"
#include "lib/Import/ImportedWeights.h"
#include "lib/Import/Reader/ReaderOptions.h"
#include "lib/Package/WeightSources.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/OwningOpRef.h"

namespace ssm {

/// The weights of imported models, by the index of their ssm.weight.
class ModelWeights : public WeightSources {
public:
  ModelWeights() = default;
  explicit ModelWeights(onnx::ImportedWeights weights) : weights(std::move(weights)) {}
  llvm::Error read(WeightOp weight, WeightSink sink) override;
  /// See ImportedWeights.
  bool isSource(llvm::StringRef path) const { return weights.isSource(path); }

private:
  onnx::ImportedWeights weights;
};

struct LoadedModels {
  mlir::OwningOpRef<mlir::ModuleOp> module;
  ModelWeights weights;
};

onnx::ReaderOptions getReaderOptions(const CompileOptions &options, Diagnostics &diagnostics);

/// Reads and imports the model of each entry into one module.
mlir::FailureOr<LoadedModels> loadModels(const CompileOptions &options, mlir::MLIRContext *context,
                                         Diagnostics &diagnostics);

/// Makes one weight of those with equal bytes and type, so that what is derived
/// from them is derived once. Sets `hash` of every weight.
llvm::Error mergeEqualWeights(mlir::ModuleOp module, WeightSources &sources);

/// What the model computes, as a text: before any pass, and without the files it is in.
std::string textOfModel(mlir::ModuleOp imported);

/// A hash of that text and of the weights, after mergeEqualWeights. Never 0.
uint64_t hashModel(llvm::StringRef text, mlir::ModuleOp module);

} // namespace ssm

#endif // SSM_LIB_COMPILER_LOADMODELS_H
