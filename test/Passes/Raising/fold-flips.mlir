// RUN: ssm-opt %s -split-input-file -ssm-raise-kernels -ssm-fold-flips -canonicalize | FileCheck %s

#id = affine_map<(t, d) -> (t, d)>

// CHECK-LABEL: func.func @flipped_scan
// CHECK-SAME: %[[X:.*]]: tensor<?x4xf32>
// CHECK-NOT: tensor.extract
// CHECK: %[[K:.*]] = ssm.kernel loops 2 ins(%[[X]] :
// CHECK: %[[R:.*]]:2 = ssm.scan
// CHECK-SAME: ins(%[[K]] :
// CHECK-SAME: input_reversed [true] output_reversed [true]
// CHECK-NOT: tensor.extract
// CHECK: return %[[R]]#1
func.func @flipped_scan(%x: tensor<?x4xf32>, %h0: tensor<4xf32>) -> tensor<?x4xf32> {
  %c0 = arith.constant 0 : index
  %c-1 = arith.constant -1 : index
  %n = tensor.dim %x, %c0 : tensor<?x4xf32>
  %last = arith.addi %n, %c-1 : index
  %e = tensor.empty(%n) : tensor<?x4xf32>
  %r = linalg.generic {indexing_maps = [#id], iterator_types = ["parallel", "parallel"]} outs(%e : tensor<?x4xf32>) {
    ^bb0(%o: f32):
      %i = linalg.index 0 : index
      %j = linalg.index 1 : index
      %p = arith.subi %last, %i : index
      %v = tensor.extract %x[%p, %j] : tensor<?x4xf32>
      linalg.yield %v : f32
  } -> tensor<?x4xf32>
  %k = ssm.kernel loops 2 ins(%r : tensor<?x4xf32>) outs(%e : tensor<?x4xf32>) maps [#id, #id] {
    ^bb0(%v: f32):
      %0 = math.exp %v : f32
      ssm.yield %0 : f32
  } -> tensor<?x4xf32>
  %h, %y = ssm.scan length(%n) carries(%h0 : tensor<4xf32>) ins(%k : tensor<?x4xf32>)
      outs(%e : tensor<?x4xf32>) input_axes [0] output_axes [0] input_reversed [false] output_reversed [false] {
    ^bb0(%s: tensor<4xf32>, %xt: tensor<4xf32>):
      %1 = linalg.add ins(%s, %xt : tensor<4xf32>, tensor<4xf32>) outs(%s : tensor<4xf32>) -> tensor<4xf32>
      ssm.yield %1, %1 : tensor<4xf32>, tensor<4xf32>
  } -> tensor<4xf32>, tensor<?x4xf32>
  %z = linalg.generic {indexing_maps = [#id], iterator_types = ["parallel", "parallel"]} outs(%e : tensor<?x4xf32>) {
    ^bb0(%o: f32):
      %i = linalg.index 0 : index
      %j = linalg.index 1 : index
      %p = arith.subi %last, %i : index
      %v = tensor.extract %y[%p, %j] : tensor<?x4xf32>
      linalg.yield %v : f32
  } -> tensor<?x4xf32>
  return %z : tensor<?x4xf32>
}

// Of a fixed length, through a kernel to a slice.
// CHECK-LABEL: func.func @fixed
// CHECK-NOT: tensor.extract{{ }}
// CHECK: ssm.scan
// CHECK-SAME: input_reversed [true]
func.func @fixed(%x: tensor<5x4xf32>, %h0: tensor<2xf32>) -> tensor<2xf32> {
  %c4 = arith.constant 4 : index
  %c5 = arith.constant 5 : index
  %e = tensor.empty() : tensor<5x4xf32>
  %r = linalg.generic {indexing_maps = [#id], iterator_types = ["parallel", "parallel"]} outs(%e : tensor<5x4xf32>) {
    ^bb0(%o: f32):
      %i = linalg.index 0 : index
      %j = linalg.index 1 : index
      %p = arith.subi %c4, %i : index
      %v = tensor.extract %x[%p, %j] : tensor<5x4xf32>
      linalg.yield %v : f32
  } -> tensor<5x4xf32>
  %k = ssm.kernel loops 2 ins(%r : tensor<5x4xf32>) outs(%e : tensor<5x4xf32>) maps [#id, #id] {
    ^bb0(%v: f32):
      %0 = math.exp %v : f32
      ssm.yield %0 : f32
  } -> tensor<5x4xf32>
  %part = tensor.extract_slice %k[0, 2] [5, 2] [1, 1] : tensor<5x4xf32> to tensor<5x2xf32>
  %h = ssm.scan length(%c5) carries(%h0 : tensor<2xf32>) ins(%part : tensor<5x2xf32>)
      input_axes [0] output_axes [] input_reversed [false] output_reversed [] {
    ^bb0(%s: tensor<2xf32>, %xt: tensor<2xf32>):
      %1 = linalg.add ins(%s, %xt : tensor<2xf32>, tensor<2xf32>) outs(%s : tensor<2xf32>) -> tensor<2xf32>
      ssm.yield %1 : tensor<2xf32>
  } -> tensor<2xf32>
  return %h : tensor<2xf32>
}

// What is read both ways stays.
// CHECK-LABEL: func.func @both_ways
// CHECK: tensor.extract
// CHECK: ssm.kernel
func.func @both_ways(%x: tensor<?x4xf32>) -> tensor<?x4xf32> {
  %c0 = arith.constant 0 : index
  %c-1 = arith.constant -1 : index
  %n = tensor.dim %x, %c0 : tensor<?x4xf32>
  %last = arith.addi %n, %c-1 : index
  %e = tensor.empty(%n) : tensor<?x4xf32>
  %r = linalg.generic {indexing_maps = [#id], iterator_types = ["parallel", "parallel"]} outs(%e : tensor<?x4xf32>) {
    ^bb0(%o: f32):
      %i = linalg.index 0 : index
      %j = linalg.index 1 : index
      %p = arith.subi %last, %i : index
      %v = tensor.extract %x[%p, %j] : tensor<?x4xf32>
      linalg.yield %v : f32
  } -> tensor<?x4xf32>
  %k = ssm.kernel loops 2 ins(%r, %x : tensor<?x4xf32>, tensor<?x4xf32>) outs(%e : tensor<?x4xf32>) maps [#id, #id, #id] {
    ^bb0(%v: f32, %w: f32):
      %0 = arith.addf %v, %w : f32
      ssm.yield %0 : f32
  } -> tensor<?x4xf32>
  return %k : tensor<?x4xf32>
}

// -----

#id = affine_map<(t, d) -> (t, d)>

// Two inputs, each reversed by itself: lengths of one name are equal.
// CHECK-LABEL: func.func @main
// CHECK-SAME: %[[X:.*]]: tensor<?x4xf32>, %[[Y:.*]]: tensor<?x4xf32>
// CHECK-NOT: tensor.extract
// CHECK: ssm.scan
// CHECK-SAME: ins(%[[X]], %[[Y]] :
// CHECK-SAME: input_reversed [true, true]
module attributes {ssm.entries = [{name = "main", inputs = [
    {name = "x", dims = ["length", 4], type = 1 : i64},
    {name = "y", dims = ["length", 4], type = 1 : i64},
    {name = "h0", dims = [4], type = 1 : i64}], outputs = []}]} {
func.func @main(%x: tensor<?x4xf32>, %y: tensor<?x4xf32>, %h0: tensor<4xf32>) -> tensor<4xf32> {
  %c0 = arith.constant 0 : index
  %c-1 = arith.constant -1 : index
  %n = tensor.dim %x, %c0 : tensor<?x4xf32>
  %last = arith.addi %n, %c-1 : index
  %e = tensor.empty(%n) : tensor<?x4xf32>
  %r = linalg.generic {indexing_maps = [#id], iterator_types = ["parallel", "parallel"]} outs(%e : tensor<?x4xf32>) {
    ^bb0(%o: f32):
      %i = linalg.index 0 : index
      %j = linalg.index 1 : index
      %p = arith.subi %last, %i : index
      %v = tensor.extract %x[%p, %j] : tensor<?x4xf32>
      linalg.yield %v : f32
  } -> tensor<?x4xf32>
  %q = linalg.generic {indexing_maps = [#id], iterator_types = ["parallel", "parallel"]} outs(%e : tensor<?x4xf32>) {
    ^bb0(%o: f32):
      %i = linalg.index 0 : index
      %j = linalg.index 1 : index
      %p = arith.subi %last, %i : index
      %v = tensor.extract %y[%p, %j] : tensor<?x4xf32>
      linalg.yield %v : f32
  } -> tensor<?x4xf32>
  %h = ssm.scan length(%n) carries(%h0 : tensor<4xf32>) ins(%r, %q : tensor<?x4xf32>, tensor<?x4xf32>)
      input_axes [0, 0] output_axes [] input_reversed [false, false] output_reversed [] {
    ^bb0(%s: tensor<4xf32>, %xt: tensor<4xf32>, %yt: tensor<4xf32>):
      %1 = linalg.mul ins(%s, %xt : tensor<4xf32>, tensor<4xf32>) outs(%s : tensor<4xf32>) -> tensor<4xf32>
      %2 = linalg.add ins(%1, %yt : tensor<4xf32>, tensor<4xf32>) outs(%s : tensor<4xf32>) -> tensor<4xf32>
      ssm.yield %2 : tensor<4xf32>
  } -> tensor<4xf32>
  return %h : tensor<4xf32>
}
}
