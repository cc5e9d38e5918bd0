// RUN: ssm-opt %s -ssm-decompose-scan -canonicalize | FileCheck %s

// A fixed length of 1 along the second of two axes of size 1: upstream's folding of
// a constant position took the first one.
// CHECK-LABEL: func.func @second
// CHECK: tensor.extract_slice %{{.*}}[0, 0, 0, 0] [1, 3, 1, 5] [1, 1, 1, 1] : tensor<1x3x1x5xf32> to tensor<1x3x5xf32>
func.func @second(%init: tensor<1x3x5xf32>, %x: tensor<1x3x1x5xf32>) -> (tensor<1x3x5xf32>, tensor<1x3x1x5xf32>) {
  %c1 = arith.constant 1 : index
  %e = tensor.empty() : tensor<1x3x1x5xf32>
  %r:2 = ssm.scan length(%c1) carries(%init : tensor<1x3x5xf32>) ins(%x : tensor<1x3x1x5xf32>) outs(%e : tensor<1x3x1x5xf32>) input_axes [2] output_axes [2] input_reversed [true] output_reversed [false] {
    ^bb0(%h: tensor<1x3x5xf32>, %v: tensor<1x3x5xf32>):
      %t = tensor.empty() : tensor<1x3x5xf32>
      %0 = linalg.add ins(%h, %v : tensor<1x3x5xf32>, tensor<1x3x5xf32>) outs(%t : tensor<1x3x5xf32>) -> tensor<1x3x5xf32>
      ssm.yield %0, %0 : tensor<1x3x5xf32>, tensor<1x3x5xf32>
  } -> tensor<1x3x5xf32>, tensor<1x3x1x5xf32>
  return %r#0, %r#1 : tensor<1x3x5xf32>, tensor<1x3x1x5xf32>
}
