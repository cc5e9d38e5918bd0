// RUN: ssm-opt %s -one-shot-bufferize="bufferize-function-boundaries" | FileCheck %s

#x = affine_map<(t, d) -> (t, d)>
#h = affine_map<(t, d) -> (d)>
#s = affine_map<(t, d) -> ()>

// Carries that nobody reads in the end still need a buffer each.
// CHECK-LABEL: func.func @window
// CHECK-DAG: %[[A:.*]] = memref.alloc() {{.*}} : memref<4xf32>
// CHECK-DAG: %[[B:.*]] = memref.alloc() {{.*}} : memref<4xf32>
// CHECK: ssm.kernel
// CHECK-SAME: outs(%{{.*}}, %{{.*}}, %{{.*}} : memref<4xf32>, memref<4xf32>, memref<?x4xf32>)
func.func @window(%x: tensor<?x4xf32>, %n: index) -> tensor<?x4xf32> {
  %c0 = arith.constant 0.0 : f32
  %e = tensor.empty() : tensor<4xf32>
  %f = tensor.empty(%n) : tensor<?x4xf32>
  %a, %b, %y = ssm.kernel loops 2 time 0 ins(%x : tensor<?x4xf32>) inits(%c0, %c0 : f32, f32)
      outs(%e, %e, %f : tensor<4xf32>, tensor<4xf32>, tensor<?x4xf32>) maps [#x, #s, #s, #h, #h, #x] {
    ^bb0(%v: f32, %p: f32, %q: f32):
      %0 = arith.addf %p, %q : f32
      ssm.yield %q, %v, %0 : f32, f32, f32
  } -> tensor<4xf32>, tensor<4xf32>, tensor<?x4xf32>
  return %y : tensor<?x4xf32>
}
