// RUN: ssm-opt %s -pass-pipeline='builtin.module(ssm-configure-kernels{vector-bits=512 registers=32})' | FileCheck %s
// RUN: ssm-opt %s -pass-pipeline='builtin.module(ssm-configure-kernels{vector-bits=256 registers=16})' | FileCheck %s --check-prefix=AVX2
// RUN: ssm-opt %s -pass-pipeline='builtin.module(ssm-configure-kernels{vector-bits=128 registers=16})' | FileCheck %s --check-prefix=SSE

// RUN: ssm-opt %s -pass-pipeline='builtin.module(ssm-configure-kernels{vector-bits=512 registers=32 l2-bytes=1048576})' | FileCheck %s --check-prefix=ROW

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

// A row of a matrix that is no weight takes many vectors of it at a time; where the height is
// open, the last tile tells how many.
// ROW-LABEL: func.func @product
// ROW: tiles = [12, 2, 1, 1024, 655360, 16]>
// ROW-LABEL: func.func @row
// ROW: tiles = [1, 16, 1,
func.func @row(%a: tensor<1x?xf32>, %b: tensor<?x?xf32>, %e: tensor<1x?xf32>) -> tensor<1x?xf32> {
  %y = ssm.kernel loops 3 ins(%a, %b : tensor<1x?xf32>, tensor<?x?xf32>) outs(%e : tensor<1x?xf32>) maps [#a, #b, #c] {
  ^bb0(%l: f32, %r: f32):
    %p = arith.mulf %l, %r : f32
    %s = ssm.reduce addf %p over [2] : f32
    ssm.yield %s : f32
  } -> tensor<1x?xf32>
  return %y : tensor<1x?xf32>
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

// Products of bf16 as they were read are taken in pairs where an instruction does that;
// not what may run on the machine that compiles, nor what is computed first.
// RUN: ssm-opt %s -pass-pipeline='builtin.module(ssm-configure-kernels{vector-bits=512 registers=32 bf16-pairs=true})' | FileCheck %s --check-prefix=PAIRS
// RUN: ssm-opt %s -pass-pipeline='builtin.module(ssm-configure-kernels{vector-bits=512 registers=32 l2-bytes=1048576})' | FileCheck %s --check-prefix=CACHE

// With the second-level cache known: one at a time, the depth of a chunk, bytes of rows.
// CACHE-LABEL: func.func @product
// CACHE: tiles = [12, 2, 1, 1024, 655360]>

// PAIRS-LABEL: func.func @product
// PAIRS: tiles = [12, 2]>
// PAIRS-LABEL: func.func @pairs
// PAIRS: tiles = [12, 2, 2]>
func.func @pairs(%a: tensor<?x?xbf16>, %b: tensor<?x?xbf16>, %e: tensor<?x?xbf16>) -> tensor<?x?xbf16> {
  %y = ssm.kernel loops 3 ins(%a, %b : tensor<?x?xbf16>, tensor<?x?xbf16>) outs(%e : tensor<?x?xbf16>) maps [#a, #b, #c] {
  ^bb0(%h: bf16, %g: bf16):
    %l = arith.extf %h : bf16 to f32
    %r = arith.extf %g : bf16 to f32
    %p = arith.mulf %l, %r : f32
    %s = ssm.reduce addf %p over [2] : f32
    %t = arith.truncf %s : f32 to bf16
    ssm.yield %t : bf16
  } -> tensor<?x?xbf16>
  return %y : tensor<?x?xbf16>
}

// PAIRS-LABEL: func.func @computed
// PAIRS: tiles = [12, 2]>
func.func @computed(%a: tensor<?x?xbf16>, %b: tensor<?x?xbf16>, %e: tensor<?x?xbf16>) -> tensor<?x?xbf16> {
  %y = ssm.kernel loops 3 ins(%a, %b : tensor<?x?xbf16>, tensor<?x?xbf16>) outs(%e : tensor<?x?xbf16>) maps [#a, #b, #c] {
  ^bb0(%h: bf16, %g: bf16):
    %l = arith.extf %h : bf16 to f32
    %x = math.exp %l : f32
    %r = arith.extf %g : bf16 to f32
    %p = arith.mulf %x, %r : f32
    %s = ssm.reduce addf %p over [2] : f32
    %t = arith.truncf %s : f32 to bf16
    ssm.yield %t : bf16
  } -> tensor<?x?xbf16>
  return %y : tensor<?x?xbf16>
}

// PAIRS-LABEL: func.func @of_weights
// PAIRS: tiles = [12, 2]>
ssm.weight @w : tensor<40x40xbf16> length 3200 file "m" at 0
func.func @of_weights() -> tensor<40x40xbf16> {
  %e = tensor.empty() : tensor<40x40xbf16>
  %half = arith.constant dense<0.5> : tensor<40x40xbf16>
  %w = ssm.load_weight @w : tensor<40x40xbf16>
  %y = ssm.kernel loops 3 ins(%half, %w : tensor<40x40xbf16>, tensor<40x40xbf16>) outs(%e : tensor<40x40xbf16>) maps [#a, #b, #c] {
  ^bb0(%h: bf16, %g: bf16):
    %l = arith.extf %h : bf16 to f32
    %r = arith.extf %g : bf16 to f32
    %p = arith.mulf %l, %r : f32
    %s = ssm.reduce addf %p over [2] : f32
    %t = arith.truncf %s : f32 to bf16
    ssm.yield %t : bf16
  } -> tensor<40x40xbf16>
  return %y : tensor<40x40xbf16>
}
