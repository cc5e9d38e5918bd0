// RUN: ssm-opt %s -ssm-outline-repeats=min-repeated-ops=2 -canonicalize -cse | FileCheck %s

// Two layers that differ in their weights: the function takes the weight, the
// sizes, and tells which arguments are the sizes of its result.
// CHECK-LABEL: func.func @two(
// CHECK-SAME: %[[X:.*]]: tensor<?x8xf32>)
// CHECK: %[[N:.*]] = tensor.dim %[[X]]
// CHECK: %[[W0:.*]] = ssm.load_weight @w0
// CHECK: %[[W1:.*]] = ssm.load_weight @w1
// CHECK: %[[A:.*]] = call @repeated(%[[X]], %[[W0]], %[[N]])
// CHECK: %[[B:.*]] = call @repeated(%[[A]], %[[W1]], %[[N]])
// CHECK: return %[[B]]
// CHECK: func.func private @repeated(%[[Y:.*]]: tensor<?x8xf32> {bufferization.writable = false}, %[[W:.*]]: tensor<8x8xf32> {bufferization.writable = false, ssm.weight}, %[[M:.*]]: index) -> (tensor<?x8xf32> {ssm.sizes = array<i64: 2>}) attributes {ssm.repeated}
// CHECK: %[[E:.*]] = tensor.empty(%[[M]])
// CHECK: linalg.fill
// CHECK: %[[P:.*]] = linalg.matmul ins(%[[Y]], %[[W]]
// CHECK: %[[T:.*]] = math.tanh %[[P]]
// CHECK: return %[[T]]
ssm.weight @w0 : tensor<8x8xf32> length 256
ssm.weight @w1 : tensor<8x8xf32> length 256
func.func @two(%x: tensor<?x8xf32>) -> tensor<?x8xf32> {
  %c0 = arith.constant 0 : index
  %zero = arith.constant 0.0 : f32
  %n = tensor.dim %x, %c0 : tensor<?x8xf32>
  %w0 = ssm.load_weight @w0 : tensor<8x8xf32>
  %w1 = ssm.load_weight @w1 : tensor<8x8xf32>
  %e = tensor.empty(%n) : tensor<?x8xf32>
  %f = linalg.fill ins(%zero : f32) outs(%e : tensor<?x8xf32>) -> tensor<?x8xf32>
  %a = linalg.matmul ins(%x, %w0 : tensor<?x8xf32>, tensor<8x8xf32>) outs(%f : tensor<?x8xf32>) -> tensor<?x8xf32>
  %at = math.tanh %a : tensor<?x8xf32>
  %b = linalg.matmul ins(%at, %w1 : tensor<?x8xf32>, tensor<8x8xf32>) outs(%f : tensor<?x8xf32>) -> tensor<?x8xf32>
  %bt = math.tanh %b : tensor<?x8xf32>
  return %bt : tensor<?x8xf32>
}

// Layers that differ in a constant, an operation, or a link are not equal.
// CHECK-LABEL: func.func @different(
// CHECK-NOT: call
// CHECK: return
func.func @different(%x: tensor<8x8xf32>, %w: tensor<8x8xf32>) -> (tensor<8x8xf32>, tensor<8x8xf32>, tensor<8x8xf32>) {
  %e = tensor.empty() : tensor<8x8xf32>
  %a = linalg.matmul ins(%x, %w : tensor<8x8xf32>, tensor<8x8xf32>) outs(%e : tensor<8x8xf32>) -> tensor<8x8xf32>
  %at = math.tanh %a : tensor<8x8xf32>
  %b = linalg.matmul ins(%at, %w : tensor<8x8xf32>, tensor<8x8xf32>) outs(%e : tensor<8x8xf32>) -> tensor<8x8xf32>
  %bt = math.exp %b : tensor<8x8xf32>
  %c = linalg.matmul ins(%bt, %w : tensor<8x8xf32>, tensor<8x8xf32>) outs(%bt : tensor<8x8xf32>) -> tensor<8x8xf32>
  %ct = math.tanh %bt : tensor<8x8xf32>
  return %c, %bt, %ct : tensor<8x8xf32>, tensor<8x8xf32>, tensor<8x8xf32>
}

// A check names its node.
// CHECK-LABEL: func.func @checked(
// CHECK-NOT: call
// CHECK: return
func.func @checked(%x: tensor<8x8xf32>, %w: tensor<8x8xf32>, %ok: i1) -> tensor<8x8xf32> {
  %e = tensor.empty() : tensor<8x8xf32>
  %a = linalg.matmul ins(%x, %w : tensor<8x8xf32>, tensor<8x8xf32>) outs(%e : tensor<8x8xf32>) -> tensor<8x8xf32>
  ssm.check %ok, "first", "is not so"
  %b = linalg.matmul ins(%a, %w : tensor<8x8xf32>, tensor<8x8xf32>) outs(%e : tensor<8x8xf32>) -> tensor<8x8xf32>
  ssm.check %ok, "second", "is not so"
  return %b : tensor<8x8xf32>
}

// Loops over elements alone stay: they fuse.
// CHECK-LABEL: func.func @elementwise(
// CHECK-NOT: call
// CHECK: return
func.func @elementwise(%x: tensor<8xf32>) -> tensor<8xf32> {
  %a = math.tanh %x : tensor<8xf32>
  %b = math.exp %a : tensor<8xf32>
  %c = math.tanh %b : tensor<8xf32>
  %d = math.exp %c : tensor<8xf32>
  return %d : tensor<8xf32>
}
