// RUN: ssm-opt %s -ssm-emit-kernels --remark-format=emitRemark --remarks-filter=vector 2>&1 | FileCheck %s

// A configuration that no emitter can follow gives plain loops, and says so.

#i2 = affine_map<(i, j) -> (i mod 3, j)>
#ij = affine_map<(i, j) -> (i, j)>
#t = affine_map<(t) -> (t)>
#c = affine_map<(t) -> ()>
#a = affine_map<(m, n, k) -> (m, k)>
#b = affine_map<(m, n, k) -> (k, n)>
#mn = affine_map<(m, n, k) -> (m, n)>

// CHECK: plain loops: lanes cannot lie along the loop that its configuration names
// CHECK: plain loops: its configuration is for another kind of kernel
// CHECK: plain loops: lanes cannot lie along the loop that its configuration names
// CHECK: plain loops: it is no product of matrices with lanes along its last axis

// CHECK-LABEL: @wraps
// CHECK: config <loops, lane_loop = 0, lanes = 1>
func.func @wraps(%x: memref<3x?xf32>, %y: memref<?x?xf32>) {
  ssm.kernel loops 2 ins(%x : memref<3x?xf32>) outs(%y : memref<?x?xf32>) maps [#i2, #ij]
      config <rows, lane_loop = 0, lanes = 4> {
    ^bb0(%v: f32):
      ssm.yield %v : f32
  }
  return
}

// CHECK-LABEL: @no_time
// CHECK: config <loops, lane_loop = 0, lanes = 1>
func.func @no_time(%x: memref<?x?xf32>, %y: memref<?x?xf32>) {
  ssm.kernel loops 2 ins(%x : memref<?x?xf32>) outs(%y : memref<?x?xf32>) maps [#ij, #ij]
      config <recurrence, lane_loop = 1, lanes = 4> {
    ^bb0(%v: f32):
      ssm.yield %v : f32
  }
  return
}

// CHECK-LABEL: @along_time
// CHECK: config <loops, lane_loop = 0, lanes = 1>
func.func @along_time(%x: memref<?xf32>, %h: memref<f32>, %y: memref<f32>) {
  ssm.kernel loops 1 time 0 ins(%x : memref<?xf32>) inits(%h : memref<f32>) outs(%y : memref<f32>)
      maps [#t, #c, #c] config <recurrence, lane_loop = 0, lanes = 4> {
    ^bb0(%v: f32, %s: f32):
      %n = arith.addf %v, %s : f32
      ssm.yield %n : f32
  }
  return
}

// CHECK-LABEL: @tall
// CHECK: config <loops, lane_loop = 0, lanes = 1>
func.func @tall(%a: memref<?x?xf32>, %b: memref<?x?xf32>, %c: memref<?x?xf32>) {
  ssm.kernel loops 3 ins(%a, %b : memref<?x?xf32>, memref<?x?xf32>) outs(%c : memref<?x?xf32>)
      maps [#a, #b, #mn] config <matmul, lane_loop = 1, lanes = 4, tiles = [100000, 2]> {
  ^bb0(%l: f32, %r: f32):
    %p = arith.mulf %l, %r : f32
    %s = ssm.reduce addf %p over [2] : f32
    ssm.yield %s : f32
  }
  return
}
