// RUN: ssm-opt %s -ssm-hoist-weights-init -cse | FileCheck %s

// CHECK: ssm.weight @derived : tensor<8x4xf32> length 128 init @weights_init_0
// CHECK: ssm.weight @w
ssm.weight @w : tensor<4x8xf32> length 128 file "m" at 0

// CHECK-LABEL: func.func @transposed
// CHECK-NOT: linalg.transpose
// CHECK: %[[D:.*]] = ssm.load_weight @derived
// CHECK: linalg.add ins(%[[D]]
func.func @transposed(%x: tensor<8x4xf32>) -> tensor<8x4xf32> {
  %w = ssm.load_weight @w : tensor<4x8xf32>
  %e = tensor.empty() : tensor<8x4xf32>
  %t = linalg.transpose ins(%w : tensor<4x8xf32>) outs(%e : tensor<8x4xf32>) permutation = [1, 0]
  %y = linalg.add ins(%t, %x : tensor<8x4xf32>, tensor<8x4xf32>)
      outs(%e : tensor<8x4xf32>) -> tensor<8x4xf32>
  return %y : tensor<8x4xf32>
}

// A view of a weight is used as it is.
// CHECK-LABEL: func.func @viewed
// CHECK: %[[W:.*]] = ssm.load_weight @w
// CHECK: tensor.collapse_shape %[[W]]
func.func @viewed(%x: tensor<32xf32>) -> tensor<32xf32> {
  %w = ssm.load_weight @w : tensor<4x8xf32>
  %v = tensor.collapse_shape %w [[0, 1]] : tensor<4x8xf32> into tensor<32xf32>
  %e = tensor.empty() : tensor<32xf32>
  %y = linalg.add ins(%v, %x : tensor<32xf32>, tensor<32xf32>)
      outs(%e : tensor<32xf32>) -> tensor<32xf32>
  return %y : tensor<32xf32>
}

// What depends on an argument stays.
// CHECK-LABEL: func.func @varying
// CHECK: linalg.transpose
func.func @varying(%x: tensor<4x8xf32>) -> tensor<8x4xf32> {
  %e = tensor.empty() : tensor<8x4xf32>
  %t = linalg.transpose ins(%x : tensor<4x8xf32>) outs(%e : tensor<8x4xf32>) permutation = [1, 0]
  return %t : tensor<8x4xf32>
}

// A loop does not compute it in every step.
// CHECK-LABEL: func.func @looped
// CHECK: %[[D:.*]] = ssm.load_weight @derived
// CHECK: scf.for
// CHECK-NOT: linalg.transpose
// CHECK: linalg.add ins(%{{.*}}, %[[D]]
func.func @looped(%x: tensor<8x4xf32>, %n: index) -> tensor<8x4xf32> {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %w = ssm.load_weight @w : tensor<4x8xf32>
  %y = scf.for %i = %c0 to %n step %c1 iter_args(%h = %x) -> tensor<8x4xf32> {
    %e = tensor.empty() : tensor<8x4xf32>
    %t = linalg.transpose ins(%w : tensor<4x8xf32>) outs(%e : tensor<8x4xf32>) permutation = [1, 0]
    %s = linalg.add ins(%h, %t : tensor<8x4xf32>, tensor<8x4xf32>)
        outs(%e : tensor<8x4xf32>) -> tensor<8x4xf32>
    scf.yield %s : tensor<8x4xf32>
  }
  return %y : tensor<8x4xf32>
}

// CHECK: module @weights_init attributes {
// CHECK-SAME: ssm.init_entries = [{entry = "weights_init_0", inputs = [@w], output = @derived}]
// CHECK: func.func @weights_init_0(%[[W:.*]]: tensor<4x8xf32> {bufferization.writable = false}) -> tensor<8x4xf32>
// CHECK: linalg.transpose ins(%[[W]]
