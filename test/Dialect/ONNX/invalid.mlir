// RUN: ssm-opt %s -split-input-file -verify-diagnostics

func.func @version(%x: tensor<3xf32>) {
  // expected-error @+1 {{has opset version 0, expected 1 or more}}
  %0 = onnx.node "Neg"(%x) version 0 : (tensor<3xf32>) -> tensor<3xf32>
  return
}

// -----

func.func @region_names(%c: tensor<i1>) {
  // expected-error @+1 {{has 1 regions and 2 region names}}
  onnx.node "If"(%c) version 16 regions ["then_branch", "else_branch"] {
    onnx.yield
  } : (tensor<i1>) -> ()
  return
}

// -----

func.func @terminator(%c: tensor<i1>) {
  // expected-error @+1 {{regions must be one block that ends in onnx.yield}}
  onnx.node "If"(%c) version 16 regions ["then_branch"] {
    func.return
  } : (tensor<i1>) -> ()
  return
}

// -----

func.func @constant() {
  // expected-error @+1 {{all of {value, output} have same type}}
  %0 = "onnx.constant"() {value = dense<[1, 2]> : tensor<2xi64>} : () -> tensor<3xi64>
  return
}
