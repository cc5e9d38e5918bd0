//===- Builtins.cpp - Conversions that code generation calls --------------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// All conversions round to nearest, ties to even; NaN stays NaN.
//
//===----------------------------------------------------------------------===//

#include "lib/Package/Builtins.h"

#include "llvm/ADT/STLExtras.h"

using llvm::StringRef;

bool ssm::isBuiltin(StringRef symbol) {
  static constexpr llvm::StringLiteral names[] = {"__extendhfsf2", "__truncsfhf2", "__truncdfhf2",
                                                  "__truncsfbf2", "__truncdfbf2"};
  return llvm::is_contained(names, symbol);
}

// A double becomes f16 or bf16 by way of an f32 that is rounded to odd: its last
// bit tells that something was lost, so that the second rounding is right.
StringRef ssm::getBuiltinsSource() {
  return R"(
define internal float @to_odd(double %x) alwaysinline nounwind {
  %f = fptrunc double %x to float
  %back = fpext float %f to double
  %bits = bitcast float %f to i32
  %inexact = fcmp one double %back, %x
  %low = and i32 %bits, 1
  %even = icmp eq i32 %low, 0
  %adjust = and i1 %inexact, %even
  %absback = call double @llvm.fabs.f64(double %back)
  %absx = call double @llvm.fabs.f64(double %x)
  %larger = fcmp ogt double %absback, %absx
  %step = select i1 %larger, i32 -1, i32 1
  %moved = add i32 %bits, %step
  %result = select i1 %adjust, i32 %moved, i32 %bits
  %float = bitcast i32 %result to float
  ret float %float
}

define internal i16 @to_half(float %x) alwaysinline nounwind {
  %bits = bitcast float %x to i32
  %abs = and i32 %bits, 2147483647
  %high = lshr i32 %bits, 16
  %sign = and i32 %high, 32768
  ; Normal: exponent rebased from 127 to 15, 13 bits rounded off.
  %kept = lshr i32 %abs, 13
  %odd = and i32 %kept, 1
  %rebased = add i32 %abs, -939520001
  %rounded = add i32 %rebased, %odd
  %normal = lshr i32 %rounded, 13
  ; Below 2^-14: the sum with 0.5 rounds to a multiple of 2^-24.
  %absfloat = bitcast i32 %abs to float
  %sum = fadd float %absfloat, 5.0e-01
  %sumbits = bitcast float %sum to i32
  %subnormal = sub i32 %sumbits, 1056964608
  %small = icmp ult i32 %abs, 947912704
  %finite = select i1 %small, i32 %subnormal, i32 %normal
  ; From 65520 on: infinity.
  %overflows = icmp uge i32 %abs, 1199566848
  %bounded = select i1 %overflows, i32 31744, i32 %finite
  %nan = icmp ugt i32 %abs, 2139095040
  %payload = and i32 %kept, 1023
  %quiet = or i32 %payload, 32256
  %magnitude = select i1 %nan, i32 %quiet, i32 %bounded
  %result = or i32 %magnitude, %sign
  %half = trunc i32 %result to i16
  ret i16 %half
}

define internal i16 @to_bfloat(float %x) alwaysinline nounwind {
  %bits = bitcast float %x to i32
  %kept = lshr i32 %bits, 16
  %odd = and i32 %kept, 1
  %bias = add i32 %odd, 32767
  %sum = add i32 %bits, %bias
  %rounded = lshr i32 %sum, 16
  %quiet = or i32 %kept, 64
  %nan = fcmp uno float %x, %x
  %result = select i1 %nan, i32 %quiet, i32 %rounded
  %bfloat = trunc i32 %result to i16
  ret i16 %bfloat
}

define hidden float @__extendhfsf2(half %x) nounwind {
  %bits = bitcast half %x to i16
  %wide = zext i16 %bits to i32
  %abs = and i32 %wide, 32767
  %moved = shl i32 %abs, 13
  %small = bitcast i32 %moved to float
  ; 2^112 brings the exponent from base 15 to base 127, subnormals too.
  %scaled = fmul float %small, 0x46F0000000000000
  %scaledbits = bitcast float %scaled to i32
  %special = or i32 %moved, 2139095040
  %isspecial = icmp uge i32 %abs, 31744
  %magnitude = select i1 %isspecial, i32 %special, i32 %scaledbits
  %signbit = and i32 %wide, 32768
  %sign = shl i32 %signbit, 16
  %result = or i32 %magnitude, %sign
  %float = bitcast i32 %result to float
  ret float %float
}

define hidden half @__truncsfhf2(float %x) nounwind {
  %bits = call i16 @to_half(float %x)
  %half = bitcast i16 %bits to half
  ret half %half
}

define hidden half @__truncdfhf2(double %x) nounwind {
  %float = call float @to_odd(double %x)
  %bits = call i16 @to_half(float %float)
  %half = bitcast i16 %bits to half
  ret half %half
}

define hidden bfloat @__truncsfbf2(float %x) nounwind {
  %bits = call i16 @to_bfloat(float %x)
  %bfloat = bitcast i16 %bits to bfloat
  ret bfloat %bfloat
}

define hidden bfloat @__truncdfbf2(double %x) nounwind {
  %float = call float @to_odd(double %x)
  %bits = call i16 @to_bfloat(float %float)
  %bfloat = bitcast i16 %bits to bfloat
  ret bfloat %bfloat
}

declare double @llvm.fabs.f64(double)
)";
}
