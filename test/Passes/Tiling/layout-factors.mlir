// RUN: ssm-opt %s -ssm-layout-factors=bytes -canonicalize -split-input-file | FileCheck %s
// RUN: ssm-opt %s -ssm-layout-factors=f32 -canonicalize -split-input-file | FileCheck %s --check-prefix=F32

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

// -----

// A weight of 16 bits across the depth is turned; not one that something else reads, nor where rows
// would no longer begin at 16 bytes, nor an input.
// CHECK-LABEL: func.func @halves
// CHECK-SAME: %[[X:[a-z0-9]*]]: tensor<?x64xf16>
// CHECK: %[[W:.*]] = ssm.load_weight @w
// CHECK: %[[T:.*]] = linalg.transpose ins(%[[W]] : tensor<64x48xf16>) outs(%{{.*}} : tensor<48x64xf16>) permutation = [1, 0]
// CHECK: ssm.kernel loops 3 ins(%[[X]], %[[T]] : tensor<?x64xf16>, tensor<48x64xf16>) {{.*}} maps [#[[MK:.*]], #[[MK2:.*]], #
// CHECK-NOT: linalg.transpose
// CHECK: return
#mk = affine_map<(m, n, k) -> (m, k)>
#kn = affine_map<(m, n, k) -> (k, n)>
#mn = affine_map<(m, n, k) -> (m, n)>
ssm.weight @w : tensor<64x48xf16> length 6144
ssm.weight @shared : tensor<64x48xf16> length 6144
ssm.weight @odd : tensor<63x48xf16> length 6048
func.func @halves(%x: tensor<?x64xf16>, %y: tensor<?x48xf32>, %v: tensor<?x63xf16>, %u: tensor<64x48xf16>)
    -> (tensor<?x48xf32>, tensor<?x48xf32>, tensor<64x48xf16>, tensor<?x48xf32>, tensor<?x48xf32>) {
  %w = ssm.load_weight @w : tensor<64x48xf16>
  %shared = ssm.load_weight @shared : tensor<64x48xf16>
  %odd = ssm.load_weight @odd : tensor<63x48xf16>
  %0 = ssm.kernel loops 3 ins(%x, %w : tensor<?x64xf16>, tensor<64x48xf16>) outs(%y : tensor<?x48xf32>) maps [#mk, #kn, #mn] {
  ^bb0(%a: f16, %b: f16):
    %1 = arith.extf %a : f16 to f32
    %2 = arith.extf %b : f16 to f32
    %3 = arith.mulf %1, %2 : f32
    %4 = ssm.reduce addf %3 over [2] : f32
    ssm.yield %4 : f32
  } -> tensor<?x48xf32>
  %5 = ssm.kernel loops 3 ins(%x, %shared : tensor<?x64xf16>, tensor<64x48xf16>) outs(%y : tensor<?x48xf32>) maps [#mk, #kn, #mn] {
  ^bb0(%a: f16, %b: f16):
    %1 = arith.extf %a : f16 to f32
    %2 = arith.extf %b : f16 to f32
    %3 = arith.mulf %1, %2 : f32
    %4 = ssm.reduce addf %3 over [2] : f32
    ssm.yield %4 : f32
  } -> tensor<?x48xf32>
  %6 = ssm.kernel loops 3 ins(%v, %odd : tensor<?x63xf16>, tensor<63x48xf16>) outs(%y : tensor<?x48xf32>) maps [#mk, #kn, #mn] {
  ^bb0(%a: f16, %b: f16):
    %1 = arith.extf %a : f16 to f32
    %2 = arith.extf %b : f16 to f32
    %3 = arith.mulf %1, %2 : f32
    %4 = ssm.reduce addf %3 over [2] : f32
    ssm.yield %4 : f32
  } -> tensor<?x48xf32>
  %7 = ssm.kernel loops 3 ins(%x, %u : tensor<?x64xf16>, tensor<64x48xf16>) outs(%y : tensor<?x48xf32>) maps [#mk, #kn, #mn] {
  ^bb0(%a: f16, %b: f16):
    %1 = arith.extf %a : f16 to f32
    %2 = arith.extf %b : f16 to f32
    %3 = arith.mulf %1, %2 : f32
    %4 = ssm.reduce addf %3 over [2] : f32
    ssm.yield %4 : f32
  } -> tensor<?x48xf32>
  return %0, %5, %shared, %6, %7 : tensor<?x48xf32>, tensor<?x48xf32>, tensor<64x48xf16>, tensor<?x48xf32>, tensor<?x48xf32>
}

// -----

// f32 on tensor cores.
// CHECK-LABEL: func.func @single
// CHECK-NOT: linalg.transpose
// CHECK: return
// F32-LABEL: func.func @single
// F32: linalg.transpose ins(%{{.*}} : tensor<64x46xf32>) outs(%{{.*}} : tensor<46x64xf32>) permutation = [1, 0]
ssm.weight @w : tensor<64x46xf32> length 11776
func.func @single(%x: tensor<?x64xf32>, %y: tensor<?x46xf32>) -> tensor<?x46xf32> {
  %w = ssm.load_weight @w : tensor<64x46xf32>
  %0 = ssm.kernel loops 3 ins(%x, %w : tensor<?x64xf32>, tensor<64x46xf32>) outs(%y : tensor<?x46xf32>)
      maps [affine_map<(m, n, k) -> (m, k)>, affine_map<(m, n, k) -> (k, n)>, affine_map<(m, n, k) -> (m, n)>] {
  ^bb0(%a: f32, %b: f32):
    %1 = arith.mulf %a, %b : f32
    %2 = ssm.reduce addf %1 over [2] : f32
    ssm.yield %2 : f32
  } -> tensor<?x46xf32>
  return %0 : tensor<?x46xf32>
}
