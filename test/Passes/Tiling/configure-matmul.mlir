// RUN: ssm-opt %s -pass-pipeline='builtin.module(ssm-configure-kernels{vector-bits=512 registers=32})' | FileCheck %s
// RUN: ssm-opt %s -pass-pipeline='builtin.module(ssm-configure-kernels{vector-bits=256 registers=16})' | FileCheck %s --check-prefix=AVX2
// RUN: ssm-opt %s -pass-pipeline='builtin.module(ssm-configure-kernels{vector-bits=128 registers=16})' | FileCheck %s --check-prefix=SSE

#a = affine_map<(m, n, k) -> (m, k)>
#b = affine_map<(m, n, k) -> (k, n)>
#bt = affine_map<(m, n, k) -> (n, k)>
#c = affine_map<(m, n, k) -> (m, n)>
#bias = affine_map<(m, n, k) -> (n)>

// The lanes lie along the columns; bias and activation come along.
// CHECK-LABEL: func.func @product
// CHECK: config <matmul, lane_loop = 1, lanes = 16, tiles = [12, 2]>
// AVX2: config <matmul, lane_loop = 1, lanes = 8, tiles = [6, 2]>
// SSE: config <matmul, lane_loop = 1, lanes = 4, tiles = [4, 2]>
func.func @product(%a: tensor<?x?xf32>, %b: tensor<?x?xf32>, %v: tensor<?xf32>, %e: tensor<?x?xf32>) -> tensor<?x?xf32> {
  %y = ssm.kernel loops 3 ins(%b, %a, %v : tensor<?x?xf32>, tensor<?x?xf32>, tensor<?xf32>) outs(%e : tensor<?x?xf32>) maps [#b, #a, #bias, #c] {
  ^bb0(%r: f32, %l: f32, %bias: f32):
    %p = arith.mulf %r, %l : f32
    %s = ssm.reduce addf %p over [2] : f32
    %t = arith.addf %s, %bias : f32
    %u = math.tanh %t : f32
    ssm.yield %u : f32
  } -> tensor<?x?xf32>
  return %y : tensor<?x?xf32>
}

// One vector is enough for few columns.
// CHECK-LABEL: func.func @narrow
// CHECK: config <matmul, lane_loop = 1, lanes = 16, tiles = [12, 1]>
func.func @narrow(%a: tensor<?x?xf32>, %b: tensor<?x12xf32>, %e: tensor<?x12xf32>) -> tensor<?x12xf32> {
  %y = ssm.kernel loops 3 ins(%a, %b : tensor<?x?xf32>, tensor<?x12xf32>) outs(%e : tensor<?x12xf32>) maps [#a, #b, #c] {
  ^bb0(%l: f32, %r: f32):
    %p = arith.mulf %l, %r : f32
    %s = ssm.reduce addf %p over [2] : f32
    ssm.yield %s : f32
  } -> tensor<?x12xf32>
  return %y : tensor<?x12xf32>
}

// A right side that is no weight is not turned for few rows: lanes lie along the depth
// where both sides are dense along it.
// CHECK-LABEL: func.func @few_rows
// CHECK: config <matmul, lane_loop = 2, lanes = 16, tiles = [4, 2]>
// AVX2-LABEL: func.func @few_rows
// AVX2: config <matmul, lane_loop = 2, lanes = 8, tiles = [2, 2]>
func.func @few_rows(%a: tensor<1x?xf32>, %b: tensor<?x?xf32>, %e: tensor<1x?xf32>) -> tensor<1x?xf32> {
  %y = ssm.kernel loops 3 ins(%a, %b : tensor<1x?xf32>, tensor<?x?xf32>) outs(%e : tensor<1x?xf32>) maps [#a, #bt, #c] {
  ^bb0(%l: f32, %r: f32):
    %p = arith.mulf %l, %r : f32
    %s = ssm.reduce addf %p over [2] : f32
    ssm.yield %s : f32
  } -> tensor<1x?xf32>
  return %y : tensor<1x?xf32>
}

