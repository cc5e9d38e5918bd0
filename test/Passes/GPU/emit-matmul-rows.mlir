// RUN: ssm-opt %s "-ssm-emit-device-kernels=chip=sm_90a" -canonicalize -cse -ssm-verify-sync | FileCheck %s --check-prefix=WG
// RUN: ssm-opt %s "-ssm-emit-device-kernels=chip=sm_90a" | sed '/wgmma.wait.group/d' | not ssm-opt -canonicalize -cse -ssm-verify-sync 2>&1 | FileCheck %s --check-prefix=PRODUCTS
// RUN: ssm-opt %s "-ssm-emit-device-kernels=chip=sm_90" -canonicalize -cse -ssm-verify-sync | FileCheck %s --check-prefix=MMA

// Up to 128 rows by warpgroups: 64 lines of the weights are the rows of what is multiplied. Blocks of
// a cluster share out the depth: three along axis 1 for each of 40 tiles. Weights of four stages
// are asked for before the kernel waits; sums of all blocks are added up where they lie.
// WG-LABEL: func.func private @kernel_matmul_16(
// WG: ssm.tensor_map %{{.*}} box [64, 64] swizzle 128
// WG: ssm.tensor_map %{{.*}} box [16, 64] swizzle 128
// WG: ssm.launch %{{.*}}, %{{.*}} @device::@kernel_matmul_16_16_rows grid(%c40, %c3, %c1) threads %c256
// WG: gpu.func @kernel_matmul_16_16_rows(
// WG-SAME: ssm.flags = 9
// WG: nvvm.mbarrier.init
// WG-COUNT-4: nvvm.cp.async.bulk.tensor
// WG-NOT: nvvm.cp.async.bulk.tensor
// WG: nvvm.griddepcontrol wait
// WG: scf.for
// WG-COUNT-2: nvvm.cp.async.bulk.tensor
// WG: scf.for
// WG-COUNT-4: nvvm.wgmma.mma_async
// WG: nvvm.wgmma.wait.group.sync.aligned 0
// WG: nvvm.mbarrier.arrive
// WG: nvvm.cluster.arrive
// WG: nvvm.cluster.wait
// WG-COUNT-4: nvvm.mapa
// WG: nvvm.cluster.wait
// WG: vector.store
// PRODUCTS: error: 'nvvm.cp.async.bulk.tensor.shared.cluster.global' op writes shared memory that a product may have to read yet

// More rows, up to 64: few tiles, so blocks share out the depth and a second kernel adds up their
// sums, in order. The tile of up to 16 rows has four warps side by side.
// MMA-LABEL: func.func private @kernel_matmul_16(
// MMA: %[[PARTS:.*]] = ssm.pointer %{{.*}} : memref<?xi64> -> !llvm.ptr
// MMA: ssm.launch %{{.*}}, %{{.*}} @device::@kernel_matmul_16_16_rows grid(%c40, %[[COUNT:c[0-9]+]], %c1) threads %c128 args({{.*}}, %[[PARTS]], %[[COUNT]]
// MMA: ssm.launch %{{.*}}, %{{.*}} @device::@kernel_matmul_16_16_rows_sums grid(%c40, %c2, %c1) threads %c128 args({{.*}}, %[[PARTS]], %[[COUNT]]
// Copies of the weights, seven stages of them, are asked for before the kernel waits.
// MMA: gpu.func @kernel_matmul_16_16_rows(
// MMA-SAME: ssm.flags = 1
// MMA-NOT: nvvm.griddepcontrol wait
// MMA: gpu.block_id y
// MMA-COUNT-28: nvvm.cp.async.shared.global
// MMA-NOT: nvvm.cp.async
// MMA: nvvm.griddepcontrol wait
// MMA: nvvm.cp.async.shared.global
// MMA: nvvm.cp.async.commit.group
// MMA: nvvm.mma.sync
// MMA: gpu.func @kernel_matmul_16_16_rows_sums(
// MMA: nvvm.griddepcontrol wait
// MMA-COUNT-8: llvm.load %{{.*}} {alignment = 16 : i64} : !llvm.ptr -> vector<4xf32>
// MMA: llvm.inline_asm
// MMA: gpu.barrier
// MMA: arith.truncf
// MMA: vector.store

#mk = affine_map<(m, n, k) -> (m, k)>
#nk = affine_map<(m, n, k) -> (n, k)>
#mn = affine_map<(m, n, k) -> (m, n)>
func.func private @kernel_matmul_16(%table: !llvm.ptr, %context: !llvm.ptr, %xp: !llvm.ptr {llvm.noalias}, %wp: !llvm.ptr {llvm.noalias, ssm.weight}, %yp: !llvm.ptr {llvm.noalias}) attributes {ssm.kernel} {
  %c0 = arith.constant 0 : index
  %x = ssm.arena_view %xp[%c0] () : !llvm.ptr -> memref<16x5120xbf16>
  %w = ssm.arena_view %wp[%c0] () : !llvm.ptr -> memref<2560x5120xbf16>
  %y = ssm.arena_view %yp[%c0] () : !llvm.ptr -> memref<16x2560xbf16>
  ssm.kernel loops 3 ins(%x, %w : memref<16x5120xbf16>, memref<2560x5120xbf16>) outs(%y : memref<16x2560xbf16>) maps [#mk, #nk, #mn] config <loops, lane_loop = 0, lanes = 1> {
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
