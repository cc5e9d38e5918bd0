// RUN: ssm-opt %s "-ssm-emit-device-kernels=chip=sm_90a" -canonicalize -cse -split-input-file -ssm-verify-sync | FileCheck %s

// Up to eight rows of 16-bit numbers: sixteen lines of the weights a block, its eight warps share
// out their depth, on tensor cores. What is asked for before the kernel waits for others is a weight.
// CHECK-LABEL: func.func private @kernel_matmul(
// Long sums for few columns have sixteen warps.
// CHECK: %[[FEW:.*]] = arith.cmpi ule, %{{.*}}, %c8
// CHECK: arith.cmpi ugt, %{{.*}}, %c1024
// CHECK: arith.cmpi ule, %{{.*}}, %c66
// CHECK: scf.if
// CHECK:   ssm.launch %{{.*}}, %{{.*}} @device::@kernel_matmul_narrow grid(%{{.*}}, %c1, %c1) threads %c512
// CHECK:   ssm.launch %{{.*}}, %{{.*}} @device::@kernel_matmul_rows grid(%{{.*}}, %c1, %c1) threads %c256
// CHECK: else
// CHECK: gpu.func @kernel_matmul_rows(
// CHECK-SAME: workgroup(%[[PARTS:.*]] : memref<4x256xf32, 3> {llvm.align = 16 : i64})
// CHECK-SAME: ssm.flags = 1
// CHECK: nvvm.griddepcontrol launch_dependents
// CHECK-COUNT-8: llvm.load %{{.*}} {alignment = 16 : i64} : !llvm.ptr<1> -> vector<8xbf16>
// CHECK: nvvm.cp.async.bulk.prefetch
// CHECK: nvvm.griddepcontrol wait
// CHECK: vector.load %{{.*}} {alignment = 16 : i64} : memref<?x?xbf16>, vector<8xbf16>
// CHECK: llvm.inline_asm
// CHECK-COUNT-8: nvvm.mma.sync
// CHECK: scf.for
// CHECK: memref.store %{{.*}}, %[[PARTS]][%c0, %{{.*}}]
// CHECK: memref.store %{{.*}}, %[[PARTS]][%c3, %{{.*}}]
// CHECK: gpu.barrier
// CHECK-COUNT-8: memref.load %[[PARTS]]
// CHECK: arith.truncf
// CHECK: memref.store

#mk = affine_map<(m, n, k) -> (m, k)>
#nk = affine_map<(m, n, k) -> (n, k)>
#mn = affine_map<(m, n, k) -> (m, n)>
func.func private @kernel_matmul(%table: !llvm.ptr, %context: !llvm.ptr, %xp: !llvm.ptr {llvm.noalias}, %m: index, %k: index, %wp: !llvm.ptr {llvm.noalias, ssm.weight}, %n: index, %yp: !llvm.ptr {llvm.noalias}) attributes {ssm.kernel} {
  %c0 = arith.constant 0 : index
  %x = ssm.arena_view %xp[%c0] (%m, %k) : !llvm.ptr -> memref<?x?xbf16>
  %w = ssm.arena_view %wp[%c0] (%n, %k) : !llvm.ptr -> memref<?x?xbf16>
  %y = ssm.arena_view %yp[%c0] (%m, %n) : !llvm.ptr -> memref<?x?xbf16>
  ssm.kernel loops 3 ins(%x, %w : memref<?x?xbf16>, memref<?x?xbf16>) outs(%y : memref<?x?xbf16>) maps [#mk, #nk, #mn] config <loops, lane_loop = 0, lanes = 1> {
  ^bb0(%a: bf16, %b: bf16):
    %wideA = arith.extf %a : bf16 to f32
    %wideB = arith.extf %b : bf16 to f32
    %p = arith.mulf %wideA, %wideB : f32
    %s = ssm.reduce addf %p over [2] : f32
    %r = arith.truncf %s : f32 to bf16
    ssm.yield %r : bf16
  }
  return
}

