//===- Unsupported.h - Operators that no entry of the table serves ----*- C++ -*-===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef SSM_LIB_IMPORT_UNSUPPORTED_H
#define SSM_LIB_IMPORT_UNSUPPORTED_H

#include "lib/Import/Reader/Model.h"

namespace ssm::onnx {

struct UnsupportedOperator {
  std::string domain; // "" is the default domain
  std::string name;
  int64_t version;  // that the model imports
  unsigned count;   // nodes, a function's body counted once
  std::string node; // name of the first, or its first output
};

/// All operators of the model that are neither in the operator table nor functions
/// of the model, in the order in which they first occur.
std::vector<UnsupportedOperator> findUnsupported(const Model &model);

/// One line: count, operator, version and first node of each.
std::string describe(llvm::ArrayRef<UnsupportedOperator> operators);

} // namespace ssm::onnx

#endif // SSM_LIB_IMPORT_UNSUPPORTED_H
