// RUN: ssm-opt %s -ssm-emit-device-kernels -canonicalize -cse | FileCheck %s

// Sums down columns and what follows from them, by the number of columns and their length.
// CHECK-LABEL: func.func private @kernel_norm(
// CHECK: arith.cmpi ule, %{{.+}}, %c256
// CHECK: %[[BLOCKS:.+]] = arith.divui %{{.+}}, %c32
// CHECK: arith.cmpi uge, %[[BLOCKS]], %c264
// CHECK: @device::@kernel_norm_broad grid(%[[BLOCKS]], %c1, %c1)
// CHECK: %[[MORE:.+]] = arith.divui %{{.+}}, %c8
// CHECK: @device::@kernel_norm_narrow grid(%[[MORE]], %c1, %c1)
// CHECK: @device::@kernel_norm_tall grid(%[[MORE]], %c1, %c1)

// 32 bytes of columns side by side, each read once; a warp's threads of a column by shuffles, the
// warps through shared memory.
// CHECK-LABEL: gpu.func @kernel_norm_narrow(
// CHECK-SAME: workgroup(%[[PARTS:.+]] : memref<16x8xf32, 3>)
// CHECK: %[[THREAD:.+]] = gpu.thread_id  x
// CHECK-DAG: %[[ROW:.+]] = arith.divui %[[THREAD]], %c8
// CHECK-DAG: %[[SIDE:.+]] = arith.remui %[[THREAD]], %c8
// CHECK-COUNT-16: memref.load
// CHECK: gpu.shuffle  xor %{{.+}}, %c16_i32
// CHECK: gpu.shuffle  xor %{{.+}}, %c8_i32
// CHECK-NOT: gpu.shuffle
// CHECK: memref.store %{{.+}}, %[[PARTS]][%{{.+}}, %[[SIDE]]]
// CHECK: gpu.barrier
// CHECK: %[[SUM:.+]] = scf.for
// CHECK: memref.load %[[PARTS]][%{{.+}}, %[[SIDE]]]
// CHECK-NOT: memref.load
// CHECK-COUNT-16: memref.store

// Long columns are read again.
// CHECK-LABEL: gpu.func @kernel_norm_tall(
// CHECK: scf.for {{.*}} -> (f32, f32, f32, f32, f32, f32, f32, f32)
// CHECK-COUNT-8: memref.load
// CHECK: gpu.barrier
// CHECK: scf.if
// CHECK: scf.for
// CHECK: memref.load
// CHECK: memref.store

#ij = affine_map<(d0, d1) -> (d0, d1)>
func.func private @kernel_norm(%table: !llvm.ptr, %context: !llvm.ptr, %xp: !llvm.ptr {llvm.noalias}, %n: index, %m: index, %yp: !llvm.ptr {llvm.noalias}) attributes {ssm.kernel} {
  %c0 = arith.constant 0 : index
  %x = ssm.arena_view %xp[%c0] (%n, %m) : !llvm.ptr -> memref<?x?xf32>
  %y = ssm.arena_view %yp[%c0] (%n, %m) : !llvm.ptr -> memref<?x?xf32>
  ssm.kernel loops 2 ins(%x : memref<?x?xf32>) outs(%y : memref<?x?xf32>) maps [#ij, #ij] config <loops, lane_loop = 0, lanes = 1> {
  ^bb0(%v: f32):
    %s = ssm.reduce addf %v over [0] : f32
    %d = arith.subf %v, %s : f32
    ssm.yield %d : f32
  }
  return
}
