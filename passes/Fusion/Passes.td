//===- Passes.td - Fusion ------------------------------------------------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef SSM_PASSES_FUSION_PASSES
#define SSM_PASSES_FUSION_PASSES

include "mlir/Pass/PassBase.td"

def FuseElementwise : Pass<"ssm-fuse-elementwise"> {
  let summary = "chains of elementwise operations become one loop";
  let description = [{
    A producer goes into its consumer where that computes nothing twice: the
    producer has one use, and the consumer visits each of its elements once. A cheap
    producer (a few additions, multiplications, selections, conversions) may be
    computed again along a broadcast, but never in a sum of products, where it would
    be computed for every row.

    Upstream's pass of this kind asks for one use only, and so moves
    exponentials into products of matrices.

    ```mlir
    %1 = linalg.generic ins(%0) { math.exp }
    %2 = linalg.generic ins(%1, %x) { arith.mulf }
    // becomes
    %2 = linalg.generic ins(%0, %x) { math.exp, arith.mulf }
    ```
  }];
  let dependentDialects = ["::mlir::linalg::LinalgDialect"];
}

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
