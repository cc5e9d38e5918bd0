// RUN: ssm-opt %s -split-input-file -ssm-emit-device-kernels -canonicalize -cse -ssm-verify-sync | FileCheck %s

// A block for each row. Of rows of up to 128 and of up to 1024 elements a thread has four and
// eight: a bitonic network, in registers, by shuffles in a warp and shared memory between warps.
// Keys of 32 bits make one word with their index. Longer ones are
// searched for the last key that is taken, digit by digit, or sorted: by a block that has all of
// them, or where much is asked for, or rows are long and few, by many, digit by digit. More than
// 2^32 elements end the run.

// CHECK-LABEL: func.func private @rows
// CHECK: ssm.check %{{.*}}, "TopK", {{.*}} values(%{{.*}} : index)
// CHECK: arith.cmpi ule, %{{.*}}, %c128
// CHECK: math.ctlz
// CHECK: arith.maxui %{{.*}}, %c32
// CHECK: ssm.launch {{.*}}@device::@rows_short grid(%{{.*}}, %c1, %c1) threads %{{.*}} args
// CHECK: arith.cmpi ule, %{{.*}}, %c1024
// CHECK: ssm.launch {{.*}}@device::@rows_row grid(%{{.*}}, %c1, %c1) threads %{{.*}} args
// CHECK: arith.cmpi ule, %{{.*}}, %c4096
// CHECK: ssm.launch {{.*}}@device::@rows_block grid(%{{.*}}, %c1, %c1) threads %c256
// CHECK: ssm.segment_alloc
// CHECK: scf.for %[[PASS:.*]] = %c0 to %c4
// CHECK: ssm.launch {{.*}}@device::@rows_count {{.*}} threads %c256 args({{.*}}, %[[PASS]] :
// CHECK: ssm.launch {{.*}}@device::@rows_add
// CHECK: ssm.launch {{.*}}@device::@rows_place
// CHECK: ssm.segment_release
// CHECK: ssm.launch {{.*}}@device::@rows grid(%{{.*}}, %c1, %c1) threads %c1024
// CHECK: arith.cmpi ugt, %{{.*}}, %c1024
// CHECK: ssm.launch {{.*}}@device::@rows_order grid(%{{.*}}, %c1, %c1) threads %c256
// CHECK: gpu.func @rows_short
// CHECK-COUNT-4: memref.load
// CHECK: %[[KEY:.*]] = arith.xori %{{.*}}, %c-2147483648_i32
// CHECK: arith.cmpf uno
// CHECK: arith.cmpi ugt, %{{.*}}, %{{.*}} : i64
// CHECK: scf.for
// CHECK: scf.for
// CHECK-COUNT-4: gpu.shuffle xor {{.*}} : i64
// CHECK-NOT: gpu.barrier
// CHECK-COUNT-4: memref.store {{.*}} : memref<?x?xi64>
// CHECK-NOT: atomic_rmw
// CHECK: gpu.func @rows_row
// CHECK-COUNT-8: gpu.shuffle xor {{.*}} : i64
// CHECK-COUNT-8: memref.store {{.*}} : memref<1024xi64, 3>
// CHECK: gpu.barrier
// CHECK-COUNT-8: memref.load {{.*}} : memref<1024xi64, 3>
// CHECK: gpu.barrier
// CHECK-NOT: atomic_rmw
// CHECK: gpu.func @rows_block
// CHECK: nvvm.vote.sync ballot
// CHECK: llvm.intr.ctpop
// CHECK: gpu.shuffle idx
// CHECK: gpu.barrier
// CHECK: gpu.shuffle up
// CHECK: gpu.func @rows_place
// CHECK: nvvm.vote.sync ballot
// CHECK: gpu.func @rows(
// CHECK: scf.for %{{.*}} = %c0 to %c3
// CHECK: memref.atomic_rmw addi
// CHECK: gpu.barrier
// CHECK: gpu.shuffle down
// CHECK: memref.atomic_rmw addi
// CHECK: gpu.shuffle xor
func.func private @rows(%table: !llvm.ptr, %context: !llvm.ptr, %px: !llvm.ptr, %pi: !llvm.ptr, %m: index, %n: index, %k: index) attributes {ssm.kernel} {
  %c0 = arith.constant 0 : index
  %x = ssm.arena_view %px[%c0] (%m, %n) : !llvm.ptr -> memref<?x?xf32>
  %i = ssm.arena_view %pi[%c0] (%m, %k) : !llvm.ptr -> memref<?x?xi64>
  ssm.topk axis 1 ins(%x : memref<?x?xf32>) outs(%i : memref<?x?xi64>)
  return
}

// -----

// In a loop the one block takes row by row.
// CHECK-LABEL: gpu.func @nest
// CHECK: scf.for
// CHECK: scf.for %{{.*}} = %c0 to %c5
// CHECK: memref.atomic_rmw
func.func private @nest(%table: !llvm.ptr, %context: !llvm.ptr, %px: !llvm.ptr, %pi: !llvm.ptr, %n: index) attributes {ssm.kernel} {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %x = ssm.arena_view %px[%c0] () : !llvm.ptr -> memref<5x40xi32>
  %i = ssm.arena_view %pi[%c0] () : !llvm.ptr -> memref<5x7xi64>
  scf.for %t = %c0 to %n step %c1 {
    ssm.topk axis 1 least ins(%x : memref<5x40xi32>) outs(%i : memref<5x7xi64>)
    ssm.kernel loops 2 ins(%i : memref<5x7xi64>) outs(%x : memref<5x40xi32>)
        maps [affine_map<(r, c) -> (r, 0)>, affine_map<(r, c) -> (r, c)>] {
      ^bb0(%v: i64):
        %w = arith.trunci %v : i64 to i32
        ssm.yield %w : i32
    }
  }
  return
}
