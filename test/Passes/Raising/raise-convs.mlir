// RUN: ssm-opt %s -split-input-file -ssm-raise-convs -canonicalize --remark-format=emitRemark --remarks-filter=raise 2> %t | FileCheck %s
// RUN: FileCheck %s --check-prefix=REMARK < %t

#x = affine_map<(d, t, k) -> (t + k, d)>
#w = affine_map<(d, t, k) -> (d, k)>
#y = affine_map<(d, t, k) -> (t, d)>

// A past before the sequence; the last carries are the next past.
// CHECK-DAG: #[[X:.*]] = affine_map<(d0, d1) -> (d1, d0)>
// CHECK-DAG: #[[W0:.*]] = affine_map<(d0, d1) -> (d0, 0)>
// CHECK-DAG: #[[W2:.*]] = affine_map<(d0, d1) -> (d0, 2)>
// CHECK-LABEL: func.func @state
// CHECK-SAME: %[[PAST:.*]]: tensor<2x8xf32>, %[[SEQ:.*]]: tensor<?x8xf32>, %[[W:.*]]: tensor<8x3xf32>
// CHECK-DAG: %[[P0:.*]] = tensor.extract_slice %[[PAST]][0, 0] [1, 8] [1, 1]
// CHECK-DAG: %[[P1:.*]] = tensor.extract_slice %[[PAST]][1, 0] [1, 8] [1, 1]
// CHECK: %[[K:.*]]:3 = ssm.kernel loops 2 time 1 ins(%[[SEQ]], %[[W]], %[[W]], %[[W]] :
// CHECK-SAME: inits(%[[P0]], %[[P1]] :
// CHECK-SAME: maps [#[[X]], #[[W0]],
// CHECK: ^bb0(%[[V:.*]]: f32, %{{.*}}: f32, %{{.*}}: f32, %{{.*}}: f32, %{{.*}}: f32, %[[C1:.*]]: f32):
// CHECK: ssm.yield %[[C1]], %[[V]], %{{.*}} : f32, f32, f32
// CHECK: tensor.insert_slice %[[K]]#0 into
// CHECK: tensor.insert_slice %[[K]]#1 into
func.func @state(%past: tensor<2x8xf32>, %seq: tensor<?x8xf32>, %w: tensor<8x3xf32>) -> (tensor<?x8xf32>, tensor<2x8xf32>) {
  %c0 = arith.constant 0 : index
  %c2 = arith.constant 2 : index
  %n = tensor.dim %seq, %c0 : tensor<?x8xf32>
  %s = tensor.empty(%n) : tensor<?x8xf32>
  %x = ssm.kernel loops 2 ins(%seq : tensor<?x8xf32>) outs(%s : tensor<?x8xf32>)
      maps [affine_map<(i, j) -> (i, j)>, affine_map<(i, j) -> (i, j)>] {
    ^bb0(%v: f32):
      ssm.yield %v : f32
  } -> tensor<?x8xf32>
  %m = arith.addi %n, %c2 : index
  %e = tensor.empty(%m) : tensor<?x8xf32>
  %p = tensor.insert_slice %past into %e[0, 0] [2, 8] [1, 1] : tensor<2x8xf32> into tensor<?x8xf32>
  %q = tensor.insert_slice %x into %p[2, 0] [%n, 8] [1, 1] : tensor<?x8xf32> into tensor<?x8xf32>
  %y = ssm.kernel loops 3 ins(%q, %w : tensor<?x8xf32>, tensor<8x3xf32>) outs(%s : tensor<?x8xf32>) maps [#x, #w, #y] {
    ^bb0(%v: f32, %u: f32):
      %0 = arith.mulf %v, %u : f32
      %1 = ssm.reduce addf %0 over [2] : f32
      ssm.yield %1 : f32
  } -> tensor<?x8xf32>
  %next = tensor.extract_slice %q[%n, 0] [2, 8] [1, 1] : tensor<?x8xf32> to tensor<2x8xf32>
  return %y, %next : tensor<?x8xf32>, tensor<2x8xf32>
}

// -----

