// RUN: ssm-opt %s -split-input-file -verify-diagnostics

func.func @map_rank(%x: tensor<?x?xf32>, %e: tensor<?xf32>) -> tensor<?xf32> {
  // expected-error @below {{input 0 of rank 2 has map affine_map<(d0) -> (d0)>, expected 1 loops to 2 indices}}
  %y = ssm.kernel loops 1 ins(%x : tensor<?x?xf32>) outs(%e : tensor<?xf32>)
      maps [affine_map<(d0) -> (d0)>, affine_map<(d0) -> (d0)>] {
    ^bb0(%v: f32):
      ssm.yield %v : f32
  } -> tensor<?xf32>
  return %y : tensor<?xf32>
}

// -----

func.func @no_size(%x: tensor<?xf32>, %e: tensor<?xf32>) -> tensor<?xf32> {
  // expected-error @below {{loop 1 is no index of an operand by itself}}
  %y = ssm.kernel loops 2 ins(%x : tensor<?xf32>) outs(%e : tensor<?xf32>)
      maps [affine_map<(d0, d1) -> (d0 + d1)>, affine_map<(d0, d1) -> (d0)>] {
    ^bb0(%v: f32):
      %s = ssm.reduce addf %v over [1] : f32
      ssm.yield %s : f32
  } -> tensor<?xf32>
  return %y : tensor<?xf32>
}

// -----

func.func @depends(%x: tensor<?x?xf32>, %e: tensor<?xf32>) -> tensor<?xf32> {
  // expected-error @below {{out 0 depends on loops that its map does not have}}
  %y = ssm.kernel loops 2 ins(%x : tensor<?x?xf32>) outs(%e : tensor<?xf32>)
      maps [affine_map<(d0, d1) -> (d0, d1)>, affine_map<(d0, d1) -> (d0)>] {
    ^bb0(%v: f32):
      ssm.yield %v : f32
  } -> tensor<?xf32>
  return %y : tensor<?xf32>
}

// -----

func.func @no_time(%x: tensor<?xf32>, %h: tensor<f32>, %e: tensor<f32>) -> tensor<f32> {
  // expected-error @below {{has carries but no time}}
  %y = ssm.kernel loops 1 ins(%x : tensor<?xf32>) inits(%h : tensor<f32>) outs(%e : tensor<f32>)
      maps [affine_map<(d0) -> (d0)>, affine_map<(d0) -> ()>, affine_map<(d0) -> ()>] {
    ^bb0(%v: f32, %c: f32):
      ssm.yield %c : f32
  } -> tensor<f32>
  return %y : tensor<f32>
}

// -----

func.func @reduce_time(%x: tensor<?xf32>, %h: tensor<f32>, %e: tensor<f32>) -> tensor<f32> {
  %y = ssm.kernel loops 1 time 0 ins(%x : tensor<?xf32>) inits(%h : tensor<f32>) outs(%e : tensor<f32>)
      maps [affine_map<(d0) -> (d0)>, affine_map<(d0) -> ()>, affine_map<(d0) -> ()>] {
    ^bb0(%v: f32, %c: f32):
      // expected-error @below {{over loop 0, expected loops of the kernel without time}}
      %s = ssm.reduce addf %v over [0] : f32
      ssm.yield %s : f32
  } -> tensor<f32>
  return %y : tensor<f32>
}

// -----

func.func @two_sizes(%x: tensor<4xf32>, %w: tensor<3xf32>, %e: tensor<f32>) -> tensor<f32> {
  // expected-error @below {{input 1 has size 3 along loop 0, expected 4}}
  %y = ssm.kernel loops 1 ins(%x, %w : tensor<4xf32>, tensor<3xf32>) outs(%e : tensor<f32>)
      maps [affine_map<(d0) -> (d0)>, affine_map<(d0) -> (d0)>, affine_map<(d0) -> ()>] {
    ^bb0(%v: f32, %u: f32):
      %p = arith.mulf %v, %u : f32
      %s = ssm.reduce addf %p over [0] : f32
      ssm.yield %s : f32
  } -> tensor<f32>
  return %y : tensor<f32>
}

// -----

func.func @loops(%x: tensor<?xf32>, %e: tensor<?xf32>) -> tensor<?xf32> {
  // expected-error @below {{has 65 loops, expected 0 to 64}}
  %y = ssm.kernel loops 65 ins(%x : tensor<?xf32>) outs(%e : tensor<?xf32>)
      maps [affine_map<(d0) -> (d0)>, affine_map<(d0) -> (d0)>] {
    ^bb0(%v: f32):
      ssm.yield %v : f32
  } -> tensor<?xf32>
  return %y : tensor<?xf32>
}

// -----

