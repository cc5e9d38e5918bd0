//===- Passes.td - Down to LLVM for CPUs ---------------------------------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef SSM_PASSES_CPU_PASSES
#define SSM_PASSES_CPU_PASSES

include "mlir/Pass/PassBase.td"

def LowerModuleOps : Pass<"ssm-lower-module-ops", "::mlir::ModuleOp"> {
  let summary = "ssm.arg, ssm.output, ssm.check, ... to loads and calls of the table";
  let description = [{
    Runs on functions of basic blocks. A check that fails, and a table function
    that gives NULL, return a status from the function at once: generated code
    holds nothing that must be freed. Fills the module attribute
    `ssm.checks.NAME` with the node and text of each check site.
  }];
  let dependentDialects = ["::mlir::arith::ArithDialect", "::mlir::cf::ControlFlowDialect",
                           "::mlir::func::FuncDialect", "::mlir::LLVM::LLVMDialect"];
}

def ConvertMathToLibm : Pass<"ssm-math-to-libm", "::mlir::ModuleOp"> {
  let summary = "math operations that LLVM has no good form of become libm calls";
  let description = [{
    log1p, expm1, tanh, erf and the inverse and hyperbolic functions. The others
    (exp, log, sqrt, floor, ...) have LLVM intrinsics. Upstream's conversion takes
    all of them, which hides floor, sqrt and fma from the vectoriser; upstream's
    conversion to LLVM turns log1p(x) into log(1+x), which loses all digits of
    small x.
  }];
  let dependentDialects = ["::mlir::func::FuncDialect", "::mlir::arith::ArithDialect",
                           "::mlir::ub::UBDialect", "::mlir::vector::VectorDialect"];
}

def ExpandFloat8 : Pass<"ssm-expand-float8"> {
  let summary = "conversions of 8-bit floats (e4m3fn, e5m2) as arithmetic";
  let description = [{
    Neither LLVM nor most chips have them. Exact to longer types; from f32 (f16 and bf16 go
    there first) to the nearest, ties to even, and what is too large becomes infinity, for
    e4m3fn, which has none, NaN. Denormals count. On scalars and vectors.

    ```mlir
    %y = arith.extf %x : f8E5M2 to f32
    // becomes
    %b = arith.bitcast %x : f8E5M2 to i8
    ... arith on i32, one arith.mulf ...
    %y = arith.bitcast %r : i32 to f32
    ```
  }];
  let dependentDialects = ["::mlir::arith::ArithDialect"];
}

def ExpandHalf : Pass<"ssm-expand-half"> {
  let summary = "conversions of f16 and bf16 as arithmetic that vectorises";
  let description = [{
    f32 to bf16 always; f32 to f16 and back where the target has no instructions for
    it. Rounds to nearest, ties to even; denormals are kept, NaN stays NaN. Scalars
    and vectors alike.

    LLVM would call a function for each f16 element. Upstream's expansion of f32 to
    bf16 selects between bf16 values, which LLVM does element by element; selected
    as integers they are:

    ```mlir
    %y = arith.truncf %x : vector<16xf32> to vector<16xbf16>
    // becomes
    %rounded = arith.addi ... : vector<16xi32>
    %isNaN = arith.cmpf uno, %x, %x : vector<16xf32>
    %bits = arith.select %isNaN, %quiet, %rounded : vector<16xi1>, vector<16xi32>
    %high = arith.trunci ... : vector<16xi32> to vector<16xi16>
    %y = arith.bitcast %high : vector<16xi16> to vector<16xbf16>
    ```
  }];
  let options = [Option<"f16", "f16", "bool", /*default=*/"false",
                        "Expand conversions of f16 too: the target has no F16C.">];
  let dependentDialects = ["::mlir::arith::ArithDialect"];
}

