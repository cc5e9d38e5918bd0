// RUN: ssm-opt %s -pass-pipeline='builtin.module(ssm-configure-kernels{vector-bits=512 registers=32 bf16-pairs=true},ssm-pack-operands,canonicalize,cse)' | FileCheck %s

#a = affine_map<(m, n, k) -> (m, k)>
#b = affine_map<(m, n, k) -> (k, n)>
#c = affine_map<(m, n, k) -> (m, n)>

// CHECK-DAG: #[[FROM:.*]] = affine_map<(d0, d1, d2) -> (d1 * 2 + d2 mod 2, d0 * 32 + d2 floordiv 2)>
// CHECK-DAG: #[[PAIRS:.*]] = affine_map<(d0, d1, d2) -> (d1 floordiv 32, d2 floordiv 2, (d1 mod 32) * 2 + d2 mod 2)>

// Neighbours along the depth lie beside each other in the strips; the last row of an odd
// depth beside zeros. The left side is read as it is.
// CHECK-LABEL: func.func @weight
// CHECK: %[[W:.*]] = ssm.load_weight
// CHECK: tensor.insert_slice {{.*}} into tensor<64x64xbf16>
// CHECK: %[[S:.*]] = ssm.kernel loops 3 ins({{.*}} : tensor<64x64xbf16>) outs({{.*}} : tensor<2x32x64xbf16>) maps [#[[FROM]],
// CHECK: ssm.kernel loops 3 ins(%arg0, %[[S]] : {{.*}} maps [{{.*}}, #[[PAIRS]], {{.*}}] config <matmul, lane_loop = 1, lanes = 16, tiles = [12, 2, 2]>
ssm.weight @w : tensor<63x40xbf16> length 5040 file "m" at 0
func.func @weight(%a: tensor<?x63xbf16>, %e: tensor<?x40xf32>) -> tensor<?x40xf32> {
  %w = ssm.load_weight @w : tensor<63x40xbf16>
  %y = ssm.kernel loops 3 ins(%a, %w : tensor<?x63xbf16>, tensor<63x40xbf16>) outs(%e : tensor<?x40xf32>) maps [#a, #b, #c] {
  ^bb0(%x: bf16, %h: bf16):
    %l = arith.extf %x : bf16 to f32
    %r = arith.extf %h : bf16 to f32
    %p = arith.mulf %l, %r : f32
    %s = ssm.reduce addf %p over [2] : f32
    ssm.yield %s : f32
  } -> tensor<?x40xf32>
  return %y : tensor<?x40xf32>
}