// One step: its only window has no loop over time.
// CHECK-LABEL: func.func @step
// CHECK-SAME: %[[PAST:.*]]: tensor<2x8xf32>, %[[SEQ:.*]]: tensor<1x8xf32>
// CHECK: ssm.kernel loops 2 time 1 ins(%[[SEQ]],
// CHECK-NOT: ssm.reduce
func.func @step(%past: tensor<2x8xf32>, %seq: tensor<1x8xf32>, %w: tensor<8x3xf32>) -> (tensor<1x8xf32>, tensor<2x8xf32>) {
  %e = tensor.empty() : tensor<3x8xf32>
  %s = tensor.empty() : tensor<1x8xf32>
  %p = tensor.insert_slice %past into %e[0, 0] [2, 8] [1, 1] : tensor<2x8xf32> into tensor<3x8xf32>
  %q = tensor.insert_slice %seq into %p[2, 0] [1, 8] [1, 1] : tensor<1x8xf32> into tensor<3x8xf32>
  %y = ssm.kernel loops 2 ins(%q, %w : tensor<3x8xf32>, tensor<8x3xf32>) outs(%s : tensor<1x8xf32>)
      maps [affine_map<(d, k) -> (k, d)>, affine_map<(d, k) -> (d, k)>, affine_map<(d, k) -> (0, d)>] {
    ^bb0(%v: f32, %u: f32):
      %0 = arith.mulf %v, %u : f32
      %1 = ssm.reduce addf %0 over [1] : f32
      ssm.yield %1 : f32
  } -> tensor<1x8xf32>
  %next = tensor.extract_slice %q[1, 0] [2, 8] [1, 1] : tensor<3x8xf32> to tensor<2x8xf32>
  return %y, %next : tensor<1x8xf32>, tensor<2x8xf32>
}

// -----

#x = affine_map<(d, t, k) -> (t + k, d)>
#w = affine_map<(d, t, k) -> (d, k)>
#y = affine_map<(d, t, k) -> (t, d)>
#i = affine_map<(d, t) -> (t, d)>

// Padded at both ends and cut: nothing is computed behind the cut.
// CHECK-LABEL: func.func @cut
// CHECK-SAME: %[[SEQ:.*]]: tensor<5x8xf32>
// CHECK: ssm.kernel loops 2 time 1 ins(%[[SEQ]],
// CHECK-SAME: inits(%cst : f32) outs({{.*}} : tensor<8xf32>, tensor<5x8xf32>)
// CHECK: %[[N:.*]] = ssm.kernel loops 2 ins({{.*}} : tensor<5x8xf32>) outs({{.*}} : tensor<5x8xf32>)
// CHECK-NOT: tensor.extract_slice
// CHECK: return %[[N]]
func.func @cut(%seq: tensor<5x8xf32>, %w: tensor<8x2xf32>) -> tensor<5x8xf32> {
  %zero = arith.constant 0.0 : f32
  %e = tensor.empty() : tensor<7x8xf32>
  %z = linalg.fill ins(%zero : f32) outs(%e : tensor<7x8xf32>) -> tensor<7x8xf32>
  %q = tensor.insert_slice %seq into %z[1, 0] [5, 8] [1, 1] : tensor<5x8xf32> into tensor<7x8xf32>
  %s = tensor.empty() : tensor<6x8xf32>
  %y = ssm.kernel loops 3 ins(%q, %w : tensor<7x8xf32>, tensor<8x2xf32>) outs(%s : tensor<6x8xf32>) maps [#x, #w, #y] {
    ^bb0(%v: f32, %u: f32):
      %0 = arith.mulf %v, %u : f32
      %1 = ssm.reduce addf %0 over [2] : f32
      ssm.yield %1 : f32
  } -> tensor<6x8xf32>
  %n = ssm.kernel loops 2 ins(%y : tensor<6x8xf32>) outs(%s : tensor<6x8xf32>) maps [#i, #i] {
    ^bb0(%v: f32):
      %0 = arith.negf %v : f32
      ssm.yield %0 : f32
  } -> tensor<6x8xf32>
  %c = tensor.extract_slice %n[0, 0] [5, 8] [1, 1] : tensor<6x8xf32> to tensor<5x8xf32>
  return %c : tensor<5x8xf32>
}

// -----

#x = affine_map<(d, t, k) -> (t + k, d)>
#w = affine_map<(d, t, k) -> (d, k)>
#y = affine_map<(d, t, k) -> (t, d)>

