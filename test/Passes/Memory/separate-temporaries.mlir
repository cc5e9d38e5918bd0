// RUN: ssm-opt %s -ssm-separate-temporaries | FileCheck %s

#i = affine_map<(i) -> (i)>

// CHECK-LABEL: func.func @two_writers
// CHECK: %[[E:.*]] = tensor.empty(%{{.*}}) : tensor<?xf32>
// CHECK-NEXT: %[[A:.*]] = linalg.exp {{.*}} outs(%[[E]] :
// CHECK-NEXT: %[[S:.*]] = linalg.dot
// CHECK-NEXT: %[[F:.*]] = tensor.empty(%{{.*}}) : tensor<?xf32>
// CHECK-NEXT: ssm.kernel {{.*}} outs(%[[F]] :
func.func @two_writers(%x: tensor<?xf32>, %n: index, %z: tensor<f32>) -> (tensor<f32>, tensor<?xf32>) {
  %e = tensor.empty(%n) : tensor<?xf32>
  %a = linalg.exp ins(%x : tensor<?xf32>) outs(%e : tensor<?xf32>) -> tensor<?xf32>
  %s = linalg.dot ins(%a, %x : tensor<?xf32>, tensor<?xf32>) outs(%z : tensor<f32>) -> tensor<f32>
  %b = ssm.kernel loops 1 ins(%x : tensor<?xf32>) outs(%e : tensor<?xf32>) maps [#i, #i] {
    ^bb0(%v: f32):
      ssm.yield %v : f32
  } -> tensor<?xf32>
  return %s, %b : tensor<f32>, tensor<?xf32>
}

// Parts of one tensor, and what a loop begins with, stay one.
// CHECK-LABEL: func.func @parts
// CHECK-COUNT-1: tensor.empty
// CHECK-NOT: tensor.empty
func.func @parts(%x: tensor<2xf32>, %n: index) -> tensor<4xf32> {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %e = tensor.empty() : tensor<4xf32>
  %part = tensor.extract_slice %e[0] [2] [1] : tensor<4xf32> to tensor<2xf32>
  %a = linalg.exp ins(%x : tensor<2xf32>) outs(%part : tensor<2xf32>) -> tensor<2xf32>
  %y = tensor.insert_slice %a into %e[0] [2] [1] : tensor<2xf32> into tensor<4xf32>
  %z = scf.for %i = %c0 to %n step %c1 iter_args(%w = %y) -> tensor<4xf32> {
    %b = tensor.insert_slice %x into %w[2] [2] [1] : tensor<2xf32> into tensor<4xf32>
    scf.yield %b : tensor<4xf32>
  }
  return %z : tensor<4xf32>
}
