// RUN: ssm-opt %s -split-input-file -verify-diagnostics -ssm-plan-arena -canonicalize -cse | FileCheck %s

// Two buffers that are not live together share a slot; one that is live with
// both does not. The plan gives the sum, rounded up to 64, and the output sizes.
// CHECK-LABEL: func.func @share.plan(
// CHECK: %[[N:.*]] = memref.dim
// CHECK: %[[B:.*]] = arith.muli %[[N]], %c4
// CHECK: arith.addi %[[B]], %c63
// CHECK: %[[S:.*]] = arith.andi %{{.*}}, %c-64
// CHECK: %[[SUM:.*]] = arith.addi %[[S]], %[[S]]
// CHECK: %[[SUM64:.*]] = arith.index_cast %[[SUM]]
// CHECK: llvm.store %[[SUM64]], %arg3

// CHECK-LABEL: func.func @share.run(
// CHECK-DAG: %[[S:.*]] = arith.andi
// CHECK: %[[A:.*]] = ssm.arena_view %arg3[%c0] (%{{.*}})
// CHECK: %[[B:.*]] = ssm.arena_view %arg3[%[[S]]] (%{{.*}})
// CHECK: linalg.copy ins(%[[A]]{{.*}}) outs(%[[B]]
// CHECK: linalg.copy ins(%[[B]]{{.*}}) outs(%[[A]]
// CHECK-NOT: memref.alloc
func.func @share.run(%t: !llvm.ptr, %c: !llvm.ptr, %args: !llvm.ptr, %arena: !llvm.ptr,
                     %weights: !llvm.ptr) -> i32 attributes {ssm.entry = "share"} {
  %c0 = arith.constant 0 : index
  %ok = arith.constant 0 : i32
  %zero = arith.constant 0.0 : f32
  %x = ssm.arg %args[0] : !llvm.ptr -> memref<?xf32>
  %n = memref.dim %x, %c0 : memref<?xf32>
  %y = ssm.output %t, %c[0] (%n) : !llvm.ptr, !llvm.ptr -> memref<?xf32>
  %a = memref.alloc(%n) : memref<?xf32>
  linalg.fill ins(%zero : f32) outs(%a : memref<?xf32>)
  %b = memref.alloc(%n) : memref<?xf32>
  linalg.copy ins(%a : memref<?xf32>) outs(%b : memref<?xf32>)
  %d = memref.alloc(%n) : memref<?xf32>
  linalg.copy ins(%b : memref<?xf32>) outs(%d : memref<?xf32>)
  linalg.copy ins(%d : memref<?xf32>) outs(%y : memref<?xf32>)
  return %ok : i32
}

// A size that is read from data comes from the segment, and is given back at the
// end of each step.
// CHECK-LABEL: func.func @segment.plan(
// CHECK: llvm.store %c0{{.*}}, %arg3
// CHECK-LABEL: func.func @segment.run(
// CHECK: scf.for
// CHECK-NEXT: %[[MARK:.*]] = ssm.segment_mark %arg0, %arg1
// CHECK: ssm.segment_alloc %arg0, %arg1
// CHECK: ssm.segment_release %arg0, %arg1 to %[[MARK]]
func.func @segment.run(%t: !llvm.ptr, %c: !llvm.ptr, %args: !llvm.ptr, %arena: !llvm.ptr,
                       %weights: !llvm.ptr) -> i32 attributes {ssm.entry = "segment"} {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %c9 = arith.constant 9 : index
  %ok = arith.constant 0 : i32
  %zero = arith.constant 0.0 : f32
  %x = ssm.arg %args[0] : !llvm.ptr -> memref<9xi64>
  scf.for %i = %c0 to %c9 step %c1 {
    %v = memref.load %x[%i] : memref<9xi64>
    %n = arith.index_cast %v : i64 to index
    %a = memref.alloc(%n) : memref<?xf32>
    linalg.fill ins(%zero : f32) outs(%a : memref<?xf32>)
  }
  return %ok : i32
}

