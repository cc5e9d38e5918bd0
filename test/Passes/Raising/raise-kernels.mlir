// RUN: ssm-opt %s -ssm-raise-kernels -split-input-file --remark-format=emitRemark --remarks-filter=raise 2> %t | FileCheck %s
// RUN: FileCheck %s --check-prefix=REMARK < %t

// A sum from zero, of any name, with its fill gone.
// CHECK-DAG: #[[A:.*]] = affine_map<(d0, d1, d2) -> (d0, d2)>
// CHECK-DAG: #[[B:.*]] = affine_map<(d0, d1, d2) -> (d2, d1)>
// CHECK-DAG: #[[C:.*]] = affine_map<(d0, d1, d2) -> (d0, d1)>
// CHECK-LABEL: func.func @matmul
// CHECK-SAME: %[[X:.*]]: tensor<?x8xf32>, %[[W:.*]]: tensor<8x4xf32>, %[[E:.*]]: tensor<?x4xf32>
// CHECK: %[[EMPTY:.*]] = tensor.empty
// CHECK: ssm.kernel loops 3 ins(%[[X]], %[[W]] : {{.*}}) outs(%[[EMPTY]] : {{.*}}) maps [#[[A]], #[[B]], #[[C]]] {
// CHECK-NEXT: ^bb0(%[[V0:.*]]: f32, %[[V1:.*]]: f32):
// CHECK-NEXT: %[[P:.*]] = arith.mulf %[[V0]], %[[V1]] fastmath<contract>
// CHECK-NEXT: %[[S:.*]] = ssm.reduce addf %[[P]] over [2]
// CHECK-NEXT: ssm.yield %[[S]]
// CHECK-NOT: linalg
func.func @matmul(%x: tensor<?x8xf32>, %w: tensor<8x4xf32>, %e: tensor<?x4xf32>) -> tensor<?x4xf32> {
  %c0 = arith.constant 0.0 : f32
  %z = linalg.fill ins(%c0 : f32) outs(%e : tensor<?x4xf32>) -> tensor<?x4xf32>
  %y = linalg.matmul ins(%x, %w : tensor<?x8xf32>, tensor<8x4xf32>) outs(%z : tensor<?x4xf32>) -> tensor<?x4xf32>
  return %y : tensor<?x4xf32>
}

// -----

// Other starts are combined after the reduction; several results have several combiners.
// CHECK-LABEL: func.func @starts
// CHECK: ^bb0(%[[V:.*]]: f32, %[[INIT:.*]]: f32):
// CHECK: %[[M:.*]] = ssm.reduce maximumf %[[V]] over [1]
// CHECK: %[[R0:.*]] = arith.maximumf %{{.*}}, %[[M]]
// CHECK: %[[S:.*]] = ssm.reduce addf %[[V]] over [1]
// CHECK: %[[R1:.*]] = arith.addf %[[INIT]], %[[S]]
// CHECK: ssm.yield %[[R0]], %[[R1]]
func.func @starts(%x: tensor<?x?xf32>, %i: tensor<?xf32>, %e: tensor<?xf32>) -> (tensor<?xf32>, tensor<?xf32>) {
  %c1 = arith.constant 1.0 : f32
  %one = linalg.fill ins(%c1 : f32) outs(%e : tensor<?xf32>) -> tensor<?xf32>
  %m, %s = linalg.generic {indexing_maps = [affine_map<(i, j) -> (i, j)>, affine_map<(i, j) -> (i)>, affine_map<(i, j) -> (i)>],
      iterator_types = ["parallel", "reduction"]} ins(%x : tensor<?x?xf32>) outs(%one, %i : tensor<?xf32>, tensor<?xf32>) {
    ^bb0(%v: f32, %a: f32, %b: f32):
      %0 = arith.maximumf %a, %v : f32
      %1 = arith.addf %v, %b : f32
      linalg.yield %0, %1 : f32, f32
  } -> (tensor<?xf32>, tensor<?xf32>)
  return %m, %s : tensor<?xf32>, tensor<?xf32>
}

