//===- Passes.td - From the graph to tensors -----------------------------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef SSM_PASSES_LOWERING_PASSES
#define SSM_PASSES_LOWERING_PASSES

include "mlir/Pass/PassBase.td"

def ConvertONNXToTensor : Pass<"convert-onnx-to-tensor", "::mlir::ModuleOp"> {
  let summary = "lowers every node through the operator table";
  let description = [{
    Graph functions become functions on signless tensors (bool as i8) of linalg,
    tensor, arith, scf, math and ssm operations. What the module must know of its
    signature is kept in the module attribute `ssm.entries`: names, ONNX types and
    sizes of inputs and outputs.

    ```mlir
    func.func @main(%x: tensor<?xf32> {onnx.name = "x"}) -> tensor<?xf32> {
      %y = onnx.node "Neg"(%x) version 13 : (tensor<?xf32>) -> tensor<?xf32>
      return %y : tensor<?xf32>
    }
    // becomes
    func.func @main(%x: tensor<?xf32>) -> tensor<?xf32> {
      %e = tensor.empty(%d) : tensor<?xf32>
      %y = linalg.generic ... { arith.negf }
      return %y : tensor<?xf32>
    }
    ```
  }];
  let dependentDialects = [
    "::mlir::arith::ArithDialect", "::mlir::bufferization::BufferizationDialect",
    "::mlir::func::FuncDialect", "::mlir::linalg::LinalgDialect", "::mlir::math::MathDialect",
    "::mlir::scf::SCFDialect", "::mlir::tensor::TensorDialect", "::ssm::SSMDialect"
  ];
}

def MergeChecks : Pass<"ssm-merge-checks", "::mlir::func::FuncOp"> {
  let summary = "a condition is checked once";
  let description = [{
    The layers of a model ask the same of the same sizes, each for its own nodes. The
    first check of a condition ends the run if it fails; those after it, of other nodes,
    go. Layers that are equal but for their checks become equal by that.

    ```mlir
    ssm.check %ok, "'pad_0' (Pad)", "..."
    ssm.check %ok, "'pad_1' (Pad)", "..."
    // becomes
    ssm.check %ok, "'pad_0' (Pad)", "..."
    ```
  }];
}

def HoistSizes : Pass<"ssm-hoist-sizes", "::mlir::func::FuncOp"> {
  let summary = "what follows from sizes alone, and its checks, come first in a function";
  let description = [{
    What follows from the sizes of the arguments alone, masks and positions too, is the
    same for all layers; CSE leaves it in the first, which then differs from the others.
    At the function's beginning it belongs to none, and a wrong size is told before
    anything is computed. Two layers of an exported Mamba-2 had 125 checks; 55 are left,
    none of them in a layer.

    ```mlir
    %a = linalg.matmul ...
    %n = tensor.dim %x, %c0
    %m = arith.addi %n, %c3
    ssm.check ...
    // becomes
    %n = tensor.dim %x, %c0
    %m = arith.addi %n, %c3
    ssm.check ...
    %a = linalg.matmul ...
    ```
  }];
}

def OutlineRepeats : Pass<"ssm-outline-repeats", "::mlir::ModuleOp"> {
  let summary = "repeated layers become calls of one function";
  let description = [{
    Finds sequences of operations that repeat, equal in everything but their weights
    and what they hand on, and makes each a private function, called once for each
    repetition. Everything after compiles it once: compile time and code size follow
    distinct layers, not layers. Measured on 64 equal Mamba-1 layers: without this,
    bufferization alone (its analysis is quadratic) took longer than 4 layers in all.

    Equality is exact: names, attributes, types, regions, constants and the links
    between operations. What differs (weights, states) becomes an argument; a tensor
    argument is never written. `ssm.weight` marks arguments that are weights in every
    call: what follows from them alone is computed once, at compile time. `ssm.sizes`
    tells which arguments are the dynamic sizes of a result, so that the caller can
    make its buffer. Constants, empty tensors and fills belong to no sequence: each
    user makes its own, for CSE gives them all to the first layer.

    A sequence is cut where the fewest values go across. A result whose size only
    the sequence can tell, or that is no tensor, keeps it from being outlined, and
    so does a check, which names its node.

    ```mlir
    %w0 = ssm.load_weight @w0 : tensor<8x8xf32>
    %w1 = ssm.load_weight @w1 : tensor<8x8xf32>
    %a = linalg.matmul ins(%x, %w0) outs(%e)
    %b = linalg.matmul ins(%a, %w1) outs(%e)
    // becomes
    %a = call @repeated(%x, %w0, %n) : (...) -> tensor<?x8xf32>
    %b = call @repeated(%a, %w1, %n) : (...) -> tensor<?x8xf32>
    ...
    func.func private @repeated(%x, %w {ssm.weight}, %n: index)
        -> (tensor<?x8xf32> {ssm.sizes = array<i64: 2>})
    ```
  }];
  let options = [
    Option<"minRepeatedOps", "min-repeated-ops", "uint64_t", /*default=*/"32",
           "Operations that the calls must save: fewer compile fast as they are, and "
           "fuse with what stands around them.">
  ];
  let dependentDialects = ["::mlir::arith::ArithDialect", "::mlir::func::FuncDialect",
                           "::mlir::tensor::TensorDialect"];
}

