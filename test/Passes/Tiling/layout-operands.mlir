// RUN: ssm-opt %s -ssm-configure-kernels='vector-bits=512 registers=32 l1-bytes=32768' -ssm-layout-operands | FileCheck %s

// The state is held with its channels last; so is the factor, whose axes are turned
// before the kernel. What is dense already stays.

// CHECK-LABEL: @scan
// CHECK: %[[A:.*]] = ssm.kernel loops 2 ins(%{{.*}} : tensor<64x4xf32>) outs(%{{.*}} : tensor<4x64xf32>)
// CHECK: %[[H0:.*]] = ssm.kernel loops 2 ins(%{{.*}} : tensor<64x4xf32>) outs(%{{.*}} : tensor<4x64xf32>)
// CHECK: %[[H:.*]]:2 = ssm.kernel loops 3 time 0
// CHECK-SAME: ins(%{{.*}}, %[[A]] : tensor<?x64xf32>, tensor<4x64xf32>)
// CHECK-SAME: inits(%[[H0]] : tensor<4x64xf32>)
// CHECK-SAME: config <recurrence, lane_loop = 1
// CHECK: %[[BACK:.*]] = ssm.kernel loops 2 ins(%[[H]]#0 : tensor<4x64xf32>) outs(%{{.*}} : tensor<64x4xf32>)
// CHECK: return %[[BACK]], %[[H]]#1
func.func @scan(%x: tensor<?x64xf32>, %a: tensor<64x4xf32>, %h0: tensor<64x4xf32>, %eh: tensor<64x4xf32>,
                %ey: tensor<?x64xf32>) -> (tensor<64x4xf32>, tensor<?x64xf32>) {
  %h, %y = ssm.kernel loops 3 time 0 ins(%x, %a : tensor<?x64xf32>, tensor<64x4xf32>) inits(%h0 : tensor<64x4xf32>)
      outs(%eh, %ey : tensor<64x4xf32>, tensor<?x64xf32>)
      maps [affine_map<(t, d, n) -> (t, d)>, affine_map<(t, d, n) -> (d, n)>, affine_map<(t, d, n) -> (d, n)>,
            affine_map<(t, d, n) -> (d, n)>, affine_map<(t, d, n) -> (t, d)>] {
    ^bb0(%v: f32, %f: f32, %c: f32):
      %p = arith.mulf %f, %c : f32
      %n = arith.addf %p, %v : f32
      %s = ssm.reduce addf %n over [2] : f32
      ssm.yield %n, %s : f32, f32
  } -> tensor<64x4xf32>, tensor<?x64xf32>
  return %h, %y : tensor<64x4xf32>, tensor<?x64xf32>
}

// Sequences that are dense along time stay: squares of them are turned in registers, and a block
// of time is of whole squares.

// CHECK-LABEL: @time_last
// CHECK-NEXT: ssm.kernel loops 2 time 1 ins(%{{.*}} : tensor<64x?xf32>)
// CHECK-SAME: outs(%{{.*}}, %{{.*}} : tensor<64xf32>, tensor<64x?xf32>)
// CHECK-SAME: config <recurrence, lane_loop = 0, lanes = 16, tiles = [32
func.func @time_last(%x: tensor<64x?xf32>, %h0: tensor<64xf32>, %eh: tensor<64xf32>, %ey: tensor<64x?xf32>) -> (tensor<64xf32>, tensor<64x?xf32>) {
  %h, %y = ssm.kernel loops 2 time 1 ins(%x : tensor<64x?xf32>) inits(%h0 : tensor<64xf32>)
      outs(%eh, %ey : tensor<64xf32>, tensor<64x?xf32>)
      maps [affine_map<(d, t) -> (d, t)>, affine_map<(d, t) -> (d)>, affine_map<(d, t) -> (d)>, affine_map<(d, t) -> (d, t)>] {
    ^bb0(%v: f32, %c: f32):
      %n = arith.addf %v, %c : f32
      ssm.yield %n, %n : f32, f32
  } -> tensor<64xf32>, tensor<64x?xf32>
  return %h, %y : tensor<64xf32>, tensor<64x?xf32>
}

// A state of two vectors for each channel stays as it is: lanes lie along it, and nothing is
// turned.

// CHECK-LABEL: @along_state
// CHECK-NOT: ssm.kernel loops 2
// CHECK: ssm.kernel loops 3 time 0
// CHECK-SAME: inits(%{{.*}} : tensor<64x32xf32>)
// CHECK-SAME: config <recurrence, lane_loop = 2, lanes = 16, tiles = [8, 32768]>
// CHECK-NOT: ssm.kernel loops 2
func.func @along_state(%x: tensor<?x64xf32>, %a: tensor<64x32xf32>, %h0: tensor<64x32xf32>, %eh: tensor<64x32xf32>,
                       %ey: tensor<?x64xf32>) -> (tensor<64x32xf32>, tensor<?x64xf32>) {
  %h, %y = ssm.kernel loops 3 time 0 ins(%x, %a : tensor<?x64xf32>, tensor<64x32xf32>) inits(%h0 : tensor<64x32xf32>)
      outs(%eh, %ey : tensor<64x32xf32>, tensor<?x64xf32>)
      maps [affine_map<(t, d, n) -> (t, d)>, affine_map<(t, d, n) -> (d, n)>, affine_map<(t, d, n) -> (d, n)>,
            affine_map<(t, d, n) -> (d, n)>, affine_map<(t, d, n) -> (t, d)>] {
    ^bb0(%v: f32, %f: f32, %c: f32):
      %p = arith.mulf %f, %c : f32
      %n = arith.addf %p, %v : f32
      %s = ssm.reduce addf %n over [2] : f32
      ssm.yield %n, %s : f32, f32
  } -> tensor<64x32xf32>, tensor<?x64xf32>
  return %h, %y : tensor<64x32xf32>, tensor<?x64xf32>
}

