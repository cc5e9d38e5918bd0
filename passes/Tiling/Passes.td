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
           "Number of the target's vector registers.">,
    Option<"bf16Pairs", "bf16-pairs", "bool", /*default=*/"false",
           "The target sums up products of two bf16 by one instruction of 512 bits.">,
    Option<"level1Bytes", "l1-bytes", "int64_t", /*default=*/"0",
           "The first-level cache of a core; 0: left to the emitters.">,
    Option<"level2Bytes", "l2-bytes", "int64_t", /*default=*/"0",
           "The second-level cache of a core; 0: left to the emitters.">
  ];
  let dependentDialects = ["::ssm::SSMDialect"];
}

def FoldPadding : Pass<"ssm-fold-padding"> {
  let summary = "windows hang over the edge of what they read";
  let description = [{
    A sum over windows of an image with zeros around it reads the image itself: what lies
    outside adds nothing. The copy with its zeros goes. For kernels whose configuration
    is the form `window`, which computes the edges apart.

    ```mlir
    %p = tensor.insert_slice %x into %zeros[0, 1] [8, 30] [1, 1]
    %y = ssm.kernel loops 3 ins(%p, %w) maps [(c, i, k) -> (c, i + k), ...]
        config <window, ...> { mulf; ssm.reduce addf over [2] }
    // becomes
    %y = ssm.kernel loops 3 ins(%x, %w) maps [(c, i, k) -> (c, i + k - 1), ...]
        config <window, ...> padded { mulf; ssm.reduce addf over [2] }
    ```
  }];
  let dependentDialects = ["::ssm::SSMDialect"];
}

def LayoutFactors : Pass<"ssm-layout-factors"> {
  let summary = "factors of products as tensor cores read them";
  let description = [{
    A weight of 16 bits that products read across the depth, as exporters write a linear layer, is
    turned, once: few rows by it are then read 256 bytes at a time and multiplied by tensor cores as
    they come, and rows that lie across cache lines are gone. Not where only the rows as they are
    begin at 16 bytes, nor where something else reads the weight, too. `f32`: the same for f32.

    `bytes`: for chips whose warpgroups multiply bytes and 8-bit floats, with rows of both factors
    along the depth. Kernels that only convert e4m3fn or e5m2 to longer floats move into the product
    that takes both: the numbers are the same, and a weight stays at a byte for each. A weight
    whose rows lie the other way is turned. Before ssm-hoist-weights-init, which would convert a
    weight once, and turns it once.

    ```mlir
    %y = ssm.kernel loops 3 ins(%x, %w : tensor<?x64xf16>, tensor<64x48xf16>) ... maps [.., (m, n, k) -> (k, n), ..]
    // becomes
    %t = linalg.transpose ins(%w) permutation = [1, 0]
    %y = ssm.kernel loops 3 ins(%x, %t : tensor<?x64xf16>, tensor<48x64xf16>) ... maps [.., (m, n, k) -> (n, k), ..]
    ```

    ```mlir
    %p = ssm.kernel loops 2 ins(%a : tensor<?x?xf8E4M3FN>) ... { arith.extf; arith.truncf }
    %q = ssm.kernel loops 2 ins(%b : tensor<?x?xf8E4M3FN>) ... { arith.extf; arith.truncf }
    %y = ssm.kernel loops 3 ins(%p, %q : tensor<?x?xbf16>, tensor<?x?xbf16>) ... {
      ^bb0(%0: bf16, %1: bf16):
        %2 = arith.extf %0 : bf16 to f32
    // becomes
    %y = ssm.kernel loops 3 ins(%a, %b : tensor<?x?xf8E4M3FN>, tensor<?x?xf8E4M3FN>) ... {
      ^bb0(%0: f8E4M3FN, %1: f8E4M3FN):
        %2 = arith.extf %0 : f8E4M3FN to f32
    ```
  }];
  let options = [Option<"bytes", "bytes", "bool", "false",
                        "Warpgroups multiply 8-bit numbers">,
                 Option<"f32", "f32", "bool", "false",
                        "Tensor cores multiply f32, too">];
  let dependentDialects = ["::mlir::arith::ArithDialect", "::mlir::linalg::LinalgDialect",
                           "::mlir::tensor::TensorDialect"];
}

