// RUN: ssm-opt %s -ssm-emit-device-kernels=chip=sm_90a -canonicalize -cse -ssm-verify-sync | FileCheck %s

// A selective scan: y = sum over n of h, h = exp(x) h + b. Blocks have 32 channels; 128 threads
// step through tiles of time, four lanes for each channel; the others compute exp(x)'s x, which
// has no state, stage b, which has no channel, and write sums. The host takes the form where sizes
// and pointers are even, else lanes.

// CHECK-LABEL: func.func private @scan
// CHECK: %[[FITS:.*]] = arith.andi
// CHECK: scf.if
// CHECK: %[[FLAGS:.*]] = ssm.fault
// CHECK: ssm.launch {{.*}} @device::@scan_pairs {{.*}} threads %c256
// CHECK: ssm.launch {{.*}} @device::@scan_staged {{.*}} args({{.*}}, %{{.*}}
// CHECK: ssm.launch {{.*}} @device::@scan {{.*}} threads %c64

// CHECK-LABEL: gpu.func @scan_staged
// CHECK-SAME: ssm.flags = 2
// CHECK: %[[PLANES:.*]] = ssm.arena_view %{{.*}}[%c0] () {{.*}} -> memref<2x1x64x4x12xf32, 3>
// CHECK: %[[STRIPS:.*]] = ssm.arena_view {{.*}} -> memref<2x64x5x4xbf16, 3>
// CHECK: %[[PARTS:.*]] = ssm.arena_view {{.*}} -> memref<2x1x64x144xf32, 3>
// Carries are the start's, or those that the block before has left.
// CHECK: scf.if %{{.*}} {
// CHECK: scf.while
// CHECK: llvm.load {{.*}} atomic syncscope("device") acquire
// CHECK: scf.for
// CHECK: memref.load %[[PLANES]]
// CHECK: vector.load %[[STRIPS]]
// CHECK: math.exp
// CHECK: memref.store %{{.*}}, %[[PARTS]]
// CHECK: gpu.barrier
// CHECK: memref.store %{{.*}} : memref<?x?x16xf32>
// The other role.
// CHECK: } else {
// CHECK: vector.load {{.*}} {alignment = 16 : i64} : memref<?x?x?xbf16>, vector<8xbf16>
// CHECK: vector.store %{{.*}}, %[[PLANES]]
// CHECK: vector.store %{{.*}}, %[[STRIPS]]
// CHECK: vector.load %[[PARTS]]
// CHECK: arith.truncf {{.*}} vector<8xf32> to vector<8xbf16>
// CHECK: vector.store {{.*}} {alignment = 16 : i64} : memref<?x?x?xbf16>, vector<8xbf16>
// CHECK: gpu.barrier
// CHECK: gpu.barrier
// CHECK: llvm.store {{.*}} atomic syncscope("device") release
func.func private @scan(%table: !llvm.ptr, %context: !llvm.ptr, %px: !llvm.ptr, %pb: !llvm.ptr, %ph: !llvm.ptr, %pe: !llvm.ptr, %py: !llvm.ptr, %m: index, %n: index, %d: index) attributes {ssm.kernel} {
  %c0 = arith.constant 0 : index
  %x = ssm.arena_view %px[%c0] (%m, %n, %d) : !llvm.ptr -> memref<?x?x?xbf16>
  %b = ssm.arena_view %pb[%c0] (%m, %n) : !llvm.ptr -> memref<?x?x16xbf16>
  %h = ssm.arena_view %ph[%c0] (%m, %d) : !llvm.ptr -> memref<?x?x16xf32>
  %e = ssm.arena_view %pe[%c0] (%m, %d) : !llvm.ptr -> memref<?x?x16xf32>
  %y = ssm.arena_view %py[%c0] (%m, %n, %d) : !llvm.ptr -> memref<?x?x?xbf16>
  ssm.kernel loops 4 time 1 ins(%x, %b : memref<?x?x?xbf16>, memref<?x?x16xbf16>) inits(%h : memref<?x?x16xf32>)
      outs(%e, %y : memref<?x?x16xf32>, memref<?x?x?xbf16>)
      maps [affine_map<(b, t, d, n) -> (b, t, d)>, affine_map<(b, t, d, n) -> (b, t, n)>, affine_map<(b, t, d, n) -> (b, d, n)>,
            affine_map<(b, t, d, n) -> (b, d, n)>, affine_map<(b, t, d, n) -> (b, t, d)>] {
    ^bb0(%v: bf16, %w: bf16, %c: f32):
      %f = arith.extf %v : bf16 to f32
      %g = arith.extf %w : bf16 to f32
      %k = arith.mulf %f, %g : f32
      %q = math.exp %k : f32
      %p = arith.mulf %q, %c : f32
      %r = arith.addf %p, %g : f32
      %s = ssm.reduce addf %r over [3] : f32
      %z = arith.truncf %s : f32 to bf16
      ssm.yield %r, %z : f32, bf16
  }
  return
}
