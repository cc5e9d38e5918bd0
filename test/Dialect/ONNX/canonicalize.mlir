// RUN: ssm-opt %s -canonicalize | FileCheck %s

// What nobody uses goes, equal constants are one; nodes have no folds of their own,
// those are in the operator table.
// CHECK-LABEL: func.func @constants
func.func @constants() -> (tensor<2xui8>, tensor<2xui8>) {
  // CHECK-NOT: onnx.absent
  %none = onnx.absent : !onnx.none
  // CHECK: %[[C:.*]] = onnx.constant dense<[1, 255]> : tensor<2xui8>
  // CHECK-NOT: onnx.constant
  %0 = onnx.constant dense<[1, 255]> : tensor<2xui8>
  %1 = onnx.constant dense<[1, 255]> : tensor<2xui8>
  %2 = onnx.constant dense<3> : tensor<i64>
  // CHECK: return %[[C]], %[[C]]
  return %0, %1 : tensor<2xui8>, tensor<2xui8>
}

// A node whose graph writes nothing goes with its results; a used one stays.
// CHECK-LABEL: func.func @nodes
func.func @nodes(%x: tensor<3xf32>, %c: tensor<i1>) -> tensor<3xf32> {
  // CHECK-NOT: "Exp"
  %0 = onnx.node "Exp"(%x) version 13 : (tensor<3xf32>) -> tensor<3xf32>
  // CHECK: onnx.node "Neg"
  %1 = onnx.node "Neg"(%x) version 13 : (tensor<3xf32>) -> tensor<3xf32>
  return %1 : tensor<3xf32>
}
