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
  let summary = "exp, expm1, log, log1p, tanh and erf of f32 as arithmetic that vectorises";
  let description = [{
    Polynomials without branches, for scalars and vectors alike: a call of libm
    would keep the loop around it scalar. All handle NaN, infinities, zeros and
    denormals as libm does. With `avx512`, vectors of 16 lanes or a multiple use the
    instructions that split, scale and mend numbers (getexp, scalef, range, fixupimm)
    and take reciprocals. Bounds of the error in units in the last place of the
    result, tested on a fresh sample of all of f32
    (test/Passes/Vector/expand-math-errors.test), without FMA, with FMA, and in the
    form for AVX-512:

    | | no FMA | FMA | AVX-512 |
    |---|---|---|---|
    | exp | 1.3 | 1 | 1 |
    | exp fastmath<afn> | 1.3 | 1 | 70, but 1.5 for \|x\| <= 1, 7e-8 absolute for x <= 0 |
    | expm1 | 1.8 | 1.5 | 1.5 |
    | log | 1 | 1 | 1 |
    | log1p | 1.5 | 1.5 | 1.0 |
    | tanh | 2 | 2 | 2.1 |
    | erf | 2.5 | 2.5 | 2.5 |

    `fastmath<afn>` on an exp takes the short form. It errs where exp is small or large: x / ln 2
    is rounded, a relative error of |x| 2^-24 of either sign. Else it is as exact as the other, and
    its errors have no bias, for factors of a state are taken thousands of times.

    With `gpu`, on scalars, measured on an H100: exp by ex2.approx 2.6 ulp (below 2^-126 14 units of
    the smallest number), softplus 3.5, x / (1 + exp(y)) 4.5; what is below 2^-126 in these two
    may be 0. With afn exp is ex2.approx(x / ln 2): 2e-7 absolute for x <= 0. exp2
    fastmath<afn> is ex2.approx.

    Three chains are taken as a whole:
    - log1p(exp(-|x|)), in softplus: a polynomial on [0, 1]. softplus is exact to 2.5 ulp
      (3 without FMA).
    - x / (1 + exp(y)), in sigmoid and SiLU: with AVX-512 by a reciprocal, exact to 3 ulp
      like the division; the results below 2^-128 of sigmoid become 0.
    - x / y fastmath<arcp>: the same, the reciprocal exact to 0.6 ulp. Elsewhere the
      flag is taken away: LLVM's reciprocal of infinity is NaN.

    Upstream's approximations flush exp's denormal results to zero and reach the
    same accuracy with more operations for tanh and erf; its log1p divides twice.

    ```mlir
    %y = math.exp %x fastmath<afn> : vector<16xf32>
    // becomes
    %t = arith.mulf %x, %log2e fastmath<contract> : vector<16xf32>
    %f = llvm.call_intrinsic "llvm.x86.avx512.mask.reduce.ps.512"(%t, ...)
    %p = ... // six multiply-adds
    %y = llvm.call_intrinsic "llvm.x86.avx512.mask.scalef.ps.512"(%p, %t, ...)
    ```
  }];
  let options = [Option<"avx512", "avx512", "bool", /*default=*/"false",
                        "The target has AVX-512 F and DQ.">,
                 Option<"gpu", "gpu", "bool", /*default=*/"false",
                        "The target is an NVIDIA GPU: scalars take its 2^x and 1/x.">];
  let dependentDialects = ["::mlir::arith::ArithDialect", "::mlir::LLVM::LLVMDialect",
                           "::mlir::vector::VectorDialect"];
}

def ExpandMathF64 : Pass<"ssm-expand-math-f64"> {
  let summary = "elementary functions become arithmetic, in double precision";
  let description = [{
    For targets without a library of them. Every function of one or two real numbers of the math
    dialect and arith.remf, on floats of any width and fixed vectors (those of one axis stay
    vectors, but for remf): f16, bf16 and f32 by way of f64, rounded once more. exp, expm1, log, log1p, tanh and erf of f32 are left to
    ssm-expand-math, those of halves become f32. What a processor has instructions for (square
    roots, rounding, absolute values) stays.

    All numbers are taken: sin, cos and tan are reduced with 192 bits of 2 / pi, remainders are
    exact. Errors of f64 in units in the last place, measured
    (test/Passes/Vector/Inputs/expand_math_f64.py): exp, log 1; the others below 4, erfc 8. Of f32
    all are rounded correctly but for one case in 2^28.

    ```mlir
    %y = math.cbrt %x : f32
    // becomes
    %0 = arith.extf %x : f32 to f64
    %1 = ... // some 60 operations of arith on f64
    %y = arith.truncf %1 : f64 to f32
    ```

    With `only-vectors`, on CPUs: vectors of f32 or shorter, for which a library would be called
    lane by lane. remf, round, scalars and f64 are left to the library.
  }];
  let options = [Option<"onlyVectors", "only-vectors", "bool", "false",
                        "Leave scalars, f64, remf and round alone">];
  let dependentDialects = ["::mlir::arith::ArithDialect", "::mlir::math::MathDialect",
                           "::mlir::scf::SCFDialect", "::mlir::vector::VectorDialect"];
}

