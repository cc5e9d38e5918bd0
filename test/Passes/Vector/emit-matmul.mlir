// RUN: ssm-opt %s -pass-pipeline='builtin.module(func.func(ssm-emit-kernels),canonicalize,cse)' | FileCheck %s

#a = affine_map<(m, n, k) -> (m, k)>
#b = affine_map<(m, n, k) -> (k, n)>
#p = affine_map<(m, n, k) -> (n floordiv 8, k, n mod 8)>
#t = affine_map<(m, n, k) -> (n, k)>
#c = affine_map<(m, n, k) -> (m, n)>
#bias = affine_map<(m, n, k) -> (n)>

// Sums of 2 rows by 2 vectors stay in registers, each in two parts, for four sums would
// wait for each other; what comes next is fetched meanwhile; the strips are padded, so
// only the epilogue has a mask. Columns past whole vectors, 3 at most, are turned where
// that pays and have lanes along the depth.
// CHECK-LABEL: func.func @packed
// CHECK: ssm.parallel_for
// CHECK: %[[SUMS:.*]] = memref.alloca() {{.*}} : memref<2x8xf32>
// CHECK: %[[TURNED:.*]] = memref.alloca() {{.*}} : memref<3x24xf32>
// CHECK: scf.if %[[PAYS:.*]] {
// CHECK: vector.gather %arg1
// CHECK: vector.store %{{.*}}, %[[TURNED]]
// CHECK: %{{.*}}:8 = scf.for {{.*}} to %c24 step %c2 {{.*}} vector<4xf32>)
// CHECK: memref.prefetch %arg1
// CHECK-NOT: maskedload
// CHECK: vector.store %{{.*}}, %[[SUMS]]
// CHECK: scf.index_switch
// CHECK: case 0
// CHECK: case 1
// CHECK: scf.if %[[PAYS]] {
// CHECK: scf.for {{.*}} to %c24 step %c4
// CHECK: vector.load %arg0
// CHECK: vector.load %[[TURNED]]
// CHECK: vector.shuffle
// CHECK: vector.store %{{.*}}, %[[SUMS]]
// CHECK: scf.if
// CHECK: vector.load %[[SUMS]]
// CHECK: vector.load %arg2
// CHECK: vector.store %{{.*}}, %arg3
// CHECK: } else {
// CHECK: vector.maskedload %arg2
// CHECK: vector.maskedstore %arg3
func.func @packed(%a: memref<6x24xf32>, %b: memref<?x24x8xf32>, %v: memref<?xf32>, %c: memref<6x?xf32>) {
  ssm.kernel loops 3 ins(%a, %b, %v : memref<6x24xf32>, memref<?x24x8xf32>, memref<?xf32>) outs(%c : memref<6x?xf32>)
      maps [#a, #p, #bias, #c] config <matmul, lane_loop = 1, lanes = 4, tiles = [2, 2]> {
  ^bb0(%l: f32, %r: f32, %bias: f32):
    %x = arith.mulf %l, %r : f32
    %s = ssm.reduce addf %x over [2] : f32
    %t = arith.addf %s, %bias : f32
    ssm.yield %t : f32
  }
  return
}

// Any number of rows: 7 are a tile of 4 and one of 3, so no tile has few. A deep sum
// is taken in chunks, each for all tiles of a block.
// CHECK-LABEL: func.func @rows
// CHECK: scf.for {{.*}} step %c2048
// CHECK: scf.index_switch
// CHECK: case 1
// CHECK: vector.load %arg1
// CHECK: case 2
// CHECK: case 3
// CHECK: default
func.func @rows(%a: memref<?x?xf32>, %b: memref<?x16xf32>, %c: memref<?x16xf32>) {
  ssm.kernel loops 3 ins(%a, %b : memref<?x?xf32>, memref<?x16xf32>) outs(%c : memref<?x16xf32>)
      maps [#a, #b, #c] config <matmul, lane_loop = 1, lanes = 4, tiles = [4, 2]> {
  ^bb0(%l: f32, %r: f32):
    %x = arith.mulf %l, %r : f32
    %s = ssm.reduce addf %x over [2] : f32
    ssm.yield %s : f32
  }
  return
}

// Lanes along the depth: vectors of both sides, the last one under a mask that keeps
// lanes which do not exist out of the sums; four columns' lanes are added up together.
// CHECK-LABEL: func.func @deep
// CHECK: %[[SUMS:.*]] = memref.alloca() {{.*}} : memref<32x8xf32>
// CHECK: %[[WHOLE:.*]]:8 = scf.for {{.*}} step %c4
// CHECK: vector.load %arg0
// CHECK: vector.load %arg1
// CHECK: %{{.*}}:8 = scf.if
// CHECK: vector.maskedload %arg0
// CHECK: vector.maskedload %arg1
// CHECK: arith.select %{{.*}}, %{{.*}}, %[[WHOLE]]#0
// CHECK: vector.shuffle
// CHECK: vector.store %{{.*}}, %[[SUMS]]
// CHECK: vector.load %[[SUMS]]
// CHECK: vector.store %{{.*}}, %arg2
func.func @deep(%a: memref<2x?xf32>, %b: memref<?x?xf32>, %c: memref<2x?xf32>) {
  ssm.kernel loops 3 ins(%a, %b : memref<2x?xf32>, memref<?x?xf32>) outs(%c : memref<2x?xf32>)
      maps [#a, #t, #c] config <matmul, lane_loop = 2, lanes = 4, tiles = [2, 2]> {
  ^bb0(%l: f32, %r: f32):
    %x = arith.mulf %l, %r : f32
    %s = ssm.reduce addf %x over [2] : f32
    ssm.yield %s : f32
  }
  return
}
