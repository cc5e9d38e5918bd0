//===- Passes.td - Recognition by arithmetic -----------------------------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef SSM_PASSES_RAISING_PASSES
#define SSM_PASSES_RAISING_PASSES

include "mlir/Pass/PassBase.td"

def RaiseKernels : Pass<"ssm-raise-kernels", "::mlir::func::FuncOp"> {
  let summary = "linalg operations become ssm.kernel";
  let description = [{
    Elementwise operations, sums, and products of matrices on tensors, by whatever
    name. A combiner becomes ssm.reduce over the loops that were reductions; the
    value it starts from is left out if it changes nothing, and combined after the
    reduction if not. Sums may be taken in any order from here on, and a product
    that is summed may be contracted.

    Views of inputs (transposes, broadcasts, reshapes that add or drop axes of size
    1) go into the maps, and filled inputs become scalars. Other reshapes and slices
    stay: they cost nothing on buffers.

    A tensor that the body reads by index is read so by the kernel, or becomes an input
    where the indices are loops.

    What has a combiner of several results, or could trap for a lane outside of a
    vector's mask (integer division by an element) stays linalg, with a remark. So do
    computations on weights alone, which are done once elsewhere.

    ```mlir
    %z = linalg.fill ins(%c0) outs(%e)
    %c = linalg.matmul ins(%a, %b) outs(%z)
    // becomes
    %c = ssm.kernel loops 3 ins(%a, %b) outs(%e) maps [(i, j, k) -> (i, k), (i, j, k) -> (k, j), (i, j, k) -> (i, j)] {
      ^bb0(%x: f32, %y: f32):
        %p = arith.mulf %x, %y fastmath<contract> : f32
        %s = ssm.reduce addf %p over [2] : f32
        ssm.yield %s : f32
    }
    ```
  }];
  let dependentDialects = ["::mlir::arith::ArithDialect", "::mlir::linalg::LinalgDialect",
                           "::mlir::tensor::TensorDialect", "::ssm::SSMDialect"];
}

def RaiseConvs : Pass<"ssm-raise-convs", "::mlir::func::FuncOp"> {
  let summary = "causal depthwise convolutions become kernels with time";
  let description = [{
    A sum over a window of at most `max-taps`, of a sequence that follows zeros or a
    past of one element less than the window, becomes a recurrence whose carries are
    the elements of the window before the present one. The sequence put together goes
    away, and a slice of its last elements (the next past) is made of the last
    carries. If the sum was taken over a sequence padded at both ends and cut to the
    sequence's length, it is not computed behind the cut.

    Where time is the innermost axis of sequence and result, they stay sums, unless
    `dense-time`: lanes of a CPU lie along time, and a recurrence would need both turned.
    Recurrences on a GPU are kernels along time too.

    ```mlir
    %p = tensor.insert_slice %past into %e[0, 0] [8, 1] [1, 1]
    %s = tensor.insert_slice %x into %p[0, 1] [8, %n] [1, 1]
    %y = ssm.kernel loops 3 ins(%s, %w) maps [(d, t, k) -> (d, t + k), (d, t, k) -> (d, k), (d, t, k) -> (d, t)] {
      ^bb0(%v: f32, %u: f32):
        %q = arith.mulf %v, %u
        %r = ssm.reduce addf %q over [2]
        ssm.yield %r
    }
    // becomes
    %last, %y = ssm.kernel loops 2 time 1 ins(%x, %w, %w) inits(%past0)
        maps [(d, t) -> (d, t), (d, t) -> (d, 0), (d, t) -> (d, 1), ...] {
      ^bb0(%v: f32, %u0: f32, %u1: f32, %before: f32):
        %q0 = arith.mulf %before, %u0
        %q1 = arith.mulf %v, %u1
        %r = arith.addf %q0, %q1
        ssm.yield %v, %r
    }
    ```
  }];
  let options = [
    Option<"maxTaps", "max-taps", "int64_t", "8", "wider windows stay sums">,
    Option<"denseTime", "dense-time", "bool", "false",
           "also where time is innermost in memory">,
  ];
  let dependentDialects = ["::mlir::arith::ArithDialect", "::mlir::tensor::TensorDialect",
                           "::ssm::SSMDialect"];
}

