//===- Passes.td - Fusion ------------------------------------------------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef SSM_PASSES_FUSION_PASSES
#define SSM_PASSES_FUSION_PASSES

include "mlir/Pass/PassBase.td"

def FuseKernels : Pass<"ssm-fuse-kernels"> {
  let summary = "producers and consumers become one kernel";
  let description = [{
    Joins the regions of two kernels where the result between them then never
    touches memory (or is written once and not read again) and nothing slow is
    computed more than once:

    - elementwise kernels into elementwise kernels, rows and recurrences; cheap ones
      also where they are broadcast, or used by several;
    - what follows a product of matrices or a recurrence elementwise into it: bias,
      activation, residual, gate;
    - reductions over the same rows with what is computed from them: softmax,
      normalisations.

    Nothing goes in front of a product of matrices: its tiles read the left operand
    again for every strip of columns, and writing it once costs a percent of the
    product. What was not fused, and why, is a remark of category `fuse`.

    ```mlir
    %p = ssm.kernel ... { mulf, reduce }
    %y = ssm.kernel ins(%p, %bias) ... { addf, maximumf }
    // becomes
    %y = ssm.kernel ... { mulf, reduce, addf, maximumf }
    ```
  }];
  let dependentDialects = ["::mlir::arith::ArithDialect", "::ssm::SSMDialect"];
}

#endif // SSM_PASSES_FUSION_PASSES
