// RUN: ssm-opt %s -split-input-file -ssm-emit-kernels -canonicalize -cse | FileCheck %s

// Carries are vectors that steps hand on; what is slow and comes before or after the
// recurrence has loops of its own over a block of time.

// CHECK-LABEL: @registers
// CHECK: ssm.parallel_for
// CHECK: scf.for
// CHECK: scf.for
// CHECK: scf.for
// CHECK: math.exp %{{.*}} : vector<16xf32>
// CHECK: vector.store
// CHECK: scf.for {{.*}} iter_args(%{{.*}}) -> (vector<16xf32>, vector<16xf32>)
// CHECK-NOT: math.
// CHECK: scf.for
// CHECK: math.tanh
// CHECK: vector.store {{.*}} memref<?x64xf32>
func.func @registers(%x: memref<?x64xf32>, %b: memref<?x2xf32>, %h0: memref<2x64xf32>, %eh: memref<2x64xf32>, %ey: memref<?x64xf32>) {
  ssm.kernel loops 3 time 0 ins(%x, %b : memref<?x64xf32>, memref<?x2xf32>) inits(%h0 : memref<2x64xf32>)
      outs(%eh, %ey : memref<2x64xf32>, memref<?x64xf32>)
      maps [affine_map<(t, d, n) -> (t, d)>, affine_map<(t, d, n) -> (t, n)>, affine_map<(t, d, n) -> (n, d)>,
            affine_map<(t, d, n) -> (n, d)>, affine_map<(t, d, n) -> (t, d)>]
      config <recurrence, lane_loop = 1, lanes = 16, tiles = [8]> {
    ^bb0(%v: f32, %w: f32, %c: f32):
      %e = math.exp %v : f32
      %p = arith.mulf %w, %c : f32
      %n = arith.addf %p, %e : f32
      %s = ssm.reduce addf %n over [2] : f32
      %t = math.tanh %s : f32
      ssm.yield %n, %t : f32, f32
  }
  return
}

// -----

// A large state lies on the stack. The delta rule reads it for a first sum, and for
// a second one makes the next state on the way: of which the loop makes the first sum of
// the next step too, so that each step has one loop over the state. Only a block's first sum
// has a loop of its own. The decay, which is the same for all that is summed, is a factor of
// the sum and not of 64 numbers.

// CHECK-LABEL: @stack
// CHECK: %[[H:.*]] = memref.alloca() {{.*}} : memref<64x16xf32>
// CHECK: scf.if
// CHECK: scf.for %{{.*}} = %c0 to %c64 step %c4 iter_args
// CHECK-NOT: vector.store
// CHECK: %[[SUM:.*]] = scf.for {{.*}} iter_args(%[[SEEN:.*]] = %{{.*}}) -> (vector<16xf32>)
// CHECK: arith.mulf %[[SEEN]]
// CHECK: scf.for %{{.*}} = %c0 to %c64 step %c4 iter_args
// CHECK: vector.load %[[H]]
// CHECK: vector.store %[[NEW:[0-9]+]], %[[H]]
// CHECK: %[[AHEAD:.*]] = arith.mulf %{{.*}}, %[[NEW]]
// CHECK: arith.addf %{{.*}}, %[[AHEAD]]
// CHECK-NOT: iter_args
// CHECK: scf.yield %{{.*}} : vector<16xf32>
func.func @stack(%v: memref<?x32xf32>, %k: memref<?x64xf32>, %g: memref<?xf32>, %h0: memref<64x32xf32>, %eh: memref<64x32xf32>, %ey: memref<?x32xf32>) {
  ssm.kernel loops 3 time 0 ins(%v, %k, %g : memref<?x32xf32>, memref<?x64xf32>, memref<?xf32>) inits(%h0 : memref<64x32xf32>)
      outs(%eh, %ey : memref<64x32xf32>, memref<?x32xf32>)
      maps [affine_map<(t, d, n) -> (t, d)>, affine_map<(t, d, n) -> (t, n)>, affine_map<(t, d, n) -> (t)>, affine_map<(t, d, n) -> (n, d)>,
            affine_map<(t, d, n) -> (n, d)>, affine_map<(t, d, n) -> (t, d)>]
      config <recurrence, lane_loop = 1, lanes = 16, tiles = [8]> {
    ^bb0(%vt: f32, %kt: f32, %gt: f32, %c: f32):
      %w = arith.mulf %kt, %gt : f32
      %p = arith.mulf %w, %c : f32
      %s = ssm.reduce addf %p over [2] : f32
      %d = arith.subf %vt, %s : f32
      %u = arith.mulf %d, %kt : f32
      %n = arith.addf %c, %u : f32
      %q = arith.mulf %n, %kt : f32
      %o = ssm.reduce addf %q over [2] : f32
      ssm.yield %n, %o : f32, f32
  }
  return
}

