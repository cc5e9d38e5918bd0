// RUN: ssm-opt %s -ssm-lower-device-math -ssm-lower-device-views | FileCheck %s

// CHECK-LABEL: func.func @math(
// CHECK: llvm.call_intrinsic "llvm.sqrt"(%{{.*}}) : (f32) -> f32
// CHECK: %[[ROOT:.*]] = llvm.call_intrinsic "llvm.sqrt"
// CHECK: arith.divf %{{.*}}, %[[ROOT]]
// CHECK: llvm.call_intrinsic "llvm.roundeven"
// CHECK-NOT: math.
func.func @math(%x: f32) -> (f32, f32, f32) {
  %a = math.sqrt %x : f32
  %b = math.rsqrt %x : f32
  %c = math.roundeven %x : f32
  return %a, %b, %c : f32, f32, f32
}

// CHECK-LABEL: func.func @view(
// CHECK-SAME: %[[P:.*]]: !llvm.ptr, %[[N:.*]]: index
// CHECK: llvm.insertvalue %[[P]]
// CHECK: builtin.unrealized_conversion_cast %{{.*}} to memref<?x4xf32>
// CHECK-NOT: ssm.arena_view
func.func @view(%p: !llvm.ptr, %n: index) -> f32 {
  %c0 = arith.constant 0 : index
  %x = ssm.arena_view %p[%c0] (%n) : !llvm.ptr -> memref<?x4xf32>
  %v = memref.load %x[%c0, %c0] : memref<?x4xf32>
  return %v : f32
}