def ReadPadding : Pass<"ssm-read-padding", "::mlir::func::FuncOp"> {
  let summary = "kernels read windows of a tensor as if it were padded";
  let description = [{
    A kernel that reads sums of loops of a padded tensor (a convolution) reads the tensor itself,
    where the index is inside of it. On a GPU that costs less than the padded copy.

    Not where the tensor may be empty and the padded one not: there would be no element to read
    instead.

    ```mlir
    %p = tensor.insert_slice %x into %zeros[1] [%n] [1]
    ssm.kernel ins(%p, ...) maps [(i, k) -> (i + k), ...] { ^bb0(%v: f32): ... }
    // becomes
    ssm.kernel ins(...) {
      %at = ssm.index 0 + ssm.index 1 - 1
      %inside = arith.cmpi ult, %at, %n
      %safe = arith.select %inside, %at, %c0
      %e = tensor.extract %x[%safe]
      %v = arith.select %inside, %e, %zero
    }
    ```
  }];
  let dependentDialects = ["::mlir::arith::ArithDialect", "::mlir::tensor::TensorDialect",
                           "::ssm::SSMDialect"];
}

def SplitCarries : Pass<"ssm-split-carries", "::mlir::func::FuncOp"> {
  let summary = "carries that a state takes something from are a recurrence of their own";
  let description = [{
    A recurrence whose states a sum runs over, and that has other carries besides, which do not
    depend on states: the window of a convolution, the id of the last step's sequence. Where there
    are many steps these carries become a kernel in front, which hands on what the states' steps
    take from them. On a GPU the first then runs along time and the second by roles (passes/GPU).
    Of few steps, as in decoding, one kernel is faster; where their number is open, both are there.

    Handed on is as little as possible: what the second kernel can compute of inputs that it reads
    anyway is left to it.

    ```mlir
    %h, %id, %y = ssm.kernel time 0 ins(%u, %ids) inits(%h0, %id0) {
      ^bb0(%u: f32, %now: i32, %h: f32, %last: i32):
        %new = arith.cmpi ne, %now, %last
        %kept = arith.select %new, %zero, %h
        %next = arith.addf %kept, %u
        %y = ssm.reduce addf %next over [2]
        ssm.yield %next, %now, %y
    }
    // becomes, for `least-steps` or more
    %id, %flags = ssm.kernel time 0 ins(%ids) inits(%id0) {
      ^bb0(%now: i32, %last: i32): ssm.yield %now, extui (cmpi ne, %now, %last) }
    %h, %y = ssm.kernel time 0 ins(%u, %flags) inits(%h0) { ... }
    ```
  }];
  let options = [Option<"leastSteps", "least-steps", "int64_t", "16",
                        "Recurrences of fewer steps stay whole">];
  let dependentDialects = ["::mlir::arith::ArithDialect", "::mlir::scf::SCFDialect",
                           "::mlir::tensor::TensorDialect", "::ssm::SSMDialect"];
}

def LayoutWindows : Pass<"ssm-layout-windows"> {
  let summary = "convolutions of 16-bit numbers with channels as the last axis";
  let description = [{
    Tensor cores take numbers that are neighbours along the depth of a product, 16 bytes of them at
    a time; a window has them where channels are the last axis, as many as a multiple of 8. So
    the input of a convolution is turned, once, what it is computed from with it; weights are
    turned at compile time. Channels that are missing are zeros.

    ```mlir
    // out[n, o, x] = sum over c, k of in[n, c, x + k] * w[o, c, k]
    %y = ssm.kernel loops 5 ins(%in, %w) maps [(n, o, x, c, k) -> (n, c, x + k), (o, c, k), ...]
    // becomes
    %t = ssm.kernel loops 3 ins(%in) maps [(n, x, c) -> (n, c, x), (n, x, c)] { yield }
    %v = ssm.kernel loops 3 ins(%w) maps [(o, k, c) -> (o, c, k), (o, k, c)] { yield }
    %y = ssm.kernel loops 5 ins(%t, %v) maps [(n, o, x, k, c) -> (n, x + k, c), (o, k, c), ...]
    ```
  }];
  let dependentDialects = ["::mlir::arith::ArithDialect", "::mlir::tensor::TensorDialect",
                           "::ssm::SSMDialect"];
}

