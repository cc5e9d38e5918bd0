// RUN: ssm-opt %s -split-input-file -ssm-emit-device-kernels -canonicalize -cse -ssm-verify-sync | FileCheck %s

// Running sums: blocks have tiles of a row, of which each tells what it comes to.

// CHECK-LABEL: func.func private @sums
// CHECK: arith.cmpi ule, %{{.*}}, %c4096
// CHECK: @device::@sums_prefix grid
// CHECK: ssm.segment_alloc
// CHECK: @device::@sums_prefixes_clear grid
// CHECK: @device::@sums_prefixes grid
// CHECK: gpu.func @sums_prefix(
// CHECK: gpu.shuffle up
// CHECK: gpu.barrier
// CHECK: memref.store {{.*}} : memref<?x?xf32>
// CHECK: gpu.func @sums_prefixes(
// CHECK: llvm.atomicrmw add
// CHECK: gpu.barrier
// CHECK: llvm.store {{.*}} atomic syncscope("device") monotonic
// CHECK: scf.while
// CHECK: llvm.load {{.*}} atomic syncscope("device") monotonic
// CHECK: scf.condition
// CHECK: gpu.shuffle xor
// CHECK: llvm.store {{.*}} atomic syncscope("device") monotonic
// CHECK: memref.store {{.*}} : memref<?x?xf32>
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

// Down columns: a warp has neighbours. Of many a block goes through all tiles, the next one on its
// way; tiles of few are shared out.

// CHECK-LABEL: func.func private @columns
// CHECK: @device::@columns_columns grid
// CHECK: @device::@columns_few_columns_clear grid
// CHECK: @device::@columns_few_columns grid
// CHECK: gpu.func @columns_columns(
// CHECK-SAME: memref<8x32xf32, 3>
// CHECK: scf.for
// CHECK: gpu.barrier
// CHECK: gpu.barrier
// CHECK: memref.load {{.*}} : memref<?x?xf32>
// CHECK: memref.store {{.*}} : memref<?x?xf32>
// CHECK: gpu.func @columns_few_columns(
// CHECK: llvm.atomicrmw add
// CHECK-NOT: gpu.shuffle
// CHECK: scf.while
// CHECK-COUNT-4: llvm.load {{.*}} atomic
#rows = affine_map<(t, r) -> (t, r)>
#last = affine_map<(t, r) -> (r)>
#none = affine_map<(t, r) -> ()>
func.func private @columns(%table: !llvm.ptr, %context: !llvm.ptr, %px: !llvm.ptr, %ph: !llvm.ptr {llvm.noalias}, %py: !llvm.ptr {llvm.noalias}, %n: index, %m: index) attributes {ssm.kernel} {
  %c0 = arith.constant 0 : index
  %zero = arith.constant 0.0 : f32
  %x = ssm.arena_view %px[%c0] (%n, %m) : !llvm.ptr -> memref<?x?xf32>
  %h = ssm.arena_view %ph[%c0] (%m) : !llvm.ptr -> memref<?xf32>
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