// -----

// Views go into the maps, fills into the region, indices become the kernel's.
// CHECK: #[[V:.*]] = affine_map<(d0, d1) -> (d1, d0)>
// CHECK: #[[B:.*]] = affine_map<(d0, d1) -> (d1)>
// CHECK-LABEL: func.func @views
// CHECK-SAME: %[[X:.*]]: tensor<?x4xf32>, %[[W:.*]]: tensor<?xf32>
// CHECK-NOT: linalg
// CHECK: ssm.kernel loops 2 ins(%[[X]], %[[W]] : {{.*}} maps [#[[V]], #[[B]],
// CHECK: ssm.index 1
// CHECK: arith.addf %{{.*}}, %cst
// CHECK-NOT: linalg
func.func @views(%x: tensor<?x4xf32>, %w: tensor<?xf32>, %e: tensor<4x?xf32>, %n: index) -> tensor<4x?xf32> {
  %t = linalg.transpose ins(%x : tensor<?x4xf32>) outs(%e : tensor<4x?xf32>) permutation = [1, 0]
  %u = tensor.expand_shape %w [[0, 1]] output_shape [1, %n] : tensor<?xf32> into tensor<1x?xf32>
  %c1 = arith.constant 1.0 : f32
  %f = linalg.fill ins(%c1 : f32) outs(%e : tensor<4x?xf32>) -> tensor<4x?xf32>
  %y = linalg.generic {indexing_maps = [affine_map<(i, j) -> (i, j)>, affine_map<(i, j) -> (0, j)>, affine_map<(i, j) -> (i, j)>, affine_map<(i, j) -> (i, j)>],
      iterator_types = ["parallel", "parallel"]} ins(%t, %u, %f : tensor<4x?xf32>, tensor<1x?xf32>, tensor<4x?xf32>) outs(%e : tensor<4x?xf32>) {
    ^bb0(%a: f32, %b: f32, %c: f32, %o: f32):
      %i = linalg.index 1 : index
      %k = arith.index_cast %i : index to i32
      %v = arith.sitofp %k : i32 to f32
      %0 = arith.addf %a, %b : f32
      %1 = arith.addf %0, %c : f32
      %2 = arith.mulf %1, %v : f32
      linalg.yield %2 : f32
  } -> tensor<4x?xf32>
  return %y : tensor<4x?xf32>
}

// -----

// CHECK-LABEL: func.func @not_raised
// CHECK-COUNT-2: linalg.generic
func.func @not_raised(%x: tensor<?xi32>, %y: tensor<?xi32>, %e: tensor<?xi32>, %s: tensor<i32>, %k: tensor<i32>) -> (tensor<?xi32>, tensor<i32>, tensor<i32>) {
  // REMARK-DAG: remark: {{.*}}not a kernel: a division could trap for a lane that is not computed
  %0 = linalg.generic {indexing_maps = [affine_map<(i) -> (i)>, affine_map<(i) -> (i)>, affine_map<(i) -> (i)>], iterator_types = ["parallel"]}
      ins(%x, %y : tensor<?xi32>, tensor<?xi32>) outs(%e : tensor<?xi32>) {
    ^bb0(%a: i32, %b: i32, %o: i32):
      %q = arith.divsi %a, %b : i32
      linalg.yield %q : i32
  } -> tensor<?xi32>
  // REMARK-DAG: remark: {{.*}}not a kernel: its combiner is not a known reduction
  %2:2 = linalg.generic {indexing_maps = [affine_map<(i) -> (i)>, affine_map<(i) -> ()>, affine_map<(i) -> ()>], iterator_types = ["reduction"]}
      ins(%x : tensor<?xi32>) outs(%s, %k : tensor<i32>, tensor<i32>) {
    ^bb0(%a: i32, %best: i32, %at: i32):
      %c = arith.cmpi sgt, %a, %best : i32
      %i = linalg.index 0 : index
      %j = arith.index_cast %i : index to i32
      %p = arith.select %c, %a, %best : i32
      %q = arith.select %c, %j, %at : i32
      linalg.yield %p, %q : i32, i32
  } -> (tensor<i32>, tensor<i32>)
  return %0, %2#0, %2#1 : tensor<?xi32>, tensor<i32>, tensor<i32>
}

