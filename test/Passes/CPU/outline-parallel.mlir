// RUN: ssm-opt %s -split-input-file -verify-diagnostics -ssm-outline-parallel | FileCheck %s
// RUN: ssm-opt %s -split-input-file -verify-diagnostics -ssm-stage-target -o %t

// A kernel: one piece calls the body at once, more go through the table.
// CHECK-LABEL: func.func private @kernel(
// CHECK-SAME: %[[TABLE:arg0]]: !llvm.ptr, %[[CONTEXT:arg1]]: !llvm.ptr, %[[X:[a-z0-9]*]]: !llvm.ptr {llvm.noalias}
// CHECK-SAME: %[[Y:[a-z0-9]*]]: !llvm.ptr, %[[N:[a-z0-9]*]]: index, %[[S:[a-z0-9]*]]: f32
// CHECK: %[[CLOSURE:.*]] = llvm.alloca %{{.*}} x !llvm.struct<([[FIELDS:.*]])>
// CHECK: %[[LARGE:.*]] = arith.cmpi sgt, %[[N]], %[[GRAIN:.*]] : index
// CHECK: scf.if %[[LARGE]]
// CHECK:   llvm.store %{{.*}}, %{{.*}}
// CHECK:   %[[PLACE:.*]] = llvm.getelementptr %[[TABLE]][8]
// CHECK:   %[[CALLEE:.*]] = llvm.load %[[PLACE]]
// CHECK:   %[[RANGE:.*]] = func.constant @kernel.range
// CHECK:   %[[FN:.*]] = builtin.unrealized_conversion_cast %[[RANGE]]
// CHECK:   llvm.call %[[CALLEE]](%[[CONTEXT]], %[[FN]], %[[CLOSURE]], %{{.*}}, %{{.*}})
// CHECK: else
// CHECK:   %[[SOME:.*]] = arith.cmpi sgt, %[[N]]
// CHECK:   scf.if %[[SOME]]
// CHECK:     func.call @kernel.piece(%{{.*}}, %[[N]])
func.func private @kernel(%table: !llvm.ptr, %context: !llvm.ptr, %x: !llvm.ptr {llvm.noalias},
                          %y: !llvm.ptr, %n: index, %s: f32) attributes {ssm.kernel} {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %c64 = arith.constant 64 : index
  %wide = vector.broadcast %s : f32 to vector<2x4xf32>
  %xm = ssm.arena_view %x[%c0] (%n) : !llvm.ptr -> memref<?xf32>
  %ym = ssm.arena_view %y[%c0] (%n) : !llvm.ptr -> memref<?xf32>
  ssm.parallel_for %n grain %c64 {
  ^bb0(%lo: index, %hi: index):
    %first = vector.extract %wide[1, 2] : f32 from vector<2x4xf32>
    scf.for %i = %lo to %hi step %c1 {
      %v = memref.load %xm[%i] : memref<?xf32>
      %w = arith.mulf %v, %first : f32
      memref.store %w, %ym[%i] : memref<?xf32>
    }
    ssm.yield
  }
  return
}

// The body has the buffers again, and what was known of their pointers.
// CHECK: func.func private @kernel.piece(
// CHECK-SAME: !llvm.ptr {llvm.noalias}
// CHECK-SAME: !llvm.ptr,
// CHECK-SAME: %[[LO:[a-z0-9]*]]: index, %[[HI:[a-z0-9]*]]: index)
// CHECK-SAME: passthrough = ["noinline"]
// CHECK: ssm.arena_view
// CHECK: scf.for %{{.*}} = %[[LO]] to %[[HI]]
// CHECK: func.func private @kernel.range(%[[C:.*]]: !llvm.ptr, %{{.*}}: i64, %{{.*}}: i64) -> i32
// CHECK: llvm.getelementptr %[[C]]{{.*}}!llvm.struct<([[FIELDS]])>
// CHECK: call @kernel.piece
// CHECK: %[[OK:.*]] = arith.constant 0 : i32
// CHECK: return %[[OK]]

// -----

