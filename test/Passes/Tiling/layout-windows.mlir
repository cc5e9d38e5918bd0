// RUN: ssm-opt %s -ssm-layout-windows -canonicalize -cse | FileCheck %s

// Channels of input and weights become the last axis, eight instead of six of them, and the
// innermost loop of the sum.

// CHECK-DAG: #[[X:.*]] = affine_map<(d0, d1, d2, d3, d4) -> (d0, d2 * 2 + d3, d4)>
// CHECK-DAG: #[[W:.*]] = affine_map<(d0, d1, d2, d3, d4) -> (d1, d3, d4)>
// CHECK-LABEL: @conv
// CHECK-SAME: %[[X0:[a-z0-9]*]]: tensor<?x6x?xbf16>, %[[W0:[a-z0-9]*]]: tensor<16x6x3xbf16>
// CHECK: %[[T:.*]] = ssm.kernel loops 3 outs(%{{.*}} : tensor<?x?x8xbf16>)
// CHECK:   %[[C:.*]] = ssm.index 2
// CHECK:   %[[EXISTS:.*]] = arith.cmpi ult, %[[C]], %c6
// CHECK:   %[[SAFE:.*]] = arith.select %[[EXISTS]], %[[C]], %c0
// CHECK:   tensor.extract %[[X0]][%{{.*}}, %[[SAFE]], %{{.*}}]
// CHECK: %[[V:.*]] = ssm.kernel loops 3 outs(%{{.*}} : tensor<16x3x8xbf16>)
// CHECK:   tensor.extract %[[W0]]
// CHECK: ssm.kernel loops 5 ins(%[[T]], %[[V]] : tensor<?x?x8xbf16>, tensor<16x3x8xbf16>)
// CHECK-SAME: maps [#[[X]], #[[W]],
// CHECK: ssm.reduce addf %{{.*}} over [3, 4]
func.func @conv(%x: tensor<?x6x?xbf16>, %w: tensor<16x6x3xbf16>, %y: tensor<?x16x?xf32>) -> tensor<?x16x?xf32> {
  %r = ssm.kernel loops 5 ins(%x, %w : tensor<?x6x?xbf16>, tensor<16x6x3xbf16>) outs(%y : tensor<?x16x?xf32>)
      maps [affine_map<(n, o, i, c, k) -> (n, c, i * 2 + k)>, affine_map<(n, o, i, c, k) -> (o, c, k)>,
            affine_map<(n, o, i, c, k) -> (n, o, i)>] {
    ^bb0(%a: bf16, %b: bf16):
      %p = arith.extf %a : bf16 to f32
      %q = arith.extf %b : bf16 to f32
      %m = arith.mulf %p, %q : f32
      %s = ssm.reduce addf %m over [3, 4] : f32
      ssm.yield %s : f32
  } -> tensor<?x16x?xf32>
  return %r : tensor<?x16x?xf32>
}

// What stands before goes into the turned copy.

// CHECK-LABEL: @computed
// CHECK: ssm.kernel loops 3 ins(%{{.*}} : tensor<?x8x?xf32>) outs(%{{.*}} : tensor<?x?x8xf16>)
// CHECK:   arith.truncf
// CHECK: ssm.kernel loops 3 ins(%{{.*}} : tensor<16x8x3xf16>) outs(%{{.*}} : tensor<16x3x8xf16>)
// CHECK: ssm.kernel loops 5
// CHECK-NOT: ssm.kernel
func.func @computed(%x: tensor<?x8x?xf32>, %w: tensor<16x8x3xf16>, %e: tensor<?x8x?xf16>,
                    %y: tensor<?x16x?xf32>) -> tensor<?x16x?xf32> {
  %h = ssm.kernel loops 3 ins(%x : tensor<?x8x?xf32>) outs(%e : tensor<?x8x?xf16>)
      maps [affine_map<(n, c, i) -> (n, c, i)>, affine_map<(n, c, i) -> (n, c, i)>] {
    ^bb0(%a: f32):
      %t = arith.truncf %a : f32 to f16
      ssm.yield %t : f16
  } -> tensor<?x8x?xf16>
  %r = ssm.kernel loops 5 ins(%h, %w : tensor<?x8x?xf16>, tensor<16x8x3xf16>) outs(%y : tensor<?x16x?xf32>)
      maps [affine_map<(n, o, i, c, k) -> (n, c, i + k)>, affine_map<(n, o, i, c, k) -> (o, c, k)>,
            affine_map<(n, o, i, c, k) -> (n, o, i)>] {
    ^bb0(%a: f16, %b: f16):
      %p = arith.extf %a : f16 to f32
      %q = arith.extf %b : f16 to f32
      %m = arith.mulf %p, %q : f32
      %s = ssm.reduce addf %m over [3, 4] : f32
      ssm.yield %s : f32
  } -> tensor<?x16x?xf32>
  return %r : tensor<?x16x?xf32>
}
