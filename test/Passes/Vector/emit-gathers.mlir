// RUN: ssm-opt %s -ssm-emit-kernels -canonicalize -cse | FileCheck %s

#ij = affine_map<(i, j) -> (i, j)>
#i = affine_map<(i, j) -> (i)>

// Rows are read with vectors.
// CHECK-LABEL: @rows
// CHECK-SAME: %[[IDS:[a-z0-9]+]]: memref<?xi32>, %[[TABLE:[a-z0-9]+]]: memref<?x?xf32>
// CHECK: %[[ID:.+]] = memref.load %[[IDS]][%{{.+}}]
// CHECK: %[[ROW:[0-9]+]] = arith.index_cast %[[ID]] : i32 to index
// CHECK: vector.load %[[TABLE]][%[[ROW]], %{{.+}}]
// CHECK: %[[MASK:.+]] = vector.create_mask
// CHECK: vector.maskedload %[[TABLE]][%{{.+}}, %{{.+}}], %[[MASK]]
// CHECK-NOT: vector.gather
func.func @rows(%ids: memref<?xi32>, %table: memref<?x?xf32>, %y: memref<?x?xf32>) {
  ssm.kernel loops 2 ins(%ids : memref<?xi32>) outs(%y : memref<?x?xf32>) maps [#i, #ij]
      config <rows, lane_loop = 1, lanes = 8> {
    ^bb0(%id: i32):
      %j = ssm.index 1
      %row = arith.index_cast %id : i32 to index
      %v = memref.load %table[%row, %j] : memref<?x?xf32>
      ssm.yield %v : f32
  }
  return
}

// Elements are gathered, those of lanes that exist.
// CHECK-LABEL: @elements
// CHECK-SAME: %[[IDS:[a-z0-9]+]]: memref<?x?xi32>, %[[TABLE:[a-z0-9]+]]: memref<4x?xf32>
// CHECK: %[[MASK:.+]] = vector.create_mask
// CHECK: %[[ID:.+]] = vector.maskedload %[[IDS]]{{.+}}, %[[MASK]]
// CHECK: %[[AT:.+]] = arith.index_cast %[[ID]] : vector<8xi32> to vector<8xindex>
// CHECK: arith.muli %[[AT]],
// CHECK: vector.gather %[[TABLE]][%c0, %{{.+}}] [%{{.+}}], %[[MASK]]
func.func @elements(%ids: memref<?x?xi32>, %table: memref<4x?xf32>, %y: memref<?x?xf32>) {
  ssm.kernel loops 2 ins(%ids : memref<?x?xi32>) outs(%y : memref<?x?xf32>) maps [#ij, #ij]
      config <rows, lane_loop = 1, lanes = 8> {
    ^bb0(%id: i32):
      %i = ssm.index 0
      %at = arith.index_cast %id : i32 to index
      %v = memref.load %table[%at, %i] : memref<4x?xf32>
      ssm.yield %v : f32
  }
  return
}

// From the end: evenly, but backwards.
// CHECK-LABEL: @reversed
// CHECK: vector.step
// CHECK: vector.gather
func.func @reversed(%x: memref<16xf32>, %y: memref<16xf32>) {
  %c15 = arith.constant 15 : index
  ssm.kernel loops 1 outs(%y : memref<16xf32>) maps [affine_map<(i) -> (i)>]
      config <rows, lane_loop = 0, lanes = 8> {
      %i = ssm.index 0
      %j = arith.subi %c15, %i : index
      %v = memref.load %x[%j] : memref<16xf32>
      ssm.yield %v : f32
  }
  return
}
