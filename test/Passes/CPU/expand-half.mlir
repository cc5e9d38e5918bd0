// RUN: ssm-opt %s -ssm-expand-half | FileCheck %s --check-prefixes=CHECK,F16C
// RUN: ssm-opt %s -ssm-expand-half=f16=true | FileCheck %s --check-prefixes=CHECK,NONE

// CHECK-LABEL: func.func @bf16
// CHECK-NOT: arith.truncf
// CHECK: arith.select %{{.*}} : vector<16xi1>, vector<16xi32>
// CHECK: return
func.func @bf16(%x: vector<16xf32>) -> vector<16xbf16> {
  %0 = arith.truncf %x : vector<16xf32> to vector<16xbf16>
  return %0 : vector<16xbf16>
}

// CHECK-LABEL: func.func @f16
// F16C: arith.extf
// F16C: arith.truncf
// NONE-NOT: arith.extf
// NONE-NOT: arith.truncf
// CHECK: return
func.func @f16(%x: f16) -> f16 {
  %0 = arith.extf %x : f16 to f32
  %1 = arith.addf %0, %0 : f32
  %2 = arith.truncf %1 : f32 to f16
  return %2 : f16
}

// CHECK-LABEL: func.func @stays
// CHECK: arith.truncf %{{.*}} : f64 to f16
func.func @stays(%x: f64) -> f16 {
  %0 = arith.truncf %x : f64 to f16
  return %0 : f16
}
