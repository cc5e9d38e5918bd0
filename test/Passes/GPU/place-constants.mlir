// RUN: ssm-opt %s -ssm-place-constants -split-input-file | FileCheck %s

memref.global "private" constant @c : memref<1x2xi64> = dense<[[7, 8]]>

// A kernel behind the branch gets an address: it has to be the device's.
// CHECK-LABEL: func.func @branch
// CHECK: %[[C:.*]] = memref.get_global @c
// CHECK: %[[B:.*]] = memref.alloc() : memref<1x2xi64>
// CHECK: memref.copy %[[C]], %[[B]]
// CHECK: %[[V:.*]] = memref.cast %[[B]]
// CHECK: scf.yield %[[V]]
func.func @branch(%flag: i1, %x: memref<1x?xi64>, %y: memref<1x?xi64>) {
  %c = memref.get_global @c : memref<1x2xi64>
  %v = memref.cast %c : memref<1x2xi64> to memref<1x?xi64>
  %z = scf.if %flag -> memref<1x?xi64> {
    scf.yield %x : memref<1x?xi64>
  } else {
    scf.yield %v : memref<1x?xi64>
  }
  linalg.copy ins(%z : memref<1x?xi64>) outs(%y : memref<1x?xi64>)
  return
}

// -----

memref.global "private" constant @c : memref<2xi64> = dense<[7, 8]>

// Where a loop begins.
// CHECK-LABEL: func.func @loop
// CHECK: %[[B:.*]] = memref.alloc()
// CHECK: scf.for {{.*}} iter_args(%{{.*}} = %[[B]])
func.func @loop(%n: index, %x: memref<2xi64>, %y: memref<2xi64>) {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %c = memref.get_global @c : memref<2xi64>
  %z = scf.for %i = %c0 to %n step %c1 iter_args(%now = %c) -> memref<2xi64> {
    linalg.copy ins(%now : memref<2xi64>) outs(%y : memref<2xi64>)
    scf.yield %x : memref<2xi64>
  }
  return
}

// -----

memref.global "private" constant @c : memref<2xi64> = dense<[7, 8]>

// What kernels read themselves stays in their module.
// CHECK-LABEL: func.func @own
// CHECK-NOT: memref.alloc
// CHECK: return
func.func @own(%y: memref<2xi64>) {
  %c = memref.get_global @c : memref<2xi64>
  linalg.copy ins(%c : memref<2xi64>) outs(%y : memref<2xi64>)
  return
}
