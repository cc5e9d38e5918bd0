//===- Validate.h - Rules that a whole model must keep ----------*- C++ -*-===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef SSM_LIB_IMPORT_READER_VALIDATE_H
#define SSM_LIB_IMPORT_READER_VALIDATE_H

#include "lib/Import/Reader/Model.h"

namespace ssm::onnx {

/// What the reader supports; named in its errors.
constexpr int64_t minIRVersion = 3, maxIRVersion = 14;
constexpr int64_t minOpset = 7, maxOpset = 28;

/// Checks that versions are supported, that every name is defined once and
/// before its uses and shadows none of an outer graph, that every domain is
/// imported, and that functions do not call each other in a circle. What
/// operators demand of their inputs is not looked at.
llvm::Error validate(const Model &model);

} // namespace ssm::onnx

#endif // SSM_LIB_IMPORT_READER_VALIDATE_H
