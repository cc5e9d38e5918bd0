// RUN: ssm-opt %s -ssm-outline-kernels=device=true | FileCheck %s

// A device's kernel keeps the checks of its steps: it is given the number of each. What ends by a
// condition stays with the host, which a failed check stops.
// CHECK-LABEL: func.func @steps
// CHECK: %[[SITE:.*]] = ssm.check_site "n", "not {0}"
// CHECK: call @kernel_loop_cmpi(%{{.*}}, %[[SITE]])
// CHECK: scf.while
// CHECK: ssm.check %
// CHECK-LABEL: func.func private @kernel_loop_cmpi
// CHECK-SAME: %[[GIVEN:[a-z0-9]+]]: i64)
// CHECK: scf.for
// CHECK: ssm.check_values %{{.*}}, %[[GIVEN]] values(%{{.*}} : i64)
// CHECK: memref.store
func.func @steps(%t: !llvm.ptr, %c: !llvm.ptr, %x: memref<?xi64>, %y: memref<?xi64>)
    attributes {ssm.repeated} {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %zero = arith.constant 0 : i64
  %n = memref.dim %x, %c0 : memref<?xi64>
  scf.for %i = %c0 to %n step %c1 {
    %v = memref.load %x[%i] : memref<?xi64>
    %ok = arith.cmpi sge, %v, %zero : i64
    ssm.check %ok, "n", "not {0}" values(%v : i64)
    memref.store %v, %y[%i] : memref<?xi64>
  }
  scf.while (%i = %c0) : (index) -> index {
    %v = memref.load %x[%i] : memref<?xi64>
    %ok = arith.cmpi sge, %v, %zero : i64
    ssm.check %ok, "n", "not {0}" values(%v : i64)
    %next = arith.index_cast %v : i64 to index
    scf.condition(%ok) %next : index
  } do {
  ^bb0(%i: index):
    memref.store %zero, %y[%i] : memref<?xi64>
    scf.yield %i : index
  }
  return
}
