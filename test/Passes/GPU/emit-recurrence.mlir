// RUN: ssm-opt %s -split-input-file -ssm-emit-device-kernels -canonicalize -cse -ssm-verify-sync | FileCheck %s

// The state of a channel lies in four lanes: its sums are shuffles, time is a loop in each
// thread that has the next elements loaded while it computes.

// CHECK-LABEL: func.func private @lanes
// CHECK: %[[TOTAL:.*]] = arith.muli %{{.*}}, %c4
// CHECK: %[[BLOCKS:.*]] = arith.ceildivui %[[TOTAL]], %c64
// CHECK: ssm.launch {{.*}} grid(%[[BLOCKS]], %c1, %c1) threads %c64
// CHECK: gpu.func @lanes
// CHECK: scf.for {{.*}} step %c32 iter_args
// CHECK: memref.load
// CHECK: math.exp
// CHECK: gpu.shuffle {{.*}}xor
// CHECK: gpu.shuffle {{.*}}xor
// CHECK: memref.store
// CHECK-NOT: gpu.barrier
func.func private @lanes(%table: !llvm.ptr, %context: !llvm.ptr, %px: !llvm.ptr, %pb: !llvm.ptr, %ph: !llvm.ptr, %pe: !llvm.ptr, %py: !llvm.ptr, %n: index, %d: index) attributes {ssm.kernel} {
  %c0 = arith.constant 0 : index
  %x = ssm.arena_view %px[%c0] (%n, %d) : !llvm.ptr -> memref<?x?xf32>
  %b = ssm.arena_view %pb[%c0] (%n) : !llvm.ptr -> memref<?x16xf32>
  %h = ssm.arena_view %ph[%c0] (%d) : !llvm.ptr -> memref<?x16xf32>
  %e = ssm.arena_view %pe[%c0] (%d) : !llvm.ptr -> memref<?x16xf32>
  %y = ssm.arena_view %py[%c0] (%n, %d) : !llvm.ptr -> memref<?x?xf32>
  ssm.kernel loops 3 time 0 ins(%x, %b : memref<?x?xf32>, memref<?x16xf32>) inits(%h : memref<?x16xf32>)
      outs(%e, %y : memref<?x16xf32>, memref<?x?xf32>)
      maps [affine_map<(t, d, n) -> (t, d)>, affine_map<(t, d, n) -> (t, n)>, affine_map<(t, d, n) -> (d, n)>,
            affine_map<(t, d, n) -> (d, n)>, affine_map<(t, d, n) -> (t, d)>] {
    ^bb0(%v: f32, %w: f32, %c: f32):
      %q = math.exp %v : f32
      %p = arith.mulf %w, %c : f32
      %m = arith.addf %p, %q : f32
      %s = ssm.reduce addf %m over [2] : f32
      ssm.yield %m, %s : f32, f32
  }
  return
}

// -----

// A maximum for each batch beside sums for each channel: nothing is summed over channels, so
// that each thread has its own copy of the maximum, and one writes it.

// CHECK-LABEL: gpu.func @copies
// CHECK: scf.for {{.*}} iter_args({{.*}}) -> (f32, f32
// CHECK-NOT: gpu.barrier
func.func private @copies(%table: !llvm.ptr, %context: !llvm.ptr, %pv: !llvm.ptr, %pm: !llvm.ptr, %pe: !llvm.ptr, %ps: !llvm.ptr, %n: index, %d: index) attributes {ssm.kernel} {
  %c0 = arith.constant 0 : index
  %zero = arith.constant 0.0 : f32
  %v = ssm.arena_view %pv[%c0] (%n, %d) : !llvm.ptr -> memref<?x?xf32>
  %f = ssm.arena_view %pm[%c0] (%n) : !llvm.ptr -> memref<?xf32>
  %e = ssm.arena_view %pe[%c0] () : !llvm.ptr -> memref<1xf32>
  %s = ssm.arena_view %ps[%c0] (%d) : !llvm.ptr -> memref<?xf32>
  ssm.kernel loops 2 time 0 ins(%v, %f : memref<?x?xf32>, memref<?xf32>) inits(%zero, %zero : f32, f32)
      outs(%e, %s : memref<1xf32>, memref<?xf32>)
      maps [affine_map<(t, d) -> (t, d)>, affine_map<(t, d) -> (t)>, affine_map<(t, d) -> ()>, affine_map<(t, d) -> ()>,
            affine_map<(t, d) -> (0)>, affine_map<(t, d) -> (d)>] {
    ^bb0(%x: f32, %y: f32, %m: f32, %sum: f32):
      %k = arith.maximumf %m, %y : f32
      %g = arith.mulf %x, %k : f32
      %r = arith.addf %sum, %g : f32
      ssm.yield %k, %r : f32, f32
  }
  return
}

