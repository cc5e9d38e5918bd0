//===- Importer.h - From read models to a module of graphs ------*- C++ -*-===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef SSM_LIB_IMPORT_IMPORTER_H
#define SSM_LIB_IMPORT_IMPORTER_H

#include "lib/Import/ImportedWeights.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/OwningOpRef.h"
#include "mlir/IR/SymbolTable.h"

namespace ssm::onnx {

struct ImportOptions {
  /// Tensors with more bytes become ssm.weight, others constants.
  uint64_t maxConstantBytes = 1024;
  /// The same for floating point, which no shape is computed from: as weights, layers
  /// that differ in them are one kernel.
  uint64_t maxFloatConstantBytes = 64;
};

/// Builds one module out of one or more models. Each becomes a public function,
/// named by its entry, of onnx.node with all types inferred.
///
/// Initializers become weights or constants, also where the file lists them among
/// the inputs; so do the values of Constant nodes. Functions of the model are
/// inlined where the operator table does not know the operator. Locations name
/// nodes (a nameless node by "Operator:first output") and tensors.
class Importer {
public:
  /// Loads the dialects it needs.
  explicit Importer(mlir::MLIRContext *context, ImportOptions options = {});

  /// Adds a model that the reader has validated. Emits one error and returns
  /// failure if it has operators that are not supported (all of them at once),
  /// inputs that are not tensors of known rank, or contradicts itself in types or
  /// sizes; the module is of no use then.
  llvm::LogicalResult addEntry(llvm::StringRef name, std::unique_ptr<Model> model);

  mlir::ModuleOp getModule() { return *module; }
  mlir::OwningOpRef<mlir::ModuleOp> takeModule() { return std::move(module); }

  /// The bytes of the module's weights, by their index.
  const ImportedWeights &getWeights() const { return weights; }
  ImportedWeights takeWeights() { return std::move(weights); }

private:
  mlir::MLIRContext *context;
  ImportOptions options;
  mlir::OwningOpRef<mlir::ModuleOp> module;
  ImportedWeights weights;
};

} // namespace ssm::onnx

#endif // SSM_LIB_IMPORT_IMPORTER_H
