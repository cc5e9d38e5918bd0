// RUN: ssm-opt %s -ssm-emit-kernels -canonicalize -cse -canonicalize | FileCheck %s

#td = affine_map<(t, d) -> (t, d)>
#btd = affine_map<(b, t, d) -> (b, t, d)>
#d = affine_map<(t, d) -> (d)>

// Two columns, four lanes: two rows a vector, each lane with a sum of its column. The last row may
// be alone. What the lanes of a column come to goes to all of them, and from the first row's to the
// out.
// CHECK-LABEL: @fixed
// CHECK-SAME: %[[X:.+]]: memref<?x2xf32>, %[[SCALE:.+]]: memref<2xf32>, %[[SUM:.+]]: memref<2xf32>
// CHECK: } else {
// CHECK: ssm.parallel_for
// CHECK: %[[FIRST:.+]] = vector.constant_mask [2] : vector<4xi1>
// CHECK: %[[COLUMNS:.+]] = vector.maskedload %[[SCALE]][%c0], %[[FIRST]]
// CHECK: %[[W:.+]] = vector.shuffle %[[COLUMNS]], %[[COLUMNS]] [0, 1, 0, 1]
// CHECK: %[[WHOLE:.+]] = scf.for %[[BLOCK:[^ ]+]] = {{.*}} -> (vector<4xf32>)
// CHECK: %[[ROW:.+]] = arith.muli %[[BLOCK]], %c2
// CHECK: %[[V:.+]] = vector.load %[[X]][%[[ROW]], %c0]
// CHECK: %[[E:.+]] = math.exp %[[V]]
// CHECK: arith.mulf %[[E]], %[[W]]
// CHECK: %[[ALL:.+]] = scf.if {{.*}} -> (vector<4xf32>)
// CHECK: %[[MASK:.+]] = vector.create_mask
// CHECK: vector.maskedload %[[X]]{{.*}}, %[[MASK]]
// CHECK: %[[P:.+]] = arith.select %[[MASK]]
// CHECK: arith.addf %[[WHOLE]], %[[P]]
// CHECK: %[[ONE:.+]] = vector.shuffle %[[ALL]], %[[ALL]] [0, 1, 0, 1]
// CHECK: %[[OTHER:.+]] = vector.shuffle %[[ALL]], %[[ALL]] [2, 3, 2, 3]
// CHECK: %[[BOTH:.+]] = arith.addf %[[ONE]], %[[OTHER]]
// CHECK: %[[SPREAD:.+]] = vector.shuffle %[[BOTH]], %[[BOTH]] [0, 1, 0, 1]
// CHECK: vector.maskedstore %[[SUM]][%c0], %[[FIRST]], %[[SPREAD]]
func.func @fixed(%x: memref<?x2xf32>, %scale: memref<2xf32>, %sum: memref<2xf32>) {
  ssm.kernel loops 2 ins(%x, %scale : memref<?x2xf32>, memref<2xf32>) outs(%sum : memref<2xf32>) maps [#td, #d, #d]
      config <rows, lane_loop = 1, lanes = 4> {
    ^bb0(%v: f32, %w: f32):
      %e = math.exp %v : f32
      %p = arith.mulf %e, %w : f32
      %s = ssm.reduce addf %p over [0] : f32
      ssm.yield %s : f32
  }
  return
}

// Known when it runs, and for many rows only: four vectors of as many whole rows as fit in, of which the last one has a mask;
// the exponentials, which would be stored under that mask, are computed again.
// CHECK-LABEL: @open
// CHECK-SAME: %[[X:.+]]: memref<?x?x?xf32>, %[[Y:.+]]: memref<?x?x?xf32>
// CHECK: %[[COUNT:.+]] = memref.dim
// CHECK: %[[LESS:.+]] = arith.subi %[[COUNT]], %c1
// CHECK: %[[FEW:.+]] = arith.cmpi ult, %[[LESS]], %c3
// CHECK: %[[MANY:.+]] = arith.cmpi uge, %{{.+}}, %c24
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
