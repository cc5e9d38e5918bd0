// RUN: ssm-opt %s -pass-pipeline='builtin.module(func.func(ssm-place-carries))' | FileCheck %s
// RUN: ssm-opt %s -pass-pipeline='builtin.module(func.func(ssm-place-carries),one-shot-bufferize{bufferize-function-boundaries=1 allow-return-allocs-from-loops=1})' -o /dev/null

// Carries that change places are saved before either is written.
// CHECK-LABEL: func.func @swap
func.func @swap(%n: index, %a0: tensor<8xf32>, %b0: tensor<8xf32>)
    -> (tensor<8xf32>, tensor<8xf32>) {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  // CHECK: iter_args(%[[A:.*]] = %{{.*}}, %[[B:.*]] = %{{.*}})
  // CHECK-DAG: %[[SB:.*]] = linalg.copy ins(%[[B]]
  // CHECK-DAG: %[[SA:.*]] = linalg.copy ins(%[[A]]
  // CHECK: %[[AN:.*]] = bufferization.materialize_in_destination %[[SB]] in %[[A]]
  // CHECK: %[[BN:.*]] = bufferization.materialize_in_destination %[[SA]] in %[[B]]
  // CHECK: scf.yield %[[AN]], %[[BN]]
  %0:2 = scf.for %i = %c0 to %n step %c1 iter_args(%a = %a0, %b = %b0)
      -> (tensor<8xf32>, tensor<8xf32>) {
    %an = bufferization.materialize_in_destination %b in %a
        : (tensor<8xf32>, tensor<8xf32>) -> tensor<8xf32>
    %bn = bufferization.materialize_in_destination %a in %b
        : (tensor<8xf32>, tensor<8xf32>) -> tensor<8xf32>
    scf.yield %an, %bn : tensor<8xf32>, tensor<8xf32>
  }
  return %0#0, %0#1 : tensor<8xf32>, tensor<8xf32>
}

// A view of another carry is one, too; a carry that nobody writes needs no saving,
// and what is computed lies in a place of its own.
// CHECK-LABEL: func.func @views
func.func @views(%n: index, %a0: tensor<8xf32>, %b0: tensor<2x4xf32>, %c: tensor<8xf32>)
    -> (tensor<8xf32>, tensor<2x4xf32>, tensor<8xf32>) {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  // CHECK: iter_args(%[[A:.*]] = %{{.*}}, %[[B:.*]] = %{{.*}}, %[[C:.*]] = %{{.*}})
  // CHECK: %[[SUM:.*]] = linalg.add
  // CHECK: %[[VIEW:.*]] = tensor.expand_shape %[[A]]
  // CHECK: %[[SAVED:.*]] = linalg.copy ins(%[[VIEW]]
  // CHECK-NOT: linalg.copy
  // CHECK: bufferization.materialize_in_destination %[[SUM]] in %[[A]]
  // CHECK: bufferization.materialize_in_destination %[[SAVED]] in %[[B]]
  %0:3 = scf.for %i = %c0 to %n step %c1 iter_args(%a = %a0, %b = %b0, %d = %c)
      -> (tensor<8xf32>, tensor<2x4xf32>, tensor<8xf32>) {
    %e = tensor.empty() : tensor<8xf32>
    %s = linalg.add ins(%a, %d : tensor<8xf32>, tensor<8xf32>) outs(%e : tensor<8xf32>)
        -> tensor<8xf32>
    %v = tensor.expand_shape %a [[0, 1]] output_shape [2, 4] : tensor<8xf32> into tensor<2x4xf32>
    %an = bufferization.materialize_in_destination %s in %a
        : (tensor<8xf32>, tensor<8xf32>) -> tensor<8xf32>
    %bn = bufferization.materialize_in_destination %v in %b
        : (tensor<2x4xf32>, tensor<2x4xf32>) -> tensor<2x4xf32>
    scf.yield %an, %bn, %d : tensor<8xf32>, tensor<2x4xf32>, tensor<8xf32>
  }
  return %0#0, %0#1, %0#2 : tensor<8xf32>, tensor<2x4xf32>, tensor<8xf32>
}

// Outside of a loop, or where the loop does not yield it, it is its source.
// CHECK-LABEL: func.func @stray
// CHECK-SAME: %[[N:[a-z0-9]*]]: index, %[[A:[a-z0-9]*]]: tensor<8xf32> {{.*}}, %[[B:[a-z0-9]*]]: tensor<8xf32>)
func.func @stray(%n: index, %a: tensor<8xf32> {bufferization.writable = false},
                 %b: tensor<8xf32>) -> (tensor<8xf32>, tensor<8xf32>) {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  // CHECK-NOT: materialize_in_destination
  %0 = bufferization.materialize_in_destination %b in %a
      : (tensor<8xf32>, tensor<8xf32>) -> tensor<8xf32>
  // CHECK: scf.for {{.*}} iter_args(%[[C:.*]] = %[[A]])
  %1 = scf.for %i = %c0 to %n step %c1 iter_args(%c = %a) -> tensor<8xf32> {
    // CHECK: linalg.add ins(%[[B]], %[[C]]
    %2 = bufferization.materialize_in_destination %b in %c
        : (tensor<8xf32>, tensor<8xf32>) -> tensor<8xf32>
    %e = tensor.empty() : tensor<8xf32>
    %s = linalg.add ins(%2, %c : tensor<8xf32>, tensor<8xf32>) outs(%e : tensor<8xf32>)
        -> tensor<8xf32>
    scf.yield %s : tensor<8xf32>
  }
  // CHECK: return %[[B]]
  return %0, %1 : tensor<8xf32>, tensor<8xf32>
}

