// RUN: ssm-opt %s -ssm-expand-math | FileCheck %s

// CHECK-LABEL: func.func @scalar
// CHECK-NOT: math.exp
// CHECK: math.roundeven %{{.*}} : f32
// CHECK-NOT: math.exp
// CHECK: return
func.func @scalar(%x: f32) -> f32 {
  %0 = math.exp %x : f32
  return %0 : f32
}

// CHECK-LABEL: func.func @vector
// CHECK-NOT: math.tanh
// CHECK: arith.divf %{{.*}} : vector<16xf32>
// CHECK-NOT: math.tanh
// CHECK: return
func.func @vector(%x: vector<16xf32>) -> vector<16xf32> {
  %0 = math.tanh %x : vector<16xf32>
  return %0 : vector<16xf32>
}

// Other types and functions stay.
// CHECK-LABEL: func.func @stays
// CHECK: math.exp %{{.*}} : f64
// CHECK: math.sin
func.func @stays(%x: f64, %y: f32) -> (f64, f32) {
  %0 = math.exp %x : f64
  %1 = math.sin %y : f32
  return %0, %1 : f64, f32
}
