//===- TestModules.h - Modules as the target stage leaves them -----------===//
//
// Part of ssm-mlir, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef SSM_TEST_UNIT_PACKAGE_TESTMODULES_H
#define SSM_TEST_UNIT_PACKAGE_TESTMODULES_H

namespace ssm {

/// y[i] = exp(x[i]) * scale[i % 4], of f32 x[n]; a check refuses n above 1000. The
/// weight `odd` has three bytes, so that `shared`, which has the bytes of `scale`,
/// would not be aligned without padding; `empty` has none.
inline constexpr const char kScaleModule[] = R"mlir(
module attributes {
  ssm.entries = [{
    name = "main",
    inputs = [{name = "x", type = 1 : i64, dims = ["n"]},
              {name = "past", type = 7 : i64, dims = [2 : i64, unit]}],
    outputs = [{name = "y", type = 1 : i64, dims = ["n"]},
               {name = "present", type = 7 : i64, dims = [2 : i64, unit]}],
    states = [{input = 1 : i64, output = 1 : i64, kind = 1 : i64, axis = 1 : i64}]}],
  ssm.checks.main = [{node = "'limit' (Range)", text = "length {0} is above 1000"}]
} {
  ssm.weight @odd : tensor<3xi8> length 3 file "a" at 0 {ssm.offset = 64 : i64}
  ssm.weight @scale : tensor<4xf32> length 16 index 3 {ssm.offset = 0 : i64}
  ssm.weight @empty : tensor<0x5xf16> length 0 file "a" at 0 {ssm.offset = 128 : i64}
  ssm.weight @table : tensor<2x3xui16> length 12 file "a" at 0 {ssm.offset = 128 : i64}
  ssm.weight @shared : tensor<2x2xf32> length 16 index 4 {ssm.offset = 0 : i64}
  ssm.weight @unplaced : tensor<1xi1> length 1 file "a" at 0
  llvm.func @main.plan(%table: !llvm.ptr, %context: !llvm.ptr, %args: !llvm.ptr,
                       %arena: !llvm.ptr, %dims: !llvm.ptr) -> i32 {
    %zero = llvm.mlir.constant(0 : i32) : i32
    %bytes = llvm.mlir.constant(0 : i64) : i64
    llvm.store %bytes, %arena : i64, !llvm.ptr
    %p = llvm.getelementptr %args[1] : (!llvm.ptr) -> !llvm.ptr, !llvm.ptr
    %sizes = llvm.load %p : !llvm.ptr -> !llvm.ptr
    %n = llvm.load %sizes : !llvm.ptr -> i64
    llvm.store %n, %dims : i64, !llvm.ptr
    llvm.return %zero : i32
  }
  llvm.func @expf(f32) -> f32
  llvm.func @main.run(%table: !llvm.ptr, %context: !llvm.ptr, %args: !llvm.ptr,
                      %arena: !llvm.ptr, %weights: !llvm.ptr) -> i32 {
    %ok = llvm.mlir.constant(0 : i32) : i32
    %one32 = llvm.mlir.constant(1 : i32) : i32
    %zero = llvm.mlir.constant(0 : i64) : i64
    %one = llvm.mlir.constant(1 : i64) : i64
    %three = llvm.mlir.constant(3 : i64) : i64
    %limit = llvm.mlir.constant(1000 : i64) : i64
    %x = llvm.load %args : !llvm.ptr -> !llvm.ptr
    %p = llvm.getelementptr %args[1] : (!llvm.ptr) -> !llvm.ptr, !llvm.ptr
    %sizes = llvm.load %p : !llvm.ptr -> !llvm.ptr
    %n = llvm.load %sizes : !llvm.ptr -> i64
    %bad = llvm.icmp "sgt" %n, %limit : i64
    llvm.cond_br %bad, ^refuse, ^compute
  ^refuse:
    %rp = llvm.getelementptr %table[48] : (!llvm.ptr) -> !llvm.ptr, i8
    %report = llvm.load %rp : !llvm.ptr -> !llvm.ptr
    %status = llvm.call %report(%context, %ok, %sizes, %one32)
        : !llvm.ptr, (!llvm.ptr, i32, !llvm.ptr, i32) -> i32
    llvm.return %status : i32
  ^compute:
    %op = llvm.getelementptr %table[40] : (!llvm.ptr) -> !llvm.ptr, i8
    %output = llvm.load %op : !llvm.ptr -> !llvm.ptr
    %y = llvm.call %output(%context, %ok, %sizes)
        : !llvm.ptr, (!llvm.ptr, i32, !llvm.ptr) -> !llvm.ptr
    llvm.br ^head(%zero : i64)
  ^head(%i: i64):
    %more = llvm.icmp "slt" %i, %n : i64
    llvm.cond_br %more, ^body, ^done
  ^body:
    %xi = llvm.getelementptr %x[%i] : (!llvm.ptr, i64) -> !llvm.ptr, f32
    %v = llvm.load %xi : !llvm.ptr -> f32
    %e = llvm.call @expf(%v) : (f32) -> f32
    %k = llvm.and %i, %three : i64
    %wk = llvm.getelementptr %weights[%k] : (!llvm.ptr, i64) -> !llvm.ptr, f32
    %w = llvm.load %wk : !llvm.ptr -> f32
    %r = llvm.fmul %e, %w : f32
    %yi = llvm.getelementptr %y[%i] : (!llvm.ptr, i64) -> !llvm.ptr, f32
    llvm.store %r, %yi : f32, !llvm.ptr
    %next = llvm.add %i, %one : i64
    llvm.br ^head(%next : i64)
  ^done:
    llvm.return %ok : i32
  }
}
)mlir";

