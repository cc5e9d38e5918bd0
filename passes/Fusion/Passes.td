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
    - sums over the state of each step of a recurrence into the step;
    - reductions over the same rows with what is computed from them: softmax,
      normalisations;
    - reductions of the same operands over the same loops, such as the least and the greatest
      index of a gather, into each other: one loop that reads once;
    - what follows a Concat or a Pad, piece by piece, into what made the pieces.

    With `device`, what follows a product goes into a recurrence that takes it, if the
    product's own result is narrower: on a GPU the recurrence has threads to spare.

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
  let options = [Option<"device", "device", "bool", /*default=*/"false",
                        "Kernels are a GPU's.">];
  let dependentDialects = ["::mlir::arith::ArithDialect", "::ssm::SSMDialect"];
}

def WidenHalves : Pass<"ssm-widen-halves", "::mlir::func::FuncOp"> {
  let summary = "kernels compute f16 and bf16 in f32, and keep carries so";
  let description = [{
    An operator of ONNX on a half type rounds its result. Inside a kernel nothing needs
    that: what is rounded and extended again stays f32, and only what is stored is
    rounded, and what a Cast rounds (`ssm.cast`). A carry that each step rounds, by an operator, is kept in f32 over all of time, between a
    kernel that extends its start and one that rounds what is left at the end: a state
    that loses bits in each of thousands of steps drifts.

    ```mlir
    %h, %y = ssm.kernel time 0 ins(%x) inits(%h0 : tensor<?xf16>) {
      ^bb0(%v: f16, %c: f16):
        %0 = arith.extf %v : f16 to f32
        %1 = arith.extf %c : f16 to f32
        %2 = arith.addf %0, %1 : f32
        %3 = arith.truncf %2 : f32 to f16
        ssm.yield %3, %3
    }
    // becomes
    %w0 = ssm.kernel ins(%h0) { arith.extf }
    %w, %y = ssm.kernel time 0 ins(%x) inits(%w0 : tensor<?xf32>) {
      ^bb0(%v: f16, %c: f32):
        %0 = arith.extf %v : f16 to f32
        %2 = arith.addf %0, %c : f32
        %3 = arith.truncf %2 : f32 to f16
        ssm.yield %2, %3
    }
    %h = ssm.kernel ins(%w) { arith.truncf }
    ```
  }];
  let dependentDialects = ["::mlir::arith::ArithDialect", "::mlir::tensor::TensorDialect",
                           "::ssm::SSMDialect"];
}

#endif // SSM_PASSES_FUSION_PASSES
