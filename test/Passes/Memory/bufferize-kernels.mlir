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

// What a kernel reads by index is not overwritten by it.
// CHECK-LABEL: func.func @reversed
// CHECK-SAME: %[[X:.*]]: memref<8xf32
// CHECK: %[[Y:.*]] = memref.alloc() {{.*}} : memref<8xf32>
// CHECK: ssm.kernel loops 1 outs(%[[Y]] :
// CHECK: memref.load %[[X]]
func.func @reversed(%x: tensor<8xf32> {bufferization.writable = true}) -> tensor<8xf32> {
  %c7 = arith.constant 7 : index
  %y = ssm.kernel loops 1 outs(%x : tensor<8xf32>) maps [affine_map<(i) -> (i)>] {
    ^bb0:
      %i = ssm.index 0
      %j = arith.subi %c7, %i : index
      %v = tensor.extract %x[%j] : tensor<8xf32>
      ssm.yield %v : f32
  } -> tensor<8xf32>
  return %y : tensor<8xf32>
}

// Nor by others before it has read.
// CHECK-LABEL: func.func @read_later
// CHECK-SAME: %[[X:.*]]: memref<8xf32
// CHECK: linalg.fill {{.*}} outs(%alloc
// CHECK: memref.load %[[X]]
func.func @read_later(%x: tensor<8xf32> {bufferization.writable = true}) -> (tensor<8xf32>, tensor<8xf32>) {
  %zero = arith.constant 0.0 : f32
  %c7 = arith.constant 7 : index
  %e = tensor.empty() : tensor<8xf32>
  %z = linalg.fill ins(%zero : f32) outs(%x : tensor<8xf32>) -> tensor<8xf32>
  %y = ssm.kernel loops 1 outs(%e : tensor<8xf32>) maps [affine_map<(i) -> (i)>] {
    ^bb0:
      %i = ssm.index 0
      %j = arith.subi %c7, %i : index
      %v = tensor.extract %x[%j] : tensor<8xf32>
      ssm.yield %v : f32
  } -> tensor<8xf32>
  return %y, %z : tensor<8xf32>, tensor<8xf32>
}
