// RUN: ssm-opt %s -ssm-forward-copies | FileCheck %s

#d = affine_map<(t, d) -> (d)>
#td = affine_map<(t, d) -> (t, d)>

// Two carries side by side: one is in its place, the other goes there.
// CHECK-LABEL: func.func @side_by_side
// CHECK-NOT: memref.copy
// CHECK: %[[Y:.*]] = memref.alloc
// CHECK-DAG: %[[A:.*]] = memref.subview %[[Y]][0, 0]
// CHECK-DAG: %[[B:.*]] = memref.subview %[[Y]][0, 1]
// CHECK: ssm.kernel {{.*}} outs(%[[A]], %[[B]] :
// CHECK-NOT: memref.copy
func.func @side_by_side(%x: memref<?x?xf32>, %p: memref<?xf32>, %n: index) -> memref<?x2xf32> {
  %y = memref.alloc(%n) : memref<?x2xf32>
  %a = memref.subview %y[0, 0] [%n, 1] [1, 1] : memref<?x2xf32> to memref<?xf32, strided<[2]>>
  %t = memref.alloc(%n) : memref<?xf32>
  ssm.kernel loops 2 time 0 ins(%x : memref<?x?xf32>) inits(%p, %p : memref<?xf32>, memref<?xf32>)
      outs(%a, %t : memref<?xf32, strided<[2]>>, memref<?xf32>) maps [#td, #d, #d, #d, #d] {
    ^bb0(%v: f32, %q: f32, %r: f32):
      ssm.yield %v, %q : f32, f32
  }
  %b = memref.subview %y[0, 1] [%n, 1] [1, 1] : memref<?x2xf32> to memref<?xf32, strided<[2], offset: 1>>
  memref.copy %t, %b : memref<?xf32> to memref<?xf32, strided<[2], offset: 1>>
  return %y : memref<?x2xf32>
}

// Into the result of a repeated function.
// CHECK-LABEL: func.func private @repeated
// CHECK-SAME: %[[Y:[a-z0-9]+]]: memref<?x2xf32>)
// CHECK-NOT: memref.copy
// CHECK: %[[B:.*]] = memref.subview %[[Y]][0, 1]
// CHECK: ssm.kernel {{.*}} outs(%[[B]] :
// CHECK-NOT: memref.copy
// CHECK: return
func.func private @repeated(%x: memref<?x?xf32>, %p: memref<?xf32>, %n: index,
                            %y: memref<?x2xf32> {ssm.result_place}) {
  %t = memref.alloc(%n) : memref<?xf32>
  ssm.kernel loops 2 time 0 ins(%x : memref<?x?xf32>) inits(%p : memref<?xf32>)
      outs(%t : memref<?xf32>) maps [#td, #d, #d] {
    ^bb0(%v: f32, %q: f32):
      ssm.yield %v : f32
  }
  %b = memref.subview %y[0, 1] [%n, 1] [1, 1] : memref<?x2xf32> to memref<?xf32, strided<[2], offset: 1>>
  memref.copy %t, %b : memref<?xf32> to memref<?xf32, strided<[2], offset: 1>>
  return
}

// What has another reader, is written where others lie, is read meanwhile, or is of a buffer of
// unknown relations stays.
// CHECK-LABEL: func.func @stays
// CHECK-COUNT-4: memref.copy
func.func @stays(%x: memref<4xf32>, %given: memref<8xf32>) -> (memref<8xf32>, memref<4xf32>) {
  %y = memref.alloc() : memref<8xf32>
  %z = memref.alloc() : memref<4xf32>
  %t = memref.alloc() : memref<4xf32>
  %u = memref.alloc() : memref<4xf32>
  %v = memref.alloc() : memref<4xf32>
  %w = memref.alloc() : memref<4xf32>
  %low = memref.subview %y[1] [4] [1] : memref<8xf32> to memref<4xf32, strided<[1], offset: 1>>
  %high = memref.subview %y[4] [4] [1] : memref<8xf32> to memref<4xf32, strided<[1], offset: 4>>
  %part = memref.subview %given[0] [4] [1] : memref<8xf32> to memref<4xf32, strided<[1]>>
  ssm.kernel loops 1 ins(%x : memref<4xf32>) outs(%t, %u, %v, %w : memref<4xf32>, memref<4xf32>, memref<4xf32>, memref<4xf32>)
      maps [affine_map<(i) -> (i)>, affine_map<(i) -> (i)>, affine_map<(i) -> (i)>, affine_map<(i) -> (i)>, affine_map<(i) -> (i)>] {
    ^bb0(%e: f32):
      ssm.yield %e, %e, %e, %e : f32, f32, f32, f32
  }
  memref.copy %t, %z : memref<4xf32> to memref<4xf32>
  memref.copy %t, %low : memref<4xf32> to memref<4xf32, strided<[1], offset: 1>>
  memref.copy %u, %high : memref<4xf32> to memref<4xf32, strided<[1], offset: 4>>
  memref.copy %v, %part : memref<4xf32> to memref<4xf32, strided<[1]>>
  memref.dealloc %w : memref<4xf32>
  return %y, %z : memref<8xf32>, memref<4xf32>
}
