// RUN: ssm-opt %s -split-input-file -ssm-turn-padding -canonicalize | FileCheck %s

#dt = affine_map<(d, t) -> (d, t)>
#td = affine_map<(d, t) -> (t, d)>
#x = affine_map<(d, t, k) -> (0, d, t + k)>
#w = affine_map<(d, t, k) -> (d, k)>
#y = affine_map<(d, t, k) -> (d, t)>
#one = affine_map<(d, t) -> (0, d, t)>
#from = affine_map<(d, t) -> (0, t, d)>

// Zeros go around the sequence as it lies. A slice of the padded sequence is turned on
// its own.

// CHECK-DAG: #[[READ:.*]] = affine_map<(d0, d1, d2) -> (0, d1 + d2, d0)>
// CHECK-DAG: #[[BACK:.*]] = affine_map<(d0, d1) -> (0, d1, d0)>
// CHECK-LABEL: @zeros
// CHECK-SAME: %[[X:[a-z0-9]+]]: tensor<1x?x8xf32>
// CHECK: %[[Z:.*]] = ssm.kernel {{.*}} outs(%{{.*}} : tensor<1x?x8xf32>)
// CHECK: %[[P:.*]] = tensor.insert_slice %[[X]] into %[[Z]][0, 2, 0] [1, %{{.*}}, 8]
// CHECK: ssm.kernel loops 3 ins(%[[P]], {{.*}} maps [#[[READ]],
// CHECK: %[[S:.*]] = tensor.extract_slice %[[P]][0, %{{.*}}, 0] [1, 2, 8]
// CHECK: ssm.kernel loops 2 ins(%[[S]] : tensor<1x2x8xf32>) outs({{.*}} : tensor<1x8x2xf32>) maps [#[[BACK]],
func.func @zeros(%x: tensor<1x?x8xf32>, %weight: tensor<8x3xf32>, %n: index) -> (tensor<8x?xf32>, tensor<1x8x2xf32>) {
  %zero = arith.constant 0.0 : f32
  %c2 = arith.constant 2 : index
  %e = tensor.empty(%n) : tensor<1x8x?xf32>
  %t = ssm.kernel loops 2 ins(%x : tensor<1x?x8xf32>) outs(%e : tensor<1x8x?xf32>) maps [#from, #one] {
    ^bb0(%v: f32):
      ssm.yield %v : f32
  } -> tensor<1x8x?xf32>
  %m = arith.addi %n, %c2 : index
  %f = tensor.empty(%m) : tensor<1x8x?xf32>
  %z = ssm.kernel loops 2 outs(%f : tensor<1x8x?xf32>) maps [#one] {
    ssm.yield %zero : f32
  } -> tensor<1x8x?xf32>
  %p = tensor.insert_slice %t into %z[0, 0, 2] [1, 8, %n] [1, 1, 1] : tensor<1x8x?xf32> into tensor<1x8x?xf32>
  %g = tensor.empty(%n) : tensor<8x?xf32>
  %y = ssm.kernel loops 3 ins(%p, %weight : tensor<1x8x?xf32>, tensor<8x3xf32>) outs(%g : tensor<8x?xf32>) maps [#x, #w, #y] {
    ^bb0(%v: f32, %u: f32):
      %0 = arith.mulf %v, %u : f32
      %1 = ssm.reduce addf %0 over [2] : f32
      ssm.yield %1 : f32
  } -> tensor<8x?xf32>
  %s = tensor.extract_slice %p[0, 0, %n] [1, 8, 2] [1, 1, 1] : tensor<1x8x?xf32> to tensor<1x8x2xf32>
  return %y, %s : tensor<8x?xf32>, tensor<1x8x2xf32>
}

// -----

#dt = affine_map<(d, t) -> (d, t)>
#td = affine_map<(d, t) -> (t, d)>

// A past that is not turned is; a sequence that lies as it is read stays.