// A loop inside a piece has no table and runs on the piece's thread.
// CHECK-LABEL: func.func private @outer(
// CHECK: func.func private @outer.piece(
// CHECK-NOT: llvm.call
// CHECK: call @outer.piece.piece
// CHECK: func.func private @outer.range(
// CHECK: func.func private @outer.piece.piece(
// CHECK-NOT: noinline
// CHECK: memref.store
// CHECK-NOT: ssm.parallel_for
func.func private @outer(%table: !llvm.ptr, %context: !llvm.ptr, %x: !llvm.ptr, %n: index)
    attributes {ssm.kernel} {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %zero = arith.constant 0.0 : f32
  %xm = ssm.arena_view %x[%c0] (%n, %n) : !llvm.ptr -> memref<?x?xf32>
  ssm.parallel_for %n grain %c1 {
  ^bb0(%lo: index, %hi: index):
    ssm.parallel_for %n grain %c1 {
    ^bb0(%lo2: index, %hi2: index):
      memref.store %zero, %xm[%lo, %lo2] : memref<?x?xf32>
      ssm.yield
    }
    ssm.yield
  }
  return
}

// -----

// Buffers that are not views of parameters: a choice of two, which may lie in a
// parameter's memory, so that nothing is known any more; and the stack's.
// CHECK-LABEL: func.func private @chosen(
// CHECK: func.func private @chosen.piece(
// CHECK-NOT: llvm.noalias
// CHECK-SAME: passthrough
// CHECK: memref.reinterpret_cast
// CHECK: func.func private @stack.piece(%{{.*}}: !llvm.ptr {llvm.noalias}, %{{.*}}: !llvm.ptr {llvm.noalias},
func.func private @chosen(%table: !llvm.ptr, %context: !llvm.ptr, %x: !llvm.ptr {llvm.noalias},
                          %n: index, %c: i1, %stride: index) attributes {ssm.kernel} {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %zero = arith.constant 0.0 : f32
  %a = ssm.arena_view %x[%c0] () : !llvm.ptr -> memref<64xf32>
  %v = memref.reinterpret_cast %a to offset: [%n], sizes: [4, %n], strides: [%stride, 1]
      : memref<64xf32> to memref<4x?xf32, strided<[?, 1], offset: ?>>
  %w = memref.reinterpret_cast %a to offset: [%c0], sizes: [4, %n], strides: [%stride, 1]
      : memref<64xf32> to memref<4x?xf32, strided<[?, 1], offset: ?>>
  %chosen = arith.select %c, %v, %w : memref<4x?xf32, strided<[?, 1], offset: ?>>
  ssm.parallel_for %n grain %c1 {
  ^bb0(%lo: index, %hi: index):
    memref.store %zero, %chosen[%c0, %lo] : memref<4x?xf32, strided<[?, 1], offset: ?>>
    memref.store %zero, %a[%lo] : memref<64xf32>
    ssm.yield
  }
  return
}
func.func private @stack(%table: !llvm.ptr, %context: !llvm.ptr, %x: !llvm.ptr {llvm.noalias},
                         %n: index) attributes {ssm.kernel} {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %zero = arith.constant 0.0 : f32
  %a = ssm.arena_view %x[%c0] () : !llvm.ptr -> memref<64xf32>
  %s = memref.alloca() : memref<64xf32>
  ssm.parallel_for %n grain %c1 {
  ^bb0(%lo: index, %hi: index):
    memref.store %zero, %s[%lo] : memref<64xf32>
    memref.store %zero, %a[%lo] : memref<64xf32>
    ssm.yield
  }
  return
}

// -----

func.func @checked(%table: !llvm.ptr, %context: !llvm.ptr, %n: index, %c: i1) -> i32
    attributes {ssm.entry = "checked"} {
  %ok = arith.constant 0 : i32
  ssm.parallel_for %n grain %n {
  ^bb0(%lo: index, %hi: index):
    // expected-error @+1 {{may end the run, or is not safe, inside a parallel loop}}
    ssm.check %c, "node", "text"
    ssm.yield
  }
  return %ok : i32
}