def DecomposeTopK : Pass<"ssm-decompose-topk", "::mlir::func::FuncOp"> {
  let summary = "ssm.topk on buffers to lists and heaps";
  let description = [{
    With vectors, up to 64 places are a sorted list in registers, into which an element is put by
    two comparisons and two shuffles; neighbours are compared with its last place as a vector first,
    so that of a long row few elements are looked at one by one. More places, or without vectors:
    for every row a heap of the k best indices, its root the worst of them: each element
    that beats the root replaces it. Taking the roots away one by one, from the back of
    the same k places, sorts the row. O(n log k) for any k, in place in the result; k = n,
    a full sort, is common where tokens are grouped by expert.

    ```mlir
    ssm.topk axis 0 ins(%x : memref<9xf32>) outs(%i : memref<4xi64>)
    // becomes
    scf.for %n = %c0 to %c4 step %c1 { ... memref.store %n, %i[%n] }
    scf.for %n = %c0 to %c2 step %c1 { ... }  // the heap, from its last parent
    scf.for %n = %c4 to %c9 step %c1 { ... scf.if %better { ... } }
    scf.for %n = %c1 to %c4 step %c1 { ... }  // sorted
    ```
  }];
  let options = [
    Option<"vectors", "vectors", "bool", /*default=*/"false", "Vectors of elements are compared.">
  ];
  let dependentDialects = ["::mlir::arith::ArithDialect", "::mlir::math::MathDialect",
                           "::mlir::memref::MemRefDialect", "::mlir::scf::SCFDialect",
                           "::mlir::vector::VectorDialect"];
}

def DecomposeScan : Pass<"ssm-decompose-scan", "::mlir::func::FuncOp"> {
  let summary = "ssm.scan to a loop over slices";
  let description = [{
    The plain meaning of ssm.scan: scf.for over time, inputs read by extract_slice,
    outputs written in place by insert_slice into loop-carried destinations. Carries
    keep their buffers: the next one is computed in place or copied once a step.

    ```mlir
    %h, %y = ssm.scan length(%n) carries(%h0) ins(%x) outs(%e) ...
    // becomes
    %h, %y = scf.for %t = %c0 to %n step %c1 iter_args(%hi = %h0, %yi = %e) {
      %xt = tensor.extract_slice %x[%t, 0] [1, 8] [1, 1]
      ...
      %yn = tensor.insert_slice %yt into %yi[%t, 0] [1, 8] [1, 1]
      %hc = bufferization.materialize_in_destination %hn in %hi
      scf.yield %hc, %yn
    }
    ```
  }];
  let dependentDialects = ["::mlir::arith::ArithDialect",
                           "::mlir::bufferization::BufferizationDialect",
                           "::mlir::scf::SCFDialect", "::mlir::tensor::TensorDialect"];
}

def LowerKernels : Pass<"ssm-lower-kernels"> {
  let summary = "ssm.kernel on buffers to loops over elements";
  let description = [{
    The plain meaning of ssm.kernel, for kernels of the form `loops` or without a
    configuration, or for all: it is the same whatever the form. Each out has loops over its elements; reductions are loops inside
    of them, with the result in a scalar, so nothing needs a temporary. What depends
    on few loops is computed outside of the others. In a step of time, outs are
    computed first, then the next carries over the old ones.

    ```mlir
    ssm.kernel loops 2 ins(%x : memref<?x?xf32>) outs(%y : memref<?xf32>) maps [...] {
      ^bb0(%v: f32):
        %s = ssm.reduce addf %v over [1] : f32
        ssm.yield %s : f32
    }
    // becomes
    scf.for %i = %c0 to %m step %c1 {
      %s = scf.for %j = %c0 to %n step %c1 iter_args(%acc = %zero) -> (f32) {
        %v = memref.load %x[%i, %j]
        %t = arith.addf %acc, %v
        scf.yield %t
      }
      memref.store %s, %y[%i]
    }
    ```
  }];
  let options = [
    Option<"allForms", "all-forms", "bool", /*default=*/"false",
           "Also kernels of other forms, in place of what would make vectors of them.">
  ];
  let dependentDialects = ["::mlir::affine::AffineDialect", "::mlir::arith::ArithDialect",
                           "::mlir::memref::MemRefDialect", "::mlir::scf::SCFDialect"];
}

def CheckTensorStage : Pass<"ssm-check-tensor", "::mlir::ModuleOp"> {
  let summary = "errors unless only the tensor stage's vocabulary is left";
}

#endif // SSM_PASSES_LOWERING_PASSES
