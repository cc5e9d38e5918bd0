// RUN: ssm-opt %s -split-input-file -ssm-fuse-kernels -canonicalize --remark-format=emitRemark \
// RUN:   --remarks-filter=fuse 2> %t | FileCheck %s
// RUN: FileCheck %s --check-prefix=REMARK < %t

#mk = affine_map<(m, n, k) -> (m, k)>
#kn = affine_map<(m, n, k) -> (k, n)>
#mn = affine_map<(m, n, k) -> (m, n)>
#ij = affine_map<(i, j) -> (i, j)>
#j = affine_map<(i, j) -> (j)>

// A product takes what follows it elementwise.

// CHECK-LABEL: @epilogue
// CHECK: ssm.kernel loops 3
// CHECK: ssm.reduce addf
// CHECK-NEXT: arith.addf
// CHECK-NEXT: arith.maximumf
// CHECK-NOT: ssm.kernel
func.func @epilogue(%a: tensor<?x8xf32>, %b: tensor<8x4xf32>, %bias: tensor<4xf32>, %e: tensor<?x4xf32>,
                    %f: tensor<?x4xf32>) -> tensor<?x4xf32> {
  %zero = arith.constant 0.0 : f32
  %p = ssm.kernel loops 3 ins(%a, %b : tensor<?x8xf32>, tensor<8x4xf32>) outs(%e : tensor<?x4xf32>) maps [#mk, #kn, #mn] {
    ^bb0(%x: f32, %y: f32):
      %m = arith.mulf %x, %y : f32
      %s = ssm.reduce addf %m over [2] : f32
      ssm.yield %s : f32
  } -> tensor<?x4xf32>
  %r = ssm.kernel loops 2 ins(%p, %bias : tensor<?x4xf32>, tensor<4xf32>) outs(%f : tensor<?x4xf32>) maps [#ij, #j, #ij] {
    ^bb0(%x: f32, %y: f32):
      %s = arith.addf %x, %y : f32
      %m = arith.maximumf %s, %zero : f32
      ssm.yield %m : f32
  } -> tensor<?x4xf32>
  return %r : tensor<?x4xf32>
}

// -----

#mk = affine_map<(m, n, k) -> (m, k)>
#kn = affine_map<(m, n, k) -> (k, n)>
#mn = affine_map<(m, n, k) -> (m, n)>
#ij = affine_map<(i, j) -> (i, j)>

// Nothing goes in front of a product.

// REMARK: an operand of a product would be computed for each of its tiles
// CHECK-LABEL: @prologue
// CHECK: ssm.kernel loops 2
// CHECK: math.exp
// CHECK: ssm.kernel loops 3
func.func @prologue(%a: tensor<?x8xf32>, %b: tensor<8x4xf32>, %e: tensor<?x8xf32>, %f: tensor<?x4xf32>) -> tensor<?x4xf32> {
  %r = ssm.kernel loops 2 ins(%a : tensor<?x8xf32>) outs(%e : tensor<?x8xf32>) maps [#ij, #ij] {
    ^bb0(%x: f32):
      %s = math.exp %x : f32
      ssm.yield %s : f32
  } -> tensor<?x8xf32>
  %p = ssm.kernel loops 3 ins(%r, %b : tensor<?x8xf32>, tensor<8x4xf32>) outs(%f : tensor<?x4xf32>) maps [#mk, #kn, #mn] {
    ^bb0(%x: f32, %y: f32):
      %m = arith.mulf %x, %y : f32
      %s = ssm.reduce addf %m over [2] : f32
      ssm.yield %s : f32
  } -> tensor<?x4xf32>
  return %p : tensor<?x4xf32>
}

// -----

#ij = affine_map<(i, j) -> (i, j)>
#i = affine_map<(i, j) -> (i)>

// Softmax from its parts: the exponential is used twice and computed once.

