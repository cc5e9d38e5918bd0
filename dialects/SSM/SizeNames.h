//===- SizeNames.h - Sizes of inputs that have one name ---------*- C++ -*-===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef SSM_DIALECTS_SSM_SIZENAMES_H
#define SSM_DIALECTS_SSM_SIZENAMES_H

#include "mlir/IR/BuiltinAttributes.h"
#include "mlir/IR/Value.h"

namespace ssm {

/// The name that the signature gives a size of an input of an entry, an argument of its
/// function or an ssm.arg. Sizes of one name are equal: the runtime sees to it. Null if it
/// has none.
mlir::StringAttr getSizeName(mlir::Value input, int64_t axis);

} // namespace ssm

#endif // SSM_DIALECTS_SSM_SIZENAMES_H
