// RUN: ssm-opt %s -ssm-layout-weights | FileCheck %s

// Aligned to 64; equal content shares; unused ones go away; derived ones lie in front.
// CHECK: ssm.weight @a {{.*}} {ssm.offset = 64 : i64}
// CHECK-NOT: @unused
// CHECK: ssm.weight @b {{.*}} {ssm.offset = 128 : i64}
// CHECK: ssm.weight @same {{.*}} {ssm.offset = 64 : i64}
// CHECK: ssm.weight @derived {{.*}} {ssm.offset = 0 : i64}
ssm.weight @a : tensor<3xf32> length 12 file "m" at 0 hash 7
ssm.weight @unused : tensor<3xf32> length 12 file "m" at 12 hash 8
ssm.weight @b : tensor<3xf32> length 12 file "m" at 24 hash 9
ssm.weight @same : tensor<3xf32> length 12 file "m" at 36 hash 7
ssm.weight @derived : tensor<3xf32> length 12 init @make

func.func @f(%w: !llvm.ptr) {
  %a = ssm.weight_view %w, @a : !llvm.ptr -> memref<3xf32>
  %b = ssm.weight_view %w, @b : !llvm.ptr -> memref<3xf32>
  %c = ssm.weight_view %w, @same : !llvm.ptr -> memref<3xf32>
  %d = ssm.weight_view %w, @derived : !llvm.ptr -> memref<3xf32>
  return
}
