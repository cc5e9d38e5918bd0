//===- TopKOp.h - The first of sorted rows ----------------------*- C++ -*-===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef SSM_DIALECTS_SSM_TOPKOP_H
#define SSM_DIALECTS_SSM_TOPKOP_H

#include "dialects/SSM/SSMOps.h"

#define GET_OP_CLASSES
#include "dialects/SSM/TopKOp.h.inc"

#endif // SSM_DIALECTS_SSM_TOPKOP_H
