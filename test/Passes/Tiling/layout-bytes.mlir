// RUN: ssm-opt %s -ssm-layout-bytes -canonicalize -split-input-file | FileCheck %s

// Both factors are conversions of 8-bit floats: the product takes these.
// CHECK-LABEL: func.func @product
// CHECK-SAME: %[[A:.*]]: tensor<?x?xf8E4M3FN>, %[[B:.*]]: tensor<?x?xf8E5M2>
// CHECK: ssm.kernel loops 3 ins(%[[A]], %[[B]] : tensor<?x?xf8E4M3FN>, tensor<?x?xf8E5M2>)
// CHECK: ^bb0(%[[X:.*]]: f8E4M3FN, %[[Y:.*]]: f8E5M2):
// CHECK-DAG: %[[WX:.*]] = arith.extf %[[X]] : f8E4M3FN to f32
// CHECK-DAG: %[[WY:.*]] = arith.extf %[[Y]] : f8E5M2 to f32
// CHECK: arith.mulf %[[WX]], %[[WY]] : f32
#ij = affine_map<(i, j) -> (i, j)>
#mk = affine_map<(m, n, k) -> (m, k)>
#nk = affine_map<(m, n, k) -> (n, k)>
#mn = affine_map<(m, n, k) -> (m, n)>
func.func @product(%a: tensor<?x?xf8E4M3FN>, %b: tensor<?x?xf8E5M2>, %p: tensor<?x?xbf16>, %q: tensor<?x?xf32>, %y: tensor<?x?xf32>) -> tensor<?x?xf32> {
  %left = ssm.kernel loops 2 ins(%a : tensor<?x?xf8E4M3FN>) outs(%p : tensor<?x?xbf16>) maps [#ij, #ij] {
  ^bb0(%x: f8E4M3FN):
    %0 = arith.extf %x : f8E4M3FN to f32
    %1 = arith.truncf %0 : f32 to bf16
    ssm.yield %1 : bf16
  } -> tensor<?x?xbf16>
  %right = ssm.kernel loops 2 ins(%b : tensor<?x?xf8E5M2>) outs(%q : tensor<?x?xf32>) maps [#ij, #ij] {
  ^bb0(%x: f8E5M2):
    %0 = arith.extf %x : f8E5M2 to f32
    ssm.yield %0 : f32
  } -> tensor<?x?xf32>
  %r = ssm.kernel loops 3 ins(%left, %right : tensor<?x?xbf16>, tensor<?x?xf32>) outs(%y : tensor<?x?xf32>) maps [#mk, #nk, #mn] {
  ^bb0(%x: bf16, %z: f32):
    %0 = arith.extf %x : bf16 to f32
    %1 = arith.mulf %0, %z : f32
    %2 = ssm.reduce addf %1 over [2] : f32
    ssm.yield %2 : f32
  } -> tensor<?x?xf32>
  return %r : tensor<?x?xf32>
}

// -----

// A conversion that does more stays, and so does the other one.
// CHECK-LABEL: func.func @scaled
// CHECK: ssm.kernel loops 2
// CHECK: ssm.kernel loops 2
// CHECK: ssm.kernel loops 3 {{.*}} tensor<?x?xbf16>, tensor<?x?xbf16>
#ij = affine_map<(i, j) -> (i, j)>
#mk = affine_map<(m, n, k) -> (m, k)>
#nk = affine_map<(m, n, k) -> (n, k)>
#mn = affine_map<(m, n, k) -> (m, n)>
func.func @scaled(%a: tensor<?x?xf8E4M3FN>, %b: tensor<?x?xf8E4M3FN>, %p: tensor<?x?xbf16>, %y: tensor<?x?xf32>) -> tensor<?x?xf32> {
  %left = ssm.kernel loops 2 ins(%a : tensor<?x?xf8E4M3FN>) outs(%p : tensor<?x?xbf16>) maps [#ij, #ij] {
  ^bb0(%x: f8E4M3FN):
    %0 = arith.extf %x : f8E4M3FN to f32
    %1 = arith.addf %0, %0 : f32
    %2 = arith.truncf %1 : f32 to bf16
    ssm.yield %2 : bf16
  } -> tensor<?x?xbf16>
  %right = ssm.kernel loops 2 ins(%b : tensor<?x?xf8E4M3FN>) outs(%p : tensor<?x?xbf16>) maps [#ij, #ij] {
  ^bb0(%x: f8E4M3FN):
    %0 = arith.extf %x : f8E4M3FN to f32
    %1 = arith.truncf %0 : f32 to bf16
    ssm.yield %1 : bf16
  } -> tensor<?x?xbf16>
  %r = ssm.kernel loops 3 ins(%left, %right : tensor<?x?xbf16>, tensor<?x?xbf16>) outs(%y : tensor<?x?xf32>) maps [#mk, #nk, #mn] {
  ^bb0(%x: bf16, %z: bf16):
    %0 = arith.extf %x : bf16 to f32
    %1 = arith.extf %z : bf16 to f32
    %2 = arith.mulf %0, %1 : f32
    %3 = ssm.reduce addf %2 over [2] : f32
    ssm.yield %3 : f32
  } -> tensor<?x?xf32>
  return %r : tensor<?x?xf32>
}

// -----

// A weight whose rows lie across the depth is turned; what is no weight is not.
// CHECK-LABEL: func.func @weight
// CHECK: %[[W:.*]] = ssm.load_weight @w
// CHECK: %[[T:.*]] = linalg.transpose ins(%[[W]] : tensor<32x16xi8>) {{.*}} permutation = [1, 0]
// CHECK: ssm.kernel loops 3 ins(%{{.*}}, %[[T]] : tensor<?x32xi8>, tensor<16x32xi8>)
// CHECK-LABEL: func.func @input
// CHECK-NOT: linalg.transpose
#mk = affine_map<(m, n, k) -> (m, k)>
#kn = affine_map<(m, n, k) -> (k, n)>
#mn = affine_map<(m, n, k) -> (m, n)>
ssm.weight @w : tensor<32x16xi8> length 512
func.func @weight(%a: tensor<?x32xi8>, %y: tensor<?x16xi32>) -> tensor<?x16xi32> {
  %w = ssm.load_weight @w : tensor<32x16xi8>
  %r = ssm.kernel loops 3 ins(%a, %w : tensor<?x32xi8>, tensor<32x16xi8>) outs(%y : tensor<?x16xi32>) maps [#mk, #kn, #mn] {
  ^bb0(%x: i8, %z: i8):
    %0 = arith.extui %x : i8 to i32
    %1 = arith.extsi %z : i8 to i32
    %2 = arith.muli %0, %1 : i32
    %3 = ssm.reduce addi %2 over [2] : i32
    ssm.yield %3 : i32
  } -> tensor<?x16xi32>
  return %r : tensor<?x16xi32>
}
func.func @input(%a: tensor<?x32xi8>, %w: tensor<32x16xi8>, %y: tensor<?x16xi32>) -> tensor<?x16xi32> {
  %r = ssm.kernel loops 3 ins(%a, %w : tensor<?x32xi8>, tensor<32x16xi8>) outs(%y : tensor<?x16xi32>) maps [#mk, #kn, #mn] {
  ^bb0(%x: i8, %z: i8):
    %0 = arith.extui %x : i8 to i32
    %1 = arith.extsi %z : i8 to i32
    %2 = arith.muli %0, %1 : i32
    %3 = ssm.reduce addi %2 over [2] : i32
    ssm.yield %3 : i32
  } -> tensor<?x16xi32>
  return %r : tensor<?x16xi32>
}
