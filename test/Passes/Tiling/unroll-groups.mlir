// RUN: ssm-opt %s -ssm-unroll-groups -canonicalize | FileCheck %s

#q = affine_map<(t, g, v, k) -> (t, g, k)>
#x = affine_map<(t, g, v, k) -> (t, v)>
#h = affine_map<(t, g, v, k) -> (k, v)>
#y = affine_map<(t, g, v, k) -> (t, g, v)>

// Two readers of one state: inputs and results for each, one state, advanced once.

// CHECK-DAG: #[[Q0:.*]] = affine_map<(d0, d1, d2) -> (d0, 0, d2)>
// CHECK-DAG: #[[Q1:.*]] = affine_map<(d0, d1, d2) -> (d0, 1, d2)>
// CHECK-DAG: #[[Y:.*]] = affine_map<(d0, d1, d2) -> (d0, 0, d1)>
// CHECK-LABEL: @two
// CHECK-SAME: %[[Q:[a-z0-9]+]]: tensor<?x2x4xf32>, %[[X:[a-z0-9]+]]: tensor<?x8xf32>
// CHECK: %[[K:.*]]:3 = ssm.kernel loops 3 time 0 ins(%[[Q]], %[[Q]], %[[X]] :
// CHECK-SAME: outs({{.*}} : tensor<4x8xf32>, tensor<?x1x8xf32>, tensor<?x1x8xf32>)
// CHECK-SAME: maps [#[[Q0]], #[[Q1]], {{.*}}, #[[Y]], #[[Y]]]
// CHECK: ^bb0(%[[A:.*]]: f32, %[[B:.*]]: f32, %[[V:.*]]: f32, %[[C:.*]]: f32):
// CHECK: %[[N:.*]] = arith.addf %[[C]], %[[V]]
// CHECK: %[[P:.*]] = arith.mulf %[[N]], %[[A]]
// CHECK: %[[R:.*]] = arith.mulf %[[N]], %[[B]]
// CHECK: %[[S:.*]] = ssm.reduce addf %[[P]] over [2]
// CHECK: %[[T:.*]] = ssm.reduce addf %[[R]] over [2]
// CHECK: ssm.yield %[[N]], %[[S]], %[[T]]
// CHECK: %[[I:.*]] = tensor.insert_slice %[[K]]#1 into %{{.*}}[0, 0, 0]
// CHECK: tensor.insert_slice %[[K]]#2 into %[[I]][0, 1, 0]
func.func @two(%q: tensor<?x2x4xf32>, %x: tensor<?x8xf32>, %h0: tensor<4x8xf32>, %e: tensor<4x8xf32>,
               %f: tensor<?x2x8xf32>) -> (tensor<4x8xf32>, tensor<?x2x8xf32>) {
  %h, %y = ssm.kernel loops 4 time 0 ins(%q, %x : tensor<?x2x4xf32>, tensor<?x8xf32>)
      inits(%h0 : tensor<4x8xf32>) outs(%e, %f : tensor<4x8xf32>, tensor<?x2x8xf32>)
      maps [#q, #x, #h, #h, #y] {
    ^bb0(%a: f32, %v: f32, %c: f32):
      %n = arith.addf %c, %v : f32
      %p = arith.mulf %n, %a : f32
      %s = ssm.reduce addf %p over [3] : f32
      ssm.yield %n, %s : f32, f32
  } -> tensor<4x8xf32>, tensor<?x2x8xf32>
  return %h, %y : tensor<4x8xf32>, tensor<?x2x8xf32>
}

// Ten readers: eight, then two.

// CHECK-LABEL: @ten
// CHECK: %[[K:.*]]:9 = ssm.kernel loops 3 time 0
// CHECK: ssm.kernel loops 3 time 0
// CHECK-COUNT-2: ssm.reduce
// CHECK-NOT: ssm.reduce
// CHECK: return %[[K]]#0
func.func @ten(%q: tensor<?x10x4xf32>, %x: tensor<?x8xf32>, %h0: tensor<4x8xf32>, %e: tensor<4x8xf32>,
               %f: tensor<?x10x8xf32>) -> (tensor<4x8xf32>, tensor<?x10x8xf32>) {
  %h, %y = ssm.kernel loops 4 time 0 ins(%q, %x : tensor<?x10x4xf32>, tensor<?x8xf32>)
      inits(%h0 : tensor<4x8xf32>) outs(%e, %f : tensor<4x8xf32>, tensor<?x10x8xf32>)
      maps [#q, #x, #h, #h, #y] {
    ^bb0(%a: f32, %v: f32, %c: f32):
      %n = arith.addf %c, %v : f32
      %p = arith.mulf %n, %a : f32
      %s = ssm.reduce addf %p over [3] : f32
      ssm.yield %n, %s : f32, f32
  } -> tensor<4x8xf32>, tensor<?x10x8xf32>
  return %h, %y : tensor<4x8xf32>, tensor<?x10x8xf32>
}