// A buffer that one step hands to the next must not be shared between steps.
// CHECK-LABEL: func.func @carried.run(
// CHECK: scf.for
// CHECK-NOT: segment_mark
// CHECK: ssm.segment_alloc
// CHECK-NOT: segment_release
// CHECK: scf.yield
func.func @carried.run(%t: !llvm.ptr, %c: !llvm.ptr, %args: !llvm.ptr, %arena: !llvm.ptr,
                       %weights: !llvm.ptr) -> i32 attributes {ssm.entry = "carried"} {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %c9 = arith.constant 9 : index
  %ok = arith.constant 0 : i32
  %x = ssm.arg %args[0] : !llvm.ptr -> memref<4xf32>
  %y = ssm.output %t, %c[0] () : !llvm.ptr, !llvm.ptr -> memref<4xf32>
  %last = scf.for %i = %c0 to %c9 step %c1 iter_args(%h = %x) -> (memref<4xf32>) {
    %a = memref.alloc() : memref<4xf32>
    linalg.copy ins(%h : memref<4xf32>) outs(%a : memref<4xf32>)
    scf.yield %a : memref<4xf32>
  }
  linalg.copy ins(%last : memref<4xf32>) outs(%y : memref<4xf32>)
  return %ok : i32
}

// A repeated function's temporaries lie in bytes that the caller's arena holds; calls
// of equal sizes compute them once. Sizes that overflow become far too many bytes.
// CHECK-LABEL: func.func @calls.run(
// CHECK: %[[BYTES:.*]] = arith.select %{{.*}}, %{{.*}}, %c4611686018427387904
// CHECK: %[[F0:.*]] = ssm.arena_view %arg3[%{{.*}}] (%[[BYTES]]) : !llvm.ptr -> memref<?xi8>
// CHECK: call @repeated(%arg0, %arg1, %{{.*}}, %{{.*}}, %[[F0]])
// CHECK: call @repeated(%arg0, %arg1, %{{.*}}, %{{.*}}, %{{.*}})
func.func @calls.run(%t: !llvm.ptr, %c: !llvm.ptr, %args: !llvm.ptr, %arena: !llvm.ptr,
                     %weights: !llvm.ptr) -> i32 attributes {ssm.entry = "calls"} {
  %c0 = arith.constant 0 : index
  %ok = arith.constant 0 : i32
  %x = ssm.arg %args[0] : !llvm.ptr -> memref<?xf32>
  %n = memref.dim %x, %c0 : memref<?xf32>
  %y = ssm.output %t, %c[0] (%n) : !llvm.ptr, !llvm.ptr -> memref<?xf32>
  %0 = call @repeated(%t, %c, %n, %y) : (!llvm.ptr, !llvm.ptr, index, memref<?xf32>) -> i32
  %1 = call @repeated(%t, %c, %n, %y) : (!llvm.ptr, !llvm.ptr, index, memref<?xf32>) -> i32
  return %ok : i32
}
// CHECK-LABEL: func.func private @repeated(
// CHECK-SAME: %[[FRAME:[^:]*]]: memref<?xi8>) -> i32
// CHECK: %[[P:.*]] = ssm.pointer %[[FRAME]]
// CHECK: ssm.arena_view %[[P]][%c0] (%{{.*}}) : !llvm.ptr -> memref<?xf32>
func.func private @repeated(%t: !llvm.ptr, %c: !llvm.ptr, %n: index, %y: memref<?xf32>) -> i32 attributes {ssm.repeated} {
  %ok = arith.constant 0 : i32
  %zero = arith.constant 0.0 : f32
  %a = memref.alloc(%n) : memref<?xf32>
  linalg.fill ins(%zero : f32) outs(%a : memref<?xf32>)
  linalg.copy ins(%a : memref<?xf32>) outs(%y : memref<?xf32>)
  return %ok : i32
}

// -----

func.func @parallel.run(%t: !llvm.ptr, %c: !llvm.ptr, %args: !llvm.ptr, %arena: !llvm.ptr,
                        %weights: !llvm.ptr) -> i32 attributes {ssm.entry = "parallel"} {
  %c9 = arith.constant 9 : index
  %c1 = arith.constant 1 : index
  %ok = arith.constant 0 : i32
  %zero = arith.constant 0.0 : f32
  ssm.parallel_for %c9 grain %c1 {
  ^bb0(%lo: index, %hi: index):
    // expected-error @+1 {{a buffer inside a parallel loop must be on the stack}}
    %a = memref.alloc() : memref<4xf32>
    linalg.fill ins(%zero : f32) outs(%a : memref<4xf32>)
  }
  return %ok : i32
}