func.func @time(%x: tensor<?xf32>, %h: tensor<f32>, %e: tensor<f32>) -> tensor<f32> {
  // expected-error @below {{time is loop 1, there are 1}}
  %y = ssm.kernel loops 1 time 1 ins(%x : tensor<?xf32>) inits(%h : tensor<f32>) outs(%e : tensor<f32>)
      maps [affine_map<(d0) -> (d0)>, affine_map<(d0) -> ()>, affine_map<(d0) -> ()>] {
    ^bb0(%v: f32, %c: f32):
      ssm.yield %c : f32
  } -> tensor<f32>
  return %y : tensor<f32>
}

// -----

func.func @number_of_maps(%x: tensor<?xf32>, %e: tensor<?xf32>) -> tensor<?xf32> {
  // expected-error @below {{has 2 operands, expected as many maps, got 1}}
  %y = ssm.kernel loops 1 ins(%x : tensor<?xf32>) outs(%e : tensor<?xf32>)
      maps [affine_map<(d0) -> (d0)>] {
    ^bb0(%v: f32):
      ssm.yield %v : f32
  } -> tensor<?xf32>
  return %y : tensor<?xf32>
}

// -----

func.func @carry_by_time(%x: tensor<?xf32>, %h: tensor<?xf32>, %e: tensor<?xf32>) -> tensor<?xf32> {
  // expected-error @below {{carry 0 may not be indexed by time}}
  %y = ssm.kernel loops 1 time 0 ins(%x : tensor<?xf32>) inits(%h : tensor<?xf32>) outs(%e : tensor<?xf32>)
      maps [affine_map<(d0) -> (d0)>, affine_map<(d0) -> (d0)>, affine_map<(d0) -> (d0)>] {
    ^bb0(%v: f32, %c: f32):
      ssm.yield %c : f32
  } -> tensor<?xf32>
  return %y : tensor<?xf32>
}

// -----

func.func @out_twice(%x: tensor<?xf32>, %e: tensor<?x?xf32>) -> tensor<?x?xf32> {
  // expected-error @below {{out 0 has map affine_map<(d0) -> (d0, d0)>, expected a projected permutation and constants}}
  %y = ssm.kernel loops 1 ins(%x : tensor<?xf32>) outs(%e : tensor<?x?xf32>)
      maps [affine_map<(d0) -> (d0)>, affine_map<(d0) -> (d0, d0)>] {
    ^bb0(%v: f32):
      ssm.yield %v : f32
  } -> tensor<?x?xf32>
  return %y : tensor<?x?xf32>
}

// -----

func.func @arguments(%x: tensor<?xf32>, %e: tensor<?xf32>) -> tensor<?xf32> {
  // expected-error @below {{region has 0 arguments, expected 1}}
  %y = ssm.kernel loops 1 ins(%x : tensor<?xf32>) outs(%e : tensor<?xf32>)
      maps [affine_map<(d0) -> (d0)>, affine_map<(d0) -> (d0)>] {
      %v = arith.constant 0.0 : f32
      ssm.yield %v : f32
  } -> tensor<?xf32>
  return %y : tensor<?xf32>
}

// -----

func.func @argument_type(%x: tensor<?xf16>, %e: tensor<?xf32>) -> tensor<?xf32> {
  // expected-error @below {{argument 0 is 'f32', expected the element type of input 0}}
  %y = ssm.kernel loops 1 ins(%x : tensor<?xf16>) outs(%e : tensor<?xf32>)
      maps [affine_map<(d0) -> (d0)>, affine_map<(d0) -> (d0)>] {
    ^bb0(%v: f32):
      ssm.yield %v : f32
  } -> tensor<?xf32>
  return %y : tensor<?xf32>
}

// -----

func.func @carry_type(%x: tensor<?xf32>, %h: tensor<f16>, %e: tensor<f32>) -> tensor<f32> {
  // expected-error @below {{carry 0 is 'f32', expected the element type of its init and out}}
  %y = ssm.kernel loops 1 time 0 ins(%x : tensor<?xf32>) inits(%h : tensor<f16>) outs(%e : tensor<f32>)
      maps [affine_map<(d0) -> (d0)>, affine_map<(d0) -> ()>, affine_map<(d0) -> ()>] {
    ^bb0(%v: f32, %c: f32):
      ssm.yield %c : f32
  } -> tensor<f32>
  return %y : tensor<f32>
}

// -----

func.func @yields(%x: tensor<?xf32>, %e: tensor<?xf32>) -> tensor<?xf32> {
  // expected-error @below {{yields 2 values, expected 1}}
  %y = ssm.kernel loops 1 ins(%x : tensor<?xf32>) outs(%e : tensor<?xf32>)
      maps [affine_map<(d0) -> (d0)>, affine_map<(d0) -> (d0)>] {
    ^bb0(%v: f32):
      ssm.yield %v, %v : f32, f32
  } -> tensor<?xf32>
  return %y : tensor<?xf32>
}

// -----