// -----

// A step needs the mean of a state of any length: a block has it, in the carry's buffer.

// CHECK-LABEL: gpu.func @mean
// CHECK: scf.for
// CHECK: memref.store
// CHECK: gpu.barrier
// CHECK: scf.for %{{.*}} = %c0
// CHECK: gpu.shuffle
// CHECK: gpu.barrier
// CHECK: gpu.barrier
// CHECK: memref.store
// CHECK: gpu.barrier
func.func private @mean(%table: !llvm.ptr, %context: !llvm.ptr, %px: !llvm.ptr, %ph: !llvm.ptr, %pe: !llvm.ptr, %n: index, %d: index) attributes {ssm.kernel} {
  %c0 = arith.constant 0 : index
  %x = ssm.arena_view %px[%c0] (%n, %d) : !llvm.ptr -> memref<?x?xf32>
  %h = ssm.arena_view %ph[%c0] (%d) : !llvm.ptr -> memref<?xf32>
  %e = ssm.arena_view %pe[%c0] (%d) : !llvm.ptr -> memref<?xf32>
  ssm.kernel loops 2 time 0 ins(%x : memref<?x?xf32>) inits(%h : memref<?xf32>) outs(%e : memref<?xf32>)
      maps [affine_map<(t, d) -> (t, d)>, affine_map<(t, d) -> (d)>, affine_map<(t, d) -> (d)>] {
    ^bb0(%v: f32, %c: f32):
      %s = ssm.reduce addf %c over [1] : f32
      %m = arith.subf %c, %s : f32
      %r = arith.addf %m, %v : f32
      ssm.yield %r : f32
  }
  return
}

// -----

// A loop around kernels: one block, its threads share out each kernel's points.

// CHECK-LABEL: gpu.func @nest
// CHECK-SAME: (%{{.*}}: !llvm.ptr {llvm.noalias}, %{{.*}}: !llvm.ptr,
// CHECK: scf.for
// CHECK: scf.for %{{.*}} = %{{.*}} to %c64 step %{{.*}} {
// CHECK: scf.for
// CHECK: memref.store
// CHECK: gpu.barrier
// CHECK: memref.store
// CHECK: gpu.barrier
func.func private @nest(%table: !llvm.ptr, %context: !llvm.ptr, %pw: !llvm.ptr {llvm.noalias}, %ph: !llvm.ptr {llvm.noalias}, %pn: !llvm.ptr {llvm.noalias}, %n: index) attributes {ssm.kernel} {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %w = ssm.arena_view %pw[%c0] () : !llvm.ptr -> memref<64x64xf32>
  %h = ssm.arena_view %ph[%c0] () : !llvm.ptr -> memref<64xf32>
  %t = ssm.arena_view %pn[%c0] () : !llvm.ptr -> memref<64xf32>
  scf.for %i = %c0 to %n step %c1 {
    ssm.kernel loops 2 ins(%h, %w : memref<64xf32>, memref<64x64xf32>) outs(%t : memref<64xf32>)
        maps [affine_map<(d, k) -> (k)>, affine_map<(d, k) -> (k, d)>, affine_map<(d, k) -> (d)>] {
      ^bb0(%a: f32, %b: f32):
        %p = arith.mulf %a, %b : f32
        %s = ssm.reduce addf %p over [1] : f32
        ssm.yield %s : f32
    }
    ssm.kernel loops 1 ins(%t : memref<64xf32>) outs(%h : memref<64xf32>)
        maps [affine_map<(d) -> (d)>, affine_map<(d) -> (d)>] {
      ^bb0(%a: f32):
        ssm.yield %a : f32
    }
  }
  return
}

