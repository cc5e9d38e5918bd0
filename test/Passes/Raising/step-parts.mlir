// RUN: ssm-opt %s -split-input-file -ssm-raise-kernels -canonicalize -ssm-raise-scans -canonicalize -cse | FileCheck %s

#dk = affine_map<(d, k) -> (d, k)>
#d = affine_map<(d, k) -> (d)>

// The window of a convolution as a carry: each of its columns is one.
// CHECK-LABEL: func.func @window
// CHECK-SAME: %[[H0:[^:]*]]: tensor<4x2xf32>
// CHECK-DAG: %[[FIRST:.*]] = tensor.extract_slice %[[H0]][0, 0] [4, 1] [1, 1] : tensor<4x2xf32> to tensor<4xf32>
// CHECK-DAG: %[[SECOND:.*]] = tensor.extract_slice %[[H0]][0, 1] [4, 1] [1, 1] : tensor<4x2xf32> to tensor<4xf32>
// CHECK: %[[K:.*]]:3 = ssm.kernel loops 2 time 0
// CHECK-SAME: inits(%[[FIRST]], %[[SECOND]] : tensor<4xf32>, tensor<4xf32>)
// CHECK: ^bb0({{.*}}, %[[C0:[^ ]*]]: f32, %[[C1:[^ ]*]]: f32):
// CHECK-NOT: ssm.reduce
// CHECK: ssm.yield %[[C1]], %{{.*}}, %{{.*}} : f32, f32, f32
// CHECK: %[[PART:.*]] = tensor.insert_slice %[[K]]#0 into %{{.*}}[0, 0] [4, 1] [1, 1] : tensor<4xf32> into tensor<4x2xf32>
// CHECK: tensor.insert_slice %[[K]]#1 into %[[PART]][0, 1] [4, 1] [1, 1] : tensor<4xf32> into tensor<4x2xf32>
// CHECK-NOT: ssm.scan
func.func @window(%h0: tensor<4x2xf32>, %x: tensor<?x4xf32>, %w: tensor<4x3xf32>) -> (tensor<4x2xf32>, tensor<?x4xf32>) {
  %c0 = arith.constant 0 : index
  %zero = arith.constant 0.0 : f32
  %t = tensor.dim %x, %c0 : tensor<?x4xf32>
  %ey = tensor.empty(%t) : tensor<?x4xf32>
  %h, %y = ssm.scan length(%t) carries(%h0 : tensor<4x2xf32>) ins(%x : tensor<?x4xf32>) outs(%ey : tensor<?x4xf32>)
      input_axes [0] output_axes [0] input_reversed [false] output_reversed [false] {
    ^bb0(%s: tensor<4x2xf32>, %xt: tensor<4xf32>):
      %column = tensor.expand_shape %xt [[0, 1]] output_shape [4, 1] : tensor<4xf32> into tensor<4x1xf32>
      %e = tensor.empty() : tensor<4x3xf32>
      %1 = tensor.insert_slice %s into %e[0, 0] [4, 2] [1, 1] : tensor<4x2xf32> into tensor<4x3xf32>
      %2 = tensor.insert_slice %column into %1[0, 2] [4, 1] [1, 1] : tensor<4x1xf32> into tensor<4x3xf32>
      %next = tensor.extract_slice %2[0, 1] [4, 2] [1, 1] : tensor<4x3xf32> to tensor<4x2xf32>
      %f = tensor.empty() : tensor<4xf32>
      %z = linalg.fill ins(%zero : f32) outs(%f : tensor<4xf32>) -> tensor<4xf32>
      %3 = linalg.generic {indexing_maps = [#dk, #dk, #d], iterator_types = ["parallel", "reduction"]}
          ins(%2, %w : tensor<4x3xf32>, tensor<4x3xf32>) outs(%z : tensor<4xf32>) {
        ^bb0(%p: f32, %q: f32, %o: f32):
          %m = arith.mulf %p, %q : f32
          %g = arith.addf %m, %o : f32
          linalg.yield %g : f32
      } -> tensor<4xf32>
      ssm.yield %next, %3 : tensor<4x2xf32>, tensor<4xf32>
  } -> tensor<4x2xf32>, tensor<?x4xf32>
  return %h, %y : tensor<4x2xf32>, tensor<?x4xf32>
}

// -----

// A window whose recurrence follows it in the same step is like an input of that.
// CHECK-LABEL: func.func @window_and_state
// CHECK: ssm.kernel loops 2 time 0
// CHECK-SAME: inits(%{{.*}}, %{{.*}} : tensor<4xf32>, tensor<4xf32>)
// CHECK-SAME: transition <diagonal>
// CHECK: math.exp %{{.*}} fastmath<afn>
// CHECK-NOT: ssm.scan
func.func @window_and_state(%w0: tensor<4xf32>, %h0: tensor<4xf32>, %x: tensor<?x4xf32>) -> tensor<4xf32> {
  %c0 = arith.constant 0 : index
  %t = tensor.dim %x, %c0 : tensor<?x4xf32>
  %w, %h = ssm.scan length(%t) carries(%w0, %h0 : tensor<4xf32>, tensor<4xf32>) ins(%x : tensor<?x4xf32>)
      input_axes [0] output_axes [] input_reversed [false] output_reversed [] {
    ^bb0(%before: tensor<4xf32>, %s: tensor<4xf32>, %xt: tensor<4xf32>):
      %e = tensor.empty() : tensor<4xf32>
      %1 = linalg.exp ins(%xt : tensor<4xf32>) outs(%e : tensor<4xf32>) -> tensor<4xf32>
      %2 = linalg.mul ins(%1, %s : tensor<4xf32>, tensor<4xf32>) outs(%e : tensor<4xf32>) -> tensor<4xf32>
      %3 = linalg.tanh ins(%before : tensor<4xf32>) outs(%e : tensor<4xf32>) -> tensor<4xf32>
      %4 = linalg.add ins(%2, %3 : tensor<4xf32>, tensor<4xf32>) outs(%e : tensor<4xf32>) -> tensor<4xf32>
      ssm.yield %xt, %4 : tensor<4xf32>, tensor<4xf32>
  } -> tensor<4xf32>, tensor<4xf32>
  return %h : tensor<4xf32>
}

// -----

#d = affine_map<(d) -> (d)>

// Two halves of a state; the sum over both has one loop.
// CHECK-LABEL: func.func @halves
// CHECK: %[[K:.*]]:3 = ssm.kernel loops 2 time 0
// CHECK-SAME: inits(%{{.*}}, %{{.*}} : tensor<4xf32>, tensor<4xf32>)
// CHECK: ssm.reduce addf %{{.*}} over [1]
// CHECK-NOT: ssm.reduce
// CHECK-NOT: ssm.scan
func.func @halves(%h0: tensor<8xf32>, %x: tensor<?x8xf32>) -> (tensor<8xf32>, tensor<?xf32>) {
  %c0 = arith.constant 0 : index
  %zero = arith.constant 0.0 : f32
  %t = tensor.dim %x, %c0 : tensor<?x8xf32>
  %ey = tensor.empty(%t) : tensor<?xf32>
  %h, %y = ssm.scan length(%t) carries(%h0 : tensor<8xf32>) ins(%x : tensor<?x8xf32>) outs(%ey : tensor<?xf32>)
      input_axes [0] output_axes [0] input_reversed [false] output_reversed [false] {
    ^bb0(%s: tensor<8xf32>, %xt: tensor<8xf32>):
      %a = tensor.extract_slice %s[0] [4] [1] : tensor<8xf32> to tensor<4xf32>
      %b = tensor.extract_slice %s[4] [4] [1] : tensor<8xf32> to tensor<4xf32>
      %e = tensor.empty() : tensor<8xf32>
      %1 = tensor.insert_slice %b into %e[0] [4] [1] : tensor<4xf32> into tensor<8xf32>
      %2 = tensor.insert_slice %a into %1[4] [4] [1] : tensor<4xf32> into tensor<8xf32>
      %3 = linalg.mul ins(%2, %xt : tensor<8xf32>, tensor<8xf32>) outs(%e : tensor<8xf32>) -> tensor<8xf32>
      %4 = linalg.add ins(%3, %s : tensor<8xf32>, tensor<8xf32>) outs(%e : tensor<8xf32>) -> tensor<8xf32>
      %f = tensor.empty() : tensor<f32>
      %z = linalg.fill ins(%zero : f32) outs(%f : tensor<f32>) -> tensor<f32>
      %5 = linalg.reduce ins(%4 : tensor<8xf32>) outs(%z : tensor<f32>) dimensions = [0]
        (%p: f32, %o: f32) {
          %g = arith.addf %p, %o : f32
          linalg.yield %g : f32
        }
      ssm.yield %4, %5 : tensor<8xf32>, tensor<f32>
  } -> tensor<8xf32>, tensor<?xf32>
  return %h, %y : tensor<8xf32>, tensor<?xf32>
}

// -----

// What a step puts together to yield it goes to parts of the out.
// CHECK-LABEL: func.func @joined
// CHECK: %[[E:.*]] = tensor.empty(%{{.*}}) : tensor<?x6xf32>
// CHECK-DAG: %[[LEFT:.*]] = tensor.extract_slice %[[E]][0, 0] [%{{.*}}, 2] [1, 1]
// CHECK-DAG: %[[RIGHT:.*]] = tensor.extract_slice %[[E]][0, 2] [%{{.*}}, 4] [1, 1]
// CHECK: ssm.kernel
// CHECK-SAME: outs(%{{.*}}, %[[LEFT]], %[[RIGHT]] :
// CHECK-NOT: ssm.scan
func.func @joined(%h0: tensor<4xf32>, %x: tensor<?x4xf32>, %u: tensor<?x2xf32>) -> tensor<?x6xf32> {
  %c0 = arith.constant 0 : index
  %t = tensor.dim %x, %c0 : tensor<?x4xf32>
  %ey = tensor.empty(%t) : tensor<?x6xf32>
  %h, %y = ssm.scan length(%t) carries(%h0 : tensor<4xf32>) ins(%x, %u : tensor<?x4xf32>, tensor<?x2xf32>) outs(%ey : tensor<?x6xf32>)
      input_axes [0, 0] output_axes [0] input_reversed [false, false] output_reversed [false] {
    ^bb0(%s: tensor<4xf32>, %xt: tensor<4xf32>, %ut: tensor<2xf32>):
      %e4 = tensor.empty() : tensor<4xf32>
      %1 = linalg.add ins(%s, %xt : tensor<4xf32>, tensor<4xf32>) outs(%e4 : tensor<4xf32>) -> tensor<4xf32>
      %e = tensor.empty() : tensor<6xf32>
      %2 = tensor.insert_slice %ut into %e[0] [2] [1] : tensor<2xf32> into tensor<6xf32>
      %3 = tensor.insert_slice %1 into %2[2] [4] [1] : tensor<4xf32> into tensor<6xf32>
      ssm.yield %1, %3 : tensor<4xf32>, tensor<6xf32>
  } -> tensor<4xf32>, tensor<?x6xf32>
  return %y : tensor<?x6xf32>
}
