// RUN: ssm-opt %s -ssm-emit-kernels --remark-format=emitRemark --remarks-filter=vector 2>&1 | FileCheck %s

// A configuration that no emitter can follow gives plain loops, and says so.

#i2 = affine_map<(i, j) -> (i mod 3, j)>
#ij = affine_map<(i, j) -> (i, j)>
#t = affine_map<(t) -> (t)>
#c = affine_map<(t) -> ()>
#a = affine_map<(m, n, k) -> (m, k)>
#b = affine_map<(m, n, k) -> (k, n)>
#mn = affine_map<(m, n, k) -> (m, n)>
#i = affine_map<(i, j) -> (i)>
#j = affine_map<(i, j) -> (j)>
#tdk = affine_map<(t, d, k) -> (t, d, k)>
#td = affine_map<(t, d, k) -> (t, d)>
#dk = affine_map<(t, d, k) -> (d, k)>
#d = affine_map<(t, d, k) -> (d)>
#tdkl = affine_map<(t, d, k, l) -> (t, d, k, l)>
#td4 = affine_map<(t, d, k, l) -> (t, d)>
#d4 = affine_map<(t, d, k, l) -> (d)>

// CHECK: plain loops: lanes cannot lie along the loop that its configuration names
// CHECK: plain loops: its configuration is for another kind of kernel
// CHECK: plain loops: lanes cannot lie along the loop that its configuration names
// CHECK: plain loops: it is no product of matrices with lanes along its last axis
// CHECK: plain loops: its region has no form on vectors
// CHECK: plain loops: its sums and results have loops that do not nest
// CHECK: plain loops: a recurrence sums over its lanes
// CHECK: plain loops: a recurrence sums over several loops
// CHECK: plain loops: a carry lacks a loop that results have
// CHECK: plain loops: a loop of the recurrence belongs to no result

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

// CHECK-LABEL: @left_alone
// CHECK: config <loops, lane_loop = 0, lanes = 1>
func.func @left_alone(%x: memref<?x?xf32>, %y: memref<?x?xf32>) {
  ssm.kernel loops 2 ins(%x : memref<?x?xf32>) outs(%y : memref<?x?xf32>) maps [#ij, #ij]
      config <loops, lane_loop = 0, lanes = 1> {
    ^bb0(%v: f32):
      ssm.yield %v : f32
  }
  return
}

// CHECK-LABEL: @crossing_sums
// CHECK: config <loops, lane_loop = 0, lanes = 1>
func.func @crossing_sums(%x: memref<?x?xf32>, %r: memref<?xf32>, %c: memref<?xf32>) {
  ssm.kernel loops 2 ins(%x : memref<?x?xf32>) outs(%r, %c : memref<?xf32>, memref<?xf32>) maps [#ij, #i, #j]
      config <rows, lane_loop = 1, lanes = 4> {
    ^bb0(%v: f32):
      %0 = ssm.reduce addf %v over [1] : f32
      %1 = arith.mulf %v, %0 : f32
      %2 = ssm.reduce addf %1 over [0] : f32
      ssm.yield %0, %2 : f32, f32
  }
  return
}

// Steps that know their number are no rows.
// CHECK-LABEL: @sum_over_lanes
// CHECK: config <loops, lane_loop = 0, lanes = 1>
func.func @sum_over_lanes(%x: memref<?x?x?xf32>, %h: memref<?xf32>, %e: memref<?xf32>) {
  ssm.kernel loops 3 time 0 ins(%x : memref<?x?x?xf32>) inits(%h : memref<?xf32>) outs(%e : memref<?xf32>)
      maps [#tdk, #d, #d] config <recurrence, lane_loop = 2, lanes = 4> {
    ^bb0(%v: f32, %s: f32):
      %t = ssm.index 0
      %n = arith.index_cast %t : index to i32
      %f = arith.sitofp %n : i32 to f32
      %p = arith.mulf %v, %f : f32
      %0 = ssm.reduce addf %p over [2] : f32
      %1 = arith.addf %0, %s : f32
      ssm.yield %1 : f32
  }
  return
}

// CHECK-LABEL: @sum_over_two
// CHECK: config <loops, lane_loop = 0, lanes = 1>
func.func @sum_over_two(%x: memref<?x?x?x?xf32>, %h: memref<?xf32>, %e: memref<?xf32>) {
  ssm.kernel loops 4 time 0 ins(%x : memref<?x?x?x?xf32>) inits(%h : memref<?xf32>) outs(%e : memref<?xf32>)
      maps [#tdkl, #d4, #d4] config <recurrence, lane_loop = 1, lanes = 4> {
    ^bb0(%v: f32, %s: f32):
      %0 = ssm.reduce addf %v over [2, 3] : f32
      %1 = arith.addf %0, %s : f32
      ssm.yield %1 : f32
  }
  return
}

// CHECK-LABEL: @narrow_carry
// CHECK: config <loops, lane_loop = 0, lanes = 1>
func.func @narrow_carry(%x: memref<?x?x?xf32>, %w: memref<?x?xf32>, %h: memref<?xf32>, %e: memref<?xf32>, %y: memref<?x?x?xf32>) {
  ssm.kernel loops 3 time 0 ins(%w, %x : memref<?x?xf32>, memref<?x?x?xf32>) inits(%h : memref<?xf32>) outs(%e, %y : memref<?xf32>, memref<?x?x?xf32>)
      maps [#td, #tdk, #d, #d, #tdk] config <recurrence, lane_loop = 1, lanes = 4> {
    ^bb0(%u: f32, %v: f32, %s: f32):
      %0 = arith.addf %u, %s : f32
      %1 = arith.mulf %0, %v : f32
      ssm.yield %0, %1 : f32, f32
  }
  return
}

// CHECK-LABEL: @idle_loop
// CHECK: config <loops, lane_loop = 0, lanes = 1>
func.func @idle_loop(%x: memref<?x?xf32>, %w: memref<?x?x?xf32>, %h: memref<?xf32>, %e: memref<?xf32>) {
  ssm.kernel loops 3 time 0 ins(%x, %w : memref<?x?xf32>, memref<?x?x?xf32>) inits(%h : memref<?xf32>) outs(%e : memref<?xf32>)
      maps [#td, #tdk, #d, #d] config <recurrence, lane_loop = 1, lanes = 4> {
    ^bb0(%u: f32, %v: f32, %s: f32):
      %0 = arith.addf %u, %s : f32
      ssm.yield %0 : f32
  }
  return
}
