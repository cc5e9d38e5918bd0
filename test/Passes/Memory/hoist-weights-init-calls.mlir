// RUN: ssm-opt %s -ssm-hoist-weights-init -canonicalize -cse | FileCheck %s

// Weights that come as arguments: one function computes what follows from them, for
// every call. Calls with one weight share the result.
// CHECK-DAG: ssm.weight @derived : tensor<8x4xf32> length 128 init @weights_init_0
// CHECK-DAG: ssm.weight @derived_0 : tensor<8x4xf32> length 128 init @weights_init_0
// CHECK-LABEL: func.func @main(
// CHECK-DAG: %[[W0:.*]] = ssm.load_weight @w0
// CHECK-DAG: %[[W1:.*]] = ssm.load_weight @w1
// CHECK: %[[D0:.*]] = ssm.load_weight @derived :
// CHECK: call @repeated(%{{.*}}, %[[W0]], %[[D0]])
// CHECK: %[[D1:.*]] = ssm.load_weight @derived_0 :
// CHECK: call @repeated(%{{.*}}, %[[W1]], %[[D1]])
// CHECK: call @repeated(%{{.*}}, %[[W0]], %[[D0]])
ssm.weight @w0 : tensor<4x8xf32> length 128 file "m" at 0
ssm.weight @w1 : tensor<4x8xf32> length 128 file "m" at 128
func.func @main(%x: tensor<8x4xf32>) -> tensor<8x4xf32> {
  %w0 = ssm.load_weight @w0 : tensor<4x8xf32>
  %w1 = ssm.load_weight @w1 : tensor<4x8xf32>
  %a = call @repeated(%x, %w0) : (tensor<8x4xf32>, tensor<4x8xf32>) -> tensor<8x4xf32>
  %b = call @repeated(%a, %w1) : (tensor<8x4xf32>, tensor<4x8xf32>) -> tensor<8x4xf32>
  %c = call @repeated(%b, %w0) : (tensor<8x4xf32>, tensor<4x8xf32>) -> tensor<8x4xf32>
  return %c : tensor<8x4xf32>
}
// CHECK-LABEL: func.func private @repeated(
// CHECK-SAME: %[[D:[^:]*]]: tensor<8x4xf32> {bufferization.writable = false}) -> tensor<8x4xf32>
// CHECK-NOT: linalg.transpose
// CHECK: linalg.add ins(%[[D]]
func.func private @repeated(%x: tensor<8x4xf32>, %w: tensor<4x8xf32>) -> tensor<8x4xf32> attributes {ssm.repeated} {
  %e = tensor.empty() : tensor<8x4xf32>
  %t = linalg.transpose ins(%w : tensor<4x8xf32>) outs(%e : tensor<8x4xf32>) permutation = [1, 0]
  %y = linalg.add ins(%t, %x : tensor<8x4xf32>, tensor<8x4xf32>)
      outs(%e : tensor<8x4xf32>) -> tensor<8x4xf32>
  return %y : tensor<8x4xf32>
}
// CHECK: module @weights_init attributes {
// CHECK-SAME: ssm.init_entries = [{entry = "weights_init_0", inputs = [@w0], output = @derived}, {entry = "weights_init_0", inputs = [@w1], output = @derived_0}]
// CHECK: func.func @weights_init_0(
// CHECK-NOT: func.func @weights_init_1(
