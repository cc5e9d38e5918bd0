// RUN: ssm-opt %s -ssm-expand-arcs | FileCheck %s

// CHECK-LABEL: @arcs
// CHECK-COUNT-1: arith.divf
// CHECK-NOT: arith.divf
// CHECK: math.copysign
// CHECK-COUNT-2: math.sqrt
// CHECK-NOT: math.atan
// CHECK-NOT: math.asin
// CHECK-NOT: math.acos
// CHECK: return
func.func @arcs(%x: vector<16xf32>) -> (vector<16xf32>, vector<16xf32>, vector<16xf32>) {
  %0 = math.atan %x : vector<16xf32>
  %1 = math.asin %x : vector<16xf32>
  %2 = math.acos %x : vector<16xf32>
  return %0, %1, %2 : vector<16xf32>, vector<16xf32>, vector<16xf32>
}

// CHECK-LABEL: @left
// CHECK: math.atan %{{.*}} : f32
// CHECK: math.acos %{{.*}} : vector<8xf64>
func.func @left(%x: f32, %y: vector<8xf64>) -> (f32, vector<8xf64>) {
  %0 = math.atan %x : f32
  %1 = math.acos %y : vector<8xf64>
  return %0, %1 : f32, vector<8xf64>
}
