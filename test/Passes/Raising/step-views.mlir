// RUN: ssm-opt %s -split-input-file -ssm-raise-kernels -canonicalize -ssm-raise-scans -canonicalize | FileCheck %s

#id = affine_map<(d, n) -> (d, n)>
#d = affine_map<(d, n) -> (d)>

// y = C h as a product of matrices, between axes of size 1 that come and go.
// CHECK-LABEL: func.func @product
// CHECK: ssm.kernel loops 3 time 0 ins(%{{.*}}, %{{.*}} : tensor<?x3xf32>, tensor<?x4xf32>)
// CHECK-SAME: transition <scalar>
// CHECK: ssm.reduce addf %{{.*}} over [2]
// CHECK-NOT: ssm.scan
func.func @product(%x: tensor<?x4xf32>, %c: tensor<?x3xf32>, %h0: tensor<4x3xf32>, %ey: tensor<?x4xf32>) -> (tensor<4x3xf32>, tensor<?x4xf32>) {
  %c0 = arith.constant 0 : index
  %half = arith.constant 0.5 : f32
  %zero = arith.constant 0.0 : f32
  %t = tensor.dim %x, %c0 : tensor<?x4xf32>
  %h, %y = ssm.scan length(%t) carries(%h0 : tensor<4x3xf32>) ins(%x, %c : tensor<?x4xf32>, tensor<?x3xf32>)
      outs(%ey : tensor<?x4xf32>) input_axes [0, 0] output_axes [0] input_reversed [false, false] output_reversed [false] {
    ^bb0(%s: tensor<4x3xf32>, %xt: tensor<4xf32>, %ct: tensor<3xf32>):
      %e = tensor.empty() : tensor<4x3xf32>
      %1 = linalg.generic {indexing_maps = [#id, #d, #id], iterator_types = ["parallel", "parallel"]}
          ins(%s, %xt : tensor<4x3xf32>, tensor<4xf32>) outs(%e : tensor<4x3xf32>) {
        ^bb0(%p: f32, %q: f32, %o: f32):
          %m = arith.mulf %p, %half : f32
          %g = arith.addf %m, %q : f32
          linalg.yield %g : f32
      } -> tensor<4x3xf32>
      %column = tensor.expand_shape %ct [[0, 1]] output_shape [3, 1] : tensor<3xf32> into tensor<3x1xf32>
      %f = tensor.empty() : tensor<4x1xf32>
      %z = linalg.fill ins(%zero : f32) outs(%f : tensor<4x1xf32>) -> tensor<4x1xf32>
      %2 = linalg.matmul ins(%1, %column : tensor<4x3xf32>, tensor<3x1xf32>) outs(%z : tensor<4x1xf32>) -> tensor<4x1xf32>
      %3 = tensor.collapse_shape %2 [[0, 1]] : tensor<4x1xf32> into tensor<4xf32>
      ssm.yield %1, %3 : tensor<4x3xf32>, tensor<4xf32>
  } -> tensor<4x3xf32>, tensor<?x4xf32>
  return %h, %y : tensor<4x3xf32>, tensor<?x4xf32>
}

// -----

#id = affine_map<(d) -> (d)>

// A packed input, of which a function is taken before it is taken apart: the sequence is.
// CHECK-LABEL: func.func @packed
// CHECK-SAME: %[[X:[^:]*]]: tensor<?x8xf32>
// CHECK-DAG: %[[A:.*]] = tensor.extract_slice %[[X]][0, 0] [%{{.*}}, 4] [1, 1]
// CHECK-DAG: %[[B:.*]] = tensor.extract_slice %[[X]][0, 4] [%{{.*}}, 4] [1, 1]
// CHECK: ssm.kernel loops 2 time 0 ins(%[[A]], %[[B]]
// CHECK-SAME: mirrored [true, true] transition <diagonal>
// CHECK-NOT: ssm.scan
func.func @packed(%x: tensor<?x8xf32>, %h0: tensor<4xf32>) -> tensor<4xf32> {
  %c0 = arith.constant 0 : index
  %t = tensor.dim %x, %c0 : tensor<?x8xf32>
  %h = ssm.scan length(%t) carries(%h0 : tensor<4xf32>) ins(%x : tensor<?x8xf32>)
      input_axes [0] output_axes [] input_reversed [true] output_reversed [] {
    ^bb0(%s: tensor<4xf32>, %xt: tensor<8xf32>):
      %e8 = tensor.empty() : tensor<8xf32>
      %1 = linalg.exp ins(%xt : tensor<8xf32>) outs(%e8 : tensor<8xf32>) -> tensor<8xf32>
      %a = tensor.extract_slice %1[0] [4] [1] : tensor<8xf32> to tensor<4xf32>
      %b = tensor.extract_slice %1[4] [4] [1] : tensor<8xf32> to tensor<4xf32>
      %e = tensor.empty() : tensor<4xf32>
      %2 = linalg.mul ins(%s, %a : tensor<4xf32>, tensor<4xf32>) outs(%e : tensor<4xf32>) -> tensor<4xf32>
      %3 = linalg.add ins(%2, %b : tensor<4xf32>, tensor<4xf32>) outs(%e : tensor<4xf32>) -> tensor<4xf32>
      ssm.yield %3 : tensor<4xf32>
  } -> tensor<4xf32>
  return %h : tensor<4xf32>
}

// -----

// Two heads for each of two groups.
// CHECK-DAG: #[[GROUP:.*]] = affine_map<(d0, d1) -> (d0, d1 floordiv 2)>
// CHECK-LABEL: func.func @groups
// CHECK: ssm.kernel loops 2 time 0 ins(%{{.*}} : tensor<?x2xf32>)
// CHECK-SAME: maps [#[[GROUP]],
// CHECK-NOT: ssm.scan
func.func @groups(%x: tensor<?x2xf32>, %h0: tensor<4xf32>) -> tensor<4xf32> {
  %c0 = arith.constant 0 : index
  %t = tensor.dim %x, %c0 : tensor<?x2xf32>
  %h = ssm.scan length(%t) carries(%h0 : tensor<4xf32>) ins(%x : tensor<?x2xf32>)
      input_axes [0] output_axes [] input_reversed [false] output_reversed [] {
    ^bb0(%s: tensor<4xf32>, %xt: tensor<2xf32>):
      %e2 = tensor.empty() : tensor<2x2xf32>
      %1 = linalg.broadcast ins(%xt : tensor<2xf32>) outs(%e2 : tensor<2x2xf32>) dimensions = [1]
      %2 = tensor.collapse_shape %1 [[0, 1]] : tensor<2x2xf32> into tensor<4xf32>
      %e = tensor.empty() : tensor<4xf32>
      %3 = linalg.add ins(%s, %2 : tensor<4xf32>, tensor<4xf32>) outs(%e : tensor<4xf32>) -> tensor<4xf32>
      ssm.yield %3 : tensor<4xf32>
  } -> tensor<4xf32>
  return %h : tensor<4xf32>
}

// -----

// Two axes that come as one.
// CHECK-LABEL: func.func @joined
// CHECK-SAME: %[[X:[^:]*]]: tensor<?x4xf32>
// CHECK: %[[WIDE:.*]] = tensor.expand_shape %[[X]] {{\[}}[0], [1, 2]] output_shape [%{{.*}}, 2, 2]
// CHECK: ssm.kernel loops 3 time 0 ins(%[[WIDE]] : tensor<?x2x2xf32>)
// CHECK-NOT: ssm.scan
func.func @joined(%x: tensor<?x4xf32>, %h0: tensor<2x2xf32>) -> tensor<2x2xf32> {
  %c0 = arith.constant 0 : index
  %t = tensor.dim %x, %c0 : tensor<?x4xf32>
  %h = ssm.scan length(%t) carries(%h0 : tensor<2x2xf32>) ins(%x : tensor<?x4xf32>)
      input_axes [0] output_axes [] input_reversed [false] output_reversed [] {
    ^bb0(%s: tensor<2x2xf32>, %xt: tensor<4xf32>):
      %1 = tensor.expand_shape %xt [[0, 1]] output_shape [2, 2] : tensor<4xf32> into tensor<2x2xf32>
      %e = tensor.empty() : tensor<2x2xf32>
      %2 = linalg.add ins(%s, %1 : tensor<2x2xf32>, tensor<2x2xf32>) outs(%e : tensor<2x2xf32>) -> tensor<2x2xf32>
      ssm.yield %2 : tensor<2x2xf32>
  } -> tensor<2x2xf32>
  return %h : tensor<2x2xf32>
}
