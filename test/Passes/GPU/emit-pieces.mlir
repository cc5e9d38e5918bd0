// RUN: ssm-opt %s "-ssm-emit-device-kernels=chip=sm_90a" -canonicalize -cse -ssm-verify-sync | FileCheck %s

// A part of each row of a longer one: from 2^20 points on, where vectors do not fit, warps take pieces of
// 256 elements, one or four each. A thread's eight are read before one is written. Of a row's last piece
// those behind the end are not written, and short rows are taken one by one.
// CHECK-LABEL: func.func private @kernel_cut(
// CHECK: arith.cmpi uge, %{{.*}}, %c1048576
// CHECK: arith.cmpi uge, %{{.*}}, %c16
// CHECK: arith.select %{{.*}}, %c4, %c1
// CHECK: @device::@kernel_cut_pieces grid
// CHECK: @device::@kernel_cut grid
// CHECK: gpu.func @kernel_cut_pieces(
// CHECK: arith.remui
// CHECK: scf.for %{{.*}} step %c1 iter_args(%[[ROW:.*]] = %{{.*}}, %{{.*}} = %{{.*}})
// CHECK-NOT: arith.divui
// CHECK: scf.if
// CHECK-COUNT-8: memref.load %{{.*}}[%[[ROW]],
// CHECK-NOT: memref.load
// CHECK-COUNT-8: memref.store %{{.*}}, %{{.*}}[%[[ROW]],
// CHECK: } else {
// CHECK-COUNT-8: memref.load
// CHECK: scf.if
// CHECK: memref.store
// CHECK: scf.for %{{.*}} step %c32
// CHECK: memref.load
// CHECK-NEXT: memref.store
// CHECK: gpu.func @kernel_cut(

#ij = affine_map<(d0, d1) -> (d0, d1)>
func.func private @kernel_cut(%table: !llvm.ptr, %context: !llvm.ptr, %xp: !llvm.ptr {llvm.noalias}, %n: index, %m: index, %k: index, %yp: !llvm.ptr {llvm.noalias}) attributes {ssm.kernel} {
  %c0 = arith.constant 0 : index
  %x = ssm.arena_view %xp[%c0] (%n, %m) : !llvm.ptr -> memref<?x?xf16>
  %part = memref.subview %x[0, 1] [%n, %k] [1, 1] : memref<?x?xf16> to memref<?x?xf16, strided<[?, 1], offset: 1>>
  %y = ssm.arena_view %yp[%c0] (%n, %k) : !llvm.ptr -> memref<?x?xf16>
  ssm.kernel loops 2 ins(%part : memref<?x?xf16, strided<[?, 1], offset: 1>>) outs(%y : memref<?x?xf16>) maps [#ij, #ij] config <loops, lane_loop = 1, lanes = 1> {
  ^bb0(%v: f16):
    ssm.yield %v : f16
  }
  return
}
