// RUN: ssm-opt %s -onnx-fold-constants | FileCheck %s

// The shape of a static tensor is known; its node goes away.
// CHECK-LABEL: func.func @folds
// CHECK-NOT: onnx.node
// CHECK: %[[C:.*]] = onnx.constant dense<[3, 4]> : tensor<2xi64>
// CHECK: return %[[C]]
func.func @folds(%x: tensor<3x4xf32>) -> tensor<2xi64> {
  %0 = onnx.node "Shape"(%x) version 13 : (tensor<3x4xf32>) -> tensor<2xi64>
  return %0 : tensor<2xi64>
}

// One size that only the run can tell keeps the node.
// CHECK-LABEL: func.func @keeps
// CHECK: onnx.node "Shape"
func.func @keeps(%x: tensor<?x4xf32>) -> tensor<2xi64> {
  %0 = onnx.node "Shape"(%x) version 13 : (tensor<?x4xf32>) -> tensor<2xi64>
  return %0 : tensor<2xi64>
}

// Floats are not folded here.
// CHECK-LABEL: func.func @floats
// CHECK: onnx.node "Exp"
func.func @floats() -> tensor<1xf32> {
  %0 = onnx.constant dense<1.0> : tensor<1xf32>
  %1 = onnx.node "Exp"(%0) version 13 : (tensor<1xf32>) -> tensor<1xf32>
  return %1 : tensor<1xf32>
}
