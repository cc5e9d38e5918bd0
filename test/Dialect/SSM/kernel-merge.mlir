// RUN: ssm-opt %s -split-input-file -test-merge-kernels -canonicalize 2> %t | FileCheck %s
// RUN: FileCheck %s --check-prefix=REMARK < %t

#b = affine_map<(i, j) -> (i)>
#x = affine_map<(i, j) -> (i, j)>

// The sum runs along the loop of the consumer that reads the same operand alike; a
// result that others use stays.
// CHECK-LABEL: func.func @norm
// CHECK: ssm.kernel loops 2 ins(%{{.*}} : tensor<?x?xf32>) outs(
// CHECK: %[[S:.*]] = ssm.reduce addf %{{.*}} over [1]
// CHECK: %[[R:.*]] = math.rsqrt %[[S]]
// CHECK: %[[Y:.*]] = arith.mulf %{{.*}}, %[[R]]
// CHECK: ssm.yield %[[S]], %[[Y]]
// CHECK-NOT: ssm.kernel
func.func @norm(%x: tensor<?x?xf32>, %e: tensor<?xf32>, %f: tensor<?x?xf32>) -> (tensor<?x?xf32>, tensor<?xf32>) {
  %s = ssm.kernel loops 2 ins(%x : tensor<?x?xf32>) outs(%e : tensor<?xf32>) maps [#x, #b] {
    ^bb0(%v: f32):
      %0 = arith.mulf %v, %v : f32
      %1 = ssm.reduce addf %0 over [1] : f32
      ssm.yield %1 : f32
  } -> tensor<?xf32>
  %y = ssm.kernel loops 2 ins(%x, %s : tensor<?x?xf32>, tensor<?xf32>) outs(%f : tensor<?x?xf32>) maps [#x, #b, #x] {
    ^bb0(%v: f32, %w: f32):
      %0 = math.rsqrt %w : f32
      %1 = arith.mulf %v, %0 : f32
      ssm.yield %1 : f32
  } -> tensor<?x?xf32>
  return %y, %s : tensor<?x?xf32>, tensor<?xf32>
}

// -----

#a = affine_map<(i, j, k) -> (i, k)>
#w = affine_map<(i, j, k) -> (k, j)>
#c = affine_map<(i, j, k) -> (i, j)>
#p = affine_map<(i, j) -> (i, j)>
#t = affine_map<(i, j) -> (j, i)>

// Products of matrices get loops of their own; what is read in two ways is computed twice.
// CHECK: #[[A1:.*]] = affine_map<(d0, d1, d2, d3) -> (d0, d2)>
// CHECK: #[[W1:.*]] = affine_map<(d0, d1, d2, d3) -> (d2, d1)>
// CHECK: #[[A2:.*]] = affine_map<(d0, d1, d2, d3) -> (d1, d3)>
// CHECK: #[[W2:.*]] = affine_map<(d0, d1, d2, d3) -> (d3, d0)>
// CHECK-LABEL: func.func @twice
// CHECK: ssm.kernel loops 4 {{.*}} maps [#[[A1]], #[[W1]], #[[A2]], #[[W2]],
// CHECK: ssm.reduce addf %{{.*}} over [2]
// CHECK: ssm.reduce addf %{{.*}} over [3]
func.func @twice(%x: tensor<?x8xf32>, %w: tensor<8x?xf32>, %e: tensor<?x?xf32>) -> tensor<?x?xf32> {
  %s = ssm.kernel loops 3 ins(%x, %w : tensor<?x8xf32>, tensor<8x?xf32>) outs(%e : tensor<?x?xf32>) maps [#a, #w, #c] {
    ^bb0(%v: f32, %u: f32):
      %0 = arith.mulf %v, %u : f32
      %1 = ssm.reduce addf %0 over [2] : f32
      ssm.yield %1 : f32
  } -> tensor<?x?xf32>
  %y = ssm.kernel loops 2 ins(%s, %s : tensor<?x?xf32>, tensor<?x?xf32>) outs(%e : tensor<?x?xf32>) maps [#p, #t, #p] {
    ^bb0(%v: f32, %u: f32):
      %0 = arith.addf %v, %u : f32
      ssm.yield %0 : f32
  } -> tensor<?x?xf32>
  return %y : tensor<?x?xf32>
}

// -----

#v = affine_map<(t) -> (t)>
#h = affine_map<(t) -> ()>

