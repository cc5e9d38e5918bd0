// RUN: ssm-opt %s -pass-pipeline='builtin.module(func.func(ssm-copy-to-kernel))' | FileCheck %s

// CHECK: #[[ID:.*]] = affine_map<(d0, d1) -> (d0, d1)>

// CHECK-LABEL: func.func @strided
// CHECK-NOT: memref.copy
// CHECK: ssm.kernel loops 2 ins(%arg0 : memref<?x4xf32, strided<[8, 1]>>) outs(%arg1 : memref<?x4xf32>) maps [#[[ID]], #[[ID]]]
// CHECK: ^bb0(%[[X:.*]]: f32):
// CHECK-NEXT: ssm.yield %[[X]]
func.func @strided(%x: memref<?x4xf32, strided<[8, 1]>>, %y: memref<?x4xf32>) {
  memref.copy %x, %y : memref<?x4xf32, strided<[8, 1]>> to memref<?x4xf32>
  return
}

// CHECK-LABEL: func.func @one
// CHECK: ssm.kernel loops 0
func.func @one(%x: memref<f32>, %y: memref<f32>) {
  memref.copy %x, %y : memref<f32> to memref<f32>
  return
}