// CHECK-LABEL: @past
// CHECK-SAME: %[[X:[a-z0-9]+]]: tensor<4x8xf32>, %[[PAST:[a-z0-9]+]]: tensor<8x3xf32>
// CHECK: %[[T:.*]] = ssm.kernel loops 2 ins(%[[PAST]] : tensor<8x3xf32>) outs({{.*}} : tensor<3x8xf32>)
// CHECK: %[[A:.*]] = tensor.insert_slice %[[T]] into %{{.*}}[0, 0] [3, 8]
// CHECK: %[[B:.*]] = tensor.insert_slice %[[X]] into %[[A]][3, 0] [4, 8]
// CHECK: ssm.kernel loops 2 ins(%[[B]]
func.func @past(%x: tensor<4x8xf32>, %past: tensor<8x3xf32>) -> tensor<8x7xf32> {
  %e = tensor.empty() : tensor<8x4xf32>
  %t = ssm.kernel loops 2 ins(%x : tensor<4x8xf32>) outs(%e : tensor<8x4xf32>) maps [#td, #dt] {
    ^bb0(%v: f32):
      ssm.yield %v : f32
  } -> tensor<8x4xf32>
  %f = tensor.empty() : tensor<8x7xf32>
  %a = tensor.insert_slice %past into %f[0, 0] [8, 3] [1, 1] : tensor<8x3xf32> into tensor<8x7xf32>
  %p = tensor.insert_slice %t into %a[0, 3] [8, 4] [1, 1] : tensor<8x4xf32> into tensor<8x7xf32>
  %y = ssm.kernel loops 2 ins(%p : tensor<8x7xf32>) outs(%f : tensor<8x7xf32>) maps [#dt, #dt] {
    ^bb0(%v: f32):
      %0 = arith.negf %v : f32
      ssm.yield %0 : f32
  } -> tensor<8x7xf32>
  return %y : tensor<8x7xf32>
}

// CHECK-LABEL: @straight
// CHECK: tensor.insert_slice {{.*}} : tensor<8x4xf32> into tensor<8x7xf32>
func.func @straight(%t: tensor<8x4xf32>, %f: tensor<8x7xf32>) -> tensor<8x7xf32> {
  %e = tensor.empty() : tensor<8x7xf32>
  %p = tensor.insert_slice %t into %e[0, 3] [8, 4] [1, 1] : tensor<8x4xf32> into tensor<8x7xf32>
  %y = ssm.kernel loops 2 ins(%p : tensor<8x7xf32>) outs(%f : tensor<8x7xf32>) maps [#dt, #dt] {
    ^bb0(%v: f32):
      %0 = arith.negf %v : f32
      ssm.yield %0 : f32
  } -> tensor<8x7xf32>
  return %y : tensor<8x7xf32>
}

// -----

// One row of several is no view of all: it stays.

#row = affine_map<(d, t) -> (1, t, d)>
#dt = affine_map<(d, t) -> (d, t, 0)>

// CHECK-LABEL: @one_of_two
// CHECK: %[[T:.*]] = ssm.kernel loops 2 ins(%arg0
// CHECK: tensor.insert_slice %[[T]] into
func.func @one_of_two(%x: tensor<2x4x8xf32>) -> tensor<8x6x1xf32> {
  %zero = arith.constant 0.0 : f32
  %e = tensor.empty() : tensor<8x4x1xf32>
  %t = ssm.kernel loops 2 ins(%x : tensor<2x4x8xf32>) outs(%e : tensor<8x4x1xf32>) maps [#row, #dt] {
    ^bb0(%v: f32):
      ssm.yield %v : f32
  } -> tensor<8x4x1xf32>
  %f = tensor.empty() : tensor<8x6x1xf32>
  %z = ssm.kernel loops 2 outs(%f : tensor<8x6x1xf32>) maps [#dt] {
    ssm.yield %zero : f32
  } -> tensor<8x6x1xf32>
  %p = tensor.insert_slice %t into %z[0, 1, 0] [8, 4, 1] [1, 1, 1] : tensor<8x4x1xf32> into tensor<8x6x1xf32>
  %g = tensor.empty() : tensor<8x6x1xf32>
  %y = ssm.kernel loops 2 ins(%p : tensor<8x6x1xf32>) outs(%g : tensor<8x6x1xf32>) maps [#dt, #dt] {
    ^bb0(%v: f32):
      %n = arith.negf %v : f32
      ssm.yield %n : f32
  } -> tensor<8x6x1xf32>
  return %y : tensor<8x6x1xf32>
}
