// RUN: ssm-opt %s -ssm-count-work -canonicalize | FileCheck %s

// A product of matrices with a bias behind it, at m rows: 2 * 50 * 40 operations a row for
// the product and 50 for the bias. w and bias (8200 bytes), x and y are moved once.

#x = affine_map<(m, n, k) -> (m, k)>
#w = affine_map<(m, n, k) -> (k, n)>
#b = affine_map<(m, n, k) -> (n)>
#y = affine_map<(m, n, k) -> (m, n)>
// CHECK-LABEL: func.func private @kernel_matmul.work(
// CHECK-NOT: ssm.kernel
// CHECK: %[[P:.*]] = arith.muli %[[M:.*]], %c4000
// CHECK: %[[B:.*]] = arith.muli %[[M]], %c50
// CHECK: %[[F:.*]] = arith.addi %[[P]], %[[B]]
// CHECK: %[[X:.*]] = arith.muli %{{.*}}, %c160
// CHECK: %[[XW:.*]] = arith.addi %[[X]], %c8200
// CHECK: %[[Y:.*]] = arith.muli %{{.*}}, %c200
// CHECK: %[[NONE:.*]] = arith.cmpi eq, %[[Y]], %c0
// CHECK: %[[SUM:.*]] = arith.addi %[[Y]], %[[XW]]
// CHECK: %[[ALL:.*]] = arith.select %[[NONE]], %[[Y]], %[[SUM]]
// CHECK: %[[RB:.*]] = arith.index_cast %[[ALL]]
// CHECK: %[[RF:.*]] = arith.index_cast %[[F]]
// CHECK: return %[[RB]], %[[RF]] : i64, i64
func.func private @kernel_matmul(%t: !llvm.ptr, %c: !llvm.ptr, %px: !llvm.ptr, %pw: !llvm.ptr,
                                 %pb: !llvm.ptr, %py: !llvm.ptr, %m: index)
    attributes {ssm.kernel, passthrough = ["noinline"]} {
  %zero = arith.constant 0 : index
  %x = ssm.arena_view %px[%zero](%m) : !llvm.ptr -> memref<?x40xf32>
  %w = ssm.arena_view %pw[%zero]() : !llvm.ptr -> memref<40x50xf32>
  %b = ssm.arena_view %pb[%zero]() : !llvm.ptr -> memref<50xf32>
  %y = ssm.arena_view %py[%zero](%m) : !llvm.ptr -> memref<?x50xf32>
  ssm.kernel loops 3 ins(%x, %w, %b : memref<?x40xf32>, memref<40x50xf32>, memref<50xf32>)
      outs(%y : memref<?x50xf32>) maps [#x, #w, #b, #y] {
    ^bb0(%vx: f32, %vw: f32, %vb: f32):
      %p = arith.mulf %vx, %vw : f32
      %s = ssm.reduce addf %p over [2] : f32
      %r = arith.addf %s, %vb : f32
      ssm.yield %r : f32
  }
  return
}

// Of loops of any other form nobody knows.
// CHECK-NOT: @kernel_loop.work
func.func private @kernel_loop(%t: !llvm.ptr, %c: !llvm.ptr, %n: index) attributes {ssm.kernel} {
  %zero = arith.constant 0 : index
  %one = arith.constant 1 : index
  scf.for %i = %zero to %n step %one {
  }
  return
}

// All sizes known: 12 reads of rows of 4 from a table (192 bytes), the numbers of the rows
// (96), what is written (192); no arithmetic on floats.
#ij = affine_map<(i, j) -> (i, j)>
#i = affine_map<(i, j) -> (i)>
// CHECK-LABEL: func.func private @kernel_gather.work(
// CHECK-DAG: %[[NONE:.*]] = arith.constant 0 : i64
// CHECK-DAG: %[[BYTES:.*]] = arith.constant 480 : i64
// CHECK: return %[[BYTES]], %[[NONE]]
func.func private @kernel_gather(%t: !llvm.ptr, %c: !llvm.ptr, %pt: !llvm.ptr, %pi: !llvm.ptr,
                                 %py: !llvm.ptr) attributes {ssm.kernel} {
  %zero = arith.constant 0 : index
  %table = ssm.arena_view %pt[%zero]() : !llvm.ptr -> memref<16x4xf32>
  %rows = ssm.arena_view %pi[%zero]() : !llvm.ptr -> memref<12xi64>
  %y = ssm.arena_view %py[%zero]() : !llvm.ptr -> memref<12x4xf32>
  ssm.kernel loops 2 ins(%rows : memref<12xi64>) outs(%y : memref<12x4xf32>) maps [#i, #ij] {
    ^bb0(%r: i64):
      %row = arith.index_cast %r : i64 to index
      %column = ssm.index 1
      %v = memref.load %table[%row, %column] : memref<16x4xf32>
      ssm.yield %v : f32
  }
  return
}
