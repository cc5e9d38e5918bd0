// RUN: ssm-opt %s -ssm-expand-math-f64 -verify-diagnostics -split-input-file | FileCheck %s
// RUN: ssm-opt %s -ssm-expand-math-f64=only-vectors -split-input-file | FileCheck %s --check-prefix=VECTORS

// By way of f64, rounded once.
// CHECK-LABEL: @single
// CHECK: arith.extf %{{.*}} : f32 to f64
// CHECK-NOT: math.exp2
// CHECK: arith.truncf %{{.*}} : f64 to f32
func.func @single(%x: f32) -> f32 {
  %0 = math.exp2 %x : f32
  return %0 : f32
}

// What ssm-expand-math has stays, halves come to it.
// CHECK-LABEL: @left
// CHECK: math.exp %{{.*}} : f32
// CHECK: %[[WIDE:.*]] = arith.extf %{{.*}} : bf16 to f32
// CHECK: math.tanh %[[WIDE]] : f32
func.func @left(%x: f32, %y: bf16) -> (f32, bf16) {
  %0 = math.exp %x : f32
  %1 = math.tanh %y : bf16
  return %0, %1 : f32, bf16
}

// VECTORS-LABEL: @left
// VECTORS: math.tanh %{{.*}} : bf16

// Vectors of one axis stay vectors; angles may be large in each lane.
// CHECK-LABEL: @vectors
// CHECK: arith.extf %{{.*}} : vector<8xf32> to vector<8xf64>
// CHECK: vector.reduction <and>
// CHECK: scf.if
// CHECK: } else {
// CHECK: scf.for
// CHECK: arith.truncf %{{.*}} : vector<8xf64> to vector<8xf32>
// VECTORS-LABEL: @vectors
// VECTORS-NOT: math.sin
// VECTORS: math.sin %{{.*}} : vector<8xf64>
// VECTORS: arith.remf
func.func @vectors(%x: vector<8xf32>, %y: vector<8xf64>) -> (vector<8xf32>, vector<8xf64>, vector<8xf32>) {
  %0 = math.sin %x : vector<8xf32>
  %1 = math.sin %y : vector<8xf64>
  %2 = arith.remf %0, %x : vector<8xf32>
  return %0, %1, %2 : vector<8xf32>, vector<8xf64>, vector<8xf32>
}

// CHECK-LABEL: @lanes
// CHECK-COUNT-4: vector.insert
// CHECK-NOT: math.powf
func.func @lanes(%x: vector<2x2xf64>, %y: vector<2x2xf64>) -> vector<2x2xf64> {
  %0 = math.powf %x, %y : vector<2x2xf64>
  return %0 : vector<2x2xf64>
}

// -----

func.func @open(%x: vector<[4]xf32>) -> vector<[4]xf32> {
  // expected-error @+1 {{has no arithmetic for vectors of open length}}
  %0 = math.sin %x : vector<[4]xf32>
  return %0 : vector<[4]xf32>
}
