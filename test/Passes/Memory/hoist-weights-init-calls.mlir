// RUN: ssm-opt %s -ssm-hoist-weights-init -canonicalize -cse | FileCheck %s

// Weights that come as arguments: one function computes what follows from them, for
// every call. Calls with one weight share the result. The weight itself is then handed
// on no longer, and the argument that is a size has another number.
// CHECK-DAG: ssm.weight @derived : tensor<8x4xf32> length 128 init @weights_init_0
// CHECK-DAG: ssm.weight @derived_0 : tensor<8x4xf32> length 128 init @weights_init_0
// CHECK-LABEL: func.func @main(
// CHECK-NOT: ssm.load_weight @w
// CHECK: %[[D0:.*]] = ssm.load_weight @derived :
// CHECK: call @repeated(%{{.*}}, %{{.*}}, %[[D0]])
// CHECK: %[[D1:.*]] = ssm.load_weight @derived_0 :
// CHECK: call @repeated(%{{.*}}, %{{.*}}, %[[D1]])
// CHECK: call @repeated(%{{.*}}, %{{.*}}, %[[D0]])
ssm.weight @w0 : tensor<4x8xf32> length 128 file "m" at 0
ssm.weight @w1 : tensor<4x8xf32> length 128 file "m" at 128
func.func @main(%x: tensor<?x4xf32>, %n: index) -> tensor<?x4xf32> {
  %w0 = ssm.load_weight @w0 : tensor<4x8xf32>
  %w1 = ssm.load_weight @w1 : tensor<4x8xf32>
  %a = call @repeated(%x, %w0, %n) : (tensor<?x4xf32>, tensor<4x8xf32>, index) -> tensor<?x4xf32>
  %b = call @repeated(%a, %w1, %n) : (tensor<?x4xf32>, tensor<4x8xf32>, index) -> tensor<?x4xf32>
  %c = call @repeated(%b, %w0, %n) : (tensor<?x4xf32>, tensor<4x8xf32>, index) -> tensor<?x4xf32>
  return %c : tensor<?x4xf32>
}
// CHECK-LABEL: func.func private @repeated(
// CHECK-SAME: %{{.*}}: tensor<?x4xf32>, %{{.*}}: index, %[[D:[^:]*]]: tensor<8x4xf32> {bufferization.writable = false}) -> (tensor<?x4xf32> {ssm.sizes = array<i64: 1>})
// CHECK-NOT: linalg.transpose
// CHECK: linalg.generic {{.*}} ins(%{{.*}}, %[[D]]
func.func private @repeated(%x: tensor<?x4xf32>, %w: tensor<4x8xf32>, %n: index) -> (tensor<?x4xf32> {ssm.sizes = array<i64: 2>}) attributes {ssm.repeated} {
  %e = tensor.empty() : tensor<8x4xf32>
  %t = linalg.transpose ins(%w : tensor<4x8xf32>) outs(%e : tensor<8x4xf32>) permutation = [1, 0]
  %f = tensor.empty(%n) : tensor<?x4xf32>
  %y = linalg.generic {indexing_maps = [affine_map<(i, j, k) -> (i, j)>, affine_map<(i, j, k) -> (k, j)>, affine_map<(i, j, k) -> (i, j)>],
                       iterator_types = ["parallel", "parallel", "reduction"]}
      ins(%x, %t : tensor<?x4xf32>, tensor<8x4xf32>) outs(%f : tensor<?x4xf32>) {
  ^bb0(%a: f32, %b: f32, %o: f32):
    %s = arith.addf %a, %b : f32
    linalg.yield %s : f32
  } -> tensor<?x4xf32>
  return %y : tensor<?x4xf32>
}
// CHECK: module @weights_init attributes {
// CHECK-SAME: ssm.init_entries = [{entry = "weights_init_0", inputs = [@w0], output = @derived}, {entry = "weights_init_0", inputs = [@w1], output = @derived_0}]
// CHECK: func.func @weights_init_0(
// CHECK-NOT: func.func @weights_init_1(
