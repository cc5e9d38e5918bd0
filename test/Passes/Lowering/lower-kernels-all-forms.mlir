// RUN: ssm-opt %s -ssm-lower-kernels=all-forms | FileCheck %s
// RUN: ssm-opt %s -ssm-lower-kernels | FileCheck %s --check-prefix=KEPT

#x = affine_map<(i) -> (i)>

// CHECK-LABEL: func.func @rows
// CHECK: scf.for
// CHECK: arith.negf %{{.*}} : f32
// CHECK-NOT: ssm.kernel
// KEPT: ssm.kernel
func.func @rows(%x: memref<?xf32>, %y: memref<?xf32>) {
  ssm.kernel loops 1 ins(%x : memref<?xf32>) outs(%y : memref<?xf32>) maps [#x, #x] config <rows, lane_loop = 0, lanes = 8> {
    ^bb0(%v: f32):
      %n = arith.negf %v : f32
      ssm.yield %n : f32
  }
  return
}
