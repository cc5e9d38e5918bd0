// RUN: ssm-opt %s -ssm-emit-kernels -canonicalize -cse -canonicalize | FileCheck %s

#td = affine_map<(t, d) -> (t, d)>
#btd = affine_map<(b, t, d) -> (b, t, d)>
#d = affine_map<(t, d) -> (d)>

// Two columns, four lanes: two rows a vector, two vectors side by side, each lane with a sum of its
// column. The last row is alone. What the lanes of a column come to goes to all of them, and from
// the first row's to the out.
// CHECK-LABEL: @fixed
// CHECK-SAME: %[[X:.+]]: memref<7x2xf32>, %[[SCALE:.+]]: memref<2xf32>, %[[SUM:.+]]: memref<2xf32>
// CHECK: ssm.parallel_for
// CHECK: %[[FIRST:.+]] = vector.constant_mask [2] : vector<4xi1>
// CHECK: %[[COLUMNS:.+]] = vector.maskedload %[[SCALE]][%c0], %[[FIRST]]
// CHECK: %[[W:.+]] = vector.shuffle %[[COLUMNS]], %[[COLUMNS]] [0, 1, 0, 1]
// CHECK: %[[V:.+]] = vector.load %[[X]][%c0, %c0]
// CHECK: %[[E:.+]] = math.exp %[[V]]
// CHECK: arith.mulf %[[E]], %[[W]]
// CHECK: vector.load %[[X]][%c0, %c4]
// CHECK: vector.load %[[X]][%c4, %c0]
// CHECK: %[[LEFT:.+]] = arith.addf
// CHECK: vector.maskedload %[[X]][%c4, %c4], %[[FIRST]]
// CHECK: %[[P:.+]] = arith.select %[[FIRST]]
// CHECK: %[[RIGHT:.+]] = arith.addf %{{.+}}, %[[P]]
// CHECK: %[[ALL:.+]] = arith.addf %[[LEFT]], %[[RIGHT]]
// CHECK: %[[ONE:.+]] = vector.shuffle %[[ALL]], %[[ALL]] [0, 1, 0, 1]
// CHECK: %[[OTHER:.+]] = vector.shuffle %[[ALL]], %[[ALL]] [2, 3, 2, 3]
// CHECK: %[[BOTH:.+]] = arith.addf %[[ONE]], %[[OTHER]]
// CHECK: %[[SPREAD:.+]] = vector.shuffle %[[BOTH]], %[[BOTH]] [0, 1, 0, 1]
// CHECK: vector.maskedstore %[[SUM]][%c0], %[[FIRST]], %[[SPREAD]]
func.func @fixed(%x: memref<7x2xf32>, %scale: memref<2xf32>, %sum: memref<2xf32>) {
  ssm.kernel loops 2 ins(%x, %scale : memref<7x2xf32>, memref<2xf32>) outs(%sum : memref<2xf32>) maps [#td, #d, #d]
      config <rows, lane_loop = 1, lanes = 4> {
    ^bb0(%v: f32, %w: f32):
      %e = math.exp %v : f32
      %p = arith.mulf %e, %w : f32
      %s = ssm.reduce addf %p over [0] : f32
      ssm.yield %s : f32
  }
  return
}

// One weight a row: those of a vector's rows, each for the lanes of its row.
// CHECK-LABEL: @weighted
// CHECK-SAME: %[[X:.+]]: memref<8x2xf32>, %[[ROW:[^:]+]]: memref<8xf32>
// CHECK: %[[MASK:.+]] = vector.constant_mask [2] : vector<4xi1>
// CHECK: %[[V:.+]] = vector.load %[[X]][%{{.+}}, %c4]
// CHECK: %[[ROWS:.+]] = vector.maskedload %[[ROW]][%{{.+}}], %[[MASK]]
// CHECK: %[[W:.+]] = vector.shuffle %[[ROWS]], %[[ROWS]] [0, 0, 1, 1]
// CHECK: arith.mulf %[[V]], %[[W]]
func.func @weighted(%x: memref<8x2xf32>, %row: memref<8xf32>, %sum: memref<2xf32>) {
  ssm.kernel loops 2 ins(%x, %row : memref<8x2xf32>, memref<8xf32>) outs(%sum : memref<2xf32>)
      maps [#td, affine_map<(t, d) -> (t)>, #d] config <rows, lane_loop = 1, lanes = 4> {
    ^bb0(%v: f32, %w: f32):
      %p = arith.mulf %v, %w : f32
      %s = ssm.reduce addf %p over [0] : f32
      ssm.yield %s : f32
  }
  return
}

// Known when it runs: four vectors of as many whole rows as fit in, of which the last one has a
// mask; the exponentials, which would be stored under that mask, are computed again.
// CHECK-LABEL: @open
// CHECK-SAME: %[[X:.+]]: memref<?x?x?xf32>, %[[Y:.+]]: memref<?x?x?xf32>
// CHECK-DAG: %[[LENGTH:.+]] = memref.dim %[[Y]], %c1
// CHECK-DAG: %[[COUNT:.+]] = memref.dim %[[Y]], %c2
// CHECK-DAG: %[[LESS:.+]] = arith.subi %[[COUNT]], %c1
// CHECK-DAG: %[[FEW:.+]] = arith.cmpi ult, %[[LESS]], %c3
// CHECK-DAG: %[[MANY:.+]] = arith.cmpi uge, %[[LENGTH]], %c4
// CHECK: %[[BOTH:.+]] = arith.andi %[[FEW]], %[[MANY]]
// CHECK: scf.if %[[BOTH]]
// CHECK: } else {
// CHECK: ssm.parallel_for
// CHECK: arith.divui %c16, %[[COUNT]]
// CHECK: arith.remui %{{.+}} : vector<4xi32>
// CHECK: scf.for {{.*}} -> (vector<4xf32>, vector<4xf32>, vector<4xf32>, vector<4xf32>)
// CHECK-COUNT-3: vector.load %[[X]]
// CHECK: vector.maskedload %[[X]]
// CHECK: scf.for
// CHECK-COUNT-3: vector.store {{.*}} %[[Y]]
// CHECK: vector.maskedstore %[[Y]]
func.func @open(%x: memref<?x?x?xf32>, %y: memref<?x?x?xf32>) {
  ssm.kernel loops 3 ins(%x : memref<?x?x?xf32>) outs(%y : memref<?x?x?xf32>) maps [#btd, #btd]
      config <rows, lane_loop = 2, lanes = 4> {
    ^bb0(%v: f32):
      %e = math.exp %v : f32
      %s = ssm.reduce addf %e over [1] : f32
      %q = arith.divf %e, %s : f32
      ssm.yield %q : f32
  }
  return
}

// Rows with gaps between them do not follow each other.
// CHECK-LABEL: @apart
// CHECK: } else {
// CHECK-NOT: vector.gather
// CHECK: %[[MASK:.+]] = vector.create_mask
// CHECK: scf.for
// CHECK: vector.maskedload {{.*}}, %[[MASK]]
// CHECK: arith.addf
// CHECK-NOT: vector.gather
func.func @apart(%x: memref<?x2xf32, strided<[3, 1]>>, %sum: memref<2xf32>) {
  ssm.kernel loops 2 ins(%x : memref<?x2xf32, strided<[3, 1]>>) outs(%sum : memref<2xf32>) maps [#td, #d]
      config <rows, lane_loop = 1, lanes = 4> {
    ^bb0(%v: f32):
      %s = ssm.reduce addf %v over [0] : f32
      ssm.yield %s : f32
  }
  return
}
