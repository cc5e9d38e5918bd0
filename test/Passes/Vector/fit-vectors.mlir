// RUN: ssm-opt %s -ssm-fit-vectors=avx512=true | FileCheck %s
// RUN: ssm-opt %s -ssm-fit-vectors | FileCheck %s --check-prefix=OTHER

// What is new comes first: the test for NaN is of it.
// CHECK-LABEL: @largest
// CHECK-SAME: %[[SOFAR:.+]]: vector<16xf32>, %[[X:.+]]: vector<16xf32>
// CHECK: llvm.intr.maximum(%[[X]], %[[SOFAR]]) {fastmathFlags = #llvm.fastmath<nsz>}
// OTHER-LABEL: @largest
// OTHER: llvm.intr.maximum
func.func @largest(%sofar: vector<16xf32>, %x: vector<16xf32>) -> vector<16xf32> {
  %m = arith.maximumf %sofar, %x fastmath<nsz> : vector<16xf32>
  return %m : vector<16xf32>
}

// CHECK-LABEL: @least
// CHECK: llvm.intr.minimum
func.func @least(%sofar: vector<16xf32>, %x: vector<16xf32>) -> vector<16xf32> {
  %m = arith.minimumf %sofar, %x fastmath<nsz> : vector<16xf32>
  return %m : vector<16xf32>
}

// Which zero it is counts; other types are left.
// CHECK-LABEL: @left
// CHECK-COUNT-3: arith.maximumf
func.func @left(%x: vector<16xf32>, %y: f32, %z: vector<16xf16>)
    -> (vector<16xf32>, f32, vector<16xf16>) {
  %a = arith.maximumf %x, %x : vector<16xf32>
  %b = arith.maximumf %y, %y fastmath<nsz> : f32
  %c = arith.maximumf %z, %z fastmath<nsz> : vector<16xf16>
  return %a, %b, %c : vector<16xf32>, f32, vector<16xf16>
}

// CHECK-LABEL: @mask
// CHECK: arith.maxsi
// CHECK: arith.minsi
// CHECK: arith.shli
// CHECK: arith.xori
// CHECK: %[[BITS:.+]] = arith.trunci %{{.*}} : i64 to i16
// CHECK: llvm.bitcast %[[BITS]] : i16 to vector<16xi1>
// OTHER-LABEL: @mask
// OTHER: vector.create_mask
func.func @mask(%n: index) -> vector<16xi1> {
  %m = vector.create_mask %n : vector<16xi1>
  return %m : vector<16xi1>
}

// CHECK-LABEL: @few
// CHECK: vector.create_mask
func.func @few(%n: index) -> vector<4xi1> {
  %m = vector.create_mask %n : vector<4xi1>
  return %m : vector<4xi1>
}

// Whether a lane is NaN is asked beside the maximum of the numbers.
// CHECK-LABEL: @of_lanes
// CHECK-SAME: %[[X:.+]]: vector<16xf32>
// CHECK: %[[ISNAN:.+]] = arith.cmpf uno, %[[X]], %[[X]]
// CHECK: %[[ANY:.+]] = vector.reduction <or>, %[[ISNAN]]
// CHECK: %[[MAX:.+]] = vector.reduction <maxnumf>, %[[X]] fastmath<nnan,nsz>
// CHECK: arith.select %[[ANY]], %{{.+}}, %[[MAX]]
// CHECK: vector.reduction <minnumf>
// Which zero it is counts.
// CHECK: vector.reduction <maximumf>
func.func @of_lanes(%x: vector<16xf32>) -> (f32, f32, f32) {
  %a = vector.reduction <maximumf>, %x fastmath<nsz> : vector<16xf32> into f32
  %b = vector.reduction <minimumf>, %x fastmath<nsz> : vector<16xf32> into f32
  %c = vector.reduction <maximumf>, %x : vector<16xf32> into f32
  return %a, %b, %c : f32, f32, f32
}
