// RUN: ssm-opt %s -ssm-resolve-subview | FileCheck %s

// CHECK-LABEL: func.func @ambiguous
// CHECK-SAME: %[[X:[^ ]*]]: memref<1x?x17x?xf32>, %[[T:[^ ]*]]: index, %[[M:[^ ]*]]: index, %[[N:[^ ]*]]: index
// CHECK: %[[W:.*]] = memref.subview %[[X]][0, 0, %[[T]], 0] [1, %[[M]], 1, %[[N]]] {{.*}} to memref<1x?x1x?xf32
// CHECK: %[[B:.*]], %[[O:.*]], %{{.*}}:4, %[[S:.*]]:4 = memref.extract_strided_metadata %[[W]]
// CHECK: memref.reinterpret_cast %[[B]] to offset: [%[[O]]], sizes: [1, %[[M]], %[[N]]], strides: [%[[S]]#0, %[[S]]#1, 1]
func.func @ambiguous(%x: memref<1x?x17x?xf32>, %t: index, %m: index, %n: index)
    -> memref<1x?x?xf32, strided<[?, ?, 1], offset: ?>> {
  %0 = memref.subview %x[0, 0, %t, 0] [1, %m, 1, %n] [1, 1, 1, 1]
      : memref<1x?x17x?xf32> to memref<1x?x?xf32, strided<[?, ?, 1], offset: ?>>
  return %0 : memref<1x?x?xf32, strided<[?, ?, 1], offset: ?>>
}

// All axes of size 1 go: there is no question.
// CHECK-LABEL: func.func @plain
// CHECK-NOT: reinterpret_cast
func.func @plain(%x: memref<?x17x?xf32>, %t: index, %m: index, %n: index)
    -> memref<?x?xf32, strided<[?, 1], offset: ?>> {
  %0 = memref.subview %x[0, %t, 0] [%m, 1, %n] [1, 1, 1]
      : memref<?x17x?xf32> to memref<?x?xf32, strided<[?, 1], offset: ?>>
  return %0 : memref<?x?xf32, strided<[?, 1], offset: ?>>
}