def ProfileKernels : Pass<"ssm-profile-kernels", "::mlir::ModuleOp"> {
  let summary = "calls of kernels tell when they begin and end";
  let description = [{
    Around every call of a kernel the module calls the table's function `kernel` with the
    kernel's name, 0 before and 1 behind it, and the bytes and floating point operations that
    `@KERNEL.work` (ssm-count-work) tells for the sizes of the call: -1 if there is none. Only
    in modules that are compiled for it (`--profile`): others have nothing to pay.

    ```mlir
    func.call @kernel_softmax(%table, %context, ...)
    // becomes
    %work:2 = func.call @kernel_softmax.work(%table, %context, ...)
    llvm.call %told(%context, %name, %zero, %work#0, %work#1)
    func.call @kernel_softmax(%table, %context, ...)
    llvm.call %told(%context, %name, %one, %work#0, %work#1)
    ```
  }];
  let dependentDialects = ["::mlir::LLVM::LLVMDialect"];
}

def CountWork : Pass<"ssm-count-work", "::mlir::ModuleOp"> {
  let summary = "functions that tell the traffic and arithmetic of kernels";
  let description = [{
    For every kernel function that is one ssm.kernel or linalg operation, a function
    `@KERNEL.work` of the same parameters that gives the bytes it must move at least and its
    floating point operations, at the sizes it is called with. Runs as long as kernels are
    operations.

    Bytes: each buffer once, whole; of a table that is read by index what is asked for, at
    most all of it. Operations: those of the region, each at the points of the loops that it
    depends on, however it is emitted. A function like exp is one; conversions, comparisons
    and choices are none.

    ```mlir
    func.func private @kernel_map(%t: !llvm.ptr, %c: !llvm.ptr, %x: !llvm.ptr, %n: index, ...) {
      ssm.kernel loops 1 ins(%xm : memref<?xf32>) outs(%ym : memref<?xf32>) ... { mulf; addf }
    }
    // gets, in substance
    func.func private @kernel_map.work(...) -> (i64, i64) { return 8 * n, 2 * n }
    ```
  }];
  let dependentDialects = ["::mlir::arith::ArithDialect", "::mlir::memref::MemRefDialect"];
}

def CopyToKernel : Pass<"ssm-copy-to-kernel", "::mlir::func::FuncOp"> {
  let summary = "memref.copy to ssm.kernel";
  let description = [{
    So that a copy runs in vectors and on all threads. Upstream lowers one of a strided
    buffer to a call of a function of its own runtime, which modules do not have.
  }];
  let dependentDialects = ["::ssm::SSMDialect"];
}

def ResolveExpandShape : Pass<"ssm-resolve-expand-shape"> {
  let summary = "memref.expand_shape to several dynamic sizes becomes memref.reinterpret_cast";
  let description = [{
    Upstream's expand-strided-metadata computes the one dynamic size of a group from
    the others and crashes where a group has two. The output sizes are operands, so
    the strides are their products:

    ```mlir
    %1 = memref.expand_shape %0 [[0, 1]] output_shape [%m, %n]
        : memref<?xf32> into memref<?x?xf32>
    // becomes
    %base, %offset, %size, %stride = memref.extract_strided_metadata %0
    %1 = memref.reinterpret_cast %base to offset: [0], sizes: [%m, %n], strides: [%n, 1]
    ```
  }];
  let dependentDialects = ["::mlir::arith::ArithDialect", "::mlir::memref::MemRefDialect"];
}

def ResolveSubview : Pass<"ssm-resolve-subview", "::mlir::func::FuncOp"> {
  let summary = "slices that drop some of several axes of size 1 become memref.reinterpret_cast";
  let description = [{
    Upstream tells by strides which axes a memref.subview drops, and takes the first
    one of size 1 where strides are dynamic; with it go the strides of another axis.
    The shapes tell more:

    ```mlir
    %1 = memref.subview %0[0, 0, %t, 0] [1, %m, 1, %n] [1, 1, 1, 1]
        : memref<1x?x17x?xf32> to memref<1x?x?xf32, strided<[?, ?, 1], offset: ?>>
    // becomes
    %whole = memref.subview %0[0, 0, %t, 0] [1, %m, 1, %n] [1, 1, 1, 1]
        : memref<1x?x17x?xf32> to memref<1x?x1x?xf32, strided<[?, ?, ?, 1], offset: ?>>
    %base, %offset, %sizes:4, %strides:4 = memref.extract_strided_metadata %whole
    %1 = memref.reinterpret_cast %base to offset: [%offset], sizes: [1, %m, %n],
        strides: [%strides#0, %strides#1, 1]
    ```
  }];
  let dependentDialects = ["::mlir::memref::MemRefDialect"];
}