// CHECK-LABEL: @softmax
// CHECK: ssm.kernel loops 2
// CHECK: ssm.reduce maximumf
// CHECK: math.exp
// CHECK: ssm.reduce addf
// CHECK: arith.divf
// CHECK-NOT: ssm.kernel
func.func @softmax(%x: tensor<?x?xf32>, %r: tensor<?xf32>, %e: tensor<?x?xf32>) -> tensor<?x?xf32> {
  %m = ssm.kernel loops 2 ins(%x : tensor<?x?xf32>) outs(%r : tensor<?xf32>) maps [#ij, #i] {
    ^bb0(%v: f32):
      %s = ssm.reduce maximumf %v over [1] : f32
      ssm.yield %s : f32
  } -> tensor<?xf32>
  %p = ssm.kernel loops 2 ins(%x, %m : tensor<?x?xf32>, tensor<?xf32>) outs(%e : tensor<?x?xf32>) maps [#ij, #i, #ij] {
    ^bb0(%v: f32, %w: f32):
      %d = arith.subf %v, %w : f32
      %t = math.exp %d : f32
      ssm.yield %t : f32
  } -> tensor<?x?xf32>
  %s = ssm.kernel loops 2 ins(%p : tensor<?x?xf32>) outs(%r : tensor<?xf32>) maps [#ij, #i] {
    ^bb0(%v: f32):
      %s = ssm.reduce addf %v over [1] : f32
      ssm.yield %s : f32
  } -> tensor<?xf32>
  %q = ssm.kernel loops 2 ins(%p, %s : tensor<?x?xf32>, tensor<?xf32>) outs(%e : tensor<?x?xf32>) maps [#ij, #i, #ij] {
    ^bb0(%v: f32, %w: f32):
      %d = arith.divf %v, %w : f32
      ssm.yield %d : f32
  } -> tensor<?x?xf32>
  return %q : tensor<?x?xf32>
}

// -----

#td = affine_map<(t, d) -> (t, d)>
#d = affine_map<(t, d) -> (d)>

// A recurrence takes what comes before it and after it.

// CHECK-LABEL: @scan
// CHECK: ssm.kernel loops 2 time 0
// CHECK: math.exp
// CHECK: math.tanh
// CHECK-NOT: ssm.kernel
func.func @scan(%x: tensor<?x8xf32>, %h0: tensor<8xf32>, %e: tensor<?x8xf32>, %eh: tensor<8xf32>) -> (tensor<8xf32>, tensor<?x8xf32>) {
  %p = ssm.kernel loops 2 ins(%x : tensor<?x8xf32>) outs(%e : tensor<?x8xf32>) maps [#td, #td] {
    ^bb0(%v: f32):
      %s = math.exp %v : f32
      ssm.yield %s : f32
  } -> tensor<?x8xf32>
  %h, %y = ssm.kernel loops 2 time 0 ins(%p : tensor<?x8xf32>) inits(%h0 : tensor<8xf32>) outs(%eh, %e : tensor<8xf32>, tensor<?x8xf32>)
      maps [#td, #d, #d, #td] {
    ^bb0(%v: f32, %c: f32):
      %s = arith.addf %v, %c : f32
      ssm.yield %s, %s : f32, f32
  } -> tensor<8xf32>, tensor<?x8xf32>
  %q = ssm.kernel loops 2 ins(%y : tensor<?x8xf32>) outs(%e : tensor<?x8xf32>) maps [#td, #td] {
    ^bb0(%v: f32):
      %s = math.tanh %v : f32
      ssm.yield %s : f32
  } -> tensor<?x8xf32>
  return %h, %q : tensor<8xf32>, tensor<?x8xf32>
}

// -----

#td = affine_map<(t, d) -> (t, d)>
#d = affine_map<(t, d) -> (d)>
#one = affine_map<(d) -> (0, d)>

// So does one of a single step, which its neighbours have no loop for.

