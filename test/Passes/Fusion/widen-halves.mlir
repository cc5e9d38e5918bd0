// RUN: ssm-opt %s -split-input-file -ssm-widen-halves -canonicalize | FileCheck %s

#i = affine_map<(i) -> (i)>

// Only what is stored is rounded.

// CHECK-LABEL: @elementwise
// CHECK: ^bb0(%[[X:[a-z0-9]+]]: bf16):
// CHECK-NEXT: %[[W:[a-z0-9]+]] = arith.extf %[[X]]
// CHECK-NEXT: %[[S:[a-z0-9]+]] = arith.addf %[[W]], %[[W]]
// CHECK-NEXT: %[[E:[a-z0-9]+]] = math.exp %[[S]]
// CHECK-NEXT: %[[R:[a-z0-9]+]] = arith.truncf %[[E]]
// CHECK-NEXT: ssm.yield %[[R]]
func.func @elementwise(%x: tensor<?xbf16>, %e: tensor<?xbf16>) -> tensor<?xbf16> {
  %y = ssm.kernel loops 1 ins(%x : tensor<?xbf16>) outs(%e : tensor<?xbf16>) maps [#i, #i] {
    ^bb0(%v: bf16):
      %w = arith.extf %v : bf16 to f32
      %s = arith.addf %w, %w : f32
      %r = arith.truncf %s : f32 to bf16
      %u = arith.extf %r : bf16 to f32
      %q = math.exp %u : f32
      %z = arith.truncf %q : f32 to bf16
      ssm.yield %z : bf16
  } -> tensor<?xbf16>
  return %y : tensor<?xbf16>
}

// -----

#i = affine_map<(i) -> (i)>

// A Cast asks for the rounding, whoever reads it.

// CHECK-LABEL: @cast
// CHECK: ^bb0(%[[X:[a-z0-9]+]]: f32):
// CHECK-NEXT: %[[R:[a-z0-9]+]] = arith.truncf %[[X]] : f32 to f16
// CHECK-NEXT: %[[U:[a-z0-9]+]] = arith.extf %[[R]] : f16 to f32
// CHECK-NEXT: %[[N:[a-z0-9]+]] = arith.negf %[[U]]
// CHECK-NEXT: ssm.yield %[[N]]
func.func @cast(%x: tensor<?xf32>, %e: tensor<?xf32>) -> tensor<?xf32> {
  %y = ssm.kernel loops 1 ins(%x : tensor<?xf32>) outs(%e : tensor<?xf32>) maps [#i, #i] {
    ^bb0(%v: f32):
      %r = arith.truncf %v {ssm.cast} : f32 to f16
      %u = arith.extf %r : f16 to f32
      %n = arith.negf %u : f32
      %h = arith.truncf %n : f32 to f16
      %w = arith.extf %h : f16 to f32
      ssm.yield %w : f32
  } -> tensor<?xf32>
  return %y : tensor<?xf32>
}

// -----

#t = affine_map<(t, d) -> (t, d)>
#d = affine_map<(t, d) -> (d)>
#none = affine_map<(t, d) -> ()>

// A state is f32 between a kernel that extends it and one that rounds it. A carry that
// is handed on as it is stays; a scalar start is extended where it is.

// CHECK-LABEL: @carries
// CHECK-SAME: (%[[X:[a-z0-9]+]]: tensor<?x8xf16>, %[[H:[a-z0-9]+]]: tensor<8xf16>, %[[Z:[a-z0-9]+]]: f16
// CHECK: %[[W:[a-z0-9]+]] = ssm.kernel loops 1 ins(%[[H]] : tensor<8xf16>)
// CHECK: arith.extf
// CHECK: %[[WZ:[a-z0-9]+]] = arith.extf %[[Z]]
// CHECK: %[[L:[a-z0-9]+]]:4 = ssm.kernel loops 2 time 0
// CHECK-SAME: inits(%[[W]], %[[H]], %[[WZ]] : tensor<8xf32>, tensor<8xf16>, f32)
// CHECK: ^bb0(%[[V:[a-z0-9]+]]: f16, %[[A:[a-z0-9]+]]: f32, %[[P:[a-z0-9]+]]: f16, %[[B:[a-z0-9]+]]: f32):
// CHECK: %[[E:[a-z0-9]+]] = arith.extf %[[V]]
// CHECK: %[[S:[a-z0-9]+]] = arith.addf %[[A]], %[[E]]
// CHECK: %[[Y:[a-z0-9]+]] = arith.truncf %[[S]]
// CHECK: %[[T:[a-z0-9]+]] = arith.addf %[[B]], %[[S]]
// CHECK: ssm.yield %[[S]], %[[V]], %[[T]], %[[Y]] : f32, f16, f32, f16
// CHECK: %[[LAST:[a-z0-9]+]] = ssm.kernel loops 1 ins(%[[L]]#0 : tensor<8xf32>)
// CHECK: arith.truncf
// CHECK: return %[[LAST]], %[[L]]#1, %[[L]]#3
func.func @carries(%x: tensor<?x8xf16>, %h: tensor<8xf16>, %zero: f16, %e: tensor<8xf16>,
                   %f: tensor<?x8xf16>) -> (tensor<8xf16>, tensor<8xf16>, tensor<?x8xf16>) {
  %l:4 = ssm.kernel loops 2 time 0 ins(%x : tensor<?x8xf16>)
      inits(%h, %h, %zero : tensor<8xf16>, tensor<8xf16>, f16)
      outs(%e, %e, %e, %f : tensor<8xf16>, tensor<8xf16>, tensor<8xf16>, tensor<?x8xf16>)
      maps [#t, #d, #d, #none, #d, #d, #d, #t] {
    ^bb0(%v: f16, %a: f16, %p: f16, %b: f16):
      %0 = arith.extf %v : f16 to f32
      %1 = arith.extf %a : f16 to f32
      %2 = arith.addf %1, %0 : f32
      %3 = arith.truncf %2 : f32 to f16
      %4 = arith.extf %b : f16 to f32
      %5 = arith.extf %3 : f16 to f32
      %6 = arith.addf %4, %5 : f32
      %7 = arith.truncf %6 : f32 to f16
      ssm.yield %3, %v, %7, %3 : f16, f16, f16, f16
  } -> tensor<8xf16>, tensor<8xf16>, tensor<8xf16>, tensor<?x8xf16>
  return %l#0, %l#1, %l#3 : tensor<8xf16>, tensor<8xf16>, tensor<?x8xf16>
}
