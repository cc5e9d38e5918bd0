// RUN: ssm-opt %s -pass-pipeline='builtin.module(func.func(ssm-decompose-topk),canonicalize,cse)' | FileCheck %s
// RUN: ssm-opt %s -pass-pipeline='builtin.module(func.func(ssm-decompose-topk{vectors}),canonicalize,cse)' | FileCheck %s --check-prefix=LIST

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
// With vectors, a list: put in where it comes before what is there; the rest as vectors first,
// then one by one.
// LIST-LABEL: func.func @two
// LIST: scf.for
// LIST: vector.shuffle
// LIST: arith.select {{.*}} vector<16xf32>
// LIST: arith.select {{.*}} vector<16xi64>
// LIST-COUNT-2: memref.store
// LIST-LABEL: func.func @long
// LIST: scf.for %{{.*}} step %c16
// LIST: vector.load
// LIST: vector.reduction <or>
// LIST: scf.if
// LIST: vector.shuffle
// LIST-COUNT-2: memref.store
// A heap, its root compared with vectors.
// LIST-LABEL: func.func @open
// LIST-NOT: vector.shuffle
// LIST: vector.reduction <or>
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

func.func @long(%x: memref<?xf32>, %i: memref<2xi64>) {
  ssm.topk axis 0 ins(%x : memref<?xf32>) outs(%i : memref<2xi64>)
  return
}

func.func @open(%x: memref<?xbf16>, %i: memref<?xi64>) {
  ssm.topk axis 0 ins(%x : memref<?xbf16>) outs(%i : memref<?xi64>)
  return
}