def FitVectors : Pass<"ssm-fit-vectors"> {
  let summary = "operations on vectors as x86 does them best, where LLVM does not find it";
  let description = [{
    - Maxima and minima of f32 `fastmath<nsz>`, as reductions have them, become LLVM's own:
      three instructions, of which one waits for the result so far. arith-expand makes
      two comparisons of them, an `or` and a selection, which all do.
    - Those of the lanes of a vector leave NaN out, which is asked for beside them: else each
      step of the reduction waits for a test of the one before. A softmax of 16384 rows of
      16 elements took 0.158 ms before and 0.140 after, of 48 0.276 and 0.250.
    - `vector.create_mask` becomes the bits of a number with `avx512`. LLVM compares lane
      numbers, and again in each step of a loop that uses the mask.

    ```mlir
    %m = arith.maximumf %sofar, %x fastmath<nsz> : vector<16xf32>
    %mask = vector.create_mask %n : vector<16xi1>
    // becomes
    %m = llvm.intr.maximum(%x, %sofar) {fastmathFlags = #llvm.fastmath<nsz>}
    %ones = arith.shli %all, %least : i64 // least = min(n, 16)
    %bits = arith.trunci (not %ones) : i64 to i16
    %mask = llvm.bitcast %bits : i16 to vector<16xi1>
    ```
  }];
  let options = [Option<"avx512", "avx512", "bool", /*default=*/"false",
                        "The target has AVX-512: masks are numbers.">];
  let dependentDialects = ["::mlir::arith::ArithDialect", "::mlir::LLVM::LLVMDialect"];
}

def ExpandArcs : Pass<"ssm-expand-arcs"> {
  let summary = "atan, asin and acos of vectors of f32 as arithmetic";
  let description = [{
    In single precision, within 3 units in the last place: atan by one division, asin and acos by one
    square root. Those of ssm-expand-math-f64 are closer and take twice as long.

    ```mlir
    %a = math.asin %x : vector<16xf32>
    // becomes s + s z p(z) with s = |x|, z = s s, or s = sqrt((1 - |x|) / 2), and then pi / 2 - 2 that
    ```
  }];
  let dependentDialects = ["::mlir::arith::ArithDialect", "::mlir::math::MathDialect"];
}

def ExpandDivision : Pass<"ssm-expand-division"> {
  let summary = "remainders of f32, quotients and remainders of integers, on vectors";
  let description = [{
    No processor divides vectors of integers, and LLVM calls fmodf for each lane. Both follow from a
    division in f64: integers of up to 32 bits have an exact quotient there, and a remainder of
    f32 is exact as long as the quotient has at most 28 bits. If it has more in any lane, its
    digits are taken 28 bits at a time.

    ```mlir
    %q = arith.divsi %x, %y : vector<16xi32>
    // becomes
    %a = arith.sitofp %x : vector<16xi32> to vector<16xf64>
    %b = arith.sitofp %y : vector<16xi32> to vector<16xf64>
    %r = arith.divf %a, %b : vector<16xf64>
    %q = arith.fptosi %r : vector<16xf64> to vector<16xi32>
    ```
  }];
  let dependentDialects = ["::mlir::arith::ArithDialect", "::mlir::math::MathDialect",
                           "::mlir::scf::SCFDialect", "::mlir::vector::VectorDialect"];
}

def RelaxSums : Pass<"ssm-relax-sums"> {
  let summary = "sums of linalg operations may be taken in any order, products contracted";
  let description = [{
    Sets `reassoc` and `contract` on the addition that a linalg.generic reduces with,
    and `contract` on a product that it adds. Nothing else may be reordered, and no
    flag assumes finite numbers. A sum in order is a chain of additions that no
    vector unit can take. Not at -O0, which keeps the order.

    ```mlir
    %s = arith.addf %acc, %p : f32
    // becomes
    %s = arith.addf %acc, %p fastmath<reassoc,contract> : f32
    ```
  }];
  let dependentDialects = ["::mlir::arith::ArithDialect"];
}

def EmitKernels : Pass<"ssm-emit-kernels", "::mlir::func::FuncOp"> {
  let summary = "kernels on buffers become loops and vectors, in the form their configuration says";
  let description = [{
    Runs on outlined kernels, so once for each distinct one. Kernels without a
    configuration, of the form `loops`, or that their form cannot do are left to
    ssm-lower-kernels.

    On buffers rather than by tiling and vectorising on tensors: masked edges,
    packed operands and blocks of time in one nest need no cooperation of other
    passes, any size needs one piece of code, and it compiles in milliseconds.
  }];
  let dependentDialects = ["::mlir::affine::AffineDialect", "::mlir::arith::ArithDialect",
                           "::mlir::LLVM::LLVMDialect", "::mlir::memref::MemRefDialect",
                           "::mlir::scf::SCFDialect", "::mlir::ub::UBDialect",
                           "::mlir::vector::VectorDialect", "::ssm::SSMDialect"];
}

#endif // SSM_PASSES_VECTOR_PASSES
