// RUN: ssm-opt %s -split-input-file -ssm-raise-convs=dense-time -canonicalize | FileCheck %s
// RUN: ssm-opt %s -split-input-file -ssm-raise-convs="dense-time max-taps=2" | FileCheck %s --check-prefix=WIDE
// RUN: ssm-opt %s -split-input-file -ssm-raise-convs --remark-format=emitRemark --remarks-filter=raise 2>&1 | FileCheck %s --check-prefix=CPU

#x = affine_map<(d, t, k) -> (d, t + k)>
#w = affine_map<(d, t, k) -> (d, k)>
#y = affine_map<(d, t, k) -> (d, t)>

// Time is innermost: a recurrence for GPUs alone.
// CHECK-DAG: #[[X:.*]] = affine_map<(d0, d1) -> (d0, d1)>
// CHECK-LABEL: func.func @zeros
// CHECK-SAME: %[[SEQ:.*]]: tensor<8x5xf32>
// CHECK: ssm.kernel loops 2 time 1 ins(%[[SEQ]],
// CHECK-SAME: inits(%cst, %cst : f32, f32) outs({{.*}} : tensor<8xf32>, tensor<8xf32>, tensor<8x5xf32>)
// CHECK-SAME: maps [#[[X]],
// WIDE-LABEL: func.func @zeros
// WIDE: ssm.reduce
// CPU: time is innermost in memory
// CPU-LABEL: func.func @zeros
// CPU: ssm.reduce
func.func @zeros(%seq: tensor<8x5xf32>, %w: tensor<8x3xf32>) -> tensor<8x5xf32> {
  %zero = arith.constant 0.0 : f32
  %e = tensor.empty() : tensor<8x7xf32>
  %z = linalg.fill ins(%zero : f32) outs(%e : tensor<8x7xf32>) -> tensor<8x7xf32>
  %q = tensor.insert_slice %seq into %z[0, 2] [8, 5] [1, 1] : tensor<8x5xf32> into tensor<8x7xf32>
  %s = tensor.empty() : tensor<8x5xf32>
  %y = ssm.kernel loops 3 ins(%q, %w : tensor<8x7xf32>, tensor<8x3xf32>) outs(%s : tensor<8x5xf32>) maps [#x, #w, #y] {
    ^bb0(%v: f32, %u: f32):
      %0 = arith.mulf %v, %u : f32
      %1 = ssm.reduce addf %0 over [2] : f32
      ssm.yield %1 : f32
  } -> tensor<8x5xf32>
  return %y : tensor<8x5xf32>
}
