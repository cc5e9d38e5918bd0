// RUN: ssm-opt %s "-ssm-emit-device-kernels=chip=sm_90a" -canonicalize -cse -split-input-file -ssm-verify-sync | FileCheck %s

// A row of up to 128 vectors in the registers of a warp, of up to 2048 in those of a block; it is
// read once. The division by its sum is one.
// CHECK-LABEL: func.func private @kernel_softmax(
// CHECK: @device::@kernel_softmax_warp
// CHECK: @device::@kernel_softmax_row
// CHECK: @device::@kernel_softmax_long
// Rows that do not begin at 16 bytes, of at least 128 elements: by vectors with single elements in front
// of and behind them, where the out's rows begin likewise, else one by one.
// CHECK: @device::@kernel_softmax_shifted_warp
// CHECK: @device::@kernel_softmax_shifted_row
// CHECK: arith.cmpi ule, %{{.*}}, %c4096
// CHECK: arith.cmpi uge, %{{.*}}, %c128
// CHECK: @device::@kernel_softmax_any_row
// CHECK: @device::@kernel_softmax grid
// CHECK: gpu.func @kernel_softmax_warp(
// CHECK-SAME: nvvm.minctasm = 4 : i32
// CHECK-COUNT-4: vector.load %{{.*}} {alignment = 16 : i64} : memref<?x?xf32>, vector<4xf32>
// CHECK-NOT: vector.load
// CHECK: arith.select %{{.*}} : vector<4xf32>
// CHECK-COUNT-5: gpu.shuffle xor
// CHECK-NOT: gpu.barrier
// CHECK: arith.divf
// CHECK-NOT: arith.divf
// CHECK-COUNT-4: vector.store %{{.*}} {alignment = 16 : i64} : memref<?x?xf32>, vector<4xf32>
// CHECK: gpu.func @kernel_softmax_row(
// CHECK: gpu.func @kernel_softmax_shifted_warp(
// CHECK: arith.remui %{{.*}}, %c4
// CHECK-COUNT-4: vector.load %{{.*}} {alignment = 16 : i64} : memref<?x?xf32>, vector<4xf32>
// CHECK: memref.load
// CHECK-COUNT-4: vector.store %{{.*}} {alignment = 16 : i64} : memref<?x?xf32>, vector<4xf32>
// CHECK: memref.store

#ij = affine_map<(d0, d1) -> (d0, d1)>
func.func private @kernel_softmax(%table: !llvm.ptr, %context: !llvm.ptr, %xp: !llvm.ptr {llvm.noalias}, %n: index, %m: index, %yp: !llvm.ptr {llvm.noalias}) attributes {ssm.kernel} {
  %c0 = arith.constant 0 : index
  %x = ssm.arena_view %xp[%c0] (%n, %m) : !llvm.ptr -> memref<?x?xf32>
  %y = ssm.arena_view %yp[%c0] (%n, %m) : !llvm.ptr -> memref<?x?xf32>
  ssm.kernel loops 2 ins(%x : memref<?x?xf32>) outs(%y : memref<?x?xf32>) maps [#ij, #ij] config <loops, lane_loop = 0, lanes = 1> {
  ^bb0(%v: f32):
    %s = ssm.reduce addf %v over [1] : f32
    %q = arith.divf %v, %s : f32
    ssm.yield %q : f32
  }
  return
}

// -----

// One long sum: blocks leave parts in memory, a second kernel adds them in their order.
// CHECK-LABEL: func.func private @kernel_sum(
// CHECK: %[[MARK:.*]] = ssm.segment_mark
// CHECK: ssm.segment_alloc
// CHECK: ssm.launch %{{.*}}, %{{.*}} @device::@kernel_sum_parts grid(%c1, %[[PARTS:.*]], %c1) threads %c256
// CHECK: ssm.launch %{{.*}}, %{{.*}} @device::@kernel_sum_parts_sums grid(%c1, %c1, %c1) threads %c256
// CHECK: ssm.segment_release %{{.*}}, %{{.*}} to %[[MARK]]
// CHECK: @device::@kernel_sum_any_parts
// CHECK: gpu.func @kernel_sum_parts(
// CHECK: gpu.block_id y
// CHECK: scf.for
// CHECK-COUNT-4: vector.load %{{.*}} {alignment = 16 : i64} : memref<?xf32>, vector<4xf32>
// CHECK: llvm.inline_asm
// CHECK: vector.reduction <add>
// CHECK: gpu.func @kernel_sum_parts_sums(