func.func @yield_type(%x: tensor<?xf32>, %e: tensor<?xf16>) -> tensor<?xf16> {
  // expected-error @below {{yields 'f32' for out 0, expected its element type}}
  %y = ssm.kernel loops 1 ins(%x : tensor<?xf32>) outs(%e : tensor<?xf16>)
      maps [affine_map<(d0) -> (d0)>, affine_map<(d0) -> (d0)>] {
    ^bb0(%v: f32):
      ssm.yield %v : f32
  } -> tensor<?xf16>
  return %y : tensor<?xf16>
}

// -----

func.func @index(%x: tensor<?xf32>, %e: tensor<?xf32>) -> tensor<?xf32> {
  %y = ssm.kernel loops 1 ins(%x : tensor<?xf32>) outs(%e : tensor<?xf32>)
      maps [affine_map<(d0) -> (d0)>, affine_map<(d0) -> (d0)>] {
    ^bb0(%v: f32):
      // expected-error @below {{of loop 1, there are 1}}
      %i = ssm.index 1
      ssm.yield %v : f32
  } -> tensor<?xf32>
  return %y : tensor<?xf32>
}

// -----

func.func @lane_loop(%x: tensor<?xf32>, %e: tensor<?xf32>) -> tensor<?xf32> {
  // expected-error @below {{has lanes along loop 7, there are 1}}
  %y = ssm.kernel loops 1 ins(%x : tensor<?xf32>) outs(%e : tensor<?xf32>)
      maps [affine_map<(d0) -> (d0)>, affine_map<(d0) -> (d0)>] config <rows, lane_loop = 7, lanes = 16> {
    ^bb0(%v: f32):
      ssm.yield %v : f32
  } -> tensor<?xf32>
  return %y : tensor<?xf32>
}

// -----

// expected-error @below {{config has 0 lanes, expected a power of two up to 64}}
#zero = #ssm.config<rows, lane_loop = 0, lanes = 0>

// -----

// expected-error @below {{config has 12 lanes, expected a power of two up to 64}}
#twelve = #ssm.config<rows, lane_loop = 0, lanes = 12>

// -----

// expected-error @below {{config has tile 0, expected 1 to 16777216}}
#tile = #ssm.config<matmul, lane_loop = 0, lanes = 4, tiles = [4, 0]>

// -----

func.func @padded_maximum(%x: tensor<8xf32>, %w: tensor<3xf32>, %e: tensor<8xf32>) -> tensor<8xf32> {
  // expected-error @below {{is padded, expected no time and one reduction, a sum}}
  %y = ssm.kernel loops 2 ins(%x, %w : tensor<8xf32>, tensor<3xf32>) outs(%e : tensor<8xf32>)
      maps [affine_map<(i, k) -> (i + k - 1)>, affine_map<(i, k) -> (k)>, affine_map<(i, k) -> (i)>] padded {
    ^bb0(%a: f32, %b: f32):
      %m = arith.mulf %a, %b : f32
      %s = ssm.reduce maximumf %m over [1] : f32
      ssm.yield %s : f32
  } -> tensor<8xf32>
  return %y : tensor<8xf32>
}

// -----

func.func @padded_form(%x: tensor<8xf32>, %w: tensor<3xf32>, %e: tensor<8xf32>) -> tensor<8xf32> {
  // expected-error @below {{is padded, expected the form window or loops}}
  %y = ssm.kernel loops 2 ins(%x, %w : tensor<8xf32>, tensor<3xf32>) outs(%e : tensor<8xf32>)
      maps [affine_map<(i, k) -> (i + k - 1)>, affine_map<(i, k) -> (k)>, affine_map<(i, k) -> (i)>]
      config <rows, lane_loop = 0, lanes = 16> padded {
    ^bb0(%a: f32, %b: f32):
      %m = arith.mulf %a, %b : f32
      %s = ssm.reduce addf %m over [1] : f32
      ssm.yield %s : f32
  } -> tensor<8xf32>
  return %y : tensor<8xf32>
}

// -----

func.func @padded_out(%x: tensor<8xf32>, %w: tensor<3xf32>, %e: tensor<8xf32>, %f: tensor<8x3xf32>) -> tensor<8x3xf32> {
  // expected-error @below {{is padded, but yields for out 1 what may be read outside of an input}}
  %y:2 = ssm.kernel loops 2 ins(%x, %w : tensor<8xf32>, tensor<3xf32>) outs(%e, %f : tensor<8xf32>, tensor<8x3xf32>)
      maps [affine_map<(i, k) -> (i + k - 1)>, affine_map<(i, k) -> (k)>, affine_map<(i, k) -> (i)>,
            affine_map<(i, k) -> (i, k)>] padded {
    ^bb0(%a: f32, %b: f32):
      %m = arith.mulf %a, %b : f32
      %s = ssm.reduce addf %m over [1] : f32
      ssm.yield %s, %m : f32, f32
  } -> tensor<8xf32>, tensor<8x3xf32>
  return %y#1 : tensor<8x3xf32>
}
