// RUN: ssm-opt %s "-ssm-outline-kernels=device=true" -ssm-emit-device-kernels -split-input-file -ssm-verify-sync | FileCheck %s

// A buffer with strides goes to the kernel with offset, sizes and strides.
// CHECK-LABEL: func.func @main.run
// CHECK: %[[BASE:.*]], %[[OFFSET:.*]], %{{.*}}, %[[STRIDES:.*]] = memref.extract_strided_metadata
// CHECK: call @kernel_copy(%{{.*}}, %{{.*}}, %{{.*}}, %[[OFFSET]], %{{.*}}, %[[STRIDES]], 
// CHECK: gpu.func @kernel_copy(%{{.*}}: !llvm.ptr, %[[AT:.*]]: index, %{{.*}}: index, %[[STEP:.*]]: index,
// CHECK: memref.reinterpret_cast %{{.*}} to offset: [%[[AT]]], sizes: [8], strides: [%[[STEP]]]
#i = affine_map<(d0) -> (d0)>
func.func @main.run(%table: !llvm.ptr, %context: !llvm.ptr, %x: memref<8xf32, strided<[?], offset: ?>>,
                    %y: memref<8xf32>) attributes {ssm.entry = "main"} {
  ssm.kernel loops 1 ins(%x : memref<8xf32, strided<[?], offset: ?>>) outs(%y : memref<8xf32>)
      maps [#i, #i] config <loops, lane_loop = 0, lanes = 1> {
  ^bb0(%a: f32):
    ssm.yield %a : f32
  }
  return
}

// -----

// No loops; constants in memory go along.
// CHECK: gpu.module @device
// CHECK: memref.global "private" constant @four : memref<4xf32>
// CHECK: gpu.func @kernel_copy
// CHECK: memref.get_global @four
memref.global "private" constant @four : memref<4xf32> = dense<[1.0, 2.0, 3.0, 4.0]>
#i = affine_map<(d0) -> (d0)>
#none = affine_map<() -> ()>
func.func @main.run(%table: !llvm.ptr, %context: !llvm.ptr, %x: f32, %y: memref<f32>, %z: memref<4xf32>)
    attributes {ssm.entry = "main"} {
  %four = memref.get_global @four : memref<4xf32>
  ssm.kernel loops 0 ins(%x : f32) outs(%y : memref<f32>) maps [#none, #none]
      config <loops, lane_loop = 0, lanes = 1> {
  ^bb0(%a: f32):
    ssm.yield %a : f32
  }
  ssm.kernel loops 1 ins(%four : memref<4xf32>) outs(%z : memref<4xf32>) maps [#i, #i]
      config <loops, lane_loop = 0, lanes = 1> {
  ^bb0(%a: f32):
    ssm.yield %a : f32
  }
  return
}

// -----

// A part of each row of all batches: its sizes are the whole's, so batches of rows are rows.
// CHECK: gpu.func @kernel_copy
// CHECK: %[[ALL:.*]] = ssm.arena_view %{{.*}} : !llvm.ptr -> memref<?x?x192xf32>
// CHECK: %[[ROWS:.*]] = memref.collapse_shape %[[ALL]] {{\[\[}}0, 1], [2]]
// CHECK: memref.subview %[[ROWS]][0, 8] [%{{.*}}, 160] [1, 1]
#all = affine_map<(b, l, k) -> (b, l, k)>
func.func @main.run(%table: !llvm.ptr, %context: !llvm.ptr, %arena: !llvm.ptr, %b: index, %l: index)
    attributes {ssm.entry = "main"} {
  %c0 = arith.constant 0 : index
  %c4096 = arith.constant 4096 : index
  %all = ssm.arena_view %arena[%c0] (%b, %l) : !llvm.ptr -> memref<?x?x192xf32>
  %part = memref.subview %all[0, 0, 8] [%b, %l, 160] [1, 1, 1] : memref<?x?x192xf32> to memref<?x?x160xf32, strided<[?, 192, 1], offset: 8>>
  %y = ssm.arena_view %arena[%c4096] (%b, %l) : !llvm.ptr -> memref<?x?x160xf32>
  ssm.kernel loops 3 ins(%part : memref<?x?x160xf32, strided<[?, 192, 1], offset: 8>>) outs(%y : memref<?x?x160xf32>)
      maps [#all, #all] config <loops, lane_loop = 0, lanes = 1> {
  ^bb0(%a: f32):
    ssm.yield %a : f32
  }
  return
}