#i = affine_map<(d0) -> (d0)>
#none = affine_map<(d0) -> ()>
func.func private @kernel_sum(%table: !llvm.ptr, %context: !llvm.ptr, %xp: !llvm.ptr, %n: index, %yp: !llvm.ptr) attributes {ssm.kernel} {
  %c0 = arith.constant 0 : index
  %x = ssm.arena_view %xp[%c0] (%n) : !llvm.ptr -> memref<?xf32>
  %y = ssm.arena_view %yp[%c0] () : !llvm.ptr -> memref<f32>
  ssm.kernel loops 1 ins(%x : memref<?xf32>) outs(%y : memref<f32>) maps [#i, #none] config <loops, lane_loop = 0, lanes = 1> {
  ^bb0(%v: f32):
    %s = ssm.reduce addf %v over [0] : f32
    ssm.yield %s : f32
  }
  return
}

// -----

// Columns: vectors of neighbours a thread, rows across warps and blocks.
// CHECK: gpu.func @kernel_columns_parts(
// CHECK-SAME: workgroup(%[[SUMS:.*]] : memref<4x256xf32, 3> {llvm.align = 16 : i64})
// CHECK-COUNT-4: vector.load %{{.*}} {alignment = 16 : i64} : memref<?x?xf32>, vector<4xf32>
// CHECK: memref.store %{{.*}}, %[[SUMS]][%c0, %{{.*}}]
// CHECK: memref.store %{{.*}}, %[[SUMS]][%c3, %{{.*}}]
// CHECK: gpu.barrier

#ij = affine_map<(d0, d1) -> (d0, d1)>
#j = affine_map<(d0, d1) -> (d1)>
func.func private @kernel_columns(%table: !llvm.ptr, %context: !llvm.ptr, %xp: !llvm.ptr, %n: index, %m: index, %yp: !llvm.ptr) attributes {ssm.kernel} {
  %c0 = arith.constant 0 : index
  %x = ssm.arena_view %xp[%c0] (%n, %m) : !llvm.ptr -> memref<?x?xf32>
  %y = ssm.arena_view %yp[%c0] (%m) : !llvm.ptr -> memref<?xf32>
  ssm.kernel loops 2 ins(%x : memref<?x?xf32>) outs(%y : memref<?xf32>) maps [#ij, #j] config <loops, lane_loop = 0, lanes = 1> {
  ^bb0(%v: f32):
    %s = ssm.reduce addf %v over [0] : f32
    ssm.yield %s : f32
  }
  return
}

// -----

// A transpose: tiles of 64 by 64, read and written 16 bytes at a time, single elements if sizes or
// pointers do not allow it; not where an axis is short.
// CHECK-LABEL: func.func private @kernel_turn(
// CHECK: arith.cmpi uge, %{{.*}}, %c16
// CHECK: @device::@kernel_turn_turned
// CHECK: @device::@kernel_turn_any_turned
// CHECK: @device::@kernel_turn grid
// CHECK: gpu.func @kernel_turn_turned(
// CHECK-SAME: workgroup(%[[TILE:.*]] : memref<4x1024xf32, 3> {llvm.align = 16 : i64})
// CHECK-COUNT-4: vector.load %{{.*}} {alignment = 16 : i64} : memref<?x?xf32>, vector<4xf32>
// CHECK-COUNT-4: vector.store %{{.*}}, %[[TILE]]
// CHECK: gpu.barrier
// CHECK-COUNT-4: memref.load %[[TILE]]
// CHECK: vector.store %{{.*}} {alignment = 16 : i64} : memref<?x?xf32>, vector<4xf32>

#ij = affine_map<(d0, d1) -> (d0, d1)>
#ji = affine_map<(d0, d1) -> (d1, d0)>
func.func private @kernel_turn(%table: !llvm.ptr, %context: !llvm.ptr, %xp: !llvm.ptr, %n: index, %m: index, %yp: !llvm.ptr) attributes {ssm.kernel} {
  %c0 = arith.constant 0 : index
  %x = ssm.arena_view %xp[%c0] (%n, %m) : !llvm.ptr -> memref<?x?xf32>
  %y = ssm.arena_view %yp[%c0] (%m, %n) : !llvm.ptr -> memref<?x?xf32>
  ssm.kernel loops 2 ins(%x : memref<?x?xf32>) outs(%y : memref<?x?xf32>) maps [#ji, #ij] config <loops, lane_loop = 0, lanes = 1> {
  ^bb0(%v: f32):
    %q = arith.negf %v : f32
    ssm.yield %q : f32
  }
  return
}
