//===- ModuleSpec.h - What a compiled module says of itself -----*- C++ -*-===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The signature, states, checks and weights of a module whose functions are in
// the LLVM dialect, read from the attributes that the target stage leaves:
//
//   ssm.entries = [{name = "main",
//                   inputs = [{name = "x", type = 1, dims = ["n", 4, unit]}],
//                   outputs = [...],
//                   states = [{input = 0, output = 1, kind = 0, axis = 0}]}]
//   ssm.checks.<entry> = [{node = "'g' (Gather)", text = "index {0} ..."}]
//   ssm.kernels.<entry> = ["name", ...]
//
// type is ONNX's number; a dim is a size, the name of a symbol, or unit if it has
// none. Each ssm.weight with an i64 attribute `ssm.offset` is part of the module.
//
//===----------------------------------------------------------------------===//

#ifndef SSM_LIB_PACKAGE_MODULESPEC_H
#define SSM_LIB_PACKAGE_MODULESPEC_H

#include "dialects/SSM/SSMOps.h"
#include "mlir/IR/BuiltinOps.h"
#include "llvm/Support/Error.h"
#include <string>
#include <vector>

namespace ssm {

inline constexpr llvm::StringLiteral kEntriesAttr = "ssm.entries";
inline constexpr llvm::StringLiteral kChecksAttrPrefix = "ssm.checks.";
inline constexpr llvm::StringLiteral kKernelsAttrPrefix = "ssm.kernels.";
inline constexpr llvm::StringLiteral kOffsetAttr = "ssm.offset";
/// The element type that ONNX gives a weight, where its tensor type is signless.
inline constexpr llvm::StringLiteral kElementTypeAttr = "ssm.element_type";

struct DimSpec {
  int64_t size = -1; // -1: told by the run
  std::string symbol;
};

struct ValueSpec {
  std::string name;
  int32_t type = 0; // ONNX's number
  std::vector<DimSpec> dims;
};

struct StateSpec {
  int32_t input, output;
  int32_t kind; // ssm_state_kind
  int32_t axis;
  bool inPlace; // of ssm-find-states-in-place
};

struct CheckSpec {
  std::string node, text;
};

struct EntrySpec {
  std::string name;
  std::vector<ValueSpec> inputs, outputs;
  std::vector<StateSpec> states;
  std::vector<CheckSpec> checks;
  std::vector<std::string> kernels;
};

struct WeightSpec {
  WeightOp op;
  std::string name; // its ONNX name
  int32_t type;     // ONNX's number
  std::vector<int64_t> dims;
  int64_t offset, bytes;
  uint64_t hash = 0; // of the bytes, once they are written
};

struct ModuleSpec {
  std::vector<EntrySpec> entries;
  std::vector<WeightSpec> weights; // by offset, then length, then name
};

/// ONNX's number of an element type (signless is signed, i1 is bool), or nothing.
std::optional<int32_t> getONNXType(mlir::Type elementType);

/// The element type of that ONNX number, or null.
mlir::Type getElementType(int32_t onnxType, mlir::MLIRContext *context);

/// Error: attributes that do not have the form above, an entry without its two
/// functions, weights that overlap or are not aligned.
llvm::Expected<ModuleSpec> readModuleSpec(mlir::ModuleOp module);

} // namespace ssm

#endif // SSM_LIB_PACKAGE_MODULESPEC_H
