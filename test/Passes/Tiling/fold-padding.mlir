// RUN: ssm-opt %s -ssm-configure-kernels="vector-bits=512 registers=32" -ssm-fold-padding -canonicalize | FileCheck %s

// CHECK: #[[X:.+]] = affine_map<(d0, d1, d2, d3, d4) -> (d0, d1 * 2 + d3 - 1, d2 + d4)>
// CHECK-LABEL: func @windows
// CHECK-SAME: (%[[X0:.+]]: tensor<8x28x30xf32>
// CHECK-NOT: tensor.insert_slice
// CHECK: ssm.kernel loops 5 ins(%[[X0]], %{{.+}}) outs({{.+}}) maps [#[[X]]
// CHECK-SAME: config <window, lane_loop = 2, lanes = 16, tiles = [4, 1]> padded
func.func @windows(%x: tensor<8x28x30xf32>, %w: tensor<8x3x3xf32>) -> tensor<8x14x28xf32> {
  %zero = arith.constant 0.0 : f32
  %e = tensor.empty() : tensor<8x30x30xf32>
  %zeros = linalg.fill ins(%zero : f32) outs(%e : tensor<8x30x30xf32>) -> tensor<8x30x30xf32>
  %p = tensor.insert_slice %x into %zeros[0, 1, 0] [8, 28, 30] [1, 1, 1] : tensor<8x28x30xf32> into tensor<8x30x30xf32>
  %out = tensor.empty() : tensor<8x14x28xf32>
  %y = ssm.kernel loops 5 ins(%p, %w : tensor<8x30x30xf32>, tensor<8x3x3xf32>) outs(%out : tensor<8x14x28xf32>)
      maps [affine_map<(c, i, j, k, l) -> (c, i * 2 + k, j + l)>, affine_map<(c, i, j, k, l) -> (c, k, l)>,
            affine_map<(c, i, j, k, l) -> (c, i, j)>] {
    ^bb0(%a: f32, %b: f32):
      %m = arith.mulf %a, %b : f32
      %s = ssm.reduce addf %m over [3, 4] : f32
      ssm.yield %s : f32
  } -> tensor<8x14x28xf32>
  return %y : tensor<8x14x28xf32>
}

// A sum of other things than products with the image is no sum of nothing outside of it.
// CHECK-LABEL: func @exponentials
// CHECK: tensor.insert_slice
// CHECK: config <window
// CHECK-NOT: padded
func.func @exponentials(%x: tensor<8x30xf32>, %w: tensor<8x3xf32>) -> tensor<8x30xf32> {
  %zero = arith.constant 0.0 : f32
  %e = tensor.empty() : tensor<8x32xf32>
  %zeros = linalg.fill ins(%zero : f32) outs(%e : tensor<8x32xf32>) -> tensor<8x32xf32>
  %p = tensor.insert_slice %x into %zeros[0, 1] [8, 30] [1, 1] : tensor<8x30xf32> into tensor<8x32xf32>
  %out = tensor.empty() : tensor<8x30xf32>
  %y = ssm.kernel loops 3 ins(%p, %w : tensor<8x32xf32>, tensor<8x3xf32>) outs(%out : tensor<8x30xf32>)
      maps [affine_map<(c, i, k) -> (c, i + k)>, affine_map<(c, i, k) -> (c, k)>, affine_map<(c, i, k) -> (c, i)>] {
    ^bb0(%a: f32, %b: f32):
      %m = math.exp %a : f32
      %n = arith.addf %m, %b : f32
      %s = ssm.reduce addf %n over [2] : f32
      ssm.yield %s : f32
  } -> tensor<8x30xf32>
  return %y : tensor<8x30xf32>
}

// Ones around it are something.
// CHECK-LABEL: func @ones
// CHECK: tensor.insert_slice
// CHECK: config <window
// CHECK-NOT: padded
func.func @ones(%x: tensor<8x30xf32>, %w: tensor<8x3xf32>) -> tensor<8x30xf32> {
  %one = arith.constant 1.0 : f32
  %e = tensor.empty() : tensor<8x32xf32>
  %ones = linalg.fill ins(%one : f32) outs(%e : tensor<8x32xf32>) -> tensor<8x32xf32>
  %p = tensor.insert_slice %x into %ones[0, 1] [8, 30] [1, 1] : tensor<8x30xf32> into tensor<8x32xf32>
  %out = tensor.empty() : tensor<8x30xf32>
  %y = ssm.kernel loops 3 ins(%p, %w : tensor<8x32xf32>, tensor<8x3xf32>) outs(%out : tensor<8x30xf32>)
      maps [affine_map<(c, i, k) -> (c, i + k)>, affine_map<(c, i, k) -> (c, k)>, affine_map<(c, i, k) -> (c, i)>] {
    ^bb0(%a: f32, %b: f32):
      %m = arith.mulf %a, %b : f32
      %s = ssm.reduce addf %m over [2] : f32
      ssm.yield %s : f32
  } -> tensor<8x30xf32>
  return %y : tensor<8x30xf32>
}
