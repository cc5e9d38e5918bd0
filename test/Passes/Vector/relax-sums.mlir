// RUN: ssm-opt %s -ssm-relax-sums | FileCheck %s

#v = affine_map<(i) -> (i)>
#s = affine_map<(i) -> ()>

// CHECK-LABEL: func.func @dot
// CHECK: arith.mulf %{{.*}} fastmath<contract>
// CHECK: arith.addf %{{.*}} fastmath<reassoc,contract>
func.func @dot(%x: tensor<?xf32>, %y: tensor<?xf32>, %e: tensor<f32>) -> tensor<f32> {
  %0 = linalg.generic {indexing_maps = [#v, #v, #s], iterator_types = ["reduction"]}
      ins(%x, %y : tensor<?xf32>, tensor<?xf32>) outs(%e : tensor<f32>) {
  ^bb0(%a: f32, %b: f32, %acc: f32):
    %p = arith.mulf %a, %b : f32
    %s = arith.addf %acc, %p : f32
    linalg.yield %s : f32
  } -> tensor<f32>
  return %0 : tensor<f32>
}

// Elementwise additions, and sums whose value is read on the way, keep their order.
// CHECK-LABEL: func.func @ordered
// CHECK-NOT: fastmath
// CHECK: return
func.func @ordered(%x: tensor<?xf32>, %e: tensor<?xf32>, %f: tensor<f32>) -> (tensor<?xf32>, tensor<f32>) {
  %0 = linalg.generic {indexing_maps = [#v, #v], iterator_types = ["parallel"]}
      ins(%x : tensor<?xf32>) outs(%e : tensor<?xf32>) {
  ^bb0(%a: f32, %out: f32):
    %s = arith.addf %out, %a : f32
    linalg.yield %s : f32
  } -> tensor<?xf32>
  %1 = linalg.generic {indexing_maps = [#v, #s], iterator_types = ["reduction"]}
      ins(%x : tensor<?xf32>) outs(%f : tensor<f32>) {
  ^bb0(%a: f32, %acc: f32):
    %m = arith.mulf %acc, %a : f32
    %s = arith.addf %acc, %m : f32
    linalg.yield %s : f32
  } -> tensor<f32>
  return %0, %1 : tensor<?xf32>, tensor<f32>
}
