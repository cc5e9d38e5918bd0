//===- Passes.td - Passes on the graph -----------------------------------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef SSM_PASSES_GRAPH_PASSES
#define SSM_PASSES_GRAPH_PASSES

include "mlir/Pass/PassBase.td"

def InferShapes : Pass<"onnx-infer-shapes", "::mlir::ModuleOp"> {
  let summary = "types, sizes and shape values of every node, through the operator table";
  let description = [{
    Visits the nodes of every graph function in order. Contradictions in types,
    ranks and sizes are errors that name the node. Declared result sizes that the
    inferred ones contradict are errors too.

    ```mlir
    %s = onnx.node "Shape"(%x) version 20 : (tensor<?x4xf32>) -> !onnx.unknown
    // becomes
    %s = onnx.node "Shape"(%x) version 20 : (tensor<?x4xf32>) -> tensor<2xi64>
    ```
  }];
  let dependentDialects = ["::ssm::onnx::ONNXDialect"];
}

def FoldConstants : Pass<"onnx-fold-constants", "::mlir::ModuleOp"> {
  let summary = "replaces nodes whose small integer results are known";
  let description = [{
    What shape inference can tell of integer tensors (shapes, axes, lengths) needs
    no node. Only results of at most 128 elements are tracked, so folding cannot
    blow up. Arithmetic on weights is not folded here but computed once at compile
    time (hoist-weights-init). Nodes without uses are erased.

    ```mlir
    %s = onnx.node "Shape"(%x) version 20 : (tensor<3x4xf32>) -> tensor<2xi64>
    // becomes
    %s = onnx.constant dense<[3, 4]> : tensor<2xi64>
    ```
  }];
  let dependentDialects = ["::ssm::onnx::ONNXDialect"];
}

#endif // SSM_PASSES_GRAPH_PASSES
