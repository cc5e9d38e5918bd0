// RUN: ssm-opt %s -ssm-fill-borders -canonicalize -split-input-file | FileCheck %s

// Of rows that get two elements in front and one behind. The other axis is not longer than the part.
// CHECK-LABEL: func.func @pad(
// CHECK-SAME: %[[N:.*]]: index, %[[M:.*]]: index, %[[SIZE:.*]]: index
// CHECK: %[[Y:.*]] = ssm.arena_view
// CHECK: %[[LARGE:.*]] = arith.cmpi uge, %{{.*}}, %c1048576
// CHECK: scf.if %[[LARGE]] {
// CHECK:   %[[FRONT:.*]] = memref.subview %[[Y]][0, 0] [%[[N]], 2] [1, 1]
// CHECK:   ssm.kernel loops 2 outs(%[[FRONT]]
// CHECK:   %[[BEHIND:.*]] = memref.subview %[[Y]][0, %{{.*}}] [%[[N]], %{{.*}}] [1, 1]
// CHECK:   ssm.kernel loops 2 outs(%[[BEHIND]]
// CHECK-NOT: memref.subview
// CHECK: } else {
// CHECK:   ssm.kernel loops 2 outs(%[[Y]]
// CHECK: }
// CHECK: ssm.kernel loops 2 ins(

#ij = affine_map<(d0, d1) -> (d0, d1)>
func.func @pad(%n: index, %m: index, %size: index, %p: !llvm.ptr, %x: memref<?x?xf32>) {
  %c0 = arith.constant 0 : index
  %zero = arith.constant 0.0 : f32
  %y = ssm.arena_view %p[%c0] (%n, %size) : !llvm.ptr -> memref<?x?xf32>
  ssm.kernel loops 2 outs(%y : memref<?x?xf32>) maps [#ij] {
    ssm.yield %zero : f32
  }
  %part = memref.subview %y[0, 2] [%n, %m] [1, 1] : memref<?x?xf32> to memref<?x?xf32, strided<[?, 1], offset: 2>>
  ssm.kernel loops 2 ins(%x : memref<?x?xf32>) outs(%part : memref<?x?xf32, strided<[?, 1], offset: 2>>) maps [#ij, #ij] {
  ^bb0(%v: f32):
    ssm.yield %v : f32
  }
  return
}

// -----

// What reads the buffer needs all of it.
// CHECK-LABEL: func.func @read(
// CHECK-NOT: scf.if

#ij = affine_map<(d0, d1) -> (d0, d1)>
func.func @read(%y: memref<?x?xf32>, %z: memref<?x?xf32>) {
  %zero = arith.constant 0.0 : f32
  ssm.kernel loops 2 outs(%y : memref<?x?xf32>) maps [#ij] {
    ssm.yield %zero : f32
  }
  ssm.kernel loops 2 ins(%y : memref<?x?xf32>) outs(%z : memref<?x?xf32>) maps [#ij, #ij] {
  ^bb0(%v: f32):
    ssm.yield %v : f32
  }
  return
}
