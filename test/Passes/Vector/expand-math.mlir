// RUN: ssm-opt %s -ssm-expand-math | FileCheck %s --check-prefixes=CHECK,GENERIC
// RUN: ssm-opt %s -ssm-expand-math=avx512=true | FileCheck %s --check-prefixes=CHECK,AVX512
// RUN: ssm-opt %s -ssm-expand-math=gpu=true | FileCheck %s --check-prefix=GPU

// With denormals; what is lost by the rounding of x / ln 2 comes back.
// GPU-LABEL: func.func @scalar
// GPU: math.fma
// GPU: math.fma
// GPU: llvm.nvvm.ex2.approx.f32
// GPU: math.fma
// GPU: return
// CHECK-LABEL: func.func @scalar
// CHECK-NOT: math.exp
// CHECK: arith.shli %{{.*}} : i32
// CHECK-NOT: math.exp
// CHECK: return
func.func @scalar(%x: f32) -> f32 {
  %0 = math.exp %x : f32
  return %0 : f32
}

// CHECK-LABEL: func.func @vector
// CHECK-NOT: math.tanh
// GENERIC: arith.divf %{{.*}} : vector<16xf32>
// AVX512-NOT: arith.divf
// AVX512: llvm.call_intrinsic "llvm.x86.avx512.rcp14.ps.512"
// CHECK-NOT: math.tanh
// CHECK: return
func.func @vector(%x: vector<16xf32>) -> vector<16xf32> {
  %0 = math.tanh %x : vector<16xf32>
  return %0 : vector<16xf32>
}

// Two registers: each intrinsic twice. On GPUs once for each lane.
// GPU-LABEL: func.func @wide
// GPU-COUNT-32: llvm.nvvm.ex2.approx.f32
// GPU-NOT: llvm.nvvm
// GPU: vector.from_elements
// GPU: return
// CHECK-LABEL: func.func @wide
// AVX512-COUNT-2: llvm.call_intrinsic "llvm.x86.avx512.mask.scalef.ps.512"
// AVX512-NOT: scalef
// CHECK: return
func.func @wide(%x: vector<32xf32>) -> vector<32xf32> {
  %0 = math.exp %x : vector<32xf32>
  return %0 : vector<32xf32>
}

// A fraction and no rounding: the short form, as exact as the other where exp is near 1.
// CHECK-LABEL: func.func @approximate
// AVX512: llvm.call_intrinsic "llvm.x86.avx512.mask.reduce.ps.512"
// AVX512-COUNT-6: arith.addf
// AVX512: llvm.call_intrinsic "llvm.x86.avx512.mask.scalef.ps.512"
// CHECK: return
func.func @approximate(%x: vector<16xf32>) -> vector<16xf32> {
  %0 = math.exp %x fastmath<afn> : vector<16xf32>
  return %0 : vector<16xf32>
}

// log1p of what lies in [0, 1] needs no exponent and no division.
// CHECK-LABEL: func.func @softplus
// CHECK-NOT: arith.divf
// CHECK-NOT: getexp
// CHECK: return
func.func @softplus(%x: vector<16xf32>) -> vector<16xf32> {
  %0 = math.absf %x : vector<16xf32>
  %1 = arith.negf %0 : vector<16xf32>
  %2 = math.exp %1 : vector<16xf32>
  %3 = math.log1p %2 : vector<16xf32>
  return %3 : vector<16xf32>
}

// CHECK-LABEL: func.func @silu
// GENERIC: arith.divf %{{.*}} : vector<16xf32>
// AVX512-NOT: arith.divf
// AVX512: llvm.call_intrinsic "llvm.x86.avx512.rcp14.ps.512"
// CHECK: return
func.func @silu(%x: vector<16xf32>) -> vector<16xf32> {
  %one = arith.constant dense<1.0> : vector<16xf32>
  %0 = arith.negf %x : vector<16xf32>
  %1 = math.exp %0 : vector<16xf32>
  %2 = arith.addf %one, %1 : vector<16xf32>
  %3 = arith.divf %x, %2 : vector<16xf32>
  return %3 : vector<16xf32>
}

// CHECK-LABEL: func.func @division
// CHECK-NOT: arcp
// CHECK: arith.divf
// AVX512-NOT: arith.divf
// CHECK: return
func.func @division(%x: vector<16xf32>, %y: f32) -> (vector<16xf32>, f32) {
  %0 = arith.divf %y, %y fastmath<arcp> : f32
  %1 = arith.divf %x, %x fastmath<arcp> : vector<16xf32>
  return %1, %0 : vector<16xf32>, f32
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

// Exp in 1 + exp needs no denormals; 2^x that may be approximate is an instruction.
// GPU-LABEL: func.func @sigmoid
// GPU: llvm.nvvm.ex2.approx.ftz.f32
// GPU: llvm.nvvm.rcp.approx.ftz.f
func.func @sigmoid(%x: f32) -> f32 {
  %one = arith.constant 1.0 : f32
  %0 = math.exp %x : f32
  %1 = arith.addf %one, %0 : f32
  %2 = arith.divf %one, %1 : f32
  return %2 : f32
}

// GPU-LABEL: func.func @exp2
// GPU-NEXT: llvm.call_intrinsic "llvm.nvvm.ex2.approx.ftz.f32"(%{{.*}})
// GPU-NEXT: return
func.func @exp2(%x: f32) -> f32 {
  %0 = math.exp2 %x fastmath<afn> : f32
  return %0 : f32
}
