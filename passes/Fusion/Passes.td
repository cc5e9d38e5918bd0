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

#endif // SSM_PASSES_FUSION_PASSES