// -----

// CHECK-LABEL: func.func @uneven
// CHECK-COUNT-3: linalg.generic
func.func @uneven(%x: tensor<?xf32>, %e: tensor<?xf32>, %wide: tensor<?x4xf32>, %c: tensor<?xcomplex<f32>>, %n: index) -> (tensor<?xf32>, tensor<?x4xf32>, tensor<?xcomplex<f32>>) {
  // REMARK-DAG: remark: {{.*}}not a kernel: its loops are of another kind than its outputs
  %0 = linalg.generic {indexing_maps = [affine_map<(i, j) -> (j)>, affine_map<(i, j) -> (i, j)>, affine_map<(i, j) -> (i)>], iterator_types = ["parallel", "parallel"]}
      ins(%x, %wide : tensor<?xf32>, tensor<?x4xf32>) outs(%e : tensor<?xf32>) {
    ^bb0(%a: f32, %b: f32, %o: f32):
      %q = arith.addf %a, %b : f32
      linalg.yield %q : f32
  } -> tensor<?xf32>
  // REMARK-DAG: remark: {{.*}}not a kernel: it writes at indices that are not loops
  %1 = linalg.generic {indexing_maps = [affine_map<(i) -> (i)>, affine_map<(i) -> (i, i)>], iterator_types = ["parallel"]}
      ins(%x : tensor<?xf32>) outs(%wide : tensor<?x4xf32>) {
    ^bb0(%a: f32, %o: f32):
      linalg.yield %a : f32
  } -> tensor<?x4xf32>
  // REMARK-DAG: remark: {{.*}}not a kernel: its body is not arithmetic on scalars
  %2 = linalg.generic {indexing_maps = [affine_map<(i) -> (i)>], iterator_types = ["parallel"]}
      outs(%c : tensor<?xcomplex<f32>>) {
    ^bb0(%o: complex<f32>):
      %q = complex.exp %o : complex<f32>
      linalg.yield %q : complex<f32>
  } -> tensor<?xcomplex<f32>>
  return %0, %1, %2 : tensor<?xf32>, tensor<?x4xf32>, tensor<?xcomplex<f32>>
}

// -----

// What is read at loops becomes an input; what is read at computed indices stays.
// CHECK-LABEL: func.func @gather
// CHECK-SAME: %[[TABLE:.*]]: tensor<?x8xf32>, %[[IDS:.*]]: tensor<?xi32>,
// CHECK: ssm.kernel loops 2 ins(%[[IDS]] : tensor<?xi32>)
// CHECK: ^bb0(%[[ID:.*]]: i32):
// CHECK: %[[D:.*]] = ssm.index 1
// CHECK: %[[ROW:.*]] = arith.index_cast %[[ID]] : i32 to index
// CHECK: %[[V:.*]] = tensor.extract %[[TABLE]][%[[ROW]], %[[D]]]
// CHECK: ssm.yield %[[V]]
func.func @gather(%table: tensor<?x8xf32>, %ids: tensor<?xi32>, %e: tensor<?x8xf32>) -> tensor<?x8xf32> {
  %y = linalg.generic {indexing_maps = [affine_map<(i, j) -> (i, j)>], iterator_types = ["parallel", "parallel"]}
      outs(%e : tensor<?x8xf32>) {
    ^bb0(%o: f32):
      %i = linalg.index 0 : index
      %j = linalg.index 1 : index
      %id = tensor.extract %ids[%i] : tensor<?xi32>
      %row = arith.index_cast %id : i32 to index
      %v = tensor.extract %table[%row, %j] : tensor<?x8xf32>
      linalg.yield %v : f32
  } -> tensor<?x8xf32>
  return %y : tensor<?x8xf32>
}

