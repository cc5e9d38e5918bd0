// RUN: ssm-opt %s "-ssm-emit-device-kernels=chip=sm_90a" -canonicalize -cse -ssm-verify-sync | FileCheck %s

// Rows by index, whose last axis may be one that is spread (%step is 0 then): where it is not, and
// many vectors are in rows that warps fit, four are read before the first is written. Those behind
// the end are read at the last place and not written.
// CHECK-LABEL: func.func private @kernel_gather(
// CHECK-SAME: %[[STEP:[a-z0-9]*]]: index)
// CHECK: arith.cmpi eq, %[[STEP]], %c1
// CHECK: arith.cmpi uge, %{{.*}}, %c1048576
// CHECK: arith.cmpi uge, %{{.*}}, %c128
// CHECK: @device::@kernel_gather_vectors grid
// CHECK: @device::@kernel_gather grid
// CHECK: gpu.func @kernel_gather_vectors(
// CHECK: nvvm.griddepcontrol wait
// CHECK-NOT: scf.for
// CHECK-COUNT-4: vector.load %{{.*}} {alignment = 16 : i64} : memref<?x?xf32>, vector<4xf32>
// CHECK-COUNT-4: vector.store %{{.*}} {alignment = 16 : i64} : memref<?x?xf32>, vector<4xf32>
// CHECK-NOT: vector.store
// CHECK: gpu.func @kernel_gather(
// CHECK-NOT: vector.load

#ij = affine_map<(d0, d1) -> (d0, d1)>
func.func private @kernel_gather(%table: !llvm.ptr, %context: !llvm.ptr, %xp: !llvm.ptr {llvm.noalias}, %ip: !llvm.ptr {llvm.noalias}, %n: index, %m: index, %k: index, %yp: !llvm.ptr {llvm.noalias}, %step: index) attributes {ssm.kernel} {
  %c0 = arith.constant 0 : index
  %x = ssm.arena_view %xp[%c0] (%n, %m) : !llvm.ptr -> memref<?x?xf32>
  %i = ssm.arena_view %ip[%c0] (%k) : !llvm.ptr -> memref<?xi64>
  %y = ssm.arena_view %yp[%c0] (%k, %m) : !llvm.ptr -> memref<?x?xf32>
  ssm.kernel loops 2 outs(%y : memref<?x?xf32>) maps [#ij] config <loops, lane_loop = 1, lanes = 1> {
    %r = ssm.index 0
    %c = ssm.index 1
    %at = memref.load %i[%r] : memref<?xi64>
    %row = arith.index_cast %at : i64 to index
    %column = arith.muli %c, %step : index
    %v = memref.load %x[%row, %column] : memref<?x?xf32>
    ssm.yield %v : f32
  }
  return
}