def TurnPadding : Pass<"ssm-turn-padding", "::mlir::func::FuncOp"> {
  let summary = "sequences are padded in the layout that they have";
  let description = [{
    A convolution wants channels before time, so exporters turn a sequence, and what
    pads it would store it turned. Kernels read any layout through their maps: so the
    padding is put around the sequence as it lies, channels innermost. Slices of the
    padded sequence are turned on their own.

    ```mlir
    %t = ssm.kernel ins(%x) maps [(d, t) -> (t, d), (d, t) -> (d, t)] { copy }
    %p = tensor.insert_slice %t into %zeros[0, 3] [8, %n] [1, 1]
    %y = ssm.kernel ins(%p) maps [(d, t, k) -> (d, t + k), ...]
    // becomes
    %p = tensor.insert_slice %x into %zeros[3, 0] [%n, 8] [1, 1]
    %y = ssm.kernel ins(%p) maps [(d, t, k) -> (t + k, d), ...]
    ```
  }];
  let dependentDialects = ["::mlir::tensor::TensorDialect", "::ssm::SSMDialect"];
}

def FoldFlips : Pass<"ssm-fold-flips", "::mlir::func::FuncOp"> {
  let summary = "reversed inputs and outputs of recurrences are read and written so";
  let description = [{
    Exporters write the backward half of a bidirectional model as a forward scan of
    reversed sequences (Slice with step -1). The reversal moves down, through kernels
    whose inputs are all reversed along a loop and through slices of other axes, to
    the scan, which reads from the end; one that undoes another goes with it.

    ```mlir
    %r = ssm.kernel { %i = ssm.index 0, tensor.extract %x[%last - %i] }
    %k = ssm.kernel ins(%r) { math.exp }
    %h, %y = ssm.scan ins(%k) ... input_reversed [false] output_reversed [false]
    // becomes
    %k = ssm.kernel ins(%x) { math.exp }
    %h, %z = ssm.scan ins(%k) ... input_reversed [true] output_reversed [true]
    %y = ssm.kernel { %i = ssm.index 0, tensor.extract %z[%last - %i] }
    ```
  }];
  let dependentDialects = ["::mlir::arith::ArithDialect", "::mlir::tensor::TensorDialect",
                           "::ssm::SSMDialect"];
}

def RaiseScans : Pass<"ssm-raise-scans", "::mlir::func::FuncOp"> {
  let summary = "ssm.scan becomes a kernel with time";
  let description = [{
    Where a step consists of kernels, they are joined into one, the carries become
    those of the kernel, and slices along time become maps. Reversed inputs and
    outputs are mirrored. The transition is found by algebra on the region: what
    matters is how the next state depends on the last, not how that was written.

    Views in a step go (`StepViews.h`): slices and reshapes of an input become those of its
    sequence, all others go into the maps of the kernels that read them. A slice of
    what a step computes is computed for itself.

    A step that holds another operation, or that reads a carry at other elements
    than it writes (other than through a sum that can be done in front of the
    writing), stays ssm.scan, with a remark that says why.

    ```mlir
    %h, %y = ssm.scan length(%n) carries(%h0) ins(%x, %a) outs(%e) ... {
      ^bb0(%s: tensor<8xf32>, %xt: tensor<8xf32>, %at: tensor<8xf32>):
        %p = ssm.kernel ins(%s, %at) { arith.mulf }
        %q = ssm.kernel ins(%p, %xt) { arith.addf }
        ssm.yield %q, %q
    }
    // becomes
    %h, %y = ssm.kernel loops 2 time 0 ins(%x, %a) inits(%h0) outs(%eh, %e) maps [...]
        transition <diagonal> {
      ^bb0(%v: f32, %w: f32, %c: f32):
        %p = arith.mulf %c, %w
        %q = arith.addf %p, %v
        ssm.yield %q, %q
    }
    ```
  }];
  let dependentDialects = ["::mlir::arith::ArithDialect", "::mlir::tensor::TensorDialect",
                           "::ssm::SSMDialect"];
}

#endif // SSM_PASSES_RAISING_PASSES
