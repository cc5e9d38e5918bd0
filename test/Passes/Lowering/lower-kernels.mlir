// RUN: ssm-opt %s -split-input-file -ssm-lower-kernels -verify-diagnostics | FileCheck %s

#x = affine_map<(i, j) -> (i, j)>

// Sums of a row are done once, in front of the loop over its elements.
// CHECK-LABEL: func.func @softmax
// CHECK: scf.for %[[I:.*]] =
// CHECK: %[[M:.*]] = scf.for {{.*}} iter_args
// CHECK: arith.maximumf
// CHECK: %[[S:.*]] = scf.for {{.*}} iter_args
// CHECK: arith.addf {{.*}} fastmath<reassoc,contract>
// CHECK: scf.for %[[J:.*]] =
// CHECK-NOT: scf.for
// CHECK: memref.store %{{.*}}, %{{.*}}[%[[I]], %[[J]]]
func.func @softmax(%x: memref<?x?xf32>, %y: memref<?x?xf32>) {
  ssm.kernel loops 2 ins(%x : memref<?x?xf32>) outs(%y : memref<?x?xf32>) maps [#x, #x] {
    ^bb0(%v: f32):
      %m = ssm.reduce maximumf %v over [1] : f32
      %d = arith.subf %v, %m : f32
      %t = math.exp %d : f32
      %s = ssm.reduce addf %t over [1] : f32
      %q = arith.divf %t, %s : f32
      ssm.yield %q : f32
  }
  return
}

// -----

#k = affine_map<(t, d, e) -> (t, d)>
#s = affine_map<(t, d, e) -> (d, e)>
#o = affine_map<(t, d, e) -> (t, e)>

// Outs before carries; the sum over old carries in front of what overwrites them.
// CHECK-LABEL: func.func @delta
// CHECK-SAME: %[[S0:.*]]: memref<8x4xf32>, %[[S:.*]]: memref<8x4xf32>, %[[Y:.*]]: memref<?x4xf32>
// CHECK: memref.store %{{.*}}, %[[S]]
// CHECK: scf.for %[[T:.*]] =
// CHECK: memref.store %{{.*}}, %[[Y]]
// CHECK: scf.for %[[E:.*]] =
// CHECK: scf.for {{.*}} iter_args
// CHECK: scf.for %[[D:.*]] =
// CHECK-NOT: scf.for
// CHECK: memref.store %{{.*}}, %[[S]][%[[D]], %[[E]]]
func.func @delta(%k: memref<?x8xf32>, %s0: memref<8x4xf32>, %s: memref<8x4xf32>, %y: memref<?x4xf32>) {
  ssm.kernel loops 3 time 0 ins(%k : memref<?x8xf32>) inits(%s0 : memref<8x4xf32>)
      outs(%s, %y : memref<8x4xf32>, memref<?x4xf32>) maps [#k, #s, #s, #o] mirrored [true, false] {
    ^bb0(%a: f32, %c: f32):
      %0 = arith.mulf %a, %c : f32
      %1 = ssm.reduce addf %0 over [1] : f32
      %2 = arith.mulf %a, %1 : f32
      %3 = arith.subf %c, %2 : f32
      ssm.yield %3, %1 : f32, f32
  }
  return
}

// -----

#s = affine_map<(t, d, e) -> (d, e)>
#x = affine_map<(t, d, e) -> (t)>

// Rows need old columns and columns old rows.
func.func @both(%x: memref<?xf32>, %s0: memref<8x4xf32>, %s: memref<8x4xf32>) {
  // expected-error @below {{has carries that cannot be updated in place}}
  ssm.kernel loops 3 time 0 ins(%x : memref<?xf32>) inits(%s0 : memref<8x4xf32>)
      outs(%s : memref<8x4xf32>) maps [#x, #s, #s] {
    ^bb0(%a: f32, %c: f32):
      %1 = ssm.reduce addf %c over [1] : f32
      %2 = ssm.reduce addf %c over [2] : f32
      %3 = arith.addf %1, %2 : f32
      ssm.yield %3 : f32
  }
  return
}
