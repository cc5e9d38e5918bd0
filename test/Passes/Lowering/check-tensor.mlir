// RUN: ssm-opt %s -split-input-file -verify-diagnostics -ssm-check-tensor -o /dev/null

func.func @fine(%x: tensor<3xf32>) -> tensor<3xf32> {
  return %x : tensor<3xf32>
}

// -----

func.func @graph(%x: tensor<3xf32>) -> tensor<3xf32> {
  // expected-error @+1 {{is left after the tensor stage}}
  %0 = onnx.node "Exp"(%x) version 13 : (tensor<3xf32>) -> tensor<3xf32>
  return %0 : tensor<3xf32>
}
