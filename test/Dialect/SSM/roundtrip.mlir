// RUN: ssm-opt %s | ssm-opt | FileCheck %s
// RUN: ssm-opt %s --mlir-print-op-generic | ssm-opt | FileCheck %s

// CHECK: ssm.weight @plain : tensor<2x3xf32> length 24 file "a.onnx" at 128
ssm.weight @plain : tensor<2x3xf32> length 24 file "a.onnx" at 128
// CHECK: ssm.weight @listed : tensor<4xf16> length 8 index 7 hash 99
ssm.weight @listed : tensor<4xf16> length 8 index 7 hash 99
// CHECK: ssm.weight @made : tensor<4xi8> length 4 init @make
ssm.weight @made : tensor<4xi8> length 4 init @make

func.func private @make() -> tensor<4xi8>

// CHECK-LABEL: func.func @weights
func.func @weights() -> (tensor<2x3xf32>, memref<4xf16>) {
  // CHECK: ssm.load_weight @plain : tensor<2x3xf32>
  %0 = ssm.load_weight @plain : tensor<2x3xf32>
  // CHECK: ssm.load_weight @listed : memref<4xf16>
  %1 = ssm.load_weight @listed : memref<4xf16>
  return %0, %1 : tensor<2x3xf32>, memref<4xf16>
}

// CHECK-LABEL: func.func @checks
func.func @checks(%c: i1, %n: index, %m: i64) {
  // CHECK: ssm.check %{{.*}}, "'a' (Add)", "no sizes"
  ssm.check %c, "'a' (Add)", "no sizes"
  // CHECK: ssm.check %{{.*}}, "'a' (Add)", "{0} and {1}" values(%{{.*}}, %{{.*}} : index, i64) of_indices
  ssm.check %c, "'a' (Add)", "{0} and {1}" values(%n, %m : index, i64) of_indices
  return
}

// CHECK-LABEL: func.func @borders
func.func @borders(%p: !llvm.ptr, %n: index) -> !llvm.ptr {
  // CHECK: ssm.arg %{{.*}}[0] : !llvm.ptr -> memref<?xf32>
  %0 = ssm.arg %p[0] : !llvm.ptr -> memref<?xf32>
  // CHECK: ssm.output %{{.*}}, %{{.*}}[1] (%{{.*}}) : !llvm.ptr, !llvm.ptr -> memref<?x4xf32>
  %1 = ssm.output %p, %p[1] (%n) : !llvm.ptr, !llvm.ptr -> memref<?x4xf32>
  // CHECK: %[[MARK:.*]] = ssm.segment_mark %{{.*}}, %{{.*}} : !llvm.ptr, !llvm.ptr
  %mark = ssm.segment_mark %p, %p : !llvm.ptr, !llvm.ptr
  // CHECK: ssm.segment_alloc %{{.*}}, %{{.*}}(%{{.*}}) : !llvm.ptr, !llvm.ptr -> memref<?xi8>
  %2 = ssm.segment_alloc %p, %p (%n) : !llvm.ptr, !llvm.ptr -> memref<?xi8>
  // CHECK: ssm.segment_release %{{.*}}, %{{.*}} to %[[MARK]] : !llvm.ptr, !llvm.ptr
  ssm.segment_release %p, %p to %mark : !llvm.ptr, !llvm.ptr
  // CHECK: ssm.arena_view %{{.*}}[%{{.*}}] () : !llvm.ptr -> memref<8xf32>
  %3 = ssm.arena_view %p[%n] () : !llvm.ptr -> memref<8xf32>
  // CHECK: ssm.weight_view %{{.*}}, @plain : !llvm.ptr -> memref<2x3xf32>
  %4 = ssm.weight_view %p, @plain : !llvm.ptr -> memref<2x3xf32>
  // CHECK: ssm.pointer %{{.*}} : memref<8xf32> -> !llvm.ptr
  %5 = ssm.pointer %3 : memref<8xf32> -> !llvm.ptr
  return %5 : !llvm.ptr
}

