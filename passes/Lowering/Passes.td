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

def LowerKernels : Pass<"ssm-lower-kernels", "::mlir::func::FuncOp"> {
  let summary = "ssm.kernel on buffers to loops over elements";
  let description = [{
    The plain meaning of ssm.kernel, for kernels of the form `loops` or without a
    configuration. Each out has loops over its elements; reductions are loops inside
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
  let dependentDialects = ["::mlir::affine::AffineDialect", "::mlir::arith::ArithDialect",
                           "::mlir::memref::MemRefDialect", "::mlir::scf::SCFDialect"];
}

def CheckTensorStage : Pass<"ssm-check-tensor", "::mlir::ModuleOp"> {
  let summary = "errors unless only the tensor stage's vocabulary is left";
}

#endif // SSM_PASSES_LOWERING_PASSES
