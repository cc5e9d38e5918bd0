// RUN: ssm-opt %s "-ssm-emit-device-kernels=chip=sm_90a" -canonicalize -cse -split-input-file -ssm-verify-sync | FileCheck %s

// Three channels, from the outermost to the innermost: a block reads 16 KB of their lines by vectors, at most
// four for each thread, and writes them in one piece, whose vectors take elements of all channels.
// CHECK-LABEL: func.func private @kernel_interleave(
// CHECK: arith.cmpi uge, %{{.*}}, %c256
// CHECK: @device::@kernel_interleave_interleaved grid
// CHECK: @device::@kernel_interleave_any_interleaved grid
// CHECK-NOT: apart
// CHECK: gpu.func @kernel_interleave_interleaved(
// CHECK-SAME: memref<4x1024xf32, 3>
// CHECK-COUNT-4: vector.load %{{.*}} : memref<?x3x?xf32>, vector<4xf32>
// CHECK-COUNT-4: vector.store %{{.*}} : memref<4x1024xf32, 3>, vector<4xf32>
// CHECK: gpu.barrier
// CHECK-COUNT-4: memref.load %{{.*}} : memref<4x1024xf32, 3>
// CHECK: vector.from_elements
// CHECK: vector.store %{{.*}} {alignment = 16 : i64} : memref<?x?x3xf32>, vector<4xf32>
// CHECK: gpu.func @kernel_interleave_any_interleaved(

#ijk = affine_map<(d0, d1, d2) -> (d0, d1, d2)>
#ikj = affine_map<(d0, d1, d2) -> (d0, d2, d1)>
func.func private @kernel_interleave(%table: !llvm.ptr, %context: !llvm.ptr, %xp: !llvm.ptr {llvm.noalias}, %n: index, %m: index, %yp: !llvm.ptr {llvm.noalias}) attributes {ssm.kernel} {
  %c0 = arith.constant 0 : index
  %x = ssm.arena_view %xp[%c0] (%n, %m) : !llvm.ptr -> memref<?x3x?xf32>
  %y = ssm.arena_view %yp[%c0] (%n, %m) : !llvm.ptr -> memref<?x?x3xf32>
  ssm.kernel loops 3 ins(%x : memref<?x3x?xf32>) outs(%y : memref<?x?x3xf32>) maps [#ikj, #ijk] config <loops, lane_loop = 2, lanes = 1> {
  ^bb0(%v: f32):
    ssm.yield %v : f32
  }
  return
}

// -----

// Back, with a cast: a piece is read by vectors of 16 bytes, and a channel written by vectors of its own.
// CHECK-LABEL: func.func private @kernel_part(
// CHECK: @device::@kernel_part_apart grid
// CHECK: @device::@kernel_part_any_apart grid
// CHECK-NOT: interleaved
// CHECK: gpu.func @kernel_part_apart(
// CHECK-SAME: memref<1x4096xi8, 3>
// CHECK: vector.load %{{.*}} {alignment = 16 : i64} : memref<?x?x3xi8>, vector<16xi8>
// CHECK: vector.store %{{.*}} : memref<1x4096xi8, 3>, vector<16xi8>
// CHECK: gpu.barrier
// CHECK-COUNT-4: memref.load %{{.*}} : memref<1x4096xi8, 3>
// CHECK: arith.sitofp %{{.*}} : vector<4xi8> to vector<4xf32>
// CHECK: vector.store %{{.*}} {alignment = 16 : i64} : memref<?x3x?xf32>, vector<4xf32>

#ijk = affine_map<(d0, d1, d2) -> (d0, d1, d2)>
#ikj = affine_map<(d0, d1, d2) -> (d0, d2, d1)>
func.func private @kernel_part(%table: !llvm.ptr, %context: !llvm.ptr, %xp: !llvm.ptr {llvm.noalias}, %n: index, %m: index, %yp: !llvm.ptr {llvm.noalias}) attributes {ssm.kernel} {
  %c0 = arith.constant 0 : index
  %x = ssm.arena_view %xp[%c0] (%n, %m) : !llvm.ptr -> memref<?x?x3xi8>
  %y = ssm.arena_view %yp[%c0] (%n, %m) : !llvm.ptr -> memref<?x3x?xf32>
  ssm.kernel loops 3 ins(%x : memref<?x?x3xi8>) outs(%y : memref<?x3x?xf32>) maps [#ikj, #ijk] config <loops, lane_loop = 2, lanes = 1> {
  ^bb0(%v: i8):
    %f = arith.sitofp %v : i8 to f32
    ssm.yield %f : f32
  }
  return
}
