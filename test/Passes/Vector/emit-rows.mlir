// RUN: ssm-opt %s -ssm-emit-kernels -canonicalize -cse | FileCheck %s

#ij = affine_map<(i, j) -> (i, j)>
#ji = affine_map<(i, j) -> (j, i)>
#i = affine_map<(i, j) -> (i)>
#j = affine_map<(i, j) -> (j)>

// One loop over all elements; the last vector has a mask.
// CHECK-LABEL: @elementwise
// CHECK: %[[FLAT:.+]] = memref.collapse_shape %{{.*}} {{\[}}[0, 1]]
// CHECK: ssm.parallel_for
// CHECK: ^bb0(%[[LOW:.+]]: index, %[[HIGH:.+]]: index):
// CHECK: scf.for
// CHECK: vector.load %[[FLAT]]
// CHECK: vector.store
// CHECK: scf.for
// CHECK: %[[MASK:.+]] = vector.create_mask
// CHECK: vector.maskedload %[[FLAT]]{{.*}}, %[[MASK]]
// CHECK: vector.maskedstore {{.*}}, %[[MASK]]
func.func @elementwise(%x: memref<?x?xf32>, %y: memref<?x?xf32>) {
  ssm.kernel loops 2 ins(%x : memref<?x?xf32>) outs(%y : memref<?x?xf32>) maps [#ij, #ij]
      config <rows, lane_loop = 1, lanes = 4> {
    ^bb0(%v: f32):
      %n = arith.negf %v : f32
      ssm.yield %n : f32
  }
  return
}

// Exponentials are kept in the out; the sum divides as a reciprocal. The last vectors of a
// row, less than the four of a step, go to different maxima too. The exponentials of the
// last lanes stay in a register.
// CHECK-LABEL: @softmax
// CHECK-SAME: %[[X:.+]]: memref<64x?xf32>, %[[Y:.+]]: memref<64x?xf32>
// CHECK: ssm.parallel_for
// CHECK: scf.for %[[ROW:.+]] =
// CHECK: %[[STEPS:.+]]:4 = scf.for
// CHECK-COUNT-4: vector.load %[[X]][%[[ROW]]
// CHECK: %[[REST:.+]]:3 = scf.if
// CHECK: %[[VALUE:.+]] = vector.load %[[X]][%[[ROW]]
// CHECK: arith.maximumf %[[STEPS]]#0, %[[VALUE]]
// CHECK: %{{.+}}:2 = scf.if
// CHECK: %[[VALUE:.+]] = vector.load %[[X]][%[[ROW]]
// CHECK: arith.maximumf %[[STEPS]]#1, %[[VALUE]]
// CHECK: %{{.+}} = scf.if {{.*}} -> (vector<8xf32>)
// CHECK: vector.maskedload %[[X]][%[[ROW]]
// CHECK: %[[VALUE:.+]] = arith.select
// CHECK: arith.maximumf %[[REST]]#0, %[[VALUE]]
// CHECK: vector.reduction <maximumf>
// CHECK: vector.load %[[X]][%[[ROW]]
// CHECK: math.exp
// CHECK: vector.store %{{.*}}, %[[Y]][%[[ROW]]
// CHECK: scf.if
// CHECK: scf.if
// CHECK: scf.if
// CHECK: %[[TAIL:.+]]:2 = scf.if {{.*}} -> (vector<8xf32>, vector<8xf32>)
// CHECK: math.exp
// CHECK-NOT: vector.maskedstore
// CHECK: vector.reduction <add>
// CHECK: arith.divf %{{.*}} : f32
// CHECK: vector.load %[[Y]][%[[ROW]]
// CHECK-NOT: math.exp
// CHECK: vector.store %{{.*}}, %[[Y]][%[[ROW]]
// CHECK: arith.mulf %[[TAIL]]#1
// CHECK: vector.maskedstore %[[Y]][%[[ROW]]
// CHECK-NOT: ssm.kernel
func.func @softmax(%x: memref<64x?xf32>, %y: memref<64x?xf32>) {
  ssm.kernel loops 2 ins(%x : memref<64x?xf32>) outs(%y : memref<64x?xf32>) maps [#ij, #ij]
      config <rows, lane_loop = 1, lanes = 8> {
    ^bb0(%v: f32):
      %m = ssm.reduce maximumf %v over [1] : f32
      %d = arith.subf %v, %m : f32
      %e = math.exp %d : f32
      %s = ssm.reduce addf %e over [1] : f32
      %q = arith.divf %e, %s : f32
      ssm.yield %q : f32
  }
  return
}

// Of few rows that are long each is summed in pieces, which are put together in order.
// CHECK-LABEL: @long
// CHECK: %[[PARTS:.+]] = memref.alloca() {alignment = 64 : i64} : memref<64xf32>
// CHECK: %[[FEW:.+]] = arith.cmpi ult, %{{.*}}, %c16
// CHECK: %[[LONG:.+]] = arith.cmpi uge
// CHECK: %[[BOTH:.+]] = arith.andi %[[FEW]], %[[LONG]]
// CHECK: scf.if %[[BOTH]]
// CHECK: scf.for %[[ROW:.+]] =
// CHECK: ssm.parallel_for %[[PIECES:.+]] grain %c1
// CHECK: scf.for %[[PIECE:.+]] =
// CHECK: vector.load %{{.*}}[%[[ROW]],
// CHECK: %[[PART:.+]] = vector.reduction <add>
// CHECK: memref.store %[[PART]], %[[PARTS]][%[[PIECE]]]
// CHECK: %[[SUM:.+]] = scf.for %[[I:.+]] = %c0 to %[[PIECES]]
// CHECK: memref.load %[[PARTS]][%[[I]]]
// CHECK: memref.store %[[SUM]], %{{.*}}[%[[ROW]]]
// CHECK: } else {
// CHECK: ssm.parallel_for
func.func @long(%x: memref<?x?xf32>, %y: memref<?xf32>) {
  ssm.kernel loops 2 ins(%x : memref<?x?xf32>) outs(%y : memref<?xf32>) maps [#ij, #i]
      config <rows, lane_loop = 1, lanes = 4> {
    ^bb0(%v: f32):
      %s = ssm.reduce addf %v over [1] : f32
      ssm.yield %s : f32
  }
  return
}

// The lanes are columns: a sum for each.
// CHECK-LABEL: @columns
// CHECK: ssm.parallel_for
// CHECK: %[[SUMS:.+]]:2 = scf.for {{.*}} -> (vector<4xf32>, vector<4xf32>)
// CHECK-COUNT-2: vector.load
// CHECK: vector.store %[[SUMS]]#0
// CHECK: vector.store %[[SUMS]]#1
func.func @columns(%x: memref<100x8xf32>, %y: memref<8xf32>) {
  ssm.kernel loops 2 ins(%x : memref<100x8xf32>) outs(%y : memref<8xf32>) maps [#ij, #j]
      config <rows, lane_loop = 1, lanes = 4> {
    ^bb0(%v: f32):
      %s = ssm.reduce addf %v over [0] : f32
      ssm.yield %s : f32
  }
  return
}

// Of the columns behind whole steps, eight of a step, the most that there can be side by
// side are summed up at a time.
// CHECK-LABEL: @narrow
// CHECK: scf.for {{.*}} -> (vector<4xf32>, vector<4xf32>, vector<4xf32>, vector<4xf32>, vector<4xf32>
// CHECK: scf.for {{.*}} -> (vector<4xf32>, vector<4xf32>, vector<4xf32>, vector<4xf32>)
// CHECK: scf.for {{.*}} -> (vector<4xf32>, vector<4xf32>)
// CHECK: scf.for {{.*}} -> (vector<4xf32>)
// CHECK: scf.if
// CHECK: vector.maskedload
// CHECK: return
func.func @narrow(%x: memref<?x?xf32>, %y: memref<?xf32>) {
  ssm.kernel loops 2 ins(%x : memref<?x?xf32>) outs(%y : memref<?xf32>) maps [#ij, #j]
      config <rows, lane_loop = 1, lanes = 4> {
    ^bb0(%v: f32):
      %s = ssm.reduce addf %v over [0] : f32
      ssm.yield %s : f32
  }
  return
}

// A square is turned by shuffles in two steps.
// CHECK-LABEL: @transpose
// CHECK-COUNT-4: vector.load
// CHECK-COUNT-8: vector.shuffle
// CHECK-COUNT-4: vector.store
// CHECK-NOT: gather
// CHECK: return
func.func @transpose(%x: memref<8x8xf32>, %y: memref<8x8xf32>) {
  ssm.kernel loops 2 ins(%x : memref<8x8xf32>) outs(%y : memref<8x8xf32>) maps [#ji, #ij]
      config <rows, lane_loop = 1, lanes = 4> {
    ^bb0(%v: f32):
      ssm.yield %v : f32
  }
  return
}

// Means of rows and of columns in one value: no nest of loops has both.
// CHECK-LABEL: @crossed
// CHECK: ssm.kernel
func.func @crossed(%x: memref<?x?xf32>, %y: memref<?x?xf32>) {
  ssm.kernel loops 2 ins(%x : memref<?x?xf32>) outs(%y : memref<?x?xf32>) maps [#ij, #ij]
      config <rows, lane_loop = 1, lanes = 4> {
    ^bb0(%v: f32):
      %r = ssm.reduce addf %v over [1] : f32
      %c = ssm.reduce addf %v over [0] : f32
      %s = arith.addf %r, %c : f32
      ssm.yield %s : f32
  }
  return
}

// An open axis and one of size 0 stay two: upstream has no type for both as one.
// CHECK-LABEL: func.func @empty
// CHECK-NOT: memref.collapse_shape
// CHECK: return
func.func @empty(%x: memref<?x0xf32>, %y: memref<?x0xf32>) {
  ssm.kernel loops 2 ins(%x : memref<?x0xf32>) outs(%y : memref<?x0xf32>)
      maps [affine_map<(i, j) -> (i, j)>, affine_map<(i, j) -> (i, j)>] config <rows, lane_loop = 1, lanes = 4> {
  ^bb0(%v: f32):
    %n = arith.negf %v : f32
    ssm.yield %n : f32
  }
  return
}
