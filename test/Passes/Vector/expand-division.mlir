// RUN: ssm-opt %s -ssm-expand-division | FileCheck %s

// CHECK-LABEL: @quotient
// CHECK: arith.uitofp %{{.*}} : vector<8xi32> to vector<8xf64>
// CHECK: arith.divf
// CHECK: arith.fptoui
// CHECK-NOT: arith.divui
func.func @quotient(%x: vector<8xi32>, %y: vector<8xi32>) -> vector<8xi32> {
  %0 = arith.divui %x, %y : vector<8xi32>
  return %0 : vector<8xi32>
}

// CHECK-LABEL: @remainder
// CHECK: %[[Q:.*]] = arith.fptosi
// CHECK: %[[P:.*]] = arith.muli %[[Q]], %[[Y:.*]] :
// CHECK: arith.subi %{{.*}}, %[[P]]
func.func @remainder(%x: vector<8xi16>, %y: vector<8xi16>) -> vector<8xi16> {
  %0 = arith.remsi %x, %y : vector<8xi16>
  return %0 : vector<8xi16>
}

// A quotient of up to 28 bits at once; a longer one, in any lane, by ten steps.
// CHECK-LABEL: @fmod
// CHECK: vector.reduction <or>
// CHECK: scf.if
// CHECK-COUNT-9: math.trunc
// CHECK: } else {
// CHECK: math.trunc
// CHECK: math.copysign %{{.*}}, %{{.*}} : vector<16xf32>
// CHECK-NOT: arith.remf
func.func @fmod(%x: vector<16xf32>, %y: vector<16xf32>) -> vector<16xf32> {
  %0 = arith.remf %x, %y : vector<16xf32>
  return %0 : vector<16xf32>
}

// Scalars, and what f64 does not hold or LLVM does better.
// CHECK-LABEL: @left
// CHECK: arith.divsi %{{.*}} : i32
// CHECK: arith.divsi %{{.*}} : vector<8xi64>
// CHECK: arith.divsi %{{.*}} : vector<8xi32>
// CHECK: arith.remf %{{.*}} : vector<8xf64>
func.func @left(%a: i32, %x: vector<8xi64>, %y: vector<8xi32>, %z: vector<8xf64>) -> (i32, vector<8xi64>, vector<8xi32>, vector<8xf64>) {
  %c = arith.constant dense<7> : vector<8xi32>
  %0 = arith.divsi %a, %a : i32
  %1 = arith.divsi %x, %x : vector<8xi64>
  %2 = arith.divsi %y, %c : vector<8xi32>
  %3 = arith.remf %z, %z : vector<8xf64>
  return %0, %1, %2, %3 : i32, vector<8xi64>, vector<8xi32>, vector<8xf64>
}
