// RUN: ssm-opt %s | ssm-opt | FileCheck %s
// RUN: ssm-opt %s --mlir-print-op-generic | ssm-opt | FileCheck %s

// CHECK-LABEL: func.func @node
func.func @node(%a: tensor<?x4xf32> {onnx.name = "a", onnx.dims = ["n", 4]}, %b: tensor<8x4xf32>)
    -> !onnx.unknown {
  // CHECK: %[[NONE:.*]] = onnx.absent : !onnx.none
  %none = onnx.absent : !onnx.none
  // CHECK: onnx.node "Gemm"(%{{.*}}, %{{.*}}, %[[NONE]]) version 13
  // CHECK-SAME: attributes {alpha = 5.000000e-01 : f32, transB = 1 : i64}
  // CHECK-SAME: : (tensor<?x4xf32>, tensor<8x4xf32>, !onnx.none) -> tensor<?x8xf32>
  %0 = onnx.node "Gemm"(%a, %b, %none) version 13
      attributes {alpha = 0.5 : f32, transB = 1 : i64}
      : (tensor<?x4xf32>, tensor<8x4xf32>, !onnx.none) -> tensor<?x8xf32>
  // CHECK: onnx.node "Gelu"(%{{.*}}) domain "com.microsoft" version 1
  // CHECK-SAME: : (tensor<?x8xf32>) -> !onnx.unknown
  %1 = onnx.node "Gelu"(%0) domain "com.microsoft" version 1
      : (tensor<?x8xf32>) -> !onnx.unknown
  return %1 : !onnx.unknown
}

// CHECK-LABEL: func.func @constants
func.func @constants() -> (tensor<2xui8>, tensor<i1>) {
  // CHECK: onnx.constant dense<[1, 255]> : tensor<2xui8>
  %0 = onnx.constant dense<[1, 255]> : tensor<2xui8>
  // CHECK: onnx.constant dense<true> : tensor<i1>
  %1 = onnx.constant dense<true> : tensor<i1>
  return %0, %1 : tensor<2xui8>, tensor<i1>
}

// Subgraphs are regions; they capture outer values.
// CHECK-LABEL: func.func @subgraphs
// CHECK-SAME: %[[X:[a-z0-9]*]]: tensor<3xf32>
func.func @subgraphs(%x: tensor<3xf32>, %c: tensor<i1>) -> tensor<3xf32> {
  // CHECK: onnx.node "If"(%{{.*}}) version 16 regions ["then_branch", "else_branch"] {
  %0 = onnx.node "If"(%c) version 16 regions ["then_branch", "else_branch"] {
    // CHECK: onnx.node "Neg"(%[[X]])
    %y = onnx.node "Neg"(%x) version 16 : (tensor<3xf32>) -> tensor<3xf32>
    onnx.yield %y : tensor<3xf32>
  }, {
    // CHECK: onnx.yield %[[X]] : tensor<3xf32>
    onnx.yield %x : tensor<3xf32>
  } : (tensor<i1>) -> tensor<3xf32>
  return %0 : tensor<3xf32>
}

// An output that is left out has no type, a graph may give nothing.
// CHECK-LABEL: func.func @left_out
func.func @left_out(%x: tensor<3xf32>) -> tensor<3xi64> {
  // CHECK: onnx.node "TopK"{{.*}} -> (!onnx.none, tensor<3xi64>)
  %k = onnx.constant dense<3> : tensor<1xi64>
  %0:2 = onnx.node "TopK"(%x, %k) version 11
      : (tensor<3xf32>, tensor<1xi64>) -> (!onnx.none, tensor<3xi64>)
  return %0#1 : tensor<3xi64>
}
