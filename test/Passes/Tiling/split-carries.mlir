// RUN: ssm-opt %s -pass-pipeline='builtin.module(func.func(ssm-split-carries),canonicalize,cse)' | FileCheck %s
// RUN: ssm-opt %s -pass-pipeline='builtin.module(func.func(ssm-split-carries{least-steps=33}),canonicalize,cse)' | FileCheck %s --check-prefix=FEW

#udt = affine_map<(t, d, n) -> (t, d)>
#ids = affine_map<(t, d, n) -> (t)>
#h = affine_map<(t, d, n) -> (d, n)>
#b = affine_map<(t, d, n) -> (t, n)>
#e = affine_map<(t, d, n) -> (d)>
#s = affine_map<(t, d, n) -> ()>

// The id of the last step's sequence: flags of bytes are handed on, which have no channel.

// CHECK-LABEL: @ids
// CHECK-SAME: %[[U:[a-z0-9]*]]: tensor<32x8xf32>, %[[IDS:[a-z0-9]*]]: tensor<32xi32>
// CHECK: %[[E:.*]] = tensor.empty() : tensor<32xi8>
// CHECK: %[[FIRST:.*]]:2 = ssm.kernel loops 1 time 0 ins(%[[IDS]] : tensor<32xi32>) inits(%{{.*}} : tensor<i32>) outs(%{{.*}}, %[[E]] : tensor<i32>, tensor<32xi8>)
// CHECK: ^bb0(%[[NOW:.*]]: i32, %[[LAST:.*]]: i32):
// CHECK-NEXT: %[[NEW:.*]] = arith.cmpi ne, %[[NOW]], %[[LAST]]
// CHECK-NEXT: %[[FLAG:.*]] = arith.extui %[[NEW]] : i1 to i8
// CHECK-NEXT: ssm.yield %[[NOW]], %[[FLAG]]
// CHECK: %[[SECOND:.*]]:2 = ssm.kernel loops 3 time 0 ins(%[[U]], %[[FIRST]]#1 :
// CHECK-SAME: transition <scalar>
// CHECK: ^bb0(%{{.*}}: f32, %[[BYTE:.*]]: i8, %[[H:.*]]: f32):
// CHECK-NEXT: %[[AGAIN:.*]] = arith.cmpi ne, %[[BYTE]], %c0_i8
// CHECK-NEXT: arith.select %[[AGAIN]], %cst, %[[H]]
// CHECK: ssm.reduce addf %{{.*}} over [2]
// CHECK: return %[[SECOND]]#0, %[[FIRST]]#0, %[[SECOND]]#1

// FEW-LABEL: @ids
// FEW: ssm.kernel loops 3 time 0
// FEW-NOT: ssm.kernel
// FEW: return
func.func @ids(%u: tensor<32x8xf32>, %ids: tensor<32xi32>, %h0: tensor<8x4xf32>, %id0: tensor<i32>, %h1: tensor<8x4xf32>,
               %id1: tensor<i32>, %y1: tensor<32x8xf32>) -> (tensor<8x4xf32>, tensor<i32>, tensor<32x8xf32>) {
  %zero = arith.constant 0.0 : f32
  %r:3 = ssm.kernel loops 3 time 0 ins(%u, %ids : tensor<32x8xf32>, tensor<32xi32>) inits(%h0, %id0 : tensor<8x4xf32>, tensor<i32>)
      outs(%h1, %id1, %y1 : tensor<8x4xf32>, tensor<i32>, tensor<32x8xf32>) maps [#udt, #ids, #h, #s, #h, #s, #udt] {
    ^bb0(%x: f32, %now: i32, %h: f32, %last: i32):
      %new = arith.cmpi ne, %now, %last : i32
      %kept = arith.select %new, %zero, %h : f32
      %next = arith.addf %kept, %x : f32
      %y = ssm.reduce addf %next over [2] : f32
      ssm.yield %next, %now, %y : f32, i32, f32
  } -> tensor<8x4xf32>, tensor<i32>, tensor<32x8xf32>
  return %r#0, %r#1, %r#2 : tensor<8x4xf32>, tensor<i32>, tensor<32x8xf32>
}

// A window in front of a scan of open length. Its product with the step size is left to the scan, which reads that anyway;
// both ways of the scan are there.

