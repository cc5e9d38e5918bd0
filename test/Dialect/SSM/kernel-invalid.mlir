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