// CHECK-LABEL: func.func @many_rows
// CHECK: config <matmul, lane_loop = 1,
func.func @many_rows(%a: tensor<32x?xf32>, %b: tensor<?x?xf32>, %e: tensor<32x?xf32>) -> tensor<32x?xf32> {
  %y = ssm.kernel loops 3 ins(%a, %b : tensor<32x?xf32>, tensor<?x?xf32>) outs(%e : tensor<32x?xf32>) maps [#a, #bt, #c] {
  ^bb0(%l: f32, %r: f32):
    %p = arith.mulf %l, %r : f32
    %s = ssm.reduce addf %p over [2] : f32
    ssm.yield %s : f32
  } -> tensor<32x?xf32>
  return %y : tensor<32x?xf32>
}

// Dense along neither: row by row.
// CHECK-LABEL: func.func @scattered
// CHECK: config <rows,
func.func @scattered(%a: tensor<15x?xf32>, %b: tensor<?x?x2xf32>, %e: tensor<15x?xf32>) -> tensor<15x?xf32> {
  %y = ssm.kernel loops 3 ins(%a, %b : tensor<15x?xf32>, tensor<?x?x2xf32>) outs(%e : tensor<15x?xf32>)
      maps [#a, affine_map<(m, n, k) -> (n, k, 1)>, #c] {
  ^bb0(%l: f32, %r: f32):
    %p = arith.mulf %l, %r : f32
    %s = ssm.reduce addf %p over [2] : f32
    ssm.yield %s : f32
  } -> tensor<15x?xf32>
  return %y : tensor<15x?xf32>
}

// Few columns are no exception.
// CHECK-LABEL: func.func @few_columns
// CHECK: config <matmul, lane_loop = 1, lanes = 16, tiles = [12, 1]>
func.func @few_columns(%a: tensor<?x?xf32>, %b: tensor<?x3xf32>, %e: tensor<?x3xf32>) -> tensor<?x3xf32> {
  %y = ssm.kernel loops 3 ins(%a, %b : tensor<?x?xf32>, tensor<?x3xf32>) outs(%e : tensor<?x3xf32>) maps [#a, #b, #c] {
  ^bb0(%l: f32, %r: f32):
    %p = arith.mulf %l, %r : f32
    %s = ssm.reduce addf %p over [2] : f32
    ssm.yield %s : f32
  } -> tensor<?x3xf32>
  return %y : tensor<?x3xf32>
}

// One column is a row of numbers that are added up.
// CHECK-LABEL: func.func @column
// CHECK: config <rows,
func.func @column(%a: tensor<?x?xf32>, %b: tensor<?x1xf32>, %e: tensor<?x1xf32>) -> tensor<?x1xf32> {
  %y = ssm.kernel loops 3 ins(%a, %b : tensor<?x?xf32>, tensor<?x1xf32>) outs(%e : tensor<?x1xf32>) maps [#a, #b, #c] {
  ^bb0(%l: f32, %r: f32):
    %p = arith.mulf %l, %r : f32
    %s = ssm.reduce addf %p over [2] : f32
    ssm.yield %s : f32
  } -> tensor<?x1xf32>
  return %y : tensor<?x1xf32>
}

// What is reduced once more, over the columns, is no product.
// CHECK-LABEL: func.func @norm
// CHECK: config <rows,
func.func @norm(%a: tensor<?x?xf32>, %b: tensor<?x?xf32>, %e: tensor<?x?xf32>) -> tensor<?x?xf32> {
  %y = ssm.kernel loops 3 ins(%a, %b : tensor<?x?xf32>, tensor<?x?xf32>) outs(%e : tensor<?x?xf32>) maps [#a, #b, #c] {
  ^bb0(%l: f32, %r: f32):
    %p = arith.mulf %l, %r : f32
    %s = ssm.reduce addf %p over [2] : f32
    %m = ssm.reduce maximumf %s over [1] : f32
    %d = arith.subf %s, %m : f32
    ssm.yield %d : f32
  } -> tensor<?x?xf32>
  return %y : tensor<?x?xf32>
}
