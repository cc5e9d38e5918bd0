// RUN: ssm-opt %s -split-input-file -ssm-fuse-kernels=device=true --remark-format=emitRemark --remarks-filter=fuse 2> %t | FileCheck %s
// RUN: FileCheck %s --check-prefix=REMARK < %t
// RUN: ssm-opt %s -split-input-file -ssm-fuse-kernels | FileCheck %s --check-prefix=CPU

#mk = affine_map<(b, t, d, k) -> (b, t, k)>
#dk = affine_map<(b, t, d, k) -> (d, k)>
#out = affine_map<(b, t, d, k) -> (b, t, d)>
#btd = affine_map<(b, t, d) -> (b, t, d)>
#d = affine_map<(b, t, d) -> (d)>
#bd = affine_map<(b, t, d) -> (b, d)>

// What follows a product is computed by the steps that take it, which then read two bytes of each
// element instead of four.

// REMARK: a recurrence computes it, from fewer bytes
// CHECK-LABEL: @steps
// CHECK: %[[P:.*]] = ssm.kernel loops 4
// CHECK: arith.truncf
// CHECK: -> tensor<?x?x8xbf16>
// CHECK: ssm.kernel loops 3 time 1 ins({{.*}}%[[P]]
// CHECK: math.exp
// CPU-LABEL: @steps
// CPU: ssm.kernel loops 4
// CPU: math.exp
// CPU: -> tensor<?x?x8xf32>
// CPU: ssm.kernel loops 3 time 1
func.func @steps(%x: tensor<?x?x4xbf16>, %w: tensor<8x4xbf16>, %bias: tensor<8xf32>, %h0: tensor<?x8xf32>,
                 %ep: tensor<?x?x8xbf16>, %ef: tensor<?x?x8xf32>, %eh: tensor<?x8xf32>)
    -> (tensor<?x8xf32>, tensor<?x?x8xf32>) {
  %p = ssm.kernel loops 4 ins(%x, %w : tensor<?x?x4xbf16>, tensor<8x4xbf16>) outs(%ep : tensor<?x?x8xbf16>) maps [#mk, #dk, #out] {
  ^bb0(%l: bf16, %r: bf16):
    %wideL = arith.extf %l : bf16 to f32
    %wideR = arith.extf %r : bf16 to f32
    %product = arith.mulf %wideL, %wideR : f32
    %s = ssm.reduce addf %product over [3] : f32
    %n = arith.truncf %s : f32 to bf16
    ssm.yield %n : bf16
  } -> tensor<?x?x8xbf16>
  %wide = ssm.kernel loops 3 ins(%p : tensor<?x?x8xbf16>) outs(%ef : tensor<?x?x8xf32>) maps [#btd, #btd] {
  ^bb0(%v: bf16):
    %0 = arith.extf %v : bf16 to f32
    ssm.yield %0 : f32
  } -> tensor<?x?x8xf32>
  %step = ssm.kernel loops 3 ins(%wide, %bias : tensor<?x?x8xf32>, tensor<8xf32>) outs(%ef : tensor<?x?x8xf32>) maps [#btd, #d, #btd] {
  ^bb0(%v: f32, %c: f32):
    %0 = arith.addf %v, %c : f32
    %1 = math.exp %0 : f32
    ssm.yield %1 : f32
  } -> tensor<?x?x8xf32>
  %h, %y = ssm.kernel loops 3 time 1 ins(%step : tensor<?x?x8xf32>) inits(%h0 : tensor<?x8xf32>)
      outs(%eh, %ef : tensor<?x8xf32>, tensor<?x?x8xf32>) maps [#btd, #bd, #bd, #btd] {
  ^bb0(%v: f32, %c: f32):
    %0 = arith.mulf %v, %c : f32
    ssm.yield %0, %0 : f32, f32
  } -> tensor<?x8xf32>, tensor<?x?x8xf32>
  return %h, %y : tensor<?x8xf32>, tensor<?x?x8xf32>
}

// -----

#mk = affine_map<(b, t, d, k) -> (b, t, k)>
#dk = affine_map<(b, t, d, k) -> (d, k)>
#out = affine_map<(b, t, d, k) -> (b, t, d)>
#btd = affine_map<(b, t, d) -> (b, t, d)>
#bd = affine_map<(b, t, d) -> (b, d)>

// Not where the product's own result has as many bytes.

// CHECK-LABEL: @same_bytes
// CHECK: ssm.kernel loops 4
// CHECK: math.exp
// CHECK: ssm.kernel loops 3 time 1
// CHECK-NOT: math.exp
func.func @same_bytes(%x: tensor<?x?x4xf32>, %w: tensor<8x4xf32>, %h0: tensor<?x8xf32>, %ef: tensor<?x?x8xf32>,
                      %eh: tensor<?x8xf32>) -> (tensor<?x8xf32>, tensor<?x?x8xf32>) {
  %p = ssm.kernel loops 4 ins(%x, %w : tensor<?x?x4xf32>, tensor<8x4xf32>) outs(%ef : tensor<?x?x8xf32>) maps [#mk, #dk, #out] {
  ^bb0(%l: f32, %r: f32):
    %product = arith.mulf %l, %r : f32
    %s = ssm.reduce addf %product over [3] : f32
    ssm.yield %s : f32
  } -> tensor<?x?x8xf32>
  %step = ssm.kernel loops 3 ins(%p : tensor<?x?x8xf32>) outs(%ef : tensor<?x?x8xf32>) maps [#btd, #btd] {
  ^bb0(%v: f32):
    %1 = math.exp %v : f32
    ssm.yield %1 : f32
  } -> tensor<?x?x8xf32>
  %h, %y = ssm.kernel loops 3 time 1 ins(%step : tensor<?x?x8xf32>) inits(%h0 : tensor<?x8xf32>)
      outs(%eh, %ef : tensor<?x8xf32>, tensor<?x?x8xf32>) maps [#btd, #bd, #bd, #btd] {
  ^bb0(%v: f32, %c: f32):
    %0 = arith.mulf %v, %c : f32
    ssm.yield %0, %0 : f32, f32
  } -> tensor<?x8xf32>, tensor<?x?x8xf32>
  return %h, %y : tensor<?x8xf32>, tensor<?x?x8xf32>
}
