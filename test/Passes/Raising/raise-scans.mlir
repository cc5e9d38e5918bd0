// RUN: ssm-opt %s -split-input-file -ssm-raise-kernels -ssm-raise-scans -canonicalize --remark-format=emitRemark --remarks-filter=raise 2> %t | FileCheck %s
// RUN: FileCheck %s --check-prefix=REMARK < %t

#v = affine_map<(b, d, n) -> (b, d, n)>
#d = affine_map<(b, d, n) -> (b, d)>
#n = affine_map<(b, d, n) -> (b, 0, n)>

// Backwards, with time on axis 1, one factor for each element.
// CHECK-DAG: #[[BD:.*]] = affine_map<(d0, d1, d2, d3) -> (d1, d0, d2)>
// CHECK-DAG: #[[BN:.*]] = affine_map<(d0, d1, d2, d3) -> (d1, d0, d3)>
// CHECK-DAG: #[[NONE:.*]] = affine_map<(d0, d1, d2, d3) -> ()>
// CHECK-DAG: #[[STATE:.*]] = affine_map<(d0, d1, d2, d3) -> (d1, d2, d3)>
// REMARK: recurrence raised, transition: diagonal
// CHECK-LABEL: func.func @selective
// CHECK: ssm.kernel loops 4 time 0 ins(
// CHECK-SAME: inits(%cst : f32)
// CHECK-SAME: #[[NONE]], #[[STATE]], #[[BD]]] mirrored [true, true, true] transition <diagonal>
// CHECK: math.exp %{{.*}} fastmath<afn>
// CHECK: ssm.reduce addf %{{.*}} over [3]
// CHECK-NOT: ssm.scan
func.func @selective(%x: tensor<?x?x8xf32>, %w: tensor<?x?x4xf32>, %eh: tensor<?x8x4xf32>, %b: index, %t: index) -> (tensor<?x8x4xf32>, tensor<?x?x8xf32>) {
  %c0 = arith.constant 0.0 : f32
  %h0 = linalg.fill ins(%c0 : f32) outs(%eh : tensor<?x8x4xf32>) -> tensor<?x8x4xf32>
  %ey = tensor.empty(%b, %t) : tensor<?x?x8xf32>
  %h, %y = ssm.scan length(%t) carries(%h0 : tensor<?x8x4xf32>) ins(%x, %w : tensor<?x?x8xf32>, tensor<?x?x4xf32>)
      outs(%ey : tensor<?x?x8xf32>) input_axes [1, 1] output_axes [1] input_reversed [true, true] output_reversed [true] {
    ^bb0(%s: tensor<?x8x4xf32>, %xt: tensor<?x8xf32>, %wt: tensor<?x4xf32>):
      %e = tensor.empty(%b) : tensor<?x8x4xf32>
      %u = tensor.expand_shape %wt [[0], [1, 2]] output_shape [%b, 1, 4] : tensor<?x4xf32> into tensor<?x1x4xf32>
      %1 = linalg.generic {indexing_maps = [#d, #n, #v], iterator_types = ["parallel", "parallel", "parallel"]}
          ins(%xt, %u : tensor<?x8xf32>, tensor<?x1x4xf32>) outs(%e : tensor<?x8x4xf32>) {
        ^bb0(%p: f32, %q: f32, %o: f32):
          %m = arith.mulf %p, %q : f32
          %g = math.exp %m : f32
          linalg.yield %g : f32
      } -> tensor<?x8x4xf32>
      %2 = linalg.generic {indexing_maps = [#v, #v, #d, #v], iterator_types = ["parallel", "parallel", "parallel"]}
          ins(%1, %s, %xt : tensor<?x8x4xf32>, tensor<?x8x4xf32>, tensor<?x8xf32>) outs(%e : tensor<?x8x4xf32>) {
        ^bb0(%p: f32, %q: f32, %r: f32, %o: f32):
          %m = arith.mulf %p, %q : f32
          %g = arith.addf %m, %r : f32
          linalg.yield %g : f32
      } -> tensor<?x8x4xf32>
      %f = tensor.empty(%b) : tensor<?x8xf32>
      %z = linalg.fill ins(%c0 : f32) outs(%f : tensor<?x8xf32>) -> tensor<?x8xf32>
      %3 = linalg.generic {indexing_maps = [#v, #d], iterator_types = ["parallel", "parallel", "reduction"]}
          ins(%2 : tensor<?x8x4xf32>) outs(%z : tensor<?x8xf32>) {
        ^bb0(%p: f32, %o: f32):
          %g = arith.addf %o, %p : f32
          linalg.yield %g : f32
      } -> tensor<?x8xf32>
      ssm.yield %2, %3 : tensor<?x8x4xf32>, tensor<?x8xf32>
  } -> tensor<?x8x4xf32>, tensor<?x?x8xf32>
  return %h, %y : tensor<?x8x4xf32>, tensor<?x?x8xf32>
}

// -----

#v = affine_map<(d, e) -> (d, e)>
#k = affine_map<(d, e) -> (d)>
#e = affine_map<(d, e) -> (e)>

// S' = S - k (k^T S): the delta rule.
// REMARK: recurrence raised, transition: low_rank
// CHECK-LABEL: func.func @delta
// CHECK: ssm.kernel loops 3 time 0
// CHECK-SAME: transition <low_rank>
func.func @delta(%k: tensor<?x8xf32>, %s0: tensor<8x4xf32>, %t: index) -> tensor<8x4xf32> {
  %c0 = arith.constant 0 : index
  %len = tensor.dim %k, %c0 : tensor<?x8xf32>
  %s = ssm.scan length(%len) carries(%s0 : tensor<8x4xf32>) ins(%k : tensor<?x8xf32>)
      input_axes [0] output_axes [] input_reversed [false] output_reversed [] {
    ^bb0(%s: tensor<8x4xf32>, %kt: tensor<8xf32>):
      %zero = arith.constant 0.0 : f32
      %e = tensor.empty() : tensor<4xf32>
      %z = linalg.fill ins(%zero : f32) outs(%e : tensor<4xf32>) -> tensor<4xf32>
      %1 = linalg.generic {indexing_maps = [#v, #k, #e], iterator_types = ["reduction", "parallel"]}
          ins(%s, %kt : tensor<8x4xf32>, tensor<8xf32>) outs(%z : tensor<4xf32>) {
        ^bb0(%p: f32, %q: f32, %o: f32):
          %m = arith.mulf %p, %q : f32
          %g = arith.addf %o, %m : f32
          linalg.yield %g : f32
      } -> tensor<4xf32>
      %f = tensor.empty() : tensor<8x4xf32>
      %2 = linalg.generic {indexing_maps = [#v, #k, #e, #v], iterator_types = ["parallel", "parallel"]}
          ins(%s, %kt, %1 : tensor<8x4xf32>, tensor<8xf32>, tensor<4xf32>) outs(%f : tensor<8x4xf32>) {
        ^bb0(%p: f32, %q: f32, %r: f32, %o: f32):
          %m = arith.mulf %q, %r : f32
          %g = arith.subf %p, %m : f32
          linalg.yield %g : f32
      } -> tensor<8x4xf32>
      ssm.yield %2 : tensor<8x4xf32>
  } -> tensor<8x4xf32>
  return %s : tensor<8x4xf32>
}

// -----

// A carry that is kept and a delayed input.
// REMARK: recurrence raised
// CHECK-LABEL: func.func @delay
// CHECK: ssm.kernel loops 2 time 0 ins(%{{.*}}) inits(
// CHECK: ^bb0(%[[X:.*]]: f32, %[[C:.*]]: f32):
// CHECK: ssm.yield %[[X]], %[[C]]
func.func @delay(%x: tensor<?x4xf32>, %h0: tensor<4xf32>, %t: index) -> (tensor<4xf32>, tensor<?x4xf32>) {
  %ey = tensor.empty(%t) : tensor<?x4xf32>
  %h, %y = ssm.scan length(%t) carries(%h0 : tensor<4xf32>) ins(%x : tensor<?x4xf32>)
      outs(%ey : tensor<?x4xf32>) input_axes [0] output_axes [0] input_reversed [false] output_reversed [false] {
    ^bb0(%s: tensor<4xf32>, %xt: tensor<4xf32>):
      ssm.yield %xt, %s : tensor<4xf32>, tensor<4xf32>
  } -> tensor<4xf32>, tensor<?x4xf32>
  return %h, %y : tensor<4xf32>, tensor<?x4xf32>
}

// -----

// REMARK: recurrence not raised: its step mixes the elements of a carry
// CHECK-LABEL: func.func @mixes
// CHECK: ssm.scan
func.func @mixes(%x: tensor<?x4xf32>, %w: tensor<4x4xf32>, %h0: tensor<4xf32>, %t: index) -> (tensor<4xf32>, tensor<?x4xf32>) {
  %ey = tensor.empty(%t) : tensor<?x4xf32>
  %h, %y = ssm.scan length(%t) carries(%h0 : tensor<4xf32>) ins(%x : tensor<?x4xf32>)
      outs(%ey : tensor<?x4xf32>) input_axes [0] output_axes [0] input_reversed [false] output_reversed [false] {
    ^bb0(%s: tensor<4xf32>, %xt: tensor<4xf32>):
      %1 = linalg.matvec ins(%w, %s : tensor<4x4xf32>, tensor<4xf32>) outs(%xt : tensor<4xf32>) -> tensor<4xf32>
      ssm.yield %1, %1 : tensor<4xf32>, tensor<4xf32>
  } -> tensor<4xf32>, tensor<?x4xf32>
  return %h, %y : tensor<4xf32>, tensor<?x4xf32>
}

// -----

// REMARK: recurrence not raised: its step reads a tensor of its own by index
// CHECK-LABEL: func.func @turned
// CHECK: ssm.scan
func.func @turned(%x: tensor<?x4xf32>, %h0: tensor<4xf32>, %t: index) -> tensor<4xf32> {
  %c0 = arith.constant 0 : index
  %c3 = arith.constant 3 : index
  %len = tensor.dim %x, %c0 : tensor<?x4xf32>
  %h = ssm.scan length(%len) carries(%h0 : tensor<4xf32>) ins(%x : tensor<?x4xf32>)
      input_axes [0] output_axes [] input_reversed [false] output_reversed [] {
    ^bb0(%s: tensor<4xf32>, %xt: tensor<4xf32>):
      %e = tensor.empty() : tensor<4xf32>
      %1 = linalg.generic {indexing_maps = [affine_map<(d) -> (d)>, affine_map<(d) -> (d)>], iterator_types = ["parallel"]}
          ins(%xt : tensor<4xf32>) outs(%e : tensor<4xf32>) {
        ^bb0(%p: f32, %o: f32):
          %i = linalg.index 0 : index
          %j = arith.subi %c3, %i : index
          %q = tensor.extract %s[%j] : tensor<4xf32>
          %g = arith.addf %p, %q : f32
          linalg.yield %g : f32
      } -> tensor<4xf32>
      ssm.yield %1 : tensor<4xf32>
  } -> tensor<4xf32>
  return %h : tensor<4xf32>
}

// -----

#d = affine_map<(d) -> (d)>

// REMARK: recurrence not raised: its length is not known to be a size
// CHECK-LABEL: func.func @length
// CHECK: ssm.scan
func.func @length(%x: tensor<?x4xf32>, %w: tensor<4xf32>, %h0: tensor<4xf32>, %n: index) -> tensor<4xf32> {
  %c0 = arith.constant 0 : index
  %c3 = arith.constant 3 : index
  %len = tensor.dim %x, %c0 : tensor<?x4xf32>
  %h = ssm.scan length(%n) carries(%h0 : tensor<4xf32>) ins(%x : tensor<?x4xf32>)
      input_axes [0] output_axes [] input_reversed [false] output_reversed [] {
    ^bb0(%s: tensor<4xf32>, %xt: tensor<4xf32>):
      %e = tensor.empty() : tensor<4xf32>
      %r = linalg.add ins(%s, %xt : tensor<4xf32>, tensor<4xf32>) outs(%e : tensor<4xf32>) -> tensor<4xf32>
      ssm.yield %r : tensor<4xf32>
  } -> tensor<4xf32>
  return %h : tensor<4xf32>
}

// -----

#d = affine_map<(d) -> (d)>

// More parts than are worth a carry each (step-parts.mlir has fewer).
// REMARK: recurrence not raised: its step puts a tensor together: 'Concat_1'
// CHECK-LABEL: func.func @window
// CHECK: ssm.scan
func.func @window(%x: tensor<?x40xf32>, %h0: tensor<40xf32>) -> tensor<40xf32> {
  %c0 = arith.constant 0 : index
  %len = tensor.dim %x, %c0 : tensor<?x40xf32>
  %h = ssm.scan length(%len) carries(%h0 : tensor<40xf32>) ins(%x : tensor<?x40xf32>)
      input_axes [0] output_axes [] input_reversed [false] output_reversed [] {
    ^bb0(%s: tensor<40xf32>, %xt: tensor<40xf32>):
      %part = tensor.extract_slice %s[1] [39] [1] : tensor<40xf32> to tensor<39xf32>
      %last = tensor.extract_slice %xt[0] [1] [1] : tensor<40xf32> to tensor<1xf32>
      %e = tensor.empty() : tensor<40xf32>
      %1 = tensor.insert_slice %part into %e[0] [39] [1] : tensor<39xf32> into tensor<40xf32>
      %r = tensor.insert_slice %last into %1[39] [1] [1] : tensor<1xf32> into tensor<40xf32> loc("Concat_1")
      ssm.yield %r : tensor<40xf32>
  } -> tensor<40xf32>
  return %h : tensor<40xf32>
}

// -----

#d = affine_map<(d) -> (d)>

// REMARK: recurrence not raised: its step takes a part of a carry, or of what is no kernel: 'Slice_1'
// CHECK-LABEL: func.func @part
// CHECK: ssm.scan
func.func @part(%x: tensor<?x4xf32>, %w: tensor<4xf32>, %h0: tensor<4xf32>, %n: index) -> tensor<4xf32> {
  %c0 = arith.constant 0 : index
  %c3 = arith.constant 3 : index
  %len = tensor.dim %x, %c0 : tensor<?x4xf32>
  %h = ssm.scan length(%len) carries(%h0 : tensor<4xf32>) ins(%x : tensor<?x4xf32>)
      input_axes [0] output_axes [] input_reversed [false] output_reversed [] {
    ^bb0(%s: tensor<4xf32>, %xt: tensor<4xf32>):
      %e = tensor.empty() : tensor<4xf32>
      %f = tensor.empty() : tensor<2xf32>
      %1 = tensor.extract_slice %s[0] [2] [2] : tensor<4xf32> to tensor<2xf32> loc("Slice_1")
      %2 = linalg.generic {indexing_maps = [affine_map<(d, j) -> (d)>, affine_map<(d, j) -> (j)>, affine_map<(d, j) -> (d)>], iterator_types = ["parallel", "reduction"]}
          ins(%xt, %1 : tensor<4xf32>, tensor<2xf32>) outs(%xt : tensor<4xf32>) {
        ^bb0(%p: f32, %q: f32, %o: f32):
          %m = arith.mulf %p, %q : f32
          %g = arith.addf %o, %m : f32
          linalg.yield %g : f32
      } -> tensor<4xf32>
      %r = linalg.add ins(%s, %2 : tensor<4xf32>, tensor<4xf32>) outs(%e : tensor<4xf32>) -> tensor<4xf32>
      ssm.yield %r : tensor<4xf32>
  } -> tensor<4xf32>
  return %h : tensor<4xf32>
}

// -----

#d = affine_map<(d) -> (d)>

// REMARK: recurrence not raised: its step reshapes what is no input: 'Reshape_1'
// CHECK-LABEL: func.func @joined
// CHECK: ssm.scan
func.func @joined(%x: tensor<?x4xf32>, %w: tensor<4xf32>, %h0: tensor<4xf32>, %n: index) -> tensor<4xf32> {
  %c0 = arith.constant 0 : index
  %c3 = arith.constant 3 : index
  %len = tensor.dim %x, %c0 : tensor<?x4xf32>
  %h = ssm.scan length(%len) carries(%h0 : tensor<4xf32>) ins(%x : tensor<?x4xf32>)
      input_axes [0] output_axes [] input_reversed [false] output_reversed [] {
    ^bb0(%s: tensor<4xf32>, %xt: tensor<4xf32>):
      %e = tensor.empty() : tensor<4xf32>
      %f = tensor.empty() : tensor<2x2xf32>
      %1 = tensor.expand_shape %s [[0, 1]] output_shape [2, 2] : tensor<4xf32> into tensor<2x2xf32>
      %2 = linalg.exp ins(%1 : tensor<2x2xf32>) outs(%f : tensor<2x2xf32>) -> tensor<2x2xf32>
      %3 = tensor.collapse_shape %2 [[0, 1]] : tensor<2x2xf32> into tensor<4xf32> loc("Reshape_1")
      %r = linalg.add ins(%s, %3 : tensor<4xf32>, tensor<4xf32>) outs(%e : tensor<4xf32>) -> tensor<4xf32>
      ssm.yield %r : tensor<4xf32>
  } -> tensor<4xf32>
  return %h : tensor<4xf32>
}

// -----

#d = affine_map<(d) -> (d)>

// REMARK: recurrence not raised: its step has an operation that is no kernel: 'Gather_1'
// CHECK-LABEL: func.func @checked
// CHECK: ssm.scan
func.func @checked(%x: tensor<?x4xf32>, %w: tensor<4xf32>, %h0: tensor<4xf32>, %n: index) -> tensor<4xf32> {
  %c0 = arith.constant 0 : index
  %c3 = arith.constant 3 : index
  %len = tensor.dim %x, %c0 : tensor<?x4xf32>
  %h = ssm.scan length(%len) carries(%h0 : tensor<4xf32>) ins(%x : tensor<?x4xf32>)
      input_axes [0] output_axes [] input_reversed [false] output_reversed [] {
    ^bb0(%s: tensor<4xf32>, %xt: tensor<4xf32>):
      %e = tensor.empty() : tensor<4xf32>
      %v = tensor.extract %xt[%c3] : tensor<4xf32>
      %ok = arith.cmpf olt, %v, %v : f32
      ssm.check %ok, "'Gather_1' (Gather)", "wrong" loc("Gather_1")
      %r = linalg.add ins(%s, %xt : tensor<4xf32>, tensor<4xf32>) outs(%e : tensor<4xf32>) -> tensor<4xf32>
      ssm.yield %r : tensor<4xf32>
  } -> tensor<4xf32>
  return %h : tensor<4xf32>
}

// -----

#d = affine_map<(d) -> (d)>

// REMARK: recurrence not raised: its step has a recurrence of its own
// CHECK-LABEL: func.func @inner
// CHECK: ssm.scan
func.func @inner(%x: tensor<?x4xf32>, %w: tensor<4xf32>, %h0: tensor<4xf32>, %n: index) -> tensor<4xf32> {
  %c0 = arith.constant 0 : index
  %c3 = arith.constant 3 : index
  %len = tensor.dim %x, %c0 : tensor<?x4xf32>
  %h = ssm.scan length(%len) carries(%h0 : tensor<4xf32>) ins(%x : tensor<?x4xf32>)
      input_axes [0] output_axes [] input_reversed [false] output_reversed [] {
    ^bb0(%s: tensor<4xf32>, %xt: tensor<4xf32>):
      %e = tensor.empty() : tensor<4xf32>
      %c4 = arith.constant 4 : index
      %z = arith.constant 0.0 : f32
      %f = tensor.empty() : tensor<f32>
      %g = linalg.fill ins(%z : f32) outs(%f : tensor<f32>) -> tensor<f32>
      %last, %r = ssm.scan length(%c4) carries(%g : tensor<f32>) ins(%xt : tensor<4xf32>) outs(%e : tensor<4xf32>)
          input_axes [0] output_axes [0] input_reversed [false] output_reversed [false] {
        ^bb0(%sum: tensor<f32>, %v: tensor<f32>):
          %1 = linalg.add ins(%sum, %v : tensor<f32>, tensor<f32>) outs(%f : tensor<f32>) -> tensor<f32>
          ssm.yield %1, %1 : tensor<f32>, tensor<f32>
      } -> tensor<f32>, tensor<4xf32>
      ssm.yield %r : tensor<4xf32>
  } -> tensor<4xf32>
  return %h : tensor<4xf32>
}

// -----

// REMARK: recurrence not raised: its step computes nothing
// CHECK-LABEL: func.func @nothing
func.func @nothing(%x: tensor<?x4xf32>) {
  %c0 = arith.constant 0 : index
  %len = tensor.dim %x, %c0 : tensor<?x4xf32>
  ssm.scan length(%len) ins(%x : tensor<?x4xf32>) input_axes [0] output_axes [] input_reversed [false] output_reversed [] {
    ^bb0(%xt: tensor<4xf32>):
      ssm.yield
  }
  return
}

// -----

#d = affine_map<(d) -> (d)>

// REMARK: recurrence not raised: its step reads what nothing has written
// CHECK-LABEL: func.func @unwritten
// CHECK: ssm.scan
func.func @unwritten(%x: tensor<?x?xf32>, %h0: tensor<?xf32>) -> tensor<?xf32> {
  %c0 = arith.constant 0 : index
  %len = tensor.dim %x, %c0 : tensor<?x?xf32>
  %h = ssm.scan length(%len) carries(%h0 : tensor<?xf32>) ins(%x : tensor<?x?xf32>)
      input_axes [0] output_axes [] input_reversed [false] output_reversed [] {
    ^bb0(%s: tensor<?xf32>, %xt: tensor<?xf32>):
      %n = tensor.dim %xt, %c0 : tensor<?xf32>
      %e = tensor.empty(%n) : tensor<?xf32>
      %r = ssm.kernel loops 1 ins(%s, %e : tensor<?xf32>, tensor<?xf32>) outs(%e : tensor<?xf32>) maps [#d, #d, #d] {
        ^bb0(%p: f32, %q: f32):
          %g = arith.addf %p, %q : f32
          ssm.yield %g : f32
      } -> tensor<?xf32>
      ssm.yield %r : tensor<?xf32>
  } -> tensor<?xf32>
  return %h : tensor<?xf32>
}

// -----

#d = affine_map<(d, n) -> (d)>
#dn = affine_map<(d, n) -> (d, n)>

// Each of two carries of different shapes takes the old one of the other.
// REMARK: recurrence not raised: its step needs old carries after it has given new ones
// CHECK-LABEL: func.func @crossed
// CHECK: ssm.scan
func.func @crossed(%x: tensor<?x4xf32>, %p0: tensor<4xf32>, %q0: tensor<4x3xf32>) -> (tensor<4xf32>, tensor<4x3xf32>) {
  %c0 = arith.constant 0 : index
  %len = tensor.dim %x, %c0 : tensor<?x4xf32>
  %e4 = tensor.empty() : tensor<4xf32>
  %e43 = tensor.empty() : tensor<4x3xf32>
  %zero = arith.constant 0.0 : f32
  %p, %q = ssm.scan length(%len) carries(%p0, %q0 : tensor<4xf32>, tensor<4x3xf32>) ins(%x : tensor<?x4xf32>)
      input_axes [0] output_axes [] input_reversed [false] output_reversed [] {
    ^bb0(%s: tensor<4xf32>, %r: tensor<4x3xf32>, %xt: tensor<4xf32>):
      %1 = linalg.generic {indexing_maps = [#d, #dn, #dn], iterator_types = ["parallel", "parallel"]}
          ins(%s, %r : tensor<4xf32>, tensor<4x3xf32>) outs(%e43 : tensor<4x3xf32>) {
        ^bb0(%a: f32, %b: f32, %o: f32):
          %g = arith.mulf %a, %b : f32
          linalg.yield %g : f32
      } -> tensor<4x3xf32>
      %z = linalg.fill ins(%zero : f32) outs(%e4 : tensor<4xf32>) -> tensor<4xf32>
      %2 = linalg.generic {indexing_maps = [#dn, #d], iterator_types = ["parallel", "reduction"]}
          ins(%1 : tensor<4x3xf32>) outs(%z : tensor<4xf32>) {
        ^bb0(%a: f32, %o: f32):
          %g = arith.addf %o, %a : f32
          linalg.yield %g : f32
      } -> tensor<4xf32>
      %3 = linalg.add ins(%2, %xt : tensor<4xf32>, tensor<4xf32>) outs(%e4 : tensor<4xf32>) -> tensor<4xf32>
      ssm.yield %3, %1 : tensor<4xf32>, tensor<4x3xf32>
  } -> tensor<4xf32>, tensor<4x3xf32>
  return %p, %q : tensor<4xf32>, tensor<4x3xf32>
}

// -----

// Two parts that do not read each other and cannot share loops, for one has time.
// REMARK: recurrence not raised: the consumer does not read the producer
// CHECK-LABEL: func.func @beside_inner
// CHECK: ssm.scan
func.func @beside_inner(%x: tensor<?x4xf32>, %h0: tensor<4xf32>, %g0: tensor<f32>) -> (tensor<4xf32>, tensor<f32>) {
  %c0 = arith.constant 0 : index
  %c4 = arith.constant 4 : index
  %len = tensor.dim %x, %c0 : tensor<?x4xf32>
  %e = tensor.empty() : tensor<4xf32>
  %f = tensor.empty() : tensor<f32>
  %h, %g = ssm.scan length(%len) carries(%h0, %g0 : tensor<4xf32>, tensor<f32>) ins(%x : tensor<?x4xf32>)
      input_axes [0] output_axes [] input_reversed [false] output_reversed [] {
    ^bb0(%s: tensor<4xf32>, %t: tensor<f32>, %xt: tensor<4xf32>):
      %r = linalg.add ins(%s, %xt : tensor<4xf32>, tensor<4xf32>) outs(%e : tensor<4xf32>) -> tensor<4xf32>
      %last = ssm.scan length(%c4) carries(%t : tensor<f32>) ins(%xt : tensor<4xf32>)
          input_axes [0] output_axes [] input_reversed [false] output_reversed [] {
        ^bb0(%sum: tensor<f32>, %v: tensor<f32>):
          %1 = linalg.mul ins(%sum, %v : tensor<f32>, tensor<f32>) outs(%f : tensor<f32>) -> tensor<f32>
          ssm.yield %1 : tensor<f32>
      } -> tensor<f32>
      ssm.yield %r, %last : tensor<4xf32>, tensor<f32>
  } -> tensor<4xf32>, tensor<f32>
  return %h, %g : tensor<4xf32>, tensor<f32>
}

// -----

// Its inputs only tell how many steps there are.
// REMARK: recurrence not raised: its steps read no sequence and give none
// CHECK-LABEL: func.func @no_sequence
// CHECK: ssm.scan
func.func @no_sequence(%x: tensor<?x4xf32>, %h0: tensor<4xf32>) -> tensor<4xf32> {
  %c0 = arith.constant 0 : index
  %len = tensor.dim %x, %c0 : tensor<?x4xf32>
  %e = tensor.empty() : tensor<4xf32>
  %h = ssm.scan length(%len) carries(%h0 : tensor<4xf32>) ins(%x : tensor<?x4xf32>)
      input_axes [0] output_axes [] input_reversed [false] output_reversed [] {
    ^bb0(%s: tensor<4xf32>, %xt: tensor<4xf32>):
      %r = linalg.tanh ins(%s : tensor<4xf32>) outs(%e : tensor<4xf32>) -> tensor<4xf32>
      ssm.yield %r : tensor<4xf32>
  } -> tensor<4xf32>
  return %h : tensor<4xf32>
}
