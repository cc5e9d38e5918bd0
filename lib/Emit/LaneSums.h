//===- LaneSums.h - Sums over the lanes of several vectors ------*- C++ -*-===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef SSM_LIB_EMIT_LANESUMS_H
#define SSM_LIB_EMIT_LANESUMS_H

#include "lib/Emit/PointEmitter.h"

namespace ssm {

/// The reductions over the lanes of four vectors, or of as many as there are lanes, as one
/// vector of so many. There are at least four lanes.
mlir::Value reduceLanesOf(PointEmitter &e, mlir::arith::AtomicRMWKind kind,
                          mlir::ArrayRef<mlir::Value> vectors);

} // namespace ssm

#endif // SSM_LIB_EMIT_LANESUMS_H
