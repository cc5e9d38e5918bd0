// RUN: ssm-opt %s -canonicalize | FileCheck %s

// CHECK-LABEL: func.func @checks
// CHECK-SAME: (%[[C:.*]]: i1)
func.func @checks(%c: i1) {
  %true = arith.constant true
  %false = arith.constant false
  // CHECK-NOT: "holds"
  ssm.check %true, "'a' (Add)", "holds"
  // CHECK: ssm.check %[[C]], "'a' (Add)", "may hold"
  ssm.check %c, "'a' (Add)", "may hold"
  // What never holds is for the run to tell.
  // CHECK: ssm.check %false, "'a' (Add)", "never holds"
  ssm.check %false, "'a' (Add)", "never holds"
  return
}

// An input that no step reads is not sliced.
// CHECK-LABEL: func.func @unused_input
// CHECK-SAME: %[[X:[a-z0-9]*]]: tensor<8x?xf32>
func.func @unused_input(%n: index, %h: tensor<8xf32>, %u: tensor<?x8xf32>, %x: tensor<8x?xf32>)
    -> tensor<8xf32> {
  // CHECK: ssm.scan
  // CHECK-SAME: ins(%[[X]] : tensor<8x?xf32>) input_axes [1] output_axes [] input_reversed [true]
  // CHECK-NEXT: ^bb0(%{{.*}}: tensor<8xf32>, %[[XT:.*]]: tensor<8xf32>):
  %0 = ssm.scan length(%n) carries(%h : tensor<8xf32>)
      ins(%u, %x : tensor<?x8xf32>, tensor<8x?xf32>) input_axes [0, 1] output_axes []
      input_reversed [false, true] output_reversed [] {
  ^bb0(%a: tensor<8xf32>, %ut: tensor<8xf32>, %xt: tensor<8xf32>):
    // CHECK-NEXT: ssm.yield %[[XT]]
    ssm.yield %xt : tensor<8xf32>
  } -> tensor<8xf32>
  return %0 : tensor<8xf32>
}

// A carry that no step changes is the value from outside; the others stay.
// CHECK-LABEL: func.func @invariant_carry
// CHECK-SAME: %[[H:[a-z0-9]*]]: tensor<8xf32>, %[[W:[a-z0-9]*]]: tensor<8xf32>
func.func @invariant_carry(%n: index, %h: tensor<8xf32>, %w: tensor<8xf32>, %e: tensor<?x8xf32>)
    -> (tensor<8xf32>, tensor<8xf32>, tensor<?x8xf32>) {
  // CHECK: %[[R:.*]]:2 = ssm.scan length(%{{.*}}) carries(%[[H]] : tensor<8xf32>) outs
  // CHECK-NEXT: ^bb0(%[[A:.*]]: tensor<8xf32>):
  // CHECK-NEXT: ssm.yield %[[W]], %[[A]]
  %0:3 = ssm.scan length(%n) carries(%w, %h : tensor<8xf32>, tensor<8xf32>)
      outs(%e : tensor<?x8xf32>) input_axes [] output_axes [0]
      input_reversed [] output_reversed [false] {
  ^bb0(%b: tensor<8xf32>, %a: tensor<8xf32>):
    ssm.yield %b, %b, %a : tensor<8xf32>, tensor<8xf32>, tensor<8xf32>
  } -> tensor<8xf32>, tensor<8xf32>, tensor<?x8xf32>
  // CHECK: return %[[W]], %[[R]]#0, %[[R]]#1
  return %0#0, %0#1, %0#2 : tensor<8xf32>, tensor<8xf32>, tensor<?x8xf32>
}

// CHECK-LABEL: func.func @nothing_to_do
func.func @nothing_to_do(%n: index, %h: tensor<8xf32>, %x: tensor<?x8xf32>) -> tensor<8xf32> {
  // CHECK: ssm.scan {{.*}} carries({{.*}}) ins({{.*}}) input_axes [0]
  %0 = ssm.scan length(%n) carries(%h : tensor<8xf32>) ins(%x : tensor<?x8xf32>)
      input_axes [0] output_axes [] input_reversed [false] output_reversed [] {
  ^bb0(%a: tensor<8xf32>, %xt: tensor<8xf32>):
    ssm.yield %xt : tensor<8xf32>
  } -> tensor<8xf32>
  return %0 : tensor<8xf32>
}
