// RUN: ssm-opt %s -ssm-expand-math-f64 -ssm-lower-device-math -split-input-file -verify-diagnostics | FileCheck %s

// CHECK-LABEL: @left
// CHECK: llvm.sqrt
// CHECK: llvm.maxnum
// CHECK: llvm.maximum
// CHECK-NOT: math.
// CHECK-NOT: arith.remf
func.func @left(%x: f32, %y: f32) -> (f32, f32, f32, f32, f32) {
  %0 = math.sqrt %x : f32
  %1 = arith.maxnumf %x, %y : f32
  %2 = arith.maximumf %x, %y : f32
  %3 = math.cbrt %x : f32
  %4 = arith.remf %x, %y : f32
  return %0, %1, %2, %3, %4 : f32, f32, f32, f32, f32
}

// -----

func.func @none(%x: f32) -> i1 {
  // expected-error @+1 {{has no code for GPUs: expected a function that ssm-expand-math or ssm-expand-math-f64 knows}}
  %0 = math.isnormal %x : f32
  return %0 : i1
}