// What an inner loop leaves in the carry's own buffer is in its place: no copy, and
// nothing is written back.
// CHECK-LABEL: func.func @through_a_loop
func.func @through_a_loop(%n: index, %a0: tensor<8xf32>) -> tensor<8xf32> {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  // CHECK: scf.for
  // CHECK: %[[LEFT:.*]] = scf.for
  // CHECK: bufferization.materialize_in_destination
  // CHECK-NOT: linalg.copy
  // CHECK-NOT: materialize_in_destination
  // CHECK: scf.yield %[[LEFT]]
  %0 = scf.for %i = %c0 to %n step %c1 iter_args(%a = %a0) -> (tensor<8xf32>) {
    %left = scf.for %j = %c0 to %n step %c1 iter_args(%b = %a) -> (tensor<8xf32>) {
      %e = tensor.empty() : tensor<8xf32>
      %s = linalg.add ins(%b, %b : tensor<8xf32>, tensor<8xf32>) outs(%e : tensor<8xf32>)
          -> tensor<8xf32>
      %bn = bufferization.materialize_in_destination %s in %b
          : (tensor<8xf32>, tensor<8xf32>) -> tensor<8xf32>
      scf.yield %bn : tensor<8xf32>
    }
    %an = bufferization.materialize_in_destination %left in %a
        : (tensor<8xf32>, tensor<8xf32>) -> tensor<8xf32>
    scf.yield %an : tensor<8xf32>
  }
  return %0 : tensor<8xf32>
}

// A branch may leave it elsewhere: it is saved, then written to its place.
// CHECK-LABEL: func.func @through_a_branch
func.func @through_a_branch(%n: index, %p: i1, %a0: tensor<8xf32>) -> tensor<8xf32> {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  // CHECK: iter_args(%[[A:.*]] = %{{.*}})
  // CHECK: %[[LEFT:.*]] = scf.if
  // CHECK: %[[SAVED:.*]] = linalg.copy ins(%[[LEFT]]
  // CHECK: bufferization.materialize_in_destination %[[SAVED]] in %[[A]]
  %0 = scf.for %i = %c0 to %n step %c1 iter_args(%a = %a0) -> (tensor<8xf32>) {
    %left = scf.if %p -> (tensor<8xf32>) {
      %e = tensor.empty() : tensor<8xf32>
      %s = linalg.add ins(%a, %a : tensor<8xf32>, tensor<8xf32>) outs(%e : tensor<8xf32>)
          -> tensor<8xf32>
      scf.yield %s : tensor<8xf32>
    } else {
      scf.yield %a : tensor<8xf32>
    }
    %an = bufferization.materialize_in_destination %left in %a
        : (tensor<8xf32>, tensor<8xf32>) -> tensor<8xf32>
    scf.yield %an : tensor<8xf32>
  }
  return %0 : tensor<8xf32>
}

// Elements that an inner loop inserts are in their place; not so where a step reads what is there
// as a whole.
// CHECK-LABEL: func.func @inserted
// CHECK: scf.for
// CHECK: %[[LEFT:.*]] = scf.for
// CHECK-NOT: materialize_in_destination
// CHECK: scf.yield %[[LEFT]]
// CHECK-LABEL: func.func @inserted_behind
// CHECK: bufferization.materialize_in_destination
func.func @inserted(%n: index, %a0: tensor<8xf32>) -> tensor<8xf32> {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %0 = scf.for %i = %c0 to %n step %c1 iter_args(%a = %a0) -> (tensor<8xf32>) {
    %left = scf.for %j = %c0 to %n step %c1 iter_args(%b = %a) -> (tensor<8xf32>) {
      %x = tensor.extract %b[%j] : tensor<8xf32>
      %y = arith.negf %x : f32
      %s = tensor.insert %y into %b[%j] : tensor<8xf32>
      scf.yield %s : tensor<8xf32>
    }
    %an = bufferization.materialize_in_destination %left in %a
        : (tensor<8xf32>, tensor<8xf32>) -> tensor<8xf32>
    scf.yield %an : tensor<8xf32>
  }
  return %0 : tensor<8xf32>
}
func.func @inserted_behind(%n: index, %a0: tensor<8xf32>) -> tensor<8xf32> {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %0 = scf.for %i = %c0 to %n step %c1 iter_args(%a = %a0) -> (tensor<8xf32>) {
    %left = scf.for %j = %c0 to %n step %c1 iter_args(%b = %a) -> (tensor<8xf32>) {
      %x = tensor.extract %b[%j] : tensor<8xf32>
      %s = tensor.insert %x into %b[%c0] : tensor<8xf32>
      %e = tensor.empty() : tensor<8xf32>
      %t = linalg.add ins(%s, %b : tensor<8xf32>, tensor<8xf32>) outs(%e : tensor<8xf32>)
          -> tensor<8xf32>
      %z = tensor.extract %t[%c1] : tensor<8xf32>
      %u = tensor.insert %z into %s[%c1] : tensor<8xf32>
      scf.yield %u : tensor<8xf32>
    }
    %an = bufferization.materialize_in_destination %left in %a
        : (tensor<8xf32>, tensor<8xf32>) -> tensor<8xf32>
    scf.yield %an : tensor<8xf32>
  }
  return %0 : tensor<8xf32>
}