/// The entry `double`: y = 2 x of i32 x[3], none of them negative. The weight
/// `inner` is needed for others only, `forgotten` for nothing.
inline constexpr const char kInitModule[] = R"mlir(
module attributes {
  ssm.init_entries = [{entry = "double", inputs = [@w], output = @inner},
                      {entry = "double", inputs = [@inner], output = @d},
                      {entry = "double", inputs = [@w], output = @forgotten},
                      {entry = "double", inputs = [@d], output = @dd}],
  ssm.entries = [{name = "double",
                  inputs = [{name = "w", type = 6 : i64, dims = [3 : i64]}],
                  outputs = [{name = "d", type = 6 : i64, dims = [3 : i64]}]}],
  ssm.checks.double = [{node = "'twice' (Mul)", text = "element {0} of {1} is negative"}]
} {
  ssm.weight @w : tensor<3xi32> length 12 file "a" at 0
  llvm.func @double.plan(%table: !llvm.ptr, %context: !llvm.ptr, %args: !llvm.ptr,
                         %arena: !llvm.ptr, %dims: !llvm.ptr) -> i32 {
    %ok = llvm.mlir.constant(0 : i32) : i32
    %bytes = llvm.mlir.constant(128 : i64) : i64
    llvm.store %bytes, %arena : i64, !llvm.ptr
    llvm.return %ok : i32
  }
  llvm.func @double.run(%table: !llvm.ptr, %context: !llvm.ptr, %args: !llvm.ptr,
                        %arena: !llvm.ptr, %weights: !llvm.ptr) -> i32 {
    %ok = llvm.mlir.constant(0 : i32) : i32
    %two32 = llvm.mlir.constant(2 : i32) : i32
    %zero = llvm.mlir.constant(0 : i64) : i64
    %one = llvm.mlir.constant(1 : i64) : i64
    %n = llvm.mlir.constant(3 : i64) : i64
    %x = llvm.load %args : !llvm.ptr -> !llvm.ptr
    %p = llvm.getelementptr %args[1] : (!llvm.ptr) -> !llvm.ptr, !llvm.ptr
    %sizes = llvm.load %p : !llvm.ptr -> !llvm.ptr
    %op = llvm.getelementptr %table[40] : (!llvm.ptr) -> !llvm.ptr, i8
    %output = llvm.load %op : !llvm.ptr -> !llvm.ptr
    %y = llvm.call %output(%context, %ok, %sizes)
        : !llvm.ptr, (!llvm.ptr, i32, !llvm.ptr) -> !llvm.ptr
    llvm.br ^head(%zero : i64)
  ^head(%i: i64):
    %more = llvm.icmp "slt" %i, %n : i64
    llvm.cond_br %more, ^body, ^done
  ^body:
    %xi = llvm.getelementptr %x[%i] : (!llvm.ptr, i64) -> !llvm.ptr, i32
    %v = llvm.load %xi : !llvm.ptr -> i32
    %negative = llvm.icmp "slt" %v, %ok : i32
    llvm.cond_br %negative, ^refuse, ^fine
  ^refuse:
    llvm.store %i, %arena : i64, !llvm.ptr
    %a1 = llvm.getelementptr %arena[1] : (!llvm.ptr) -> !llvm.ptr, i64
    llvm.store %n, %a1 : i64, !llvm.ptr
    %rp = llvm.getelementptr %table[48] : (!llvm.ptr) -> !llvm.ptr, i8
    %report = llvm.load %rp : !llvm.ptr -> !llvm.ptr
    %status = llvm.call %report(%context, %ok, %arena, %two32)
        : !llvm.ptr, (!llvm.ptr, i32, !llvm.ptr, i32) -> i32
    llvm.return %status : i32
  ^fine:
    %r = llvm.add %v, %v : i32
    %yi = llvm.getelementptr %y[%i] : (!llvm.ptr, i64) -> !llvm.ptr, i32
    llvm.store %r, %yi : i32, !llvm.ptr
    %next = llvm.add %i, %one : i64
    llvm.br ^head(%next : i64)
  ^done:
    llvm.return %ok : i32
  }
}
)mlir";

/// Has the derived weights `d` and `dd` of the module above, and `w` itself.
inline constexpr const char kDerivedModule[] = R"mlir(
module attributes {
  ssm.entries = [{name = "main", inputs = [], outputs = []}]
} {
  ssm.weight @w : tensor<3xi32> length 12 file "a" at 0 {ssm.offset = 0 : i64}
  ssm.weight @d : tensor<3xi32> length 12 init @double {ssm.offset = 64 : i64}
  ssm.weight @dd : tensor<3xi32> length 12 init @double {ssm.offset = 128 : i64}
  llvm.func @main.plan(%table: !llvm.ptr, %context: !llvm.ptr, %args: !llvm.ptr,
                       %arena: !llvm.ptr, %dims: !llvm.ptr) -> i32 {
    %ok = llvm.mlir.constant(0 : i32) : i32
    llvm.return %ok : i32
  }
  llvm.func @main.run(%table: !llvm.ptr, %context: !llvm.ptr, %args: !llvm.ptr,
                      %arena: !llvm.ptr, %weights: !llvm.ptr) -> i32 {
    %ok = llvm.mlir.constant(0 : i32) : i32
    llvm.return %ok : i32
  }
}
)mlir";

} // namespace ssm

#endif // SSM_TEST_UNIT_PACKAGE_TESTMODULES_H
