// RUN: ssm-opt %s -ssm-resolve-expand-shape | FileCheck %s

// Strides are products of the output sizes.
// CHECK-LABEL: func @two_dynamic
// CHECK-SAME: %[[SRC:[a-z0-9]+]]: memref<?xf32>, %[[M:[a-z0-9]+]]: index, %[[N:[a-z0-9]+]]: index
// CHECK: %[[BASE:.*]], %{{.*}}, %{{.*}}, %{{.*}} = memref.extract_strided_metadata %[[SRC]]
// CHECK: memref.reinterpret_cast %[[BASE]] to offset: [0], sizes: [%[[M]], 6, %[[N]]], strides: [%{{.*}}, %[[N]], 1]
// CHECK-NOT: memref.expand_shape
func.func @two_dynamic(%src: memref<?xf32>, %m: index, %n: index) -> memref<?x6x?xf32> {
  %0 = memref.expand_shape %src [[0, 1, 2]] output_shape [%m, 6, %n]
      : memref<?xf32> into memref<?x6x?xf32>
  return %0 : memref<?x6x?xf32>
}

// The strides of the source carry over, group by group.
// CHECK-LABEL: func @strided
// CHECK-SAME: %[[SRC:[a-z0-9]+]]: memref<?x?xf32, strided<[?, 3], offset: ?>>, %[[M:[a-z0-9]+]]: index, %[[N:[a-z0-9]+]]: index, %[[ROWS:[a-z0-9]+]]: index
// CHECK: %[[BASE:.*]], %[[OFFSET:.*]], %{{.*}}, %[[STRIDES:.*]]:2 = memref.extract_strided_metadata %[[SRC]]
// CHECK: memref.reinterpret_cast %[[BASE]] to offset: [%[[OFFSET]]], sizes: [%[[ROWS]], %[[M]], %[[N]]], strides: [%[[STRIDES]]#0, %{{.*}}, 3]
func.func @strided(%src: memref<?x?xf32, strided<[?, 3], offset: ?>>, %m: index, %n: index,
                   %rows: index) -> memref<?x?x?xf32, strided<[?, ?, 3], offset: ?>> {
  %0 = memref.expand_shape %src [[0], [1, 2]] output_shape [%rows, %m, %n]
      : memref<?x?xf32, strided<[?, 3], offset: ?>>
      into memref<?x?x?xf32, strided<[?, ?, 3], offset: ?>>
  return %0 : memref<?x?x?xf32, strided<[?, ?, 3], offset: ?>>
}

// One dynamic size in a group is upstream's.
// CHECK-LABEL: func @one_dynamic
// CHECK: memref.expand_shape
// CHECK-NOT: memref.reinterpret_cast
func.func @one_dynamic(%src: memref<?xf32>, %m: index) -> memref<?x6xf32> {
  %0 = memref.expand_shape %src [[0, 1]] output_shape [%m, 6]
      : memref<?xf32> into memref<?x6xf32>
  return %0 : memref<?x6xf32>
}
