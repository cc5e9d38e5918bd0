//===- SSMEnums.td - Enumerations of the ssm dialect --------*- tablegen -*-===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// In a file of their own: the generator also writes every enumeration that a file
// includes.
//
//===----------------------------------------------------------------------===//

#ifndef SSM_DIALECTS_SSM_ENUMS
#define SSM_DIALECTS_SSM_ENUMS

include "mlir/IR/EnumAttr.td"

def SSM_Transition : I32EnumAttr<"Transition", "how a step of a linear recurrence acts on its state", [
    I32EnumAttrCase<"Diagonal", 0, "diagonal">,
    I32EnumAttrCase<"Scalar", 1, "scalar">,
    I32EnumAttrCase<"LowRank", 2, "low_rank">]> {
  let cppNamespace = "::ssm";
  let genSpecializedAttr = 0;
}
def SSM_Form : I32EnumAttr<"Form", "what kind of loops a kernel becomes", [
    I32EnumAttrCase<"Loops", 0, "loops">,
    I32EnumAttrCase<"Rows", 1, "rows">,
    I32EnumAttrCase<"Matmul", 2, "matmul">,
    I32EnumAttrCase<"Recurrence", 3, "recurrence">,
    I32EnumAttrCase<"Window", 4, "window">]> {
  let cppNamespace = "::ssm";
  let genSpecializedAttr = 0;
}

#endif // SSM_DIALECTS_SSM_ENUMS
