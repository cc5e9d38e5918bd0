//===- SSMOps.td - All operations of the ssm dialect --------*- tablegen -*-===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef SSM_DIALECTS_SSM_OPS
#define SSM_DIALECTS_SSM_OPS

include "dialects/SSM/DeviceOps.td"
include "dialects/SSM/KernelOps.td"
include "dialects/SSM/ModuleOps.td"
include "dialects/SSM/ParallelOps.td"
include "dialects/SSM/ScanOps.td"

#endif // SSM_DIALECTS_SSM_OPS
