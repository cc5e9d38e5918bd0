//===- Passes.td - Vectors -----------------------------------------------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef SSM_PASSES_VECTOR_PASSES
#define SSM_PASSES_VECTOR_PASSES

include "mlir/Pass/PassBase.td"

def ExpandMath : Pass<"ssm-expand-math"> {
  let summary = "exp, log, log1p, tanh and erf of f32 as arithmetic that vectorises";
  let description = [{
    Polynomials without branches, for scalars and vectors alike: a call of libm
    would keep the loop around it scalar. All handle NaN, infinities, zeros and
    denormals as libm does. Largest error measured over all finite inputs, in units
    in the last place of the result (test/Passes/Vector/expand-math.test):

    exp 1, log 1, log1p 1.5, tanh 1.5, erf 2.5.

    Upstream's approximations flush exp's denormal results to zero and reach the
    same accuracy with more operations for tanh and erf; its log1p divides twice.
  }];
  let dependentDialects = ["::mlir::arith::ArithDialect"];
}

#endif // SSM_PASSES_VECTOR_PASSES