// CHECK-LABEL: @window
// CHECK-SAME: %[[U:[a-z0-9]*]]: tensor<?x8xf32>, %[[DT:[a-z0-9]*]]: tensor<?x8xf32>
// CHECK: %[[T:.*]] = tensor.dim %{{.*}}, %c0
// CHECK: %[[LONG:.*]] = arith.cmpi uge, %[[T]], %c16
// CHECK: scf.if %[[LONG]]
// CHECK: %[[FIRST:.*]]:2 = ssm.kernel loops 2 time 0 ins(%[[U]] : tensor<?x8xf32>)
// CHECK: ^bb0(%[[X:.*]]: f32, %[[PAST:.*]]: f32):
// CHECK-NEXT: %[[SUM:.*]] = arith.addf %[[X]], %[[PAST]]
// CHECK-NEXT: ssm.yield %[[X]], %[[SUM]]
// CHECK: ssm.kernel loops 3 time 0 ins(%[[DT]], %{{.*}}, %[[FIRST]]#1 :
// CHECK: arith.mulf
// CHECK: } else {
// CHECK: ssm.kernel loops 3 time 0 {{.*}} inits(%{{.*}}, %{{.*}} :
// CHECK: return
func.func @window(%u: tensor<?x8xf32>, %dt: tensor<?x8xf32>, %b: tensor<?x4xf32>, %h0: tensor<8x4xf32>, %p0: tensor<8xf32>,
                  %h1: tensor<8x4xf32>, %p1: tensor<8xf32>, %y1: tensor<?x8xf32>) -> (tensor<8x4xf32>, tensor<8xf32>, tensor<?x8xf32>) {
  %r:3 = ssm.kernel loops 3 time 0 ins(%u, %dt, %b : tensor<?x8xf32>, tensor<?x8xf32>, tensor<?x4xf32>)
      inits(%h0, %p0 : tensor<8x4xf32>, tensor<8xf32>) outs(%h1, %p1, %y1 : tensor<8x4xf32>, tensor<8xf32>, tensor<?x8xf32>)
      maps [#udt, #udt, #b, #h, #e, #h, #e, #udt] {
    ^bb0(%x: f32, %d: f32, %k: f32, %h: f32, %past: f32):
      %sum = arith.addf %x, %past : f32
      %drive = arith.mulf %sum, %d : f32
      %in = arith.mulf %drive, %k : f32
      %decayed = arith.mulf %h, %d : f32
      %next = arith.addf %decayed, %in : f32
      %y = ssm.reduce addf %next over [2] : f32
      ssm.yield %next, %x, %y : f32, f32, f32
  } -> tensor<8x4xf32>, tensor<8xf32>, tensor<?x8xf32>
  return %r#0, %r#1, %r#2 : tensor<8x4xf32>, tensor<8xf32>, tensor<?x8xf32>
}

// A carry that depends on the state stays with it.

// CHECK-LABEL: @normaliser
// CHECK: ssm.kernel loops 3 time 0
// CHECK-NOT: ssm.kernel
// CHECK: return
func.func @normaliser(%u: tensor<32x8xf32>, %h0: tensor<8x4xf32>, %m0: tensor<8xf32>, %h1: tensor<8x4xf32>, %m1: tensor<8xf32>,
                      %y1: tensor<32x8xf32>) -> (tensor<8x4xf32>, tensor<8xf32>, tensor<32x8xf32>) {
  %r:3 = ssm.kernel loops 3 time 0 ins(%u : tensor<32x8xf32>) inits(%h0, %m0 : tensor<8x4xf32>, tensor<8xf32>)
      outs(%h1, %m1, %y1 : tensor<8x4xf32>, tensor<8xf32>, tensor<32x8xf32>) maps [#udt, #h, #e, #h, #e, #udt] {
    ^bb0(%x: f32, %h: f32, %m: f32):
      %s = arith.mulf %h, %m : f32
      %next = arith.addf %s, %x : f32
      %y = ssm.reduce addf %next over [2] : f32
      ssm.yield %next, %y, %y : f32, f32, f32
  } -> tensor<8x4xf32>, tensor<8xf32>, tensor<32x8xf32>
  return %r#0, %r#1, %r#2 : tensor<8x4xf32>, tensor<8xf32>, tensor<32x8xf32>
}
