// RUN: ssm-opt %s -ssm-place-host-code | FileCheck %s

// A check of what a kernel found is made by the device: the host does not wait.
// CHECK-LABEL: func.func @checked.run(
// CHECK-NOT: memref.load
// CHECK-NOT: ssm.read
// CHECK-DAG: %[[SITE:.*]] = ssm.check_site "'gather' (Gather)", "index {0} is out of range for size {1}"
// CHECK-DAG: %[[FAULT:.*]] = ssm.fault
// CHECK-DAG: %[[FROM:.*]] = ssm.pointer
// CHECK: ssm.launch %{{.*}} @device::@check_0 grid({{.*}}) threads %{{.*}} args(%[[SITE]], %[[FAULT]], %[[FROM]], %{{.*}} : i64, !llvm.ptr, !llvm.ptr, i64)
func.func @checked.run(%table: !llvm.ptr, %context: !llvm.ptr, %arena: !llvm.ptr, %size: i64) -> i32 attributes {ssm.entry = "checked"} {
  %c0 = arith.constant 0 : index
  %ok = arith.constant 0 : i32
  %largest = ssm.arena_view %arena[%c0] () : !llvm.ptr -> memref<i64>
  %v = memref.load %largest[] : memref<i64>
  %fits = arith.cmpi slt, %v, %size : i64
  ssm.check %fits, "'gather' (Gather)", "index {0} is out of range for size {1}" values(%v, %size : i64, i64)
  return %ok : i32
}

// A number that the host needs is read; its own memory is not the device's.
// CHECK-LABEL: func.func @needed.run(
// CHECK: %[[N:.*]] = ssm.read %{{.*}}, %{{.*}} %{{.*}}[]
// CHECK: arith.index_cast %[[N]]
// CHECK: memref.load %{{.*}}[%c0] : memref<3xindex>
// CHECK: ssm.check
func.func @needed.run(%table: !llvm.ptr, %context: !llvm.ptr, %arena: !llvm.ptr) -> i32 attributes {ssm.entry = "needed"} {
  %c0 = arith.constant 0 : index
  %ok = arith.constant 0 : i32
  %count = ssm.arena_view %arena[%c0] () : !llvm.ptr -> memref<i64>
  %places = memref.alloca() : memref<3xindex>
  memref.store %c0, %places[%c0] : memref<3xindex>
  %n = memref.load %count[] : memref<i64>
  %size = arith.index_cast %n : i64 to index
  %place = memref.load %places[%c0] : memref<3xindex>
  %fits = arith.cmpi ule, %place, %c0 : index
  ssm.check %fits, "node", "text {0}" values(%place : index)
  %view = ssm.arena_view %arena[%c0] (%size) : !llvm.ptr -> memref<?xf32>
  call @use(%view) : (memref<?xf32>) -> ()
  return %ok : i32
}
func.func private @use(memref<?xf32>)

// Memory that is written again before the check: the value must be that of the load.
// CHECK-LABEL: func.func @overwritten.run(
// CHECK: ssm.read
// CHECK: ssm.check
func.func @overwritten.run(%table: !llvm.ptr, %context: !llvm.ptr, %arena: !llvm.ptr) -> i32 attributes {ssm.entry = "overwritten"} {
  %c0 = arith.constant 0 : index
  %zero = arith.constant 0 : i64
  %ok = arith.constant 0 : i32
  %count = ssm.arena_view %arena[%c0] () : !llvm.ptr -> memref<i64>
  %n = memref.load %count[] : memref<i64>
  func.call @kernel(%arena) : (!llvm.ptr) -> ()
  %fits = arith.cmpi sgt, %n, %zero : i64
  ssm.check %fits, "node", "text"
  return %ok : i32
}
func.func private @kernel(!llvm.ptr)

// CHECK: gpu.module @device
// CHECK: gpu.func @check_0(%[[S:.*]]: i64, %[[F:.*]]: !llvm.ptr, %[[P:.*]]: !llvm.ptr, %[[SIZE:.*]]: i64) kernel
// CHECK: %[[V:.*]] = llvm.load %[[P]]
// CHECK: arith.cmpi slt, %[[V]], %[[SIZE]]
// CHECK: scf.if
// CHECK:   llvm.cmpxchg %[[F]]
// CHECK:   scf.if
// CHECK:     llvm.store %[[V]]
// CHECK:     llvm.store %[[SIZE]]
