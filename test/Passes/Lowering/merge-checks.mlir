// RUN: ssm-opt %s -ssm-merge-checks | FileCheck %s

// A condition holds for what comes after it, inside and outside of loops; one that was
// only checked in a loop does not hold behind it, for the loop may not have run.

// CHECK-LABEL: @once
// CHECK: ssm.check %arg0, "first"
// CHECK-NEXT: scf.for
// CHECK-NEXT: ssm.check %arg1, "fourth"
// CHECK-NEXT: }
// CHECK-NEXT: ssm.check %arg1, "fifth"
// CHECK-NEXT: return
func.func @once(%a: i1, %b: i1, %n: index) {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  ssm.check %a, "first", "text"
  ssm.check %a, "second", "other text"
  scf.for %i = %c0 to %n step %c1 {
    ssm.check %a, "third", "text"
    ssm.check %b, "fourth", "text"
  }
  ssm.check %b, "fifth", "text"
  return
}
