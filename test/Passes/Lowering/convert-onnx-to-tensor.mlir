// RUN: ssm-opt %s -convert-onnx-to-tensor -canonicalize -cse | FileCheck %s

// CHECK: module attributes {ssm.entries = [
// CHECK-SAME: {inputs = [{dims = ["n", 4], name = "x", type = 1 : i64}], name = "same",
// CHECK-SAME: outputs = [{dims = ["n", 4], name = "y", type = 1 : i64}]}

// Equal symbols need no check and no broadcast.
// CHECK-LABEL: func.func @same
// CHECK-SAME: (%[[X:.*]]: tensor<?x4xf32> {bufferization.writable = false}) -> tensor<?x4xf32>
// CHECK-NOT: ssm.check
// CHECK: linalg.generic {{.*}}ins(%[[X]]
// CHECK: arith.addf
func.func @same(%x: tensor<?x4xf32> {onnx.name = "x", onnx.dims = ["n", 4]})
    -> (tensor<?x4xf32> {onnx.name = "y"}) {
  %0 = onnx.node "Add"(%x, %x) version 14 : (tensor<?x4xf32>, tensor<?x4xf32>) -> tensor<?x4xf32>
  return %0 : tensor<?x4xf32>
}

// Two names for one size are checked at run time.
// CHECK-LABEL: func.func @different
// CHECK: ssm.check %{{.*}}, "Add", "size {0} of axis 0 of input 0 does not broadcast to size {1}"
func.func @different(%x: tensor<?xf32> {onnx.dims = ["n"]}, %y: tensor<?xf32> {onnx.dims = ["m"]})
    -> tensor<?xf32> {
  %0 = onnx.node "Add"(%x, %y) version 14 : (tensor<?xf32>, tensor<?xf32>) -> tensor<?xf32>
  return %0 : tensor<?xf32>
}

// bool is stored as i8, f16 is computed in f32.
// CHECK-LABEL: func.func @storage
// CHECK-SAME: tensor<?xi8>
// CHECK: arith.cmpi ne
// CHECK: arith.extf %{{.*}} : f16 to f32
func.func @storage(%c: tensor<?xi1> {onnx.dims = ["n"]}, %x: tensor<?xf16> {onnx.dims = ["n"]})
    -> tensor<?xf16> {
  %0 = onnx.node "Where"(%c, %x, %x) version 16
      : (tensor<?xi1>, tensor<?xf16>, tensor<?xf16>) -> tensor<?xf16>
  %1 = onnx.node "Exp"(%0) version 13 : (tensor<?xf16>) -> tensor<?xf16>
  return %1 : tensor<?xf16>
}

// Shape arithmetic is arith on index: no tensor kernel.
// CHECK-LABEL: func.func @shape_arithmetic
// CHECK-NOT: linalg
// CHECK: %[[N:.*]] = tensor.dim
// CHECK: %[[M:.*]] = arith.muli %[[N]]
// CHECK: return
func.func @shape_arithmetic(%x: tensor<?xf32> {onnx.dims = ["n"]}) -> tensor<1xi64> {
  %two = onnx.constant dense<2> : tensor<1xi64>
  %0 = onnx.node "Shape"(%x) version 13 : (tensor<?xf32>) -> tensor<1xi64>
  %1 = onnx.node "Mul"(%0, %two) version 14 : (tensor<1xi64>, tensor<1xi64>) -> tensor<1xi64>
  return %1 : tensor<1xi64>
}

// A reshape joins and cuts only the axes that it moves.
// CHECK-LABEL: func.func @reshapes
// CHECK-SAME: (%[[X:.*]]: tensor<?x?x6xf32>
// CHECK: tensor.expand_shape %[[X]] {{\[\[}}0], [1], [2, 3]] {{.*}} : tensor<?x?x6xf32> into tensor<?x?x1x6xf32>
// CHECK: tensor.expand_shape %[[X]] {{\[\[}}0], [1], [2, 3]] {{.*}} : tensor<?x?x6xf32> into tensor<?x?x2x3xf32>
func.func @reshapes(%x: tensor<?x?x6xf32> {onnx.dims = ["n", "m", 6]})
    -> (tensor<?x?x1x6xf32>, tensor<?x?x2x3xf32>) {
  %two = onnx.constant dense<2> : tensor<1xi64>
  %0 = onnx.node "Unsqueeze"(%x, %two) version 13 : (tensor<?x?x6xf32>, tensor<1xi64>) -> tensor<?x?x1x6xf32>
  %shape = onnx.constant dense<[0, 0, 2, 3]> : tensor<4xi64>
  %1 = onnx.node "Reshape"(%x, %shape) version 13 : (tensor<?x?x6xf32>, tensor<4xi64>) -> tensor<?x?x2x3xf32>
  return %0, %1 : tensor<?x?x1x6xf32>, tensor<?x?x2x3xf32>
}

// Batches of two names are read as they are where the run shows that they are equal.
// CHECK-LABEL: func.func @batches
// CHECK-SAME: (%[[A:.*]]: tensor<?x3x4xf32> {{.*}}, %[[B:.*]]: tensor<?x4x5xf32>
// CHECK: %[[LEFT:.*]] = scf.if %{{.*}} -> (tensor<?x3x4xf32>) {
// CHECK-NEXT: scf.yield %[[A]]
// CHECK-NEXT: } else {
// CHECK: linalg.generic
// CHECK: %[[RIGHT:.*]] = scf.if %{{.*}} -> (tensor<?x4x5xf32>) {
// CHECK-NEXT: scf.yield %[[B]]
// CHECK: linalg.generic {{.*}} ins(%[[LEFT]], %[[RIGHT]]
func.func @batches(%a: tensor<?x3x4xf32> {onnx.name = "a", onnx.dims = ["a0", 3, 4]},
                   %b: tensor<?x4x5xf32> {onnx.name = "b", onnx.dims = ["b0", 4, 5]})
    -> (tensor<?x3x5xf32> {onnx.name = "y"}) {
  %0 = onnx.node "MatMul"(%a, %b) version 13 : (tensor<?x3x4xf32>, tensor<?x4x5xf32>) -> tensor<?x3x5xf32>
  return %0 : tensor<?x3x5xf32>
}
