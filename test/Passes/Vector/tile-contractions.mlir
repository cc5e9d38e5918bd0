// RUN: ssm-opt %s -pass-pipeline='builtin.module(func.func(ssm-tile-contractions{vector-bits=512}))' | FileCheck %s

#a = affine_map<(m, n, k) -> (m, k)>
#b = affine_map<(m, n, k) -> (k, n)>
#bt = affine_map<(m, n, k) -> (n, k)>
#c = affine_map<(m, n, k) -> (m, n)>

// Few rows keep the plain loops; else strips are packed, tiles of 12 rows and two
// vectors are summed in registers.
// CHECK-LABEL: func.func @matmul
// CHECK: %[[PACK:.*]] = memref.alloc() : memref<256x32xf32>
// CHECK: scf.if
// CHECK: vector.store %{{.*}}, %[[PACK]]
// CHECK: %{{.*}}:24 = scf.for {{.*}} -> (vector<16xf32>
// CHECK: vector.load %[[PACK]]
// CHECK: %{{.*}}:8 = scf.for
// CHECK: vector.create_mask
// CHECK: vector.maskedload
// CHECK: } else {
// CHECK: linalg.generic
func.func @matmul(%a: memref<?x?xf32>, %b: memref<?x?xf32>, %c: memref<?x?xf32>) {
  linalg.generic {indexing_maps = [#a, #b, #c], iterator_types = ["parallel", "parallel", "reduction"]}
      ins(%a, %b : memref<?x?xf32>, memref<?x?xf32>) outs(%c : memref<?x?xf32>) {
  ^bb0(%x: f32, %y: f32, %z: f32):
    %p = arith.mulf %x, %y : f32
    %s = arith.addf %z, %p : f32
    linalg.yield %s : f32
  }
  return
}

// A right side that is not dense along the columns, and sums of anything else
// than products, stay.
// CHECK-LABEL: func.func @stays
// CHECK-NOT: vector
// CHECK: return
func.func @stays(%a: memref<?x?xf32>, %b: memref<?x?xf32>, %c: memref<?x?xf32>) {
  linalg.generic {indexing_maps = [#a, #bt, #c], iterator_types = ["parallel", "parallel", "reduction"]}
      ins(%a, %b : memref<?x?xf32>, memref<?x?xf32>) outs(%c : memref<?x?xf32>) {
  ^bb0(%x: f32, %y: f32, %z: f32):
    %p = arith.mulf %x, %y : f32
    %s = arith.addf %z, %p : f32
    linalg.yield %s : f32
  }
  linalg.generic {indexing_maps = [#a, #b, #c], iterator_types = ["parallel", "parallel", "reduction"]}
      ins(%a, %b : memref<?x?xf32>, memref<?x?xf32>) outs(%c : memref<?x?xf32>) {
  ^bb0(%x: f32, %y: f32, %z: f32):
    %p = arith.addf %x, %y : f32
    %s = arith.addf %z, %p : f32
    linalg.yield %s : f32
  }
  return
}
