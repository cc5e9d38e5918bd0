//===- FunctionMap.h - Functions of a model by their name -------*- C++ -*-===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef SSM_LIB_IMPORT_READER_FUNCTIONMAP_H
#define SSM_LIB_IMPORT_READER_FUNCTIONMAP_H

#include "lib/Import/Reader/Model.h"
#include "llvm/ADT/DenseMap.h"
#include <tuple>

namespace ssm::onnx {

/// Finds the function that a node calls. The model must outlive it.
class FunctionMap {
public:
  FunctionMap() = default;
  explicit FunctionMap(const Model &model) {
    for (const Function &function : model.functions)
      insert(function);
  }

  /// False if there is one of that name.
  bool insert(const Function &function) {
    return functions.try_emplace({function.domain, function.name, function.overload}, &function)
        .second;
  }

  /// Null if the node calls none.
  const Function *lookup(const Node &node) const {
    return functions.lookup({node.domain, node.opType, node.overload});
  }

private:
  llvm::DenseMap<std::tuple<llvm::StringRef, llvm::StringRef, llvm::StringRef>, const Function *>
      functions;
};

} // namespace ssm::onnx

#endif // SSM_LIB_IMPORT_READER_FUNCTIONMAP_H
