// RUN: ssm-opt %s -pass-pipeline='builtin.module(func.func(ssm-emit-kernels),canonicalize,cse)' | FileCheck %s

#a = affine_map<(m, n, k) -> (m, k)>
#at = affine_map<(m, n, k) -> (k, m)>
#b = affine_map<(m, n, k) -> (k, n)>
#p = affine_map<(m, n, k) -> (n floordiv 16, k floordiv 2, (n mod 16) * 2 + k mod 2)>
#c = affine_map<(m, n, k) -> (m, n)>

// A pair of the left side is one number of 32 bits in all lanes; a row of pairs of the
// packed right side is one vector, and needs no mask.
// CHECK-LABEL: @packed
// CHECK: scf.for %[[I:[a-z0-9]+]] = %c0 to %c12
// CHECK: %[[R:.*]] = vector.load %arg1[%{{.*}}, %[[I]], %{{.*}}] : memref<2x12x32xbf16>, vector<32xbf16>
// CHECK: %[[L:.*]] = vector.load %arg0[{{.*}}] : memref<4x24xbf16>, vector<2xbf16>
// CHECK: %[[N:.*]] = vector.bitcast %[[L]] : vector<2xbf16> to vector<1xi32>
// CHECK: vector.extract %[[N]][0]
// CHECK: vector.broadcast {{.*}} : i32 to vector<16xi32>
// CHECK: llvm.call_intrinsic "llvm.x86.avx512bf16.dpbf16ps.512"({{.*}}, %[[R]])
// CHECK-NOT: maskedload
func.func @packed(%a: memref<4x24xbf16>, %b: memref<2x12x32xbf16>, %c: memref<4x30xf32>) {
  ssm.kernel loops 3 ins(%a, %b : memref<4x24xbf16>, memref<2x12x32xbf16>) outs(%c : memref<4x30xf32>)
      maps [#a, #p, #c] config <matmul, lane_loop = 1, lanes = 16, tiles = [4, 1, 2]> {
  ^bb0(%x: bf16, %h: bf16):
    %l = arith.extf %x : bf16 to f32
    %r = arith.extf %h : bf16 to f32
    %y = arith.mulf %l, %r : f32
    %s = ssm.reduce addf %y over [2] : f32
    ssm.yield %s : f32
  }
  return
}

// Otherwise two rows are woven into one another; the last one of an odd depth with zeros.
// CHECK-LABEL: @woven
// CHECK: vector.load %arg1
// CHECK: vector.load %arg1
// CHECK: vector.interleave {{.*}} : vector<16xi16>
// CHECK: memref.load %arg0
// CHECK: memref.load %arg0
// CHECK: vector.from_elements {{.*}} : vector<2xbf16>
// CHECK: llvm.call_intrinsic "llvm.x86.avx512bf16.dpbf16ps.512"
// CHECK: vector.load %arg1
// CHECK-NOT: vector.load %arg1
// CHECK: vector.interleave
// CHECK: llvm.call_intrinsic "llvm.x86.avx512bf16.dpbf16ps.512"
func.func @woven(%a: memref<25x8xbf16>, %b: memref<25x16xbf16>, %c: memref<8x16xf32>) {
  ssm.kernel loops 3 ins(%a, %b : memref<25x8xbf16>, memref<25x16xbf16>) outs(%c : memref<8x16xf32>)
      maps [#at, #b, #c] config <matmul, lane_loop = 1, lanes = 16, tiles = [8, 1, 2]> {
  ^bb0(%x: bf16, %h: bf16):
    %l = arith.extf %x : bf16 to f32
    %r = arith.extf %h : bf16 to f32
    %y = arith.mulf %l, %r : f32
    %s = ssm.reduce addf %y over [2] : f32
    ssm.yield %s : f32
  }
  return
}