// CHECK-LABEL: @step
// CHECK: ssm.kernel loops 2 time
// CHECK: math.exp
// CHECK: math.tanh
// CHECK-NOT: ssm.kernel
func.func @step(%x: tensor<1x8xf32>, %h0: tensor<8xf32>, %e: tensor<1x8xf32>, %eh: tensor<8xf32>) -> (tensor<8xf32>, tensor<1x8xf32>) {
  %p = ssm.kernel loops 1 ins(%x : tensor<1x8xf32>) outs(%e : tensor<1x8xf32>) maps [#one, #one] {
    ^bb0(%v: f32):
      %s = math.exp %v : f32
      ssm.yield %s : f32
  } -> tensor<1x8xf32>
  %h, %y = ssm.kernel loops 2 time 0 ins(%p : tensor<1x8xf32>) inits(%h0 : tensor<8xf32>) outs(%eh, %e : tensor<8xf32>, tensor<1x8xf32>)
      maps [#td, #d, #d, #td] {
    ^bb0(%v: f32, %c: f32):
      %s = arith.addf %v, %c : f32
      ssm.yield %s, %s : f32, f32
  } -> tensor<8xf32>, tensor<1x8xf32>
  %q = ssm.kernel loops 1 ins(%y : tensor<1x8xf32>) outs(%e : tensor<1x8xf32>) maps [#one, #one] {
    ^bb0(%v: f32):
      %s = math.tanh %v : f32
      ssm.yield %s : f32
  } -> tensor<1x8xf32>
  return %h, %q : tensor<8xf32>, tensor<1x8xf32>
}

// -----

#ij = affine_map<(i, j) -> (i, j)>
#mk = affine_map<(m, n, k) -> (m, k)>
#kn = affine_map<(m, n, k) -> (k, n)>
#mn = affine_map<(m, n, k) -> (m, n)>

// What another kernel needs before the consumer stays where it is.

// REMARK: a result is used before the consumer
// CHECK-LABEL: @used_before
// CHECK: math.exp
// CHECK: ssm.kernel
// CHECK: ssm.reduce
// CHECK: ssm.kernel
// CHECK: math.tanh
func.func @used_before(%x: tensor<?x?xf32>, %e: tensor<?x?xf32>, %r: tensor<?x?xf32>) -> (tensor<?x?xf32>, tensor<?x?xf32>) {
  %p = ssm.kernel loops 2 ins(%x : tensor<?x?xf32>) outs(%e : tensor<?x?xf32>) maps [#ij, #ij] {
    ^bb0(%v: f32):
      %s = math.exp %v : f32
      ssm.yield %s : f32
  } -> tensor<?x?xf32>
  %a = ssm.kernel loops 3 ins(%p, %p : tensor<?x?xf32>, tensor<?x?xf32>) outs(%r : tensor<?x?xf32>) maps [#mk, #kn, #mn] {
    ^bb0(%v: f32, %w: f32):
      %m = arith.mulf %v, %w : f32
      %s = ssm.reduce addf %m over [2] : f32
      ssm.yield %s : f32
  } -> tensor<?x?xf32>
  %q = ssm.kernel loops 2 ins(%p, %a : tensor<?x?xf32>, tensor<?x?xf32>) outs(%e : tensor<?x?xf32>)
      maps [#ij, affine_map<(i, j) -> (j, i)>, #ij] {
    ^bb0(%v: f32, %w: f32):
      %s = math.tanh %v : f32
      %t = arith.addf %s, %w : f32
      ssm.yield %t : f32
  } -> tensor<?x?xf32>
  return %q, %a : tensor<?x?xf32>, tensor<?x?xf32>
}

// -----

#td = affine_map<(t, d) -> (t, d)>
#t = affine_map<(t, d) -> (t)>

// Rows of a table are read where they are used, in each pass over a row. The table
// itself is computed first.

