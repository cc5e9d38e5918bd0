// RUN: ssm-opt %s -ssm-emit-device-kernels -canonicalize -cse -ssm-verify-sync | FileCheck %s
// RUN: ssm-opt %s -ssm-emit-device-kernels=chip=sm_90a -canonicalize -cse -ssm-verify-sync | FileCheck %s --check-prefix=CLUSTER

// Sums down columns and what follows from them, by the number of columns and their length.
// CHECK-LABEL: func.func private @kernel_norm(
// CHECK: arith.cmpi ule, %{{.+}}, %c512
// CHECK: @device::@kernel_norm_vectors grid(%{{.+}}, %c1, %c1)
// CHECK: %[[BLOCKS:.+]] = arith.divui %{{.+}}, %c32
// CHECK: arith.cmpi uge, %[[BLOCKS]], %c128
// CHECK: @device::@kernel_norm_broad grid(%[[BLOCKS]], %c1, %c1)
// CHECK: %[[MORE:.+]] = arith.divui %{{.+}}, %c8
// CHECK: @device::@kernel_norm_narrow grid(%[[MORE]], %c1, %c1)
// CHECK: @device::@kernel_norm_tall grid(%[[MORE]], %c1, %c1)

// Vectors of columns, two to eight threads of them side by side, a number that the kernel gets. Sums of
// warps by a thread for each column.
// CHECK-LABEL: gpu.func @kernel_norm_vectors(
// CHECK-SAME: %[[ACROSS:[a-z0-9]+]]: index) workgroup(%[[WARPS:.+]] : memref<8x32xf32, 3> {llvm.align = 16 : i64}, %[[ALL:.+]] : memref<256xf32, 3> {llvm.align = 16 : i64})
// CHECK: arith.divui %{{.+}}, %[[ACROSS]]
// CHECK-COUNT-4: vector.load %{{.+}} {alignment = 16 : i64} : memref<?x?xf32>, vector<4xf32>
// CHECK-COUNT-4: gpu.shuffle  xor %{{.+}}, %c16_i32
// CHECK: arith.cmpi ule, %[[ACROSS]], %c4
// CHECK: vector.store %{{.+}}, %[[WARPS]]
// CHECK: gpu.barrier
// CHECK: memref.store %{{.+}}, %[[ALL]]
// CHECK: gpu.barrier
// CHECK: vector.load %[[ALL]]
// CHECK: vector.store {{.*}} : memref<?x?xf32>, vector<4xf32>

// 32 bytes of columns side by side, each read once; a warp's threads of a column by shuffles, the
// warps through shared memory.
// CHECK-LABEL: gpu.func @kernel_norm_narrow(
// CHECK-SAME: workgroup(%[[PARTS:.+]] : memref<16x8xf32, 3> {llvm.align = 16 : i64})
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

// Up to eight blocks share out longer ones, and add up each other's sums in their order. What is
// written is found anew.
// CLUSTER-LABEL: func.func private @kernel_norm(
// CLUSTER: @device::@kernel_norm_narrow
// CLUSTER: arith.cmpi ule, %{{.+}}, %c8192
// CLUSTER: @device::@kernel_norm_cluster grid(%[[BLOCKS:.+]], %[[PARTS:.+]], %c1)
// CLUSTER: arith.cmpi ule, %{{.+}}, %c16384
// CLUSTER: @device::@kernel_norm_long_cluster
// CLUSTER: @device::@kernel_norm_tall
// CLUSTER-LABEL: gpu.func @kernel_norm_cluster(
// CLUSTER-COUNT-16: memref.load %{{.*}} : memref<?x?xf32>
// CLUSTER: llvm.store %{{.+}}, %[[OWN:[^ ]+]] {{.*}} : f32, !llvm.ptr<3>
// CLUSTER: nvvm.cluster.arrive
// CLUSTER: nvvm.cluster.wait
// CLUSTER: nvvm.mapa %[[OWN]], %{{.+}} : !llvm.ptr<3> -> !llvm.ptr<7>
// CLUSTER: scf.for
// CLUSTER: nvvm.mapa
// CLUSTER: nvvm.cluster.arrive
// CLUSTER: llvm.inline_asm
// CLUSTER-COUNT-16: memref.store %{{.*}} : memref<?x?xf32>
// CLUSTER: nvvm.cluster.wait

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
