// RUN: ssm-opt %s -ssm-place-pieces=min-pieces=3 | FileCheck %s

// CHECK-LABEL: func.func @three
// CHECK-SAME: %[[X:[a-z0-9]+]]: tensor<?xf32>
// CHECK: %[[B:.*]] = memref.alloc(%{{.*}}) : memref<4x?xf32>
// CHECK: %[[V:.*]] = memref.subview %[[B]][0, 0] [1, %{{.*}}] [1, 1] : memref<4x?xf32> to memref<?xf32, strided<[1]>>
// CHECK: bufferization.materialize_in_destination %[[X]] in restrict writable %[[V]]
// CHECK: memref.subview %[[B]][1, 0]
// CHECK: bufferization.materialize_in_destination
// CHECK: memref.subview %[[B]][2, 0] [2, %{{.*}}]
// CHECK: bufferization.materialize_in_destination
// CHECK-NOT: tensor.insert_slice
// CHECK: bufferization.to_tensor %[[B]] restrict writable
func.func @three(%x: tensor<?xf32>, %y: tensor<1x?xf32>, %z: tensor<2x?xf32>, %n: index) -> tensor<4x?xf32> {
  %e = tensor.empty(%n) : tensor<4x?xf32>
  %w = tensor.expand_shape %x [[0, 1]] output_shape [1, %n] : tensor<?xf32> into tensor<1x?xf32>
  %0 = tensor.insert_slice %w into %e[0, 0] [1, %n] [1, 1] : tensor<1x?xf32> into tensor<4x?xf32>
  %1 = tensor.insert_slice %y into %0[1, 0] [1, %n] [1, 1] : tensor<1x?xf32> into tensor<4x?xf32>
  %2 = tensor.insert_slice %z into %1[2, 0] [2, %n] [1, 1] : tensor<2x?xf32> into tensor<4x?xf32>
  return %2 : tensor<4x?xf32>
}

// Few pieces, those that lie over each other, and what is not of pieces alone, are left.
// CHECK-LABEL: func.func @left
// CHECK-NOT: memref.alloc
func.func @left(%x: tensor<1x8xf32>, %y: tensor<4x8xf32>) -> (tensor<4x8xf32>, tensor<4x8xf32>, tensor<4x8xf32>) {
  %e = tensor.empty() : tensor<4x8xf32>
  %0 = tensor.insert_slice %x into %e[0, 0] [1, 8] [1, 1] : tensor<1x8xf32> into tensor<4x8xf32>
  %1 = tensor.insert_slice %x into %0[1, 0] [1, 8] [1, 1] : tensor<1x8xf32> into tensor<4x8xf32>
  %2 = tensor.insert_slice %x into %e[0, 0] [1, 8] [1, 1] : tensor<1x8xf32> into tensor<4x8xf32>
  %3 = tensor.insert_slice %x into %2[1, 0] [1, 8] [1, 1] : tensor<1x8xf32> into tensor<4x8xf32>
  %4 = tensor.insert_slice %x into %3[1, 0] [1, 8] [1, 1] : tensor<1x8xf32> into tensor<4x8xf32>
  %5 = tensor.insert_slice %x into %y[0, 0] [1, 8] [1, 1] : tensor<1x8xf32> into tensor<4x8xf32>
  %6 = tensor.insert_slice %x into %5[1, 0] [1, 8] [1, 1] : tensor<1x8xf32> into tensor<4x8xf32>
  %7 = tensor.insert_slice %x into %6[2, 0] [1, 8] [1, 1] : tensor<1x8xf32> into tensor<4x8xf32>
  return %1, %4, %7 : tensor<4x8xf32>, tensor<4x8xf32>, tensor<4x8xf32>
}