// REMARK: what is read by index would be computed at each read
// CHECK-LABEL: @embedding
// CHECK-SAME: %[[IDS:[a-z0-9]+]]: tensor<?xi64>, %[[W:[a-z0-9]+]]: tensor<9x8xf32>
// CHECK: %[[TABLE:.*]] = ssm.kernel loops 2 ins(%[[W]]
// CHECK: ssm.kernel loops 2 ins(%[[IDS]]
// CHECK: tensor.extract %[[TABLE]]
// CHECK: ssm.reduce
// CHECK-NOT: ssm.kernel
func.func @embedding(%ids: tensor<?xi64>, %w: tensor<9x8xf32>, %e: tensor<9x8xf32>, %f: tensor<?x8xf32>) -> tensor<?x8xf32> {
  %table = ssm.kernel loops 2 ins(%w : tensor<9x8xf32>) outs(%e : tensor<9x8xf32>) maps [#td, #td] {
    ^bb0(%v: f32):
      %0 = arith.negf %v : f32
      ssm.yield %0 : f32
  } -> tensor<9x8xf32>
  %rows = ssm.kernel loops 2 ins(%ids : tensor<?xi64>) outs(%f : tensor<?x8xf32>) maps [#t, #td] {
    ^bb0(%id: i64):
      %d = ssm.index 1
      %i = arith.index_cast %id : i64 to index
      %v = tensor.extract %table[%i, %d] : tensor<9x8xf32>
      ssm.yield %v : f32
  } -> tensor<?x8xf32>
  %y = ssm.kernel loops 2 ins(%rows : tensor<?x8xf32>) outs(%f : tensor<?x8xf32>) maps [#td, #td] {
    ^bb0(%v: f32):
      %m = ssm.reduce maximumf %v over [1] : f32
      %q = arith.subf %v, %m : f32
      ssm.yield %q : f32
  } -> tensor<?x8xf32>
  return %y : tensor<?x8xf32>
}

// -----

#td = affine_map<(t, d) -> (t, d)>

// Elements that lie apart are gathered once.

// REMARK: slow operations would be computed in every pass over a row
// CHECK-LABEL: @elements
// CHECK: tensor.extract
// CHECK: ssm.kernel
// CHECK: ssm.reduce
func.func @elements(%ids: tensor<?x8xi64>, %x: tensor<9xf32>, %f: tensor<?x8xf32>) -> tensor<?x8xf32> {
  %rows = ssm.kernel loops 2 ins(%ids : tensor<?x8xi64>) outs(%f : tensor<?x8xf32>) maps [#td, #td] {
    ^bb0(%id: i64):
      %i = arith.index_cast %id : i64 to index
      %v = tensor.extract %x[%i] : tensor<9xf32>
      ssm.yield %v : f32
  } -> tensor<?x8xf32>
  %y = ssm.kernel loops 2 ins(%rows : tensor<?x8xf32>) outs(%f : tensor<?x8xf32>) maps [#td, #td] {
    ^bb0(%v: f32):
      %m = ssm.reduce maximumf %v over [1] : f32
      %q = arith.subf %v, %m : f32
      ssm.yield %q : f32
  } -> tensor<?x8xf32>
  return %y : tensor<?x8xf32>
}

// -----

#td = affine_map<(t, d) -> (t, d)>
#d = affine_map<(t, d) -> (d)>

// What is stored anyway, as others take it, is not stored once more wider and scaled: who takes
// that computes it.

