// RUN: ssm-opt %s -pass-pipeline='builtin.module(func.func(ssm-emit-kernels),canonicalize,cse)' | FileCheck %s

#a = affine_map<(m, n, k) -> (m, k)>
#b = affine_map<(m, n, k) -> (k, n)>
#p = affine_map<(m, n, k) -> (n floordiv 8, k, n mod 8)>
#c = affine_map<(m, n, k) -> (m, n)>
#bias = affine_map<(m, n, k) -> (n)>

// Sums of 2 rows by 2 vectors stay in registers, in two parts each so that none waits
// for the one before; what comes next is fetched meanwhile; the strips are padded, so only the epilogue has a mask.
// CHECK-LABEL: func.func @packed
// CHECK: ssm.parallel_for
// CHECK: %[[SUMS:.*]] = memref.alloca() {{.*}} : memref<2x8xf32>
// CHECK: %{{.*}}:8 = scf.for {{.*}} step %c2
// CHECK: memref.prefetch %arg1
// CHECK-NOT: maskedload
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

// The columns behind the last whole vector are turned once for a block of rows, and
// summed up with lanes along the depth, if they are few.
// CHECK-LABEL: func.func @columns
// CHECK: memref.alloca() {{.*}} : memref<12x8xf32>
// CHECK: %[[TURNED:.*]] = memref.alloca() {{.*}} : memref<3x24xf32>
// CHECK: scf.if %[[DOTS:.*]] {
// CHECK: vector.store %{{.*}}, %[[TURNED]]
// CHECK: scf.if %[[DOTS]] {
// CHECK: vector.load %[[TURNED]]
// CHECK: vector.shuffle
func.func @columns(%a: memref<100x24xf32>, %b: memref<24x?xf32>, %c: memref<100x?xf32>) {
  ssm.kernel loops 3 ins(%a, %b : memref<100x24xf32>, memref<24x?xf32>) outs(%c : memref<100x?xf32>) maps [#a, #b, #c] config <matmul, lane_loop = 1, lanes = 4, tiles = [12, 2]> {
    ^bb0(%l: f32, %r: f32):
      %m = arith.mulf %l, %r : f32
      %s = ssm.reduce addf %m over [2] : f32
      ssm.yield %s : f32
  }
  return
}

// Both sides dense along the depth, few rows: no column is turned.
// CHECK-LABEL: func.func @deep
// CHECK-NOT: memref.alloca() {{.*}}24xf32>
// CHECK: scf.for {{.*}} iter_args
// CHECK: vector.load %arg0
// CHECK: vector.load %arg1
// CHECK: vector.shuffle
// CHECK: vector.store %{{.*}}, %arg2
func.func @deep(%a: memref<3x24xf32>, %b: memref<8x24xf32>, %c: memref<3x8xf32>) {
  ssm.kernel loops 3 ins(%a, %b : memref<3x24xf32>, memref<8x24xf32>) outs(%c : memref<3x8xf32>) maps [#a, affine_map<(m, n, k) -> (n, k)>, #c] config <matmul, lane_loop = 2, lanes = 4, tiles = [4, 2]> {
    ^bb0(%l: f32, %r: f32):
      %m = arith.mulf %l, %r : f32
      %s = ssm.reduce addf %m over [2] : f32
      ssm.yield %s : f32
  }
  return
}

// Lanes along the depth: vectors of both sides, the last one under a mask that keeps
// lanes which do not exist out of the sums; four columns' lanes are added up together.
// CHECK-LABEL: func.func @deep_ragged
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
func.func @deep_ragged(%a: memref<2x?xf32>, %b: memref<?x?xf32>, %c: memref<2x?xf32>) {
  ssm.kernel loops 3 ins(%a, %b : memref<2x?xf32>, memref<?x?xf32>) outs(%c : memref<2x?xf32>)
      maps [#a, affine_map<(m, n, k) -> (n, k)>, #c] config <matmul, lane_loop = 2, lanes = 4, tiles = [2, 2]> {
  ^bb0(%l: f32, %r: f32):
    %x = arith.mulf %l, %r : f32
    %s = ssm.reduce addf %x over [2] : f32
    ssm.yield %s : f32
  }
  return
}

#x = affine_map<(n, k) -> (k)>
#w = affine_map<(n, k) -> (k, n)>
#y = affine_map<(n, k) -> (n)>

// One row: where the matrix's rows are ragged, dense and few, four of them are taken as
// one piece of memory, with two elements of the row for each vector; then the four parts
// of each column are added up.
// CHECK-LABEL: func.func @row
// CHECK: %{{.*}}, %{{.*}}, %{{.*}}:2, %[[STRIDES:.*]]:2 = memref.extract_strided_metadata %arg1
// CHECK: arith.remui %{{.*}}, %c16
// CHECK: arith.cmpi eq, %[[STRIDES]]#0
// CHECK: ssm.parallel_for
// CHECK: %[[PARTS:.*]] = memref.alloca() {{.*}} : memref<2052xf32>
// CHECK: scf.if
// CHECK: %{{.*}}:4 = scf.for {{.*}} step %c4
// CHECK: %[[FIRST:.*]] = vector.broadcast
// CHECK: %[[SECOND:.*]] = vector.broadcast
// CHECK: arith.select %{{.*}}, %[[FIRST]], %[[SECOND]]
// CHECK-NOT: maskedload
// CHECK: vector.store %{{.*}}, %[[PARTS]]
// CHECK-COUNT-4: vector.load %[[PARTS]]
// CHECK: vector.maskedload %arg1
// CHECK: vector.maskedstore %arg2
// CHECK: } else {
func.func @row(%x: memref<?xf32>, %w: memref<?x?xf32>, %y: memref<?xf32>) {
  ssm.kernel loops 2 ins(%x, %w : memref<?xf32>, memref<?x?xf32>) outs(%y : memref<?xf32>)
      maps [#x, #w, #y] config <matmul, lane_loop = 0, lanes = 4, tiles = [2, 2]> {
  ^bb0(%l: f32, %r: f32):
    %p = arith.mulf %l, %r : f32
    %s = ssm.reduce addf %p over [1] : f32
    ssm.yield %s : f32
  }
  return
}


// An open height is one at times: then a tile is a row of eight vectors.
// CHECK-LABEL: func.func @maybe_row
// CHECK: arith.cmpi eq, %{{.*}}, %c1
// CHECK: scf.if
// CHECK: memref.alloca() {{.*}} : memref<{{.*}}x32xf32>
// CHECK: } else {
// CHECK: memref.alloca() {{.*}} : memref<{{.*}}x8xf32>
func.func @maybe_row(%a: memref<?x24xf32>, %b: memref<24x?xf32>, %c: memref<?x?xf32>) {
  ssm.kernel loops 3 ins(%a, %b : memref<?x24xf32>, memref<24x?xf32>) outs(%c : memref<?x?xf32>)
      maps [affine_map<(m, n, k) -> (m, k)>, affine_map<(m, n, k) -> (k, n)>, affine_map<(m, n, k) -> (m, n)>] config <matmul, lane_loop = 1, lanes = 4, tiles = [2, 2, 1, 2048, 65536, 8]> {
  ^bb0(%l: f32, %r: f32):
    %x = arith.mulf %l, %r : f32
    %s = ssm.reduce addf %x over [2] : f32
    ssm.yield %s : f32
  }
  return
}
