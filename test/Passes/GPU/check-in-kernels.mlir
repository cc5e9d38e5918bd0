// RUN: ssm-opt %s -ssm-check-in-kernels -canonicalize -cse | FileCheck %s

// The kernel that brings indices into range checks them; nothing takes the least and the greatest.
// CHECK-LABEL: func.func @gather(
// CHECK: %[[SITE:.*]] = ssm.check_site "'rows' (Gather)", "index {0} is out of range for size {1}"
// CHECK: %[[SIZE:.*]] = arith.index_cast
// CHECK-NOT: ssm.reduce
// CHECK-NOT: ssm.check %
// CHECK: ssm.kernel loops 1 ins(%{{.*}} : tensor<?xi64>)
// CHECK-NEXT: ^bb0(%[[I:.*]]: i64):
// CHECK-NEXT: %[[AT:.*]] = ssm.check_index %[[I]] of %[[SIZE]], %[[SITE]] : i64
// CHECK-NEXT: ssm.yield %[[AT]]

// Indices that are weights are checked when these are loaded.
// CHECK-LABEL: func.func @weights(
// CHECK: ssm.reduce mins
// CHECK: ssm.reduce maxs
// CHECK: ssm.check %
// CHECK-NOT: ssm.check_index

// Nothing brings them into range, where they are checked: the check stays.
// CHECK-LABEL: func.func @elsewhere(
// CHECK: ssm.check %
// CHECK-NOT: ssm.check_index

#i = affine_map<(d0) -> (d0)>
#none = affine_map<(d0) -> ()>
func.func @gather(%i: tensor<?xi64>, %n: index) -> tensor<?xi64> {
  %c0 = arith.constant 0 : index
  %zero = arith.constant 0 : i64
  %minus = arith.constant -1 : i64
  %true = arith.constant true
  %size = arith.index_cast %n : index to i64
  %k = tensor.dim %i, %c0 : tensor<?xi64>
  %e = tensor.empty() : tensor<i64>
  %least = ssm.kernel loops 1 ins(%i : tensor<?xi64>) outs(%e : tensor<i64>) maps [#i, #none] {
  ^bb0(%v: i64):
    %r = ssm.reduce mins %v over [0] : i64
    %s = arith.minsi %r, %zero : i64
    ssm.yield %s : i64
  } -> tensor<i64>
  %most = ssm.kernel loops 1 ins(%i : tensor<?xi64>) outs(%e : tensor<i64>) maps [#i, #none] {
  ^bb0(%v: i64):
    %r = ssm.reduce maxs %v over [0] : i64
    %s = arith.maxsi %r, %minus : i64
    ssm.yield %s : i64
  } -> tensor<i64>
  %low = tensor.extract %least[] : tensor<i64>
  %high = tensor.extract %most[] : tensor<i64>
  %lowest = arith.subi %zero, %size : i64
  %isLow = arith.cmpi slt, %low, %lowest : i64
  %isHigh = arith.cmpi sge, %high, %size : i64
  %bad = arith.ori %isLow, %isHigh : i1
  %good = arith.xori %bad, %true : i1
  %culprit = arith.select %isLow, %low, %high : i64
  ssm.check %good, "'rows' (Gather)", "index {0} is out of range for size {1}" values(%culprit, %size : i64, i64) of_indices
  %o = tensor.empty(%k) : tensor<?xi64>
  %w = ssm.kernel loops 1 ins(%i : tensor<?xi64>) outs(%o : tensor<?xi64>) maps [#i, #i] {
  ^bb0(%v: i64):
    %negative = arith.cmpi slt, %v, %zero : i64
    %sum = arith.addi %v, %size : i64
    %at = arith.select %negative, %sum, %v : i64
    ssm.yield %at : i64
  } -> tensor<?xi64>
  return %w : tensor<?xi64>
}

ssm.weight @indices : tensor<3xi64> length 24 file "m" at 0

func.func @weights(%n: index) -> tensor<3xi64> {
  %i = ssm.load_weight @indices : tensor<3xi64>
  %zero = arith.constant 0 : i64
  %size = arith.index_cast %n : index to i64
  %e = tensor.empty() : tensor<i64>
  %least = ssm.kernel loops 1 ins(%i : tensor<3xi64>) outs(%e : tensor<i64>) maps [#i, #none] {
  ^bb0(%v: i64):
    %r = ssm.reduce mins %v over [0] : i64
    ssm.yield %r : i64
  } -> tensor<i64>
  %most = ssm.kernel loops 1 ins(%i : tensor<3xi64>) outs(%e : tensor<i64>) maps [#i, #none] {
  ^bb0(%v: i64):
    %r = ssm.reduce maxs %v over [0] : i64
    ssm.yield %r : i64
  } -> tensor<i64>
  %low = tensor.extract %least[] : tensor<i64>
  %high = tensor.extract %most[] : tensor<i64>
  %isLow = arith.cmpi slt, %low, %zero : i64
  %good = arith.cmpi slt, %high, %size : i64
  %culprit = arith.select %isLow, %low, %high : i64
  ssm.check %good, "node", "index {0} of {1}" values(%culprit, %size : i64, i64) of_indices
  %o = tensor.empty() : tensor<3xi64>
  %w = ssm.kernel loops 1 ins(%i : tensor<3xi64>) outs(%o : tensor<3xi64>) maps [#i, #i] {
  ^bb0(%v: i64):
    %negative = arith.cmpi slt, %v, %zero : i64
    %sum = arith.addi %v, %size : i64
    %at = arith.select %negative, %sum, %v : i64
    ssm.yield %at : i64
  } -> tensor<3xi64>
  return %w : tensor<3xi64>
}

