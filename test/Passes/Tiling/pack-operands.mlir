// RUN: ssm-opt %s -pass-pipeline='builtin.module(ssm-configure-kernels{vector-bits=512 registers=32},ssm-pack-operands,canonicalize,cse)' | FileCheck %s

#a = affine_map<(m, n, k) -> (m, k)>
#b = affine_map<(m, n, k) -> (k, n)>
#bt = affine_map<(m, n, k) -> (n, k)>
#c = affine_map<(m, n, k) -> (m, n)>

// CHECK-DAG: #[[FROM:.*]] = affine_map<(d0, d1, d2) -> (d1, d0 * 32 + d2)>
// CHECK-DAG: #[[STRIPS:.*]] = affine_map<(d0, d1, d2) -> (d1 floordiv 32, d2, d1 mod 32)>
// CHECK-DAG: #[[TURNED:.*]] = affine_map<(d0, d1) -> (d1, d0)>

// A weight becomes strips, padded with zeros, and stays in its type.
// CHECK-LABEL: func.func @weight
// CHECK: %[[W:.*]] = ssm.load_weight
// CHECK: %[[Z:.*]] = linalg.fill {{.*}} -> tensor<64x64xf16>
// CHECK: %[[P:.*]] = tensor.insert_slice %[[W]] into %[[Z]]
// CHECK: %[[S:.*]] = ssm.kernel loops 3 ins(%[[P]] : tensor<64x64xf16>) outs({{.*}} : tensor<2x64x32xf16>) maps [#[[FROM]],
// CHECK: ssm.kernel loops 3 ins(%{{.*}}, %[[S]] : {{.*}} maps [{{.*}}, #[[STRIPS]], {{.*}}] config <matmul, lane_loop = 1, lanes = 16, tiles = [12, 2]>
ssm.weight @w : tensor<64x40xf16> length 5120 file "m" at 0
func.func @weight(%a: tensor<?x64xf32>, %e: tensor<?x40xf32>) -> tensor<?x40xf32> {
  %w = ssm.load_weight @w : tensor<64x40xf16>
  %y = ssm.kernel loops 3 ins(%a, %w : tensor<?x64xf32>, tensor<64x40xf16>) outs(%e : tensor<?x40xf32>) maps [#a, #b, #c] {
  ^bb0(%x: f32, %h: f16):
    %f = arith.extf %h : f16 to f32
    %p = arith.mulf %x, %f : f32
    %s = ssm.reduce addf %p over [2] : f32
    ssm.yield %s : f32
  } -> tensor<?x40xf32>
  return %y : tensor<?x40xf32>
}

// What is no weight is turned; a left side that is computed comes before.
// CHECK-LABEL: func.func @turned
// CHECK: %[[L:.*]] = ssm.kernel loops 2 ins(%arg0 : tensor<?x?xf16>)
// CHECK: arith.extf
// CHECK: %[[R:.*]] = ssm.kernel loops 2 ins(%arg1 : tensor<?x?xf32>) {{.*}} maps [#[[TURNED]],
// CHECK: ssm.kernel loops 3 ins({{.*}}%[[R]]
// CHECK-NOT: arith.extf
// CHECK: return
func.func @turned(%a: tensor<?x?xf16>, %b: tensor<?x?xf32>, %e: tensor<?x?xf32>) -> tensor<?x?xf32> {
  %y = ssm.kernel loops 3 ins(%a, %b : tensor<?x?xf16>, tensor<?x?xf32>) outs(%e : tensor<?x?xf32>) maps [#a, #bt, #c] {
  ^bb0(%h: f16, %r: f32):
    %x = arith.extf %h : f16 to f32
    %p = arith.mulf %x, %r : f32
    %s = ssm.reduce addf %p over [2] : f32
    ssm.yield %s : f32
  } -> tensor<?x?xf32>
  return %y : tensor<?x?xf32>
}

// The windows of a convolution that moves on by two: lanes would read every second
// element. They are put beside each other, with the loops that are last in the out last.
// CHECK-LABEL: func.func @strided_windows
// CHECK-SAME: %[[X:[a-z0-9]+]]: tensor<3x41x?xf32>
// CHECK: %[[S:.*]] = ssm.kernel loops 4 ins(%[[X]] : tensor<3x41x?xf32>) outs({{.*}} : tensor<3x2x20x?xf32>)
// CHECK: ssm.kernel loops 5 ins({{.*}}, %[[S]] :
#wx = affine_map<(m, i, n, c, k) -> (c, i * 2 + k, n * 2)>
#ww = affine_map<(m, i, n, c, k) -> (m, c, k)>
#wy = affine_map<(m, i, n, c, k) -> (m, i, n)>
func.func @strided_windows(%x: tensor<3x41x?xf32>, %w: tensor<48x3x2xf32>, %e: tensor<48x20x?xf32>) -> tensor<48x20x?xf32> {
  %y = ssm.kernel loops 5 ins(%w, %x : tensor<48x3x2xf32>, tensor<3x41x?xf32>) outs(%e : tensor<48x20x?xf32>) maps [#ww, #wx, #wy]
      config <matmul, lane_loop = 2, lanes = 16, tiles = [12, 2]> {
    ^bb0(%a: f32, %b: f32):
      %p = arith.mulf %a, %b : f32
      %s = ssm.reduce addf %p over [3, 4] : f32
      ssm.yield %s : f32
  } -> tensor<48x20x?xf32>
  return %y : tensor<48x20x?xf32>
}