// Looks ahead: no recurrence.
// REMARK: convolution not raised: its input is not a past and a sequence
// CHECK-LABEL: func.func @ahead
// CHECK: ssm.kernel loops 3 ins
func.func @ahead(%seq: tensor<5x8xf32>, %w: tensor<8x3xf32>) -> tensor<5x8xf32> {
  %zero = arith.constant 0.0 : f32
  %e = tensor.empty() : tensor<7x8xf32>
  %z = linalg.fill ins(%zero : f32) outs(%e : tensor<7x8xf32>) -> tensor<7x8xf32>
  %q = tensor.insert_slice %seq into %z[1, 0] [5, 8] [1, 1] : tensor<5x8xf32> into tensor<7x8xf32>
  %s = tensor.empty() : tensor<5x8xf32>
  %y = ssm.kernel loops 3 ins(%q, %w : tensor<7x8xf32>, tensor<8x3xf32>) outs(%s : tensor<5x8xf32>) maps [#x, #w, #y] {
    ^bb0(%v: f32, %u: f32):
      %0 = arith.mulf %v, %u : f32
      %1 = ssm.reduce addf %0 over [2] : f32
      ssm.yield %1 : f32
  } -> tensor<5x8xf32>
  return %y : tensor<5x8xf32>
}

// -----

#x = affine_map<(d, t, k) -> (t + k, d)>
#w = affine_map<(d, t, k) -> (d, k)>
#y = affine_map<(d, t, k) -> (t, d)>

// The sequence is an argument, whose size only `tensor.dim` tells.
// CHECK-LABEL: func.func @argument
// CHECK-SAME: %[[SEQ:.*]]: tensor<?x8xf32>
// CHECK: ssm.kernel loops 2 time 1 ins(%[[SEQ]],
func.func @argument(%seq: tensor<?x8xf32>, %w: tensor<8x2xf32>) -> tensor<?x8xf32> {
  %zero = arith.constant 0.0 : f32
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %n = tensor.dim %seq, %c0 : tensor<?x8xf32>
  %m = arith.addi %n, %c1 : index
  %e = tensor.empty(%m) : tensor<?x8xf32>
  %z = linalg.fill ins(%zero : f32) outs(%e : tensor<?x8xf32>) -> tensor<?x8xf32>
  %q = tensor.insert_slice %seq into %z[1, 0] [%n, 8] [1, 1] : tensor<?x8xf32> into tensor<?x8xf32>
  %s = tensor.empty(%n) : tensor<?x8xf32>
  %y = ssm.kernel loops 3 ins(%q, %w : tensor<?x8xf32>, tensor<8x2xf32>) outs(%s : tensor<?x8xf32>) maps [#x, #w, #y] {
    ^bb0(%v: f32, %u: f32):
      %0 = arith.mulf %v, %u : f32
      %1 = ssm.reduce addf %0 over [2] : f32
      ssm.yield %1 : f32
  } -> tensor<?x8xf32>
  return %y : tensor<?x8xf32>
}

// -----

#x = affine_map<(d, t, k) -> (d, t + k)>
#w = affine_map<(d, t, k) -> (d, k)>
#y = affine_map<(d, t, k) -> (d, t)>

// Time is innermost: lanes along time.
// REMARK: convolution not raised: time is innermost
// CHECK-LABEL: func.func @innermost
// CHECK: ssm.kernel loops 3 ins
func.func @innermost(%seq: tensor<8x5xf32>, %w: tensor<8x2xf32>) -> tensor<8x5xf32> {
  %zero = arith.constant 0.0 : f32
  %e = tensor.empty() : tensor<8x6xf32>
  %z = linalg.fill ins(%zero : f32) outs(%e : tensor<8x6xf32>) -> tensor<8x6xf32>
  %q = tensor.insert_slice %seq into %z[0, 1] [8, 5] [1, 1] : tensor<8x5xf32> into tensor<8x6xf32>
  %s = tensor.empty() : tensor<8x5xf32>
  %y = ssm.kernel loops 3 ins(%q, %w : tensor<8x6xf32>, tensor<8x2xf32>) outs(%s : tensor<8x5xf32>) maps [#x, #w, #y] {
    ^bb0(%v: f32, %u: f32):
      %0 = arith.mulf %v, %u : f32
      %1 = ssm.reduce addf %0 over [2] : f32
      ssm.yield %1 : f32
  } -> tensor<8x5xf32>
  return %y : tensor<8x5xf32>
}
