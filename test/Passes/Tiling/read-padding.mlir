// RUN: ssm-opt %s -pass-pipeline='builtin.module(func.func(ssm-read-padding),canonicalize,cse)' | FileCheck %s

// A window reads the tensor itself, where it is inside of it, and the padding's value elsewhere.

// CHECK-LABEL: @conv
// CHECK-SAME: %[[X:[a-z0-9]*]]: tensor<2x?xf32>
// CHECK-NOT: tensor.insert_slice
// CHECK: %[[N:.*]] = tensor.dim %[[X]]
// CHECK: ssm.kernel loops 3 ins(%{{.*}} : tensor<3xf32>)
// CHECK-DAG: %[[C:.*]] = ssm.index 0
// CHECK-DAG: %[[I:.*]] = ssm.index 1
// CHECK-DAG: %[[K:.*]] = ssm.index 2
// CHECK: %[[SUM:.*]] = arith.addi %[[I]], %[[K]]
// CHECK: %[[AT:.*]] = arith.subi %[[SUM]], %c1
// CHECK: %[[INSIDE:.*]] = arith.cmpi ult, %[[AT]], %[[N]]
// CHECK: %[[SAFE:.*]] = arith.select %[[INSIDE]], %[[AT]], %c0
// CHECK: %[[E:.*]] = tensor.extract %[[X]][%[[C]], %[[SAFE]]]
// CHECK: arith.select %[[INSIDE]], %[[E]], %cst
func.func @conv(%x: tensor<2x?xf32>, %w: tensor<3xf32>, %y: tensor<2x?xf32>) -> tensor<2x?xf32> {
  %zero = arith.constant 0.0 : f32
  %c1 = arith.constant 1 : index
  %c2 = arith.constant 2 : index
  %n = tensor.dim %x, %c1 : tensor<2x?xf32>
  %m = arith.addi %n, %c2 : index
  %e = tensor.empty(%m) : tensor<2x?xf32>
  %f = linalg.fill ins(%zero : f32) outs(%e : tensor<2x?xf32>) -> tensor<2x?xf32>
  %p = tensor.insert_slice %x into %f[0, 1] [2, %n] [1, 1] : tensor<2x?xf32> into tensor<2x?xf32>
  %r = ssm.kernel loops 3 ins(%p, %w : tensor<2x?xf32>, tensor<3xf32>) outs(%y : tensor<2x?xf32>)
      maps [affine_map<(c, i, k) -> (c, i + k)>, affine_map<(c, i, k) -> (k)>, affine_map<(c, i, k) -> (c, i)>] {
    ^bb0(%a: f32, %b: f32):
      %q = arith.mulf %a, %b : f32
      %s = ssm.reduce addf %q over [2] : f32
      ssm.yield %s : f32
  } -> tensor<2x?xf32>
  return %r : tensor<2x?xf32>
}

// An empty tensor of so much padding has windows without an element that could be read instead.

// CHECK-LABEL: @wide
// CHECK: tensor.insert_slice
func.func @wide(%x: tensor<2x?xf32>, %w: tensor<3xf32>, %y: tensor<2x?xf32>) -> tensor<2x?xf32> {
  %zero = arith.constant 0.0 : f32
  %c1 = arith.constant 1 : index
  %c3 = arith.constant 3 : index
  %n = tensor.dim %x, %c1 : tensor<2x?xf32>
  %m = arith.addi %n, %c3 : index
  %e = tensor.empty(%m) : tensor<2x?xf32>
  %f = linalg.fill ins(%zero : f32) outs(%e : tensor<2x?xf32>) -> tensor<2x?xf32>
  %p = tensor.insert_slice %x into %f[0, 1] [2, %n] [1, 1] : tensor<2x?xf32> into tensor<2x?xf32>
  %r = ssm.kernel loops 3 ins(%p, %w : tensor<2x?xf32>, tensor<3xf32>) outs(%y : tensor<2x?xf32>)
      maps [affine_map<(c, i, k) -> (c, i + k)>, affine_map<(c, i, k) -> (k)>, affine_map<(c, i, k) -> (c, i)>] {
    ^bb0(%a: f32, %b: f32):
      %q = arith.mulf %a, %b : f32
      %s = ssm.reduce addf %q over [2] : f32
      ssm.yield %s : f32
  } -> tensor<2x?xf32>
  return %r : tensor<2x?xf32>
}
