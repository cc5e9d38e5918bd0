// RUN: ssm-opt %s -ssm-find-states-in-place | FileCheck %s

// State 0: a carry of one kernel. State 1: read before its output is written. State 2: its
// elements change their places. State 3: it is read again afterwards.
// CHECK: states = [{{{.*}}in_place, input = 0 {{.+}}}, {{{.*}}in_place, input = 1 {{.+}}}, {axis = 0 : i64, input = 2 {{.+}}}, {axis = 0 : i64, input = 3 {{[^}]+}}}]
// CHECK: ssm.arg %arg2[0] {ssm.in_place = 0 : i64}
// CHECK: ssm.arg %arg2[1] {ssm.in_place = 1 : i64}
// CHECK: ssm.arg %arg2[2] :
// CHECK: ssm.output %arg0, %arg1[0] () {ssm.in_place = 0 : i64}
#x = affine_map<(t, d) -> (t, d)>
#h = affine_map<(t, d) -> (d)>
#id = affine_map<(d) -> (d)>
#mirror = affine_map<(d) -> (7 - d)>
module attributes {ssm.entries = [{name = "main", inputs = [], outputs = [], states = [
    {axis = 0 : i64, input = 0 : i64, kind = 0 : i64, output = 0 : i64},
    {axis = 0 : i64, input = 1 : i64, kind = 0 : i64, output = 1 : i64},
    {axis = 0 : i64, input = 2 : i64, kind = 0 : i64, output = 2 : i64},
    {axis = 0 : i64, input = 3 : i64, kind = 0 : i64, output = 3 : i64}]}]} {
  func.func @main.run(%table: !llvm.ptr, %context: !llvm.ptr, %args: !llvm.ptr, %arena: !llvm.ptr,
                      %weights: !llvm.ptr) -> i32 attributes {ssm.entry = "main"} {
    %c0 = arith.constant 0 : index
    %ok = arith.constant 0 : i32
    %h0 = ssm.arg %args[0] : !llvm.ptr -> memref<8xf32>
    %g0 = ssm.arg %args[1] : !llvm.ptr -> memref<8xf32>
    %m0 = ssm.arg %args[2] : !llvm.ptr -> memref<8xf32>
    %r0 = ssm.arg %args[3] : !llvm.ptr -> memref<8xf32>
    %x = ssm.arg %args[4] : !llvm.ptr -> memref<5x8xf32>
    %h = ssm.output %table, %context[0] () : !llvm.ptr, !llvm.ptr -> memref<8xf32>
    ssm.kernel loops 2 time 0 ins(%x : memref<5x8xf32>) inits(%h0 : memref<8xf32>) outs(%h : memref<8xf32>)
        maps [#x, #h, #h] {
      ^bb0(%a: f32, %c: f32):
        %s = arith.addf %a, %c : f32
        ssm.yield %s : f32
    }
    %t = ssm.arena_view %arena[%c0] () : !llvm.ptr -> memref<8xf32>
    ssm.kernel loops 1 ins(%g0 : memref<8xf32>) outs(%t : memref<8xf32>) maps [#mirror, #id] {
      ^bb0(%a: f32):
        ssm.yield %a : f32
    }
    %g = ssm.output %table, %context[1] () : !llvm.ptr, !llvm.ptr -> memref<8xf32>
    memref.copy %t, %g : memref<8xf32> to memref<8xf32>
    %m = ssm.output %table, %context[2] () : !llvm.ptr, !llvm.ptr -> memref<8xf32>
    ssm.kernel loops 1 ins(%m0 : memref<8xf32>) outs(%m : memref<8xf32>) maps [#mirror, #id] {
      ^bb0(%a: f32):
        ssm.yield %a : f32
    }
    %r = ssm.output %table, %context[3] () : !llvm.ptr, !llvm.ptr -> memref<8xf32>
    memref.copy %t, %r : memref<8xf32> to memref<8xf32>
    %y = ssm.output %table, %context[4] () : !llvm.ptr, !llvm.ptr -> memref<8xf32>
    memref.copy %r0, %y : memref<8xf32> to memref<8xf32>
    return %ok : i32
  }
}
