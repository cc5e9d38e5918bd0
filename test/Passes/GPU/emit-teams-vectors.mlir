// RUN: ssm-opt %s "-ssm-outline-kernels=device=true" -ssm-emit-device-kernels -canonicalize -cse -split-input-file -ssm-verify-sync | FileCheck %s

#i = affine_map<(d0) -> (d0)>

// Four floats at a time where the size and the pointers allow, else one.
// CHECK: gpu.func @kernel_map
// CHECK: arith.remui %{{.*}}, %c4
// CHECK: memref.extract_aligned_pointer_as_index
// CHECK: memref.extract_aligned_pointer_as_index
// CHECK: %[[FITS:.*]] = arith.andi
// CHECK-NEXT: scf.if %[[FITS]]
// CHECK: scf.for
// CHECK: vector.load %{{.*}}[%{{.*}}] {alignment = 16 : i64} : memref<?xf32>, vector<4xf32>
// CHECK: arith.mulf %{{.*}}, %{{.*}} : vector<4xf32>
// CHECK: vector.store %{{.*}}, %{{.*}}[%{{.*}}] {alignment = 16 : i64} : memref<?xf32>, vector<4xf32>
// CHECK: else
// CHECK: memref.load
// CHECK: memref.store
func.func @main.run(%table: !llvm.ptr, %context: !llvm.ptr, %x: memref<?xf32>, %y: memref<?xf32>)
    attributes {ssm.entry = "main"} {
  ssm.kernel loops 1 ins(%x : memref<?xf32>) outs(%y : memref<?xf32>) maps [#i, #i]
      config <loops, lane_loop = 0, lanes = 1> {
  ^bb0(%a: f32):
    %0 = arith.mulf %a, %a : f32
    ssm.yield %0 : f32
  }
  return
}

// -----

// A block has a row: sums of vectors, then of their lanes, then over the block. The size is
// fixed to be no multiple: no vectors of bf16.
#ij = affine_map<(d0, d1) -> (d0, d1)>
#i = affine_map<(d0, d1) -> (d0)>
// CHECK: gpu.func @[[F32:kernel_[a-z_]*[0-9]*]](
// CHECK: vector.load {{.*}} : memref<?x4096xf32>, vector<4xf32>
// CHECK: vector.reduction <add>
// CHECK: gpu.shuffle
// CHECK: gpu.barrier
// CHECK: gpu.func @kernel_reduce_1(
// CHECK-NOT: vector.load
func.func @main.run(%table: !llvm.ptr, %context: !llvm.ptr, %x: memref<?x4096xf32>, %y: memref<?xf32>,
                    %z: memref<?x4095xbf16>, %w: memref<?xbf16>) attributes {ssm.entry = "main"} {
  ssm.kernel loops 2 ins(%x : memref<?x4096xf32>) outs(%y : memref<?xf32>) maps [#ij, #i]
      config <loops, lane_loop = 0, lanes = 1> {
  ^bb0(%a: f32):
    %0 = ssm.reduce addf %a over [1] : f32
    ssm.yield %0 : f32
  }
  ssm.kernel loops 2 ins(%z : memref<?x4095xbf16>) outs(%w : memref<?xbf16>) maps [#ij, #i]
      config <loops, lane_loop = 0, lanes = 1> {
  ^bb0(%a: bf16):
    %0 = ssm.reduce maximumf %a over [1] : bf16
    ssm.yield %0 : bf16
  }
  return
}
