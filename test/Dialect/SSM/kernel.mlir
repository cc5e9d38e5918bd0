// RUN: ssm-opt %s -split-input-file | ssm-opt -split-input-file | FileCheck %s

// CHECK-LABEL: @softmax
// CHECK: ssm.kernel loops 2 ins
// CHECK: ssm.reduce maximumf %{{.*}} over [1] : f32
func.func @softmax(%x: tensor<?x?xf32>, %e: tensor<?x?xf32>) -> tensor<?x?xf32> {
  %y = ssm.kernel loops 2 ins(%x : tensor<?x?xf32>) outs(%e : tensor<?x?xf32>)
      maps [affine_map<(d0, d1) -> (d0, d1)>, affine_map<(d0, d1) -> (d0, d1)>] {
    ^bb0(%v: f32):
      %m = ssm.reduce maximumf %v over [1] : f32
      %d = arith.subf %v, %m : f32
      %t = math.exp %d : f32
      %s = ssm.reduce addf %t over [1] : f32
      %q = arith.divf %t, %s : f32
      ssm.yield %q : f32
  } -> tensor<?x?xf32>
  return %y : tensor<?x?xf32>
}
// CHECK-LABEL: @scan
// CHECK: ssm.kernel loops 3 time 0
// CHECK-SAME: inits(
// CHECK-SAME: mirrored [true, true, true] transition <diagonal>
// CHECK-SAME: config <recurrence, lane_loop = 1, lanes = 16, tiles = [8, 1]>
func.func @scan(%h0: tensor<8x4xf32>, %a: tensor<?x8xf32>, %b: tensor<?x4xf32>, %eh: tensor<8x4xf32>, %ey: tensor<?x8xf32>) -> (tensor<8x4xf32>, tensor<?x8xf32>) {
  %h, %y = ssm.kernel loops 3 time 0 ins(%a, %b : tensor<?x8xf32>, tensor<?x4xf32>) inits(%h0 : tensor<8x4xf32>)
      outs(%eh, %ey : tensor<8x4xf32>, tensor<?x8xf32>)
      maps [affine_map<(t, d, n) -> (t, d)>, affine_map<(t, d, n) -> (t, n)>, affine_map<(t, d, n) -> (d, n)>,
            affine_map<(t, d, n) -> (d, n)>, affine_map<(t, d, n) -> (t, d)>]
      mirrored [true, true, true] transition <diagonal> config <recurrence, lane_loop = 1, lanes = 16, tiles = [8, 1]> {
    ^bb0(%x: f32, %w: f32, %c: f32):
      %p = arith.mulf %x, %c : f32
      %n = arith.addf %p, %w : f32
      %s = ssm.reduce addf %n over [2] : f32
      ssm.yield %n, %s : f32, f32
  } -> tensor<8x4xf32>, tensor<?x8xf32>
  return %h, %y : tensor<8x4xf32>, tensor<?x8xf32>
}