// -----

// What weights alone give is computed once, elsewhere: it stays as it is. In a
// repeated function weights are arguments that are marked.
// CHECK-LABEL: func.func private @repeated
// CHECK-SAME: %[[W:[^:]*]]: tensor<4xf32> {ssm.weight}
// CHECK: %[[E:.*]] = linalg.exp ins(%[[W]]
// CHECK: ssm.kernel loops 1 ins(%{{.*}}, %[[E]] :
// CHECK: math.exp
// CHECK: arith.mulf
func.func private @repeated(%w: tensor<4xf32> {ssm.weight}, %x: tensor<4xf32>) -> tensor<4xf32> {
  %e = tensor.empty() : tensor<4xf32>
  %a = linalg.exp ins(%w : tensor<4xf32>) outs(%e : tensor<4xf32>) -> tensor<4xf32>
  %y = linalg.generic {indexing_maps = [affine_map<(i) -> (i)>, affine_map<(i) -> (i)>, affine_map<(i) -> (i)>], iterator_types = ["parallel"]}
      ins(%x, %a : tensor<4xf32>, tensor<4xf32>) outs(%e : tensor<4xf32>) {
    ^bb0(%v: f32, %u: f32, %o: f32):
      %p = math.exp %v : f32
      %q = arith.mulf %p, %u : f32
      linalg.yield %q : f32
  } -> tensor<4xf32>
  return %y : tensor<4xf32>
}

// -----

#all = affine_map<(d0, d1, d2, d3, d4, d5, d6, d7, d8, d9, d10, d11, d12, d13, d14, d15, d16, d17, d18, d19, d20, d21, d22, d23, d24, d25, d26, d27, d28, d29, d30, d31, d32, d33, d34, d35, d36, d37, d38, d39, d40, d41, d42, d43, d44, d45, d46, d47, d48, d49, d50, d51, d52, d53, d54, d55, d56, d57, d58, d59, d60, d61, d62, d63, d64) -> (d0, d1, d2, d3, d4, d5, d6, d7, d8, d9, d10, d11, d12, d13, d14, d15, d16, d17, d18, d19, d20, d21, d22, d23, d24, d25, d26, d27, d28, d29, d30, d31, d32, d33, d34, d35, d36, d37, d38, d39, d40, d41, d42, d43, d44, d45, d46, d47, d48, d49, d50, d51, d52, d53, d54, d55, d56, d57, d58, d59, d60, d61, d62, d63, d64)>

// More loops than a set of them has bits.
// REMARK: not a kernel: it has too many loops
// CHECK-LABEL: func.func @many_loops
// CHECK: linalg.generic
func.func @many_loops(%x: tensor<1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x?xf32>) -> tensor<1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x?xf32> {
  %y = linalg.generic {indexing_maps = [#all], iterator_types = ["parallel", "parallel", "parallel", "parallel", "parallel", "parallel", "parallel", "parallel", "parallel", "parallel", "parallel", "parallel", "parallel", "parallel", "parallel", "parallel", "parallel", "parallel", "parallel", "parallel", "parallel", "parallel", "parallel", "parallel", "parallel", "parallel", "parallel", "parallel", "parallel", "parallel", "parallel", "parallel", "parallel", "parallel", "parallel", "parallel", "parallel", "parallel", "parallel", "parallel", "parallel", "parallel", "parallel", "parallel", "parallel", "parallel", "parallel", "parallel", "parallel", "parallel", "parallel", "parallel", "parallel", "parallel", "parallel", "parallel", "parallel", "parallel", "parallel", "parallel", "parallel", "parallel", "parallel", "parallel", "parallel"]} outs(%x : tensor<1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x?xf32>) {
    ^bb0(%o: f32):
      %0 = math.exp %o : f32
      linalg.yield %0 : f32
  } -> tensor<1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x?xf32>
  return %y : tensor<1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x?xf32>
}
