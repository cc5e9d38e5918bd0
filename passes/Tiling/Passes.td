//===- Passes.td - Tiles -------------------------------------------------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef SSM_PASSES_TILING_PASSES
#define SSM_PASSES_TILING_PASSES

include "mlir/Pass/PassBase.td"

def ConfigureKernels : Pass<"ssm-configure-kernels"> {
  let summary = "chooses form, lanes and tiles of every kernel";
  let description = [{
    The only place that decides how a kernel becomes loops. The choice is an
    attribute, printed with the kernel; a kernel that has one keeps it.

    ```mlir
    ssm.kernel loops 2 ins(%x : tensor<?x?xf32>) ... { arith.negf }
    // becomes
    ssm.kernel loops 2 ins(%x : tensor<?x?xf32>) ...
        config <rows, lane_loop = 1, lanes = 16> { arith.negf }
    ```
  }];
  let options = [
    Option<"vectorBits", "vector-bits", "int64_t", /*default=*/"256",
           "Width of the target's vectors.">,
    Option<"registers", "registers", "int64_t", /*default=*/"16",
           "Number of the target's vector registers.">
  ];
  let dependentDialects = ["::ssm::SSMDialect"];
}

#endif // SSM_PASSES_TILING_PASSES