// -----

// After two steps nothing is left of the carries' beginnings: time is cut into pieces of 64
// steps, each of which begins two steps early and writes nothing there. The last one has the
// carries.

// CHECK-LABEL: func.func private @window
// CHECK: %[[PIECE:.*]] = arith.maxui %{{.*}}, %c64
// CHECK: %[[PIECES:.*]] = arith.ceildivui %{{.*}}, %[[PIECE]]
// CHECK: %[[Y:.*]] = arith.maxui %[[PIECES]], %c1
// CHECK: ssm.launch {{.*}} grid(%{{.*}}, %[[Y]], %c1) threads %c64
// CHECK: gpu.func @window
// CHECK: gpu.block_id y
// CHECK: %[[EARLY:.*]] = arith.subi
// CHECK: scf.for %{{.*}} = %[[EARLY]] to %[[FIRST:[0-9]+]] step %c1 iter_args
// CHECK-NOT: memref.store
// CHECK: scf.yield
// CHECK: scf.for %{{.*}} = %[[FIRST]] to
// CHECK: memref.store
// CHECK: arith.cmpi uge
// CHECK: scf.if
// CHECK: memref.store
func.func private @window(%table: !llvm.ptr, %context: !llvm.ptr, %px: !llvm.ptr, %pa: !llvm.ptr, %pb: !llvm.ptr, %pc: !llvm.ptr, %pd: !llvm.ptr, %py: !llvm.ptr, %n: index, %d: index) attributes {ssm.kernel} {
  %c0 = arith.constant 0 : index
  %x = ssm.arena_view %px[%c0] (%n, %d) : !llvm.ptr -> memref<?x?xf32>
  %a = ssm.arena_view %pa[%c0] (%d) : !llvm.ptr -> memref<?xf32>
  %b = ssm.arena_view %pb[%c0] (%d) : !llvm.ptr -> memref<?xf32>
  %c = ssm.arena_view %pc[%c0] (%d) : !llvm.ptr -> memref<?xf32>
  %e = ssm.arena_view %pd[%c0] (%d) : !llvm.ptr -> memref<?xf32>
  %y = ssm.arena_view %py[%c0] (%n, %d) : !llvm.ptr -> memref<?x?xf32>
  ssm.kernel loops 2 time 0 ins(%x : memref<?x?xf32>) inits(%a, %b : memref<?xf32>, memref<?xf32>)
      outs(%c, %e, %y : memref<?xf32>, memref<?xf32>, memref<?x?xf32>)
      maps [affine_map<(t, d) -> (t, d)>, affine_map<(t, d) -> (d)>, affine_map<(t, d) -> (d)>,
            affine_map<(t, d) -> (d)>, affine_map<(t, d) -> (d)>, affine_map<(t, d) -> (t, d)>] {
    ^bb0(%v: f32, %p: f32, %q: f32):
      %r = arith.addf %v, %p : f32
      %s = arith.addf %r, %q : f32
      ssm.yield %v, %p, %s : f32, f32, f32
  }
  return
}

// -----

