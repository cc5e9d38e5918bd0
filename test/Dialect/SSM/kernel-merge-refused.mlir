// RUN: ssm-opt %s -test-merge-kernels 2>&1 | FileCheck %s

// Why two kernels are not merged, one function a reason.

#i = affine_map<(i) -> (i)>
#none = affine_map<(i) -> ()>
#ij = affine_map<(i, j) -> (i, j)>
#ji = affine_map<(i, j) -> (j, i)>
#i2 = affine_map<(i, j) -> (i)>
#j2 = affine_map<(i, j) -> (j)>
#diagonal = affine_map<(i) -> (i, i)>
#first = affine_map<(i, j) -> (0, j)>
#half = affine_map<(i, j) -> (i floordiv 2, j)>
#half1 = affine_map<(i) -> (i floordiv 2)>

// CHECK: not merged: a result of the producer is no input of the consumer
func.func @as_init(%x: tensor<?xf32>, %y: tensor<?x?xf32>, %e: tensor<?xf32>) -> tensor<?xf32> {
  %p = ssm.kernel loops 1 ins(%x : tensor<?xf32>) outs(%e : tensor<?xf32>) maps [#i, #i] {
    ^bb0(%a: f32):
      ssm.yield %a : f32
  } -> tensor<?xf32>
  %c = ssm.kernel loops 2 time 0 ins(%y, %p : tensor<?x?xf32>, tensor<?xf32>) inits(%p : tensor<?xf32>) outs(%e : tensor<?xf32>)
      maps [#ij, #j2, #j2, #j2] {
    ^bb0(%a: f32, %b: f32, %h: f32):
      %0 = arith.addf %a, %h : f32
      %1 = arith.addf %0, %b : f32
      ssm.yield %1 : f32
  } -> tensor<?xf32>
  return %c : tensor<?xf32>
}

// CHECK: not merged: the consumer reads carries after the last step
func.func @last(%x: tensor<?x?xf32>, %h0: tensor<?xf32>, %e: tensor<?xf32>) -> tensor<?xf32> {
  %h = ssm.kernel loops 2 time 0 ins(%x : tensor<?x?xf32>) inits(%h0 : tensor<?xf32>) outs(%e : tensor<?xf32>)
      maps [#ij, #j2, #j2] {
    ^bb0(%a: f32, %c: f32):
      %0 = arith.addf %a, %c : f32
      ssm.yield %0 : f32
  } -> tensor<?xf32>
  %y = ssm.kernel loops 1 ins(%h : tensor<?xf32>) outs(%e : tensor<?xf32>) maps [#i, #i] {
    ^bb0(%a: f32):
      ssm.yield %a : f32
  } -> tensor<?xf32>
  return %y : tensor<?xf32>
}

// CHECK: not merged: the consumer reads a recurrence in several ways
func.func @several_ways(%x: tensor<?x?xf32>, %e: tensor<?x?xf32>) -> tensor<?x?xf32> {
  %y = ssm.kernel loops 2 time 0 ins(%x : tensor<?x?xf32>) outs(%e : tensor<?x?xf32>) maps [#ij, #ij] {
    ^bb0(%a: f32):
      ssm.yield %a : f32
  } -> tensor<?x?xf32>
  %z = ssm.kernel loops 2 ins(%y, %y : tensor<?x?xf32>, tensor<?x?xf32>) outs(%e : tensor<?x?xf32>) maps [#ij, #ji, #ij] {
    ^bb0(%a: f32, %b: f32):
      %0 = arith.addf %a, %b : f32
      ssm.yield %0 : f32
  } -> tensor<?x?xf32>
  return %z : tensor<?x?xf32>
}

// CHECK: not merged: the consumer reads the producer at another time
func.func @other_time(%x: tensor<?x?xf32>, %e: tensor<?x?xf32>) -> tensor<?x?xf32> {
  %y = ssm.kernel loops 2 time 0 ins(%x : tensor<?x?xf32>) outs(%e : tensor<?x?xf32>) maps [#ij, #ij] {
    ^bb0(%a: f32):
      ssm.yield %a : f32
  } -> tensor<?x?xf32>
  %z = ssm.kernel loops 2 time 0 ins(%y : tensor<?x?xf32>) outs(%e : tensor<?x?xf32>) maps [#ji, #ij] {
    ^bb0(%a: f32):
      ssm.yield %a : f32
  } -> tensor<?x?xf32>
  return %z : tensor<?x?xf32>
}

