// RUN: ssm-opt %s -pass-pipeline='builtin.module(ssm-configure-kernels{vector-bits=512 registers=32})' | FileCheck %s

#td = affine_map<(t, d) -> (t, d)>
#t = affine_map<(t, d) -> (t)>
#tdu = affine_map<(t, d, u) -> (t, d, u)>

// An axis of one element is no place for lanes.
// CHECK-LABEL: @unit_axis
// CHECK: config <rows, lane_loop = 1, lanes = 16>
func.func @unit_axis(%x: tensor<?x8x1xf32>, %e: tensor<?x8x1xf32>) -> tensor<?x8x1xf32> {
  %y = ssm.kernel loops 3 ins(%x : tensor<?x8x1xf32>) outs(%e : tensor<?x8x1xf32>) maps [#tdu, #tdu] {
    ^bb0(%v: f32):
      %0 = arith.negf %v : f32
      ssm.yield %0 : f32
  } -> tensor<?x8x1xf32>
  return %y : tensor<?x8x1xf32>
}

// One id for all lanes takes no room in vectors.
// CHECK-LABEL: @rows
// CHECK: config <rows, lane_loop = 1, lanes = 16>
func.func @rows(%ids: tensor<?xi64>, %table: tensor<9x8xf32>, %e: tensor<?x8xf32>) -> tensor<?x8xf32> {
  %y = ssm.kernel loops 2 ins(%ids : tensor<?xi64>) outs(%e : tensor<?x8xf32>) maps [#t, #td] {
    ^bb0(%id: i64):
      %d = ssm.index 1
      %i = arith.index_cast %id : i64 to index
      %v = tensor.extract %table[%i, %d] : tensor<9x8xf32>
      ssm.yield %v : f32
  } -> tensor<?x8xf32>
  return %y : tensor<?x8xf32>
}

// Lanes lie along what is read densely.
// CHECK-LABEL: @turned
// CHECK: config <rows, lane_loop = 0, lanes = 16>
func.func @turned(%table: tensor<9x?xf32>, %more: tensor<9x?xf32>, %e: tensor<?x8xf32>) -> tensor<?x8xf32> {
  %c1 = arith.constant 1 : index
  %y = ssm.kernel loops 2 outs(%e : tensor<?x8xf32>) maps [#td] {
      %t = ssm.index 0
      %d = ssm.index 1
      %i = arith.addi %d, %c1 : index
      %v = tensor.extract %table[%i, %t] : tensor<9x?xf32>
      %w = tensor.extract %more[%i, %t] : tensor<9x?xf32>
      %s = arith.addf %v, %w : f32
      ssm.yield %s : f32
  } -> tensor<?x8xf32>
  return %y : tensor<?x8xf32>
}

// Steps that sum over a row are rows: what a batch would lie across is strided, and open.
// CHECK-LABEL: @steps
// CHECK: config <recurrence, lane_loop = 2, lanes = 16>
func.func @steps(%x: tensor<?x?x64xf32>, %h: tensor<?x64xf32>) -> tensor<?x64xf32> {
  %y = ssm.kernel loops 3 time 0 ins(%x : tensor<?x?x64xf32>) inits(%h : tensor<?x64xf32>) outs(%h : tensor<?x64xf32>)
      maps [#tdu, affine_map<(t, b, d) -> (b, d)>, affine_map<(t, b, d) -> (b, d)>] {
    ^bb0(%v: f32, %c: f32):
      %p = arith.addf %v, %c : f32
      %m = ssm.reduce maximumf %p over [2] : f32
      %n = arith.subf %p, %m : f32
      ssm.yield %n : f32
  } -> tensor<?x64xf32>
  return %y : tensor<?x64xf32>
}

// Many rows of few elements lie across lanes better.
// CHECK-LABEL: @batches
// CHECK: config <recurrence, lane_loop = 1, lanes = 16
func.func @batches(%x: tensor<?x32x64xf32>, %h: tensor<32x64xf32>) -> tensor<32x64xf32> {
  %y = ssm.kernel loops 3 time 0 ins(%x : tensor<?x32x64xf32>) inits(%h : tensor<32x64xf32>) outs(%h : tensor<32x64xf32>)
      maps [#tdu, affine_map<(t, b, d) -> (b, d)>, affine_map<(t, b, d) -> (b, d)>] {
    ^bb0(%v: f32, %c: f32):
      %p = arith.addf %v, %c : f32
      %m = ssm.reduce maximumf %p over [2] : f32
      %n = arith.subf %p, %m : f32
      ssm.yield %n : f32
  } -> tensor<32x64xf32>
  return %y : tensor<32x64xf32>
}

// What the user wrote stays.
// CHECK-LABEL: @kept
// CHECK: config <rows, lane_loop = 0, lanes = 4>
func.func @kept(%x: tensor<?x?xf32>, %e: tensor<?x?xf32>) -> tensor<?x?xf32> {
  %y = ssm.kernel loops 2 ins(%x : tensor<?x?xf32>) outs(%e : tensor<?x?xf32>) maps [#td, #td] config <rows, lane_loop = 0, lanes = 4> {
    ^bb0(%v: f32):
      %0 = arith.negf %v : f32
      ssm.yield %0 : f32
  } -> tensor<?x?xf32>
  return %y : tensor<?x?xf32>
}
