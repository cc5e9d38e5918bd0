//===- WeightPlaces.h - One weights file for several versions ---*- C++ -*-===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef SSM_LIB_COMPILER_WEIGHTPLACES_H
#define SSM_LIB_COMPILER_WEIGHTPLACES_H

#include "mlir/IR/BuiltinOps.h"
#include "llvm/ADT/StringMap.h"

namespace ssm {

/// Where weights lie that a version of the module has, by their content: of a source its
/// hash, of a derived weight how it is computed and from what. Versions for several
/// processors then store once what they have in common, and each its own layouts.
class WeightPlaces {
public:
  /// Before the stage that lays out weights: those that are known get their offset, the
  /// module the place behind all of them. `init` has the derived weights' functions, or
  /// is null.
  void assign(mlir::ModuleOp module, mlir::ModuleOp init);
  /// Behind that stage: remembers the rest.
  void remember(mlir::ModuleOp module, mlir::ModuleOp init);

  /// The bytes that all of them take.
  int64_t totalBytes() const { return end; }
  /// Those of one version, by itself.
  static int64_t bytesOf(mlir::ModuleOp module);

private:
  llvm::StringMap<int64_t> offsets;
  int64_t end = 0;
};

} // namespace ssm

#endif // SSM_LIB_COMPILER_WEIGHTPLACES_H