// -----

// A state of open size stays in the buffer of the last one, from its start on.

// CHECK-LABEL: @outs
// CHECK-SAME: %[[H0:[a-z0-9]+]]: memref<?x32xf32>, %[[H:[a-z0-9]+]]: memref<?x32xf32>
// CHECK-NOT: memref.alloca
// CHECK: scf.if
// CHECK: vector.load %[[H0]]
// CHECK: vector.store {{.*}} %[[H]]
// CHECK: scf.for %{{.*}} step %c4 iter_args
// CHECK: vector.load %[[H]]
// CHECK: vector.store {{.*}} %[[H]]
// CHECK: scf.for %{{.*}} step %c1{{(_[0-9]+)?}} iter_args
// CHECK: vector.load %[[H]]
// CHECK: vector.store {{.*}} %[[H]]
func.func @outs(%v: memref<?x32xf32>, %k: memref<?x?xf32>, %h0: memref<?x32xf32>, %eh: memref<?x32xf32>, %ey: memref<?x32xf32>) {
  ssm.kernel loops 3 time 0 ins(%v, %k : memref<?x32xf32>, memref<?x?xf32>) inits(%h0 : memref<?x32xf32>)
      outs(%eh, %ey : memref<?x32xf32>, memref<?x32xf32>)
      maps [affine_map<(t, d, n) -> (t, d)>, affine_map<(t, d, n) -> (t, n)>, affine_map<(t, d, n) -> (n, d)>,
            affine_map<(t, d, n) -> (n, d)>, affine_map<(t, d, n) -> (t, d)>]
      config <recurrence, lane_loop = 1, lanes = 16, tiles = [8]> {
    ^bb0(%vt: f32, %kt: f32, %c: f32):
      %p = arith.mulf %kt, %c : f32
      %n = arith.addf %p, %vt : f32
      %s = ssm.reduce addf %n over [2] : f32
      ssm.yield %n, %s : f32, f32
  }
  return
}

// -----

// 17 channels: the last one runs alone, with lanes along the state, which it reads far
// apart once a block; its sum is one of lanes, its gate is computed along with those of
// the other tiles.

// CHECK-LABEL: @few_channels
// CHECK: scf.if
// CHECK: vector.gather {{.*}} memref<16x17xf32>
// CHECK: scf.for {{.*}} iter_args(%{{.*}}) -> (vector<16xf32>)
// CHECK: vector.load %{{.*}} memref<?x16xf32>
// CHECK: vector.reduction <add>
// CHECK: vector.scatter
// CHECK: } else {
// CHECK: scf.for {{.*}} -> (vector<16xf32>, vector<16xf32>,
// CHECK-NOT: vector.reduction
// CHECK: math.tanh
func.func @few_channels(%x: memref<?x17xf32>, %b: memref<?x16xf32>, %h0: memref<16x17xf32>, %eh: memref<16x17xf32>, %ey: memref<?x17xf32>) {
  ssm.kernel loops 3 time 0 ins(%x, %b : memref<?x17xf32>, memref<?x16xf32>) inits(%h0 : memref<16x17xf32>)
      outs(%eh, %ey : memref<16x17xf32>, memref<?x17xf32>)
      maps [affine_map<(t, d, n) -> (t, d)>, affine_map<(t, d, n) -> (t, n)>, affine_map<(t, d, n) -> (n, d)>,
            affine_map<(t, d, n) -> (n, d)>, affine_map<(t, d, n) -> (t, d)>]
      config <recurrence, lane_loop = 1, lanes = 16, tiles = [8]> {
    ^bb0(%v: f32, %w: f32, %c: f32):
      %p = arith.mulf %w, %c : f32
      %n = arith.addf %p, %v : f32
      %s = ssm.reduce addf %n over [2] : f32
      %t = math.tanh %s : f32
      ssm.yield %n, %t : f32, f32
  }
  return
}

// -----

