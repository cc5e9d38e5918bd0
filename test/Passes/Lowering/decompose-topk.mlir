// RUN: ssm-opt %s -pass-pipeline='builtin.module(func.func(ssm-decompose-topk),canonicalize,cse)' | FileCheck %s

// Two of three: the first two indices, a heap of one parent, what beats the root, and the root
// to the end.
// CHECK-LABEL: func.func @two
// CHECK-SAME: %[[X:.*]]: memref<3xf32>, %[[I:.*]]: memref<2xi64>
// CHECK: memref.store %{{.*}}, %[[I]]
// CHECK: arith.cmpf ogt
// CHECK: memref.load %[[X]][%c2]
// CHECK: scf.if
// CHECK: memref.store %c2_i64, %[[I]][%c0]
// CHECK: memref.store %{{.*}}, %[[I]][%c1]
func.func @two(%x: memref<3xf32>, %i: memref<2xi64>) {
  ssm.topk axis 0 ins(%x : memref<3xf32>) outs(%i : memref<2xi64>)
  return
}

// The least of rows of unsigned numbers.
// CHECK-LABEL: func.func @rows
// CHECK: scf.for
// CHECK: arith.cmpi ult, %{{.*}} : i8
func.func @rows(%x: memref<?x?xi8>, %i: memref<?x?xi64>) {
  ssm.topk axis 0 least unsigned ins(%x : memref<?x?xi8>) outs(%i : memref<?x?xi64>)
  return
}