// REMARK: its users compute it with less to read and write
// CHECK-LABEL: @stored_anyway
// CHECK: %[[P:.*]] = ssm.kernel loops 2 ins(%{{[a-z0-9]+}} : tensor<?x8xf16>)
// CHECK: ssm.yield %{{.*}} : f16
// CHECK: ssm.kernel loops 2 ins({{.*}}%[[P]]
// CHECK: arith.extf
// CHECK: arith.mulf
// CHECK: ssm.reduce
// CHECK-NOT: ssm.kernel
func.func @stored_anyway(%x: tensor<?x8xf16>, %w: tensor<8xf32>, %e: tensor<?x8xf16>, %f: tensor<?x8xf32>) -> (tensor<?x8xf16>, tensor<?x8xf32>) {
  %p = ssm.kernel loops 2 ins(%x : tensor<?x8xf16>) outs(%e : tensor<?x8xf16>) maps [#td, #td] {
    ^bb0(%v: f16):
      %0 = math.exp %v : f16
      ssm.yield %0 : f16
  } -> tensor<?x8xf16>
  %wide = ssm.kernel loops 2 ins(%p, %w : tensor<?x8xf16>, tensor<8xf32>) outs(%f : tensor<?x8xf32>) maps [#td, #d, #td] {
    ^bb0(%v: f16, %u: f32):
      %0 = arith.extf %v : f16 to f32
      %1 = arith.mulf %0, %u : f32
      ssm.yield %1 : f32
  } -> tensor<?x8xf32>
  %y = ssm.kernel loops 2 ins(%wide : tensor<?x8xf32>) outs(%f : tensor<?x8xf32>) maps [#td, #td] {
    ^bb0(%v: f32):
      %m = ssm.reduce maximumf %v over [1] : f32
      %q = arith.subf %v, %m : f32
      ssm.yield %q : f32
  } -> tensor<?x8xf32>
  return %p, %y : tensor<?x8xf16>, tensor<?x8xf32>
}

// -----

#btdn = affine_map<(b, t, d, n) -> (b, t, d, n)>
#btn = affine_map<(b, t, d, n) -> (b, t, n)>
#btd = affine_map<(b, t, d, n) -> (b, t, d)>
#bdn = affine_map<(b, t, d, n) -> (b, d, n)>

// A sum over the states of every step is part of the step: they are not stored.

// CHECK-LABEL: @readout
// CHECK: ssm.kernel loops 4 time 1 {{.*}} outs(%{{.*}}, %{{.*}} : tensor<?x8x4xf32>, tensor<?x?x8xf32>)
// CHECK: ssm.reduce addf
// CHECK-NOT: ssm.kernel
func.func @readout(%a: tensor<?x?x8x4xf32>, %c: tensor<?x?x4xf32>, %h0: tensor<?x8x4xf32>, %eh: tensor<?x8x4xf32>,
                   %es: tensor<?x?x8x4xf32>, %ey: tensor<?x?x8xf32>) -> (tensor<?x8x4xf32>, tensor<?x?x8xf32>) {
  %h, %s = ssm.kernel loops 4 time 1 ins(%a : tensor<?x?x8x4xf32>) inits(%h0 : tensor<?x8x4xf32>)
      outs(%eh, %es : tensor<?x8x4xf32>, tensor<?x?x8x4xf32>) maps [#btdn, #bdn, #bdn, #btdn] {
    ^bb0(%v: f32, %w: f32):
      %0 = arith.mulf %v, %w : f32
      ssm.yield %0, %0 : f32, f32
  } -> tensor<?x8x4xf32>, tensor<?x?x8x4xf32>
  %y = ssm.kernel loops 4 ins(%s, %c : tensor<?x?x8x4xf32>, tensor<?x?x4xf32>) outs(%ey : tensor<?x?x8xf32>) maps [#btdn, #btn, #btd] {
    ^bb0(%v: f32, %w: f32):
      %0 = arith.mulf %v, %w : f32
      %1 = ssm.reduce addf %0 over [3] : f32
      ssm.yield %1 : f32
  } -> tensor<?x?x8xf32>
  return %h, %y : tensor<?x8x4xf32>, tensor<?x?x8xf32>
}

// -----

#btd = affine_map<(b, t, d) -> (b, t, d)>
#bd = affine_map<(b, t, d) -> (b, d)>
#bt = affine_map<(b, t, d) -> (b, t)>