// Sequences that are dense along time: a square of 4 channels and 4 steps is loaded, turned and
// read step by step; outs take the same way back. A block that is not whole goes step by step.
// Tiles are outermost, since a row of memory is a channel.

// CHECK-LABEL: @time_last
// CHECK-SAME: %[[X:[a-z0-9]+]]: memref<8x?xf32>, %{{.*}}, %{{.*}}, %[[Y:[a-z0-9]+]]: memref<8x?xf32>
// CHECK: %[[IN:.*]] = memref.alloca() {{.*}} : memref<4x4xf32>
// CHECK: %[[OUT:.*]] = memref.alloca() {{.*}} : memref<4x4xf32>
// CHECK: scf.if
// CHECK-COUNT-4: vector.load %[[X]]
// CHECK-COUNT-8: vector.shuffle
// CHECK-COUNT-4: vector.store %{{.*}}, %[[IN]]
// CHECK: } else {
// CHECK: vector.gather %[[X]]
// CHECK: vector.store %{{.*}}, %[[IN]]
// CHECK: scf.for {{.*}} -> (vector<4xf32>)
// CHECK: vector.load %[[IN]]
// CHECK: vector.store %{{.*}}, %[[OUT]]
// CHECK: scf.if
// CHECK-COUNT-4: vector.load %[[OUT]]
// CHECK-COUNT-8: vector.shuffle
// CHECK-COUNT-4: vector.store %{{.*}}, %[[Y]]
// CHECK: } else {
// CHECK: vector.scatter %[[Y]]
func.func @time_last(%x: memref<8x?xf32>, %h0: memref<8xf32>, %eh: memref<8xf32>, %ey: memref<8x?xf32>) {
  ssm.kernel loops 2 time 1 ins(%x : memref<8x?xf32>) inits(%h0 : memref<8xf32>) outs(%eh, %ey : memref<8xf32>, memref<8x?xf32>)
      maps [affine_map<(d, t) -> (d, t)>, affine_map<(d, t) -> (d)>, affine_map<(d, t) -> (d)>, affine_map<(d, t) -> (d, t)>]
      config <recurrence, lane_loop = 0, lanes = 4, tiles = [4]> {
    ^bb0(%v: f32, %c: f32):
      %n = arith.addf %v, %c : f32
      ssm.yield %n, %n : f32, f32
  }
  return
}

// -----

// Lanes along the state: what is of the channels alone is computed across them before and
// after the steps, in which four channels take turns; 16 sums are added up at a time.

// CHECK-LABEL: @along_state
// CHECK-SAME: %[[H0:[a-z0-9]+]]: memref<64x32xf32>, %[[H:[a-z0-9]+]]: memref<64x32xf32>
// CHECK: %[[FED:.*]] = memref.alloca() {{.*}} : memref<8x16xf32>
// CHECK: %[[PARTS:.*]] = memref.alloca() {{.*}} : memref<8x16x16xf32>
// CHECK: arith.mulf {{.*}} : vector<16xf32>
// CHECK: vector.store {{.*}} %[[FED]]
// CHECK: scf.for {{.*}} step %c4
// CHECK-COUNT-4: scf.if
// CHECK: scf.for {{.*}} iter_args
// CHECK: memref.load %[[FED]]
// CHECK-NOT: vector.shuffle
// CHECK-COUNT-4: vector.store {{.*}} %[[PARTS]]
// CHECK: scf.yield
// CHECK-COUNT-8: vector.store {{.*}} %[[H]]
// CHECK: scf.for
// CHECK-COUNT-16: vector.load %[[PARTS]]
// CHECK-COUNT-30: vector.shuffle
// CHECK-NOT: vector.shuffle
// CHECK: math.tanh
// CHECK: vector.store {{.*}} memref<?x64xf32>
func.func @along_state(%x: memref<?x64xf32>, %b: memref<?x32xf32>, %h0: memref<64x32xf32>, %eh: memref<64x32xf32>, %ey: memref<?x64xf32>) {
  ssm.kernel loops 3 time 0 ins(%x, %b : memref<?x64xf32>, memref<?x32xf32>) inits(%h0 : memref<64x32xf32>)
      outs(%eh, %ey : memref<64x32xf32>, memref<?x64xf32>)
      maps [affine_map<(t, d, n) -> (t, d)>, affine_map<(t, d, n) -> (t, n)>, affine_map<(t, d, n) -> (d, n)>,
            affine_map<(t, d, n) -> (d, n)>, affine_map<(t, d, n) -> (t, d)>]
      config <recurrence, lane_loop = 2, lanes = 16, tiles = [8]> {
    ^bb0(%v: f32, %w: f32, %c: f32):
      %f = arith.mulf %v, %v : f32
      %p = arith.mulf %w, %c : f32
      %n = arith.addf %p, %f : f32
      %s = ssm.reduce addf %n over [2] : f32
      %t = math.tanh %s : f32
      ssm.yield %n, %t : f32, f32
  }
  return
}

