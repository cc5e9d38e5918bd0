// RUN: ssm-opt %s -ssm-outline-kernels | FileCheck %s

#ij = affine_map<(i, j) -> (i, j)>
#ji = affine_map<(i, j) -> (j, i)>
#mk = affine_map<(m, n, k) -> (m, k)>
#kn = affine_map<(m, n, k) -> (k, n)>
#mn = affine_map<(m, n, k) -> (m, n)>
#td = affine_map<(t, d) -> (t, d)>
#d = affine_map<(t, d) -> (d)>
#i = affine_map<(i, j) -> (i)>
#td3 = affine_map<(t, d, k) -> (t, d)>
#tk3 = affine_map<(t, d, k) -> (t, k)>
#kd3 = affine_map<(t, d, k) -> (k, d)>

// Kernels are named after what they compute and the sizes that tell them apart.

// CHECK-LABEL: func.func @main.run(
// CHECK: call @kernel_fill(
// CHECK: call @kernel_copy(
// CHECK: call @kernel_transpose(
// CHECK: call @kernel_softmax(
// CHECK: call @kernel_rmsnorm(
// CHECK: call @kernel_matmul_8x8_silu(
// CHECK: call @kernel_map_sigmoid_addf(
// CHECK: call @kernel_conv3(
// CHECK: call @kernel_recurrence_exp(
// CHECK: call @kernel_map_softplus(
// CHECK: call @kernel_map_softplus_mulf(
// CHECK: call @kernel_layernorm(
// CHECK: call @kernel_reduce_addf(
// CHECK: call @kernel_steps_reversed_exp(
// CHECK: call @kernel_delta8_subf(
// CHECK: call @kernel_conv2_reversed(
func.func @main.run(%t: !llvm.ptr, %c: !llvm.ptr, %args: !llvm.ptr, %arena: !llvm.ptr,
                    %weights: !llvm.ptr) -> i32 attributes {ssm.entry = "main"} {
  %c0 = arith.constant 0 : index
  %zero = arith.constant 0.0 : f32
  %one = arith.constant 1.0 : f32
  %ok = arith.constant 0 : i32
  %x = ssm.arg %args[0] : !llvm.ptr -> memref<8x8xf32>
  %h = ssm.arg %args[1] : !llvm.ptr -> memref<8xf32>
  %w = ssm.arg %args[2] : !llvm.ptr -> memref<8x8xf32>
  %y = ssm.arena_view %arena[%c0] () : !llvm.ptr -> memref<8x8xf32>
  %e = ssm.output %t, %c[0] () : !llvm.ptr, !llvm.ptr -> memref<8xf32>
  %last = ssm.output %t, %c[2] () : !llvm.ptr, !llvm.ptr -> memref<8x8xf32>
  %f = ssm.output %t, %c[1] () : !llvm.ptr, !llvm.ptr -> memref<8xf32>
  ssm.kernel loops 2 outs(%y : memref<8x8xf32>) maps [#ij] {
    ssm.yield %zero : f32
  }
  ssm.kernel loops 2 ins(%x : memref<8x8xf32>) outs(%y : memref<8x8xf32>) maps [#ij, #ij] {
    ^bb0(%v: f32):
      ssm.yield %v : f32
  }
  ssm.kernel loops 2 ins(%x : memref<8x8xf32>) outs(%y : memref<8x8xf32>) maps [#ji, #ij] {
    ^bb0(%v: f32):
      ssm.yield %v : f32
  }
  ssm.kernel loops 2 ins(%x : memref<8x8xf32>) outs(%y : memref<8x8xf32>) maps [#ij, #ij] {
    ^bb0(%v: f32):
      %m = ssm.reduce maximumf %v over [1] : f32
      %s = arith.subf %v, %m : f32
      %p = math.exp %s : f32
      %q = ssm.reduce addf %p over [1] : f32
      %r = arith.divf %p, %q : f32
      ssm.yield %r : f32
  }
  ssm.kernel loops 2 ins(%x : memref<8x8xf32>) outs(%y : memref<8x8xf32>) maps [#ij, #ij] {
    ^bb0(%v: f32):
      %m = arith.mulf %v, %v : f32
      %s = ssm.reduce addf %m over [1] : f32
      %p = math.rsqrt %s : f32
      %r = arith.mulf %v, %p : f32
      ssm.yield %r : f32
  }
  ssm.kernel loops 3 ins(%x, %w : memref<8x8xf32>, memref<8x8xf32>) outs(%y : memref<8x8xf32>) maps [#mk, #kn, #mn] {
    ^bb0(%v: f32, %u: f32):
      %m = arith.mulf %v, %u : f32
      %s = ssm.reduce addf %m over [2] : f32
      %n = arith.negf %s : f32
      %p = math.exp %n : f32
      %a = arith.addf %p, %one : f32
      %g = arith.divf %one, %a : f32
      %r = arith.mulf %g, %s : f32
      ssm.yield %r : f32
  }
  ssm.kernel loops 2 ins(%x : memref<8x8xf32>) outs(%y : memref<8x8xf32>) maps [#ij, #ij] {
    ^bb0(%v: f32):
      %n = arith.negf %v : f32
      %p = math.exp %n : f32
      %a = arith.addf %p, %one : f32
      %g = arith.divf %one, %a : f32
      %r = arith.addf %g, %g : f32
      ssm.yield %r : f32
  }
  ssm.kernel loops 2 time 0 ins(%x : memref<8x8xf32>) inits(%h, %h : memref<8xf32>, memref<8xf32>)
      outs(%e, %f, %y : memref<8xf32>, memref<8xf32>, memref<8x8xf32>) maps [#td, #d, #d, #d, #d, #td] {
    ^bb0(%v: f32, %p: f32, %q: f32):
      %s = arith.addf %p, %q : f32
      %r = arith.addf %s, %v : f32
      ssm.yield %q, %v, %r : f32, f32, f32
  }
  ssm.kernel loops 2 time 0 ins(%x : memref<8x8xf32>) inits(%h : memref<8xf32>)
      outs(%e, %y : memref<8xf32>, memref<8x8xf32>) maps [#td, #d, #d, #td] {
    ^bb0(%v: f32, %p: f32):
      %a = math.exp %v : f32
      %s = arith.mulf %a, %p : f32
      ssm.yield %s, %s : f32, f32
  }
  ssm.kernel loops 2 ins(%x : memref<8x8xf32>) outs(%y : memref<8x8xf32>) maps [#ij, #ij] {
    ^bb0(%v: f32):
      %a = math.absf %v : f32
      %n = arith.negf %a : f32
      %p = math.exp %n : f32
      %l = math.log1p %p : f32
      %gt = arith.cmpf ugt, %v, %zero : f32
      %m = arith.select %gt, %v, %zero : f32
      %r = arith.addf %m, %l : f32
      ssm.yield %r : f32
  }
  ssm.kernel loops 2 ins(%x : memref<8x8xf32>) outs(%y : memref<8x8xf32>) maps [#ij, #ij] {
    ^bb0(%v: f32):
      %p = math.exp %v : f32
      %l = math.log1p %p : f32
      %r = arith.mulf %l, %v : f32
      ssm.yield %r : f32
  }
  ssm.kernel loops 2 ins(%x : memref<8x8xf32>) outs(%y : memref<8x8xf32>) maps [#ij, #ij] {
    ^bb0(%v: f32):
      %s = ssm.reduce addf %v over [1] : f32
      %z = arith.subf %v, %s : f32
      %m = arith.mulf %z, %z : f32
      %q = ssm.reduce addf %m over [1] : f32
      %p = math.rsqrt %q : f32
      %r = arith.mulf %z, %p : f32
      ssm.yield %r : f32
  }
  ssm.kernel loops 2 ins(%x : memref<8x8xf32>) outs(%f : memref<8xf32>) maps [#ij, #i] {
    ^bb0(%v: f32):
      %a = arith.addf %v, %v : f32
      %s = ssm.reduce addf %a over [1] : f32
      ssm.yield %s : f32
  }
  ssm.kernel loops 2 time 0 ins(%x : memref<8x8xf32>) outs(%y : memref<8x8xf32>) maps [#td, #td] mirrored [true, false] {
    ^bb0(%v: f32):
      %r = math.exp %v : f32
      ssm.yield %r : f32
  }
  ssm.kernel loops 3 time 0 ins(%x, %w : memref<8x8xf32>, memref<8x8xf32>) inits(%w : memref<8x8xf32>)
      outs(%last, %y : memref<8x8xf32>, memref<8x8xf32>) maps [#td3, #tk3, #kd3, #kd3, #td3] transition <low_rank> {
    ^bb0(%v: f32, %k: f32, %h0: f32):
      %m = arith.mulf %k, %h0 : f32
      %s = ssm.reduce addf %m over [2] : f32
      %e1 = arith.subf %v, %s : f32
      %n = arith.mulf %e1, %k : f32
      %r = arith.addf %h0, %n : f32
      ssm.yield %r, %s : f32, f32
  }
  ssm.kernel loops 2 time 0 ins(%x : memref<8x8xf32>) inits(%h : memref<8xf32>)
      outs(%e, %y : memref<8xf32>, memref<8x8xf32>) maps [#td, #d, #d, #td] mirrored [true, true] {
    ^bb0(%v: f32, %p: f32):
      %r = arith.addf %p, %v : f32
      ssm.yield %v, %r : f32, f32
  }
  return %ok : i32
}
