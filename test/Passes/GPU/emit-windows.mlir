// RUN: ssm-opt %s -ssm-emit-device-kernels -canonicalize -cse -ssm-verify-sync | FileCheck %s

// A convolution of two taps along dense time. Rows of whole, aligned runs: a thread has four
// steps, 16 bytes, and one in front of them; the first run of a row begins with the carry, the
// last one leaves it. Rows that begin elsewhere, but alike in all operands: runs begin at 16
// bytes, and those at the ends of a row go step by step. Other rows: a thread has a step.

// CHECK-LABEL: func.func private @taps
// CHECK: %[[REST:.*]] = arith.remui %{{.*}}, %c4
// CHECK: scf.if
// CHECK: ssm.launch {{.*}}@device::@taps_runs
// CHECK: } else {
// CHECK: arith.cmpi uge, %{{.*}}, %c16
// CHECK: ssm.launch {{.*}}@device::@taps_peeled
// CHECK: } else {
// CHECK: ssm.launch {{.*}}@device::@taps grid
// CHECK: gpu.func @taps_runs
// CHECK: %[[X:.*]] = vector.load {{.*}} {alignment = 16 : i64} : memref<?x?xf32>, vector<4xf32>
// CHECK: %[[X0:.*]] = vector.extract %[[X]][0]
// CHECK: %[[X3:.*]] = vector.extract %[[X]][3]
// CHECK: %[[BEFORE:.*]] = scf.if {{.*}} -> (f32) {
// CHECK: memref.load {{.*}} : memref<?x?xf32>
// CHECK: } else {
// CHECK: memref.load {{.*}} : memref<?xf32>
// CHECK: arith.addf %[[X0]], %[[BEFORE]]
// CHECK: vector.store {{.*}} {alignment = 16 : i64} : memref<?x?xf32>, vector<4xf32>
// CHECK: arith.cmpi uge
// CHECK: scf.if
// CHECK: memref.store %[[X3]], {{.*}} : memref<?xf32>
// CHECK: gpu.func @taps_peeled
// CHECK: %[[SKIPPED:.*]] = arith.andi %{{.*}}, %c3
// CHECK: scf.if {{.*}} -> (f32) {
// CHECK: vector.load
// CHECK: vector.store
// CHECK: } else {
// CHECK-COUNT-5: memref.load {{.*}} : memref<?x?xf32>
// CHECK: memref.load {{.*}} : memref<?xf32>
// CHECK-COUNT-4: memref.store {{.*}} : memref<?x?xf32>
// CHECK: gpu.func @taps(
// CHECK-NOT: vector
// CHECK: memref.load {{.*}} : memref<?x?xf32>
// CHECK: memref.load {{.*}} : memref<?x?xf32>
// CHECK: memref.load {{.*}} : memref<?xf32>
func.func private @taps(%table: !llvm.ptr, %context: !llvm.ptr, %px: !llvm.ptr, %pa: !llvm.ptr, %pb: !llvm.ptr, %py: !llvm.ptr, %n: index, %d: index) attributes {ssm.kernel} {
  %c0 = arith.constant 0 : index
  %x = ssm.arena_view %px[%c0] (%d, %n) : !llvm.ptr -> memref<?x?xf32>
  %a = ssm.arena_view %pa[%c0] (%d) : !llvm.ptr -> memref<?xf32>
  %b = ssm.arena_view %pb[%c0] (%d) : !llvm.ptr -> memref<?xf32>
  %y = ssm.arena_view %py[%c0] (%d, %n) : !llvm.ptr -> memref<?x?xf32>
  ssm.kernel loops 2 time 0 ins(%x : memref<?x?xf32>) inits(%a : memref<?xf32>)
      outs(%b, %y : memref<?xf32>, memref<?x?xf32>)
      maps [affine_map<(t, d) -> (d, t)>, affine_map<(t, d) -> (d)>, affine_map<(t, d) -> (d)>, affine_map<(t, d) -> (d, t)>] {
    ^bb0(%v: f32, %p: f32):
      %r = arith.addf %v, %p : f32
      ssm.yield %v, %r : f32, f32
  }
  return
}