def UnrollGroups : Pass<"ssm-unroll-groups"> {
  let summary = "results that share a state are computed in one pass over it";
  let description = [{
    Where several query heads read one state, a loop over them belongs to the results
    and to no carry. Of a fixed size, it goes: each member of a group has results (and
    inputs) of its own in one kernel, which reads and advances the state once for up to
    8 of them. More members take another kernel each 8, whose last state nobody reads.

    ```mlir
    // y[t, g, v] = sum over k of q[t, g, k] * h[k, v], for 2 values of g
    %h, %y = ssm.kernel loops 4 time 0 ins(%q) inits(%h0) maps [(t, g, v, k) -> (t, g, k), ...]
    // becomes
    %h, %y0, %y1 = ssm.kernel loops 3 time 0 ins(%q, %q) inits(%h0)
        maps [(t, v, k) -> (t, 0, k), (t, v, k) -> (t, 1, k), ...]
    ```
  }];
  let dependentDialects = ["::mlir::arith::ArithDialect", "::mlir::tensor::TensorDialect",
                           "::ssm::SSMDialect"];
}

def LayoutOperands : Pass<"ssm-layout-operands"> {
  let summary = "operands get their lanes as the last axis";
  let description = [{
    A recurrence loads and stores vectors across its lane loop at every step. An
    operand that is not dense along it is transposed before the kernel, or after it
    if it is a result. For weights that costs nothing at run time (see
    ssm-hoist-weights-init); for carries it moves what is read and written once per
    block of time out of the loop. Rows are run over once, so that only weights are
    turned for them.

    ```mlir
    %h = ssm.kernel time 0 inits(%h0 : tensor<64x16xf32>) ... maps [.., (t, d, n) -> (d, n)]
        config <recurrence, lane_loop = 1, ...>
    // becomes
    %h0t = ssm.kernel ins(%h0) outs(%e : tensor<16x64xf32>) { yield }
    %ht = ssm.kernel time 0 inits(%h0t : tensor<16x64xf32>) ... maps [.., (t, d, n) -> (n, d)]
    %h = ssm.kernel ins(%ht) outs(%f : tensor<64x16xf32>) { yield }
    ```
  }];
  let dependentDialects = ["::mlir::tensor::TensorDialect", "::ssm::SSMDialect"];
}

def PackOperands : Pass<"ssm-pack-operands"> {
  let summary = "operands of matrix products get the order in which they are read";
  let description = [{
    For kernels of the form matmul, whose inner loop reads a row of the right side as
    wide as a tile of registers, again and again for all tiles of rows.

    - A right side that comes from weights alone is cut into strips of that width, one
      after the other in memory and padded with zeros. That is done at compile time
      (see ssm-hoist-weights-init), in the type that the weight has.
    - Another right side that is not dense along the lanes is turned; one that lanes read
      through windows lying apart (a convolution with strides, patches of an image) is
      spread: all windows beside each other.
    - A left side that has to be computed (converted to f32, for instance) is computed
      once, not once for each strip.

    ```mlir
    %w = ssm.load_weight @w : tensor<64x40xf32>
    %y = ssm.kernel loops 3 ins(%x, %w) ... maps [.., (m, n, k) -> (k, n), ..]
        config <matmul, lane_loop = 1, lanes = 16, tiles = [12, 2]>
    // becomes
    %zeros = linalg.fill ins(%zero) outs(%e : tensor<64x64xf32>)
    %padded = tensor.insert_slice %w into %zeros
    %p = ssm.kernel loops 3 ins(%padded) outs(%f : tensor<2x64x32xf32>)
        maps [(s, k, l) -> (k, s * 32 + l), (s, k, l) -> (s, k, l)] { yield }
    %y = ssm.kernel loops 3 ins(%x, %p) ... maps [.., (m, n, k) -> (n floordiv 32, k, n mod 32), ..]
    ```
  }];
  let dependentDialects = ["::mlir::arith::ArithDialect", "::mlir::linalg::LinalgDialect",
                           "::mlir::tensor::TensorDialect", "::ssm::SSMDialect"];
}

#endif // SSM_PASSES_TILING_PASSES
