// RUN: ssm-opt %s -ssm-emit-device-kernels=chip=sm_90a -canonicalize -cse -ssm-verify-sync | FileCheck %s

// Several sequences in a row: a flag passes to the warps that step through time as a number beside
// the other values that have no state, and selects 0 as the state.

// CHECK: ssm.launch {{.*}} @device::@scan_staged
// CHECK-LABEL: gpu.func @scan_staged
// CHECK: memref<2x1x64x4x20xf32, 3>
// CHECK: vector.load {{.*}} : memref<2x1x64x4x20xf32, 3>, vector<2xf32>
// CHECK: arith.cmpf une
// CHECK: arith.select %{{.*}}, %{{.*}}, %{{.*}} : f32
// The other role.
// CHECK: arith.cmpi ne, %{{.*}} : i8
// CHECK: arith.select
// CHECK: vector.store {{.*}} : memref<2x1x64x4x20xf32, 3>
func.func private @scan(%table: !llvm.ptr, %context: !llvm.ptr, %px: !llvm.ptr, %pb: !llvm.ptr, %ph: !llvm.ptr, %pe: !llvm.ptr, %pf: !llvm.ptr, %py: !llvm.ptr, %m: index, %n: index, %d: index) attributes {ssm.kernel} {
  %c0 = arith.constant 0 : index
  %x = ssm.arena_view %px[%c0] (%m, %n, %d) : !llvm.ptr -> memref<?x?x?xbf16>
  %b = ssm.arena_view %pb[%c0] (%m, %n) : !llvm.ptr -> memref<?x?x16xbf16>
  %h = ssm.arena_view %ph[%c0] (%m, %d) : !llvm.ptr -> memref<?x?x16xf32>
  %e = ssm.arena_view %pe[%c0] (%m, %d) : !llvm.ptr -> memref<?x?x16xf32>
  %start = ssm.arena_view %pf[%c0] (%m, %n) : !llvm.ptr -> memref<?x?xi8>
  %y = ssm.arena_view %py[%c0] (%m, %n, %d) : !llvm.ptr -> memref<?x?x?xbf16>
  ssm.kernel loops 4 time 1 ins(%x, %b, %start : memref<?x?x?xbf16>, memref<?x?x16xbf16>, memref<?x?xi8>) inits(%h : memref<?x?x16xf32>)
      outs(%e, %y : memref<?x?x16xf32>, memref<?x?x?xbf16>)
      maps [affine_map<(b, t, d, n) -> (b, t, d)>, affine_map<(b, t, d, n) -> (b, t, n)>, affine_map<(b, t, d, n) -> (b, t)>, affine_map<(b, t, d, n) -> (b, d, n)>,
            affine_map<(b, t, d, n) -> (b, d, n)>, affine_map<(b, t, d, n) -> (b, t, d)>] {
    ^bb0(%v: bf16, %w: bf16, %flag: i8, %before: f32):
      %none = arith.constant 0 : i8
      %zero = arith.constant 0.0 : f32
      %starts = arith.cmpi ne, %flag, %none : i8
      %c = arith.select %starts, %zero, %before : f32
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