// Not over the channels: they lie across the lanes.

// REMARK: a recurrence would sum over its lanes
// CHECK-LABEL: @sum_of_channels
// CHECK: ssm.kernel loops 3 time 1
// CHECK: ssm.kernel loops 3 ins
// CHECK: ssm.reduce addf
func.func @sum_of_channels(%a: tensor<?x?x8xf32>, %h0: tensor<?x8xf32>, %eh: tensor<?x8xf32>, %es: tensor<?x?x8xf32>,
                           %ey: tensor<?x?xf32>) -> (tensor<?x8xf32>, tensor<?x?xf32>) {
  %h, %s = ssm.kernel loops 3 time 1 ins(%a : tensor<?x?x8xf32>) inits(%h0 : tensor<?x8xf32>)
      outs(%eh, %es : tensor<?x8xf32>, tensor<?x?x8xf32>) maps [#btd, #bd, #bd, #btd] {
    ^bb0(%v: f32, %w: f32):
      %0 = arith.mulf %v, %w : f32
      ssm.yield %0, %0 : f32, f32
  } -> tensor<?x8xf32>, tensor<?x?x8xf32>
  %y = ssm.kernel loops 3 ins(%s : tensor<?x?x8xf32>) outs(%ey : tensor<?x?xf32>) maps [#btd, #bt] {
    ^bb0(%v: f32):
      %0 = ssm.reduce addf %v over [2] : f32
      ssm.yield %0 : f32
  } -> tensor<?x?xf32>
  return %h, %y : tensor<?x8xf32>, tensor<?x?xf32>
}

// -----

#nm = affine_map<(n, m) -> (n, m)>
#n = affine_map<(n, m) -> (n)>
#m = affine_map<(n, m) -> (m)>

// Reductions of the same rows read them once; the second one goes where the first one's user
// waits for it no longer. Those of columns stay.

// CHECK-LABEL: @least_and_greatest
// CHECK: %[[R:.*]]:2 = ssm.kernel loops 2 ins(%arg0 : tensor<?x?xi64>)
// CHECK: ssm.reduce mins
// CHECK: ssm.reduce maxs
// CHECK: tensor.extract %[[R]]#0
// CHECK: ssm.kernel loops 2 ins(%arg0 : tensor<?x?xi64>)
// CHECK: ssm.reduce maxs {{.*}} over [0]
func.func @least_and_greatest(%x: tensor<?x?xi64>, %n: index, %m: index) -> (i64, tensor<?xi64>, tensor<?xi64>) {
  %c0 = arith.constant 0 : index
  %e = tensor.empty(%n) : tensor<?xi64>
  %least = ssm.kernel loops 2 ins(%x : tensor<?x?xi64>) outs(%e : tensor<?xi64>) maps [#nm, #n] {
    ^bb0(%v: i64):
      %0 = ssm.reduce mins %v over [1] : i64
      ssm.yield %0 : i64
  } -> tensor<?xi64>
  %first = tensor.extract %least[%c0] : tensor<?xi64>
  %f = tensor.empty(%n) : tensor<?xi64>
  %greatest = ssm.kernel loops 2 ins(%x : tensor<?x?xi64>) outs(%f : tensor<?xi64>) maps [#nm, #n] {
    ^bb0(%v: i64):
      %0 = ssm.reduce maxs %v over [1] : i64
      ssm.yield %0 : i64
  } -> tensor<?xi64>
  %g = tensor.empty(%m) : tensor<?xi64>
  %columns = ssm.kernel loops 2 ins(%x : tensor<?x?xi64>) outs(%g : tensor<?xi64>) maps [#nm, #m] {
    ^bb0(%v: i64):
      %0 = ssm.reduce maxs %v over [0] : i64
      ssm.yield %0 : i64
  } -> tensor<?xi64>
  return %first, %greatest, %columns : i64, tensor<?xi64>, tensor<?xi64>
}
