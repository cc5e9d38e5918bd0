// RUN: ssm-opt %s "-ssm-emit-device-kernels=chip=sm_90a f32-products=tf32" -canonicalize -cse -ssm-verify-sync | FileCheck %s --check-prefix=WG
// RUN: ssm-opt %s "-ssm-emit-device-kernels=chip=sm_80 f32-products=tf32x3" -canonicalize -cse -ssm-verify-sync | FileCheck %s --check-prefix=MMA
// RUN: ssm-opt %s "-ssm-emit-device-kernels=chip=sm_80" -canonicalize -cse | FileCheck %s --check-prefix=IEEE
// RUN: not ssm-opt %s "-ssm-emit-device-kernels=chip=sm_80 f32-products=half" 2>&1 | FileCheck %s --check-prefix=BAD
// Without a wait for copies, barriers, or waits for products, in the kernel of each type.
// RUN: ssm-opt %s "-ssm-emit-device-kernels=chip=sm_80 f32-products=tf32x3" | sed '/cp.async.wait.group/d' | not ssm-opt -canonicalize -cse -ssm-verify-sync 2>&1 | FileCheck %s --check-prefix=COPIES
// RUN: ssm-opt %s "-ssm-emit-device-kernels=chip=sm_80 f32-products=tf32x3" | sed '/gpu.barrier/d' | not ssm-opt -canonicalize -cse -ssm-verify-sync 2>&1 | FileCheck %s --check-prefix=BARRIERS
// RUN: ssm-opt %s "-ssm-emit-device-kernels=chip=sm_90a f32-products=tf32" | sed '/wgmma.wait.group/d' | not ssm-opt -canonicalize -cse -ssm-verify-sync 2>&1 | FileCheck %s --check-prefix=PRODUCTS

// COPIES-COUNT-3: error: 'nvvm.ldmatrix' op reads shared memory that a copy may write yet
// BARRIERS-COUNT-4: error: 'nvvm.ldmatrix' op reads shared memory that another thread may have written, and no barrier is between
// PRODUCTS-COUNT-3: error: {{.*(writes shared memory that a product may have to read yet|reads sums of products that may not be done)}}

// Products of other types than 16-bit floats. Values: test/gpu/matmul.py, on an emulated GPU too.

// BAD: f32-products is 'half', expected ieee, tf32 or tf32x3
// FAULT: error:

// Bytes whose rows lie along the depth: by warpgroups, which multiply unsigned and signed ones.
// WG: gpu.func @kernel_bytes_128x64
// WG: nvvm.wgmma.mma_async {{.*}} <m = 64, n = 64, k = 32>, {{.*}} A[<u8>, {{.*}}, <row>], B[<s8>, {{.*}}, <col>]
// MMA: gpu.func @kernel_bytes(
// MMA: nvvm.cp.async.shared.global
// MMA: nvvm.mma.sync {{.*}}multiplicandAPtxType = #nvvm.mma_type<u8>, multiplicandBPtxType = #nvvm.mma_type<s8>, shape = #nvvm.shape<m = 16, n = 8, k = 32>

// Across it: matrices of pairs are turned, and bytes put together.
// WG-NOT: gpu.func @kernel_turned_bytes_128x64
// WG: gpu.func @kernel_turned_bytes(
// WG: nvvm.ldmatrix {{.*}} layout = #nvvm.mma_layout<col>
// WG: nvvm.prmt
// WG: nvvm.mma.sync
// MMA: gpu.func @kernel_turned_bytes(
// MMA: nvvm.prmt
// MMA: nvvm.mma.sync

// 8-bit floats: sums of 128 products are tensor cores', those of all are f32.
// WG: gpu.func @kernel_floats_128x64
// WG: scf.for
// WG: nvvm.wgmma.mma_async {{.*}} <m = 64, n = 64, k = 32>, D[{{.*}}<zero>{{.*}} A[<e4m3>, {{.*}}, <row>], B[<e5m2>, {{.*}}, <col>]
// WG-COUNT-3: nvvm.wgmma.mma_async {{.*}}<one>
// WG: nvvm.wgmma.wait.group.sync.aligned 0
// WG: nvvm.mbarrier.arrive
// WG: arith.addf
// Elsewhere they become f16.
// WG: gpu.func @kernel_floats_any
// WG: arith.extf {{.*}} : f8E4M3FN to f16
// MMA: gpu.func @kernel_floats_any
// MMA: nvvm.mma.sync {{.*}} (vector<2xf16>, vector<2xf16>, f32)

// f32 as it is, and in two parts: three products each.
// WG: gpu.func @kernel_f32_128x64
// WG: nvvm.wgmma.mma_async {{.*}} <m = 64, n = 64, k = 8>, {{.*}} A[<tf32>, {{.*}}, <row>], B[<tf32>, {{.*}}, <col>]
// MMA: gpu.func @kernel_f32(
// MMA: arith.andi
// MMA: arith.subf
// MMA-COUNT-3: nvvm.mma.sync {{.*}}#nvvm.mma_type<tf32>
// MMA: arith.addf
// IEEE: gpu.func @kernel_f32(
// IEEE-NOT: nvvm.mma.sync
// IEEE: arith.mulf

