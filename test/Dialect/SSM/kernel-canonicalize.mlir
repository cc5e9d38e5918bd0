// RUN: ssm-opt %s -canonicalize | FileCheck %s

// Loops of size 1 go; what they were summed over is the value itself.

// CHECK-LABEL: @unit_loops
// CHECK: ssm.kernel loops 1 ins(%{{.*}} : tensor<1x?x1xf32>) outs(%{{.*}} : tensor<?x1xf32>) maps [#[[X:.*]], #{{.*}}] {
// CHECK-NOT: ssm.reduce
// CHECK: ssm.yield
func.func @unit_loops(%x: tensor<1x?x1xf32>, %e: tensor<?x1xf32>) -> tensor<?x1xf32> {
  %y = ssm.kernel loops 3 ins(%x : tensor<1x?x1xf32>) outs(%e : tensor<?x1xf32>)
      maps [affine_map<(b, i, k) -> (b, i, k)>, affine_map<(b, i, k) -> (i, 0)>] {
    ^bb0(%v: f32):
      %s = ssm.reduce addf %v over [0, 2] : f32
      ssm.yield %s : f32
  } -> tensor<?x1xf32>
  return %y : tensor<?x1xf32>
}

// The only window of two ends before its sequence: the taps alone would not be an index
// of all of it, so the loop of windows stays.

// CHECK-LABEL: @one_window
// CHECK: ssm.kernel loops 2
// CHECK-LABEL: @whole_window
// CHECK: ssm.kernel loops 1
func.func @one_window(%x: tensor<4xf32>, %w: tensor<3xf32>, %e: tensor<1xf32>) -> tensor<1xf32> {
  %y = ssm.kernel loops 2 ins(%x, %w : tensor<4xf32>, tensor<3xf32>) outs(%e : tensor<1xf32>)
      maps [affine_map<(i, k) -> (i * 2 + k)>, affine_map<(i, k) -> (k)>, affine_map<(i, k) -> (i)>] {
    ^bb0(%v: f32, %u: f32):
      %p = arith.mulf %v, %u : f32
      %s = ssm.reduce addf %p over [1] : f32
      ssm.yield %s : f32
  } -> tensor<1xf32>
  return %y : tensor<1xf32>
}
func.func @whole_window(%x: tensor<3xf32>, %w: tensor<3xf32>, %e: tensor<1xf32>) -> tensor<1xf32> {
  %y = ssm.kernel loops 2 ins(%x, %w : tensor<3xf32>, tensor<3xf32>) outs(%e : tensor<1xf32>)
      maps [affine_map<(i, k) -> (i * 2 + k)>, affine_map<(i, k) -> (k)>, affine_map<(i, k) -> (i)>] {
    ^bb0(%v: f32, %u: f32):
      %p = arith.mulf %v, %u : f32
      %s = ssm.reduce addf %p over [1] : f32
      ssm.yield %s : f32
  } -> tensor<1xf32>
  return %y : tensor<1xf32>
}

// A single tap does not change the size, however long the sequence.

// CHECK-LABEL: @one_tap
// CHECK: ssm.kernel loops 1
func.func @one_tap(%x: tensor<?xf32>, %w: tensor<1xf32>) -> tensor<?xf32> {
  %c0 = arith.constant 0 : index
  %n = tensor.dim %x, %c0 : tensor<?xf32>
  %e = tensor.empty(%n) : tensor<?xf32>
  %y = ssm.kernel loops 2 ins(%x, %w : tensor<?xf32>, tensor<1xf32>) outs(%e : tensor<?xf32>)
      maps [affine_map<(i, k) -> (i + k)>, affine_map<(i, k) -> (k)>, affine_map<(i, k) -> (i)>] {
    ^bb0(%v: f32, %u: f32):
      %p = arith.mulf %v, %u : f32
      %s = ssm.reduce addf %p over [1] : f32
      ssm.yield %s : f32
  } -> tensor<?xf32>
  return %y : tensor<?xf32>
}

// Time stays, however short; it is counted anew.

// CHECK-LABEL: @time
// CHECK: ssm.kernel loops 2 time 0
func.func @time(%x: tensor<1x1x4xf32>, %h0: tensor<4xf32>, %eh: tensor<4xf32>) -> tensor<4xf32> {
  %h = ssm.kernel loops 3 time 1 ins(%x : tensor<1x1x4xf32>) inits(%h0 : tensor<4xf32>) outs(%eh : tensor<4xf32>)
      maps [affine_map<(b, t, d) -> (b, t, d)>, affine_map<(b, t, d) -> (d)>, affine_map<(b, t, d) -> (d)>] {
    ^bb0(%v: f32, %c: f32):
      %z = ssm.reduce addf %v over [0] : f32
      %s = arith.addf %z, %c : f32
      ssm.yield %s : f32
  } -> tensor<4xf32>
  return %h : tensor<4xf32>
}

// The same input twice is read once; one that nobody reads goes.

// CHECK-LABEL: @inputs
// CHECK: ssm.kernel loops 1 ins(%{{[^,]*}} : tensor<?xf32>)
func.func @inputs(%x: tensor<?xf32>, %z: tensor<?xf32>, %e: tensor<?xf32>) -> tensor<?xf32> {
  %y = ssm.kernel loops 1 ins(%x, %x, %z : tensor<?xf32>, tensor<?xf32>, tensor<?xf32>) outs(%e : tensor<?xf32>)
      maps [affine_map<(i) -> (i)>, affine_map<(i) -> (i)>, affine_map<(i) -> (i)>, affine_map<(i) -> (i)>] {
    ^bb0(%v: f32, %w: f32, %u: f32):
      %s = arith.addf %v, %w : f32
      ssm.yield %s : f32
  } -> tensor<?xf32>
  return %y : tensor<?xf32>
}
