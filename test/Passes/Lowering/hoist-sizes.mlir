// RUN: ssm-opt %s -ssm-hoist-sizes | FileCheck %s

// Sizes of an argument, what follows from them and its check come first, in their
// order; a size that data decides stays, and so does what follows from it.

// CHECK-LABEL: @sizes
// CHECK-SAME: %[[X:.*]]: tensor<?x8xf32>, %[[I:.*]]: tensor<1xi64>
// CHECK-NEXT: %[[C:.*]] = arith.constant 0
// CHECK-NEXT: %[[N:.*]] = tensor.dim %[[X]], %[[C]]
// CHECK-NEXT: %[[OK:.*]] = arith.cmpi ugt, %[[N]], %[[C]]
// CHECK-NEXT: ssm.check %[[OK]], "a"
// CHECK-NEXT: %[[M:.*]] = arith.divui %[[N]], %[[N]]
// CHECK-NEXT: math.tanh
// CHECK-NEXT: tensor.extract
// CHECK: ssm.check %{{.*}}, "b"
// CHECK: return
func.func @sizes(%x: tensor<?x8xf32>, %i: tensor<1xi64>) -> (tensor<?x8xf32>, index) {
  %t = math.tanh %x : tensor<?x8xf32>
  %c0 = arith.constant 0 : index
  %v = tensor.extract %i[%c0] : tensor<1xi64>
  %n = tensor.dim %x, %c0 : tensor<?x8xf32>
  %k = arith.index_cast %v : i64 to index
  %ok = arith.cmpi ugt, %n, %c0 : index
  %in = arith.cmpi ult, %k, %n : index
  ssm.check %in, "b", "text"
  ssm.check %ok, "a", "text"
  %m = arith.divui %n, %n : index
  return %t, %m : tensor<?x8xf32>, index
}

// A mask of positions is no layer's own; a weight stays where it is used.

// CHECK-LABEL: @mask
// CHECK: tensor.dim
// CHECK: linalg.generic
// CHECK: linalg.index
// CHECK: math.tanh
// CHECK: ssm.load_weight
// CHECK: return
ssm.weight @w : tensor<8xf32> length 32
func.func @mask(%x: tensor<?x8xf32>) -> (tensor<?x8xf32>, tensor<?xi64>, tensor<8xf32>) {
  %t = math.tanh %x : tensor<?x8xf32>
  %w = ssm.load_weight @w : tensor<8xf32>
  %c0 = arith.constant 0 : index
  %n = tensor.dim %x, %c0 : tensor<?x8xf32>
  %e = tensor.empty(%n) : tensor<?xi64>
  %m = linalg.generic {indexing_maps = [affine_map<(i) -> (i)>], iterator_types = ["parallel"]} outs(%e : tensor<?xi64>) {
  ^bb0(%o: i64):
    %i = linalg.index 0 : index
    %v = arith.index_cast %i : index to i64
    linalg.yield %v : i64
  } -> tensor<?xi64>
  return %t, %m, %w : tensor<?x8xf32>, tensor<?xi64>, tensor<8xf32>
}
