// RUN: ssm-opt %s -ssm-emit-kernels | FileCheck %s
// RUN: ssm-opt %s -ssm-lower-kernels="all-forms" | FileCheck %s --check-prefix=PLAIN

// Two vectors from the row at even places of the image are one of its outputs'; the vectors
// in front and behind hang over the edge and are masked. Nothing is copied.
// CHECK-LABEL: func @strided
// CHECK: ssm.parallel_for
// CHECK: vector.maskedload
// CHECK: vector.shuffle
// CHECK: vector.maskedstore
// CHECK: scf.for
// CHECK-NOT: masked
// CHECK: %[[A:.+]] = vector.load %arg0[{{.+}}] : memref<8x101xf32>, vector<16xf32>
// CHECK: %[[B:.+]] = vector.load %arg0[{{.+}}] : memref<8x101xf32>, vector<16xf32>
// CHECK: vector.shuffle %[[A]], %[[B]] [0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30]
// CHECK: vector.shuffle %[[A]], %[[B]] [1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31]
// CHECK: vector.store
// CHECK: vector.maskedload
// CHECK-NOT: memref.alloc

// In plain loops points outside add nothing.
// PLAIN-LABEL: func @strided
// PLAIN: scf.for
// PLAIN: scf.for
// PLAIN: %[[SUM:.+]] = scf.for {{.+}} iter_args(%[[BEFORE:.+]] = %{{.+}})
// PLAIN: arith.cmpi sge
// PLAIN: arith.cmpi slt
// PLAIN: scf.if
// PLAIN: memref.load %arg0
// PLAIN: else
// PLAIN: scf.yield %[[BEFORE]]
func.func @strided(%x: memref<8x101xf32>, %w: memref<8x3xf32>, %y: memref<8x51xf32>) {
  ssm.kernel loops 3 ins(%x, %w : memref<8x101xf32>, memref<8x3xf32>) outs(%y : memref<8x51xf32>)
      maps [affine_map<(c, i, k) -> (c, i * 2 + k - 1)>, affine_map<(c, i, k) -> (c, k)>,
            affine_map<(c, i, k) -> (c, i)>] config <window, lane_loop = 1, lanes = 16, tiles = [1, 1]> padded {
    ^bb0(%a: f32, %b: f32):
      %m = arith.mulf %a, %b : f32
      %s = ssm.reduce addf %m over [2] : f32
      ssm.yield %s : f32
  }
  return
}
