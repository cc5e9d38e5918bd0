// RUN: ssm-opt %s -ssm-layout-weights | FileCheck %s

// The first weight is another version's too and keeps its place, so do those equal to it;
// the others lie behind all that are known.
// CHECK: ssm.weight @known {{.*}} {ssm.offset = 192 : i64}
// CHECK: ssm.weight @new {{.*}} {ssm.offset = 512 : i64}
// CHECK: ssm.weight @same {{.*}} {ssm.offset = 192 : i64}
// CHECK: ssm.weight @next {{.*}} {ssm.offset = 640 : i64}
module attributes {ssm.weights_begin = 512 : i64} {
ssm.weight @known : tensor<3xf32> length 12 file "m" at 0 hash 7 {ssm.offset = 192 : i64}
ssm.weight @new : tensor<17xf32> length 68 file "m" at 12 hash 8
ssm.weight @same : tensor<3xf32> length 12 file "m" at 80 hash 7
ssm.weight @next : tensor<3xf32> length 12 file "m" at 92 hash 9

func.func @f(%w: !llvm.ptr) {
  %a = ssm.weight_view %w, @known : !llvm.ptr -> memref<3xf32>
  %b = ssm.weight_view %w, @new : !llvm.ptr -> memref<17xf32>
  %c = ssm.weight_view %w, @same : !llvm.ptr -> memref<3xf32>
  %d = ssm.weight_view %w, @next : !llvm.ptr -> memref<3xf32>
  return
}
}