// CHECK-LABEL: func.func @scan
func.func @scan(%n: index, %h: tensor<8xf32>, %x: tensor<?x8xf32>, %e: tensor<8x?xf32>)
    -> (tensor<8xf32>, tensor<8x?xf32>) {
  // CHECK: ssm.scan length(%{{.*}}) carries(%{{.*}} : tensor<8xf32>)
  // CHECK-SAME: ins(%{{.*}} : tensor<?x8xf32>) outs(%{{.*}} : tensor<8x?xf32>)
  // CHECK-SAME: input_axes [0] output_axes [1] input_reversed [true] output_reversed [false]
  // CHECK: ssm.yield %{{.*}}, %{{.*}} : tensor<8xf32>, tensor<8xf32>
  // CHECK: } -> tensor<8xf32>, tensor<8x?xf32>
  %0:2 = ssm.scan length(%n) carries(%h : tensor<8xf32>) ins(%x : tensor<?x8xf32>)
      outs(%e : tensor<8x?xf32>) input_axes [0] output_axes [1] input_reversed [true]
      output_reversed [false] {
  ^bb0(%a: tensor<8xf32>, %xt: tensor<8xf32>):
    ssm.yield %xt, %a : tensor<8xf32>, tensor<8xf32>
  } -> tensor<8xf32>, tensor<8x?xf32>
  return %0#0, %0#1 : tensor<8xf32>, tensor<8x?xf32>
}

// Nothing goes in and out: a scan may still run for what it checks.
// CHECK-LABEL: func.func @bare_scan
func.func @bare_scan(%n: index, %c: i1) {
  // CHECK: ssm.scan length(%{{.*}}) input_axes [] output_axes [] input_reversed [] output_reversed [] {
  ssm.scan length(%n) input_axes [] output_axes [] input_reversed [] output_reversed [] {
    ssm.check %c, "'s' (Scan)", "holds"
  }
  return
}

// CHECK-LABEL: func.func @parallel
func.func @parallel(%n: index, %m: memref<?xf32>) {
  %c1 = arith.constant 1 : index
  %zero = arith.constant 0.0 : f32
  // CHECK: ssm.parallel_for %{{.*}} grain %{{.*}} {
  // CHECK-NEXT: ^bb0(%[[LO:.*]]: index, %[[HI:.*]]: index):
  // CHECK: scf.for %{{.*}} = %[[LO]] to %[[HI]]
  ssm.parallel_for %n grain %c1 {
  ^bb0(%lo: index, %hi: index):
    scf.for %i = %lo to %hi step %c1 {
      memref.store %zero, %m[%i] : memref<?xf32>
    }
    ssm.yield
  }
  return
}

// CHECK-LABEL: func.func @device(
// CHECK: %[[SITE:.*]] = ssm.check_site "node", "index {0}"
// CHECK: %[[FAULT:.*]] = ssm.fault %{{.*}}, %{{.*}} : !llvm.ptr, !llvm.ptr -> !llvm.ptr
// CHECK: ssm.check_index %[[SITE]] of %[[SITE]], %[[SITE]] : i64
// CHECK: ssm.launch %{{.*}}, %{{.*}} @device::@kernel grid(%{{.*}}, %{{.*}}, %{{.*}}) threads %{{.*}} args(%[[SITE]], %[[FAULT]] : i64, !llvm.ptr) : !llvm.ptr, !llvm.ptr
// CHECK: ssm.read %{{.*}}, %{{.*}} %{{.*}}[%{{.*}}] : !llvm.ptr, !llvm.ptr, memref<?xf32> -> f32
func.func @device(%table: !llvm.ptr, %context: !llvm.ptr, %x: memref<?xf32>, %n: index) -> f32 {
  %site = ssm.check_site "node", "index {0}"
  %fault = ssm.fault %table, %context : !llvm.ptr, !llvm.ptr -> !llvm.ptr
  %inside = ssm.check_index %site of %site, %site : i64
  ssm.launch %table, %context @device::@kernel grid(%n, %n, %n) threads %n args(%site, %fault : i64, !llvm.ptr) : !llvm.ptr, !llvm.ptr
  %v = ssm.read %table, %context %x[%n] : !llvm.ptr, !llvm.ptr, memref<?xf32> -> f32
  return %v : f32
}

// CHECK-LABEL: func.func @map(
// CHECK: %[[MAP:.*]] = ssm.tensor_map %{{.*}}, %{{.*}} %{{.*}} box [1, 128, 64] swizzle 128 : !llvm.ptr, !llvm.ptr, memref<?x?x64xbf16> -> !llvm.ptr
func.func @map(%table: !llvm.ptr, %context: !llvm.ptr, %x: memref<?x?x64xbf16>, %n: index) {
  %map = ssm.tensor_map %table, %context %x box [1, 128, 64] swizzle 128 : !llvm.ptr, !llvm.ptr, memref<?x?x64xbf16> -> !llvm.ptr
  ssm.launch %table, %context @device::@copies grid(%n, %n, %n) threads %n args(%map : !llvm.ptr) : !llvm.ptr, !llvm.ptr
  return
}