// A single step has a form of its own: two vectors of the state a lane, all asked for before the
// first is used, and no loop.
// CHECK-LABEL: func.func private @single
// CHECK: %[[IS_ONE:.*]] = arith.cmpi eq, %{{.*}}, %c1
// CHECK: scf.if
// CHECK:   %[[THREADS:.*]] = arith.select %{{.*}}, %c256, %c64
// CHECK:   ssm.launch {{.*}} @device::@single_step grid({{.*}}) threads %[[THREADS]]
// CHECK: else
// CHECK:   ssm.launch {{.*}} @device::@single grid
// CHECK: gpu.func @single_step
// CHECK-NOT: scf.for
// CHECK: memref.load
// CHECK-COUNT-2: vector.load %{{.*}} {alignment = 16 : i64} : memref<?x16xf32>, vector<4xf32>
// CHECK: llvm.inline_asm
// CHECK: arith.select
// CHECK: gpu.shuffle {{.*}}xor
// CHECK-NOT: gpu.shuffle
// CHECK-COUNT-2: vector.store %{{.*}} {alignment = 16 : i64} : memref<?x16xf32>, vector<4xf32>
// CHECK: gpu.func @single(
func.func private @single(%table: !llvm.ptr, %context: !llvm.ptr, %px: !llvm.ptr, %ph: !llvm.ptr, %pe: !llvm.ptr, %py: !llvm.ptr, %n: index, %d: index) attributes {ssm.kernel} {
  %c0 = arith.constant 0 : index
  %x = ssm.arena_view %px[%c0] (%n, %d) : !llvm.ptr -> memref<?x?xf32>
  %h = ssm.arena_view %ph[%c0] (%d) : !llvm.ptr -> memref<?x16xf32>
  %e = ssm.arena_view %pe[%c0] (%d) : !llvm.ptr -> memref<?x16xf32>
  %y = ssm.arena_view %py[%c0] (%n, %d) : !llvm.ptr -> memref<?x?xf32>
  ssm.kernel loops 3 time 0 ins(%x : memref<?x?xf32>) inits(%h : memref<?x16xf32>)
      outs(%e, %y : memref<?x16xf32>, memref<?x?xf32>)
      maps [affine_map<(t, d, n) -> (t, d)>, affine_map<(t, d, n) -> (d, n)>,
            affine_map<(t, d, n) -> (d, n)>, affine_map<(t, d, n) -> (t, d)>] {
    ^bb0(%v: f32, %c: f32):
      %m = arith.mulf %v, %c : f32
      %s = ssm.reduce addf %m over [2] : f32
      ssm.yield %m, %s : f32, f32
  }
  return
}

// -----

// A single step of a state that is summed across its rows: 16 threads have neighbouring columns,
// the next 16 the other half of the keys. All of it is asked for before the first sum.
// CHECK-LABEL: gpu.func @across_step
// CHECK: %[[THREAD:.*]] = gpu.thread_id x
// CHECK: arith.remui %[[POINT:.*]], %c16
// CHECK: %[[REST:.*]] = arith.divui %[[POINT]], %c16
// CHECK: %[[LANE:.*]] = arith.remui %[[REST]], %c2
// CHECK-COUNT-64: memref.load
// CHECK: gpu.shuffle xor %{{.*}}, %c16_i32
// CHECK-NOT: memref.load
// CHECK-COUNT-32: memref.store
func.func private @across(%table: !llvm.ptr, %context: !llvm.ptr, %pk: !llvm.ptr, %ph: !llvm.ptr, %pe: !llvm.ptr, %py: !llvm.ptr, %n: index, %d: index) attributes {ssm.kernel} {
  %c0 = arith.constant 0 : index
  %k = ssm.arena_view %pk[%c0] (%n) : !llvm.ptr -> memref<?x64xf32>
  %h = ssm.arena_view %ph[%c0] (%d) : !llvm.ptr -> memref<64x?xf32>
  %e = ssm.arena_view %pe[%c0] (%d) : !llvm.ptr -> memref<64x?xf32>
  %y = ssm.arena_view %py[%c0] (%n, %d) : !llvm.ptr -> memref<?x?xf32>
  ssm.kernel loops 3 time 0 ins(%k : memref<?x64xf32>) inits(%h : memref<64x?xf32>)
      outs(%e, %y : memref<64x?xf32>, memref<?x?xf32>)
      maps [affine_map<(t, d, n) -> (t, n)>, affine_map<(t, d, n) -> (n, d)>,
            affine_map<(t, d, n) -> (n, d)>, affine_map<(t, d, n) -> (t, d)>] {
    ^bb0(%w: f32, %c: f32):
      %p = arith.mulf %w, %c : f32
      %s = ssm.reduce addf %p over [2] : f32
      ssm.yield %p, %s : f32, f32
  }
  return
}
