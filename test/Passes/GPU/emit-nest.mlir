// RUN: ssm-opt %s -ssm-emit-device-kernels=chip=sm_80 -canonicalize -cse -split-input-file | FileCheck %s

// One block runs the steps. A row that a step writes is shared out by the loop that is an index of
// its elements; one thread tells of a failed check.
// CHECK-LABEL: gpu.func @kernel_rows
// CHECK: scf.for %[[STEP:.*]] =
// CHECK: %[[AT:.*]] = memref.load
// CHECK: %[[THREAD:.*]] = gpu.thread_id x
// CHECK: %[[FIRST:.*]] = arith.cmpi eq, %[[THREAD]]
// CHECK: scf.if %[[FIRST]]
// CHECK-NEXT: ssm.check_values
// CHECK: gpu.barrier
// CHECK: %[[ALL:.*]] = gpu.block_dim x
// CHECK: scf.for %[[J:.*]] = %[[THREAD]] to %{{.*}} step %[[ALL]]
// CHECK: memref.store %{{.*}}, %{{.*}}[%{{.*}}, %[[J]]]
// CHECK: gpu.barrier
func.func private @kernel_rows(%t: !llvm.ptr, %c: !llvm.ptr, %px: !llvm.ptr {llvm.noalias},
                               %pi: !llvm.ptr {llvm.noalias}, %py: !llvm.ptr {llvm.noalias},
                               %n: index, %d: index, %site: i64) attributes {ssm.kernel} {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %size = arith.index_cast %n : index to i64
  %x = ssm.arena_view %px[%c0] (%n, %d) : !llvm.ptr -> memref<?x?xf32>
  %at = ssm.arena_view %pi[%c0] (%n) : !llvm.ptr -> memref<?xi64>
  %y = ssm.arena_view %py[%c0] (%n, %d) : !llvm.ptr -> memref<?x?xf32>
  scf.for %i = %c0 to %n step %c1 {
    %row = memref.load %at[%i] : memref<?xi64>
    %ok = arith.cmpi ult, %row, %size : i64
    ssm.check_values %ok, %site values(%row : i64)
    %place = arith.index_cast %row : i64 to index
    scf.for %j = %c0 to %d step %c1 {
      %v = memref.load %x[%i, %j] : memref<?x?xf32>
      memref.store %v, %y[%place, %j] : memref<?x?xf32>
    }
  }
  return
}

// -----

// What an element is written from may be what another step has written: one by one.
// CHECK-LABEL: gpu.func @kernel_chain
// CHECK: scf.for %{{.*}} = %[[ZERO:.*]] to
// CHECK: scf.for %{{.*}} = %[[ZERO]] to
// CHECK: scf.if
// CHECK-NEXT: memref.store
func.func private @kernel_chain(%t: !llvm.ptr, %c: !llvm.ptr, %py: !llvm.ptr {llvm.noalias},
                                %pi: !llvm.ptr {llvm.noalias}, %n: index, %d: index)
    attributes {ssm.kernel} {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %at = ssm.arena_view %pi[%c0] (%n) : !llvm.ptr -> memref<?xindex>
  %y = ssm.arena_view %py[%c0] (%n, %d) : !llvm.ptr -> memref<?x?xf32>
  scf.for %i = %c0 to %n step %c1 {
    %place = memref.load %at[%i] : memref<?xindex>
    scf.for %j = %c0 to %d step %c1 {
      %v = memref.load %y[%place, %c0] : memref<?x?xf32>
      memref.store %v, %y[%place, %j] : memref<?x?xf32>
    }
  }
  return
}