// Before and after a recurrence that runs backwards, all at the same step.
// CHECK-LABEL: func.func @around
// CHECK: ssm.kernel loops 1 time 0
// CHECK-SAME: mirrored [true, true, true]
// CHECK: math.exp
// CHECK: arith.negf
// CHECK-NOT: ssm.kernel
func.func @around(%x: tensor<?xf32>, %z: tensor<?xf32>, %h0: tensor<f32>, %eh: tensor<f32>, %e: tensor<?xf32>) -> tensor<?xf32> {
  %u = ssm.kernel loops 1 ins(%x : tensor<?xf32>) outs(%e : tensor<?xf32>) maps [#v, #v] {
    ^bb0(%a: f32):
      %0 = math.exp %a : f32
      ssm.yield %0 : f32
  } -> tensor<?xf32>
  %h, %y = ssm.kernel loops 1 time 0 ins(%u : tensor<?xf32>) inits(%h0 : tensor<f32>)
      outs(%eh, %e : tensor<f32>, tensor<?xf32>) maps [#v, #h, #h, #v] mirrored [true, true] {
    ^bb0(%a: f32, %c: f32):
      %0 = arith.addf %a, %c : f32
      ssm.yield %0, %0 : f32, f32
  } -> tensor<f32>, tensor<?xf32>
  %g = ssm.kernel loops 1 ins(%y, %z : tensor<?xf32>, tensor<?xf32>) outs(%e : tensor<?xf32>) maps [#v, #v, #v] {
    ^bb0(%a: f32, %b: f32):
      %0 = arith.negf %a : f32
      %1 = arith.mulf %0, %b : f32
      ssm.yield %1 : f32
  } -> tensor<?xf32>
  return %g : tensor<?xf32>
}

// -----

#v = affine_map<(t) -> (t)>
#h = affine_map<(t) -> ()>

// REMARK: not merged: the consumer reduces over the producer's time
// CHECK-LABEL: func.func @sum_over_time
// CHECK-COUNT-2: ssm.kernel
func.func @sum_over_time(%x: tensor<?xf32>, %h0: tensor<f32>, %eh: tensor<f32>, %e: tensor<?xf32>) -> tensor<f32> {
  %h, %y = ssm.kernel loops 1 time 0 ins(%x : tensor<?xf32>) inits(%h0 : tensor<f32>)
      outs(%eh, %e : tensor<f32>, tensor<?xf32>) maps [#v, #h, #h, #v] {
    ^bb0(%a: f32, %c: f32):
      %0 = arith.addf %a, %c : f32
      ssm.yield %0, %0 : f32, f32
  } -> tensor<f32>, tensor<?xf32>
  %g = ssm.kernel loops 1 ins(%y : tensor<?xf32>) outs(%eh : tensor<f32>) maps [#v, #h] {
    ^bb0(%a: f32):
      %0 = ssm.reduce addf %a over [0] : f32
      ssm.yield %0 : f32
  } -> tensor<f32>
  return %g : tensor<f32>
}

// -----

#x = affine_map<(i, j) -> (i, j)>
#s = affine_map<(i, k) -> (i, k + 1)>
#w = affine_map<(i, k) -> (i, k)>

// REMARK: not merged: the consumer reads some indices of what the producer reduces over
// CHECK-LABEL: func.func @softmax_shifted
// CHECK-COUNT-2: ssm.kernel
func.func @softmax_shifted(%x: tensor<?x8xf32>, %w: tensor<?x7xf32>, %e: tensor<?x8xf32>) -> tensor<?x7xf32> {
  %s = ssm.kernel loops 2 ins(%x : tensor<?x8xf32>) outs(%e : tensor<?x8xf32>) maps [#x, #x] {
    ^bb0(%v: f32):
      %0 = ssm.reduce addf %v over [1] : f32
      %1 = arith.divf %v, %0 : f32
      ssm.yield %1 : f32
  } -> tensor<?x8xf32>
  %y = ssm.kernel loops 2 ins(%s : tensor<?x8xf32>) outs(%w : tensor<?x7xf32>) maps [#s, #w] {
    ^bb0(%v: f32):
      %0 = arith.negf %v : f32
      ssm.yield %0 : f32
  } -> tensor<?x7xf32>
  return %y : tensor<?x7xf32>
}

// -----

#x = affine_map<(i, k) -> (i * 2 + k)>
#k = affine_map<(i, k) -> (k)>
#i = affine_map<(i, k) -> (i)>

// The taps alone are no index of all of the sequence.
// REMARK: not merged: the consumer reads some indices of what sizes follow from
// CHECK-LABEL: func.func @first_window
// CHECK-COUNT-2: ssm.kernel
func.func @first_window(%x: tensor<6xf32>, %w: tensor<3xf32>, %c: tensor<2xf32>, %b: tensor<4xf32>, %e: tensor<4xf32>) -> tensor<4xf32> {
  %s = ssm.kernel loops 2 ins(%x, %w : tensor<6xf32>, tensor<3xf32>) outs(%c : tensor<2xf32>) maps [#x, #k, #i] {
    ^bb0(%v: f32, %u: f32):
      %0 = arith.mulf %v, %u : f32
      %1 = ssm.reduce addf %0 over [1] : f32
      ssm.yield %1 : f32
  } -> tensor<2xf32>
  %y = ssm.kernel loops 1 ins(%s, %b : tensor<2xf32>, tensor<4xf32>) outs(%e : tensor<4xf32>)
      maps [affine_map<(j) -> (0)>, affine_map<(j) -> (j)>, affine_map<(j) -> (j)>] {
    ^bb0(%v: f32, %u: f32):
      %0 = arith.addf %v, %u : f32
      ssm.yield %0 : f32
  } -> tensor<4xf32>
  return %y : tensor<4xf32>
}
