// RUN: ssm-opt %s -ssm-fuse-kernels -canonicalize -cse | FileCheck %s

#i = affine_map<(i) -> (i)>
#ij = affine_map<(i, j) -> (i, j)>
#j = affine_map<(i, j) -> (j)>

// Each piece is multiplied where it lies, and the product's parts are what is put together.
// CHECK-LABEL: @concat
// CHECK-SAME: %[[A:.+]]: tensor<4x100xf32>, %[[B:.+]]: tensor<4x200xf32>, %[[D:.+]]: tensor<300xf32>
// CHECK-DAG: %[[ALL:.+]] = tensor.empty() : tensor<4x300xf32>
// CHECK-DAG: %[[LOW:.+]] = tensor.extract_slice %[[D]][0] [100] [1]
// CHECK: %[[X:.+]] = ssm.kernel loops 2 ins(%[[A]], %[[LOW]] : tensor<4x100xf32>, tensor<100xf32>)
// CHECK: mulf
// CHECK: %[[FIRST:.+]] = tensor.insert_slice %[[X]] into %[[ALL]][0, 0] [4, 100] [1, 1]
// CHECK: %[[HIGH:.+]] = tensor.extract_slice %[[D]][100] [200] [1]
// CHECK: %[[Y:.+]] = ssm.kernel loops 2 ins(%[[B]], %[[HIGH]] : tensor<4x200xf32>, tensor<200xf32>)
// CHECK: %[[BOTH:.+]] = tensor.insert_slice %[[Y]] into %[[FIRST]][0, 100] [4, 200] [1, 1]
// CHECK: return %[[BOTH]]
func.func @concat(%a: tensor<4x100xf32>, %b: tensor<4x200xf32>, %d: tensor<300xf32>)
    -> tensor<4x300xf32> {
  %e = tensor.empty() : tensor<4x300xf32>
  %0 = tensor.insert_slice %a into %e[0, 0] [4, 100] [1, 1]
      : tensor<4x100xf32> into tensor<4x300xf32>
  %1 = tensor.insert_slice %b into %0[0, 100] [4, 200] [1, 1]
      : tensor<4x200xf32> into tensor<4x300xf32>
  %r = ssm.kernel loops 2 ins(%1, %d : tensor<4x300xf32>, tensor<300xf32>)
      outs(%e : tensor<4x300xf32>) maps [#ij, #j, #ij] {
    ^bb0(%v: f32, %w: f32):
      %p = arith.mulf %v, %w : f32
      ssm.yield %p : f32
  } -> tensor<4x300xf32>
  return %r : tensor<4x300xf32>
}

// A Pad that takes off what it adds: its value is a scalar, and nothing lies behind the piece.
// CHECK-LABEL: @shift
// CHECK-SAME: %[[X:.+]]: tensor<?xf32>, %[[Z:.+]]: f32
// CHECK: %[[ONE:.+]] = arith.minsi %{{.+}}, %c1
// CHECK: ssm.kernel loops 1 ins(%[[Z]], %{{.+}} : f32, tensor<?xf32>)
// CHECK: tensor.insert_slice %{{.+}} into %{{.+}}[0] [%[[ONE]]]
// CHECK: ssm.kernel loops 1 ins(%{{.+}}, %{{.+}} : tensor<?xf32>, tensor<?xf32>)
// CHECK: tensor.insert_slice %{{.+}} into %{{.+}}[1]
// CHECK-NOT: ssm.kernel
func.func @shift(%x: tensor<?xf32>, %zero: f32) -> tensor<?xf32> {
  %c0 = arith.constant 0 : index
  %less = arith.constant -1 : index
  %n = tensor.dim %x, %c0 : tensor<?xf32>
  %m = arith.addi %n, %less : index
  %rest = arith.maxsi %m, %c0 : index
  %e = tensor.empty(%n) : tensor<?xf32>
  %fill = ssm.kernel loops 1 outs(%e : tensor<?xf32>) maps [#i] {
    ssm.yield %zero : f32
  } -> tensor<?xf32>
  %front = tensor.extract_slice %x[0] [%rest] [1] : tensor<?xf32> to tensor<?xf32>
  %p = tensor.insert_slice %front into %fill[1] [%rest] [1] : tensor<?xf32> into tensor<?xf32>
  %r = ssm.kernel loops 1 ins(%p, %x : tensor<?xf32>, tensor<?xf32>) outs(%e : tensor<?xf32>)
      maps [#i, #i, #i] {
    ^bb0(%v: f32, %w: f32):
      %d = arith.subf %v, %w : f32
      ssm.yield %d : f32
  } -> tensor<?xf32>
  return %r : tensor<?xf32>
}

// A sum over the pieces needs them all.
// CHECK-LABEL: @sum
// CHECK: tensor.insert_slice
// CHECK: tensor.insert_slice
// CHECK: ssm.kernel
// CHECK-NOT: ssm.kernel
func.func @sum(%a: tensor<4x100xf32>, %b: tensor<4x200xf32>) -> tensor<4xf32> {
  %e = tensor.empty() : tensor<4x300xf32>
  %f = tensor.empty() : tensor<4xf32>
  %0 = tensor.insert_slice %a into %e[0, 0] [4, 100] [1, 1]
      : tensor<4x100xf32> into tensor<4x300xf32>
  %1 = tensor.insert_slice %b into %0[0, 100] [4, 200] [1, 1]
      : tensor<4x200xf32> into tensor<4x300xf32>
  %r = ssm.kernel loops 2 ins(%1 : tensor<4x300xf32>) outs(%f : tensor<4xf32>)
      maps [#ij, affine_map<(i, j) -> (i)>] {
    ^bb0(%v: f32):
      %s = ssm.reduce addf %v over [1] : f32
      ssm.yield %s : f32
  } -> tensor<4xf32>
  return %r : tensor<4xf32>
}
