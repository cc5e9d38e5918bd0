//===- SSMDialect.cpp - The ssm dialect -----------------------------------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "dialects/SSM/SSMOps.h"
#include "dialects/SSM/TensorMapOp.h"
#include "dialects/SSM/TopKOp.h"

#include "mlir/IR/Builders.h"
#include "mlir/IR/DialectImplementation.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace ssm;

#include "dialects/SSM/SSMDialect.cpp.inc"
#include "dialects/SSM/SSMEnums.cpp.inc"

#define GET_ATTRDEF_CLASSES
#include "dialects/SSM/SSMAttributes.cpp.inc"

#define GET_OP_CLASSES
#include "dialects/SSM/SSMOps.cpp.inc"

void SSMDialect::initialize() {
  addAttributes<
#define GET_ATTRDEF_LIST
#include "dialects/SSM/SSMAttributes.cpp.inc"
      >();
  addOperations<
#define GET_OP_LIST
#include "dialects/SSM/SSMOps.cpp.inc"
      >();
  addOperations<
#define GET_OP_LIST
#include "dialects/SSM/TensorMapOp.cpp.inc"
      >();
  addOperations<
#define GET_OP_LIST
#include "dialects/SSM/TopKOp.cpp.inc"
      >();
}