// But not where a step waits for a sum, which takes long across lanes: there two vectors of
// channels are worked on at a time.

// CHECK-LABEL: @waits
// CHECK: ssm.kernel loops 2
// CHECK: config <recurrence, lane_loop = 1, lanes = 32
func.func @waits(%x: tensor<?x64xf32>, %k: tensor<?x32xf32>, %h0: tensor<64x32xf32>, %eh: tensor<64x32xf32>,
                 %ey: tensor<?x64xf32>) -> (tensor<64x32xf32>, tensor<?x64xf32>) {
  %h, %y = ssm.kernel loops 3 time 0 ins(%x, %k : tensor<?x64xf32>, tensor<?x32xf32>) inits(%h0 : tensor<64x32xf32>)
      outs(%eh, %ey : tensor<64x32xf32>, tensor<?x64xf32>)
      maps [affine_map<(t, d, n) -> (t, d)>, affine_map<(t, d, n) -> (t, n)>, affine_map<(t, d, n) -> (d, n)>,
            affine_map<(t, d, n) -> (d, n)>, affine_map<(t, d, n) -> (t, d)>] {
    ^bb0(%v: f32, %f: f32, %c: f32):
      %p = arith.mulf %f, %c : f32
      %s = ssm.reduce addf %p over [2] : f32
      %d = arith.subf %v, %s : f32
      %u = arith.mulf %d, %f : f32
      %n = arith.addf %c, %u : f32
      ssm.yield %n, %s : f32, f32
  } -> tensor<64x32xf32>, tensor<?x64xf32>
  return %h, %y : tensor<64x32xf32>, tensor<?x64xf32>
}

// A state in f16 is converted as its axes are turned, and so on the way back.

// CHECK-LABEL: @half_state
// CHECK: %[[H0:.*]] = ssm.kernel loops 2 ins(%{{.*}} : tensor<64x4xf16>) outs(%{{.*}} : tensor<4x64xf32>)
// CHECK: arith.extf
// CHECK: %[[H:.*]]:2 = ssm.kernel loops 3 time 0
// CHECK-SAME: inits(%[[H0]] : tensor<4x64xf32>)
// CHECK: %[[BACK:.*]] = ssm.kernel loops 2 ins(%[[H]]#0 : tensor<4x64xf32>) outs(%{{.*}} : tensor<64x4xf16>)
// CHECK: arith.truncf
// CHECK-NOT: ssm.kernel
// CHECK: return %[[BACK]], %[[H]]#1
func.func @half_state(%x: tensor<?x64xf32>, %h0: tensor<64x4xf16>, %eh: tensor<64x4xf32>, %eo: tensor<64x4xf16>,
                      %ey: tensor<?x64xf32>) -> (tensor<64x4xf16>, tensor<?x64xf32>) {
  %w = ssm.kernel loops 2 ins(%h0 : tensor<64x4xf16>) outs(%eh : tensor<64x4xf32>)
      maps [affine_map<(d, n) -> (d, n)>, affine_map<(d, n) -> (d, n)>] {
    ^bb0(%v: f16):
      %0 = arith.extf %v : f16 to f32
      ssm.yield %0 : f32
  } -> tensor<64x4xf32>
  %h, %y = ssm.kernel loops 3 time 0 ins(%x : tensor<?x64xf32>) inits(%w : tensor<64x4xf32>)
      outs(%eh, %ey : tensor<64x4xf32>, tensor<?x64xf32>)
      maps [affine_map<(t, d, n) -> (t, d)>, affine_map<(t, d, n) -> (d, n)>, affine_map<(t, d, n) -> (d, n)>,
            affine_map<(t, d, n) -> (t, d)>] {
    ^bb0(%v: f32, %c: f32):
      %n = arith.addf %c, %v : f32
      %s = ssm.reduce addf %n over [2] : f32
      ssm.yield %n, %s : f32, f32
  } -> tensor<64x4xf32>, tensor<?x64xf32>
  %r = ssm.kernel loops 2 ins(%h : tensor<64x4xf32>) outs(%eo : tensor<64x4xf16>)
      maps [affine_map<(d, n) -> (d, n)>, affine_map<(d, n) -> (d, n)>] {
    ^bb0(%v: f32):
      %0 = arith.truncf %v : f32 to f16
      ssm.yield %0 : f16
  } -> tensor<64x4xf16>
  return %r, %y : tensor<64x4xf16>, tensor<?x64xf32>
}