def OrderLoops : Pass<"ssm-order-loops", "::mlir::func::FuncOp"> {
  let summary = "the loop along which memory lies densest runs innermost";
  let description = [{
    On buffers, before linalg becomes loops. LLVM vectorises innermost loops whose
    accesses are dense and that carry no sum in order; a product of matrices has
    such a loop, but not innermost. The order within each sum does not change.

    ```mlir
    // c[i, j] += a[i, k] * b[k, j], loops i, j, k
    // becomes loops i, k, j
    ```
  }];
  let dependentDialects = ["::mlir::linalg::LinalgDialect"];
}

def OutlineKernels : Pass<"ssm-outline-kernels", "::mlir::ModuleOp"> {
  let summary = "every loop nest becomes a function; equal ones become one";
  let description = [{
    Runs on buffers, while loop nests are still linalg operations. A nest without
    checks becomes a function of the pointers it reads and writes and of the sizes
    it needs; views are made again inside. Buffers of one call do not overlap unless
    they are the same buffer, which the pointers say (llvm.noalias).

    LLVM's passes take more than linear time in the size of a function, and a model
    repeats its layers: compile time and code size follow distinct kernels.

    The runtime's table and the context come first in every kernel, so that loops in
    it can run in parallel.

    ```mlir
    linalg.generic ins(%x : memref<?xf32>) outs(%y : memref<?xf32>) { math.exp }
    // becomes
    call @kernel_exp(%table, %context, %xp, %n, %yp)
        : (!llvm.ptr, !llvm.ptr, !llvm.ptr, index, !llvm.ptr) -> ()
    ```
  }];
  let options = [Option<"device", "device", "bool", /*default=*/"false",
                        "For a device: stores of host code to its memory are nests too, constants "
                        "in memory go into the kernels, and checks in scf.for are its kernel's "
                        "(ssm.check_values).">];
  let dependentDialects = ["::mlir::func::FuncDialect", "::mlir::LLVM::LLVMDialect",
                           "::ssm::SSMDialect"];
}

def OutlineParallel : Pass<"ssm-outline-parallel", "::mlir::ModuleOp"> {
  let summary = "ssm.parallel_for to a function of a range and a call of the table";
  let description = [{
    The body becomes a function of what it uses and of the two ends of a piece;
    constants, sizes and views are made again in it. What the table calls unpacks a
    closure and calls that function. So the pointers of a kernel stay parameters,
    and keep `llvm.noalias`, which loads from a closure would lose. A loop that is
    one piece calls the body at once. So does one in a function without a table,
    that is, inside a piece of another.

    ```mlir
    func.func private @kernel(%table: !llvm.ptr, %context: !llvm.ptr,
                              %x: !llvm.ptr {llvm.noalias}, %n: index)
        attributes {ssm.kernel} {
      ssm.parallel_for %n grain %c64 { ^bb0(%lo: index, %hi: index): ... uses %x }
    }
    // becomes
    func.func private @kernel(...) attributes {ssm.kernel} {
      %closure = llvm.alloca %one x !llvm.struct<(ptr)>
      %large = arith.cmpi sgt, %n, %c64
      scf.if %large {
        llvm.store %x, %closure[0]
        %parallel_for = llvm.load %table[8]
        llvm.call %parallel_for(%context, @kernel.range, %closure, %n, %c64)
      } else {
        %some = arith.cmpi sgt, %n, %c0
        scf.if %some { call @kernel.piece(%x, %c0, %n) }
      }
    }
    func.func private @kernel.range(%closure: !llvm.ptr, %lo: i64, %hi: i64) -> i32 {
      %x = llvm.load %closure[0]
      call @kernel.piece(%x, %lo, %hi)
      return 0
    }
    func.func private @kernel.piece(%x: !llvm.ptr {llvm.noalias}, %lo: index, %hi: index)
    ```
  }];
  let dependentDialects = ["::mlir::arith::ArithDialect", "::mlir::func::FuncDialect",
                           "::mlir::LLVM::LLVMDialect", "::mlir::memref::MemRefDialect",
                           "::mlir::scf::SCFDialect", "::ssm::SSMDialect"];
}

#endif // SSM_PASSES_CPU_PASSES
