// RUN: ssm-opt %s -ssm-profile-kernels | FileCheck %s

// Both calls of the kernel tell its name and its work before and behind; the function that
// is no kernel does not. Of a kernel without a count -1 is told.

// CHECK: llvm.mlir.global internal constant @kernel_a.name("kernel_a\00")
// CHECK-LABEL: func.func @main.run(
// CHECK-SAME: %[[T:.*]]: !llvm.ptr, %[[C:.*]]: !llvm.ptr)
// CHECK: %[[W:.*]]:2 = call @kernel_a.work(%[[T]], %[[C]])
// CHECK: %[[P:.*]] = llvm.getelementptr %[[T]][56]
// CHECK: %[[F:.*]] = llvm.load %[[P]]
// CHECK: %[[N:.*]] = llvm.mlir.addressof @kernel_a.name
// CHECK: %[[B:.*]] = llvm.mlir.constant(0 : i32)
// CHECK: llvm.call %[[F]](%[[C]], %[[N]], %[[B]], %[[W]]#0, %[[W]]#1)
// CHECK-NEXT: call @kernel_a(
// CHECK: %[[E:.*]] = llvm.mlir.constant(1 : i32)
// CHECK: llvm.call %{{.*}}(%[[C]], %{{.*}}, %[[E]], %[[W]]#0, %[[W]]#1)
// CHECK: %[[U:.*]] = llvm.mlir.constant(-1 : i64)
// CHECK: llvm.call %{{.*}}, %[[U]], %[[U]])
// CHECK-NEXT: call @kernel_b(
// CHECK: llvm.call
// CHECK-NEXT: call @other(
// CHECK-NEXT: return
func.func @main.run(%t: !llvm.ptr, %c: !llvm.ptr) {
  call @kernel_a(%t, %c) : (!llvm.ptr, !llvm.ptr) -> ()
  call @kernel_b(%t, %c) : (!llvm.ptr, !llvm.ptr) -> ()
  call @other(%t, %c) : (!llvm.ptr, !llvm.ptr) -> ()
  return
}
func.func private @kernel_a(%t: !llvm.ptr, %c: !llvm.ptr) attributes {ssm.kernel} {
  return
}
func.func private @kernel_a.work(%t: !llvm.ptr, %c: !llvm.ptr) -> (i64, i64) {
  %w = arith.constant 7 : i64
  return %w, %w : i64, i64
}
func.func private @kernel_b(%t: !llvm.ptr, %c: !llvm.ptr) attributes {ssm.kernel} {
  return
}
func.func private @other(%t: !llvm.ptr, %c: !llvm.ptr) {
  return
}
