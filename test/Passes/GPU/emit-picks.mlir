// RUN: ssm-opt %s "-ssm-emit-device-kernels=chip=sm_90a" -canonicalize -cse -ssm-verify-sync | FileCheck %s

// Elements of rows by index, the check with them: where rows are many, and short enough, a block
// has one in shared memory, eight points a thread.
// CHECK-LABEL: func.func private @kernel_pick(
// CHECK-SAME: %[[SITE:[a-z0-9]*]]: i64)
// CHECK: arith.cmpi ule, %{{.*}}, %c8192
// CHECK: %[[FAULT:.*]] = ssm.fault
// CHECK: ssm.launch %{{.*}} @device::@kernel_pick_picked grid({{.*}}) threads %c256 args({{.*}}, %[[SITE]], %[[FAULT]] :
// CHECK: @device::@kernel_pick grid
// CHECK: gpu.func @kernel_pick_picked(
// CHECK-SAME: !llvm.ptr {ssm.fault}) workgroup(%[[ROW:.*]] : memref<8x1024xf32, 3>
// CHECK-COUNT-4: vector.load %{{.*}} {alignment = 16 : i64} : memref<?x?xf32>, vector<4xf32>
// CHECK-COUNT-4: vector.store %{{.*}}, %[[ROW]]
// CHECK: gpu.barrier
// CHECK: scf.for
// CHECK-COUNT-8: ssm.check_index
// CHECK-COUNT-8: memref.load %[[ROW]]
// CHECK-COUNT-8: memref.store
// CHECK: gpu.func @kernel_pick(
// CHECK-NOT: workgroup

#ij = affine_map<(d0, d1) -> (d0, d1)>
func.func private @kernel_pick(%table: !llvm.ptr, %context: !llvm.ptr, %xp: !llvm.ptr {llvm.noalias}, %ip: !llvm.ptr {llvm.noalias}, %n: index, %m: index, %k: index, %yp: !llvm.ptr {llvm.noalias}, %size: i64, %site: i64) attributes {ssm.kernel} {
  %c0 = arith.constant 0 : index
  %x = ssm.arena_view %xp[%c0] (%n, %m) : !llvm.ptr -> memref<?x?xf32>
  %i = ssm.arena_view %ip[%c0] (%n, %k) : !llvm.ptr -> memref<?x?xi64>
  %y = ssm.arena_view %yp[%c0] (%n, %k) : !llvm.ptr -> memref<?x?xf32>
  ssm.kernel loops 2 ins(%i : memref<?x?xi64>) outs(%y : memref<?x?xf32>) maps [#ij, #ij] config <loops, lane_loop = 1, lanes = 1> {
  ^bb0(%v: i64):
    %r = ssm.index 0
    %w = ssm.check_index %v of %size, %site : i64
    %at = arith.index_cast %w : i64 to index
    %e = memref.load %x[%r, %at] : memref<?x?xf32>
    ssm.yield %e : f32
  }
  return
}
