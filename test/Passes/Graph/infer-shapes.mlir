// RUN: ssm-opt %s -split-input-file -verify-diagnostics -onnx-infer-shapes | FileCheck %s

// Sizes and types flow through nodes; static sizes are told apart from symbols.
// CHECK-LABEL: func.func @flows
// CHECK-SAME: -> (tensor<?x8xf32>, tensor<2xi64>)
func.func @flows(%x: tensor<?x8xf32> {onnx.name = "x", onnx.dims = ["n", 8]})
    -> (!onnx.unknown, !onnx.unknown) {
  // CHECK: onnx.node "Exp"(%{{.*}}) version 13 : (tensor<?x8xf32>) -> tensor<?x8xf32>
  %0 = onnx.node "Exp"(%x) version 13 : (tensor<?x8xf32>) -> !onnx.unknown
  %1 = onnx.node "Shape"(%0) version 13 : (!onnx.unknown) -> !onnx.unknown
  return %0, %1 : !onnx.unknown, !onnx.unknown
}

// -----

// Shape arithmetic tells the static size of a reshape.
// CHECK-LABEL: func.func @reshape
func.func @reshape(%x: tensor<?x8xf32> {onnx.name = "x"}) -> !onnx.unknown {
  %two = onnx.constant dense<2> : tensor<1xi64>
  %rest = onnx.constant dense<[-1]> : tensor<1xi64>
  %s = onnx.node "Concat"(%rest, %two) version 13 attributes {axis = 0 : i64}
      : (tensor<1xi64>, tensor<1xi64>) -> !onnx.unknown
  // CHECK: onnx.node "Reshape"{{.*}} -> tensor<?x2xf32>
  %y = onnx.node "Reshape"(%x, %s) version 13 : (tensor<?x8xf32>, !onnx.unknown) -> !onnx.unknown
  return %y : !onnx.unknown
}

// -----

func.func @contradiction(%x: tensor<3xf32>, %y: tensor<4xf32>) -> !onnx.unknown {
  // expected-error @+1 {{node Add: sizes 3 and 4 of axis 0 do not broadcast}}
  %0 = onnx.node "Add"(%x, %y) version 14 : (tensor<3xf32>, tensor<4xf32>) -> !onnx.unknown
  return %0 : !onnx.unknown
}

// -----

func.func @unknown_attribute(%x: tensor<3xf32>) -> !onnx.unknown {
  // expected-error @+1 {{node Exp: has attribute 'axis', which the operator does not have at opset 13}}
  %0 = onnx.node "Exp"(%x) version 13 attributes {axis = 1 : i64} : (tensor<3xf32>) -> !onnx.unknown
  return %0 : !onnx.unknown
}

// -----

func.func @too_few_inputs(%x: tensor<3xf32>) -> !onnx.unknown {
  // expected-error @+1 {{node Add: has 1 inputs, expected 2}}
  %0 = onnx.node "Add"(%x) version 13 : (tensor<3xf32>) -> !onnx.unknown
  return %0 : !onnx.unknown
}

// -----

// expected-error @+1 {{output y is declared as}}
func.func @declared(%x: tensor<3xf32>) -> (tensor<4xf32> {onnx.name = "y"}) {
  %0 = onnx.node "Exp"(%x) version 13 : (tensor<3xf32>) -> tensor<4xf32>
  return %0 : tensor<4xf32>
}