// -----

// A vector times a matrix whose lines lie along the out: four columns a thread, eight lines a warp.
// CHECK: ssm.launch %{{.*}}, %{{.*}} @device::@kernel_matmul_row grid
// CHECK: gpu.func @kernel_matmul_row(
// CHECK-SAME: workgroup(%{{.*}} : memref<4x32xf32, 3> {llvm.align = 16 : i64})
// CHECK: nvvm.griddepcontrol wait
// CHECK-COUNT-4: llvm.load %{{.*}} {alignment = 16 : i64} : !llvm.ptr<1> -> vector<4xf32>
// CHECK: arith.addf %{{.*}}, %{{.*}} fastmath<contract> : vector<4xf32>
// CHECK: gpu.shuffle xor

#k = affine_map<(n, k) -> (k)>
#kn = affine_map<(n, k) -> (k, n)>
#n = affine_map<(n, k) -> (n)>
func.func private @kernel_matmul(%table: !llvm.ptr, %context: !llvm.ptr, %xp: !llvm.ptr, %k: index, %wp: !llvm.ptr, %n: index, %yp: !llvm.ptr) attributes {ssm.kernel} {
  %c0 = arith.constant 0 : index
  %x = ssm.arena_view %xp[%c0] (%k) : !llvm.ptr -> memref<?xf32>
  %w = ssm.arena_view %wp[%c0] (%k, %n) : !llvm.ptr -> memref<?x?xf32>
  %y = ssm.arena_view %yp[%c0] (%n) : !llvm.ptr -> memref<?xf32>
  ssm.kernel loops 2 ins(%x, %w : memref<?xf32>, memref<?x?xf32>) outs(%y : memref<?xf32>) maps [#k, #kn, #n] config <loops, lane_loop = 0, lanes = 1> {
  ^bb0(%a: f32, %b: f32):
    %p = arith.mulf %a, %b : f32
    %s = ssm.reduce addf %p over [1] : f32
    ssm.yield %s : f32
  }
  return
}

// -----

// Several rows of f32: each element of theirs is for four lines, sums are numbers.
// CHECK: gpu.func @kernel_matmul_4_rows(
// CHECK-SAME: workgroup(%{{.*}} : memref<32x32xf32, 3> {llvm.align = 16 : i64})
// CHECK-SAME: nvvm.minctasm = 2
// CHECK-COUNT-4: llvm.load %{{.*}} {alignment = 16 : i64} : !llvm.ptr<1> -> vector<4xf32>
// CHECK-COUNT-8: vector.load %{{.*}} {alignment = 16 : i64} : memref<4x256xf32>, vector<4xf32>
// CHECK: arith.addf %{{.*}}, %{{.*}} fastmath<contract> : f32

#mk = affine_map<(m, n, k) -> (m, k)>
#nk = affine_map<(m, n, k) -> (n, k)>
#mn = affine_map<(m, n, k) -> (m, n)>
func.func private @kernel_matmul_4(%table: !llvm.ptr, %context: !llvm.ptr, %xp: !llvm.ptr, %wp: !llvm.ptr, %yp: !llvm.ptr) attributes {ssm.kernel} {
  %c0 = arith.constant 0 : index
  %x = ssm.arena_view %xp[%c0] () : !llvm.ptr -> memref<4x256xf32>
  %w = ssm.arena_view %wp[%c0] () : !llvm.ptr -> memref<96x256xf32>
  %y = ssm.arena_view %yp[%c0] () : !llvm.ptr -> memref<4x96xf32>
  ssm.kernel loops 3 ins(%x, %w : memref<4x256xf32>, memref<96x256xf32>) outs(%y : memref<4x96xf32>) maps [#mk, #nk, #mn] config <loops, lane_loop = 0, lanes = 1> {
  ^bb0(%a: f32, %b: f32):
    %p = arith.mulf %a, %b : f32
    %s = ssm.reduce addf %p over [2] : f32
    ssm.yield %s : f32
  }
  return
}
