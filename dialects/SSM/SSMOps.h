//===- SSMOps.h - The ssm dialect -------------------------------*- C++ -*-===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef SSM_DIALECTS_SSM_SSMOPS_H
#define SSM_DIALECTS_SSM_SSMOPS_H

#include "mlir/Bytecode/BytecodeOpInterface.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/LLVMIR/LLVMTypes.h"
#include "mlir/IR/BuiltinAttributes.h"
#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/Dialect.h"
#include "mlir/IR/OpDefinition.h"
#include "mlir/IR/OpImplementation.h"
#include "mlir/IR/SymbolTable.h"
#include "mlir/Interfaces/ControlFlowInterfaces.h"
#include "mlir/Interfaces/DestinationStyleOpInterface.h"
#include "mlir/Interfaces/InferTypeOpInterface.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"

#include "dialects/SSM/SSMDialect.h.inc"
#include "dialects/SSM/SSMEnums.h.inc"

#define GET_ATTRDEF_CLASSES
#include "dialects/SSM/SSMAttributes.h.inc"

namespace ssm {
class YieldOp;
}

#define GET_OP_CLASSES
#include "dialects/SSM/SSMOps.h.inc"

#endif // SSM_DIALECTS_SSM_SSMOPS_H
