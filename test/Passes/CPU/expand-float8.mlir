// RUN: ssm-opt %s -ssm-expand-float8 | FileCheck %s

// Values: test/ops/test_float8.py.
// CHECK-LABEL: func.func @to_f32
// CHECK: %[[BITS:.*]] = arith.bitcast %{{.*}} : f8E5M2 to i8
// CHECK: arith.extui %[[BITS]] : i8 to i32
// CHECK: arith.mulf {{.*}} : f32
// CHECK-NOT: f8E5M2
func.func @to_f32(%x: f8E5M2) -> f32 {
  %y = arith.extf %x : f8E5M2 to f32
  return %y : f32
}

// CHECK-LABEL: func.func @vectors
// CHECK: arith.addf {{.*}} : vector<4xf32>
// CHECK: %[[BYTES:.*]] = arith.trunci {{.*}} : vector<4xi32> to vector<4xi8>
// CHECK: arith.bitcast %[[BYTES]] : vector<4xi8> to vector<4xf8E4M3FN>
func.func @vectors(%x: vector<4xbf16>) -> vector<4xf8E4M3FN> {
  %y = arith.truncf %x : vector<4xbf16> to vector<4xf8E4M3FN>
  return %y : vector<4xf8E4M3FN>
}

// Other conversions stay.
// CHECK-LABEL: func.func @other
// CHECK-NEXT: arith.extf %{{.*}} : f16 to f32
// CHECK-NEXT: return
func.func @other(%x: f16) -> f32 {
  %y = arith.extf %x : f16 to f32
  return %y : f32
}
