// RUN: ssm-opt %s -split-input-file -ssm-emit-device-kernels -canonicalize -cse -ssm-verify-sync | FileCheck %s

// Plain writes: the rows that come to an element are numbered, the greatest number counts. The
// columns keep threads apart.

// CHECK-LABEL: func.func private @rows
// CHECK: arith.cmpi ugt, %{{.*}}, %c8
// CHECK: scf.if
// CHECK: ssm.segment_alloc
// CHECK: @device::@rows_clear
// CHECK: @device::@rows_claim
// CHECK: @device::@rows_latest
// CHECK: ssm.segment_release
// CHECK: else
// CHECK: @device::@rows grid
// CHECK: gpu.func @rows_claim
// CHECK: memref.load {{.*}} : memref<?x1xi64>
// CHECK: llvm.atomicrmw umax
// CHECK-NOT: memref.store
// CHECK: gpu.func @rows_latest
// CHECK: llvm.load
// CHECK: memref.store {{.*}} : memref<?x?xf32>
// CHECK: gpu.func @rows(
// CHECK: scf.for
// CHECK: memref.store {{.*}} : memref<?x?xf32>
func.func private @rows(%table: !llvm.ptr, %context: !llvm.ptr, %pi: !llvm.ptr, %pu: !llvm.ptr, %py: !llvm.ptr {llvm.noalias}, %k: index, %n: index, %m: index) attributes {ssm.kernel} {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %i = ssm.arena_view %pi[%c0] (%k) : !llvm.ptr -> memref<?x1xi64>
  %u = ssm.arena_view %pu[%c0] (%k, %m) : !llvm.ptr -> memref<?x?xf32>
  %y = ssm.arena_view %py[%c0] (%n, %m) : !llvm.ptr -> memref<?x?xf32>
  scf.for %row = %c0 to %k step %c1 {
    scf.for %column = %c0 to %m step %c1 {
      %id = memref.load %i[%row, %c0] : memref<?x1xi64>
      %to = arith.index_cast %id : i64 to index
      %v = memref.load %u[%row, %column] : memref<?x?xf32>
      memref.store %v, %y[%to, %column] : memref<?x?xf32>
    }
  }
  return
}

// -----

// What is combined is sorted by its element. A thread takes all of one.

// CHECK-LABEL: func.func private @add(
// CHECK: @device::@add_turns
// CHECK: @device::@add_places
// CHECK: scf.for
// CHECK: @device::@add_count
// CHECK: @device::@add_add
// CHECK: @device::@add_place
// CHECK: @device::@add_combine
// CHECK: gpu.func @add_combine
// CHECK: scf.while
// CHECK: arith.addf
// CHECK: memref.store {{.*}} : memref<?xf32>
func.func private @add(%table: !llvm.ptr, %context: !llvm.ptr, %pi: !llvm.ptr, %pu: !llvm.ptr, %py: !llvm.ptr {llvm.noalias}, %k: index, %n: index) attributes {ssm.kernel} {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %i = ssm.arena_view %pi[%c0] (%k) : !llvm.ptr -> memref<?xi64>
  %u = ssm.arena_view %pu[%c0] (%k) : !llvm.ptr -> memref<?xf32>
  %y = ssm.arena_view %py[%c0] (%n) : !llvm.ptr -> memref<?xf32>
  scf.for %row = %c0 to %k step %c1 {
    %id = memref.load %i[%row] : memref<?xi64>
    %to = arith.index_cast %id : i64 to index
    %v = memref.load %u[%row] : memref<?xf32>
    %old = memref.load %y[%to] : memref<?xf32>
    %new = arith.addf %old, %v : f32
    memref.store %new, %y[%to] : memref<?xf32>
  }
  return
}

// -----

// Rows whose steps run in order: a block has one. Of points that meet in a word of shared memory the
// lowest takes its turn; all that have theirs read before one writes.

// CHECK-LABEL: func.func private @add_rows
// CHECK: arith.cmpi uge, %{{.*}}, %c128
// CHECK: scf.if
// CHECK: @device::@add_rows_turns grid(%{{.*}}, %c1, %c1) threads %c256
// CHECK: @device::@add_rows_places
// CHECK: gpu.func @add_rows_turns(
// CHECK-SAME: %{{[a-z0-9]+}}: !llvm.ptr, %{{[a-z0-9]+}}: index, %{{[a-z0-9]+}}: index, %{{[a-z0-9]+}}: index)
// CHECK-SAME: memref<4096xi32, 3> {{.*}}, %{{[a-z0-9]+}} : memref<1xi32, 3>
// CHECK: gpu.barrier
// CHECK: scf.for
// CHECK: scf.while
// CHECK-COUNT-8: memref.atomic_rmw minu
// CHECK: gpu.barrier
// CHECK-COUNT-8: memref.load %{{.*}} : memref<?x?xf32>
// CHECK-COUNT-8: arith.addf
// CHECK: memref.atomic_rmw minu
// CHECK: gpu.barrier
// CHECK: scf.condition
func.func private @add_rows(%table: !llvm.ptr, %context: !llvm.ptr, %pi: !llvm.ptr, %pu: !llvm.ptr, %py: !llvm.ptr {llvm.noalias}, %k: index, %n: index, %m: index) attributes {ssm.kernel} {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %i = ssm.arena_view %pi[%c0] (%n, %k) : !llvm.ptr -> memref<?x?xi64>
  %u = ssm.arena_view %pu[%c0] (%n, %k) : !llvm.ptr -> memref<?x?xf32>
  %y = ssm.arena_view %py[%c0] (%n, %m) : !llvm.ptr -> memref<?x?xf32>
  scf.for %row = %c0 to %n step %c1 {
    scf.for %step = %c0 to %k step %c1 {
      %id = memref.load %i[%row, %step] : memref<?x?xi64>
      %to = arith.index_cast %id : i64 to index
      %v = memref.load %u[%row, %step] : memref<?x?xf32>
      %old = memref.load %y[%row, %to] : memref<?x?xf32>
      %new = arith.addf %old, %v : f32
      memref.store %new, %y[%row, %to] : memref<?x?xf32>
    }
  }
  return
}

// -----

// An out whose memory others may have is left to one thread.

// CHECK-LABEL: gpu.func @shared
// CHECK-NOT: llvm.atomicrmw
// CHECK: scf.for
func.func private @shared(%table: !llvm.ptr, %context: !llvm.ptr, %pi: !llvm.ptr, %py: !llvm.ptr, %k: index, %n: index) attributes {ssm.kernel} {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %one = arith.constant 1.0 : f32
  %i = ssm.arena_view %pi[%c0] (%k) : !llvm.ptr -> memref<?xi64>
  %y = ssm.arena_view %py[%c0] (%n) : !llvm.ptr -> memref<?xf32>
  scf.for %row = %c0 to %k step %c1 {
    %id = memref.load %i[%row] : memref<?xi64>
    %to = arith.index_cast %id : i64 to index
    memref.store %one, %y[%to] : memref<?xf32>
  }
  return
}
