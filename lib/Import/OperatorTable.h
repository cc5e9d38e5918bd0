//===- OperatorTable.h - What each ONNX operator means ----------*- C++ -*-===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// One entry for each operator and version range, registered by family in
// lib/Import/Operators/. An entry infers types, sizes and shape values of its
// results (InferContext.h) and lowers the node to linalg, tensor, arith, scf and
// ssm on tensors (LoweringContext.h).
//
// To add an operator: write infer and lower in the file of its family, add one
// line to that family's registration function, add a case to test/ops.
//
//===----------------------------------------------------------------------===//

#ifndef SSM_LIB_IMPORT_OPERATORTABLE_H
#define SSM_LIB_IMPORT_OPERATORTABLE_H

#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/StringMap.h"
#include "llvm/ADT/StringRef.h"
#include "llvm/Support/LogicalResult.h"
#include <limits>

namespace ssm::onnx {

class InferContext;
class LoweringContext;
class NodeOp;

/// One attribute that an operator understands. Kinds as in AttributeProto:
/// 'i' int, 'f' float, 's' string, 't' tensor, 'g' graph, 'I' ints, 'F' floats,
/// 'S' strings. A required one is in upper case in no way: see `required`.
struct AttrSpec {
  llvm::StringRef name;
  char kind;
  bool required = false;
};

inline constexpr int kAnyNumber = std::numeric_limits<int>::max();

struct OperatorEntry {
  llvm::StringRef domain; // "" is the default domain
  llvm::StringRef name;
  int sinceVersion;         // first opset version this entry serves
  int minInputs, maxInputs; // maxInputs may be kAnyNumber
  int minOutputs, maxOutputs;
  llvm::ArrayRef<AttrSpec> attrs; // static storage; others are errors
  llvm::LogicalResult (*infer)(InferContext &);
  llvm::LogicalResult (*lower)(LoweringContext &);
};

class OperatorTable {
public:
  /// The table of all families, made once.
  static const OperatorTable &get();

  /// The newest entry at or below `version`, or null.
  const OperatorEntry *lookup(llvm::StringRef domain, llvm::StringRef name, int64_t version) const;
  const OperatorEntry *lookup(NodeOp node) const;

  void add(const OperatorEntry &entry);

private:
  llvm::StringMap<llvm::SmallVector<OperatorEntry, 1>> entries;
};

/// Checks what holds for every node: the numbers of inputs and outputs, names
/// and kinds of attributes, required ones present. Emits an error if not.
llvm::LogicalResult checkNodeForm(NodeOp node, const OperatorEntry &entry);

} // namespace ssm::onnx

#endif // SSM_LIB_IMPORT_OPERATORTABLE_H
