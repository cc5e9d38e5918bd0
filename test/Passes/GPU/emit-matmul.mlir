// RUN: ssm-opt %s "-ssm-emit-device-kernels=chip=sm_90a" -canonicalize -cse -ssm-verify-sync | FileCheck %s --check-prefix=WG
// RUN: ssm-opt %s "-ssm-emit-device-kernels=chip=sm_80" -canonicalize -cse -ssm-verify-sync | FileCheck %s --check-prefix=MMA
// RUN: ssm-opt %s "-ssm-emit-device-kernels=chip=sm_75" -canonicalize -cse -ssm-verify-sync | FileCheck %s --check-prefix=OLD

// By warpgroups: the host makes tensor maps if rows begin at multiples of 16 bytes; one thread asks
// for copies, two warpgroups multiply and run the rest of the region on sums in shared memory.
// WG-LABEL: func.func private @kernel_matmul
// WG: ssm.launch {{.*}} @device::@kernel_matmul_128_rows
// WG: scf.if
// WG: %[[A:.*]] = ssm.tensor_map %{{.*}} box [128, 64] swizzle 128
// WG: %[[B:.*]] = ssm.tensor_map %{{.*}} box [64, 64] swizzle 128
// WG: ssm.launch {{.*}} @device::@kernel_matmul_128x64 {{.*}}, %[[A]], %[[B]] :
// WG: else
// WG: ssm.launch {{.*}} @device::@kernel_matmul_any
// WG: gpu.func @kernel_matmul_128x64({{.*}}, %[[MAP:[a-z0-9]*]]: !llvm.ptr, %{{[a-z0-9]*}}: !llvm.ptr) kernel
// WG-SAME: ssm.flags = 2
// WG-SAME: ssm.tensor_maps = array<i32: 3, 4>
// WG: nvvm.mbarrier.init
// WG: nvvm.fence.mbarrier.init
// WG: gpu.barrier
// WG: nvvm.setmaxregister decrease
// WG: nvvm.mbarrier.try_wait.parity
// WG: nvvm.mbarrier.arrive.expect_tx
// WG: nvvm.cp.async.bulk.tensor.shared.cluster.global {{.*}}, %[[MAP]],
// WG: nvvm.setmaxregister increase
// WG: nvvm.mbarrier.try_wait.parity
// WG-COUNT-4: nvvm.wgmma.mma_async {{.*}} <m = 64, n = 64, k = 16>, {{.*}} A[<bf16>, {{.*}}, <row>], B[<bf16>, {{.*}}, <col>]
// WG: nvvm.wgmma.wait.group.sync.aligned 1
// WG: nvvm.mbarrier.arrive
// WG: nvvm.wgmma.wait.group.sync.aligned 0
// WG: nvvm.barrier id = %{{.*}} number_of_threads = %{{.*}}
// WG: llvm.store {{.*}} vector<2xf32>
// WG: nvvm.barrier id
// WG: arith.truncf
// WG: vector.store {{.*}} vector<8xbf16>

// By mma.sync: all threads copy ahead and multiply.
// MMA: gpu.func @kernel_matmul(
// MMA: nvvm.cp.async.shared.global
// MMA: scf.for
// MMA:   nvvm.cp.async.wait.group 2
// MMA:   gpu.barrier
// MMA:   nvvm.cp.async.shared.global
// MMA:   nvvm.ldmatrix
// MMA:   nvvm.mma.sync
// MMA: nvvm.cp.async.wait.group 0
// MMA: gpu.barrier
// MMA: llvm.store {{.*}} vector<2xf32>
// MMA: gpu.barrier
// MMA: vector.store {{.*}} vector<8xbf16>
// Rows that do not begin so are read by elements.
// MMA: gpu.func @kernel_matmul_any(
// MMA: memref.load
// MMA: nvvm.mma.sync

// By multiply-adds.
// OLD: gpu.func @kernel_matmul(
// OLD: scf.for
// OLD:   gpu.barrier
// OLD:   arith.mulf {{.*}} : f32
// OLD: gpu.barrier

#mk = affine_map<(m, n, k) -> (m, k)>
#nk = affine_map<(m, n, k) -> (n, k)>
#mn = affine_map<(m, n, k) -> (m, n)>
func.func private @kernel_matmul(%table: !llvm.ptr, %context: !llvm.ptr, %ap: !llvm.ptr {llvm.noalias}, %bp: !llvm.ptr {llvm.noalias}, %yp: !llvm.ptr {llvm.noalias}) attributes {ssm.kernel} {
  %c0 = arith.constant 0 : index
  %a = ssm.arena_view %ap[%c0] () : !llvm.ptr -> memref<128x128xbf16>
  %b = ssm.arena_view %bp[%c0] () : !llvm.ptr -> memref<64x128xbf16>
  %y = ssm.arena_view %yp[%c0] () : !llvm.ptr -> memref<128x64xbf16>
  ssm.kernel loops 3 ins(%a, %b : memref<128x128xbf16>, memref<64x128xbf16>) outs(%y : memref<128x64xbf16>) maps [#mk, #nk, #mn] config <loops, lane_loop = 0, lanes = 1> {
  ^bb0(%x: bf16, %z: bf16):
    %0 = arith.extf %x : bf16 to f32
    %1 = arith.extf %z : bf16 to f32
    %2 = arith.mulf %0, %1 : f32
    %3 = ssm.reduce addf %2 over [2] : f32
    %4 = arith.truncf %3 : f32 to bf16
    ssm.yield %4 : bf16
  }
  return
}
