// RUN: ssm-opt %s -split-input-file -ssm-emit-device-kernels -canonicalize -cse -ssm-verify-sync | FileCheck %s

// Running sums: blocks have parts of a row.

// CHECK-LABEL: func.func private @sums
// CHECK: arith.cmpi ule, %{{.*}}, %c4096
// CHECK: @device::@sums_prefix grid
// CHECK: ssm.segment_alloc
// CHECK: @device::@sums_parts grid
// CHECK: @device::@sums_parts_sums grid
// CHECK: @device::@sums_prefixes grid
// CHECK: gpu.func @sums_prefix(
// CHECK: gpu.shuffle up
// CHECK: gpu.barrier
// CHECK: memref.store {{.*}} : memref<?x?xf32>
// CHECK: gpu.func @sums_parts(
// CHECK: gpu.shuffle xor
// CHECK: llvm.store
// CHECK: gpu.func @sums_parts_sums(
// CHECK: scf.for {{.*}} step %c256
#rows = affine_map<(t, r) -> (r, t)>
#last = affine_map<(t, r) -> (r)>
#none = affine_map<(t, r) -> ()>
func.func private @sums(%table: !llvm.ptr, %context: !llvm.ptr, %px: !llvm.ptr, %ph: !llvm.ptr {llvm.noalias}, %py: !llvm.ptr {llvm.noalias}, %n: index, %m: index) attributes {ssm.kernel} {
  %c0 = arith.constant 0 : index
  %zero = arith.constant 0.0 : f32
  %x = ssm.arena_view %px[%c0] (%n, %m) : !llvm.ptr -> memref<?x?xf32>
  %h = ssm.arena_view %ph[%c0] (%n) : !llvm.ptr -> memref<?xf32>
  %y = ssm.arena_view %py[%c0] (%n, %m) : !llvm.ptr -> memref<?x?xf32>
  ssm.kernel loops 2 time 0 ins(%x : memref<?x?xf32>) inits(%zero : f32) outs(%h, %y : memref<?xf32>, memref<?x?xf32>) maps [#rows, #none, #last, #rows] transition <scalar> {
    ^bb0(%v: f32, %before: f32):
      %after = arith.addf %before, %v : f32
      ssm.yield %after, %after : f32, f32
  }
  return
}

// -----

// A factor of the carry is another thing.

// CHECK-LABEL: func.func private @decay
// CHECK-NOT: _prefix
#rows = affine_map<(t, r) -> (r, t)>
#last = affine_map<(t, r) -> (r)>
#none = affine_map<(t, r) -> ()>
func.func private @decay(%table: !llvm.ptr, %context: !llvm.ptr, %px: !llvm.ptr, %ph: !llvm.ptr {llvm.noalias}, %py: !llvm.ptr {llvm.noalias}, %n: index, %m: index) attributes {ssm.kernel} {
  %c0 = arith.constant 0 : index
  %zero = arith.constant 0.0 : f32
  %x = ssm.arena_view %px[%c0] (%n, %m) : !llvm.ptr -> memref<?x?xf32>
  %h = ssm.arena_view %ph[%c0] (%n) : !llvm.ptr -> memref<?xf32>
  %y = ssm.arena_view %py[%c0] (%n, %m) : !llvm.ptr -> memref<?x?xf32>
  ssm.kernel loops 2 time 0 ins(%x : memref<?x?xf32>) inits(%zero : f32) outs(%h, %y : memref<?xf32>, memref<?x?xf32>) maps [#rows, #none, #last, #rows] transition <scalar> {
    ^bb0(%v: f32, %before: f32):
      %half = arith.mulf %before, %v : f32
      %after = arith.addf %half, %v : f32
      ssm.yield %after, %after : f32, f32
  }
  return
}