// A single step of the delta rule is a kernel without time: four vectors of columns side by
// side, one pass over their state for the sum, one that makes the next, writes it and sums it
// up.
// CHECK-LABEL: @single_step
// CHECK-SAME: %[[H0:[a-z0-9]+]]: memref<40x64xf32>, %[[H:[a-z0-9]+]]: memref<40x64xf32>
// CHECK-NOT: memref.alloca
// CHECK: scf.for {{.*}} -> (vector<16xf32>, vector<16xf32>, vector<16xf32>, vector<16xf32>)
// CHECK-COUNT-4: vector.load %[[H0]]
// CHECK: scf.for {{.*}} -> (vector<16xf32>, vector<16xf32>, vector<16xf32>, vector<16xf32>)
// CHECK-COUNT-4: vector.store {{.*}} %[[H]]
// CHECK-NOT: scf.for
// CHECK: return
func.func @single_step(%k: memref<1x40xf32>, %v: memref<1x64xf32>, %h0: memref<40x64xf32>, %eh: memref<40x64xf32>, %ey: memref<1x64xf32>) {
  ssm.kernel loops 3 time 0 ins(%k, %v : memref<1x40xf32>, memref<1x64xf32>) inits(%h0 : memref<40x64xf32>)
      outs(%eh, %ey : memref<40x64xf32>, memref<1x64xf32>)
      maps [affine_map<(t, d, n) -> (t, n)>, affine_map<(t, d, n) -> (t, d)>, affine_map<(t, d, n) -> (n, d)>,
            affine_map<(t, d, n) -> (n, d)>, affine_map<(t, d, n) -> (t, d)>]
      config <recurrence, lane_loop = 1, lanes = 16, tiles = [8]> {
    ^bb0(%key: f32, %value: f32, %state: f32):
      %seen = arith.mulf %state, %key : f32
      %sum = ssm.reduce addf %seen over [2] : f32
      %change = arith.subf %value, %sum : f32
      %put = arith.mulf %key, %change : f32
      %next = arith.addf %state, %put : f32
      %read = arith.mulf %next, %key : f32
      %out = ssm.reduce addf %read over [2] : f32
      ssm.yield %next, %out : f32, f32
  }
  return
}

// -----

// A step that sums over its only channels is a row: lanes lie along them, and the carries are in
// the out, which first gets where they begin.
// CHECK-LABEL: @rows
// CHECK-SAME: %[[X:[a-z0-9]+]]: memref<?x64xf32>, %[[H0:[a-z0-9]+]]: memref<64xf32>, %[[H:[a-z0-9]+]]: memref<64xf32>
// CHECK-NOT: vector.gather
// CHECK: vector.load %[[H0]]
// CHECK: vector.store {{.*}} %[[H]]
// CHECK: scf.for %[[T:.*]] = %c0
// CHECK: memref.subview %[[X]][%[[T]], 0]
// CHECK: vector.load %[[H]]
// CHECK: vector.reduction <maximumf>
// CHECK: scf.for
// CHECK: vector.load %[[H]]
// CHECK: vector.store {{.*}} %[[H]]
func.func @rows(%x: memref<?x64xf32>, %h0: memref<64xf32>, %eh: memref<64xf32>) {
  ssm.kernel loops 2 time 0 ins(%x : memref<?x64xf32>) inits(%h0 : memref<64xf32>) outs(%eh : memref<64xf32>)
      maps [affine_map<(t, d) -> (t, d)>, affine_map<(t, d) -> (d)>, affine_map<(t, d) -> (d)>]
      config <recurrence, lane_loop = 1, lanes = 16> {
    ^bb0(%v: f32, %c: f32):
      %p = arith.addf %v, %c : f32
      %m = ssm.reduce maximumf %p over [1] : f32
      %n = arith.subf %p, %m : f32
      ssm.yield %n : f32
  }
  return
}
