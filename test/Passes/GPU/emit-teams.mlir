// RUN: ssm-opt %s -ssm-emit-device-kernels -canonicalize -cse -ssm-verify-sync | FileCheck %s

// Other forms than the general one are in emit-team-forms.mlir.
// A block for each row: sums through shuffles and shared memory; the host computes blocks and threads.
// CHECK-LABEL: func.func private @kernel_softmax(
// CHECK-SAME:  -> i32
// CHECK: %[[ROWS:.*]] = memref.dim %{{.*}}, %c0
// CHECK: @device::@kernel_softmax_shifted_row
// CHECK: %[[THREADS:.*]] = arith.muli %{{.*}}, %c32
// CHECK: ssm.launch %{{.*}}, %{{.*}} @device::@kernel_softmax grid(%[[ROWS]], %c1, %c1) threads %[[THREADS]]
// CHECK-NOT: ssm.kernel loops

// One thread for each four elements.
// CHECK-LABEL: func.func private @kernel_map(
// CHECK: %[[BLOCKS:.*]] = arith.ceildivui %{{.*}}, %c1024
// CHECK: ssm.launch %{{.*}}, %{{.*}} @device::@kernel_map grid(%[[BLOCKS]], %c1, %c1) threads %c256

// CHECK-LABEL: func.func @main.run(
// CHECK: call @kernel_map({{.*}}) : ({{.*}}) -> i32

// CHECK: gpu.module @device
// CHECK: gpu.func @kernel_softmax(%{{.*}}: !llvm.ptr {llvm.noalias}, %{{.*}}: index, %{{.*}}: index, %{{.*}}: !llvm.ptr {llvm.noalias}) workgroup(%{{.*}} : memref<32xf32, 3> {llvm.align = 16 : i64}, %[[PARTS:.*]] : memref<32xf32, 3> {llvm.align = 16 : i64}) kernel
// CHECK-SAME: ssm.max_threads = 1024
// CHECK-DAG: %[[T:.*]] = gpu.thread_id  x
// CHECK-DAG: %[[ROW:.*]] = gpu.block_id  x
// CHECK-DAG: %[[STEP:.*]] = gpu.block_dim  x
// Vectors are in emit-teams-vectors.mlir; this is what runs where they do not fit.
// CHECK: scf.for %[[J:.*]] = %[[T]] to %{{.*}} step %[[STEP]] iter_args(%{{.*}} = %{{.*}}) -> (f32)
// CHECK:   memref.load %{{.*}}[%[[ROW]], %[[J]]]
// CHECK-COUNT-5: gpu.shuffle  xor
// CHECK: memref.store %{{.*}}, %[[PARTS]]
// CHECK: gpu.barrier
// CHECK: scf.for %[[K:.*]] = %[[T]] to %{{.*}} step %[[STEP]]
// CHECK:   memref.store %{{.*}}, %{{.*}}[%[[ROW]], %[[K]]]

// CHECK-LABEL: gpu.func @kernel_map(
// CHECK-SAME: ssm.max_threads = 256
// CHECK: scf.for
// CHECK:   arith.negf %{{.*}} : vector<4xf32>
// CHECK: scf.for
// CHECK:   arith.negf %{{.*}} : f32

#ij = affine_map<(d0, d1) -> (d0, d1)>
func.func private @kernel_softmax(%table: !llvm.ptr, %context: !llvm.ptr, %xp: !llvm.ptr {llvm.noalias}, %n: index, %m: index, %yp: !llvm.ptr {llvm.noalias}) attributes {ssm.kernel} {
  %c0 = arith.constant 0 : index
  %x = ssm.arena_view %xp[%c0] (%n, %m) : !llvm.ptr -> memref<?x?xf32>
  %y = ssm.arena_view %yp[%c0] (%n, %m) : !llvm.ptr -> memref<?x?xf32>
  ssm.kernel loops 2 ins(%x : memref<?x?xf32>) outs(%y : memref<?x?xf32>) maps [#ij, #ij] config <loops, lane_loop = 0, lanes = 1> {
  ^bb0(%v: f32):
    %s = ssm.reduce addf %v over [1] : f32
    %q = arith.divf %v, %s : f32
    ssm.yield %q : f32
  }
  return
}
func.func private @kernel_map(%table: !llvm.ptr, %context: !llvm.ptr, %xp: !llvm.ptr, %n: index) attributes {ssm.kernel} {
  %c0 = arith.constant 0 : index
  %x = ssm.arena_view %xp[%c0] (%n) : !llvm.ptr -> memref<?xf32>
  ssm.kernel loops 1 ins(%x : memref<?xf32>) outs(%x : memref<?xf32>) maps [affine_map<(d0) -> (d0)>, affine_map<(d0) -> (d0)>] config <loops, lane_loop = 0, lanes = 1> {
  ^bb0(%v: f32):
    %q = arith.negf %v : f32
    ssm.yield %q : f32
  }
  return
}
func.func @main.run(%table: !llvm.ptr, %context: !llvm.ptr, %xp: !llvm.ptr, %n: index) -> i32 attributes {ssm.entry = "main"} {
  call @kernel_map(%table, %context, %xp, %n) : (!llvm.ptr, !llvm.ptr, !llvm.ptr, index) -> ()
  %ok = arith.constant 0 : i32
  return %ok : i32
}