func.func @elsewhere(%i: tensor<?xi64>, %n: index) -> tensor<?xi64> {
  %c0 = arith.constant 0 : index
  %zero = arith.constant 0 : i64
  %size = arith.index_cast %n : index to i64
  %other = arith.addi %size, %size : i64
  %k = tensor.dim %i, %c0 : tensor<?xi64>
  %e = tensor.empty() : tensor<i64>
  %least = ssm.kernel loops 1 ins(%i : tensor<?xi64>) outs(%e : tensor<i64>) maps [#i, #none] {
  ^bb0(%v: i64):
    %r = ssm.reduce mins %v over [0] : i64
    ssm.yield %r : i64
  } -> tensor<i64>
  %most = ssm.kernel loops 1 ins(%i : tensor<?xi64>) outs(%e : tensor<i64>) maps [#i, #none] {
  ^bb0(%v: i64):
    %r = ssm.reduce maxs %v over [0] : i64
    ssm.yield %r : i64
  } -> tensor<i64>
  %low = tensor.extract %least[] : tensor<i64>
  %high = tensor.extract %most[] : tensor<i64>
  %isLow = arith.cmpi slt, %low, %zero : i64
  %good = arith.cmpi slt, %high, %size : i64
  %culprit = arith.select %isLow, %low, %high : i64
  ssm.check %good, "node", "index {0} of {1}" values(%culprit, %size : i64, i64) of_indices
  %o = tensor.empty(%k) : tensor<?xi64>
  %w = ssm.kernel loops 1 ins(%i : tensor<?xi64>) outs(%o : tensor<?xi64>) maps [#i, #i] {
  ^bb0(%v: i64):
    %negative = arith.cmpi slt, %v, %zero : i64
    %sum = arith.addi %v, %other : i64
    %at = arith.select %negative, %sum, %v : i64
    ssm.yield %at : i64
  } -> tensor<?xi64>
  return %w : tensor<?xi64>
}

// The least and the greatest are taken of a column; the kernel reads what that is made of.
// CHECK-LABEL: func.func @column(
// CHECK-NOT: ssm.reduce
// CHECK-NOT: ssm.check %
// CHECK: ssm.check_index
#column = affine_map<(d0) -> (d0, 0)>
func.func @column(%i: tensor<?xi64>, %n: index) -> tensor<?xi64> {
  %c0 = arith.constant 0 : index
  %zero = arith.constant 0 : i64
  %minus = arith.constant -1 : i64
  %true = arith.constant true
  %size = arith.index_cast %n : index to i64
  %k = tensor.dim %i, %c0 : tensor<?xi64>
  %c = tensor.expand_shape %i [[0, 1]] output_shape [%k, 1] : tensor<?xi64> into tensor<?x1xi64>
  %e = tensor.empty() : tensor<i64>
  %least = ssm.kernel loops 1 ins(%c : tensor<?x1xi64>) outs(%e : tensor<i64>) maps [#column, #none] {
  ^bb0(%v: i64):
    %r = ssm.reduce mins %v over [0] : i64
    %s = arith.minsi %r, %zero : i64
    ssm.yield %s : i64
  } -> tensor<i64>
  %most = ssm.kernel loops 1 ins(%c : tensor<?x1xi64>) outs(%e : tensor<i64>) maps [#column, #none] {
  ^bb0(%v: i64):
    %r = ssm.reduce maxs %v over [0] : i64
    %s = arith.maxsi %r, %minus : i64
    ssm.yield %s : i64
  } -> tensor<i64>
  %low = tensor.extract %least[] : tensor<i64>
  %high = tensor.extract %most[] : tensor<i64>
  %lowest = arith.subi %zero, %size : i64
  %isLow = arith.cmpi slt, %low, %lowest : i64
  %isHigh = arith.cmpi sge, %high, %size : i64
  %bad = arith.ori %isLow, %isHigh : i1
  %good = arith.xori %bad, %true : i1
  %culprit = arith.select %isLow, %low, %high : i64
  ssm.check %good, "'rows' (Gather)", "index {0} is out of range for size {1}" values(%culprit, %size : i64, i64) of_indices
  %o = tensor.empty(%k) : tensor<?xi64>
  %w = ssm.kernel loops 1 ins(%i : tensor<?xi64>) outs(%o : tensor<?xi64>) maps [#i, #i] {
  ^bb0(%v: i64):
    %negative = arith.cmpi slt, %v, %zero : i64
    %sum = arith.addi %v, %size : i64
    %at = arith.select %negative, %sum, %v : i64
    ssm.yield %at : i64
  } -> tensor<?xi64>
  return %w : tensor<?xi64>
}
