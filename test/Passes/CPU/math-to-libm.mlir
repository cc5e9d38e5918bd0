// RUN: ssm-opt %s -ssm-math-to-libm | FileCheck %s

// CHECK-LABEL: func.func @calls
// CHECK: call @log1pf
// CHECK: call @tanh(
func.func @calls(%x: f32, %y: f64) -> (f32, f64) {
  %0 = math.log1p %x : f32
  %1 = math.tanh %y : f64
  return %0, %1 : f32, f64
}

// What LLVM has a good form of stays.
// CHECK-LABEL: func.func @stays
// CHECK-NOT: call
// CHECK: math.exp
// CHECK: math.floor
// CHECK: math.sqrt
func.func @stays(%x: f32) -> f32 {
  %0 = math.exp %x : f32
  %1 = math.floor %0 : f32
  %2 = math.sqrt %1 : f32
  return %2 : f32
}