#mk = affine_map<(m, n, k) -> (m, k)>
#nk = affine_map<(m, n, k) -> (n, k)>
#kn = affine_map<(m, n, k) -> (k, n)>
#mn = affine_map<(m, n, k) -> (m, n)>
func.func private @kernel_bytes(%table: !llvm.ptr, %context: !llvm.ptr, %ap: !llvm.ptr {llvm.noalias}, %bp: !llvm.ptr {llvm.noalias}, %yp: !llvm.ptr {llvm.noalias}) attributes {ssm.kernel} {
  %c0 = arith.constant 0 : index
  %a = ssm.arena_view %ap[%c0] () : !llvm.ptr -> memref<128x2048xi8>
  %b = ssm.arena_view %bp[%c0] () : !llvm.ptr -> memref<64x2048xi8>
  %y = ssm.arena_view %yp[%c0] () : !llvm.ptr -> memref<128x64xi32>
  ssm.kernel loops 3 ins(%a, %b : memref<128x2048xi8>, memref<64x2048xi8>) outs(%y : memref<128x64xi32>) maps [#mk, #nk, #mn] config <loops, lane_loop = 0, lanes = 1> {
  ^bb0(%x: i8, %z: i8):
    %0 = arith.extui %x : i8 to i32
    %1 = arith.extsi %z : i8 to i32
    %2 = arith.muli %0, %1 : i32
    %3 = ssm.reduce addi %2 over [2] : i32
    ssm.yield %3 : i32
  }
  return
}
func.func private @kernel_turned_bytes(%table: !llvm.ptr, %context: !llvm.ptr, %ap: !llvm.ptr {llvm.noalias}, %bp: !llvm.ptr {llvm.noalias}, %yp: !llvm.ptr {llvm.noalias}) attributes {ssm.kernel} {
  %c0 = arith.constant 0 : index
  %a = ssm.arena_view %ap[%c0] () : !llvm.ptr -> memref<128x2048xi8>
  %b = ssm.arena_view %bp[%c0] () : !llvm.ptr -> memref<2048x64xi8>
  %y = ssm.arena_view %yp[%c0] () : !llvm.ptr -> memref<128x64xi32>
  ssm.kernel loops 3 ins(%a, %b : memref<128x2048xi8>, memref<2048x64xi8>) outs(%y : memref<128x64xi32>) maps [#mk, #kn, #mn] config <loops, lane_loop = 0, lanes = 1> {
  ^bb0(%x: i8, %z: i8):
    %0 = arith.extui %x : i8 to i32
    %1 = arith.extsi %z : i8 to i32
    %2 = arith.muli %0, %1 : i32
    %3 = ssm.reduce addi %2 over [2] : i32
    ssm.yield %3 : i32
  }
  return
}
func.func private @kernel_floats(%table: !llvm.ptr, %context: !llvm.ptr, %ap: !llvm.ptr {llvm.noalias}, %bp: !llvm.ptr {llvm.noalias}, %yp: !llvm.ptr {llvm.noalias}) attributes {ssm.kernel} {
  %c0 = arith.constant 0 : index
  %a = ssm.arena_view %ap[%c0] () : !llvm.ptr -> memref<128x2048xf8E4M3FN>
  %b = ssm.arena_view %bp[%c0] () : !llvm.ptr -> memref<64x2048xf8E5M2>
  %y = ssm.arena_view %yp[%c0] () : !llvm.ptr -> memref<128x64xf32>
  ssm.kernel loops 3 ins(%a, %b : memref<128x2048xf8E4M3FN>, memref<64x2048xf8E5M2>) outs(%y : memref<128x64xf32>) maps [#mk, #nk, #mn] config <loops, lane_loop = 0, lanes = 1> {
  ^bb0(%x: f8E4M3FN, %z: f8E5M2):
    %0 = arith.extf %x : f8E4M3FN to f32
    %1 = arith.extf %z : f8E5M2 to f32
    %2 = arith.mulf %0, %1 : f32
    %3 = ssm.reduce addf %2 over [2] : f32
    ssm.yield %3 : f32
  }
  return
}
func.func private @kernel_f32(%table: !llvm.ptr, %context: !llvm.ptr, %ap: !llvm.ptr {llvm.noalias}, %bp: !llvm.ptr {llvm.noalias}, %yp: !llvm.ptr {llvm.noalias}) attributes {ssm.kernel} {
  %c0 = arith.constant 0 : index
  %a = ssm.arena_view %ap[%c0] () : !llvm.ptr -> memref<128x2048xf32>
  %b = ssm.arena_view %bp[%c0] () : !llvm.ptr -> memref<64x2048xf32>
  %y = ssm.arena_view %yp[%c0] () : !llvm.ptr -> memref<128x64xf32>
  ssm.kernel loops 3 ins(%a, %b : memref<128x2048xf32>, memref<64x2048xf32>) outs(%y : memref<128x64xf32>) maps [#mk, #nk, #mn] config <loops, lane_loop = 0, lanes = 1> {
  ^bb0(%x: f32, %z: f32):
    %0 = arith.mulf %x, %z : f32
    %1 = ssm.reduce addf %0 over [2] : f32
    ssm.yield %1 : f32
  }
  return
}
