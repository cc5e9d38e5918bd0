// RUN: ssm-opt %s -split-input-file -pass-pipeline='builtin.module(func.func(ssm-decompose-scan))' | FileCheck %s

// The smallest case: slices in, slices out in place, the carry in its own buffer.
// CHECK-LABEL: func.func @plain
// CHECK-SAME: %[[N:[a-z0-9]*]]: index, %[[H0:[a-z0-9]*]]: tensor<8xf32>, %[[X:[a-z0-9]*]]: tensor<?x8xf32>, %[[E:[a-z0-9]*]]: tensor<?x8xf32>
func.func @plain(%n: index, %h0: tensor<8xf32>, %x: tensor<?x8xf32>, %e: tensor<?x8xf32>)
    -> (tensor<8xf32>, tensor<?x8xf32>) {
  // CHECK-NOT: ssm.scan
  // CHECK: scf.for %[[T:.*]] = %c0{{.*}} to %[[N]] step %c1{{.*}} iter_args(%[[H:.*]] = %[[H0]], %[[Y:.*]] = %[[E]])
  // CHECK: %[[XT:.*]] = tensor.extract_slice %[[X]][%[[T]], 0] [1, 8] [1, 1] : tensor<?x8xf32> to tensor<8xf32>
  // CHECK: %[[NEXT:.*]] = linalg.add ins(%[[H]], %[[XT]]
  // CHECK: %[[YN:.*]] = tensor.insert_slice %[[NEXT]] into %[[Y]][%[[T]], 0] [1, 8] [1, 1]
  // CHECK: %[[HN:.*]] = bufferization.materialize_in_destination %[[NEXT]] in %[[H]]
  // CHECK: scf.yield %[[HN]], %[[YN]]
  %0:2 = ssm.scan length(%n) carries(%h0 : tensor<8xf32>) ins(%x : tensor<?x8xf32>)
      outs(%e : tensor<?x8xf32>) input_axes [0] output_axes [0] input_reversed [false]
      output_reversed [false] {
  ^bb0(%h: tensor<8xf32>, %xt: tensor<8xf32>):
    %i = tensor.empty() : tensor<8xf32>
    %s = linalg.add ins(%h, %xt : tensor<8xf32>, tensor<8xf32>) outs(%i : tensor<8xf32>)
        -> tensor<8xf32>
    ssm.yield %s, %s : tensor<8xf32>, tensor<8xf32>
  } -> tensor<8xf32>, tensor<?x8xf32>
  return %0#0, %0#1 : tensor<8xf32>, tensor<?x8xf32>
}

// -----

// Inner axes, backwards: reads and writes start at the end.
// CHECK-LABEL: func.func @reversed
// CHECK-SAME: %[[N:[a-z0-9]*]]: index, %[[X:[a-z0-9]*]]: tensor<4x?x2xf32>, %[[E:[a-z0-9]*]]: tensor<4x2x?xf32>
func.func @reversed(%n: index, %x: tensor<4x?x2xf32>, %e: tensor<4x2x?xf32>)
    -> tensor<4x2x?xf32> {
  // CHECK: scf.for %[[T:.*]] = {{.*}} iter_args(%[[Y:.*]] = %[[E]])
  // CHECK: %[[LAST:.*]] = arith.subi %[[N]], %c1
  // CHECK: %[[AT:.*]] = arith.subi %[[LAST]], %[[T]]
  // CHECK: tensor.extract_slice %[[X]][0, %[[AT]], 0] [4, 1, 2] [1, 1, 1] : tensor<4x?x2xf32> to tensor<4x2xf32>
  // CHECK: tensor.insert_slice %{{.*}} into %[[Y]][0, 0, %[[AT]]] [4, 2, 1] [1, 1, 1] : tensor<4x2xf32> into tensor<4x2x?xf32>
  %0 = ssm.scan length(%n) ins(%x : tensor<4x?x2xf32>) outs(%e : tensor<4x2x?xf32>)
      input_axes [1] output_axes [2] input_reversed [true] output_reversed [true] {
  ^bb0(%xt: tensor<4x2xf32>):
    ssm.yield %xt : tensor<4x2xf32>
  } -> tensor<4x2x?xf32>
  return %0 : tensor<4x2x?xf32>
}

// -----

// Carries that change places are kept apart; one that stays is not written.
// CHECK-LABEL: func.func @carries
func.func @carries(%n: index, %a: tensor<8xf32>, %b: tensor<8xf32>, %c: tensor<4xi64>)
    -> (tensor<8xf32>, tensor<8xf32>, tensor<4xi64>) {
  // CHECK: scf.for {{.*}} iter_args(%[[A:.*]] = %{{.*}}, %[[B:.*]] = %{{.*}}, %[[C:.*]] = %{{.*}})
  // CHECK-DAG: %[[AN:.*]] = bufferization.materialize_in_destination %[[B]] in %[[A]]
  // CHECK-DAG: %[[BN:.*]] = bufferization.materialize_in_destination %[[A]] in %[[B]]
  // CHECK: scf.yield %[[AN]], %[[BN]], %[[C]]
  %0:3 = ssm.scan length(%n) carries(%a, %b, %c : tensor<8xf32>, tensor<8xf32>, tensor<4xi64>)
      input_axes [] output_axes [] input_reversed [] output_reversed [] {
  ^bb0(%x: tensor<8xf32>, %y: tensor<8xf32>, %z: tensor<4xi64>):
    ssm.yield %y, %x, %z : tensor<8xf32>, tensor<8xf32>, tensor<4xi64>
  } -> tensor<8xf32>, tensor<8xf32>, tensor<4xi64>
  return %0#0, %0#1, %0#2 : tensor<8xf32>, tensor<8xf32>, tensor<4xi64>
}

// -----

// A scan in a scan.
// CHECK-LABEL: func.func @nested
func.func @nested(%n: index, %m: index, %x: tensor<?x?xf32>, %h: tensor<f32>) -> tensor<f32> {
  // CHECK-NOT: ssm.scan
  // CHECK: scf.for
  // CHECK: scf.for
  // CHECK-NOT: ssm.scan
  %0 = ssm.scan length(%n) carries(%h : tensor<f32>) ins(%x : tensor<?x?xf32>) input_axes [0]
      output_axes [] input_reversed [false] output_reversed [] {
  ^bb0(%a: tensor<f32>, %row: tensor<?xf32>):
    %1 = ssm.scan length(%m) carries(%a : tensor<f32>) ins(%row : tensor<?xf32>)
        input_axes [0] output_axes [] input_reversed [true] output_reversed [] {
    ^bb0(%b: tensor<f32>, %v: tensor<f32>):
      %e = tensor.empty() : tensor<f32>
      %s = linalg.add ins(%b, %v : tensor<f32>, tensor<f32>) outs(%e : tensor<f32>)
          -> tensor<f32>
      ssm.yield %s : tensor<f32>
    } -> tensor<f32>
    ssm.yield %1 : tensor<f32>
  } -> tensor<f32>
  return %0 : tensor<f32>
}

// -----

// No scan, no change.
// CHECK-LABEL: func.func @other_loops
func.func @other_loops(%n: index, %h: tensor<8xf32>) -> tensor<8xf32> {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  // CHECK: scf.for
  // CHECK-NOT: materialize_in_destination
  %0 = scf.for %i = %c0 to %n step %c1 iter_args(%a = %h) -> tensor<8xf32> {
    scf.yield %a : tensor<8xf32>
  }
  return %0 : tensor<8xf32>
}
