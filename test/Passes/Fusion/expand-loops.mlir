// RUN: ssm-opt %s -ssm-fuse-kernels -canonicalize -cse | FileCheck %s

#ij = affine_map<(i, j) -> (i, j)>
#j = affine_map<(i, j) -> (j)>
#igd = affine_map<(i, g, d) -> (i, g, d)>

// The work in front of a Reshape and that behind another one get the axes of the sum between.
// CHECK-DAG: #[[ALL:.+]] = affine_map<(d0, d1, d2) -> (d0, d1, d2)>
// CHECK-DAG: #[[SCALE:.+]] = affine_map<(d0, d1, d2) -> (d1, d2)>
// CHECK-LABEL: @groups
// CHECK-SAME: %[[X:.+]]: tensor<?x24xf32>, %[[W:.+]]: tensor<24xf32>
// CHECK-DAG: %[[GROUPS:.+]] = tensor.expand_shape %[[X]] {{\[}}[0], [1, 2]]
// CHECK-DAG: %[[SCALES:.+]] = tensor.expand_shape %[[W]] {{\[}}[0, 1]] output_shape [3, 8]
// CHECK: %[[Y:.+]] = ssm.kernel loops 3
// CHECK-SAME: maps [#[[SCALE]], #[[ALL]], #[[ALL]]]
// CHECK: arith.negf
// CHECK: ssm.reduce addf %{{.+}} over [2]
// CHECK: arith.mulf
// CHECK-NOT: ssm.kernel
// CHECK: %[[FLAT:.+]] = tensor.collapse_shape %[[Y]] {{\[}}[0], [1, 2]]
// CHECK: return %[[FLAT]]
func.func @groups(%x: tensor<?x24xf32>, %w: tensor<24xf32>, %n: index) -> tensor<?x24xf32> {
  %e = tensor.empty(%n) : tensor<?x24xf32>
  %f = tensor.empty(%n) : tensor<?x3x8xf32>
  %0 = ssm.kernel loops 2 ins(%x : tensor<?x24xf32>) outs(%e : tensor<?x24xf32>) maps [#ij, #ij] {
    ^bb0(%v: f32):
      %m = arith.negf %v : f32
      ssm.yield %m : f32
  } -> tensor<?x24xf32>
  %1 = tensor.expand_shape %0 [[0], [1, 2]] output_shape [%n, 3, 8]
      : tensor<?x24xf32> into tensor<?x3x8xf32>
  %2 = ssm.kernel loops 3 ins(%1 : tensor<?x3x8xf32>) outs(%f : tensor<?x3x8xf32>)
      maps [#igd, #igd] {
    ^bb0(%v: f32):
      %s = ssm.reduce addf %v over [2] : f32
      %d = arith.divf %v, %s : f32
      ssm.yield %d : f32
  } -> tensor<?x3x8xf32>
  %3 = tensor.collapse_shape %2 [[0], [1, 2]] : tensor<?x3x8xf32> into tensor<?x24xf32>
  %4 = ssm.kernel loops 2 ins(%3, %w : tensor<?x24xf32>, tensor<24xf32>)
      outs(%e : tensor<?x24xf32>) maps [#ij, #j, #ij] {
    ^bb0(%v: f32, %u: f32):
      %p = arith.mulf %v, %u : f32
      ssm.yield %p : f32
  } -> tensor<?x24xf32>
  return %4 : tensor<?x24xf32>
}

// What does not fuse keeps its axes: the sum is over the ones that were joined, in another order
// of rows.
// CHECK-LABEL: @apart
// CHECK: ssm.kernel loops 2
// CHECK: tensor.expand_shape
// CHECK: ssm.kernel loops 3
func.func @apart(%x: tensor<?x24xf32>, %n: index) -> tensor<3xf32> {
  %e = tensor.empty(%n) : tensor<?xf32>
  %f = tensor.empty() : tensor<3xf32>
  %h = tensor.empty(%n) : tensor<?x24xf32>
  %0 = ssm.kernel loops 2 ins(%x : tensor<?x24xf32>) outs(%h : tensor<?x24xf32>)
      maps [#ij, #ij] {
    ^bb0(%v: f32):
      %s = ssm.reduce addf %v over [1] : f32
      %d = arith.divf %v, %s : f32
      ssm.yield %d : f32
  } -> tensor<?x24xf32>
  %1 = tensor.expand_shape %0 [[0], [1, 2]] output_shape [%n, 3, 8]
      : tensor<?x24xf32> into tensor<?x3x8xf32>
  %2 = ssm.kernel loops 3 ins(%1 : tensor<?x3x8xf32>) outs(%f : tensor<3xf32>)
      maps [#igd, affine_map<(i, g, d) -> (g)>] {
    ^bb0(%v: f32):
      %s = ssm.reduce addf %v over [0, 2] : f32
      ssm.yield %s : f32
  } -> tensor<3xf32>
  return %2 : tensor<3xf32>
}
