// RUN: ssm-opt %s -ssm-roll-calls=min-calls=2 -canonicalize -cse | FileCheck %s

// CHECK: memref.global "private" constant @places : memref<2x4xi64> = dense<{{\[}}[0, 3, 0, 5], [64, 4, 1, 6]]>
// CHECK-LABEL: func.func @main.run(
// CHECK-SAME: %[[T:.*]]: !llvm.ptr, %[[C:.*]]: !llvm.ptr, %[[ARGS:.*]]: !llvm.ptr, %[[ARENA:.*]]: !llvm.ptr, %[[WS:.*]]: !llvm.ptr)
// CHECK: %[[STACK:.*]] = memref.alloca() : memref<2xindex>
// CHECK: %[[TABLE:.*]] = memref.get_global @places
// CHECK: scf.for %[[I:.*]] = %c0 to %c2 step %c1
// CHECK: %[[P0:.*]] = memref.load %[[TABLE]][%[[I]], %c0]
// CHECK: %[[O0:.*]] = arith.index_cast %[[P0]]
// CHECK: %[[W:.*]] = ssm.arena_view %[[WS]][%[[O0]]]
// CHECK: %[[P1:.*]] = memref.load %[[TABLE]][%[[I]], %c1]
// CHECK: %[[S:.*]] = ssm.arg %[[ARGS]][0 or %[[P1]]]
// CHECK: %[[P2:.*]] = memref.load %[[TABLE]][%[[I]], %c2]
// CHECK: %[[O2:.*]] = arith.index_cast %[[P2]]
// CHECK: %[[O:.*]] = memref.load %[[STACK]][%[[O2]]]
// CHECK: %[[A:.*]] = ssm.arena_view %[[ARENA]][%[[O]]]
// CHECK: %[[P3:.*]] = memref.load %[[TABLE]][%[[I]], %c3]
// CHECK: %[[N:.*]] = arith.trunci %[[P3]]
// CHECK: %[[Y:.*]] = ssm.output %[[T]], %[[C]][0 or %[[N]]]
// CHECK: func.call @repeated(%[[T]], %[[C]], %[[W]], %[[S]], %[[A]], %[[Y]])
// CHECK-NOT: call @repeated
ssm.weight @w0 : tensor<8xf32> length 32 {ssm.offset = 0 : i64}
ssm.weight @w1 : tensor<8xf32> length 32 {ssm.offset = 64 : i64}
func.func @main.run(%t: !llvm.ptr, %c: !llvm.ptr, %args: !llvm.ptr, %arena: !llvm.ptr,
                    %weights: !llvm.ptr) -> i32 attributes {ssm.entry = "main"} {
  %c0 = arith.constant 0 : index
  %c64 = arith.constant 64 : index
  %ok = arith.constant 0 : i32
  %w0 = ssm.weight_view %weights, @w0 : !llvm.ptr -> memref<8xf32>
  %s0 = ssm.arg %args[3] : !llvm.ptr -> memref<8xf32>
  %a0 = ssm.arena_view %arena[%c0] () : !llvm.ptr -> memref<8xf32>
  %y0 = ssm.output %t, %c[5] () : !llvm.ptr, !llvm.ptr -> memref<8xf32>
  %0 = call @repeated(%t, %c, %w0, %s0, %a0, %y0) : (!llvm.ptr, !llvm.ptr, memref<8xf32>, memref<8xf32>, memref<8xf32>, memref<8xf32>) -> i32
  %w1 = ssm.weight_view %weights, @w1 : !llvm.ptr -> memref<8xf32>
  %s1 = ssm.arg %args[4] : !llvm.ptr -> memref<8xf32>
  %a1 = ssm.arena_view %arena[%c64] () : !llvm.ptr -> memref<8xf32>
  %y1 = ssm.output %t, %c[6] () : !llvm.ptr, !llvm.ptr -> memref<8xf32>
  %1 = call @repeated(%t, %c, %w1, %s1, %a1, %y1) : (!llvm.ptr, !llvm.ptr, memref<8xf32>, memref<8xf32>, memref<8xf32>, memref<8xf32>) -> i32
  return %ok : i32
}
func.func private @repeated(%t: !llvm.ptr, %c: !llvm.ptr, %w: memref<8xf32>, %s: memref<8xf32>,
                            %a: memref<8xf32>, %y: memref<8xf32>) -> i32 attributes {ssm.repeated} {
  %ok = arith.constant 0 : i32
  return %ok : i32
}

// What is read after it is written is no place that a table could tell before.
// CHECK-LABEL: func.func @work.run(
// CHECK: call @repeated
// CHECK: memref.store
// CHECK: call @repeated
func.func @work.run(%t: !llvm.ptr, %c: !llvm.ptr, %args: !llvm.ptr, %arena: !llvm.ptr,
                    %weights: !llvm.ptr) -> i32 attributes {ssm.entry = "work"} {
  %c0 = arith.constant 0 : index
  %zero = arith.constant 0.0 : f32
  %ok = arith.constant 0 : i32
  %w = ssm.weight_view %weights, @w0 : !llvm.ptr -> memref<8xf32>
  %s = ssm.arg %args[3] : !llvm.ptr -> memref<8xf32>
  %a = ssm.arena_view %arena[%c0] () : !llvm.ptr -> memref<8xf32>
  %y0 = ssm.output %t, %c[5] () : !llvm.ptr, !llvm.ptr -> memref<8xf32>
  %0 = call @repeated(%t, %c, %w, %s, %a, %y0) : (!llvm.ptr, !llvm.ptr, memref<8xf32>, memref<8xf32>, memref<8xf32>, memref<8xf32>) -> i32
  memref.store %zero, %a[%c0] : memref<8xf32>
  %y1 = ssm.output %t, %c[6] () : !llvm.ptr, !llvm.ptr -> memref<8xf32>
  %1 = call @repeated(%t, %c, %w, %s, %a, %y1) : (!llvm.ptr, !llvm.ptr, memref<8xf32>, memref<8xf32>, memref<8xf32>, memref<8xf32>) -> i32
  return %ok : i32
}