// CHECK: not merged: the consumer reads the producer at several times
func.func @both_ends(%x: tensor<?xf32>, %e: tensor<?xf32>) -> tensor<?xf32> {
  %y:2 = ssm.kernel loops 1 time 0 ins(%x : tensor<?xf32>) outs(%e, %e : tensor<?xf32>, tensor<?xf32>) maps [#i, #i, #i]
      mirrored [false, false, true] {
    ^bb0(%a: f32):
      ssm.yield %a, %a : f32, f32
  } -> tensor<?xf32>, tensor<?xf32>
  %z = ssm.kernel loops 1 ins(%y#0, %y#1 : tensor<?xf32>, tensor<?xf32>) outs(%e : tensor<?xf32>) maps [#i, #i, #i] {
    ^bb0(%a: f32, %b: f32):
      %0 = arith.addf %a, %b : f32
      ssm.yield %0 : f32
  } -> tensor<?xf32>
  return %z : tensor<?xf32>
}

// CHECK: not merged: the consumer reads the producer at several times
func.func @diagonal_of_time(%x: tensor<?x?xf32>, %e: tensor<?x?xf32>, %f: tensor<?xf32>) -> tensor<?xf32> {
  %y = ssm.kernel loops 2 time 0 ins(%x : tensor<?x?xf32>) outs(%e : tensor<?x?xf32>) maps [#ij, #ij] {
    ^bb0(%a: f32):
      ssm.yield %a : f32
  } -> tensor<?x?xf32>
  %z = ssm.kernel loops 1 ins(%y : tensor<?x?xf32>) outs(%f : tensor<?xf32>) maps [#diagonal, #i] {
    ^bb0(%a: f32):
      ssm.yield %a : f32
  } -> tensor<?xf32>
  return %z : tensor<?xf32>
}

// CHECK: not merged: the recurrences run against each other
func.func @against(%x: tensor<?xf32>, %e: tensor<?xf32>) -> tensor<?xf32> {
  %y = ssm.kernel loops 1 time 0 ins(%x : tensor<?xf32>) outs(%e : tensor<?xf32>) maps [#i, #i] {
    ^bb0(%a: f32):
      ssm.yield %a : f32
  } -> tensor<?xf32>
  %z = ssm.kernel loops 1 time 0 ins(%y : tensor<?xf32>) outs(%e : tensor<?xf32>) maps [#i, #i] mirrored [true, false] {
    ^bb0(%a: f32):
      ssm.yield %a : f32
  } -> tensor<?xf32>
  return %z : tensor<?xf32>
}

// CHECK: not merged: the consumer uses the index of time
func.func @index(%x: tensor<?xf32>, %e: tensor<?xf32>) -> tensor<?xf32> {
  %y = ssm.kernel loops 1 time 0 ins(%x : tensor<?xf32>) outs(%e : tensor<?xf32>) maps [#i, #i] mirrored [true, true] {
    ^bb0(%a: f32):
      ssm.yield %a : f32
  } -> tensor<?xf32>
  %z = ssm.kernel loops 1 ins(%y : tensor<?xf32>) outs(%e : tensor<?xf32>) maps [#i, #i] {
    ^bb0(%a: f32):
      %0 = ssm.index 0
      %1 = arith.index_cast %0 : index to i32
      %2 = arith.sitofp %1 : i32 to f32
      %3 = arith.addf %a, %2 : f32
      ssm.yield %3 : f32
  } -> tensor<?xf32>
  return %z : tensor<?xf32>
}

// CHECK: not merged: a result of the consumer is not for each step of the producer
func.func @not_each_step(%x: tensor<?x?xf32>, %w: tensor<?xf32>, %e: tensor<?x?xf32>, %f: tensor<?xf32>) -> (tensor<?x?xf32>, tensor<?xf32>) {
  %y = ssm.kernel loops 2 time 0 ins(%x : tensor<?x?xf32>) outs(%e : tensor<?x?xf32>) maps [#ij, #ij] {
    ^bb0(%a: f32):
      ssm.yield %a : f32
  } -> tensor<?x?xf32>
  %z:2 = ssm.kernel loops 2 ins(%y, %w : tensor<?x?xf32>, tensor<?xf32>) outs(%e, %f : tensor<?x?xf32>, tensor<?xf32>) maps [#ij, #j2, #ij, #j2] {
    ^bb0(%a: f32, %b: f32):
      ssm.yield %a, %b : f32, f32
  } -> tensor<?x?xf32>, tensor<?xf32>
  return %z#0, %z#1 : tensor<?x?xf32>, tensor<?xf32>
}

// CHECK: not merged: the consumer reads the producer by index
func.func @by_index(%x: tensor<?xf32>, %ids: tensor<?xindex>, %e: tensor<?xf32>) -> tensor<?xf32> {
  %y = ssm.kernel loops 1 ins(%x : tensor<?xf32>) outs(%e : tensor<?xf32>) maps [#i, #i] {
    ^bb0(%a: f32):
      ssm.yield %a : f32
  } -> tensor<?xf32>
  %z = ssm.kernel loops 1 ins(%y, %ids : tensor<?xf32>, tensor<?xindex>) outs(%e : tensor<?xf32>) maps [#i, #i, #i] {
    ^bb0(%a: f32, %k: index):
      %0 = tensor.extract %y[%k] : tensor<?xf32>
      %1 = arith.addf %a, %0 : f32
      ssm.yield %1 : f32
  } -> tensor<?xf32>
  return %z : tensor<?xf32>
}

// CHECK: not merged: a result of the producer is used before the consumer
func.func @used_before(%x: tensor<?xf32>, %e: tensor<?xf32>, %n: index) -> (tensor<?xf32>, f32) {
  %y = ssm.kernel loops 1 ins(%x : tensor<?xf32>) outs(%e : tensor<?xf32>) maps [#i, #i] {
    ^bb0(%a: f32):
      ssm.yield %a : f32
  } -> tensor<?xf32>
  %one = tensor.extract %y[%n] : tensor<?xf32>
  %z = ssm.kernel loops 1 ins(%y : tensor<?xf32>) outs(%e : tensor<?xf32>) maps [#i, #i] {
    ^bb0(%a: f32):
      ssm.yield %a : f32
  } -> tensor<?xf32>
  return %z, %one : tensor<?xf32>, f32
}

// CHECK: not merged: the producer uses the index of time
func.func @producer_index(%x: tensor<?xf32>, %e: tensor<?xf32>) -> tensor<?xf32> {
  %y = ssm.kernel loops 1 ins(%x : tensor<?xf32>) outs(%e : tensor<?xf32>) maps [#i, #i] {
    ^bb0(%a: f32):
      %0 = ssm.index 0
      %1 = arith.index_cast %0 : index to i32
      %2 = arith.sitofp %1 : i32 to f32
      %3 = arith.addf %a, %2 : f32
      ssm.yield %3 : f32
  } -> tensor<?xf32>
  %z = ssm.kernel loops 1 time 0 ins(%y : tensor<?xf32>) outs(%e : tensor<?xf32>) maps [#i, #i] mirrored [true, false] {
    ^bb0(%a: f32):
      ssm.yield %a : f32
  } -> tensor<?xf32>
  return %z : tensor<?xf32>
}

// CHECK: not merged: the producer reduces over the consumer's time
func.func @sum_over_time(%x: tensor<?x?xf32>, %e: tensor<?x?xf32>) -> tensor<?x?xf32> {
  %y = ssm.kernel loops 2 ins(%x : tensor<?x?xf32>) outs(%e : tensor<?x?xf32>) maps [#ij, #ij] {
    ^bb0(%a: f32):
      %0 = ssm.reduce addf %a over [0] : f32
      %1 = arith.divf %a, %0 : f32
      ssm.yield %1 : f32
  } -> tensor<?x?xf32>
  %z = ssm.kernel loops 2 time 0 ins(%y : tensor<?x?xf32>) outs(%e : tensor<?x?xf32>) maps [#ij, #ij] {
    ^bb0(%a: f32):
      ssm.yield %a : f32
  } -> tensor<?x?xf32>
  return %z : tensor<?x?xf32>
}

// CHECK: not merged: the consumer reads a diagonal of what the producer reduces over
func.func @diagonal_of_rows(%x: tensor<?x?xf32>, %e: tensor<?x?xf32>, %f: tensor<?xf32>) -> tensor<?xf32> {
  %y = ssm.kernel loops 2 ins(%x : tensor<?x?xf32>) outs(%e : tensor<?x?xf32>) maps [#ij, #ij] {
    ^bb0(%a: f32):
      %0 = ssm.reduce addf %a over [1] : f32
      %1 = arith.divf %a, %0 : f32
      ssm.yield %1 : f32
  } -> tensor<?x?xf32>
  %z = ssm.kernel loops 1 ins(%y : tensor<?x?xf32>) outs(%f : tensor<?xf32>) maps [#diagonal, #i] {
    ^bb0(%a: f32):
      ssm.yield %a : f32
  } -> tensor<?xf32>
  return %z : tensor<?xf32>
}

// CHECK: not merged: a result of the producer that stays is not read whole
func.func @stays_first(%x: tensor<?x?xf32>, %e: tensor<?x?xf32>, %n: index) -> (tensor<?x?xf32>, f32) {
  %y = ssm.kernel loops 2 ins(%x : tensor<?x?xf32>) outs(%e : tensor<?x?xf32>) maps [#ij, #ij] {
    ^bb0(%a: f32):
      ssm.yield %a : f32
  } -> tensor<?x?xf32>
  %z = ssm.kernel loops 2 ins(%y : tensor<?x?xf32>) outs(%e : tensor<?x?xf32>) maps [#first, #ij] {
    ^bb0(%a: f32):
      ssm.yield %a : f32
  } -> tensor<?x?xf32>
  %one = tensor.extract %y[%n, %n] : tensor<?x?xf32>
  return %z, %one : tensor<?x?xf32>, f32
}

// CHECK: not merged: a result of the producer that stays is not read whole
func.func @stays_half(%x: tensor<?x?xf32>, %e: tensor<?x?xf32>, %n: index) -> (tensor<?x?xf32>, f32) {
  %y = ssm.kernel loops 2 ins(%x : tensor<?x?xf32>) outs(%e : tensor<?x?xf32>) maps [#ij, #ij] {
    ^bb0(%a: f32):
      ssm.yield %a : f32
  } -> tensor<?x?xf32>
  %z = ssm.kernel loops 2 ins(%y : tensor<?x?xf32>) outs(%e : tensor<?x?xf32>) maps [#half, #ij] {
    ^bb0(%a: f32):
      ssm.yield %a : f32
  } -> tensor<?x?xf32>
  %one = tensor.extract %y[%n, %n] : tensor<?x?xf32>
  return %z, %one : tensor<?x?xf32>, f32
}

// CHECK: not merged: a result of the producer that stays is not for each step
func.func @stays_without_time(%x: tensor<?xf32>, %e: tensor<?xf32>, %f: tensor<?x?xf32>, %n: index) -> (tensor<?x?xf32>, f32) {
  %y = ssm.kernel loops 1 ins(%x : tensor<?xf32>) outs(%e : tensor<?xf32>) maps [#i, #i] {
    ^bb0(%a: f32):
      ssm.yield %a : f32
  } -> tensor<?xf32>
  %z = ssm.kernel loops 2 time 0 ins(%y : tensor<?xf32>) outs(%f : tensor<?x?xf32>) maps [#j2, #ij] {
    ^bb0(%a: f32):
      ssm.yield %a : f32
  } -> tensor<?x?xf32>
  %one = tensor.extract %y[%n] : tensor<?xf32>
  return %z, %one : tensor<?x?xf32>, f32
}

// CHECK: not merged: a loop would lose its size
func.func @no_size(%x: tensor<?xf32>, %e: tensor<?xf32>, %f: tensor<f32>) -> tensor<f32> {
  %y = ssm.kernel loops 1 ins(%x : tensor<?xf32>) outs(%e : tensor<?xf32>) maps [#half1, #i] {
    ^bb0(%a: f32):
      ssm.yield %a : f32
  } -> tensor<?xf32>
  %z = ssm.kernel loops 1 ins(%y : tensor<?xf32>) outs(%f : tensor<f32>) maps [#i, #none] {
    ^bb0(%a: f32):
      %0 = ssm.reduce addf %a over [0] : f32
      ssm.yield %0 : f32
  } -> tensor<f32>
  return %z : tensor<f32>
}
